/* Leaks what a goroutine allocated, in C and in the library: proves that the leak detection of `make asan` sees that. */
#include "check.h"

static void *volatile lost;
static void *leak(void *arg) {
    lost = malloc(4711);
    lost = NULL;
    CHECK(goroutine_semaphore_new(77) != NULL); /* (channels are listed, for collectors: they are never lost) */
    return arg;
}
int main(void) {
    start_workers(1);
    run_goroutine(leak, NULL);
    stop();
    return 0;
}

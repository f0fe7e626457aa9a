/* Leaks what a goroutine allocated, in C and in the library: proves that the leak detection of `make asan` sees that. */
#include "check.h"

static void *volatile lost;
static void *leak(void *arg) {
    lost = malloc(4711);
    lost = NULL;
    CHECK(goroutine_channel_new(8, 77) != NULL);
    return arg;
}
int main(void) {
    start_workers(1);
    run_goroutine(leak, NULL);
    stop();
    return 0;
}

/* goroutine_external_begin and _end, paired, on several threads: external_end reads EXTERNAL_OPENED once, and compares a newer
 * EXTERNAL_CLOSED with it. The process is aborted: "goroutine_external_end without a goroutine_external_begin". */
#include "check.h"

enum { THREADS = 8 };
static uint64_t end_it, pairs;
static void *thread(void *arg) {
    while (!GET(end_it)) {
        goroutine_external_begin();
        goroutine_external_end();
        ADD(pairs, 1);
    }
    return arg;
}
int main(void) {
    pthread_t threads[THREADS];
    int i;
    for (i = 0; i < THREADS; i++) CHECK_EQ(pthread_create(&threads[i], NULL, thread, NULL), 0);
    thread_sleep(10 * SECOND);
    SET(end_it, 1);
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    fprintf(stderr, "%" PRIu64 " pairs\n", pairs);
    return 0;
}

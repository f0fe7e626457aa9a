/* goroutine_external_begin and _end, paired on each of several threads at the same time. */
#include "check.h"

enum { THREADS = 8 };
static uint64_t end_it;
static void *pairs(void *arg) {
    while (!GET(end_it)) {
        goroutine_external_begin();
        goroutine_external_end();
    }
    return arg;
}
int main(void) {
    pthread_t threads[THREADS];
    int i;
    start_workers(1);
    for (i = 0; i < THREADS; i++) CHECK_EQ(pthread_create(&threads[i], NULL, pairs, NULL), 0);
    thread_sleep(SECOND);
    SET(end_it, 1);
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    OK(goroutine_runtime_wait(0)); /* every one was counted, both ways */
    goroutine_external_begin();
    CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EAGAIN);
    goroutine_external_end();
    stop();
    return 0;
}

/* Thread-specific destructors that call back, as long as the C library runs any: the thread leaves no goroutine behind. */
#include "check.h"

/* In the last round ThreadSanitizer has no thread any more: malloc crashes there, too. */
#if defined(__SANITIZE_THREAD__)
enum { ROUNDS = 3 };
#else
enum { ROUNDS = 11 };
#endif

static pthread_key_t key;
static void *nothing(void *arg) { return arg; }
static void destructor(void *n) {
    goroutine_callback_run(nothing, NULL);
    if (U(n) < ROUNDS) pthread_setspecific(key, P(U(n) + 1));
}
static void *thread(void *arg) {
    pthread_setspecific(key, P(1));
    return arg;
}
int main(void) {
    GoroutineStats stats;
    int i;
    start_workers(1);
    goroutine_callback_run(nothing, NULL);
    CHECK_EQ(pthread_key_create(&key, destructor), 0);
    for (i = 0; i < 500; i++) {
        pthread_t t;
        CHECK_EQ(pthread_create(&t, NULL, thread, NULL), 0);
        pthread_join(t, NULL);
    }
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    fprintf(stderr, "%d stacks, %d of them free, after 500 threads that are gone\n", (int)stats.stacks, (int)stats.stacks_free);
    CHECK(stats.stacks - stats.stacks_free < 100);
    stop();
    return 0;
}

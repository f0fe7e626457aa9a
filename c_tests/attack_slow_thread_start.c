/* As attack_short_of_threads, without a failure: `thread_start` of a new thread takes a while (it attaches to a JVM). Until it is over
 * nobody is woken, though a worker sleeps with its thread. */
#include "check.h"

static uint64_t slow, parked, go_on, ran;
static void on_start(void *arg) {
    (void)arg;
    if (GET(slow)) thread_sleep(SECOND);
}
static void *language(void *arg) {
    SET(parked, 1);
    while (!GET(go_on)) OK(goroutine_sleep(10 * MS));
    return arg;
}
static void *c_code(void *arg) { return goroutine_callback_run(language, arg); }
static void *leaf(void *arg) {
    goroutine_ffi_call_leaf(CODE(c_code), NULL);
    return arg;
}
static void *work(void *arg) {
    ADD(ran, 1);
    return arg;
}
int main(void) {
    uint64_t worst = 0;
    int round;
    for (round = 0; round < 8; round++) {
        GoroutineConfig config;
        GoroutinePromise *promise;
        uint64_t i;
        goroutine_config_init(&config);
        config.workers = 2;
        config.thread_start = on_start;
        SET(slow, 0);
        OK(goroutine_runtime_start(&config));
        thread_sleep(20 * MS);
        SET(parked, 0);
        SET(go_on, 0);
        SET(ran, 0);
        SET(slow, 1);
        promise = goroutine_spawn(leaf, NULL);
        while (!GET(parked)) thread_sleep(MS);
        for (i = 1; i <= 20; i++) {
            uint64_t from = now_ns();
            OK(goroutine_go(work, NULL));
            while (GET(ran) != i) thread_sleep(100 * US);
            if (now_ns() - from > worst) worst = now_ns() - from;
        }
        SET(slow, 0);
        SET(go_on, 1);
        OK(goroutine_promise_await_take(promise, 30 * SECOND, NULL));
        stop();
    }
    fprintf(stderr, "longest wait of a goroutine beside a sleeping worker: %d ms\n", (int)(worst / MS));
    CHECK(worst < 300 * MS);
    return 0;
}

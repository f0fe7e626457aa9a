/* GOROUTINE_FFI_RETIRE: a thread that is given back ends, also one that ran a call of goroutine_ffi_call_async, or a blocking call whose
 * worker was taken away: what C left in it meets nobody. */
#include "check.h"

static uint64_t done, met;
static __thread int left_here;
static GoroutineStats stats(void) {
    GoroutineStats now;
    goroutine_stats_init(&now);
    OK(goroutine_runtime_stats(&now));
    return now;
}
static void *leaves(void *arg) {
    left_here = 1;
    return arg;
}
static void *leaves_late(void *arg) {
    uint64_t before = U(arg);
    left_here = 1;
    while (stats().ffi_retaken == before) thread_sleep(MS);
    return NULL;
}
static void on_done(void *arg, void *result) {
    (void)arg, (void)result;
    SET(done, 1);
}
static void *looks(void *arg) {
    if (left_here) ADD(met, 1);
    left_here = 0;
    return arg;
}
static void *other(void *arg) {
    goroutine_ffi_call_leaf(CODE(looks), NULL);
    return arg;
}
/* Looks on two threads: its own, and the one that the worker goes to. */
static void *binds(void *arg) {
    GoroutinePromise *promise = goroutine_spawn(other, NULL);
    execute_ffi_call(goroutine_current(), CODE(looks), NULL);
    OK(goroutine_promise_await_take(promise, 30 * SECOND, NULL));
    return arg;
}
static void *blocks(void *arg) {
    goroutine_ffi_call_blocking(CODE(leaves_late), P(stats().ffi_retaken));
    return arg;
}
int main(void) {
    GoroutineConfig config;
    int i;
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_release = GOROUTINE_FFI_RETIRE;
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < 5; i++) {
        SET(done, 0);
        OK(goroutine_ffi_call_async(CODE(leaves), NULL, on_done, NULL));
        while (!GET(done) || stats().ffi_bound != 0) thread_sleep(MS);
        run_goroutine(binds, NULL);
        CHECK_EQ(met, 0);
        run_goroutine(blocks, NULL);
        run_goroutine(binds, NULL);
        run_goroutine(binds, NULL);
        CHECK_EQ(met, 0);
    }
    stop();
    return 0;
}

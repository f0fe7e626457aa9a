/* GOROUTINE_FFI_RETIRE: "a thread that is given back ends". A thread that ran a call of goroutine_ffi_call_async, or a blocking call
 * whose worker was taken away, serves strangers. */
#include "check.h"

static uint64_t done;
static __thread int left_here;
static void *leaves(void *arg) {
    left_here = 1;
    if (arg != NULL) thread_sleep(20 * MS);
    return arg;
}
static void on_done(void *arg, void *result) {
    (void)arg, (void)result;
    SET(done, 1);
}
static uint64_t met;
static void *looks(void *arg) {
    if (left_here) ADD(met, 1);
    left_here = 0;
    return arg;
}
static void *other(void *arg) {
    goroutine_ffi_call_leaf(CODE(looks), NULL);
    return arg;
}
static void *binds(void *arg) {
    GoroutinePromise *promise = goroutine_spawn(other, NULL);
    execute_ffi_call(goroutine_current(), CODE(looks), NULL);
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    return arg;
}
static void *blocks(void *arg) {
    goroutine_ffi_call_blocking(CODE(leaves), P(1));
    return arg;
}
int main(void) {
    GoroutineConfig config;
    int bad = 0;
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_release = GOROUTINE_FFI_RETIRE;
    OK(goroutine_runtime_start(&config));
    OK(goroutine_ffi_call_async(CODE(leaves), NULL, on_done, NULL));
    while (!GET(done)) thread_sleep(MS);
    thread_sleep(20 * MS);
    run_goroutine(binds, NULL);
    fprintf(stderr, "after an async call: %d met what it left\n", (int)met);
    bad |= met != 0;
    met = 0;
    run_goroutine(blocks, NULL);
    thread_sleep(20 * MS);
    run_goroutine(binds, NULL);
    run_goroutine(binds, NULL);
    fprintf(stderr, "after a long blocking call: %d met what it left\n", (int)met);
    CHECK_EQ(bad, 0);
    stop();
    return 0;
}

/* timeout: 30 */
/* GOROUTINE_FFI_FAIL: a call that was accepted while all threads were taken begins when one is free, though another one blocks: "Calls start
 * in order and run side by side, as many as the pool has threads". Without that the program does not end. */
#include "check.h"

static uint64_t first_runs, second_ran, unbind, unbound;
static void *waits_for_second(void *arg) {
    SET(first_runs, 1);
    while (!GET(second_ran)) thread_sleep(MS);
    return arg;
}
static void *second(void *arg) {
    SET(second_ran, 1);
    return arg;
}
static void *holder(void *arg) {
    OK(goroutine_ffi_bind());
    while (!GET(unbind)) OK(goroutine_sleep(MS));
    OK(goroutine_ffi_unbind());
    SET(unbound, 1);
    return arg;
}
int main(void) {
    GoroutineConfig config;
    GoroutineStats stats;
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_threads_max = 2;
    config.ffi_exhausted = GOROUTINE_FFI_FAIL;
    OK(goroutine_runtime_start(&config));
    OK(goroutine_go(holder, NULL));
    do {
        thread_sleep(MS);
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
    } while (stats.ffi_bound != 1);
    OK(goroutine_ffi_call_async(CODE(waits_for_second), NULL, NULL, NULL));
    while (!GET(first_runs)) thread_sleep(MS);
    OK(goroutine_ffi_call_async(CODE(second), NULL, NULL, NULL)); /* accepted: it is owed a thread */
    SET(unbind, 1);
    while (!GET(unbound)) thread_sleep(MS);
    while (!GET(second_ran)) thread_sleep(MS);
    stop();
    return 0;
}

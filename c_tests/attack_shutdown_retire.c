/* timeout: 100 */
/* GOROUTINE_FFI_RETIRE, bound goroutines, and a worker without a thread. A shutdown without a time-out: a thread that retires after
 * Pool::stop finds the ledger short (the spares were taken out of it), makes a thread, and the shutdown gives GOROUTINE_ETIMEDOUT. */
#include "check.h"

static uint64_t parked;
static void *in_c(void *arg) { return arg; }
static void *holds(void *arg) {
    execute_ffi_call(goroutine_current(), CODE(in_c), NULL);
    ADD(parked, 1);
    CHECK_EQ(goroutine_sleep(1000 * SECOND), GOROUTINE_ECANCELED);
    return arg;
}
int main(void) {
    uint64_t end = now_ns() + 80 * SECOND;
    int i, round;
    for (round = 0; now_ns() < end; round++) {
        GoroutineConfig config;
        GoroutineStatus status;
        int n = 1 + round % 40;
        goroutine_config_init(&config);
        config.workers = 1 + (uint32_t)round % 2;
        config.ffi_release = GOROUTINE_FFI_RETIRE;
        SET(parked, 0);
        OK(goroutine_runtime_start(&config));
        for (i = 0; i < n; i++) OK(goroutine_go(holds, NULL));
        while (GET(parked) != (uint64_t)n) thread_sleep(100 * US);
        thread_sleep(300 * US);
        status = goroutine_runtime_shutdown(GOROUTINE_FOREVER);
        if (status != GOROUTINE_OK) fprintf(stderr, "round %d, %d goroutines: a shutdown without a time-out gave %s\n", round, n, goroutine_status_name(status));
        OK(status);
    }
    fprintf(stderr, "%d rounds\n", round);
    return 0;
}

/* timeout: 100 */
/* As attack_shutdown_retire, with the default configuration: lanes' threads retire, too. */
#include "check.h"

enum { LANES = 40 };
static uint64_t parked;
static void *in_c(void *arg) { return arg; }
static void *holds(void *arg) {
    execute_ffi_call(goroutine_current(), CODE(in_c), NULL);
    ADD(parked, 1);
    goroutine_sleep(1000 * SECOND);
    return arg;
}
int main(void) {
    uint64_t end = now_ns() + 60 * SECOND;
    int i, round;
    for (round = 0; now_ns() < end; round++) {
        static GoroutineFfiLane *lanes[LANES];
        GoroutineStatus status;
        SET(parked, 0);
        start_workers(1);
        for (i = 0; i < LANES; i++) OK(goroutine_ffi_lane_new("lane", &lanes[i]));
        for (i = 0; i < LANES; i++) OK(goroutine_ffi_lane_call(lanes[i], CODE(in_c), NULL, NULL));
        OK(goroutine_go(holds, NULL));
        while (GET(parked) != 1) thread_sleep(100 * US);
        thread_sleep(300 * US);
        status = goroutine_runtime_shutdown(GOROUTINE_FOREVER);
        if (status != GOROUTINE_OK) fprintf(stderr, "round %d: a shutdown without a time-out gave %s\n", round, goroutine_status_name(status));
        OK(status);
        for (i = 0; i < LANES; i++) OK(goroutine_ffi_lane_release(lanes[i]));
    }
    fprintf(stderr, "%d rounds\n", round);
    return 0;
}

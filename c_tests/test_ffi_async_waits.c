/* A function of goroutine_ffi_call_async, or one that a lane runs, is among what goroutine_runtime_wait waits for: it is told so. */
#include "check.h"

static uint64_t over;
static void *nothing(void *arg) { return arg; }
static void *waits(void *arg) {
    CHECK_EQ(goroutine_runtime_run(nothing, NULL, NULL), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_wait(GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_shutdown(GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    return arg;
}
static void done(void *arg, void *result) {
    waits(result);
    (void)arg;
    SET(over, 1);
}
static void child(void *arg) {
    GoroutineFfiLane *lane;
    (void)arg;
    OK(goroutine_ffi_call_async(CODE(waits), NULL, done, NULL));
    while (!GET(over)) thread_sleep(MS);
    OK(goroutine_ffi_lane_new("lane", &lane));
    OK(goroutine_ffi_lane_call(lane, CODE(waits), NULL, NULL));
    OK(goroutine_ffi_lane_release(lane));
    OK(goroutine_runtime_run(nothing, NULL, NULL)); /* a plain thread may */
    OK(goroutine_runtime_wait(30 * SECOND));
    stop();
}
int main(void) {
    expect_child("a wait for itself (SIGALRM: it hung)", child, NULL, 0, 0, NULL);
    return 0;
}

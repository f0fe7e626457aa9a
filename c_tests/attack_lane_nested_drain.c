/* A host's call runs a nested main loop (a modal dialog), which drains the lane; then it calls the lane again: "From within a
 * call of the same lane it is a plain call." */
#include "check.h"

static GoroutineFfiLane *lane;
static uint64_t told;
static void wake(void *arg) {
    (void)arg;
    ADD(told, 1);
}
static void *nothing(void *arg) { return arg; }
static uint64_t outer_began, inner_queued, over;
static void *outer(void *arg) {
    void *result = NULL;
    SET(outer_began, 1);
    while (!GET(inner_queued)) thread_sleep(MS);
    thread_sleep(20 * MS);
    CHECK_EQ(goroutine_ffi_lane_drain(lane, 0), 1); /* the nested loop */
    OK(goroutine_ffi_lane_call(lane, CODE(nothing), P(5), &result)); /* waits for itself */
    CHECK_EQ(U(result), 5);
    return arg;
}
static void *caller(void *f) {
    if (FN(f) == nothing) {
        while (!GET(outer_began)) OK(goroutine_sleep(MS));
        SET(inner_queued, 1);
    }
    OK(goroutine_ffi_lane_call(lane, f, NULL, NULL));
    ADD(over, 1);
    return NULL;
}
static void child(void *arg) {
    (void)arg;
    alarm(5);
    start_workers(2);
    OK(goroutine_ffi_lane_host("host", wake, NULL, &lane));
    OK(goroutine_go(caller, CODE(outer)));
    OK(goroutine_go(caller, CODE(nothing)));
    while (GET(over) != 2) {
        goroutine_ffi_lane_drain(lane, 0);
        thread_sleep(MS);
    }
    OK(goroutine_ffi_lane_release(lane));
    stop();
}
int main(void) {
    expect_child("a nested drain, then a nested call (SIGALRM: it hung)", child, NULL, 0, 0, NULL);
    return 0;
}

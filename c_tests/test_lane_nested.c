/* A call of a lane that comes back to it: drains it, and calls it again, also from a callback. "From within a call of the same lane it is a
 * plain call": nobody waits for himself, and C runs on a native stack. */
#include "check.h"

static GoroutineFfiLane *lane;
static void wake(void *arg) { (void)arg; }

static void on_native_stack(void) {
    char here;
    pthread_attr_t attributes;
    void *low;
    size_t size;
    CHECK_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_EQ(pthread_attr_getstack(&attributes, &low, &size), 0);
    pthread_attr_destroy(&attributes);
    CHECK((char *)&here >= (char *)low && (char *)&here < (char *)low + size);
}
static __attribute__((noinline)) int get_errno(void) { return errno; }
static void *plain(void *arg) {
    CHECK_EQ(get_errno(), 0);
    on_native_stack();
    errno = 11;
    return P(U(arg) + 1);
}
static void calls_again(uint64_t n) {
    void *result = NULL;
    errno = 5;
    OK(goroutine_ffi_lane_call(lane, CODE(plain), P(n), &result));
    CHECK_EQ(get_errno(), 11);
    CHECK_EQ(U(result), n + 1);
}
static void *language(void *arg) {
    calls_again(2);
    return arg;
}
static void *language_sleeps(void *arg) {
    OK(goroutine_sleep(MS));
    calls_again(3);
    return arg;
}

/* ---- a nested main loop (a modal dialog) drains, and the call goes on after it ---- */

static uint64_t outer_began, inner_queued, over;
static void *outer(void *arg) {
    size_t drained = 0;
    SET(outer_began, 1);
    while (!GET(inner_queued)) thread_sleep(MS);
    while (drained == 0) drained = goroutine_ffi_lane_drain(lane, 0);
    CHECK_EQ(drained, 1);
    calls_again(1);
    goroutine_callback_run(language, NULL);
    goroutine_callback_run(language_sleeps, NULL);
    return arg;
}
static void *caller(void *f) {
    if (FN(f) == plain) {
        while (!GET(outer_began)) OK(goroutine_sleep(MS));
        SET(inner_queued, 1);
    }
    OK(goroutine_ffi_lane_call(lane, f, NULL, NULL));
    ADD(over, 1);
    return NULL;
}
static void nested_drain(void) {
    OK(goroutine_ffi_lane_host("host", wake, NULL, &lane));
    OK(goroutine_go(caller, CODE(outer)));
    OK(goroutine_go(caller, CODE(plain)));
    while (GET(over) != 2) {
        goroutine_ffi_lane_drain(lane, 0);
        thread_sleep(MS);
    }
    OK(goroutine_ffi_lane_release(lane));
}

/* ---- two threads drain at once, and both calls come back to the lane ---- */

static uint64_t both_inside, both_over;
static void *meets(void *arg) {
    ADD(both_inside, 1);
    while (GET(both_inside) != 2) thread_sleep(MS);
    calls_again(4);
    ADD(both_over, 1); /* the other one is still inside, or was: neither took the other's place */
    while (GET(both_over) != 2) thread_sleep(MS);
    calls_again(5);
    return arg;
}
static void *call_meets(void *arg) {
    OK(goroutine_ffi_lane_call(lane, CODE(meets), NULL, NULL));
    ADD(over, 1);
    return arg;
}
static void *drains(void *arg) {
    while (GET(over) != 2) {
        goroutine_ffi_lane_drain(lane, 1);
        thread_sleep(MS);
    }
    return arg;
}
static void two_hosts(void) {
    pthread_t threads[2];
    int i;
    SET(over, 0);
    OK(goroutine_ffi_lane_host("host", wake, NULL, &lane));
    for (i = 0; i < 2; i++) CHECK_EQ(pthread_create(&threads[i], NULL, drains, NULL), 0);
    for (i = 0; i < 2; i++) OK(goroutine_go(call_meets, NULL));
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    OK(goroutine_ffi_lane_release(lane));
}

/* ---- a lane of its own ---- */

static void *calls_back(void *arg) {
    calls_again(6);
    goroutine_callback_run(language, NULL);
    return goroutine_callback_run(language_sleeps, arg);
}
static void *body(void *arg) {
    OK(goroutine_ffi_lane_call(lane, CODE(calls_back), NULL, NULL));
    return arg;
}
static void own_thread(void) {
    OK(goroutine_ffi_lane_new("lane", &lane));
    run_goroutine(body, NULL);
    OK(goroutine_ffi_lane_release(lane));
}

static void child(void *arg) {
    (void)arg;
    start_workers(2);
    nested_drain();
    two_hosts();
    own_thread();
    stop();
}
int main(void) {
    expect_child("a lane that comes back to itself (SIGALRM: it hung)", child, NULL, 0, 0, NULL);
    return 0;
}

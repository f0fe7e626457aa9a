/* A lane's C code calls back, and the callback calls the same lane: "a plain call". C that needs a native stack gets the
 * callback's goroutine stack (256 KiB). */
#include "check.h"

static GoroutineFfiLane *lane;
static uint64_t on_goroutine_stack;
static void *deep(void *arg) {
    char here;
    pthread_attr_t attributes;
    void *low;
    size_t size;
    CHECK_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_EQ(pthread_attr_getstack(&attributes, &low, &size), 0);
    pthread_attr_destroy(&attributes);
    if ((char *)&here < (char *)low || (char *)&here >= (char *)low + size) SET(on_goroutine_stack, 1);
    return arg;
}
static void *language(void *arg) {
    OK(goroutine_ffi_lane_call(lane, CODE(deep), NULL, NULL));
    return arg;
}
static void *c_code(void *arg) { return goroutine_callback_run(language, arg); }
static void *body(void *arg) {
    OK(goroutine_ffi_lane_call(lane, CODE(c_code), NULL, NULL));
    return arg;
}
int main(void) {
    start_workers(2);
    OK(goroutine_ffi_lane_new("lane", &lane));
    run_goroutine(body, NULL);
    OK(goroutine_ffi_lane_release(lane));
    CHECK_EQ(on_goroutine_stack, 0);
    stop();
    return 0;
}

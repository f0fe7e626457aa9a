/* goroutine_ffi_load of a library that was linked with -ffast-math: goroutines lose their denormals from then on. */
#include "check.h"

static uint64_t bad;
static void *in_c(void *arg) { return arg; }
static void *look(void *arg) {
    volatile double smallest = 2.2250738585072014e-308;
    uint32_t v;
    __asm__ volatile("stmxcsr %0" : "=m"(v));
    if ((v & 0xFFC0) != 0x1F80 || smallest / 2 == 0) {
        if (ADD(bad, 1) == 1) fprintf(stderr, "a new goroutine has MXCSR %#x; DBL_MIN / 2 is %g\n", v & 0xFFC0, smallest / 2);
    }
    return arg;
}
static void *binds(void *arg) {
    GoroutinePromise *other = goroutine_spawn(look, NULL);
    execute_ffi_call(goroutine_current(), CODE(in_c), NULL); /* the worker goes to the spare thread */
    OK(goroutine_promise_await_take(other, 10 * SECOND, NULL));
    return arg;
}
int main(void) {
    char path[4096];
    void *handle;
    const char *plugins = getenv("C_TESTS_PLUGINS");
    snprintf(path, sizeof path, "%s/plugin_ftz.so", plugins != NULL ? plugins : ".");
    start_workers(1);
    OK(goroutine_ffi_load(path, 0, &handle));
    thread_sleep(20 * MS);
    run_goroutine(binds, NULL);
    CHECK_EQ(bad, 0);
    stop();
    return 0;
}

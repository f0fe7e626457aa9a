/* A function of goroutine_ffi_call_async turns denormals off and rounds down, as many libraries do on their threads. The thread goes
 * back to the pool; who comes next there runs with these control words. "A goroutine starts with MXCSR 0x1F80, x87 0x37F." */
#include "check.h"

static uint32_t mxcsr(void) {
    uint32_t v;
    __asm__ volatile("stmxcsr %0" : "=m"(v));
    return v & 0xFFC0;
}
static uint16_t fcw(void) {
    uint16_t v;
    __asm__ volatile("fnstcw %0" : "=m"(v));
    return v;
}
static uint64_t done;
static int job_thread;
static void *library(void *arg) {
    uint32_t v = 0x1F80 | 0x8040 | 0x2000;
    uint16_t w = 0x77F;
    __asm__ volatile("ldmxcsr %0" : : "m"(v));
    __asm__ volatile("fldcw %0" : : "m"(w));
    job_thread = thread_id();
    return arg;
}
static void on_done(void *arg, void *result) {
    (void)arg, (void)result;
    SET(done, 1);
}
static void *in_c(void *arg) { return arg; }
static uint64_t bad;
static void *look(void *arg) {
    volatile double smallest = 2.2250738585072014e-308;
    if (mxcsr() != 0x1F80 || fcw() != 0x37F) {
        if (ADD(bad, 1) == 1)
            fprintf(stderr, "a new goroutine on thread %d (the job's was %d) has MXCSR %#x, x87 %#x; DBL_MIN/2 == 0: %d\n", thread_id(),
                    job_thread, mxcsr(), fcw(), smallest / 2 == 0);
    }
    return arg;
}
static void *binds(void *arg) {
    GoroutinePromise *other = goroutine_spawn(look, NULL);
    execute_ffi_call(goroutine_current(), CODE(in_c), NULL); /* the worker goes to a spare thread */
    OK(goroutine_promise_await_take(other, 10 * SECOND, NULL));
    return arg;
}
int main(void) {
    int i;
    start_workers(1);
    for (i = 0; i < 3; i++) {
        SET(done, 0);
        OK(goroutine_ffi_call_async(CODE(library), NULL, on_done, NULL));
        while (!GET(done)) thread_sleep(MS);
        thread_sleep(20 * MS);
        run_goroutine(binds, NULL);
        run_goroutine(look, NULL);
    }
    CHECK_EQ(bad, 0);
    stop();
    return 0;
}

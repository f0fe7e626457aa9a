/* Foreign code that turns denormals off and rounds down (as libraries that were linked with -ffast-math do when they are loaded) does so
 * for itself: a goroutine starts with MXCSR 0x1F80 and x87 0x37F, and a call with the words its thread began with, whoever ran there before. */
#include "check.h"

enum { MXCSR = 0x1F80, FCW = 0x37F, FAST_MXCSR = MXCSR | 0x8040 | 0x2000, FAST_FCW = 0x77F };

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
static void set_words(uint32_t v, uint16_t w) {
    __asm__ volatile("ldmxcsr %0" : : "m"(v));
    __asm__ volatile("fldcw %0" : : "m"(w));
}
static void fast_math(void) { set_words(FAST_MXCSR, FAST_FCW); }

static const char *what;
static uint64_t looks;
static void *look(void *arg) {
    volatile double smallest = 2.2250738585072014e-308;
    ADD(looks, 1);
    if (mxcsr() == MXCSR && fcw() == FCW && smallest / 2 != 0) return arg;
    fprintf(stderr, "%s: what comes next has MXCSR %#x, x87 %#x\n", what, mxcsr(), fcw());
    _exit(1);
}
static void *in_c(void *arg) { return arg; }
/* The worker goes to a spare thread: who runs there next is `look`. */
static void *binds(void *arg) {
    GoroutinePromise *other = goroutine_spawn(look, NULL);
    execute_ffi_call(goroutine_current(), CODE(in_c), NULL);
    OK(goroutine_promise_await_take(other, 30 * SECOND, NULL));
    return arg;
}

/* ---- jobs ---- */

static uint64_t done;
static void *library(void *arg) {
    fast_math();
    return arg;
}
static void on_done(void *arg, void *result) {
    (void)arg, (void)result;
    ADD(done, 1);
}
/* Until the thread rests again. */
static void wait_for_rest(void) {
    GoroutineStats stats;
    do {
        thread_sleep(MS);
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
    } while (stats.ffi_bound != 0);
}
static void call(GoroutineFn f) {
    SET(done, 0);
    OK(goroutine_ffi_call_async(CODE(f), NULL, on_done, NULL));
    while (GET(done) == 0) thread_sleep(MS);
    wait_for_rest();
}
static void *three_calls(void *arg) {
    OK(goroutine_ffi_call_async(CODE(look), NULL, on_done, NULL));
    OK(goroutine_ffi_call_async(CODE(library), NULL, on_done, NULL));
    OK(goroutine_ffi_call_async(CODE(look), NULL, on_done, NULL));
    return arg;
}
static void *binds_fast(void *arg) {
    fast_math();
    execute_ffi_call(goroutine_current(), CODE(in_c), NULL); /* makes threads; when it is over, its own serves others */
    return arg;
}
static void jobs(void) {
    char path[4096];
    void *handle;
    int i;
    const char *plugins = getenv("C_TESTS_PLUGINS");
    start_workers(1);
    for (i = 0; i < 3; i++) {
        what = "a call that sets fast math";
        call(library);
        call(look);
        run_goroutine(binds, NULL);
        run_goroutine(look, NULL);
        what = "a goroutine that sets fast math and ends bound";
        run_goroutine(binds_fast, NULL);
        wait_for_rest();
        call(look);
        run_goroutine(binds, NULL);
        SET(done, 0);
        what = "calls in a row";
        run_goroutine(three_calls, NULL);
        while (GET(done) != 3) thread_sleep(MS);
        wait_for_rest();
    }
    what = "a library that is loaded with fast math";
    CHECK(plugins != NULL);
    snprintf(path, sizeof path, "%s/plugin_ftz.so", plugins);
    OK(goroutine_ffi_load(path, 0, &handle));
    wait_for_rest();
    run_goroutine(binds, NULL);
    call(look);
    stop();
}

/* ---- what else runs where a thread schedules ---- */

static void on_end(Goroutine *g, void *arg) {
    (void)g, (void)arg;
    fast_math();
}
static void on_idle(void *arg) {
    (void)arg;
    fast_math();
}
static void on_unhandled(const Goroutine *g, GoroutineStatus status, void *reason, void *arg) {
    (void)g, (void)status, (void)reason, (void)arg;
    fast_math();
}
static void on_drop(void *value) {
    (void)value;
    fast_math();
}
static uint32_t key;
static void *has_local(void *arg) {
    goroutine_local_set(key, P(1));
    return arg;
}
static void *rejects(void *arg) {
    goroutine_exit(GOROUTINE_EREJECTED, arg);
    return arg;
}
/* `before` ends on the only worker, and then `look` begins there. */
static void *in_turn(void *before) {
    GoroutinePromise *next;
    OK(goroutine_go(FN(before), NULL));
    next = goroutine_spawn(look, NULL);
    OK(goroutine_promise_await_take(next, 30 * SECOND, NULL));
    return NULL;
}
static void hooks(int which) {
    GoroutineConfig config;
    int i;
    goroutine_config_init(&config);
    config.workers = 1;
    if (which == 0) config.goroutine_end = on_end;
    if (which == 1) config.idle = on_idle;
    if (which == 2) config.unhandled = on_unhandled;
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < 10; i++) {
        what = which == 0 ? "goroutine_end" : which == 1 ? "idle" : which == 2 ? "unhandled" : "a local's drop";
        run_goroutine(in_turn, which == 2 ? CODE(rejects) : which == 3 ? CODE(has_local) : CODE(in_c));
        thread_sleep(MS);
        run_goroutine(look, NULL);
    }
    stop();
}

int main(void) {
    int which;
    jobs();
    OK(goroutine_local_key(on_drop, &key));
    for (which = 0; which < 4; which++) hooks(which);
    CHECK(looks > 40);
    return 0;
}

/* Calls that block, of bound goroutines and of the blocking class, delay nobody but their own goroutine; short blocking calls
   keep their worker. */
#include "check.h"

static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}

/* ---- 1,000 timers of 1 ms during a call of 100 ms, on one worker ---- */
enum { TIMERS = 1000, BEATS = 10 };
static uint64_t in_call, timers_done, call_over;
static void *in_c(void *ns) {
    thread_sleep(U(ns));
    return P(U(ns) + 1);
}
/* A call of at least 100 ms that ends only once every timer has fired: if they have to wait for it, it never does. */
static void *until_timers_fired(void *ns) {
    uint64_t patience = 0;
    SET(in_call, 1);
    thread_sleep(U(ns));
    while (GET(timers_done) != TIMERS) {
        CHECK(patience++ < 60000);
        thread_sleep(1 * MS);
    }
    SET(call_over, 1);
    return P(U(ns) + 1);
}
static void *sleeps(void *arg) {
    int i;
    while (GET(in_call) == 0) goroutine_yield();
    for (i = 0; i < BEATS; i++) {
        OK(goroutine_sleep(1 * MS));
        CHECK_EQ(GET(call_over), 0);
    }
    ADD(timers_done, 1);
    return arg;
}
static void *calls_blocking(void *arg) {
    (void)arg;
    CHECK_EQ(U(goroutine_ffi_call_blocking(CODE(until_timers_fired), P(100 * MS))), 100 * MS + 1);
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    OK(goroutine_sleep(1 * MS)); /* it is an ordinary goroutine again */
    return NULL;
}
static void *calls_bound(void *arg) {
    (void)arg;
    CHECK_EQ(U(execute_ffi_call(NULL, CODE(until_timers_fired), P(100 * MS))), 100 * MS + 1);
    CHECK(is_goroutine_ffi_bound(goroutine_current()));
    return NULL;
}
static void *start_all(void *call) {
    GoroutinePromise *p;
    uint64_t i;
    for (i = 0; i < TIMERS; i++) OK(goroutine_go(sleeps, P(i)));
    p = goroutine_spawn(FN(call), NULL);
    OK(goroutine_promise_await_take(p, GOROUTINE_FOREVER, NULL));
    return NULL;
}
static void delays_nobody(GoroutineFn call) {
    in_call = timers_done = call_over = 0;
    start_workers(1);
    run_goroutine(start_all, CODE(call));
    CHECK_EQ(timers_done, TIMERS);
    CHECK_EQ(call_over, 1);
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
}

/* ---- short calls: the worker stays ---- */
static void *add_one(void *n) { return P(U(n) + 1); }
static void *many_short(void *arg) {
    uint64_t i, n = scaled(1000000, 100), before = stats().ffi_retaken;
    (void)arg;
    for (i = 0; i < n;) i = U(goroutine_ffi_call_blocking(CODE(add_one), P(i)));
    CHECK(stats().ffi_retaken - before <= n / 1000); /* but for moments when the thread was not scheduled */
    return NULL;
}

/* ---- of all lengths, on more goroutines than workers, with parks and cancels around ---- */
static uint64_t total;
static __attribute__((noinline)) int get_errno(void) { return errno; }
static __attribute__((noinline)) void set_errno(int value) { errno = value; }
static void *some_calls(void *arg) {
    uint64_t state = random_seed(7, U(arg)), i;
    for (i = 0; i < scaled(100, 5); i++) {
        uint64_t us = random_next(&state) % 64 == 0 ? 3000 : random_next(&state) % 4 == 0 ? 600 : 0;
        set_errno((int)(i + 1));
        CHECK_EQ(U(goroutine_ffi_call_blocking(us == 0 ? CODE(add_one) : CODE(in_c), P(us * US))), us * US + 1);
        if (us == 0) CHECK_EQ(get_errno(), i + 1);
        if (i % 3 == 0) goroutine_yield();
        if (i % 7 == 0) OK(goroutine_sleep(10 * US));
        ADD(total, 1);
    }
    return NULL;
}
static void mixed(uint32_t workers) {
    GoroutinePromise *p[200];
    uint64_t i, n = scaled(200, 10), retaken;
    start_workers(workers);
    total = 0;
    for (i = 0; i < n; i++) p[i] = goroutine_spawn(some_calls, P(i));
    for (i = 0; i < n; i++) OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
    CHECK_EQ(total, n * scaled(100, 5));
    retaken = stats().ffi_retaken;
    fprintf(stderr, "%u workers: %" PRIu64 " calls, %" PRIu64 " retaken, %" PRIu64 " threads at most\n", workers, total, retaken,
            stats().ffi_threads_peak);
    CHECK(retaken > 0);
    for (i = 0; stats().ffi_bound != 0; i++) {
        CHECK(i < 10000);
        thread_sleep(1 * MS);
    }
    stop();
}

/* ---- what C does in the library meanwhile is what a plain thread does ---- */
static GoroutinePromise *settled_by_c;
static void *ran(void *arg) {
    ADD(*(uint64_t *)arg, 1);
    return NULL;
}
static void *settles(void *arg) {
    int i;
    (void)arg;
    for (i = 0; i < 20; i++) {
        OK(goroutine_go(ran, &total));
        thread_sleep(200 * US);
    }
    OK(goroutine_promise_resolve(settled_by_c, P(9)));
    thread_sleep(2 * MS);
    return NULL;
}
static void *calls_settles(void *arg) {
    (void)arg;
    goroutine_ffi_call_blocking(CODE(settles), NULL);
    return NULL;
}
static void *settle_in_a_call(void *arg) {
    void *value = NULL;
    (void)arg;
    total = 0;
    settled_by_c = goroutine_promise_new();
    OK(goroutine_go(calls_settles, NULL));
    OK(goroutine_promise_await_take(settled_by_c, 30 * SECOND, &value));
    CHECK_EQ(U(value), 9);
    while (GET(total) != 20) goroutine_yield();
    return NULL;
}

/* ---- a callback after the worker is gone ---- */
static void *parks(void *arg) {
    OK(goroutine_sleep(1 * MS));
    OK(goroutine_sleep(1 * MS));
    return arg;
}
static void *late_callback(void *arg) {
    thread_sleep(5 * MS);
    CHECK_EQ(U(goroutine_callback_run(parks, arg)), U(arg));
    thread_sleep(5 * MS);
    CHECK_EQ(U(goroutine_callback_run(parks, arg)), U(arg));
    return arg;
}
static void *calls_late(void *arg) {
    int i;
    for (i = 0; i < 5; i++) {
        CHECK_EQ(U(goroutine_ffi_call_blocking(CODE(late_callback), arg)), U(arg));
        CHECK(!is_goroutine_ffi_bound(goroutine_current()));
        goroutine_yield();
    }
    return NULL;
}
static void *many_calls_late(void *arg) {
    GoroutinePromise *p[20];
    uint64_t i;
    (void)arg;
    for (i = 0; i < 20; i++) p[i] = goroutine_spawn(calls_late, P(i));
    for (i = 0; i < 20; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
    return NULL;
}

/* ---- no thread is to be had: the worker waits for its call ---- */
static void *calls_long(void *arg) {
    CHECK_EQ(U(goroutine_ffi_call_blocking(CODE(in_c), P(30 * MS))), 30 * MS + 1);
    return arg;
}
static void *limit_reached(void *arg) {
    GoroutinePromise *p[4];
    uint64_t i;
    (void)arg;
    for (i = 0; i < 4; i++) p[i] = goroutine_spawn(calls_long, NULL);
    for (i = 0; i < 4; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
    return NULL;
}

int main(void) {
    GoroutineConfig config;
    delays_nobody(calls_bound);
    delays_nobody(calls_blocking);
    start_workers(1);
    run_goroutine(many_short, NULL);
    run_goroutine(settle_in_a_call, NULL);
    run_goroutine(many_calls_late, NULL);
    stop();
    start_workers(2);
    run_goroutine(many_short, NULL);
    run_goroutine(settle_in_a_call, NULL);
    run_goroutine(many_calls_late, NULL);
    stop();
    mixed(1);
    mixed(2);
    mixed(8);
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_threads_max = 1;
    OK(goroutine_runtime_start(&config));
    run_goroutine(limit_reached, NULL);
    CHECK(stats().ffi_threads_peak <= 2);
    stop();
    return 0;
}

/* What GoroutineStats says about foreign calls is exact: bindings, calls, hand-offs, waits, spares, refusals, retaken workers. */
#include "check.h"

static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}
static void start_with(uint32_t threads, uint32_t prestart, uint32_t policy) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.flags = GOROUTINE_CONFIG_NO_PREDICTION; /* it makes threads when it likes */
    config.workers = 1;
    config.ffi_threads_max = threads;
    config.ffi_threads_prestart = prestart;
    config.ffi_exhausted = policy;
    OK(goroutine_runtime_start(&config));
}
static void until(const uint64_t *word, uint64_t value) {
    uint64_t patience;
    for (patience = 0; GET(*word) != value; patience++) {
        CHECK(patience < 600000);
        thread_sleep(100 * US);
    }
}
static void until_bound(uint64_t n) {
    uint64_t patience;
    for (patience = 0; stats().ffi_bound != n; patience++) {
        CHECK(patience < 600000);
        thread_sleep(100 * US);
    }
}
static void *identity(void *arg) { return arg; }

/* ---- three threads, five that want one ---- */
static uint64_t holding;
static GoroutinePromise *gate;
/* Makes 1 + n calls. */
static void *calls_and_holds(void *n) {
    uint64_t i;
    for (i = 0; i <= U(n); i++) CHECK_EQ(execute_ffi_call(NULL, CODE(identity), P(i)), P(i));
    ADD(holding, 1);
    OK(goroutine_promise_await(gate, GOROUTINE_FOREVER, NULL));
    return NULL;
}
static void *spawns_five(void *arg) {
    uint64_t i;
    for (i = 0; i < 5; i++) OK(goroutine_go(calls_and_holds, P(i)));
    return arg; /* they run after this one, and in this order: there is one worker */
}
static void five_on_three(uint32_t prestart) {
    GoroutineStats s;
    uint64_t i, patience;
    holding = 0;
    CHECK((gate = goroutine_promise_new()) != NULL);
    start_with(3, prestart, GOROUTINE_FFI_WAIT);
    CHECK_EQ(stats().ffi_threads_peak, 1 + prestart);
    run_goroutine(spawns_five, NULL);
    until(&holding, 3);
    for (patience = 0; stats().ffi_waits != 2; patience++) {
        CHECK(patience < 600000);
        thread_sleep(100 * US);
    }
    s = stats();
    CHECK_EQ(s.ffi_bindings, 3);
    CHECK_EQ(s.ffi_bound, 3);
    CHECK_EQ(s.ffi_calls, 0); /* counted when a binding is over */
    CHECK_EQ(s.ffi_hand_offs, 3); /* each left a worker with others to run */
    CHECK_EQ(s.ffi_spares_ready, prestart);
    CHECK_EQ(s.ffi_spares_missed, 3 - prestart);
    CHECK_EQ(s.ffi_threads_idle, 0);
    CHECK_EQ(s.ffi_threads_peak, 4);
    CHECK_EQ(s.threads, 5); /* with the monitor */
    OK(goroutine_promise_resolve(gate, NULL));
    OK(goroutine_runtime_wait(60 * SECOND));
    until_bound(0);
    s = stats();
    CHECK_EQ(s.ffi_bindings, 5);
    CHECK_EQ(s.ffi_bindings_on_the_spot, 0);
    CHECK_EQ(s.ffi_calls, 1 + 2 + 3 + 4 + 5);
    CHECK_EQ(s.ffi_waits, 2);
    CHECK_EQ(s.ffi_refused, 0);
    CHECK_EQ(s.ffi_spares_ready + s.ffi_spares_missed, 3); /* who waited got a thread that was given back */
    CHECK_EQ(s.ffi_retaken, 0);
    CHECK_EQ(s.ffi_threads_peak, 4);
    for (i = 0; stats().ffi_threads_idle != 3; i++) {
        CHECK(i < 10000);
        thread_sleep(100 * US);
    }
    stop();
    goroutine_promise_release(gate);
}

/* ---- which calls count: all of a bound goroutine, by whatever function, and none of an unbound one ---- */
static void *calls_of_all_kinds(void *arg) {
    void *result = NULL;
    uint64_t before = stats().ffi_calls;
    CHECK_EQ(goroutine_ffi_call_leaf(CODE(identity), P(1)), P(1));
    CHECK_EQ(goroutine_ffi_call_blocking(CODE(identity), P(1)), P(1));
    OK(goroutine_ffi_bind());
    OK(goroutine_ffi_unbind());
    CHECK_EQ(stats().ffi_calls, before); /* a binding without a call */
    CHECK_EQ(execute_ffi_call(NULL, CODE(identity), P(2)), P(2));
    CHECK_EQ(migrate_to_ffi_thread(NULL, CODE(identity), P(2)), P(2));
    CHECK_EQ(goroutine_ffi_call_leaf(CODE(identity), P(3)), P(3));
    CHECK_EQ(goroutine_ffi_call_blocking(CODE(identity), P(4)), P(4));
    OK(goroutine_ffi_call(GOROUTINE_FFI_BOUND, CODE(identity), P(5), &result));
    CHECK_EQ(stats().ffi_calls, before);
    OK(goroutine_ffi_unbind());
    CHECK_EQ(stats().ffi_calls, before + 5);
    CHECK_EQ(execute_ffi_call(NULL, CODE(identity), P(6)), P(6));
    return arg; /* its sixth ends with it */
}
static void kinds(void) {
    start_with(10, 0, GOROUTINE_FFI_WAIT);
    run_goroutine(calls_of_all_kinds, NULL);
    until_bound(0);
    CHECK_EQ(stats().ffi_calls, 6);
    CHECK_EQ(stats().ffi_bindings, 3);
    stop();
}

/* ---- a worker without a thread is handed over when there is work for it, and not before ---- */
static void *spawns_one(void *arg) {
    uint64_t before = stats().ffi_hand_offs, ran = 0;
    GoroutinePromise *p;
    (void)arg;
    OK(goroutine_ffi_bind());
    CHECK_EQ(stats().ffi_hand_offs, before); /* nothing to do for anybody */
    CHECK((p = goroutine_spawn(identity, &ran)) != NULL);
    OK(goroutine_promise_await_take(p, GOROUTINE_FOREVER, NULL));
    CHECK_EQ(stats().ffi_hand_offs, before + 1);
    return NULL;
}
static void hand_offs(void) {
    start_with(10, 0, GOROUTINE_FFI_WAIT);
    run_goroutine(spawns_one, NULL);
    CHECK_EQ(stats().ffi_hand_offs, 1);
    stop();
}

/* ---- on the spot ---- */
static void *parks(void *arg) {
    OK(goroutine_sleep(10 * US));
    OK(goroutine_sleep(10 * US));
    return arg;
}
static void *calls_back(void *arg) { return goroutine_callback_run(parks, arg); }
static void *leaf_that_parks(void *arg) {
    CHECK_EQ(goroutine_ffi_call_leaf(CODE(identity), arg), arg);
    CHECK_EQ(goroutine_ffi_call_leaf(CODE(calls_back), arg), arg);
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    return arg;
}
static void on_the_spot(void) {
    uint64_t i;
    start_with(10, 0, GOROUTINE_FFI_WAIT);
    for (i = 1; i <= 10; i++) {
        run_goroutine(leaf_that_parks, NULL);
        CHECK_EQ(stats().ffi_bindings_on_the_spot, i);
        CHECK_EQ(stats().ffi_bindings, i);
        CHECK_EQ(stats().ffi_spares_ready + stats().ffi_spares_missed, 0); /* nobody was asked */
        CHECK_EQ(stats().ffi_waits, 0);
    }
    stop();
}

/* ---- refused ---- */
static uint64_t go;
static void *holds(void *arg) {
    OK(goroutine_ffi_bind());
    SET(holding, 1);
    while (GET(go) == 0) thread_sleep(100 * US);
    return arg;
}
static void *is_refused(void *times) {
    uint64_t i;
    for (i = 0; i < U(times); i++) CHECK_EQ(goroutine_ffi_bind(), GOROUTINE_EFFITHREADS);
    return NULL;
}
static void refused(uint32_t policy) {
    holding = go = 0;
    start_with(1, 0, policy);
    OK(goroutine_go(holds, NULL));
    until(&holding, 1);
    run_goroutine(is_refused, P(7));
    CHECK_EQ(stats().ffi_refused, 7);
    CHECK_EQ(stats().ffi_bindings, 1);
    CHECK_EQ(stats().ffi_waits, 0);
    CHECK_EQ(stats().ffi_spares_missed, 1);
    SET(go, 1);
    stop();
}

/* ---- retaken: a call that lasts until its worker is gone ---- */
static void *until_retaken(void *n) {
    uint64_t patience;
    for (patience = 0; stats().ffi_retaken != U(n); patience++) {
        CHECK(patience < 600000);
        thread_sleep(100 * US);
    }
    return n;
}
static void *is_retaken(void *n) {
    CHECK_EQ(goroutine_ffi_call_blocking(CODE(until_retaken), n), n);
    return n;
}
static void retaken(void) {
    uint64_t i;
    start_with(10, 0, GOROUTINE_FFI_WAIT);
    for (i = 1; i <= 20; i++) {
        run_goroutine(is_retaken, P(i));
        CHECK_EQ(stats().ffi_retaken, i);
        CHECK_EQ(stats().ffi_bindings, 0);
    }
    until_bound(0); /* its calls are over */
    CHECK_EQ(stats().ffi_calls, 0);
    stop();
}

int main(void) {
    five_on_three(0);
    five_on_three(2);
    five_on_three(3);
    kinds();
    hand_offs();
    on_the_spot();
    refused(GOROUTINE_FFI_FAIL);
    refused(GOROUTINE_FFI_UNBOUND);
    retaken();
    return 0;
}

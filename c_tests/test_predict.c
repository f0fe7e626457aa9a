/* Threads made ahead for functions whose goroutines nearly always bind: for those, in time, no more than may be, and not if told so. */
#include "check.h"

static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}
static void start_with(uint32_t flags, uint32_t workers, uint32_t threads, uint32_t release) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.flags = flags;
    config.workers = workers;
    config.ffi_threads_max = threads;
    config.ffi_release = release;
    OK(goroutine_runtime_start(&config));
}
static void *identity(void *arg) { return arg; }

/* ---- one after the other, each on a new thread: the first call finds it made, or makes it ---- */
enum { CALLS = 400 };
static uint64_t took[CALLS];
static void *first_call(void *arg) {
    uint64_t begun = now_ns();
    CHECK(execute_ffi_call(NULL, CODE(identity), arg) == arg);
    took[U(arg)] = now_ns() - begun;
    return NULL;
}
static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}
static void in_turn(uint32_t flags) {
    uint64_t n = scaled(CALLS, 10), i, patience;
    bool predicts = (flags & GOROUTINE_CONFIG_NO_PREDICTION) == 0;
    start_with(flags, 1, 1000, GOROUTINE_FFI_RETIRE);
    for (i = 0; i < n; i++) {
        run_goroutine(first_call, P(i));
        /* Its thread ends. From the second call on another one is there, if one is made ahead. */
        for (patience = 0;; patience++) {
            GoroutineStats s = stats();
            if (s.ffi_bound == 0 && s.threads == (predicts && i > 0 ? 3u : 2u)) break;
            CHECK(patience < 100000);
            thread_sleep(100 * US);
        }
    }
    CHECK_EQ(stats().ffi_bindings, n);
    CHECK_EQ(stats().ffi_spares_missed, predicts ? 2 : n);
    CHECK_EQ(stats().ffi_spares_ready, predicts ? n - 2 : 0);
    stop();
    qsort(took, n, sizeof *took, ascending);
    fprintf(stderr, "%s: first call p50 %" PRIu64 " ns, p90 %" PRIu64 " ns\n", predicts ? "predicted" : "not predicted",
            took[n / 2], took[n * 9 / 10]);
}

/* ---- all at once: those that are about to begin are seen ---- */
enum { BURST = 64 };
static uint64_t arrived;
static void *meets(void *arg) {
    uint64_t begun = now_ns();
    CHECK(execute_ffi_call(NULL, CODE(identity), arg) == arg);
    took[U(arg)] = now_ns() - begun;
    ADD(arrived, 1);
    while (GET(arrived) < BURST) goroutine_yield();
    return NULL;
}
static void *spawns_burst(void *arg) {
    uint64_t i;
    for (i = 0; i < BURST; i++) OK(goroutine_go(meets, P(i)));
    return arg;
}
static void at_once(uint32_t flags) {
    GoroutineStats s;
    bool predicts = (flags & GOROUTINE_CONFIG_NO_PREDICTION) == 0;
    arrived = 0;
    start_with(flags, 1, BURST, GOROUTINE_FFI_REUSE);
    run_goroutine(spawns_burst, NULL);
    OK(goroutine_runtime_wait(60 * SECOND));
    s = stats();
    CHECK_EQ(s.ffi_bindings, BURST);
    CHECK_EQ(s.ffi_spares_ready + s.ffi_spares_missed, BURST);
    CHECK_EQ(s.ffi_waits, 0);
    CHECK(predicts ? s.ffi_spares_missed < BURST : s.ffi_spares_missed == BURST);
    CHECK(s.ffi_threads_peak <= BURST + 1); /* never more than may be */
    stop();
    qsort(took, BURST, sizeof *took, ascending);
    fprintf(stderr, "%s: %d at once, first call p50 %" PRIu64 " ns, p90 %" PRIu64 " ns, %" PRIu64 " found a thread\n",
            predicts ? "predicted" : "not predicted", BURST, took[BURST / 2], took[BURST * 9 / 10], s.ffi_spares_ready);
}

/* ---- a function whose goroutines bind now and then is not believed ---- */
static void *seldom(void *arg) {
    if (U(arg) % 10 == 0) CHECK(execute_ffi_call(NULL, CODE(identity), arg) == arg);
    return NULL;
}
static void *spawns_seldom(void *arg) {
    GoroutinePromise *p[100];
    uint64_t i, k;
    for (i = 0; i < U(arg) / 100; i++) {
        for (k = 0; k < 100; k++) CHECK((p[k] = goroutine_spawn(seldom, P(k))) != NULL);
        for (k = 0; k < 100; k++) OK(goroutine_promise_await_take(p[k], GOROUTINE_FOREVER, NULL));
    }
    return NULL;
}
/* As it would be if it were believed: the same number of goroutines that all bind. */
static void *always(void *arg) {
    CHECK(execute_ffi_call(NULL, CODE(identity), arg) == arg);
    return NULL;
}
static void *spawns_always(void *arg) {
    uint64_t i;
    for (i = 0; i < U(arg); i++) OK(goroutine_promise_await_take(goroutine_spawn(always, NULL), GOROUTINE_FOREVER, NULL));
    return NULL;
}
static void now_and_then(void) {
    GoroutineStats before, after;
    uint64_t n = 20000, believed, doubted;
    start_with(0, 1, 1000, GOROUTINE_FFI_RETIRE);
    run_goroutine(spawns_seldom, P(n)); /* it learns; the last threads of the first belief are used up */
    before = stats();
    run_goroutine(spawns_seldom, P(n));
    after = stats();
    CHECK_EQ(after.ffi_bindings - before.ffi_bindings, n / 10);
    doubted = after.ffi_spares_ready - before.ffi_spares_ready;
    before = after;
    run_goroutine(spawns_always, P(n / 10));
    after = stats();
    believed = after.ffi_spares_ready - before.ffi_spares_ready;
    fprintf(stderr, "of %" PRIu64 " bindings found a thread: %" PRIu64 " of a function that seldom binds, %" PRIu64 " of one that always does\n",
            n / 10, doubted, believed);
    CHECK(doubted < n / 10 / 10);
    CHECK(believed > n / 10 / 10);
    stop();
}

/* ---- each goroutine is counted once, whatever it does; samples end in every way ---- */
static void *samples(void *arg) {
    switch (U(arg) % 5) {
    case 0: OK(goroutine_ffi_bind()); break;
    case 1: goroutine_exit(GOROUTINE_OK, NULL);
    case 2: goroutine_yield(); break;
    case 3:
        OK(goroutine_ffi_bind());
        OK(goroutine_ffi_unbind());
        break;
    default: CHECK(goroutine_ffi_call_leaf(CODE(identity), arg) == arg);
    }
    return NULL;
}
static void *spawns_samples(void *arg) {
    GoroutineSpawn s;
    uint64_t i;
    goroutine_spawn_init(&s);
    s.fn = CODE(samples);
    s.name = "sample"; /* has something to free at its end */
    for (i = 0; i < U(arg); i++) {
        s.int_args[0] = i;
        if (i % 3 == 0)
            OK(goroutine_spawn_with(&s, NULL));
        else
            OK(goroutine_go(samples, P(i)));
        if (i % 100 == 0) OK(goroutine_sleep(10 * US));
    }
    return NULL;
}

int main(void) {
    in_turn(GOROUTINE_CONFIG_NO_PREDICTION);
    in_turn(0);
    at_once(GOROUTINE_CONFIG_NO_PREDICTION);
    at_once(0);
    now_and_then();
    start_with(0, 2, 50, GOROUTINE_FFI_REUSE);
    run_goroutine(spawns_samples, P(scaled(20000, 20)));
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK(stats().ffi_threads_peak <= 52);
    stop();
    return 0;
}

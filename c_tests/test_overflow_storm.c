/* sanitizer: handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0 */
/* timeout: 240 */
/* Infinite recursion in 100 of 1,000 goroutines, in C and in emitted code, over and over, on 1, 2 and 8 workers, with a callback that returns, one that
 * does not, and none: exactly those 100 end with GOROUTINE_ESTACKOVERFLOW, the others finish, and nothing grows. Where it may be no event it is the report and
 * the signal, in the middle of all the others. GOROUTINE_TEST_ROUNDS: how often each; the long run is stress_overflow_storm.c. */
#include "overflow.h"

#ifndef ROUNDS
#define ROUNDS 8
#endif
/* KEPT: by each worker, as goroutine_runtime_stats says. */
enum { GOROUTINES = 1000, EVERY = 10, KEPT_STACKS = 256, KEPT_PROMISES = 512 };
enum { RETURNS, EXITS, JUMPS, HOW_COUNT };
static const char *const HOW[] = {"returns", "exits", "jumps"};
static const uint32_t WORKERS[] = {1, 2, 8};
static uint64_t events;

static void returns(Goroutine *g, void *fault_address, GoroutineContext *at, void *arg) {
    CHECK(arg == &events && g == goroutine_current());
    CHECK((char *)fault_address < (char *)at->stack_base && (char *)fault_address >= (char *)at->guard_page);
    ADD(events, 1);
}
static void exits(Goroutine *g, void *fault_address, GoroutineContext *at, void *arg) {
    returns(g, fault_address, at, arg);
    goroutine_exit(GOROUTINE_ESTACKOVERFLOW, NULL);
}
/* Execution resumes in a function that does not come back, as a language's handler would. */
static void lands(void) { goroutine_exit(GOROUTINE_ESTACKOVERFLOW, NULL); }
static void jumps(Goroutine *g, void *fault_address, GoroutineContext *at, void *arg) {
    returns(g, fault_address, at, arg);
    at->rip = U(CODE(lands));
    at->rsp = (U(at->stack_top) - 4096) / 16 * 16 - 8;
}
static const GoroutineStackOverflowFn CALLBACKS[] = {returns, exits, jumps};

static void start_with(GoroutineStackOverflowFn f, uint32_t workers) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = workers;
    config.flags = GOROUTINE_CONFIG_OWN_CODE;
    config.stack_overflow = f;
    config.stack_overflow_arg = &events;
    config.stack_bytes_max = 1 << 20;
    OK(goroutine_runtime_start(&config));
}

/* What there is when all of a round are over. */
static GoroutineStats stats_when_over(void) {
    uint64_t end = now_ns() + 60 * SECOND;
    GoroutineStats stats;
    do {
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        if (stats.live == 0) return stats;
        thread_sleep(50 * US);
    } while (now_ns() < end);
    CHECK_EQ(stats.live, 0);
    return stats;
}

static void round_of(GoroutineFn const *bad, size_t kinds) {
    static GoroutinePromise *promises[GOROUTINES];
    uint64_t i;
    SET(events, 0);
    for (i = 0; i < GOROUTINES; i++) {
        promises[i] = goroutine_spawn(i % EVERY == 3 ? bad[i / EVERY % kinds] : good, P(i));
        CHECK(promises[i] != NULL);
    }
    for (i = 0; i < GOROUTINES; i++) {
        void *value = P(1);
        GoroutineStatus status = goroutine_promise_await_take(promises[i], 60 * SECOND, &value);
        CHECK_EQ(status, i % EVERY == 3 ? GOROUTINE_ESTACKOVERFLOW : GOROUTINE_OK);
        CHECK_EQ(U(value), i % EVERY == 3 ? 1 : i * 3);
    }
    CHECK_EQ(GET(events), GOROUTINES / EVERY);
}

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }
static void storm(GoroutineStackOverflowFn f, uint32_t workers, const char *how, uint64_t rounds) {
    GoroutineFn const bad[] = {in_c, emitted, emitted_checked, on_segment};
    uint64_t round, begin = now_ns(), stacks = 0, segments = 0, promises = 0;
    start_with(f, workers);
    for (round = 0; round < rounds; round++) {
        GoroutineStats now;
        round_of(bad, 4);
        now = stats_when_over();
        CHECK_EQ(now.spawned, (round + 1) * GOROUTINES);
        /* Nothing is lost: what is in no shared pool a worker keeps, of which there is a most. Segments: three sizes fit below 1 MiB. */
        CHECK(now.stacks <= GOROUTINES + workers * KEPT_STACKS + 64);
        CHECK(now.stacks - now.stacks_free <= workers * KEPT_STACKS);
        CHECK(now.segments <= GOROUTINES / EVERY / 2 * 3);
        CHECK(now.promises <= workers * KEPT_PROMISES);
        stacks = most(stacks, now.stacks);
        segments = most(segments, now.segments);
        promises = most(promises, now.promises);
    }
    fprintf(stderr, "%u workers, the callback %s: %llu rounds in %llu ms; at most %llu stacks, %llu segments, %llu promises\n", workers, how,
            (unsigned long long)rounds, (unsigned long long)((now_ns() - begin) / MS), (unsigned long long)stacks, (unsigned long long)segments,
            (unsigned long long)promises);
    stop();
}

/* ---- The signal: without a callback, and where it would not be safe. ---- */

typedef struct Case {
    GoroutineFn bad;
    GoroutineStackOverflowFn callback;
    uint32_t workers;
} Case;
static void run_case(void *arg) {
    Case *c = (Case *)arg;
    start_with(c->callback, c->workers);
    round_of(&c->bad, 1);
}
static void signals(uint32_t workers) {
    Case c;
    GoroutineFn const bad[] = {in_c, emitted, emitted_checked, on_segment};
    size_t i;
    c.workers = workers;
    for (i = 0; i < 4; i++) {
        c.callback = NULL;
        c.bad = bad[i];
        expect_child("no callback", run_case, &c, SIGSEGV, 0, "stack overflow: goroutine ");
    }
    for (i = 0; i < HOW_COUNT; i++) {
        c.callback = CALLBACKS[i];
        c.bad = in_libc;
        expect_child("in a libc function", run_case, &c, SIGSEGV, 0, "stack overflow: goroutine ");
    }
}

int main(void) {
    uint64_t rounds = environment_number("GOROUTINE_TEST_ROUNDS", ROUNDS);
    size_t w, how;
    if (is_slow() && !SANITIZED) {
        fprintf(stderr, "skipped: frames that are given up, and faults\n");
        return 77;
    }
    emitted = FN(emit_recursion(false));
    emitted_checked = FN(emit_recursion(true));
    for (w = 0; w < 3; w++) signals(WORKERS[w]);
    for (w = 0; w < 3; w++) {
        for (how = 0; how < HOW_COUNT; how++) storm(CALLBACKS[how], WORKERS[w], HOW[how], rounds);
    }
    return 0;
}

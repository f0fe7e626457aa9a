/* However a bound goroutine ends, its thread is given back: to the pool, or, if C frames were discarded on it, to nobody. And binding
 * a goroutine frees it of the worker it was pinned to, which the others that are keep. */
#include "check.h"
#include <setjmp.h>

static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}
static bool exists(int thread) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d", thread);
    return access(path, F_OK) == 0;
}
static void *identity(void *arg) { return arg; }

/* ---- one thread for all of them: if one end kept it, the next goroutine would wait for ever ---- */
enum {
    RETURNS,
    EXITS,
    REJECTS,
    OVERFLOWS, /* as a prologue does that finds too little stack */
    UNBINDS,
    CANCELLED,
    CANCELLED_IN_CALLBACK,
    CAUGHT_IN_C, /* C++: over no callback */
    LAST_REUSED = CAUGHT_IN_C,
    EXITS_IN_CALLBACK,
    C_EXITS,
    JUMPS,
    THROWS, /* C++: over C frames, to the goroutine's base */
    ENDS
};
static const char *const END[ENDS] = {"returns", "exits", "rejects", "overflows", "unbinds", "cancelled", "cancelled in a callback",
                                      "exception caught in C", "exits in a callback", "C exits", "jumps", "throws"};
static int thread;
static uint64_t waiting;
static void *sleeps(void *arg) {
    SET(waiting, 1);
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    return arg;
}
static void *c_calls_sleeps(void *arg) { return goroutine_callback_run(sleeps, arg); }
static void *exits(void *arg) { goroutine_exit(GOROUTINE_OK, arg); }
static void *c_calls_exits(void *arg) { return goroutine_callback_run(exits, arg); }
static jmp_buf there;
static void *c_jumps(void *arg) {
    (void)arg;
    longjmp(there, 1);
}
static __attribute__((noinline)) void jump_over_c(void) {
    if (setjmp(there) == 0) {
        execute_ffi_call(NULL, CODE(c_jumps), NULL);
        check_failed(__FILE__, __LINE__, "it jumped");
    }
    goroutine_ffi_landed();
}
#ifdef __cplusplus
static void *c_throws(void *arg) { throw U(arg); }
static void *c_catches(void *arg) {
    try {
        c_throws(arg);
    } catch (uint64_t n) {
        CHECK_EQ(n, U(arg));
    }
    return arg;
}
static __attribute__((noinline)) void throw_over_c(void) {
    try {
        execute_ffi_call(NULL, CODE(c_throws), P(5));
        check_failed(__FILE__, __LINE__, "it threw");
    } catch (uint64_t n) {
        goroutine_ffi_landed();
        CHECK_EQ(n, 5);
    }
}
static bool runs(int end) {
#ifdef __SANITIZE_ADDRESS__
    return end != THROWS && end != CAUGHT_IN_C; /* it takes dead frames of another stack for live */
#else
    return end >= 0;
#endif
}
#else
static void *c_catches(void *arg) { return arg; }
static void throw_over_c(void) {}
static bool runs(int end) { return end != THROWS && end != CAUGHT_IN_C; }
#endif
static void *ends(void *arg) {
    CHECK_EQ(execute_ffi_call(NULL, CODE(identity), arg), arg);
    CHECK(is_goroutine_ffi_bound(goroutine_current()));
    thread = thread_id();
    switch (U(arg)) {
    case EXITS: goroutine_exit(GOROUTINE_OK, arg);
    case REJECTS: goroutine_exit(GOROUTINE_EREJECTED, arg);
    case OVERFLOWS: goroutine_exit(GOROUTINE_ESTACKOVERFLOW, NULL);
    case UNBINDS: OK(goroutine_ffi_unbind()); break;
    case CANCELLED: sleeps(arg); break;
    case CANCELLED_IN_CALLBACK: CHECK_EQ(execute_ffi_call(NULL, CODE(c_calls_sleeps), arg), arg); break;
    case CAUGHT_IN_C: CHECK_EQ(execute_ffi_call(NULL, CODE(c_catches), arg), arg); break;
    case EXITS_IN_CALLBACK: execute_ffi_call(NULL, CODE(c_calls_exits), arg); break;
    case C_EXITS: execute_ffi_call(NULL, CODE(exits), arg); break;
    case JUMPS: jump_over_c(); break;
    case THROWS: throw_over_c(); break;
    default: break;
    }
    return arg;
}
static void every_end(uint32_t workers, uint32_t release) {
    GoroutineConfig config;
    int round, end;
    goroutine_config_init(&config);
    config.workers = workers;
    config.ffi_threads_max = 1;
    config.ffi_release = release;
    OK(goroutine_runtime_start(&config));
    for (round = 0; round < (int)scaled(20, 5); round++) {
        for (end = 0; end < ENDS; end++) {
            GoroutineStatus wanted = end == REJECTS ? GOROUTINE_EREJECTED : end == OVERFLOWS ? GOROUTINE_ESTACKOVERFLOW : GOROUTINE_OK;
            GoroutinePromise *p;
            void *value = P(end);
            uint64_t patience;
            bool retires = end > LAST_REUSED || (release == GOROUTINE_FFI_RETIRE);
            if (!runs(end)) continue;
            SET(waiting, 0);
            CHECK((p = goroutine_spawn(ends, P(end))) != NULL);
            if (end == CANCELLED || end == CANCELLED_IN_CALLBACK) {
                for (patience = 0; GET(waiting) == 0; patience++) {
                    CHECK(patience < 600000);
                    thread_sleep(100 * US);
                }
                OK(goroutine_cancel(p));
            }
            if (goroutine_promise_await_take(p, 30 * SECOND, &value) != wanted || value != P(end)) {
                fprintf(stderr, "%s: not as wanted\n", END[end]);
                CHECK(false);
            }
            for (patience = 0; stats().ffi_bound != 0 || (retires && exists(thread)); patience++) {
                if (patience == 100000) fprintf(stderr, "%s: the thread is %s\n", END[end], exists(thread) ? "there" : "gone");
                CHECK(patience < 100000);
                thread_sleep(100 * US);
            }
            if (!retires && !exists(thread)) {
                fprintf(stderr, "%s: the thread is gone\n", END[end]);
                CHECK(false);
            }
        }
    }
    CHECK_EQ(stats().ffi_waits, 0);
    stop();
}

/* ---- an overflow that nothing catches ends the process, and says whose it was ---- */
static __attribute__((noinline)) uint64_t recurses(uint64_t n) {
    volatile uint64_t room[64];
    room[n % 64] = n;
    return n == 0 ? 0 : recurses(n - 1) + room[n % 64];
}
static void *overflows_bound(void *arg) {
    CHECK_EQ(execute_ffi_call(NULL, CODE(identity), arg), arg);
    return P(recurses(1u << 30));
}
static void report(void *arg) {
    (void)arg;
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would get it otherwise */
    start_workers(1);
    run_goroutine(overflows_bound, NULL);
}

/* ---- binding clears the pin, and leaves those of others alone ---- */
static uint64_t hogs, freed;
static void *hog(void *arg) {
    int own = thread_id();
    uint64_t begun = now_ns();
    ADD(hogs, 1);
    while (GET(freed) == 0) { /* it holds the worker all the time */
        CHECK(now_ns() - begun < 60 * SECOND);
        CHECK_EQ(thread_id(), own);
    }
    goroutine_yield();
    CHECK_EQ(thread_id(), own);
    return arg;
}
static void *stays_pinned(void *arg) {
    int own = thread_id();
    while (GET(freed) == 0) {
        goroutine_yield();
        CHECK_EQ(thread_id(), own); /* whoever else binds */
    }
    return arg;
}
static void *was_pinned(void *arg) {
    GoroutineSpawn s;
    GoroutinePromise *p[3];
    int own = thread_id(), i;
    goroutine_yield();
    CHECK_EQ(thread_id(), own);
    goroutine_spawn_init(&s);
    s.flags = GOROUTINE_SPAWN_PINNED;
    s.fn = CODE(stays_pinned);
    for (i = 0; i < 2; i++) OK(goroutine_spawn_with(&s, &p[i])); /* to this worker */
    goroutine_yield(); /* they have begun */
    s.fn = CODE(hog);
    OK(goroutine_spawn_with(&s, &p[2]));
    OK(goroutine_ffi_bind()); /* the thread is the worker's: this one goes elsewhere */
    CHECK(thread_id() != own);
    while (GET(hogs) == 0) goroutine_yield();
    OK(goroutine_ffi_unbind());
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    goroutine_yield(); /* the worker that it was pinned to takes nobody */
    CHECK(thread_id() != own);
    SET(freed, 1);
    for (i = 0; i < 3; i++) OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
    return arg;
}
static void affinity(void) {
    GoroutineSpawn s;
    GoroutinePromise *p;
    int i;
    start_workers(2);
    for (i = 0; i < 10; i++) {
        goroutine_spawn_init(&s);
        s.flags = GOROUTINE_SPAWN_PINNED;
        s.fn = CODE(was_pinned);
        hogs = freed = 0;
        OK(goroutine_spawn_with(&s, &p));
        OK(goroutine_promise_await_take(p, 60 * SECOND, NULL));
    }
    stop();
}

int main(void) {
    expect_child("an overflow of a bound goroutine", report, NULL, SIGSEGV, 0, "stack overflow: goroutine ");
    affinity();
    every_end(1, GOROUTINE_FFI_REUSE);
    every_end(2, GOROUTINE_FFI_REUSE);
    every_end(2, GOROUTINE_FFI_RETIRE);
    return 0;
}

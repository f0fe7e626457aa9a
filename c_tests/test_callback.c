/* Language code called back by C: from each class of foreign call, nested 50 deep with a park at every level, from threads that the
 * library did not make, and with C that jumps away. */
#include "check.h"
#include <setjmp.h>

#define WORD(g, offset) (*(volatile uint64_t *)((char *)(g) + (offset)))
#define NATIVE(g) WORD(g, GOROUTINE_OFFSET_NATIVE_STACK)
#define FOREIGN(g) WORD(g, GOROUTINE_OFFSET_FOREIGN_SP)

enum { BOUND, LEAF, BLOCKING, KINDS };
static const char *const KIND[KINDS] = {"bound", "leaf", "blocking"};

static void *call(unsigned kind, void *(*function)(void *), void *arg) {
    switch (kind) {
    case BOUND: return execute_ffi_call(NULL, CODE(function), arg);
    case LEAF: return goroutine_ffi_call_leaf(CODE(function), arg);
    default: return goroutine_ffi_call_blocking(CODE(function), arg);
    }
}
static __attribute__((noinline)) uint64_t stack_pointer(void) { return U(__builtin_frame_address(0)); }
/* On the stack that the running thread was born with? */
static bool is_native(uint64_t address) {
    pthread_attr_t attributes;
    void *low = NULL;
    size_t bytes = 0;
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &low, &bytes) == 0);
    pthread_attr_destroy(&attributes);
    return address >= U(low) && address < U(low) + bytes;
}
static void check_in_language(void) {
    Goroutine *g = goroutine_current();
    void *lo = NULL, *hi = NULL;
    uint64_t sp = stack_pointer();
    CHECK(g != NULL);
    OK(goroutine_stack_bounds(&lo, &hi));
    CHECK(sp > U(lo) && sp < U(hi));
    CHECK_EQ(FOREIGN(g), 0);
}
static void check_in_c(void) {
    Goroutine *g = goroutine_current();
    CHECK(is_native(stack_pointer()));
    CHECK(FOREIGN(g) != 0);
    CHECK(NATIVE(g) > stack_pointer() && NATIVE(g) % 16 == 0);
}

/* ---- nesting ---- */

typedef struct Nest {
    unsigned kind, depth;
    bool mixed, parks;
    uint64_t sum;
} Nest;
static Nest nest_at(const Nest *above) {
    Nest next = *above;
    next.depth--;
    if (next.mixed) next.kind = (next.kind + 1) % KINDS;
    return next;
}
static void *language(void *arg);
static void *in_c(void *arg) {
    Nest *nest = (Nest *)arg;
    uint64_t before;
    check_in_c();
    before = NATIVE(goroutine_current());
    nest->sum += U(goroutine_callback_run(language, nest));
    check_in_c();
    CHECK_EQ(NATIVE(goroutine_current()), before);
    return nest;
}
static bool ready_now(GoroutineTicket ticket, void *arg) {
    goroutine_ready(ticket, *(int *)arg);
    return true;
}
static void *resolver(void *promise) {
    goroutine_yield();
    OK(goroutine_promise_resolve((GoroutinePromise *)promise, P(7)));
    return NULL;
}
/* errno is kept across whatever parks. (Other functions of the library may change it, as any function may.) */
#define KEEPS_ERRNO(parks) \
    do { \
        errno = 1000 + (int)how; \
        parks; \
        CHECK_EQ(errno, 1000 + (int)how); \
    } while (0)
static void park_somehow(unsigned how) {
    GoroutinePromise *promise = how % 5 < 3 ? NULL : goroutine_promise_new();
    void *value = NULL;
    int status = 77;
    switch (how % 5) {
    case 0: KEEPS_ERRNO(goroutine_yield()); break;
    case 1: KEEPS_ERRNO(OK(goroutine_sleep(20 * US))); break;
    case 2: KEEPS_ERRNO(CHECK_EQ(goroutine_park(ready_now, &status, GOROUTINE_FOREVER), 77)); break;
    case 3:
        OK(goroutine_go(resolver, promise));
        KEEPS_ERRNO(OK(goroutine_promise_await(promise, 20 * SECOND, &value)));
        CHECK_EQ(value, P(7));
        break;
    default: KEEPS_ERRNO(CHECK_EQ(goroutine_promise_await(promise, 30 * US, NULL), GOROUTINE_ETIMEDOUT));
    }
    goroutine_promise_release(promise);
}
static void *language(void *arg) {
    Nest *nest = (Nest *)arg, next;
    pthread_t thread = pthread_self();
    uint64_t deeper = 0;
    check_in_language();
    if (nest->parks) park_somehow(nest->depth);
    CHECK(pthread_equal(thread, pthread_self())); /* C frames are live: it stays */
    if (nest->depth > 0) {
        next = nest_at(nest);
        next.sum = 0;
        CHECK_EQ(call(next.kind, in_c, &next), &next);
        check_in_language();
        deeper = next.sum;
        if (nest->parks) park_somehow(nest->depth + 1);
    }
    CHECK(pthread_equal(thread, pthread_self()));
    return P(deeper + nest->depth);
}
static void *nests(void *arg) {
    Nest *nest = (Nest *)arg;
    CHECK_EQ(call(nest->kind, in_c, nest), nest);
    check_in_language();
    if (nest->kind != BOUND && !nest->mixed) CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    goroutine_yield();
    return NULL;
}
static void test_nesting(uint32_t workers) {
    unsigned kind, parks, i;
    start_workers(workers);
    for (parks = 0; parks < 2; parks++) {
        for (kind = 0; kind <= KINDS; kind++) { /* the last: each level another kind */
            Nest nest[16];
            GoroutinePromise *promises[16];
            for (i = 0; i < 16; i++) {
                Nest one = {kind % KINDS, 50, kind == KINDS, parks != 0, 0};
                nest[i] = one;
                CHECK((promises[i] = goroutine_spawn(nests, &nest[i])) != NULL);
            }
            for (i = 0; i < 16; i++) {
                OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
                CHECK_EQ(nest[i].sum, 50 * 51 / 2);
            }
            fprintf(stderr, "%u workers, %s, %s: 16 x 50 deep\n", workers, kind == KINDS ? "mixed" : KIND[kind], parks ? "parking" : "straight");
        }
    }
    stop();
}

/* ---- C parks by itself, and calls as if it were the language ---- */

static void *identity(void *arg) { return arg; }
static void *c_parks(void *arg) {
    pthread_t thread = pthread_self();
    uint64_t native = NATIVE(goroutine_current());
    unsigned how;
    for (how = 0; how < 5; how++) {
        park_somehow(how);
        CHECK(pthread_equal(thread, pthread_self()));
        check_in_c();
        goroutine_safepoint(); /* C is live: the thread is not given back here */
        CHECK_EQ(goroutine_ffi_unbind(), is_goroutine_ffi_bound(goroutine_current()) ? GOROUTINE_EPERM : GOROUTINE_OK);
        CHECK(pthread_equal(thread, pthread_self()));
        check_in_c();
    }
    CHECK_EQ(execute_ffi_call(NULL, CODE(identity), P(1)), P(1));
    CHECK_EQ(goroutine_ffi_call_leaf(CODE(identity), P(2)), P(2));
    CHECK_EQ(goroutine_ffi_call_blocking(CODE(identity), P(3)), P(3));
    CHECK_EQ(goroutine_callback_run(identity, P(4)), P(4));
    CHECK_EQ(NATIVE(goroutine_current()), native);
    check_in_c();
    return arg;
}
static void *calls_parking_c(void *kind) {
    CHECK_EQ(call((unsigned)U(kind), c_parks, P(9)), P(9));
    check_in_language();
    CHECK(is_goroutine_ffi_bound(goroutine_current())); /* for good: C made a bound call */
    return NULL;
}
static void test_c_parks(void) {
    unsigned i;
    start_workers(2);
    for (i = 0; i < 30; i++) OK(goroutine_go(calls_parking_c, P(i % KINDS)));
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
}

/* ---- goroutine_exit, deep in callbacks and from C ---- */

typedef struct Exit {
    unsigned kind, depth;
    bool from_c, deadly_wait;
} Exit;
static void *exits(void *arg);
static void *c_before_exit(void *arg) {
    Exit *e = (Exit *)arg;
    if (e->depth == 0 && e->from_c) goroutine_exit(GOROUTINE_OK, P(42));
    goroutine_callback_run(exits, arg);
    check_failed(__FILE__, __LINE__, "nobody comes back here");
    return NULL;
}
static void *exits(void *arg) {
    Exit *e = (Exit *)arg;
    if (e->deadly_wait) goroutine_yield();
    if (e->depth == 0 && !e->from_c) goroutine_exit(GOROUTINE_OK, P(42));
    if (e->depth > 0) e->depth--;
    call(e->kind, c_before_exit, e);
    check_failed(__FILE__, __LINE__, "nobody comes back here either");
    return NULL;
}
static void test_exit(void) {
    unsigned i;
    uint64_t threads;
    GoroutineStats stats;
    start_workers(2);
    for (i = 0; i < scaled(600, 10); i++) {
        void *value = NULL;
        Exit e;
        GoroutinePromise *promise;
        e.kind = i % KINDS, e.depth = i % 4, e.from_c = i / 12 % 2 != 0, e.deadly_wait = i / 24 % 2 != 0;
        CHECK((promise = goroutine_spawn(exits, &e)) != NULL);
        OK(goroutine_promise_await_take(promise, 20 * SECOND, &value));
        CHECK_EQ(value, P(42));
    }
    OK(goroutine_runtime_wait(20 * SECOND));
    /* The threads with half-run C on them have ended. */
    for (i = 0; i < 2000; i++) {
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        threads = stats.threads;
        if (threads < 20) break;
        thread_sleep(MS);
    }
    fprintf(stderr, "%" PRIu64 " threads after %d exits\n", threads, (int)scaled(600, 10));
    CHECK(threads < 20);
    stop();
}

/* ---- jumps ---- */

static void *jumps_within(void *arg) {
    jmp_buf there;
    volatile int turns = 0;
    if (setjmp(there) < 5) {
        turns = turns + 1;
        goroutine_callback_run(identity, NULL);
        longjmp(there, turns);
    }
    return arg;
}

typedef struct Jump {
    unsigned kind;
    int depth;
    bool parks;
    jmp_buf there;
} Jump;
static void *deeper(void *arg);
static void *c_jumps(void *arg) {
    Jump *jump = (Jump *)arg;
    volatile char room[100];
    memset((char *)room, 1, sizeof room);
    if (jump->depth-- == 0) longjmp(jump->there, 1);
    return goroutine_callback_run(deeper, arg);
}
static void *deeper(void *arg) {
    Jump *jump = (Jump *)arg;
    if (jump->parks) goroutine_yield();
    return call(jump->kind, c_jumps, arg);
}
/* Over `depth` callbacks, onto the goroutine's own stack. */
static __attribute__((noinline)) void jump_out(unsigned kind, int depth, bool parks) {
    Jump jump;
    jump.kind = kind;
    jump.depth = depth;
    jump.parks = parks;
    if (setjmp(jump.there) == 0) {
        call(kind, c_jumps, &jump);
        check_failed(__FILE__, __LINE__, "it jumped");
    }
    goroutine_ffi_landed();
    check_in_language();
}
static void *stays_low(void *arg) {
    *(uint64_t *)arg = stack_pointer();
    return NULL;
}
static uint64_t depth_of_c(unsigned kind) {
    uint64_t at = 0;
    call(kind, stays_low, &at);
    return at;
}
/* From a nested stretch of C to the one before, over the language's frames between: it lands on the native stack. */
static void *c_lands(void *arg) {
    Jump *jump = (Jump *)arg;
    if (setjmp(jump->there) == 0) {
        goroutine_callback_run(deeper, jump);
        check_failed(__FILE__, __LINE__, "it jumped");
    }
    if (jump->parks) goroutine_ffi_landed(); /* without: the end of the call puts it right */
    CHECK(is_native(stack_pointer()));
    return goroutine_callback_run(identity, P(5));
}
static void *jumper(void *arg) {
    unsigned kind = (unsigned)U(arg) % KINDS, i;
    uint64_t depth = 0;
    CHECK_EQ(call(kind, jumps_within, P(3)), P(3));
    if (kind != BOUND) CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    for (i = 0; i < scaled(300, 10); i++) {
        Jump jump;
        jump_out(kind, (int)(i % 6), i % 4 == 0);
        CHECK(is_goroutine_ffi_bound(goroutine_current())); /* it keeps the thread that has its half-run C */
        if (depth == 0) depth = depth_of_c(kind);
        CHECK_EQ(depth_of_c(kind), depth); /* no native stack is lost */
        goroutine_yield();
        jump.kind = kind;
        jump.depth = (int)(i % 4);
        jump.parks = i % 2 == 0;
        CHECK_EQ(call(kind, c_lands, &jump), P(5));
        check_in_language();
        CHECK_EQ(depth_of_c(kind), depth);
        if (i % 10 == 0) OK(goroutine_sleep(10 * US));
    }
    goroutine_ffi_landed(); /* when nothing was jumped over it does nothing */
    CHECK_EQ(call(kind, identity, P(8)), P(8));
    return NULL;
}
/* The first jump of an unbound goroutine is over C that was called again, by an inner call of its. */
static void *jumps_once(void *arg) {
    if (U(arg) % 2 == 0) goroutine_ffi_call_leaf(CODE(identity), NULL);
    jump_out(1 + (unsigned)U(arg) % 2, (int)U(arg) % 3, U(arg) / 6 % 2 == 0);
    CHECK(is_goroutine_ffi_bound(goroutine_current()));
    return NULL;
}
/* The same, but it lands in C, which says nothing and returns. */
static void *lands_once(void *arg) {
    unsigned kind = 1 + (unsigned)U(arg) % 2;
    Jump jump;
    if (U(arg) % 3 == 0) call(kind, identity, NULL);
    jump.kind = kind;
    jump.depth = (int)U(arg) % 4;
    jump.parks = false;
    CHECK_EQ(call(kind, c_lands, &jump), P(5));
    check_in_language();
    CHECK(is_goroutine_ffi_bound(goroutine_current()));
    CHECK_EQ(depth_of_c(kind), depth_of_c(BOUND)); /* no native stack is lost */
    return NULL;
}
static void test_jumps(void) {
    unsigned i;
    start_workers(2);
    for (i = 0; i < 48; i++) OK(goroutine_go(lands_once, P(i)));
    for (i = 0; i < 9; i++) OK(goroutine_go(jumper, P(i)));
    for (i = 0; i < 48; i++) OK(goroutine_go(jumps_once, P(i)));
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
}

/* ---- cancellation ---- */

static uint32_t waits;
static void *waits_in_callback(void *forever) {
    GoroutineStatus status;
    ADD(waits, 1);
    status = goroutine_promise_await((GoroutinePromise *)forever, GOROUTINE_FOREVER, NULL);
    CHECK_EQ(status, GOROUTINE_ECANCELED);
    CHECK_EQ(goroutine_sleep(MS), GOROUTINE_ECANCELED);
    return P(6);
}
static void *c_waits(void *forever) { return goroutine_callback_run(waits_in_callback, forever); }
typedef struct Waiter {
    unsigned kind;
    GoroutinePromise *forever;
} Waiter;
static void *waiter(void *arg) {
    Waiter *w = (Waiter *)arg;
    return call(w->kind, c_waits, w->forever);
}
static void test_cancel(void) {
    unsigned i;
    start_workers(1);
    for (i = 0; i < 30; i++) {
        Waiter w = {i % KINDS, goroutine_promise_new()};
        GoroutinePromise *promise;
        void *value = NULL;
        SET(waits, 0);
        promise = goroutine_spawn(waiter, &w);
        while (GET(waits) == 0) thread_sleep(100 * US);
        if (i / KINDS % 2) thread_sleep(MS); /* it sleeps by now */
        OK(goroutine_cancel(promise));
        OK(goroutine_promise_await_take(promise, 20 * SECOND, &value));
        CHECK_EQ(value, P(6));
        goroutine_promise_release(w.forever);
    }
    stop();
}

/* ---- what C may do in a blocking call, which has no worker ---- */

static uint64_t spawned_by_c;
static void *counts(void *arg) {
    ADD(spawned_by_c, 1);
    return arg;
}
static void *c_uses_the_library(void *promise) {
    unsigned i;
    for (i = 0; i < 100; i++) OK(goroutine_go(counts, NULL));
    CHECK(goroutine_timer_stop(goroutine_timer_start(SECOND, 0, counts, NULL)));
    OK(goroutine_promise_resolve((GoroutinePromise *)promise, P(11)));
    return NULL;
}
static void *uses(void *kind) {
    GoroutinePromise *promise = goroutine_promise_new();
    void *value = NULL;
    call((unsigned)U(kind), c_uses_the_library, promise);
    OK(goroutine_promise_await_take(promise, SECOND, &value));
    CHECK_EQ(value, P(11));
    return NULL;
}
static void test_c_uses_the_library(void) {
    unsigned i;
    start_workers(2);
    for (i = 0; i < 60; i++) OK(goroutine_go(uses, P(i % KINDS)));
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(GET(spawned_by_c), 6000);
    stop();
}

/* ---- threads that the library did not make ---- */

static uint64_t ended, refused;
static void on_end(Goroutine *g, void *arg) {
    CHECK(goroutine_id(g) != 0);
    CHECK(arg == &ended);
    if (*(uint32_t *)((char *)g + GOROUTINE_OFFSET_FLAGS) & GOROUTINE_FLAG_ATTACHED) ADD(ended, 1);
}
static void on_unhandled(const Goroutine *g, GoroutineStatus status, void *reason, void *arg) {
    CHECK(g != NULL && arg == &refused);
    CHECK_EQ(status, GOROUTINE_EREJECTED);
    CHECK_EQ(reason, P(13));
    ADD(refused, 1);
}
static void *twice(void *arg) {
    goroutine_yield();
    return P(U(arg) * 2);
}
static void *attached(void *arg) {
    Goroutine *g = goroutine_current();
    pthread_t thread = pthread_self();
    GoroutinePromise *promises[10];
    uint64_t i, sum = 0;
    uint32_t flags = *(uint32_t *)((char *)g + GOROUTINE_OFFSET_FLAGS);
    uint64_t *user = (uint64_t *)((char *)g + GOROUTINE_OFFSET_USER);
    CHECK_EQ(errno, 33); /* the goroutine is the thread */
    check_in_language();
    CHECK(!is_native(stack_pointer()));
    CHECK_EQ(flags & (GOROUTINE_FLAG_BOUND | GOROUTINE_FLAG_ATTACHED), GOROUTINE_FLAG_BOUND | GOROUTINE_FLAG_ATTACHED);
    CHECK(is_goroutine_ffi_bound(g));
    CHECK_EQ(goroutine_ffi_unbind(), GOROUTINE_EPERM);
    OK(goroutine_ffi_bind());
    CHECK_EQ(goroutine_runtime_shutdown(0), GOROUTINE_EDEADLK);
    user[0]++;
    for (i = 0; i < 10; i++) CHECK((promises[i] = goroutine_spawn(twice, P(i))) != NULL);
    OK(goroutine_sleep(50 * US));
    goroutine_yield();
    for (i = 0; i < 10; i++) {
        void *value = NULL;
        OK(goroutine_promise_await_take(promises[i], 20 * SECOND, &value));
        sum += U(value);
    }
    CHECK_EQ(sum, 90);
    for (i = 0; i < KINDS; i++) {
        Nest nest = {(unsigned)i, 5, false, true, 0};
        call((unsigned)i, in_c, &nest);
        CHECK_EQ(nest.sum, 15);
    }
    for (i = 0; i < 4; i++) jump_out((unsigned)i % KINDS, (int)i, i % 2 == 0);
    CHECK(pthread_equal(thread, pthread_self()));
    CHECK_EQ(goroutine_current(), g);
    *(uint64_t *)arg = goroutine_id(g);
    errno = 44;
    return P(user[0]);
}
static void *exits_attached(void *arg) {
    Exit e = {BOUND, (unsigned)U(arg) % 4, U(arg) / 4 % 2 != 0, U(arg) / 8 % 2 != 0};
    return exits(&e);
}
static void *rejects(void *arg) {
    goroutine_exit(GOROUTINE_EREJECTED, arg);
    return NULL;
}
static void *foreign_thread(void *arg) {
    uint64_t id = 0, first = 0, i;
    CHECK(goroutine_current() == NULL);
    for (i = 1; i <= scaled(30, 10); i++) {
        errno = 33;
        CHECK_EQ(goroutine_callback_run(attached, &id), P(i)); /* the user words last as long as the thread */
        CHECK_EQ(errno, 44);
        if (first == 0) first = id;
        CHECK_EQ(id, first);
        CHECK(goroutine_current() == NULL);
        CHECK_EQ(goroutine_callback_run(exits_attached, P(i)), P(42));
        CHECK_EQ(goroutine_ffi_call_leaf(CODE(identity), P(i)), P(i)); /* a plain thread between callbacks */
        OK(goroutine_sleep(1000));
    }
    CHECK(goroutine_callback_run(rejects, P(13)) == NULL);
    CHECK(goroutine_callback_run(NULL, P(13)) == NULL);
    return arg;
}
static void start_observed(uint32_t workers) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = workers;
    config.goroutine_end = on_end;
    config.goroutine_end_arg = &ended;
    config.unhandled = on_unhandled;
    config.unhandled_arg = &refused;
    OK(goroutine_runtime_start(&config));
}
static void test_foreign_threads(void) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    unsigned i, round;
    for (round = 0; round < 3; round++) {
        SET(ended, 0);
        SET(refused, 0);
        start_observed(1 + round % 2);
        for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, foreign_thread, NULL) == 0);
        for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK_EQ(GET(ended), THREADS);
        CHECK_EQ(GET(refused), THREADS);
        OK(goroutine_runtime_wait(20 * SECOND));
        stop();
    }
}

/* A shutdown does not wait for a thread between callbacks, cancels one inside, and the thread may come back later. */
static uint32_t stage;
static void *until_cancelled(void *arg) {
    SET(stage, 1);
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER - 1), GOROUTINE_ECANCELED);
    return arg;
}
static void *notes_id(void *arg) {
    *(uint64_t *)arg = goroutine_id(goroutine_current());
    CHECK_EQ(goroutine_sleep(10 * US), GOROUTINE_OK);
    return arg;
}
static void *long_lived(void *arg) {
    uint64_t one = 0, two = 0;
    CHECK_EQ(goroutine_callback_run(notes_id, &one), &one);
    SET(stage, 2);
    while (GET(stage) != 3) thread_sleep(100 * US);
    CHECK_EQ(goroutine_callback_run(notes_id, &two), &two);
    CHECK(one != two); /* another runtime, another goroutine */
    CHECK_EQ(goroutine_callback_run(until_cancelled, P(5)), P(5));
    return arg;
}
static void test_shutdown_and_attached(void) {
    pthread_t thread;
    SET(stage, 0);
    SET(ended, 0);
    start_observed(2);
    CHECK(pthread_create(&thread, NULL, long_lived, NULL) == 0);
    while (GET(stage) != 2) thread_sleep(100 * US);
    stop();
    CHECK_EQ(GET(ended), 1);
    start_observed(2);
    SET(stage, 3);
    while (GET(stage) != 1) thread_sleep(100 * US);
    thread_sleep(MS);
    stop();
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ(GET(ended), 2);
}

/* Callbacks of the library are no goroutine's code, and may run some all the same. */
static bool commits(GoroutineTicket ticket, void *arg) {
    CHECK(goroutine_current() == NULL);
    CHECK_EQ(goroutine_callback_run(twice, P(21)), P(42));
    goroutine_ready(ticket, 5);
    *(bool *)arg = true;
    return true;
}
static void *parks_with_callback(void *arg) {
    bool was = false;
    int i;
    for (i = 0; i < 50; i++) {
        CHECK_EQ(goroutine_park(commits, &was, 10 * SECOND), 5);
        CHECK(was);
        was = false;
    }
    return arg;
}
static void *binds_and_parks(void *arg) {
    OK(goroutine_ffi_bind());
    return parks_with_callback(arg);
}
static void test_callback_in_commit(void) {
    unsigned i;
    start_workers(2);
    for (i = 0; i < 4; i++) OK(goroutine_go(i % 2 ? binds_and_parks : parks_with_callback, NULL));
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
}

static void callback_after_shutdown(void *arg) {
    (void)arg;
    start_workers(1);
    stop();
    CHECK(goroutine_callback_run(identity, P(1)) == NULL);
}
static void callback_starts_runtime(void *arg) {
    GoroutineStats stats;
    (void)arg;
    CHECK_EQ(goroutine_callback_run(twice, P(2)), P(4));
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    stop();
}
/* In the child of a fork, too, and the parent's goroutine is not the child's. */
static void callback_in_child(void *arg) {
    pid_t pid;
    int status = 0;
    (void)arg;
    start_workers(1);
    CHECK_EQ(goroutine_callback_run(twice, P(2)), P(4));
    pid = fork();
    if (pid == 0) {
        alarm(20);
        CHECK_EQ(goroutine_callback_run(twice, P(3)), P(6));
        stop();
        _exit(9);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    CHECK_EQ(goroutine_callback_run(twice, P(4)), P(8));
    stop();
}

int main(void) {
    uint32_t workers;
    expect_child("a callback after the shutdown", callback_after_shutdown, NULL, 0, 0, "GOROUTINE_ESHUTDOWN: the callback was not run");
    expect_child("a callback starts the runtime", callback_starts_runtime, NULL, 0, 0, NULL);
#ifdef __SANITIZE_ADDRESS__
    fprintf(stderr, "skipped: a callback in a child of fork (the sanitizer's allocator may be locked in the child)\n");
    (void)callback_in_child;
#else
    expect_child("a callback in a child of fork", callback_in_child, NULL, 0, 0, NULL);
#endif
    for (workers = 1; workers <= 2; workers++) test_nesting(workers);
    test_c_parks();
    test_exit();
    test_jumps();
    test_cancel();
    test_c_uses_the_library();
    test_foreign_threads();
    test_shutdown_and_attached();
    test_callback_in_commit();
    return 0;
}

/* The classes of foreign calls: where C runs, on which thread, what is refused, whose errno it is. */
#include "check.h"

#define WORD(g, offset) (*(volatile uint64_t *)((char *)(g) + (offset)))
#define PREEMPT(g) (*(volatile uint32_t *)((char *)(g) + GOROUTINE_OFFSET_PREEMPT))

enum { BOUND, LEAF, BLOCKING, KINDS };

static void *call(unsigned kind, void *(*function)(void *), void *arg) {
    void *result = P(99);
    switch (kind) {
    case BOUND: return execute_ffi_call(goroutine_current(), CODE(function), arg);
    case LEAF: return call_c_function_safely(CODE(function), arg);
    case BLOCKING: return goroutine_ffi_call_blocking(CODE(function), arg);
    default: OK(goroutine_ffi_call(kind - KINDS, CODE(function), arg, &result)); return result;
    }
}
/* Thread-local variables lie there, too: ThreadSanitizer has many. */
#if defined(__SANITIZE_THREAD__)
enum { ABOVE = 2 << 20 };
#else
enum { ABOVE = 0 };
#endif
/* How far from the end of the stack that the running thread was born with; 0: elsewhere. */
static uint64_t native_depth(void) {
    pthread_attr_t attributes;
    void *low = NULL;
    size_t bytes = 0;
    uint64_t here = U(__builtin_frame_address(0));
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &low, &bytes) == 0);
    pthread_attr_destroy(&attributes);
    return here >= U(low) && here < U(low) + bytes ? U(low) + bytes - here : 0;
}
static int get_errno(void) __attribute__((noinline));
static int get_errno(void) { return errno; }
static void set_errno(int value) __attribute__((noinline));
static void set_errno(int value) { errno = value; }

/* ---- where ---- */

typedef struct Seen {
    pthread_t thread;
    uint64_t sp;
    int errno_was;
} Seen;
static void *sees(void *arg) {
    Seen *seen = (Seen *)arg;
    Goroutine *g = goroutine_current();
    CHECK(U(__builtin_frame_address(0)) % 16 == 0);
    CHECK(g != NULL && WORD(g, GOROUTINE_OFFSET_FOREIGN_SP) != 0);
    CHECK(native_depth() > 0 && native_depth() < ABOVE + (64 << 10)); /* nearly all of it is free */
    seen->thread = pthread_self();
    seen->sp = U(__builtin_frame_address(0));
    seen->errno_was = get_errno();
    set_errno(EILSEQ);
    return arg;
}
static void *calls(void *arg) {
    unsigned kind = (unsigned)U(arg), i;
    Goroutine *g = goroutine_current();
    pthread_t own = pthread_self();
    bool bound = kind % KINDS == BOUND;
    for (i = 0; i < 300; i++) {
        Seen seen;
        set_errno((int)i);
        CHECK_EQ(call(kind, sees, &seen), &seen);
        CHECK_EQ(seen.errno_was, (int)i);
        CHECK_EQ(get_errno(), EILSEQ); /* what the call left there */
        CHECK_EQ(WORD(g, GOROUTINE_OFFSET_FOREIGN_SP), 0);
        CHECK(native_depth() == 0);
        CHECK_EQ(is_goroutine_ffi_bound(g), bound);
        if (bound) {
            if (i == 0) own = seen.thread;
            CHECK(pthread_equal(own, seen.thread));
            CHECK(pthread_equal(own, pthread_self()));
            CHECK(WORD(g, GOROUTINE_OFFSET_NATIVE_STACK) > seen.sp);
        }
        switch (i % 4) {
        case 0: goroutine_yield(); break;
        case 1: OK(goroutine_sleep(i % 8 == 1 ? 10 * US : 0)); break;
        default: break;
        }
        CHECK_EQ(get_errno(), EILSEQ);
        if (!bound && i % 4 == 0) CHECK_EQ(WORD(g, GOROUTINE_OFFSET_NATIVE_STACK), 0); /* it may have moved */
    }
    return NULL;
}
static void test_where(uint32_t workers) {
    unsigned i;
    start_workers(workers);
    for (i = 0; i < 60; i++) OK(goroutine_go(calls, P(i % (2 * KINDS))));
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
}

/* A thread with a leaf call's goroutine on it gives others their turn, and none is lost. */
static void *leaf_and_yield(void *count) {
    unsigned i;
    for (i = 0; i < 20000; i++) {
        if (i % 3 != 0) CHECK_EQ(goroutine_ffi_call_leaf(CODE(get_errno), NULL), NULL);
        if (i % 7 == 0) goroutine_ffi_call_blocking(CODE(get_errno), NULL);
        goroutine_yield();
    }
    ADD(*(uint64_t *)count, 1);
    return NULL;
}
static void test_turns(uint32_t workers) {
    uint64_t count = 0;
    unsigned i;
    start_workers(workers);
    for (i = 0; i < 10; i++) OK(goroutine_go(leaf_and_yield, &count));
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(count, 10);
    stop();
}

/* ---- errno across switches: each call leaves its own ---- */

static void *leaves_errno(void *value) {
    set_errno((int)U(value));
    return value;
}
static void *keeps_errno(void *seed) {
    uint64_t random = random_seed(11, U(seed));
    unsigned i;
    for (i = 0; i < scaled(3000, 20); i++) {
        int value = (int)(random_next(&random) % 70000);
        call((unsigned)(random_next(&random) % (2 * KINDS)), leaves_errno, P(value));
        CHECK_EQ(get_errno(), value);
        if (random_next(&random) % 4 == 0) goroutine_yield();
        if (random_next(&random) % 64 == 0) goroutine_sleep(random_next(&random) % (20 * US));
        CHECK_EQ(get_errno(), value);
        if (random_next(&random) % 256 == 0) OK(goroutine_ffi_unbind());
        CHECK_EQ(get_errno(), value);
    }
    return NULL;
}
static void test_errno(void) {
    unsigned i;
    start_workers(2);
    for (i = 0; i < 20; i++) OK(goroutine_go(keeps_errno, P(i)));
    OK(goroutine_runtime_wait(100 * SECOND));
    stop();
}

/* ---- the poll ---- */

static void *raises(void *g) {
    PREEMPT(g) = 1;
    return g;
}
static void *polls(void *kind) {
    Goroutine *g = goroutine_current();
    CHECK_EQ(call((unsigned)U(kind), raises, g), g);
    CHECK_EQ(PREEMPT(g), 0); /* it gave way */
    return NULL;
}
static void test_poll(void) {
    unsigned kind;
    start_workers(1);
    for (kind = 0; kind < 2 * KINDS; kind++) run_goroutine(polls, P(kind));
    stop();
}

/* ---- what is refused, and plain threads ---- */

static struct {
    Goroutine *g;
    GoroutineStatus status;
    uint64_t times;
} failed;
static void on_failed(Goroutine *g, GoroutineStatus status, void *arg) {
    CHECK(arg == &failed);
    failed.g = g;
    failed.status = status;
    failed.times++;
}
static void *on_thread(void *arg) {
    CHECK(native_depth() > 0);
    return P(U(arg) + 1);
}
static void check_nulls(void) {
    void *result = P(55);
    CHECK(goroutine_ffi_call_leaf(NULL, P(1)) == NULL);
    CHECK(goroutine_ffi_call_blocking(NULL, P(1)) == NULL);
    CHECK(call_c_function_safely(NULL, P(1)) == NULL);
    CHECK(!is_goroutine_ffi_bound(NULL));
    CHECK_EQ(goroutine_ffi_call(GOROUTINE_FFI_LEAF, NULL, NULL, &result), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_ffi_call(3, CODE(on_thread), NULL, &result), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_ffi_call(UINT32_MAX, CODE(on_thread), NULL, &result), GOROUTINE_EINVAL);
    CHECK_EQ(result, P(55));
    OK(goroutine_ffi_call(GOROUTINE_FFI_LEAF, CODE(on_thread), P(1), NULL));
    OK(goroutine_ffi_call(GOROUTINE_FFI_BOUND, CODE(on_thread), P(1), &result));
    CHECK_EQ(result, P(2));
}
static void *bad_input(void *other) {
    Goroutine *g = goroutine_current();
    uint64_t times = failed.times;
    CHECK(!is_goroutine_ffi_bound(g));
    CHECK(execute_ffi_call(g, NULL, NULL) == NULL);
    CHECK(failed.times == times + 1 && failed.g == g && failed.status == GOROUTINE_EINVAL);
    CHECK(migrate_to_ffi_thread(NULL, NULL, NULL) == NULL);
    CHECK_EQ(failed.times, times + 2);
    CHECK(execute_ffi_call((Goroutine *)other, CODE(on_thread), NULL) == NULL);
    CHECK_EQ(failed.times, times + 3);
    CHECK(!is_goroutine_ffi_bound(g));
    check_nulls(); /* binds */
    CHECK(is_goroutine_ffi_bound(g));
    CHECK(execute_ffi_call(g, NULL, NULL) == NULL);
    CHECK(execute_ffi_call((Goroutine *)other, CODE(on_thread), NULL) == NULL);
    CHECK_EQ(failed.times, times + 5);
    CHECK_EQ(migrate_to_ffi_thread(g, CODE(on_thread), P(4)), P(5));
    OK(goroutine_ffi_bind());
    OK(goroutine_ffi_unbind());
    OK(goroutine_ffi_unbind());
    CHECK(!is_goroutine_ffi_bound(g));
    CHECK_EQ(migrate_to_ffi_thread(g, CODE(on_thread), P(4)), P(5));
    CHECK(is_goroutine_ffi_bound(g));
    return NULL;
}
static void *prepares(void *arg) {
    Goroutine *g = goroutine_current();
    CHECK_EQ(WORD(g, GOROUTINE_OFFSET_NATIVE_STACK), 0);
    OK(goroutine_ffi_prepare());
    CHECK(WORD(g, GOROUTINE_OFFSET_NATIVE_STACK) != 0);
    OK(goroutine_ffi_prepare());
    goroutine_yield();
    CHECK_EQ(WORD(g, GOROUTINE_OFFSET_NATIVE_STACK), 0);
    OK(goroutine_ffi_bind());
    OK(goroutine_ffi_prepare());
    CHECK(WORD(g, GOROUTINE_OFFSET_NATIVE_STACK) != 0);
    return arg;
}
static void test_refused(void) {
    GoroutineConfig config;
    Goroutine *dummy;
    unsigned i;
    /* Before a start, and with the word that emitted code would pass. */
    __asm__("movq %%fs:(%1), %0" : "=r"(dummy) : "r"((int64_t)goroutine_tls_offset()));
    check_nulls();
    CHECK_EQ(execute_ffi_call(dummy, CODE(on_thread), P(6)), P(7));
    CHECK_EQ(execute_ffi_call(NULL, CODE(on_thread), P(6)), P(7));
    CHECK_EQ(migrate_to_ffi_thread(NULL, CODE(on_thread), P(6)), P(7));
    CHECK(execute_ffi_call(NULL, NULL, P(6)) == NULL);
    CHECK_EQ(goroutine_ffi_bind(), GOROUTINE_ENOTGOROUTINE);
    CHECK_EQ(goroutine_ffi_unbind(), GOROUTINE_ENOTGOROUTINE);
    CHECK_EQ(goroutine_ffi_prepare(), GOROUTINE_ENOTGOROUTINE);
    CHECK(!is_goroutine_ffi_bound(dummy));
    goroutine_ffi_landed();
    goroutine_config_init(&config);
    config.workers = 2;
    config.ffi_failed = on_failed;
    config.ffi_failed_arg = &failed;
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < KINDS; i++) CHECK_EQ(call(i, on_thread, P(i)), P(i + 1));
    run_goroutine(bad_input, dummy);
    run_goroutine(prepares, NULL);
    stop();
    check_nulls();
}

/* All threads taken: what execute_ffi_call does about it is configured. */
static uint32_t holding, done;
static void *holds(void *arg) {
    OK(goroutine_ffi_bind());
    SET(holding, 1);
    while (GET(done) == 0) goroutine_sleep(100 * US);
    return arg;
}
static void *wants(void *policy) {
    uint64_t times = failed.times;
    void *result = P(1), *wanted = P(42);
    GoroutineStatus status;
    Goroutine *g = goroutine_current();
    while (GET(holding) == 0) goroutine_yield();
    if (U(policy) == GOROUTINE_FFI_WAIT) SET(done, 1);
    if (U(policy) == GOROUTINE_FFI_FAIL) wanted = NULL;
    result = execute_ffi_call(g, CODE(on_thread), P(41));
    CHECK_EQ(result, wanted);
    CHECK_EQ(is_goroutine_ffi_bound(g), U(policy) == GOROUTINE_FFI_WAIT);
    result = P(1);
    status = goroutine_ffi_call(GOROUTINE_FFI_BOUND, CODE(on_thread), P(41), &result);
    if (U(policy) == GOROUTINE_FFI_FAIL) {
        CHECK_EQ(failed.times, times + 1);
        CHECK(failed.g == g && failed.status == GOROUTINE_EFFITHREADS);
        CHECK_EQ(status, GOROUTINE_EFFITHREADS);
        CHECK_EQ(result, P(1));
    } else {
        CHECK_EQ(failed.times, times);
        OK(status);
        CHECK_EQ(result, P(42));
    }
    SET(done, 1);
    return NULL;
}
static void test_exhausted(void) {
    uint32_t policy;
    for (policy = 0; policy <= GOROUTINE_FFI_FAIL; policy++) {
        GoroutineConfig config;
        holding = done = 0;
        goroutine_config_init(&config);
        config.workers = 2;
        config.ffi_threads_max = 1;
        config.ffi_exhausted = policy;
        config.ffi_failed = on_failed;
        config.ffi_failed_arg = &failed;
        OK(goroutine_runtime_start(&config));
        OK(goroutine_go(holds, NULL));
        run_goroutine(wants, P(policy));
        OK(goroutine_runtime_wait(20 * SECOND));
        stop();
    }
}

#ifdef __cplusplus
/* ---- exceptions: from C++ under a foreign call to the goroutine's own frames ---- */

struct Oops {
    int number;
};
static uint64_t destroyed;
struct Guard {
    ~Guard() { ADD(destroyed, 1); }
};
struct Thrower {
    unsigned kind;
    int depth;
};
static void *in_language(void *arg);
static void *throws(void *arg) {
    Guard guard;
    Thrower *t = (Thrower *)arg;
    if (t->depth-- == 0) throw Oops{17};
    return goroutine_callback_run(in_language, arg);
}
static void *in_language(void *arg) {
    Guard guard;
    return call(((Thrower *)arg)->kind, throws, arg);
}
static uint64_t stack_of(unsigned kind) {
    Seen seen;
    call(kind, sees, &seen);
    return seen.sp;
}
/* The same out of a callback, to C++ that made it. */
static void *language_throws(void *number) {
    Guard guard;
    goroutine_yield();
    throw Oops{(int)U(number)};
}
static void *catches_in_cxx(void *number) {
    uint64_t native = WORD(goroutine_current(), GOROUTINE_OFFSET_NATIVE_STACK);
    uint64_t foreign = WORD(goroutine_current(), GOROUTINE_OFFSET_FOREIGN_SP);
    try {
        goroutine_callback_run(language_throws, number);
    } catch (const Oops &oops) {
        goroutine_ffi_landed();
        CHECK_EQ(WORD(goroutine_current(), GOROUTINE_OFFSET_NATIVE_STACK), native);
        CHECK_EQ(WORD(goroutine_current(), GOROUTINE_OFFSET_FOREIGN_SP), foreign);
        return P(oops.number);
    }
    return NULL;
}
static void *catches(void *arg) {
    unsigned kind = (unsigned)U(arg) % KINDS, i;
    uint64_t sp = 0;
    for (i = 0; i < 300; i++) {
        Thrower t = {kind, (int)(i % 4)};
        bool caught = false;
        try {
            in_language(&t);
        } catch (const Oops &oops) {
            goroutine_ffi_landed();
            caught = oops.number == 17;
        }
        CHECK(caught);
        CHECK_EQ(WORD(goroutine_current(), GOROUTINE_OFFSET_FOREIGN_SP), 0);
        if (sp == 0) sp = stack_of(kind);
        CHECK_EQ(stack_of(kind), sp);
        goroutine_yield();
        CHECK_EQ(call(kind, catches_in_cxx, P(18)), P(18));
        CHECK_EQ(stack_of(kind), sp);
    }
    return NULL;
}
static void test_exceptions(void) {
    unsigned i;
#ifdef __SANITIZE_ADDRESS__
    fprintf(stderr, "skipped: exceptions (AddressSanitizer knows a thread's stack only, and takes dead frames of another one for live)\n");
    return;
#endif
    start_workers(2);
    for (i = 0; i < 6; i++) OK(goroutine_go(catches, P(i)));
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(GET(destroyed), 6 * 75 * (2 + 4 + 6 + 8 + 4)); /* every frame on the way was unwound */
    stop();
}
#else
static void test_exceptions(void) {}
#endif

int main(void) {
    uint32_t workers;
    test_refused();
    test_exhausted();
    test_poll();
    test_exceptions();
    for (workers = 1; workers <= 2; workers++) {
        test_where(workers);
        test_turns(workers);
    }
    test_errno();
    return 0;
}

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
static void park_somehow(unsigned how) {
    GoroutinePromise *promise;
    void *value = NULL;
    int status = 77;
    switch (how % 5) {
    case 0: goroutine_yield(); break;
    case 1: OK(goroutine_sleep(20 * US)); break;
    case 2: CHECK_EQ(goroutine_park(ready_now, &status, GOROUTINE_FOREVER), 77); break;
    case 3:
        promise = goroutine_promise_new();
        OK(goroutine_go(resolver, promise));
        OK(goroutine_promise_await(promise, 20 * SECOND, &value));
        CHECK_EQ(value, P(7));
        goroutine_promise_release(promise);
        break;
    default: CHECK_EQ(goroutine_promise_await(promise = goroutine_promise_new(), 30 * US, NULL), GOROUTINE_ETIMEDOUT), goroutine_promise_release(promise);
    }
}
static void *language(void *arg) {
    Nest *nest = (Nest *)arg, next;
    pthread_t thread = pthread_self();
    uint64_t deeper = 0;
    errno = (int)nest->depth;
    check_in_language();
    if (nest->parks) park_somehow(nest->depth);
    CHECK(pthread_equal(thread, pthread_self())); /* C frames are live: it stays */
    CHECK_EQ(errno, (int)nest->depth);
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

int main(void) {
    uint32_t workers;
    for (workers = 1; workers <= 2; workers++) test_nesting(workers);
    return 0;
}

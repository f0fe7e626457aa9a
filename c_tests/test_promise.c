/* Promises: settle once, await from goroutines and threads, time out, run callbacks, drop values. */
#include "check.h"

static uint64_t counter, dropped;

static void *settle_later(void *arg) {
    OK(goroutine_sleep(2 * MS));
    OK(goroutine_promise_resolve((GoroutinePromise *)arg, P(11)));
    CHECK_EQ(goroutine_promise_resolve((GoroutinePromise *)arg, P(12)), GOROUTINE_EALREADY);
    return NULL;
}
static void *await_it(void *arg) {
    void *value = NULL;
    OK(goroutine_promise_await((GoroutinePromise *)arg, GOROUTINE_FOREVER, &value));
    ADD(counter, 1);
    return value;
}
static void *await_reason(void *arg) {
    void *value = NULL;
    CHECK_EQ(goroutine_promise_await((GoroutinePromise *)arg, 10 * SECOND, &value), GOROUTINE_EREJECTED);
    ADD(counter, 1);
    return value;
}
static void *await_on_thread(void *arg) { return await_it(arg); }
static void *time_out(void *arg) {
    void *value = P(3);
    uint64_t begin = now_ns();
    CHECK_EQ(goroutine_promise_await((GoroutinePromise *)arg, 0, &value), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_promise_await((GoroutinePromise *)arg, 2 * MS, &value), GOROUTINE_ETIMEDOUT);
    CHECK(now_ns() - begin >= 2 * MS);
    CHECK_EQ(U(value), 3);
    return NULL;
}
static void *ends_with(void *arg) { goroutine_exit((GoroutineStatus)(intptr_t)arg, P(21)); }
static GoroutineFn volatile deeper; /* compilers know that an endless recursion is one */
static void *deep_exit(void *arg) {
    if (U(arg) == 0) goroutine_exit(GOROUTINE_OK, P(22));
    return (char *)deeper(P(U(arg) - 1)) + 1;
}
static void *child_of(void *arg) { return P(U(arg) * 2); }
static void *tree(void *arg) {
    void *left = NULL, *right = NULL;
    GoroutinePromise *l, *r;
    if (U(arg) == 0) return P(1);
    l = goroutine_spawn(tree, P(U(arg) - 1));
    r = goroutine_spawn(tree, P(U(arg) - 1));
    OK(goroutine_promise_await_take(l, GOROUTINE_FOREVER, &left));
    OK(goroutine_promise_await_take(r, GOROUTINE_FOREVER, &right));
    return P(U(left) + U(right));
}

/* The words that emitted code reads. */
static uint32_t state_of(GoroutinePromise *promise) {
    return __atomic_load_n((uint32_t *)(void *)((char *)promise + GOROUTINE_PROMISE_OFFSET_STATE), __ATOMIC_ACQUIRE);
}
static void *value_of(GoroutinePromise *promise) { return *(void **)(void *)((char *)promise + GOROUTINE_PROMISE_OFFSET_VALUE); }

static void settling(void) {
    GoroutinePromise *promise = goroutine_promise_new();
    GoroutinePromise *waiters[10];
    pthread_t thread;
    void *value = NULL;
    int i;
    CHECK_EQ(state_of(promise), GOROUTINE_PROMISE_PENDING);
    run_goroutine(time_out, promise);
    time_out(promise);
    counter = 0;
    for (i = 0; i < 10; i++) waiters[i] = goroutine_spawn(await_it, promise);
    CHECK(pthread_create(&thread, NULL, await_on_thread, promise) == 0);
    OK(goroutine_go(settle_later, promise));
    OK(goroutine_promise_await(promise, 10 * SECOND, &value));
    CHECK_EQ(U(value), 11);
    for (i = 0; i < 10; i++) {
        OK(goroutine_promise_await_take(waiters[i], 10 * SECOND, &value));
        CHECK_EQ(U(value), 11);
    }
    pthread_join(thread, &value);
    CHECK_EQ(U(value), 11);
    CHECK_EQ(GET(counter), 11);
    CHECK_EQ(state_of(promise), GOROUTINE_PROMISE_RESOLVED);
    CHECK_EQ(U(value_of(promise)), 11);
    goroutine_promise_release(promise);

    /* From a plain thread, rejected. */
    promise = goroutine_promise_new();
    for (i = 0; i < 10; i++) waiters[i] = goroutine_spawn(await_reason, promise);
    thread_sleep(1 * MS);
    OK(goroutine_promise_reject(promise, P(31)));
    for (i = 0; i < 10; i++) {
        OK(goroutine_promise_await_take(waiters[i], 10 * SECOND, &value));
        CHECK_EQ(U(value), 31);
    }
    CHECK_EQ(state_of(promise), GOROUTINE_PROMISE_REJECTED);
    CHECK_EQ(U(value_of(promise)), 31);
    goroutine_promise_release(promise);
}

static void of_goroutines(void) {
    static const GoroutineStatus STATUSES[] = {GOROUTINE_OK, GOROUTINE_EREJECTED, GOROUTINE_EPIPE, GOROUTINE_ESTACKOVERFLOW, -1234567};
    void *value;
    size_t i;
    for (i = 0; i < sizeof STATUSES / sizeof *STATUSES; i++) {
        GoroutinePromise *promise = goroutine_spawn(ends_with, P((intptr_t)STATUSES[i]));
        value = P(5);
        CHECK_EQ(goroutine_promise_await(promise, 10 * SECOND, &value), STATUSES[i]);
        CHECK_EQ(U(value), i < 2 ? 21 : 5);
        CHECK_EQ(state_of(promise), i == 0 ? GOROUTINE_PROMISE_RESOLVED : GOROUTINE_PROMISE_REJECTED);
        goroutine_promise_release(promise);
    }
    deeper = deep_exit;
    CHECK_EQ(U(run_goroutine(deep_exit, P(100))), 22);
    CHECK_EQ(U(run_goroutine(child_of, P(100))), 200);
    CHECK_EQ(U(run_goroutine(tree, P(is_slow() ? 6 : 12))), is_slow() ? 64 : 4096);
}

/* ---- Callbacks and drop functions. ---- */
static void then_body(void *arg, GoroutineStatus status, void *value) {
    CHECK(goroutine_current() != NULL);
    OK(goroutine_sleep(10 * US)); /* it is a goroutine: it may park */
    CHECK_EQ(status, U(arg) == 0 ? GOROUTINE_OK : GOROUTINE_EREJECTED);
    CHECK_EQ(U(value), 41);
    ADD(counter, 1);
}
static void drop(void *value) { ADD(dropped, U(value)); }
static void callbacks(void) {
    uint64_t round;
    for (round = 0; round < 2; round++) {
        GoroutinePromise *promise = goroutine_promise_new_with(drop);
        counter = dropped = 0;
        OK(goroutine_promise_then(promise, then_body, P(round)));
        OK(goroutine_promise_then(promise, then_body, P(round)));
        OK(goroutine_runtime_wait(10 * SECOND)); /* a promise that does not settle keeps nothing alive */
        CHECK_EQ(GET(counter), 0);
        OK(round == 0 ? goroutine_promise_resolve(promise, P(41)) : goroutine_promise_reject(promise, P(41)));
        OK(goroutine_promise_then(promise, then_body, P(round))); /* settled already */
        goroutine_promise_release(promise);
        OK(goroutine_runtime_wait(10 * SECOND));
        CHECK_EQ(GET(counter), 3);
        CHECK_EQ(GET(dropped), 41);
    }
    goroutine_promise_release(goroutine_promise_new_with(drop)); /* never settled: nothing to drop */
    CHECK_EQ(GET(dropped), 41);
}

/* ---- Many settle, one wins; waiters come and go. ---- */
static GoroutinePromise *contested;
static uint64_t winners;
static void *contend(void *arg) {
    if (goroutine_promise_resolve(contested, arg) == GOROUTINE_OK) {
        ADD(winners, 1);
        SET(counter, U(arg));
    }
    return NULL;
}
static void *visit(void *arg) {
    void *value = NULL;
    GoroutineStatus status = goroutine_promise_await(contested, U(arg), &value);
    if (status == GOROUTINE_ETIMEDOUT) OK(goroutine_promise_await(contested, 10 * SECOND, &value));
    else OK(status);
    goroutine_promise_release(contested);
    return value;
}
static void races(void) {
    uint64_t n = scaled(300, 20), i, k;
    for (i = 0; i < n; i++) {
        GoroutinePromise *visitors[20], *settlers[4];
        contested = goroutine_promise_new();
        winners = 0;
        for (k = 0; k < 20; k++) {
            goroutine_promise_retain(contested);
            visitors[k] = goroutine_spawn(visit, P(1 + k * 3 * US));
        }
        for (k = 0; k < 4; k++) settlers[k] = goroutine_spawn(contend, P(k + 1));
        contend(P(9));
        for (k = 0; k < 4; k++) OK(goroutine_promise_await_take(settlers[k], 10 * SECOND, NULL));
        CHECK_EQ(GET(winners), 1);
        for (k = 0; k < 20; k++) {
            void *value = NULL;
            OK(goroutine_promise_await_take(visitors[k], 10 * SECOND, &value));
            CHECK_EQ(U(value), GET(counter));
        }
        goroutine_promise_release(contested);
    }
}

/* A waiter that is released by the settling may free the promise at once, on another thread. */
static void *settle_and_forget(void *arg) {
    OK(goroutine_promise_resolve((GoroutinePromise *)arg, P(1)));
    goroutine_promise_release((GoroutinePromise *)arg);
    return NULL;
}
static void hand_over(void) {
    uint64_t n = scaled(5000, 20), i;
    for (i = 0; i < n; i++) {
        GoroutinePromise *promise = goroutine_promise_new();
        goroutine_promise_retain(promise);
        OK(goroutine_go(settle_and_forget, promise));
        OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    }
}

static void all_on(uint32_t workers) {
    start_workers(workers);
    settling();
    of_goroutines();
    callbacks();
    races();
    hand_over();
    stop();
}

int main(void) {
    all_on(1);
    all_on(2);
    all_on(4);
    return 0;
}

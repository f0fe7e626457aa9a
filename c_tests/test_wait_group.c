/* Wait groups: who waits sees everything that was done before; reuse; the last one may be followed by a free at once. */
#include "check.h"

static GoroutineWaitGroup *group;
static uint64_t plain[64], waited;

static void *worker(void *arg) {
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    if (U(arg) % 3 == 0) goroutine_yield();
    plain[U(arg)] = 1;
    OK(goroutine_wait_group_done(group));
    return NULL;
}
static void *waiter(void *arg) {
    uint64_t i;
    GoroutineStatus status;
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    while ((status = goroutine_wait_group_wait(group, U(arg) % 2 == 0 ? GOROUTINE_FOREVER : 20 * US)) != GOROUTINE_OK) {
        CHECK_EQ(status, GOROUTINE_ETIMEDOUT);
    }
    for (i = 0; i < 64; i++) CHECK_EQ(plain[i], 1);
    ADD(waited, 1);
    return NULL;
}
static void many(uint32_t workers) {
    uint64_t round, rounds = scaled(100, 10), i;
    start_workers(workers);
    group = goroutine_wait_group_new();
    for (round = 0; round < rounds; round++) {
        GoroutinePromise *p[10];
        pthread_t thread;
        memset(plain, 0, sizeof plain);
        waited = 0;
        OK(goroutine_wait_group_add(group, 64));
        for (i = 0; i < 10; i++) p[i] = goroutine_spawn(waiter, P(i));
        CHECK(pthread_create(&thread, NULL, waiter, P(round % 2)) == 0);
        for (i = 0; i < 64; i++) OK(goroutine_go(worker, P(i)));
        for (i = 0; i < 10; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
        pthread_join(thread, NULL);
        CHECK_EQ(waited, 11);
    }
    OK(goroutine_wait_group_free(group));
    stop();
}
/* The waiter frees it as soon as it may: the last `done` does not touch it then. (For valgrind and ASan; and for the allocator.) */
static void *done_once(void *arg) {
    OK(goroutine_wait_group_done((GoroutineWaitGroup *)arg));
    return NULL;
}
static void *frees(void *arg) {
    uint64_t i;
    for (i = 0; i < scaled(5000, 50); i++) {
        GoroutineWaitGroup *w = goroutine_wait_group_new();
        OK(goroutine_wait_group_add(w, 2));
        OK(goroutine_go(done_once, w));
        OK(goroutine_go(done_once, w));
        if (i % 2 == 0) goroutine_yield();
        OK(goroutine_wait_group_wait(w, GOROUTINE_FOREVER));
        OK(goroutine_wait_group_free(w));
    }
    return arg;
}
static void *cancelled(void *arg) {
    CHECK_EQ(goroutine_wait_group_wait(group, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    return arg;
}
static void *alone(void *arg) {
    GoroutinePromise *p;
    group = goroutine_wait_group_new();
    OK(goroutine_wait_group_wait(group, 0));
    CHECK_EQ(goroutine_wait_group_done(group), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_wait_group_add(group, -1), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_wait_group_add(group, INT32_MIN), GOROUTINE_EINVAL);
    OK(goroutine_wait_group_add(group, INT32_MAX));
    CHECK_EQ(goroutine_wait_group_add(group, 1), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_wait_group_wait(group, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_wait_group_wait(group, 1 * MS), GOROUTINE_ETIMEDOUT);
    p = goroutine_spawn(cancelled, NULL);
    goroutine_yield();
    CHECK_EQ(goroutine_wait_group_free(group), GOROUTINE_EBUSY);
    OK(goroutine_cancel(p));
    OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
    OK(goroutine_wait_group_add(group, -INT32_MAX));
    OK(goroutine_wait_group_wait(group, GOROUTINE_FOREVER));
    OK(goroutine_wait_group_free(group));
    return arg;
}
int main(void) {
    start_workers(1);
    run_goroutine(alone, NULL);
    run_goroutine(frees, NULL);
    stop();
    start_workers(2);
    run_goroutine(frees, NULL);
    stop();
    many(1);
    many(2);
    many(3);
    return 0;
}

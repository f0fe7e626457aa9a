/* timeout: 300 */
/* Semaphores: never more than there are; in order, also for those who want many; time-outs and cancels lose no permit. */
#include "check.h"

static GoroutineSemaphore *semaphore;
static int64_t inside;
static uint64_t most, order[40], order_count, arrived;

static void hold(uint64_t n) {
    int64_t now = __atomic_add_fetch(&inside, (int64_t)n, __ATOMIC_SEQ_CST);
    CHECK(now <= (int64_t)most);
    if (n % 2 == 1) goroutine_yield();
    __atomic_sub_fetch(&inside, (int64_t)n, __ATOMIC_SEQ_CST);
}
static void *user(void *arg) {
    uint64_t state = random_seed(U(arg), 3), i, n = scaled(1000, 10);
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    for (i = 0; i < n; i++) {
        uint32_t want = (uint32_t)(random_next(&state) % (most + 1));
        uint64_t timeout = random_next(&state) % 3 == 0 ? random_next(&state) % (40 * US) : GOROUTINE_FOREVER;
        GoroutineStatus status = goroutine_semaphore_acquire(semaphore, want, timeout);
        if (status == GOROUTINE_ECANCELED) return NULL;
        if (status != GOROUTINE_OK) {
            CHECK(timeout != GOROUTINE_FOREVER && (status == GOROUTINE_EAGAIN || status == GOROUTINE_ETIMEDOUT));
            continue;
        }
        hold(want);
        OK(goroutine_semaphore_release(semaphore, want));
    }
    return NULL;
}
static void contended(uint32_t workers) {
    GoroutinePromise *p[40];
    pthread_t thread[2];
    uint64_t i;
    start_workers(workers);
    most = 5;
    semaphore = goroutine_semaphore_new(5);
    for (i = 0; i < 40; i++) p[i] = goroutine_spawn(user, P(i));
    for (i = 0; i < 2; i++) CHECK(pthread_create(&thread[i], NULL, user, P(40 + 8 * i)) == 0);
    for (i = 0; i < 40; i += 7) {
        GoroutineStatus status;
        thread_sleep(300 * US);
        status = goroutine_cancel(p[i]);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY);
    }
    for (i = 0; i < 40; i++) OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
    for (i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    OK(goroutine_semaphore_acquire(semaphore, 5, 0)); /* all are back */
    CHECK_EQ(goroutine_semaphore_acquire(semaphore, 1, 0), GOROUTINE_EAGAIN);
    OK(goroutine_semaphore_free(semaphore));
    stop();
}
static void *in_line(void *arg) {
    uint32_t want = (uint32_t)(U(arg) % 5 + 1);
    OK(goroutine_semaphore_acquire(semaphore, want, GOROUTINE_FOREVER));
    order[ADD(order_count, 1) - 1] = U(arg);
    OK(goroutine_semaphore_release(semaphore, want));
    return NULL;
}
static void *gives_up(void *arg) {
    ADD(arrived, 1);
    CHECK_EQ(goroutine_semaphore_acquire(semaphore, 5, U(arg)),
             U(arg) == GOROUTINE_FOREVER ? GOROUTINE_ECANCELED : GOROUTINE_ETIMEDOUT);
    return NULL;
}
static void *line(void *arg) {
    GoroutinePromise *p[40], *first, *second;
    uint64_t i;
    semaphore = goroutine_semaphore_new(0);
    for (i = 0; i < 40; i++) {
        p[i] = goroutine_spawn(in_line, P(i));
        goroutine_yield(); /* one worker: it waits */
    }
    CHECK_EQ(goroutine_semaphore_free(semaphore), GOROUTINE_EBUSY);
    OK(goroutine_semaphore_release(semaphore, 4));
    CHECK_EQ(goroutine_semaphore_acquire(semaphore, 1, 0), GOROUTINE_EAGAIN); /* not past those who wait */
    OK(goroutine_semaphore_release(semaphore, 1));
    for (i = 0; i < 40; i++) OK(goroutine_promise_await_take(p[i], 10 * SECOND, NULL));
    for (i = 0; i < 40; i++) CHECK_EQ(order[i], i);
    /* Who wants too much and gives up lets those behind it go on: by a time-out, then by a cancel. */
    OK(goroutine_semaphore_acquire(semaphore, 2, 0)); /* 3 are left */
    first = goroutine_spawn(gives_up, P(2 * MS));
    goroutine_yield();
    second = goroutine_spawn(in_line, P(1));
    goroutine_yield();
    SET(order_count, 0);
    OK(goroutine_promise_await_take(first, 10 * SECOND, NULL));
    OK(goroutine_promise_await_take(second, 10 * SECOND, NULL));
    first = goroutine_spawn(gives_up, P(GOROUTINE_FOREVER));
    goroutine_yield();
    second = goroutine_spawn(in_line, P(1));
    goroutine_yield();
    OK(goroutine_cancel(first));
    OK(goroutine_promise_await_take(first, 10 * SECOND, NULL));
    OK(goroutine_promise_await_take(second, 10 * SECOND, NULL));
    CHECK_EQ(GET(order_count), 2);
    OK(goroutine_semaphore_release(semaphore, UINT32_MAX - 3));
    CHECK_EQ(goroutine_semaphore_release(semaphore, 1), GOROUTINE_EINVAL);
    OK(goroutine_semaphore_acquire(semaphore, UINT32_MAX, 0));
    CHECK_EQ(goroutine_semaphore_release(semaphore, UINT32_MAX), GOROUTINE_OK);
    OK(goroutine_semaphore_acquire(semaphore, 0, 0));
    OK(goroutine_semaphore_free(semaphore));
    return arg;
}
int main(void) {
    start_workers(1);
    run_goroutine(line, NULL);
    stop();
    contended(1);
    contended(2);
    contended(3);
    return 0;
}

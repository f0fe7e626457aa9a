/* timeout: 300 */
/* Conditions: no signal is lost; in order; the mutex is locked again, whatever ended the wait. */
#include "check.h"

static GoroutineMutex *mutex;
static GoroutineCondition *condition, *other;
static uint64_t items, taken, produced, done, order[21], order_count;

/* ---- a queue of items: producers signal, consumers wait; each item is taken once, and nobody sleeps while there is one ---- */
static void *producer(void *arg) {
    uint64_t i, n = scaled(2000, 20);
    if (U(arg) % 4 == 1) OK(goroutine_ffi_bind());
    for (i = 0; i < n; i++) {
        OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
        items++;
        produced++;
        if (i % 2 == 0) OK(goroutine_condition_signal(condition));
        OK(goroutine_mutex_unlock(mutex));
        if (i % 2 == 1) OK(goroutine_condition_signal(condition)); /* without the mutex */
    }
    return NULL;
}
static void *consumer(void *arg) {
    uint64_t state = random_seed(U(arg), 9);
    GoroutineStatus locked;
    if (U(arg) % 4 == 1) OK(goroutine_ffi_bind());
    locked = goroutine_mutex_lock(mutex, GOROUTINE_FOREVER);
    if (locked == GOROUTINE_ECANCELED) return NULL;
    OK(locked);
    for (;;) {
        while (items == 0 && done == 0) {
            uint64_t timeout = random_next(&state) % 3 == 0 ? 1 + random_next(&state) % (40 * US) : GOROUTINE_FOREVER;
            GoroutineStatus status = goroutine_condition_wait(condition, mutex, timeout);
            CHECK(goroutine_mutex_is_owned(mutex));
            if (status == GOROUTINE_ECANCELED) {
                OK(goroutine_mutex_unlock(mutex));
                return NULL;
            }
            CHECK(status == GOROUTINE_OK || (status == GOROUTINE_ETIMEDOUT && timeout != GOROUTINE_FOREVER));
        }
        if (items == 0) break;
        items--;
        taken++;
    }
    OK(goroutine_mutex_unlock(mutex));
    return NULL;
}
static void queue(uint32_t workers) {
    GoroutinePromise *p[8], *c[16];
    pthread_t thread[2];
    uint64_t i;
    start_workers(workers);
    mutex = goroutine_mutex_new(0);
    condition = goroutine_condition_new();
    items = taken = produced = done = 0;
    for (i = 0; i < 16; i++) c[i] = goroutine_spawn(consumer, P(i));
    CHECK(pthread_create(&thread[0], NULL, consumer, P(100)) == 0);
    for (i = 0; i < 8; i++) p[i] = goroutine_spawn(producer, P(i));
    CHECK(pthread_create(&thread[1], NULL, producer, P(100)) == 0);
    for (i = 0; i < 4; i++) { /* a cancelled one does not take a signal with it */
        thread_sleep(300 * US);
        OK(goroutine_cancel(c[i * 3]));
    }
    for (i = 0; i < 8; i++) OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
    pthread_join(thread[1], NULL);
    /* Without another signal everything is taken. */
    for (;;) {
        bool empty;
        OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
        empty = items == 0;
        OK(goroutine_mutex_unlock(mutex));
        if (empty) break;
        thread_sleep(1 * MS);
    }
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    done = 1;
    OK(goroutine_mutex_unlock(mutex));
    OK(goroutine_condition_broadcast(condition));
    for (i = 0; i < 16; i++) OK(goroutine_promise_await_take(c[i], 100 * SECOND, NULL));
    pthread_join(thread[0], NULL);
    CHECK_EQ(taken, produced);
    OK(goroutine_condition_free(condition));
    OK(goroutine_mutex_free(mutex));
    stop();
}

/* ---- order, depth, time-outs ---- */
static void *in_line(void *arg) {
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    OK(goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER));
    order[order_count++] = U(arg);
    OK(goroutine_mutex_unlock(mutex));
    return NULL;
}
static void *cancelled(void *arg) {
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    CHECK_EQ(goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    CHECK(goroutine_mutex_is_owned(mutex));
    CHECK_EQ(goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER), GOROUTINE_ECANCELED); /* before it parks */
    CHECK(goroutine_mutex_is_owned(mutex));
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
/* One worker. A cancelled one is signalled before it could park: it takes the signal, and the one behind it gets the next. It does not go
   back to the condition, which may be gone. */
static GoroutineMutex *another;
static uint64_t told;
static void *behind(void *arg) {
    OK(goroutine_mutex_lock(another, 0));
    OK(goroutine_condition_wait(condition, another, GOROUTINE_FOREVER));
    OK(goroutine_mutex_unlock(another));
    SET(told, 1);
    return arg;
}
static uint64_t signalled;
static void *signals(void *arg) {
    OK(goroutine_condition_signal(condition));
    ADD(signalled, 1);
    return arg;
}
static void *told_and_cancelled(void *arg) {
    OK(goroutine_mutex_lock(mutex, 0));
    goroutine_yield(); /* it is cancelled meanwhile */
    OK(goroutine_go(behind, NULL));
    OK(goroutine_go(signals, NULL));
    OK(goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER));
    CHECK(goroutine_mutex_is_owned(mutex));
    CHECK_EQ(goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
static void *takes_it(void *arg) {
    GoroutinePromise *p;
    uint64_t i;
    mutex = goroutine_mutex_new(0);
    another = goroutine_mutex_new(0);
    condition = goroutine_condition_new();
    p = goroutine_spawn(told_and_cancelled, NULL);
    goroutine_yield();
    OK(goroutine_cancel(p));
    OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
    CHECK_EQ(GET(told), 0);
    OK(goroutine_condition_signal(condition));
    for (i = 0; i < 10 && GET(told) == 0; i++) goroutine_yield();
    CHECK_EQ(GET(told), 1);
    CHECK_EQ(GET(signalled), 1);
    OK(goroutine_condition_free(condition));
    OK(goroutine_mutex_free(mutex));
    OK(goroutine_mutex_free(another));
    return arg;
}
#define SIZES 16
static void *in_its_place[SIZES];
static void *signals_and_frees(void *arg) {
    size_t i;
    OK(goroutine_condition_signal(condition));
    OK(goroutine_condition_free(condition));
    for (i = 0; i < SIZES; i++) { /* who takes this for a condition finds its lock taken, for ever */
        in_its_place[i] = malloc(16 * i + 24); /* all that malloc has for that size */
        CHECK(in_its_place[i] != NULL);
        memset(in_its_place[i], 0xff, 16 * i + 24);
    }
    ADD(signalled, 1);
    return arg;
}
static void *told_then_freed(void *arg) {
    OK(goroutine_mutex_lock(mutex, 0));
    goroutine_yield(); /* it is cancelled meanwhile */
    OK(goroutine_go(signals_and_frees, NULL));
    OK(goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER));
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
static void *freed_by_who_signals(void *arg) {
    GoroutinePromise *p;
    size_t i;
    mutex = goroutine_mutex_new(0);
    condition = goroutine_condition_new();
    p = goroutine_spawn(told_then_freed, NULL);
    goroutine_yield();
    OK(goroutine_cancel(p));
    OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
    CHECK_EQ(GET(signalled), 2);
    for (i = 0; i < SIZES; i++) free(in_its_place[i]);
    OK(goroutine_mutex_free(mutex));
    return arg;
}
static void *line(void *arg) {
    GoroutinePromise *p[20], *gone;
    uint64_t i;
    mutex = goroutine_mutex_new(GOROUTINE_MUTEX_RECURSIVE);
    condition = goroutine_condition_new();
    other = goroutine_condition_new();
    CHECK_EQ(goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER), GOROUTINE_EPERM);
    OK(goroutine_condition_signal(condition)); /* nobody: it is not kept */
    for (i = 0; i < 20; i++) {
        p[i] = goroutine_spawn(in_line, P(i));
        goroutine_yield();
    }
    gone = goroutine_spawn(cancelled, NULL);
    goroutine_yield();
    OK(goroutine_cancel(gone));
    OK(goroutine_promise_await_take(gone, 10 * SECOND, NULL));
    CHECK_EQ(goroutine_condition_free(condition), GOROUTINE_EBUSY);
    CHECK_EQ(goroutine_mutex_free(mutex), GOROUTINE_EBUSY); /* nobody has it, but they will lock it again */
    CHECK_EQ(order_count, 0);
    for (i = 0; i < 10; i++) OK(goroutine_condition_signal(condition));
    for (i = 0; i < 10; i++) OK(goroutine_promise_await_take(p[i], 10 * SECOND, NULL));
    CHECK_EQ(order_count, 10);
    CHECK_EQ(goroutine_mutex_free(mutex), GOROUTINE_EBUSY);
    OK(goroutine_condition_broadcast(condition));
    OK(goroutine_condition_free(condition)); /* nobody waits on it any more, and they have not run yet */
    CHECK_EQ(goroutine_mutex_free(mutex), GOROUTINE_EBUSY);
    condition = goroutine_condition_new();
    for (i = 10; i < 20; i++) OK(goroutine_promise_await_take(p[i], 10 * SECOND, NULL));
    for (i = 0; i < 20; i++) CHECK_EQ(order[i], i);
    /* Locked three times, it is free while one waits, and locked three times afterwards. */
    for (i = 0; i < 3; i++) OK(goroutine_mutex_lock(mutex, 0));
    CHECK_EQ(goroutine_condition_wait(other, mutex, 0), GOROUTINE_EAGAIN);
    p[0] = goroutine_spawn(in_line, P(0)); /* it gets the mutex, and waits on the other condition */
    CHECK_EQ(goroutine_condition_wait(other, mutex, 2 * MS), GOROUTINE_ETIMEDOUT);
    for (i = 0; i < 3; i++) OK(goroutine_mutex_unlock(mutex));
    CHECK_EQ(goroutine_mutex_unlock(mutex), GOROUTINE_EPERM);
    OK(goroutine_condition_signal(condition));
    OK(goroutine_promise_await_take(p[0], 10 * SECOND, NULL));
    OK(goroutine_condition_free(condition));
    OK(goroutine_condition_free(other));
    OK(goroutine_mutex_free(mutex));
    return arg;
}
int main(void) {
    start_workers(1);
    run_goroutine(line, NULL);
    run_goroutine(takes_it, NULL);
    run_goroutine(freed_by_who_signals, NULL);
    stop();
    queue(1);
    queue(2);
    queue(3);
    return 0;
}

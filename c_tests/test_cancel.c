/* Cancellation: sticky, wakes any park, can be put off, and never stops a goroutine by force. */
#include "check.h"
#include <malloc.h>

static uint64_t step, ended;

static bool stay(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    (void)arg;
    ADD(step, 1);
    return true;
}
static uint64_t told;
static void *in_sleep(void *arg) {
    ADD(step, 1);
    CHECK_EQ(goroutine_sleep(U(arg)), GOROUTINE_ECANCELED);
    return P(1);
}
static void *in_park(void *arg) {
    (void)arg;
    CHECK_EQ(goroutine_park(stay, NULL, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    return P(2);
}
static void *in_timed_park(void *arg) {
    (void)arg;
    CHECK_EQ(goroutine_park(stay, NULL, 3600 * SECOND), GOROUTINE_ECANCELED);
    return P(3);
}
static void *in_await(void *arg) {
    void *value = P(77);
    ADD(step, 1);
    CHECK_EQ(goroutine_promise_await((GoroutinePromise *)arg, GOROUTINE_FOREVER, &value), GOROUTINE_ECANCELED);
    CHECK_EQ(U(value), 77); /* an output is written on success only */
    return P(4);
}
static void *in_async_await(void *arg) {
    ADD(step, 1);
    CHECK_EQ(goroutine_async_await((int64_t)(intptr_t)arg, GOROUTINE_FOREVER, NULL), GOROUTINE_ECANCELED);
    return P(5);
}
/* Every later parking call fails, too. */
static void *is_sticky(void *arg) {
    GoroutinePromise *promise = goroutine_promise_new();
    int64_t id = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL);
    int i;
    (void)arg;
    ADD(step, 1);
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    for (i = 0; i < 3; i++) {
        CHECK_EQ(goroutine_sleep(1), GOROUTINE_ECANCELED);
        CHECK_EQ(goroutine_park(stay, NULL, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
        CHECK_EQ(goroutine_promise_await(promise, SECOND, NULL), GOROUTINE_ECANCELED);
        CHECK_EQ(goroutine_async_await(id, SECOND, NULL), GOROUTINE_ECANCELED);
        goroutine_yield();
    }
    /* What does not park still works. */
    OK(goroutine_promise_resolve(promise, P(8)));
    OK(goroutine_async_complete(id, NULL));
    goroutine_promise_release(promise);
    promise = goroutine_spawn(in_sleep, P(GOROUTINE_FOREVER));
    CHECK(promise != NULL);
    OK(goroutine_cancel(promise)); /* before it began, most often */
    goroutine_promise_release(promise);
    return P(6);
}
static void *puts_it_off(void *arg) {
    (void)arg;
    goroutine_cancel_disable();
    goroutine_cancel_disable();
    ADD(step, 1);
    while (GET(told) == 0) OK(goroutine_sleep(1 * MS)); /* cancelled meanwhile */
    goroutine_cancel_enable();
    OK(goroutine_sleep(1 * MS));
    goroutine_cancel_enable();
    CHECK_EQ(goroutine_sleep(SECOND), GOROUTINE_ECANCELED);
    goroutine_cancel_disable();
    OK(goroutine_sleep(1 * MS));
    goroutine_cancel_enable();
    CHECK_EQ(goroutine_sleep(SECOND), GOROUTINE_ECANCELED);
    return P(7);
}
static void *never_parks(void *arg) {
    ADD(step, 1);
    while (GET(*(uint64_t *)arg) == 0) goroutine_safepoint();
    return P(8);
}
static void *exits(void *arg) {
    (void)arg;
    ADD(step, 1);
    goroutine_exit(goroutine_sleep(SECOND * 3600), P(9));
}
/* It ends in the middle of what must not be cancelled. What comes after it on its stack may be. */
static void *ends_disabled(void *arg) {
    ADD(step, 1);
    goroutine_cancel_disable();
    while (GET(told) == 0) OK(goroutine_sleep(1 * MS)); /* cancelled meanwhile */
    if (arg != NULL) goroutine_exit(GOROUTINE_OK, P(7));
    return P(7);
}

/* Cancels once the goroutine has begun, from a plain thread. */
static void stop_one(GoroutineFn f, void *arg, intptr_t value, bool let_it_park) {
    GoroutinePromise *promise;
    void *is = NULL;
    SET(step, 0), SET(told, 0);
    promise = goroutine_spawn(f, arg);
    while (GET(step) == 0) goroutine_yield();
    if (let_it_park) thread_sleep(1 * MS);
    OK(goroutine_cancel(promise));
    SET(told, 1);
    goroutine_cancel(promise); /* again: harmless */
    OK(goroutine_promise_await(promise, 10 * SECOND, &is));
    CHECK_EQ((intptr_t)is, value);
    CHECK_EQ(goroutine_cancel(promise), GOROUTINE_EALREADY);
    goroutine_promise_release(promise);
}

/* A crowd, cancelled while it parks, wakes and ends, by goroutines and by plain threads. */
enum { CROWD = 400 };
static GoroutinePromise *crowd[CROWD];
static uint64_t crowd_complete;
static void *in_crowd(void *arg) {
    uint64_t random = random_seed(environment_number("GOROUTINE_SEED", 1), U(arg));
    GoroutineStatus status = GOROUTINE_OK;
    int rounds = (int)(random_next(&random) % 30);
    while (GET(crowd_complete) == 0) goroutine_yield();
    while (status != GOROUTINE_ECANCELED && rounds-- > 0) {
        switch (random_next(&random) % 4) {
        case 0: goroutine_yield(); break;
        case 1: status = goroutine_sleep(random_next(&random) % (50 * US)); break;
        case 2: status = goroutine_park(stay, NULL, 1 + random_next(&random) % (50 * US)); break;
        default: status = goroutine_promise_await(crowd[(U(arg) + 1) % CROWD], 1 + random_next(&random) % (50 * US), NULL);
        }
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_ECANCELED || status == GOROUTINE_ETIMEDOUT);
    }
    ADD(ended, 1);
    return arg;
}
static void *cancel_crowd(void *arg) {
    uint64_t random = random_seed(7, U(arg));
    int i;
    for (i = 0; i < CROWD; i++) {
        GoroutineStatus status = goroutine_cancel(crowd[random_next(&random) % CROWD]);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY);
    }
    return NULL;
}
static void *make_crowd(void *arg) {
    uint64_t i;
    for (i = 0; i < CROWD; i++) CHECK((crowd[i] = goroutine_spawn(in_crowd, P(i))) != NULL);
    SET(crowd_complete, 1);
    return arg;
}
static void crowds(void) {
    uint64_t n = scaled(20, 10), i;
    int k;
    for (i = 0; i < n; i++) {
        pthread_t thread;
        GoroutinePromise *canceller;
        SET(ended, 0);
        SET(crowd_complete, 0);
        run_goroutine(make_crowd, NULL);
        canceller = goroutine_spawn(cancel_crowd, P(i));
        CHECK(pthread_create(&thread, NULL, cancel_crowd, P(i + 1000)) == 0);
        pthread_join(thread, NULL);
        OK(goroutine_promise_await_take(canceller, 60 * SECOND, NULL));
        for (k = 0; k < CROWD; k++) {
            void *value = NULL;
            OK(goroutine_promise_await(crowd[k], 60 * SECOND, &value));
            CHECK_EQ(U(value), k);
        }
        for (k = 0; k < CROWD; k++) goroutine_promise_release(crowd[k]); /* only now: they await each other's */
        CHECK_EQ(GET(ended), CROWD);
    }
}

/* A cancelled goroutine waits for nothing and lets others run: so nobody waits, and what it was called for may be gone. It is not
 * looked at any more: what is freed is filled with a pattern, in which a lock would be waited for for ever. */
typedef struct Gone {
    GoroutineMutex *mutex;
    GoroutineSemaphore *semaphore;
    GoroutineWaitGroup *wait_group;
    GoroutineChannel *channel;
    uint64_t verb;
} Gone;
static void *calls_in_vain(void *arg) {
    const Gone *gone = (const Gone *)arg;
    GoroutineSelectCase one;
    size_t chosen;
    GoroutineStatus status = GOROUTINE_OK;
    memset(&one, 0, sizeof one);
    one.op = GOROUTINE_SELECT_RECEIVE;
    one.object = gone->channel;
    SET(step, 1);
    switch (gone->verb) {
    case 0: status = goroutine_mutex_lock(gone->mutex, GOROUTINE_FOREVER); break;
    case 1: status = goroutine_semaphore_acquire(gone->semaphore, 1, GOROUTINE_FOREVER); break;
    case 2: status = goroutine_wait_group_wait(gone->wait_group, GOROUTINE_FOREVER); break;
    case 3: status = goroutine_channel_receive(gone->channel, NULL, GOROUTINE_FOREVER); break;
    default: status = goroutine_select(&one, 1, GOROUTINE_FOREVER, &chosen); break;
    }
    CHECK_EQ(status, GOROUTINE_ECANCELED);
    return NULL;
}
static void fill(void *freed, size_t bytes) {
    void *again = malloc(bytes);
    if (again == freed) memset(freed, 0xEE, bytes);
    free(again == freed ? NULL : again); /* it keeps the pattern */
}
static void *frees(void *arg) {
    Gone gone;
    GoroutinePromise *promise;
    size_t bytes;
    for (gone.verb = 0; gone.verb < 5; gone.verb++) {
        gone.mutex = goroutine_mutex_new(0);
        gone.semaphore = goroutine_semaphore_new(0);
        gone.wait_group = goroutine_wait_group_new();
        gone.channel = goroutine_channel_new(0, 0);
        OK(goroutine_mutex_lock(gone.mutex, 0));
        OK(goroutine_wait_group_add(gone.wait_group, 1));
        SET(step, 0);
        promise = goroutine_spawn(calls_in_vain, &gone);
        OK(goroutine_cancel(promise));
        while (GET(step) == 0) goroutine_yield();
        OK(goroutine_mutex_unlock(gone.mutex));
        bytes = malloc_usable_size(gone.mutex);
        OK(goroutine_mutex_free(gone.mutex));
        fill(gone.mutex, bytes);
        bytes = malloc_usable_size(gone.semaphore);
        OK(goroutine_semaphore_free(gone.semaphore));
        fill(gone.semaphore, bytes);
        bytes = malloc_usable_size(gone.wait_group);
        OK(goroutine_wait_group_free(gone.wait_group));
        fill(gone.wait_group, bytes);
        bytes = malloc_usable_size(gone.channel);
        OK(goroutine_channel_free(gone.channel));
        fill(gone.channel, bytes);
        OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    }
    return arg;
}

static void all_on(uint32_t workers) {
    GoroutinePromise *pending = goroutine_promise_new();
    GoroutinePromise *promise;
    int64_t id;
    uint64_t told = 0;
    void *value = P(55);
    int parked;
    start_workers(workers);
    CHECK_EQ(goroutine_cancel(pending), GOROUTINE_EINVAL);
    for (parked = 0; parked < 2; parked++) {
        stop_one(in_sleep, P(GOROUTINE_FOREVER), 1, parked != 0);
        stop_one(in_sleep, P(3600 * SECOND), 1, parked != 0);
        stop_one(in_park, NULL, 2, parked != 0);
        stop_one(in_timed_park, NULL, 3, parked != 0);
        stop_one(in_await, pending, 4, parked != 0);
        id = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL);
        stop_one(in_async_await, P(id), 5, parked != 0);
        OK(goroutine_async_cancel(id));
        stop_one(is_sticky, NULL, 6, parked != 0);
        stop_one(puts_it_off, NULL, 7, parked != 0);
        stop_one(ends_disabled, NULL, 7, parked != 0);
        stop_one(in_sleep, P(3600 * SECOND), 1, parked != 0);
        stop_one(ends_disabled, P(1), 7, parked != 0);
        stop_one(in_sleep, P(3600 * SECOND), 1, parked != 0);
    }
    goroutine_promise_release(pending);

    /* Not by force. */
    SET(step, 0);
    promise = goroutine_spawn(never_parks, &told);
    while (GET(step) == 0) goroutine_yield();
    OK(goroutine_cancel(promise));
    CHECK_EQ(goroutine_promise_await(promise, 5 * MS, &value), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(U(value), 55);
    SET(told, 1);
    OK(goroutine_promise_await_take(promise, 10 * SECOND, &value));
    CHECK_EQ(U(value), 8);

    /* A cancelled goroutine's promise has what the goroutine gave. */
    SET(step, 0);
    promise = goroutine_spawn(exits, NULL);
    while (GET(step) == 0) goroutine_yield();
    OK(goroutine_cancel(promise));
    value = P(55);
    CHECK_EQ(goroutine_promise_await_take(promise, 10 * SECOND, &value), GOROUTINE_ECANCELED);
    CHECK_EQ(U(value), 55);

    crowds();
    stop();
}

int main(void) {
    start_workers(1);
    run_goroutine(frees, NULL);
    stop();
    all_on(1);
    all_on(2);
    all_on(4);
    return 0;
}

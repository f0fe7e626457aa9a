/* timeout: 300 */
/* Readers-writer locks: readers together, a writer alone; in order; owners; time-outs and cancels. */
#include "check.h"

static GoroutineRwLock *lock;
static int64_t readers, writers;
static uint64_t value[2], writes, most_readers, order[8], order_count;

static void *user(void *arg) {
    uint64_t state = random_seed(U(arg), 5), i, n = scaled(1000, 10);
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    for (i = 0; i < n; i++) {
        bool writes_now = random_next(&state) % 4 == 0;
        uint64_t timeout = random_next(&state) % 3 == 0 ? random_next(&state) % (40 * US) : GOROUTINE_FOREVER;
        GoroutineStatus status =
            writes_now ? goroutine_rwlock_write_lock(lock, timeout) : goroutine_rwlock_read_lock(lock, timeout);
        if (status == GOROUTINE_ECANCELED) return NULL;
        if (status != GOROUTINE_OK) {
            CHECK(timeout != GOROUTINE_FOREVER && (status == GOROUTINE_EAGAIN || status == GOROUTINE_ETIMEDOUT));
            continue;
        }
        if (writes_now) {
            CHECK_EQ(ADD(writers, 1), 1);
            CHECK_EQ(GET(readers), 0);
            CHECK_EQ(value[0], value[1]);
            value[0]++;
            if (i % 3 == 0) goroutine_yield();
            value[1]++;
            ADD(writes, 1);
            CHECK_EQ(ADD(writers, -1), 0);
            OK(goroutine_rwlock_write_unlock(lock));
        } else {
            uint64_t now = (uint64_t)ADD(readers, 1);
            if (now > GET(most_readers)) SET(most_readers, now);
            CHECK_EQ(GET(writers), 0);
            CHECK_EQ(value[0], value[1]);
            if (i % 3 == 0) goroutine_yield();
            CHECK_EQ(value[0], value[1]);
            ADD(readers, -1);
            OK(goroutine_rwlock_read_unlock(lock));
        }
    }
    return NULL;
}
static void contended(uint32_t workers) {
    GoroutinePromise *p[40];
    pthread_t thread[2];
    uint64_t i;
    start_workers(workers);
    lock = goroutine_rwlock_new();
    most_readers = writes = value[0] = value[1] = 0;
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
    CHECK_EQ(value[0], writes);
    CHECK(most_readers > 1);
    OK(goroutine_rwlock_write_lock(lock, 0));
    OK(goroutine_rwlock_write_unlock(lock));
    OK(goroutine_rwlock_free(lock));
    stop();
}
static void *not_the_writer(void *arg) {
    CHECK_EQ(goroutine_rwlock_write_unlock(lock), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_rwlock_read_unlock(lock), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_rwlock_read_lock(lock, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_rwlock_write_lock(lock, 1 * MS), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_rwlock_free(lock), GOROUTINE_EBUSY);
    return arg;
}
static void *reads(void *arg) {
    OK(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER));
    order[ADD(order_count, 1) - 1] = U(arg);
    goroutine_yield();
    OK(goroutine_rwlock_read_unlock(lock));
    return NULL;
}
static void *writes_once(void *arg) {
    OK(goroutine_rwlock_write_lock(lock, GOROUTINE_FOREVER));
    order[ADD(order_count, 1) - 1] = U(arg);
    goroutine_yield();
    OK(goroutine_rwlock_write_unlock(lock));
    return NULL;
}
static void *owners_and_order(void *arg) {
    GoroutinePromise *p[8];
    pthread_t thread;
    uint64_t i;
    lock = goroutine_rwlock_new();
    CHECK_EQ(goroutine_rwlock_write_unlock(lock), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_rwlock_read_unlock(lock), GOROUTINE_EPERM);
    OK(goroutine_rwlock_write_lock(lock, 0));
    CHECK_EQ(goroutine_rwlock_write_lock(lock, GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    OK(goroutine_promise_await_take(goroutine_spawn(not_the_writer, NULL), 10 * SECOND, NULL));
    CHECK(pthread_create(&thread, NULL, not_the_writer, NULL) == 0);
    pthread_join(thread, NULL);
    OK(goroutine_rwlock_write_unlock(lock));
    OK(goroutine_rwlock_read_lock(lock, 0));
    OK(goroutine_rwlock_read_lock(lock, 0)); /* nobody waits */
    CHECK_EQ(goroutine_rwlock_write_lock(lock, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_rwlock_free(lock), GOROUTINE_EBUSY);
    OK(goroutine_rwlock_read_unlock(lock));
    /* reader here, then W0 R1 R2 W3 R4: a writer that waits keeps later readers out */
    for (i = 0; i < 5; i++) {
        p[i] = goroutine_spawn(i % 3 == 0 ? writes_once : reads, P(i));
        goroutine_yield();
    }
    CHECK_EQ(goroutine_rwlock_read_lock(lock, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(GET(order_count), 0);
    OK(goroutine_rwlock_read_unlock(lock));
    for (i = 0; i < 5; i++) OK(goroutine_promise_await_take(p[i], 10 * SECOND, NULL));
    for (i = 0; i < 5; i++) CHECK_EQ(order[i], i);
    OK(goroutine_rwlock_free(lock));
    return arg;
}
int main(void) {
    start_workers(1);
    run_goroutine(owners_and_order, NULL);
    stop();
    contended(1);
    contended(2);
    contended(3);
    return 0;
}

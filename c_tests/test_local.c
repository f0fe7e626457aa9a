/* Goroutine-local values: each goroutine has its own, on whatever thread it runs; they are dropped at its end, however it comes. */
#include "check.h"

static uint32_t key[4];
static uint64_t drops, sum, last_key_dropped;

static void drop_counted(void *value) {
    ADD(drops, 1);
    ADD(sum, U(value));
    CHECK(goroutine_current() == NULL);
}
static void drop_later(void *value) {
    (void)value;
    ADD(last_key_dropped, 1);
}
static void *user(void *arg) {
    uint64_t i;
    for (i = 0; i < 4; i++) CHECK(goroutine_local_get(key[i]) == NULL);
    goroutine_local_set(key[1], NULL);
    goroutine_local_set(key[0], P(1000));
    goroutine_local_set(key[0], P(U(arg) + 1)); /* the one before is not dropped */
    goroutine_local_set(key[2], P(U(arg) + 2)); /* this key drops nothing */
    for (i = 0; i < 20; i++) {
        goroutine_yield();
        if (i == 10 && U(arg) % 16 == 5) OK(goroutine_ffi_bind());
        CHECK_EQ(U(goroutine_local_get(key[0])), U(arg) + 1);
        CHECK(goroutine_local_get(key[1]) == NULL);
        CHECK_EQ(U(goroutine_local_get(key[2])), U(arg) + 2);
    }
    goroutine_local_set(key[3], P(1));
    if (U(arg) % 4 == 1) goroutine_exit(GOROUTINE_OK, arg);
    if (U(arg) % 4 == 2) {
        CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
        goroutine_exit(GOROUTINE_ECANCELED, NULL);
    }
    if (U(arg) % 4 == 3) goroutine_local_set(key[3], NULL); /* nothing to drop */
    return NULL;
}
static void many(uint32_t workers) {
    enum { N = 2000 };
    static GoroutinePromise *p[N];
    uint64_t i, n = scaled(N, 20), shall = 0, later = 0;
    start_workers(workers);
    drops = sum = last_key_dropped = 0;
    for (i = 0; i < n; i++) {
        p[i] = goroutine_spawn(user, P(i));
        shall += i + 1;
        later += i % 4 != 3;
    }
    for (i = 2; i < n; i += 4) {
        goroutine_promise_retain(p[i]);
        if (i % 8 == 2) thread_sleep(10 * US);
    }
    for (i = 0; i < n; i++) {
        if (i % 4 != 2) OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
    }
    for (i = 2; i < n; i += 4) {
        GoroutineStatus status;
        OK(goroutine_cancel(p[i]));
        status = goroutine_promise_await_take(p[i], 60 * SECOND, NULL);
        CHECK_EQ(status, GOROUTINE_ECANCELED);
        goroutine_promise_release(p[i]);
    }
    CHECK_EQ(drops, n); /* before whoever awaits goes on */
    CHECK_EQ(sum, shall);
    CHECK_EQ(last_key_dropped, later);
    stop();
}
static void *in_callback(void *arg) {
    if (arg == NULL) {
        goroutine_local_set(key[0], P(70));
    } else {
        CHECK_EQ(U(goroutine_local_get(key[0])), 70); /* one goroutine for all callbacks of the thread */
    }
    return arg;
}
static void *calls_back(void *arg) {
    goroutine_callback_run(in_callback, NULL);
    CHECK_EQ(drops, 0);
    CHECK(goroutine_local_get(key[0]) == NULL); /* the thread itself has none */
    goroutine_callback_run(in_callback, P(1));
    return arg;
}
int main(void) {
    pthread_t thread;
    uint32_t i, count = 0, one = 0;
    OK(goroutine_local_key(drop_counted, &key[0]));
    OK(goroutine_local_key(drop_counted, &key[1]));
    OK(goroutine_local_key(NULL, &key[2]));
    OK(goroutine_local_key(drop_later, &key[3]));
    for (i = 0; i < 4; i++) CHECK(key[i] != 0);
    goroutine_local_set(key[0], P(5)); /* not on a plain thread */
    CHECK(goroutine_local_get(key[0]) == NULL);
    CHECK(goroutine_local_get(0) == NULL && goroutine_local_get(UINT32_MAX) == NULL);
    many(1);
    many(3);
    start_workers(1);
    drops = 0;
    CHECK(pthread_create(&thread, NULL, calls_back, NULL) == 0);
    pthread_join(thread, NULL);
    stop();
    CHECK_EQ(drops, 1);
    while (goroutine_local_key(NULL, &one) == GOROUTINE_OK) {
        count++;
        CHECK(one != 0 && count < 5000);
    }
    CHECK_EQ(count, 1020);
    CHECK_EQ(goroutine_local_key(NULL, &one), GOROUTINE_ENOMEM);
    return 0;
}

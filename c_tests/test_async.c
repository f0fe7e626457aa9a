/* Async operations: completed or cancelled once, awaited early or late, keeping the program alive. */
#include "check.h"

enum { MANY = 2000 };
static int64_t ids[MANY];
static uint64_t completed, sum;

static void *await_one(void *arg) {
    void *result = NULL;
    OK(goroutine_async_await(ids[U(arg)], GOROUTINE_FOREVER, &result));
    CHECK_EQ(U(result), U(arg) + 1);
    ADD(sum, U(result));
    return NULL;
}
static void *await_cancelled(void *arg) {
    void *result = P(5);
    CHECK_EQ(goroutine_async_await((int64_t)(intptr_t)arg, 10 * SECOND, &result), GOROUTINE_ECANCELED);
    CHECK_EQ(U(result), 5);
    ADD(completed, 1);
    return NULL;
}
static void *complete_all(void *arg) {
    uint64_t i;
    for (i = U(arg); i < MANY; i += 2) OK(goroutine_async_complete(ids[i], P(i + 1)));
    return NULL;
}
static void *contend(void *arg) {
    if (goroutine_async_complete((int64_t)(intptr_t)arg, P(1)) == GOROUTINE_OK) ADD(completed, 1);
    if (goroutine_async_cancel((int64_t)(intptr_t)arg) == GOROUTINE_OK) ADD(completed, 1);
    return NULL;
}

static void one(void) {
    GoroutineAsyncType type;
    void *result = NULL;
    int64_t id, before = 0;
    for (type = GOROUTINE_ASYNC_TIMER; type <= GOROUTINE_ASYNC_CUSTOM; type++) {
        id = goroutine_async_begin(type, P(9));
        CHECK(id > 0 && id < 1ll << 53 && id != before);
        before = id;
        CHECK_EQ(goroutine_async_await(id, 0, &result), GOROUTINE_EAGAIN);
        CHECK_EQ(goroutine_async_await(id, 1 * MS, &result), GOROUTINE_ETIMEDOUT);
        CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EAGAIN);
        OK(goroutine_async_complete(id, P(7)));
        CHECK_EQ(goroutine_async_complete(id, P(8)), GOROUTINE_EALREADY);
        CHECK_EQ(goroutine_async_cancel(id), GOROUTINE_EALREADY);
        OK(goroutine_runtime_wait(10 * SECOND));
        OK(goroutine_async_await(id, 0, &result)); /* late */
        CHECK_EQ(U(result), 7);
        CHECK_EQ(goroutine_async_await(id, 0, &result), GOROUTINE_EALREADY);
        CHECK_EQ(goroutine_async_complete(id, P(8)), GOROUTINE_EALREADY);
    }
    id = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL);
    OK(goroutine_async_cancel(id));
    CHECK_EQ(goroutine_async_complete(id, NULL), GOROUTINE_EALREADY);
    CHECK_EQ(goroutine_async_await(id, GOROUTINE_FOREVER, &result), GOROUTINE_ECANCELED);
    OK(goroutine_async_complete(goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL), NULL)); /* nobody asks */
}
static void many(void) {
    GoroutineStats stats;
    pthread_t thread;
    uint64_t i;
    sum = 0;
    for (i = 0; i < MANY; i++) CHECK((ids[i] = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL)) > 0);
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    CHECK_EQ(stats.async_operations, MANY);
    for (i = 0; i < MANY; i++) OK(goroutine_go(await_one, P(i)));
    CHECK(pthread_create(&thread, NULL, complete_all, P(0)) == 0);
    OK(goroutine_go(complete_all, P(1)));
    OK(goroutine_runtime_wait(30 * SECOND));
    pthread_join(thread, NULL);
    CHECK_EQ(GET(sum), (uint64_t)MANY * (MANY + 1) / 2);
}
static void contest(void) {
    uint64_t n = scaled(500, 10), i;
    for (i = 0; i < n; i++) {
        int64_t id = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL);
        GoroutinePromise *a, *b;
        GoroutineStatus status;
        completed = 0;
        a = goroutine_spawn(contend, P(id));
        b = goroutine_spawn(contend, P(id));
        status = goroutine_async_await(id, 10 * SECOND, NULL);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_ECANCELED);
        OK(goroutine_promise_await_take(a, 10 * SECOND, NULL));
        OK(goroutine_promise_await_take(b, 10 * SECOND, NULL));
        CHECK_EQ(GET(completed), 1);
    }
}
static void all_on(uint32_t workers) {
    int64_t id;
    GoroutinePromise *promise;
    start_workers(workers);
    one();
    many();
    contest();
    completed = 0;
    id = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL);
    promise = goroutine_spawn(await_cancelled, P(id));
    thread_sleep(1 * MS);
    OK(goroutine_async_cancel(id));
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    /* The shutdown cancels what is left, and whoever awaits it. */
    id = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL);
    goroutine_promise_release(goroutine_spawn(await_cancelled, P(id)));
    stop();
    CHECK_EQ(GET(completed), 2);
    CHECK_EQ(goroutine_async_complete(id, NULL), GOROUTINE_EALREADY);
}
int main(void) {
    all_on(1);
    all_on(2);
    all_on(4);
    return 0;
}

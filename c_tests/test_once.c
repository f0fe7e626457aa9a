/* Once: it runs once, everybody sees the result; ends within it, calls within it, time-outs. */
#include "check.h"

static GoroutineOnce *once;
static uint64_t runs, plain;

static void *init(void *arg) {
    plain = 5;
    ADD(runs, 1);
    goroutine_sleep(2 * MS);
    plain = 7;
    return arg;
}
static void *user(void *arg) {
    void *value = NULL;
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    OK(goroutine_once_run(once, init, P(99), GOROUTINE_FOREVER, &value));
    CHECK(value == P(99) && plain == 7);
    return NULL;
}
static void many(uint32_t workers) {
    GoroutinePromise *p[40];
    pthread_t thread[3];
    uint64_t i;
    start_workers(workers);
    once = goroutine_once_new();
    runs = 0;
    for (i = 0; i < 40; i++) p[i] = goroutine_spawn(user, P(i));
    for (i = 0; i < 3; i++) CHECK(pthread_create(&thread[i], NULL, user, P(0)) == 0);
    for (i = 0; i < 40; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
    for (i = 0; i < 3; i++) pthread_join(thread[i], NULL);
    CHECK_EQ(runs, 1);
    OK(goroutine_once_run(once, init, NULL, 0, NULL));
    OK(goroutine_once_free(once));
    stop();
}
static void *calls_itself(void *arg) {
    CHECK_EQ(goroutine_once_run(once, init, NULL, GOROUTINE_FOREVER, NULL), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_once_free(once), GOROUTINE_EBUSY);
    return arg;
}
static void *ends_within(void *arg) {
    ADD(runs, 1);
    goroutine_sleep(5 * MS);
    goroutine_exit(GOROUTINE_OK, arg);
}
static void *ender(void *arg) {
    (void)goroutine_once_run(once, ends_within, arg, GOROUTINE_FOREVER, NULL);
    CHECK(!"it has ended");
    return NULL;
}
static void *impatient(void *arg) {
    CHECK_EQ(goroutine_once_run(once, init, P(99), 0, NULL), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_once_run(once, init, P(99), 1 * MS, NULL), GOROUTINE_ETIMEDOUT);
    return arg;
}
static void *special(void *arg) {
    GoroutinePromise *p, *waits;
    void *value = NULL;
    once = goroutine_once_new();
    OK(goroutine_once_run(once, calls_itself, P(3), 0, &value));
    CHECK(value == P(3));
    OK(goroutine_once_free(once));
    once = goroutine_once_new();
    runs = 0;
    p = goroutine_spawn(ender, NULL);
    while (GET(runs) == 0) goroutine_yield();
    OK(goroutine_promise_await_take(goroutine_spawn(impatient, NULL), 10 * SECOND, NULL));
    waits = goroutine_spawn(user, NULL); /* runs it anew once the first is gone */
    OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
    OK(goroutine_promise_await_take(waits, 10 * SECOND, NULL));
    CHECK_EQ(runs, 2);
    OK(goroutine_once_free(once));
    return arg;
}
int main(void) {
    many(1);
    many(3);
    start_workers(1);
    run_goroutine(special, NULL);
    stop();
    start_workers(2);
    run_goroutine(special, NULL);
    stop();
    /* plain threads alone, without a runtime */
    once = goroutine_once_new();
    runs = 0;
    user(P(0));
    user(P(0));
    CHECK_EQ(runs, 1);
    OK(goroutine_once_free(once));
    return 0;
}

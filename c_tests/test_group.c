/* Task groups: all are awaited, the first failure is told, a failure or a call cancels the rest. */
#include "check.h"

static GoroutineGroup *group;
static uint64_t ran, were_cancelled, unhandled_count;

static void unhandled(const Goroutine *g, GoroutineStatus status, void *reason, void *arg) {
    (void)g;
    (void)status;
    (void)reason;
    (void)arg;
    ADD(unhandled_count, 1);
}
static void start(uint32_t workers) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = workers;
    config.unhandled = unhandled;
    OK(goroutine_runtime_start(&config));
}
static void *member(void *arg) {
    if (U(arg) % 3 == 0) goroutine_yield();
    if (U(arg) % 50 == 7) OK(goroutine_ffi_bind());
    ADD(ran, 1);
    return NULL;
}
static void *spawns_more(void *arg) {
    uint64_t i;
    for (i = 0; i < U(arg); i++) OK(goroutine_group_spawn(group, spawns_more, P(i)));
    ADD(ran, 1);
    return NULL;
}
static void *fails(void *arg) {
    goroutine_sleep(U(arg) * MS);
    ADD(ran, 1);
    goroutine_exit(GOROUTINE_EREJECTED, arg);
}
static void *fails_with_a_status(void *arg) {
    (void)arg;
    goroutine_exit(GOROUTINE_EPIPE, P(1));
}
static void *sleeps(void *arg) {
    if (U(arg) % 5 == 1) OK(goroutine_ffi_bind());
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    ADD(were_cancelled, 1);
    if (U(arg) % 2 == 0) goroutine_exit(GOROUTINE_ECANCELED, NULL);
    return NULL;
}
static void *waits(void *arg) {
    void *reason = P(5);
    CHECK_EQ(goroutine_group_wait(group, GOROUTINE_FOREVER, &reason), (GoroutineStatus)(intptr_t)arg);
    return NULL;
}
static void *groups(void *arg) {
    GoroutinePromise *p[4];
    void *reason = P(5);
    uint64_t i;
    group = goroutine_group_new(0);
    OK(goroutine_group_wait(group, 0, NULL));
    ran = 0;
    for (i = 0; i < 1000; i++) OK(goroutine_group_spawn(group, member, P(i)));
    OK(goroutine_group_wait(group, GOROUTINE_FOREVER, &reason));
    CHECK_EQ(GET(ran), 1000);
    ran = 0;
    OK(goroutine_group_spawn(group, spawns_more, P(8)));
    OK(goroutine_group_wait(group, GOROUTINE_FOREVER, &reason));
    CHECK_EQ(GET(ran), 256);
    CHECK_EQ(U(reason), 5);
    /* Failures without CANCEL_ON_ERROR: the rest goes on; the first is told, to all who wait. */
    ran = 0;
    OK(goroutine_group_spawn(group, fails, P(30)));
    OK(goroutine_group_spawn(group, fails, P(3)));
    OK(goroutine_group_spawn(group, member, P(1)));
    CHECK_EQ(goroutine_group_wait(group, 0, &reason), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_group_wait(group, 1 * US, &reason), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_group_free(group), GOROUTINE_EBUSY);
    for (i = 0; i < 4; i++) p[i] = goroutine_spawn(waits, P((uint64_t)(int64_t)GOROUTINE_EREJECTED));
    CHECK_EQ(goroutine_group_wait(group, GOROUTINE_FOREVER, &reason), GOROUTINE_EREJECTED);
    for (i = 0; i < 4; i++) OK(goroutine_promise_await_take(p[i], 10 * SECOND, NULL));
    CHECK_EQ(U(reason), 3);
    CHECK_EQ(GET(ran), 3);
    OK(goroutine_group_free(group));
    /* CANCEL_ON_ERROR */
    group = goroutine_group_new(GOROUTINE_GROUP_CANCEL_ON_ERROR);
    were_cancelled = 0;
    for (i = 0; i < 50; i++) OK(goroutine_group_spawn(group, sleeps, P(i)));
    goroutine_sleep(1 * MS);
    CHECK_EQ(GET(were_cancelled), 0);
    OK(goroutine_group_spawn(group, fails_with_a_status, NULL));
    CHECK_EQ(goroutine_group_wait(group, GOROUTINE_FOREVER, NULL), GOROUTINE_EPIPE);
    CHECK_EQ(GET(were_cancelled), 50);
    CHECK_EQ(goroutine_group_spawn(group, member, NULL), GOROUTINE_ECANCELED);
    OK(goroutine_group_free(group));
    /* Cancelled by hand. */
    group = goroutine_group_new(0);
    were_cancelled = 0;
    for (i = 0; i < 50; i++) OK(goroutine_group_spawn(group, sleeps, P(i * 2 + 1)));
    if (arg == NULL) goroutine_yield();
    OK(goroutine_group_cancel(group));
    OK(goroutine_group_wait(group, GOROUTINE_FOREVER, NULL));
    CHECK_EQ(GET(were_cancelled), 50);
    CHECK_EQ(goroutine_group_spawn(group, member, NULL), GOROUTINE_ECANCELED);
    OK(goroutine_group_free(group));
    return arg;
}
int main(void) {
    start(1);
    run_goroutine(groups, NULL);
    stop();
    start(3);
    run_goroutine(groups, NULL);
    groups(P(1)); /* a plain thread */
    stop();
    CHECK_EQ(unhandled_count, 0);
    group = goroutine_group_new(0);
    CHECK_EQ(goroutine_group_spawn(group, member, NULL), GOROUTINE_ESHUTDOWN);
    OK(goroutine_group_wait(group, 0, NULL));
    OK(goroutine_group_free(group));
    return 0;
}

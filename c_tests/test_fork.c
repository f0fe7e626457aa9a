/* What a child of fork may do with what its parent's goroutines left: release it, ask it to stop, hold a stale ticket. */
#include "check.h"

enum { WAITERS = 20000, PINNED = 8, PARKS = 1000 };

static GoroutineConfig config;
static uint64_t begun, may_end;

/* A promise whose goroutine is in the middle of settling it, with its lock in its hands, at the moment of the fork. */
static GoroutinePromise *settling;
static void *settle(void *arg) {
    while (!GET(may_end)) OK(goroutine_sleep(MS));
    return arg;
}
static void *wait_for_it(void *arg) {
    ADD(begun, 1);
    OK(goroutine_promise_await(settling, GOROUTINE_FOREVER, NULL));
    return arg;
}
static void in_child(pid_t pid) {
    int status;
    CHECK(pid > 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}
static void release_in_child(void) {
    uint64_t i, n = scaled(WAITERS, 20);
    pid_t pid;
    config.workers = 2;
    OK(goroutine_runtime_start(&config));
    settling = goroutine_spawn(settle, NULL);
    for (i = 0; i < n; i++) OK(goroutine_go(wait_for_it, NULL));
    while (GET(begun) != n) thread_sleep(1 * MS);
    thread_sleep(20 * MS); /* the last ones park */
    SET(may_end, 1);
    while (GET(*(uint32_t *)((char *)settling + GOROUTINE_PROMISE_OFFSET_STATE)) == 0) {
    }
    pid = fork();
    if (pid == 0) {
        alarm(20);
        goroutine_promise_release(settling);
        _exit(0);
    }
    in_child(pid);
    OK(goroutine_runtime_wait(60 * SECOND));
    goroutine_promise_release(settling);
    stop();
}

/* The parent has more workers than the child. */
static void *sleep_long(void *arg) {
    ADD(begun, 1);
    CHECK_EQ(goroutine_sleep(1000 * SECOND), GOROUTINE_ECANCELED);
    return arg;
}
static void cancel_in_child(void) {
    GoroutinePromise *promises[PINNED];
    int i;
    pid_t pid;
    SET(begun, 0);
    config.workers = 4;
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < PINNED; i++) {
        GoroutineSpawn spawn;
        goroutine_spawn_init(&spawn);
        spawn.fn = CODE(sleep_long);
        spawn.flags = GOROUTINE_SPAWN_PINNED;
        OK(goroutine_spawn_with(&spawn, &promises[i]));
    }
    while (GET(begun) != PINNED) thread_sleep(1 * MS);
    thread_sleep(20 * MS);
    pid = fork();
    if (pid == 0) {
        alarm(20);
        config.workers = 1;
        OK(goroutine_runtime_start(&config));
        for (i = 0; i < PINNED; i++) CHECK_EQ(goroutine_cancel(promises[i]), GOROUTINE_EINVAL); /* it has no goroutine here */
        _exit(0);
    }
    in_child(pid);
    for (i = 0; i < PINNED; i++) {
        OK(goroutine_cancel(promises[i]));
        OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
    }
    stop();
}

/* The child's goroutine, on the same control block, parks until it had every sequence that the parent's had. */
static GoroutineTicket old[PARKS];
static GoroutineTicket wanted, latest;
static uint64_t taken, parked, woken;
static bool remember(GoroutineTicket ticket, void *arg) {
    (void)arg;
    old[taken++] = ticket;
    return true;
}
static void *park_once(void *arg) {
    CHECK_EQ(goroutine_park(remember, NULL, 20 * MS), GOROUTINE_ETIMEDOUT);
    return arg;
}
static bool until_wanted(GoroutineTicket ticket, void *arg) {
    (void)arg;
    latest = ticket;
    if (ticket.sequence < wanted.sequence) return false;
    SET(parked, 1);
    return true;
}
static void *park_again(void *arg) {
    int i;
    wanted = old[0];
    for (i = 0; i < PARKS; i++) {
        if (old[i].goroutine == U(goroutine_current())) wanted = old[i];
    }
    while (!GET(parked)) goroutine_park(until_wanted, NULL, GOROUTINE_FOREVER);
    SET(woken, 1);
    return arg;
}
static void ticket_in_child(void) {
    static GoroutinePromise *promises[PARKS];
    int i;
    pid_t pid;
    config.workers = 1;
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < PARKS; i++) promises[i] = goroutine_spawn(park_once, NULL);
    for (i = 0; i < PARKS; i++) OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
    pid = fork();
    if (pid == 0) {
        alarm(20);
        OK(goroutine_runtime_start(&config));
        OK(goroutine_go(park_again, NULL));
        while (!GET(parked)) thread_sleep(1 * MS);
        thread_sleep(20 * MS); /* it parks for good */
        CHECK(latest.sequence != wanted.sequence || latest.goroutine != wanted.goroutine);
        for (i = 0; i < PARKS; i++) goroutine_ready(old[i], GOROUTINE_OK);
        thread_sleep(20 * MS);
        CHECK_EQ(GET(woken), 0);
        goroutine_ready(latest, GOROUTINE_OK);
        while (!GET(woken)) thread_sleep(1 * MS);
        _exit(0);
    }
    in_child(pid);
    stop();
}

int main(void) {
    goroutine_config_init(&config);
    release_in_child();
    cancel_in_child();
    ticket_in_child();
    return 0;
}

/* Start, wait, shut down, start again; who keeps the program alive; fork. */
#include "check.h"

static uint64_t counter, told;

static void *add_one(void *arg) {
    ADD(counter, 1);
    return arg;
}
static void *sleep_for(void *ns) {
    GoroutineStatus status = goroutine_sleep(U(ns));
    if (status == GOROUTINE_ECANCELED) ADD(counter, 1);
    return P((intptr_t)status);
}
static void *spin_until_told(void *arg) {
    ADD(counter, 1);
    while (GET(told) == 0) {
    }
    return arg;
}
static bool stay(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    (void)arg;
    return true;
}
static void *park_for_ever(void *arg) {
    ADD(told, 1);
    CHECK_EQ(goroutine_park(stay, NULL, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    ADD(counter, 1);
    return arg;
}
static void *ends_with(void *arg) { goroutine_exit((GoroutineStatus)(intptr_t)arg, P(9)); }
static void *spawns_more(void *arg) {
    if (U(arg) > 0) OK(goroutine_go(spawns_more, P(U(arg) - 1)));
    OK(goroutine_sleep(100 * US));
    ADD(counter, 1);
    return P(123);
}
static GoroutineStats stats_now(void) {
    GoroutineStats stats;
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    return stats;
}

static void implicit_start(void) {
    CHECK_EQ(stats_now().workers, 0);
    OK(goroutine_runtime_wait(GOROUTINE_FOREVER)); /* nothing was ever started */
    OK(goroutine_runtime_shutdown(0));             /* nor is there anything to stop */
    /* "after a shutdown only goroutine_runtime_start does": the one above counts. */
    OK(goroutine_runtime_start(NULL));
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);
    CHECK(stats_now().workers >= 1);
    stop();
}
static void first_spawn_starts(void *arg) {
    SET(counter, 0);
    switch (U(arg)) {
    case 0: OK(goroutine_go(add_one, NULL)); break;
    case 1: goroutine_promise_release(goroutine_spawn(add_one, NULL)); break;
    case 2: CHECK(goroutine_timer_start(1, 0, add_one, NULL) > 0); break;
    default: {
        void *result = NULL;
        OK(goroutine_runtime_run(add_one, P(5), &result));
        CHECK_EQ(U(result), 5);
    }
    }
    OK(goroutine_runtime_wait(10 * SECOND));
    CHECK_EQ(GET(counter), 1);
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);
    stop();
    CHECK_EQ(goroutine_go(add_one, NULL), GOROUTINE_ESHUTDOWN);
    CHECK(goroutine_spawn(add_one, NULL) == NULL);
    CHECK_EQ(goroutine_timer_start(1, 0, add_one, NULL), GOROUTINE_ESHUTDOWN);
    CHECK_EQ(goroutine_async_begin(0, NULL), GOROUTINE_ESHUTDOWN);
    CHECK_EQ(goroutine_runtime_run(add_one, NULL, NULL), GOROUTINE_ESHUTDOWN);
    OK(goroutine_runtime_shutdown(0));
    CHECK_EQ(GET(counter), 1);
    CHECK_EQ(stats_now().workers, 0);
}
static void environment_is_read(void *arg) {
    (void)arg;
    setenv("GOROUTINE_WORKERS", "3", 1);
    OK(goroutine_go(add_one, NULL));
    CHECK_EQ(stats_now().workers, 3);
    stop();
    setenv("GOROUTINE_WORKERS", "many", 1);
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EINVAL);
}

static void fifty_times(void) {
    uint64_t n = scaled(50, 10), i;
    for (i = 0; i < n; i++) {
        GoroutinePromise *kept[20];
        uint32_t k;
        SET(counter, 0);
        SET(told, 0);
        start_workers(1 + (uint32_t)i % 5);
        CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);
        for (k = 0; k < 100; k++) OK(goroutine_go(add_one, NULL));
        for (k = 0; k < 20; k++) CHECK((kept[k] = goroutine_spawn(k % 2 != 0 ? park_for_ever : sleep_for, P(3600 * SECOND))) != NULL);
        CHECK(goroutine_timer_start(3600 * SECOND, 0, add_one, NULL) > 0);
        CHECK(goroutine_timer_start(0, 50 * US, add_one, NULL) > 0);
        while (GET(told) < 10) goroutine_yield(); /* so the parks are, or are about to be */
        stop();
        CHECK(GET(counter) >= 120);
        for (k = 0; k < 20; k++) { /* their promises outlive the runtime */
            void *value = NULL;
            OK(goroutine_promise_await(kept[k], 0, &value));
            CHECK_EQ((int)(intptr_t)value, k % 2 != 0 ? (int)(3600 * SECOND) : GOROUTINE_ECANCELED);
            CHECK_EQ(goroutine_cancel(kept[k]), GOROUTINE_EALREADY);
            goroutine_promise_release(kept[k]);
        }
    }
}

static void slow_shutdown(void *arg) {
    GoroutineSpawn named;
    (void)arg;
    SET(counter, 0);
    SET(told, 0);
    start_workers(2);
    goroutine_spawn_init(&named);
    named.fn = CODE(spin_until_told);
    named.name = "spins";
    OK(goroutine_spawn_with(&named, NULL));
    while (GET(counter) == 0) goroutine_yield();
    CHECK_EQ(goroutine_runtime_shutdown(20 * MS), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_go(add_one, NULL), GOROUTINE_ESHUTDOWN);
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);
    CHECK_EQ(goroutine_runtime_shutdown(0), GOROUTINE_EAGAIN);
    SET(told, 1);
    OK(goroutine_runtime_shutdown(10 * SECOND));
    start_workers(1);
    run_goroutine(add_one, NULL);
    stop();
}

/* The report names goroutines, half of which end, and free their names, meanwhile. */
enum { NAMED = 100, REPORTS = 6 };
static void *ends_soon(void *arg) {
    ADD(told, 1);
    if (U(arg) % 2 != 0) {
        goroutine_cancel_disable();
        while (GET(told) != NAMED + 1) OK(goroutine_sleep(MS));
        return arg;
    }
    CHECK_EQ(goroutine_sleep(3600 * SECOND), GOROUTINE_ECANCELED);
    goroutine_cancel_disable();
    OK(goroutine_sleep(5 * MS + U(arg) * 200 * US)); /* the first report is being written */
    return arg;
}
static void shutdowns_with_names(void *arg) {
    GoroutineSpawn named;
    char name[64];
    uint64_t i;
    SET(told, 0);
    start_workers(2);
    goroutine_spawn_init(&named);
    named.fn = CODE(ends_soon);
    named.name = name;
    for (i = 0; i < NAMED; i++) {
        memset(name, 'a' + (int)(i % 26), 40);
        snprintf(name + 40, sizeof name - 40, "%02d", (int)i);
        named.int_args[0] = i;
        OK(goroutine_spawn_with(&named, NULL));
    }
    while (GET(told) != NAMED) goroutine_yield();
    for (i = 0; i < REPORTS; i++) CHECK_EQ(goroutine_runtime_shutdown(1), GOROUTINE_ETIMEDOUT);
    ADD(told, 1);
    stop();
    (void)arg;
}
static void names_in_reports(void) {
    static Child child;
    const char *line;
    int names = 0, i, k;
    run_child(shutdowns_with_names, NULL, &child);
    CHECK(child.signal == 0 && child.status == 0);
    for (line = strstr(child.text, "  goroutine "); line != NULL; line = strstr(line + 1, "  goroutine ")) {
        const char *quote = strchr(line, '"');
        if (quote == NULL || quote > strchr(line, '\n')) continue; /* it had freed it */
        names++;
        i = atoi(quote + 41);
        for (k = 1; k <= 40; k++) CHECK_EQ(quote[k], 'a' + i % 26);
        CHECK_EQ(quote[43], '"');
    }
    CHECK(names >= REPORTS * NAMED / 2);
}

static void retain_and_release(void) {
    start_workers(1);
    CHECK_EQ(goroutine_runtime_release(SECOND), GOROUTINE_EPERM);
    goroutine_runtime_retain();
    goroutine_runtime_retain();
    OK(goroutine_runtime_release(SECOND));
    run_goroutine(add_one, NULL);
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);
    OK(goroutine_runtime_release(10 * SECOND));
    CHECK_EQ(goroutine_go(add_one, NULL), GOROUTINE_ESHUTDOWN);
    CHECK_EQ(goroutine_runtime_release(SECOND), GOROUTINE_EPERM);
}

/* What goroutine_runtime_wait waits for, and what not. */
static void *ends_external(void *arg) {
    thread_sleep(5 * MS);
    SET(told, 1);
    goroutine_external_end();
    return arg;
}
static void waits(void) {
    GoroutineSpawn spawn;
    GoroutinePromise *daemon = NULL;
    pthread_t thread;
    int64_t id, timer;
    void *value = NULL;
    start_workers(2);
    OK(goroutine_runtime_wait(0));
    SET(counter, 0);
    OK(goroutine_go(spawns_more, P(20)));
    OK(goroutine_runtime_wait(10 * SECOND));
    CHECK_EQ(GET(counter), 21);

    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(sleep_for);
    spawn.int_args[0] = 3600 * SECOND;
    spawn.flags = GOROUTINE_SPAWN_DAEMON;
    OK(goroutine_spawn_with(&spawn, &daemon));
    OK(goroutine_runtime_wait(10 * SECOND)); /* a daemon does not count */

    spawn.fn = CODE(add_one);
    spawn.flags = 0;
    timer = goroutine_timer_start_with(3600 * SECOND, 0, &spawn, NULL, GOROUTINE_TIMER_UNREF);
    CHECK(timer > 0);
    OK(goroutine_runtime_wait(10 * SECOND)); /* nor does an unreferenced timer */
    CHECK(goroutine_timer_stop(timer));
    OK(goroutine_runtime_wait(10 * SECOND));

    timer = goroutine_timer_start(3600 * SECOND, 0, add_one, NULL);
    CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_runtime_wait(5 * MS), GOROUTINE_ETIMEDOUT); /* but a timer does */
    CHECK(goroutine_timer_stop(timer));
    OK(goroutine_runtime_wait(10 * SECOND));

    SET(counter, 0);
    CHECK(goroutine_timer_start(2 * MS, 0, add_one, NULL) > 0);
    OK(goroutine_runtime_wait(10 * SECOND));
    CHECK_EQ(GET(counter), 1);

    id = goroutine_async_begin(GOROUTINE_ASYNC_FILE_IO, NULL);
    CHECK_EQ(goroutine_runtime_wait(5 * MS), GOROUTINE_ETIMEDOUT);
    OK(goroutine_async_complete(id, NULL));
    OK(goroutine_runtime_wait(10 * SECOND));
    id = goroutine_async_begin(GOROUTINE_ASYNC_FILE_IO, NULL);
    OK(goroutine_async_cancel(id));
    OK(goroutine_runtime_wait(10 * SECOND));

    SET(told, 0);
    goroutine_external_begin();
    CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EAGAIN);
    CHECK(pthread_create(&thread, NULL, ends_external, NULL) == 0);
    OK(goroutine_runtime_wait(10 * SECOND));
    CHECK_EQ(GET(told), 1);
    pthread_join(thread, NULL);

    SET(counter, 0);
    OK(goroutine_runtime_run(spawns_more, P(10), &value));
    CHECK_EQ(U(value), 123);
    CHECK_EQ(GET(counter), 11); /* all of them, not main only */
    CHECK_EQ(goroutine_runtime_run(ends_with, P((intptr_t)GOROUTINE_EREJECTED), &value), GOROUTINE_EREJECTED);
    CHECK_EQ(U(value), 9);
    CHECK_EQ(goroutine_runtime_run(ends_with, P((intptr_t)GOROUTINE_EPIPE), NULL), GOROUTINE_EPIPE);

    CHECK_EQ(goroutine_promise_await(daemon, 0, NULL), GOROUTINE_EAGAIN);
    stop();
    OK(goroutine_promise_await_take(daemon, 0, &value)); /* cancelled, and it returned */
    CHECK_EQ((intptr_t)value, GOROUTINE_ECANCELED);
}

static void *spawner(void *arg) {
    uint64_t i, n = scaled(5000, 10);
    for (i = 0; i < n; i++) {
        GoroutinePromise *promise;
        OK(goroutine_go(add_one, NULL));
        CHECK((promise = goroutine_spawn(add_one, P(i))) != NULL);
        if (i % 16 == 0) {
            void *value = NULL;
            OK(goroutine_promise_await(promise, 10 * SECOND, &value));
            CHECK_EQ(U(value), i);
        }
        goroutine_promise_release(promise);
    }
    return arg;
}
static void four_threads(uint32_t workers) {
    pthread_t threads[4];
    int i;
    SET(counter, 0);
    start_workers(workers);
    for (i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, spawner, NULL) == 0);
    for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(GET(counter), 8 * scaled(5000, 10));
    stop();
}

/* Threads that use the runtime while it is shut down under them get a status, and nothing else happens. */
static void *hammer(void *arg) {
    while (GET(told) == 0) {
        GoroutinePromise *promise = goroutine_spawn(add_one, NULL);
        GoroutineStatus status = goroutine_go(sleep_for, P(10 * US));
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_ESHUTDOWN);
        if (promise != NULL) OK(goroutine_promise_await(promise, 10 * SECOND, NULL));
        goroutine_promise_release(promise);
        goroutine_timer_stop(goroutine_timer_start(100 * US, 0, add_one, NULL));
        goroutine_runtime_wait(1);
        stats_now();
    }
    return arg;
}
static void under_fire(void) {
    pthread_t threads[3];
    uint64_t n = scaled(30, 10), k;
    int i;
    SET(told, 0);
    start_workers(2);
    for (i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, hammer, NULL) == 0);
    for (k = 0; k < n; k++) {
        thread_sleep(1 * MS);
        stop();
        thread_sleep(100 * US);
        start_workers(1 + (uint32_t)k % 3);
    }
    SET(told, 1);
    for (i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    stop();
}

/* A goroutine that is being cancelled by the shutdown may still ask the runtime things. */
static void *asks_while_stopping(void *arg) {
    ADD(told, 1);
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    CHECK_EQ(goroutine_go(add_one, NULL), GOROUTINE_ESHUTDOWN);
    CHECK(goroutine_spawn(add_one, NULL) == NULL);
    CHECK_EQ(goroutine_runtime_wait(SECOND), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_shutdown(SECOND), GOROUTINE_EDEADLK);
    stats_now();
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);
    goroutine_runtime_retain();
    ADD(counter, 1);
    return arg;
}
static void asking(void *arg) {
    (void)arg;
    SET(told, 0);
    SET(counter, 0);
    start_workers(2);
    OK(goroutine_go(asks_while_stopping, NULL));
    while (GET(told) == 0) goroutine_yield();
    OK(goroutine_runtime_shutdown(10 * SECOND));
    CHECK_EQ(GET(counter), 1);
}

/* Somebody who waits does not keep a shutdown from its end. */
static void *waits_for_ever(void *arg) {
    ADD(told, 1);
    goroutine_runtime_wait(GOROUTINE_FOREVER);
    return arg;
}
static void shutdown_with_waiter(void *arg) {
    pthread_t thread;
    (void)arg;
    SET(told, 0);
    start_workers(2);
    goroutine_external_begin();
    CHECK(goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL) > 0);
    CHECK(pthread_create(&thread, NULL, waits_for_ever, NULL) == 0);
    while (GET(told) == 0) goroutine_yield();
    thread_sleep(5 * MS);
    OK(goroutine_runtime_shutdown(10 * SECOND));
    pthread_join(thread, NULL);
}

/* fork: the child has no runtime and may exec, or start its own; the parent goes on. */
static void forks(const char *self) {
    GoroutinePromise *sleeper, *parked;
    int64_t operation, timer;
    int status = 0, i;
    SET(counter, 0);
    SET(told, 0);
    start_workers(2);
    sleeper = goroutine_spawn(sleep_for, P(50 * MS));
    parked = goroutine_spawn(park_for_ever, NULL);
    while (GET(told) == 0) goroutine_yield();
    thread_sleep(2 * MS);
    operation = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL);
    timer = goroutine_timer_start(3600 * SECOND, 0, add_one, NULL);
    for (i = 0; i < 2; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid != 0) {
            CHECK_EQ(waitpid(pid, &status, 0), pid);
            if (WIFSIGNALED(status)) fprintf(stderr, "the child %d died of signal %d\n", i, WTERMSIG(status));
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            continue;
        }
        alarm(60);
        if (i == 0) {
            execl(self, self, "child", (char *)NULL);
            _exit(126);
        }
        CHECK(goroutine_current() == NULL);
        CHECK_EQ(stats_now().workers, 0);
        SET(counter, 0);
        start_workers(1);
        CHECK_EQ(stats_now().live, 0);
        run_goroutine(spawns_more, P(3));
        OK(goroutine_runtime_wait(10 * SECOND));
        CHECK_EQ(GET(counter), 4);
        goroutine_async_complete(operation, NULL); /* the parent's: whatever it says, it does no harm */
        goroutine_timer_stop(timer);
        OK(goroutine_runtime_wait(10 * SECOND));
        CHECK(goroutine_timer_start(1 * MS, 0, add_one, NULL) > 0);
        OK(goroutine_runtime_wait(10 * SECOND));
        CHECK_EQ(GET(counter), 5);
        stop();
        CHECK_EQ(GET(counter), 5); /* the parent's parked goroutine did not wake up here */
        _exit(0);
    }
    SET(counter, 0);
    run_goroutine(add_one, NULL);
    CHECK_EQ(GET(counter), 1);
    OK(goroutine_promise_await_take(sleeper, 10 * SECOND, NULL));
    OK(goroutine_async_complete(operation, NULL));
    CHECK(goroutine_timer_stop(timer));
    OK(goroutine_cancel(parked));
    OK(goroutine_promise_await_take(parked, 10 * SECOND, NULL));
    stop();
}

int main(int argc, char **argv) {
    if (argc > 1) return strcmp(argv[1], "child") == 0 ? 0 : 1;
    for (argc = 0; argc < 4; argc++) expect_child("first use starts", first_spawn_starts, P(argc), 0, 0, NULL);
    expect_child("environment", environment_is_read, NULL, 0, 0, "GOROUTINE_WORKERS");
    expect_child("slow shutdown", slow_shutdown, NULL, 0, 0, "shutdown timed out");
    expect_child("slow shutdown", slow_shutdown, NULL, 0, 0, " \"spins\" runs, or is queued, spawned at 0x");
    names_in_reports();
    implicit_start();
    fifty_times();
    retain_and_release();
    waits();
    four_threads(1);
    four_threads(2);
    four_threads(8);
    under_fire();
    forks(argv[0]);
    expect_child("asking while stopping", asking, NULL, 0, 0, NULL);
    expect_child("shutdown with a waiter", shutdown_with_waiter, NULL, 0, 0, NULL);
    return 0;
}

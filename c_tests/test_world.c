/* timeout: 300 */
/* Stopping the world: nothing of the language runs, whoever it is and wherever it comes from, and all of it goes on afterwards. */
#include "check.h"
#include <setjmp.h>

/* Set while the world is stopped, by the stopper: goroutines must never see it. */
static uint64_t stopped;
#define RUNS() CHECK(!GET(stopped))

static void stop_world(void) {
    OK(goroutine_world_stop(20 * SECOND));
    SET(stopped, 1);
}
static void start_world(void) {
    SET(stopped, 0);
    goroutine_world_start();
}
static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}
static uint32_t preempt(void) { return __atomic_load_n((uint32_t *)((char *)goroutine_current() + GOROUTINE_OFFSET_PREEMPT), __ATOMIC_RELAXED); }

/* ---- loops that poll ---- */

static uint64_t quit, turns[8];
static void *polling_loop(void *arg) {
    uint64_t *mine = (uint64_t *)arg;
    while (!GET(quit)) {
        RUNS();
        __atomic_store_n(mine, *mine + 1, __ATOMIC_RELAXED);
        if (preempt() != 0) goroutine_safepoint();
    }
    return NULL;
}
static void loops_stop(uint32_t workers) {
    GoroutinePromise *promises[8];
    uint64_t seen[8], i, round, before;
    start_workers(workers);
    SET(quit, 0);
    for (i = 0; i < 8; i++) CHECK((promises[i] = goroutine_spawn(polling_loop, &turns[i])) != NULL);
    before = stats().world_stops;
    for (round = 0; round < scaled(200, 20); round++) {
        stop_world();
        for (i = 0; i < 8; i++) seen[i] = GET(turns[i]);
        if (round % 20 == 0) thread_sleep(3 * MS);
        for (i = 0; i < 8; i++) CHECK_EQ(GET(turns[i]), seen[i]);
        start_world();
        if (round % 20 == 0) thread_sleep(1 * MS);
    }
    CHECK_EQ(stats().world_stops - before, scaled(200, 20));
    for (i = 0; i < 8; i++) { /* all go on, also with one worker: they give way to each other */
        uint64_t from = GET(turns[i]);
        while (GET(turns[i]) == from) thread_sleep(100 * US);
    }
    SET(quit, 1);
    for (i = 0; i < 8; i++) OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
    stop();
}

/* Those that never poll, but yield. */
static void *yields(void *arg) {
    while (!GET(quit)) {
        RUNS();
        ADD(*(uint64_t *)arg, 1);
        goroutine_yield();
    }
    return NULL;
}
/* Language code that C has called back, from a leaf call: it waits in place, and keeps neither thread nor worker for that. */
static void *c_runs_loop(void *arg) { return goroutine_callback_run(polling_loop, arg); }
static void *called_back(void *arg) { return goroutine_ffi_call_leaf(CODE(c_runs_loop), arg); }
static void stop_often(GoroutineFn f, uint32_t workers, unsigned n) {
    GoroutinePromise *promises[8];
    uint64_t i, round, from, asked, bound;
    start_workers(workers);
    asked = stats().preempted;
    SET(quit, 0);
    for (i = 0; i < n; i++) {
        from = GET(turns[i]);
        CHECK((promises[i] = goroutine_spawn(f, &turns[i])) != NULL);
        while (GET(turns[i]) == from) thread_sleep(100 * US);
    }
    for (round = 0; round < 50; round++) {
        stop_world();
        from = GET(turns[0]);
        thread_sleep(100 * US);
        CHECK_EQ(GET(turns[0]), from);
        start_world();
        while (GET(turns[0]) == from) thread_sleep(100 * US);
    }
    bound = stats().ffi_bindings; /* before the look whether one took so long that it was asked to give others a turn */
    if (f == called_back && stats().preempted == asked) CHECK_EQ(bound, 0);
    SET(quit, 1);
    for (i = 0; i < n; i++) OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
    stop();
}

/* ---- the stopper ---- */

static bool no_park(GoroutineTicket t, void *arg) {
    (void)t;
    (void)arg;
    return true;
}
static void count_self(void *arg, const Goroutine *g, const GoroutineContext *registers, const void *low, const void *high) {
    uint64_t *found = (uint64_t *)arg, here = U(&found);
    if (g != goroutine_current()) return;
    CHECK(registers != NULL && found[0] == 0);
    CHECK(U(low) < found[1] && found[1] < U(high)); /* its frame is live */
    CHECK_EQ(registers->rsp, U(low));
    CHECK(here < U(low)); /* ours are not */
    found[0]++;
}
static GoroutineMutex *taken;
static void *stops(void *arg) {
    GoroutinePromise *pending = goroutine_promise_new();
    GoroutineChannel *channel = goroutine_channel_new(8, 1);
    uint64_t found[2], value = 7;
    uint32_t key;
    (void)arg;
    found[0] = 0;
    found[1] = U(&value);
    goroutine_world_for_each(count_self, found); /* not stopped: nothing */
    CHECK_EQ(found[0], 0);
    OK(goroutine_world_stop(GOROUTINE_FOREVER));
    CHECK_EQ(goroutine_world_stop(GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    goroutine_world_for_each(count_self, found);
    CHECK_EQ(found[0], 1);
    /* It would wait for somebody who stands. */
    CHECK_EQ(goroutine_sleep(1 * MS), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_park(no_park, NULL, GOROUTINE_FOREVER), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_promise_await(pending, GOROUTINE_FOREVER, NULL), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_mutex_lock(taken, GOROUTINE_FOREVER), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER), GOROUTINE_EPERM);
    goroutine_yield();
    /* What need not wait goes on. */
    OK(goroutine_channel_send(channel, &value, GOROUTINE_FOREVER));
    value = 0;
    OK(goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER));
    CHECK_EQ(value, 7);
    OK(goroutine_promise_resolve(pending, P(5)));
    OK(goroutine_promise_await(pending, GOROUTINE_FOREVER, NULL));
    OK(goroutine_local_key(NULL, &key));
    goroutine_local_set(key, P(1));
    goroutine_world_start();
    goroutine_world_start(); /* nothing */
    OK(goroutine_sleep(1 * MS));
    goroutine_promise_release(pending);
    OK(goroutine_channel_free(channel));
    OK(goroutine_world_stop(SECOND));
    goroutine_world_start();
    return P(1);
}
static void *binds_and_stops(void *arg) {
    OK(goroutine_ffi_bind());
    return stops(arg);
}
static void *calls_c_that_stops(void *arg) {
    /* (count_self finds its frame on the native stack only.) */
    OK(goroutine_world_stop(SECOND));
    goroutine_world_start();
    (void)arg;
    return NULL;
}
static void *calls_leaf(void *arg) { return goroutine_ffi_call_leaf(CODE(calls_c_that_stops), arg); }
static void *calls_blocking(void *arg) { return goroutine_ffi_call_blocking(CODE(calls_c_that_stops), arg); }
static void *ends_stopped(void *arg) {
    (void)arg;
    OK(goroutine_world_stop(SECOND));
    return NULL;
}
static void child_ends_stopped(void *arg) {
    start_workers(1);
    run_goroutine(ends_stopped, arg);
}
static void stopper_cannot_wait(void) {
    GoroutinePromise *pending;
    start_workers(2);
    CHECK((taken = goroutine_mutex_new(0)) != NULL);
    OK(goroutine_mutex_lock(taken, 0));
    CHECK_EQ(U(run_goroutine(stops, NULL)), 1);
    CHECK_EQ(U(run_goroutine(binds_and_stops, NULL)), 1);
    run_goroutine(calls_leaf, NULL);
    run_goroutine(calls_blocking, NULL);
    /* A plain thread. */
    CHECK((pending = goroutine_promise_new()) != NULL);
    OK(goroutine_world_stop(SECOND));
    CHECK_EQ(goroutine_world_stop(0), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_promise_await(pending, SECOND, NULL), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_runtime_wait(SECOND), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_shutdown(SECOND), GOROUTINE_EDEADLK);
    goroutine_world_start();
    goroutine_promise_release(pending);
    OK(goroutine_mutex_unlock(taken));
    OK(goroutine_mutex_free(taken));
    stop();
    /* Without a runtime there is nothing to stop. */
    OK(goroutine_world_stop(SECOND));
    goroutine_world_start();
}

/* ---- one that does not poll ---- */

static uint64_t deaf, deaf_id;
static void *deaf_loop(void *arg) {
    (void)arg;
    SET(deaf_id, goroutine_id(goroutine_current()));
    while (!GET(deaf)) {
    }
    return NULL;
}
static void deaf_one(void) {
    GoroutinePromise *promise, *other;
    uint64_t from;
    start_workers(2);
    SET(quit, 0);
    CHECK((other = goroutine_spawn(polling_loop, &turns[0])) != NULL);
    CHECK((promise = goroutine_spawn(deaf_loop, NULL)) != NULL);
    while (GET(deaf_id) == 0) thread_sleep(100 * US);
    CHECK_EQ(goroutine_world_stop(0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_world_stop(20 * MS), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(stats().world_held_up_by, deaf_id);
    from = GET(turns[0]); /* the world runs on */
    while (GET(turns[0]) == from) thread_sleep(100 * US);
    CHECK_EQ(goroutine_world_stop(20 * MS), GOROUTINE_ETIMEDOUT);
    SET(deaf, 1);
    OK(goroutine_promise_await_take(promise, 60 * SECOND, NULL));
    stop_world();
    start_world();
    SET(quit, 1);
    OK(goroutine_promise_await_take(other, 60 * SECOND, NULL));
    stop();
}

/* ---- two stoppers ---- */

static void *starts(void *arg) {
    goroutine_world_start();
    return arg;
}
static void *shuts_down(void *arg) { return P(goroutine_runtime_shutdown(U(arg))); }

static uint64_t second_has_it;
static void *second_stopper(void *arg) {
    CHECK_EQ(goroutine_world_stop(10 * MS), GOROUTINE_ETIMEDOUT);
    SET(second_has_it, 1);
    OK(goroutine_world_stop(20 * SECOND));
    SET(second_has_it, 2);
    goroutine_world_start();
    return arg;
}
static void in_turn(void) {
    pthread_t thread;
    start_workers(2);
    stop_world();
    CHECK(pthread_create(&thread, NULL, second_stopper, NULL) == 0);
    while (GET(second_has_it) == 0) thread_sleep(100 * US);
    thread_sleep(20 * MS);
    CHECK_EQ(GET(second_has_it), 1);
    goroutine_world_start(); /* `stopped` stays: nothing of the language runs here */
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ(GET(second_has_it), 2);
    SET(stopped, 0);
    /* The start of somebody else does nothing. */
    stop_world();
    CHECK(pthread_create(&thread, NULL, starts, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ(goroutine_world_stop(0), GOROUTINE_EDEADLK);
    start_world();
    stop();
}

/* ---- foreign code ---- */

enum { LEAF, BLOCKING, SHORT_BLOCKING, BOUND, WAYS };
static uint64_t in_c, c_may_go, back;
static void *waits_in_c(void *arg) {
    (void)arg;
    ADD(in_c, 1);
    while (!GET(c_may_go)) thread_sleep(100 * US);
    return P(77);
}
static void *calls_back(void *arg) {
    RUNS();
    ADD(back, 1);
    return arg;
}
static void *calls_back_from_c(void *arg) {
    waits_in_c(arg);
    return goroutine_callback_run(calls_back, P(78));
}
static void *exits_in_c(void *arg) {
    waits_in_c(arg);
    goroutine_exit(GOROUTINE_OK, P(79));
}
static jmp_buf landing;
static void *jumps(void *arg) {
    waits_in_c(arg);
    longjmp(landing, 1);
}
static void *calls(void *function, uint64_t way) {
    void *result = NULL;
    if (way == LEAF) result = goroutine_ffi_call_leaf(function, NULL);
    if (way == BLOCKING || way == SHORT_BLOCKING) result = goroutine_ffi_call_blocking(function, NULL);
    if (way == BOUND) result = execute_ffi_call(NULL, function, NULL);
    RUNS();
    return result;
}
static void *foreign_returns(void *way) { return calls(CODE(waits_in_c), U(way)); }
static void *foreign_calls_back(void *way) { return calls(CODE(calls_back_from_c), U(way)); }
static void *foreign_exits(void *way) { return calls(CODE(exits_in_c), U(way)); }
static void *foreign_lands(void *way) {
    if (setjmp(landing) == 0) return calls(CODE(jumps), U(way));
    goroutine_ffi_landed();
    RUNS();
    return P(80);
}
static void on_end(Goroutine *g, void *arg) {
    (void)g;
    (void)arg;
    RUNS();
}
static void foreign(GoroutineFn f, uint64_t way, uint64_t result) {
    void *value = NULL;
    GoroutinePromise *promise;
    SET(in_c, 0);
    SET(c_may_go, 0);
    CHECK((promise = goroutine_spawn(f, P(way))) != NULL);
    while (GET(in_c) == 0) thread_sleep(100 * US);
    if (way == BLOCKING) thread_sleep(5 * MS); /* the worker is retaken */
    stop_world();
    SET(c_may_go, 1);
    thread_sleep(3 * MS);
    CHECK_EQ(goroutine_promise_await(promise, 0, NULL), GOROUTINE_EAGAIN);
    start_world();
    OK(goroutine_promise_await_take(promise, 60 * SECOND, &value));
    CHECK_EQ(U(value), result);
}
static void *plain_calls_back(void *arg) {
    waits_in_c(arg);
    return goroutine_callback_run(calls_back, P(81));
}
static void attached(void) {
    pthread_t thread;
    void *value = NULL;
    SET(in_c, 0);
    SET(c_may_go, 0);
    SET(back, 0);
    CHECK(pthread_create(&thread, NULL, plain_calls_back, NULL) == 0);
    while (GET(in_c) == 0) thread_sleep(100 * US);
    stop_world();
    SET(c_may_go, 1);
    thread_sleep(3 * MS);
    CHECK_EQ(GET(back), 0);
    start_world();
    CHECK(pthread_join(thread, &value) == 0);
    CHECK_EQ(U(value), 81);
}
static void foreign_code(void) {
    GoroutineConfig config;
    uint64_t way;
    goroutine_config_init(&config);
    config.workers = 2;
    config.goroutine_end = on_end;
    OK(goroutine_runtime_start(&config));
    for (way = 0; way < WAYS; way++) {
        foreign(foreign_returns, way, 77);
        foreign(foreign_calls_back, way, 78);
        foreign(foreign_exits, way, 79);
        foreign(foreign_lands, way, 80);
    }
    attached();
    stop();
}

/* ---- what comes while it is stopped ---- */

static uint64_t begun;
static void *begins(void *arg) {
    RUNS();
    ADD(begun, 1);
    return arg;
}
static GoroutineTicket parked_ticket;
static bool note_ticket(GoroutineTicket t, void *arg) {
    (void)arg;
    parked_ticket = t;
    ADD(begun, 1);
    return true;
}
static void *parks(void *arg) {
    if (arg != NULL) OK(goroutine_ffi_bind());
    OK(goroutine_park(note_ticket, NULL, GOROUTINE_FOREVER));
    RUNS();
    return arg;
}
static void comes_later(bool bound) {
    GoroutinePromise *promise, *spawned;
    GoroutineSpawn with;
    SET(begun, 0);
    CHECK((promise = goroutine_spawn(parks, P(bound))) != NULL);
    while (GET(begun) == 0) thread_sleep(100 * US);
    thread_sleep(1 * MS);
    SET(begun, 0);
    stop_world();
    goroutine_ready(parked_ticket, GOROUTINE_OK);
    OK(goroutine_go(begins, NULL));
    CHECK((spawned = goroutine_spawn(begins, NULL)) != NULL);
    goroutine_spawn_init(&with);
    with.fn = CODE(begins);
    with.flags = GOROUTINE_SPAWN_BOUND;
    OK(goroutine_spawn_with(&with, NULL));
    with.flags = GOROUTINE_SPAWN_PINNED;
    OK(goroutine_spawn_with(&with, NULL));
    CHECK(goroutine_timer_start(100 * US, 0, begins, NULL) > 0);
    thread_sleep(5 * MS);
    CHECK_EQ(GET(begun), 0);
    CHECK_EQ(goroutine_promise_await(promise, 0, NULL), GOROUTINE_EAGAIN);
    start_world();
    OK(goroutine_promise_await_take(promise, 60 * SECOND, NULL));
    OK(goroutine_promise_await_take(spawned, 60 * SECOND, NULL));
    while (GET(begun) != 5) thread_sleep(100 * US);
}
static void while_stopped(void) {
    uint64_t i;
    start_workers(2);
    for (i = 0; i < 5; i++) {
        comes_later(false);
        comes_later(true);
    }
    /* A shutdown waits for it. */
    stop_world();
    OK(goroutine_go(begins, NULL));
    {
        pthread_t thread;
        void *status = NULL;
        CHECK(pthread_create(&thread, NULL, shuts_down, P(20 * MS)) == 0);
        CHECK(pthread_join(thread, &status) == 0);
        CHECK_EQ((int32_t)U(status), GOROUTINE_ETIMEDOUT);
    }
    start_world();
    stop();
    /* A runtime that starts in a stopped world. */
    stop_world();
    start_workers(2);
    SET(begun, 0);
    OK(goroutine_go(begins, NULL));
    thread_sleep(3 * MS);
    CHECK_EQ(GET(begun), 0);
    start_world();
    while (GET(begun) != 1) thread_sleep(100 * US);
    stop();
}

/* ---- fork ---- */

static void child_forks(void *arg) {
    int status = 0;
    pid_t pid;
    (void)arg;
    start_workers(2);
    stop_world();
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        SET(stopped, 0); /* in the child it runs */
        start_workers(2);
        run_goroutine(begins, NULL);
        stop_world();
        start_world();
        run_goroutine(begins, NULL);
        stop();
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    start_world();
    run_goroutine(begins, NULL);
    stop();
}

/* ---- all at once ---- */

#define MEMBERS 24
static GoroutineChannel *pipes[4];
static GoroutineMutex *locks[2];
static void *c_sleeps(void *arg) {
    thread_sleep(U(arg));
    return NULL;
}
static void *c_calls_back(void *arg) { return goroutine_callback_run(calls_back, arg); }
static void *one_more(void *arg) {
    RUNS();
    goroutine_yield();
    RUNS();
    return arg;
}
static void *lives(void *arg) {
    uint64_t random = random_seed(11, U(arg)), steps = 0, value;
    GoroutinePromise *promise;
    while (!GET(quit)) {
        RUNS();
        steps++;
        switch (random_next(&random) % 12) {
        case 0: goroutine_yield(); break;
        case 1: OK(goroutine_sleep(random_next(&random) % (50 * US))); break;
        case 2:
            value = 1;
            (void)goroutine_channel_send(pipes[random % 4], &value, 100 * US);
            break;
        case 3: (void)goroutine_channel_receive(pipes[random % 4], &value, 100 * US); break;
        case 4:
            OK(goroutine_mutex_lock(locks[random % 2], GOROUTINE_FOREVER));
            RUNS();
            if (random % 8 == 0) goroutine_yield();
            RUNS();
            OK(goroutine_mutex_unlock(locks[random % 2]));
            break;
        case 5:
            CHECK((promise = goroutine_spawn(one_more, arg)) != NULL);
            OK(goroutine_promise_await_take(promise, GOROUTINE_FOREVER, NULL));
            break;
        case 6: (void)goroutine_ffi_call_leaf(CODE(c_calls_back), arg); break;
        case 7: (void)goroutine_ffi_call_blocking(CODE(c_sleeps), P(random % (20 * US))); break;
        case 8: (void)goroutine_ffi_call_blocking(CODE(c_calls_back), arg); break;
        case 9:
            if (random % 16 == 0) OK(goroutine_ffi_bind());
            if (random % 16 == 1) OK(goroutine_ffi_unbind());
            break;
        case 10:
            for (value = 0; value < 2000; value++)
                if (preempt() != 0) goroutine_safepoint();
            break;
        case 11:
            for (value = 0; value < 200; value++)
                if (preempt() != 0) goroutine_safepoint_full();
            break;
        }
        RUNS();
    }
    return P(steps);
}
static void visit(void *arg, const Goroutine *g, const GoroutineContext *registers, const void *low, const void *high) {
    const uint64_t *word;
    uint64_t sum = 0;
    (void)registers;
    CHECK(U(low) < U(high));
    CHECK(goroutine_id(g) != 0);
    for (word = (const uint64_t *)low; word < (const uint64_t *)high; word++) sum += *word;
    *(uint64_t *)arg += sum;
}
static void touch(void *arg, void **slot) { *(uint64_t *)arg += U(*slot); }
static uint64_t cycles, stops_wanted;
static void *stopper(void *arg) {
    uint64_t sum = 0;
    while (GET(cycles) < stops_wanted) {
        stop_world();
        goroutine_world_for_each(visit, &sum);
        goroutine_world_for_each_root(touch, &sum);
        ADD(cycles, 1);
        start_world();
        if (arg != NULL) goroutine_yield();
        goroutine_sleep(50 * US);
    }
    return P(sum | 1);
}
static void *plain_lives(void *arg) {
    while (!GET(quit)) {
        CHECK_EQ(U(goroutine_callback_run(calls_back, arg)), U(arg));
        (void)goroutine_go(one_more, NULL);
        thread_sleep(50 * US);
    }
    return NULL;
}
static void all_at_once(uint32_t workers) {
    GoroutinePromise *promises[MEMBERS], *stoppers[2];
    pthread_t threads[3];
    uint64_t i;
    start_workers(workers);
    SET(quit, 0);
    SET(cycles, 0);
    stops_wanted = scaled(500, 10);
    for (i = 0; i < 4; i++) CHECK((pipes[i] = goroutine_channel_new(8, i)) != NULL);
    for (i = 0; i < 2; i++) CHECK((locks[i] = goroutine_mutex_new(0)) != NULL);
    for (i = 0; i < MEMBERS; i++) CHECK((promises[i] = goroutine_spawn(lives, P(i + 1))) != NULL);
    for (i = 0; i < 2; i++) CHECK((stoppers[i] = goroutine_spawn(stopper, P(1))) != NULL);
    CHECK(pthread_create(&threads[0], NULL, stopper, NULL) == 0);
    for (i = 1; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, plain_lives, P(i)) == 0);
    for (i = 0; i < 2; i++) OK(goroutine_promise_await_take(stoppers[i], 250 * SECOND, NULL));
    CHECK(pthread_join(threads[0], NULL) == 0);
    SET(quit, 1);
    for (i = 1; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (i = 0; i < MEMBERS; i++) {
        void *steps = NULL;
        OK(goroutine_promise_await_take(promises[i], 60 * SECOND, &steps));
        CHECK(U(steps) != 0);
    }
    OK(goroutine_runtime_wait(60 * SECOND));
    for (i = 0; i < 4; i++) OK(goroutine_channel_free(pipes[i]));
    for (i = 0; i < 2; i++) OK(goroutine_mutex_free(locks[i]));
    stop();
}

int main(void) {
    static Child child;
    expect_child("a goroutine ends with the world stopped", child_ends_stopped, NULL, SIGABRT, 0, "had stopped the world");
    run_child(child_forks, NULL, &child);
    if (child.signal != 0 || child.status != 0) fputs(child.text, stderr);
    CHECK(child.signal == 0 && child.status == 0);
    loops_stop(1);
    loops_stop(2);
    loops_stop(8);
    stop_often(yields, 1, 2);
    stop_often(yields, 2, 1);
    stop_often(called_back, 1, 1);
    stop_often(called_back, 2, 2);
    stopper_cannot_wait();
    deaf_one();
    in_turn();
    foreign_code();
    while_stopped();
    all_at_once(1);
    all_at_once(2);
    all_at_once(8);
    return 0;
}

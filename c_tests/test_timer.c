/* Timers: once and periodic, stopped in time and too late, with drop functions, millions of them. No figure is judged here:
 * only that nothing comes early, twice or never. */
#include "check.h"

static uint64_t runs, drops, running, overlaps;

static void *once(void *arg) {
    CHECK(goroutine_current() != NULL);
    ADD(runs, 1);
    return arg;
}
static void *not_early(void *arg) {
    CHECK(now_ns() >= *(uint64_t *)arg);
    ADD(runs, 1);
    return NULL;
}
static void *never(void *arg) {
    CHECK(!"a stopped timer does not run");
    return arg;
}
static void *slow_beat(void *arg) {
    if (ADD(running, 1) != 1) ADD(overlaps, 1);
    goroutine_sleep(500 * US); /* longer than the period */
    ADD(running, -1);
    ADD(runs, 1);
    return arg;
}
static void drop(void *arg) {
    CHECK_EQ(GET(running), 0);
    ADD(drops, U(arg));
}
static void *stop_myself(void *arg) {
    int64_t *id = (int64_t *)arg;
    while (GET(*id) == 0) goroutine_yield();
    ADD(runs, 1);
    CHECK(goroutine_timer_stop(*id));
    CHECK(!goroutine_timer_stop(*id));
    return NULL;
}
static void wait_for(uint64_t *what, uint64_t n) {
    while (GET(*what) < n) goroutine_yield();
}

static void one_shot(void) {
    static uint64_t due[64];
    uint64_t i;
    int64_t ids[64], before = 0;
    runs = 0;
    for (i = 0; i < 64; i++) {
        uint64_t delay = i * i * 2 * US;
        due[i] = now_ns() + delay;
        ids[i] = goroutine_timer_start(delay, 0, not_early, &due[i]);
        CHECK(ids[i] > 0 && ids[i] < 1ll << 53);
        CHECK(ids[i] != before);
        before = ids[i];
    }
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(GET(runs), 64);
    for (i = 0; i < 64; i++) CHECK(!goroutine_timer_stop(ids[i])); /* it had fired */
}
static void stopped(void) {
    int64_t id = goroutine_timer_start(3600 * SECOND, 0, never, NULL);
    int i;
    CHECK(goroutine_timer_stop(id));
    CHECK(!goroutine_timer_stop(id));
    OK(goroutine_runtime_wait(30 * SECOND));
    /* Against time: either it ran, or the stop says that it will not. */
    for (i = 0; i < (int)scaled(2000, 20); i++) {
        uint64_t until = now_ns() + (uint64_t)(i % 50) * US;
        runs = 0;
        id = goroutine_timer_start(20 * US, 0, once, NULL);
        while (now_ns() < until) {
        }
        if (goroutine_timer_stop(id)) {
            if (i % 100 == 0) thread_sleep(200 * US);
            CHECK_EQ(GET(runs), 0);
        } else {
            OK(goroutine_runtime_wait(30 * SECOND));
            CHECK_EQ(GET(runs), 1);
        }
    }
    OK(goroutine_runtime_wait(30 * SECOND));
}
static void periodic(void) {
    static int64_t id;
    GoroutineSpawn spawn;
    GoroutineStats stats;
    uint64_t seen;
    runs = 0;
    id = goroutine_timer_start(0, 200 * US, once, NULL);
    CHECK(id > 0);
    wait_for(&runs, 10);
    CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EAGAIN);
    CHECK(goroutine_timer_stop(id));
    OK(goroutine_runtime_wait(30 * SECOND));
    seen = GET(runs);
    thread_sleep(2 * MS);
    CHECK_EQ(GET(runs), seen);

    runs = overlaps = drops = 0;
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(slow_beat);
    spawn.int_args[0] = 7;
    id = goroutine_timer_start_with(0, 100 * US, &spawn, drop, 0);
    CHECK(id > 0);
    wait_for(&runs, 5);
    while (GET(running) == 0) goroutine_yield();
    CHECK(goroutine_timer_stop(id)); /* most often while a run is under way: drop comes after it */
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(GET(overlaps), 0);
    CHECK_EQ(GET(drops), 7);
    CHECK_EQ(GET(running), 0);

    runs = 0;
    SET(id, 0);
    SET(id, goroutine_timer_start(100 * US, 100 * US, stop_myself, &id));
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(GET(runs), 1);
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    CHECK_EQ(stats.timers, 0);
}

static void *has_options(void *arg) {
    Goroutine *g = goroutine_current();
    void *low, *high;
    uint64_t *user = (uint64_t *)(void *)((char *)g + GOROUTINE_OFFSET_USER);
    OK(goroutine_stack_bounds(&low, &high));
    CHECK((char *)high - (char *)low > 1 << 19);
    CHECK(user[0] == 100 && user[1] == 200 && user[2] == 300);
    ADD(runs, U(arg));
    return NULL;
}
static void options(void) {
    GoroutineSpawn spawn;
    char name[] = "a timer";
    int64_t id;
    int i;
    runs = drops = 0;
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(has_options);
    spawn.int_args[0] = 5;
    spawn.user[0] = 100;
    spawn.user[1] = 200;
    spawn.user[2] = 300;
    spawn.stack_bytes = 1 << 20;
    spawn.name = name;
    CHECK(goroutine_timer_start_with(1 * MS, 0, &spawn, drop, 0) > 0);
    memset(name, 'x', sizeof name - 1); /* everything was copied */
    memset(&spawn.user, 0, sizeof spawn.user);
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(GET(runs), 5);
    CHECK_EQ(GET(drops), 5);
    /* Stopped before it fired: drop all the same. */
    spawn.fn = CODE(never);
    id = goroutine_timer_start_with(3600 * SECOND, 0, &spawn, drop, GOROUTINE_TIMER_UNREF);
    CHECK(goroutine_timer_stop(id));
    for (i = 0; i < 5000 && GET(drops) != 10; i++) thread_sleep(1 * MS);
    CHECK_EQ(GET(drops), 10);
    /* And at shutdown: the caller checks it. */
    CHECK(goroutine_timer_start_with(3600 * SECOND, 0, &spawn, drop, GOROUTINE_TIMER_UNREF) > 0);
    CHECK(goroutine_timer_start_with(3600 * SECOND, 1 * MS, &spawn, drop, 0) > 0);
}

/* Every kind of delay, from goroutines and threads, half of them stopped. */
static uint64_t started, stops;
static void *many(void *arg) {
    uint64_t random = random_seed(environment_number("GOROUTINE_SEED", 1), U(arg));
    uint64_t n = scaled(20000, 20), i;
    int64_t kept[64];
    memset(kept, 0, sizeof kept);
    for (i = 0; i < n; i++) {
        uint64_t k = random_next(&random) % 64;
        uint64_t delay = random_next(&random) % (1ull << random_next(&random) % 24);
        if (goroutine_timer_stop(kept[k])) ADD(stops, 1);
        kept[k] = goroutine_timer_start(delay, 0, once, NULL);
        CHECK(kept[k] > 0);
        ADD(started, 1);
        if (i % 64 == 0) goroutine_yield();
    }
    return NULL;
}
static void *many_on_thread(void *arg) { return many(arg); }
static void crowd(void) {
    GoroutinePromise *promises[4];
    pthread_t threads[2];
    uint64_t i;
    runs = started = stops = 0;
    for (i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, many_on_thread, P(i)) == 0);
    for (i = 0; i < 4; i++) promises[i] = goroutine_spawn(many, P(i + 2));
    for (i = 0; i < 4; i++) OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(GET(runs) + GET(stops), GET(started));
}

/* Sleepers wake in the order of their time, on one worker. */
static uint64_t woken;
static void *sleeper(void *arg) {
    uint64_t begin = now_ns();
    OK(goroutine_sleep(U(arg) * 20 * MS)); /* far enough apart for a busy machine */
    CHECK(now_ns() - begin >= U(arg) * 20 * MS);
    CHECK_EQ(ADD(woken, 1), U(arg));
    return NULL;
}
static void in_order(void) {
    static const uint64_t DELAYS[] = {5, 2, 9, 1, 8, 3, 10, 6, 4, 7};
    GoroutinePromise *promises[10];
    int i;
    woken = 0;
    for (i = 0; i < 10; i++) promises[i] = goroutine_spawn(sleeper, P(DELAYS[i]));
    for (i = 0; i < 10; i++) OK(goroutine_promise_await_take(promises[i], 30 * SECOND, NULL));
}

static void all_on(uint32_t workers) {
    start_workers(workers);
    one_shot();
    stopped();
    periodic();
    crowd();
    if (workers == 1) in_order();
    options();
    stop();
    CHECK_EQ(GET(drops), 20);
}

int main(void) {
    all_on(1);
    all_on(2);
    all_on(4);
    return 0;
}

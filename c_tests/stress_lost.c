/* timeout: 3600 */
/* Nothing is lost: goroutines spawned from 4 plain threads and from goroutines, which yield, sleep, await, time out, cancel
 * and are cancelled as a seed says, are all accounted for: each one ends once, each promise, timer and callback
 * comes to its end, and the library's own counters agree.
 *
 * stress_lost [COUNT [WORKERS]], or GOROUTINE_STRESS_COUNT and GOROUTINE_SEED in the environment. Without WORKERS: COUNT
 * goroutines in all on each of 1, 2 and 8 workers. */
#include "check.h"

#ifndef GOROUTINES
#define GOROUTINES 10000000
#endif
enum { THREADS = 4, WINDOW = 20000 };

static uint64_t seed;
static uint64_t quota;            /* goroutines still to be spawned by goroutines, all threads together */
static uint64_t spawned, ended;   /* by us */
static uint64_t timers, timer_runs, timer_drops, timers_stopped;
static uint64_t thens, then_runs;
static uint64_t cancels, timeouts, cancelled;
static uint64_t drops, dropped;

static void *life(void *arg);

static uint64_t next_seed(void) {
    static uint64_t counter;
    return random_seed(seed, ADD(counter, 1));
}
static bool take_quota(void) {
    uint64_t left = GET(quota);
    while (left != 0) {
        if (__atomic_compare_exchange_n(&quota, &left, left - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return true;
    }
    return false;
}
static GoroutinePromise *spawn_life(void) {
    GoroutinePromise *promise = goroutine_spawn(life, P(next_seed()));
    CHECK(promise != NULL);
    ADD(spawned, 1);
    return promise;
}
static void spawn_life_without_promise(void) {
    OK(goroutine_go(life, P(next_seed())));
    ADD(spawned, 1);
}
static void *timer_body(void *arg) {
    ADD(timer_runs, 1);
    return arg;
}
static void timer_drop(void *arg) {
    (void)arg;
    ADD(timer_drops, 1);
}
static void then_body(void *arg, GoroutineStatus status, void *value) {
    (void)arg;
    (void)value;
    CHECK(status == GOROUTINE_OK || status == GOROUTINE_EREJECTED);
    ADD(then_runs, 1);
}
static void value_drop(void *value) {
    CHECK_EQ(U(value), 4711);
    ADD(dropped, 1);
}
static void start_timer(uint64_t *random) {
    uint64_t delay = random_next(random) % (200 * US);
    if (random_next(random) % 2 == 0) {
        GoroutineSpawn spawn;
        goroutine_spawn_init(&spawn);
        spawn.fn = CODE(timer_body);
        CHECK(goroutine_timer_start_with(delay, 0, &spawn, timer_drop, 0) > 0);
    } else {
        int64_t id = goroutine_timer_start(delay, 0, timer_body, NULL);
        CHECK(id > 0);
        if (random_next(random) % 2 == 0 && goroutine_timer_stop(id)) ADD(timers_stopped, 1);
        ADD(timer_drops, 1); /* it has none: counted here, so that drops and timers agree */
    }
    ADD(timers, 1);
}
static void count(GoroutineStatus status) {
    if (status == GOROUTINE_ECANCELED) ADD(cancelled, 1);
    else if (status == GOROUTINE_ETIMEDOUT) ADD(timeouts, 1);
    else CHECK(status == GOROUTINE_OK || status == GOROUTINE_EREJECTED || status == GOROUTINE_EAGAIN);
}

/* Two children at most, and what they do is awaited, timed out on, cancelled, or left alone. */
static void with_children(uint64_t *random) {
    GoroutinePromise *children[2];
    int n = 0, i;
    while (n < 2 && random_next(random) % 2 == 0 && take_quota()) children[n++] = spawn_life();
    if (n == 2 && random_next(random) % 4 == 0) {
        GoroutinePromise *both = random_next(random) % 2 == 0 ? goroutine_promise_all_settled(children, 2)
                                                              : goroutine_promise_race(children, 2);
        CHECK(both != NULL);
        count(goroutine_promise_await_take(both, random_next(random) % MS, NULL));
    }
    for (i = 0; i < n; i++) {
        void *value = NULL;
        GoroutineStatus status;
        switch (random_next(random) % 5) {
        case 0:
            ADD(cancels, 1);
            status = goroutine_cancel(children[i]);
            CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY);
            goroutine_promise_release(children[i]);
            break;
        case 1:
            count(goroutine_promise_await_take(children[i], random_next(random) % (100 * US), NULL));
            break;
        case 2:
            OK(goroutine_promise_then(children[i], then_body, NULL));
            ADD(thens, 1);
            goroutine_promise_release(children[i]);
            break;
        default:
            status = goroutine_promise_await_take(children[i], GOROUTINE_FOREVER, &value);
            count(status);
            if (status == GOROUTINE_OK) CHECK_EQ(U(value), 1);
        }
    }
}

static void *life(void *arg) {
    uint64_t random = U(arg);
    int turns = (int)(random_next(&random) % 4);
    while (turns-- > 0) {
        switch (random_next(&random) % 32) {
        case 0: count(goroutine_sleep(random_next(&random) % (100 * US))); break;
        case 1: start_timer(&random); break;
        case 2: {
            GoroutinePromise *promise = goroutine_promise_new_with(value_drop);
            CHECK(promise != NULL);
            ADD(drops, 1);
            if (random_next(&random) % 2 == 0) count(goroutine_promise_await(promise, 1 + random_next(&random) % (50 * US), NULL));
            OK(goroutine_promise_resolve(promise, P(4711)));
            goroutine_promise_release(promise);
            break;
        }
        case 3:
        case 4:
        case 5:
        case 6: with_children(&random); break;
        case 7:
            if (take_quota()) spawn_life_without_promise();
            break;
        case 8: goroutine_cancel_disable(); goroutine_yield(); goroutine_cancel_enable(); break;
        default: goroutine_yield();
        }
    }
    ADD(ended, 1);
    if (random_next(&random) % 16 == 0) goroutine_exit(GOROUTINE_OK, P(1));
    return P(1);
}

/* A plain thread: spawns its share, but lets no more than a window of them live. */
static uint64_t share;
static void *spawner(void *arg) {
    uint64_t random = random_seed(seed, U(arg) << 32);
    uint64_t i;
    for (i = 0; i < share; i++) {
        while (GET(spawned) - GET(ended) > WINDOW) thread_sleep(50 * US);
        if (random_next(&random) % 4 != 0) {
            spawn_life_without_promise();
        } else {
            GoroutinePromise *promise = spawn_life();
            switch (random_next(&random) % 16) {
            case 0: {
                void *value = NULL;
                OK(goroutine_promise_await(promise, GOROUTINE_FOREVER, &value));
                CHECK_EQ(U(value), 1);
                break;
            }
            case 1:
            case 2:
                ADD(cancels, 1);
                goroutine_cancel(promise);
                break;
            case 3: count(goroutine_promise_await(promise, random_next(&random) % (20 * US), NULL)); break;
            default: break;
            }
            goroutine_promise_release(promise);
        }
    }
    return NULL;
}

/* A line once a second, so that who waits sees it go on, and a hang can be told from slowness. */
static uint64_t done;
static void *reporter(void *arg) {
    uint64_t before = 0;
    int still = 0;
    (void)arg;
    while (GET(done) == 0) {
        int i;
        for (i = 0; i < 10 && GET(done) == 0; i++) thread_sleep(100 * MS);
        if (isatty(2)) fprintf(stderr, "\r%" PRIu64 " ended ", GET(ended));
        still = before == GET(ended) ? still + 1 : 0;
        before = GET(ended);
        if (still >= (is_slow() ? 300 : 30)) {
            GoroutineStats stats;
            goroutine_stats_init(&stats);
            goroutine_runtime_stats(&stats);
            fprintf(stderr,
                    "stuck: spawned %" PRIu64 " ended %" PRIu64 "; library: spawned %" PRIu64 " finished %" PRIu64
                    " timers %" PRIu64 " promises %" PRIu64 " timers run %" PRIu64 " of %" PRIu64 " thens %" PRIu64 " of %" PRIu64 "\n",
                    GET(spawned), GET(ended), stats.spawned, stats.finished, stats.timers, stats.promises, GET(timer_runs),
                    GET(timers), GET(then_runs), GET(thens));
            abort();
        }
    }
    return NULL;
}

static void all_accounted_for(uint64_t n, uint32_t workers) {
    pthread_t threads[THREADS], watcher;
    GoroutineStats stats;
    uint64_t begin = now_ns(), others, stolen;
    int i;
    spawned = ended = timers = timer_runs = timer_drops = timers_stopped = thens = then_runs = 0;
    cancels = timeouts = cancelled = drops = dropped = done = 0;
    share = n / 2 / THREADS;
    quota = n - share * THREADS;
    start_workers(workers);
    CHECK(pthread_create(&watcher, NULL, reporter, NULL) == 0);
    for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, spawner, P(i + 1)) == 0);
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    /* What the goroutines did not spawn themselves. */
    while (take_quota()) {
        while (GET(spawned) - GET(ended) > WINDOW) thread_sleep(50 * US);
        spawn_life_without_promise();
    }
    OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
    SET(done, 1);
    pthread_join(watcher, NULL);
    CHECK_EQ(spawned, n);
    CHECK_EQ(ended, n);
    CHECK_EQ(then_runs, thens);
    CHECK_EQ(timer_runs + timers_stopped, timers);
    CHECK_EQ(timer_drops, timers);
    CHECK_EQ(dropped, drops);
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    others = thens + timer_runs;
    CHECK_EQ(stats.spawned, n + others);
    CHECK_EQ(stats.finished, n + others);
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(stats.timers, 0);
    stolen = stats.stolen;
    stop();
    /* No promise leaked: counted when the workers' spare ones have been given back. */
    start_workers(1);
    OK(goroutine_runtime_stats(&stats));
    CHECK_EQ(stats.promises, 0);
    stop();
    fprintf(stderr,
            "%u workers: %" PRIu64 " goroutines in %.1f s (%" PRIu64 " timers, %" PRIu64 " thens, %" PRIu64 " time-outs, %" PRIu64
            " cancellations, %" PRIu64 " calls cancelled, %" PRIu64 " stolen)\n",
            workers, n, (double)(now_ns() - begin) / 1e9, timers, thens, timeouts, cancels, cancelled, stolen);
}

int main(int argc, char **argv) {
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : environment_number("GOROUTINE_STRESS_COUNT", GOROUTINES);
    seed = environment_number("GOROUTINE_SEED", now_ns() ^ (uint64_t)getpid() << 40);
    fprintf(stderr, "GOROUTINE_SEED=%" PRIu64 "\n", seed);
    if (is_slow() && argc < 2) n = n / 1000 + 1000;
    if (argc > 2) {
        all_accounted_for(n, (uint32_t)strtoul(argv[2], NULL, 0));
        return 0;
    }
    all_accounted_for(n, 1);
    all_accounted_for(n, 2);
    all_accounted_for(n, 8);
    return 0;
}

/* timeout: 3600 */
/* Binding and unbinding in every mixture with everything else: goroutines bind, unbind, park, yield, sleep, await, call C that calls back
 * and parks, block, take a lane, cancel each other and end anywhere, as a seed says, with fewer threads than want one. Each ends
 * once, a bound one never changes its thread, and in the end every thread is given back.
 *
 * stress_bind [COUNT [WORKERS]], or GOROUTINE_STRESS_COUNT and GOROUTINE_SEED in the environment. */
#include "check.h"

#ifndef GOROUTINES
#define GOROUTINES 1000000
#endif
enum { WINDOW = 2000, TICKETS = 64, THREADS_MAX = 24 };

static uint64_t seed, quota, spawned, ended, exits, binds, unbinds, waits_cancelled, refused, callbacks, readied;
static uint32_t pinned; /* a flag, or 0: a worker with pinned goroutines is not retaken */
static GoroutineFfiLane *lane;
static GoroutineTicket tickets[TICKETS];
static uint64_t ticket_words[TICKETS]; /* 0 free, 1 being written or read, 2 there */

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
static void over(void *arg) {
    (void)arg;
    ADD(ended, 1);
}
static GoroutinePromise *spawn_life(uint32_t flags, bool promised) {
    GoroutineSpawn s;
    GoroutinePromise *promise = NULL;
    GoroutineStatus status;
    goroutine_spawn_init(&s);
    s.fn = CODE(life);
    s.int_args[0] = next_seed();
    s.flags = flags;
    ADD(spawned, 1);
    status = goroutine_spawn_with(&s, promised ? &promise : NULL);
    if (status != GOROUTINE_OK) {
        CHECK_EQ(status, GOROUTINE_EFFITHREADS);
        ADD(refused, 1);
        over(NULL);
        return NULL;
    }
    return promise;
}
static void goroutine_ended(Goroutine *g, void *arg) {
    (void)g;
    over(arg);
}

static bool publish(GoroutineTicket ticket, void *arg) {
    uint64_t i = U(arg), free_word = 0;
    if (!__atomic_compare_exchange_n(&ticket_words[i], &free_word, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return false;
    tickets[i] = ticket;
    SET(ticket_words[i], 2);
    return true;
}
static void ready_somebody(uint64_t i) {
    uint64_t there = 2;
    GoroutineTicket ticket;
    if (!__atomic_compare_exchange_n(&ticket_words[i], &there, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return;
    ticket = tickets[i];
    SET(ticket_words[i], 0);
    goroutine_ready(ticket, GOROUTINE_OK);
    ADD(readied, 1);
}

/* ---- C, and what it calls back ---- */
static void *called_back(void *arg) {
    uint64_t state = random_seed(U(arg), 1);
    ADD(callbacks, 1);
    switch (random_next(&state) % 8) {
    case 0: goroutine_sleep(random_next(&state) % 50000); break;
    case 1: goroutine_yield(); break;
    case 2: goroutine_park(publish, P(random_next(&state) % TICKETS), 1 + random_next(&state) % 200000); break;
    case 3: ready_somebody(random_next(&state) % TICKETS); break;
    case 4: goroutine_ffi_call_leaf(CODE(called_back), P(random_next(&state))); break;
    case 5: CHECK_EQ(goroutine_ffi_unbind(), is_goroutine_ffi_bound(goroutine_current()) ? GOROUTINE_EPERM : GOROUTINE_OK); break;
    case 6:
        if (random_next(&state) % 16 == 0) {
            ADD(exits, 1);
            goroutine_exit(GOROUTINE_OK, NULL); /* over C frames */
        }
        break;
    default: break;
    }
    return arg;
}
static void *native(void *arg) {
    uint64_t state = random_seed(U(arg), 2), i, n = random_next(&state) % 3;
    for (i = 0; i < n; i++) {
        uint64_t next = random_next(&state);
        CHECK_EQ(U(goroutine_callback_run(called_back, P(next))), next);
    }
    if (random_next(&state) % 128 == 0) thread_sleep(1200 * US); /* long enough to be retaken */
    return arg;
}
static void *on_the_lane(void *arg) { return P(U(arg) + 1); }

static void *life(void *arg) {
    uint64_t state = random_seed(U(arg), 3), steps = random_next(&state) % 12, i;
    int thread = is_goroutine_ffi_bound(goroutine_current()) ? thread_id() : 0;
    for (i = 0; i < steps; i++) {
        uint64_t next = random_next(&state);
        void *value = NULL;
        GoroutineStatus status;
        GoroutinePromise *promise;
        switch (random_next(&state) % 16) {
        case 0:
        case 1:
        case 2:
            status = goroutine_ffi_bind();
            CHECK(status == GOROUTINE_OK || status == GOROUTINE_ECANCELED || status == GOROUTINE_EFFITHREADS);
            CHECK_EQ(is_goroutine_ffi_bound(goroutine_current()), status == GOROUTINE_OK);
            if (status == GOROUTINE_OK) {
                if (thread == 0) thread = thread_id();
                ADD(binds, 1);
            }
            ADD(waits_cancelled, status == GOROUTINE_ECANCELED);
            ADD(refused, status == GOROUTINE_EFFITHREADS);
            break;
        case 3:
        case 4:
            OK(goroutine_ffi_unbind());
            CHECK(!is_goroutine_ffi_bound(goroutine_current()));
            thread = 0;
            ADD(unbinds, 1);
            break;
        case 5: goroutine_yield(); break;
        case 6: goroutine_sleep(next % 100000); break;
        case 7: goroutine_park(publish, P(next % TICKETS), 1 + next % 300000); break;
        case 8: ready_somebody(next % TICKETS); break;
        case 9: CHECK_EQ(U(goroutine_ffi_call_leaf(CODE(native), P(next))), next); break;
        case 10: CHECK_EQ(U(goroutine_ffi_call_blocking(CODE(native), P(next))), next); break;
        case 11:
            if (thread != 0) CHECK_EQ(U(execute_ffi_call(NULL, CODE(native), P(next))), next);
            break;
        case 12:
            status = goroutine_ffi_lane_call(lane, CODE(on_the_lane), P(next), &value);
            CHECK(status == GOROUTINE_OK || status == GOROUTINE_ECANCELED);
            if (status == GOROUTINE_OK) CHECK_EQ(U(value), next + 1);
            break;
        case 13:
            if (!take_quota()) break;
            promise = spawn_life((next & 7) == 0 ? GOROUTINE_SPAWN_BOUND : (next & 7) == 1 ? GOROUTINE_SPAWN_PRIORITY : 0, true);
            if (promise == NULL) break;
            if ((next >> 8) % 4 == 0) goroutine_cancel(promise);
            /* Who holds a thread must not wait for one who may wait for a thread. */
            if (thread == 0 && (next >> 16) % 2 == 0)
                goroutine_promise_await_take(promise, GOROUTINE_FOREVER, NULL);
            else
                goroutine_promise_release(promise);
            break;
        case 14:
            if (take_quota()) spawn_life((next & 15) == 0 ? pinned : 0, false);
            break;
        default:
            if (next % 8 == 0) {
                ADD(exits, 1);
                goroutine_exit(GOROUTINE_OK, NULL);
            }
        }
        if (thread != 0) CHECK_EQ(thread_id(), thread);
    }
    return NULL;
}

static uint64_t done;
static void *watches(void *arg) {
    /* A plain thread readies, too. */
    uint64_t state = random_seed(U(arg), 4), last = 0, stuck = now_ns();
    while (GET(done) == 0) {
        ready_somebody(random_next(&state) % TICKETS);
        thread_sleep(20 * US);
        if (GET(ended) != last || GET(spawned) == GET(ended)) {
            last = GET(ended);
            stuck = now_ns();
        } else if (now_ns() - stuck > 60 * SECOND && !is_slow()) {
            goroutine_runtime_shutdown(1);
            fprintf(stderr, "nothing ended for 60 s: %" PRIu64 " of %" PRIu64 "\n", last, GET(spawned));
            abort();
        }
    }
    return NULL;
}
static void all_accounted_for(uint64_t n, uint32_t workers, uint32_t policy) {
    GoroutineConfig config;
    GoroutineStats stats;
    pthread_t watcher;
    uint64_t begun = now_ns(), i;
    goroutine_config_init(&config);
    config.workers = workers;
    config.ffi_threads_max = THREADS_MAX;
    config.ffi_exhausted = policy;
    config.ffi_threads_idle_ns = 5 * MS; /* threads come and go, too */
    config.goroutine_end = goroutine_ended;
    OK(goroutine_runtime_start(&config));
    spawned = ended = exits = binds = unbinds = waits_cancelled = refused = callbacks = readied = done = 0;
    memset(ticket_words, 0, sizeof ticket_words);
    quota = n;
    pinned = policy == GOROUTINE_FFI_FAIL ? GOROUTINE_SPAWN_PINNED : 0;
    while (goroutine_ffi_lane_new("lane", &lane) == GOROUTINE_EFFITHREADS) {
    }
    CHECK(pthread_create(&watcher, NULL, watches, P(seed)) == 0);
    while (take_quota()) {
        while (GET(spawned) - GET(ended) > WINDOW) thread_sleep(50 * US);
        spawn_life(0, false);
    }
    OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
    SET(done, 1);
    pthread_join(watcher, NULL);
    CHECK_EQ(spawned, n);
    CHECK_EQ(ended, n);
    OK(goroutine_ffi_lane_release(lane));
    goroutine_stats_init(&stats);
    for (i = 0;; i++) {
        OK(goroutine_runtime_stats(&stats));
        if (stats.ffi_bound == 0) break;
        CHECK(i < 10000);
        thread_sleep(1 * MS);
    }
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(stats.timers, 0);
    CHECK(policy != GOROUTINE_FFI_WAIT || refused == 0);
    CHECK(n < 10000 || pinned != 0 || stats.ffi_retaken != 0);
    fprintf(stderr,
            "%u workers, policy %u: %" PRIu64 " goroutines in %.1f s: %" PRIu64 " bindings (%" PRIu64 " on the spot), %" PRIu64
            " hand-offs, %" PRIu64 " waits (%" PRIu64 " cancelled), %" PRIu64 " refused, %" PRIu64 " retaken, %" PRIu64 " callbacks, %" PRIu64
            " readied, %" PRIu64 " exits, %" PRIu64 " threads at most\n",
            workers, policy, n, (double)(now_ns() - begun) / 1e9, stats.ffi_bindings, stats.ffi_bindings_on_the_spot,
            stats.ffi_hand_offs, stats.ffi_waits, waits_cancelled, refused, stats.ffi_retaken, callbacks, readied, exits,
            stats.ffi_threads_peak);
    stop();
    start_workers(1);
    OK(goroutine_runtime_stats(&stats));
    CHECK_EQ(stats.promises, 0);
    stop();
}

int main(int argc, char **argv) {
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : environment_number("GOROUTINE_STRESS_COUNT", GOROUTINES);
    uint32_t workers, policy = 0;
    seed = environment_number("GOROUTINE_SEED", now_ns() ^ (uint64_t)getpid() << 40);
    fprintf(stderr, "GOROUTINE_SEED=%" PRIu64 "\n", seed);
    if (is_slow() && argc < 2) n = n / 100 + 1000;
    if (argc > 2) {
        all_accounted_for(n, (uint32_t)strtoul(argv[2], NULL, 0), GOROUTINE_FFI_WAIT);
        return 0;
    }
    for (workers = 1; workers <= 8; workers = workers == 2 ? 8 : workers * 2) all_accounted_for(n, workers, GOROUTINE_FFI_WAIT);
    for (policy = 1; policy < 3; policy++) all_accounted_for(n, 2, policy);
    return 0;
}

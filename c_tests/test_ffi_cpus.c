/* ffi_cpus: C under bound goroutines runs on the CPUs for that, everything else where it ran before, and a thread that serves no
 * goroutine any more has its own CPUs again. */
#include "check.h"
#include <dirent.h>
#include <sched.h>

static cpu_set_t all; /* those of the process */
static int first, last;

static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}
/* How many CPUs the calling thread may use; the lowest of them. */
static __attribute__((noinline)) int allowed(int *lowest) {
    cpu_set_t now;
    int cpu = 0;
    CHECK(sched_getaffinity(0, sizeof now, &now) == 0);
    while (!CPU_ISSET(cpu, &now)) cpu++;
    *lowest = cpu;
    return CPU_COUNT(&now);
}
static void *c_allowed(void *seen) {
    int cpu, n = allowed(&cpu);
    *(int *)seen = n == 1 ? cpu : -n;
    return seen;
}
/* The one CPU that C may use, or minus how many. */
static int seen_bound(void) {
    int seen = 0;
    CHECK(execute_ffi_call(NULL, CODE(c_allowed), &seen) == (void *)&seen);
    return seen;
}
static int seen_leaf(void) {
    int seen = 0;
    CHECK(goroutine_ffi_call_leaf(CODE(c_allowed), &seen) == (void *)&seen);
    return seen;
}
static int free_mask(void) { return CPU_COUNT(&all) == 1 ? first : -CPU_COUNT(&all); }

/* ThreadSanitizer has a thread, too. (The library's have their names a moment after their beginning.) */
static bool is_of_library(int thread) {
#if defined(__SANITIZE_THREAD__)
    char path[64], name[4] = "";
    FILE *f;
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", thread);
    f = fopen(path, "r");
    if (f == NULL) return false;
    if (fgets(name, sizeof name, f) == NULL) name[0] = 0;
    fclose(f);
    return strcmp(name, "gr-") == 0;
#else
    (void)thread;
    return true;
#endif
}
/* How many threads of the library there are, and how many of them may use `n` CPUs. */
static void count_threads(int n, int *threads, int *such) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    *threads = *such = 0;
    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        cpu_set_t now;
        int id = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || id == getpid() || !is_of_library(id) || sched_getaffinity(id, sizeof now, &now) != 0) continue;
        ++*threads;
        *such += CPU_COUNT(&now) == n;
    }
    closedir(tasks);
}
static void all_threads_have(int n) {
    int threads = 0, such = 0, patience;
    /* Threads on their way to rest: the accounts come before the CPUs. */
    for (patience = 0; patience < 1000; patience++) {
        count_threads(n, &threads, &such);
        if (threads == such && threads >= 2) break;
        thread_sleep(10 * MS);
    }
    CHECK(threads >= 2);
    CHECK_EQ(such, threads);
}
static void wait_until_none_is_bound(void) {
    uint64_t patience;
    for (patience = 0; stats().ffi_bound != 0; patience++) {
        CHECK(patience < 100000);
        thread_sleep(100 * US);
    }
}

/* ---- one CPU ---- */
static void *waits_for_four(void *arrived) {
    ADD(*(uint64_t *)arrived, 1);
    while (GET(*(uint64_t *)arrived) < 4) goroutine_yield();
    return NULL;
}
static void *goes_and_comes(void *arg) {
    int i;
    CHECK_EQ(seen_leaf(), free_mask());
    for (i = 0; i < 5; i++) {
        CHECK_EQ(seen_bound(), last);
        OK(goroutine_sleep(10 * US));
        CHECK_EQ(seen_bound(), last);
        CHECK_EQ(seen_leaf(), last); /* on the same thread */
        OK(goroutine_ffi_unbind());
        CHECK_EQ(seen_leaf(), free_mask());
        goroutine_yield();
        CHECK_EQ(seen_leaf(), free_mask());
    }
    CHECK_EQ(seen_bound(), last);
    waits_for_four(arg);
    return NULL;
}
static uint64_t done;
static void async_done(void *arg, void *result) {
    CHECK(result == arg);
    ADD(done, 1);
}
static void *child_unbinds(void *arg) {
    CHECK_EQ(seen_bound(), last);
    OK(goroutine_ffi_unbind());
    CHECK_EQ(seen_leaf(), free_mask());
    return arg;
}
static void *spawns_bound(void *arg) {
    GoroutineSpawn s;
    GoroutinePromise *p[8];
    int i;
    goroutine_spawn_init(&s);
    s.fn = CODE(child_unbinds);
    s.flags = GOROUTINE_SPAWN_BOUND;
    CHECK_EQ(seen_bound(), last);
    /* A pinned thread makes threads for them, which are not pinned by birth. */
    for (i = 0; i < 8; i++) OK(goroutine_spawn_with(&s, &p[i]));
    for (i = 0; i < 8; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
    return arg;
}
static void *parks(void *arg) {
    OK(goroutine_sleep(10 * US));
    CHECK_EQ(seen_leaf(), last); /* bound on the spot */
    return arg;
}
static void *calls_back(void *arg) { return goroutine_callback_run(parks, arg); }
static void *leaf_that_parks(void *arg) {
    CHECK(goroutine_ffi_call_leaf(CODE(calls_back), arg) == arg);
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    CHECK_EQ(seen_leaf(), free_mask());
    return arg;
}
static void *on_lane(void *lane) {
    int seen = 0;
    OK(goroutine_ffi_lane_call((GoroutineFfiLane *)lane, CODE(c_allowed), &seen, NULL));
    CHECK_EQ(seen, last);
    return NULL;
}
static void one_cpu(uint32_t workers, uint32_t release) {
    GoroutineConfig config;
    GoroutineFfiLane *lane;
    GoroutinePromise *p[4];
    uint64_t arrived = 0, patience;
    int i, seen = 0;
    goroutine_config_init(&config);
    config.workers = workers;
    config.ffi_release = release;
    config.ffi_cpus[last / 64] = 1ull << last % 64;
    config.ffi_cpus[15] = 1ull << 63; /* not to be had: does not count */
    OK(goroutine_runtime_start(&config));
    all_threads_have(CPU_COUNT(&all));
    for (i = 0; i < 4; i++) p[i] = goroutine_spawn(goes_and_comes, &arrived);
    for (i = 0; i < 4; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
    run_goroutine(leaf_that_parks, NULL);
    run_goroutine(spawns_bound, NULL);
    wait_until_none_is_bound();
    all_threads_have(CPU_COUNT(&all));
    OK(goroutine_ffi_lane_new("lane", &lane));
    run_goroutine(on_lane, lane);
    OK(goroutine_ffi_lane_release(lane));
    done = 0;
    OK(goroutine_ffi_call_async(CODE(c_allowed), &seen, async_done, &seen));
    for (patience = 0; GET(done) == 0; patience++) {
        CHECK(patience < 100000);
        thread_sleep(100 * US);
    }
    CHECK_EQ(seen, last);
    wait_until_none_is_bound();
    all_threads_have(CPU_COUNT(&all));
    stop();
}

/* ---- spread: each on one, as many on each ---- */
enum { SPREAD = 8 };
static int cpu_of[SPREAD];
static uint64_t gathered;
static void *spreads(void *arg) {
    cpu_of[U(arg)] = seen_bound();
    ADD(gathered, 1);
    while (GET(gathered) < SPREAD) goroutine_yield();
    CHECK_EQ(seen_bound(), cpu_of[U(arg)]); /* it stays there */
    return NULL;
}
static void spread(bool of_all) {
    GoroutineConfig config;
    GoroutinePromise *p[SPREAD];
    int round, i, k, cpus = of_all ? CPU_COUNT(&all) : 1;
    goroutine_config_init(&config);
    config.workers = 2;
    config.ffi_cpus_spread = 1;
    if (!of_all) config.ffi_cpus[first / 64] = 1ull << first % 64;
    OK(goroutine_runtime_start(&config));
    for (round = 0; round < 5; round++) {
        gathered = 0;
        for (i = 0; i < SPREAD; i++) p[i] = goroutine_spawn(spreads, P(i));
        for (i = 0; i < SPREAD; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
        for (i = 0; i < SPREAD; i++) {
            int same = 0;
            CHECK(cpu_of[i] >= 0 && CPU_ISSET(cpu_of[i], &all));
            CHECK(of_all || cpu_of[i] == first);
            for (k = 0; k < SPREAD; k++) same += cpu_of[k] == cpu_of[i];
            /* Some places may be held by threads on their way to rest; the first round has none. */
            if (round == 0) CHECK(same >= SPREAD / cpus && same <= (SPREAD + cpus - 1) / cpus);
        }
        wait_until_none_is_bound();
        all_threads_have(CPU_COUNT(&all));
    }
    stop();
}

/* ---- a place that is given back is taken again ---- */
static uint64_t go;
static void *holds_place(void *seen) {
    *(int *)seen = seen_bound();
    ADD(gathered, 1);
    while (GET(go) == 0 && goroutine_sleep(1 * MS) == GOROUTINE_OK) {
    } /* a shutdown may end the sleep */
    return NULL;
}
static void *takes_place(void *seen) {
    *(int *)seen = seen_bound();
    return NULL;
}
static void gaps(uint32_t release) {
    GoroutineConfig config;
    int held = 0, seen = 0, i, threads, such, patience;
    if (CPU_COUNT(&all) == 1) return;
    goroutine_config_init(&config);
    config.workers = 2;
    config.ffi_cpus_spread = 1;
    config.ffi_release = release;
    config.ffi_cpus[first / 64] |= 1ull << first % 64;
    config.ffi_cpus[last / 64] |= 1ull << last % 64;
    OK(goroutine_runtime_start(&config));
    gathered = go = 0;
    OK(goroutine_go(holds_place, &held));
    while (GET(gathered) == 0) thread_sleep(100 * US);
    for (i = 0; i < 10; i++) {
        run_goroutine(takes_place, &seen);
        CHECK_EQ(seen, held == first ? last : first);
        for (patience = 0;; patience++) { /* until its thread rests, or ends */
            count_threads(1, &threads, &such);
            if (such == 1) break;
            CHECK(patience < 10000);
            thread_sleep(1 * MS);
        }
    }
    SET(go, 1);
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
}

/* ---- what a thread had before is what it gets back, not what the process has ---- */
static void narrow(void *arg) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(*(int *)arg, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}
static void *narrowed(void *arg) {
    CHECK_EQ(seen_leaf(), first);
    CHECK_EQ(seen_bound(), last);
    OK(goroutine_ffi_unbind());
    CHECK_EQ(seen_leaf(), first);
    return arg;
}
static void former_ones(void) {
    GoroutineConfig config;
    int i;
    goroutine_config_init(&config);
    config.workers = 1;
    config.thread_start = narrow;
    config.thread_start_arg = &first;
    config.ffi_cpus[last / 64] = 1ull << last % 64;
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < 20; i++) run_goroutine(narrowed, NULL);
    wait_until_none_is_bound();
    all_threads_have(1);
    stop();
}

/* ---- not configured: nobody is pinned ---- */
static void *unpinned(void *arg) {
    CHECK_EQ(seen_bound(), free_mask());
    return arg;
}

int main(void) {
    GoroutineConfig config;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    while (!CPU_ISSET(first, &all)) first++;
    for (last = 1023; !CPU_ISSET(last, &all); last--) {
    }
    goroutine_config_init(&config);
    CHECK(!CPU_ISSET(1023, &all));
    config.ffi_cpus[15] = 1ull << 63;
    CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_EINVAL);
    config.ffi_cpus_spread = 1;
    CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_EINVAL);
    start_workers(1);
    run_goroutine(unpinned, NULL);
    stop();
    one_cpu(1, GOROUTINE_FFI_REUSE);
    one_cpu(2, GOROUTINE_FFI_REUSE);
    one_cpu(2, GOROUTINE_FFI_RETIRE);
    spread(true);
    spread(false);
    gaps(GOROUTINE_FFI_REUSE);
    gaps(GOROUTINE_FFI_RETIRE);
    former_ones();
    return 0;
}

/* The rings of traces: their memory is there before the events are; who records little has little of it; one that is left for a bigger one loses
 * nothing, and is given back; and its thread stays one thread in the file. */
#include "faults.h"

enum { THREADS = 64, TRACES = 100, PAGE = 4096 };

static char directory[] = "/tmp/goroutine-rings-XXXXXX";
static char path[128];

static void *quick(void *arg) { return arg; }
static void *yields(void *n) {
    uintptr_t i;
    for (i = 0; i < U(n); i++) goroutine_yield();
    return NULL;
}
/* 4 events for each of `n`. */
static void *two_yield(void *n) {
    GoroutinePromise *other = goroutine_spawn(yields, n);
    yields(n);
    OK(goroutine_promise_await_take(other, 60 * SECOND, NULL));
    return NULL;
}

static GoroutineStats stats(void) {
    GoroutineStats now;
    goroutine_stats_init(&now);
    OK(goroutine_runtime_stats(&now));
    return now;
}

/* Of this process, in bytes: what is mapped (0), and what of it is there (1). */
static int64_t memory(int which) {
    long long pages[2] = {0, 0};
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%lld %lld", &pages[0], &pages[1]) == 2);
    fclose(file);
    return pages[which] * PAGE;
}

/* ---- page faults ---- */

static uint64_t faulted;
static void *counts_faults(void *n) {
    uint64_t before;
    open_faults();
    before = faults();
    two_yield(n);
    faulted = faults() - before;
    close_faults();
    return NULL;
}
static void no_event_waits_for_memory(void) {
    uint64_t untraced;
    int i;
    start_workers(1);
    run_goroutine(counts_faults, P(100));
    run_goroutine(counts_faults, P(15000));
    untraced = faulted;
    for (i = 0; i < 3; i++) {
        /* The first time the thread has no ring, later one whose memory was given back. 60,000 events are 469 pages. */
        OK(goroutine_trace_start("/dev/null"));
        run_goroutine(counts_faults, P(15000));
        OK(goroutine_trace_stop());
        fprintf(stderr, "%" PRIu64 " page faults with a trace, %" PRIu64 " without\n", faulted, untraced);
        if (!is_slow()) CHECK(faulted <= untraced + 4); /* sanitizers and valgrind keep books of memory, which fault */
    }
    stop();
}

/* ---- nothing is lost where a thread goes on in another ring ---- */

static void one_thread_is_one_track(void) {
    static const char key[] = "\"tid\":", name[] = "\"name\":\"thread_name\"";
    char *text, *at;
    uint64_t seen[16];
    size_t threads = 0, i, length, slices = 0;
    FILE *file;
    start_workers(1);
    OK(goroutine_trace_start(path));
    run_goroutine(two_yield, P(5000)); /* 20,000 events: a small ring has no room for them, a big one has */
    OK(goroutine_trace_stop());
    CHECK_EQ(stats().trace_lost, 0);
    CHECK(stats().trace_events >= 20000);
    CHECK((text = (char *)malloc(16 << 20)) != NULL && (file = fopen(path, "r")) != NULL);
    length = fread(text, 1, (16 << 20) - 1, file);
    text[length] = 0;
    fclose(file);
    for (at = text; (at = strstr(at, name)) != NULL; at++) {
        char *tid = at;
        while (tid > text && strncmp(tid, key, sizeof key - 1) != 0) tid--;
        CHECK(threads < 16);
        seen[threads] = strtoull(tid + sizeof key - 1, NULL, 10);
        for (i = 0; i < threads; i++) CHECK(seen[i] != seen[threads]);
        threads++;
    }
    CHECK(threads >= 2); /* the worker's, and this one, which spawned */
    for (at = text; (at = strstr(at, "\"stops for\":\"yield\"")) != NULL; at++) slices++;
    CHECK_EQ(slices, 10000);
    free(text);
    stop();
}

/* ---- they are given back ---- */

static void rings_do_not_pile_up(void) {
    int i, traces = (int)scaled(TRACES, 4);
    int64_t mapped = 0;
    start_workers(1);
    for (i = 0; i < traces + 5; i++) {
        if (i == 5) mapped = memory(0);
        OK(goroutine_trace_start("/dev/null"));
        run_goroutine(two_yield, P(1000)); /* it goes on in a big one */
        OK(goroutine_trace_stop());
    }
    mapped = memory(0) - mapped;
    fprintf(stderr, "%d traces: %" PRId64 " KiB mapped\n", traces, mapped / 1024);
    CHECK(mapped < (int64_t)traces * (1 << 20)); /* a big one has two megabytes, and as much in front */
    stop();
}

/* ---- who records little has little ---- */

static pthread_barrier_t barrier;
static void *records_once(void *arg) {
    pthread_barrier_wait(&barrier); /* all are there */
    pthread_barrier_wait(&barrier); /* a trace runs */
    OK(goroutine_promise_await_take(goroutine_spawn(quick, arg), 60 * SECOND, NULL));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* looked at */
    return NULL;
}
static void little_takes_little(void) {
    pthread_t threads[THREADS];
    int64_t there;
    int i;
    start_workers(1);
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
    for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, records_once, NULL) == 0);
    pthread_barrier_wait(&barrier);
    run_goroutine(quick, NULL);
    OK(goroutine_trace_start("/dev/null"));
    there = memory(1);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    there = memory(1) - there;
    pthread_barrier_wait(&barrier);
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    OK(goroutine_trace_stop());
    fprintf(stderr, "%d threads that recorded something: %" PRId64 " KiB\n", THREADS, there / 1024);
    CHECK(there < THREADS * (int64_t)(is_slow() ? 1 << 20 : 256 << 10));
    CHECK(pthread_barrier_destroy(&barrier) == 0);
    stop();
}

int main(void) {
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/trace", directory);
    no_event_waits_for_memory();
    one_thread_is_one_track();
    rings_do_not_pile_up();
    little_takes_little();
    CHECK(unlink(path) == 0 && rmdir(directory) == 0);
    return 0;
}

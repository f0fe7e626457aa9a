/* The demonstration: functions emitted as machine code, by hand, run as goroutines.
 *
 * 100,000 of them (or argv[1]) wait at a gate, sleep on timers at the same time, then each awaits another one's
 * promise: they form a tree in which task i awaits task i / 2. Their values come together in one
 * goroutine_promise_all, and are checked. Then one worker runs the measures of time. Exit status 1: something was
 * wrong. */
#define _GNU_SOURCE
#include "code.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 9, SEED = 7 };

static void check(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "wrong: %s\n", what);
    exit(1);
}

/* ---- what the table holds -------------------------------------------------------------------------------------- */

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Memory in use and the page tables for it. */
static uint64_t memory_bytes(void) {
    char line[256];
    uint64_t total = 0, kib;
    FILE *status = fopen("/proc/self/status", "r");
    check(status != NULL, "no /proc/self/status");
    while (fgets(line, sizeof line, status) != NULL) {
        if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1 || sscanf(line, "VmPTE: %" SCNu64, &kib) == 1) total += kib;
    }
    fclose(status);
    return total * 1024;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values) {
    qsort(values, ROUNDS, sizeof *values, ascending);
    return values[ROUNDS / 2];
}

/* ---- the tasks ------------------------------------------------------------------------------------------------- */

static void progress(const char *what, uint64_t done, uint64_t n) {
    if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K%s %" PRIu64 " of %" PRIu64, what, done, n);
}

static void progress_end(void) {
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    check(goroutine_runtime_stats(&s) == GOROUTINE_OK, "goroutine_runtime_stats");
    return s;
}

typedef struct {
    uint64_t asleep; /* most in timers at one time */
    double bytes;    /* each, at most */
} Peak;

static Peak run_tasks(const Code *code, GoroutinePromise **promises, size_t n) {
    Peak peak = {0, 0};
    uint64_t before = memory_bytes();
    GoroutinePromise *gate = promises[0] = goroutine_promise_new();
    check(gate != NULL, "goroutine_promise_new");
    for (size_t i = 1; i <= n; i++) {
        promises[i] = goroutine_spawn(code->task[i % VARIANTS], (void *)i);
        check(promises[i] != NULL, "goroutine_spawn");
        if (i % 10000 == 0) progress("spawned", i, n);
    }
    GoroutinePromise *all = goroutine_promise_all(promises + 1, n);
    check(all != NULL, "goroutine_promise_all");
    check(goroutine_promise_resolve(gate, (void *)(uintptr_t)SEED) == GOROUTINE_OK, "goroutine_promise_resolve");

    GoroutineStatus status;
    void *array = NULL;
    do {
        GoroutineStats s = stats();
        double bytes = ((double)memory_bytes() - (double)before) / (double)n;
        if (s.timers > peak.asleep) peak.asleep = s.timers;
        if (bytes > peak.bytes) peak.bytes = bytes;
        progress("finished", s.finished, n);
        status = goroutine_promise_await(all, 5000000, &array);
    } while (status == GOROUTINE_ETIMEDOUT);
    progress_end();
    check(status == GOROUTINE_OK, goroutine_status_name(status));

    const uint64_t *got = array;
    uint64_t *want = malloc((n + 1) * sizeof *want);
    check(want != NULL, "out of memory");
    want[0] = SEED;
    for (size_t i = 1; i <= n; i++) {
        want[i] = FACTOR(i % VARIANTS) * want[i / 2] + i;
        check(got[i - 1] == want[i], "a goroutine's value");
    }
    free(want);
    goroutine_promise_release(all);
    for (size_t i = 0; i <= n; i++) goroutine_promise_release(promises[i]);
    return peak;
}

/* ---- the measures ---------------------------------------------------------------------------------------------- */

static double yield_ns(const Code *code) {
    enum { EACH = 1000000 };
    GoroutinePromise *two[2];
    uint64_t start = now_ns();
    for (int i = 0; i < 2; i++) {
        two[i] = goroutine_spawn(code->yielder, (void *)EACH);
        check(two[i] != NULL, "goroutine_spawn");
    }
    for (int i = 0; i < 2; i++) {
        void *value = NULL;
        check(goroutine_promise_await_take(two[i], GOROUTINE_FOREVER, &value) == GOROUTINE_OK, "a yielder");
        check((uintptr_t)value == EACH, "a yielder's value");
    }
    return (double)(now_ns() - start) / (2 * EACH);
}

static double batch_ns(const Code *code, uint64_t batch) {
    const uint64_t rounds = 400000 / batch;
    GoroutineSpawn spawn;
    goroutine_spawn_init(&spawn); /* a goroutine that starts with three arguments in registers */
    spawn.fn = code->batches;
    spawn.int_args[0] = rounds;
    spawn.int_args[1] = batch;
    spawn.int_args[2] = (uintptr_t)code->odd;
    GoroutinePromise *promise = NULL;
    void *sum = NULL;
    uint64_t start = now_ns();
    check(goroutine_spawn_with(&spawn, &promise) == GOROUTINE_OK, "goroutine_spawn_with");
    check(goroutine_promise_await_take(promise, GOROUTINE_FOREVER, &sum) == GOROUTINE_OK, "the batches");
    uint64_t took = now_ns() - start;
    check((uintptr_t)sum == rounds * batch * batch, "the sum of the batches"); /* the first k odd numbers: k * k */
    return (double)took / (double)(rounds * batch);
}

int main(int argc, char **argv) {
    size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    check(n > 0, "usage: hand [goroutines]");
    GoroutinePromise **promises = malloc((n + 1) * sizeof *promises);
    check(promises != NULL, "out of memory");
    memset(promises, 0xFF, (n + 1) * sizeof *promises); /* touched: it is not the goroutines' memory */
    Code code;
    code_emit(&code, promises);

    check(goroutine_runtime_start(NULL) == GOROUTINE_OK, "goroutine_runtime_start");
    uint32_t workers = stats().workers;
    Peak peak = run_tasks(&code, promises, n);
    check(goroutine_runtime_shutdown(GOROUTINE_FOREVER) == GOROUTINE_OK, "goroutine_runtime_shutdown");

    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 1;
    check(goroutine_runtime_start(&config) == GOROUTINE_OK, "goroutine_runtime_start, one worker");
    double spawn[ROUNDS], await[ROUNDS], yield[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        progress("round", (uint64_t)i + 1, ROUNDS);
        spawn[i] = batch_ns(&code, BATCH_MAX);
        await[i] = batch_ns(&code, 1);
        yield[i] = yield_ns(&code);
    }
    progress_end();
    check(goroutine_runtime_shutdown(GOROUTINE_FOREVER) == GOROUTINE_OK, "goroutine_runtime_shutdown");

    printf("x86-64 by hand: all values right; %" PRIu32 " workers, the times with 1, medians of %d\n", workers, ROUNDS);
    printf("  goroutines                                 %10zu\n", n);
    printf("  of them asleep in timers at once           %10" PRIu64 "\n", peak.asleep);
    printf("  bytes each (VmRSS + VmPTE), at most        %10.0f\n", peak.bytes);
    printf("  ns per spawn: 100 spawned, run, awaited    %10.1f\n", median(spawn));
    printf("  ns per await: spawn one, await it          %10.1f\n", median(await));
    printf("  ns per yield, between 2                    %10.1f\n", median(yield));
    free(promises);
    return 0;
}

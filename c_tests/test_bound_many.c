/* timeout: 180 */
/* 100,000 parked goroutines and 1,000 bound ones at the same time: what each takes, and that all of them idle use no CPU. */
#include "check.h"
#include "proc.h"

static uint64_t begun;
static void *park(void *gate) {
    ADD(begun, 1);
    OK(goroutine_promise_await((GoroutinePromise *)gate, GOROUTINE_FOREVER, NULL));
    return gate;
}
static void *native(void *self) {
    *(pthread_t *)self = pthread_self();
    return self;
}
static void *bound(void *gate) {
    pthread_t thread, again;
    CHECK(execute_ffi_call(NULL, CODE(native), &thread) == (void *)&thread);
    CHECK(is_goroutine_ffi_bound(goroutine_current()));
    park(gate);
    CHECK(execute_ffi_call(NULL, CODE(native), &again) == (void *)&again);
    CHECK(pthread_equal(thread, again));
    return gate;
}

int main(void) {
    static Switches before[THREADS_MAX], after[THREADS_MAX];
    uint64_t parked = scaled(100000, 20), threads = scaled(1000, 20), start, middle, end, i, cpu;
    size_t n, m;
    GoroutinePromise *gate, **all;
    OK(goroutine_runtime_start(NULL));
    gate = goroutine_promise_new();
    all = (GoroutinePromise **)calloc(parked + threads, sizeof *all);
    CHECK(gate != NULL && all != NULL);
    start = memory_bytes();
    for (i = 0; i < parked; i++) CHECK((all[i] = goroutine_spawn(park, gate)) != NULL);
    while (GET(begun) != parked) thread_sleep(1 * MS);
    middle = memory_bytes();
    for (; i < parked + threads; i++) CHECK((all[i] = goroutine_spawn(bound, gate)) != NULL);
    while (GET(begun) != parked + threads) thread_sleep(1 * MS);
    end = memory_bytes();
    fprintf(stderr, "parked: %" PRIu64 " goroutines, %" PRIu64 " bytes each\n", parked, (middle - start) / parked);
    fprintf(stderr, "bound: %" PRIu64 " goroutines, %" PRIu64 " bytes each\n", threads, (end - middle) / threads);
    if (!is_slow() || THREADS_SANITIZED) { /* under an instrument CPU time is not ours */
        thread_sleep(2 * SECOND); /* it settles */
        n = read_switches(before);
        cpu = cpu_ns();
        thread_sleep(5 * SECOND);
        cpu = cpu_ns() - cpu;
        m = read_switches(after);
        fprintf(stderr, "%zu threads, %" PRIu64 " us of CPU time in 5 s\n", m, cpu / 1000);
        CHECK_EQ(m, n);
        CHECK(m > threads);
        CHECK_EQ(busy_threads(before, n, after, m), 0);
        CHECK(cpu < 10 * MS);
    }
    OK(goroutine_promise_resolve(gate, NULL));
    for (i = 0; i < parked + threads; i++) OK(goroutine_promise_await_take(all[i], 60 * SECOND, NULL));
    goroutine_promise_release(gate);
    free(all);
    stop();
    return 0;
}

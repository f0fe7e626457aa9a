/* Idle is idle: with 10,000 parked and 10,000 long sleeping goroutines no thread is scheduled and no CPU time passes. */
#include "check.h"
#include "proc.h"

static uint64_t begun;
static bool stay(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    (void)arg;
    return true;
}
static void *park(void *arg) {
    ADD(begun, 1);
    goroutine_park(stay, NULL, GOROUTINE_FOREVER);
    return arg;
}
static void *sleep_an_hour(void *arg) {
    ADD(begun, 1);
    goroutine_sleep(3600 * SECOND);
    return arg;
}

int main(void) {
    static Switches before[THREADS_MAX], after[THREADS_MAX];
    size_t n, m, i;
    uint64_t count = scaled(10000, 10), cpu;
    if (is_slow() && !THREADS_SANITIZED) {
        fprintf(stderr, "skipped: CPU time is not ours under an instrument\n");
        return 77;
    }
    OK(goroutine_runtime_start(NULL));
    for (i = 0; i < count; i++) {
        OK(goroutine_go(park, NULL));
        OK(goroutine_go(sleep_an_hour, NULL));
    }
    while (GET(begun) != 2 * count) thread_sleep(1 * MS);
    thread_sleep(1 * SECOND); /* it settles */
    n = read_switches(before);
    cpu = cpu_ns();
    thread_sleep(5 * SECOND);
    cpu = cpu_ns() - cpu;
    m = read_switches(after);
    CHECK_EQ(m, n);
    fprintf(stderr, "%" PRIu64 " us of CPU time in 5 s\n", cpu / 1000);
    CHECK_EQ(busy_threads(before, n, after, m), 0);
    CHECK(cpu < 10 * MS);
    stop();
    return 0;
}

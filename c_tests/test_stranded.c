/* Nobody is stranded: one of two workers runs code that never yields, with 1,000 goroutines in its private queue. The other
 * worker must start all of them while it does. How long that takes is printed, and judged by nobody here. */
#include "check.h"

enum { N = 1000 };
static uint64_t started, spawned_at, last_at, spinner_ended;

static void *start(void *arg) {
    CHECK_EQ(GET(spinner_ended), 0);
    if (ADD(started, 1) == N) SET(last_at, now_ns());
    return arg;
}
static void *spin(void *arg) {
    uint64_t end;
    int i;
    for (i = 0; i < N; i++) OK(goroutine_go(start, NULL));
    SET(spawned_at, now_ns());
    end = GET(spawned_at) + (is_slow() ? 60 : 1) * SECOND;
    while (now_ns() < end && (GET(last_at) == 0 || !is_slow())) {
    }
    SET(spinner_ended, 1);
    return arg;
}
int main(void) {
    start_workers(2);
    thread_sleep(10 * MS); /* both workers sleep */
    run_goroutine(spin, NULL);
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(started, N);
    fprintf(stderr, "all started after %" PRId64 " us\n", ((int64_t)last_at - (int64_t)spawned_at) / 1000);
    stop();
    return 0;
}

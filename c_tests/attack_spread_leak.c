/* ffi_cpus_spread: "each of these threads on one CPU of them, the one with the fewest". Threads that end after their service (lanes,
 * GOROUTINE_FFI_RETIRE) never leave their place, so the counts are wrong for good. */
#include "check.h"
#include <sched.h>

static uint64_t release;
static int cpus[2];
static void *where(void *arg) {
    cpu_set_t set;
    int i;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    for (i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set)) break;
    *(int *)arg = CPU_COUNT(&set) == 1 ? i : -1;
    return arg;
}
static void *holder(void *at) {
    execute_ffi_call(goroutine_current(), CODE(where), at);
    while (!GET(release)) OK(goroutine_sleep(MS));
    return NULL;
}
int main(void) {
    GoroutineConfig config;
    GoroutineFfiLane *lane;
    GoroutinePromise *a, *b;
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    if (CPU_COUNT(&set) != 2) return 77;
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_cpus_spread = 1;
    OK(goroutine_runtime_start(&config));
    cpus[0] = cpus[1] = -2;
    a = goroutine_spawn(holder, &cpus[0]); /* on the first CPU */
    while (*(volatile int *)&cpus[0] == -2) thread_sleep(MS);
    OK(goroutine_ffi_lane_new("lane", &lane)); /* on the second */
    {
        int at = -1;
        OK(goroutine_ffi_lane_call(lane, CODE(where), &at, NULL));
        CHECK(at != cpus[0]);
    }
    OK(goroutine_ffi_lane_release(lane)); /* nobody is there any more */
    thread_sleep(50 * MS);
    b = goroutine_spawn(holder, &cpus[1]); /* the one with the fewest is the second */
    while (*(volatile int *)&cpus[1] == -2) thread_sleep(MS);
    SET(release, 1);
    OK(goroutine_promise_await_take(a, 10 * SECOND, NULL));
    OK(goroutine_promise_await_take(b, 10 * SECOND, NULL));
    fprintf(stderr, "two bound goroutines, alone: on CPUs %d and %d\n", cpus[0], cpus[1]);
    CHECK(cpus[0] != cpus[1]);
    stop();
    return 0;
}

/* timeout: 60 */
/* A caller of a host lane has its result, and releases the lane ("GOROUTINE_EBUSY: a call is in it"; here none is). The host's
 * thread is still inside goroutine_ffi_lane_drain, and goes on with the freed lane. */
#include "check.h"

enum { ROUNDS = 200000 };
static GoroutineFfiLane *lane;
static uint64_t round_host, finished;
static uint64_t calls_done;
static void wake(void *arg) { (void)arg; }
static void *nothing(void *arg) { return arg; }
static void *host(void *arg) {
    uint64_t i;
    (void)arg;
    for (i = 1; i <= ROUNDS; i++) {
        while (GET(round_host) != i)
            if (GET(finished)) return NULL;
        while (goroutine_ffi_lane_drain(lane, 1) == 0) { /* it has seen its event, and serves one call */
        }
        ADD(calls_done, 1);
    }
    return NULL;
}
int main(int n, char **argv) {
    pthread_t thread;
    uint64_t i;
    (void)n;
    if (getenv("MALLOC_PERTURB_") == NULL) {
        setenv("MALLOC_PERTURB_", "165", 1); /* what is freed is overwritten */
        execv("/proc/self/exe", argv);
    }
    alarm(50);
    start_workers(1);
    CHECK_EQ(pthread_create(&thread, NULL, host, NULL), 0);
    for (i = 1; i <= ROUNDS; i++) {
        uint64_t end = now_ns() + 5 * SECOND;
        OK(goroutine_ffi_lane_host("host", wake, NULL, &lane));
        SET(round_host, i);
        OK(goroutine_ffi_lane_call(lane, CODE(nothing), NULL, NULL));
        OK(goroutine_ffi_lane_release(lane));
        while (GET(calls_done) != i && now_ns() < end) {
        }
        if (GET(calls_done) != i) fprintf(stderr, "round %d: the host's thread does not come out of the drain of the freed lane\n", (int)i);
        CHECK_EQ(GET(calls_done), i);
    }
    pthread_join(thread, NULL);
    stop();
    return 0;
}

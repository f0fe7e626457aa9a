/* A pinned goroutine has long ended; its worker is never handed off again: others wait for the whole of a blocking call. */
#include "check.h"

static uint64_t in_call, ran;
static void *nothing(void *arg) { return arg; }
static void *long_call(void *arg) {
    uint64_t end = now_ns() + 3 * SECOND;
    (void)arg;
    SET(in_call, 1);
    while (!GET(ran) && now_ns() < end) thread_sleep(MS);
    return P(GET(ran));
}
static void *other(void *arg) {
    SET(ran, 1);
    return arg;
}
static void *blocks(void *arg) {
    (void)arg;
    OK(goroutine_go(other, NULL));
    return goroutine_ffi_call_blocking(CODE(long_call), NULL);
}
int main(void) {
    GoroutineSpawn spawn;
    GoroutinePromise *promise;
    start_workers(1);
    CHECK_EQ(U(run_goroutine(blocks, NULL)), 1); /* as it shall be */
    SET(ran, 0);
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(nothing);
    spawn.flags = GOROUTINE_SPAWN_PINNED;
    OK(goroutine_spawn_with(&spawn, &promise));
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL)); /* it is over */
    CHECK_EQ(U(run_goroutine(blocks, NULL)), 1);
    stop();
    return 0;
}

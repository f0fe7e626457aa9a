/* GOROUTINE_SPAWN_PINNED: "never changes worker thread". Somebody else's callback parks on that thread, and the worker leaves it. */
#include "check.h"

static uint64_t phase;
static int before, after;
static void *pinned(void *arg) {
    before = thread_id();
    SET(phase, 1);
    while (GET(phase) != 2) goroutine_yield();
    after = thread_id();
    SET(phase, 3);
    return arg;
}
static void *language(void *arg) {
    OK(goroutine_sleep(20 * MS));
    SET(phase, 2);
    while (GET(phase) != 3) OK(goroutine_sleep(MS));
    return arg;
}
static void *c_code(void *arg) { return goroutine_callback_run(language, arg); }
static void *leaf(void *arg) {
    while (GET(phase) != 1) goroutine_yield();
    goroutine_ffi_call_leaf(CODE(c_code), NULL);
    return arg;
}
int main(void) {
    GoroutineSpawn spawn;
    GoroutinePromise *promise;
    start_workers(1);
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(pinned);
    spawn.flags = GOROUTINE_SPAWN_PINNED;
    OK(goroutine_spawn_with(&spawn, &promise));
    run_goroutine(leaf, NULL);
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    CHECK_EQ(after, before);
    stop();
    return 0;
}

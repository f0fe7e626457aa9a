/* goroutine_ffi_bind: "Gives the running goroutine the thread it is on". With a pinned goroutine on the worker, now or once, it gets
 * another one. A pinned goroutine that binds and unbinds is not pinned any more ("never changes worker thread"). */
#include "check.h"

static int moved, pinned_moved;
static void *nothing(void *arg) { return arg; }
static void *binds(void *arg) {
    int before = thread_id();
    OK(goroutine_ffi_bind());
    moved = thread_id() != before;
    return arg;
}
static void *pinned(void *arg) {
    int before = thread_id(), i;
    OK(goroutine_ffi_bind());
    OK(goroutine_ffi_unbind());
    for (i = 0; i < 100; i++) {
        OK(goroutine_sleep(100 * US));
        if (thread_id() != before) pinned_moved = 1;
    }
    return arg;
}
static void run_pinned(GoroutineFn f) {
    GoroutineSpawn spawn;
    GoroutinePromise *promise;
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(f);
    spawn.flags = GOROUTINE_SPAWN_PINNED;
    OK(goroutine_spawn_with(&spawn, &promise));
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
}
int main(void) {
    start_workers(1);
    run_goroutine(binds, NULL);
    CHECK_EQ(moved, 0);
    run_pinned(nothing);
    run_goroutine(binds, NULL);
    run_pinned(pinned);
    fprintf(stderr, "goroutine_ffi_bind moved the goroutine: %d; the pinned one was seen on another thread: %d\n", moved, pinned_moved);
    CHECK(!moved && !pinned_moved);
    stop();
    return 0;
}

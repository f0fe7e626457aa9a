/* Who waits for quiescence is told, also if the worker whose goroutine was the last one never gets to sleep: the next one is a
 * daemon, which binds for good and leaves the worker without a thread and without work. */
#include "check.h"

static void *in_c(void *arg) { return arg; }
static void *daemon_goroutine(void *arg) {
    execute_ffi_call(goroutine_current(), CODE(in_c), NULL);
    CHECK_EQ(goroutine_sleep(1000 * SECOND), GOROUTINE_ECANCELED);
    return arg;
}
static void *spawns(void *arg) {
    GoroutineSpawn spawn;
    OK(goroutine_sleep(10 * MS + (uint64_t)(U(arg) * 13) % 1000 * US));
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(daemon_goroutine);
    spawn.flags = GOROUTINE_SPAWN_DAEMON;
    OK(goroutine_spawn_with(&spawn, NULL));
    return arg;
}
int main(void) {
    int i;
    alarm(110); /* a waiter that is not told waits for ever */
    for (i = 0; i < 20; i++) {
        start_workers(1);
        thread_sleep(MS);
        OK(goroutine_go(spawns, P(i)));
        OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
        stop();
    }
    return 0;
}

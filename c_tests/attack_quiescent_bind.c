/* The last goroutine that keeps the program alive ends; next on its worker is a daemon, which binds for good. The worker has nothing
 * more to do and is left without a thread, and nobody tells who waits for quiescence. */
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
static uint64_t over;
static void *waits(void *arg) {
    OK(goroutine_go(spawns, arg));
    OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
    SET(over, 1);
    return NULL;
}
int main(void) {
    int i;
    for (i = 0; i < 100; i++) {
        pthread_t thread;
        uint64_t end;
        SET(over, 0);
        start_workers(1);
        thread_sleep(MS);
        CHECK_EQ(pthread_create(&thread, NULL, waits, P(i)), 0);
        end = now_ns() + 5 * SECOND;
        while (!GET(over) && now_ns() < end) thread_sleep(100 * US);
        if (!GET(over)) {
            GoroutineStats stats;
            goroutine_stats_init(&stats);
            OK(goroutine_runtime_stats(&stats));
            fprintf(stderr, "round %d: goroutine_runtime_wait does not return; goroutine_runtime_wait(0) says %s; live %d (the daemon)\n", i,
                    goroutine_status_name(goroutine_runtime_wait(0)), (int)stats.live);
        }
        CHECK_EQ(GET(over), 1);
        pthread_join(thread, NULL);
        stop();
    }
    return 0;
}

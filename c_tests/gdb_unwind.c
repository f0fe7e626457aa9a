/* Run under a debugger by tools/gdb_test.sh, which steps through every instruction of the switches: goroutines that yield and
 * sleep, on one worker. The names of the functions are what the backtraces must contain. */
#include <goroutine.h>

static void *unwind_worker(void *n) {
    for (int i = 0; i < 20; i++) {
        goroutine_yield();
        if (i % 3 == 0) goroutine_sleep(1000);
    }
    return n;
}

static void *unwind_main(void *unused) {
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 4; i++) goroutine_go(unwind_worker, 0);
        unwind_worker(0);
    }
    return unused;
}

int main(void) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 1;
    if (goroutine_runtime_start(&config) != GOROUTINE_OK) return 1;
    return goroutine_runtime_run(unwind_main, 0, 0) != GOROUTINE_OK;
}

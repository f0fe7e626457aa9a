/* What one goroutine's x87 or SSE operations raised does not trap under the masks of another. */
#include "check.h"
#include <fenv.h>

static void *raise_masked(void *arg) {
    volatile long double zero = 0, result;
    volatile double z = 0, r;
    int i;
    for (i = 0; i < 100; i++) {
        result = 1 / zero;
        r = 1 / z;
        goroutine_yield();
    }
    (void)result;
    (void)r;
    return arg;
}
static void *unmasked(void *arg) {
    volatile long double sum = 1;
    volatile double s = 1;
    int i;
    feclearexcept(FE_ALL_EXCEPT);
    CHECK(feenableexcept(FE_DIVBYZERO) >= 0);
    for (i = 0; i < 100; i++) {
        sum = sum + 1;
        s = s + 1;
        goroutine_yield();
        CHECK_EQ(fegetexcept(), FE_DIVBYZERO);
    }
    return arg;
}

int main(void) {
    GoroutineConfig config;
    int round;
    if (is_slow() && !THREADS_SANITIZED && feenableexcept(FE_DIVBYZERO) >= 0 && fegetexcept() == 0) {
        fprintf(stderr, "skipped: valgrind's x87 unmasks nothing\n");
        return 77;
    }
    fedisableexcept(FE_ALL_EXCEPT);
    goroutine_config_init(&config);
    config.workers = 1;
    OK(goroutine_runtime_start(&config));
    for (round = 0; round < 10; round++) {
        GoroutinePromise *a = goroutine_spawn(raise_masked, NULL), *b = goroutine_spawn(unmasked, NULL);
        OK(goroutine_promise_await_take(a, 60 * SECOND, NULL));
        OK(goroutine_promise_await_take(b, 60 * SECOND, NULL));
    }
    stop();
    return 0;
}

/* ffi_threads_max long blocking calls are under way; one more keeps its worker, and everybody who would have ended them waits behind it.
 * Nothing is ever said about it (bindings that wait are reported at once, or after 10 s). */
#include "check.h"

static int ends[2][2];
static void *reads(void *fd) {
    char c;
    return P(read((int)U(fd), &c, 1));
}
static void *blocks(void *fd) { return goroutine_ffi_call_blocking(CODE(reads), fd); }
static void *writes(void *arg) {
    goroutine_yield();
    goroutine_sleep(50 * MS);
    CHECK_EQ(write(ends[0][1], "", 1), 1);
    CHECK_EQ(write(ends[1][1], "", 1), 1);
    return arg;
}
static void child(void *arg) {
    GoroutineConfig config;
    GoroutinePromise *p[3];
    (void)arg;
    alarm(15);
    CHECK(pipe(ends[0]) == 0 && pipe(ends[1]) == 0);
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_threads_max = 1;
    OK(goroutine_runtime_start(&config));
    p[0] = goroutine_spawn(blocks, P(ends[0][0]));
    p[1] = goroutine_spawn(blocks, P(ends[1][0]));
    p[2] = goroutine_spawn(writes, NULL);
    OK(goroutine_promise_await_take(p[2], GOROUTINE_FOREVER, NULL));
    OK(goroutine_promise_await_take(p[0], GOROUTINE_FOREVER, NULL));
    OK(goroutine_promise_await_take(p[1], GOROUTINE_FOREVER, NULL));
    stop();
}
int main(void) {
    static Child result;
    run_child(child, NULL, &result);
    if (result.signal == 0 && result.status == 0) return 0;
    fprintf(stderr, "after 15 s: signal %d; it said: \"%s\"\n", result.signal, result.text);
    CHECK(result.text[0] != 0);
    return 0;
}

/* "they may block, and may call the library as any plain thread does": a function of goroutine_ffi_call_async, or a constructor of a
 * library that goroutine_ffi_load loads, that calls goroutine_runtime_run or _wait waits for itself. */
#include "check.h"

static uint64_t over;
static void *nothing(void *arg) { return arg; }
static void *runs(void *arg) {
    if (arg == NULL)
        goroutine_runtime_run(nothing, NULL, NULL);
    else
        goroutine_runtime_wait(GOROUTINE_FOREVER);
    SET(over, 1);
    return arg;
}
int main(void) {
    uintptr_t i;
    int bad = 0;
    for (i = 0; i < 2; i++) {
        uint64_t end = now_ns() + 3 * SECOND;
        SET(over, 0);
        OK(goroutine_ffi_call_async(CODE(runs), P(i), NULL, NULL));
        while (!GET(over) && now_ns() < end) thread_sleep(MS);
        if (!GET(over)) fprintf(stderr, "goroutine_runtime_%s: still waiting after 3 s\n", i ? "wait" : "run");
        bad |= !GET(over);
    }
    CHECK_EQ(bad, 0);
    stop();
    return 0;
}

/* Run under a debugger by tools/gdb_test.sh, which steps through every instruction of the switches, of the foreign calls and of the links:
 * goroutines that yield and sleep, call C in each way, and are called back by it. The names of the functions are what the
 * backtraces must contain. With an argument: the foreign calls. */
#include <goroutine.h>
#include <stdint.h>

static void *unwind_worker(void *n) {
    for (int i = 0; i < 20; i++) {
        goroutine_yield();
        if (i % 3 == 0) goroutine_sleep(1000);
    }
    return n;
}

static void *unwind_inner_c(void *n) {
    return n;
}
static void *unwind_callback(void *n) {
    goroutine_ffi_call_leaf((void *)(uintptr_t)unwind_inner_c, n);
    if (n) goroutine_yield();
    return n;
}
static void *unwind_c(void *n) {
    return goroutine_callback_run(unwind_callback, n);
}
static void *unwind_deeper(void *n) {
    if (n) goroutine_yield();
    return n ? goroutine_more_stack(unwind_deeper, 0) : n;
}
static void *unwind_calls(void *n) {
    void *c = (void *)(uintptr_t)unwind_c;
    goroutine_more_stack(unwind_deeper, n);
    goroutine_ffi_call_blocking(c, 0);
    goroutine_ffi_call_leaf(c, 0);
    goroutine_ffi_call_blocking(c, 0); /* the long way: it has a native stack */
    goroutine_ffi_call(GOROUTINE_FFI_LEAF, c, 0, 0);
    goroutine_ffi_call_leaf(c, n);
    goroutine_ffi_call_blocking(c, n);
    execute_ffi_call(0, c, n);
    goroutine_ffi_unbind();
    goroutine_ffi_call_blocking(c, n);
    return n;
}

static void *unwind_main(void *calls) {
    for (int round = 0; round < 300; round++) {
        if (calls) unwind_calls(calls);
        for (int i = 0; i < 4; i++) goroutine_go(unwind_worker, 0);
        unwind_worker(0);
    }
    return calls;
}

int main(int argc, char **argv) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 1;
    if (goroutine_runtime_start(&config) != GOROUTINE_OK) return 1;
    return goroutine_runtime_run(unwind_main, argc > 1 ? argv[1] : 0, 0) != GOROUTINE_OK;
}

/* timeout: 240 */
/* C code that has switched to a stack of its own (a fiber, a coroutine) calls back from there, and the goroutine parks. Where that stack ends nobody knows,
 * so it counts as one that returns to any code, and no collector is shown what lies between it and the thread's. */
#include "check.h"
#include "code.h"
#include <ucontext.h>

enum { FIBER = 100000 };
static ucontext_t of_thread, of_fiber;
static GoroutinePromise *gate;
static uint64_t waiting;
static GoroutineFn emitted;

static void *waits(void *arg) {
    SET(waiting, 1);
    OK(goroutine_promise_await(gate, GOROUTINE_FOREVER, NULL));
    return arg;
}
static void *calls_back(void *arg) { return goroutine_callback_run(waits, arg); }
static void in_fiber(void) {
    CHECK(emitted(&gate) == &gate);
    CHECK(swapcontext(&of_fiber, &of_thread) == 0);
}
static void *has_fiber(void *memory) {
    CHECK(getcontext(&of_fiber) == 0);
    of_fiber.uc_stack.ss_sp = memory;
    of_fiber.uc_stack.ss_size = FIBER;
    makecontext(&of_fiber, in_fiber, 0);
    CHECK(swapcontext(&of_thread, &of_fiber) == 0);
    return memory;
}
static void *bound(void *memory) { return execute_ffi_call(NULL, CODE(has_fiber), memory); }

static void sum(void *arg, const Goroutine *g, const GoroutineContext *at, const void *low, const void *high) {
    const uint64_t *word;
    (void)g, (void)at;
    for (word = (const uint64_t *)low; word < (const uint64_t *)high; word++) *(uint64_t *)arg += *word; /* all of it is there */
}

static void parked_from(void *memory) {
    Emit e = emit_begin(4096);
    size_t bytes = emit_framed(&e, CODE(calls_back));
    GoroutineCode code = code_of("emitted", e.code, bytes, GOROUTINE_CODE_FRAME_POINTER);
    uint64_t id, words = 0;
    GoroutinePromise *promise;
    void *value;
    emitted = FN(e.code);
    emit_end(&e);
    OK(goroutine_code_register(&code, 1, &id));
    CHECK((gate = goroutine_promise_new()) != NULL);
    SET(waiting, 0);
    CHECK((promise = goroutine_spawn(bound, memory)) != NULL);
    while (!GET(waiting)) thread_sleep(MS);
    CHECK_EQ(goroutine_code_unregister(id, 200 * MS), GOROUTINE_ETIMEDOUT);
    OK(goroutine_world_stop(20 * SECOND));
    goroutine_world_for_each(sum, &words);
    goroutine_world_start();
    OK(goroutine_promise_resolve(gate, NULL));
    OK(goroutine_promise_await_take(promise, 60 * SECOND, &value));
    CHECK(value == memory);
    OK(goroutine_code_unregister(id, 60 * SECOND));
    goroutine_promise_release(gate);
}

int main(void) {
    static char below[FIBER]; /* in the program, below all threads' stacks */
    char above[FIBER];        /* on the first thread's stack, above all others' */
    start_workers(2);
    parked_from(above);
    parked_from(below);
    stop();
    return 0;
}

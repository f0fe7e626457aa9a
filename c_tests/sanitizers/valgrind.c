/* For tools/user_sanitizers.sh: a program under valgrind, and one fault, or none.
 *
 * valgrind CASE: `clean` must end with 0 and nothing to say; each other case plants what its name says. */
#include "../check.h"

#define NOINLINE __attribute__((noinline))

static volatile int taken;

/* A local that nobody wrote, on a stack that others have used before, and that was left and come back to. */
static NOINLINE void look_at_uninitialized(bool plant) {
    volatile int words[64];
    for (int i = 0; i < 64; i++) {
        if (i != 40 || !plant) words[i] = i;
    }
    for (int i = 0; i < 5; i++) goroutine_yield();
    OK(goroutine_sleep(100 * US));
    if (words[40] == 40) taken++;
}
static NOINLINE void *uninitialized(void *arg) {
    (void)arg;
    look_at_uninitialized(true);
    return NULL;
}

static NOINLINE void *in_c(void *arg) {
    volatile int words[64];
    for (int i = 0; i < 64; i++) {
        if (i != 40 || arg == NULL) words[i] = i;
    }
    if (words[40] == 40) taken++;
    return NULL;
}
static void *call_c(void *arg) { return goroutine_ffi_call_leaf(CODE(in_c), arg); }

static NOINLINE uint64_t sit(int depth, uint64_t seed) {
    uint64_t words[64];
    for (int i = 0; i < 64; i++) words[i] = seed + (uint64_t)i;
    goroutine_yield();
    if (depth > 0) words[3] = sit(depth - 1, seed * 31);
    goroutine_yield();
    if (depth == 3) OK(goroutine_sleep(50 * US));
    uint64_t sum = 0;
    for (int i = 0; i < 64; i++) sum += words[i];
    if (sum == 4711) taken++;
    return sum;
}
static void *sitter(void *arg) {
    for (int i = 0; i < 10; i++) sit(5, U(arg));
    return arg;
}
static NOINLINE void *call_back(void *arg) { return goroutine_callback_run(sitter, arg); }
static void *clean(void *arg) {
    GoroutinePromise *all[10];
    for (int i = 0; i < 10; i++) all[i] = goroutine_spawn(sitter, P(i + 1));
    look_at_uninitialized(false);
    in_c(NULL);
    CHECK(goroutine_ffi_call_leaf(CODE(call_back), P(1)) == P(1));
    CHECK(goroutine_ffi_call_blocking(CODE(call_back), P(2)) == P(2));
    CHECK(execute_ffi_call(NULL, CODE(call_back), P(3)) == P(3));
    for (int i = 0; i < 10; i++) {
        void *value;
        OK(goroutine_promise_await_take(all[i], GOROUTINE_FOREVER, &value));
    }
    return arg;
}

int main(int argc, char **argv) {
    CHECK_EQ(argc, 2);
    start_workers(2);
    if (strcmp(argv[1], "uninitialized") == 0) run_goroutine(uninitialized, NULL);
    else if (strcmp(argv[1], "uninitialized_in_c") == 0) run_goroutine(call_c, P(1));
    else {
        CHECK(strcmp(argv[1], "clean") == 0);
        run_goroutine(clean, NULL);
    }
    stop();
    return 0;
}

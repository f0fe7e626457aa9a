/* For tools/user_sanitizers.sh: a program built with UndefinedBehaviorSanitizer, and one fault, or none.
 *
 * ubsan CASE: `clean` must end with 0 and nothing to say; each other case has its signed integer overflow where its name says. */
#include "../check.h"

#define NOINLINE __attribute__((noinline))

static volatile int largest = 0x7fffffff, sum;

static NOINLINE void *overflow(void *arg) {
    for (int i = 0; i < 3; i++) OK(goroutine_sleep(100 * US));
    sum = largest + (int)U(arg);
    return NULL;
}
static NOINLINE void *overflow_in_c(void *arg) {
    sum = largest + (int)U(arg);
    return NULL;
}
static NOINLINE void *call_back(void *arg) { return goroutine_callback_run(overflow, arg); }
static void *leaf(void *arg) { return goroutine_ffi_call_leaf(CODE(overflow_in_c), arg); }
static void *bound(void *arg) { return execute_ffi_call(NULL, CODE(overflow_in_c), arg); }
static void *callback(void *arg) { return goroutine_ffi_call_blocking(CODE(call_back), arg); }

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        GoroutineFn f;
    } cases[] = {{"goroutine", overflow}, {"leaf", leaf}, {"bound", bound}, {"callback", callback}};
    bool done = false;
    CHECK_EQ(argc, 2);
    start_workers(2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], "clean") == 0) run_goroutine(cases[i].f, P(0));
        else if (strcmp(argv[1], cases[i].name) == 0) run_goroutine(cases[i].f, P(1));
        else continue;
        done = true;
    }
    CHECK(done);
    stop();
    return 0;
}

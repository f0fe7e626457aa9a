/* For tools/user_sanitizers.sh: a program built with AddressSanitizer, and one fault of each kind, or none.
 *
 * asan CASE: `clean` must end with 0 and nothing to say; each other case plants what its name says.
 *
 * With -DUNTOLD nobody tells AddressSanitizer of switches: then the cases that depend on that must be missed. */
#include "../check.h"

#include <setjmp.h>

#if defined(UNTOLD)
/* The library's go here: the program comes first in the loader's order. */
void __sanitizer_start_switch_fiber(void **fake_stack, const void *low, size_t bytes);
void __sanitizer_start_switch_fiber(void **fake_stack, const void *low, size_t bytes) { (void)fake_stack, (void)low, (void)bytes; }
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **low, size_t *bytes);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **low, size_t *bytes) { (void)fake_stack, (void)low, (void)bytes; }
#endif

#define NOINLINE __attribute__((noinline))

static char *volatile leaked, *volatile leaked_by_others;

/* -- the faults -- */

static NOINLINE void leak_a_local(void) {
    char gone_local[64];
    memset(gone_local, 1, sizeof gone_local);
    leaked = gone_local;
}
/* Others have frames of the same size meanwhile, on the same thread, more than a fake stack has places for: on that of the thread, one of them
 * would have the place, and the report would name `other_local`. */
static NOINLINE void have_a_local(int i) {
    char other_local[64];
    memset(other_local, i, sizeof other_local);
    leaked_by_others = other_local;
}
static void *have_locals(void *arg) {
    for (int i = 0; i < 100000; i++) have_a_local(i);
    return arg;
}
static NOINLINE void *use_after_return(void *arg) {
    GoroutinePromise *other = goroutine_spawn(have_locals, arg);
    leak_a_local();
    OK(goroutine_promise_await_take(other, GOROUTINE_FOREVER, NULL));
    leaked[5] = 2;
    return NULL;
}
/* After its end, too: its fake stack stays with its stack. */
static void *leave_a_local(void *arg) {
    leak_a_local();
    return arg;
}
static NOINLINE void *use_after_end(void *arg) {
    OK(goroutine_promise_await_take(goroutine_spawn(leave_a_local, arg), GOROUTINE_FOREVER, NULL));
    leaked[5] = 2;
    return NULL;
}

/* What only a goroutine had. */
static NOINLINE void *lose_memory(void *arg) {
    char *volatile lost = (char *)malloc(4711);
    CHECK(lost != NULL);
    memset(lost, 1, 4711);
    goroutine_yield();
    lost = NULL;
    return arg;
}

static NOINLINE void *overflow_after_parks(void *arg) {
    volatile char small_local[24];
    memset((char *)small_local, 0, sizeof small_local);
    for (int i = 0; i < 3; i++) OK(goroutine_sleep(100 * US));
    small_local[24 + (arg != NULL)] = 1;
    return NULL;
}

static NOINLINE void *overflow_in_c(void *arg) {
    volatile char native_local[24];
    memset((char *)native_local, 0, sizeof native_local);
    native_local[24 + (arg != NULL)] = 1;
    return NULL;
}
static void *call_c_leaf(void *arg) { return goroutine_ffi_call_leaf(CODE(overflow_in_c), arg); }
static void *call_c_blocking(void *arg) { return goroutine_ffi_call_blocking(CODE(overflow_in_c), arg); }
static void *call_c_bound(void *arg) { return execute_ffi_call(NULL, CODE(overflow_in_c), arg); }

static NOINLINE void *call_back(void *arg) { return goroutine_callback_run(overflow_after_parks, arg); }
static void *callback_leaf(void *arg) { return goroutine_ffi_call_leaf(CODE(call_back), arg); }
static void *callback_blocking(void *arg) { return goroutine_ffi_call_blocking(CODE(call_back), arg); }
static void *callback_bound(void *arg) { return execute_ffi_call(NULL, CODE(call_back), arg); }
/* On the goroutine's stack again, after C. */
static NOINLINE void *nothing(void *arg) { return arg; }
static void *after_c(void *arg) {
    goroutine_ffi_call_leaf(CODE(nothing), arg);
    goroutine_ffi_call_blocking(CODE(nothing), arg);
    execute_ffi_call(NULL, CODE(nothing), arg);
    return overflow_after_parks(arg);
}
/* On the thread's own stack, after a callback that has got a goroutine. */
static NOINLINE void *attached(void *arg) {
    goroutine_callback_run(nothing, arg);
    return overflow_in_c(arg);
}

/* -- and no fault: frames that live across parks, on fake stacks, while others jump over theirs -- */

enum { SITTERS = 16, JUMPERS = 16, ROUNDS = 50 };

static NOINLINE uint64_t sit(int depth, uint64_t seed) {
    volatile uint64_t words[32];
    for (int i = 0; i < 32; i++) words[i] = seed + (uint64_t)i;
    if (depth > 0) sit(depth - 1, seed * 31);
    if (depth % 3 == 0) goroutine_yield();
    if (depth == 7) OK(goroutine_sleep(50 * US));
    uint64_t sum = 0;
    for (int i = 0; i < 32; i++) {
        CHECK_EQ(words[i], seed + (uint64_t)i);
        sum += words[i];
    }
    return sum;
}
static void *sitter(void *arg) {
    for (int i = 0; i < ROUNDS; i++) sit(8, U(arg) + (uint64_t)i);
    return arg;
}

static NOINLINE void jump(jmp_buf *to, int depth) {
    volatile char frame[200];
    memset((char *)frame, depth, sizeof frame);
    if (depth > 0) jump(to, depth - 1);
    else if (to != NULL) longjmp(*to, 1);
    CHECK_EQ(frame[7], depth); /* nobody comes here */
}
static NOINLINE void jump_once(void) {
    jmp_buf here;
    if (setjmp(here) == 0) jump(&here, 6);
}
static void *jumper(void *arg) {
    for (int i = 0; i < ROUNDS; i++) {
        jump_once();
        goroutine_yield();
        sit(2, U(arg));
    }
    if (U(arg) % 2) goroutine_exit(GOROUTINE_OK, arg);
    return arg;
}

static NOINLINE void *c_with_frames(void *arg) {
    volatile uint64_t words[16];
    for (int i = 0; i < 16; i++) words[i] = U(arg);
    jump_once();
    CHECK(goroutine_callback_run(sitter, arg) == arg);
    jump_once();
    for (int i = 0; i < 16; i++) CHECK_EQ(words[i], U(arg));
    return arg;
}
static void *caller(void *arg) {
    CHECK(goroutine_ffi_call_leaf(CODE(c_with_frames), arg) == arg);
    sit(5, U(arg));
    CHECK(goroutine_ffi_call_blocking(CODE(c_with_frames), arg) == arg);
    jump_once();
    CHECK(execute_ffi_call(NULL, CODE(c_with_frames), arg) == arg);
    OK(goroutine_ffi_unbind());
    sit(5, U(arg));
    return arg;
}
static void *nested(void *arg) {
    GoroutinePromise *promise = goroutine_spawn(jumper, P(2));
    CHECK(promise != NULL);
    void *value;
    OK(goroutine_promise_await_take(promise, GOROUTINE_FOREVER, &value));
    return arg;
}
static void *thread(void *arg) {
    CHECK(goroutine_callback_run(sitter, P(7)) == P(7));
    jump_once();
    CHECK(goroutine_callback_run(nested, P(8)) == P(8));
    return arg;
}

static void clean(void) {
    GoroutinePromise *all[SITTERS + JUMPERS + 4];
    int n = 0;
    for (int i = 0; i < SITTERS; i++) all[n++] = goroutine_spawn(sitter, P(i + 1));
    for (int i = 0; i < JUMPERS; i++) all[n++] = goroutine_spawn(jumper, P(i + 1));
    for (int i = 0; i < 4; i++) all[n++] = goroutine_spawn(caller, P(i + 1));
    pthread_t plain;
    CHECK_EQ(pthread_create(&plain, NULL, thread, NULL), 0);
    for (int i = 0; i < n; i++) {
        void *value;
        CHECK(all[i] != NULL);
        OK(goroutine_promise_await_take(all[i], GOROUTINE_FOREVER, &value));
    }
    CHECK_EQ(pthread_join(plain, NULL), 0);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        GoroutineFn f;
    } cases[] = {{"use_after_return", use_after_return},   {"use_after_end", use_after_end},
                 {"overflow", overflow_after_parks},
                 {"leaf", call_c_leaf},                    {"blocking", call_c_blocking},
                 {"bound", call_c_bound},                  {"callback_leaf", callback_leaf},
                 {"callback_blocking", callback_blocking}, {"callback_bound", callback_bound},
                 {"after_c", after_c}};
    CHECK_EQ(argc, 2);
    start_workers(strcmp(argv[1], "use_after_return") == 0 ? 1 : 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) == 0) {
            run_goroutine(cases[i].f, NULL);
            return 1; /* nobody noticed */
        }
    }
    if (strcmp(argv[1], "leak") == 0) {
        run_goroutine(lose_memory, NULL);
        stop();
        return 0; /* and somebody looks, at the end */
    }
    if (strcmp(argv[1], "attached") == 0) {
        attached(NULL);
        return 1;
    }
    CHECK(strcmp(argv[1], "clean") == 0);
    clean();
    stop();
    return 0;
}

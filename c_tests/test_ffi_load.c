/* Loading libraries: on a thread of the library, without a change to the program's signal handlers, from anywhere. */
#include "check.h"
#include <dlfcn.h>
#include <limits.h>

static char loud[PATH_MAX], slow[PATH_MAX];

static void *plain_handle, *volatile in_handler;
static void handler(int signal) {
    (void)signal;
    in_handler = __builtin_frame_address(0);
}
static void handler_of_child(int signal) { (void)signal; }

static void install(int signal, void (*f)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = f;
    action.sa_flags = flags;
    sigaddset(&action.sa_mask, SIGTERM);
    CHECK(sigaction(signal, &action, NULL) == 0);
}
/* The kernel's: ThreadSanitizer would tell what was last set by way of sigaction(3). */
static int flags_of(int signal) {
    uint64_t action[4]; /* handler, flags, restorer, mask */
    CHECK(syscall(SYS_rt_sigaction, signal, NULL, action, sizeof action[3]) == 0);
    return (int)action[1];
}
static uint64_t ask(void *handle, const char *name) {
    void *address = NULL;
    OK(goroutine_ffi_symbol(handle, name, &address));
    return U(((void *(*)(void *))(uintptr_t)address)(NULL));
}

/* The host's handlers are as they were, and see the stack that they always saw. */
static void handlers_stay(void) {
    static char alternate_stack[65536];
    int rt = SIGRTMIN + 6, i;
    char here;
    stack_t alternate;
    int quiet[3];
    quiet[0] = SIGUSR1;
    quiet[1] = SIGPWR;
    quiet[2] = rt;
    memset(&alternate, 0, sizeof alternate);
    alternate.ss_size = sizeof alternate_stack;
    alternate.ss_sp = alternate_stack;
    CHECK(sigaltstack(&alternate, NULL) == 0);
    for (i = 0; i < 3; i++) install(quiet[i], handler, SA_RESTART);
    install(SIGUSR2, handler, 0);
    install(SIGCHLD, handler_of_child, SA_RESTART);
    install(SIGINT, handler, SA_ONSTACK);

    OK(goroutine_ffi_load(loud, 0, &plain_handle)); /* no runtime is there: it starts */
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);

    for (i = 0; i < 3; i++) {
        CHECK_EQ(flags_of(quiet[i]) & (SA_ONSTACK | SA_RESTART), SA_RESTART);
        in_handler = NULL;
        raise(quiet[i]);
        CHECK(llabs((long long)U(in_handler) - (long long)U(&here)) < 65536);
    }
    CHECK(flags_of(SIGINT) & SA_ONSTACK);
    CHECK(flags_of(SIGCHLD) & SA_ONSTACK); /* Go's threads leave it open: the flag must stay */
    in_handler = NULL;
    raise(SIGUSR2); /* the library's own now */
    CHECK(in_handler == NULL);

    /* Where it was loaded. */
    for (i = 1; i < 32; i++) {
        bool synchronous = i == SIGSEGV || i == SIGBUS || i == SIGFPE || i == SIGILL || i == SIGTRAP || i == SIGSYS;
        if (i == SIGKILL || i == SIGSTOP) continue;
        CHECK_EQ(ask(plain_handle, "loud_blocked") >> (i - 1) & 1, !synchronous);
        CHECK_EQ(ask(plain_handle, "loud_blocked_in_its_thread") >> (i - 1) & 1, !synchronous);
    }
    CHECK(ask(plain_handle, "loud_loader") != (uint64_t)thread_id());
    CHECK(ask(plain_handle, "loud_stack_bytes") >= 1 << 20);
}

static void *no_error(void *arg) {
    CHECK(goroutine_ffi_error() == NULL);
    return arg;
}
static void *fail_differently(void *arg) {
    char name[64];
    const char *text;
    void *out = P(7);
    int i;
    for (i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "no_such_symbol_%d_%d", (int)U(arg), i);
        CHECK_EQ(goroutine_ffi_symbol(plain_handle, name, &out), GOROUTINE_EFFILOAD);
        CHECK_EQ(U(out), 7);
        goroutine_yield();
        OK(goroutine_sleep(1 * MS));
        text = goroutine_ffi_error();
        CHECK(text != NULL && strstr(text, name) != NULL);
        CHECK(goroutine_ffi_error() == text); /* it stays until the next failure */
    }
    return NULL;
}
static void errors_belong_to_who_made_them(void) {
    GoroutinePromise *promises[200];
    void *out = P(7);
    int i;
    CHECK(goroutine_ffi_error() == NULL);
    CHECK_EQ(goroutine_ffi_load("/no/such/library.so", 0, &out), GOROUTINE_EFFILOAD);
    CHECK(strstr(goroutine_ffi_error(), "/no/such/library.so") != NULL);
    run_goroutine(no_error, NULL);
    for (i = 0; i < 200; i++) CHECK((promises[i] = goroutine_spawn(fail_differently, P(i))) != NULL);
    for (i = 0; i < 200; i++) OK(goroutine_promise_await_take(promises[i], 30 * SECOND, NULL));
    for (i = 0; i < 300; i++) run_goroutine(no_error, NULL); /* on the stacks of those that are over */
    CHECK(strstr(goroutine_ffi_error(), "/no/such/library.so") != NULL);
    OK(goroutine_ffi_symbol(NULL, "malloc", &out));
    CHECK(U(out) != 7);
    CHECK_EQ(goroutine_ffi_load(slow, 1 << 30, &out), GOROUTINE_EFFILOAD); /* no such mode */
    CHECK(strstr(goroutine_ffi_error(), "/no/such/library.so") == NULL);
    OK(goroutine_ffi_load(NULL, 0, &out));
    CHECK_EQ(goroutine_ffi_load(slow, 0, NULL), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_ffi_symbol(out, NULL, &out), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_ffi_symbol(out, "malloc", NULL), GOROUTINE_EINVAL);
}

static uint64_t ticks;
static void *tick(void *arg) {
    ADD(ticks, 1);
    return arg;
}
static void *load_slow(void *arg) {
    void *handle = NULL, *address = NULL;
    OK(goroutine_ffi_load(slow, 0, &handle));
    OK(goroutine_ffi_symbol(handle, "slow_twice", &address));
    CHECK_EQ(U(((void *(*)(void *))(uintptr_t)address)(arg)), U(arg) * 2);
    CHECK(dlclose(handle) == 0);
    return NULL;
}
static void *load_cancelled(void *arg) {
    load_slow(arg);
    CHECK_EQ(goroutine_sleep(1 * SECOND), GOROUTINE_ECANCELED); /* it had to wait */
    return P(9);
}

/* The constructor of `slow` stands at a gate. */
static int at_gate[2], go_on[2];
static void close_gate(void) {
    char text[32];
    CHECK(pipe(at_gate) == 0 && pipe(go_on) == 0);
    snprintf(text, sizeof text, "%d %d", at_gate[1], go_on[0]);
    setenv("PLUGIN_GATE", text, 1);
}
static void wait_at_gate(void) {
    char byte;
    CHECK(read(at_gate[0], &byte, 1) == 1);
    unsetenv("PLUGIN_GATE");
}
static void open_gate(void) { CHECK(write(go_on[1], "", 1) == 1); }
/* When nobody stands there any more. */
static void take_gate_down(void) {
    int i;
    for (i = 0; i < 2; i++) {
        close(at_gate[i]);
        close(go_on[i]);
    }
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void many_at_once(void) {
    GoroutinePromise *promises[64], *cancelled;
    int64_t timer;
    void *value = NULL;
    uint64_t begin, used, end;
    int i;
    close_gate();
    cancelled = goroutine_spawn(load_cancelled, P(3));
    wait_at_gate();
    OK(goroutine_cancel(cancelled));
    for (i = 0; i < 64; i++) CHECK((promises[i] = goroutine_spawn(load_slow, P(i))) != NULL);
    /* The workers go on meanwhile, and the cancelled one waits as the others do. */
    ticks = 0;
    begin = now_ns();
    used = cpu_ns();
    end = begin + 20 * SECOND;
    timer = goroutine_timer_start(5 * MS, 5 * MS, tick, NULL);
    while (GET(ticks) < 20 && now_ns() < end) thread_sleep(1 * MS);
    CHECK(GET(ticks) >= 20);
    CHECK((cpu_ns() - used) * 2 < now_ns() - begin);
    CHECK(goroutine_timer_stop(timer));
    for (i = 0; i < 64; i++) CHECK_EQ(goroutine_promise_await(promises[i], 0, NULL), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_promise_await(cancelled, 0, NULL), GOROUTINE_EAGAIN);
    open_gate();
    for (i = 0; i < 64; i++) OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
    OK(goroutine_promise_await_take(cancelled, 60 * SECOND, &value));
    CHECK_EQ(U(value), 9);
    take_gate_down();
}

static void *load_from_thread(void *arg) {
    void *handle = NULL;
    OK(goroutine_ffi_load(slow, 0, &handle));
    CHECK(dlclose(handle) == 0);
    return arg;
}
static void a_shutdown_waits(void) {
    pthread_t thread;
    void *out = NULL;
    close_gate();
    CHECK(pthread_create(&thread, NULL, load_from_thread, NULL) == 0);
    wait_at_gate();
    CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EAGAIN); /* it keeps the program alive */
    CHECK_EQ(goroutine_runtime_shutdown(20 * MS), GOROUTINE_ETIMEDOUT);
    open_gate();
    stop();
    CHECK(pthread_join(thread, NULL) == 0);
    take_gate_down();
    CHECK_EQ(goroutine_ffi_load(slow, 0, &out), GOROUTINE_ESHUTDOWN);
}

static void in_child(void *arg) {
    load_slow(arg);
    run_goroutine(load_slow, arg);
    stop();
}
static void *nested_load(void *arg) {
    void *handle = NULL;
    OK(goroutine_ffi_load(loud, 0, &handle));
    CHECK_EQ(ask(handle, "loud_nested"), 0);
    return arg;
}
static void nested_in_child(void *arg) {
    char next[PATH_MAX + 64];
    snprintf(next, sizeof next, "%lx %s", (unsigned long)(uintptr_t)goroutine_ffi_load, slow);
    setenv("PLUGIN_NEXT", next, 1);
    if (arg == NULL) {
        nested_load(NULL);
    } else {
        run_goroutine(nested_load, NULL);
    }
    stop();
}

int main(void) {
    const char *plugins = getenv("C_TESTS_PLUGINS");
    int i;
    if (plugins == NULL) {
        fprintf(stderr, "C_TESTS_PLUGINS is not set: run tools/c_tests.sh\n");
        return 1;
    }
    snprintf(loud, sizeof loud, "%s/plugin_loud.so", plugins);
    snprintf(slow, sizeof slow, "%s/plugin_slow.so", plugins);
    expect_child("nested load, thread", nested_in_child, NULL, 0, 0, NULL);
    expect_child("nested load, goroutine", nested_in_child, P(1), 0, 0, NULL);
    handlers_stay();
    errors_belong_to_who_made_them();
    expect_child("child of fork", in_child, P(4), 0, 0, NULL);
    many_at_once();
    a_shutdown_waits();
    for (i = 1; i <= 2; i++) {
        start_workers((uint32_t)i);
        many_at_once();
        a_shutdown_waits();
    }
    return 0;
}

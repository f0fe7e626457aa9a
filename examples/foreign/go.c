/* A Go library, called from goroutines of ours: bound, by leaf and blocking calls, over a lane, and from an event loop; Go calls back
 * into C, and C into goroutines. Usage: go LIBRARY [--before] [--seconds N]
 *
 * Go installs its signal handlers when it is loaded: after ours, which is what goroutine_ffi_load sees to, or with --before
 * before ours, by a plain dlopen before the runtime starts. Either way our overflow report and Go's recovery of nil pointers work. The
 * program has handlers, too: they keep their flags in the first order, and do not in the second.
 *
 * Go keeps a stack for every foreign thread that called it, as large as that thread's calls once needed, and shrinks it only in calls from that
 * thread: 32 MiB after suite_deep(20000), in any C program. So a soak has few threads, all of which have called everything soon, and
 * does not go that deep. */
#include "foreign.h"
#include <dlfcn.h>
#include <semaphore.h>

enum { GOROUTINES = 8, THREADS = 16 };
typedef struct Pair {
    int64_t a, b;
} Pair;
typedef struct Callback {
    void *(*fn)(void *);
    void *arg;
    int64_t times;
} Callback;

static const char *library;
static void *handle;
static bool go_first;
static uint64_t deep = 20000;

static void *symbol(const char *name) {
    void *address = NULL;
    OK(goroutine_ffi_symbol(handle, name, &address));
    return address;
}

/* ---- Every class of call ---- */

typedef void *(*Caller)(void *function, void *args);
static void *call_bound(void *function, void *args) { return execute_ffi_call(NULL, function, args); }
static void *call_leaf(void *function, void *args) { return goroutine_ffi_call_leaf(function, args); }
static void *call_blocking(void *function, void *args) { return goroutine_ffi_call_blocking(function, args); }
static GoroutineFfiLane *lane;
static void *call_lane(void *function, void *args) {
    void *result = NULL;
    OK(goroutine_ffi_lane_call(lane, function, args, &result));
    return result;
}
static const Caller callers[4] = {call_bound, call_leaf, call_blocking, call_lane};

/* ---- C that Go calls, and language code that this C calls ---- */

static void *spawned(void *arg) {
    goroutine_yield();
    return P(U(arg) + 1);
}
static void *in_callback(void *arg) {
    void *value = NULL;
    CHECK(goroutine_current() != NULL);
    OK(goroutine_promise_await_take(goroutine_spawn(spawned, arg), 30 * SECOND, &value));
    OK(goroutine_sleep(200000)); /* parks with the frames of Go and C below it */
    return value;
}
static void *called_by_go(void *arg) { return goroutine_callback_run(in_callback, arg); }

/* Go is called again from the language code that it called. */
static void *back_into_go(void *arg) {
    Callback back;
    back.fn = called_by_go;
    back.arg = P(1);
    back.times = 1;
    if (U(arg) == 0) return execute_ffi_call(NULL, symbol("suite_callback"), &back);
    back.fn = (void *(*)(void *))U(symbol("suite_c_count"));
    return execute_ffi_call(NULL, symbol("suite_callback"), &back);
}
static void *called_by_go_calls_go(void *arg) { return goroutine_callback_run(back_into_go, arg); }

static void *everything(void *arg) {
    Caller call = callers[U(arg) % 4];
    Pair pair;
    Callback back;
    uint64_t calls;
    pair.a = (int64_t)U(arg);
    pair.b = 100;
    CHECK_EQ(U(call(symbol("suite_add"), &pair)), U(arg) + 100);
    CHECK_EQ(U(call(symbol("suite_goroutines"), P(100))), 5050);
    CHECK_EQ(U(call(symbol("suite_collect"), P(3))), 2047);
    CHECK_EQ(U(call(symbol("suite_environment"), NULL)), 1);
    CHECK_EQ(U(call(symbol("suite_deep"), P(deep))), deep);
    CHECK_EQ(U(call(symbol("suite_nil"), P(20))), 20);
    CHECK(U(call(symbol("suite_spin"), P(10))) >= 1);
    CHECK_EQ(U(call(symbol("suite_exec"), NULL)), 1);

    back.fn = called_by_go;
    back.arg = P(5);
    back.times = 10;
    CHECK_EQ(U(call(symbol("suite_callback"), &back)), 60);
    if (call == call_leaf) { /* it keeps its worker, for which language code on another thread could have to wait: C only */
        back.fn = (void *(*)(void *))U(symbol("suite_c_count"));
        back.arg = P(3);
    }
    CHECK_EQ(U(call(symbol("suite_callback_elsewhere"), &back)), 60);
    back.fn = called_by_go_calls_go;
    back.times = 1;
    back.arg = P(0);
    CHECK_EQ(U(call(symbol("suite_callback"), &back)), 2);
    back.arg = P(1);
    CHECK_EQ(U(call(symbol("suite_callback"), &back)), 2);

    for (calls = 0; calls < 10000; calls++) {
        CHECK_EQ(U(call(symbol("suite_identity"), P(calls))), calls);
        if (call != call_lane) calls += 9;
    }
    return NULL;
}

/* ---- From an event loop ---- */

/* On one thread, so that in time each has called this deep. */
static void *sleep_and_go_deep(void *arg) {
    void *(*sleep)(void *) = (void *(*)(void *))U(symbol("suite_sleep"));
    void *(*recurse)(void *) = (void *(*)(void *))U(symbol("suite_deep"));
    CHECK_EQ(U(recurse(P(deep))), deep);
    return sleep(arg);
}
static sem_t answered;
static void answer(void *arg, void *result) {
    CHECK_EQ(U(result), U(arg));
    sem_post(&answered);
}
static void from_a_loop(void) {
    int i;
    sem_init(&answered, 0, 0);
    for (i = 0; i < 100; i++) OK(goroutine_ffi_call_async(CODE(sleep_and_go_deep), P(i % 10), answer, P(i % 10)));
    for (i = 0; i < 100; i++) sem_wait(&answered);
    sem_destroy(&answered);
}

static void round_of_all(void) {
    spawn_all(GOROUTINES, everything);
    from_a_loop();
    CHECK(U(((void *(*)(void *))U(symbol("suite_heap")))(NULL)) > 0); /* gives back what Go has collected */
}

/* ---- The signals of all ---- */

static const int of_the_program[3] = {SIGUSR1, SIGPWR, SIGVTALRM};
static void handler(int signal) { (void)signal; }
static int flags_of(int signal) {
    struct sigaction action;
    CHECK(sigaction(signal, NULL, &action) == 0);
    return action.sa_flags;
}
/* The library that the process's handler of SIGSEGV lies in. */
static const char *who_sees_faults(void) {
    struct sigaction action;
    Dl_info info;
    CHECK(sigaction(SIGSEGV, NULL, &action) == 0);
    CHECK(dladdr(CODE(action.sa_sigaction), &info) != 0);
    return info.dli_fname;
}

static void load(void) {
    struct sigaction action;
    GoroutineConfig config;
    int i;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    for (i = 0; i < 3; i++) CHECK(sigaction(of_the_program[i], &action, NULL) == 0);
    goroutine_config_init(&config);
    config.ffi_threads_max = THREADS;
    if (go_first) {
        handle = dlopen(library, RTLD_NOW);
        if (handle == NULL) fprintf(stderr, "%s\n", dlerror());
        CHECK(handle != NULL);
        OK(goroutine_runtime_start(&config));
        CHECK(strstr(who_sees_faults(), "libgoroutine") != NULL);
    } else {
        OK(goroutine_runtime_start(&config));
        OK(goroutine_ffi_load(library, 0, &handle));
        CHECK(strstr(library, who_sees_faults()) != NULL);
    }
    for (i = 0; i < 3; i++)
        CHECK_EQ(flags_of(of_the_program[i]) & (SA_ONSTACK | SA_RESTART), SA_RESTART | (go_first ? SA_ONSTACK : 0));
}
static __attribute__((noinline)) uint64_t overflow(uint64_t n) {
    volatile char frame[512];
    frame[0] = (char)n;
    if (n == UINT64_MAX) return 0;
    return overflow(n + 1) + (uint64_t)frame[0];
}
static void *overflows(void *arg) {
    CHECK_EQ(U(execute_ffi_call(NULL, symbol("suite_nil"), P(10))), 10);
    return P(overflow(U(arg)));
}
static void *writes_to_null(void *arg) {
    CHECK_EQ(U(execute_ffi_call(NULL, symbol("suite_nil"), P(10))), 10);
    *(volatile int *)arg = 1;
    return NULL;
}
static void in_goroutine(GoroutineFn fn) {
    load();
    OK(goroutine_promise_await_take(goroutine_spawn(fn, NULL), 30 * SECOND, NULL));
}
static void child_overflows(void) { in_goroutine(overflows); }
static void child_writes_to_null(void) { in_goroutine(writes_to_null); }

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s LIBRARY [--before] [--seconds N]\n", argv[0]);
        return 2;
    }
    library = argv[1];
    go_first = argc > 2 && strcmp(argv[2], "--before") == 0;
    if (seconds_asked(argc, argv) > 0) deep = 1000;
    if (getenv("SUITE_ENVIRONMENT") == NULL) { /* Go looks at what the process was started with, and at nothing set later */
        setenv("SUITE_ENVIRONMENT", "seen", 1);
        execv("/proc/self/exe", argv);
    }
    child_dies(child_overflows, SIGSEGV, "stack overflow: goroutine ");
    child_dies(child_writes_to_null, SIGSEGV, "");
    load();
    OK(goroutine_ffi_lane_new("go", &lane));
    run_rounds(argc, argv, round_of_all, 24 << 20);
    OK(goroutine_ffi_lane_release(lane));
    OK(goroutine_runtime_wait(10 * SECOND));
    OK(goroutine_runtime_shutdown(10 * SECOND));
    /* And once more: Go stays loaded, our threads are others. */
    OK(goroutine_runtime_start(NULL));
    OK(goroutine_ffi_lane_new("go", &lane));
    round_of_all();
    OK(goroutine_ffi_lane_release(lane));
    OK(goroutine_runtime_shutdown(10 * SECOND));
    return 0;
}

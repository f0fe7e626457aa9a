/* Stack overflow: the report names the goroutine and its stack, then the process dies as it would have; every other bad
 * address goes to the handler that the program had installed before. */
#include "check.h"

#if defined(__SANITIZE_ADDRESS__)
/* Its own handlers would come first. */
#ifdef __cplusplus
extern "C"
#endif
    const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0"; }
#endif

enum { PARKED_MAX = 1000, VICTIM = 50 };
#define PARKED scaled(PARKED_MAX, 10)

static GoroutineTicket tickets[PARKED_MAX];
static uint64_t parked, spoilt;
static int where_to_tell;

typedef struct Victim {
    uint64_t id;
    void *low, *high;
} Victim;

/* Deep without an end, in small frames that cannot be optimized away. */
static uint64_t dive(volatile uint64_t *above, uint64_t depth) {
    volatile uint64_t frame[16];
    frame[depth % 16] = depth + *above;
    return depth == UINT64_MAX ? 0 : dive(frame, depth + 1) + frame[(depth + 1) % 16];
}

static bool keep_ticket(GoroutineTicket ticket, void *arg) {
    tickets[U(arg)] = ticket;
    ADD(parked, 1);
    return true;
}
/* Fills a part of its stack, waits, and looks whether it is still what it was. */
static void *neighbour(void *arg) {
    volatile uint64_t pattern[200];
    Victim self;
    int i;
    for (i = 0; i < 200; i++) pattern[i] = U(arg) * 1000 + (uint64_t)i;
    OK(goroutine_park(keep_ticket, arg, GOROUTINE_FOREVER));
    for (i = 0; i < 200; i++) {
        if (pattern[i] != U(arg) * 1000 + (uint64_t)i) ADD(spoilt, 1);
    }
    if (U(arg) == VICTIM) {
        volatile uint64_t top = 1;
        self.id = goroutine_id(goroutine_current());
        OK(goroutine_stack_bounds(&self.low, &self.high));
        CHECK(write(where_to_tell, &self, sizeof self) == (ssize_t)sizeof self);
        return P(dive(&top, 1));
    }
    ADD(parked, 1);
    return NULL;
}

static void overflow_one(void *arg) {
    GoroutineSpawn spawn;
    const char *name = (const char *)arg;
    uint64_t i;
    setenv("GOROUTINE_WORKERS", "2", 1);
    OK(goroutine_runtime_start(NULL)); /* as the environment says: so the report names a variable */
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(neighbour);
    for (i = 0; i < PARKED; i++) {
        spawn.int_args[0] = i;
        spawn.name = i == VICTIM ? name : i % 2 != 0 ? "another" : NULL;
        OK(goroutine_spawn_with(&spawn, NULL));
    }
    while (GET(parked) != PARKED) goroutine_yield();
    goroutine_ready(tickets[VICTIM], 0);
    thread_sleep(60 * SECOND);
}

/* As overflow_one, but the program's own handler is there: it lets the neighbours look at their stacks. */
static void inspect(int signal) {
    uint64_t i, end = now_ns() + 10 * SECOND;
    (void)signal;
    SET(parked, 0);
    for (i = 0; i < PARKED; i++) {
        if (i != VICTIM) goroutine_ready(tickets[i], 0);
    }
    while (GET(parked) != PARKED - 1 && now_ns() < end) { /* the other worker runs them */
    }
    _exit(GET(parked) == PARKED - 1 && GET(spoilt) == 0 ? 43 : 44);
}
static void overflow_and_inspect(void *arg) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = inspect;
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGSEGV, &action, NULL);
    overflow_one(arg);
}

static void report_names_it(const char *name) {
    static Child child;
    char expected[200];
    int ends[2];
    Victim victim;
    const char *again;
    CHECK(pipe(ends) == 0);
    where_to_tell = ends[1];
    run_child(overflow_one, (void *)(uintptr_t)name, &child);
    CHECK(read(ends[0], &victim, sizeof victim) == (ssize_t)sizeof victim);
    close(ends[0]);
    close(ends[1]);
    if (name != NULL) snprintf(expected, sizeof expected, "stack overflow: goroutine %" PRIu64 " \"%s\", stack 0x%llx-0x%llx ", victim.id,
                               name, (unsigned long long)U(victim.low), (unsigned long long)U(victim.high));
    else snprintf(expected, sizeof expected, "stack overflow: goroutine %" PRIu64 ", stack 0x%llx-0x%llx ", victim.id,
                  (unsigned long long)U(victim.low), (unsigned long long)U(victim.high));
    if (child.signal != SIGSEGV || strstr(child.text, expected) == NULL) {
        fprintf(stderr, "signal %d, status %d, expected: %s\n%s", child.signal, child.status, expected, child.text);
        _exit(1);
    }
    again = strstr(child.text, "stack overflow");
    CHECK(strstr(again + 1, "stack overflow") == NULL); /* once */
    CHECK(strstr(child.text, "fault address") != NULL);
    CHECK(strstr(child.text, " (more: stack_bytes, GOROUTINE_STACK_BYTES), spawned at 0x") != NULL);
    CHECK(strstr(child.text, "another") == NULL);
}

/* ---- A wild pointer. ---- */
static void *const WILD = (void *)0x1238; /* no memory, no stack */
static void *touch(void *arg) {
    *(volatile uint64_t *)arg = 1;
    return arg;
}
static void own_handler(int signal, siginfo_t *info, void *context) {
    const char said[] = "own handler\n";
    (void)context;
    if (signal == SIGSEGV && info->si_addr == WILD && write(where_to_tell, said, sizeof said - 1) > 0) _exit(42);
    _exit(41);
}
static void plain_handler(int signal) { _exit(signal == SIGSEGV ? 42 : 41); }
static void install(bool with_information) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    if (with_information) {
        action.sa_sigaction = own_handler;
        action.sa_flags = SA_SIGINFO;
    } else {
        action.sa_handler = plain_handler;
    }
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
}
static void wild_on_thread(void *arg) {
    install(true);
    start_workers(1);
    touch(arg);
}
static void wild_on_goroutine(void *arg) {
    install(true);
    start_workers(1);
    run_goroutine(touch, arg);
}
static void wild_on_goroutine_plain(void *arg) {
    install(false);
    start_workers(1);
    run_goroutine(touch, arg);
}
static void wild_without_handler(void *arg) {
    start_workers(1);
    run_goroutine(touch, arg);
}
static void wild_after_shutdown(void *arg) {
    install(true);
    start_workers(1);
    stop();
    touch(arg);
}
static void wild_under_other_runtime(void *arg) {
    install(true);
    start_workers(1);
    stop();
    start_workers(2);
    run_goroutine(touch, arg);
}
static void told_by_handler(const char *what, void (*f)(void *)) {
    char text[100] = "";
    int ends[2];
    CHECK(pipe(ends) == 0);
    where_to_tell = ends[1];
    expect_child(what, f, WILD, 0, 42, NULL);
    CHECK(read(ends[0], text, sizeof text - 1) > 0 && strcmp(text, "own handler\n") == 0);
    close(ends[0]);
    close(ends[1]);
}

/* ---- Handlers are installed only if wanted, and go away. ---- */
static bool is_default(int signal) {
    struct sigaction now;
    CHECK(sigaction(signal, NULL, &now) == 0);
    return (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_DFL;
}
static void no_handlers(void *arg) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 1;
    config.flags = GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS;
    CHECK(is_default(SIGSEGV) && is_default(SIGBUS));
    OK(goroutine_runtime_start(&config));
    CHECK(is_default(SIGSEGV) && is_default(SIGBUS));
    stop();
    if (arg != NULL) {
        start_workers(1);
        CHECK(!is_default(SIGSEGV) && !is_default(SIGBUS));
        stop();
        CHECK(is_default(SIGSEGV) && is_default(SIGBUS)); /* as before */
    } else {
        setenv("GOROUTINE_NO_SIGNAL_HANDLERS", "1", 1);
        OK(goroutine_runtime_start(NULL));
        CHECK(is_default(SIGSEGV) && is_default(SIGBUS));
        stop();
    }
}

/* A big frame that the compiler probes, on a stack of its own size, and one that fits. */
static void *deep_but_fits(void *arg) {
    volatile char room[700 * 1024];
    size_t i;
    for (i = 0; i < sizeof room; i += 1024) room[i] = (char)i;
    return room[1024] == 0 ? arg : NULL;
}
static void big_stack(void *arg) {
    GoroutineSpawn spawn;
    GoroutinePromise *promise = NULL;
    void *value = NULL;
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(deep_but_fits);
    spawn.stack_bytes = 1 << 20;
    spawn.int_args[0] = U(arg);
    OK(goroutine_spawn_with(&spawn, &promise));
    OK(goroutine_promise_await_take(promise, 10 * SECOND, &value));
    CHECK(value == arg);
    stop();
}

int main(void) {
    report_names_it(NULL);
    report_names_it("recursion");
    {
        int ends[2];
        CHECK(pipe(ends) == 0);
        where_to_tell = ends[1];
        expect_child("neighbours are whole", overflow_and_inspect, NULL, 0, 43, "stack overflow: goroutine ");
    }
    expect_child("no handlers", no_handlers, P(1), 0, 0, NULL);
    expect_child("no handlers by the environment", no_handlers, NULL, 0, 0, NULL);
    expect_child("big stack", big_stack, P(77), 0, 0, NULL);
    if (is_slow() && !THREADS_SANITIZED) { /* valgrind counts each of the following as an error of the program, which it is */
        fprintf(stderr, "skipped: wild pointers\n");
        return 0;
    }
    told_by_handler("wild pointer on a thread", wild_on_thread);
    told_by_handler("wild pointer on a goroutine", wild_on_goroutine);
    told_by_handler("wild pointer after the shutdown", wild_after_shutdown);
    told_by_handler("wild pointer in the second runtime", wild_under_other_runtime);
    expect_child("wild pointer, handler without information", wild_on_goroutine_plain, WILD, 0, 42, NULL);
    expect_child("wild pointer, no handler", wild_without_handler, WILD, SIGSEGV, 0, NULL);
    return 0;
}

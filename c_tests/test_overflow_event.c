/* sanitizer: handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0 */
/* A stack overflow that the language hears of: the goroutines that overflow end, or go on where the callback says, and everything else goes on.
 * Where it would not be safe it is the report and the signal, as without a callback. (Many at a time: test_overflow_storm.c.) */
#include "overflow.h"
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static uint64_t events, unhandled_count;

static void start_with(GoroutineStackOverflowFn f, void *arg, uint32_t flags, uint64_t stack_bytes_max) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 2;
    config.flags = flags;
    config.stack_overflow = f;
    config.stack_overflow_arg = arg;
    config.stack_bytes_max = stack_bytes_max;
    OK(goroutine_runtime_start(&config));
}

/* ---- What a callback sees. ---- */
static void count_event(Goroutine *g, void *fault_address, GoroutineContext *at, void *arg) {
    volatile char room[11000]; /* of the reserve, whose end this frame is near */
    void *low = at->stack_base;
    size_t i;
    CHECK(arg == &events);
    CHECK(g == goroutine_current() && goroutine_id(g) != 0);
    for (i = 0; i < sizeof room; i += 512) room[i] = (char)i;
    CHECK((char *)room > (char *)low - GOROUTINE_OVERFLOW_RESERVE && (char *)room + sizeof room < (char *)low);
    CHECK((char *)fault_address < (char *)low && (char *)fault_address >= (char *)at->guard_page);
    CHECK((char *)at->stack_top - (char *)low == (ptrdiff_t)at->stack_size);
    CHECK(at->rip != 0 && at->rsp != 0);
    ADD(events, 1);
}
/* ---- Bound goroutines, and those that nobody awaits. ---- */
static void count_unhandled(const Goroutine *g, GoroutineStatus status, void *reason, void *arg) {
    CHECK(g != NULL && status == GOROUTINE_ESTACKOVERFLOW && reason == NULL && arg == NULL);
    ADD(unhandled_count, 1);
}
static void *bound(void *arg) {
    CHECK(execute_ffi_call(NULL, CODE(good), arg) != NULL || arg == NULL);
    return in_c(arg);
}
static void others(void) {
    GoroutineConfig config;
    GoroutinePromise *promise;
    void *value;
    goroutine_config_init(&config);
    config.workers = 1;
    config.flags = GOROUTINE_CONFIG_OWN_CODE;
    config.stack_overflow = count_event;
    config.stack_overflow_arg = &events;
    config.unhandled = count_unhandled;
    OK(goroutine_runtime_start(&config));
    promise = goroutine_spawn(bound, NULL);
    CHECK_EQ(goroutine_promise_await_take(promise, 30 * SECOND, &value), GOROUTINE_ESTACKOVERFLOW);
    OK(goroutine_go(in_c, NULL));
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(GET(unhandled_count), 1);
    stop();
}

/* ---- Execution resumes where the callback says, and the reserve is whole again. ---- */
typedef struct Resume {
    GoroutineContext at;
    GoroutineFn f;
    uint64_t caught;
} Resume;
static Resume *resume_of_goroutine(void) { return *(Resume **)(void *)((char *)goroutine_current() + GOROUTINE_OFFSET_USER); }
static void resume(Goroutine *g, void *fault_address, GoroutineContext *at, void *arg) {
    (void)g;
    (void)fault_address;
    (void)arg;
    resume_of_goroutine()->caught++;
    *at = resume_of_goroutine()->at;
}
static void *resumes(void *arg) {
    Resume *self = (Resume *)arg;
    void *low, *high, *low_again, *high_again;
    *(Resume **)(void *)((char *)goroutine_current() + GOROUTINE_OFFSET_USER) = self;
    OK(goroutine_stack_bounds(&low, &high));
    save_context(&self->at); /* and again after each overflow */
    OK(goroutine_stack_bounds(&low_again, &high_again));
    CHECK(low == low_again && high == high_again);
    if (self->caught == 20) return arg;
    goroutine_yield();
    self->f(arg);
    CHECK(!"reached");
    return NULL;
}
static void resume_all(void) {
    GoroutineFn const bad[] = {in_c, emitted, emitted_checked, on_segment};
    static Resume all[40];
    GoroutinePromise *promises[40];
    uint64_t i;
    start_with(resume, NULL, GOROUTINE_CONFIG_OWN_CODE, 1 << 20);
    for (i = 0; i < 40; i++) {
        all[i].f = bad[i % 4];
        CHECK((promises[i] = goroutine_spawn(resumes, &all[i])) != NULL);
    }
    for (i = 0; i < 40; i++) {
        void *value = NULL;
        OK(goroutine_promise_await_take(promises[i], 60 * SECOND, &value));
        CHECK(value == &all[i]);
        CHECK_EQ(all[i].caught, 20);
    }
    stop();
}

/* ---- Not where it would not be safe. ---- */
static void *callback_in_c(void *arg) { return goroutine_callback_run(in_c, arg); }
static void *under_c(void *arg) { return goroutine_ffi_call_leaf(CODE(callback_in_c), arg); }
static void overflows_too(Goroutine *g, void *fault_address, GoroutineContext *at, void *arg) {
    (void)g;
    (void)fault_address;
    (void)at;
    in_c(arg);
}
/* A function of the library is what overflows. */
RUNS_OUT static uint64_t to_the_very_edge(char *low, volatile uint64_t *above, uint64_t depth) {
    volatile uint64_t frame[4];
    frame[depth % 4] = *above + depth;
    if ((char *)(uintptr_t)frame - low < 200) return (uint64_t)goroutine_dump(-1);
    return to_the_very_edge(low, frame, depth + 1) + frame[depth % 4];
}
RUNS_OUT static void *in_the_library(void *arg) {
    volatile uint64_t top = U(arg);
    void *low, *high;
    OK(goroutine_stack_bounds(&low, &high));
    CHECK_EQ(goroutine_dump(-1), GOROUTINE_EBADF); /* or it is the linker, which looks for it, that overflows */
    return P(to_the_very_edge((char *)low, &top, 1));
}
/* The kernel refuses to open the reserve, whichever way guards are made. */
static void *without_reserve(void *arg) {
    enum { GUARD_REMOVE = 103 };
#define FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
    struct sock_filter refuse[] = {
        FIELD(nr),
        UNLESS(SYS_madvise, 3),
        FIELD(args[2]),
        UNLESS(GUARD_REMOVE, 7),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
        UNLESS(SYS_mprotect, 5),
        FIELD(args[1]),
        UNLESS(GOROUTINE_OVERFLOW_RESERVE, 3),
        FIELD(args[2]),
        UNLESS(PROT_READ | PROT_WRITE, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter;
    filter.len = sizeof refuse / sizeof *refuse;
    filter.filter = refuse;
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    return in_c(arg);
}
typedef struct Case {
    GoroutineFn f;
    GoroutineStackOverflowFn callback;
    uint32_t flags;
} Case;
static void run_case(void *arg) {
    Case *c = (Case *)arg;
    start_with(c->callback, &events, c->flags, 0);
    run_goroutine(c->f, NULL);
}
/* With a line that says why the callback was not called; NULL: with none. */
static void reported(const char *what, GoroutineFn f, GoroutineStackOverflowFn callback, uint32_t flags, const char *why) {
    static Child child;
    const char *said;
    Case c;
    c.f = f;
    c.callback = callback;
    c.flags = flags;
    run_child(run_case, &c, &child);
    said = strstr(child.text, "\ngoroutine: stack_overflow was not called: ");
    if (said != NULL) said++;
    if (child.signal == SIGSEGV && strstr(child.text, "stack overflow: goroutine ") != NULL && strstr(child.text, " (more: stack_bytes), ") != NULL &&
        (why == NULL ? said == NULL : said != NULL && strstr(said, why) != NULL && strstr(said, why) < strchr(said, '\n'))) return;
    fprintf(stderr, "%s: signal %d; \"%s\" expected in:\n%s", what, child.signal, why == NULL ? "(no reason)" : why, child.text);
    _exit(1);
}

static void refused(void) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.stack_overflow = count_event;
    config.flags = GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS;
    CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_EINVAL);
}

int main(void) {
    if (is_slow() && !SANITIZED) {
        fprintf(stderr, "skipped: frames that are given up, and faults (valgrind counts them)\n");
        return 77;
    }
    emitted = FN(emit_recursion(false));
    emitted_checked = FN(emit_recursion(true));
    reported("in a libc function", in_libc, count_event, GOROUTINE_CONFIG_OWN_CODE, " is in a shared object's code, which may hold a lock");
    reported("in a libc function, unregistered", in_libc, count_event, 0, " is in a shared object's code, which may hold a lock");
    if (dlsym(RTLD_DEFAULT, "goroutine_dump") != NULL) { /* in a static one it is the program's code */
        reported("in the library", in_the_library, count_event, GOROUTINE_CONFIG_OWN_CODE, " is in libgoroutine's code, which may hold a lock");
    }
    reported("whose code it is, nobody said", in_c, count_event, 0,
             " is in code that is not registered (goroutine_code_register, GOROUTINE_CONFIG_OWN_CODE)");
    reported("emitted code that nobody registered", emitted, count_event, 0, " is in code that is not registered (");
    reported("no callback", in_c, NULL, GOROUTINE_CONFIG_OWN_CODE, NULL);
    reported("C frames are live", under_c, count_event, GOROUTINE_CONFIG_OWN_CODE, "C frames are live (");
    reported("the callback itself", in_c, overflows_too, GOROUTINE_CONFIG_OWN_CODE, "the goroutine's overflow before is not over");
    if (!SANITIZED || THREADS_SANITIZED) reported("no reserve", without_reserve, count_event, GOROUTINE_CONFIG_OWN_CODE, "the kernel did not give its reserve");
    refused();
    others();
    resume_all();
    return 0;
}

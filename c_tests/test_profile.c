/* Profiling signals on the library's threads (`signals_open`): as fast as the kernel sends them, while goroutines spawn, switch, park, call C, and
 * emitted code stores below its stack pointer. The handler sees the goroutine that it interrupted. */
#include "check.h"
#include "emit.h"

enum { CASES = 4, BELOW = 2048 };

static uint64_t samples, of_goroutines, on_a_stack, wrong, may_end, rounds[CASES];
static uintptr_t emitted_at, emitted_end;
static uint64_t in_emitted;

/* Async-signal-safe: goroutine_current reads a word of the thread's. Which goroutine it is, its `user` words say. */
static void on_sample(int signal, siginfo_t *info, void *context) {
    const ucontext_t *at = (const ucontext_t *)context;
    uintptr_t rip = (uintptr_t)at->uc_mcontext.gregs[REG_RIP], rsp = (uintptr_t)at->uc_mcontext.gregs[REG_RSP];
    Goroutine *g = goroutine_current();
    char here;
    (void)signal;
    (void)info;
    __atomic_add_fetch(&samples, 1, __ATOMIC_RELAXED);
    if (g == NULL) return;
    __atomic_add_fetch(&of_goroutines, 1, __ATOMIC_RELAXED);
    /* Stacks of 256 KiB lie at multiples of that, with their goroutine at the top. */
    if (U(&here) >> 18 == U(g) >> 18) __atomic_add_fetch(&on_a_stack, 1, __ATOMIC_RELAXED);
    if (rip >= emitted_at && rip < emitted_end) {
        uint64_t which = *(uint64_t *)((char *)g + GOROUTINE_OFFSET_USER);
        __atomic_add_fetch(&in_emitted, 1, __ATOMIC_RELAXED);
        if (rsp >> 18 != U(g) >> 18 || which != 3) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    }
}

static void *identity(void *arg) { return arg; }
static void *in_c(void *arg) {
    char room[3000];
    memset(room, 7, sizeof room);
    __asm__ volatile("" ::"r"(room) : "memory");
    return arg;
}
static void *body(void *which) {
    uint64_t n = 0;
    void *value;
    while (!GET(may_end)) {
        switch (U(which)) {
        case 0: goroutine_yield(); break;
        case 1: OK(goroutine_promise_await_take(goroutine_spawn(identity, P(n)), GOROUTINE_FOREVER, &value)); CHECK(value == P(n)); break;
        case 2:
            CHECK(goroutine_ffi_call_leaf(CODE(in_c), which) == which);
            if (n % 64 == 0) goroutine_yield();
            break;
        default:
            CHECK_EQ(U(FN(emitted_at)(P(n))), n); /* what it stored below rsp is still there */
            goroutine_yield();
        }
        n++;
    }
    ADD(rounds[U(which)], n);
    return NULL;
}

/* Fills BELOW bytes under rsp with rdi, 200 times, each time reads all of them back, and returns what they were. */
static void emit_below(void) {
    Emit e = emit_begin(4096);
    EMIT(&e, "\xB9\xC8\x00\x00\x00");                 /*      mov ecx, 200 */
    EMIT(&e, "\x48\xC7\xC2\x00\xF8\xFF\xFF");         /* a:   mov rdx, -2048 */
    EMIT(&e, "\x48\x89\x3C\x14");                     /* b:   mov [rsp + rdx], rdi */
    EMIT(&e, "\x48\x83\xC2\x08");                     /*      add rdx, 8 */
    EMIT(&e, "\x75\xF6");                             /*      jnz b */
    EMIT(&e, "\x48\xC7\xC2\x00\xF8\xFF\xFF");         /*      mov rdx, -2048 */
    EMIT(&e, "\x48\x8B\x04\x14");                     /* c:   mov rax, [rsp + rdx] */
    EMIT(&e, "\x48\x39\xF8");                         /*      cmp rax, rdi */
    EMIT(&e, "\x75\x0B");                             /*      jne out */
    EMIT(&e, "\x48\x83\xC2\x08");                     /*      add rdx, 8 */
    EMIT(&e, "\x75\xF1");                             /*      jnz c */
    EMIT(&e, "\xFF\xC9");                             /*      dec ecx */
    EMIT(&e, "\x75\xD5");                             /*      jnz a */
    EMIT(&e, "\xC3\xC3");                             /*      ret; out: ret */
    emitted_at = (uintptr_t)emit_end(&e);
    emitted_end = emitted_at + e.used;
}

/* A timer for each thread of the library, that interrupts it 10,000 times a second. (ITIMER_PROF gives one signal per tick of the kernel.) */
static __thread timer_t timer;
static void thread_starts(void *unused) {
    struct sigevent event;
    struct itimerspec every = {{0, 100000}, {0, 100000}};
    (void)unused;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event._sigev_un._tid = thread_id();
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_EQ(timer_settime(timer, 0, &every, NULL), 0);
}
static void thread_stops(void *unused) {
    (void)unused;
    CHECK_EQ(timer_delete(timer), 0);
}

static void profiled(void) {
    enum { EACH = 4 };
    GoroutineConfig config;
    GoroutinePromise *p[CASES * EACH];
    GoroutineSpawn spawn;
    struct sigaction action;
    struct timespec spent;
    unsigned i;
    uint64_t end = now_ns() + 60 * SECOND;
    goroutine_config_init(&config);
    config.workers = 2;
    config.signals_open = 1ull << (SIGPROF - 1);
    config.thread_start = thread_starts;
    config.thread_stop = thread_stops;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_sample;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    CHECK_EQ(sigaction(SIGPROF, &action, NULL), 0);
    CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_EINVAL); /* it would run on goroutines' stacks */
    action.sa_flags |= SA_ONSTACK;
    CHECK_EQ(sigaction(SIGPROF, &action, NULL), 0);
    OK(goroutine_runtime_start(&config));
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(body);
    for (i = 0; i < CASES * EACH; i++) {
        spawn.int_args[0] = spawn.user[0] = i % CASES;
        OK(goroutine_spawn_with(&spawn, &p[i]));
    }
    do {
        thread_sleep(20 * MS);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    } while ((GET(samples) < scaled(20000, 20) || (!THREADS_SANITIZED && GET(in_emitted) < 20)) && now_ns() < end);
    SET(may_end, 1);
    for (i = 0; i < CASES * EACH; i++) OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
    fprintf(stderr, "%" PRIu64 " samples in %ld.%02ld CPU s, %" PRIu64 " of goroutines, %" PRIu64 " in emitted code; rounds %" PRIu64 " %" PRIu64 " %" PRIu64
            " %" PRIu64 "\n", GET(samples), (long)spent.tv_sec, spent.tv_nsec / 10000000, GET(of_goroutines), GET(in_emitted), rounds[0], rounds[1], rounds[2], rounds[3]);
    CHECK(GET(samples) > 1000 / (is_slow() ? 20 : 1));
    CHECK_EQ(GET(wrong), 0);
    if (!THREADS_SANITIZED) { /* it calls the handler itself, when next it is called, and on that stack */
        CHECK(GET(of_goroutines) > GET(samples) / 4);
        CHECK(GET(in_emitted) >= 20);
        CHECK_EQ(GET(on_a_stack), 0);
    }
    stop();
}

int main(void) {
    emit_below();
    profiled();
    return 0;
}

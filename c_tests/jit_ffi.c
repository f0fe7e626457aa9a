/* The inline sequence of docs/jit.md, emitted: 1,000,000 calls of a C function with integer, floating-point and stack arguments on 64
 * bound goroutines, each always on one thread of its own; the leaf variant; 20,000 goroutines with one call each, whatever is to be
 * done when all threads are taken; callbacks into emitted code, 50 deep. */
#include "emit.h"
#include "proc.h"
#include <stddef.h>

typedef struct Job {
    uint64_t count;       /* calls to make */
    uint64_t ints[7];     /* rsi rdx rcx r8 r9, then two on the stack; rdi is the job */
    double doubles[2];    /* xmm0, xmm1 */
    void *function;
    void *callback;       /* emitted: what C calls back */
    uint64_t result;
    /* of C */
    pthread_t thread;
    uint64_t calls, migrations;
    int depth;
    bool bound;
} Job;

/* Each argument once, so that a lost or swapped one changes the sum. */
static uint64_t sum(const uint64_t *n, double x, double y) {
    uint64_t s = 0, i;
    for (i = 0; i < 7; i++) s = s * 31 + n[i];
    return s * 31 + (uint64_t)x * 1009 + (uint64_t)y;
}
/* Bound goroutines meet at their first call, so that all exist at the same time: C may wait, the thread is its own. */
static uint64_t arrived, expected;
static uint64_t callee(Job *job, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, double x, double y, uint64_t g,
                       uint64_t h) {
    uint64_t n[7];
    Goroutine *current = goroutine_current();
    CHECK(U(__builtin_frame_address(0)) % 16 == 0);
    CHECK(*(uint64_t *)((char *)current + GOROUTINE_OFFSET_FOREIGN_SP) != 0);
    n[0] = b, n[1] = c, n[2] = d, n[3] = e, n[4] = f, n[5] = g, n[6] = h;
    if (job->calls++ == 0) {
        job->thread = pthread_self();
        if (job->bound) ADD(arrived, 1);
        while (GET(arrived) < expected) thread_sleep(100 * US);
    }
    if (!pthread_equal(job->thread, pthread_self())) {
        CHECK(!job->bound);
        job->thread = pthread_self();
        job->migrations++;
    }
    CHECK_EQ(is_goroutine_ffi_bound(current), job->bound);
    return sum(n, x, y);
}

/* void *f(Job *job): job->count inline calls of job->function, each checked by C; gives job->result, the last result.
 * With rsp at 8 mod 16 wherever it calls, if `odd`. */
static GoroutineFn emit_caller(bool bound, bool odd, bool yields) {
    Emit e = emit_begin(4096);
    size_t loop, slow, back, poll, failed, jump;
    unsigned i;
    static const unsigned REGISTERS[5] = {RSI, RDX, RCX, R8, R9};
    EMIT(&e, "\x53\x41\x54\x41\x55\x41\x56");     /* push rbx; push r12; push r13; push r14: rsp is 8 mod 16 */
    emit_move_stack(&e, odd ? -16 : -8);
    EMIT(&e, "\x49\x89\xFC");                     /* mov r12, rdi */
    EMIT(&e, "\x64\x48\x8B\x1C\x25");             /* mov rbx, fs:[current] */
    emit_u32(&e, (uint32_t)goroutine_tls_offset());
    emit_load(&e, R14, R12, offsetof(Job, count));
    loop = e.used;
    EMIT(&e, "\x4C\x89\xE7");                     /* mov rdi, r12 */
    for (i = 0; i < 5; i++) emit_load(&e, REGISTERS[i], R12, (int32_t)(offsetof(Job, ints) + 8 * i));
    EMIT(&e, "\xF2\x41\x0F\x10\x84\x24");         /* movsd xmm0, [r12 + disp32] */
    emit_u32(&e, offsetof(Job, doubles));
    EMIT(&e, "\xF2\x41\x0F\x10\x8C\x24");         /* movsd xmm1, [r12 + disp32] */
    emit_u32(&e, offsetof(Job, doubles) + 8);
    emit_load(&e, RAX, R12, offsetof(Job, function));
    if (bound) {
        EMIT(&e, "\xF6\x43\x14\x01");             /* test byte [rbx + 20], 1 */
    } else {
        EMIT(&e, "\x48\x83\x7B\x18\x00");         /* cmp qword [rbx + 24], 0 */
    }
    slow = emit_jump_if(&e, EQUAL);
    EMIT(&e, "\x49\x89\xE5");                     /* mov r13, rsp */
    EMIT(&e, "\x48\x89\x63\x40");                 /* mov [rbx + 64], rsp */
    EMIT(&e, "\x48\x8B\x63\x18");                 /* mov rsp, [rbx + 24] */
    EMIT(&e, "\x41\xFF\xB4\x24");                 /* push qword [r12 + disp32]: the last argument first */
    emit_u32(&e, offsetof(Job, ints) + 48);
    EMIT(&e, "\x41\xFF\xB4\x24");
    emit_u32(&e, offsetof(Job, ints) + 40);
    EMIT(&e, "\xFF\xD0");                         /* call rax */
    EMIT(&e, "\x4C\x89\xEC");                     /* mov rsp, r13 */
    EMIT(&e, "\x48\xC7\x43\x40\x00\x00\x00\x00"); /* mov qword [rbx + 64], 0 */
    EMIT(&e, "\x83\x7B\x10\x00");                 /* cmp dword [rbx + 16], 0 */
    poll = emit_jump_if(&e, NOT_EQUAL);
    back = e.used;
    emit_store(&e, RAX, R12, offsetof(Job, result));
    if (yields) {
        EMIT(&e, "\x41\xF6\xC6\x07");             /* test r14b, 7 */
        jump = emit_jump_if(&e, NOT_EQUAL);
        emit_call(&e, CODE(goroutine_yield));
        emit_land(&e, jump);
    }
    EMIT(&e, "\x49\xFF\xCE");                     /* dec r14 */
    emit_jump_back_if(&e, NOT_EQUAL, loop);
    emit_load(&e, RAX, R12, offsetof(Job, result));
    emit_move_stack(&e, odd ? 16 : 8);
    EMIT(&e, "\x41\x5E\x41\x5D\x41\x5C\x5B\xC3"); /* pop r14; pop r13; pop r12; pop rbx; ret */
    emit_land(&e, slow);                          /* the arguments are loaded anew */
    emit_call(&e, bound ? CODE(goroutine_ffi_bind) : CODE(goroutine_ffi_prepare));
    EMIT(&e, "\x85\xC0");                         /* test eax, eax */
    failed = emit_jump_if(&e, NOT_EQUAL);
    EMIT(&e, "\xE9");
    emit_u32(&e, (uint32_t)(int32_t)((int64_t)loop - (int64_t)(e.used + 4)));
    emit_land(&e, failed);
    EMIT(&e, "\x0F\x0B");                         /* ud2 */
    emit_land(&e, poll);
    EMIT(&e, "\x49\x89\xC5");                     /* mov r13, rax */
    emit_call(&e, CODE(goroutine_safepoint));
    EMIT(&e, "\x4C\x89\xE8\xE9");                 /* mov rax, r13; jmp back */
    emit_u32(&e, (uint32_t)(int32_t)((int64_t)back - (int64_t)(e.used + 4)));
    return FN(emit_end(&e));
}
static Job job_of(uint64_t count, unsigned seed, bool bound) {
    Job job;
    uint64_t random = random_seed(3, seed);
    unsigned i;
    memset(&job, 0, sizeof job);
    job.count = count;
    for (i = 0; i < 7; i++) job.ints[i] = random_next(&random);
    job.doubles[0] = (double)(seed + 1);
    job.doubles[1] = (double)(seed * 3 + 2);
    job.function = CODE(callee);
    job.bound = bound;
    return job;
}
static void run_jobs(Job *jobs, unsigned n, const GoroutineFn *functions, unsigned kinds) {
    GoroutinePromise *promises[64];
    unsigned i;
    for (i = 0; i < n; i++) CHECK((promises[i] = goroutine_spawn(functions[i % kinds], &jobs[i])) != NULL);
    for (i = 0; i < n; i++) {
        void *value = NULL;
        OK(goroutine_promise_await_take(promises[i], 100 * SECOND, &value));
        CHECK_EQ(U(value), sum(jobs[i].ints, jobs[i].doubles[0], jobs[i].doubles[1]));
        CHECK_EQ(jobs[i].calls, jobs[i].count);
    }
}

static void test_bound(uint32_t workers) {
    enum { N = 64 };
    static Job jobs[N];
    GoroutineFn functions[4];
    GoroutineStats stats;
    unsigned i, j;
    GoroutineConfig config;
    for (i = 0; i < 4; i++) functions[i] = emit_caller(true, i % 2 != 0, i / 2 != 0);
    goroutine_config_init(&config);
    config.workers = workers;
    config.ffi_threads_idle_ns = 3600 * SECOND; /* those of the first to end are still there after the last */
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < N; i++) jobs[i] = job_of(scaled(1000000, 50) / N, i, true);
    SET(arrived, 0);
    SET(expected, N);
    run_jobs(jobs, N, functions, 4);
    SET(expected, 0);
    for (i = 0; i < N; i++) {
        CHECK_EQ(jobs[i].migrations, 0);
        for (j = 0; j < i; j++) CHECK(!pthread_equal(jobs[i].thread, jobs[j].thread));
    }
    OK(goroutine_runtime_wait(20 * SECOND));
    for (i = 0; i < 100000; i++) { /* the last threads are on their way */
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        if (stats.ffi_bound == 0 && stats.ffi_threads_idle >= N) break;
        thread_sleep(100 * US);
    }
    fprintf(stderr, "%u workers: %d goroutines, %" PRIu64 " bindings, %" PRIu64 " threads, %" PRIu64 " taken, %" PRIu64 " idle\n", workers, N,
            stats.ffi_bindings, stats.threads, stats.ffi_bound, stats.ffi_threads_idle);
    CHECK_EQ(stats.ffi_bound, 0);
    CHECK_EQ(stats.ffi_bindings, N);
    /* They are back in the pool: N threads and one for each worker, and the monitor, and perhaps some made ahead. */
    CHECK(stats.ffi_threads_idle >= N && stats.threads >= N + workers + 1);
    stop();
}

static void test_leaf(uint32_t workers) {
    enum { N = 64 };
    static Job jobs[N];
    GoroutineFn functions[4];
    uint64_t migrations = 0;
    unsigned i;
    for (i = 0; i < 4; i++) functions[i] = emit_caller(false, i % 2 != 0, i / 2 != 0);
    start_workers(workers);
    for (i = 0; i < N; i++) jobs[i] = job_of(scaled(20000, 50), i, false);
    run_jobs(jobs, N, functions, 4);
    for (i = 0; i < N; i++) migrations += jobs[i].migrations;
    fprintf(stderr, "%u workers: leaf calls, %" PRIu64 " migrations\n", workers, migrations);
    stop();
}

/* ---- many short ones: each binds, calls once, and ends ---- */
static uint64_t short_calls, short_refused, short_ends;
static void *short_callee(void *arg) {
    ADD(short_calls, 1);
    if (U(arg) % 64 == 0) thread_sleep(1 * MS); /* so that threads pile up */
    return P(U(arg) + 1);
}
static void on_refused(Goroutine *g, GoroutineStatus status, void *arg) {
    CHECK(g == goroutine_current() && arg == &short_refused);
    CHECK_EQ(status, GOROUTINE_EFFITHREADS);
    ADD(short_refused, 1);
}
static void on_short_end(Goroutine *g, void *arg) {
    (void)g;
    (void)arg;
    ADD(short_ends, 1);
}
/* void *f(void *arg): short_callee(arg), in line if it is bound, else through migrate_to_ffi_thread; gives what that gives. */
static GoroutineFn emit_short(void) {
    Emit e = emit_begin(4096);
    size_t slow, poll, back;
    EMIT(&e, "\x53\x41\x55\x55");                 /* push rbx; push r13; push rbp: rsp is 0 mod 16 */
    EMIT(&e, "\x64\x48\x8B\x1C\x25");             /* mov rbx, fs:[current] */
    emit_u32(&e, (uint32_t)goroutine_tls_offset());
    EMIT(&e, "\xF6\x43\x14\x01");                 /* test byte [rbx + 20], 1 */
    slow = emit_jump_if(&e, EQUAL);
    emit_constant(&e, RAX, U(CODE(short_callee)));
    EMIT(&e, "\x49\x89\xE5");                     /* mov r13, rsp */
    EMIT(&e, "\x48\x89\x63\x40");                 /* mov [rbx + 64], rsp */
    EMIT(&e, "\x48\x8B\x63\x18");                 /* mov rsp, [rbx + 24] */
    EMIT(&e, "\xFF\xD0");                         /* call rax */
    EMIT(&e, "\x4C\x89\xEC");                     /* mov rsp, r13 */
    EMIT(&e, "\x48\xC7\x43\x40\x00\x00\x00\x00"); /* mov qword [rbx + 64], 0 */
    EMIT(&e, "\x83\x7B\x10\x00");                 /* cmp dword [rbx + 16], 0 */
    poll = emit_jump_if(&e, NOT_EQUAL);
    back = e.used;
    EMIT(&e, "\x5D\x41\x5D\x5B\xC3");             /* pop rbp; pop r13; pop rbx; ret */
    emit_land(&e, slow);
    EMIT(&e, "\x48\x89\xFA\x48\x89\xDF");         /* mov rdx, rdi; mov rdi, rbx */
    emit_constant(&e, RSI, U(CODE(short_callee)));
    emit_call(&e, CODE(migrate_to_ffi_thread));
    EMIT(&e, "\xE9");
    emit_u32(&e, (uint32_t)(int32_t)((int64_t)back - (int64_t)(e.used + 4)));
    emit_land(&e, poll);
    EMIT(&e, "\x49\x89\xC5");                     /* mov r13, rax */
    emit_call(&e, CODE(goroutine_safepoint));
    EMIT(&e, "\x4C\x89\xE8\xE9");                 /* mov rax, r13; jmp back */
    emit_u32(&e, (uint32_t)(int32_t)((int64_t)back - (int64_t)(e.used + 4)));
    return FN(emit_end(&e));
}
static void test_short(uint32_t workers, uint32_t threads, uint32_t policy) {
    GoroutineConfig config;
    GoroutineStats stats;
    GoroutineFn f = emit_short();
    uint64_t n = scaled(20000, 20), most = 0, i, patience;
    short_calls = short_refused = short_ends = 0;
    goroutine_config_init(&config);
    config.workers = workers;
    config.ffi_threads_max = threads;
    config.ffi_exhausted = policy;
    config.ffi_failed = on_refused;
    config.ffi_failed_arg = &short_refused;
    config.goroutine_end = on_short_end;
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < n; i++) OK(goroutine_go(f, P(i)));
    for (patience = 0; GET(short_ends) != n; patience++) {
        uint64_t now = threads_named("gr-ffi-");
        if (now > most) most = now;
        CHECK(patience < 100000);
        thread_sleep(1 * MS);
    }
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    fprintf(stderr, "policy %u, %u workers, %u threads: %" PRIu64 " calls, %" PRIu64 " refused, %" PRIu64 " unbound, most threads %" PRIu64
            " (seen %" PRIu64 ")\n", policy, workers, threads, GET(short_calls), short_refused, GET(short_calls) - stats.ffi_bindings,
            stats.ffi_threads_peak, most);
    CHECK_EQ(GET(short_calls) + short_refused, n); /* none is lost */
    CHECK(policy == GOROUTINE_FFI_FAIL || short_refused == 0);
    CHECK_EQ(stats.ffi_bindings + stats.ffi_refused, n);
    CHECK(policy != GOROUTINE_FFI_WAIT || stats.ffi_refused == 0);
    CHECK(policy != GOROUTINE_FFI_FAIL || stats.ffi_refused == short_refused);
    CHECK(stats.ffi_threads_peak <= threads + workers);
    CHECK(most <= threads);
    stop();
}

/* C -> emitted code -> C, 50 deep, with a sleep at each level. The callback leaves garbage in every callee-saved register. */
static uint64_t descends(Job *job, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, double x, double y, uint64_t g,
                         uint64_t h) {
    uint64_t n[7], kept = random_seed(9, (uint64_t)job->depth), k2 = kept * 3, k3 = kept * 5, k4 = kept * 7, k5 = kept * 11, k6 = kept * 13;
    pthread_t thread = pthread_self();
    n[0] = b, n[1] = c, n[2] = d, n[3] = e, n[4] = f, n[5] = g, n[6] = h;
    job->calls++;
    if (job->depth-- > 0) {
        __asm__ volatile("" : "+r"(kept), "+r"(k2), "+r"(k3), "+r"(k4), "+r"(k5), "+r"(k6));
        goroutine_callback_run(FN(job->callback), job);
        CHECK(k2 == kept * 3 && k3 == kept * 5 && k4 == kept * 7 && k5 == kept * 11 && k6 == kept * 13);
        CHECK(pthread_equal(thread, pthread_self()));
    }
    return sum(n, x, y);
}
/* void *f(Job *job): sleeps, calls the caller (which calls C in line), sleeps, leaves garbage. */
static void *emit_callback(GoroutineFn caller) {
    static const unsigned KEPT[6] = {RBX, RBP, R12, R13, R14, R15};
    Emit e = emit_begin(4096);
    unsigned i;
    EMIT(&e, "\x57");                             /* push rdi */
    EMIT(&e, "\xBF\x10\x27\x00\x00");             /* mov edi, 10000 */
    emit_call(&e, CODE(goroutine_sleep));
    emit_load(&e, RDI, RSP, 0);
    emit_call(&e, CODE(caller));
    for (i = 0; i < 6; i++) emit_constant(&e, KEPT[i], 0xDEADBEEF00000000ull + i);
    emit_call(&e, CODE(goroutine_yield));
    EMIT(&e, "\x58");                             /* pop rax */
    for (i = 0; i < 6; i++) emit_constant(&e, KEPT[i], 0xBADC0DE000000000ull + i);
    emit_return(&e);
    return emit_end(&e);
}
static void test_nested(uint32_t workers) {
    enum { N = 16, DEPTH = 50 };
    static Job jobs[N];
    GoroutineFn functions[4];
    void *callbacks[4];
    unsigned i;
    for (i = 0; i < 4; i++) {
        functions[i] = emit_caller(i % 2 != 0, i / 2 != 0, true);
        callbacks[i] = emit_callback(functions[i]);
    }
    start_workers(workers);
    for (i = 0; i < N; i++) {
        GoroutinePromise *promise;
        jobs[i] = job_of(1, i, false);
        jobs[i].function = CODE(descends);
        jobs[i].callback = callbacks[i % 4];
        jobs[i].depth = DEPTH;
        CHECK((promise = goroutine_spawn(FN(callbacks[i % 4]), &jobs[i])) != NULL);
        goroutine_promise_release(promise);
    }
    OK(goroutine_runtime_wait(60 * SECOND));
    for (i = 0; i < N; i++) CHECK_EQ(jobs[i].calls, DEPTH + 1);
    stop();
}

int main(void) {
    uint32_t workers, policy;
    for (workers = 1; workers <= 2; workers++) {
        test_bound(workers);
        test_leaf(workers);
        test_nested(workers);
    }
    for (policy = GOROUTINE_FFI_WAIT; policy <= GOROUTINE_FFI_FAIL; policy++) {
        test_short(2, 1000, policy);
        test_short(1, 10, policy);
    }
    return 0;
}

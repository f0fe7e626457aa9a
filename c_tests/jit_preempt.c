/* Emitted loops that never park: they poll `preempt` at their back edge, so others get their turn, and a stopped world finds every register of theirs.
 * One that does not poll is counted and named. */
#include "emit.h"
#include <stddef.h>

typedef struct Loop {
    uint64_t quit, turns, marks[6]; /* rbx r12 r13 r14 r15, and (at goroutine_safepoint_full) r11 */
} Loop;

/* void *f(Loop *): counts until quit. rdi = the loop, rbp = the goroutine; marks in registers, checked at the end: the sum comes back. */
static GoroutineFn emit_loop(void *safepoint, bool polls) {
    Emit e = emit_begin(4096);
    static const unsigned MARKED[6] = {RBX, R12, R13, R14, R15, R11};
    size_t loop, poll = 0, out;
    unsigned i;
    EMIT(&e, "\x64\x48\x8B\x2C\x25");              /* mov rbp, fs:[current] */
    emit_u32(&e, (uint32_t)goroutine_tls_offset());
    for (i = 0; i < 6; i++) emit_load(&e, MARKED[i], RDI, (int32_t)(offsetof(Loop, marks) + 8 * i));
    loop = e.used;
    EMIT(&e, "\x48\xFF\x47\x08");                  /* inc qword [rdi + 8] */
    EMIT(&e, "\x48\x83\x3F\x00");                  /* cmp qword [rdi], 0 */
    out = emit_jump_if(&e, NOT_EQUAL);
    if (polls) {
        EMIT(&e, "\x83\x7D\x10\x00");              /* cmp dword [rbp + 16], 0 */
        poll = emit_jump_if(&e, NOT_EQUAL);
    }
    EMIT(&e, "\xE9");
    emit_u32(&e, (uint32_t)(int32_t)((int64_t)loop - (int64_t)(e.used + 4)));
    if (polls) {
        emit_land(&e, poll);
        EMIT(&e, "\x57\x57");                      /* push rdi, twice: full keeps it, the other does not */
        if (safepoint == CODE(goroutine_safepoint)) {
            emit_call(&e, safepoint);
        } else {
            EMIT(&e, "\xFF\x14\x25");              /* call [disp32]: no register is free */
            emit_u32(&e, 0x10000);
        }
        EMIT(&e, "\x5F\x5F");                      /* pop rdi */
        EMIT(&e, "\xE9");
        emit_u32(&e, (uint32_t)(int32_t)((int64_t)loop - (int64_t)(e.used + 4)));
    }
    emit_land(&e, out);
    EMIT(&e, "\x48\x89\xD8");                      /* mov rax, rbx */
    EMIT(&e, "\x4C\x01\xE0\x4C\x01\xE8\x4C\x01\xF0\x4C\x01\xF8"); /* add rax, r12 ... r15 */
    if (safepoint != CODE(goroutine_safepoint)) EMIT(&e, "\x4C\x01\xD8"); /* add rax, r11 */
    emit_return(&e);
    return FN(emit_end(&e));
}
static Loop *new_loop(uint64_t seed) {
    Loop *loop = (Loop *)calloc(1, sizeof *loop);
    uint64_t random = random_seed(5, seed);
    unsigned i;
    CHECK(loop != NULL);
    for (i = 0; i < 6; i++) loop->marks[i] = random_next(&random);
    return loop;
}
static uint64_t sum_of(const Loop *loop, unsigned n) {
    uint64_t sum = 0;
    while (n-- > 0) sum += loop->marks[n];
    return sum;
}
static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}

/* One worker, loops that never end: each of them, and everybody else, has its turn because the monitor asks them. */
static void takes_turns(GoroutineFn code, unsigned marks) {
    GoroutinePromise *promises[3];
    Loop *loops[3];
    uint64_t i, round, before;
    start_workers(1);
    for (i = 0; i < 3; i++) {
        loops[i] = new_loop(i);
        CHECK((promises[i] = goroutine_spawn(code, loops[i])) != NULL);
    }
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 3; i++) {
            before = GET(loops[i]->turns);
            while (GET(loops[i]->turns) == before) thread_sleep(1 * MS);
        }
    }
    CHECK(stats().preempted >= 3);
    CHECK_EQ(stats().preempt_ignored, 0);
    for (i = 0; i < 3; i++) SET(loops[i]->quit, 1);
    for (i = 0; i < 3; i++) {
        void *sum = NULL;
        OK(goroutine_promise_await_take(promises[i], 60 * SECOND, &sum));
        CHECK_EQ(U(sum), sum_of(loops[i], marks));
        free(loops[i]);
    }
    stop();
}
/* A loop alone is left alone. */
static void alone(GoroutineFn code) {
    Loop *loop = new_loop(1);
    GoroutinePromise *promise;
    start_workers(1);
    CHECK((promise = goroutine_spawn(code, loop)) != NULL);
    while (GET(loop->turns) == 0) thread_sleep(1 * MS);
    thread_sleep(50 * MS);
    CHECK_EQ(stats().preempted, 0);
    SET(loop->quit, 1);
    OK(goroutine_promise_await_take(promise, 60 * SECOND, NULL));
    free(loop);
    stop();
}

static uint64_t deaf_id;
static void *nothing(void *arg) { return arg; }
static GoroutineFn deaf_code;
/* It jumps there: that code clobbers the registers that C has kept. */
#if defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize("thread")))
#endif
static void *is_deaf(void *arg) {
    SET(deaf_id, goroutine_id(goroutine_current()));
    return deaf_code(arg);
}
/* One that does not poll is counted once, with its id. */
static void deaf(void) {
    Loop *loop = new_loop(1);
    GoroutinePromise *promise, *waits;
    start_workers(1);
    CHECK((promise = goroutine_spawn(is_deaf, loop)) != NULL);
    while (GET(loop->turns) == 0) thread_sleep(1 * MS);
    CHECK((waits = goroutine_spawn(nothing, NULL)) != NULL);
    while (stats().preempt_ignored == 0) thread_sleep(1 * MS);
    CHECK_EQ(stats().preempt_ignored_by, GET(deaf_id));
    thread_sleep(100 * MS);
    CHECK_EQ(stats().preempt_ignored, 1);
    CHECK_EQ(goroutine_promise_await(waits, 0, NULL), GOROUTINE_EAGAIN);
    SET(loop->quit, 1);
    OK(goroutine_promise_await_take(promise, 60 * SECOND, NULL));
    OK(goroutine_promise_await_take(waits, 60 * SECOND, NULL));
    free(loop);
    stop();
}

/* Each loop's marks are found, in its registers and nowhere else. */
typedef struct Look {
    Loop **loops;
    unsigned count, marks, found;
} Look;
static void look(void *arg, const Goroutine *g, const GoroutineContext *r, const void *low, const void *high) {
    Look *l = (Look *)arg;
    unsigned i;
    (void)g;
    CHECK(r != NULL && U(low) <= r->rsp && r->rsp < U(high)); /* (one range each) */
    CHECK(r->stack_base <= low && U(r->stack_top) == U(high));
    for (i = 0; i < l->count; i++) {
        const uint64_t *m = l->loops[i]->marks;
        if (m[0] != r->rbx) continue;
        CHECK(m[1] == r->r12 && m[2] == r->r13 && m[3] == r->r14 && m[4] == r->r15);
        CHECK(U(g) == r->rbp);
        if (l->marks == 6) CHECK_EQ(m[5], r->r11);
        CHECK_EQ(*(const uint64_t *)(uintptr_t)r->rsp, U(l->loops[i])); /* what it pushed last */
        l->found++;
    }
}
static void stands(GoroutineFn code, uint32_t workers, unsigned marks) {
    GoroutinePromise *promises[8];
    Loop *loops[8];
    unsigned i, round, begun;
    uint64_t seen[8];
    Look l;
    start_workers(workers);
    for (i = 0; i < 8; i++) {
        loops[i] = new_loop(i + 10);
        CHECK((promises[i] = goroutine_spawn(code, loops[i])) != NULL);
    }
    for (i = 0; i < 8; i++)
        while (GET(loops[i]->turns) == 0) thread_sleep(1 * MS);
    for (round = 0; round < scaled(300, 30); round++) {
        OK(goroutine_world_stop(20 * SECOND));
        for (i = 0; i < 8; i++) seen[i] = GET(loops[i]->turns);
        l.loops = loops;
        l.count = 8;
        l.marks = marks;
        l.found = 0;
        goroutine_world_for_each(look, &l);
        CHECK_EQ(l.found, 8);
        for (i = 0, begun = 0; i < 8; i++) begun += GET(loops[i]->turns) == seen[i];
        CHECK_EQ(begun, 8);
        goroutine_world_start();
    }
    for (i = 0; i < 8; i++) SET(loops[i]->quit, 1);
    for (i = 0; i < 8; i++) {
        void *sum = NULL;
        OK(goroutine_promise_await_take(promises[i], 60 * SECOND, &sum));
        CHECK_EQ(U(sum), sum_of(loops[i], marks));
        free(loops[i]);
    }
    stop();
}

int main(void) {
    void **table = (void **)mmap(P(0x10000), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    GoroutineFn plain, full;
    CHECK(table == (void **)P(0x10000));
    *table = CODE(goroutine_safepoint_full);
    plain = emit_loop(CODE(goroutine_safepoint), true);
    full = emit_loop(CODE(goroutine_safepoint_full), true);
    deaf_code = emit_loop(CODE(goroutine_safepoint), false);
    takes_turns(plain, 5);
    takes_turns(full, 6);
    alone(plain);
    deaf();
    stands(plain, 2, 5);
    stands(full, 2, 6);
    stands(plain, 8, 5);
    return 0;
}

/* goroutine_spawn_with: every register and every option arrives. The callee is emitted code that stores what it finds. */
#include "emit.h"

enum { STACK_ARGUMENTS = 20 };

typedef struct Seen {
    uint64_t int_args[6];                /* 0 */
    double fp_args[8];                   /* 48 */
    uint64_t kept[6];                    /* 112: rbx rbp r12-r15 */
    uint64_t stack[STACK_ARGUMENTS + 1]; /* 160: [rsp], the return address, first */
    uint64_t rsp;                        /* 328 */
    uint64_t flags;                      /* 336 */
    uint32_t mxcsr, fcw;                 /* 344, 348 */
    uint64_t rax;                        /* 352 */
} Seen;

static Seen seen;

/* void *look(...): stores the register file into `seen`, then returns 4711. */
static void *emit_look(void) {
    static const unsigned ARGUMENTS[6] = {RDI, RSI, RDX, RCX, R8, R9};
    static const unsigned KEPT[6] = {RBX, RBP, R12, R13, R14, R15};
    Emit e = emit_begin(4096);
    int i;
    EMIT(&e, "\x49\x89\xC2");                 /* mov r10, rax */
    EMIT(&e, "\x49\xBB");                     /* mov r11, &seen */
    emit_u64(&e, U(&seen));
    emit_store(&e, R10, R11, 352);
    for (i = 0; i < 6; i++) emit_store(&e, ARGUMENTS[i], R11, i * 8);
    for (i = 0; i < 8; i++) {                 /* movsd [r11 + 48 + 8 i], xmm i */
        EMIT(&e, "\xF2\x41\x0F\x11");
        emit_u8(&e, 0x80 | (unsigned)i << 3 | (R11 & 7));
        emit_u32(&e, 48 + 8 * (uint32_t)i);
    }
    for (i = 0; i < 6; i++) emit_store(&e, KEPT[i], R11, 112 + i * 8);
    for (i = 0; i < STACK_ARGUMENTS + 1; i++) {
        emit_load(&e, RAX, RSP, i * 8);
        emit_store(&e, RAX, R11, 160 + i * 8);
    }
    emit_store(&e, RSP, R11, 328);
    EMIT(&e, "\x9C\x58");                     /* pushfq; pop rax */
    emit_store(&e, RAX, R11, 336);
    EMIT(&e, "\x41\x0F\xAE\x9B\x58\x01\0\0"); /* stmxcsr [r11 + 344] */
    EMIT(&e, "\x41\xD9\xBB\x5C\x01\0\0");     /* fnstcw [r11 + 348] */
    emit_constant(&e, RAX, 4711);
    emit_return(&e);
    return emit_end(&e);
}

static void check_machine_state(void) {
    CHECK_EQ(seen.rsp % 16, 8); /* as after any call */
    CHECK_EQ(seen.mxcsr, 0x1F80);
    CHECK_EQ(seen.fcw & 0xFFFF, 0x37F);
    CHECK_EQ(seen.flags & 0x400, 0); /* the direction flag */
}

static void run(const GoroutineSpawn *spawn, uint64_t value) {
    GoroutinePromise *promise = NULL;
    void *is = NULL;
    memset(&seen, 0xEE, sizeof seen);
    OK(goroutine_spawn_with(spawn, &promise));
    OK(goroutine_promise_await_take(promise, 10 * SECOND, &is));
    CHECK_EQ(U(is), value);
}

static void registers(void *look) {
    uint64_t stack_args[STACK_ARGUMENTS];
    GoroutineSpawn s;
    uint64_t count;
    int i;
    goroutine_spawn_init(&s);
    CHECK_EQ(s.size, sizeof s);
    s.fn = look;
    for (i = 0; i < 6; i++) s.int_args[i] = 0x1111111111111111ull * (uint64_t)(i + 1);
    for (i = 0; i < 8; i++) s.fp_args[i] = 1.5 + i;
    for (i = 0; i < STACK_ARGUMENTS; i++) stack_args[i] = 0xABCD000000000000ull + (uint64_t)i;
    s.rbx = 0xB0;
    s.rbp = 0xB1;
    s.r12 = 0xB2;
    s.r13 = 0xB3;
    s.r14 = 0xB4;
    s.r15 = 0xB5;
    s.stack_args = stack_args;
    for (count = 0; count <= STACK_ARGUMENTS; count += count == 0 ? 1 : count == 1 ? 18 : 1) { /* 0, 1, 19, 20 */
        s.stack_args_count = count;
        run(&s, 4711);
        for (i = 0; i < 6; i++) CHECK_EQ(seen.int_args[i], s.int_args[i]);
        for (i = 0; i < 8; i++) CHECK(seen.fp_args[i] == s.fp_args[i]);
        for (i = 0; i < 6; i++) CHECK_EQ(seen.kept[i], 0xB0 + i);
        for (i = 0; i < (int)count; i++) CHECK_EQ(seen.stack[i + 1], stack_args[i]);
        CHECK_EQ(seen.rax & 0xFF, 8); /* what a variadic callee reads from al */
        check_machine_state();
    }
    /* The short form. */
    s.size = GOROUTINE_SPAWN_BYTES_MIN;
    run(&s, 4711);
    for (i = 0; i < 6; i++) CHECK_EQ(seen.int_args[i], s.int_args[i]);
    check_machine_state();
    /* fn(arg) alone, all ways. */
    goroutine_spawn_init_sized(&s, 64);
    CHECK_EQ(s.size, 64);
    s.fn = look;
    s.int_args[0] = 77;
    run(&s, 4711);
    CHECK_EQ(seen.int_args[0], 77);
    check_machine_state();
    CHECK_EQ(U(run_goroutine(FN(look), P(78))), 4711);
    CHECK_EQ(seen.int_args[0], 78);
    check_machine_state();
}

/* ---- Options. ---- */
static uint64_t pinned_threads, priority_first, regular_run;
static void *wants(void *arg) {
    uint64_t *user = (uint64_t *)(void *)((char *)goroutine_current() + GOROUTINE_OFFSET_USER);
    void *low, *high;
    OK(goroutine_stack_bounds(&low, &high));
    CHECK_EQ(user[0], 10);
    CHECK_EQ(user[1], 20);
    CHECK_EQ(user[2], 30);
    user[2] = 0;
    return P((char *)high - (char *)low >= (ptrdiff_t)(U(arg) - U(arg) / 4 - 131072));
}
static void *has_zeros(void *arg) {
    char *header = (char *)goroutine_current();
    uint64_t *user = (uint64_t *)(void *)(header + GOROUTINE_OFFSET_USER);
    CHECK(user[0] == 0 && user[1] == 0 && user[2] == 0);
    CHECK_EQ(*(uint64_t *)(void *)(header + GOROUTINE_OFFSET_FOREIGN_SP), 0);
    CHECK_EQ(*(uint64_t *)(void *)(header + GOROUTINE_OFFSET_ID), goroutine_id(goroutine_current()));
    CHECK(*(uint64_t *)(void *)(header + GOROUTINE_OFFSET_STACK_LIMIT) < U(&header));
    return arg;
}
/* Touches every page of a large part of a gigabyte. */
static void *uses_much(void *arg) {
    void *low, *high;
    volatile char *page;
    OK(goroutine_stack_bounds(&low, &high));
    CHECK((char *)high - (char *)low > 1000ll << 20);
    for (page = (volatile char *)low + 8192; page < (volatile char *)low + (64 << 20); page += 4096) *page = 1;
    return arg;
}
static void *pinned(void *arg) {
    int thread = thread_id(), i;
    for (i = 0; i < 200; i++) {
        if (i % 3 != 0) goroutine_yield();
        else OK(goroutine_sleep(10 * US));
        if (thread_id() != thread) ADD(pinned_threads, 1);
    }
    return arg;
}
static void *restless(void *arg) {
    int i;
    for (i = 0; i < 500; i++) goroutine_yield();
    return arg;
}
static void *regular(void *arg) {
    ADD(regular_run, 1);
    return arg;
}
static void *priority(void *arg) {
    SET(priority_first, GET(regular_run));
    return arg;
}
static void *spawns_regular_and_priority(void *arg) {
    GoroutineSpawn s;
    int i;
    goroutine_spawn_init(&s);
    s.fn = CODE(priority);
    s.flags = GOROUTINE_SPAWN_PRIORITY;
    for (i = 0; i < 100; i++) OK(goroutine_go(regular, NULL));
    OK(goroutine_spawn_with(&s, NULL));
    return arg;
}
static void options(uint32_t workers) {
    static const uint64_t SIZES[] = {0, 1, 262144, 262145, 1 << 20, 3 << 20, 64 << 20, 1 << 30};
    GoroutinePromise *promises[20];
    GoroutineSpawn s;
    char name[100];
    size_t i;
    goroutine_spawn_init(&s);
    s.fn = CODE(wants);
    s.user[0] = 10;
    s.user[1] = 20;
    s.user[2] = 30;
    memset(name, 'n', sizeof name); /* longer than what is kept */
    name[99] = 0;
    s.name = name;
    for (i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        s.stack_bytes = SIZES[i];
        s.int_args[0] = SIZES[i];
        run(&s, 1);
    }
    goroutine_spawn_init(&s);
    s.fn = CODE(has_zeros);
    for (i = 0; i < 10; i++) run(&s, 0); /* on the stacks that were used before */
    s.fn = CODE(uses_much);
    s.stack_bytes = 1 << 30;
    run(&s, 0);
    run(&s, 0);

    goroutine_spawn_init(&s);
    s.fn = CODE(pinned);
    s.flags = GOROUTINE_SPAWN_PINNED;
    pinned_threads = 0;
    for (i = 0; i < 20; i++) {
        OK(goroutine_spawn_with(&s, &promises[i]));
        OK(goroutine_go(restless, NULL));
    }
    for (i = 0; i < 20; i++) OK(goroutine_promise_await_take(promises[i], 30 * SECOND, NULL));
    CHECK_EQ(GET(pinned_threads), 0);
    OK(goroutine_runtime_wait(30 * SECOND));

    if (workers == 1) {
        regular_run = 0;
        priority_first = 1000;
        run_goroutine(spawns_regular_and_priority, NULL);
        OK(goroutine_runtime_wait(30 * SECOND));
        CHECK_EQ(GET(regular_run), 100);
        CHECK(GET(priority_first) < 100); /* it did not wait for all of them */
    }
}

/* ---- From a register file. ---- */
static void from_context(void *look) {
    static uint8_t own_stack[32768] __attribute__((aligned(16)));
    static GoroutineContext context;
    GoroutineSpawn s;
    int i;
    goroutine_spawn_init(&s);
    save_context(&context); /* a valid FXSAVE image */
    context.rip = U(look);
    context.rsp = 0; /* the goroutine's own stack; a return ends it */
    context.rdi = 1;
    context.rsi = 2;
    context.rdx = 3;
    context.rcx = 4;
    context.r8 = 5;
    context.r9 = 6;
    context.rbx = 0xB0;
    context.rbp = 0xB1;
    context.r12 = 0xB2;
    context.r13 = 0xB3;
    context.r14 = 0xB4;
    context.r15 = 0xB5;
    context.rax = 99;
    context.rflags = 0x202;
    s.context = &context;
    run(&s, 4711);
    for (i = 0; i < 6; i++) CHECK_EQ(seen.int_args[i], i + 1);
    for (i = 0; i < 6; i++) CHECK_EQ(seen.kept[i], 0xB0 + i);
    CHECK_EQ(seen.rax, 99);
    CHECK_EQ(seen.rsp % 16, 8);

    /* On a stack of ours: it ends by goroutine_exit. */
    context.rip = U(CODE(goroutine_exit));
    context.rdi = 0;
    context.rsi = 1234;
    context.rsp = U(own_stack) + sizeof own_stack - 8;
    run(&s, 1234);
}

int main(void) {
    void *look = emit_look();
    uint32_t workers;
    CHECK(offsetof(Seen, kept) == 112 && offsetof(Seen, stack) == 160 && offsetof(Seen, rsp) == 328);
    CHECK(offsetof(Seen, mxcsr) == 344 && offsetof(Seen, rax) == 352);
    for (workers = 1; workers <= 2; workers++) {
        start_workers(workers);
        registers(look);
        options(workers);
        from_context(look);
        stop();
    }
    return 0;
}

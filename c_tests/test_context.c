/* Explicit switching: the whole register file, on plain threads without a runtime, and inside goroutines. */
#include "emit.h"

/* Emitted: void probe(void *function, void *a, void *b, Probe *p): loads sentinels, calls function(a, b), and stores what it
 * finds in the callee-saved registers, MXCSR and the x87 control word. Returns which of them changed, 0 if none. */
typedef struct Probe {
    uint64_t kept[6]; /* 0 */
    uint32_t mxcsr;   /* 48 */
    uint32_t fcw;     /* 52 */
    uint64_t rsp;     /* 56 */
} Probe;
typedef uint64_t (*ProbeFn)(void *function, void *a, const void *b, Probe *probe);

static ProbeFn emit_probe(void) {
    static const unsigned KEPT[6] = {RBX, RBP, R12, R13, R14, R15};
    static const char PUSHES[] = "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57", POPS[] = "\x41\x5F\x41\x5E\x41\x5D\x41\x5C\x5D\x5B";
    Emit e = emit_begin(4096);
    size_t bad[9];
    int i, n = 0;
    emit_bytes(&e, PUSHES, 10);
    emit_move_stack(&e, -24);               /* rsp is 0 mod 16 */
    EMIT(&e, "\x0F\xAE\x5C\x24\x10");       /* stmxcsr [rsp + 16] */
    EMIT(&e, "\xD9\x7C\x24\x14");           /* fnstcw [rsp + 20] */
    emit_store(&e, RCX, RSP, 8);
    EMIT(&e, "\x48\x89\xF8\x48\x89\xF7\x48\x89\xD6"); /* mov rax, rdi; mov rdi, rsi; mov rsi, rdx */
    for (i = 0; i < 6; i++) emit_load(&e, KEPT[i], RCX, i * 8);
    EMIT(&e, "\x0F\xAE\x51\x30");           /* ldmxcsr [rcx + 48] */
    EMIT(&e, "\xD9\x69\x34");               /* fldcw [rcx + 52] */
    emit_store(&e, RSP, RCX, 56);
    EMIT(&e, "\xFF\xD0");                   /* call rax */
    emit_load(&e, RCX, RSP, 8);
    EMIT(&e, "\x41\xB8\x01\x00\x00\x00");   /* mov r8d, 1 */
    emit_compare(&e, RSP, RCX, 56);
    bad[n++] = emit_jump_if(&e, NOT_EQUAL);
    for (i = 0; i < 6; i++) {
        EMIT(&e, "\x41\xFF\xC0");           /* inc r8d */
        emit_compare(&e, KEPT[i], RCX, i * 8);
        bad[n++] = emit_jump_if(&e, NOT_EQUAL);
    }
    EMIT(&e, "\x41\xFF\xC0\x0F\xAE\x1C\x24\x8B\x04\x24\x25\xC0\xFF\x00\x00\x3B\x41\x30"); /* MXCSR's control bits */
    bad[n++] = emit_jump_if(&e, NOT_EQUAL);
    EMIT(&e, "\x41\xFF\xC0\xD9\x3C\x24\x0F\xB7\x04\x24\x3B\x41\x34");
    bad[n++] = emit_jump_if(&e, NOT_EQUAL);
    EMIT(&e, "\x45\x31\xC0");
    for (i = 0; i < n; i++) emit_land(&e, bad[i]);
    EMIT(&e, "\x44\x89\xC0");               /* mov eax, r8d */
    EMIT(&e, "\x0F\xAE\x54\x24\x10");       /* ldmxcsr [rsp + 16] */
    EMIT(&e, "\xD9\x6C\x24\x14");           /* fldcw [rsp + 20] */
    emit_move_stack(&e, 24);
    emit_bytes(&e, POPS, 10);
    emit_return(&e);
    return (ProbeFn)(uintptr_t)emit_end(&e);
}

static ProbeFn probe;
static void fill(Probe *p, uint64_t seed) {
    int i;
    for (i = 0; i < 6; i++) p->kept[i] = random_next(&seed);
    p->mxcsr = 0x1F80 | (uint32_t)(seed % 4) << 13;
    p->fcw = (is_slow() && !THREADS_SANITIZED ? 0x37F : 0x27F) | (uint32_t)(seed / 4 % 4) << 10; /* valgrind knows no precision */
}

typedef struct Pair {
    GoroutineContext here, there; /* 16-aligned, as the struct is */
    void *switch_function;
    uint64_t done;
} Pair;

/* The other side: it, too, keeps its registers across every switch. */
static void *other_side(void *arg) {
    Pair *pair = (Pair *)arg;
    uint64_t i;
    for (i = 0; i < UINT64_MAX; i++) {
        Probe p;
        fill(&p, i * 2 + 1);
        ADD(pair->done, 1);
        CHECK_EQ(probe(pair->switch_function, &pair->there, &pair->here, &p), 0);
    }
    return NULL;
}

static uint64_t rounds;
static void ping_pong(void) {
    void *const FUNCTIONS[] = {CODE(switch_context), CODE(switch_goroutine_context), CODE(signal_safe_context_switch)};
    static const size_t STACKS[] = {16384, 65536, 16384 + 8};
    int f;
    for (f = 0; f < 3; f++) {
        Pair *pair = (Pair *)aligned_alloc(16, (sizeof(Pair) + 15) / 16 * 16);
        void *stack = malloc(STACKS[f]);
        sigset_t usr2, before, after;
        uint64_t i;
        int signal;
        CHECK(pair != NULL && stack != NULL);
        memset(pair, 0, sizeof *pair);
        pair->switch_function = FUNCTIONS[f];
        OK(goroutine_context_init(&pair->there, stack, STACKS[f], other_side, pair));
        CHECK(pair->there.stack_base == stack && pair->there.stack_size == STACKS[f]);
        sigemptyset(&usr2);
        sigaddset(&usr2, SIGUSR2);
        CHECK(pthread_sigmask(SIG_BLOCK, &usr2, NULL) == 0);
        CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
        for (i = 0; i < rounds; i++) {
            Probe p;
            fill(&p, i * 2 + 2);
            CHECK_EQ(probe(FUNCTIONS[f], &pair->here, &pair->there, &p), 0);
        }
        CHECK_EQ(pair->done, rounds);
        CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0); /* the mask is what it was */
        for (signal = 1; signal < 32; signal++) CHECK_EQ(sigismember(&after, signal), sigismember(&before, signal));
        CHECK(pthread_sigmask(SIG_UNBLOCK, &usr2, NULL) == 0);
        free(stack);
        free(pair);
    }
}
static void *ping_pong_on_goroutine(void *arg) {
    ping_pong();
    goroutine_yield();
    return arg;
}

/* save_context returns again on restore_context, with all registers, from any depth; also many times. */
static void save_and_restore(void) {
    static GoroutineContext context;
    static uint64_t times;
    Probe p;
    fill(&p, 5);
    times = 0;
    CHECK_EQ(probe(CODE(save_context), &context, NULL, &p), 0);
    CHECK_EQ(context.rbx, p.kept[0]);
    CHECK_EQ(context.rbp, p.kept[1]);
    CHECK_EQ(context.r12, p.kept[2]);
    CHECK_EQ(context.r13, p.kept[3]);
    CHECK_EQ(context.r14, p.kept[4]);
    CHECK_EQ(context.r15, p.kept[5]);
    CHECK_EQ(context.rsp, p.rsp);
    CHECK_EQ(*(uint32_t *)(void *)(context.xmm_state + 24) & 0xFFC0, p.mxcsr);
    CHECK_EQ(*(uint16_t *)(void *)context.xmm_state, p.fcw);
    save_context(&context);
    if (ADD(times, 1) < 1000) restore_context(&context);
    CHECK_EQ(GET(times), 1000);
}

/* Every register of a context that was made by hand is loaded: emitted code looks at all of them at once. */
static uint64_t found[32];
static GoroutineContext back;
static void every_register(void) {
    static uint8_t stack[8192] __attribute__((aligned(16)));
    static GoroutineContext to;
    static uint64_t frame[4] __attribute__((aligned(16)));
    Emit e = emit_begin(4096);
    uint64_t *general = &to.rax;
    int i;
    EMIT(&e, "\x48\x89\x05"); /* mov [rip + d], rax: stash it at the end of this page */
    emit_u32(&e, 2048 - (uint32_t)e.used - 4);
    EMIT(&e, "\x9C\x58\x48\x89\x05"); /* pushfq; pop rax; mov [rip + d], rax */
    emit_u32(&e, 2056 - (uint32_t)e.used - 4);
    emit_constant(&e, RAX, U(found));
    /* in the order of GoroutineContext: rbx rcx rdx rsi rdi rbp r8 ... r15 rsp */
    {
        static const unsigned ORDER[15] = {RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15, RSP};
        for (i = 0; i < 15; i++) emit_store(&e, ORDER[i], RAX, 8 + i * 8);
    }
    for (i = 0; i < 16; i++) { /* movq rcx, xmm i; mov [rax + 128 + 8 i], rcx */
        EMIT(&e, "\x66");
        emit_u8(&e, 0x48 | (i >= 8 ? 4u : 0u));
        EMIT(&e, "\x0F\x7E");
        emit_u8(&e, 0xC0 | ((unsigned)i & 7) << 3 | RCX);
        emit_store(&e, RCX, RAX, 128 + i * 8);
    }
    emit_constant(&e, RDI, U(&back));
    emit_constant(&e, RAX, U(CODE(restore_context)));
    EMIT(&e, "\xFF\xE0"); /* jmp rax */
    CHECK(mprotect(e.code, e.size, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);

    OK(goroutine_context_init(&to, stack, sizeof stack, ping_pong_on_goroutine, NULL));
    for (i = 0; i < 15; i++) general[i] = 0xC0FFEE0000ull + (uint64_t)i;
    to.rsp = U(stack) + sizeof stack - 64;
    to.rip = U(e.code);
    to.rflags = 0x202 | 1 | 0x80; /* carry and sign */
    for (i = 0; i < 16; i++) {
        uint64_t words[2];
        words[0] = 0xF00D000000ull + (uint64_t)i;
        words[1] = 0;
        memcpy(to.xmm_state + 160 + 16 * i, words, 16);
    }
    memset(frame, 0, sizeof frame);
    switch_context(&back, &to);
    CHECK_EQ(*(uint64_t *)(void *)(e.code + 2048), 0xC0FFEE0000ull);
    CHECK_EQ(*(uint64_t *)(void *)(e.code + 2056) & 0x81, 0x81);
    for (i = 1; i < 15; i++) CHECK_EQ(found[i], 0xC0FFEE0000ull + (uint64_t)i);
    CHECK_EQ(found[15], U(stack) + sizeof stack - 64); /* exactly its rsp */
    for (i = 0; i < 16; i++) CHECK_EQ(found[16 + i], 0xF00D000000ull + (uint64_t)i);
}

static void *all_on_thread(void *arg) {
    ping_pong();
    return arg;
}

/* The same while a timer interrupts as often as the kernel can, on the alternate stack and on whatever runs. The thread blocks nothing, so a
 * signal meets every instruction but those of the switch that blocks them. */
static uint64_t ticks;
static void on_tick(int signal) {
    (void)signal;
    ADD(ticks, 1);
}
static void *under_a_timer(void *unused) {
    static const int FLAGS[] = {SA_ONSTACK, 0};
    static char alternate[64 << 10];
    stack_t stack;
    unsigned i;
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = alternate;
    stack.ss_size = sizeof alternate;
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
    for (i = 0; i < 2; i++) {
        struct sigaction action;
        struct sigevent event;
        struct itimerspec every = {{0, 100000}, {0, 100000}}, off = {{0, 0}, {0, 0}};
        timer_t timer;
        Pair *pair = (Pair *)aligned_alloc(16, (sizeof(Pair) + 15) / 16 * 16);
        void *room = malloc(256 << 10);
        uint64_t n, least = scaled(1000000, 1000);
        CHECK(pair != NULL && room != NULL);
        memset(&action, 0, sizeof action);
        action.sa_handler = on_tick;
        action.sa_flags = SA_RESTART | FLAGS[i];
        CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
        memset(pair, 0, sizeof *pair);
        pair->switch_function = CODE(signal_safe_context_switch);
        OK(goroutine_context_init(&pair->there, room, 256 << 10, other_side, pair));
        ticks = 0;
        memset(&event, 0, sizeof event);
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = SIGALRM;
        event._sigev_un._tid = thread_id();
        CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
        CHECK_EQ(timer_settime(timer, 0, &every, NULL), 0);
        for (n = 0; n < least || GET(ticks) < 1000; n++) {
            Probe p;
            fill(&p, n * 2 + 2);
            CHECK_EQ(probe(CODE(signal_safe_context_switch), &pair->here, &pair->there, &p), 0);
        }
        CHECK_EQ(timer_settime(timer, 0, &off, NULL), 0);
        CHECK_EQ(timer_delete(timer), 0);
        CHECK_EQ(pair->done, n);
        fprintf(stderr, "%" PRIu64 " switches, %" PRIu64 " signals\n", 2 * n, GET(ticks));
        free(room);
        free(pair);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    probe = emit_probe();
    rounds = scaled(20000, 20);
    save_and_restore();
    every_register();
    ping_pong();
    CHECK(pthread_create(&thread, NULL, all_on_thread, NULL) == 0);
    pthread_join(thread, NULL);
    CHECK(pthread_create(&thread, NULL, under_a_timer, NULL) == 0);
    pthread_join(thread, NULL);
    start_workers(2);
    run_goroutine(ping_pong_on_goroutine, NULL);
    run_goroutine(ping_pong_on_goroutine, NULL);
    stop();
    return 0;
}

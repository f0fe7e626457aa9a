/* timeout: 240 */
/* Emitted code holds random sentinels in rbx, rbp, r12-r15, MXCSR and the x87 control word across 1,000,000 switches, with
 * rsp at 0 and at 8 mod 16 at the call, on 1, 2 and 8 workers, with migration between threads. */
#include "emit.h"

enum { GOROUTINES = 64, SLEEPERS = 8 };

typedef struct State {
    uint64_t registers[6]; /* 0: rbx rbp r12 r13 r14 r15 */
    uint32_t mxcsr;        /* 48 */
    uint32_t fcw;          /* 52 */
    uint64_t turns;        /* 56 */
    uint64_t rsp;          /* 64 */
    uint64_t thread;       /* 72 */
    uint64_t migrations;   /* 80 */
} State;

static const unsigned KEPT[6] = {RBX, RBP, R12, R13, R14, R15};

/* void *f(State *s): 0, or 1 + the number of the check that failed. */
static void *emit_sentinel(void *function, uint32_t argument, int32_t frame) {
    Emit e = emit_begin(4096);
    size_t bad[10], loop, same, done;
    unsigned i, n = 0;
    emit_move_stack(&e, -frame);
    emit_store(&e, RDI, RSP, 8);
    for (i = 0; i < 6; i++) emit_load(&e, KEPT[i], RDI, (int32_t)i * 8);
    EMIT(&e, "\x0F\xAE\x57\x30");         /* ldmxcsr [rdi + 48] */
    EMIT(&e, "\xD9\x6F\x34");             /* fldcw [rdi + 52] */
    emit_store(&e, RSP, RDI, 64);
    loop = e.used;
    EMIT(&e, "\xBF");                     /* mov edi, argument */
    emit_u32(&e, argument);
    emit_call(&e, function);
    emit_load(&e, RDI, RSP, 8);
    EMIT(&e, "\x41\xB8\x01\x00\x00\x00"); /* mov r8d, 1: the number of the check */
    emit_compare(&e, RSP, RDI, 64);
    bad[n++] = emit_jump_if(&e, NOT_EQUAL);
    for (i = 0; i < 6; i++) {
        EMIT(&e, "\x41\xFF\xC0");         /* inc r8d */
        emit_compare(&e, KEPT[i], RDI, (int32_t)i * 8);
        bad[n++] = emit_jump_if(&e, NOT_EQUAL);
    }
    EMIT(&e, "\x41\xFF\xC0");
    EMIT(&e, "\x0F\xAE\x1C\x24");         /* stmxcsr [rsp] */
    EMIT(&e, "\x8B\x04\x24");             /* mov eax, [rsp] */
    EMIT(&e, "\x25\xC0\xFF\x00\x00");     /* and eax, 0xffc0: the control bits */
    EMIT(&e, "\x3B\x47\x30");             /* cmp eax, [rdi + 48] */
    bad[n++] = emit_jump_if(&e, NOT_EQUAL);
    EMIT(&e, "\x41\xFF\xC0");
    EMIT(&e, "\xD9\x3C\x24");             /* fnstcw [rsp] */
    EMIT(&e, "\x0F\xB7\x04\x24");         /* movzx eax, word [rsp] */
    EMIT(&e, "\x3B\x47\x34");             /* cmp eax, [rdi + 52] */
    bad[n++] = emit_jump_if(&e, NOT_EQUAL);
    EMIT(&e, "\x64\x48\x8B\x04\x25");     /* mov rax, fs:[0]: one value per thread */
    emit_u32(&e, 0);
    emit_compare(&e, RAX, RDI, 72);
    same = emit_jump_if(&e, EQUAL);
    emit_store(&e, RAX, RDI, 72);
    EMIT(&e, "\x48\xFF\x47\x50");         /* inc qword [rdi + 80] */
    emit_land(&e, same);
    EMIT(&e, "\x48\xFF\x4F\x38");         /* dec qword [rdi + 56] */
    emit_jump_back_if(&e, NOT_EQUAL, loop);
    EMIT(&e, "\x45\x31\xC0");             /* xor r8d, r8d */
    done = e.used;
    EMIT(&e, "\x44\x89\xC0");             /* mov eax, r8d */
    emit_move_stack(&e, frame);
    emit_return(&e);
    for (i = 0; i < n; i++) {
        int32_t distance = (int32_t)(done - bad[i]);
        memcpy(e.code + bad[i] - 4, &distance, 4);
    }
    return emit_end(&e);
}

/* A check that cannot fail shows nothing: callees that spoil one thing each must be found out. */
static void find_out(void) {
    static const char *const SPOILERS[] = {
        "\x48\x31\xDB\xC3", "\x48\x31\xED\xC3", "\x4D\x31\xE4\xC3", /* xor reg, reg; ret: rbx, rbp, r12 */
        "\x4D\x31\xED\xC3", "\x4D\x31\xF6\xC3", "\x4D\x31\xFF\xC3", /* r13, r14, r15 */
        "\xC7\x44\x24\xF8\xC0\x1F\0\0\x0F\xAE\x54\x24\xF8\xC3", /* mov dword [rsp - 8], 0x1fc0; ldmxcsr [rsp - 8] */
        "\xDB\xE3\xC3",                                             /* fninit: 0x37f */
    };
    static const size_t BYTES[] = {4, 4, 4, 4, 4, 4, 14, 3};
    size_t i;
    int j;
    start_workers(1);
    for (i = 0; i < 8; i++) {
        static State s;
        Emit e = emit_begin(4096);
        emit_bytes(&e, SPOILERS[i], BYTES[i]);
        memset(&s, 0, sizeof s);
        for (j = 0; j < 6; j++) s.registers[j] = 0x1234567800000000ull + (uint64_t)j;
        s.mxcsr = 0x3F80;
        s.fcw = 0x0F7F;
        s.turns = 1;
        CHECK_EQ(U(run_goroutine(FN(emit_sentinel(emit_end(&e), 0, 24)), &s)), i + 2);
    }
    stop();
}

/* Gives how often a goroutine changed its thread. */
static uint64_t round_of(uint32_t workers, uint64_t switches, void *const *yields, void *const *sleeps) {
    static State states[GOROUTINES];
    GoroutinePromise *promises[GOROUTINES];
    uint64_t random = random_seed(environment_number("GOROUTINE_SEED", 1), workers);
    uint64_t migrations = 0;
    int i, j;
    start_workers(workers);
    for (i = 0; i < GOROUTINES; i++) {
        State *s = &states[i];
        bool sleeper = i < SLEEPERS;
        for (j = 0; j < 6; j++) s->registers[j] = random_next(&random);
        s->mxcsr = 0x1F80 | (uint32_t)(1 + i % 3) << 13; /* rounding */
        s->fcw = 0x037F | (uint32_t)(i % 4) << 10;       /* rounding */
        if (!is_slow() || THREADS_SANITIZED) {                                /* valgrind knows nothing but rounding */
            s->mxcsr |= (uint32_t)(i % 2) << 15;         /* flush to zero */
            s->fcw ^= (uint32_t)(i % 2) << 8;            /* precision */
        }
        s->turns = sleeper ? switches / GOROUTINES / 50 + 1 : switches / GOROUTINES + 1;
        s->thread = 0;
        s->migrations = 0;
        promises[i] = goroutine_spawn(FN(sleeper ? sleeps[i % 2] : yields[i % 2]), s);
        CHECK(promises[i] != NULL);
    }
    for (i = 0; i < GOROUTINES; i++) {
        void *failed = NULL;
        OK(goroutine_promise_await_take(promises[i], GOROUTINE_FOREVER, &failed));
        if (failed != NULL) fprintf(stderr, "goroutine %d on %u workers: check %d failed\n", i, workers, (int)U(failed));
        CHECK(failed == NULL);
        CHECK_EQ(states[i].turns, 0);
        migrations += states[i].migrations - 1; /* the first thread is no migration */
    }
    fprintf(stderr, "%u workers: %" PRIu64 " migrations\n", workers, migrations);
    stop();
    return migrations;
}
/* Who migrates is up to the machine's load: again, until somebody did. */
static void rounds_with_migration(uint32_t workers, uint64_t switches, void *const *yields, void *const *sleeps) {
    int round;
    for (round = 0; round < 50; round++) {
        if (round_of(workers, switches, yields, sleeps) > 0 || (is_slow() && !THREADS_SANITIZED)) return; /* valgrind runs one thread at a time */
    }
    CHECK(round < 50);
}

int main(void) {
    uint64_t switches = scaled(1000000, 50);
    void *yields[2], *sleeps[2];
    CHECK(offsetof(State, mxcsr) == 48 && offsetof(State, migrations) == 80);
    yields[0] = emit_sentinel(CODE(goroutine_yield), 0, 24); /* rsp at 0 mod 16 */
    yields[1] = emit_sentinel(CODE(goroutine_yield), 0, 32); /* rsp at 8 mod 16 */
    sleeps[0] = emit_sentinel(CODE(goroutine_sleep), 1000, 24);
    sleeps[1] = emit_sentinel(CODE(goroutine_sleep), 1000, 32);
    find_out();
    CHECK_EQ(round_of(1, switches, yields, sleeps), 0);
    rounds_with_migration(2, switches, yields, sleeps);
    rounds_with_migration(8, switches, yields, sleeps);
    return 0;
}

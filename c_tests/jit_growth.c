/* sanitizer: handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0 */
/* Emitted code with prologue checks outgrows its stack: recursions of a million frames, links in all forms, goroutines that park at depth,
 * jumps and exits over links, and what becomes of the memory. */
#include "check.h"
#include "emit.h"
#include <setjmp.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { BELOW = 2 };

static void emit_jump(Emit *e, size_t target) {
    EMIT(e, "\xE9");
    emit_u32(e, (uint32_t)((int32_t)target - (int32_t)(e->used + 4)));
}
static void emit_call_self(Emit *e) {
    EMIT(e, "\xE8");
    emit_u32(e, (uint32_t) - (int32_t)(e->used + 4));
}
/* mov rax, fs:[current]; cmp rsp, [rax] (a large frame: lea r10, [rsp - frame]; cmp r10, [rax]); jb slow. Gives the jump. */
static size_t emit_check(Emit *e, uint32_t frame) {
    EMIT(e, "\x64\x48\x8B\x04\x25");
    emit_u32(e, (uint32_t)goroutine_tls_offset());
    if (frame <= 512) {
        EMIT(e, "\x48\x3B\x20");
    } else {
        EMIT(e, "\x4C\x8D\x94\x24");
        emit_u32(e, (uint32_t) - (int32_t)frame);
        EMIT(e, "\x4C\x3B\x10");
    }
    return emit_jump_if(e, BELOW);
}
/* slow: mov r10d, frame; mov r11d, args; call prologue; (ret;) jmp body */
static void emit_slow(Emit *e, size_t jump, size_t body, uint32_t frame, uint32_t args, bool paired) {
    emit_land(e, jump);
    EMIT(e, "\x41\xBA");
    emit_u32(e, frame);
    EMIT(e, "\x41\xBB");
    emit_u32(e, args);
    emit_call(e, CODE(goroutine_more_stack_prologue)); /* rax holds nothing here: al is for variadic functions alone */
    if (paired) emit_return(e);
    emit_jump(e, body);
}

/* uint64_t fib(uint64_t n), for n > 1 by two calls of itself. */
typedef uint64_t (*Fib)(uint64_t n);
static Fib emit_fib(bool paired) {
    Emit e = emit_begin(4096);
    size_t slow = emit_check(&e, 32), body = e.used, small;
    EMIT(&e, "\x53\x55\x48\x83\xEC\x08"); /* push rbx; push rbp; sub rsp, 8 */
    EMIT(&e, "\x48\x89\xFB\x48\x89\xF8"); /* mov rbx, rdi; mov rax, rdi */
    EMIT(&e, "\x48\x83\xFF\x02");         /* cmp rdi, 2 */
    small = emit_jump_if(&e, BELOW);
    EMIT(&e, "\x48\x8D\x7B\xFF"); /* lea rdi, [rbx - 1] */
    emit_call_self(&e);
    EMIT(&e, "\x48\x89\xC5\x48\x8D\x7B\xFE"); /* mov rbp, rax; lea rdi, [rbx - 2] */
    emit_call_self(&e);
    EMIT(&e, "\x48\x01\xE8"); /* add rax, rbp */
    emit_land(&e, small);
    EMIT(&e, "\x48\x83\xC4\x08\x5D\x5B\xC3"); /* add rsp, 8; pop rbp; pop rbx; ret */
    emit_slow(&e, slow, body, 32, 0, paired);
    return (Fib)(uintptr_t)emit_end(&e);
}
static uint64_t fib_in_c(uint64_t n) { return n < 2 ? n : fib_in_c(n - 1) + fib_in_c(n - 2); }

/* uint64_t deep(uint64_t n, uint64_t *above, GoroutineFn at_end, void *arg): a frame of its own size, with n at its lowest address; calls itself
 * with n - 1 and that address, and at 0 gives at_end(arg). Then each looks whether its rsp, its word and, through the pointer, its
 * caller's are what they were. */
typedef void *(*Deep)(uint64_t n, uint64_t *above, GoroutineFn at_end, void *arg);
static Deep emit_deep(uint32_t frame, bool paired) {
    Emit e = emit_begin(4096);
    size_t slow = emit_check(&e, frame), body = e.used, last, joined, wrong[3];
    EMIT(&e, "\x53\x55\x41\x54");                /* push rbx; push rbp; push r12 */
    emit_move_stack(&e, -(int32_t)(frame - 32)); /* 8 are the return address */
    EMIT(&e, "\x48\x89\xFB\x48\x89\xF5");        /* mov rbx, rdi; mov rbp, rsi */
    EMIT(&e, "\x48\x89\x3C\x24\x49\x89\xE4");    /* mov [rsp], rdi; mov r12, rsp */
    EMIT(&e, "\x48\x85\xFF");                    /* test rdi, rdi */
    last = emit_jump_if(&e, EQUAL);
    EMIT(&e, "\x48\xFF\xCF\x48\x89\xE6"); /* dec rdi; mov rsi, rsp */
    emit_call_self(&e);
    joined = e.used;
    EMIT(&e, "\x49\x39\xE4"); /* cmp r12, rsp */
    wrong[0] = emit_jump_if(&e, NOT_EQUAL);
    EMIT(&e, "\x48\x39\x1C\x24"); /* cmp [rsp], rbx */
    wrong[1] = emit_jump_if(&e, NOT_EQUAL);
    EMIT(&e, "\x48\x8D\x7B\x01\x48\x39\x7D\x00"); /* lea rdi, [rbx + 1]; cmp [rbp], rdi */
    wrong[2] = emit_jump_if(&e, NOT_EQUAL);
    emit_move_stack(&e, (int32_t)(frame - 32));
    EMIT(&e, "\x41\x5C\x5D\x5B"); /* pop r12; pop rbp; pop rbx */
    emit_return(&e);
    emit_land(&e, last);
    EMIT(&e, "\x48\x89\xCF\xFF\xD2"); /* mov rdi, rcx; call rdx */
    emit_jump(&e, joined);
    emit_land(&e, wrong[0]);
    emit_land(&e, wrong[1]);
    emit_land(&e, wrong[2]);
    EMIT(&e, "\x0F\x0B"); /* ud2 */
    emit_slow(&e, slow, body, frame, 0, paired);
    return (Deep)(uintptr_t)emit_end(&e);
}
/* From C; above the first frame there is a word, too. */
static void *dive(Deep deep, uint64_t frames, GoroutineFn at_end, void *arg) {
    uint64_t above = frames;
    return deep(frames - 1, &above, at_end, arg);
}

static Fib fibs[2];
static Deep deeps[2], wide;

static GoroutineStats stats_now(void) {
    GoroutineStats stats;
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    return stats;
}
static uint64_t resident(void) {
    unsigned long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%lu %lu", &all, &pages) == 2);
    fclose(f);
    return pages * 4096;
}
/* Memory goes in the background, within a few seconds. */
static void await_resident_below(uint64_t bytes) {
    uint64_t end = now_ns() + 60 * SECOND;
    while (resident() > bytes) {
        if (now_ns() > end) CHECK_EQ(resident(), bytes);
        thread_sleep(50 * MS);
    }
}
static uint64_t segment_bytes(void) {
    void *low, *high;
    OK(goroutine_stack_bounds(&low, &high));
    return U(high) - U(low);
}
static bool runs_within_bounds(void) {
    void *low, *high;
    char here;
    OK(goroutine_stack_bounds(&low, &high));
    return &here >= (char *)low && &here < (char *)high;
}

/* ---- Deep, and back. ---- */
static uint64_t at_bottom_bytes;
static void *at_bottom(void *arg) {
    CHECK(runs_within_bounds());
    SET(at_bottom_bytes, segment_bytes());
    return arg;
}
static void *a_million(void *form) {
    uint64_t frames = scaled(1000000, 100);
    void *low, *high, *low_again, *high_again;
    OK(goroutine_stack_bounds(&low, &high));
    CHECK(dive(deeps[U(form)], frames, at_bottom, P(4711)) == P(4711));
    CHECK(U(fibs[U(form)](20)) == fib_in_c(20));
    OK(goroutine_stack_bounds(&low_again, &high_again));
    CHECK(low == low_again && high == high_again);
    return NULL;
}
static uint64_t resident_before;
static void *a_million_and_again(void *form) {
    a_million(form);
    if (!is_slow() && !SANITIZED) {
        CHECK(resident() > resident_before + (100u << 20));
        await_resident_below(resident_before + (24u << 20)); /* the goroutine is alive */
    }
    return a_million(form);
}
static void deep_and_back(void) {
    uint64_t form;
    GoroutineStats stats;
    start_workers(2);
    resident_before = resident();
    for (form = 0; form < 2; form++) {
        run_goroutine(a_million_and_again, P(form));
        CHECK(is_slow() || GET(at_bottom_bytes) > 200u << 20);
        if (!is_slow() && !SANITIZED) await_resident_below(resident_before + (16u << 20));
    }
    OK(goroutine_runtime_wait(30 * SECOND));
    stats = stats_now();
    CHECK(stats.segments > 3 && stats.segments == stats.segments_free);
    CHECK(is_slow() || stats.segments_trimmed > 0);
    stop();
}

/* ---- The boundary: a loop there takes nothing. ---- */
typedef struct Boundary {
    Deep deep;
    uint64_t frames; /* from here to the first crossing */
    uint64_t taken;
} Boundary;
static void *see_segment(void *arg) { return P(segment_bytes() != U(arg)); }
static void *over_and_over(void *arg) {
    Boundary *b = (Boundary *)arg;
    struct rusage usage;
    uint64_t i, rounds = scaled(200000, 100), faults;
    GoroutineStats stats;
    dive(b->deep, 3, at_bottom, NULL); /* crosses, and keeps the spare */
    stats = stats_now();
    b->taken = stats.segments_taken;
    getrusage(RUSAGE_THREAD, &usage);
    faults = (uint64_t)usage.ru_minflt;
    for (i = 0; i < rounds; i++) CHECK(dive(b->deep, 3, at_bottom, P(i)) == P(i));
    getrusage(RUSAGE_THREAD, &usage);
    CHECK_EQ(stats_now().segments_taken, b->taken);
    CHECK(is_slow() || (uint64_t)usage.ru_minflt - faults < 8);
    return NULL;
}
static void *at_boundary(void *arg) {
    Boundary *b = (Boundary *)arg;
    uint64_t base = segment_bytes(), frames;
    for (frames = 1; dive(b->deep, frames, see_segment, P(base)) == NULL; frames++) CHECK(frames < 100000);
    dive(b->deep, frames - 1, over_and_over, b); /* the next frame crosses */
    return NULL;
}
static void boundary(void) {
    int form;
    start_workers(1);
    for (form = 0; form < 2; form++) {
        Boundary b = {deeps[form], 0, 0};
        run_goroutine(at_boundary, &b);
    }
    stop();
}

/* ---- All registers, and stack arguments. ---- */
enum { GENERAL = 15, IMAGE = GENERAL + 32, ARGS = 37 };
static uint64_t inside[IMAGE], after[IMAGE], expected[IMAGE];
/* push all registers but rsp, and store them and the vector registers at `image` */
static void emit_dump(Emit *e, uint64_t *image) {
    int i;
    EMIT(e, "\x41\x57\x41\x56\x41\x55\x41\x54\x41\x53\x41\x52\x41\x51\x41\x50"); /* push r15 ... r8 */
    EMIT(e, "\x57\x56\x55\x53\x52\x51\x50");                                     /* push rdi rsi rbp rbx rdx rcx rax */
    emit_constant(e, RDI, U(image));
    EMIT(e, "\x48\x89\xE6\xB9\x0F\0\0\0\xF3\x48\xA5"); /* mov rsi, rsp; mov ecx, 15; rep movsq */
    for (i = 0; i < 16; i++) {                         /* movups [rdi + 16 i], xmm_i */
        if (i >= 8) EMIT(e, "\x44");
        EMIT(e, "\x0F\x11");
        emit_u8(e, 0x87 | (unsigned)(i & 7) << 3);
        emit_u32(e, (uint32_t)i * 16);
    }
    EMIT(e, "\x58\x59\x5A\x5B\x5D\x5E\x5F");                                     /* pop rax rcx rdx rbx rbp rsi rdi */
    EMIT(e, "\x41\x58\x41\x59\x41\x5A\x41\x5B\x41\x5C\x41\x5D\x41\x5E\x41\x5F"); /* pop r8 ... r15 */
}
static void *shallow(void *arg) { return arg; }
/* f: links always; dumps its registers, `deeper`: has something else link (so there is a surplus when f returns), sums up its stack arguments, destroys them, and gives rax, rdx, xmm0, xmm1 that are known. */
static void *emit_linked(bool paired, bool deeper) {
    Emit e = emit_begin(4096);
    size_t sum;
    EMIT(&e, "\x41\xBA\x40\0\0\0\x41\xBB");
    emit_u32(&e, ARGS * 8);
    EMIT(&e, "\x50\x48\xB8"); /* push rax; mov rax, ...; xchg rax, [rsp]; call [rsp]: rax is to survive, too */
    emit_u64(&e, U(CODE(goroutine_more_stack_prologue)));
    EMIT(&e, "\x48\x89\x04\x24\x48\xB8"); /* mov [rsp], rax; mov rax, constant */
    emit_u64(&e, 0x1111000011110000);
    EMIT(&e, "\x48\x83\xC4\x08\xFF\x54\x24\xF8"); /* add rsp, 8; call [rsp - 8] */
    if (paired) emit_return(&e);
    emit_dump(&e, inside);
    if (deeper) {
        emit_move_stack(&e, -8);
        emit_constant(&e, RDI, U(CODE(shallow)));
        emit_call(&e, CODE(goroutine_more_stack));
        emit_move_stack(&e, 8);
    }
    EMIT(&e, "\x31\xC0\xB9"); /* xor eax, eax; mov ecx, ARGS */
    emit_u32(&e, ARGS);
    sum = e.used;
    EMIT(&e, "\x48\x6B\xC0\x03\x48\x03\x04\xCC");         /* imul rax, rax, 3; add rax, [rsp + 8 rcx] */
    EMIT(&e, "\x48\xC7\x04\xCC\0\0\0\0\xFF\xC9");         /* mov qword [rsp + 8 rcx], 0; dec ecx */
    emit_jump_back_if(&e, NOT_EQUAL, sum);
    emit_constant(&e, RDX, 0x2222333344445555);
    EMIT(&e, "\x66\x48\x0F\x6E\xC2\x66\x48\x0F\x6E\xC8"); /* movq xmm0, rdx; movq xmm1, rax */
    EMIT(&e, "\x49\x89\xE0\x49\x83\xE0\x0F\x4C\x01\xC2\xC3"); /* mov r8, rsp; and r8, 15; add rdx, r8; ret */
    return emit_end(&e);
}
/* void harness(void): constants into everything, ARGS words of stack arguments, call f, dump. */
static void *emit_harness(void *f) {
    static const unsigned others[] = {RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8, R9, R12, R13, R14, R15};
    Emit e = emit_begin(8192);
    unsigned i;
    EMIT(&e, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57"); /* push rbx rbp r12 r13 r14 r15 */
    emit_move_stack(&e, -(ARGS * 8 + 8 * (ARGS % 2 == 0)));
    for (i = 0; i < ARGS; i++) {
        emit_constant(&e, RAX, i * i + 7);
        emit_store(&e, RAX, RSP, (int32_t)i * 8);
    }
    for (i = 0; i < 16; i++) { /* movq xmm_i, rax; pshufd xmm_i, xmm_i, 0x44 */
        emit_constant(&e, RAX, 0xABCD000000000000 + i);
        EMIT(&e, "\x66");
        emit_u8(&e, i < 8 ? 0x48 : 0x4C);
        EMIT(&e, "\x0F\x6E");
        emit_u8(&e, 0xC0 | (i & 7) << 3);
        EMIT(&e, "\x66");
        if (i >= 8) EMIT(&e, "\x45");
        EMIT(&e, "\x0F\x70");
        emit_u8(&e, 0xC0 | (i & 7) << 3 | (i & 7));
        EMIT(&e, "\x44");
        expected[GENERAL + 2 * i] = expected[GENERAL + 2 * i + 1] = 0xABCD000000000000 + i;
    }
    emit_constant(&e, R11, U(f));
    for (i = 0; i < sizeof others / sizeof *others; i++) emit_constant(&e, others[i], 0x1111000011110000 + others[i]);
    EMIT(&e, "\x41\xFF\xD3"); /* call r11 */
    emit_dump(&e, after);
    emit_move_stack(&e, ARGS * 8 + 8 * (ARGS % 2 == 0));
    EMIT(&e, "\x41\x5F\x41\x5E\x41\x5D\x41\x5C\x5D\x5B\xC3");
    return emit_end(&e);
}
enum { HARNESSES = 4 };
static void *harness[HARNESSES];
static void call_harness(uint64_t form) { ((void (*)(void))(uintptr_t)harness[form])(); }
/* Where emit_dump puts a register: the order of the pushes. */
static const unsigned order[GENERAL] = {RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15};
static void look_at_registers(void) {
    uint64_t sum = 0, i;
    for (i = 0; i < GENERAL; i++) {
        if (order[i] == R10 || order[i] == R11) continue;
        CHECK_EQ(inside[i], 0x1111000011110000 + (order[i] == RAX ? 0 : order[i]));
        if (order[i] == RBX || order[i] == RBP || order[i] >= R12) CHECK_EQ(after[i], 0x1111000011110000 + order[i]);
    }
    for (i = GENERAL; i < IMAGE; i++) CHECK_EQ(inside[i], expected[i]);
    for (i = ARGS; i-- > 0;) sum = sum * 3 + (i * i + 7);
    CHECK_EQ(after[0], sum);
    CHECK_EQ(after[2], 0x2222333344445555 + 8); /* rsp was 8 mod 16 */
    CHECK_EQ(after[GENERAL], 0x2222333344445555);
    CHECK_EQ(after[GENERAL + 2], sum);
}
static void *registers(void *arg) {
    uint64_t form;
    for (form = 0; form < HARNESSES; form++) {
        call_harness(form); /* the long way, the first time; then the short one */
        look_at_registers();
        memset(inside, 0, sizeof inside);
        call_harness(form);
        look_at_registers();
    }
    return arg;
}
/* From where the spare is a large one, and from deep down. */
static void *registers_elsewhere(void *arg) {
    dive(wide, 2, registers, NULL); /* leaves a large spare behind it */
    dive(deeps[0], 4000, registers, NULL);
    return registers(arg);
}
static void all_registers(void) {
    uint64_t form;
    start_workers(1);
    run_goroutine(registers, NULL);
    run_goroutine(registers_elsewhere, NULL);
    for (form = 0; form < HARNESSES; form++) { /* a plain thread: nothing to link, and all else is the same */
        memset(inside, 0, sizeof inside);
        call_harness(form);
        look_at_registers();
    }
    stop();
}

/* ---- 100 goroutines that park at depth. ---- */
static void *park_a_few_times(void *arg) {
    uint64_t state = random_seed(1, U(arg)), i;
    for (i = 0; i < 5; i++) {
        if (random_next(&state) % 2 != 0) goroutine_yield();
        else OK(goroutine_sleep(random_next(&state) % 200000));
        CHECK(runs_within_bounds());
        CHECK_EQ(fibs[i % 2](12), 144);
    }
    return arg;
}
static void *swimmer(void *arg) {
    uint64_t state = random_seed(0, U(arg)), i;
    for (i = 0; i < scaled(20, 5); i++) {
        uint64_t frames = 1 + random_next(&state) % scaled(i == 0 ? 60000 : 6000, 10);
        CHECK(dive(deeps[i % 2], frames, park_a_few_times, arg) == arg);
    }
    return arg;
}
static void swimmers(uint32_t workers) {
    GoroutinePromise *promises[100];
    uint64_t i;
    void *value;
    GoroutineStats stats;
    start_workers(workers);
    for (i = 0; i < 100; i++) CHECK((promises[i] = goroutine_spawn(swimmer, P(i))) != NULL);
    for (i = 0; i < 100; i++) {
        OK(goroutine_promise_await_take(promises[i], 300 * SECOND, &value));
        CHECK(value == P(i));
    }
    OK(goroutine_runtime_wait(30 * SECOND));
    stats = stats_now();
    CHECK_EQ(stats.segments, stats.segments_free);
    stop();
}

/* ---- The C form. ---- */
static void *nested(void *arg) {
    CHECK(runs_within_bounds());
    if (arg == NULL) return P(segment_bytes());
    return goroutine_more_stack(nested, P(U(arg) - 1));
}
static void *c_form(void *arg) {
    uint64_t own = segment_bytes();
    CHECK(U(goroutine_more_stack(nested, P(0))) == (64u << 10) - 128);
    CHECK(U(goroutine_more_stack(nested, P(1))) > 400u << 10);
    CHECK(U(goroutine_more_stack(nested, P(3))) > 30u << 20);
    CHECK(goroutine_more_stack(NULL, arg) == NULL);
    CHECK_EQ(segment_bytes(), own);
    return arg;
}
static void *identity(void *arg) { return arg; }
static void *exits(void *arg) {
    goroutine_exit(GOROUTINE_EREJECTED, arg);
}
static void *exits_at_depth(void *arg) {
    dive(deeps[0], 5000, exits, arg);
    return NULL;
}
static void *parks_for_ever(void *arg) {
    SET(*(uint64_t *)arg, 1);
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    goroutine_exit(GOROUTINE_ECANCELED, NULL);
}
static void *cancelled_at_depth(void *arg) { return dive(deeps[1], 5000, parks_for_ever, arg); }
static void ends(void) {
    void *value = NULL;
    uint64_t parked = 0;
    GoroutinePromise *promise;
    GoroutineStats stats;
    start_workers(2);
    run_goroutine(c_form, NULL);
    CHECK(goroutine_more_stack(identity, P(5)) == P(5)); /* a plain thread */
    promise = goroutine_spawn(exits_at_depth, P(6));
    CHECK_EQ(goroutine_promise_await_take(promise, 30 * SECOND, &value), GOROUTINE_EREJECTED);
    CHECK(value == P(6));
    promise = goroutine_spawn(cancelled_at_depth, &parked);
    while (GET(parked) == 0) goroutine_yield();
    OK(goroutine_cancel(promise));
    CHECK_EQ(goroutine_promise_await_take(promise, 30 * SECOND, &value), GOROUTINE_ECANCELED);
    OK(goroutine_runtime_wait(30 * SECOND));
    stats = stats_now();
    CHECK(stats.segments != 0 && stats.segments == stats.segments_free);
    stop();
}

/* ---- C, callbacks, and jumps. ---- */
static jmp_buf landing;
static void *deeper(void *arg) { return dive(deeps[0], 3000, at_bottom, arg); }
static void *c_calls_back(void *arg) { return goroutine_callback_run(deeper, arg); }
static void *calls_c(void *arg) {
    uint64_t bytes = segment_bytes();
    CHECK(goroutine_ffi_call_leaf(CODE(c_calls_back), arg) == arg);
    CHECK(goroutine_ffi_call_blocking(CODE(c_calls_back), arg) == arg);
    CHECK_EQ(segment_bytes(), bytes);
    return arg;
}
static void *calls_bound(void *arg) { return execute_ffi_call(NULL, CODE(c_calls_back), arg); }
static void *jump(void *arg) {
    (void)arg;
    longjmp(landing, 1);
}
static void *jump_from_depth(void *arg) { return dive(deeps[0], 3000, jump, arg); }
static void *c_jumps(void *arg) { return goroutine_callback_run(jump_from_depth, arg); }
/* Out of a callback on a deeper segment, over C, to a frame on the segment before. */
static void *lands(void *arg) {
    volatile uint64_t bytes = segment_bytes();
    if (setjmp(landing) == 0) {
        goroutine_ffi_call_leaf(CODE(c_jumps), arg);
        CHECK(!"reached");
    }
    goroutine_ffi_landed();
    CHECK_EQ(segment_bytes(), bytes);
    CHECK(runs_within_bounds());
    CHECK(deeper(arg) == arg);
    return arg;
}
/* The same without C between. */
static void *lands_softly(void *arg) {
    volatile uint64_t bytes = segment_bytes();
    if (setjmp(landing) == 0) {
        jump_from_depth(arg);
        CHECK(!"reached");
    }
    goroutine_ffi_landed();
    CHECK_EQ(segment_bytes(), bytes);
    CHECK(deeper(arg) == arg);
    return arg;
}
/* And within C: the callback's segment is dead when C returns. */
static void *c_catches(void *arg) {
    if (setjmp(landing) == 0) {
        goroutine_callback_run(jump_from_depth, arg);
        CHECK(!"reached");
    }
    return arg;
}
static void *c_lands(void *arg) {
    volatile uint64_t bytes = segment_bytes();
    CHECK(goroutine_ffi_call_leaf(CODE(c_catches), arg) == arg);
    CHECK_EQ(segment_bytes(), bytes);
    CHECK(goroutine_ffi_call_blocking(CODE(c_catches), arg) == arg);
    CHECK_EQ(segment_bytes(), bytes);
    CHECK(deeper(arg) == arg);
    return arg;
}
static GoroutineFn const c_cases[] = {calls_c, calls_bound, lands_softly, lands, c_lands};
static void *c_case(void *k) {
    GoroutineFn f = c_cases[U(k)];
    CHECK(f(P(9)) == P(9));                             /* from its own stack */
    CHECK(dive(deeps[1], 4000, f, P(10)) == P(10));     /* and from a segment */
    return k;
}
static void with_c(void) {
    uint64_t k;
    GoroutineStats stats;
    start_workers(1);
    for (k = 0; k < sizeof c_cases / sizeof *c_cases; k++) run_goroutine(c_case, P(k));
    OK(goroutine_runtime_wait(30 * SECOND));
    stats = stats_now();
    CHECK_EQ(stats.segments, stats.segments_free);
    stop();
}

/* ---- No more. ---- */
static void *too_deep(void *arg) { return dive(deeps[0], 100000000, identity, arg); }
static void beyond_the_maximum(void *arg) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 1;
    config.stack_bytes_max = 1 << 20;
    OK(goroutine_runtime_start(&config));
    run_goroutine(too_deep, arg);
}
static uint64_t without_check(volatile uint64_t *above, uint64_t depth) {
    volatile uint64_t frame[16];
    frame[depth % 16] = depth + *above;
    return depth == UINT64_MAX ? 0 : without_check(frame, depth + 1) + frame[(depth + 1) % 16];
}
static void *unchecked(void *arg) {
    volatile uint64_t top = U(arg);
    return P(without_check(&top, 1));
}
static void *unchecked_on_segment(void *arg) { return goroutine_more_stack(unchecked, arg); }
static void guard_of_a_segment(void *arg) {
    start_workers(1);
    run_goroutine(unchecked_on_segment, arg);
}
static void within_the_maximum(void *arg) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 1;
    config.stack_bytes_max = 1 << 20;
    OK(goroutine_runtime_start(&config));
    CHECK(run_goroutine(deeper, arg) == arg);
    stop();
}

int main(void) {
    int form;
    for (form = 0; form < 2; form++) {
        fibs[form] = emit_fib(form != 0);
        deeps[form] = emit_deep(224, form != 0);
    }
    for (form = 0; form < HARNESSES; form++) harness[form] = emit_harness(emit_linked(form % 2 != 0, form / 2 != 0));
    wide = emit_deep(300000, false);
    expect_child("within the maximum", within_the_maximum, P(3), 0, 0, NULL);
    expect_child("beyond the maximum", beyond_the_maximum, NULL, SIGSEGV, 0, "stack overflow: goroutine ");
    expect_child("beyond the maximum, its name", beyond_the_maximum, NULL, SIGSEGV, 0, "stack_bytes_max");
    expect_child("guard of a segment", guard_of_a_segment, NULL, SIGSEGV, 0, "stack overflow: goroutine ");
    all_registers();
    ends();
    with_c();
    boundary();
    swimmers(1);
    swimmers(2);
    swimmers(8);
    deep_and_back();
    return 0;
}

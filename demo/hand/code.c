/* Machine code by hand. What a function may expect of the runtime, and the other way round, is in docs/jit.md. */
#include "code.h"
#include "emit.h"

/* A pointer to data is no pointer to a function in C; on this machine both are 64-bit numbers. */
static GoroutineFn function_at(const uint8_t *address) { return (GoroutineFn)(uintptr_t)address; }

/* mov rax, fs:[current]: the running goroutine's header. */
static void emit_current(void) {
    EMIT(0x64, 0x48, 0x8B, 0x04, 0x25);
    emit_u32((uint32_t)goroutine_tls_offset());
}

/* The end of a function whose runtime call failed: goroutine_exit(eax, NULL), so that its promise says why. It does
 * not come back, so neither the frame nor the saved registers need undoing. */
static void emit_fail(void) {
    EMIT(0x89, 0xC7); /* mov edi, eax */
    EMIT(0x31, 0xF6); /* xor esi, esi */
    EMIT_CALL(goroutine_exit);
}

/* The same for a prologue check that failed. */
static void emit_overflow(void) {
    EMIT(0xBF); /* mov edi, GOROUTINE_ESTACKOVERFLOW */
    emit_u32((uint32_t)GOROUTINE_ESTACKOVERFLOW);
    EMIT(0x31, 0xF6); /* xor esi, esi */
    EMIT_CALL(goroutine_exit);
}

static GoroutineFn emit_task(uint32_t factor, GoroutinePromise **promises) {
    emit_align();
    uint8_t *entry = emit_here();
    emit_current();
    EMIT(0x48, 0x3B, 0x20); /* cmp rsp, [rax + stack_limit] */
    uint8_t *overflow = emit_jump(JB);
    EMIT(0x53);             /* push rbx                 i */
    EMIT(0x41, 0x54);       /* push r12                 promises, then one of them */
    EMIT(0x48, 0x89, 0xFB); /* mov rbx, rdi             rsp is 8 mod 16 in the calls below: the library does not mind */

    EMIT(0x49, 0xBC); /* mov r12, promises */
    emit_u64((uintptr_t)promises);
    EMIT(0x49, 0x8B, 0x3C, 0x24);                   /* mov rdi, [r12]           the gate */
    EMIT(0x48, 0xC7, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF); /* mov rsi, FOREVER */
    EMIT(0x31, 0xD2);                               /* xor edx, edx             its value is not wanted */
    EMIT_CALL(goroutine_promise_await);
    EMIT(0x85, 0xC0); /* test eax, eax */
    uint8_t *gate_failed = emit_jump(JS);

    EMIT(0x69, 0xFB); /* imul edi, ebx, SLEEP_MIX */
    emit_u32(SLEEP_MIX);
    EMIT(0x81, 0xE7); /* and edi, SLEEP_MASK */
    emit_u32(SLEEP_MASK);
    EMIT(0x81, 0xC7); /* add edi, SLEEP_MIN_NS */
    emit_u32(SLEEP_MIN_NS);
    EMIT_CALL(goroutine_sleep);
    EMIT(0x85, 0xC0); /* test eax, eax */
    uint8_t *sleep_failed = emit_jump(JS);

    EMIT(0x48, 0x89, 0xD9);             /* mov rcx, rbx */
    EMIT(0x48, 0xD1, 0xE9);             /* shr rcx, 1 */
    EMIT(0x4D, 0x8B, 0x24, 0xCC);       /* mov r12, [r12 + rcx * 8] */
    EMIT(0x41, 0x83, 0x3C, 0x24, 0x01); /* cmp dword [r12 + state], RESOLVED   then it needs no call */
    uint8_t *resolved = emit_jump(JE);
    EMIT(0x4C, 0x89, 0xE7);                         /* mov rdi, r12 */
    EMIT(0x48, 0xC7, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF); /* mov rsi, FOREVER */
    EMIT(0x31, 0xD2);                               /* xor edx, edx */
    EMIT_CALL(goroutine_promise_await);
    EMIT(0x85, 0xC0); /* test eax, eax */
    uint8_t *await_failed = emit_jump(JS);
    emit_land(resolved);

    EMIT_CALL(goroutine_yield);
    EMIT(0x49, 0x69, 0x44, 0x24, 0x08); /* imul rax, [r12 + value], factor */
    emit_u32(factor);
    EMIT(0x48, 0x01, 0xD8); /* add rax, rbx */
    EMIT(0x41, 0x5C);       /* pop r12 */
    EMIT(0x5B);             /* pop rbx */
    EMIT(0xC3);             /* ret */

    emit_land(gate_failed);
    emit_land(sleep_failed);
    emit_land(await_failed);
    emit_fail();
    emit_land(overflow);
    emit_overflow();
    return function_at(entry);
}

static GoroutineFn emit_odd(void) {
    emit_align();
    uint8_t *entry = emit_here();
    EMIT(0x48, 0x8D, 0x44, 0x3F, 0x01); /* lea rax, [rdi + rdi + 1] */
    EMIT(0xC3);                         /* ret */
    return function_at(entry);
}

static GoroutineFn emit_yielder(void) {
    emit_align();
    uint8_t *entry = emit_here();
    EMIT(0x53);             /* push rbx                 the yields left */
    EMIT(0x55);             /* push rbp                 the yield function: a call through a register is shorter */
    EMIT(0x57);             /* push rdi */
    EMIT(0x48, 0x89, 0xFB); /* mov rbx, rdi */
    EMIT(0x48, 0xBD);       /* mov rbp, goroutine_yield */
    emit_u64((uintptr_t)goroutine_yield);
    uint8_t *loop = emit_here();
    EMIT(0xFF, 0xD5);       /* call rbp */
    EMIT(0x48, 0xFF, 0xCB); /* dec rbx */
    emit_jump_back(JNE, loop);
    EMIT(0x58); /* pop rax */
    EMIT(0x5D); /* pop rbp */
    EMIT(0x5B); /* pop rbx */
    EMIT(0xC3); /* ret */
    return function_at(entry);
}

static void *emit_batches(void) {
    enum { VALUE = BATCH_MAX * 8, FRAME = VALUE + 16, BELOW_ENTRY = FRAME + 5 * 8 };
    emit_align();
    uint8_t *entry = emit_here();
    emit_current();
    EMIT(0x48, 0x8D, 0x8C, 0x24); /* lea rcx, [rsp - BELOW_ENTRY]   more than 512 bytes: check where the frame ends */
    emit_u32((uint32_t)-BELOW_ENTRY);
    EMIT(0x48, 0x3B, 0x08); /* cmp rcx, [rax + stack_limit] */
    uint8_t *overflow = emit_jump(JB);
    EMIT(0x53);             /* push rbx                 rounds left */
    EMIT(0x55);             /* push rbp                 the sum */
    EMIT(0x41, 0x54);       /* push r12                 batch */
    EMIT(0x41, 0x55);       /* push r13                 fn */
    EMIT(0x41, 0x56);       /* push r14                 which of the batch */
    EMIT(0x48, 0x81, 0xEC); /* sub rsp, FRAME           promises of the batch, then the awaited value */
    emit_u32(FRAME);
    EMIT(0x48, 0x89, 0xFB); /* mov rbx, rdi */
    EMIT(0x31, 0xED);       /* xor ebp, ebp */
    EMIT(0x49, 0x89, 0xF4); /* mov r12, rsi */
    EMIT(0x49, 0x89, 0xD5); /* mov r13, rdx */

    uint8_t *round = emit_here();
    EMIT(0x45, 0x31, 0xF6); /* xor r14d, r14d */
    uint8_t *spawn = emit_here();
    EMIT(0x4C, 0x89, 0xEF); /* mov rdi, r13 */
    EMIT(0x4C, 0x89, 0xF6); /* mov rsi, r14 */
    EMIT_CALL(goroutine_spawn);
    EMIT(0x48, 0x85, 0xC0);       /* test rax, rax */
    uint8_t *spawn_failed = emit_jump(JE);
    EMIT(0x4A, 0x89, 0x04, 0xF4); /* mov [rsp + r14 * 8], rax */
    EMIT(0x49, 0xFF, 0xC6);       /* inc r14 */
    EMIT(0x4D, 0x39, 0xE6);       /* cmp r14, r12 */
    emit_jump_back(JB, spawn);

    EMIT(0x45, 0x31, 0xF6); /* xor r14d, r14d */
    uint8_t *await = emit_here();
    EMIT(0x4A, 0x8B, 0x3C, 0xF4);                   /* mov rdi, [rsp + r14 * 8] */
    EMIT(0x48, 0xC7, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF); /* mov rsi, FOREVER */
    EMIT(0x48, 0x8D, 0x94, 0x24);                   /* lea rdx, [rsp + VALUE] */
    emit_u32(VALUE);
    EMIT_CALL(goroutine_promise_await_take);
    EMIT(0x85, 0xC0); /* test eax, eax */
    uint8_t *await_failed = emit_jump(JS);
    EMIT(0x48, 0x03, 0xAC, 0x24); /* add rbp, [rsp + VALUE] */
    emit_u32(VALUE);
    EMIT(0x49, 0xFF, 0xC6); /* inc r14 */
    EMIT(0x4D, 0x39, 0xE6); /* cmp r14, r12 */
    emit_jump_back(JB, await);

    emit_current();
    EMIT(0x83, 0x78, 0x10, 0x00); /* cmp dword [rax + preempt], 0   a loop's back edge is where a goroutine gives way */
    uint8_t *go_on = emit_jump(JE);
    EMIT_CALL(goroutine_safepoint);
    emit_land(go_on);
    EMIT(0x48, 0xFF, 0xCB); /* dec rbx */
    emit_jump_back(JNE, round);

    EMIT(0x48, 0x89, 0xE8); /* mov rax, rbp */
    EMIT(0x48, 0x81, 0xC4); /* add rsp, FRAME */
    emit_u32(FRAME);
    EMIT(0x41, 0x5E); /* pop r14 */
    EMIT(0x41, 0x5D); /* pop r13 */
    EMIT(0x41, 0x5C); /* pop r12 */
    EMIT(0x5D);       /* pop rbp */
    EMIT(0x5B);       /* pop rbx */
    EMIT(0xC3);       /* ret */

    emit_land(spawn_failed);
    EMIT(0xB8); /* mov eax, GOROUTINE_ENOMEM */
    emit_u32((uint32_t)GOROUTINE_ENOMEM);
    emit_land(await_failed);
    emit_fail();
    emit_land(overflow);
    emit_overflow();
    return entry;
}

void code_emit(Code *code, GoroutinePromise **promises) {
    emit_begin(64 << 10);
    for (uint32_t v = 0; v < VARIANTS; v++) code->task[v] = emit_task(FACTOR(v), promises);
    code->odd = emit_odd();
    code->yielder = emit_yielder();
    code->batches = emit_batches();
    emit_seal();
}

/* A very small assembler: machine code in mapped memory, as a JIT compiler makes it. */
#ifndef EMIT_H
#define EMIT_H

#include "check.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { EQUAL = 4, NOT_EQUAL = 5 };

typedef struct Emit {
    uint8_t *code;
    size_t used, size;
} Emit;

static inline Emit emit_begin(size_t size) {
    Emit e;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    e.code = (uint8_t *)memory;
    e.used = 0;
    e.size = size;
    return e;
}
/* The finished code. */
static inline void *emit_end(Emit *e) {
    CHECK(mprotect(e->code, e->size, PROT_READ | PROT_EXEC) == 0);
    return e->code;
}
static inline void emit_bytes(Emit *e, const void *bytes, size_t n) {
    CHECK(e->used + n <= e->size);
    memcpy(e->code + e->used, bytes, n);
    e->used += n;
}
/* EMIT(e, "\x90"): bytes of a literal. */
#define EMIT(e, literal) emit_bytes((e), literal, sizeof(literal) - 1)
static inline void emit_u8(Emit *e, unsigned byte) {
    uint8_t b = (uint8_t)byte;
    emit_bytes(e, &b, 1);
}
static inline void emit_u32(Emit *e, uint32_t n) { emit_bytes(e, &n, 4); }
static inline void emit_u64(Emit *e, uint64_t n) { emit_bytes(e, &n, 8); }

/* op reg, [base + disp32] with a 64-bit operand: 0x8B load, 0x89 store, 0x3B compare. */
static inline void emit_memory(Emit *e, unsigned op, unsigned reg, unsigned base, int32_t disp) {
    emit_u8(e, 0x48 | (reg >> 3) << 2 | base >> 3);
    emit_u8(e, op);
    emit_u8(e, 0x80 | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == RSP) emit_u8(e, 0x24);
    emit_u32(e, (uint32_t)disp);
}
static inline void emit_load(Emit *e, unsigned reg, unsigned base, int32_t disp) { emit_memory(e, 0x8B, reg, base, disp); }
static inline void emit_store(Emit *e, unsigned reg, unsigned base, int32_t disp) { emit_memory(e, 0x89, reg, base, disp); }
static inline void emit_compare(Emit *e, unsigned reg, unsigned base, int32_t disp) { emit_memory(e, 0x3B, reg, base, disp); }
/* mov reg, constant */
static inline void emit_constant(Emit *e, unsigned reg, uint64_t value) {
    emit_u8(e, 0x48 | reg >> 3);
    emit_u8(e, 0xB8 | (reg & 7));
    emit_u64(e, value);
}
/* mov rax, function; call rax */
static inline void emit_call(Emit *e, void *function) {
    emit_constant(e, RAX, U(function));
    EMIT(e, "\xFF\xD0");
}
/* add rsp, n (n may be negative) */
static inline void emit_move_stack(Emit *e, int32_t n) {
    EMIT(e, "\x48\x81\xC4");
    emit_u32(e, (uint32_t)n);
}
static inline void emit_return(Emit *e) { EMIT(e, "\xC3"); }
/* A jump whose target comes later: give the result to emit_land. */
static inline size_t emit_jump_if(Emit *e, unsigned condition) {
    EMIT(e, "\x0F");
    emit_u8(e, 0x80 | condition);
    emit_u32(e, 0);
    return e->used;
}
static inline void emit_land(Emit *e, size_t jump) {
    int32_t distance = (int32_t)(e->used - jump);
    memcpy(e->code + jump - 4, &distance, 4);
}
static inline void emit_jump_back_if(Emit *e, unsigned condition, size_t target) {
    size_t jump = emit_jump_if(e, condition);
    int32_t distance = (int32_t)(target - jump);
    memcpy(e->code + jump - 4, &distance, 4);
}

/* A function call_at(function, args) that calls function(args[0] ... args[5]) with rsp at 0 or 8 mod 16. */
typedef uint64_t (*CallAt)(void *function, const uint64_t *args);
static inline CallAt emit_call_at(unsigned misalignment) {
    Emit e = emit_begin(4096);
    EMIT(&e, "\x55\x48\x89\xE5");     /* push rbp; mov rbp, rsp */
    EMIT(&e, "\x48\x83\xE4\xF0");     /* and rsp, -16 */
    emit_move_stack(&e, -(int32_t)(16 + misalignment));
    EMIT(&e, "\x48\x89\xF8");         /* mov rax, rdi */
    EMIT(&e, "\x49\x89\xF2");         /* mov r10, rsi */
    emit_load(&e, RDI, R10, 0);
    emit_load(&e, RSI, R10, 8);
    emit_load(&e, RDX, R10, 16);
    emit_load(&e, RCX, R10, 24);
    emit_load(&e, R8, R10, 32);
    emit_load(&e, R9, R10, 40);
    EMIT(&e, "\xFF\xD0\xC9\xC3");     /* call rax; leave; ret */
    return (CallAt)(uintptr_t)emit_end(&e);
}

#endif

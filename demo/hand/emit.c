#define _GNU_SOURCE
#include "emit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint8_t *start, *at, *end;

static void stop(const char *why) {
    fprintf(stderr, "emit: %s\n", why);
    exit(1);
}

void emit_begin(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) stop("no memory for code");
    start = at = memory;
    end = start + bytes;
}

void emit_bytes(const uint8_t *bytes, size_t n) {
    if ((size_t)(end - at) < n) stop("the code buffer is full");
    memcpy(at, bytes, n);
    at += n;
}

/* x86 is little-endian, and so is this program: it runs what it emits. */
void emit_u32(uint32_t value) { emit_bytes((const uint8_t *)&value, sizeof value); }
void emit_u64(uint64_t value) { emit_bytes((const uint8_t *)&value, sizeof value); }

uint8_t *emit_here(void) { return at; }

void emit_align(void) {
    while ((uintptr_t)at % 16 != 0) EMIT(0xCC); /* int3 */
}

uint8_t *emit_jump(uint8_t opcode) {
    if (opcode != JMP) EMIT(0x0F);
    EMIT(opcode, 0, 0, 0, 0);
    return at;
}

/* The distance counts from the instruction after the jump. */
static void aim(uint8_t *jump, const uint8_t *target) {
    int32_t distance = (int32_t)(target - jump);
    memcpy(jump - 4, &distance, 4);
}

void emit_jump_back(uint8_t opcode, const uint8_t *target) { aim(emit_jump(opcode), target); }

void emit_land(uint8_t *jump) { aim(jump, at); }

void emit_call(AnyFunction function) {
    EMIT(0x48, 0xB8); /* mov rax, imm64 */
    emit_u64((uintptr_t)function);
    EMIT(0xFF, 0xD0); /* call rax */
}

void emit_seal(void) {
    if (mprotect(start, (size_t)(end - start), PROT_READ | PROT_EXEC) != 0) stop("the code cannot be made executable");
}

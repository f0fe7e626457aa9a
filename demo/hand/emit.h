/* Memory for machine code, and what writes into it. Written first, executable after seal(), never both (W^X). */
#ifndef EMIT_H
#define EMIT_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of one instruction. */
#define EMIT(...) emit_bytes((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

void emit_begin(size_t bytes);
void emit_bytes(const uint8_t *bytes, size_t n);
void emit_u32(uint32_t value);
void emit_u64(uint64_t value);

/* The address of the next instruction: a function's, or where a jump back goes. Functions start at 16-byte lines. */
uint8_t *emit_here(void);
void emit_align(void);

/* Jumps with a 32-bit distance: jmp, or 0F and the condition. A jump forward gives what emit_land() wants once its
 * target is here. */
enum { JMP = 0xE9, JB = 0x82, JE = 0x84, JNE = 0x85, JS = 0x88 };
void emit_jump_back(uint8_t opcode, const uint8_t *target);
uint8_t *emit_jump(uint8_t opcode);
void emit_land(uint8_t *jump);

/* mov rax, function; call rax: the library may be further away than a call's 32 bits reach. Takes any function
 * pointer, for there is none that holds all in C. */
typedef void (*AnyFunction)(void);
#define EMIT_CALL(function) emit_call((AnyFunction)(function))
void emit_call(AnyFunction function);

/* Makes the code executable, and no longer writable. */
void emit_seal(void);

#endif

/* Emitted functions with names, for tests of goroutine_code_register. */
#ifndef CODE_H
#define CODE_H

#include "emit.h"

static inline GoroutineCode code_of(const char *name, const void *code, size_t bytes, uint32_t flags) {
    GoroutineCode c;
    memset(&c, 0, sizeof c);
    c.size = sizeof c;
    c.flags = flags;
    c.name = name;
    c.code = code;
    c.code_bytes = bytes;
    return c;
}

/* void *f(void *arg) { return function(arg); } with a frame pointer. */
static inline size_t emit_framed(Emit *e, void *function) {
    size_t start = e->used;
    EMIT(e, "\x55\x48\x89\xE5"); /* push rbp; mov rbp, rsp */
    emit_call(e, function);
    EMIT(e, "\x5D\xC3");         /* pop rbp; ret */
    return e->used - start;
}

/* The same without one, for which there is a table: so many bytes of frame, 8 more than a multiple of 16. */
static inline size_t emit_with_frame(Emit *e, void *function, unsigned frame) {
    size_t start = e->used;
    emit_move_stack(e, -(int32_t)frame); /* 7 bytes */
    emit_call(e, function);
    emit_move_stack(e, (int32_t)frame);
    emit_return(e);
    return e->used - start;
}
static inline size_t emit_unframed(Emit *e, void *function) { return emit_with_frame(e, function, 40); }

/* Room for code, and after it for a table, which lies near enough to be relative. */
static inline Emit emit_beside_table(void) {
    Emit e = emit_begin(8192);
    e.size = 4096;
    return e;
}
static inline uint8_t *table_beside(const Emit *e) { return e->code + e->size; }

/* Its table, with addresses relative to where they are, as compilers write them, and without an end. Gives its size. */
static inline size_t frames_of(uint8_t *to, const void *code, size_t bytes, unsigned frame) {
    static const uint8_t CIE[] = {20, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1B, 0x0C, 7, 8, 0x90, 1, 0, 0};
    /* Advance by 7, the frame begins at rsp + frame + 8; before the last instruction it is at rsp + 8 again. */
    uint8_t fde[] = {24, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x47, 0x0E, 48, 0x02, 0, 0x0E, 8, 0, 0, 0, 0};
    int32_t relative;
    uint32_t n = (uint32_t)bytes;
    memcpy(to, CIE, sizeof CIE);
    relative = (int32_t)((intptr_t)code - (intptr_t)(to + sizeof CIE + 8));
    memcpy(fde + 8, &relative, 4);
    memcpy(fde + 12, &n, 4);
    fde[19] = (uint8_t)(frame + 8);
    fde[21] = (uint8_t)(bytes - 1 - 7);
    memcpy(to + sizeof CIE, fde, sizeof fde);
    return sizeof CIE + sizeof fde;
}
static inline size_t frames_of_unframed(uint8_t *to, const void *code, size_t bytes) { return frames_of(to, code, bytes, 40); }

#endif

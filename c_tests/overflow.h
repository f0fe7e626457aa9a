/* Goroutines that overflow their stacks, in C and in emitted code. */
#ifndef OVERFLOW_H
#define OVERFLOW_H

#include "emit.h"
#include "runs_out.h"

/* push rdi; call itself */
static GoroutineFn emitted, emitted_checked;
static void *emit_recursion(bool checked) {
    Emit e = emit_begin(4096);
    if (checked) {
        size_t fits;
        EMIT(&e, "\x64\x48\x8B\x04\x25");
        emit_u32(&e, (uint32_t)goroutine_tls_offset());
        EMIT(&e, "\x48\x3B\x20"); /* cmp rsp, [rax] */
        fits = emit_jump_if(&e, 3);
        EMIT(&e, "\x41\xBA\x40\0\0\0\x45\x31\xDB"); /* mov r10d, 64; xor r11d, r11d */
        emit_call(&e, CODE(goroutine_more_stack_prologue));
        emit_land(&e, fits);
    }
    EMIT(&e, "\x57\xE8"); /* push rdi; call */
    emit_u32(&e, (uint32_t) - (int32_t)(e.used + 4));
    EMIT(&e, "\x5F\xC3");
    return emit_end(&e);
}
static void *good(void *arg) {
    goroutine_yield();
    return P(U(arg) * 3);
}

/* A libc function is what overflows, with 900 bytes left. */
RUNS_OUT static uint64_t to_the_edge(char *low, volatile uint64_t *above, uint64_t depth) {
    volatile uint64_t frame[8];
    char text[32];
    frame[depth % 8] = *above + depth;
    if ((char *)(uintptr_t)frame - low < 900) return (uint64_t)snprintf(text, sizeof text, "%f", (double)depth);
    return to_the_edge(low, frame, depth + 1) + frame[depth % 8];
}
RUNS_OUT static void *in_libc(void *arg) {
    volatile uint64_t top = U(arg);
    void *low, *high;
    OK(goroutine_stack_bounds(&low, &high));
    return P(to_the_edge((char *)low, &top, 1));
}

#endif

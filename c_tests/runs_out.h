/* C that runs out of stack. */
#ifndef RUNS_OUT_H
#define RUNS_OUT_H

#include "check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

RUNS_OUT static uint64_t recursion(volatile uint64_t *above, uint64_t depth) {
    volatile uint64_t frame[16];
    frame[depth % 16] = depth + *above;
    return depth == UINT64_MAX ? 0 : recursion(frame, depth + 1) + frame[(depth + 1) % 16];
}
RUNS_OUT static void *in_c(void *arg) {
    volatile uint64_t top = U(arg);
    return P(recursion(&top, 1));
}
static void *on_segment(void *arg) { return goroutine_more_stack(in_c, arg); }

#endif

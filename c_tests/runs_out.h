/* C that runs out of stack. */
#ifndef RUNS_OUT_H
#define RUNS_OUT_H

#include "check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* What runs out of stack. ThreadSanitizer is not told of it: else the stack mostly ends in its functions, which are no code of the program's, and it
 * takes the frames that are given up to be there still. */
#if defined(__SANITIZE_THREAD__)
#define RUNS_OUT __attribute__((no_sanitize("thread")))
#else
#define RUNS_OUT
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

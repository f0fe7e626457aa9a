/* The functions that this demonstration emits. */
#ifndef CODE_H
#define CODE_H

#include <goroutine.h>

/* Task i is the code of variant i % VARIANTS, as a compiler emits code with its constants in it. */
#define VARIANTS 16
#define FACTOR(variant) (2 * (variant) + 3)

#define SLEEP_MIN_NS 200000000u
#define SLEEP_MIX 0x9E3779B1u  /* spreads the sleeps: */
#define SLEEP_MASK 0x0FFFFFFFu /* SLEEP_MIN_NS + (i * SLEEP_MIX & SLEEP_MASK), 200 to 468 ms */

#define BATCH_MAX 100

typedef struct {
    /* task(i): awaits promises[0], sleeps, awaits promises[i / 2], yields,
     * gives FACTOR(i % VARIANTS) * that value + i. */
    GoroutineFn task[VARIANTS];
    /* odd(i): gives 2 * i + 1. */
    GoroutineFn odd;
    /* yielder(n): yields n times, gives n. */
    GoroutineFn yielder;
    /* batches(rounds, batch, fn): spawns fn(0) ... fn(batch - 1), awaits them, rounds times; gives the sum. */
    void *batches;
} Code;

void code_emit(Code *code, GoroutinePromise **promises);

#endif

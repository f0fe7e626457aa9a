/* timeout: 3600 */
/* 1,000,000 goroutines parked at the same time, with the kernel's default vm.max_map_count: half of them by emitted code in
 * goroutine_sleep, half by C code in goroutine_promise_await. All then finish, and round after round the process does not grow.
 *
 * stress_million [ROUNDS [COUNT]], by default 10 and 1,000,000. Prints (VmRSS + VmPTE) per goroutine; fails above 4,800. */
#include "emit.h"
#include "proc.h"

#ifndef GOROUTINES
#define GOROUTINES 1000000
#define ROUNDS 10
#endif
enum { BYTES_MAX = 4800 };

static uint64_t asleep, waiting, finished;
static GoroutinePromise *gate;
static uint64_t sleep_until;

static void count_asleep(void) { ADD(asleep, 1); }
static uint64_t nap(void) {
    uint64_t now = now_ns();
    return now < sleep_until ? sleep_until - now : 1;
}
static void count_finished(void) { ADD(finished, 1); }

/* void *f(void *): count_asleep(); goroutine_sleep(nap()); count_finished(); return its status. */
static void *emit_sleeper(void) {
    Emit e = emit_begin(4096);
    EMIT(&e, "\x53");                 /* push rbx */
    emit_call(&e, CODE(count_asleep));
    emit_call(&e, CODE(nap));
    EMIT(&e, "\x48\x89\xC7");         /* mov rdi, rax */
    emit_call(&e, CODE(goroutine_sleep));
    EMIT(&e, "\x89\xC3");             /* mov ebx, eax */
    emit_call(&e, CODE(count_finished));
    EMIT(&e, "\x89\xD8\x5B");         /* mov eax, ebx; pop rbx */
    emit_return(&e);
    return emit_end(&e);
}
static void *waiter(void *arg) {
    void *value = NULL;
    ADD(waiting, 1);
    OK(goroutine_promise_await(gate, GOROUTINE_FOREVER, &value));
    CHECK_EQ(U(value), 99);
    ADD(finished, 1);
    return arg;
}

int main(int argc, char **argv) {
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 0) : ROUNDS;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : GOROUTINES;
    uint64_t before, first = 0, round, i;
    /* A million pages to get take 5 s alone, much more on a busy machine. */
    uint64_t patience = 20 * SECOND * count / 1000000 + SECOND;
    void *sleeper = emit_sleeper();
    if (THREADS_SANITIZED && count > 6000) count = 6000; /* it has some 8,000 */
    if (is_slow() && !THREADS_SANITIZED) {
        fprintf(stderr, "skipped: memory is not ours under an instrument\n");
        return 77;
    }
    OK(goroutine_runtime_start(NULL));
    before = memory_bytes();
    for (round = 1; round <= rounds; round++) {
        uint64_t begin = now_ns(), bytes;
        asleep = waiting = finished = 0;
        gate = goroutine_promise_new();
        CHECK(gate != NULL);
        /* They sleep until a common moment. If it comes before all are parked, the round is run again with a later one. */
        SET(sleep_until, begin + patience);
        for (i = 0; i < count / 2; i++) {
            OK(goroutine_go(FN(sleeper), NULL));
            OK(goroutine_go(waiter, NULL));
        }
        while (GET(asleep) + GET(waiting) != count / 2 * 2) thread_sleep(1 * MS);
        thread_sleep(20 * MS); /* the last ones park */
        bytes = (memory_bytes() - before) / count;
        if (GET(finished) != 0) {
            fprintf(stderr, "round %" PRIu64 ": not all were parked after %.2f s: once more\n", round, (double)(now_ns() - begin) / 1e9);
            OK(goroutine_promise_resolve(gate, P(99)));
            OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
            goroutine_promise_release(gate);
            patience *= 2;
            CHECK(patience < 600 * SECOND);
            round--;
            continue;
        }
        fprintf(stderr, "round %" PRIu64 ": %" PRIu64 " goroutines parked after %.2f s, %" PRIu64 " bytes each\n", round,
                count - GET(finished), (double)(now_ns() - begin) / 1e9, bytes);
        if (!THREADS_SANITIZED) CHECK(bytes <= BYTES_MAX); /* with its own for each */
        /* Here, and not after the end: then the library gives memory back, in the background. 5%: a stack keeps the deepest
         * page it ever used, and who gets which stack differs from round to round. */
        if (round == 1) first = bytes;
        if (!THREADS_SANITIZED) CHECK(bytes <= first + first / 20);
        OK(goroutine_promise_resolve(gate, P(99)));
        OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
        CHECK_EQ(GET(finished), count / 2 * 2);
        goroutine_promise_release(gate);
        fprintf(stderr, "  finished after %.2f s, %" PRIu64 " MiB\n", (double)(now_ns() - begin) / 1e9, memory_bytes() >> 20);
    }
    stop();
    return 0;
}

/* An emitted function may leave garbage in every callee-saved register: 100,000 goroutines of it do no harm, neither to the
 * library nor to goroutines that keep theirs. */
#include "emit.h"

/* void *f(void *n): fills rbx, rbp, r12-r15 with garbage, sets MXCSR, x87 control word and direction flag, yields if asked. */
static void *emit_clobber(bool yields) {
    static const unsigned KEPT[6] = {RBX, RBP, R12, R13, R14, R15};
    Emit e = emit_begin(4096);
    int i;
    emit_move_stack(&e, -24);
    emit_store(&e, RDI, RSP, 8);
    for (i = 0; i < 6; i++) emit_constant(&e, KEPT[i], 0xDEADBEEF00000000ull + (uint64_t)i);
    if (yields) {
        emit_call(&e, CODE(goroutine_yield));
        for (i = 0; i < 6; i++) emit_constant(&e, KEPT[i], 1 + (uint64_t)i);
    }
    EMIT(&e, "\xC7\x04\x24\xC0\xFF\x00\x00\x0F\xAE\x14\x24"); /* ldmxcsr 0xffc0 */
    EMIT(&e, "\x66\xC7\x04\x24\x7F\x0C\xD9\x2C\x24");         /* fldcw 0x0c7f */
    emit_load(&e, RAX, RSP, 8);
    emit_move_stack(&e, 24);
    emit_return(&e);
    return emit_end(&e);
}

static uint64_t kept;
static void *keeps(void *arg) {
    volatile double third = 1.0;
    uint64_t a = U(arg), b = a * 3, c = a * 5, d = a * 7, e = a * 11, f = a * 13;
    int i;
    for (i = 0; i < 200; i++) {
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
        goroutine_yield();
        CHECK(b == a * 3 && c == a * 5 && d == a * 7 && e == a * 11 && f == a * 13);
        third = 1.0;
        third = third / 3.0;
        CHECK(third == 0.33333333333333331);
    }
    ADD(kept, 1);
    return arg;
}
static void *spawns(void *arg) {
    void *clobber = arg;
    uint64_t n = scaled(25000, 50), i;
    for (i = 0; i < n; i++) {
        OK(goroutine_go(FN(clobber), P(i)));
        if (i % 100 == 99) goroutine_yield();
    }
    return NULL;
}
int main(void) {
    void *clobbers[2];
    uint32_t workers;
    clobbers[0] = emit_clobber(false);
    clobbers[1] = emit_clobber(true);
    for (workers = 1; workers <= 2; workers++) {
        GoroutinePromise *promise;
        void *value = NULL;
        uint64_t i;
        kept = 0;
        start_workers(workers);
        for (i = 0; i < 50; i++) OK(goroutine_go(keeps, P(i)));
        for (i = 0; i < 2; i++) OK(goroutine_go(spawns, clobbers[i]));
        for (i = 0; i < 1000; i++) {
            promise = goroutine_spawn(FN(clobbers[i % 2]), P(i));
            CHECK(promise != NULL);
            OK(goroutine_promise_await_take(promise, 60 * SECOND, &value));
            CHECK_EQ(U(value), i);
        }
        OK(goroutine_runtime_wait(60 * SECOND));
        CHECK_EQ(kept, 50);
        stop();
    }
    return 0;
}

/* A code generator of UltraScript's kind, as small as it can be, and what its test programs share.
 *
 * A function it emits has a frame of 8-byte locals at rsp, no frame pointer, no unwind table. It calls with
 * `movabs rax, address; call rax`, with rsp at 0 or 8 mod 16 as the seed says, after storing below rsp, far beyond the red zone. It
 * takes what it is passed in rdi, rsi, ... and its scope in r12, keeps everything in locals, and returns with garbage in
 * rbx, rbp and r12-r15.
 *
 *   GOROUTINE_TEST_SEED    varies frames, delays and sizes
 *   GOROUTINE_TEST_ROUNDS  how often a program runs, each time between an init and a cleanup */
#ifndef US_H
#define US_H

#include "../emit.h"
#include <ultrascript_runtime.h>

enum { BELOW = 2, LESS = 0xC };
static uint64_t us_random = 1;
static inline uint64_t us_below(uint64_t n) { return random_next(&us_random) % n; }

/* C that emitted code calls: it aligns the stack itself. */
#define HOST static __attribute__((force_align_arg_pointer, noinline))

typedef struct Function {
    Emit e;
    int32_t frame;
} Function;

/* op to, from (64 bits): 0x89 mov, 0x01 add, 0x29 sub, 0x39 cmp */
static inline void us_op(Function *f, unsigned op, unsigned to, unsigned from) {
    emit_u8(&f->e, 0x48 | (from >> 3) << 2 | to >> 3);
    emit_u8(&f->e, op);
    emit_u8(&f->e, 0xC0 | (from & 7) << 3 | (to & 7));
}
static inline void us_move(Function *f, unsigned to, unsigned from) { us_op(f, 0x89, to, from); }
/* op reg, constant: 0 add, 5 sub, 7 cmp */
static inline void us_op_constant(Function *f, unsigned op, unsigned reg, int32_t n) {
    emit_u8(&f->e, 0x48 | reg >> 3);
    emit_u8(&f->e, 0x81);
    emit_u8(&f->e, 0xC0 | op << 3 | (reg & 7));
    emit_u32(&f->e, (uint32_t)n);
}
static inline void us_set(Function *f, unsigned local, unsigned reg) { emit_store(&f->e, reg, RSP, (int32_t)(8 * local)); }
static inline void us_get(Function *f, unsigned reg, unsigned local) { emit_load(&f->e, reg, RSP, (int32_t)(8 * local)); }
static inline void us_constant(Function *f, unsigned reg, uint64_t value) { emit_constant(&f->e, reg, value); }
/* op reg, [base + 8 * index]: 0x8B load, 0x89 store */
static inline void us_indexed(Function *f, unsigned op, unsigned reg, unsigned base, unsigned index) {
    emit_u8(&f->e, 0x48 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3);
    emit_u8(&f->e, op);
    emit_u8(&f->e, 0x80 | (reg & 7) << 3 | 4);
    emit_u8(&f->e, 0xC0 | (index & 7) << 3 | (base & 7));
    emit_u32(&f->e, 0);
}
/* lock add qword [address], 1. Clobbers rcx. */
static inline void us_count(Function *f, uint64_t *counter) {
    us_constant(f, RCX, U(counter));
    EMIT(&f->e, "\xF0\x48\xFF\x01");
}

/* Locals are numbered from 0; nothing else is in the frame. */
static inline Function us_begin(unsigned locals) {
    Function f;
    f.e = emit_begin(16384);
    /* rsp is 8 mod 16 here, and at the calls what the seed says */
    f.frame = (int32_t)((8 * locals + 15) / 16 * 16 + 8 * us_below(2));
    emit_move_stack(&f.e, -f.frame);
    return f;
}
/* Into memory below rsp that nobody reserved. */
static inline void us_scribble(Function *f) {
    static const int32_t AT[4] = {-8, -136, -1024, -3800};
    unsigned i;
    for (i = 0; i < 4; i++) emit_store(&f->e, RSP, RSP, AT[i]);
}
static inline void us_call(Function *f, void *function) {
    us_scribble(f);
    emit_call(&f->e, function);
}
#define US_CALL(f, name) us_call((f), CODE(name))
/* Returns rax. */
static inline void us_return(Function *f) {
    static const unsigned KEPT[6] = {RBX, RBP, R12, R13, R14, R15};
    unsigned i;
    for (i = 0; i < 6; i++) emit_constant(&f->e, KEPT[i], random_next(&us_random));
    emit_move_stack(&f->e, f->frame);
    emit_return(&f->e);
}
static inline void *us_end(Function *f) {
    us_return(f);
    return emit_end(&f->e);
}
/* for (i = 0; i < n; i++) ... */
static inline size_t us_loop(Function *f, unsigned i) {
    us_constant(f, RCX, 0);
    us_set(f, i, RCX);
    return f->e.used;
}
static inline void us_again(Function *f, unsigned i, uint64_t n, size_t loop) {
    us_get(f, RCX, i);
    us_op_constant(f, 0, RCX, 1);
    us_set(f, i, RCX);
    us_op_constant(f, 7, RCX, (int32_t)n);
    emit_jump_back_if(&f->e, LESS, loop);
}

/* ---- Running a program ---- */

typedef struct Program {
    void *(*emit)(void);   /* its main function, emitted once */
    void (*before)(void);  /* each round, before the start; may be NULL */
    void (*check)(void);   /* after the program's end, the runtime still up */
} Program;

static inline void us_start(void) {
    __new_goroutine_system_init();
    if (us_below(2) == 0) __new_goroutine_system_init(); /* harmless */
}
static inline void us_stop(void) {
    __new_goroutine_system_cleanup();
    if (us_below(2) == 0) __new_goroutine_system_cleanup();
}
static inline GoroutineStats us_stats(void) {
    GoroutineStats stats;
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    return stats;
}
static inline int us_run(const Program *program) {
    uint64_t rounds = environment_number("GOROUTINE_TEST_ROUNDS", 3), i;
    void *code;
    us_random = random_seed(environment_number("GOROUTINE_TEST_SEED", 1), 0);
    code = program->emit();
    for (i = 0; i < rounds; i++) {
        GoroutineStats stats;
        if (program->before != NULL) program->before();
        us_start();
        if (us_below(2) == 0) {
            __runtime_spawn_main_goroutine(code);
            __runtime_wait_for_main_goroutine();
        } else {
            __runtime_spawn_main_goroutine_v2(code);
            __runtime_wait_for_main_goroutine_v2();
        }
        stats = us_stats();
        CHECK(stats.live == 0 && stats.async_operations == 0 && stats.timers == 0);
        program->check();
        us_stop();
    }
    return 0;
}

#endif

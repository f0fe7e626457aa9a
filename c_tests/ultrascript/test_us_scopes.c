/* Closures: a scope is passed in r12, its parent is its first word; a goroutine that takes four scopes, six arguments in registers
 * and three on the stack. */
#include "us.h"
#include <stddef.h>

enum { OUTERS = 40, INNERS = 25 };
typedef struct Scope {
    struct Scope *parent;
    uint64_t count, added;
} Scope;
static Scope global, middle[OUTERS];
static uint64_t many[13];

/* void *inner(void *n), r12 = a middle scope: counts there and in its parent. */
static void *emit_inner(void) {
    Function f = us_begin(2);
    us_set(&f, 0, RDI);
    us_set(&f, 1, R12);
    us_constant(&f, RDI, 0);
    US_CALL(&f, __runtime_time_sleep_millis); /* others run, and clobber what they can */
    us_get(&f, RDX, 1);
    EMIT(&f.e, "\xF0\x48\xFF\x42\x08");       /* lock inc qword [rdx + 8] */
    us_get(&f, RCX, 0);
    emit_load(&f.e, RDX, RDX, 0);
    EMIT(&f.e, "\xF0\x48\xFF\x42\x08");
    EMIT(&f.e, "\xF0\x48\x01\x4A\x10");       /* lock add [rdx + 16], rcx */
    us_get(&f, RAX, 1);
    return us_end(&f);
}
/* void *outer(void *middle), r12 = the global scope: INNERS closures over `middle`, awaited in pairs. */
static void *emit_outer(void *inner) {
    Function f = us_begin(4);
    size_t loop;
    us_set(&f, 0, RDI);
    us_set(&f, 1, R12);
    emit_store(&f.e, R12, RDI, 0); /* middle->parent = what came in r12 */
    loop = us_loop(&f, 2);
    us_constant(&f, RDI, U(inner));
    us_get(&f, RSI, 2);
    us_get(&f, RDX, 0);
    US_CALL(&f, __goroutine_spawn_func_ptr_with_scope);
    us_set(&f, 3, RAX);
    us_again(&f, 2, INNERS, loop);
    us_get(&f, RDI, 3);
    US_CALL(&f, __promise_await); /* its own scope is what it gave back */
    us_get(&f, RCX, 0);
    us_op(&f, 0x29, RAX, RCX);
    return us_end(&f);
}
/* void *f(...): keeps all it was given: r12-r15, then six arguments, then three from the stack. */
static void *emit_many(void) {
    static const unsigned REGISTERS[10] = {R12, R13, R14, R15, RDI, RSI, RDX, RCX, R8, R9};
    Function f = us_begin(0);
    unsigned i;
    us_constant(&f, RAX, U(many));
    for (i = 0; i < 10; i++) emit_store(&f.e, REGISTERS[i], RAX, (int32_t)(8 * i));
    for (i = 0; i < 3; i++) {
        emit_load(&f.e, RCX, RSP, f.frame + 8 + (int32_t)(8 * i));
        emit_store(&f.e, RCX, RAX, (int32_t)(8 * (10 + i)));
    }
    return us_end(&f);
}
static uint64_t differences;
static GoroutineSpawn request;
static uint64_t on_stack[3];
static GoroutinePromise *promise_of_many;
static void *emit_main(void) {
    void *outer = emit_outer(emit_inner()), *takes_many = emit_many();
    Function f;
    size_t loop;
    unsigned i;
    goroutine_spawn_init(&request);
    request.fn = takes_many;
    for (i = 0; i < 6; i++) request.int_args[i] = 105 + i;
    for (i = 0; i < 3; i++) on_stack[i] = 111 + i;
    request.stack_args = on_stack;
    request.stack_args_count = 3;
    request.r12 = 101, request.r13 = 102, request.r14 = 103, request.r15 = 104;
    f = us_begin(2);
    us_constant(&f, RDI, U(&request));
    us_constant(&f, RSI, U(&promise_of_many));
    US_CALL(&f, goroutine_spawn_with);
    loop = us_loop(&f, 0);
    us_get(&f, RCX, 0);
    EMIT(&f.e, "\x48\x6B\xC9\x18"); /* imul rcx, rcx, sizeof(Scope) */
    us_constant(&f, RSI, U(middle));
    us_op(&f, 0x01, RSI, RCX);
    us_constant(&f, RDI, U(outer));
    us_constant(&f, RDX, U(&global));
    US_CALL(&f, __goroutine_spawn_func_ptr_with_scope);
    us_move(&f, RDI, RAX);
    US_CALL(&f, __promise_await);
    us_constant(&f, RCX, U(&differences));
    EMIT(&f.e, "\x48\x09\x01"); /* or [rcx], rax */
    us_again(&f, 0, OUTERS, loop);
    return us_end(&f);
}
static void before(void) {
    memset(&global, 0, sizeof global);
    memset(middle, 0, sizeof middle);
    memset(many, 0, sizeof many);
    differences = 0;
    CHECK_EQ(sizeof(Scope), 24);
}
static void check(void) {
    unsigned i;
    CHECK_EQ(global.count, OUTERS * INNERS);
    CHECK_EQ(global.added, OUTERS * (INNERS * (INNERS - 1) / 2));
    for (i = 0; i < OUTERS; i++) CHECK(middle[i].parent == &global && middle[i].count == INNERS);
    CHECK_EQ(differences, 0);
    for (i = 0; i < 13; i++) CHECK_EQ(many[i], 101 + i);
    goroutine_promise_release(promise_of_many);
}
int main(void) {
    static const Program program = {emit_main, before, check};
    return us_run(&program);
}

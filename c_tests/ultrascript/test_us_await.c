/* `await go f()`, in a tree: fib(n) awaits two goroutines, one of each kind. */
#include "us.h"

enum { N = 12, FIB_N = 144 };
static uint64_t calls;
static void *result, *waited[2];

/* void *f(void *n). The address of the code comes before the code: it calls itself. */
static void *emit_fib(void) {
    Function f = us_begin(4);
    size_t small;
    us_set(&f, 0, RDI);
    us_count(&f, &calls);
    us_get(&f, RAX, 0);
    us_op_constant(&f, 7, RAX, 2);
    small = emit_jump_if(&f.e, LESS);
    us_constant(&f, RDI, U(f.e.code));
    us_get(&f, RSI, 0);
    us_op_constant(&f, 5, RSI, 1);
    US_CALL(&f, __goroutine_spawn_func_ptr);
    us_set(&f, 1, RAX);
    us_constant(&f, RDI, U(f.e.code));
    us_get(&f, RSI, 0);
    us_op_constant(&f, 5, RSI, 2);
    us_constant(&f, RDX, 0);
    US_CALL(&f, __goroutine_spawn_func_ptr_with_scope);
    us_set(&f, 2, RAX);
    us_move(&f, RDI, RAX);
    US_CALL(&f, __promise_await);
    us_set(&f, 3, RAX);
    us_get(&f, RDI, 1);
    US_CALL(&f, __promise_await);
    us_get(&f, RCX, 3);
    us_op(&f, 0x01, RAX, RCX);
    us_set(&f, 3, RAX);
    us_get(&f, RDI, 2); /* one handle is released, the other one dropped */
    US_CALL(&f, __promise_release);
    us_get(&f, RAX, 3);
    emit_land(&f.e, small);
    return us_end(&f);
}
/* void *f(void): fib(N) */
static void *emit_outer(void *fib) {
    Function f = us_begin(0);
    us_constant(&f, RDI, U(fib));
    us_constant(&f, RSI, N);
    US_CALL(&f, __goroutine_spawn_func_ptr);
    us_move(&f, RDI, RAX);
    US_CALL(&f, __promise_await);
    return us_end(&f);
}
static void *outer;
static void *emit_main(void) {
    void *ways[2];
    Function f;
    unsigned i;
    outer = emit_outer(emit_fib());
    f = us_begin(1);
    ways[0] = CODE(__goroutine_spawn_and_wait_direct);
    ways[1] = CODE(__goroutine_spawn_and_wait_fast);
    for (i = 0; i < 2; i++) {
        us_constant(&f, RDI, U(outer));
        us_call(&f, ways[i]);
        us_constant(&f, RCX, U(&waited[i]));
        emit_store(&f.e, RAX, RCX, 0);
    }
    us_constant(&f, RDI, U(outer));
    US_CALL(&f, __runtime_spawn_goroutine);
    us_move(&f, RDI, RAX);
    US_CALL(&f, __promise_await);
    us_constant(&f, RCX, U(&result));
    emit_store(&f.e, RAX, RCX, 0);
    return us_end(&f);
}
static void before(void) {
    calls = 0;
    result = waited[0] = waited[1] = NULL;
}
static void check(void) {
    CHECK_EQ(U(result), FIB_N);
    CHECK_EQ(U(waited[0]), FIB_N);
    CHECK_EQ(U(waited[1]), FIB_N);
    CHECK_EQ(calls, 3 * 465);
    /* The same from a plain thread. */
    CHECK_EQ(U(__goroutine_spawn_and_wait_direct(outer)), FIB_N);
    CHECK_EQ(U(__goroutine_spawn_and_wait_fast(outer)), FIB_N);
}
int main(void) {
    static const Program program = {emit_main, before, check};
    return us_run(&program);
}

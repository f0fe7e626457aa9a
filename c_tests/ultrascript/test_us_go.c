/* A bare `go f()`: nobody awaits it, nobody keeps its handle, and the program waits for it all the same. */
#include "us.h"

enum { CHILDREN = 1000 };
static uint64_t ran, arguments, values;
static void *handles[CHILDREN];

HOST void note(void *argument) { ADD(arguments, U(argument)); }

static void *emit_child(void) {
    Function f = us_begin(1);
    us_set(&f, 0, RDI);
    us_constant(&f, RDI, us_below(50000)); /* ns */
    US_CALL(&f, __runtime_time_sleep_nanos);
    us_get(&f, RDI, 0);
    US_CALL(&f, note);
    us_count(&f, &ran);
    us_get(&f, RAX, 0);
    us_op_constant(&f, 0, RAX, 7);
    return us_end(&f);
}
/* Four ways, in turn; every other handle is kept, where C finds it, and none is released. */
static void *emit_main(void) {
    void *ways[4], *child = emit_child();
    Function f = us_begin(2);
    size_t loop;
    unsigned i;
    ways[0] = CODE(__runtime_spawn_goroutine);
    ways[1] = CODE(__runtime_spawn_goroutine_v2);
    ways[2] = CODE(__goroutine_spawn_direct);
    ways[3] = CODE(__goroutine_spawn_func_ptr);
    loop = us_loop(&f, 0);
    for (i = 0; i < 4; i++) {
        us_constant(&f, RDI, U(child));
        us_get(&f, RSI, 0);
        us_call(&f, ways[i]);
        us_get(&f, RCX, 0);
        us_constant(&f, RDX, U(&handles[i * CHILDREN / 4]));
        us_indexed(&f, 0x89, RAX, RDX, RCX);
    }
    us_again(&f, 0, CHILDREN / 4, loop);
    return us_end(&f);
}
static void before(void) { ran = arguments = values = 0; }
static void check(void) {
    uint64_t n = CHILDREN / 4, i;
    CHECK_EQ(ran, CHILDREN);
    CHECK_EQ(arguments, n * (n - 1) / 2);
    /* The handles are valid long after their goroutines' end, and counted. */
    CHECK(us_stats().promises >= CHILDREN);
    for (i = 0; i < CHILDREN; i++) values += U(__promise_await(handles[i])) - 7;
    CHECK_EQ(values, arguments);
    if (us_below(2) == 0) {
        for (i = 0; i < CHILDREN; i++) __promise_release(handles[i]);
    }
}
int main(void) {
    static const Program program = {emit_main, before, check};
    us_run(&program);
    /* What was not released is gone with the cleanup. */
    us_start();
    CHECK(us_stats().promises < CHILDREN);
    us_stop();
    return 0;
}

/* Promise.all over 10,000 promises: goroutines that are over, run, or sleep, and plain promises that are settled before, by
 * goroutines, and by a thread. Then a race of the same, and an all that is rejected. */
#include "us.h"

enum { N = 10000 };
static void *promises[N], *values_of_all, *first, *reason;
static uint64_t sum, to_settle;
static pthread_t settler;

HOST void *plain_promise(uint64_t i) {
    GoroutinePromise *promise = goroutine_promise_new();
    CHECK(promise != NULL);
    if (i % 4 == 1) OK(goroutine_promise_resolve(promise, P(3 * i + 1)));
    return promise;
}
/* What a goroutine settles: every fourth promise. */
HOST void settle(uint64_t i) { OK(goroutine_promise_resolve((GoroutinePromise *)promises[i], P(3 * i + 1))); }
static void *settle_from_outside(void *unused) {
    uint64_t i;
    while (GET(to_settle) == 0) thread_sleep(20 * US);
    for (i = 7; i < N; i += 8) settle(i);
    return unused;
}
HOST void all_are_made(void) { SET(to_settle, 1); }
HOST void add(uint64_t value) { sum += value; }

/* void *f(void *i): 3 i + 1, at once, after a yield, or after a sleep. */
static void *emit_child(void) {
    Function f = us_begin(1);
    size_t at_once;
    us_set(&f, 0, RDI);
    EMIT(&f.e, "\x40\xF6\xC7\x04"); /* test dil, 4 */
    at_once = emit_jump_if(&f.e, EQUAL);
    us_constant(&f, RDI, us_below(300000));
    US_CALL(&f, __runtime_time_sleep_nanos);
    emit_land(&f.e, at_once);
    us_get(&f, RCX, 0);
    EMIT(&f.e, "\x48\x8D\x44\x49\x01"); /* lea rax, [rcx + 2 * rcx + 1] */
    return us_end(&f);
}
/* void *f(void *first): settles every eighth promise. */
static void *emit_settler(void) {
    Function f = us_begin(2);
    size_t loop;
    us_set(&f, 0, RDI);
    loop = f.e.used;
    us_get(&f, RDI, 0);
    US_CALL(&f, settle);
    us_get(&f, RDI, 0);
    us_op_constant(&f, 0, RDI, 8);
    us_set(&f, 0, RDI);
    us_op_constant(&f, 7, RDI, N);
    emit_jump_back_if(&f.e, LESS, loop);
    return us_end(&f);
}
static void *emit_main(void) {
    void *child = emit_child(), *settles = emit_settler();
    Function f = us_begin(4);
    size_t loop, plain, made;
    loop = us_loop(&f, 0);
    us_get(&f, RCX, 0);
    EMIT(&f.e, "\xF6\xC1\x01"); /* test cl, 1 */
    plain = emit_jump_if(&f.e, NOT_EQUAL);
    us_constant(&f, RDI, U(child));
    us_get(&f, RSI, 0);
    US_CALL(&f, __goroutine_spawn_func_ptr);
    EMIT(&f.e, "\xE9"); /* jmp */
    emit_u32(&f.e, 0);
    made = f.e.used;
    emit_land(&f.e, plain);
    us_get(&f, RDI, 0);
    US_CALL(&f, plain_promise);
    emit_land(&f.e, made);
    us_constant(&f, RDX, U(promises));
    us_get(&f, RCX, 0);
    us_indexed(&f, 0x89, RAX, RDX, RCX);
    us_again(&f, 0, N, loop);

    us_constant(&f, RDI, U(promises));
    us_constant(&f, RSI, N);
    US_CALL(&f, __promise_race);
    us_set(&f, 2, RAX);
    us_constant(&f, RDI, U(promises));
    us_constant(&f, RSI, N);
    US_CALL(&f, __promise_all);
    us_set(&f, 1, RAX);
    us_constant(&f, RDI, U(settles));
    us_constant(&f, RSI, 3);
    US_CALL(&f, __goroutine_spawn_func_ptr);
    US_CALL(&f, all_are_made);
    us_get(&f, RDI, 2);
    US_CALL(&f, __promise_await);
    us_constant(&f, RCX, U(&first));
    emit_store(&f.e, RAX, RCX, 0);
    us_get(&f, RDI, 1);
    US_CALL(&f, __promise_await);
    us_set(&f, 3, RAX);
    us_constant(&f, RCX, U(&values_of_all));
    emit_store(&f.e, RAX, RCX, 0);
    loop = us_loop(&f, 0);
    us_get(&f, RDX, 3);
    us_get(&f, RCX, 0);
    us_indexed(&f, 0x8B, RDI, RDX, RCX);
    US_CALL(&f, add);
    us_again(&f, 0, N, loop);
    return us_end(&f);
}
static void before(void) {
    to_settle = sum = 0;
    values_of_all = NULL;
    CHECK(pthread_create(&settler, NULL, settle_from_outside, NULL) == 0);
}
static void check(void) {
    GoroutinePromise *rejected = goroutine_promise_new();
    void *again[3], *all;
    uint64_t i;
    pthread_join(settler, NULL);
    for (i = 0; i < N; i++) CHECK_EQ(U(((void **)values_of_all)[i]), 3 * i + 1); /* in input order */
    CHECK_EQ(sum, 3ull * N * (N - 1) / 2 + N);
    CHECK_EQ(U(first) % 3, 1);
    /* The first rejection, from outside a goroutine, the same promise twice. */
    OK(goroutine_promise_reject(rejected, P(0xBAD)));
    again[0] = promises[1], again[1] = again[2] = rejected;
    all = __promise_all(again, 3);
    reason = __promise_await(all);
    CHECK_EQ(U(reason), 0xBAD);
    CHECK_EQ(*(uint32_t *)((char *)all + GOROUTINE_PROMISE_OFFSET_STATE), GOROUTINE_PROMISE_REJECTED);
    __promise_release(all);
    all = __promise_all(NULL, 0);
    CHECK(__promise_await(all) != NULL); /* an empty array */
    goroutine_promise_release(rejected);
    for (i = 1; i < N; i += 2) goroutine_promise_release((GoroutinePromise *)promises[i]); /* the plain ones are C's */
}
int main(void) {
    static const Program program = {emit_main, before, check};
    return us_run(&program);
}

/* A training loop: each step is a foreign call that finds the state of the step before in its thread, also after the goroutine has
 * slept and others have run. Many loops at once, a bound goroutine that ends gives its thread back, and a plain goroutine in between
 * stays unbound. */
#include "us.h"

enum { LOOPS = 12, STEPS = 60 };
typedef struct Model {
    uint64_t step;
    double loss;
    int thread;
} Model;
static __thread struct { /* what such a library keeps: a current stream, a gradient mode, a handle */
    const Model *model;
    uint64_t steps;
    double weight;
} state;
static Model models[LOOPS];
static uint64_t finished, bound_before, bound_after, plain_bound;

/* Foreign code: the C ABI, aligned, on the thread's own stack. */
static void *train_step(void *arg) {
    Model *model = (Model *)arg;
    volatile char scratch[100000]; /* more stack than a goroutine would like to give */
    CHECK(U(__builtin_frame_address(0)) % 16 == 0);
    scratch[0] = scratch[sizeof scratch - 1] = 1;
    if (model->step == 0) {
        state.model = model;
        state.steps = 0;
        state.weight = 1;
        model->thread = thread_id();
    }
    CHECK(state.model == model && state.steps == model->step && model->thread == thread_id());
    state.steps++;
    model->step++;
    state.weight *= 0.9;
    model->loss = state.weight;
    return P(model->step);
}
HOST uint64_t is_bound(void) { return is_goroutine_ffi_bound(goroutine_current()); }

/* void *f(Model *model): STEPS steps, a pause after each. */
static void *emit_loop(void) {
    Function f = us_begin(3);
    size_t loop;
    us_set(&f, 0, RDI);
    US_CALL(&f, is_bound);
    us_constant(&f, RCX, U(&bound_before));
    EMIT(&f.e, "\xF0\x48\x01\x01"); /* lock add [rcx], rax */
    loop = us_loop(&f, 1);
    us_constant(&f, RDI, 0); /* the current goroutine */
    us_constant(&f, RSI, U(CODE(train_step)));
    us_get(&f, RDX, 0);
    us_call(&f, us_below(2) ? CODE(execute_ffi_call) : CODE(migrate_to_ffi_thread));
    us_set(&f, 2, RAX);
    us_constant(&f, RDI, us_below(100000));
    US_CALL(&f, __runtime_time_sleep_nanos);
    us_again(&f, 1, STEPS, loop);
    US_CALL(&f, is_bound);
    us_constant(&f, RCX, U(&bound_after));
    EMIT(&f.e, "\xF0\x48\x01\x01");
    us_count(&f, &finished);
    us_get(&f, RAX, 2);
    return us_end(&f);
}
static void *emit_plain(void) {
    Function f = us_begin(1);
    us_constant(&f, RDI, 1);
    US_CALL(&f, __runtime_time_sleep_millis);
    US_CALL(&f, is_bound);
    us_constant(&f, RCX, U(&plain_bound));
    EMIT(&f.e, "\xF0\x48\x01\x01");
    return us_end(&f);
}
static void *results[LOOPS];
HOST Model *model_of(uint64_t i) { return &models[i]; }
static void *emit_main(void) {
    void *train = emit_loop(), *plain = emit_plain();
    Function f = us_begin(1);
    size_t loop = us_loop(&f, 0);
    us_constant(&f, RDI, U(plain));
    US_CALL(&f, __runtime_spawn_goroutine);
    us_get(&f, RDI, 0);
    US_CALL(&f, model_of);
    us_constant(&f, RDI, U(train));
    us_move(&f, RSI, RAX);
    US_CALL(&f, __goroutine_spawn_func_ptr);
    us_constant(&f, RDX, U(results));
    us_get(&f, RCX, 0);
    us_indexed(&f, 0x89, RAX, RDX, RCX);
    us_again(&f, 0, LOOPS, loop);
    return us_end(&f);
}
static void before(void) {
    memset(models, 0, sizeof models);
    finished = bound_before = bound_after = plain_bound = 0;
}
static void check(void) {
    double weight = 1;
    unsigned i;
    for (i = 0; i < STEPS; i++) weight *= 0.9;
    CHECK_EQ(finished, LOOPS);
    CHECK(bound_before == 0 && bound_after == LOOPS && plain_bound == 0);
    for (i = 0; i < LOOPS; i++) {
        CHECK(models[i].loss == weight);
        CHECK_EQ(U(__promise_await(results[i])), STEPS);
    }
    /* A thread is given back just after its goroutine's end. */
    for (i = 0; us_stats().ffi_bound != 0; i++) {
        CHECK(i < 100000);
        thread_sleep(100 * US);
    }
    CHECK_EQ(us_stats().ffi_bindings, LOOPS);
}
int main(void) {
    static const Program program = {emit_main, before, check};
    return us_run(&program);
}

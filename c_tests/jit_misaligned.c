/* Every exported function that emitted code would call works with rsp at 0 and at 8 mod 16, and calls back with rsp as the
 * ABI has it. */
#include "emit.h"

static CallAt call_at[2]; /* rsp at 0, at 8 mod 16 */
static uint64_t callbacks;
static int here; /* which of the two is under test */

/* A compiler assumes this alignment at every entry; movaps is what breaks without it. */
static __attribute__((noinline)) void entered_aligned(void) {
    CHECK_EQ(U(__builtin_frame_address(0)) % 16, 0);
    ADD(callbacks, 1);
}

static uint64_t call(void *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
    uint64_t arguments[6];
    arguments[0] = a;
    arguments[1] = b;
    arguments[2] = c;
    arguments[3] = d;
    arguments[4] = e;
    arguments[5] = 0;
    return call_at[here](function, arguments);
}
#define CALL0(f) call(CODE(f), 0, 0, 0, 0, 0)
#define CALL1(f, a) call(CODE(f), (uint64_t)(a), 0, 0, 0, 0)
#define CALL2(f, a, b) call(CODE(f), (uint64_t)(a), (uint64_t)(b), 0, 0, 0)
#define CALL3(f, a, b, c) call(CODE(f), (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), 0, 0)
#define CALL4(f, a, b, c, d) call(CODE(f), (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), 0)
#define CALL5(f, a, b, c, d, e) call(CODE(f), (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e))
#define STATUS(call) ((GoroutineStatus)(uint32_t)(call))
#define PROMISE(call) ((GoroutinePromise *)P(call))

static void *body(void *arg) {
    entered_aligned();
    return arg;
}
static void *spawned_sleep(void *arg) {
    goroutine_sleep(GOROUTINE_FOREVER);
    return arg;
}
static bool ready_in_commit(GoroutineTicket ticket, void *arg) {
    entered_aligned();
    (void)arg;
    (void)CALL3(goroutine_ready, ticket.goroutine, ticket.sequence, (uint32_t)-9);
    return true;
}
static bool stay(GoroutineTicket ticket, void *arg) {
    entered_aligned();
    (void)ticket;
    (void)arg;
    return true;
}
static void then_body(void *arg, GoroutineStatus status, void *value) {
    entered_aligned();
    CHECK(arg == P(1) && status == GOROUTINE_OK && value == P(2));
}
static void drop(void *value) {
    entered_aligned();
    CHECK(value == P(2));
}

/* What plain threads and goroutines may call. */
static void anywhere(void) {
    GoroutineConfig config;
    GoroutineSpawn spawn;
    GoroutineStats stats;
    GoroutinePromise *promise, *other, *list[2];
    GoroutineContext context;
    uint8_t stack[2048];
    void *value = NULL, *low, *high;
    int64_t id;

    CHECK_EQ(CALL0(goroutine_abi_version), GOROUTINE_ABI_VERSION);
    CHECK(CALL0(goroutine_version) != 0);
    CHECK(strcmp((const char *)P(CALL1(goroutine_status_name, (uint32_t)GOROUTINE_EPIPE)), "GOROUTINE_EPIPE") == 0);
    CHECK(CALL1(goroutine_status_message, 0) != 0);
    CHECK_EQ((int32_t)CALL0(goroutine_tls_offset), goroutine_tls_offset());
    (void)CALL2(goroutine_config_init_sized, U(&config), sizeof config);
    CHECK_EQ(config.size, sizeof config);
    (void)CALL2(goroutine_spawn_init_sized, U(&spawn), sizeof spawn);
    CHECK_EQ(spawn.size, sizeof spawn);
    (void)CALL2(goroutine_stats_init_sized, U(&stats), sizeof stats);
    OK(STATUS(CALL1(goroutine_runtime_stats, U(&stats))));
    CHECK(stats.workers > 0);
    CHECK_EQ(STATUS(CALL1(goroutine_runtime_start, 0)), GOROUTINE_EALREADY);
    (void)CALL0(goroutine_external_begin);
    (void)CALL0(goroutine_external_end);
    (void)CALL0(goroutine_runtime_retain);
    (void)CALL0(goroutine_runtime_retain);
    OK(STATUS(CALL5(goroutine_context_init, U(&context), U(stack), sizeof stack, U(CODE(body)), 0)));

    OK(STATUS(CALL2(goroutine_go, U(CODE(body)), 5)));
    promise = PROMISE(CALL2(goroutine_spawn, U(CODE(body)), 7));
    CHECK(promise != NULL);
    OK(STATUS(CALL3(goroutine_promise_await, U(promise), GOROUTINE_FOREVER, U(&value))));
    CHECK_EQ(U(value), 7);
    CHECK_EQ(STATUS(CALL1(goroutine_cancel, U(promise))), GOROUTINE_EALREADY);
    OK(STATUS(CALL3(goroutine_promise_await_take, U(promise), GOROUTINE_FOREVER, U(&value))));
    spawn.fn = CODE(body);
    spawn.int_args[0] = 8;
    OK(STATUS(CALL2(goroutine_spawn_with, U(&spawn), U(&promise))));
    OK(STATUS(CALL3(goroutine_promise_await_take, U(promise), 10 * SECOND, U(&value))));
    CHECK_EQ(U(value), 8);
    CHECK_EQ(CALL0(goroutine_current), U(goroutine_current()));
    CHECK_EQ(CALL1(goroutine_id, U(goroutine_current())), goroutine_id(goroutine_current()));
    CHECK_EQ(STATUS(CALL2(goroutine_stack_bounds, U(&low), U(&high))), goroutine_stack_bounds(&low, &high));
    (void)CALL0(goroutine_yield);
    OK(STATUS(CALL1(goroutine_sleep, 1)));
    OK(STATUS(CALL1(goroutine_sleep, 0)));
    (void)CALL0(goroutine_safepoint);
    (void)CALL0(goroutine_safepoint_full);
    (void)CALL0(goroutine_cancel_disable);
    (void)CALL0(goroutine_cancel_enable);
    promise = PROMISE(CALL2(goroutine_spawn, U(CODE(spawned_sleep)), 7));
    OK(STATUS(CALL1(goroutine_cancel, U(promise))));
    OK(STATUS(CALL3(goroutine_promise_await_take, U(promise), 10 * SECOND, 0)));

    promise = PROMISE(CALL0(goroutine_promise_new));
    CHECK_EQ(STATUS(CALL3(goroutine_promise_await, U(promise), 1, 0)), GOROUTINE_ETIMEDOUT);
    OK(STATUS(CALL3(goroutine_promise_then, U(promise), U(CODE(then_body)), 1)));
    OK(STATUS(CALL2(goroutine_promise_resolve, U(promise), 2)));
    (void)CALL1(goroutine_promise_retain, U(promise));
    (void)CALL1(goroutine_promise_release, U(promise));
    other = PROMISE(CALL1(goroutine_promise_new_with, U(CODE(drop))));
    OK(STATUS(CALL2(goroutine_promise_reject, U(other), 2)));
    list[0] = promise;
    list[1] = other;
    CHECK_EQ(STATUS(CALL3(goroutine_promise_await_take, CALL2(goroutine_promise_all, U(list), 2), GOROUTINE_FOREVER, 0)),
             GOROUTINE_EREJECTED);
    OK(STATUS(CALL3(goroutine_promise_await_take, CALL2(goroutine_promise_all_settled, U(list), 2), GOROUTINE_FOREVER, 0)));
    OK(STATUS(CALL3(goroutine_promise_await_take, CALL2(goroutine_promise_any, U(list), 2), GOROUTINE_FOREVER, 0)));
    OK(STATUS(CALL3(goroutine_promise_await_take, CALL2(goroutine_promise_race, U(list), 2), GOROUTINE_FOREVER, 0)));
    (void)CALL1(goroutine_promise_release, U(promise));
    (void)CALL1(goroutine_promise_release, U(other)); /* drops */

    id = (int64_t)CALL4(goroutine_timer_start, 3600 * SECOND, 0, U(CODE(body)), 0);
    CHECK(id > 0 && (CALL1(goroutine_timer_stop, id) & 0xFF) == 1);
    CHECK((int64_t)CALL4(goroutine_timer_start, 1, 0, U(CODE(body)), 0) > 0);
    spawn.int_args[0] = 2;
    CHECK((int64_t)CALL5(goroutine_timer_start_with, 1, 0, U(&spawn), U(CODE(drop)), 0) > 0);
    id = (int64_t)CALL2(goroutine_async_begin, GOROUTINE_ASYNC_CUSTOM, 0);
    OK(STATUS(CALL2(goroutine_async_complete, id, 6)));
    OK(STATUS(CALL3(goroutine_async_await, id, GOROUTINE_FOREVER, U(&value))));
    CHECK_EQ(U(value), 6);
    id = (int64_t)CALL2(goroutine_async_begin, GOROUTINE_ASYNC_CUSTOM, 0);
    OK(STATUS(CALL1(goroutine_async_cancel, id)));
}
static void *inside(void *arg) {
    static GoroutineContext context;
    anywhere();
    CHECK_EQ(STATUS(CALL3(goroutine_park, U(CODE(ready_in_commit)), 0, GOROUTINE_FOREVER)), -9);
    CHECK_EQ(STATUS(CALL3(goroutine_park, U(CODE(stay)), 0, 10 * US)), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(STATUS(CALL1(goroutine_runtime_wait, 0)), GOROUTINE_EDEADLK);
    /* Saved as it was at the call. */
    (void)CALL1(save_context, U(&context));
    CHECK_EQ(context.rsp % 16, here == 0 ? 0 : 8);
    (void)CALL2(goroutine_exit, 0, U(arg) + 1); /* ends us, with this value */
    return NULL;
}

static uint64_t switches;
static GoroutineContext main_context, other_context;
static void *switches_back(void *arg) {
    entered_aligned();
    while (U(arg) == 0) {
        ADD(switches, 1);
        (void)CALL2(switch_context, U(&other_context), U(&main_context));
        (void)CALL2(switch_goroutine_context, U(&other_context), U(&main_context));
        (void)CALL2(signal_safe_context_switch, U(&other_context), U(&main_context));
    }
    return arg;
}

int main(void) {
    static uint8_t stack[65536];
    uint32_t workers;
    call_at[0] = emit_call_at(0);
    call_at[1] = emit_call_at(8);
    for (here = 0; here < 2; here++) {
        int i;
        switches = 0;
        OK(goroutine_context_init(&other_context, stack, sizeof stack, switches_back, NULL));
        for (i = 0; i < 9; i++) (void)CALL2(i % 3 == 0 ? switch_context : i % 3 == 1 ? switch_goroutine_context : signal_safe_context_switch,
                                            U(&main_context), U(&other_context));
        CHECK_EQ(switches, 3);
        for (workers = 1; workers <= 2; workers++) {
            GoroutineConfig config;
            GoroutinePromise *promise;
            void *value = NULL;
            goroutine_config_init(&config);
            config.workers = workers;
            callbacks = 0;
            OK(STATUS(CALL1(goroutine_runtime_start, U(&config))));
            anywhere();
            promise = goroutine_spawn(inside, P(10));
            OK(goroutine_promise_await_take(promise, 60 * SECOND, &value));
            CHECK_EQ(U(value), 11);
            OK(STATUS(CALL3(goroutine_runtime_run, U(CODE(body)), 3, U(&value))));
            CHECK_EQ(U(value), 3);
            OK(STATUS(CALL1(goroutine_runtime_wait, GOROUTINE_FOREVER)));
            CHECK(callbacks > 10);
            for (i = 0; i < 3; i++) OK(STATUS(CALL1(goroutine_runtime_release, 30 * SECOND)));
            OK(STATUS(CALL1(goroutine_runtime_release, 30 * SECOND))); /* four retains: the last one shuts down */
            OK(STATUS(CALL1(goroutine_runtime_shutdown, 30 * SECOND)));
        }
    }
    return 0;
}

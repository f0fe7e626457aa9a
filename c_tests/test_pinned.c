/* GOROUTINE_SPAWN_PINNED: on one worker, which keeps its thread while a pinned goroutine lives: who binds there moves, and blocking calls
 * keep the worker. Once the last one is over, all is as it was. With C frames live on the thread it is the worker that moves. */
#include "check.h"

static uint64_t phase, ran;
static GoroutinePromise *spawn_pinned(GoroutineFn f, void *arg) {
    GoroutineSpawn spawn;
    GoroutinePromise *promise;
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(f);
    spawn.int_args[0] = U(arg);
    spawn.flags = GOROUTINE_SPAWN_PINNED;
    OK(goroutine_spawn_with(&spawn, &promise));
    return promise;
}
static void await(GoroutinePromise *promise) { OK(goroutine_promise_await_take(promise, 60 * SECOND, NULL)); }
static void *nothing(void *arg) { return arg; }

/* ---- one that is over leaves nothing behind ---- */
static void *long_call(void *arg) {
    uint64_t end = now_ns() + 30 * SECOND;
    (void)arg;
    while (!GET(ran) && now_ns() < end) thread_sleep(MS);
    return P(GET(ran));
}
static void *other(void *arg) {
    SET(ran, 1);
    return arg;
}
static void *blocks(void *arg) {
    (void)arg;
    SET(ran, 0);
    OK(goroutine_go(other, NULL));
    return goroutine_ffi_call_blocking(CODE(long_call), NULL);
}
static void *binds(void *moves) {
    int before = thread_id();
    OK(goroutine_ffi_bind());
    CHECK_EQ(thread_id() != before, U(moves) != 0);
    return NULL;
}
static void *waits(void *arg) {
    while (GET(phase) == 0) OK(goroutine_sleep(100 * US));
    return arg;
}
static void *exits(void *arg) { goroutine_exit(GOROUTINE_OK, arg); }
static void unpinned(void) {
    CHECK_EQ(U(run_goroutine(blocks, NULL)), 1); /* the worker went on on another thread */
    run_goroutine(binds, P(0));
}
static void over(void) {
    GoroutinePromise *promise;
    int i;
    start_workers(1);
    unpinned();
    for (i = 0; i < 10; i++) {
        await(spawn_pinned(i % 2 ? exits : nothing, NULL));
        unpinned();
    }
    await(spawn_pinned(binds, P(0))); /* it alone is pinned there */
    unpinned();
    phase = 0;
    promise = spawn_pinned(waits, NULL);
    run_goroutine(binds, P(1)); /* the thread is that one's */
    await(spawn_pinned(binds, P(1)));
    SET(phase, 1);
    await(promise);
    unpinned();
    stop();
}

/* ---- one that is bound from the start never was pinned, also while it waits for its thread ---- */
static void waiting(void) {
    GoroutineConfig config;
    GoroutineSpawn spawn;
    GoroutinePromise *p[2];
    int i;
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_threads_max = 1;
    OK(goroutine_runtime_start(&config));
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(waits);
    spawn.flags = GOROUTINE_SPAWN_PINNED | GOROUTINE_SPAWN_BOUND;
    phase = 0;
    for (i = 0; i < 2; i++) OK(goroutine_spawn_with(&spawn, &p[i]));
    CHECK_EQ(U(run_goroutine(blocks, NULL)), 1);
    SET(phase, 1);
    for (i = 0; i < 2; i++) await(p[i]);
    stop();
}

/* ---- one that lives keeps the thread ---- */
static void *stays(void *arg) {
    int thread = thread_id();
    SET(phase, 1);
    while (GET(phase) == 1) {
        goroutine_yield();
        CHECK_EQ(thread_id(), thread);
    }
    return arg;
}
static void *some_ms(void *arg) {
    thread_sleep(3 * MS); /* ticks of the monitor pass */
    return arg;
}
static void *calls(void *arg) {
    int i;
    while (GET(phase) != 1) goroutine_yield();
    for (i = 0; i < 20; i++) goroutine_ffi_call_blocking(CODE(some_ms), NULL);
    return arg;
}
static void lives(void) {
    GoroutinePromise *promise;
    GoroutineStats stats;
    int i;
    start_workers(1);
    phase = 0;
    promise = spawn_pinned(stays, NULL);
    run_goroutine(calls, NULL);
    for (i = 0; i < 10; i++) run_goroutine(binds, P(1));
    await(spawn_pinned(calls, NULL));
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    CHECK_EQ(stats.ffi_retaken, 0);
    SET(phase, 2);
    await(promise);
    stop();
}

/* ---- a callback that parks ---- */
static void *parks(void *arg) {
    OK(goroutine_sleep(MS));
    return arg;
}
static void *c_code(void *f) { return goroutine_callback_run((GoroutineFn)(uintptr_t)f, NULL); }
static void *keeps_its_thread(void *kind) {
    int thread = thread_id(), i;
    if (U(kind) == 0)
        goroutine_ffi_call_leaf(CODE(c_code), CODE(parks));
    else
        goroutine_ffi_call_blocking(CODE(c_code), CODE(parks));
    CHECK(is_goroutine_ffi_bound(goroutine_current())); /* for good */
    for (i = 0; i < 20; i++) {
        OK(goroutine_sleep(100 * US));
        CHECK_EQ(thread_id(), thread);
    }
    OK(goroutine_ffi_unbind()); /* unless it says so */
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    return NULL;
}
static void *until_it_ran(void *arg) {
    SET(phase, 2);
    while (GET(phase) != 3) OK(goroutine_sleep(MS));
    return arg;
}
static void *waits_for_it(void *arg) {
    goroutine_ffi_call_leaf(CODE(c_code), CODE(until_it_ran));
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    return arg;
}
static void *goes_on(void *arg) {
    while (GET(phase) != 2) goroutine_yield();
    SET(phase, 3);
    return arg;
}
static void callbacks(void) {
    GoroutinePromise *promise;
    uintptr_t kind;
    start_workers(1);
    for (kind = 0; kind < 2; kind++) {
        await(spawn_pinned(keeps_its_thread, P(kind)));
        unpinned();
    }
    phase = 0;
    promise = spawn_pinned(goes_on, NULL);
    run_goroutine(waits_for_it, NULL); /* nobody waits for somebody else's C */
    await(promise);
    unpinned();
    stop();
}

int main(void) {
    over();
    waiting();
    lives();
    callbacks();
    return 0;
}

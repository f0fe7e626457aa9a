/* The reserve below `stack_limit` is enough for every function, also for those that make threads, allocate, report or load a library: a
 * goroutine that is at its limit calls them. Those whose text names their own need are left out. */
#include "check.h"
#include <alloca.h>

static GoroutineSpawn request;
static GoroutineFfiLane *lane;
static GoroutineStats stats;
static void *handle;
static uint64_t most;
static void *in_c(void *arg) { return arg; }
static const char *const names[] = {"goroutine_ffi_bind",
                                    "goroutine_ffi_call_async",
                                    "goroutine_ffi_load",
                                    "goroutine_ffi_lane_new",
                                    "goroutine_spawn_with (GOROUTINE_SPAWN_BOUND)",
                                    "goroutine_ffi_call (bound)",
                                    "goroutine_ffi_call (blocking)",
                                    "goroutine_sleep",
                                    "goroutine_timer_start",
                                    "goroutine_go",
                                    "goroutine_runtime_stats",
                                    "goroutine_report_unhandled",
                                    "a promise",
                                    "a group",
                                    "a mutex",
                                    "goroutine_world_for_each"};
enum { FUNCTIONS = sizeof names / sizeof *names };
static GoroutineStatus promise(void) {
    void *value;
    GoroutinePromise *p = goroutine_spawn(in_c, NULL);
    return p == NULL ? GOROUTINE_ENOMEM : goroutine_promise_await_take(p, 10 * SECOND, &value);
}
static GoroutineStatus group(void) {
    GoroutineGroup *g = goroutine_group_new(0);
    GoroutineStatus status = g == NULL ? GOROUTINE_ENOMEM : GOROUTINE_OK;
    if (status == GOROUTINE_OK) status = goroutine_group_spawn(g, in_c, NULL);
    if (status == GOROUTINE_OK) status = goroutine_group_wait(g, 10 * SECOND, NULL);
    goroutine_group_free(g);
    return status;
}
static GoroutineStatus mutex(void) {
    GoroutineMutex *m = goroutine_mutex_new(0);
    GoroutineStatus status = m == NULL ? GOROUTINE_ENOMEM : GOROUTINE_OK;
    if (status == GOROUTINE_OK) status = goroutine_mutex_lock(m, 10 * SECOND);
    if (status == GOROUTINE_OK) status = goroutine_mutex_unlock(m);
    goroutine_mutex_free(m);
    return status;
}
/* (One is parked, and its registers are looked for by the tables for unwinders.) */
static uint64_t parked;
static void *parks(void *arg) {
    ADD(parked, 1);
    OK(goroutine_sleep(500 * MS));
    return arg;
}
static void look(void *arg, const Goroutine *g, const GoroutineContext *registers, const void *low, const void *high) {
    (void)low;
    (void)high;
    if (g != goroutine_current() && registers != NULL) *(uint64_t *)arg = registers->rip;
}
static GoroutineStatus world(void) {
    uint64_t rip = 0;
    GoroutineStatus status = goroutine_go(parks, NULL);
    while (GET(parked) == 0) goroutine_yield();
    if (status == GOROUTINE_OK) status = goroutine_world_stop(10 * SECOND);
    goroutine_world_for_each(look, &rip);
    goroutine_world_start();
    CHECK(rip != 0);
    return status;
}
static GoroutineStatus call(int k) {
    switch (k) {
    case 0: return goroutine_ffi_bind();
    case 1: return goroutine_ffi_call_async(CODE(in_c), NULL, NULL, NULL);
    case 2: return goroutine_ffi_load("libm.so.6", 0, &handle);
    case 3: return goroutine_ffi_lane_new("lane", &lane);
    case 4: return goroutine_spawn_with(&request, NULL);
    case 5: return goroutine_ffi_call(GOROUTINE_FFI_BOUND, CODE(in_c), NULL, NULL);
    case 6: return goroutine_ffi_call(GOROUTINE_FFI_BLOCKING, CODE(in_c), NULL, NULL);
    case 7: return goroutine_sleep(MS);
    case 8: return goroutine_timer_start(MS, 0, in_c, NULL) > 0 ? GOROUTINE_OK : GOROUTINE_ENOMEM;
    case 9: return goroutine_go(in_c, NULL);
    case 10: return goroutine_runtime_stats(&stats);
    case 11: goroutine_report_unhandled(1, GOROUTINE_EREJECTED, NULL, "for a test"); return GOROUTINE_OK;
    case 12: return promise();
    case 13: return group();
    case 14: return mutex();
    default: return world();
    }
}
__attribute__((noinline)) static GoroutineStatus at_limit(int k) {
    char *limit = *(char **)(void *)((char *)goroutine_current() + GOROUTINE_OFFSET_STACK_LIMIT);
    char *here = (char *)__builtin_frame_address(0);
    volatile char *area = (volatile char *)alloca((size_t)(here - limit) - 512); /* rsp is above the limit, with room for this frame */
    volatile unsigned char *low = (volatile unsigned char *)limit - GOROUTINE_STACK_RESERVE;
    GoroutineStatus status;
    uint64_t i;
    area[0] = 1;
    CHECK((char *)area >= limit);
    for (i = 0; i < GOROUTINE_STACK_RESERVE; i++) low[i] = 0xA5;
    status = call(k);
    for (i = 0; low[i] == 0xA5 && i < GOROUTINE_STACK_RESERVE; i++) {
    }
    most = U(area) - U(low + i); /* from where rsp was */
    return status;
}
static void *body(void *k) {
    OK(at_limit((int)U(k)));
    return NULL;
}
static void child(void *k) {
    start_workers(1);
    goroutine_spawn_init(&request);
    goroutine_stats_init(&stats);
    request.fn = CODE(in_c);
    request.flags = GOROUTINE_SPAWN_BOUND;
    run_goroutine(body, k);
    fprintf(stderr, "%s: %" PRIu64 " bytes\n", names[U(k)], most);
    if (lane != NULL) OK(goroutine_ffi_lane_release(lane));
    OK(goroutine_runtime_wait(30 * SECOND));
    stop();
    CHECK(most < GOROUTINE_STACK_RESERVE);
}
int main(int argc, char **argv) {
    uintptr_t k;
    (void)argc;
#if defined(__SANITIZE_ADDRESS__)
    fprintf(stderr, "skipped: the sanitizer's malloc alone needs more\n");
    return 77;
#endif
    if (getenv("LD_BIND_NOW") == NULL) { /* the dynamic linker's own need is not ours */
        CHECK(setenv("LD_BIND_NOW", "1", 1) == 0);
        execv("/proc/self/exe", argv);
        CHECK(!"execv");
    }
    /* In a process of its own each: the first time a function is called it needs most. */
    for (k = 0; k < FUNCTIONS; k++) {
        static Child result;
        run_child(child, P(k), &result);
        fprintf(stderr, "%s", result.text);
        CHECK_EQ(result.signal, 0);
        CHECK_EQ(result.status, 0);
    }
    return 0;
}

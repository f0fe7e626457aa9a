/* "Every function needs at most 512 bytes of the goroutine's stack unless it says otherwise; the reserve below `stack_limit` is enough
 * for all of them." A goroutine at its stack_limit spawns a bound goroutine, makes a lane, loads a library: threads are made there. */
#include "check.h"
#include <alloca.h>

static GoroutineSpawn request;
static GoroutineFfiLane *lane;
static void *handle;
static uint64_t most;
static void *in_c(void *arg) { return arg; }
static const char *const names[] = {"goroutine_ffi_bind", "goroutine_ffi_call_async", "goroutine_ffi_load", "goroutine_ffi_lane_new",
                                    "goroutine_spawn_with (GOROUTINE_SPAWN_BOUND)"};
static GoroutineStatus call(int k) {
    switch (k) {
    case 0: return goroutine_ffi_bind();
    case 1: return goroutine_ffi_call_async(CODE(in_c), NULL, NULL, NULL);
    case 2: return goroutine_ffi_load("libm.so.6", 0, &handle);
    case 3: return goroutine_ffi_lane_new("lane", &lane);
    default: return goroutine_spawn_with(&request, NULL);
    }
}
__attribute__((noinline)) static GoroutineStatus at_limit(int k) {
    char *limit = *(char **)(void *)((char *)goroutine_current() + GOROUTINE_OFFSET_STACK_LIMIT);
    char *here = (char *)__builtin_frame_address(0);
    volatile char *area = (volatile char *)alloca((size_t)(here - limit) - 512); /* rsp is above the limit, with room for this frame */
    unsigned char *low = (unsigned char *)limit - GOROUTINE_STACK_RESERVE;
    GoroutineStatus status;
    uint64_t i;
    area[0] = 1;
    for (i = 0; i < GOROUTINE_STACK_RESERVE - 512; i++) low[i] = 0xA5;
    status = call(k);
    for (i = 0; i < GOROUTINE_STACK_RESERVE && low[i] == 0xA5; i++) {
    }
    most = GOROUTINE_STACK_RESERVE - i;
    return status;
}
static void *body(void *k) {
    OK(at_limit((int)U(k)));
    return NULL;
}
static void child(void *k) {
    alarm(20);
    start_workers(1);
    goroutine_spawn_init(&request);
    request.fn = CODE(in_c);
    request.flags = GOROUTINE_SPAWN_BOUND;
    run_goroutine(body, k);
    fprintf(stderr, "%" PRIu64 " bytes below the limit", most);
    if (lane != NULL) OK(goroutine_ffi_lane_release(lane));
    stop();
}
int main(void) {
    uintptr_t k;
    int bad = 0;
    /* The dynamic linker has looked up the functions. */
    CHECK(goroutine_ffi_bind() != 0 && goroutine_ffi_call_async(NULL, NULL, NULL, NULL) != 0 && goroutine_ffi_load(NULL, 0, NULL) != 0 &&
          goroutine_ffi_lane_new(NULL, NULL) != 0 && goroutine_spawn_with(NULL, NULL) != 0 && goroutine_current() == NULL);
    for (k = 0; k < 5; k++) {
        static Child result;
        run_child(child, P(k), &result);
        fprintf(stderr, "%s: signal %d, status %d: %.160s\n", names[k], result.signal, result.status, result.text);
        bad |= result.signal != 0 || result.status != 0 || strtoull(result.text, NULL, 10) > 512;
    }
    CHECK_EQ(bad, 0);
    return 0;
}

/* Handles that nobody gives back: valid until the cleanup, 64 bytes each once settled, counted, and gone after the cleanup. */
#include "us.h"

enum { AT_A_TIME = 1000 };
static uint64_t handles;
static void **kept;

static uint64_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%*u %lu", &pages) == 1);
    fclose(file);
    return pages * 4096ull;
}
static void *value(void *n) { return n; }
/* A goroutine, so that what comes back goes to one worker's cache. */
static void *spawn_all(void *unused) {
    uint64_t i, j;
    for (i = 0; i < handles; i += AT_A_TIME) {
        for (j = i; j < i + AT_A_TIME; j++) {
            kept[j] = __goroutine_spawn_func_ptr(CODE(value), P(j));
            CHECK(kept[j] != NULL);
        }
        for (j = i; j < i + AT_A_TIME; j++) CHECK_EQ(U(__promise_await(kept[j])), j);
    }
    return unused;
}
static void many(void) {
    uint64_t before, after, i, promises;
    us_start();
    handles = scaled(200000, 20);
    run_goroutine(spawn_all, NULL); /* the stacks, and all else that is kept */
    promises = us_stats().promises;
    CHECK(promises >= handles);
    handles = scaled(1000000, 20);
    before = resident_bytes();
    run_goroutine(spawn_all, NULL);
    after = resident_bytes();
    CHECK(us_stats().promises + 512 * us_stats().workers >= promises + handles); /* spare ones were counted, too */
    /* What is not theirs: up to 256 stacks more in each worker's cache. */
    if (!is_slow()) CHECK(after - before <= handles * 64 + handles / 2 + (uint64_t)us_stats().workers * 256 * 8192);
    for (i = 0; i < handles; i += 97) CHECK_EQ(U(__promise_await(kept[i])), i); /* from outside, long after */
    us_stop();
    /* Nobody holds them now: as many again take no more memory. */
    us_start();
    CHECK(us_stats().promises < 5000 + 512 * us_stats().workers);
    before = resident_bytes();
    run_goroutine(spawn_all, NULL);
    after = resident_bytes();
    if (!is_slow()) CHECK(after <= before + 16 * handles);
    us_stop();
}

/* ---- What a cleanup reports, ends, and leaves alone ---- */
static void *fails(void *reason) { goroutine_exit(GOROUTINE_EREJECTED, reason); }
static void dropped(void *value_of_it) { ADD(*(uint64_t *)value_of_it, 1); }
static void unseen_failure(void *unused) {
    (void)unused;
    us_start();
    __goroutine_spawn_func_ptr(CODE(fails), P(0x1234));
    __runtime_wait_for_main_goroutine();
    us_stop();
}
static void *sleeps(void *unused) {
    for (;;) __runtime_time_sleep_millis(3600 * 1000);
    return unused;
}
static void *awaits(void *promise) {
    __promise_await(promise);
    CHECK(false);
    return NULL;
}
/* What these await may be cancelled before they are. */
static void *awaits_goroutine(void *handle) {
    CHECK_EQ(U(__promise_await(handle)), 0);
    return NULL;
}
static void *awaits_by_spawning(void *unused) {
    CHECK_EQ(U(__goroutine_spawn_and_wait_fast(CODE(sleeps))), 0);
    return unused;
}
static void *wants(void *lock) {
    __runtime_lock_lock(lock);
    CHECK(false);
    return NULL;
}
/* Everything that is left when the cleanup comes ends, in whatever call it is. */
static void cancelled(void) {
    GoroutinePromise *never = goroutine_promise_new();
    uint64_t drops = 0;
    GoroutinePromise *mine = goroutine_promise_new_with(dropped);
    void *lock, *all, *both[2], *handle;
    int i;
    us_start();
    lock = __runtime_lock_create();
    __runtime_lock_lock(lock);
    OK(goroutine_promise_resolve(mine, &drops));
    both[0] = mine, both[1] = never;
    all = __promise_all(both, 2);
    CHECK(all != NULL);
    for (i = 0; i < 50; i++) {
        handle = __goroutine_spawn_func_ptr(CODE(sleeps), NULL);
        CHECK(handle != NULL);
        __goroutine_spawn_func_ptr(CODE(awaits), never);
        __goroutine_spawn_func_ptr(CODE(awaits_goroutine), handle);
        __goroutine_spawn_func_ptr(CODE(awaits), all);
        __goroutine_spawn_func_ptr(CODE(awaits_by_spawning), NULL);
        __goroutine_spawn_func_ptr(CODE(wants), lock);
        CHECK(__gots_set_interval(CODE(sleeps), 1) > 0);
        CHECK(__gots_add_async_handle(GOROUTINE_ASYNC_FILE_IO, NULL) > 0);
    }
    thread_sleep(5 * MS); /* some have parked, some have not started */
    us_stop();
    CHECK_EQ(us_stats().live, 0);
    /* Plain promises are their owner's: alive, and no reference was taken away. */
    CHECK_EQ(goroutine_promise_await(never, 0, NULL), GOROUTINE_EAGAIN);
    OK(goroutine_promise_resolve(never, NULL));
    CHECK_EQ(drops, 0);
    goroutine_promise_release(mine);
    CHECK_EQ(drops, 1);
    goroutine_promise_release(never);
    __runtime_lock_unlock(lock);
    __runtime_lock_destroy(lock);
}
int main(void) {
    expect_child("a failure that nobody looked at", unseen_failure, NULL, 0, 0, "GOROUTINE_EREJECTED, reason 0x1234");
    us_random = random_seed(environment_number("GOROUTINE_TEST_SEED", 1), 0);
    kept = (void **)malloc(1000000 * sizeof *kept);
    CHECK(kept != NULL);
    memset(kept, 1, 1000000 * sizeof *kept); /* in memory from here on */
    many();
    free(kept);
    cancelled();
    return 0;
}

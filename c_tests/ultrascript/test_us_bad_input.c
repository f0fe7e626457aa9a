/* Bad input for each of UltraScript's names, before the start, while it runs, on a goroutine, and after the cleanup. The end compares
 * what was called with include/ultrascript.symbols. */
#include "us.h"
#include <math.h>

static const char *covered[128];
static size_t covered_count;
static void cover(const char *name) {
    size_t i;
    for (i = 0; i < covered_count; i++) {
        if (strcmp(covered[i], name) == 0) return;
    }
    CHECK(covered_count < sizeof covered / sizeof *covered);
    covered[covered_count++] = name;
}
#define ROW(function, arguments, expected) (cover(#function), CHECK_EQ(function arguments, expected))
#define CALL(function, arguments) (cover(#function), function arguments)

static uint64_t ran;
static void *count(void *arg) {
    ADD(ran, 1);
    return arg;
}
static uint64_t bits(double x) {
    uint64_t b;
    memcpy(&b, &x, 8);
    return b;
}
/* What stays as it is whatever state the runtime is in, and starts nothing. */
static void anywhere(void) {
    static const int64_t IDS[] = {0, -1, 1, 42, 1ll << 40, (1ll << 53) - 1, 1ll << 53, INT64_MAX, INT64_MIN};
    static const int64_t KINDS[] = {-1, 5, 6, 1ll << 32, INT64_MAX, INT64_MIN};
    GoroutinePromise *settled = goroutine_promise_new();
    void *list[3];
    size_t i;
    OK(goroutine_promise_resolve(settled, P(9)));
    list[0] = list[2] = settled;
    list[1] = NULL;
    ROW(__runtime_spawn_goroutine, (NULL), NULL);
    ROW(__runtime_spawn_goroutine_v2, (NULL), NULL);
    ROW(__goroutine_spawn_direct, (NULL), NULL);
    ROW(__goroutine_spawn_func_ptr, (NULL, P(1)), NULL);
    ROW(__goroutine_spawn_func_ptr_with_scope, (NULL, P(1), P(2)), NULL);
    ROW(__goroutine_spawn_and_wait_direct, (NULL), NULL);
    ROW(__goroutine_spawn_and_wait_fast, (NULL), NULL);
    ROW(__promise_await, (NULL), NULL);
    CALL(__promise_release, (NULL));
    ROW(__promise_all, (NULL, 1), NULL);
    ROW(__promise_all, (NULL, -1), NULL);
    ROW(__promise_all, (list, -1), NULL);
    ROW(__promise_all, (list, INT64_MIN), NULL);
    ROW(__promise_all, (list, INT64_MAX), NULL);
    ROW(__promise_all, (list, 3), NULL); /* one of them is NULL */
    ROW(__promise_race, (NULL, 1), NULL);
    ROW(__promise_race, (list, -5), NULL);
    ROW(__promise_race, (list, INT64_MAX), NULL);
    ROW(__promise_race, (list, 2), NULL);
    ROW(__promise_await, (settled), P(9));
    goroutine_promise_release(settled);
    ROW(__gots_set_timeout, (NULL, 1), GOROUTINE_EINVAL);
    ROW(__gots_set_timeout_v2, (NULL, (int64_t)bits(1.5)), GOROUTINE_EINVAL);
    ROW(__gots_set_interval, (NULL, -1), GOROUTINE_EINVAL);
    ROW(__gots_set_interval_v2, (NULL, 0), GOROUTINE_EINVAL);
    for (i = 0; i < sizeof IDS / sizeof *IDS; i++) {
        ROW(__gots_clear_timeout, (IDS[i]), false);
        ROW(__gots_clear_timeout_v2, (IDS[i]), false);
        ROW(__gots_clear_interval, (IDS[i]), false);
        ROW(__gots_clear_interval_v2, (IDS[i]), false);
        CALL(__gots_complete_async_handle, (IDS[i]));
        CALL(__gots_complete_async_handle_v2, (IDS[i]));
        CALL(__gots_cancel_async_handle, (IDS[i]));
        CALL(__gots_cancel_async_handle_v2, (IDS[i]));
    }
    for (i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        ROW(__gots_add_async_handle, (KINDS[i], NULL), GOROUTINE_EINVAL);
        ROW(__gots_add_async_handle_v2, (KINDS[i], P(1)), GOROUTINE_EINVAL);
    }
    CALL(__runtime_lock_lock, (NULL));
    CALL(__runtime_lock_unlock, (NULL));
    ROW(__runtime_lock_try_lock, (NULL), false);
    ROW(__runtime_lock_try_lock_for, (NULL, INT64_MAX), false);
    ROW(__runtime_lock_is_locked_by_current, (NULL), false);
    CALL(__runtime_lock_destroy, (NULL));
    CALL(__runtime_time_sleep_millis, (0));
    CALL(__runtime_time_sleep_millis, (-1));
    CALL(__runtime_time_sleep_millis, (INT64_MIN));
    CALL(__runtime_time_sleep_nanos, (0));
    CALL(__runtime_time_sleep_nanos, (-1));
    CALL(__runtime_time_sleep_nanos, (INT64_MIN));
    CHECK_EQ(goroutine_id(goroutine_current()), (uint64_t)CALL(__runtime_go_current_id, ()));
    ROW(execute_ffi_call, (NULL, NULL, P(1)), NULL);
    ROW(migrate_to_ffi_thread, (NULL, NULL, P(1)), NULL);
    ROW(is_goroutine_ffi_bound, (NULL), false);
}
static void *try_lock_of_another(void *lock) {
    CHECK(!__runtime_lock_try_lock(lock));
    CHECK(!__runtime_lock_try_lock_for(lock, 0));
    CHECK(!__runtime_lock_try_lock_for(lock, INT64_MIN));
    CHECK(!__runtime_lock_try_lock_for(lock, 1));
    CHECK(!__runtime_lock_is_locked_by_current(lock));
    __runtime_lock_unlock(lock);  /* a line on stderr, */
    __runtime_lock_destroy(lock); /* and another one */
    CHECK(!__runtime_lock_try_lock(lock)); /* and nothing else */
    return NULL;
}
/* Valid, but odd. */
static void running(void) {
    static const double NOW[] = {0.0, -0.0, -1.0, -1e300, 1e-300, 0.9, 1.0};
    static const double LATE[] = {1e7, 1e18, 1e300};
    void *lock = CALL(__runtime_lock_create, ()), *all, *race, *handle;
    int64_t id, interval;
    size_t i;
    SET(ran, 0);
    for (i = 0; i < sizeof NOW / sizeof *NOW; i++) CHECK(__gots_set_timeout(CODE(count), (int64_t)bits(NOW[i])) > 0);
    CHECK(__gots_set_timeout(CODE(count), (int64_t)bits(NAN)) > 0);
    CHECK(__gots_set_timeout(CODE(count), (int64_t)bits(-NAN)) > 0);
    CHECK(__gots_set_timeout(CODE(count), (int64_t)bits(-INFINITY)) > 0);
    CHECK(__gots_set_timeout_v2(CODE(count), -1) > 0);
    CHECK(__gots_set_timeout_v2(CODE(count), INT64_MIN) > 0);
    CHECK(__gots_set_timeout(CODE(count), 1ll << 52) > 0); /* the bits of the smallest normal double */
    while (GET(ran) != sizeof NOW / sizeof *NOW + 6) __runtime_time_sleep_millis(1);
    for (i = 0; i < sizeof LATE / sizeof *LATE; i++) {
        id = __gots_set_timeout(CODE(count), (int64_t)bits(LATE[i]));
        interval = __gots_set_interval(CODE(count), (int64_t)bits(LATE[i]));
        CHECK(id > 0 && interval > 0);
        CHECK(__gots_clear_timeout(id) && __gots_clear_interval(interval));
    }
    id = __gots_set_timeout(CODE(count), (int64_t)bits(INFINITY));
    interval = __gots_set_interval(CODE(count), (1ll << 52) - 1);
    CHECK(id > 0 && interval > 0 && __gots_clear_interval(id) && __gots_clear_timeout(interval)); /* either clears either */
    /* An interval of nothing beats all the same, but not all the time. */
    interval = __gots_set_interval(CODE(count), 0);
    SET(ran, 0);
    while (GET(ran) < 3) __runtime_time_sleep_millis(1);
    CHECK(__gots_clear_interval(interval) && !__gots_clear_interval(interval));

    CHECK(lock != NULL);
    __runtime_lock_lock(lock);
    handle = __goroutine_spawn_func_ptr(CODE(try_lock_of_another), lock);
    CHECK_EQ(U(__promise_await(handle)), 0);
    __promise_release(handle);
    CHECK(__runtime_lock_try_lock_for(lock, INT64_MIN) && __runtime_lock_try_lock_for(lock, INT64_MAX));
    __runtime_lock_unlock(lock);
    __runtime_lock_unlock(lock);
    __runtime_lock_unlock(lock);
    __runtime_lock_destroy(lock);

    all = __promise_all(NULL, 0);
    race = __promise_race(NULL, 0);
    CHECK(all != NULL && race != NULL && __promise_await(all) != NULL);
    CHECK_EQ(goroutine_promise_await((GoroutinePromise *)race, 0, NULL), GOROUTINE_EAGAIN); /* pending for ever */
    __promise_release(all);
    __promise_release(race);
    id = __gots_add_async_handle(GOROUTINE_ASYNC_TIMER, NULL);
    CHECK(id > 0);
    __gots_complete_async_handle(id);
    __gots_complete_async_handle(id); /* once is enough */
    __gots_cancel_async_handle(id);
    CHECK(__gots_add_async_handle(0, NULL) != id);
    __gots_cancel_async_handle_v2(__gots_add_async_handle_v2(GOROUTINE_ASYNC_CUSTOM, &id));
}
static void *on_goroutine(void *arg) {
    CHECK(__runtime_go_current_id() > 0);
    anywhere();
    running();
    CALL(__new_goroutine_system_init, ());
    CALL(__new_goroutine_system_cleanup, ());            /* a line on stderr, */
    CALL(__runtime_wait_for_main_goroutine, ());         /* another one, */
    CALL(__runtime_wait_for_main_goroutine_v2, ());
    CHECK(us_stats().live > 0);                          /* and nothing else */
    return arg;
}
static void after_cleanup(void) {
    SET(ran, 0);
    ROW(__runtime_spawn_goroutine, (CODE(count)), NULL);
    ROW(__runtime_spawn_goroutine_v2, (CODE(count)), NULL);
    ROW(__goroutine_spawn_direct, (CODE(count)), NULL);
    ROW(__goroutine_spawn_func_ptr, (CODE(count), NULL), NULL);
    ROW(__goroutine_spawn_func_ptr_with_scope, (CODE(count), NULL, NULL), NULL);
    ROW(__goroutine_spawn_and_wait_direct, (CODE(count)), NULL);
    ROW(__goroutine_spawn_and_wait_fast, (CODE(count)), NULL);
    ROW(__gots_set_timeout, (CODE(count), 0), GOROUTINE_ESHUTDOWN);
    ROW(__gots_set_interval, (CODE(count), 0), GOROUTINE_ESHUTDOWN);
    ROW(__gots_add_async_handle, (0, NULL), GOROUTINE_ESHUTDOWN);
    CALL(__runtime_spawn_main_goroutine, (CODE(count))); /* a line on stderr */
    CALL(__runtime_wait_for_main_goroutine, ());
    CHECK_EQ(GET(ran), 0);
}
/* What cannot be answered is said on stderr; what cannot go on is fatal. */
static void says_main(void *code) { __runtime_spawn_main_goroutine(code); }
static void says_main_v2(void *code) { __runtime_spawn_main_goroutine_v2(code); }
static void says_shut_down(void *unused) {
    us_start();
    us_stop();
    __runtime_spawn_main_goroutine(CODE(count));
    (void)unused;
}
/* What nobody looked at is reported once: by the cleanup, before it gives the handle back. */
static void *rejects(void *unused) {
    goroutine_exit(GOROUTINE_EREJECTED, unused);
}
static void leaves_a_failure(void *unused) {
    us_start();
    CHECK(__runtime_spawn_goroutine(CODE(rejects)) != NULL);
    __runtime_wait_for_main_goroutine();
    us_stop();
    (void)unused;
}
static void reported_once(void) {
    static Child child;
    const char *report;
    run_child(leaves_a_failure, NULL, &child);
    CHECK(child.signal == 0 && child.status == 0);
    report = strstr(child.text, "goroutine: unhandled: ");
    CHECK(report != NULL && strstr(report + 1, "goroutine: unhandled") == NULL);
}
static void *waits(void *unused) {
    __runtime_wait_for_main_goroutine();
    return unused;
}
static void *cleans(void *unused) {
    __new_goroutine_system_cleanup();
    return unused;
}
static void says_on_goroutine(void *code) {
    us_start();
    __runtime_spawn_main_goroutine(code);
    __runtime_wait_for_main_goroutine();
    us_stop();
}
static void says_unlock(void *unused) {
    void *lock = __runtime_lock_create();
    __runtime_lock_unlock(lock);
    __runtime_lock_lock(lock);
    __runtime_lock_unlock(lock);
    __runtime_lock_destroy(lock);
    (void)unused;
}
static void says_destroy(void *unused) {
    void *lock = __runtime_lock_create();
    __runtime_lock_lock(lock);
    __runtime_lock_destroy(lock);
    CHECK(__runtime_lock_is_locked_by_current(lock));
    __runtime_lock_unlock(lock);
    __runtime_lock_destroy(lock);
    (void)unused;
}
static void says_environment(void *unused) {
    setenv("GOROUTINE_WORKERS", "100000", 1);
    __new_goroutine_system_init();
    (void)unused;
}
static void dies_of_release(void *unused) {
    void *all = __promise_all(NULL, 0);
    __promise_release(all);
    __promise_release(all);
    (void)unused;
}
static void dies_of_await(void *unused) {
    void *all = __promise_all(NULL, 0);
    __promise_release(all);
    __promise_await(all);
    (void)unused;
}
static void all_are_covered(void) {
    char path[4096], line[256];
    const char *slash = strrchr(__FILE__, '/');
    int missing = 0;
    FILE *file;
    snprintf(path, sizeof path, "%.*s/../../include/ultrascript.symbols", slash != NULL ? (int)(slash - __FILE__) : 1,
             slash != NULL ? __FILE__ : ".");
    file = fopen(path, "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        size_t i;
        line[strcspn(line, "\r\n")] = 0;
        for (i = 0; i < covered_count && strcmp(covered[i], line) != 0; i++) {
        }
        if (i == covered_count) {
            fprintf(stderr, "not covered: %s\n", line);
            missing++;
        }
    }
    fclose(file);
    CHECK_EQ(missing, 0);
}
int main(void) {
    expect_child("main of NULL", says_main, NULL, 0, 0, "goroutine: __runtime_spawn_main_goroutine: GOROUTINE_EINVAL");
    expect_child("main of NULL", says_main_v2, NULL, 0, 0, "goroutine: __runtime_spawn_main_goroutine: GOROUTINE_EINVAL");
    expect_child("main after cleanup", says_shut_down, NULL, 0, 0, "__runtime_spawn_main_goroutine: GOROUTINE_ESHUTDOWN");
    reported_once();
    expect_child("wait on a goroutine", says_on_goroutine, CODE(waits), 0, 0, "__runtime_wait_for_main_goroutine: GOROUTINE_EDEADLK");
    expect_child("cleanup on a goroutine", says_on_goroutine, CODE(cleans), 0, 0, "__new_goroutine_system_cleanup: GOROUTINE_EDEADLK");
    expect_child("unlock", says_unlock, NULL, 0, 0, "goroutine: __runtime_lock_unlock: GOROUTINE_EPERM");
    expect_child("destroy", says_destroy, NULL, 0, 0, "goroutine: __runtime_lock_destroy: GOROUTINE_EBUSY");
    expect_child("environment", says_environment, NULL, 0, 0, "goroutine: __new_goroutine_system_init: GOROUTINE_EINVAL");
    expect_child("released twice", dies_of_release, NULL, SIGABRT, 0, "fatal: __promise_release of a promise that has no");
    expect_child("awaited after its release", dies_of_await, NULL, SIGABRT, 0, "fatal: __promise_await of a promise that has no");
    cover("__runtime_spawn_main_goroutine_v2");

    CALL(__new_goroutine_system_cleanup, ()); /* nothing was ever started, and nothing may be until an init */
    after_cleanup();
    anywhere();
    us_start();
    anywhere();
    running();
    CHECK_EQ(U(run_goroutine(on_goroutine, P(3))), 3);
    us_stop();
    after_cleanup();
    anywhere();
    __new_goroutine_system_init();
    CHECK_EQ(U(__goroutine_spawn_and_wait_direct(CODE(count))), 0);
    __new_goroutine_system_cleanup();
    __new_goroutine_system_cleanup();
    all_are_covered();
    return 0;
}

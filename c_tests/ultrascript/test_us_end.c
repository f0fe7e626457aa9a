/* The program's end: main returns at once, and the process ends by itself, with status 0, when its children, their
 * children, timers, an interval and an async handle that a thread completes are all over, and not before. */
#include "us.h"

enum { CHILD = 1, GRANDCHILD = 2, TIMER = 4, TIMER_OF_TIMER = 8, INTERVAL = 16, ASYNC = 32, MAIN = 64, LAST = 128, ALL = 255 };
static uint64_t done, beats;
static int64_t interval, handle;
static pthread_t outside;

HOST void mark(uint64_t bit) { __atomic_or_fetch(&done, bit, __ATOMIC_SEQ_CST); }
static void *complete_later(void *unused) {
    thread_sleep(8 * MS);
    mark(ASYNC);
    __gots_complete_async_handle(GET(handle));
    return unused;
}
HOST void begin_async(void) {
    SET(handle, __gots_add_async_handle(GOROUTINE_ASYNC_CUSTOM, NULL));
    CHECK(handle > 0);
    CHECK(pthread_create(&outside, NULL, complete_later, NULL) == 0);
}

static void us_mark(Function *f, uint64_t bit) {
    us_constant(f, RDI, bit);
    us_call(f, CODE(mark));
}
static void us_timer(Function *f, void *way, void *function, uint64_t ms) {
    us_constant(f, RDI, U(function));
    us_constant(f, RSI, ms);
    us_call(f, way);
}
static void *emit_marker(uint64_t bit) {
    Function f = us_begin(0);
    us_mark(&f, bit);
    return us_end(&f);
}
static void *emit_grandchild(void) {
    Function f = us_begin(0);
    us_constant(&f, RDI, 6);
    US_CALL(&f, __runtime_time_sleep_millis);
    us_mark(&f, GRANDCHILD);
    us_timer(&f, CODE(__gots_set_timeout), emit_marker(LAST), 5); /* when all else is over */
    return us_end(&f);
}
static void *emit_child(void) {
    void *grandchild = emit_grandchild();
    Function f = us_begin(0);
    us_constant(&f, RDI, 2);
    US_CALL(&f, __runtime_time_sleep_millis);
    us_constant(&f, RDI, U(grandchild));
    US_CALL(&f, __runtime_spawn_goroutine);
    us_mark(&f, CHILD);
    return us_end(&f);
}
static void *emit_timer(void) {
    Function f = us_begin(0);
    us_mark(&f, TIMER);
    us_timer(&f, CODE(__gots_set_timeout), emit_marker(TIMER_OF_TIMER), 4);
    return us_end(&f);
}
static void *emit_beat(void) {
    Function f = us_begin(0);
    size_t more;
    us_count(&f, &beats);
    emit_load(&f.e, RCX, RCX, 0);
    us_op_constant(&f, 7, RCX, 4);
    more = emit_jump_if(&f.e, LESS);
    us_mark(&f, INTERVAL);
    us_constant(&f, RDI, U(&interval));
    emit_load(&f.e, RDI, RDI, 0);
    US_CALL(&f, __gots_clear_interval);
    emit_land(&f.e, more);
    return us_end(&f);
}
static void *emit_main(void) {
    Function f = us_begin(0);
    us_constant(&f, RDI, U(emit_child()));
    US_CALL(&f, __runtime_spawn_goroutine);
    us_timer(&f, CODE(__gots_set_timeout), emit_timer(), 3);
    us_timer(&f, CODE(__gots_set_interval), emit_beat(), 2);
    us_constant(&f, RCX, U(&interval));
    emit_store(&f.e, RAX, RCX, 0);
    US_CALL(&f, begin_async);
    us_mark(&f, MAIN);
    return us_end(&f);
}
static void before(void) { done = beats = 0; }
static void check(void) {
    CHECK_EQ(done, ALL);
    CHECK_EQ(beats, 4);
    pthread_join(outside, NULL);
}

/* A whole process of it: nothing but the end of everything ends it. */
static void process(void *unused) {
    (void)unused;
    us_start();
    __runtime_spawn_main_goroutine(emit_main());
    __runtime_wait_for_main_goroutine();
    check();
    us_stop();
    exit(0);
}
/* ---- Each kind of thing alone keeps the program alive. ---- */
static uint64_t waited;
static void *wait_for_end(void *unused) {
    __runtime_wait_for_main_goroutine();
    SET(waited, 1);
    return unused;
}
static void *park_until_told(void *told) {
    while (GET(*(uint64_t *)told) == 0) __runtime_time_sleep_millis(1);
    return NULL;
}
static void *nothing(void *unused) { return unused; }
static void alone(void) {
    static uint64_t told;
    pthread_t thread;
    int kind;
    us_start();
    for (kind = 0; kind < 4; kind++) {
        int64_t id = 0;
        void *kept = NULL;
        SET(waited, 0);
        SET(told, 0);
        switch (kind) {
        case 0: kept = __goroutine_spawn_func_ptr(CODE(park_until_told), &told); break;
        case 1: id = __gots_set_interval(CODE(nothing), 1); break;
        case 2: id = __gots_set_timeout(CODE(nothing), 3600 * 1000); break;
        default: id = __gots_add_async_handle_v2(GOROUTINE_ASYNC_HTTP_REQUEST, &told); break;
        }
        CHECK(kind == 0 ? kept != NULL : id > 0);
        CHECK(pthread_create(&thread, NULL, wait_for_end, NULL) == 0);
        thread_sleep(20 * MS);
        CHECK_EQ(GET(waited), 0);
        switch (kind) {
        case 0: SET(told, 1); break;
        case 1: CHECK(__gots_clear_interval_v2(id)); break;
        case 2: CHECK(__gots_clear_timeout(id)); break;
        default: __gots_cancel_async_handle_v2(id); break;
        }
        pthread_join(thread, NULL);
    }
    us_stop();
}
int main(void) {
    static const Program program = {emit_main, before, check};
    expect_child("the program's end", process, NULL, 0, 0, NULL);
    us_run(&program);
    alone();
    return 0;
}

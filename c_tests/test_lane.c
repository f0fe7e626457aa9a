/* Lanes: all calls on one thread, in order, one at a time; host lanes are served by the host's thread. */
#include "check.h"
#include <poll.h>
#include <sys/eventfd.h>

static GoroutineFfiLane *lane;
static uint64_t inside, ran;
static int server;

/* errno's address is a constant to the compiler, though a goroutine changes its thread. */
static __attribute__((noinline)) int get_errno(void) { return errno; }
static __attribute__((noinline)) void set_errno(int value) { errno = value; }

static void *on_the_lane(void *arg) {
    char name[32];
    CHECK_EQ(ADD(inside, 1), 1); /* one at a time */
    if (server == 0) server = thread_id();
    CHECK_EQ(thread_id(), server);
    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0);
    CHECK(strcmp(name, "cuda0") == 0);
    CHECK_EQ(errno, 0);
    errno = (int)U(arg);
    ADD(ran, 1);
    ADD(inside, -1);
    return P(U(arg) * 3);
}
static void *caller(void *arg) {
    uint64_t i, n = scaled(500, 10);
    if (U(arg) % 4 == 0) OK(goroutine_ffi_bind());
    for (i = 1; i <= n; i++) {
        void *value = NULL;
        set_errno(5);
        OK(goroutine_ffi_lane_call(lane, CODE(on_the_lane), P(i), &value));
        CHECK_EQ(U(value), i * 3);
        CHECK_EQ(get_errno(), i);
        if (i % 16 == 0) goroutine_yield();
    }
    return NULL;
}
static void *plain_caller(void *arg) { return caller(arg); }
static void one_thread(uint32_t workers) {
    GoroutinePromise *p[32];
    pthread_t thread;
    size_t i;
    start_workers(workers);
    OK(goroutine_ffi_lane_new("cuda0", &lane));
    server = 0;
    ran = 0;
    CHECK(pthread_create(&thread, NULL, plain_caller, P(1)) == 0);
    for (i = 0; i < 32; i++) p[i] = goroutine_spawn(caller, P(i));
    for (i = 0; i < 32; i++) OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
    pthread_join(thread, NULL);
    CHECK_EQ(ran, 33 * scaled(500, 10));
    CHECK_EQ(goroutine_ffi_lane_drain(lane, 0), 0);
    OK(goroutine_ffi_lane_release(lane));
    OK(goroutine_ffi_lane_release(NULL));
    stop();
}

/* ---- order; busy; nesting ---- */
static uint64_t order[100], served, hold;
static void *waits(void *arg) {
    SET(hold, 1);
    while (GET(hold) == 1) thread_sleep(100 * US);
    return arg;
}
static void *notes(void *arg) {
    order[ADD(served, 1) - 1] = U(arg);
    return arg;
}
static void *call_waits(void *arg) {
    OK(goroutine_ffi_lane_call(lane, CODE(waits), NULL, NULL));
    return arg;
}
static void *call_notes(void *arg) {
    OK(goroutine_ffi_lane_call(lane, CODE(notes), arg, NULL));
    return arg;
}
static void *call_cancelled(void *arg) {
    CHECK_EQ(goroutine_ffi_lane_call(lane, CODE(notes), P(1000), NULL), GOROUTINE_ECANCELED);
    return arg;
}
static void *call_runs_cancelled(void *arg) {
    void *value = NULL;
    OK(goroutine_ffi_lane_call(lane, CODE(waits), P(77), &value)); /* it had begun */
    CHECK_EQ(U(value), 77);
    CHECK_EQ(goroutine_sleep(1), GOROUTINE_ECANCELED);
    return arg;
}
static void *nests(void *arg) {
    void *value = NULL;
    if (U(arg) == 0) return P(1);
    OK(goroutine_ffi_lane_call(lane, CODE(nests), P(U(arg) - 1), &value));
    return P(U(value) + 1);
}
static void *call_nests(void *arg) {
    void *value = NULL;
    OK(goroutine_ffi_lane_call(lane, CODE(nests), P(10), &value));
    CHECK_EQ(U(value), 11);
    return arg;
}
static void in_order(void) {
    GoroutinePromise *p[100], *first, *gone;
    uint64_t i;
    start_workers(1);
    OK(goroutine_ffi_lane_new("gl", &lane));
    first = goroutine_spawn(call_waits, NULL);
    while (GET(hold) != 1) thread_sleep(1 * MS);
    CHECK_EQ(goroutine_ffi_lane_release(lane), GOROUTINE_EBUSY);
    gone = goroutine_spawn(call_cancelled, NULL);
    for (i = 0; i < 100; i++) p[i] = goroutine_spawn(call_notes, P(i)); /* one worker: they queue up in this order */
    thread_sleep(20 * MS);
    OK(goroutine_cancel(gone));
    OK(goroutine_promise_await_take(gone, 30 * SECOND, NULL));
    SET(hold, 2);
    for (i = 0; i < 100; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
    OK(goroutine_promise_await_take(first, 30 * SECOND, NULL));
    CHECK_EQ(served, 100);
    for (i = 0; i < 100; i++) CHECK_EQ(order[i], i);
    hold = 0;
    first = goroutine_spawn(call_runs_cancelled, NULL);
    while (GET(hold) != 1) thread_sleep(1 * MS);
    OK(goroutine_cancel(first));
    thread_sleep(10 * MS);
    SET(hold, 2);
    OK(goroutine_promise_await_take(first, 30 * SECOND, NULL));
    run_goroutine(call_nests, NULL);
    OK(goroutine_ffi_lane_release(lane));
    /* A shutdown ends lanes that nobody released; they answer afterwards. */
    OK(goroutine_ffi_lane_new("left", &lane));
    run_goroutine(call_nests, NULL);
    hold = 0;
    OK(goroutine_go(call_waits, NULL));
    while (GET(hold) != 1) thread_sleep(1 * MS);
    CHECK_EQ(goroutine_runtime_shutdown(20 * MS), GOROUTINE_ETIMEDOUT);
    SET(hold, 2);
    stop();
    CHECK_EQ(goroutine_ffi_lane_call(lane, CODE(notes), NULL, NULL), GOROUTINE_ESHUTDOWN);
    OK(goroutine_ffi_lane_release(lane));
}

/* ---- a host's thread with an event loop ---- */
static int event;
static uint64_t wakes;
static void host_wake(void *arg) {
    uint64_t one = 1;
    CHECK_EQ(U(arg), 8);
    ADD(wakes, 1);
    CHECK(write(event, &one, sizeof one) == sizeof one);
}
static void *in_the_host(void *arg) {
    CHECK_EQ(thread_id(), getpid());
    CHECK(goroutine_current() == NULL);
    ADD(ran, 1);
    return P(U(arg) + 1);
}
static void *host_caller(void *arg) {
    uint64_t i, n = scaled(300, 10);
    if (U(arg) % 3 == 0) OK(goroutine_ffi_bind());
    CHECK_EQ(goroutine_ffi_lane_drain(lane, 0), 0); /* not on a goroutine */
    for (i = 0; i < n; i++) {
        void *value = NULL;
        OK(goroutine_ffi_lane_call(lane, CODE(in_the_host), P(i), &value));
        CHECK_EQ(U(value), i + 1);
    }
    ADD(served, 1);
    return NULL;
}
static void host(void) {
    uint64_t count;
    size_t i, n;
    start_workers(2);
    event = eventfd(0, EFD_CLOEXEC);
    CHECK(event >= 0);
    ran = served = 0;
    OK(goroutine_ffi_lane_host("host", host_wake, P(8), &lane));
    for (i = 0; i < 20; i++) OK(goroutine_go(host_caller, P(i)));
    while (GET(served) != 20) {
        struct pollfd poll_event;
        poll_event.fd = event;
        poll_event.events = POLLIN;
        if (poll(&poll_event, 1, 20) == 0) {
            CHECK(GET(served) == 20 || GET(ran) != 0);
            continue;
        }
        CHECK(read(event, &count, sizeof count) == sizeof count);
        n = goroutine_ffi_lane_drain(lane, ran % 2 == 0 ? 3 : 0);
        CHECK(n <= 20);
    }
    CHECK_EQ(ran, 20 * scaled(300, 10));
    CHECK(wakes > 0 && wakes <= 2 * ran + 20);
    OK(goroutine_ffi_lane_release(lane));
    stop();
    close(event);
}

int main(void) {
    CHECK_EQ(goroutine_ffi_lane_new(NULL, &lane), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_ffi_lane_new("x", NULL), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_ffi_lane_host("x", NULL, NULL, &lane), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_ffi_lane_call(NULL, CODE(notes), NULL, NULL), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_ffi_lane_drain(NULL, 1), 0);
    one_thread(1);
    one_thread(4);
    in_order();
    host();
    return 0;
}

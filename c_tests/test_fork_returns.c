/* fork in foreign code and in its callbacks: the child returns from the call and goes on. On a thread where the library has nothing that it
 * could return to, it says so. */
#include "check.h"

static pid_t pid;
static void in_child(void) {
    int status;
    CHECK(pid > 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(WIFSIGNALED(status) ? WTERMSIG(status) : 0, 0);
    CHECK_EQ(WEXITSTATUS(status), 42);
}

/* While `preempt` is set: somebody cancelled it. */
static uint64_t in_c, cancelled;
static void *forks_cancelled(void *arg) {
    SET(in_c, 1);
    while (!GET(cancelled)) thread_sleep(MS);
    pid = fork();
    return arg;
}
static void call(uint64_t kind, void *function, void *arg) {
    switch (kind) {
    case 0: execute_ffi_call(goroutine_current(), function, arg); break;
    case 1: goroutine_ffi_call_leaf(function, arg); break;
    default: goroutine_ffi_call_blocking(function, arg);
    }
    if (pid == 0) _exit(42);
}
static void *is_cancelled(void *kind) {
    call(U(kind), CODE(forks_cancelled), NULL);
    return NULL;
}
static void with_preempt(uint64_t kind) {
    GoroutinePromise *self;
    SET(in_c, 0);
    SET(cancelled, 0);
    self = goroutine_spawn(is_cancelled, P(kind));
    while (!GET(in_c)) thread_sleep(MS);
    OK(goroutine_cancel(self));
    SET(cancelled, 1);
    OK(goroutine_promise_await_take(self, 30 * SECOND, NULL));
    in_child();
}

static void *callback(void *arg) {
    pid = fork();
    return arg;
}
static void *parks_then_forks(void *arg) {
    OK(goroutine_sleep(5 * MS)); /* bound on the spot from here on */
    pid = fork();
    return arg;
}
static void *c_code(void *f) { return goroutine_callback_run(FN(f), NULL); }
static GoroutineFn f;
static void *calls_back(void *kind) {
    call(U(kind), CODE(c_code), CODE(f));
    return NULL;
}

/* There is no goroutine to return to. */
static uint64_t is_parent;
static void *forks_for_good(void *arg) {
    int status;
    pid = fork();
    if (pid == 0) {
        alarm(20);
        return arg;
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGABRT);
    SET(is_parent, 1);
    return arg;
}
static void *by_lane(void *lane) {
    OK(goroutine_ffi_lane_call((GoroutineFfiLane *)lane, CODE(forks_for_good), NULL, NULL));
    return NULL;
}
static void lane(void *arg) {
    GoroutineFfiLane *lane;
    (void)arg;
    start_workers(2);
    OK(goroutine_ffi_lane_new("lane", &lane));
    run_goroutine(by_lane, lane);
    OK(goroutine_ffi_lane_release(lane));
    stop();
}
static void drained_below(void *arg) { (void)arg; }
static void *by_host_lane(void *lane) {
    OK(goroutine_ffi_lane_call((GoroutineFfiLane *)lane, CODE(callback), NULL, NULL));
    return NULL;
}
static void host_lane(void) {
    GoroutineFfiLane *lane;
    GoroutinePromise *promise;
    OK(goroutine_ffi_lane_host("lane", drained_below, NULL, &lane));
    pid = -1;
    promise = goroutine_spawn(by_host_lane, lane);
    while (pid == -1) {
        goroutine_ffi_lane_drain(lane, 0);
        if (pid == 0) _exit(42);
        thread_sleep(MS);
    }
    in_child();
    OK(goroutine_promise_await_take(promise, 30 * SECOND, NULL));
    OK(goroutine_ffi_lane_release(lane));
}
static void async_call(void *arg) {
    (void)arg;
    start_workers(2);
    OK(goroutine_ffi_call_async(CODE(forks_for_good), NULL, NULL, NULL));
    while (!GET(is_parent)) thread_sleep(MS);
    stop();
}
static void of_a_thread(void *arg) {
    (void)arg;
    start_workers(2);
    goroutine_callback_run(forks_for_good, NULL);
    stop();
}

int main(void) {
    uint64_t kind;
    int parks;
    start_workers(2);
    for (kind = 0; kind < 3; kind++) with_preempt(kind);
    for (parks = 0; parks < 2; parks++) {
        f = parks ? parks_then_forks : callback;
        for (kind = 0; kind < 3; kind++) {
            run_goroutine(calls_back, P(kind));
            in_child();
        }
    }
    host_lane();
    stop();
    expect_child("lane", lane, NULL, 0, 0, "goroutine: fatal: C code that forked returned to the library in the child");
    expect_child("async call", async_call, NULL, 0, 0, "goroutine: fatal: C code that forked returned to the library in the child");
    expect_child("callback of a thread", of_a_thread, NULL, 0, 0, "goroutine: fatal: ");
    return 0;
}

/* Calls that an event loop wants done elsewhere: each runs once, on a native stack of the library, and nobody waits for
 * somebody else's thread. */
#include "check.h"
#include <semaphore.h>

typedef struct Call {
    uint64_t n;
    int thread;
    sem_t *wait, *post;
    struct Call *next;
} Call;
static uint64_t called, done_count, done_sum, most_at_once, at_once;

static void count_in(void) {
    uint64_t now = ADD(at_once, 1), most = GET(most_at_once);
    while (now > most && !__atomic_compare_exchange_n(&most_at_once, &most, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}
static void *twice(void *arg) {
    ADD(called, 1);
    return P(U(arg) * 2);
}
static void add_done(void *arg, void *result) {
    CHECK_EQ(U(result), U(arg) * 2);
    ADD(done_sum, U(arg));
    ADD(done_count, 1);
}

/* Where it runs: as every thread of the library, and `done` on the same. */
static void *look_around(void *arg) {
    Call *call = (Call *)arg;
    pthread_attr_t attributes;
    sigset_t mask;
    void *base;
    size_t bytes;
    char here;
    CHECK(goroutine_current() == NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(sigismember(&mask, SIGINT) && sigismember(&mask, SIGPWR) && !sigismember(&mask, SIGSEGV));
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &base, &bytes) == 0);
    pthread_attr_destroy(&attributes);
    CHECK(bytes >= 8 << 20 && &here > (char *)base && &here < (char *)base + bytes);
    call->thread = thread_id();
    return P(5);
}
static void *settle_later(void *arg) { return arg; }
static void looked_around(void *arg, void *result) {
    Call *call = (Call *)arg;
    CHECK_EQ(U(result), 5);
    CHECK_EQ(call->thread, thread_id());
    /* The library may be called from there. */
    OK(goroutine_promise_await_take(goroutine_spawn(settle_later, arg), 10 * SECOND, NULL));
    sem_post(call->post);
}
static void the_first_call_starts(void) {
    sem_t over;
    Call call;
    memset(&call, 0, sizeof call);
    sem_init(&over, 0, 0);
    call.post = &over;
    OK(goroutine_ffi_call_async(CODE(look_around), &call, looked_around, &call));
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);
    sem_wait(&over);
    CHECK(call.thread != thread_id());
    OK(goroutine_runtime_wait(10 * SECOND));
    sem_destroy(&over);
}

static void *slow_call(void *arg) {
    thread_sleep(50 * MS);
    return twice(arg);
}
static void it_keeps_the_program_alive(void) {
    called = done_count = done_sum = 0;
    OK(goroutine_ffi_call_async(CODE(slow_call), P(3), add_done, P(3)));
    CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_runtime_wait(1 * MS), GOROUTINE_ETIMEDOUT);
    OK(goroutine_runtime_wait(10 * SECOND));
    CHECK_EQ(GET(done_count), 1);
    OK(goroutine_ffi_call_async(CODE(twice), P(3), NULL, NULL)); /* nobody asks */
    OK(goroutine_runtime_wait(10 * SECOND));
    CHECK_EQ(GET(called), 2);
    CHECK_EQ(goroutine_ffi_call_async(NULL, NULL, add_done, NULL), GOROUTINE_EINVAL);
}

/* Each waits for the next one: they all need a thread at a time. */
static void *wait_for_next(void *arg) {
    Call *call = (Call *)arg;
    count_in();
    sem_wait(call->wait);
    if (call->post != NULL) sem_post(call->post);
    ADD(at_once, (uint64_t)-1);
    return P(call->n * 2);
}
static void chain_done(void *arg, void *result) { add_done(P(((Call *)arg)->n), result); }
enum { CHAIN = 40 };
static void *post_later(void *arg) {
    thread_sleep(20 * MS);
    sem_post((sem_t *)arg);
    return NULL;
}
static void nobody_waits_for_a_thread(bool shut_down) {
    pthread_t thread;
    sem_t over[CHAIN];
    Call calls[CHAIN];
    uint64_t i;
    called = done_count = done_sum = at_once = most_at_once = 0;
    for (i = 0; i < CHAIN; i++) {
        sem_init(&over[i], 0, 0);
        memset(&calls[i], 0, sizeof calls[i]);
        calls[i].n = i;
        calls[i].wait = &over[i];
        calls[i].post = i > 0 ? &over[i - 1] : NULL;
    }
    for (i = 0; i < CHAIN; i++) OK(goroutine_ffi_call_async(CODE(wait_for_next), &calls[i], chain_done, &calls[i]));
    /* A shutdown that begins before they all have a thread changes nothing. */
    CHECK(pthread_create(&thread, NULL, post_later, &over[CHAIN - 1]) == 0);
    if (shut_down) {
        stop();
    } else {
        OK(goroutine_runtime_wait(20 * SECOND));
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ(GET(done_count), CHAIN);
    CHECK_EQ(GET(done_sum), CHAIN * (CHAIN - 1) / 2);
    CHECK(most_at_once >= 2);
    for (i = 0; i < CHAIN; i++) sem_destroy(&over[i]);
}

/* From many threads and goroutines at a time, and from `done` itself. */
static uint64_t per_caller, accepted;
static void *again(void *arg) { return twice(arg); }
static void done_and_again(void *arg, void *result) {
    add_done(arg, result);
    if (U(arg) % 16 == 0) {
        GoroutineStatus status = goroutine_ffi_call_async(CODE(again), P(1), add_done, P(1));
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EAGAIN);
        if (status == GOROUTINE_OK) ADD(accepted, 1);
    }
}
static void *many_calls(void *arg) {
    uint64_t i;
    for (i = 0; i < per_caller; i++) {
        GoroutineStatus status;
        while ((status = goroutine_ffi_call_async(CODE(twice), P(i), done_and_again, P(i))) == GOROUTINE_EAGAIN)
            OK(goroutine_sleep(1 * MS));
        OK(status);
        ADD(accepted, 1);
    }
    return arg;
}
static void many_at_once(void) {
    pthread_t threads[4];
    uint64_t i;
    per_caller = scaled(20000, 20);
    called = done_count = done_sum = accepted = 0;
    for (i = 0; i < 4; i++) OK(goroutine_go(many_calls, NULL));
    for (i = 0; i < 4; i++) start_thread(&threads[i], many_calls, NULL);
    for (i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK(accepted >= 8 * per_caller);
    CHECK_EQ(GET(done_count), accepted);
    CHECK_EQ(GET(called), accepted);
}

/* A full queue says so, and what it accepted runs. */
enum { BLOCKED = 4, WAITING = 65536 };
static void *hold(void *arg) {
    count_in();
    sem_wait((sem_t *)arg);
    return NULL;
}
static void a_full_queue_says_so(void) {
    sem_t over;
    GoroutineStatus status;
    uint64_t i;
    accepted = 0;
    sem_init(&over, 0, 0);
    called = done_count = done_sum = at_once = 0;
    for (i = 0; i < BLOCKED; i++) OK(goroutine_ffi_call_async(CODE(hold), &over, NULL, NULL));
    while (GET(at_once) < BLOCKED) thread_sleep(1 * MS);
    while ((status = goroutine_ffi_call_async(CODE(twice), P(1), add_done, P(1))) == GOROUTINE_OK) {
        accepted++;
        CHECK(accepted <= WAITING);
    }
    CHECK_EQ(status, GOROUTINE_EAGAIN);
    CHECK_EQ(accepted, WAITING);
    CHECK_EQ(GET(done_count), 0);
    for (i = 0; i < BLOCKED; i++) sem_post(&over);
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(GET(done_count), accepted);
    sem_destroy(&over);
}

static void a_shutdown_waits(void) {
    called = done_count = done_sum = 0;
    OK(goroutine_ffi_call_async(CODE(slow_call), P(3), add_done, P(3)));
    CHECK_EQ(goroutine_runtime_shutdown(5 * MS), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_ffi_call_async(CODE(twice), P(3), add_done, P(3)), GOROUTINE_ESHUTDOWN);
    stop();
    CHECK_EQ(GET(done_count), 1);
    CHECK_EQ(goroutine_ffi_call_async(CODE(twice), P(3), add_done, P(3)), GOROUTINE_ESHUTDOWN);
    CHECK_EQ(GET(called), 1);
}

static void in_child(void *arg) {
    (void)arg;
    many_at_once(); /* starts a runtime of the child's own */
    stop();
}

int main(void) {
    GoroutineConfig config;
    uint32_t workers;
    the_first_call_starts();
    it_keeps_the_program_alive();
    nobody_waits_for_a_thread(false);
    many_at_once();
    OK(goroutine_ffi_call_async(CODE(slow_call), P(3), add_done, P(3)));
    expect_child("child of fork", in_child, NULL, 0, 0, NULL);
    OK(goroutine_runtime_wait(10 * SECOND));
    a_shutdown_waits();
    start_workers(2);
    nobody_waits_for_a_thread(true);
    for (workers = 1; workers <= 2; workers++) {
        goroutine_config_init(&config);
        config.workers = workers;
        config.ffi_threads_max = BLOCKED;
        OK(goroutine_runtime_start(&config));
        it_keeps_the_program_alive();
        many_at_once();
        a_full_queue_says_so();
        a_shutdown_waits();
    }
    return 0;
}

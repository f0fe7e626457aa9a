/* timeout: 240 */
/* GOROUTINE_CONFIG_DEADLOCK_REPORT: what is reported, and what is not. */
#include "code.h"
#include <fcntl.h>

static GoroutineMutex *mutex, *other;
static GoroutineChannel *channel;
static GoroutinePromise *of_second, *plain;
static uint64_t step, beats, stop_beating;
static int report;

static void start(void) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 2;
    config.flags = GOROUTINE_CONFIG_DEADLOCK_REPORT;
    OK(goroutine_runtime_start(&config));
}

/* What the library has written to stderr since `listen`. Static. */
static const char *heard(void) {
    static char text[65536];
    ssize_t n = pread(report, text, sizeof text - 1, 0);
    text[n < 0 ? 0 : n] = 0;
    return text;
}
static void listen_to_stderr(void) {
    report = memfd_create("stderr", 0);
    CHECK(report >= 0 && dup2(2, 100) == 100 && dup2(report, 2) == 2);
}
static void speak_again(void) {
    CHECK(dup2(100, 2) == 2);
    fputs(heard(), stderr);
}

/* A function that calls `f` with its own arguments, by a name that reports know. */
static void *emit_caller(const char *name, void *f) {
    Emit e = emit_begin(4096);
    GoroutineCode code;
    size_t bytes = emit_framed(&e, f);
    code = code_of(name, e.code, bytes, GOROUTINE_CODE_FRAME_POINTER);
    emit_end(&e);
    OK(goroutine_code_register(&code, 1, NULL));
    return e.code;
}
static void after(uint64_t turn) {
    while (GET(step) < turn) goroutine_sleep(MS);
}

/* ---- a lock, a channel, a promise ---- */

static void *first(void *arg) { /* has the lock, waits for a value */
    uint64_t value;
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    OK(goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER)); /* once it comes */
    SET(step, 1);
    goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER);
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
static GoroutineStatus (*lock_emitted)(GoroutineMutex *, uint64_t);
static void *second(void *arg) { /* waits for the lock */
    after(1);
    OK(lock_emitted(mutex, GOROUTINE_FOREVER));
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
static void *third(void *arg) { /* would send a value, and awaits the second before */
    uint64_t value = 1;
    void *result;
    OK(goroutine_channel_send(channel, &value, GOROUTINE_FOREVER));
    after(1);
    goroutine_promise_await(of_second, GOROUTINE_FOREVER, &result);
    goroutine_channel_send(channel, &value, GOROUTINE_FOREVER);
    return arg;
}
static void *beat(void *arg) {
    while (!GET(stop_beating)) {
        ADD(beats, 1);
        goroutine_sleep(MS);
    }
    return arg;
}

static void circle_of_three(void *unused) {
    GoroutinePromise *a, *c, *beating;
    uint64_t before, value = 1;
    void *result, *stub;
    const char *text;
    (void)unused;
    listen_to_stderr();
    start();
    mutex = goroutine_mutex_new(0);
    channel = goroutine_channel_new(8, 0);
    beating = spawn_as("beat", beat, NULL, 0);
    a = spawn_as("first", first, NULL, 0);
    stub = emit_caller("lock_emitted", CODE(goroutine_mutex_lock));
    memcpy(&lock_emitted, &stub, sizeof stub);
    of_second = spawn_as("second", FN(emit_caller("second_emitted", CODE(second))), NULL, 0);
    c = spawn_as("third", third, NULL, 0);
    while (strstr(heard(), "deadlock: 3 goroutines wait for each other") == NULL) thread_sleep(MS);
    /* Others go on. */
    before = GET(beats);
    while (GET(beats) < before + 10) thread_sleep(MS);
    CHECK_EQ(goroutine_runtime_wait(10 * MS), GOROUTINE_ETIMEDOUT);
    /* It is said once. */
    thread_sleep(600 * MS); /* three more looks: more may be said then, which is what is looked for */
    text = strstr(heard(), "deadlock: ");
    CHECK(strstr(text + 1, "deadlock: ") == NULL);
    /* Somebody unforeseen helps: it was a deadlock of all that was known. */
    OK(goroutine_channel_send(channel, &value, 10 * SECOND));
    OK(goroutine_promise_await_take(a, 10 * SECOND, &result));
    OK(goroutine_promise_await_take(of_second, 10 * SECOND, &result));
    OK(goroutine_channel_receive(channel, &value, 10 * SECOND));
    OK(goroutine_promise_await_take(c, 10 * SECOND, &result));
    SET(stop_beating, 1);
    OK(goroutine_promise_await_take(beating, 10 * SECOND, &result));
    stop();
    speak_again();
}

/* ---- two locks ---- */

static void *takes_two(void *arg) {
    GoroutineMutex *mine = arg == NULL ? mutex : other, *yours = arg == NULL ? other : mutex;
    OK(goroutine_mutex_lock(mine, GOROUTINE_FOREVER));
    ADD(step, 1);
    while (GET(step) < 2) goroutine_yield();
    goroutine_mutex_lock(yours, GOROUTINE_FOREVER);
    goroutine_mutex_unlock(yours);
    goroutine_mutex_unlock(mine);
    return arg;
}
static void *receives_for_ever(void *arg) {
    uint64_t value;
    goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER);
    return arg;
}
static void all_asleep(void *with_third) {
    GoroutinePromise *a, *b, *c = NULL;
    start();
    mutex = goroutine_mutex_new(0);
    other = goroutine_mutex_new(0);
    channel = goroutine_channel_new(8, 0);
    if (with_third != NULL) c = goroutine_spawn(receives_for_ever, NULL);
    SET(step, 0);
    a = goroutine_spawn(takes_two, NULL);
    b = goroutine_spawn(takes_two, P(1));
    CHECK_EQ(goroutine_runtime_wait(GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_wait(GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    /* No longer, once somebody helps after all. */
    OK(goroutine_cancel(a));
    if (c != NULL) OK(goroutine_cancel(c));
    OK(goroutine_runtime_wait(10 * SECOND));
    goroutine_promise_release(a);
    goroutine_promise_release(b);
    if (c != NULL) goroutine_promise_release(c);
    stop();
}
static void *waits_group(void *arg) {
    goroutine_wait_group_wait((GoroutineWaitGroup *)arg, GOROUTINE_FOREVER);
    return arg;
}
static void all_asleep_on_anything(void *unused) {
    GoroutineWaitGroup *group = goroutine_wait_group_new();
    (void)unused;
    start();
    channel = goroutine_channel_new(8, 0);
    OK(goroutine_wait_group_add(group, 1));
    OK(goroutine_go(receives_for_ever, NULL));
    OK(goroutine_go(waits_group, group));
    CHECK_EQ(goroutine_runtime_wait(GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    stop();
}

/* ---- what is none ---- */

static void *awaits_plain(void *arg) {
    void *value;
    goroutine_promise_await(plain, GOROUTINE_FOREVER, &value);
    return arg;
}
static GoroutineTicket ticket;
static bool keep(GoroutineTicket t, void *arg) {
    (void)arg;
    ticket = t;
    return true;
}
static void *parks(void *arg) {
    goroutine_park(keep, NULL, GOROUTINE_FOREVER);
    return arg;
}
static void *sleeps(void *arg) {
    goroutine_sleep(3600 * SECOND);
    return arg;
}
static int ends[2];
static void *reads(void *arg) {
    char byte;
    goroutine_read(ends[0], &byte, 1);
    return arg;
}
static void *receives_with_timeout(void *arg) {
    uint64_t value;
    goroutine_channel_receive(channel, &value, 3600 * SECOND);
    return arg;
}
static void *locks(void *arg) {
    if (goroutine_mutex_lock(mutex, GOROUTINE_FOREVER) == GOROUTINE_OK) goroutine_mutex_unlock(mutex);
    return arg;
}
static void *nothing(void *arg) { return arg; }
static void *computes(void *arg) {
    while (!GET(stop_beating)) goroutine_yield();
    return arg;
}

enum { A_PROMISE, A_TICKET, A_SLEEP, IO, A_TIMEOUT, A_LOCK_OF_A_THREAD, A_TIMER, AN_ASYNC_OPERATION, EXTERNAL, SOMEBODY_RUNS, A_SELECT, CASES };

static void *selects(void *arg) {
    GoroutineSelectCase cases[2];
    uint64_t value;
    void *result;
    size_t chosen;
    memset(cases, 0, sizeof cases);
    cases[0].op = GOROUTINE_SELECT_RECEIVE;
    cases[0].object = channel;
    cases[0].value = &value;
    cases[1].op = GOROUTINE_SELECT_PROMISE;
    cases[1].object = plain;
    cases[1].value = &result;
    goroutine_select(cases, 2, GOROUTINE_FOREVER, &chosen);
    return arg;
}

/* Two wait for ever, and something may happen: 1 s is five looks. */
static void none(void *which) {
    GoroutinePromise *a, *b = NULL;
    start();
    CHECK(pipe(ends) == 0);
    mutex = goroutine_mutex_new(0);
    channel = goroutine_channel_new(8, 0);
    plain = goroutine_promise_new();
    a = spawn_as("waits", receives_for_ever, NULL, 0);
    switch ((int)U(which)) {
    case A_PROMISE: b = goroutine_spawn(awaits_plain, NULL); break;
    case A_TICKET: b = goroutine_spawn(parks, NULL); break;
    case A_SLEEP: b = goroutine_spawn(sleeps, NULL); break;
    case IO: b = goroutine_spawn(reads, NULL); break;
    case A_TIMEOUT: b = goroutine_spawn(receives_with_timeout, NULL); break;
    case A_LOCK_OF_A_THREAD:
        OK(goroutine_mutex_lock(mutex, 0));
        b = goroutine_spawn(locks, NULL);
        break;
    case A_TIMER: CHECK(goroutine_timer_start(3600 * SECOND, 0, nothing, NULL) > 0); break;
    case AN_ASYNC_OPERATION: CHECK(goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL) > 0); break;
    case EXTERNAL: goroutine_external_begin(); break;
    case SOMEBODY_RUNS: b = goroutine_spawn(computes, NULL); break;
    case A_SELECT: b = goroutine_spawn(selects, NULL); break;
    default: CHECK(!"a case");
    }
    CHECK_EQ(goroutine_runtime_wait(SECOND), GOROUTINE_ETIMEDOUT);
    SET(stop_beating, 1);
    goroutine_promise_release(a);
    if (b != NULL) goroutine_promise_release(b);
    if (U(which) == EXTERNAL) {
        goroutine_external_end();
        CHECK_EQ(goroutine_runtime_wait(GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    } else {
        _exit(0);
    }
}

/* A circle that a time-out will open, and one that a goroutine which runs may open, are none. */
static void *takes_two_for_a_while(void *arg) {
    GoroutineMutex *mine = arg == NULL ? mutex : other, *yours = arg == NULL ? other : mutex;
    OK(goroutine_mutex_lock(mine, GOROUTINE_FOREVER));
    ADD(step, 1);
    while (GET(step) < 2) goroutine_yield();
    if (goroutine_mutex_lock(yours, arg == NULL ? SECOND : GOROUTINE_FOREVER) == GOROUTINE_OK) goroutine_mutex_unlock(yours);
    goroutine_mutex_unlock(mine);
    return arg;
}
static void timed_circle(void *bound) {
    GoroutinePromise *a;
    start();
    mutex = goroutine_mutex_new(0);
    other = goroutine_mutex_new(0);
    a = spawn_as("a", takes_two_for_a_while, NULL, bound != NULL ? GOROUTINE_SPAWN_BOUND : 0);
    OK(goroutine_go(takes_two_for_a_while, P(1)));
    OK(goroutine_runtime_wait(30 * SECOND));
    goroutine_promise_release(a);
    stop();
}
/* The one who would send has sent before, and runs. */
static void *sends_at_last(void *arg) {
    uint64_t value = 1;
    OK(goroutine_channel_send(channel, &value, GOROUTINE_FOREVER));
    while (!GET(stop_beating)) goroutine_yield();
    OK(goroutine_channel_send(channel, &value, GOROUTINE_FOREVER));
    return arg;
}
static void sender_runs(void *unused) {
    (void)unused;
    start();
    mutex = goroutine_mutex_new(0);
    channel = goroutine_channel_new(8, 0);
    OK(goroutine_go(first, NULL));
    OK(goroutine_go(sends_at_last, NULL));
    while (GET(step) < 1) thread_sleep(MS);
    OK(goroutine_go(locks, NULL));
    CHECK_EQ(goroutine_runtime_wait(SECOND), GOROUTINE_ETIMEDOUT);
    SET(stop_beating, 1);
    OK(goroutine_runtime_wait(30 * SECOND));
    stop();
}

static void quietly(const char *what, void (*f)(void *), void *arg) {
    static Child child;
    run_child(f, arg, &child);
    if (child.signal == 0 && child.status == 0 && strstr(child.text, "deadlock") == NULL) return;
    fprintf(stderr, "%s: signal %d, status %d:\n%s", what, child.signal, child.status, child.text);
    _exit(1);
}

/* A line of the text that has all of these, in this order. */
static bool says(const char *text, const char *const *parts, size_t n) {
    while ((text = strstr(text, parts[0])) != NULL) {
        const char *end = strchr(text, '\n'), *at = text;
        size_t i;
        for (i = 0; i < n && at != NULL; i++) at = strstr(at, parts[i]);
        if (at != NULL && end != NULL && at < end) return true;
        text++;
    }
    return false;
}

static uint64_t times(const char *text, const char *what) {
    uint64_t n = 0;
    while ((text = strstr(text, what)) != NULL) n++, text++;
    return n;
}

int main(void) {
    static Child child;
    const char *const line_of_second[] = {"\"second\" waits for mutex 0x", ", held by goroutine ", ", at 0x", " lock_emitted+0x", ", began in 0x",
                                          " second_emitted+0x0, spawned at 0x"};
    const char *const line_of_third[] = {"\"third\" awaits promise 0x", " of goroutine ", ", at 0x", " test_deadlock.", ", began in 0x", " test_deadlock."};
    int i;
    run_child(circle_of_three, NULL, &child);
    if (child.status != 0 || child.signal != 0) fputs(child.text, stderr);
    CHECK(child.status == 0 && child.signal == 0);
    CHECK(strstr(child.text, "\"first\" receives from channel 0x") != NULL);
    CHECK(strstr(child.text, ", to which, as far as is known, sends only goroutine ") != NULL);
    CHECK(strstr(child.text, "\"second\" waits for mutex 0x") != NULL && strstr(child.text, ", held by goroutine ") != NULL);
    CHECK(strstr(child.text, "\"third\" awaits promise 0x") != NULL && strstr(child.text, " of goroutine ") != NULL);
    CHECK(strstr(child.text, "\"beat\"") == NULL);
    CHECK(says(child.text, line_of_second, 6) && says(child.text, line_of_third, 6)); /* where they wait, and began */
    /* Both reports, and each goroutine has one line. */
    for (i = 0; i < 2; i++) {
        run_child(all_asleep, i == 0 ? NULL : P(1), &child);
        fputs(child.text, stderr);
        CHECK(child.status == 0 && child.signal == 0);
        CHECK_EQ(times(child.text, "goroutine: deadlock: 2 goroutines wait for each other:\n"), 1);
        CHECK_EQ(times(child.text, i == 0 ? " asleep (2), for what was said above of goroutine " : " asleep (3), for what was said above of goroutine "), 1);
        CHECK_EQ(times(child.text, " waits for mutex 0x"), 2);
        CHECK_EQ(times(child.text, " receives from channel 0x"), (uint64_t)i);
    }
    expect_child("any", all_asleep_on_anything, NULL, 0, 0, "goroutine: deadlock: all goroutines are asleep (2)\n");
    expect_child("after external_end", none, P(EXTERNAL), 0, 0, "goroutine: deadlock: all goroutines are asleep (1)\n");
    for (i = 0; i < CASES; i++) {
        if (i != EXTERNAL) quietly("none", none, P(i));
    }
    quietly("a time-out", timed_circle, NULL);
    quietly("a time-out of a bound one", timed_circle, P(1));
    quietly("the sender runs", sender_runs, NULL);
    return 0;
}

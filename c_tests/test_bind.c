/* Bound goroutines: one goroutine, one thread, from the bind to the end; and everything a goroutine does, done bound. */
#include "check.h"

static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}
static void ffi_limits(GoroutineConfig *config, uint32_t workers, uint32_t threads) {
    goroutine_config_init(config);
    config->workers = workers;
    config->ffi_threads_max = threads;
}

/* ---- one thread, its own ---- */
enum { MANY = 64 };
static int owners[MANY];
static uint64_t alive, started;

static void *stays(void *arg) {
    size_t me = (size_t)U(arg), i;
    int thread;
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    OK(goroutine_ffi_bind());
    OK(goroutine_ffi_bind());
    CHECK(is_goroutine_ffi_bound(goroutine_current()));
    thread = thread_id(); /* not pthread_self: compilers take it for a constant of a function */
    owners[me] = thread;
    ADD(started, 1);
    ADD(alive, 1);
    while (GET(started) < MANY) goroutine_yield();
    for (i = 0; i < scaled(200, 10); i++) {
        void *value = NULL;
        switch (i % 4) {
        case 0: goroutine_yield(); break;
        case 1: OK(goroutine_sleep(10 * US)); break;
        case 2: OK(goroutine_sleep(0)); break;
        default: {
            GoroutinePromise *p = goroutine_promise_new();
            CHECK(p != NULL);
            CHECK_EQ(goroutine_promise_await(p, 20 * US, &value), GOROUTINE_ETIMEDOUT);
            OK(goroutine_promise_resolve(p, P(i)));
            OK(goroutine_promise_await_take(p, GOROUTINE_FOREVER, &value));
            CHECK_EQ(U(value), i);
        }
        }
        CHECK_EQ(thread_id(), thread);
    }
    /* Nobody goes before the pairs are compared. */
    if (ADD(alive, -1) == 0) {
        size_t k;
        for (i = 0; i < MANY; i++)
            for (k = 0; k < i; k++) CHECK(owners[i] != owners[k]);
    }
    while (GET(alive) != 0) OK(goroutine_sleep(1 * MS));
    CHECK_EQ(thread_id(), thread);
    return arg;
}
static void one_thread_each(uint32_t workers) {
    GoroutinePromise *p[MANY];
    size_t i;
    GoroutineStats s;
    started = alive = 0;
    start_workers(workers);
    for (i = 0; i < MANY; i++) p[i] = goroutine_spawn(stays, P(i));
    for (i = 0; i < MANY; i++) {
        void *value = NULL;
        OK(goroutine_promise_await_take(p[i], 60 * SECOND, &value));
        CHECK_EQ(U(value), i);
    }
    s = stats();
    CHECK_EQ(s.ffi_bindings, MANY);
    CHECK(s.ffi_hand_offs >= MANY - workers);
    for (i = 0; stats().ffi_bound != 0; i++) {
        CHECK(i < 10000);
        thread_sleep(1 * MS);
    }
    stop();
}

/* ---- others go on while it blocks its thread: it does until they have ---- */
enum { OTHERS = 1000 };
static uint64_t others;
static void *counts(void *arg) {
    (void)arg;
    ADD(others, 1);
    return NULL;
}
static void *blocks(void *arg) {
    uint64_t patience = 0;
    (void)arg;
    OK(goroutine_ffi_bind());
    while (GET(others) != OTHERS) {
        CHECK(patience++ < 60000);
        thread_sleep(1 * MS);
    }
    return NULL;
}
static void *spawns(void *arg) {
    GoroutinePromise *p = goroutine_spawn(blocks, NULL);
    uint64_t i;
    (void)arg;
    for (i = 0; i < OTHERS; i++) OK(goroutine_go(counts, NULL));
    OK(goroutine_promise_await_take(p, GOROUTINE_FOREVER, NULL));
    return NULL;
}

/* ---- unbind ---- */
static void *comes_and_goes(void *arg) {
    uint64_t i, n = scaled(2000, 10);
    (void)arg;
    for (i = 0; i < n; i++) {
        OK(goroutine_ffi_bind());
        if (i % 3 == 0) goroutine_yield();
        CHECK(is_goroutine_ffi_bound(goroutine_current()));
        OK(goroutine_ffi_unbind());
        CHECK(!is_goroutine_ffi_bound(goroutine_current()));
        OK(goroutine_ffi_unbind());
        if (i % 5 == 0) goroutine_yield();
    }
    return NULL;
}
static void *four_come_and_go(void *arg) {
    GoroutinePromise *p[4];
    int i;
    (void)arg;
    for (i = 0; i < 4; i++) p[i] = goroutine_spawn(comes_and_goes, NULL);
    for (i = 0; i < 4; i++) OK(goroutine_promise_await_take(p[i], GOROUTINE_FOREVER, NULL));
    return NULL;
}

/* ---- bound from the start ---- */
static void *bound_from_the_start(void *arg) {
    int thread = thread_id();
    CHECK(is_goroutine_ffi_bound(goroutine_current()));
    OK(goroutine_sleep(1 * MS));
    CHECK_EQ(thread_id(), thread);
    return arg;
}
static void spawn_bound(uint32_t flags) {
    GoroutineSpawn s;
    GoroutinePromise *p[100];
    uint64_t i;
    goroutine_spawn_init(&s);
    s.flags = GOROUTINE_SPAWN_BOUND | flags;
    s.fn = CODE(bound_from_the_start);
    for (i = 0; i < 100; i++) {
        s.int_args[0] = i;
        OK(goroutine_spawn_with(&s, &p[i]));
    }
    for (i = 0; i < 100; i++) {
        void *value = NULL;
        OK(goroutine_promise_await_take(p[i], 30 * SECOND, &value));
        CHECK_EQ(U(value), i);
    }
}

/* ---- pinned goroutines keep their thread while others bind ---- */
static uint64_t pinned_ready, binders_done;
static void *pinned(void *arg) {
    int thread = thread_id();
    (void)arg;
    SET(pinned_ready, 1);
    while (GET(binders_done) < 20) {
        goroutine_yield();
        CHECK_EQ(thread_id(), thread);
    }
    return NULL;
}
static void *binder(void *arg) {
    (void)arg;
    OK(goroutine_ffi_bind());
    thread_sleep(1 * MS);
    ADD(binders_done, 1);
    return NULL;
}
static void pinned_stay(void) {
    GoroutineSpawn s;
    GoroutinePromise *p;
    int i;
    goroutine_spawn_init(&s);
    s.flags = GOROUTINE_SPAWN_PINNED;
    s.fn = CODE(pinned);
    OK(goroutine_spawn_with(&s, &p));
    while (GET(pinned_ready) == 0) thread_sleep(1 * MS);
    for (i = 0; i < 20; i++) OK(goroutine_go(binder, NULL));
    OK(goroutine_promise_await_take(p, 30 * SECOND, NULL));
}

/* ---- ends, cancels, tickets ---- */
static GoroutineTicket ticket;
static uint64_t has_ticket;
static bool show(GoroutineTicket t, void *arg) {
    (void)arg;
    ticket = t;
    SET(has_ticket, 1);
    return true;
}
static bool refuse(GoroutineTicket t, void *arg) {
    (void)t;
    (void)arg;
    return false;
}
static bool ready_at_once(GoroutineTicket t, void *arg) {
    (void)arg;
    goroutine_ready(t, -77);
    return true;
}
static void *parks(void *arg) {
    OK(goroutine_ffi_bind());
    OK(goroutine_park(refuse, NULL, GOROUTINE_FOREVER));
    CHECK_EQ(goroutine_park(ready_at_once, NULL, GOROUTINE_FOREVER), -77);
    CHECK_EQ(goroutine_park(show, NULL, 2 * MS), GOROUTINE_ETIMEDOUT);
    goroutine_ready(ticket, -78); /* stale */
    SET(has_ticket, 0);
    CHECK_EQ(goroutine_park(show, NULL, GOROUTINE_FOREVER), -79);
    errno = 70000;
    OK(goroutine_sleep(1 * MS));
    CHECK_EQ(errno, 70000);
    goroutine_exit(GOROUTINE_EREJECTED, arg);
}
static void *waits_for_ever(void *arg) {
    (void)arg;
    OK(goroutine_ffi_bind());
    SET(has_ticket, 2);
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    CHECK_EQ(goroutine_sleep(1), GOROUTINE_ECANCELED);
    return P(5);
}
static void ends(void) {
    void *value = NULL;
    GoroutinePromise *p = goroutine_spawn(parks, P(4));
    while (GET(has_ticket) != 1) thread_sleep(1 * MS);
    thread_sleep(10 * MS);
    while (GET(has_ticket) != 1) thread_sleep(1 * MS);
    goroutine_ready(ticket, -79);
    CHECK_EQ(goroutine_promise_await_take(p, 30 * SECOND, &value), GOROUTINE_EREJECTED);
    CHECK_EQ(U(value), 4);
    p = goroutine_spawn(waits_for_ever, NULL);
    while (GET(has_ticket) != 2) thread_sleep(1 * MS);
    thread_sleep(5 * MS);
    OK(goroutine_cancel(p));
    OK(goroutine_promise_await_take(p, 30 * SECOND, &value));
    CHECK_EQ(U(value), 5);
}

/* ---- bound and unbound goroutines ready each other ---- */
enum { ROUNDS = 2000 };
static GoroutinePromise *to_bound[ROUNDS], *to_unbound[ROUNDS];
static void *answers_bound(void *arg) {
    int i;
    (void)arg;
    OK(goroutine_ffi_bind());
    for (i = 0; i < ROUNDS; i++) {
        OK(goroutine_promise_await(to_bound[i], 30 * SECOND, NULL));
        OK(goroutine_promise_resolve(to_unbound[i], NULL));
    }
    return NULL;
}
static void *asks_unbound(void *arg) {
    GoroutinePromise *p = goroutine_spawn(answers_bound, NULL);
    int i;
    (void)arg;
    for (i = 0; i < ROUNDS; i++) {
        OK(goroutine_promise_resolve(to_bound[i], NULL));
        OK(goroutine_promise_await(to_unbound[i], 30 * SECOND, NULL));
        if (i % 100 == 0) goroutine_sleep(100 * US); /* its thread is asleep for certain */
    }
    OK(goroutine_promise_await_take(p, 30 * SECOND, NULL));
    return NULL;
}
static void ping_pong(void) {
    int i;
    for (i = 0; i < ROUNDS; i++) {
        to_bound[i] = goroutine_promise_new();
        to_unbound[i] = goroutine_promise_new();
    }
    run_goroutine(asks_unbound, NULL);
    for (i = 0; i < ROUNDS; i++) {
        goroutine_promise_release(to_bound[i]);
        goroutine_promise_release(to_unbound[i]);
    }
}

/* ---- timers whose goroutines bind; a bound goroutine that starts timers ---- */
static uint64_t beats;
static void *beat(void *arg) {
    (void)arg;
    OK(goroutine_ffi_bind());
    ADD(beats, 1);
    return NULL;
}
static void *starts_timers(void *arg) {
    int64_t id;
    (void)arg;
    OK(goroutine_ffi_bind());
    id = goroutine_timer_start(1 * MS, 1 * MS, beat, NULL);
    CHECK(id > 0);
    while (GET(beats) < 20) OK(goroutine_sleep(1 * MS));
    CHECK(goroutine_timer_stop(id));
    CHECK(goroutine_timer_start(1 * MS, 0, beat, NULL) > 0);
    return NULL;
}

/* ---- a shutdown ends bound goroutines that wait, and waits for those in C ---- */
static void *in_c(void *arg) {
    OK(goroutine_ffi_bind());
    ADD(started, 1);
    thread_sleep(U(arg) * MS);
    return NULL;
}
static void *asleep(void *arg) {
    OK(goroutine_ffi_bind());
    ADD(started, 1);
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    return arg;
}
static void shuts_down(void) {
    int i;
    start_workers(2);
    started = 0;
    for (i = 0; i < 20; i++) OK(goroutine_go(asleep, NULL));
    OK(goroutine_go(in_c, P(300)));
    while (GET(started) != 21) thread_sleep(1 * MS);
    CHECK_EQ(goroutine_runtime_shutdown(20 * MS), GOROUTINE_ETIMEDOUT);
    stop();
}
static void stuck_in_c(void *arg) {
    (void)arg;
    start_workers(2);
    started = 0;
    OK(goroutine_go(in_c, P(100000)));
    while (GET(started) != 1) thread_sleep(1 * MS);
    CHECK_EQ(goroutine_runtime_shutdown(100 * MS), GOROUTINE_ETIMEDOUT);
    _exit(7);
}
static void *calls_shutdown(void *arg) {
    OK(goroutine_ffi_bind());
    CHECK_EQ(goroutine_runtime_shutdown(0), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_release(0), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_wait(0), GOROUTINE_EDEADLK);
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EALREADY);
    return arg;
}
static void *bound_fork(void *arg) {
    int status = 0;
    pid_t pid;
    OK(goroutine_ffi_bind());
    pid = fork();
    if (pid == 0) {
        CHECK(goroutine_current() == NULL);
        OK(goroutine_runtime_start(NULL));
        run_goroutine(starts_timers, NULL);
        OK(goroutine_runtime_wait(30 * SECOND));
        stop();
        _exit(3);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 3);
    return arg;
}

/* ---- threads ---- */
static void *deep(void *arg) {
    pthread_attr_t attributes;
    void *low;
    size_t bytes;
    stack_t alternate;
    char name[32];
    sigset_t mask;
    OK(goroutine_ffi_bind());
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstack(&attributes, &low, &bytes) == 0);
    pthread_attr_destroy(&attributes);
    CHECK(bytes == U(arg));
    CHECK(sigaltstack(NULL, &alternate) == 0);
    CHECK(alternate.ss_flags == 0 && alternate.ss_size >= 65536);
    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0);
    CHECK(strncmp(name, "gr-worker-", 10) == 0 || strncmp(name, "gr-ffi-", 7) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    CHECK(sigismember(&mask, SIGINT) == 1);
    CHECK(sigismember(&mask, SIGSEGV) == 0);
    CHECK(sigismember(&mask, SIGUSR2) == (bytes == 8 << 20));
    return NULL;
}
enum { SURPLUS = 30 };
static void *all_in_c(void *arg) {
    OK(goroutine_ffi_bind());
    ADD(started, 1);
    while (GET(started) < SURPLUS) thread_sleep(100 * US);
    return arg;
}
static void on_signal(int signal) { (void)signal; }
static void threads_are_as_configured(void) {
    GoroutineConfig config;
    struct sigaction action;
    uint64_t i;
    start_workers(1);
    run_goroutine(deep, P(8 << 20));
    stop();
    goroutine_config_init(&config);
    config.thread_stack_bytes = 1 << 20;
    config.signals_open = 1ull << (SIGUSR2 - 1);
    config.ffi_threads_prestart = 5;
    config.ffi_threads_idle_ns = 50 * MS;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_EINVAL);
    action.sa_flags = SA_ONSTACK;
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    OK(goroutine_runtime_start(&config));
    run_goroutine(deep, P(1 << 20));
    /* Surplus threads end after a while; those asked for stay. */
    started = 0;
    for (i = 0; i < SURPLUS; i++) OK(goroutine_go(all_in_c, NULL));
    while (GET(started) != SURPLUS) thread_sleep(1 * MS);
    CHECK(stats().ffi_threads_peak >= SURPLUS);
    for (i = 0; stats().ffi_bound != 0 || stats().ffi_threads_idle != 5; i++) {
        CHECK(i < 30000);
        thread_sleep(1 * MS);
    }
    thread_sleep(200 * MS);
    CHECK_EQ(stats().ffi_threads_idle, 5);
    stop();
    config.ffi_threads_prestart = 2000;
    CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_EINVAL);
    /* Every thread ends with what it served. */
    goroutine_config_init(&config);
    config.workers = 1;
    config.flags = GOROUTINE_CONFIG_NO_PREDICTION;
    config.ffi_release = GOROUTINE_FFI_RETIRE;
    OK(goroutine_runtime_start(&config));
    run_goroutine(four_come_and_go, NULL);
    CHECK(stats().ffi_spares_missed > 100);
    stop();
}

int main(void) {
    uint32_t workers;
    GoroutineConfig config;
    CHECK(!is_goroutine_ffi_bound(NULL));
    CHECK_EQ(goroutine_ffi_bind(), GOROUTINE_ENOTGOROUTINE);
    CHECK_EQ(goroutine_ffi_unbind(), GOROUTINE_ENOTGOROUTINE);
    expect_child("a shutdown names who is stuck", stuck_in_c, NULL, 0, 7, "bound to gr-");
    for (workers = 1; workers <= 4; workers += workers) one_thread_each(workers);
    ffi_limits(&config, 1, 1000);
    OK(goroutine_runtime_start(&config));
    run_goroutine(spawns, NULL);
    run_goroutine(four_come_and_go, NULL);
    ping_pong();
    spawn_bound(0);
    spawn_bound(GOROUTINE_SPAWN_PRIORITY | GOROUTINE_SPAWN_PINNED | GOROUTINE_SPAWN_DAEMON);
    ends();
    run_goroutine(starts_timers, NULL);
    run_goroutine(calls_shutdown, NULL);
    run_goroutine(bound_fork, NULL);
    OK(goroutine_runtime_wait(30 * SECOND));
    pinned_stay();
    stop();
    start_workers(2);
    run_goroutine(four_come_and_go, NULL);
    stop();
    shuts_down();
    threads_are_as_configured();
    return 0;
}

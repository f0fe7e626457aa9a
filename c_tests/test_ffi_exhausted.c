/* timeout: 180 */
/* More goroutines want a thread than there may be: nobody is lost, nobody waits in the wrong order, and what can never end is said. */
#include "check.h"
#include "proc.h"

static GoroutineStats stats(void) {
    GoroutineStats s;
    goroutine_stats_init(&s);
    OK(goroutine_runtime_stats(&s));
    return s;
}
static void limits(GoroutineConfig *config, uint32_t workers, uint32_t threads, uint32_t policy) {
    goroutine_config_init(config);
    config->workers = workers;
    config->ffi_threads_max = threads;
    config->ffi_exhausted = policy;
}

/* ---- 20,000 short ones ---- */
static uint64_t done, bound, refused, called;
static void *native(void *arg) {
    ADD(called, 1);
    if (U(arg) % 64 == 0) thread_sleep(1 * MS); /* so that threads pile up */
    return arg;
}
static void *one_call(void *arg) {
    GoroutineStatus status = goroutine_ffi_bind();
    CHECK(status == GOROUTINE_OK || status == GOROUTINE_EFFITHREADS);
    CHECK_EQ(is_goroutine_ffi_bound(goroutine_current()), status == GOROUTINE_OK);
    if (status == GOROUTINE_OK) {
        ADD(bound, 1);
        CHECK(goroutine_ffi_call_leaf(CODE(native), arg) == arg);
    } else {
        ADD(refused, 1);
    }
    if (U(arg) % 3 == 0) goroutine_yield();
    ADD(done, 1);
    return arg;
}
static void short_ones(uint32_t workers, uint32_t threads, uint32_t policy) {
    GoroutineConfig config;
    uint64_t i, n = scaled(20000, 20), most = 0;
    GoroutineStats s;
    done = bound = refused = called = 0;
    limits(&config, workers, threads, policy);
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < n; i++) OK(goroutine_go(one_call, P(i)));
    while (GET(done) != n) {
        uint64_t now = threads_named("gr-ffi-");
        if (now > most) most = now;
        thread_sleep(1 * MS);
    }
    OK(goroutine_runtime_wait(60 * SECOND));
    s = stats();
    fprintf(stderr, "policy %u, %u workers, %u threads: %" PRIu64 " bound, %" PRIu64 " refused, %" PRIu64 " waits, most threads %" PRIu64
            " (seen %" PRIu64 ")\n", policy, workers, threads, bound, refused, s.ffi_waits, s.ffi_threads_peak, most);
    CHECK_EQ(bound + refused, n);
    CHECK_EQ(called, bound);
    CHECK_EQ(s.ffi_bindings, bound);
    CHECK_EQ(s.ffi_refused, refused);
    CHECK(policy != GOROUTINE_FFI_WAIT || refused == 0);
    CHECK(policy == GOROUTINE_FFI_WAIT || s.ffi_waits == 0);
    CHECK(s.ffi_threads_peak <= threads + workers);
    CHECK(most <= threads);
    CHECK(threads > 100 || is_slow() || (policy == GOROUTINE_FFI_WAIT ? s.ffi_waits > 0 : refused > 0));
    stop();
}

/* ---- first come, first served; also those that start bound ---- */
static uint64_t order[200], served;
static void *holds(void *arg) {
    OK(goroutine_ffi_bind());
    ADD(served, 1);
    while (GET(*(uint64_t *)arg) == 0) CHECK(goroutine_sleep(1 * MS) == GOROUTINE_OK || GET(*(uint64_t *)arg) != 0);
    return NULL;
}
static void *comes(void *arg) {
    if (U(arg) % 2 == 0) OK(goroutine_ffi_bind());
    CHECK(is_goroutine_ffi_bound(goroutine_current()));
    order[ADD(served, 1) - 1] = U(arg);
    return NULL;
}
static void in_order(void) {
    GoroutineConfig config;
    static uint64_t go;
    uint64_t i;
    limits(&config, 1, 1, GOROUTINE_FFI_WAIT);
    OK(goroutine_runtime_start(&config));
    go = served = 0;
    OK(goroutine_go(holds, &go));
    while (GET(served) != 1) thread_sleep(1 * MS);
    SET(served, 0);
    for (i = 0; i < 200; i++) {
        GoroutineSpawn s;
        goroutine_spawn_init(&s);
        s.fn = CODE(comes);
        s.int_args[0] = i;
        s.flags = i % 2 == 0 ? 0 : GOROUTINE_SPAWN_BOUND;
        OK(goroutine_spawn_with(&s, NULL));
        while (stats().ffi_waits != i + 1) thread_sleep(10 * US);
    }
    CHECK_EQ(GET(served), 0);
    SET(go, 1);
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(GET(served), 200);
    for (i = 0; i < 200; i++) CHECK_EQ(order[i], i);
    CHECK(stats().ffi_threads_peak <= 2);
    stop();
}

/* ---- a wait can be cancelled, and a shutdown ends it ---- */
static void *wants(void *arg) {
    CHECK_EQ(goroutine_ffi_bind(), GOROUTINE_ECANCELED);
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    return arg;
}
/* A thread may come back just before the cancel. */
static void *wants_or_gets(void *arg) {
    GoroutineStatus status = goroutine_ffi_bind();
    CHECK(status == GOROUTINE_OK || status == GOROUTINE_ECANCELED);
    CHECK_EQ(is_goroutine_ffi_bound(goroutine_current()), status == GOROUTINE_OK);
    return arg;
}
static void *wants_and_gets(void *arg) {
    OK(goroutine_ffi_bind());
    return arg;
}
static void cancelled(void) {
    GoroutineConfig config;
    static uint64_t go;
    GoroutinePromise *a, *b, *c;
    go = served = 0;
    limits(&config, 2, 1, GOROUTINE_FFI_WAIT);
    OK(goroutine_runtime_start(&config));
    OK(goroutine_go(holds, &go));
    while (GET(served) != 1) thread_sleep(1 * MS);
    a = goroutine_spawn(wants, NULL);
    while (stats().ffi_waits != 1) thread_sleep(1 * MS);
    b = goroutine_spawn(wants_and_gets, NULL);
    while (stats().ffi_waits != 2) thread_sleep(1 * MS);
    OK(goroutine_cancel(a));
    OK(goroutine_promise_await_take(a, 30 * SECOND, NULL));
    SET(go, 1);
    OK(goroutine_promise_await_take(b, 30 * SECOND, NULL)); /* behind one that gave up */
    SET(go, 0);
    OK(goroutine_go(holds, &go));
    while (GET(served) != 2) thread_sleep(1 * MS);
    c = goroutine_spawn(wants_or_gets, NULL);
    while (stats().ffi_waits != 3) thread_sleep(1 * MS);
    goroutine_promise_release(c);
    SET(go, 1);
    stop();
}
static void *waits_holding(void *arg) {
    (void)arg;
    OK(goroutine_ffi_bind());
    ADD(served, 1);
    CHECK_EQ(goroutine_sleep(GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    return NULL;
}
static void shut_down_while_waiting(void) {
    GoroutineConfig config;
    GoroutineSpawn s;
    int i;
    limits(&config, 2, 3, GOROUTINE_FFI_WAIT);
    OK(goroutine_runtime_start(&config));
    served = 0;
    for (i = 0; i < 3; i++) OK(goroutine_go(waits_holding, NULL));
    while (GET(served) != 3) thread_sleep(1 * MS);
    for (i = 0; i < 50; i++) OK(goroutine_go(wants_or_gets, NULL));
    goroutine_spawn_init(&s);
    s.fn = CODE(waits_holding);
    s.flags = GOROUTINE_SPAWN_BOUND;
    /* They start, cancelled already. */
    for (i = 0; i < 50; i++) OK(goroutine_spawn_with(&s, NULL));
    while (stats().ffi_waits != 100) thread_sleep(1 * MS);
    stop();
}

/* ---- refused ---- */
static void *expects_refusal(void *arg) {
    GoroutineSpawn s;
    GoroutinePromise *p = NULL;
    goroutine_spawn_init(&s);
    s.fn = CODE(expects_refusal);
    s.flags = GOROUTINE_SPAWN_BOUND;
    if (is_goroutine_ffi_bound(goroutine_current())) return NULL;
    CHECK_EQ(goroutine_ffi_bind(), GOROUTINE_EFFITHREADS);
    CHECK(!is_goroutine_ffi_bound(goroutine_current()));
    if (U(arg) == GOROUTINE_FFI_FAIL) {
        CHECK_EQ(goroutine_spawn_with(&s, &p), GOROUTINE_EFFITHREADS);
        CHECK(p == NULL);
    } else if (U(arg) == GOROUTINE_FFI_UNBOUND) {
        s.fn = CODE(native);
        s.int_args[0] = 1;
        OK(goroutine_spawn_with(&s, &p)); /* runs all the same */
        OK(goroutine_promise_await_take(p, 30 * SECOND, NULL));
    }
    return arg;
}
static void refusals(uint32_t policy) {
    GoroutineConfig config;
    static uint64_t go;
    go = served = 0;
    limits(&config, 1, 1, policy);
    OK(goroutine_runtime_start(&config));
    OK(goroutine_go(holds, &go));
    while (GET(served) != 1) thread_sleep(1 * MS);
    run_goroutine(expects_refusal, P(policy));
    SET(go, 1);
    OK(goroutine_runtime_wait(30 * SECOND));
    while (stats().ffi_bound != 0) thread_sleep(1 * MS);
    run_goroutine(wants_and_gets, NULL);
    stop();
}

/* ---- no thread can be made: bind says so, nobody is lost ---- */
static void *binds_or_not(void *arg) {
    GoroutineStatus status = goroutine_ffi_bind();
    CHECK(status == GOROUTINE_OK || status == GOROUTINE_ENOMEM);
    ADD(*(status == GOROUTINE_OK ? &bound : &refused), 1);
    while (GET(bound) + GET(refused) < 20) goroutine_yield();
    (void)arg;
    return NULL;
}
static void no_memory(void *arg) {
    GoroutineConfig config;
    uint64_t i;
    (void)arg;
    limits(&config, 1, 1000, GOROUTINE_FFI_WAIT);
    config.thread_stack_bytes = 1ull << 33;
    /* Address space for some threads of 8 GiB, and for little else. */
    OK(goroutine_runtime_start(&config));
    {
        uint64_t chunk = 1ull << 40;
        for (; chunk >= 1ull << 34; chunk /= 2)
            while (mmap(NULL, chunk, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED) {
            }
    }
    bound = refused = 0;
    for (i = 0; i < 20; i++) OK(goroutine_go(binds_or_not, NULL));
    OK(goroutine_runtime_wait(30 * SECOND));
    CHECK_EQ(bound + refused, 20);
    CHECK(refused > 0);
    stop();
}

/* ---- reports ---- */
static void *awaits_a_waiter(void *arg);
static void *wants_thread(void *arg) {
    goroutine_ffi_bind();
    return arg;
}
static void *awaits_a_waiter(void *arg) {
    GoroutinePromise *p;
    OK(goroutine_ffi_bind());
    ADD(served, 1);
    while (GET(served) < 3) goroutine_yield();
    p = goroutine_spawn(wants_thread, NULL);
    goroutine_promise_await_take(p, arg == NULL ? GOROUTINE_FOREVER : 100 * SECOND, NULL);
    return arg;
}
static void deadlock(void *arg) {
    GoroutineConfig config;
    uint64_t i;
    limits(&config, 2, 3, GOROUTINE_FFI_WAIT);
    OK(goroutine_runtime_start(&config));
    served = 0;
    for (i = 0; i < 3; i++) OK(goroutine_go(awaits_a_waiter, arg));
    CHECK_EQ(goroutine_runtime_wait(arg == NULL ? 1 * SECOND : 12 * SECOND), GOROUTINE_ETIMEDOUT);
    stop();
}

/* ---- as many blocking calls as may be retaken, and one more ---- */
static int ends[2][2];
static void *reads(void *fd) {
    char c;
    return P(read((int)U(fd), &c, 1));
}
static void *blocks(void *fd) { return goroutine_ffi_call_blocking(CODE(reads), fd); }
static void *would_run(void *arg) {
    ADD(served, 1);
    return arg;
}
static void calls(void *runnable) {
    GoroutineConfig config;
    int i;
    CHECK(pipe(ends[0]) == 0 && pipe(ends[1]) == 0);
    limits(&config, 1, 1, GOROUTINE_FFI_WAIT);
    OK(goroutine_runtime_start(&config));
    served = 0;
    for (i = 0; i < 2; i++) OK(goroutine_go(blocks, P(ends[i][0])));
    while (stats().ffi_retaken != 1) thread_sleep(1 * MS);
    if (runnable != NULL) OK(goroutine_go(would_run, NULL));
    CHECK_EQ(goroutine_runtime_wait(12 * SECOND), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(GET(served), 0);
    for (i = 0; i < 2; i++) CHECK_EQ(write(ends[i][1], "", 1), 1);
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(GET(served), runnable != NULL);
    stop();
}
static Child children[2];
static void *calls_aside(void *runnable) {
    run_child(calls, runnable, &children[runnable != NULL]);
    return NULL;
}

int main(void) {
    static Child child;
    pthread_t aside[2];
    uint32_t policy, i;
    for (policy = 0; policy < 3; policy++) {
        short_ones(2, 1000, policy);
        short_ones(1, 10, policy);
        short_ones(8, 50, policy);
        if (policy != GOROUTINE_FFI_WAIT) refusals(policy);
    }
    in_order();
    cancelled();
    shut_down_while_waiting();
    for (i = 0; i < 20 && (!is_slow() || THREADS_SANITIZED); i++) expect_child("no memory for threads", no_memory, NULL, 0, 0, NULL);
    expect_child("a deadlock is said at once", deadlock, NULL, 0, 0, "deadlock: every thread for foreign calls is held");
    for (i = 0; i < 2; i++) CHECK(pthread_create(&aside[i], NULL, calls_aside, P(i)) == 0); /* all of this takes its time */
    run_child(deadlock, P(1), &child); /* with time-outs it is none */
    CHECK_EQ(child.status, 0);
    CHECK(strstr(child.text, "deadlock") == NULL);
    CHECK(strstr(child.text, "3 wait for a thread for foreign calls, 3 are taken, and none was given back for 10 s") != NULL);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(aside[i], NULL) == 0);
        CHECK_EQ(children[i].signal, 0);
        CHECK_EQ(children[i].status, 0);
    }
    CHECK(children[0].text[0] == 0); /* nobody waits for the worker */
    CHECK(strstr(children[1].text, "1 blocking calls are under way, as many as ffi_threads_max allows") != NULL);
    return 0;
}

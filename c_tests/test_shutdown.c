/* A shutdown ends, whatever goes on meanwhile: threads that retire, hosts' threads that call back, foreign code that forks. */
#include "check.h"

static uint64_t parked;
static void *in_c(void *arg) { return arg; }
static void *holds(void *arg) {
    execute_ffi_call(goroutine_current(), CODE(in_c), NULL);
    ADD(parked, 1);
    CHECK_EQ(goroutine_sleep(1000 * SECOND), GOROUTINE_ECANCELED);
    return arg;
}

/* Threads end as their goroutines do, or their lanes: some of them after the spares were sent away. */
enum { LANES = 40, ROUNDS = 60 };
static void lanes_retire(void) {
    static GoroutineFfiLane *lanes[LANES];
    int i, round;
    for (round = 0; round < ROUNDS; round++) {
        SET(parked, 0);
        start_workers(1);
        for (i = 0; i < LANES; i++) OK(goroutine_ffi_lane_new("lane", &lanes[i]));
        for (i = 0; i < LANES; i++) OK(goroutine_ffi_lane_call(lanes[i], CODE(in_c), NULL, NULL));
        OK(goroutine_go(holds, NULL));
        while (GET(parked) != 1) thread_sleep(100 * US);
        OK(goroutine_runtime_shutdown(GOROUTINE_FOREVER));
        for (i = 0; i < LANES; i++) OK(goroutine_ffi_lane_release(lanes[i]));
    }
}
static void threads_retire(void) {
    int i, round;
    for (round = 0; round < ROUNDS; round++) {
        GoroutineConfig config;
        int n = 1 + round % 40;
        goroutine_config_init(&config);
        config.workers = 1 + (uint32_t)round % 2;
        config.ffi_release = GOROUTINE_FFI_RETIRE;
        SET(parked, 0);
        OK(goroutine_runtime_start(&config));
        for (i = 0; i < n; i++) OK(goroutine_go(holds, NULL));
        while (GET(parked) != (uint64_t)n) thread_sleep(100 * US);
        OK(goroutine_runtime_shutdown(GOROUTINE_FOREVER));
    }
}

/* Once it has begun, callbacks that run are waited for, and new ones are refused. */
enum { THREADS = 4 };
static uint64_t end_it, refused, stopping;
static void *language(void *arg) {
    goroutine_sleep(MS);
    return arg;
}
static void *computes(void *arg) {
    uint64_t until = now_ns() + 2 * MS;
    while (now_ns() < until) {
    }
    return arg;
}
static void *host(void *arg) {
    while (!GET(end_it)) {
        if (goroutine_callback_run(U(arg) % 2 ? language : computes, P(1)) == NULL) thread_sleep(MS);
    }
    return NULL;
}
static void failed(Goroutine *g, GoroutineStatus status, void *arg) {
    CHECK(g == NULL && arg == &refused);
    CHECK_EQ(status, GOROUTINE_ESHUTDOWN);
    ADD(refused, 1);
}
static void *nests(void *arg) {
    SET(parked, 1);
    CHECK_EQ(goroutine_sleep(1000 * SECOND), GOROUTINE_ECANCELED);
    CHECK(goroutine_callback_run(in_c, arg) == arg); /* part of one that runs */
    while (!GET(refused)) thread_sleep(MS);          /* the shutdown waits for us */
    return arg;
}
static void *nesting_host(void *arg) {
    CHECK(goroutine_callback_run(nests, P(2)) == P(2));
    return arg;
}
static void hosts_call_back(void) {
    pthread_t threads[THREADS], nesting;
    GoroutineConfig config;
    uintptr_t i;
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_failed = failed;
    config.ffi_failed_arg = &refused;
    OK(goroutine_runtime_start(&config));
    SET(parked, 0);
    CHECK_EQ(pthread_create(&nesting, NULL, nesting_host, NULL), 0);
    while (!GET(parked)) thread_sleep(MS);
    for (i = 0; i < THREADS; i++) CHECK_EQ(pthread_create(&threads[i], NULL, host, P(i)), 0);
    thread_sleep(20 * MS);
    OK(goroutine_runtime_shutdown(60 * SECOND));
    CHECK(GET(refused) != 0);
    SET(end_it, 1);
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    pthread_join(nesting, NULL);
}

/* A goroutine that the shutdown waits for. */
static uint64_t calling;
static void *forks(void *arg) {
    pid_t pid;
    SET(calling, 1);
    while (!GET(stopping)) thread_sleep(MS);
    while (goroutine_go(in_c, NULL) == GOROUTINE_OK) thread_sleep(MS); /* until the shutdown has begun */
    pid = fork();
    if (pid == 0) {
        alarm(20);
        start_workers(1);
        OK(goroutine_go(in_c, NULL));
        OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
        stop();
        _exit(0);
    } else {
        int status;
        CHECK(pid > 0);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
    }
    return arg;
}
static void *body(void *kind) {
    if (U(kind) == 0) execute_ffi_call(goroutine_current(), CODE(forks), NULL);
    if (U(kind) == 1) goroutine_ffi_call_blocking(CODE(forks), NULL);
    if (U(kind) == 2) goroutine_ffi_call_leaf(CODE(forks), NULL);
    return NULL;
}
static void foreign_code_forks(void) {
    uintptr_t kind;
    for (kind = 0; kind < 3; kind++) {
        SET(calling, 0);
        SET(stopping, 0);
        start_workers(2);
        OK(goroutine_go(body, P(kind)));
        while (!GET(calling)) thread_sleep(MS);
        SET(stopping, 1);
        OK(goroutine_runtime_shutdown(GOROUTINE_FOREVER));
    }
}

int main(void) {
    alarm(110);
    lanes_retire();
    threads_retire();
    hosts_call_back();
    foreign_code_forks();
    return 0;
}

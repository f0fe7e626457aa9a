/* GOROUTINE_CONFIG_DEADLOCK_REPORT and the functions of a configuration: while one of them runs on a thread of the library, all goroutines may be
 * parked, and it may wake one of them. That is no deadlock, however long it takes, and whichever thread is in it at the moment. */
#include "check.h"
#include <sys/prctl.h>

enum { LOOKS = 60, PASSES = 20, ROUNDS = 50 };
typedef enum Hook { AT_IDLE, AT_IDLE_IN_TURN, AT_THE_END, AT_THE_START, NONE } Hook;
static GoroutineSemaphore *semaphore;
static uint64_t armed, ran, passes;

/* For as long as the monitor looks every millisecond many times; then it helps. */
static void helps(void) {
    if (__atomic_exchange_n(&armed, 0, __ATOMIC_SEQ_CST) == 0) return;
    thread_sleep(LOOKS * MS);
    ADD(ran, 1);
    OK(goroutine_semaphore_release(semaphore, 1));
}
static void on_idle(void *arg) {
    (void)arg;
    helps();
}
static void on_end(Goroutine *g, void *arg) {
    (void)g;
    (void)arg;
    helps();
}
/* On one that has no worker. */
static void on_start(void *arg) {
    char name[16] = "";
    (void)arg;
    CHECK(prctl(PR_GET_NAME, name) == 0);
    if (strncmp(name, "gr-ffi-", 7) == 0) helps();
}

static void *nothing(void *arg) { return arg; }

/* The workers take turns: one leaves its function only once another one is in its own. */
static void on_idle_in_turn(void *arg) {
    int tries;
    if (__atomic_exchange_n(&armed, 0, __ATOMIC_SEQ_CST) == 0) return;
    thread_sleep(2 * MS);
    while (ADD(passes, 1) <= PASSES) {
        SET(armed, 1);
        OK(goroutine_go(nothing, arg)); /* wakes one */
        for (tries = 0; tries < 20 && GET(armed) != 0; tries++) thread_sleep(100 * US);
        if (__atomic_exchange_n(&armed, 0, __ATOMIC_SEQ_CST) == 0) return;
    }
    ADD(ran, 1);
    OK(goroutine_semaphore_release(semaphore, 1));
}

/* Somebody who finds a permit just after it saw that there was none is parked for a moment only. */
static void *releases(void *arg) {
    OK(goroutine_semaphore_release(semaphore, 1));
    return arg;
}
static void *acquires(void *arg) {
    int i;
    for (i = 0; i < ROUNDS; i++) {
        OK(goroutine_go(releases, NULL));
        OK(goroutine_semaphore_acquire(semaphore, 1, GOROUTINE_FOREVER));
    }
    ADD(ran, 1);
    return arg;
}

static void *waits(void *arg) {
    GoroutinePromise *promise;
    if (U(arg) == NONE) {
        promise = spawn_as("bound", acquires, arg, GOROUTINE_SPAWN_BOUND);
        goroutine_promise_release(promise);
        return P(1);
    }
    /* First: another worker may run the one that is spawned here to its end at once, and nobody else ends. */
    if (U(arg) != AT_THE_START) SET(armed, 1);
    if (U(arg) == AT_THE_END) {
        promise = goroutine_spawn(nothing, NULL);
        CHECK(promise != NULL);
        goroutine_promise_release(promise);
    }
    OK(goroutine_semaphore_acquire(semaphore, 1, GOROUTINE_FOREVER));
    return P(1);
}
static void program(Hook hook, uint32_t workers) {
    GoroutineConfig config;
    void *value = NULL;
    goroutine_config_init(&config);
    config.workers = workers;
    config.flags = GOROUTINE_CONFIG_DEADLOCK_REPORT;
    switch (hook) {
    case AT_IDLE: config.idle = on_idle; break;
    case AT_IDLE_IN_TURN: config.idle = on_idle_in_turn; break;
    case AT_THE_END: config.goroutine_end = on_end; break;
    case AT_THE_START:
        config.ffi_threads_prestart = 1;
        config.thread_start = on_start;
        break;
    case NONE: break;
    }
    SET(ran, 0);
    SET(passes, 0);
    SET(armed, hook == AT_THE_START);
    semaphore = goroutine_semaphore_new(0);
    CHECK(semaphore != NULL);
    OK(goroutine_runtime_start(&config));
    {
        GoroutineStatus status = goroutine_runtime_run(waits, P(hook), &value);
        CHECK(dup2(100, 2) == 2);
        OK(status);
    }
    CHECK(U(value) == 1 && GET(ran) == 1);
    OK(goroutine_semaphore_free(semaphore));
    stop();
}

int main(void) {
    int report = memfd_create("stderr", 0), i;
    setenv("GOROUTINE_DEADLOCK_LOOK_MS", "1", 1);
    CHECK(report >= 0 && dup2(2, 100) == 100);
    for (i = AT_IDLE; i <= NONE; i++) {
        uint32_t workers;
        for (workers = 1; workers <= 4; workers += 3) {
            CHECK(dup2(report, 2) == 2);
            program((Hook)i, workers);
            CHECK_EQ(lseek(report, 0, SEEK_END), 0); /* no report */
        }
    }
    return 0;
}

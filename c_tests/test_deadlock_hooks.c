/* GOROUTINE_CONFIG_DEADLOCK_REPORT and the functions of a configuration: while one of them runs on a worker, all goroutines may be parked, and it
 * may wake one of them. That is no deadlock, however long it takes. */
#include "check.h"

enum { LOOKS = 60 };
static GoroutineSemaphore *semaphore;
static uint64_t armed, ran;

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

static void *nothing(void *arg) { return arg; }
static void *waits(void *arg) {
    SET(armed, 1); /* first: another worker may run the one that is spawned here to its end at once, and nobody else ends */
    if (U(arg) != 0) {
        GoroutinePromise *promise = goroutine_spawn(nothing, NULL);
        CHECK(promise != NULL);
        goroutine_promise_release(promise);
    }
    OK(goroutine_semaphore_acquire(semaphore, 1, GOROUTINE_FOREVER));
    return P(1);
}
static void program(bool at_the_end, uint32_t workers) {
    GoroutineConfig config;
    void *value = NULL;
    goroutine_config_init(&config);
    config.workers = workers;
    config.flags = GOROUTINE_CONFIG_DEADLOCK_REPORT;
    if (at_the_end) {
        config.goroutine_end = on_end;
    } else {
        config.idle = on_idle;
    }
    OK(goroutine_runtime_start(&config));
    SET(ran, 0);
    semaphore = goroutine_semaphore_new(0);
    CHECK(semaphore != NULL);
    {
        GoroutineStatus status = goroutine_runtime_run(waits, P(at_the_end), &value);
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
    for (i = 0; i < 4; i++) {
        CHECK(dup2(report, 2) == 2);
        program(i % 2 != 0, i < 2 ? 1 : 4);
        CHECK_EQ(lseek(report, 0, SEEK_END), 0); /* no report */
    }
    return 0;
}

/* Two workers. A callback parks, so its thread is bound on the spot, and its worker waits for a thread: one that cannot be made, or that is
 * still in `thread_start`. The other worker sleeps, with its thread: it is woken for what comes meanwhile. */
#include "check.h"
#include <dlfcn.h>

#ifdef __cplusplus
int main(void) { return 77; }
#else
static uint64_t refuse;
typedef int Create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg) {
    Create *next;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return GET(refuse) ? EAGAIN : next(t, a, f, arg);
}
static uint64_t hold, parked, go_on, ran, started;
static void on_start(void *arg) {
    (void)arg;
    ADD(started, 1);
    while (GET(hold)) thread_sleep(MS);
}
static void *language(void *arg) {
    SET(parked, 1);
    while (!GET(go_on)) OK(goroutine_sleep(10 * MS));
    return arg;
}
static void *c_code(void *arg) { return goroutine_callback_run(language, arg); }
static void *leaf(void *arg) {
    goroutine_ffi_call_leaf(CODE(c_code), NULL);
    return arg;
}
static void *work(void *arg) {
    ADD(ran, 1);
    return arg;
}
static void a_worker_waits(uint64_t *what) {
    GoroutineConfig config;
    GoroutinePromise *promise;
    uint64_t i;
    goroutine_config_init(&config);
    config.workers = 2;
    config.thread_start = on_start;
    SET(started, 0);
    OK(goroutine_runtime_start(&config));
    while (GET(started) != 3) thread_sleep(MS); /* two workers, the monitor: they are not those that are held */
    thread_sleep(10 * MS);
    SET(parked, 0);
    SET(go_on, 0);
    SET(ran, 0);
    SET(*what, 1);
    promise = goroutine_spawn(leaf, NULL);
    while (!GET(parked)) thread_sleep(MS);
    thread_sleep(10 * MS);
    for (i = 1; i <= 10; i++) {
        OK(goroutine_go(work, NULL));
        while (GET(ran) != i) thread_sleep(100 * US); /* for ever, if nobody is woken */
        if (i % 2) thread_sleep(2 * MS);
    }
    SET(*what, 0);
    SET(go_on, 1);
    OK(goroutine_promise_await_take(promise, 30 * SECOND, NULL));
    stop();
}
int main(void) {
    int round;
    alarm(110);
    for (round = 0; round < 10; round++) {
        a_worker_waits(&refuse);
        a_worker_waits(&hold);
    }
    return 0;
}
#endif

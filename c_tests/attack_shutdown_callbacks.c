/* A few threads of the host call back again and again, a millisecond each. A shutdown "refuses new goroutines", but lets each of
 * these begin, waits for a moment without any, and there is none. */
#include "check.h"

enum { THREADS = 4 };
static uint64_t end_it, refused, ran_while_stopping, stopping;
static void *language(void *arg) {
    goroutine_sleep(MS);
    if (GET(stopping)) ADD(ran_while_stopping, 1);
    return arg;
}
static void *in_c(void *arg) {
    uint64_t until = now_ns() + 2 * MS;
    (void)arg;
    while (now_ns() < until) {
    }
    return NULL;
}
static void *computes(void *arg) {
    in_c(NULL);
    if (GET(stopping)) ADD(ran_while_stopping, 1);
    return arg;
}
static void *host(void *arg) {
    while (!GET(end_it)) {
        if (goroutine_callback_run(U(arg) % 2 ? language : computes, P(1)) == NULL) {
            ADD(refused, 1);
            thread_sleep(MS);
        }
    }
    return NULL;
}
static void unhandled(const Goroutine *g, GoroutineStatus status, void *reason, void *arg) {
    (void)g, (void)status, (void)reason, (void)arg;
}
static void failed(Goroutine *g, GoroutineStatus status, void *arg) {
    (void)g, (void)status, (void)arg;
}
int main(void) {
    pthread_t threads[THREADS];
    GoroutineConfig config;
    GoroutineStatus status;
    uintptr_t i;
    goroutine_config_init(&config);
    config.workers = 1;
    config.unhandled = unhandled;
    config.ffi_failed = failed;
    OK(goroutine_runtime_start(&config));
    for (i = 0; i < THREADS; i++) CHECK_EQ(pthread_create(&threads[i], NULL, host, P(i)), 0);
    thread_sleep(50 * MS);
    SET(stopping, 1);
    status = goroutine_runtime_shutdown(10 * SECOND);
    SET(stopping, 0);
    SET(end_it, 1);
    fprintf(stderr, "shutdown: %s; meanwhile %d callbacks began and ran, %d were refused\n", goroutine_status_name(status), (int)ran_while_stopping,
           (int)refused);
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return status != GOROUTINE_OK;
}

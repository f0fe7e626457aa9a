/* That a thread could not be made for a while is one report; that somebody waited for a permit for 10 s is another, and true only then. */
#include "check.h"
#include <dlfcn.h>

#ifdef __cplusplus
int main(void) { return 77; } /* glibc's declaration of the function is not to be overridden there */
#else
static uint64_t refuse;
typedef int Create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg) {
    Create *next;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return GET(refuse) ? EAGAIN : next(t, a, f, arg);
}
static void *binds(void *arg) {
    OK(goroutine_ffi_bind());
    return arg;
}
static void *language(void *arg) {
    GoroutinePromise *p = NULL;
    OK(goroutine_sleep(50 * MS)); /* bound on the spot: a thread is missing, and the monitor looks */
    if (arg != NULL) p = goroutine_spawn(binds, NULL); /* and with somebody who waits, too */
    OK(goroutine_sleep(50 * MS));
    SET(refuse, 0);
    if (p != NULL) {
        GoroutineStats stats;
        goroutine_stats_init(&stats);
        do {
            OK(goroutine_sleep(MS));
            OK(goroutine_runtime_stats(&stats));
        } while (stats.ffi_waits == 0);
        OK(goroutine_sleep(50 * MS));
        goroutine_promise_release(p);
    }
    return arg;
}
static void *c_code(void *arg) { return goroutine_callback_run(language, arg); }
static void *leaf(void *arg) {
    goroutine_ffi_call_leaf(CODE(c_code), arg);
    return arg;
}
static void child(void *arg) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_threads_max = 1;
    OK(goroutine_runtime_start(&config));
    SET(refuse, 1);
    run_goroutine(leaf, arg);
    OK(goroutine_runtime_wait(30 * SECOND));
    stop();
}
int main(void) {
    static Child result;
    uintptr_t somebody;
    for (somebody = 0; somebody < 2; somebody++) {
        run_child(child, P(somebody), &result);
        CHECK_EQ(result.signal, 0);
        CHECK_EQ(result.status, 0);
        CHECK(strstr(result.text, "no thread could be made for a worker") != NULL);
        CHECK(strstr(result.text, "for 10 s") == NULL);
    }
    return 0;
}
#endif

/* Two workers. A callback parks, so its thread is bound on the spot and its worker waits for a thread, which cannot be made. The other
 * worker has its thread, asleep, and could run everything: but who makes work claims the one without, which then counts as a
 * spinner, so nobody else is woken. */
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
static uint64_t parked, go_on, ran;
static void *language(void *arg) {
    SET(parked, 1);
    while (!GET(go_on)) OK(goroutine_sleep(100 * MS));
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
int main(void) {
    int round, bad = 0;
    alarm(100);
    for (round = 0; round < 20 && !bad; round++) {
        GoroutinePromise *promise;
        uint64_t end;
        int i;
        start_workers(2);
        thread_sleep(5 * MS);
        SET(parked, 0);
        SET(go_on, 0);
        SET(ran, 0);
        SET(refuse, 1);
        promise = goroutine_spawn(leaf, NULL);
        while (!GET(parked)) thread_sleep(MS);
        thread_sleep(20 * MS);
        for (i = 1; i <= 10; i++) {
            OK(goroutine_go(work, NULL));
            end = now_ns() + 3 * SECOND;
            while (GET(ran) != (uint64_t)i && now_ns() < end) thread_sleep(MS);
            if (GET(ran) != (uint64_t)i) {
                fprintf(stderr, "round %d: 3 s later a goroutine has not begun, though a worker sleeps with its thread\n", round);
                bad = 1;
                break;
            }
        }
        SET(refuse, 0);
        SET(go_on, 1);
        OK(goroutine_promise_await_take(promise, 30 * SECOND, NULL));
        stop();
    }
    CHECK_EQ(bad, 0);
    return 0;
}
#endif

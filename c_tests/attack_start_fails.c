/* A start fails because a thread cannot be made, and those that were made have a thread_start that uses the library: it wants the lock
 * that the start holds while it joins them. */
#include "check.h"
#include <dlfcn.h>

#ifdef __cplusplus
int main(void) { return 77; }
#else
static int64_t allowed = 1 << 30;
typedef int Create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg) {
    Create *next;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return __atomic_sub_fetch(&allowed, 1, __ATOMIC_SEQ_CST) < 0 ? EAGAIN : next(t, a, f, arg);
}
static void *nothing(void *arg) { return arg; }
static void on_start(void *arg) {
    (void)arg;
    goroutine_go(nothing, NULL);
}
static void child(void *with_hook) {
    GoroutineConfig config;
    alarm(5);
    goroutine_config_init(&config);
    config.workers = 2;
    config.thread_start = with_hook ? on_start : NULL;
    SET(allowed, 1);
    CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_ENOMEM);
}
int main(void) {
    expect_child("without a hook", child, NULL, 0, 0, NULL);
    expect_child("with a hook that spawns (SIGALRM: it hung)", child, P(1), 0, 0, NULL);
    return 0;
}
#endif

/* A start that cannot make all its threads ends those that it made, whatever their `thread_start` does; the next one succeeds. */
#include "check.h"
#include <dlfcn.h>

#ifdef __cplusplus
int main(void) { return 77; }
#else
static int64_t allowed;
typedef int Create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg) {
    Create *next;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return __atomic_sub_fetch(&allowed, 1, __ATOMIC_SEQ_CST) < 0 ? EAGAIN : next(t, a, f, arg);
}
static uint64_t called;
static void *nothing(void *arg) { return arg; }
static void spawns(void *arg) {
    GoroutineStatus status = goroutine_go(nothing, NULL);
    CHECK(status == GOROUTINE_OK || status == GOROUTINE_ENOMEM || status == GOROUTINE_ESHUTDOWN);
    ADD(called, 1);
    (void)arg;
}
static void forks(void *arg) {
    int status;
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    ADD(called, 1);
    (void)arg;
}
static void start(void *code) {
    GoroutineConfig config;
    void (*hook)(void *) = (void (*)(void *))(uintptr_t)code;
    goroutine_config_init(&config);
    config.workers = 2;
    config.thread_start = hook;
    SET(called, 0);
    SET(allowed, 1);
    CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_ENOMEM);
    CHECK_EQ(GET(called), hook != NULL);
    SET(allowed, 1000);
    OK(goroutine_runtime_start(&config));
    OK(goroutine_go(nothing, NULL));
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
    CHECK(GET(called) >= (hook ? 4u : 0));
}
int main(void) {
    int i;
    for (i = 0; i < 10; i++) {
        expect_child("no hook", start, NULL, 0, 0, NULL);
        expect_child("a hook that spawns", start, CODE(spawns), 0, 0, NULL);
        expect_child("a hook that forks", start, CODE(forks), 0, 0, NULL);
    }
    return 0;
}
#endif

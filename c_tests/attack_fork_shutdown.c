/* A goroutine forks inside a foreign call while a shutdown waits for that goroutine: before_fork wants LIFECYCLE, which the
 * shutdown holds until the goroutine has ended. */
#include "check.h"

static uint64_t in_c, stopping;
static void *forks(void *arg) {
    pid_t pid;
    int status;
    SET(in_c, 1);
    while (!GET(stopping)) thread_sleep(MS);
    thread_sleep(50 * MS); /* the shutdown has the lock now */
    pid = fork();
    if (pid == 0) _exit(0);
    CHECK(pid > 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return arg;
}
static void *body(void *kind) {
    if (U(kind) == 0) execute_ffi_call(goroutine_current(), CODE(forks), NULL);
    if (U(kind) == 1) goroutine_ffi_call_blocking(CODE(forks), NULL);
    if (U(kind) == 2) goroutine_ffi_call_leaf(CODE(forks), NULL);
    return NULL;
}
static void *shut(void *arg) {
    (void)arg;
    SET(stopping, 1);
    OK(goroutine_runtime_shutdown(GOROUTINE_FOREVER));
    SET(stopping, 2);
    return NULL;
}
int main(void) {
    uintptr_t kind;
    for (kind = 0; kind < 3; kind++) {
        pthread_t thread;
        uint64_t end;
        SET(in_c, 0);
        SET(stopping, 0);
        start_workers(2);
        OK(goroutine_go(body, P(kind)));
        while (!GET(in_c)) thread_sleep(MS);
        CHECK_EQ(pthread_create(&thread, NULL, shut, NULL), 0);
        end = now_ns() + 5 * SECOND;
        while (GET(stopping) != 2 && now_ns() < end) thread_sleep(MS);
        if (GET(stopping) != 2) fprintf(stderr, "class %d: 5 s later the shutdown waits for the goroutine, whose fork waits for the shutdown\n", (int)kind);
        CHECK_EQ(GET(stopping), 2);
        pthread_join(thread, NULL);
    }
    return 0;
}

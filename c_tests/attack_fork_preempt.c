/* fork inside a leaf or bound call of a goroutine whose `preempt` is set (somebody cancelled it): the child returns from the call. */
#include "check.h"

static GoroutinePromise *self;
static pid_t pid;
static uint64_t in_c, cancelled;
static void *forks(void *arg) {
    SET(in_c, 1);
    while (!GET(cancelled)) thread_sleep(MS);
    pid = fork();
    return arg;
}
static void *body(void *kind) {
    if (U(kind) == 0) execute_ffi_call(goroutine_current(), CODE(forks), NULL);
    if (U(kind) == 1) goroutine_ffi_call_leaf(CODE(forks), NULL);
    if (U(kind) == 2) goroutine_ffi_call_blocking(CODE(forks), NULL);
    if (pid == 0) _exit(42); /* the child */
    return NULL;
}
int main(void) {
    uintptr_t kind;
    int bad = 0;
    start_workers(2);
    for (kind = 0; kind < 3; kind++) {
        int status;
        SET(in_c, 0);
        SET(cancelled, 0);
        pid = -1;
        self = goroutine_spawn(body, P(kind));
        while (!GET(in_c)) thread_sleep(MS);
        OK(goroutine_cancel(self));
        SET(cancelled, 1);
        goroutine_promise_await_take(self, 30 * SECOND, NULL);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        if (WIFSIGNALED(status)) fprintf(stderr, "class %d: the child that returned from the call died of signal %d\n", (int)kind, WTERMSIG(status));
        bad |= !(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    }
    CHECK_EQ(bad, 0);
    stop();
    return 0;
}

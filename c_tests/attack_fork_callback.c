/* fork inside a callback of a call of each class: the child returns from the callback, from C, and from the call. */
#include "check.h"

static pid_t pid;
static void *callback(void *arg) {
    pid = fork();
    return arg;
}
static void *parks_then_forks(void *arg) {
    OK(goroutine_sleep(5 * MS)); /* bound on the spot from here on */
    pid = fork();
    return arg;
}
static void *c_code(void *f) { return goroutine_callback_run(FN(f), NULL); }
static GoroutineFn f;
static void *body(void *kind) {
    if (U(kind) == 0) execute_ffi_call(goroutine_current(), CODE(c_code), CODE(f));
    if (U(kind) == 1) goroutine_ffi_call_leaf(CODE(c_code), CODE(f));
    if (U(kind) == 2) goroutine_ffi_call_blocking(CODE(c_code), CODE(f));
    if (pid == 0) _exit(42);
    return NULL;
}
int main(void) {
    uintptr_t kind;
    int bad = 0, parks;
    start_workers(2);
    for (parks = 0; parks < 2; parks++) {
        f = parks ? parks_then_forks : callback;
        for (kind = 0; kind < 3; kind++) {
            int status;
            pid = -1;
            run_goroutine(body, P(kind));
            CHECK_EQ(waitpid(pid, &status, 0), pid);
            if (WIFSIGNALED(status))
                fprintf(stderr, "class %d%s: the child died of signal %d\n", (int)kind, parks ? ", parked before" : "", WTERMSIG(status));
            bad |= !(WIFEXITED(status) && WEXITSTATUS(status) == 42);
        }
    }
    CHECK_EQ(bad, 0);
    stop();
    return 0;
}

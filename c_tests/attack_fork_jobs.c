/* fork inside C code that the library called on threads of its own (a lane's call, an async call, a callback of a host's thread): the
 * child returns from it. */
#include "check.h"

static pid_t pid;
static uint64_t forked;
static void *forks(void *arg) {
    pid_t p = fork();
    if (p != 0) {
        pid = p;
        SET(forked, 1);
    } else {
        alarm(20);
    }
    return arg;
}
static void *by_lane(void *lane) {
    OK(goroutine_ffi_lane_call((GoroutineFfiLane *)lane, CODE(forks), NULL, NULL));
    return NULL;
}
static int look(const char *what) {
    int status = 0, i;
    while (!GET(forked)) thread_sleep(MS);
    SET(forked, 0);
    for (i = 0; i < 3000; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            fprintf(stderr, "%s: the child ended, signal %d, status %d\n", what, WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
            return WIFSIGNALED(status);
        }
        thread_sleep(MS);
    }
    fprintf(stderr, "%s: the child hangs\n", what);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return 1;
}
int main(void) {
    GoroutineFfiLane *lane;
    int bad = 0;
    pid_t me = getpid();
    start_workers(2);
    OK(goroutine_ffi_lane_new("lane", &lane));
    run_goroutine(by_lane, lane);
    bad |= look("lane call");
    OK(goroutine_ffi_lane_release(lane));
    OK(goroutine_ffi_call_async(CODE(forks), NULL, NULL, NULL));
    bad |= look("async call");
    goroutine_callback_run(forks, NULL);
    if (getpid() != me) _exit(0);
    bad |= look("callback of a host's thread");
    CHECK_EQ(bad, 0);
    stop();
    return 0;
}

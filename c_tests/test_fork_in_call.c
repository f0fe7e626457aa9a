/* timeout: 60 */
/* A fork, and a shutdown that times out, while a worker is in a visit. */
#include "stops.h"
#include "net.h"

static void *earns(void *arg) {
    int i;
    char c;
    for (i = 0; i < EARNED; i++) CHECK_EQ(goroutine_read(fd, &c, 1), 1);
    return arg;
}
static void in_visit(int ends[2]) {
    memset(&victim_role, 0, sizeof victim_role);
    victim_role.n = 1;
    goroutine_promise_release(victim_in_a_call(ends, EARNED + 1));
}
int main(void) {
    int ends[2], status, i;
    pid_t pid;
    stops_init();
    for (i = 0; i < 3; i++) {
        start_workers(2);
        in_visit(ends);
        pid = fork();
        if (pid == 0) {
            int more[2];
            alarm(20);
            CHECK_EQ(goroutine_close(fd), 0);
            CHECK(fcntl(fd, F_GETFD) < 0);
            start_workers(3);
            CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, more) == 0);
            CHECK_EQ(write(more[1], some, sizeof some), (ssize_t)sizeof some);
            fd = more[0];
            run_goroutine(earns, NULL);
            CHECK_EQ(goroutine_close(fd), 0);
            CHECK(fcntl(fd, F_GETFD) < 0);
            stop();
            _exit(0);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
        /* The shutdown times out while the call is under way; a close is left to it. */
        CHECK_EQ(goroutine_runtime_shutdown(50 * MS), GOROUTINE_ETIMEDOUT);
        CHECK_EQ(goroutine_close(fd), 0);
        CHECK(fcntl(fd, F_GETFD) >= 0);
        stops_never(&victim_role);
        stop();
        CHECK(fcntl(fd, F_GETFD) < 0);
        CHECK_EQ(victim_got, 1);
        CHECK(close(ends[1]) == 0);
        /* Another runtime, with fewer workers: what was biased to one that is not there is closed. */
        start_workers(4);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        CHECK_EQ(write(ends[1], some, sizeof some), (ssize_t)sizeof some);
        fd = ends[0];
        run_goroutine(earns, NULL);
        stop();
        if (i == 1) CHECK_EQ(goroutine_fd_release(fd), GOROUTINE_OK);
        start_workers(1);
        CHECK_EQ(i == 1 ? close(fd) : (int)goroutine_close(fd), 0);
        CHECK(fcntl(fd, F_GETFD) < 0);
        stop();
        CHECK(close(ends[1]) == 0);
    }
    return 0;
}

/* timeout: 30 */
/* A worker's thread ends, for a shutdown, and a thread-specific destructor of the program's calls goroutine_fd_release, or goroutine_close (Context: T), of what a
 * worker keeps: it is over at once, though nobody comes into the runtime any more. */
#include "check.h"
#include "net.h"
static pthread_key_t key;
static bool closes;
static int done;
static void at_thread_end(void *data) {
    const int fd = (int)U(data) - 1;
    if (closes) {
        CHECK_EQ(goroutine_close(fd), 0);
        CHECK(fcntl(fd, F_GETFD) < 0);
    } else {
        OK(goroutine_fd_release(fd));
        CHECK(close(fd) == 0);
    }
    ADD(done, 1);
}
static void *writes_it(void *arg) {
    CHECK(pthread_setspecific(key, P(U(arg) + 1)) == 0);
    return P(goroutine_write((int)U(arg), "a", 1));
}
static int variant(int argc, char **argv) {
    int ends[2];
    void *value = NULL;
    (void)argv;
    closes = argc > 1;
    CHECK(pthread_key_create(&key, at_thread_end) == 0);
    start_workers(1);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    OK(goroutine_promise_await_take(goroutine_spawn(writes_it, P(ends[0])), 60 * SECOND, &value));
    CHECK_EQ(U(value), 1);
    OK(goroutine_runtime_shutdown(10 * SECOND));
    CHECK_EQ(done, 1);
    return 0;
}

static void child(void *arg) {
    char *words[2];
    words[0] = NULL;
    words[1] = (char *)arg;
    _exit(variant(arg == NULL ? 1 : 2, words));
}
int main(void) {
    expect_child("ending, null", child, NULL, 0, 0, NULL);
    expect_child("ending, closes", child, (void *)(uintptr_t)"closes", 0, 0, NULL);
    return 0;
}

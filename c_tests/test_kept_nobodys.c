/* timeout: 60 */
/* A number that was closed behind the library's back, while a worker keeps it: who waits for it is told (docs/io.md, "Closing"). */
#include "check.h"
#include "net.h"
static void *reads_it(void *arg) {
    char c;
    return P(goroutine_read((int)U(arg), &c, 1));
}
static void *writes_it(void *arg) { return P(goroutine_write((int)U(arg), "a", 1)); }
static void *reads_twice(void *arg) {
    char c[64];
    CHECK_EQ(goroutine_read((int)U(arg), c, sizeof c), 1);
    CHECK_EQ(goroutine_read((int)U(arg), c, sizeof c), 1);
    return P(goroutine_read((int)U(arg), c, sizeof c));
}
static int variant(int argc, char **argv) {
    int ends[2];
    void *value = NULL;
    GoroutinePromise *reader;
    (void)argv;
    start_workers(1);
    if (argc > 1) {
        connected(AF_INET, SOCK_STREAM, ends);
        unlimited(ends[0]), unlimited(ends[1]);
        reader = goroutine_spawn(reads_twice, P(ends[0]));
        thread_sleep(20 * MS);
        CHECK(write(ends[1], "a", 1) == 1);
        thread_sleep(20 * MS);
        CHECK(write(ends[1], "a", 1) == 1);
        thread_sleep(20 * MS);
    } else {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        reader = goroutine_spawn(reads_it, P(ends[0]));
        thread_sleep(20 * MS);
        OK(goroutine_promise_await_take(goroutine_spawn(writes_it, P(ends[0])), 60 * SECOND, &value));
    }
    CHECK(close(ends[0]) == 0);
    OK(goroutine_promise_await_take(reader, 20 * SECOND, &value));
    CHECK_EQ((int64_t)U(value), -EBADF);
    stop();
    return 0;
}

static void child(void *arg) {
    char *words[2];
    words[0] = NULL;
    words[1] = (char *)arg;
    _exit(variant(arg == NULL ? 1 : 2, words));
}
int main(void) {
    expect_child("nobodys, null", child, NULL, 0, 0, NULL);
    expect_child("nobodys, tcp", child, (void *)(uintptr_t)"tcp", 0, 0, NULL);
    return 0;
}

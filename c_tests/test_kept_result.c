/* What the kernel says of a close is the close's result, also if a worker that computes keeps the descriptor. */
#include "check.h"
#include "net.h"
static int over, made;
static void *writes_and_computes(void *arg) {
    CHECK_EQ(goroutine_write((int)U(arg), "a", 1), 1);
    SET(made, 1);
    while (!GET(over)) {
    }
    return arg;
}
int main(void) {
    int ends[2];
    int64_t n;
    GoroutinePromise *p;
    start_workers(2);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    p = goroutine_spawn(writes_and_computes, P(ends[0]));
    while (!GET(made)) thread_sleep(100 * US);
    CHECK(close(ends[0]) == 0);
    n = goroutine_close(ends[0]);
    SET(over, 1);
    OK(goroutine_promise_await_take(p, 60 * SECOND, NULL));
    CHECK_EQ(n, -EBADF);
    stop();
    return 0;
}

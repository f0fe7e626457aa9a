/* timeout: 120 */
/* A call that has begun does not write to the next file that gets the number (docs/io.md, "Closing"), wherever it is when its descriptor and the one that its worker kept
 * are closed. */
#include "check.h"
#include "net.h"
#include "step.h"
static int64_t written;
static int ends[2], others[2], ready, go;
static void *victim(void *arg) {
    CHECK_EQ(goroutine_write(others[0], "a", 1), 1);
    CHECK_EQ(goroutine_write(ends[0], "a", 1), 1);
    SET(ready, 1);
    while (!GET(go)) {
    }
    step_begin();
    written = goroutine_write(others[0], "b", 1);
    step_end();
    return arg;
}
int main(void) {
    uint32_t at;
    bool stopped = true;
    struct linger linger = {1, 1000};
    step_init();
    start_workers(2);
    for (at = 1; stopped; at++) {
        GoroutinePromise *p;
        GoroutineStatus status;
        step_reset(at);
        SET(ready, 0), SET(go, 0);
        connected(AF_INET, SOCK_STREAM, ends);
        unlimited(ends[0]), unlimited(ends[1]);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, others) == 0);
        (void)fill(ends[0]);
        take_all(ends[1], 1);
        {   /* room for one */
            static char sink[65536];
            uint32_t r;
            while (goroutine_fd_wait(ends[0], POLLOUT, 1 * MS, &r) != GOROUTINE_OK) CHECK(read(ends[1], sink, sizeof sink) > 0);
        }
        p = goroutine_spawn(victim, NULL);
        while (!GET(ready)) sched_yield();
        SET(go, 1);
        while (GET(step_stopped) == 0 && GET(step_over) == 0) sched_yield();
        stopped = GET(step_stopped) != 0;
        /* The close below may be the victim's: then it is over at once here. Linger off if it is ours. */
        CHECK(setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
        if (environment_number("ONLY", 0) == 0 || at >= environment_number("ONLY", 0)) {
            pthread_t t;
            extern void *closer(void *);
            CHECK(pthread_create(&t, NULL, closer, NULL) == 0);
            thread_sleep(2 * MS); /* it has begun, or is over */
            SET(step_goes_on, 1u);
            status = goroutine_promise_await(p, 5 * SECOND, NULL);
            if (status != GOROUTINE_OK) {
                static char sink[65536];
                int next[2], number = others[0];
                char c = 0;
                CHECK_EQ(goroutine_close(number), 0);
                CHECK(fcntl(number, F_GETFD) < 0);
                CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, next) == 0);
                if (next[0] != number) CHECK(dup2(next[0], number) == number && close(next[0]) == 0);
                while (read(ends[1], sink, sizeof sink) > 0) {
                }
                OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
                if (recv(next[1], &c, 1, MSG_DONTWAIT) == 1)
                    fprintf(stderr, "at %u: '%c' of the write that began before the close is in the next file\n", at, c);
                CHECK_EQ(written, -EBADF);
                return 0;
            }
            OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
            { static char sink[65536]; while (read(ends[1], sink, sizeof sink) > 0) { } }
            CHECK(pthread_join(t, NULL) == 0);
        } else {
            SET(step_goes_on, 1u);
            OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
            linger.l_onoff = 0;
            CHECK(setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
            linger.l_onoff = 1;
            CHECK_EQ(goroutine_close(ends[0]), 0);
        }
        CHECK(close(ends[1]) == 0 && close(others[1]) == 0);
        CHECK_EQ(goroutine_close(others[0]), 0);
    }
    stop();
    return 0;
}
void *closer(void *arg) {
    CHECK_EQ(goroutine_close(ends[0]), 0);
    return arg;
}

/* timeout: 110 */
/* goroutine_close takes two steps: CLOSING, and then, under the lock, whom to tell. Who is in a call ends the descriptor after the first of them: the number
 * goes back to the kernel and is given out again, and somebody waits for the new file. The closer does not take HIM out of the line, and tell him
 * GOROUTINE_EBADF: whom Descriptor::close claims is of its own generation. Nobody does anything that is forbidden here. */
#include "stops.h"
#include "net.h"

static Role closer_role;
static int64_t reader_got;
static char reader_byte;

static void *closer(void *arg) {
    stops_begin(&closer_role);
    CHECK_EQ(goroutine_close(fd), 0);
    stops_end(&closer_role);
    return arg;
}
static void *reader(void *arg) {
    reader_got = goroutine_read(fd, &reader_byte, 1);
    return arg;
}

static int bad, tried;
/* The closer stands before instruction `at`. False: it has none so late. */
static bool stands_before(uint32_t at) {
    int ends[2], next[2], n;
    bool stopped;
    pthread_t x;
    GoroutinePromise *l, *w;
    GoroutineStatus status;
    memset(&victim_role, 0, sizeof victim_role);
    memset(&closer_role, 0, sizeof closer_role);
    victim_role.n = 1;
    closer_role.n = 1;
    closer_role.stops[0].call = -2;
    closer_role.stops[0].count = at;
    l = victim_in_a_call(ends, EARNED + 1);
    start_thread(&x, closer, NULL);
    stopped = stops_await(&closer_role, 1, 5 * SECOND);
    stops_never(&victim_role); /* the call ends */
    status = goroutine_promise_await(l, 200 * MS, NULL);
    if (status != GOROUTINE_OK) { /* the closer has the lock */
        stops_never(&closer_role);
        OK(goroutine_promise_await(l, 5 * SECOND, NULL));
    }
    goroutine_promise_release(l);
    if (stopped && status == GOROUTINE_OK && fcntl(fd, F_GETFD) < 0) { /* it has ended the descriptor */
        tried++;
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, next) == 0);
        if (next[0] != fd) {
            n = fcntl(next[0], F_DUPFD_CLOEXEC, fd);
            if (n != fd) {
                CHECK_EQ(next[1], fd);
                next[1] = next[0];
            } else {
                close(next[0]);
            }
        }
        w = goroutine_spawn(reader, NULL);
        thread_sleep(20 * MS);
        stops_never(&closer_role);
        CHECK(pthread_join(x, NULL) == 0);
        thread_sleep(5 * MS);
        CHECK_EQ(write(next[1], "x", 1), 1);
        OK(goroutine_promise_await_take(w, 10 * SECOND, NULL));
        if (reader_got != 1) {
            fprintf(stderr, "before instruction %u: a read of the new file gave %" PRId64 ", and nobody closes it (open: %d)\n", at,
                    reader_got, fcntl(fd, F_GETFD) >= 0);
            bad++;
        }
        CHECK_EQ(goroutine_close(fd), 0);
        CHECK(close(next[1]) == 0);
    } else {
        stops_never(&closer_role);
        CHECK(pthread_join(x, NULL) == 0);
    }
    CHECK(fcntl(fd, F_GETFD) < 0);
    CHECK(close(ends[1]) == 0);
    return stopped;
}

int main(void) {
    uint32_t at;
    stops_init();
    start_workers(2);
    for (at = 1; stands_before(at) && bad < 5; at++) {
    }
    fprintf(stderr, "%u moments, %d in which the visitor ended it, %d bad\n", at, tried, bad);
    CHECK_EQ(bad, 0);
    return 0;
}

/* timeout: 90 */
/* A number is closed by close(2) while the worker that it is biased to is in a call on it, and goroutine_accept gives it out again: a new generation
 * begins under the visitor, who then becomes a user of it, and tells the poller so. With the OLD generation, if a reader of the new file
 * registered between that visitor's begin_registration and its epoll_ctl, the poller would have the old token, and every edge of the new file
 * would be dropped, for ever. (docs/io.md: "the mistake costs time and does not hang for ever".) */
#include "stops.h"
#include "net.h"

static int64_t reader_got;
static char reader_byte;

static void *reader(void *arg) {
    reader_got = goroutine_read(fd, &reader_byte, 1);
    return arg;
}
static void *waits_once(void *arg) { /* so that there is a poller */
    int ends[2];
    uint32_t what;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK_EQ(goroutine_fd_wait(ends[0], POLLIN, 20 * MS, &what), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_close(ends[0]), 0);
    CHECK_EQ(goroutine_close(ends[1]), 0);
    return arg;
}

int main(void) {
    Address address;
    socklen_t size;
    int ends[2], listener, client, got;
    GoroutinePromise *l, *w;
    GoroutineStatus status;
    stops_init();
    start_workers(2);
    run_goroutine(waits_once, NULL);
    listener = listening(AF_INET, SOCK_STREAM, 16, &address, &size);
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    victim_role.n = 2;
    victim_role.stops[1].call = SYS_epoll_ctl; /* between begin_registration and the poller */
    l = victim_in_a_call(ends, EARNED);

    /* The mistake. */
    CHECK(connect(client, &address.any, size) == 0);
    CHECK(close(fd) == 0);
    got = (int)goroutine_accept(listener, NULL, NULL);
    CHECK_EQ(got, fd);

    stops_go(&victim_role, 1);
    if (!stops_await(&victim_role, 2, 5 * SECOND)) {
        fprintf(stderr, "the victim told the poller nothing (it got %" PRId64 "): not reproduced\n", victim_got);
        stops_never(&victim_role);
    }
    /* Somebody reads the new file, and waits. */
    w = goroutine_spawn(reader, NULL);
    thread_sleep(200 * MS);
    stops_never(&victim_role);
    status = goroutine_promise_await_take(l, 3 * SECOND, NULL);
    fprintf(stderr, "victim: %d, its read gave %" PRId64 "\n", (int)status, victim_got);
    CHECK_EQ(write(client, "x", 1), 1);
    status = goroutine_promise_await_take(w, 15 * SECOND, NULL);
    if (status != GOROUTINE_OK) {
        fprintf(stderr, "a byte lies in the new file for 15 s, and its reader still waits (%d)\n", (int)status);
        _exit(1);
    }
    CHECK_EQ(reader_got, 1);
    fprintf(stderr, "the reader got its byte\n");
    return 0;
}

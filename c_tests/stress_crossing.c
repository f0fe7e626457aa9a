/* timeout: 100 */
/* Closes and releases of numbers that are in use, by anybody, beside each other: each ends its file exactly once, and soon. */
#include "check.h"
#include "net.h"
#include <sched.h>

enum { DRIVERS = 3, BYTES = 2000 };
typedef struct Round {
    int fd, peer, reads;
    unsigned char tag;
} Round;
static uint64_t until, rounds_made;
static void *reads(void *arg) {
    Round *r = (Round *)arg;
    unsigned char some[3];
    int64_t n;
    while ((n = goroutine_read(r->fd, some, 1 + (size_t)(r->reads & 1))) > 0) {
        CHECK_EQ(some[0], r->tag);
        ADD(r->reads, 1);
    }
    if (!(n == 0 || n == -EBADF || n == GOROUTINE_EBADF || n == -ECONNRESET)) fprintf(stderr, "n is %d\n", (int)n), _exit(1);
    return arg;
}
static void *closes(void *arg) {
    CHECK_EQ(goroutine_close(((Round *)arg)->fd), 0);
    return arg;
}
static void *driver(void *arg) {
    int turn = 0, kinds[64];
    uint64_t state = random_seed(7, (uint64_t)(intptr_t)arg);
    while (now_ns() < until) {
        Round r;
        GoroutinePromise *p[2];
        unsigned char bytes[BYTES];
        int ends[2], at = 280 + (int)(random_next(&state) % 600), kind = (int)(random_next(&state) % 4), i, n = 1 + (int)(random_next(&state) % 2);
        memset(&r, 0, sizeof r);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        /* A range of its own: a reader's next call, after the close, is on nobody's number. */
        r.fd = 400 + (int)(intptr_t)arg % 16 * 64 + turn++ % 64, r.peer = ends[1];
        if (fcntl(r.fd, F_GETFD) >= 0) {
            char path[64], link[128] = "";
            snprintf(path, sizeof path, "/proc/self/fd/%d", r.fd);
            if (readlink(path, link, sizeof link - 1) < 0) link[0] = 0;
            fprintf(stderr, "%d is open: %s, turn %d, round %" PRIu64 ", kinds before: %d; ends %d %d\n", r.fd, link, turn, rounds_made, kinds[(turn - 1) % 64], ends[0], ends[1]);
            _exit(1);
        }
        CHECK_EQ(fcntl(ends[0], F_DUPFD_CLOEXEC, r.fd), r.fd);
        kinds[(turn - 1) % 64] = kind;
        CHECK(close(ends[0]) == 0);
        r.tag = (unsigned char)random_next(&state);
        memset(bytes, r.tag, sizeof bytes);
        CHECK_EQ(write(r.peer, bytes, sizeof bytes), BYTES);
        for (i = 0; i < n; i++) p[i] = spawn_as("reads", reads, &r, i == 0 ? GOROUTINE_SPAWN_PINNED : 0);
        while (GET(r.reads) < at) sched_yield();
        if (kind == 0) {
            OK(goroutine_promise_await_take(goroutine_spawn(closes, &r), 30 * SECOND, NULL));
        } else if (kind == 1) {
            OK(goroutine_promise_await_take(spawn_as("closes", closes, &r, GOROUTINE_SPAWN_PINNED), 30 * SECOND, NULL));
        } else if (kind == 2) {
            OK(goroutine_fd_release(r.fd));
            CHECK(shutdown(r.peer, SHUT_WR) == 0);
            for (i = 0; i < n; i++) OK(goroutine_promise_await(p[i], 30 * SECOND, NULL));
            CHECK_EQ(goroutine_close(r.fd), 0);
        } else {
            CHECK_EQ(goroutine_close(r.fd), 0);
        }
        for (i = 0; i < n; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
        { /* its other end sees that it is closed: nothing is left open */
            struct pollfd one;
            one.fd = r.peer, one.events = POLLIN;
            CHECK_EQ(poll(&one, 1, 30000), 1);
        }
        CHECK(close(r.peer) == 0);
        ADD(rounds_made, 1);
    }
    return NULL;
}
int main(void) {
    static const uint32_t workers[] = {1, 2, 4, 140};
    int w, i;
    for (w = 0; w < 4; w++) {
        pthread_t t[DRIVERS];
        start_workers(workers[w]);
        until = now_ns() + 8 * SECOND;
        for (i = 0; i < DRIVERS; i++) start_thread(&t[i], driver, P(i + w * 16));
        for (i = 0; i < DRIVERS; i++) CHECK(pthread_join(t[i], NULL) == 0);
        stop();
        fprintf(stderr, "%u workers: %" PRIu64 " rounds\n", workers[w], rounds_made);
    }
    return 0;
}

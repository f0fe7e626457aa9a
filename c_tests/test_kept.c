/* A worker keeps the stay of its last call on a descriptor (src/sched/kept.rs). Nobody notices: a close that somebody else makes meanwhile closes it at once,
 * whoever computes on that worker; a number that is another file's is that file's; and a worker that has ended keeps none. */
#include "check.h"
#include "net.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

static int over, made;

static void pair(int ends[2]) { CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0); }
static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }
/* Its other end is closed. (What a descriptor's end does later, another thread may still be doing.) */
static void ends_now(int peer) {
    struct pollfd one;
    char c;
    one.fd = peer;
    one.events = POLLIN;
    CHECK_EQ(poll(&one, 1, 60000), 1);
    CHECK_EQ(read(peer, &c, 1), 1);
    CHECK_EQ(poll(&one, 1, 60000), 1);
    CHECK_EQ(read(peer, &c, 1), 0);
}

/* Its last call was on the descriptor, and now it computes, until the test is over. */
static void *writes_and_computes(void *arg) {
    CHECK_EQ(goroutine_write((int)U(arg), "a", 1), 1);
    SET(made, 1);
    while (!GET(over)) {
    }
    return arg;
}
static void *closes(void *arg) { return P(goroutine_close((int)U(arg))); }
static void *releases(void *arg) { return P(goroutine_fd_release((int)U(arg))); }

enum How { THREAD_CLOSES, GOROUTINE_CLOSES, THREAD_RELEASES, GOROUTINE_RELEASES };

static void while_it_computes(enum How how) {
    int ends[2];
    GoroutinePromise *computes, *closer;
    void *status = NULL;
    pair(ends);
    SET(over, 0), SET(made, 0);
    computes = goroutine_spawn(writes_and_computes, P(ends[0]));
    while (!GET(made)) thread_sleep(100 * US);
    switch (how) {
    case THREAD_CLOSES: CHECK_EQ(goroutine_close(ends[0]), 0); break;
    case THREAD_RELEASES: OK(goroutine_fd_release(ends[0])); break;
    default:
        closer = goroutine_spawn(how == GOROUTINE_CLOSES ? closes : releases, P(ends[0]));
        OK(goroutine_promise_await_take(closer, 60 * SECOND, &status));
        CHECK_EQ(U(status), 0);
    }
    if (how == THREAD_RELEASES || how == GOROUTINE_RELEASES) {
        CHECK(is_open(ends[0]));
        CHECK(close(ends[0]) == 0);
    }
    ends_now(ends[1]);
    SET(over, 1);
    OK(goroutine_promise_await_take(computes, 60 * SECOND, &status));
    CHECK(close(ends[1]) == 0);
}

/* The worker that read the old file goes on with the new one. What it knows of the old one, it does not take for true. */
static void *next_file(void *arg) {
    int i, listener, client, ends[2], fd;
    Address address;
    socklen_t size;
    char c = 0;
    listener = listening(AF_INET, SOCK_STREAM, 16, &address, &size);
    unlimited(listener);
    for (i = 0; i < 20; i++) {
        pair(ends);
        CHECK(write(ends[1], "o", 1) == 1);
        CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
        client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(goroutine_connect(client, &address.any, size), 0);
        if (i % 2) CHECK(write(ends[1], "o", 1) == 1 && goroutine_read(ends[0], &c, 1) == 1); /* the last call is on it */
        CHECK(close(ends[0]) == 0); /* not ours: nothing tells the library */
        fd = (int)goroutine_accept(listener, NULL, NULL);
        CHECK_EQ(fd, ends[0]); /* the lowest number that is free */
        OK(goroutine_set_deadline(fd, POLLIN, 60 * SECOND));
        CHECK(write(client, "n", 1) == 1);
        CHECK_EQ(goroutine_read(fd, &c, 1), 1);
        CHECK_EQ(c, 'n');
        CHECK_EQ(goroutine_close(fd), 0);
        CHECK_EQ(goroutine_close(client), 0);
        CHECK(close(ends[1]) == 0);
    }
    CHECK_EQ(goroutine_close(listener), 0);
    return arg;
}

/* The number goes to another file while the worker that keeps it computes: the old file's deadline, which is over, is not the new one's. */
static void *writes_late(void *arg) {
    OK(goroutine_sleep(20 * MS));
    return P(goroutine_write((int)U(arg), "n", 1));
}
static void *reads_too_late(void *arg) {
    char c;
    CHECK_EQ(goroutine_read((int)U(arg), &c, 1), -ETIMEDOUT);
    return NULL;
}
static void number_of_another(bool connects) {
    Address address;
    socklen_t size;
    int ends[2], client, server, listener = listening(AF_INET, SOCK_STREAM, 16, &address, &size);
    GoroutinePromise *computes, *late;
    char c = 0;
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pair(ends);
    OK(goroutine_set_deadline(ends[0], POLLIN, 1 * MS));
    OK(goroutine_promise_await_take(goroutine_spawn(reads_too_late, P(ends[0])), 60 * SECOND, NULL));
    SET(over, 0), SET(made, 0);
    computes = goroutine_spawn(writes_and_computes, P(ends[0]));
    while (!GET(made)) thread_sleep(100 * US);
    if (connects) {
        CHECK(dup2(client, ends[0]) == ends[0] && close(client) == 0);
        client = ends[0];
    }
    CHECK_EQ(goroutine_connect(client, &address.any, size), 0);
    if (!connects) CHECK(close(ends[0]) == 0);
    server = (int)goroutine_accept(listener, NULL, NULL);
    CHECK(connects ? server >= 0 : server == ends[0]);
    late = goroutine_spawn(writes_late, P(connects ? server : client));
    CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
    CHECK_EQ(c, 'n');
    SET(over, 1);
    OK(goroutine_promise_await_take(late, 60 * SECOND, NULL));
    OK(goroutine_promise_await_take(computes, 60 * SECOND, NULL));
    CHECK_EQ(goroutine_close(server), 0);
    CHECK_EQ(goroutine_close(client), 0);
    CHECK_EQ(goroutine_close(listener), 0);
    CHECK(close(ends[1]) == 0);
}

/* Requests as fast as they come: short reads, each of which says what the next one need not ask. */
enum { MESSAGES = 20000 };
static void *answers(void *arg) {
    int fd = (int)U(arg);
    char bytes[64];
    int64_t n;
    while ((n = goroutine_read(fd, bytes, sizeof bytes)) > 0) CHECK_EQ(goroutine_write(fd, bytes, (size_t)n), n);
    CHECK_EQ(n, 0);
    CHECK_EQ(goroutine_close(fd), 0);
    return arg;
}
static void *asks(void *arg) {
    int fd = (int)U(arg), i, got;
    char bytes[64];
    for (i = 0; i < (int)scaled(MESSAGES, 50); i++) {
        int64_t size = 1 + i % 63, n;
        memset(bytes, i, sizeof bytes);
        CHECK_EQ(goroutine_write(fd, bytes, (size_t)size), size);
        for (got = 0; got < size; got += (int)n) {
            n = goroutine_read(fd, bytes, sizeof bytes);
            CHECK(n > 0 && bytes[0] == (char)i);
        }
    }
    CHECK_EQ(goroutine_close(fd), 0);
    return arg;
}
static void requests(void) {
    enum { PAIRS = 8 };
    Address address;
    socklen_t size;
    GoroutinePromise *all[2 * PAIRS];
    int i, listener = listening(AF_INET, SOCK_STREAM, 16, &address, &size);
    for (i = 0; i < PAIRS; i++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;
        CHECK_EQ(goroutine_connect(client, &address.any, size), 0);
        server = (int)goroutine_accept(listener, NULL, NULL);
        CHECK(server >= 0);
        all[2 * i] = goroutine_spawn(answers, P(server));
        all[2 * i + 1] = goroutine_spawn(asks, P(client));
    }
    for (i = 0; i < 2 * PAIRS; i++) OK(goroutine_promise_await_take(all[i], 120 * SECOND, NULL));
    CHECK_EQ(goroutine_close(listener), 0);
}

static void *one_write(void *arg) { return P(goroutine_write((int)U(arg), "a", 1)); }

/* The worker that kept it is gone, and so is its stay. */
static void after_the_end(void) {
    int ends[2];
    void *status = NULL;
    pair(ends);
    OK(goroutine_promise_await_take(goroutine_spawn(one_write, P(ends[0])), 60 * SECOND, &status));
    CHECK_EQ(U(status), 1);
    stop();
    CHECK_EQ(goroutine_close(ends[0]), 0);
    CHECK(!is_open(ends[0]));
    ends_now(ends[1]);
    CHECK(close(ends[1]) == 0);
}

int main(void) {
    static const uint32_t workers[] = {1, 2, 8};
    size_t i;
    enum How how;
    int round;
    for (i = 0; i < sizeof workers / sizeof *workers; i++) {
        start_workers(workers[i]);
        for (how = THREAD_CLOSES; how <= GOROUTINE_RELEASES; how = (enum How)(how + 1)) {
            if (workers[i] == 1 && (how == GOROUTINE_CLOSES || how == GOROUTINE_RELEASES)) continue; /* its worker computes */
            for (round = 0; round < (int)scaled(50, 10); round++) while_it_computes(how);
        }
        OK(goroutine_promise_await_take(goroutine_spawn(next_file, NULL), 120 * SECOND, NULL));
        if (workers[i] > 1) number_of_another(true), number_of_another(false);
        requests();
        after_the_end();
    }
    return 0;
}

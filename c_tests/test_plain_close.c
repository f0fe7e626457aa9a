/* timeout: 300 */
/* Descriptors that were read or written here and then closed by close(2), which is a mistake, and what becomes of it: a connect begins anew with whatever
 * has the number now; a wait for the new file, or for none, ends after a while, and does not last for ever.
 *
 * test_plain_close [NAME]: those whose names contain NAME. */
#include "check.h"
#include "net.h"

static uint64_t begun; /* of those who wait */

static char byte_of(int fd) {
    char c = 0;
    CHECK_EQ(goroutine_read(fd, &c, 1), 1);
    return c;
}
static void *reads_it(void *arg) {
    char c;
    ADD(begun, 1);
    return P(goroutine_read((int)U(arg), &c, 1));
}
static void *writes_much(void *arg) {
    static char much[1 << 20];
    ADD(begun, 1);
    return P(goroutine_write((int)U(arg), much, sizeof much));
}
static void *accepts_one(void *arg) {
    ADD(begun, 1);
    return P(goroutine_accept((int)U(arg), NULL, NULL));
}
static int64_t result(GoroutinePromise *p) {
    void *value = NULL;
    OK(goroutine_promise_await_take(p, 60 * SECOND, &value));
    return (int64_t)U(value);
}
/* Comes to its wait on the only worker, or all but certainly. */
static GoroutinePromise *waiting(GoroutineFn f, int fd) {
    uint64_t before = GET(begun);
    GoroutinePromise *p = goroutine_spawn(f, P(fd));
    CHECK(p != NULL);
    while (GET(begun) == before) goroutine_yield();
    OK(goroutine_sleep(5 * MS));
    return p;
}

/* ---- A client that closes its sockets by itself. ---- */
static void *answers_late(void *arg) {
    int fd = (int)U(arg);
    char c;
    while (goroutine_read(fd, &c, 1) == 1) {
        OK(goroutine_sleep(5 * MS)); /* so that the client waits */
        CHECK_EQ(goroutine_write(fd, &c, 1), 1);
    }
    CHECK_EQ(goroutine_close(fd), 0);
    return NULL;
}
static void *serves(void *arg) {
    int64_t fd;
    while ((fd = goroutine_accept((int)U(arg), NULL, NULL)) >= 0) OK(goroutine_go(answers_late, P(fd)));
    return P(fd);
}
/* One kind of socket after the other has the number. */
static void *connects_again(void *arg) {
    static const int families[] = {AF_INET, AF_INET, AF_UNIX, AF_INET, AF_UNIX, AF_UNIX, AF_INET};
    Address addresses[2];
    socklen_t sizes[2];
    int listeners[2], number = -1;
    GoroutinePromise *servers[2];
    size_t i, k;
    for (k = 0; k < 2; k++) {
        listeners[k] = listening(k == 0 ? AF_INET : AF_UNIX, SOCK_STREAM, 16, &addresses[k], &sizes[k]);
        unlimited(listeners[k]);
        servers[k] = goroutine_spawn(serves, P(listeners[k]));
    }
    for (i = 0; i < sizeof families / sizeof *families; i++) {
        int fd = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (number < 0) number = dup2(fd, 700);
        CHECK(dup2(fd, number) == number && close(fd) == 0);
        k = families[i] == AF_UNIX;
        CHECK_EQ(goroutine_connect(number, &addresses[k].any, sizes[k]), 0);
        CHECK_EQ(goroutine_write(number, "a", 1), 1);
        CHECK_EQ(byte_of(number), 'a');
        CHECK(close(number) == 0);
    }
    for (k = 0; k < 2; k++) {
        CHECK_EQ(goroutine_close(listeners[k]), 0);
        CHECK_EQ(result(servers[k]), -EBADF);
    }
    return arg;
}

/* ---- A deadline that was over is over; one that was set for the new socket holds. Who waited for the old one is told. ---- */
static void *deadlines(void *arg) {
    Address address;
    socklen_t size;
    int listener = listening(AF_INET, SOCK_STREAM, 16, &address, &size), ends[2], fd;
    GoroutinePromise *old;
    char c;
    unlimited(listener);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(dup2(ends[0], 701) == 701 && close(ends[0]) == 0);
    old = waiting(reads_it, 701);
    OK(goroutine_set_deadline(701, POLLIN | POLLOUT, 1));
    CHECK_EQ(goroutine_read(701, &c, 1), -ETIMEDOUT);
    CHECK(close(701) == 0 && close(ends[1]) == 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(dup2(fd, 701) == 701 && close(fd) == 0);
    OK(goroutine_set_deadline(701, POLLIN, 20 * MS));
    CHECK_EQ(goroutine_connect(701, &address.any, size), 0); /* POLLOUT's was the old one's */
    CHECK_EQ(result(old), -EBADF);
    CHECK_EQ(goroutine_read(701, &c, 1), -ETIMEDOUT); /* POLLIN's is its own: nobody writes */
    OK(goroutine_set_deadline(701, POLLIN, 30 * SECOND));
    fd = (int)goroutine_accept(listener, NULL, NULL);
    CHECK_EQ(goroutine_write(fd, "b", 1), 1);
    CHECK_EQ(byte_of(701), 'b');
    CHECK_EQ(goroutine_close(701), 0);
    CHECK_EQ(goroutine_close(fd), 0);
    CHECK_EQ(goroutine_close(listener), 0);
    return arg;
}

/* ---- Another connect of the same socket begins nothing anew: who waits goes on waiting. ---- */
static void *same_socket(void *arg) {
    Address address;
    socklen_t size;
    int receiver = bound(AF_INET, SOCK_DGRAM, &address, &size), fd = new_socket(AF_INET, SOCK_DGRAM);
    GoroutinePromise *reader;
    Address own;
    socklen_t own_size = sizeof own;
    CHECK_EQ(goroutine_connect(fd, &address.any, size), 0);
    reader = waiting(reads_it, fd);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), 0);
    CHECK(getsockname(fd, &own.any, &own_size) == 0);
    CHECK(sendto(receiver, "x", 1, 0, &own.any, own_size) == 1);
    CHECK_EQ(result(reader), 1);
    CHECK_EQ(goroutine_close(fd), 0);
    CHECK_EQ(goroutine_close(receiver), 0);
    return arg;
}

/* ---- Reads, writes and accepts of the next file with the number. ---- */
enum { NUMBER = 702 };
/* NUMBER is a socket that was waited for in both directions, and then closed. */
static void leave_traces(void) {
    int ends[2];
    char c;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(dup2(ends[0], NUMBER) == NUMBER && close(ends[0]) == 0);
    OK(goroutine_set_deadline(NUMBER, POLLIN | POLLOUT, 5 * MS));
    CHECK_EQ(goroutine_read(NUMBER, &c, 1), -ETIMEDOUT);
    OK(goroutine_set_deadline(NUMBER, POLLIN | POLLOUT, 5 * MS));
    while (goroutine_write(NUMBER, "xxxxxxxxxxxxxxxx", 16) > 0) {
    }
    OK(goroutine_set_deadline(NUMBER, POLLIN | POLLOUT, GOROUTINE_FOREVER));
    CHECK(close(NUMBER) == 0 && close(ends[1]) == 0);
}
static void *next_file(void *arg) {
    int ends[2];
    GoroutinePromise *p;
    Address address;
    socklen_t size;
    char c;
    leave_traces(); /* a pipe that has something later */
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK(dup2(ends[0], NUMBER) == NUMBER && close(ends[0]) == 0);
    p = waiting(reads_it, NUMBER);
    CHECK(write(ends[1], "p", 1) == 1);
    CHECK_EQ(result(p), 1);
    CHECK_EQ(goroutine_close(NUMBER), 0);
    CHECK(close(ends[1]) == 0);

    leave_traces(); /* a socket that has something already */
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(dup2(ends[0], NUMBER) == NUMBER && close(ends[0]) == 0);
    CHECK(write(ends[1], "abc", 3) == 3 && write(ends[1], "def", 3) == 3);
    CHECK_EQ(goroutine_read(NUMBER, &c, 1), 1);
    CHECK_EQ(goroutine_read(NUMBER, &c, 1), 1);
    CHECK_EQ(goroutine_write(NUMBER, &c, 1), 1);
    p = waiting(writes_much, NUMBER); /* too large: it does not wait */
    CHECK_EQ(result(p), -EMSGSIZE);
    CHECK_EQ(goroutine_close(NUMBER), 0);
    CHECK(close(ends[1]) == 0);

    leave_traces(); /* a listener */
    ends[0] = listening(AF_UNIX, SOCK_STREAM, 4, &address, &size);
    CHECK(dup2(ends[0], NUMBER) == NUMBER);
    CHECK_EQ(goroutine_close(ends[0]), 0);
    p = waiting(accepts_one, NUMBER);
    ends[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(ends[1], &address.any, size) == 0);
    ends[0] = (int)result(p);
    CHECK(ends[0] >= 0);
    CHECK_EQ(goroutine_close(ends[0]), 0);
    CHECK_EQ(goroutine_close(NUMBER), 0);
    CHECK(close(ends[1]) == 0);
    return arg;
}

/* ---- Who waits for a number that is nobody's is told; who waits for what is as it was goes on waiting. ---- */
static void *no_file(void *arg) {
    int ends[2], others[2];
    GoroutinePromise *p, *q;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, others) == 0);
    CHECK(dup2(ends[0], NUMBER) == NUMBER && close(ends[0]) == 0);
    p = waiting(reads_it, NUMBER);
    q = waiting(reads_it, others[0]);
    CHECK(close(NUMBER) == 0);
    CHECK_EQ(result(p), -EBADF);
    CHECK(close(ends[1]) == 0);
    CHECK_EQ(goroutine_promise_await(q, 1, NULL), GOROUTINE_ETIMEDOUT);
    CHECK(write(others[1], "o", 1) == 1);
    CHECK_EQ(result(q), 1);
    close_both(others);
    return arg;
}

typedef struct Case {
    const char *name;
    GoroutineFn run;
} Case;
static const Case cases[] = {
    {"connects again", connects_again}, {"deadlines", deadlines}, {"same socket", same_socket}, {"next file", next_file}, {"no file", no_file},
};

int main(int argc, char **argv) {
    static const uint32_t counts[] = {1, 4};
    const char *name = argc > 1 ? argv[1] : "";
    size_t i, k;
    for (k = 0; k < 2; k++) {
        start_workers(counts[k]);
        for (i = 0; i < sizeof cases / sizeof *cases; i++) {
            if (strstr(cases[i].name, name) == NULL) continue;
            if (argc > 1) fprintf(stderr, "%s\n", cases[i].name);
            run_goroutine(cases[i].run, NULL);
        }
        stop();
    }
    return 0;
}

/* timeout: 300 */
/* Sockets, pipes and events as if they blocked: every byte arrives once, deadlines, cancels and closes end waits, numbers are reused
 * without a stale wake; the same from plain threads and bound goroutines. */
#include "check.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>

static uint32_t workers;

static void nonblocking(int fd, bool yes) {
    int flags = fcntl(fd, F_GETFL);
    CHECK(flags >= 0 && fcntl(fd, F_SETFL, yes ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
}
static void pair(int ends[2], uint64_t kind) {
    if (kind % 3 == 2) {
        CHECK(pipe(ends) == 0);
    } else {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    }
    nonblocking(ends[0], kind % 2 == 1);
    nonblocking(ends[1], kind % 2 == 1);
}
static void write_all(int fd, const void *bytes, size_t n) {
    const char *at = (const char *)bytes;
    while (n != 0) {
        int64_t done = goroutine_write(fd, at, n);
        CHECK(done > 0);
        at += done;
        n -= (size_t)done;
    }
}
static size_t read_all(int fd, void *bytes, size_t n) {
    char *at = (char *)bytes;
    while (n != 0) {
        int64_t done = goroutine_read(fd, at, n);
        CHECK(done >= 0);
        if (done == 0) break;
        at += done;
        n -= (size_t)done;
    }
    return (size_t)(at - (char *)bytes);
}

/* ---- bytes arrive, in order, whatever the kind of file and of waiter ---- */
typedef struct Stream {
    int ends[2];
    uint64_t seed, bytes, sum[2];
} Stream;
static void *sender(void *arg) {
    Stream *s = (Stream *)arg;
    uint64_t state = random_seed(s->seed, 1), left = s->bytes, i;
    unsigned char buffer[5000];
    while (left != 0) {
        uint64_t n = random_next(&state) % sizeof buffer + 1;
        if (n > left) n = left;
        for (i = 0; i < n; i++) {
            buffer[i] = (unsigned char)random_next(&state);
            s->sum[0] = s->sum[0] * 31 + buffer[i];
        }
        if (n % 3 == 0) {
            struct iovec v[2];
            int64_t done;
            v[0].iov_base = buffer;
            v[0].iov_len = n / 2;
            v[1].iov_base = buffer + n / 2;
            v[1].iov_len = n - n / 2;
            done = goroutine_writev(s->ends[1], v, 2);
            CHECK(done > 0);
            write_all(s->ends[1], buffer + done, n - (uint64_t)done);
        } else {
            write_all(s->ends[1], buffer, n);
        }
        left -= n;
        if (n % 16 == 0) goroutine_yield();
    }
    CHECK_EQ(goroutine_close(s->ends[1]), 0);
    return NULL;
}
static void *receiver(void *arg) {
    Stream *s = (Stream *)arg;
    uint64_t state = random_seed(s->seed, 2), got = 0;
    unsigned char buffer[3000];
    for (;;) {
        size_t n = random_next(&state) % sizeof buffer + 1;
        int64_t done, i;
        if (n % 4 == 0 && n >= 8) {
            struct iovec v[2];
            v[0].iov_base = buffer;
            v[0].iov_len = n / 2;
            v[1].iov_base = buffer + n / 2;
            v[1].iov_len = n - n / 2;
            done = goroutine_readv(s->ends[0], v, 2);
        } else {
            done = goroutine_read(s->ends[0], buffer, n);
        }
        CHECK(done >= 0);
        if (done == 0) break;
        for (i = 0; i < done; i++) s->sum[1] = s->sum[1] * 31 + buffer[i];
        got += (uint64_t)done;
    }
    CHECK_EQ(got, s->bytes);
    CHECK_EQ(s->sum[1], s->sum[0]);
    CHECK_EQ(goroutine_close(s->ends[0]), 0);
    return NULL;
}
static void *bound_receiver(void *arg) {
    OK(goroutine_ffi_bind());
    return receiver(arg);
}
static void streams(void) {
    enum { N = 48 };
    static Stream s[N];
    GoroutinePromise *p[2 * N];
    pthread_t t[N];
    int i;
    memset(s, 0, sizeof s);
    for (i = 0; i < N; i++) {
        s[i].seed = (uint64_t)i + workers * 100;
        s[i].bytes = scaled(200000 + 1000 * (uint64_t)i, 10);
        pair(s[i].ends, (uint64_t)i);
        p[2 * i + 1] = NULL;
        p[2 * i] = goroutine_spawn(sender, &s[i]);
        if (i % 8 == 3) {
            CHECK(pthread_create(&t[i], NULL, receiver, &s[i]) == 0);
        } else {
            p[2 * i + 1] = goroutine_spawn(i % 8 == 5 ? bound_receiver : receiver, &s[i]);
        }
    }
    for (i = 0; i < N; i++) {
        OK(goroutine_promise_await_take(p[2 * i], 100 * SECOND, NULL));
        if (p[2 * i + 1] == NULL)
            pthread_join(t[i], NULL);
        else
            OK(goroutine_promise_await_take(p[2 * i + 1], 100 * SECOND, NULL));
    }
}

/* ---- TCP: a server, clients, thousands of connections whose numbers are used again ---- */
static struct sockaddr_in address;
static uint64_t served;
static void *serve_one(void *arg) {
    int fd = (int)U(arg);
    char buffer[512];
    for (;;) {
        int64_t n = goroutine_read(fd, buffer, sizeof buffer);
        if (n <= 0) {
            CHECK(n == 0 || n == -ECONNRESET);
            break;
        }
        write_all(fd, buffer, (size_t)n);
    }
    ADD(served, 1);
    CHECK_EQ(goroutine_close(fd), 0);
    return NULL;
}
static void *acceptor(void *arg) {
    int listener = (int)U(arg);
    for (;;) {
        int64_t fd = goroutine_accept(listener, NULL, NULL);
        if (fd < 0) {
            CHECK_EQ(fd, -EBADF);
            return NULL;
        }
        CHECK(fcntl((int)fd, F_GETFL) & O_NONBLOCK);
        CHECK(fcntl((int)fd, F_GETFD) & FD_CLOEXEC);
        OK(goroutine_go(serve_one, P(fd)));
    }
}
static int listen_tcp(void) {
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1024) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    return fd;
}
static void *tcp_client(void *arg) {
    uint64_t i, rounds = scaled(60, 6);
    for (i = 0; i < rounds; i++) {
        char out[300], in[300];
        int requests = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0);
        CHECK_EQ(goroutine_connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        for (requests = 0; requests < 5; requests++) {
            memset(out, (int)(U(arg) + i + (uint64_t)requests), sizeof out);
            write_all(fd, out, sizeof out);
            CHECK_EQ(read_all(fd, in, sizeof in), sizeof in);
            CHECK(memcmp(in, out, sizeof in) == 0);
        }
        if (i % 7 == 3) {
            struct linger reset = {1, 0};
            CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
        }
        CHECK_EQ(goroutine_close(fd), 0);
    }
    return NULL;
}
static void tcp(void) {
    enum { CLIENTS = 30, ACCEPTORS = 3 };
    GoroutinePromise *c[CLIENTS], *a[ACCEPTORS];
    int i, listener = listen_tcp();
    SET(served, 0);
    for (i = 0; i < ACCEPTORS; i++) a[i] = goroutine_spawn(acceptor, P(listener));
    for (i = 0; i < CLIENTS; i++) c[i] = goroutine_spawn(tcp_client, P(i));
    tcp_client(P(77)); /* this plain thread, too */
    for (i = 0; i < CLIENTS; i++) OK(goroutine_promise_await_take(c[i], 100 * SECOND, NULL));
    while (GET(served) != (CLIENTS + 1) * scaled(60, 6)) thread_sleep(MS);
    CHECK_EQ(goroutine_close(listener), 0);
    for (i = 0; i < ACCEPTORS; i++) OK(goroutine_promise_await_take(a[i], 100 * SECOND, NULL));
    /* Nobody listens. */
    i = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(goroutine_connect(i, (struct sockaddr *)&address, sizeof address), -ECONNREFUSED);
    CHECK_EQ(goroutine_close(i), 0);
}

/* ---- what ends a wait ---- */
static void *read_one(void *arg) {
    char c;
    return P(goroutine_read((int)U(arg), &c, 1));
}
static void *read_cancelled(void *arg) {
    char c;
    CHECK_EQ(goroutine_read((int)U(arg), &c, 1), -ECANCELED);
    CHECK_EQ(goroutine_read((int)U(arg), &c, 1), -ECANCELED); /* sticky */
    return NULL;
}
static void *endings(void *kind) {
    int ends[2], i;
    char c = 'x';
    uint32_t ready = 77;
    uint64_t start;
    void *result;
    GoroutinePromise *p[20];
    pair(ends, U(kind));
    /* A deadline: for what follows, in its direction only, also when there is data. */
    start = now_ns();
    OK(goroutine_set_deadline(ends[0], POLLIN, 2 * MS));
    CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
    CHECK(now_ns() - start >= 2 * MS);
    CHECK_EQ(goroutine_write(ends[1], "a", 1), 1);
    CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
    OK(goroutine_set_deadline(ends[0], POLLIN, GOROUTINE_FOREVER));
    CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
    CHECK_EQ(c, 'a');
    CHECK_EQ(goroutine_set_deadline(ends[0], 0, MS), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_set_deadline(ends[0], 0x4000000, MS), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_set_deadline(-1, POLLIN, MS), GOROUTINE_EBADF);
    /* A wait for events. */
    CHECK_EQ(goroutine_fd_wait(ends[0], POLLIN, 0, &ready), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_fd_wait(ends[0], POLLIN, MS, &ready), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(ready, 77);
    OK(goroutine_fd_wait(ends[1], POLLOUT, SECOND, &ready));
    CHECK_EQ(ready, POLLOUT);
    CHECK_EQ(goroutine_fd_wait(ends[1], POLLOUT, SECOND, NULL), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_fd_wait(-1, POLLOUT, SECOND, &ready), GOROUTINE_EBADF);
    CHECK_EQ(goroutine_fd_wait(7000, POLLOUT, SECOND, &ready), GOROUTINE_EBADF);
    CHECK_EQ(goroutine_write(ends[1], "b", 1), 1);
    OK(goroutine_fd_wait(ends[0], POLLIN, SECOND, &ready));
    CHECK_EQ(ready, POLLIN);
    CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
    /* Many who wait for one descriptor: each byte ends one wait. */
    for (i = 0; i < 20; i++) p[i] = goroutine_spawn(read_one, P(ends[0]));
    goroutine_sleep(MS);
    for (i = 0; i < 10; i++) write_all(ends[1], "c", 1);
    write_all(ends[1], "0123456789", 10);
    for (i = 0; i < 20; i++) {
        OK(goroutine_promise_await_take(p[i], 10 * SECOND, &result));
        CHECK_EQ(U(result), 1);
    }
    /* A cancel. */
    p[0] = goroutine_spawn(read_cancelled, P(ends[0]));
    goroutine_sleep(MS);
    OK(goroutine_cancel(p[0]));
    OK(goroutine_promise_await_take(p[0], 10 * SECOND, NULL));
    /* A close wakes all; then the number may be another file's. */
    for (i = 0; i < 20; i++) p[i] = goroutine_spawn(read_one, P(ends[0]));
    goroutine_sleep(MS);
    CHECK_EQ(goroutine_close(ends[0]), 0);
    for (i = 0; i < 20; i++) {
        OK(goroutine_promise_await_take(p[i], 10 * SECOND, &result));
        CHECK_EQ((int64_t)U(result), -EBADF);
    }
    CHECK_EQ(goroutine_read(ends[0], &c, 1), -EBADF);
    CHECK_EQ(goroutine_close(ends[0]), -EBADF);
    /* The other end is gone; a socket raises no signal, a pipe's SIGPIPE is blocked on our threads. */
    CHECK_EQ(goroutine_write(ends[1], &c, 1), -EPIPE);
    CHECK_EQ(goroutine_close(ends[1]), 0);
    return NULL;
}

/* ---- somebody closes behind our back, and says so; or nobody waited yet ---- */
static void *numbers(void *unused) {
    int i;
    (void)unused;
    for (i = 0; i < 300; i++) {
        int ends[2];
        char c;
        uint32_t ready;
        GoroutinePromise *p;
        pair(ends, (uint64_t)i);
        p = goroutine_spawn(read_one, P(ends[0]));
        goroutine_yield();
        write_all(ends[1], "z", 1);
        OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
        if (i % 2 == 0) {
            /* fd_wait relies on nothing: it may be closed by anybody. */
            OK(goroutine_fd_release(ends[0]));
            CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
            CHECK(pipe(ends) == 0);
            CHECK_EQ(goroutine_fd_wait(ends[0], POLLIN, 10 * US, &ready), GOROUTINE_ETIMEDOUT);
            CHECK(close(ends[0]) == 0 && close(ends[1]) == 0); /* not told */
            pair(ends, 0);
            CHECK_EQ(goroutine_fd_wait(ends[0], POLLIN, 10 * US, &ready), GOROUTINE_ETIMEDOUT);
            CHECK(write(ends[1], "y", 1) == 1);
            OK(goroutine_fd_wait(ends[0], POLLIN, 10 * SECOND, &ready));
            CHECK(read(ends[0], &c, 1) == 1);
            OK(goroutine_fd_release(ends[0]));
            OK(goroutine_fd_release(ends[1]));
        }
        CHECK(goroutine_close(ends[0]) == 0 && goroutine_close(ends[1]) == 0);
    }
    return NULL;
}

/* ---- other kinds of files ---- */
static void *other_kinds(void *unused) {
    char name[] = "/tmp/goroutine_test_io_XXXXXX", text[32] = "", message[100];
    uint64_t number = 5;
    struct itimerspec soon;
    struct signalfd_siginfo info;
    sigset_t set;
    int fd, one[2];
    (void)unused;
    fd = eventfd(0, EFD_CLOEXEC);
    CHECK_EQ(goroutine_write(fd, &number, 8), 8);
    number = 0;
    CHECK_EQ(goroutine_read(fd, &number, 8), 8);
    CHECK_EQ(number, 5);
    OK(goroutine_set_deadline(fd, POLLIN, MS));
    CHECK_EQ(goroutine_read(fd, &number, 8), -ETIMEDOUT);
    CHECK_EQ(goroutine_close(fd), 0);

    fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    memset(&soon, 0, sizeof soon);
    soon.it_value.tv_nsec = (long)(3 * MS);
    CHECK(timerfd_settime(fd, 0, &soon, NULL) == 0);
    CHECK_EQ(goroutine_read(fd, &number, 8), 8);
    CHECK_EQ(number, 1);
    CHECK_EQ(goroutine_close(fd), 0);

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK_EQ(goroutine_read(fd, &info, sizeof info), (int64_t)sizeof info);
    CHECK_EQ(info.ssi_signo, SIGUSR1);
    CHECK_EQ(goroutine_close(fd), 0);

    fd = mkstemp(name);
    CHECK(fd >= 0 && unlink(name) == 0);
    CHECK_EQ(goroutine_write(fd, "regular", 7), 7);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK_EQ(goroutine_read(fd, text, sizeof text), 7);
    CHECK(strcmp(text, "regular") == 0);
    CHECK_EQ(goroutine_read(fd, text, sizeof text), 0);
    CHECK_EQ(goroutine_close(fd), 0);

    /* A terminal that nobody made non-blocking: it knows no RWF_NOWAIT. */
    fd = posix_openpt(O_RDWR | O_NOCTTY);
    if (fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0) {
        int slave = open(ptsname(fd), O_RDWR | O_NOCTTY);
        CHECK(slave >= 0);
        OK(goroutine_set_deadline(slave, POLLIN, MS));
        CHECK_EQ(goroutine_read(slave, text, sizeof text), -ETIMEDOUT);
        OK(goroutine_set_deadline(slave, POLLIN, GOROUTINE_FOREVER));
        CHECK_EQ(goroutine_write(fd, "line\n", 5), 5);
        CHECK_EQ(goroutine_read(slave, text, sizeof text), 5);
        CHECK(!(fcntl(slave, F_GETFL) & O_NONBLOCK)); /* as it was */
        CHECK_EQ(goroutine_close(slave), 0);
    } else {
        fprintf(stderr, "no pseudo-terminals here\n");
    }
    if (fd >= 0) CHECK_EQ(goroutine_close(fd), 0);

    /* Datagrams keep their borders; a message carries a descriptor. */
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, one) == 0);
    CHECK_EQ(goroutine_write(one[0], "first", 5), 5);
    CHECK_EQ(goroutine_write(one[0], "second", 6), 6);
    CHECK_EQ(goroutine_read(one[1], text, sizeof text), 5);
    CHECK_EQ(goroutine_read(one[1], text, sizeof text), 6);
    {
        union {
            char bytes[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } control;
        struct iovec v;
        struct msghdr m;
        struct cmsghdr *c;
        int ends[2], received;
        CHECK(pipe(ends) == 0);
        memset(&m, 0, sizeof m);
        memset(&control, 0, sizeof control);
        v.iov_base = message;
        v.iov_len = 1;
        message[0] = 'm';
        m.msg_iov = &v;
        m.msg_iovlen = 1;
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &ends[1], sizeof(int));
        CHECK_EQ(goroutine_sendmsg(one[0], &m, 0), 1);
        v.iov_len = sizeof message;
        m.msg_controllen = sizeof control.bytes;
        CHECK_EQ(goroutine_recvmsg(one[1], &m, 0), 1);
        c = CMSG_FIRSTHDR(&m);
        CHECK(c != NULL && c->cmsg_type == SCM_RIGHTS);
        memcpy(&received, CMSG_DATA(c), sizeof(int));
        CHECK_EQ(goroutine_write(received, "w", 1), 1);
        CHECK_EQ(goroutine_read(ends[0], text, 1), 1);
        CHECK(goroutine_close(received) == 0 && goroutine_close(ends[0]) == 0 && goroutine_close(ends[1]) == 0);
    }
    CHECK(goroutine_close(one[0]) == 0 && goroutine_close(one[1]) == 0);
    CHECK_EQ(goroutine_sendmsg(0, NULL, 0), GOROUTINE_EINVAL);
    return NULL;
}

/* ---- a short read from a socket that has ended, or has urgent data ---- */
static void *ends_of_streams(void *unused) {
    int round;
    (void)unused;
    for (round = 0; round < 200; round++) {
        char big[64];
        int listener = listen_tcp(), a = socket(AF_INET, SOCK_STREAM, 0), yes = 1, i;
        int64_t b, n;
        CHECK_EQ(goroutine_connect(a, (struct sockaddr *)&address, sizeof address), 0);
        b = goroutine_accept(listener, NULL, NULL);
        CHECK(b >= 0);
        CHECK(setsockopt(a, IPPROTO_TCP, 1 /* TCP_NODELAY */, &yes, sizeof yes) == 0);
        /* It is registered, and is known to be drained by short reads. */
        for (i = 0; i < 3; i++) {
            OK(goroutine_set_deadline((int)b, POLLIN, 10 * US));
            CHECK_EQ(goroutine_read((int)b, big, sizeof big), -ETIMEDOUT);
            OK(goroutine_set_deadline((int)b, POLLIN, 10 * SECOND));
            CHECK_EQ(goroutine_write(a, "12345", 5), 5);
            CHECK_EQ(goroutine_read((int)b, big, sizeof big), 5);
        }
        if (round % 2 == 0) {
            CHECK(send(a, "abc!", 4, MSG_OOB) == 4); /* a read stops before the urgent byte */
            CHECK_EQ(goroutine_write(a, "rest", 4), 4);
            n = goroutine_read((int)b, big, sizeof big);
            CHECK(n == 3);
            n = goroutine_read((int)b, big, sizeof big);
            CHECK(n == 4 && memcmp(big, "rest", 4) == 0);
        }
        CHECK_EQ(goroutine_write(a, "end", 3), 3);
        if (round % 3 == 0)
            CHECK(shutdown(a, SHUT_WR) == 0);
        else
            CHECK_EQ(goroutine_close(a), 0);
        n = goroutine_read((int)b, big, sizeof big);
        CHECK_EQ(n, 3);
        CHECK_EQ(goroutine_read((int)b, big, sizeof big), 0); /* no edge is left: the end came with the data */
        CHECK_EQ(goroutine_read((int)b, big, sizeof big), 0);
        if (round % 3 == 0) {
            CHECK_EQ(goroutine_write((int)b, "half", 4), 4); /* the other half is open */
            CHECK_EQ(read_all(a, big, 4), 4);
            CHECK_EQ(goroutine_close(a), 0);
        }
        CHECK(goroutine_close((int)b) == 0 && goroutine_close(listener) == 0);
    }
    return NULL;
}

/* ---- out of descriptors ---- */
static void *waits_for_room(void *listener) { return P(goroutine_accept((int)U(listener), NULL, NULL)); }
static void *shortage(void *unused) {
    struct rlimit before, now;
    int listener = listen_tcp(), client = socket(AF_INET, SOCK_STREAM, 0), spare = dup(0), n;
    int taken[64];
    uint64_t start;
    void *result;
    GoroutinePromise *p;
    (void)unused;
    CHECK_EQ(goroutine_connect(client, (struct sockaddr *)&address, sizeof address), 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    now = before;
    now.rlim_cur = (rlim_t)spare + 10;
    CHECK(setrlimit(RLIMIT_NOFILE, &now) == 0);
    for (n = 0; n < 64 && (taken[n] = dup(0)) >= 0; n++) {
    }
    CHECK(n < 64);
    start = now_ns();
    CHECK_EQ(goroutine_accept(listener, NULL, NULL), -EMFILE);
    CHECK(now_ns() - start >= SECOND);
    p = goroutine_spawn(waits_for_room, P(listener));
    goroutine_sleep(20 * MS);
    CHECK(close(taken[--n]) == 0); /* room: the one that tries again gets its connection */
    OK(goroutine_promise_await_take(p, 10 * SECOND, &result));
    CHECK((int64_t)U(result) >= 0);
    CHECK_EQ(goroutine_close((int)U(result)), 0);
    while (n > 0) CHECK(close(taken[--n]) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0 && close(spare) == 0);
    CHECK(goroutine_close(client) == 0 && goroutine_close(listener) == 0);
    return NULL;
}

/* ---- a Unix listener that wants no more for now: no edge says when it does ---- */
static struct sockaddr_un full_address;
static socklen_t full_size;
static void *connects_when_there_is_room(void *arg) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)arg;
    CHECK(fd >= 0);
    CHECK_EQ(goroutine_connect(fd, (struct sockaddr *)&full_address, full_size), 0);
    CHECK_EQ(goroutine_close(fd), 0);
    return NULL;
}
static void *backlog(void *unused) {
    enum { N = 8 };
    GoroutinePromise *p[N];
    int i, late, listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)unused;
    memset(&full_address, 0, sizeof full_address);
    full_address.sun_family = AF_UNIX;
    CHECK(bind(listener, (struct sockaddr *)&full_address, sizeof(sa_family_t)) == 0 && listen(listener, 1) == 0);
    full_size = sizeof full_address;
    CHECK(getsockname(listener, (struct sockaddr *)&full_address, &full_size) == 0);
    for (i = 0; i < N; i++) p[i] = goroutine_spawn(connects_when_there_is_room, NULL);
    goroutine_sleep(3 * MS);
    late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    OK(goroutine_set_deadline(late, POLLOUT, 5 * MS));
    CHECK_EQ(goroutine_connect(late, (struct sockaddr *)&full_address, full_size), -ETIMEDOUT);
    CHECK_EQ(goroutine_close(late), 0);
    CHECK_EQ(goroutine_read(listener, &i, 1), -EINVAL); /* what it is said to be now does not make the accept block */
    for (i = 0; i < N; i++) {
        int64_t fd = goroutine_accept(listener, NULL, NULL);
        CHECK(fd >= 0);
        CHECK_EQ(goroutine_close((int)fd), 0);
    }
    for (i = 0; i < N; i++) OK(goroutine_promise_await_take(p[i], 10 * SECOND, NULL));
    OK(goroutine_set_deadline(listener, POLLIN, MS));
    CHECK_EQ(goroutine_accept(listener, NULL, NULL), -ETIMEDOUT);
    CHECK_EQ(goroutine_close(listener), 0);
    return NULL;
}

/* ---- plain threads ---- */
static void *thread_closed(void *arg) {
    char c;
    CHECK_EQ(goroutine_read((int)U(arg), &c, 1), -EBADF);
    return NULL;
}
static void plain_threads(void) {
    int ends[2], i;
    char c;
    uint32_t ready;
    pthread_t t[4];
    pair(ends, 0);
    OK(goroutine_set_deadline(ends[0], POLLIN, MS));
    CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
    OK(goroutine_set_deadline(ends[0], POLLIN, GOROUTINE_FOREVER));
    CHECK_EQ(goroutine_fd_wait(ends[0], POLLIN, MS, &ready), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_write(ends[1], "q", 1), 1);
    OK(goroutine_fd_wait(ends[0], POLLIN, SECOND, &ready));
    CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
    for (i = 0; i < 4; i++) CHECK(pthread_create(&t[i], NULL, thread_closed, P(ends[0])) == 0);
    thread_sleep(5 * MS);
    CHECK_EQ(goroutine_close(ends[0]), 0);
    for (i = 0; i < 4; i++) pthread_join(t[i], NULL);
    CHECK_EQ(goroutine_close(ends[1]), 0);
}

/* ---- in a child of fork the parent's poller is not touched ---- */
static void *echo_once(void *arg) {
    int *ends = (int *)arg;
    char c;
    GoroutinePromise *p = goroutine_spawn(read_one, P(ends[0]));
    goroutine_sleep(2 * MS);
    write_all(ends[1], "e", 1);
    OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
    OK(goroutine_set_deadline(ends[0], POLLIN, MS));
    CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
    OK(goroutine_set_deadline(ends[0], POLLIN, GOROUTINE_FOREVER));
    return NULL;
}
static void forked(void) {
    int ends[2], status;
    pid_t pid;
    pair(ends, 0);
    run_goroutine(echo_once, ends);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(60);
        start_workers(2);
        run_goroutine(echo_once, ends);
        stop();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    run_goroutine(echo_once, ends);
    CHECK(goroutine_close(ends[0]) == 0 && goroutine_close(ends[1]) == 0);
}

int main(void) {
    static const uint32_t counts[] = {1, 2, 8};
    uint64_t i, kind;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    plain_threads(); /* needs no runtime */
    for (i = 0; i < 3; i++) {
        GoroutineStats stats;
        workers = counts[i];
        start_workers(workers);
        streams();
        tcp();
        for (kind = 0; kind < 6; kind++) run_goroutine(endings, P(kind));
        run_goroutine(numbers, NULL);
        run_goroutine(other_kinds, NULL);
        run_goroutine(ends_of_streams, NULL);
        run_goroutine(backlog, NULL);
        if (i == 1 && (!is_slow() || THREADS_SANITIZED)) run_goroutine(shortage, NULL); /* valgrind takes a connection, and then says EMFILE */
        plain_threads();
        if (i == 2) forked();
        OK(goroutine_runtime_wait(10 * SECOND));
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        CHECK_EQ(stats.live, 0);
        CHECK_EQ(stats.timers, 0);
        stop();
    }
    return 0;
}

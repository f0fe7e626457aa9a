/* timeout: 200 */
/* Corners of reading and writing: what a wait is woken for is handed on when its time is over, sockets that are not streams, calls of nothing,
 * flags that ask not to wait, a full receiver that gives no edge, shortage while the descriptor is closed, kinds that one direction has, files
 * that are none of ours, a thread that ends, a child of fork.
 *
 * test_io_corners [NAME]: those whose names contain NAME. */
#include "check.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

static void *read_one(void *arg) {
    char c;
    return P(goroutine_read((int)U(arg), &c, 1));
}
static int64_t take(GoroutinePromise *p) {
    void *result = NULL;
    OK(goroutine_promise_await_take(p, 10 * SECOND, &result));
    return (int64_t)U(result);
}
static void pair(int ends[2], int type) { CHECK(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0); }
static void close_pair(int ends[2]) { CHECK(goroutine_close(ends[0]) == 0 && goroutine_close(ends[1]) == 0); }
static struct sockaddr_in loopback(void) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}
/* A UDP socket that is connected to itself. */
static int udp_to_itself(void) {
    struct sockaddr_in address = loopback();
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    CHECK(connect(fd, (struct sockaddr *)&address, size) == 0);
    return fd;
}
static void tcp_pair(int ends[2]) {
    struct sockaddr_in address = loopback();
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(ends[0], (struct sockaddr *)&address, size) == 0);
    ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK(ends[1] >= 0 && close(listener) == 0);
    CHECK(setsockopt(ends[0], IPPROTO_TCP, 1 /* TCP_NODELAY */, &yes, sizeof yes) == 0);
}

/* ---- Two in line, the first one's time ends between the edge that was for it and its turn: the other one goes on. ---- */
static void *too_late(void *arg) {
    int *ends = (int *)arg;
    GoroutinePromise *first, *second;
    uint64_t deadline;
    OK(goroutine_set_deadline(ends[0], POLLIN, 20 * MS));
    deadline = now_ns() + 20 * MS;
    first = goroutine_spawn(read_one, P(ends[0]));
    goroutine_sleep(MS);
    OK(goroutine_set_deadline(ends[0], POLLIN, GOROUTINE_FOREVER));
    second = goroutine_spawn(read_one, P(ends[0]));
    goroutine_sleep(MS);
    CHECK(write(ends[1], "a", 1) == 1);
    while (now_ns() < deadline + 5 * MS) { /* keeps the only worker: the monitor gets the edge, and the first one stands in a queue */
    }
    CHECK_EQ(take(first), -ETIMEDOUT);
    CHECK_EQ(take(second), 1);
    return NULL;
}
/* A deadline is for the calls that follow. */
static uint64_t reads_begun;
static void *begin_to_read_one(void *arg) {
    ADD(reads_begun, 1);
    return read_one(arg);
}
static void *later_deadline(void *arg) {
    int *ends = (int *)arg, i;
    GoroutinePromise *p[2];
    SET(reads_begun, 0);
    for (i = 0; i < 2; i++) p[i] = goroutine_spawn(begin_to_read_one, P(ends[0]));
    while (GET(reads_begun) != 2) goroutine_yield(); /* one worker: who said so is in its call */
    OK(goroutine_set_deadline(ends[0], POLLIN, 1));
    goroutine_sleep(MS);
    CHECK_EQ(goroutine_write(ends[1], "a", 1), 1);
    CHECK_EQ(take(p[0]), 1);
    CHECK_EQ(goroutine_write(ends[1], "a", 1), 1);
    CHECK_EQ(take(p[1]), 1);
    OK(goroutine_set_deadline(ends[0], POLLIN, GOROUTINE_FOREVER));
    return NULL;
}
static void *in_line_with_a_deadline(void *arg) {
    int ends[2];
    pair(ends, SOCK_STREAM);
    too_late(ends);
    later_deadline(ends);
    close_pair(ends);
    return arg;
}

/* ---- A raw socket whose protocol is TCP is no stream: each read gives one packet. ---- */
static void *raw_tcp(void *arg) {
    struct sockaddr_in address = loopback();
    int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP), i, n = 0;
    char packet[4000];
    if (raw < 0) {
        fprintf(stderr, "no raw sockets here\n");
        return arg;
    }
    OK(goroutine_set_deadline(raw, POLLIN, 10 * MS)); /* now it is registered */
    while (goroutine_read(raw, packet, sizeof packet) > 0) {
    }
    OK(goroutine_set_deadline(raw, POLLIN, 5 * SECOND));
    memset(packet, 0, sizeof packet);
    for (i = 0; i < 3; i++) CHECK(sendto(raw, packet, 20, 0, (struct sockaddr *)&address, sizeof address) == 20);
    for (i = 0; i < 3; i++) n += goroutine_read(raw, packet, sizeof packet) > 0;
    CHECK_EQ(n, 3);
    CHECK_EQ(goroutine_close(raw), 0);
    return arg;
}

/* ---- Calls of nothing are what the kernel's are. ---- */
static void nothing_of(int type, int fd, int other) {
    struct iovec empty[2];
    char c = 'x';
    memset(empty, 0, sizeof empty);
    empty[0].iov_base = empty[1].iov_base = &c;
    OK(goroutine_set_deadline(fd, POLLIN, 5 * SECOND));
    CHECK_EQ(goroutine_readv(fd, NULL, 0), 0);
    CHECK_EQ(goroutine_readv(fd, empty, 1), 0);
    CHECK_EQ(goroutine_readv(fd, empty, 2), 0);
    CHECK_EQ(goroutine_read(fd, NULL, 0), 0);
    CHECK(write(other, "abc", 3) == 3); /* and a datagram is not eaten */
    CHECK_EQ(goroutine_readv(fd, NULL, 0), 0);
    CHECK_EQ(goroutine_readv(fd, empty, 2), 0);
    CHECK_EQ(goroutine_read(fd, &c, 0), 0);
    CHECK_EQ(goroutine_read(fd, &c, 1), 1);
    CHECK(c == 'a');
    if (type == SOCK_STREAM) CHECK(recv(fd, &c, 1, MSG_DONTWAIT) == 1 && recv(fd, &c, 1, MSG_DONTWAIT) == 1);
    /* writev of nothing sends nothing, write of nothing sends an empty datagram. */
    CHECK(writev(other, empty, 2) == 0 && recv(fd, &c, 1, MSG_DONTWAIT) == -1);
    CHECK_EQ(goroutine_writev(other, empty, 2), 0);
    CHECK_EQ(goroutine_writev(other, empty, 1), 0);
    CHECK_EQ(goroutine_writev(other, NULL, 0), 0);
    CHECK(recv(fd, &c, 1, MSG_DONTWAIT) == -1);
    CHECK_EQ(goroutine_write(other, empty, 0), 0);
    CHECK_EQ(recv(fd, &c, 1, MSG_DONTWAIT), type == SOCK_STREAM ? -1 : 0);
}
static void *nothing(void *arg) {
    int ends[2], fd;
    char c;
    pair(ends, SOCK_STREAM);
    nothing_of(SOCK_STREAM, ends[0], ends[1]);
    close_pair(ends);
    pair(ends, SOCK_DGRAM);
    nothing_of(SOCK_DGRAM, ends[0], ends[1]);
    close_pair(ends);
    fd = udp_to_itself();
    nothing_of(SOCK_DGRAM, fd, fd);
    CHECK_EQ(goroutine_close(fd), 0);
    CHECK_EQ(goroutine_readv(-1, NULL, 0), -EBADF);
    CHECK_EQ(goroutine_readv(7000, NULL, 0), -EBADF);
    CHECK_EQ(goroutine_writev(7000, NULL, 0), -EBADF);
    fd = open("/", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(goroutine_pread(fd, &c, 0, 0), pread(fd, &c, 0, 0) < 0 ? -errno : 0);
    CHECK_EQ(goroutine_readv(fd, NULL, 0), readv(fd, NULL, 0) < 0 ? -errno : 0);
    CHECK_EQ(goroutine_writev(fd, NULL, 0), writev(fd, NULL, 0) < 0 ? -errno : 0); /* not open for writing */
    CHECK_EQ(goroutine_close(fd), 0);
    return arg;
}

/* ---- A read of nothing may wait, too: not on the only worker's thread. ---- */
static void touch(void) {
    char name[] = "/tmp/goroutine_corners_XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0 && close(fd) == 0 && unlink(name) == 0);
}
static void *reads_nothing(void *arg) { return P(goroutine_read((int)U(arg), arg, 0)); }
static void *inotify(void *arg) {
    int fd = inotify_init1(IN_CLOEXEC);
    GoroutinePromise *p;
    CHECK(fd >= 0);
    p = goroutine_spawn(reads_nothing, P(fd));
    goroutine_sleep(5 * MS); /* nobody would come back from this */
    CHECK_EQ(inotify_add_watch(fd, "/tmp", IN_CREATE), 1);
    touch();
    CHECK_EQ(take(p), 0);
    CHECK_EQ(goroutine_close(fd), 0);
    return arg;
}

/* ---- A Unix receiver is full by somebody else's datagrams: no edge of ours says when it is not. ---- */
static struct sockaddr_un full_address;
static socklen_t full_size;
static int full_receiver(void) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memset(&full_address, 0, sizeof full_address);
    full_address.sun_family = AF_UNIX;
    CHECK(fd >= 0 && other >= 0 && bind(fd, (struct sockaddr *)&full_address, sizeof(sa_family_t)) == 0);
    full_size = sizeof full_address;
    CHECK(getsockname(fd, (struct sockaddr *)&full_address, &full_size) == 0);
    while (sendto(other, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&full_address, full_size) == 1) {
    }
    CHECK(errno == EAGAIN && close(other) == 0);
    return fd;
}
static void *sends_to_full(void *fd) {
    struct iovec v;
    struct msghdr m;
    char c = 'y';
    memset(&m, 0, sizeof m);
    v.iov_base = &c;
    v.iov_len = 1;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_name = &full_address;
    m.msg_namelen = full_size;
    return P(goroutine_sendmsg((int)U(fd), &m, 0));
}
static uint64_t cpu_ns(void) {
    struct timespec t;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}
static void drain(int fd, char last) {
    char c = 0;
    while (c != last) CHECK_EQ(goroutine_read(fd, &c, 1), 1);
}
static void *full_datagrams(void *arg) {
    int receiver = full_receiver(), fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), i;
    GoroutinePromise *p[3];
    for (i = 0; i < 3; i++) p[i] = goroutine_spawn(sends_to_full, P(fd));
    goroutine_sleep(5 * MS);
    OK(goroutine_set_deadline(receiver, POLLIN, 10 * SECOND));
    for (i = 0; i < 3; i++) drain(receiver, 'y');
    for (i = 0; i < 3; i++) CHECK_EQ(take(p[i]), 1);
    /* Its deadline, its close. */
    CHECK_EQ(goroutine_close(receiver), 0);
    receiver = full_receiver();
    OK(goroutine_set_deadline(fd, POLLOUT, 20 * MS));
    CHECK_EQ((int64_t)U(sends_to_full(P(fd))), -ETIMEDOUT);
    OK(goroutine_set_deadline(fd, POLLOUT, GOROUTINE_FOREVER));
    p[0] = goroutine_spawn(sends_to_full, P(fd));
    goroutine_sleep(5 * MS);
    CHECK_EQ(goroutine_close(fd), 0);
    CHECK_EQ(take(p[0]), -EBADF);
    CHECK_EQ(goroutine_close(receiver), 0);
    return arg;
}
/* The same on a plain thread, and an eventfd that would overflow: it waits, it does not spin. */
static void *waits_in_vain(void *arg) {
    int receiver = full_receiver(), fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint64_t before = cpu_ns(), much = UINT64_MAX - 1, five = 5;
    OK(goroutine_set_deadline(fd, POLLOUT, 300 * MS));
    CHECK_EQ((int64_t)U(sends_to_full(P(fd))), -ETIMEDOUT);
    CHECK(cpu_ns() - before < 100 * MS);
    CHECK(goroutine_close(fd) == 0 && goroutine_close(receiver) == 0);
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK_EQ(goroutine_write(fd, &five, 8), 8);
    OK(goroutine_set_deadline(fd, POLLOUT, 300 * MS));
    before = cpu_ns();
    CHECK_EQ(goroutine_write(fd, &much, 8), -ETIMEDOUT);
    CHECK(cpu_ns() - before < 100 * MS);
    CHECK_EQ(goroutine_close(fd), 0);
    return arg;
}

/* ---- Flags: an empty queue of errors or of urgent data never waits, and says nothing of ordinary data; nor does MSG_DONTWAIT. ---- */
static int64_t receive(int fd, char *bytes, size_t n, int flags) {
    struct iovec v;
    struct msghdr m;
    memset(&m, 0, sizeof m);
    v.iov_base = bytes;
    v.iov_len = n;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    return goroutine_recvmsg(fd, &m, flags);
}
static void *fills_slowly(void *arg) {
    int fd = (int)U(arg), i;
    for (i = 0; i < 5; i++) {
        goroutine_sleep(2 * MS);
        CHECK_EQ(goroutine_write(fd, "ab", 2), 2);
    }
    return NULL;
}
static void *flags(void *arg) {
    int fd = udp_to_itself(), ends[2];
    char c[16];
    GoroutinePromise *p;
    OK(goroutine_set_deadline(fd, POLLIN, 5 * SECOND));
    CHECK(write(fd, "u", 1) == 1);
    CHECK_EQ(receive(fd, c, 1, MSG_ERRQUEUE), -EAGAIN);
    CHECK_EQ(goroutine_read(fd, c, 1), 1);
    CHECK_EQ(receive(fd, c, 1, MSG_DONTWAIT), -EAGAIN);
    CHECK(write(fd, "u", 1) == 1);
    CHECK_EQ(receive(fd, c, 1, MSG_PEEK), 1);
    CHECK_EQ(receive(fd, c, 1, MSG_DONTWAIT), 1);
    CHECK(write(fd, "long", 4) == 4);
    CHECK_EQ(receive(fd, c, 1, MSG_TRUNC), 4);
    CHECK(write(fd, "long", 4) == 4);
    CHECK_EQ(receive(fd, c, sizeof c, MSG_WAITALL), 4); /* of a datagram there is no more */
    CHECK_EQ(goroutine_close(fd), 0);
    tcp_pair(ends);
    OK(goroutine_set_deadline(ends[1], POLLIN, 5 * SECOND));
    CHECK(write(ends[0], "t", 1) == 1);
    CHECK_EQ(receive(ends[1], c, 1, MSG_OOB), -EINVAL);
    CHECK_EQ(goroutine_read(ends[1], c, 1), 1);
    /* All of it, as recvmsg says; or what there was before the end. */
    p = goroutine_spawn(fills_slowly, P(ends[0]));
    CHECK_EQ(receive(ends[1], c, 10, MSG_WAITALL), 10);
    CHECK(memcmp(c, "ababababab", 10) == 0);
    take(p);
    CHECK_EQ(receive(ends[1], c, 1, MSG_DONTWAIT), -EAGAIN);
    CHECK(write(ends[0], "end", 3) == 3 && shutdown(ends[0], SHUT_WR) == 0);
    CHECK_EQ(receive(ends[1], c, 10, MSG_WAITALL), 3);
    CHECK_EQ(receive(ends[1], c, 10, MSG_WAITALL), 0);
    close_pair(ends);
    return arg;
}

/* ---- Out of descriptors, or a full listener, and the descriptor is closed meanwhile: the pause ends, the next file of the number is not touched. ---- */
static void *accepts(void *fd) { return P(goroutine_accept((int)U(fd), NULL, NULL)); }
static void *connects(void *fd) { return P(goroutine_connect((int)U(fd), (struct sockaddr *)&full_address, full_size)); }
static int listen_unix(struct sockaddr_un *address, socklen_t *size, int backlog) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)address, sizeof(sa_family_t)) == 0 && listen(fd, backlog) == 0);
    *size = sizeof *address;
    CHECK(getsockname(fd, (struct sockaddr *)address, size) == 0);
    return fd;
}
static int nonblocking_client(const struct sockaddr_un *address, socklen_t size) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && (connect(fd, (const struct sockaddr *)address, size) == 0 || errno == EAGAIN));
    return fd;
}
/* Whoever accepts or connects has begun, and pauses, as nothing else can come of it. */
static void until_nonblocking(int fd) {
    while (!(fcntl(fd, F_GETFL) & O_NONBLOCK)) goroutine_sleep(100 * US);
    goroutine_sleep(10 * MS);
}
static void *shortage(void *arg) {
    struct sockaddr_un address, next_address;
    socklen_t size, next_size;
    struct rlimit before, now;
    int taken[64], n, top, listener, next, client, client_of_next;
    uint64_t start;
    GoroutinePromise *p;
    next = listen_unix(&next_address, &next_size, 8);
    listener = listen_unix(&address, &size, 8);
    client = nonblocking_client(&address, size);
    client_of_next = nonblocking_client(&next_address, next_size);
    top = dup(0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    now = before;
    now.rlim_cur = (rlim_t)top + 10;
    CHECK(setrlimit(RLIMIT_NOFILE, &now) == 0);
    for (n = 0; n < 64 && (taken[n] = dup(0)) >= 0; n++) {
    }
    CHECK(n < 64);
    p = goroutine_spawn(accepts, P(listener));
    until_nonblocking(listener);
    CHECK_EQ(goroutine_close(listener), 0);
    CHECK_EQ(dup2(next, listener), listener); /* another listener of that number, with a connection; and there is room */
    CHECK(close(taken[--n]) == 0);
    CHECK_EQ(take(p), -EBADF);
    CHECK((taken[n++] = dup(0)) >= 0);
    /* The deadline counts while it tries again. */
    OK(goroutine_set_deadline(listener, POLLIN, 150 * MS)); /* a pause of 128 ms would end at 255 */
    start = now_ns();
    CHECK_EQ(goroutine_accept(listener, NULL, NULL), -ETIMEDOUT);
    CHECK(now_ns() - start >= 150 * MS);
    while (n > 0) CHECK(close(taken[--n]) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0 && close(top) == 0);
    CHECK(fcntl(next, F_GETFL) >= 0 && goroutine_close(listener) == 0 && goroutine_close(next) == 0);
    CHECK(close(client) == 0 && close(client_of_next) == 0);
    return arg;
}
static void *full_listener(void *arg) {
    int listener = listen_unix(&full_address, &full_size, 0), clients[4], i, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), next;
    GoroutinePromise *p;
    for (i = 0; i < 4; i++) clients[i] = nonblocking_client(&full_address, full_size);
    p = goroutine_spawn(connects, P(fd));
    until_nonblocking(fd);
    CHECK_EQ(goroutine_close(fd), 0);
    next = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* that number */
    CHECK_EQ(next, fd);
    for (i = 0; i < 4; i++) {
        int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted >= 0) CHECK(close(accepted) == 0);
        if (i == 0) CHECK(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
    }
    CHECK_EQ(take(p), -EBADF);
    CHECK(!(fcntl(next, F_GETFL) & O_NONBLOCK)); /* nobody connected it */
    CHECK(goroutine_close(next) == 0 && goroutine_close(listener) == 0);
    for (i = 0; i < 4; i++) CHECK(close(clients[i]) == 0);
    return arg;
}

/* ---- What is no socket is not accepted or connected on, and keeps its mode. ---- */
static void *no_sockets(void *arg) {
    struct sockaddr_in address = loopback();
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK_EQ(goroutine_accept(ends[0], NULL, NULL), -ENOTSOCK);
    CHECK_EQ(goroutine_connect(ends[1], (struct sockaddr *)&address, sizeof address), -ENOTSOCK);
    CHECK(!(fcntl(ends[0], F_GETFL) & O_NONBLOCK) && !(fcntl(ends[1], F_GETFL) & O_NONBLOCK));
    CHECK_EQ(goroutine_accept(7000, NULL, NULL), -EBADF);
    CHECK_EQ(goroutine_connect(7000, (struct sockaddr *)&address, sizeof address), -EBADF);
    close_pair(ends);
    return arg;
}

/* ---- A number that the kernel gives out anew has no deadline, and nobody waits for it, whoever closed it. ---- */
static void *waits_for(void *arg) {
    uint32_t ready;
    return P(goroutine_fd_wait((int)U(arg), POLLIN, 20 * SECOND, &ready));
}
static void *new_numbers(void *arg) {
    int ends[2], fd;
    char c;
    GoroutinePromise *p;
    CHECK_EQ(goroutine_close((int)goroutine_open("/dev/zero", O_RDONLY, 0)), 0); /* the library has its own descriptors now */
    CHECK(pipe(ends) == 0);
    OK(goroutine_set_deadline(ends[0], POLLIN, 1));
    CHECK(close(ends[0]) == 0);
    fd = (int)goroutine_open("/dev/zero", O_RDONLY | O_CLOEXEC, 0);
    CHECK_EQ(fd, ends[0]);
    CHECK_EQ(goroutine_read(fd, &c, 1), 1);
    CHECK(goroutine_close(fd) == 0 && close(ends[1]) == 0);
    CHECK(pipe(ends) == 0);
    p = goroutine_spawn(waits_for, P(ends[0]));
    goroutine_sleep(2 * MS);
    CHECK(close(ends[0]) == 0); /* not told */
    fd = (int)goroutine_open("/dev/zero", O_RDONLY | O_CLOEXEC, 0);
    CHECK_EQ(fd, ends[0]);
    CHECK_EQ((GoroutineStatus)take(p), GOROUTINE_EBADF);
    CHECK(goroutine_close(fd) == 0 && close(ends[1]) == 0);
    return arg;
}

/* ---- An eventfd is read without waiting, also when it was written: two who read it keep their deadlines, their cancels and their close. ---- */
static uint64_t readers_over;
static void *reads_event(void *arg) {
    uint64_t number;
    int64_t n;
    while ((n = goroutine_read((int)U(arg), &number, 8)) == 8) goroutine_yield();
    CHECK_EQ(n, -EBADF);
    ADD(readers_over, 1);
    return NULL;
}
static void *events(void *arg) {
    enum { N = 4 };
    uint64_t one = 1, end, round;
    for (round = 0; round < scaled(200, 20); round++) {
        GoroutinePromise *p[N];
        pthread_t t[N];
        int i, fd = eventfd(0, EFD_CLOEXEC);
        SET(readers_over, 0);
        CHECK_EQ(goroutine_write(fd, &one, 8), 8);
        for (i = 0; i < N; i++) {
            p[i] = goroutine_spawn(reads_event, P(fd));
            CHECK(pthread_create(&t[i], NULL, reads_event, P(fd)) == 0);
        }
        thread_sleep(200 * US);
        CHECK_EQ(goroutine_write(fd, &one, 8), 8); /* for all who are in ppoll */
        thread_sleep(50 * US);
        CHECK_EQ(goroutine_close(fd), 0);
        end = now_ns() + 10 * SECOND;
        while (GET(readers_over) != 2 * N && now_ns() < end) goroutine_sleep(100 * US);
        CHECK_EQ(GET(readers_over), 2 * N);
        for (i = 0; i < N; i++) {
            take(p[i]);
            CHECK(pthread_join(t[i], NULL) == 0);
        }
    }
    return arg;
}

/* ---- O_NONBLOCK belongs to the file, and others may take it away. ---- */
static void *mode_changes(void *arg) {
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char bytes[500];
    OK(goroutine_set_deadline(fd, POLLIN, 5 * MS));
    CHECK_EQ(goroutine_read(fd, bytes, sizeof bytes), -ETIMEDOUT);
    CHECK_EQ(inotify_add_watch(fd, "/tmp", IN_CREATE), 1);
    touch();
    CHECK(fcntl(fd, F_SETFL, 0) == 0);
    OK(goroutine_set_deadline(fd, POLLIN, 20 * MS));
    while (goroutine_read(fd, bytes, sizeof bytes) > 0) { /* others may use /tmp, too */
    }
    OK(goroutine_set_deadline(fd, POLLIN, 20 * MS));
    while (goroutine_read(fd, bytes, sizeof bytes) > 0) {
    }
    CHECK_EQ(goroutine_close(fd), 0);
    return arg;
}

/* ---- A thread that ends reads in the destructor of its own. ---- */
static pthread_key_t key;
static uint64_t destructed;
static void reads_at_the_end(void *arg) {
    char c;
    int fd = (int)U(arg);
    OK(goroutine_set_deadline(fd, POLLIN, 2 * MS));
    CHECK_EQ(goroutine_read(fd, &c, 1), -ETIMEDOUT);
    ADD(destructed, 1);
}
static void *ends_with_a_read(void *arg) {
    char c;
    OK(goroutine_set_deadline((int)U(arg), POLLIN, 2 * MS));
    CHECK_EQ(goroutine_read((int)U(arg), &c, 1), -ETIMEDOUT);
    CHECK(pthread_setspecific(key, arg) == 0);
    return NULL;
}
static void thread_ends(void) {
    int ends[2];
    pthread_t t;
    SET(destructed, 0);
    pair(ends, SOCK_STREAM);
    CHECK(pthread_key_create(&key, reads_at_the_end) == 0);
    CHECK(pthread_create(&t, NULL, ends_with_a_read, P(ends[0])) == 0 && pthread_join(t, NULL) == 0);
    CHECK_EQ(GET(destructed), 1);
    CHECK(pthread_key_delete(key) == 0);
    close_pair(ends);
}

/* ---- A child of fork goes on on a thread that has waited: its wakes are its own, and so are the parent's. ---- */
static int quiet, waiting_thread;
static bool sleeps(int thread) {
    char path[64], state = 0;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    file = fopen(path, "r");
    CHECK(file != NULL && fscanf(file, "%*d %*s %c", &state) == 1);
    fclose(file);
    return state == 'S';
}
/* That thread takes nobody's CPU away. */
static void be_idle(int thread, bool yes) {
    struct sched_param zero;
    memset(&zero, 0, sizeof zero);
    CHECK(sched_setscheduler(thread, yes ? SCHED_IDLE : SCHED_OTHER, &zero) == 0);
}
static void *closes_soon(void *arg) {
    uint64_t end;
    while (GET(waiting_thread) == 0 || !sleeps(waiting_thread)) thread_sleep(100 * US);
    be_idle(waiting_thread, true);
    CHECK_EQ(goroutine_close((int)U(arg)), 0);
    CHECK_EQ(dup2(quiet, (int)U(arg)), (int)U(arg)); /* the number is another file's: nothing else ends its ppoll */
    for (end = now_ns() + 2 * MS; now_ns() < end;) { /* who was woken, on this CPU, is not the first to look */
    }
    be_idle(waiting_thread, false);
    return NULL;
}
static void wait_briefly(int fd) {
    char c;
    OK(goroutine_set_deadline(fd, POLLIN, MS));
    CHECK_EQ(goroutine_read(fd, &c, 1), -ETIMEDOUT);
    OK(goroutine_set_deadline(fd, POLLIN, GOROUTINE_FOREVER));
}
static void be_on_cpu(bool last) {
    cpu_set_t all, one;
    int cpu, chosen = -1;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    for (cpu = 0; cpu < CPU_SETSIZE && (last || chosen < 0); cpu++) {
        if (CPU_ISSET(cpu, &all)) chosen = cpu;
    }
    CPU_ZERO(&one);
    CPU_SET(chosen, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}
static int64_t closed_under(int fd) {
    char c;
    int64_t n;
    pthread_t t;
    SET(waiting_thread, 0);
    start_thread(&t, closes_soon, P(fd));
    SET(waiting_thread, thread_id());
    n = goroutine_read(fd, &c, 1);
    CHECK(pthread_join(t, NULL) == 0);
    return n;
}
static int descriptors(void) {
    int fd, n = 0;
    for (fd = 0; fd < 200; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}
static void *forks_on_thread(void *arg) {
    enum { ROUNDS = 10 };
    int ends[2], go[2], status, i, before;
    pid_t pid;
    char c;
    pair(ends, SOCK_STREAM);
    pair(go, SOCK_STREAM);
    quiet = ends[0];
    wait_briefly(ends[0]); /* this thread has its eventfd now, if threads have one each */
    before = descriptors();
    pid = fork();
    CHECK(pid >= 0);
    be_on_cpu(pid == 0);
    if (pid == 0) {
        alarm(is_slow() ? 100 : 20); /* a wake that the parent took never comes */
        CHECK(descriptors() <= before);
        for (i = 0; i < ROUNDS; i++) {
            int own[2];
            pair(own, SOCK_STREAM);
            CHECK_EQ(closed_under(own[0]), -EBADF);
            CHECK(close(own[0]) == 0 && close(own[1]) == 0);
        }
        CHECK(write(go[1], "g", 1) == 1);
        _exit(0);
    }
    /* In ppoll all the while: it would eat the child's wakes. */
    CHECK(close(go[1]) == 0);
    CHECK_EQ(goroutine_read(go[0], &c, 1), 1);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK_EQ(goroutine_close(go[0]), 0);
    close_pair(ends);
    return arg;
}

static void *forks(void *arg) { /* on a thread of its own, whose affinity this changes */
    pthread_t t;
    CHECK(pthread_create(&t, NULL, forks_on_thread, NULL) == 0 && pthread_join(t, NULL) == 0);
    return arg;
}

typedef struct Corner {
    const char *name;
    GoroutineFn in_goroutine, on_thread;
} Corner;
static void *thread_ends_(void *arg) {
    thread_ends();
    return arg;
}
static const Corner corners[] = {
    {"in line with a deadline", in_line_with_a_deadline, NULL},
    {"raw TCP", raw_tcp, raw_tcp},
    {"nothing", nothing, nothing},
    {"inotify", inotify, NULL},
    {"full datagrams", full_datagrams, full_datagrams},
    {"in vain", NULL, waits_in_vain},
    {"flags", flags, flags},
    {"shortage", shortage, shortage},
    {"full listener", full_listener, full_listener},
    {"no sockets", no_sockets, no_sockets},
    {"new numbers", new_numbers, NULL},
    {"events", events, NULL},
    {"mode changes", mode_changes, mode_changes},
    {"thread ends", NULL, thread_ends_},
    {"forks", NULL, forks},
};

int main(int argc, char **argv) {
    static const uint32_t counts[] = {1, 4};
    const char *name = argc > 1 ? argv[1] : "";
    size_t i, k;
    for (k = 0; k < 2; k++) {
        start_workers(counts[k]);
        for (i = 0; i < sizeof corners / sizeof *corners; i++) {
            if (strstr(corners[i].name, name) == NULL) continue;
            if (argc > 1) fprintf(stderr, "%s\n", corners[i].name);
            if (corners[i].in_goroutine != NULL && (k == 0 || corners[i].in_goroutine != in_line_with_a_deadline))
                run_goroutine(corners[i].in_goroutine, NULL);
            if (corners[i].on_thread != NULL) corners[i].on_thread(NULL);
        }
        stop();
    }
    return 0;
}

/* timeout: 300 */
/* Stream sockets as the socket suites of libuv, libevent, CPython and Go ask about them: TCP over IPv4 and IPv6, and Unix sockets; how a connection
 * begins, fails and ends, each end also while somebody waits; flags and options. On goroutines, on bound ones and on plain threads. */
#include "check.h"
#include "net.h"

static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
static int family;

/* ---- a connection: names, both ways at once, half of it closed ---- */
enum { MUCH = 300000 };
static void *sends_much(void *arg) {
    int fd = (int)U(arg), i;
    unsigned char piece[1000];
    for (i = 0; i < MUCH / 1000; i++) {
        memset(piece, i, sizeof piece);
        give_all(fd, piece, sizeof piece);
    }
    CHECK(shutdown(fd, SHUT_WR) == 0);
    return NULL;
}
static void expect_much(int fd) {
    unsigned char piece[7000];
    uint64_t at = 0;
    for (;;) {
        int64_t n = goroutine_read(fd, piece, sizeof piece), i;
        CHECK(n >= 0);
        if (n == 0) break;
        for (i = 0; i < n; i++, at++) CHECK_EQ(piece[i], (unsigned char)(at / 1000));
    }
    CHECK_EQ(at, MUCH);
    CHECK_EQ(goroutine_read(fd, piece, sizeof piece), 0); /* the end stays */
}
static void connection(void) {
    Address address, peer, own;
    socklen_t size, peer_size = sizeof peer, own_size = sizeof own;
    int listener = listening(family, SOCK_STREAM, 16, &address, &size), ends[2];
    Other other;
    ends[0] = new_socket(family, SOCK_STREAM);
    CHECK_EQ(goroutine_connect(ends[0], &address.any, size), 0);
    ends[1] = limited((int)goroutine_accept(listener, &peer.any, &peer_size));
    CHECK(getsockname(ends[0], &own.any, &own_size) == 0);
    CHECK_EQ(peer.any.sa_family, family);
    CHECK(peer_size == own_size && memcmp(&peer, &own, own_size) == 0);
    CHECK_EQ(goroutine_connect(ends[0], &address.any, size), -EISCONN);
    CHECK_EQ(goroutine_connect(ends[1], &address.any, size), -EISCONN);
    CHECK_EQ(goroutine_accept(ends[1], NULL, NULL), -EINVAL); /* it does not listen */
    other = begin(sends_much, P(ends[0]));
    expect_much(ends[1]);
    end(other);
    other = begin(sends_much, P(ends[1])); /* the other half is open */
    expect_much(ends[0]);
    end(other);
    CHECK_EQ(goroutine_write(ends[0], "x", 1), -EPIPE); /* and no signal */
    close_both(ends);
    /* No name is wanted, or there is no room for it. */
    ends[0] = new_socket(family, SOCK_STREAM);
    CHECK_EQ(goroutine_connect(ends[0], &address.any, size), 0);
    peer_size = 1;
    ends[1] = limited((int)goroutine_accept(listener, &peer.any, &peer_size));
    CHECK_EQ(peer_size, own_size);
    close_both(ends);
    CHECK_EQ(goroutine_close(listener), 0);
}
static void connections(void) {
    size_t i;
    for (i = 0; i < 3; i++) {
        family = families[i];
        if (family != AF_INET6 || has_ipv6()) connection();
    }
}
/* A listener of both: a peer of IPv4 has a mapped address. */
static void mapped(void) {
    Address address, peer;
    socklen_t size = sizeof address.v6, peer_size = sizeof peer;
    int listener, fd, accepted;
    if (!has_ipv6()) return;
    listener = new_socket(AF_INET6, SOCK_STREAM);
    option(listener, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    memset(&address, 0, sizeof address);
    address.v6.sin6_family = AF_INET6;
    CHECK(bind(listener, &address.any, size) == 0 && listen(listener, 4) == 0 && getsockname(listener, &address.any, &size) == 0);
    fd = new_socket(AF_INET, SOCK_STREAM);
    {
        in_port_t port = address.v6.sin6_port;
        size = loopback(AF_INET, &address);
        address.v4.sin_port = port;
    }
    CHECK_EQ(goroutine_connect(fd, &address.any, size), 0);
    accepted = limited((int)goroutine_accept(listener, &peer.any, &peer_size));
    CHECK(peer.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr));
    CHECK(goroutine_close(fd) == 0 && goroutine_close(accepted) == 0 && goroutine_close(listener) == 0);
}

/* ---- Unix names ---- */
static void unix_names(void) {
    char directory[] = "/tmp/test_sockets_XXXXXX";
    Address address;
    socklen_t size = sizeof address.un;
    int listener, fd, accepted, plain;
    CHECK(mkdtemp(directory) != NULL);
    memset(&address, 0, sizeof address);
    address.un.sun_family = AF_UNIX;
    snprintf(address.un.sun_path, sizeof address.un.sun_path, "%s/name", directory);
    fd = new_socket(AF_UNIX, SOCK_STREAM);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ENOENT);
    listener = new_socket(AF_UNIX, SOCK_STREAM);
    CHECK(bind(listener, &address.any, size) == 0);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ECONNREFUSED); /* it does not listen yet */
    CHECK(listen(listener, 2) == 0);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), 0); /* the same socket */
    accepted = limited((int)goroutine_accept(listener, NULL, NULL));
    CHECK_EQ(goroutine_write(fd, "path", 4), 4);
    expect_bytes(accepted, "path");
    CHECK(goroutine_close(fd) == 0 && goroutine_close(accepted) == 0);
    fd = new_socket(AF_UNIX, SOCK_SEQPACKET);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -EPROTOTYPE);
    CHECK(goroutine_close(fd) == 0 && goroutine_close(listener) == 0);
    fd = new_socket(AF_UNIX, SOCK_STREAM);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ECONNREFUSED); /* the name stays, and nobody is there */
    CHECK(unlink(address.un.sun_path) == 0);
    plain = open(address.un.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(plain >= 0 && close(plain) == 0);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ECONNREFUSED);
    CHECK(unlink(address.un.sun_path) == 0 && rmdir(directory) == 0);
    /* An abstract name, with a zero in it; it goes with its socket. */
    memset(&address, 0, sizeof address);
    address.un.sun_family = AF_UNIX;
    size = (socklen_t)(sizeof(sa_family_t) + 20);
    snprintf(address.un.sun_path + 1, 18, "goroutine%d", (int)getpid());
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ECONNREFUSED);
    listener = new_socket(AF_UNIX, SOCK_STREAM);
    CHECK(bind(listener, &address.any, size) == 0 && listen(listener, 2) == 0);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), 0);
    accepted = limited((int)goroutine_accept(listener, NULL, NULL));
    CHECK(goroutine_close(fd) == 0 && goroutine_close(accepted) == 0 && goroutine_close(listener) == 0);
    fd = new_socket(AF_UNIX, SOCK_STREAM);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ECONNREFUSED);
    CHECK_EQ(goroutine_close(fd), 0);
}

/* ---- connects that fail ---- */
static void refused(void) {
    Address address;
    socklen_t size;
    int i, fd, ends[2], listener;
    char c;
    for (i = 0; i < 2; i++) {
        if (families[i] == AF_INET6 && !has_ipv6()) continue;
        listener = bound(families[i], SOCK_STREAM, &address, &size); /* keeps the port from others */
        fd = new_socket(families[i], SOCK_STREAM);
        CHECK_EQ(goroutine_connect(fd, &address.any, size), -ECONNREFUSED);
        CHECK_EQ(goroutine_connect(fd, &address.any, size), -ECONNREFUSED);
        CHECK(listen(listener, 4) == 0);
        CHECK_EQ(goroutine_connect(fd, &address.any, size), 0); /* Linux lets it try again */
        CHECK(goroutine_close(fd) == 0 && goroutine_close(listener) == 0);
    }
    /* There is no way to it. */
    size = loopback(AF_INET, &address);
    address.v4.sin_port = htons(9);
    address.v4.sin_addr.s_addr = htonl(0xE0000001); /* a group: not with TCP */
    fd = new_socket(AF_INET, SOCK_STREAM);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ENETUNREACH);
    CHECK_EQ(goroutine_connect(fd, &address.any, 3), -EINVAL);
    size = loopback(AF_INET, &address);
    address.any.sa_family = 77;
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -EAFNOSUPPORT);
    /* Not connected. */
    CHECK_EQ(goroutine_write(fd, "x", 1), -EPIPE);
    CHECK_EQ(goroutine_close(fd), 0);
    fd = new_socket(AF_INET, SOCK_STREAM);
    CHECK_EQ(goroutine_read(fd, &c, 1), -ENOTCONN);
    CHECK_EQ(goroutine_accept(fd, NULL, NULL), -EINVAL);
    CHECK_EQ(goroutine_close(fd), 0);
    fd = new_socket(AF_INET, SOCK_DGRAM);
    CHECK_EQ(goroutine_accept(fd, NULL, NULL), -EOPNOTSUPP);
    CHECK_EQ(goroutine_close(fd), 0);
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK_EQ(goroutine_accept(ends[0], NULL, NULL), -ENOTSOCK);
    CHECK_EQ(goroutine_connect(ends[0], &address.any, size), -ENOTSOCK);
    close_both(ends);
    CHECK_EQ(goroutine_connect(ends[0], &address.any, size), -EBADF);
    CHECK_EQ(goroutine_accept(ends[0], NULL, NULL), -EBADF);
}
/* A listener with no room lets first packets go by: nothing is heard of them. The deadline ends that, or the network; and who comes again waits on. */
static void *connects_in_vain(void *arg) {
    Address *address = (Address *)arg;
    int fd = new_socket(AF_INET, SOCK_STREAM);
    int64_t result;
    option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 100);
    result = goroutine_connect(fd, &address->any, sizeof address->v4);
    CHECK_EQ(goroutine_close(fd), 0);
    return P(result);
}
static void unheard(void) {
    Address address;
    socklen_t size;
    uint32_t ready = 0;
    int listener = listening(AF_INET, SOCK_STREAM, 0, &address, &size), full = new_socket(AF_INET, SOCK_STREAM), fd, accepted[2];
    Other other;
    CHECK_EQ(goroutine_connect(full, &address.any, size), 0);
    fd = new_socket(AF_INET, SOCK_STREAM);
    OK(goroutine_set_deadline(fd, POLLOUT, 5 * MS));
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ETIMEDOUT);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ETIMEDOUT);
    CHECK_EQ(connect(fd, &address.any, size), -1); /* it is under way, and nobody began another one */
    CHECK_EQ(errno, EALREADY);
    other = begin(connects_in_vain, &address);
    CHECK_EQ(end(other), -ETIMEDOUT); /* the network's */
    accepted[0] = limited((int)goroutine_accept(listener, NULL, NULL)); /* room */
    limited(fd);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), 0); /* when it is sent once more */
    accepted[1] = limited((int)goroutine_accept(listener, NULL, NULL));
    OK(goroutine_fd_wait(fd, POLLOUT, SECOND, &ready));
    CHECK_EQ(goroutine_write(fd, "late", 4), 4);
    expect_bytes(accepted[1], "late");
    close_both(accepted);
    CHECK(goroutine_close(fd) == 0 && goroutine_close(full) == 0 && goroutine_close(listener) == 0);
}
/* One that waits for room at a Unix listener, and pauses for it, must not connect what gets its number. */
typedef struct Knock {
    int fd;
    Address address;
    socklen_t size;
} Knock;
static void *knocks(void *arg) {
    Knock *k = (Knock *)arg;
    return P(goroutine_connect(k->fd, &k->address.any, k->size));
}
static void closed_at_the_door(void) {
    Knock knock;
    Address name;
    socklen_t size = sizeof name;
    int listener, first, again, accepted;
    Other other;
    if (!one_worker) return; /* it could begin after the close, on the wrong one: a mistake of ours */
    listener = listening(AF_UNIX, SOCK_STREAM, 0, &knock.address, &knock.size);
    first = new_socket(AF_UNIX, SOCK_STREAM);
    CHECK_EQ(goroutine_connect(first, &knock.address.any, knock.size), 0);
    knock.fd = new_socket(AF_UNIX, SOCK_STREAM);
    other = begin(knocks, &knock);
    pause_a_little();
    CHECK_EQ(goroutine_close(knock.fd), 0);
    again = new_socket(AF_UNIX, SOCK_STREAM);
    CHECK_EQ(again, knock.fd);
    accepted = limited((int)goroutine_accept(listener, NULL, NULL)); /* room */
    CHECK_EQ(end(other), -EBADF);
    CHECK(getpeername(again, &name.any, &size) == -1 && errno == ENOTCONN);
    CHECK(goroutine_close(first) == 0 && goroutine_close(again) == 0 && goroutine_close(accepted) == 0 && goroutine_close(listener) == 0);
}
static void self_connected(void) {
    Address address;
    socklen_t size;
    int fd = bound(AF_INET, SOCK_STREAM, &address, &size);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), 0);
    CHECK_EQ(goroutine_write(fd, "me", 2), 2);
    expect_bytes(fd, "me");
    CHECK_EQ(goroutine_close(fd), 0);
}
/* More than there is room for come at once; all get in, as others go. */
static void *comes_and_goes(void *arg) {
    Knock *k = (Knock *)arg;
    int fd = new_socket(AF_UNIX, SOCK_STREAM);
    int64_t n = goroutine_connect(fd, &k->address.any, k->size);
    if (n == 0) expect_bytes(fd, "hello");
    CHECK_EQ(goroutine_close(fd), 0);
    return P(n);
}
static void crowded(void) {
    enum { N = 12 };
    Knock knock;
    Other others[N];
    int i, listener = listening(AF_UNIX, SOCK_STREAM, 1, &knock.address, &knock.size);
    for (i = 0; i < N; i++) others[i] = begin(comes_and_goes, &knock);
    for (i = 0; i < N; i++) {
        int fd = limited((int)goroutine_accept(listener, NULL, NULL));
        CHECK_EQ(goroutine_write(fd, "hello", 5), 5);
        CHECK_EQ(goroutine_close(fd), 0);
    }
    for (i = 0; i < N; i++) CHECK_EQ(end(others[i]), 0);
    CHECK_EQ(goroutine_close(listener), 0);
}

/* ---- ends ---- */
static void reset_while_reading(void) {
    int ends[2];
    Call call;
    Other other;
    connected(AF_INET, SOCK_STREAM, ends);
    call = call_on(ends[0]);
    other = begin(reads_some, &call);
    pause_a_little();
    will_reset(ends[1]);
    CHECK_EQ(goroutine_close(ends[1]), 0);
    CHECK_EQ(end(other), -ECONNRESET);
    CHECK_EQ(goroutine_read(ends[0], call.bytes, 1), 0); /* an error is told once */
    CHECK_EQ(goroutine_write(ends[0], "x", 1), -EPIPE);
    CHECK_EQ(goroutine_close(ends[0]), 0);
}
static void *writes_until_it_fails(void *arg) {
    static char zeros[65536];
    int64_t n;
    while ((n = goroutine_write((int)U(arg), zeros, sizeof zeros)) > 0) {
    }
    return P(n);
}
static void reset_while_writing(void) {
    int ends[2], how;
    for (how = 0; how < 2; how++) {
        Other other;
        connected(AF_INET, SOCK_STREAM, ends);
        other = begin(writes_until_it_fails, P(ends[0]));
        pause_a_little();
        if (how == 0) will_reset(ends[1]);
        CHECK_EQ(goroutine_close(ends[1]), 0); /* what it has not read makes this a reset, too */
        {
            int64_t n = end(other);
            CHECK(n == -ECONNRESET || n == -EPIPE); /* begun after it: the pipe is broken */
        }
        CHECK_EQ(goroutine_write(ends[0], "x", 1), -EPIPE);
        CHECK_EQ(goroutine_close(ends[0]), 0);
    }
}
/* No way of writing raises SIGPIPE, whose default this process has. */
static void broken(void) {
    int i, ends[2];
    struct iovec v[2];
    struct msghdr m;
    memset(&m, 0, sizeof m);
    for (i = 0; i < 2; i++) {
        v[i].iov_base = (void *)"xy";
        v[i].iov_len = 1;
    }
    m.msg_iov = v;
    m.msg_iovlen = 2;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK_EQ(goroutine_close(ends[1]), 0);
    CHECK_EQ(goroutine_write(ends[0], "x", 1), -EPIPE);
    CHECK_EQ(goroutine_writev(ends[0], v, 2), -EPIPE);
    CHECK_EQ(goroutine_sendmsg(ends[0], &m, 0), -EPIPE);
    CHECK_EQ(goroutine_sendmsg(ends[0], &m, MSG_DONTWAIT), -EPIPE);
    CHECK_EQ(goroutine_close(ends[0]), 0);
}
/* The peer is gone before it was accepted. */
static void gone_before(void) {
    Address address;
    socklen_t size;
    int how, listener = listening(AF_INET, SOCK_STREAM, 16, &address, &size);
    char c;
    for (how = 0; how < 2; how++) {
        int fd = new_socket(AF_INET, SOCK_STREAM), accepted;
        CHECK_EQ(goroutine_connect(fd, &address.any, size), 0);
        if (how == 0) CHECK_EQ(goroutine_write(fd, "bye", 3), 3);
        if (how == 1) will_reset(fd);
        CHECK_EQ(goroutine_close(fd), 0);
        accepted = limited((int)goroutine_accept(listener, NULL, NULL));
        if (how == 0) {
            expect_bytes(accepted, "bye");
            CHECK_EQ(goroutine_read(accepted, &c, 1), 0);
        } else {
            CHECK_EQ(goroutine_read(accepted, &c, 1), -ECONNRESET);
        }
        CHECK_EQ(goroutine_close(accepted), 0);
    }
    CHECK_EQ(goroutine_close(listener), 0);
}
/* A shutdown of the own end ends who waits there. */
static void shut_down(void) {
    size_t i;
    for (i = 0; i < 3; i++) {
        int ends[2], listener;
        Address address;
        socklen_t size;
        Call reader, acceptor;
        Other reads, writes, accept;
        if (families[i] == AF_INET6 && !has_ipv6()) continue;
        connected(families[i], SOCK_STREAM, ends);
        reader = call_on(ends[0]);
        reads = begin(reads_one, &reader);
        pause_a_little();
        CHECK(shutdown(ends[0], SHUT_RD) == 0);
        CHECK_EQ(end(reads), 0);
        CHECK_EQ(goroutine_write(ends[0], "still", 5), 5);
        expect_bytes(ends[1], "still");
        fill(ends[0]);
        writes = begin(writes_until_it_fails, P(ends[0]));
        pause_a_little();
        CHECK(shutdown(ends[0], SHUT_WR) == 0);
        CHECK_EQ(end(writes), -EPIPE);
        close_both(ends);
        connected(families[i], SOCK_STREAM, ends);
        fill(ends[0]);
        reader = call_on(ends[0]);
        reads = begin(reads_one, &reader);
        writes = begin(writes_until_it_fails, P(ends[0]));
        pause_a_little();
        CHECK(shutdown(ends[0], SHUT_RDWR) == 0);
        CHECK_EQ(end(reads), 0);
        CHECK_EQ(end(writes), -EPIPE);
        close_both(ends);
        listener = listening(families[i], SOCK_STREAM, 4, &address, &size);
        acceptor = call_on(listener);
        accept = begin(accepts, &acceptor);
        pause_a_little();
        CHECK(shutdown(listener, SHUT_RDWR) == 0);
        CHECK_EQ(end(accept), -EINVAL);
        CHECK_EQ(goroutine_close(listener), 0);
    }
}

/* ---- urgent data, the queue of errors ---- */
static int64_t receive(int fd, void *bytes, size_t n, int flags) {
    struct iovec v;
    struct msghdr m;
    memset(&m, 0, sizeof m);
    v.iov_base = bytes;
    v.iov_len = n;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    return goroutine_recvmsg(fd, &m, flags);
}
static int64_t transmit(int fd, const void *bytes, size_t n, int flags) {
    struct iovec v;
    struct msghdr m;
    memset(&m, 0, sizeof m);
    v.iov_base = (void *)(uintptr_t)bytes;
    v.iov_len = n;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    return goroutine_sendmsg(fd, &m, flags);
}
static void urgent(void) {
    int ends[2], at_mark = 0;
    char c = 0, text[8];
    uint32_t ready;
    int64_t sent;
    connected(AF_INET, SOCK_STREAM, ends);
    option(ends[0], IPPROTO_TCP, TCP_NODELAY, 1);
    CHECK_EQ(receive(ends[1], &c, 1, MSG_OOB), -EINVAL); /* there is none, and none is waited for */
    CHECK_EQ(goroutine_fd_wait(ends[1], POLLPRI, 0, &ready), GOROUTINE_EAGAIN);
    CHECK_EQ(transmit(ends[0], "ab!", 3, MSG_OOB), 3);
    OK(goroutine_fd_wait(ends[1], POLLPRI, 10 * SECOND, &ready));
    CHECK(ready & POLLPRI);
    CHECK_EQ(receive(ends[1], &c, 1, MSG_OOB), 1);
    CHECK_EQ(c, '!');
    CHECK_EQ(goroutine_write(ends[0], "cd", 2), 2);
    expect_bytes(ends[1], "ab");
    CHECK(ioctl(ends[1], SIOCATMARK, &at_mark) == 0 && at_mark == 1);
    expect_bytes(ends[1], "cd");
    option(ends[1], SOL_SOCKET, SO_OOBINLINE, 1);
    CHECK_EQ(transmit(ends[0], "e?", 2, MSG_OOB), 2);
    CHECK_EQ(goroutine_write(ends[0], "f", 1), 1);
    expect_bytes(ends[1], "e?f");
    /* No error is queued: that says nothing of data. */
    CHECK_EQ(goroutine_write(ends[0], "data", 4), 4);
    OK(goroutine_fd_wait(ends[1], POLLIN, 10 * SECOND, &ready));
    CHECK_EQ(receive(ends[1], text, sizeof text, MSG_ERRQUEUE), -EAGAIN);
    OK(goroutine_set_deadline(ends[1], POLLIN, 10 * SECOND));
    expect_bytes(ends[1], "data");
    CHECK_EQ(receive(ends[1], text, sizeof text, MSG_DONTWAIT), -EAGAIN);
    CHECK_EQ(receive(ends[0], text, sizeof text, MSG_DONTWAIT), -EAGAIN);
    fill(ends[0]);
    while ((sent = transmit(ends[0], "x", 1, MSG_DONTWAIT)) == 1) {} /* what was under way has arrived meanwhile, and made room */
    CHECK_EQ(sent, -EAGAIN);
    close_both(ends);
}

/* ---- peeks ---- */
static void *writes_later(void *arg) {
    pause_a_little();
    CHECK_EQ(goroutine_write((int)U(arg), "abcd", 4), 4);
    return NULL;
}
static void *peeks(void *arg) {
    Call *c = (Call *)arg;
    c->result = receive(c->fd, c->bytes, 2, MSG_PEEK);
    return P(c->result);
}
static void peek(void) {
    size_t i;
    for (i = 0; i < 3; i++) {
        int ends[2];
        char text[8];
        Other other, peeker;
        Call call;
        if (families[i] == AF_INET6 && !has_ipv6()) continue;
        connected(families[i], SOCK_STREAM, ends);
        call = call_on(ends[1]);
        peeker = begin(peeks, &call); /* while this one waits, too */
        other = begin(writes_later, P(ends[0]));
        CHECK_EQ(receive(ends[1], text, 3, MSG_PEEK), 3);
        CHECK_EQ(receive(ends[1], text, 3, MSG_PEEK), 3);
        CHECK_EQ(end(peeker), 2);
        CHECK(memcmp(text, "abc", 3) == 0 && memcmp(call.bytes, "ab", 2) == 0);
        expect_bytes(ends[1], "abcd");
        end(other);
        close_both(ends);
    }
}
/* A peek that finds nothing where it stands says nothing of a read. */
static void peek_further(void) {
    int ends[2];
    char text[8];
    if (on_threads) return; /* poll would say at once that there is something */
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    option(ends[1], SOL_SOCKET, SO_PEEK_OFF, 0);
    CHECK_EQ(goroutine_write(ends[0], "abcd", 4), 4);
    CHECK_EQ(receive(ends[1], text, 3, MSG_PEEK), 3);
    CHECK_EQ(receive(ends[1], text, 3, MSG_PEEK), 1);
    CHECK_EQ(text[0], 'd');
    OK(goroutine_set_deadline(ends[1], POLLIN, 2 * MS));
    CHECK_EQ(receive(ends[1], text, 3, MSG_PEEK), -ETIMEDOUT);
    OK(goroutine_set_deadline(ends[1], POLLIN, 10 * SECOND));
    expect_bytes(ends[1], "abcd");
    close_both(ends);
}

/* ---- MSG_WAITALL ---- */
static void *writes_in_pieces(void *arg) {
    int fd = (int)U(arg);
    pause_a_little();
    CHECK_EQ(goroutine_write(fd, "one", 3), 3);
    pause_a_little();
    CHECK_EQ(goroutine_write(fd, "two", 3), 3);
    pause_a_little();
    CHECK_EQ(goroutine_write(fd, "three", 5), 5);
    return NULL;
}
static void wait_for_all(void) {
    size_t i;
    for (i = 0; i < 3; i++) {
        int ends[2];
        char a[2], b[1], text[16];
        struct iovec v[4];
        struct msghdr m;
        Other other;
        if (families[i] == AF_INET6 && !has_ipv6()) continue;
        connected(families[i], SOCK_STREAM, ends);
        memset(&m, 0, sizeof m);
        memset(text, 0, sizeof text);
        m.msg_iov = v;
        m.msg_iovlen = 4;
        v[0].iov_base = a;
        v[0].iov_len = 2;
        v[1].iov_base = NULL;
        v[1].iov_len = 0;
        v[2].iov_base = b;
        v[2].iov_len = 1;
        v[3].iov_base = text;
        v[3].iov_len = 7;
        other = begin(writes_in_pieces, P(ends[0]));
        CHECK_EQ(goroutine_recvmsg(ends[1], &m, MSG_WAITALL), 10);
        CHECK(memcmp(a, "on", 2) == 0 && b[0] == 'e' && memcmp(text, "twothre", 7) == 0);
        CHECK(v[0].iov_len == 2 && v[3].iov_base == text); /* the caller's are as they were */
        end(other);
        expect_bytes(ends[1], "e");
        /* As far as it comes: a deadline, an end. */
        CHECK_EQ(goroutine_write(ends[0], "12345", 5), 5);
        OK(goroutine_set_deadline(ends[1], POLLIN, 5 * MS));
        {
            int64_t n = receive(ends[1], text, 10, MSG_WAITALL);
            CHECK(n == 5 || n == -ETIMEDOUT); /* passed before it began, on a busy machine */
            limited(ends[1]);
            if (n < 0) expect_bytes(ends[1], "12345");
        }
        CHECK_EQ(receive(ends[1], text, 10, MSG_WAITALL | MSG_DONTWAIT), -EAGAIN);
        other = begin(writes_in_pieces, P(ends[0]));
        CHECK_EQ(receive(ends[1], text, 3, MSG_WAITALL), 3);
        end(other);
        CHECK_EQ(goroutine_close(ends[0]), 0);
        CHECK_EQ(receive(ends[1], text, 16, MSG_WAITALL), 8);
        CHECK_EQ(receive(ends[1], text, 16, MSG_WAITALL), 0);
        CHECK_EQ(goroutine_close(ends[1]), 0);
    }
}

/* ---- options that say how a call blocks: calls here never do, so deadlines count, and not SO_RCVTIMEO and SO_SNDTIMEO ---- */
static void timeouts_of_the_socket(void) {
    struct timeval soon = {0, 1000};
    int ends[2];
    size_t filled;
    Call reader, writer;
    Other reads, writes;
    connected(AF_INET, SOCK_STREAM, ends);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon) == 0);
    filled = fill(ends[0]);
    reader = call_on(ends[0]);
    writer = call_on(ends[0]);
    reads = begin(reads_one, &reader);
    writes = begin(writes_one, &writer);
    pause_a_little();
    pause_a_little();
    CHECK_EQ(goroutine_write(ends[1], "r", 1), 1);
    take_all(ends[1], filled);
    CHECK_EQ(end(reads), 1);
    CHECK_EQ(end(writes), 1);
    close_both(ends);
}
/* Who has to wait is woken at the low mark. What is there is read at once. */
static void low_mark(void) {
    int ends[2];
    uint32_t ready;
    Call call;
    Other other;
    connected(AF_INET, SOCK_STREAM, ends);
    option(ends[0], IPPROTO_TCP, TCP_NODELAY, 1);
    option(ends[1], SOL_SOCKET, SO_RCVLOWAT, 10);
    call = call_on(ends[1]);
    other = begin(reads_some, &call);
    pause_a_little();
    CHECK_EQ(goroutine_fd_wait(ends[1], POLLIN, 0, &ready), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_write(ends[0], "12345", 5), 5);
    CHECK_EQ(goroutine_fd_wait(ends[1], POLLIN, 2 * MS, &ready), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_write(ends[0], "67890", 5), 5);
    {
        int64_t n = end(other);
        CHECK(n == 10 || n == 5); /* 5: it began when those were there */
        if (n == 5) expect_bytes(ends[1], "67890");
    }
    close_both(ends);
}
/* Somebody else made it non-blocking, or does so meanwhile, or the contrary: it is his to say, and changes nothing. */
static void modes(void) {
    int i, ends[2];
    for (i = 0; i < 4; i++) {
        Call call;
        Other other;
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (i % 2 == 0 ? SOCK_NONBLOCK : 0), 0, ends) == 0);
        call = call_on(limited(ends[0]));
        other = begin(reads_some, &call);
        pause_a_little();
        if (i >= 2) CHECK(fcntl(ends[0], F_SETFL, fcntl(ends[0], F_GETFL) ^ O_NONBLOCK) == 0);
        CHECK_EQ(goroutine_write(ends[1], "m", 1), 1);
        CHECK_EQ(end(other), 1);
        CHECK_EQ((fcntl(ends[0], F_GETFL) & O_NONBLOCK) != 0, (i % 2 == 0) != (i >= 2));
        close_both(ends);
    }
}
/* As many buffers as the kernel takes, and one more. */
static void many_buffers(void) {
    static char out[1025], in[1025];
    struct iovec v[1025], w[1025];
    int ends[2], i;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    for (i = 0; i < 1025; i++) {
        out[i] = (char)(i % 97);
        v[i].iov_base = &out[i];
        w[i].iov_base = &in[1024 - i];
        v[i].iov_len = w[i].iov_len = 1;
    }
    CHECK_EQ(goroutine_writev(limited(ends[0]), v, 1025), -EINVAL);
    CHECK_EQ(goroutine_writev(ends[0], v, -1), -EINVAL);
    CHECK_EQ(goroutine_writev(ends[0], v, 0), 0);
    CHECK_EQ(goroutine_writev(ends[0], v, 1024), 1024);
    CHECK_EQ(goroutine_readv(limited(ends[1]), w, 1025), -EINVAL);
    CHECK_EQ(goroutine_readv(ends[1], w, 1024), 1024);
    for (i = 0; i < 1024; i++) CHECK_EQ(in[1024 - i], out[i]);
    CHECK_EQ(goroutine_read(ends[1], in, 0), 0); /* does not wait */
    close_both(ends);
}

int main(void) {
    static Block blocks[] = {connections, mapped, unix_names, refused, unheard, closed_at_the_door, self_connected, crowded, reset_while_reading,
                             reset_while_writing, broken, gone_before, shut_down, urgent, peek, peek_further, wait_for_all, timeouts_of_the_socket,
                             low_mark, modes, many_buffers, NULL};
    everywhere(blocks);
    return 0;
}

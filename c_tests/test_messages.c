/* timeout: 300 */
/* Messages: UDP, Unix datagrams and sequenced packets; borders, empty and cut ones, names, errors that come back; descriptors and credentials that
 * travel. As the socket suites of libuv, CPython and Go ask. On goroutines, on bound ones and on plain threads. */
#include "check.h"
#include "net.h"

/* One message with what belongs to it. */
typedef struct Message {
    struct msghdr header;
    struct iovec v;
    Address name;
    char bytes[256];
    size_t control[32]; /* aligned for a struct cmsghdr */
} Message;
static Message *empty_message(Message *m, size_t room) {
    memset(m, 0, sizeof *m);
    m->v.iov_base = m->bytes;
    m->v.iov_len = room;
    m->header.msg_iov = &m->v;
    m->header.msg_iovlen = 1;
    m->header.msg_name = &m->name;
    m->header.msg_namelen = sizeof m->name;
    m->header.msg_control = m->control;
    m->header.msg_controllen = sizeof m->control;
    return m;
}
static int64_t send_text(int fd, const char *text, const Address *to, socklen_t size, int flags) {
    Message m;
    empty_message(&m, strlen(text));
    memcpy(m.bytes, text, strlen(text));
    m.header.msg_control = NULL;
    m.header.msg_controllen = 0;
    m.header.msg_name = to == NULL ? NULL : (void *)(uintptr_t)to;
    m.header.msg_namelen = size;
    return goroutine_sendmsg(fd, &m.header, flags);
}
static void expect_message(int fd, const char *text) {
    char is[64];
    CHECK_EQ(goroutine_read(fd, is, sizeof is), strlen(text));
    CHECK(memcmp(is, text, strlen(text)) == 0);
}

/* ---- UDP ---- */
static void *sends_later(void *arg) {
    pause_a_little();
    CHECK_EQ(goroutine_write((int)U(arg), "later", 5), 5);
    return NULL;
}
static void udp_of(int family) {
    Address a_name, b_name;
    socklen_t a_size, b_size;
    Message m;
    Other other;
    int a = bound(family, SOCK_DGRAM, &a_name, &a_size), b = bound(family, SOCK_DGRAM, &b_name, &b_size), c = new_socket(family, SOCK_DGRAM);
    char text[16];
    /* Not connected: each message says from where and to where. */
    CHECK_EQ(goroutine_write(a, "x", 1), -EDESTADDRREQ);
    CHECK_EQ(send_text(a, "one", &b_name, b_size, 0), 3);
    CHECK_EQ(send_text(a, "", &b_name, b_size, 0), 0);
    CHECK_EQ(send_text(a, "twelve bytes", &b_name, b_size, 0), 12);
    CHECK_EQ(goroutine_recvmsg(b, &empty_message(&m, 64)->header, 0), 3);
    CHECK(m.header.msg_namelen == a_size && memcmp(&m.name, &a_name, a_size) == 0);
    CHECK_EQ(m.header.msg_flags & MSG_TRUNC, 0);
    CHECK_EQ(goroutine_recvmsg(b, &empty_message(&m, 64)->header, 0), 0); /* an empty message is not an end */
    CHECK_EQ(m.header.msg_namelen, a_size);
    CHECK_EQ(goroutine_recvmsg(b, &empty_message(&m, 4)->header, MSG_PEEK | MSG_TRUNC), 12);
    CHECK(m.header.msg_flags & MSG_TRUNC);
    CHECK_EQ(goroutine_recvmsg(b, &empty_message(&m, 4)->header, MSG_WAITALL), 4); /* the rest is gone, and is not waited for */
    CHECK(m.header.msg_flags & MSG_TRUNC);
    CHECK_EQ(goroutine_recvmsg(b, &empty_message(&m, 4)->header, MSG_DONTWAIT), -EAGAIN);
    /* Connected: from that one only; writes and reads will do. */
    CHECK_EQ(goroutine_connect(a, &b_name.any, b_size), 0);
    CHECK_EQ(goroutine_connect(b, &a_name.any, a_size), 0);
    CHECK_EQ(send_text(c, "stranger", &b_name, b_size, 0), 8);
    CHECK_EQ(goroutine_write(a, "", 0), 0);
    CHECK_EQ(goroutine_write(a, "friend", 6), 6);
    CHECK_EQ(goroutine_read(b, text, 0), 0); /* takes nothing */
    CHECK_EQ(goroutine_read(b, text, sizeof text), 0);
    CHECK_EQ(goroutine_read(b, text, 3), 3);
    other = begin(sends_later, P(a));
    expect_message(b, "later"); /* the rest of "friend" is gone */
    end(other);
    {
        static char big[70000];
        CHECK_EQ(goroutine_write(a, big, sizeof big), -EMSGSIZE);
    }
    /* To another one, and to nobody. */
    CHECK_EQ(goroutine_close(c), 0);
    c = bound(family, SOCK_DGRAM, &m.name, &a_size);
    CHECK_EQ(goroutine_connect(a, &m.name.any, a_size), 0);
    CHECK_EQ(goroutine_write(a, "again", 5), 5);
    expect_message(c, "again");
    {
        Address none;
        memset(&none, 0, sizeof none);
        none.any.sa_family = AF_UNSPEC;
        CHECK_EQ(goroutine_connect(a, &none.any, sizeof none.any), 0);
    }
    CHECK_EQ(goroutine_write(a, "x", 1), -EDESTADDRREQ);
    CHECK(goroutine_close(a) == 0 && goroutine_close(b) == 0 && goroutine_close(c) == 0);
}
/* Nobody is there: the next call hears of it, also one that waits. */
static void udp_refused(int family) {
    Address name;
    socklen_t size;
    int i, nobody = bound(family, SOCK_DGRAM, &name, &size), a = new_socket(family, SOCK_DGRAM);
    CHECK_EQ(goroutine_connect(a, &name.any, size), 0);
    CHECK_EQ(goroutine_close(nobody), 0);
    for (i = 0; i < 3; i++) {
        Call call = call_on(a);
        Other other = begin(reads_some, &call);
        pause_a_little();
        CHECK_EQ(goroutine_write(a, "anybody?", 8), 8);
        CHECK_EQ(end(other), -ECONNREFUSED);
    }
    CHECK_EQ(goroutine_write(a, "anybody?", 8), 8);
    {
        uint32_t ready = 0;
        OK(goroutine_fd_wait(a, POLLIN, 10 * SECOND, &ready));
        CHECK(ready & POLLERR);
    }
    CHECK_EQ(goroutine_write(a, "anybody?", 8), -ECONNREFUSED);
    CHECK_EQ(goroutine_close(a), 0);
}
static void udp(void) {
    Address name;
    int fd;
    socklen_t size;
    udp_of(AF_INET);
    udp_refused(AF_INET);
    if (has_ipv6()) {
        udp_of(AF_INET6);
        udp_refused(AF_INET6);
    }
    size = loopback(AF_INET, &name);
    name.v4.sin_port = htons(9);
    name.v4.sin_addr.s_addr = 0xFFFFFFFF;
    fd = new_socket(AF_INET, SOCK_DGRAM);
    {
        int64_t n = goroutine_connect(fd, &name.any, size);
        CHECK(n == -EACCES || n == -ENETUNREACH); /* to all: not without SO_BROADCAST; or there is no network */
    }
    CHECK_EQ(goroutine_close(fd), 0);
}

/* ---- Unix datagrams: one who does not read holds the others up ---- */
typedef struct Post {
    int fd;
    Address name;
    socklen_t size;
    uint64_t sent;
} Post;
enum { LETTERS = 60 };
static void *posts(void *arg) {
    Post *p = (Post *)arg;
    int i;
    for (i = 0; i < LETTERS; i++) {
        CHECK_EQ(p->size == 0 ? goroutine_write(p->fd, "letter", 6) : send_text(p->fd, "letter", &p->name, p->size, 0), 6);
        ADD(p->sent, 1);
    }
    return NULL;
}
static void unix_datagrams(void) {
    int kind;
    for (kind = 0; kind < 2; kind++) {
        Post post;
        Address name;
        socklen_t size;
        Other other;
        int box = bound(AF_UNIX, SOCK_DGRAM, &name, &size), i;
        uint64_t n;
        memset(&post, 0, sizeof post);
        post.fd = new_socket(AF_UNIX, SOCK_DGRAM);
        if (kind == 0) {
            CHECK_EQ(goroutine_connect(post.fd, &name.any, size), 0);
        } else {
            post.name = name;
            post.size = size;
        }
        if (kind == 0) {
            other = begin(posts, &post);
            do {
                n = GET(post.sent);
                pause_a_little();
            } while (n == 0 || n != GET(post.sent));
            CHECK(n < LETTERS); /* as many as the box holds (net.unix.max_dgram_qlen) */
        } else {
            /* It is full of somebody else's: that these are read is told to nobody who waits. */
            int stranger = new_socket(AF_UNIX, SOCK_DGRAM), full = 0;
            while (send_text(stranger, "other", &name, size, MSG_DONTWAIT) == 5) full++;
            other = begin(posts, &post);
            pause_a_little();
            for (; full != 0; full--) expect_message(box, "other");
            CHECK_EQ(goroutine_close(stranger), 0);
        }
        for (i = 0; i < LETTERS; i++) expect_message(box, "letter");
        end(other);
        /* A deadline, and the end of the box. */
        while (send_text(post.fd, "full", kind == 0 ? NULL : &name, kind == 0 ? 0 : size, MSG_DONTWAIT) == 4) {
        }
        OK(goroutine_set_deadline(post.fd, POLLOUT, 3 * MS));
        CHECK_EQ(send_text(post.fd, "late", kind == 0 ? NULL : &name, kind == 0 ? 0 : size, 0), -ETIMEDOUT);
        limited(post.fd);
        CHECK_EQ(goroutine_close(box), 0);
        CHECK_EQ(send_text(post.fd, "gone", kind == 0 ? NULL : &name, kind == 0 ? 0 : size, 0), -ECONNREFUSED);
        CHECK_EQ(goroutine_close(post.fd), 0);
    }
}

/* ---- sequenced packets: borders, and a connection ---- */
static void packets(void) {
    int ends[2];
    Message m;
    Call call;
    Other other;
    connected(AF_UNIX, SOCK_SEQPACKET, ends);
    CHECK_EQ(goroutine_write(ends[0], "first", 5), 5);
    CHECK_EQ(send_text(ends[0], "second packet", NULL, 0, MSG_EOR), 13);
    CHECK_EQ(goroutine_write(ends[0], "third", 5), 5);
    expect_message(ends[1], "first");
    CHECK_EQ(goroutine_recvmsg(ends[1], &empty_message(&m, 6)->header, MSG_WAITALL), 6);
    CHECK(m.header.msg_flags & MSG_TRUNC);
    expect_message(ends[1], "third");
    call = call_on(ends[1]);
    other = begin(reads_some, &call);
    pause_a_little();
    CHECK_EQ(goroutine_write(ends[0], "fourth", 6), 6);
    CHECK_EQ(end(other), 6);
    CHECK_EQ(goroutine_write(ends[0], "last", 4), 4);
    CHECK_EQ(goroutine_close(ends[0]), 0);
    expect_message(ends[1], "last");
    CHECK_EQ(goroutine_read(ends[1], &m, 1), 0);
    CHECK_EQ(goroutine_write(ends[1], "x", 1), -EPIPE);
    CHECK_EQ(goroutine_close(ends[1]), 0);
}

/* ---- what travels with a message ---- */
static void attach(Message *m, int type, const void *what, size_t size) {
    struct cmsghdr *c;
    m->header.msg_controllen = CMSG_SPACE(size);
    c = CMSG_FIRSTHDR(&m->header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), what, size);
}
static const void *attached(Message *m, int type, size_t size) {
    struct cmsghdr *c = CMSG_FIRSTHDR(&m->header);
    CHECK(c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == type);
    CHECK_EQ(c->cmsg_len, CMSG_LEN(size));
    return CMSG_DATA(c);
}
static int64_t send_descriptors(int fd, const int *fds, size_t n) {
    Message m;
    empty_message(&m, 1);
    m.header.msg_name = NULL;
    m.header.msg_namelen = 0;
    attach(&m, SCM_RIGHTS, fds, n * sizeof *fds);
    return goroutine_sendmsg(fd, &m.header, 0);
}
static void *sends_three(void *arg) {
    int fds[4], i;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    fds[2] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fds[2] >= 0);
    pause_a_little();
    CHECK_EQ(send_descriptors((int)U(arg), fds, 3), 1);
    for (i = 0; i < 3; i++) CHECK_EQ(goroutine_close(fds[i]), 0); /* on their way they are open */
    return NULL;
}
static void descriptors(void) {
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int i;
    for (i = 0; i < 3; i++) {
        int ends[2], fds[3], k;
        Message m;
        Other other;
        Call call;
        CHECK(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, ends) == 0);
        limited(ends[0]);
        limited(ends[1]);
        other = begin(sends_three, P(ends[0]));
        CHECK_EQ(goroutine_recvmsg(ends[1], &empty_message(&m, 8)->header, MSG_CMSG_CLOEXEC | (i == 0 ? MSG_WAITALL : 0)),
                 1); /* what is special about a part ends it */
        end(other);
        memcpy(fds, attached(&m, SCM_RIGHTS, sizeof fds), sizeof fds);
        for (k = 0; k < 3; k++) CHECK(fcntl(fds[k], F_GETFD) & FD_CLOEXEC);
        call = call_on(limited(fds[0]));
        other = begin(reads_one, &call);
        pause_a_little();
        CHECK_EQ(goroutine_write(fds[1], "w", 1), 1);
        CHECK_EQ(end(other), 1);
        for (k = 0; k < 3; k++) CHECK_EQ(goroutine_close(fds[k]), 0);
        /* Two names of one file, each with who waits. What comes is for one of them; a close is for its own. */
        CHECK(pipe2(fds, O_CLOEXEC) == 0);
        CHECK_EQ(send_descriptors(ends[0], fds, 1), 1);
        CHECK_EQ(goroutine_recvmsg(ends[1], &empty_message(&m, 8)->header, 0), 1);
        memcpy(&fds[2], attached(&m, SCM_RIGHTS, sizeof(int)), sizeof(int));
        CHECK(fds[2] != fds[0]);
        limited(fds[0]);
        limited(fds[2]);
        {
            Call by_old = call_on(fds[0]), by_new = call_on(fds[2]);
            Other a = begin(reads_one, &by_old), b = begin(reads_one, &by_new);
            pause_a_little();
            until_threads_wait(2);
            CHECK_EQ(goroutine_close(fds[0]), 0);
            CHECK_EQ(end(a), -EBADF);
            CHECK_EQ(goroutine_write(fds[1], "n", 1), 1);
            CHECK_EQ(end(b), 1);
        }
        CHECK(goroutine_close(fds[1]) == 0 && goroutine_close(fds[2]) == 0);
        /* No room for it: it is closed, and that is said. */
        CHECK(pipe2(fds, O_CLOEXEC) == 0);
        CHECK_EQ(send_descriptors(ends[0], &fds[1], 1), 1);
        CHECK_EQ(goroutine_close(fds[1]), 0);
        empty_message(&m, 8);
        m.header.msg_controllen = 0;
        CHECK_EQ(goroutine_recvmsg(ends[1], &m.header, 0), 1);
        CHECK(m.header.msg_flags & MSG_CTRUNC);
        CHECK_EQ(goroutine_read(limited(fds[0]), m.bytes, 1), 0); /* nobody has its other end */
        CHECK_EQ(goroutine_close(fds[0]), 0);
        close_both(ends);
    }
}
static void credentials(void) {
    int ends[2], round;
    struct ucred own;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    limited(ends[1]);
    option(ends[1], SOL_SOCKET, SO_PASSCRED, 1);
    own.pid = getpid();
    own.uid = getuid();
    own.gid = getgid();
    for (round = 0; round < 2; round++) { /* said, and not said */
        Message m;
        empty_message(&m, 1);
        m.header.msg_name = NULL;
        m.header.msg_namelen = 0;
        if (round == 0)
            attach(&m, SCM_CREDENTIALS, &own, sizeof own);
        else
            m.header.msg_controllen = 0;
        CHECK_EQ(goroutine_sendmsg(ends[0], &m.header, 0), 1);
        CHECK_EQ(goroutine_recvmsg(ends[1], &empty_message(&m, 8)->header, 0), 1);
        CHECK(memcmp(attached(&m, SCM_CREDENTIALS, sizeof own), &own, sizeof own) == 0);
    }
    close_both(ends);
}
static void not_sockets(void) {
    int ends[2];
    Message m;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK_EQ(goroutine_recvmsg(ends[0], &empty_message(&m, 1)->header, 0), -ENOTSOCK);
    CHECK_EQ(goroutine_recvmsg(ends[0], &empty_message(&m, 1)->header, MSG_DONTWAIT), -ENOTSOCK);
    CHECK_EQ(send_text(ends[1], "x", NULL, 0, 0), -ENOTSOCK);
    close_both(ends);
    CHECK_EQ(goroutine_recvmsg(ends[0], &empty_message(&m, 1)->header, MSG_DONTWAIT), -EBADF);
}

int main(void) {
    static Block blocks[] = {udp, unix_datagrams, packets, descriptors, credentials, not_sockets, NULL};
    everywhere(blocks);
    return 0;
}

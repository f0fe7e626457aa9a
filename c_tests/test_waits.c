/* timeout: 300 */
/* What ends a wait for a descriptor but its data: deadlines, whatever is done to them meanwhile; cancels; closes by others, whose number is another file's
 * at once. On goroutines, on bound ones and on plain threads. */
#include "check.h"
#include "net.h"
#include <sys/resource.h>

static void new_pair(int ends[2]) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    limited(ends[0]);
    limited(ends[1]);
}
static void in(int fd, uint32_t events, uint64_t ns) { OK(goroutine_set_deadline(fd, events, ns)); }

/* ---- deadlines ---- */
static void passed(void) {
    int ends[2], i;
    char c;
    for (i = 0; i < 2; i++) { /* never waited for; known to the poller */
        new_pair(ends);
        if (i == 1) {
            in(ends[0], POLLIN, MS);
            CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
            in(ends[0], POLLIN, GOROUTINE_FOREVER);
        }
        CHECK_EQ(goroutine_write(ends[1], "xy", 2), 2);
        in(ends[0], POLLIN, 0);
        CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT); /* though there is something */
        CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
        CHECK_EQ(goroutine_write(ends[0], "w", 1), 1); /* the other direction has none */
        in(ends[0], POLLIN, SECOND * 30);
        CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
        in(ends[0], POLLOUT, 0);
        CHECK_EQ(goroutine_write(ends[0], "w", 1), -ETIMEDOUT);
        CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
        in(ends[0], POLLIN | POLLOUT, 0);
        CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
        CHECK_EQ(goroutine_write(ends[0], "w", 1), -ETIMEDOUT);
        unlimited(ends[0]);
        CHECK_EQ(goroutine_write(ends[0], "w", 1), 1);
        close_both(ends);
        new_pair(ends); /* the same numbers: the next file has none of the old one's */
        CHECK_EQ(goroutine_write(ends[1], "z", 1), 1);
        CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
        in(ends[0], POLLIN | POLLOUT, 0);
        close_both(ends);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        CHECK_EQ(goroutine_write(ends[1], "z", 1), 1);
        CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
        CHECK_EQ(goroutine_write(ends[0], "z", 1), 1);
        close_both(ends);
    }
}
/* One reads and one writes, each until its own. */
static void apart(void) {
    int ends[2];
    size_t filled;
    Call reader, writer;
    Other reads, writes;
    new_pair(ends);
    filled = fill(ends[0]);
    in(ends[0], POLLIN, 5 * MS);
    reader = call_on(ends[0]);
    writer = call_on(ends[0]);
    writes = begin(writes_one, &writer);
    reads = begin(reads_one, &reader);
    CHECK_EQ(end(reads), -ETIMEDOUT);
    take_all(ends[1], filled);
    CHECK_EQ(end(writes), 1);
    in(ends[0], POLLIN, 30 * SECOND);
    in(ends[0], POLLOUT, 5 * MS);
    fill(ends[0]);
    reads = begin(reads_one, &reader);
    writes = begin(writes_one, &writer);
    CHECK_EQ(end(writes), -ETIMEDOUT);
    CHECK_EQ(goroutine_write(ends[1], "r", 1), 1);
    CHECK_EQ(end(reads), 1);
    close_both(ends);
}
/* A deadline is for the calls that follow it: who waits keeps his. */
static void changed_meanwhile(void) {
    int ends[2];
    Call call;
    Other other;
    new_pair(ends);
    call = call_on(ends[0]);
    /* Later, and taken away: it ends as it was begun. */
    if (one_worker) {
        in(ends[0], POLLIN, 10 * MS);
        other = begin(reads_one, &call);
        pause_a_little();
        in(ends[0], POLLIN, GOROUTINE_FOREVER);
        CHECK_EQ(end(other), -ETIMEDOUT);
        in(ends[0], POLLIN, 10 * MS);
        other = begin(reads_one, &call);
        pause_a_little();
        in(ends[0], POLLIN, 30 * SECOND);
        CHECK_EQ(end(other), -ETIMEDOUT);
        /* Sooner, and past: it waits on, and gets what comes. So do all, though each byte wakes one who finds it gone, and waits anew. */
        {
            enum { N = 6 };
            Call calls[N];
            Other others[N];
            int i;
            in(ends[0], POLLIN, GOROUTINE_FOREVER);
            for (i = 0; i < N; i++) {
                calls[i] = call_on(ends[0]);
                others[i] = begin(reads_one, &calls[i]);
            }
            pause_a_little();
            in(ends[0], POLLIN, 0);
            for (i = 0; i < N; i++) {
                CHECK_EQ(goroutine_write(ends[1], "s", 1), 1);
                if (i % 2 == 0) pause_a_little();
            }
            for (i = 0; i < N; i++) CHECK_EQ(end(others[i]), 1);
            CHECK_EQ(goroutine_read(ends[0], call.bytes, 1), -ETIMEDOUT);
        }
    }
    close_both(ends);
}
/* Every call has it. */
static void every_call(void) {
    int ends[2], listener, fd;
    Address address;
    socklen_t size;
    char c;
    struct iovec v;
    struct msghdr m;
    memset(&m, 0, sizeof m);
    v.iov_base = &c;
    v.iov_len = 1;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    c = 'v';
    new_pair(ends);
    in(ends[0], POLLIN | POLLOUT, MS);
    CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
    CHECK_EQ(goroutine_readv(ends[0], &v, 1), -ETIMEDOUT);
    CHECK_EQ(goroutine_recvmsg(ends[0], &m, 0), -ETIMEDOUT);
    CHECK_EQ(goroutine_recvmsg(ends[0], &m, MSG_PEEK), -ETIMEDOUT);
    CHECK_EQ(goroutine_recvmsg(ends[0], &m, MSG_WAITALL), -ETIMEDOUT);
    CHECK_EQ(goroutine_write(ends[0], &c, 1), -ETIMEDOUT);
    CHECK_EQ(goroutine_writev(ends[0], &v, 1), -ETIMEDOUT);
    CHECK_EQ(goroutine_sendmsg(ends[0], &m, 0), -ETIMEDOUT);
    close_both(ends);
    listener = listening(AF_INET, SOCK_STREAM, 4, &address, &size);
    in(listener, POLLIN, MS);
    CHECK_EQ(goroutine_accept(listener, NULL, NULL), -ETIMEDOUT);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    in(fd, POLLOUT, 0);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), -ETIMEDOUT);
    in(fd, POLLOUT, 30 * SECOND);
    CHECK_EQ(goroutine_connect(fd, &address.any, size), 0);
    CHECK(goroutine_close(fd) == 0 && goroutine_close(listener) == 0);
}

/* ---- cancels and closes, of every call that waits ---- */
static void *waits_in_read(void *arg) { return reads_one(arg); }
static void *waits_in_write(void *arg) { return writes_one(arg); }
static void *waits_in_readv(void *arg) {
    Call *c = (Call *)arg;
    struct iovec v[2];
    v[0].iov_base = c->bytes;
    v[1].iov_base = c->bytes + 1;
    v[0].iov_len = v[1].iov_len = 1;
    return P(goroutine_readv(c->fd, v, 2));
}
static int64_t message(Call *c, bool out, int flags) {
    struct iovec v;
    struct msghdr m;
    memset(&m, 0, sizeof m);
    v.iov_base = c->bytes;
    v.iov_len = 2;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    return out ? goroutine_sendmsg(c->fd, &m, flags) : goroutine_recvmsg(c->fd, &m, flags);
}
static void *waits_in_recvmsg(void *arg) { return P(message((Call *)arg, false, 0)); }
static void *waits_in_peek(void *arg) { return P(message((Call *)arg, false, MSG_PEEK)); }
static void *waits_for_all(void *arg) { return P(message((Call *)arg, false, MSG_WAITALL)); }
static void *waits_in_sendmsg(void *arg) { return P(message((Call *)arg, true, 0)); }
static void *waits_for_event(void *arg) {
    uint32_t ready;
    return P((int64_t)goroutine_fd_wait(((Call *)arg)->fd, POLLIN, 30 * SECOND, &ready));
}
static void *waits_for_room(void *arg) {
    uint32_t ready;
    return P((int64_t)goroutine_fd_wait(((Call *)arg)->fd, POLLOUT, 30 * SECOND, &ready));
}
static GoroutineFn all_waits[] = {waits_in_read,    waits_in_write,   waits_in_readv,  waits_in_recvmsg, waits_in_peek,
                                  waits_for_all,    waits_in_sendmsg, waits_for_event, waits_for_room};
enum { WAITS = sizeof all_waits / sizeof *all_waits };

static void cancelled(void) {
    int ends[2], i;
    Call calls[WAITS];
    Other others[WAITS + 2];
    if (on_threads) return; /* a thread has no cancel */
    new_pair(ends);
    fill(ends[0]);
    for (i = 0; i < WAITS; i++) {
        calls[i] = call_on(ends[0]);
        others[i] = begin(all_waits[i], &calls[i]);
    }
    pause_a_little();
    for (i = 0; i < WAITS; i++) {
        OK(goroutine_cancel(others[i].promise));
        CHECK_EQ(end(others[i]), -ECANCELED);
    }
    CHECK_EQ(goroutine_write(ends[1], "all is well", 11), 11); /* nobody took any of it */
    expect_bytes(ends[0], "all is well");
    close_both(ends);
}
typedef struct Knock {
    int fd;
    Address address;
    socklen_t size;
} Knock;
static void *knocks(void *arg) {
    Knock *k = (Knock *)arg;
    return P(goroutine_connect(k->fd, &k->address.any, k->size));
}
/* Of accept, and of connect, which waits for an answer (TCP) or for room (Unix). */
static void at_the_door(void) {
    static const int families[] = {AF_INET, AF_UNIX};
    int i, by_close;
    for (i = 0; i < 2; i++) {
        for (by_close = on_threads ? 1 : 0; by_close < 2; by_close++) {
            Knock knock;
            int full, idle;
            Address address;
            socklen_t size;
            Call call;
            Other accept, connect;
            int listener = listening(families[i], SOCK_STREAM, 0, &knock.address, &knock.size);
            full = new_socket(families[i], SOCK_STREAM);
            CHECK_EQ(goroutine_connect(full, &knock.address.any, knock.size), 0);
            knock.fd = new_socket(families[i], SOCK_STREAM);
            idle = listening(families[i], SOCK_STREAM, 4, &address, &size);
            call = call_on(idle);
            accept = begin(accepts, &call);
            connect = begin(knocks, &knock);
            pause_a_little();
            until_threads_wait(families[i] == AF_UNIX ? 1 : 2); /* a Unix connect tries again and again */
            if (by_close) {
                CHECK_EQ(goroutine_close(idle), 0);
                CHECK_EQ(goroutine_close(knock.fd), 0);
            } else {
                OK(goroutine_cancel(accept.promise));
                OK(goroutine_cancel(connect.promise));
            }
            CHECK_EQ(end(accept), by_close ? -EBADF : -ECANCELED);
            CHECK_EQ(end(connect), by_close ? -EBADF : -ECANCELED);
            if (!by_close) CHECK(goroutine_close(idle) == 0 && goroutine_close(knock.fd) == 0);
            CHECK(goroutine_close(full) == 0 && goroutine_close(listener) == 0);
        }
    }
}
static void *closes_it(void *arg) { return P(goroutine_close((int)U(arg))); }
static void closed(void) {
    int by;
    for (by = 0; by < 3; by++) {
        int ends[2], i;
        Call calls[WAITS];
        Other others[WAITS];
        pthread_t thread;
        void *result = NULL;
        new_pair(ends);
        fill(ends[0]);
        for (i = 0; i < WAITS; i++) {
            calls[i] = call_on(ends[0]);
            others[i] = begin(all_waits[i], &calls[i]);
        }
        pause_a_little();
        until_threads_wait(WAITS);
        if (by == 0) {
            result = closes_it(P(ends[0]));
        } else if (by == 1) {
            result = P(end(begin(closes_it, P(ends[0]))));
        } else { /* a plain thread, whoever waits */
            CHECK(pthread_create(&thread, NULL, closes_it, P(ends[0])) == 0 && pthread_join(thread, &result) == 0);
        }
        CHECK(result == NULL);
        for (i = 0; i < WAITS; i++) CHECK_EQ(end(others[i]), -EBADF);
        CHECK_EQ(goroutine_close(ends[0]), -EBADF);
        CHECK_EQ(goroutine_close(ends[1]), 0);
    }
}
static uint64_t reading;
static void *counted_reads_one(void *arg) {
    ADD(reading, 1);
    return reads_one(arg);
}
/* The number is another file's before those who waited go on: they hear of the close, and what is in the new one is for its own readers. */
static void number_used_again(void) {
    int round;
    if (!one_worker) return; /* who begins his call after the close would be in the new file's: a mistake of ours */
    for (round = 0; round < 200; round++) {
        enum { N = 4 };
        int ends[2], again[2], i, old;
        Call calls[N], fresh;
        Other others[N], other;
        new_pair(ends);
        SET(reading, 0);
        for (i = 0; i < N; i++) {
            calls[i] = call_on(ends[0]);
            others[i] = begin(counted_reads_one, &calls[i]);
        }
        while (GET(reading) != N) goroutine_yield(); /* there is one worker: all are in the call */
        pause_a_little();
        old = ends[0];
        CHECK_EQ(goroutine_close(ends[0]), 0);
        new_pair(again);
        CHECK_EQ(again[0], old);
        CHECK_EQ(goroutine_write(again[1], "new", 3), 3);
        CHECK_EQ(goroutine_write(ends[1], "old", 3), -EPIPE);
        fresh = call_on(again[0]);
        other = begin(reads_some, &fresh);
        for (i = 0; i < N; i++) CHECK_EQ(end(others[i]), -EBADF);
        CHECK_EQ(end(other), 3);
        CHECK(memcmp(fresh.bytes, "new", 3) == 0);
        CHECK_EQ(goroutine_close(ends[1]), 0);
        close_both(again);
    }
}
/* Released, it is somebody else's; who waited hears that, and the file is as it was. */
static void released(void) {
    int ends[2];
    Call call;
    Other other;
    char c;
    new_pair(ends);
    call = call_on(ends[0]);
    other = begin(reads_one, &call);
    if (one_worker) pause_a_little();
    else {
        CHECK_EQ(goroutine_write(ends[1], "r", 1), 1);
        CHECK_EQ(end(other), 1);
    }
    OK(goroutine_fd_release(ends[0]));
    if (one_worker) CHECK_EQ(end(other), -EBADF);
    CHECK(write(ends[1], "x", 1) == 1 && read(ends[0], &c, 1) == 1);
    close_both(ends);
}

/* ---- no descriptor is left, and a wait needs one: it says so, and all is well when there are ---- */
static void *waits_while_there_is_none(void *arg) {
    const int *ends = (const int *)arg;
    Call call = call_on(ends[0]);
    CHECK_EQ((int64_t)U(reads_one(&call)), -EMFILE);
    CHECK_EQ(goroutine_write(ends[1], "x", 1), 1);
    CHECK_EQ((int64_t)U(reads_one(&call)), 1); /* no wait, so none is needed */
    CHECK_EQ(goroutine_open("/dev/null", O_RDONLY | O_CLOEXEC, 0), -EMFILE);
    return NULL;
}
static void *waits_again(void *arg) {
    const int *ends = (const int *)arg;
    Call call = call_on(ends[0]);
    Other other = begin(reads_one, &call);
    pause_a_little();
    CHECK_EQ(goroutine_write(ends[1], "y", 1), 1);
    CHECK_EQ(end(other), 1);
    return NULL;
}
static void no_descriptor_left(void) {
    struct rlimit before, none;
    int ends[2];
    start_workers(2); /* has no poller yet */
    new_pair(ends);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = (rlim_t)ends[1] + 1; /* and the lower ones are in use */
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(dup(0) == -1);
    on_threads = false;
    run_goroutine(waits_while_there_is_none, ends);
    on_threads = true;
    end(begin(waits_while_there_is_none, ends)); /* a thread needs one, too */
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    end(begin(waits_again, ends));
    on_threads = false;
    run_goroutine(waits_again, ends);
    close_both(ends);
    stop();
}

int main(void) {
    static Block blocks[] = {passed, apart, changed_meanwhile, every_call, cancelled, at_the_door, closed, number_used_again, released, NULL};
    no_descriptor_left(); /* first: no thread has waited yet, so no eventfd is kept */
    everywhere(blocks);
    return 0;
}

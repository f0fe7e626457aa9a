/* Calls that need not wait give way all the same: others go on beside goroutines that make nothing but such calls, and those see that they are
 * cancelled, and a shutdown. No call that is refused for it has moved anything.
 *
 * test_io_turns [NAME]: those whose names contain NAME. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

static int file, full[2], empty[2], event;
static char path[64];

/* A call that does not wait, over and over, until it is cancelled. */
static char scratch[4096]; /* nobody writes to it */
static int64_t reads_at(void) {
    char here[64];
    return goroutine_pread(file, here, sizeof here, 0);
}
static int64_t reads_at_of_nothing(void) { return goroutine_pread(file, scratch, 0, 0); }
static int64_t writes_at(void) { return goroutine_pwrite(file, "w", 1, 100); }
static int64_t stats(void) {
    struct stat s;
    return goroutine_stat(path, &s);
}
static int64_t stats_open(void) {
    struct stat s;
    return goroutine_fstat(file, &s);
}
static int64_t opens_and_closes(void) {
    int64_t fd = goroutine_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) CHECK_EQ(goroutine_close((int)fd), 0);
    return fd;
}
static int64_t reads_file(void) {
    char here[64];
    lseek(file, 0, SEEK_SET);
    return goroutine_read(file, here, sizeof here);
}
static int64_t peeks(void) {
    struct msghdr m;
    struct iovec v;
    char here[8];
    memset(&m, 0, sizeof m);
    v.iov_base = here;
    v.iov_len = sizeof here;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    return goroutine_recvmsg(full[0], &m, MSG_PEEK);
}
static int64_t does_not_wait(void) {
    struct msghdr m;
    memset(&m, 0, sizeof m);
    return goroutine_recvmsg(empty[0], &m, MSG_DONTWAIT);
}
static int64_t sends(void) { /* what the next one takes away */
    struct msghdr m;
    struct iovec v;
    char here[8];
    int64_t n;
    memset(&m, 0, sizeof m);
    v.iov_base = scratch;
    v.iov_len = 8;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    n = goroutine_sendmsg(full[1], &m, 0);
    if (n > 0) CHECK(recv(full[0], here, sizeof here, 0) > 0);
    return n;
}
static int64_t writes(void) {
    char here[8];
    int64_t n = goroutine_write(full[1], scratch, 8);
    if (n > 0) CHECK(recv(full[0], here, sizeof here, 0) > 0);
    return n;
}
static int64_t reads(void) {
    char here[8];
    int64_t n = goroutine_read(full[0], here, sizeof here);
    if (n > 0) CHECK(send(full[1], here, (size_t)n, 0) == n);
    return n;
}
static int64_t reads_two(void) {
    struct iovec v[2];
    char here[8];
    int64_t n;
    v[0].iov_base = here;
    v[1].iov_base = here + 4;
    v[0].iov_len = v[1].iov_len = 4;
    n = goroutine_readv(full[0], v, 2);
    if (n > 0) CHECK(send(full[1], here, (size_t)n, 0) == n);
    return n;
}
static int64_t reads_nothing(void) { return goroutine_read(full[0], scratch, 0); }
static int64_t accepts_on_none(void) { return goroutine_accept(full[0], NULL, NULL); }
static int64_t connects_nowhere(void) {
    struct sockaddr none;
    memset(&none, 0, sizeof none);
    none.sa_family = 47;
    return goroutine_connect(full[0], &none, sizeof none);
}
static int64_t adds_to_event(void) {
    uint64_t n = 1;
    int64_t done = goroutine_write(event, &n, sizeof n);
    if (done > 0) CHECK(read(event, &n, sizeof n) == sizeof n || errno == EAGAIN);
    return done;
}
static int64_t asks(void) {
    uint32_t ready;
    return goroutine_fd_wait(full[0], POLLIN, SECOND, &ready);
}
static int64_t asks_in_vain(void) {
    uint32_t ready;
    return goroutine_fd_wait(empty[0], POLLIN, 0, &ready);
}

typedef struct Kind {
    const char *name;
    int64_t (*call)(void);
} Kind;
static const Kind kinds[] = {
    {"pread", reads_at},
    {"pread of nothing", reads_at_of_nothing},
    {"pwrite", writes_at},
    {"stat", stats},
    {"fstat", stats_open},
    {"open", opens_and_closes},
    {"read of a file", reads_file},
    {"peek", peeks},
    {"MSG_DONTWAIT", does_not_wait},
    {"sendmsg", sends},
    {"write", writes},
    {"read", reads},
    {"readv", reads_two},
    {"read of nothing", reads_nothing},
    {"accept", accepts_on_none},
    {"connect", connects_nowhere},
    {"eventfd", adds_to_event},
    {"fd_wait", asks},
    {"fd_wait 0", asks_in_vain},
};

static uint64_t looping;
static void *loops(void *arg) {
    const Kind *kind = (const Kind *)arg;
    uint64_t n = 0;
    while (kind->call() != GOROUTINE_ECANCELED)
        if (n++ == 0) ADD(looping, 1);
    CHECK_EQ(kind->call(), GOROUTINE_ECANCELED); /* it stays so */
    return P(n);
}
static void *sleeps(void *arg) {
    int i;
    for (i = 0; i < 10; i++) OK(goroutine_sleep(MS));
    return arg;
}
static void *yields(void *arg) {
    int i;
    for (i = 0; i < 10; i++) goroutine_yield();
    return arg;
}
/* Two of them, that is as many as there are workers or more, and others. */
static void others_go_on(const Kind *kind) {
    GoroutinePromise *two[2];
    void *n;
    int i;
    SET(looping, 0);
    for (i = 0; i < 2; i++) two[i] = goroutine_spawn(loops, (void *)(uintptr_t)kind);
    while (GET(looping) != 2) thread_sleep(100 * US);
    run_goroutine(sleeps, NULL);
    run_goroutine(yields, NULL);
    for (i = 0; i < 2; i++) {
        OK(goroutine_cancel(two[i]));
        OK(goroutine_promise_await_take(two[i], 60 * SECOND, &n));
        CHECK(U(n) != 0);
    }
}

/* ---- What a cancelled call was asked to read is still there. ---- */
static uint64_t taken;
static void *takes(void *arg) {
    char c;
    int64_t n;
    while ((n = goroutine_read((int)U(arg), &c, 1)) == 1) ADD(taken, 1);
    return P(n);
}
static void nothing_is_lost(void) {
    enum { N = 100 };
    int round;
    for (round = 0; round < 200; round++) {
        int ends[2], i;
        GoroutinePromise *p;
        void *result;
        uint64_t left = 0;
        char c;
        CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0);
        for (i = 0; i < N; i++) {
            ssize_t n = send(ends[1], "x", 1, MSG_DONTWAIT);
            if (n != 1) break;
        }
        SET(taken, 0);
        p = goroutine_spawn(takes, P(ends[0]));
        while (round % 2 != 0 && GET(taken) == 0) sched_yield();
        OK(goroutine_cancel(p));
        OK(goroutine_promise_await_take(p, 60 * SECOND, &result));
        CHECK_EQ((int64_t)U(result), GOROUTINE_ECANCELED);
        while (recv(ends[0], &c, 1, MSG_DONTWAIT) == 1) left++;
        CHECK_EQ(GET(taken) + left, i);
        CHECK(goroutine_close(ends[0]) == 0 && goroutine_close(ends[1]) == 0);
    }
}

/* ---- Who does not want to be cancelled is not. ---- */
static uint64_t begun;
static void *cleans_up(void *arg) {
    char c = 'c';
    SET(begun, 1);
    while (goroutine_pread(file, &c, 1, 0) != GOROUTINE_ECANCELED) {
    }
    CHECK_EQ(goroutine_pwrite(file, &c, 1, 200), GOROUTINE_ECANCELED);
    goroutine_cancel_disable();
    CHECK_EQ(goroutine_pwrite(file, &c, 1, 200), 1);
    CHECK_EQ(goroutine_pread(file, &c, 1, 0), 1);
    CHECK_EQ(goroutine_write(full[1], &c, 1), 1);
    CHECK_EQ(goroutine_read(full[0], &c, 1), 1);
    goroutine_cancel_enable();
    CHECK_EQ(goroutine_read(full[0], &c, 1), GOROUTINE_ECANCELED);
    return arg;
}
static void clean_up(void) {
    GoroutinePromise *p;
    SET(begun, 0);
    p = goroutine_spawn(cleans_up, NULL);
    while (GET(begun) == 0) thread_sleep(100 * US);
    OK(goroutine_cancel(p));
    OK(goroutine_promise_await_take(p, 60 * SECOND, NULL));
}

int main(int argc, char **argv) {
    static const uint32_t counts[] = {1, 2};
    const char *name = argc > 1 ? argv[1] : "";
    size_t i, k;
    snprintf(path, sizeof path, "/tmp/test_io_turns.XXXXXX");
    file = mkstemp(path);
    CHECK(file >= 0 && write(file, scratch, sizeof scratch) == sizeof scratch);
    for (k = 0; k < 2; k++) {
        start_workers(counts[k]);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, full) == 0);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, empty) == 0);
        CHECK((event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0);
        CHECK(send(full[1], scratch, 1024, 0) == 1024); /* more than the loops have in hand */
        for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            if (strstr(kinds[i].name, name) == NULL) continue;
            if (argc > 1) fprintf(stderr, "%s\n", kinds[i].name);
            others_go_on(&kinds[i]);
        }
        clean_up();
        nothing_is_lost();
        /* A shutdown ends them, too. */
        SET(looping, 0);
        for (i = 0; i < 4; i++) OK(goroutine_go(loops, (void *)(uintptr_t)&kinds[i == 3 ? 11 : 0]));
        while (GET(looping) != 4) thread_sleep(100 * US);
        stop();
        for (i = 0; i < 2; i++) CHECK(goroutine_close(full[i]) == 0 && goroutine_close(empty[i]) == 0);
        CHECK_EQ(goroutine_close(event), 0);
    }
    CHECK(close(file) == 0 && unlink(path) == 0);
    return 0;
}

/* timeout: 300 */
/* Every kind of file that one can wait for: pipes and FIFOs, terminals, eventfd, timerfd, signalfd, inotify, pidfd, epoll, copies of a descriptor and what other
 * processes have of it; and many who read and write one at the same time. On goroutines, on bound ones and on plain threads. */
#include "check.h"
#include "net.h"
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static void new_pipe(int ends[2], int mode) {
    CHECK(pipe2(ends, O_CLOEXEC | mode) == 0);
    limited(ends[0]);
    limited(ends[1]);
}

/* ---- pipes ---- */
static void full_pipe(void) {
    int mode;
    for (mode = 0; mode < 2; mode++) {
        static char big[200000];
        int ends[2], room;
        int64_t n;
        Call call;
        Other other;
        new_pipe(ends, mode == 0 ? 0 : O_NONBLOCK);
        room = fcntl(ends[1], F_GETPIPE_SZ);
        CHECK(room > 0 && room < (int)sizeof big);
        n = goroutine_write(ends[1], big, sizeof big); /* what there is room for */
        CHECK_EQ(n, room);
        call = call_on(ends[1]);
        other = begin(writes_one, &call);
        pause_a_little();
        take_all(ends[0], (size_t)room);
        CHECK_EQ(end(other), 1);
        take_all(ends[0], 1);
        fill(ends[1]);
        call = call_on(ends[1]);
        other = begin(writes_one, &call);
        pause_a_little();
        if (!on_threads) { /* a plain thread gets a signal, as from write(2) */
            CHECK_EQ(goroutine_close(ends[0]), 0);
            CHECK_EQ(end(other), -EPIPE);
        } else {
            take_all(ends[0], (size_t)room);
            CHECK_EQ(end(other), 1);
            CHECK_EQ(goroutine_close(ends[0]), 0);
        }
        CHECK_EQ(goroutine_close(ends[1]), 0);
    }
}
/* What was spliced into it wakes as what was written. */
static void spliced(void) {
    int from[2], to[2];
    Call call;
    Other other;
    new_pipe(from, 0);
    new_pipe(to, 0);
    call = call_on(to[0]);
    other = begin(reads_some, &call);
    pause_a_little();
    CHECK_EQ(goroutine_write(from[1], "spliced", 7), 7);
    CHECK_EQ(splice(from[0], NULL, to[1], NULL, 7, SPLICE_F_NONBLOCK), 7);
    CHECK_EQ(end(other), 7);
    fill(to[1]);
    call = call_on(to[1]);
    other = begin(writes_one, &call);
    pause_a_little();
    while (splice(to[0], NULL, from[1], NULL, 65536, SPLICE_F_NONBLOCK) > 0) { /* and so does the room that it makes */
    }
    CHECK_EQ(end(other), 1);
    close_both(from);
    close_both(to);
}
/* In packets: a read gives one, however large it is. */
static void packet_pipe(void) {
    int ends[2];
    char text[16];
    new_pipe(ends, O_DIRECT);
    CHECK_EQ(goroutine_write(ends[1], "one", 3), 3);
    CHECK_EQ(goroutine_write(ends[1], "two", 3), 3);
    CHECK_EQ(goroutine_read(ends[0], text, sizeof text), 3);
    CHECK_EQ(goroutine_read(ends[0], text, sizeof text), 3);
    close_both(ends);
}

/* ---- many at one end ---- */
enum { RECORDS = 200, SPEAKERS = 4, LISTENERS = 3 };
typedef struct Record {
    uint32_t who, number;
    unsigned char rest[504];
} Record;
typedef struct Talk {
    int ends[2];
    uint64_t heard[SPEAKERS][RECORDS], speaker;
} Talk;
static void *speaks(void *arg) {
    Talk *t = (Talk *)arg;
    uint64_t i;
    Record r;
    r.who = (uint32_t)ADD(t->speaker, 1) - 1;
    for (i = 0; i < RECORDS; i++) {
        r.number = (uint32_t)i;
        memset(r.rest, (int)(r.who * 31 + i), sizeof r.rest);
        CHECK_EQ(goroutine_write(t->ends[1], &r, sizeof r), (int64_t)sizeof r); /* at most PIPE_BUF: all, or none yet */
    }
    return NULL;
}
static void *listens(void *arg) {
    Talk *t = (Talk *)arg;
    Record r;
    uint64_t i;
    int64_t n;
    while ((n = goroutine_read(t->ends[0], &r, sizeof r)) == sizeof r) {
        CHECK(r.who < SPEAKERS && r.number < RECORDS);
        for (i = 0; i < sizeof r.rest; i++) CHECK_EQ(r.rest[i], (unsigned char)(r.who * 31 + r.number)); /* whole, and of one */
        CHECK_EQ(ADD(t->heard[r.who][r.number], 1), 1);
    }
    CHECK_EQ(n, 0);
    return NULL;
}
static void together(void) {
    int kind;
    CHECK(sizeof(Record) <= PIPE_BUF);
    for (kind = 0; kind < 4; kind++) {
        static Talk talk;
        Other others[SPEAKERS + LISTENERS];
        uint64_t i, k;
        memset(&talk, 0, sizeof talk);
        if (kind < 2)
            new_pipe(talk.ends, kind == 0 ? 0 : O_NONBLOCK);
        else
            CHECK(socketpair(AF_UNIX, kind == 2 ? SOCK_SEQPACKET : SOCK_STREAM, 0, talk.ends) == 0);
        for (i = 0; i < LISTENERS; i++) others[SPEAKERS + i] = begin(listens, &talk);
        for (i = 0; i < SPEAKERS; i++) others[i] = begin(speaks, &talk);
        for (i = 0; i < SPEAKERS; i++) end(others[i]);
        CHECK_EQ(goroutine_close(talk.ends[1]), 0);
        for (i = 0; i < LISTENERS; i++) end(others[SPEAKERS + i]);
        for (i = 0; i < SPEAKERS; i++)
            for (k = 0; k < RECORDS; k++) CHECK_EQ(talk.heard[i][k], 1);
        CHECK_EQ(goroutine_close(talk.ends[0]), 0);
    }
}

/* ---- FIFOs, whose ends come one after the other ---- */
typedef struct Fifo {
    char path[64];
    int flags;
} Fifo;
static void *opens(void *arg) {
    Fifo *f = (Fifo *)arg;
    return P(goroutine_open(f->path, f->flags | O_CLOEXEC, 0));
}
static void fifos(void) {
    char directory[] = "/tmp/test_kinds_XXXXXX";
    Fifo f;
    int reader, writer, round;
    char c;
    Other other;
    CHECK(mkdtemp(directory) != NULL);
    snprintf(f.path, sizeof f.path, "%s/fifo", directory);
    CHECK(mkfifo(f.path, 0600) == 0);
    CHECK_EQ(goroutine_open(f.path, O_WRONLY | O_NONBLOCK | O_CLOEXEC, 0), -ENXIO);
    /* Each waits for the other. */
    f.flags = O_RDONLY;
    other = begin(opens, &f);
    pause_a_little();
    writer = limited((int)goroutine_open(f.path, O_WRONLY | O_CLOEXEC, 0));
    reader = limited((int)end(other));
    {
        Call call = call_on(reader);
        other = begin(reads_some, &call);
        pause_a_little();
        CHECK_EQ(goroutine_write(writer, "hello", 5), 5);
        CHECK_EQ(end(other), 5);
    }
    CHECK(goroutine_close(writer) == 0 && goroutine_close(reader) == 0);
    /* A reader that is there before anybody: the end, until somebody comes, and again when he goes. */
    reader = limited((int)goroutine_open(f.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0));
    for (round = 0; round < 3; round++) {
        Call call = call_on(reader);
        CHECK_EQ(goroutine_read(reader, &c, 1), 0);
        writer = limited((int)goroutine_open(f.path, O_WRONLY | O_CLOEXEC, 0));
        other = begin(reads_one, &call);
        pause_a_little();
        CHECK_EQ(goroutine_write(writer, "1", 1), 1);
        CHECK_EQ(end(other), 1);
        other = begin(reads_one, &call);
        pause_a_little();
        CHECK_EQ(goroutine_close(writer), 0);
        CHECK_EQ(end(other), 0);
    }
    CHECK_EQ(goroutine_close(reader), 0);
    CHECK(unlink(f.path) == 0 && rmdir(directory) == 0);
}

/* ---- terminals ---- */
static void terminals(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
    char text[64];
    Call call;
    Other other;
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        fprintf(stderr, "skipped: terminals (none here)\n");
        return;
    }
    limited(master);
    slave = limited(open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC));
    call = call_on(slave);
    other = begin(reads_some, &call);
    pause_a_little();
    CHECK_EQ(goroutine_write(master, "half", 4), 4); /* no line yet */
    pause_a_little();
    CHECK_EQ(goroutine_write(master, " a line\nand ", 12), 12);
    CHECK_EQ(end(other), 12);
    CHECK(memcmp(call.bytes, "half a line\n", 12) == 0);
    CHECK_EQ(goroutine_write(master, "more\n", 5), 5);
    expect_bytes(slave, "and more\n");
    expect_bytes(master, "half a line\r\n"); /* the echo */
    CHECK_EQ(goroutine_write(master, "\004", 1), 1);
    CHECK_EQ(goroutine_read(slave, text, sizeof text), 0); /* ^D: an end, and no more than that */
    CHECK_EQ(goroutine_write(master, "x\n", 2), 2);
    expect_bytes(slave, "x\n");
    call = call_on(slave);
    other = begin(reads_some, &call);
    pause_a_little();
    CHECK_EQ(goroutine_close(master), 0);
    {
        int64_t n = end(other);
        CHECK(n == 0 || n == -EIO); /* a hang-up; begun after it: an error */
    }
    CHECK_EQ(goroutine_close(slave), 0);
    /* The other way round. */
    master = limited(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
    slave = limited(open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC));
    CHECK_EQ(goroutine_write(slave, "out", 3), 3);
    expect_bytes(master, "out");
    call = call_on(master);
    other = begin(reads_some, &call);
    pause_a_little();
    CHECK_EQ(goroutine_close(slave), 0);
    CHECK_EQ(end(other), -EIO);
    CHECK_EQ(goroutine_close(master), 0);
}

/* ---- descriptors that are no files ---- */
static void *adds_one(void *arg) {
    uint64_t one = 1;
    return P(goroutine_write((int)U(arg), &one, sizeof one));
}
static void events(void) {
    int fd = limited(eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)), i;
    uint64_t n = 6, full = UINT64_MAX - 1;
    Call calls[6];
    Other others[6];
    for (i = 0; i < 6; i++) {
        calls[i] = call_on(fd);
        others[i] = begin(reads_some, &calls[i]);
    }
    pause_a_little();
    CHECK_EQ(goroutine_write(fd, &n, 8), 8);
    for (i = 0; i < 6; i++) { /* one for each */
        CHECK_EQ(end(others[i]), 8);
        memcpy(&n, calls[i].bytes, 8);
        CHECK_EQ(n, 1);
    }
    CHECK_EQ(goroutine_write(fd, &full, 8), 8);
    CHECK_EQ(goroutine_read(fd, &n, 4), -EINVAL); /* too short for it */
    others[0] = begin(adds_one, P(fd)); /* there is no room for it */
    pause_a_little();
    CHECK_EQ(goroutine_read(fd, &n, 8), 8);
    CHECK_EQ(end(others[0]), 8);
    CHECK_EQ(goroutine_close(fd), 0);
}
static void timers(void) {
    int fd = limited(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    struct itimerspec t;
    uint64_t n, sum = 0;
    Call call = call_on(fd);
    Other other = begin(reads_some, &call);
    pause_a_little();
    memset(&t, 0, sizeof t);
    t.it_value.tv_nsec = t.it_interval.tv_nsec = (long)MS;
    CHECK(timerfd_settime(fd, 0, &t, NULL) == 0); /* while somebody waits */
    CHECK_EQ(end(other), 8);
    while (sum < 5) {
        CHECK_EQ(goroutine_read(fd, &n, 8), 8);
        CHECK(n != 0);
        sum += n;
    }
    memset(&t, 0, sizeof t);
    CHECK(timerfd_settime(fd, 0, &t, NULL) == 0);
    OK(goroutine_set_deadline(fd, POLLIN, 2 * MS));
    CHECK_EQ(goroutine_read(fd, &n, 8), -ETIMEDOUT);
    CHECK_EQ(goroutine_close(fd), 0);
}
static void signals(void) {
    struct signalfd_siginfo info;
    sigset_t set;
    int fd;
    Call call;
    Other other;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2); /* blocked in main */
    fd = limited(signalfd(-1, &set, SFD_CLOEXEC));
    call = call_on(fd);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    CHECK_EQ(goroutine_read(fd, &info, sizeof info), (int64_t)sizeof info);
    CHECK_EQ(info.ssi_signo, SIGUSR2);
    other = begin(reads_some, &call); /* too short for one */
    CHECK_EQ(end(other), -EINVAL);
    OK(goroutine_set_deadline(fd, POLLIN, 2 * MS));
    CHECK_EQ(goroutine_read(fd, &info, sizeof info), -ETIMEDOUT);
    CHECK_EQ(goroutine_close(fd), 0);
}
typedef struct Touch {
    char path[80];
} Touch;
static void *touches(void *arg) {
    Touch *t = (Touch *)arg;
    int fd;
    pause_a_little();
    fd = open(t->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    return NULL;
}
static void notes(void) {
    char directory[] = "/tmp/test_kinds_XXXXXX", buffer[1024];
    Touch touch;
    struct inotify_event event;
    int fd = limited(inotify_init1(IN_CLOEXEC));
    Other other;
    CHECK(mkdtemp(directory) != NULL);
    snprintf(touch.path, sizeof touch.path, "%s/new", directory);
    CHECK(inotify_add_watch(fd, directory, IN_CREATE) >= 0);
    other = begin(touches, &touch);
    CHECK(goroutine_read(fd, buffer, sizeof buffer) > (int64_t)sizeof event);
    memcpy(&event, buffer, sizeof event);
    CHECK(event.mask & IN_CREATE && strcmp(buffer + sizeof event, "new") == 0);
    end(other);
    CHECK(unlink(touch.path) == 0 && rmdir(directory) == 0);
    CHECK_EQ(goroutine_close(fd), 0);
}
/* A child ends while somebody waits for that. */
static void processes(void) {
    int start[2], fd, status;
    uint32_t ready = 0;
    pid_t pid;
    CHECK(pipe2(start, O_CLOEXEC) == 0);
    pid = vfork();
    if (pid == 0) _exit(7); /* its number is kept until it is waited for */
    CHECK(pid > 0);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        CHECK(errno == ENOSYS || errno == EPERM);
        fprintf(stderr, "skipped: pidfd (not allowed here)\n");
    } else {
        char c;
        OK(goroutine_fd_wait(fd, POLLIN, 30 * SECOND, &ready));
        CHECK(ready & POLLIN);
        CHECK_EQ(goroutine_read(limited(fd), &c, 1), -EINVAL);
        CHECK_EQ(goroutine_close(fd), 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    close_both(start);
}
static void *writes_a_letter(void *arg) {
    pause_a_little();
    CHECK_EQ(goroutine_write((int)U(arg), "e", 1), 1);
    return NULL;
}
/* Somebody else's epoll: one may wait for it, too. */
static void pollers(void) {
    int ends[2], epoll = epoll_create1(EPOLL_CLOEXEC);
    uint32_t ready = 0;
    struct epoll_event event;
    Other other;
    new_pipe(ends, 0);
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
    CHECK_EQ(goroutine_fd_wait(epoll, POLLIN, MS, &ready), GOROUTINE_ETIMEDOUT);
    other = begin(writes_a_letter, P(ends[1]));
    OK(goroutine_fd_wait(epoll, POLLIN, 30 * SECOND, &ready));
    CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 1);
    end(other);
    OK(goroutine_fd_release(epoll));
    CHECK(close(epoll) == 0);
    close_both(ends);
}

/* ---- copies, and other processes ---- */
static void copies(void) {
    int ends[2], copy;
    Call by_first, by_copy;
    Other first, second;
    new_pipe(ends, 0);
    copy = limited(fcntl(ends[0], F_DUPFD_CLOEXEC, 0));
    by_first = call_on(ends[0]);
    by_copy = call_on(copy);
    first = begin(reads_one, &by_first);
    second = begin(reads_one, &by_copy);
    pause_a_little();
    until_threads_wait(2);
    CHECK_EQ(goroutine_close(ends[0]), 0); /* that number only */
    CHECK_EQ(end(first), -EBADF);
    CHECK_EQ(goroutine_write(ends[1], "c", 1), 1);
    CHECK_EQ(end(second), 1);
    CHECK_EQ(fcntl(copy, F_DUPFD_CLOEXEC, ends[0]), ends[0]); /* the old number has a file again, the same one */
    limited(ends[0]);
    by_first = call_on(ends[0]);
    first = begin(reads_one, &by_first);
    pause_a_little();
    CHECK_EQ(goroutine_close(copy), 0);
    CHECK_EQ(goroutine_write(ends[1], "d", 1), 1);
    CHECK_EQ(end(first), 1);
    close_both(ends);
}
/* Another process has the same file, writes to it, changes its mode under us, and goes: the end comes when it has gone. */
static void inherited(void) {
    int ends[2], status, i;
    char c;
    pid_t pid;
    Call call;
    Other other;
    CHECK(pipe(ends) == 0);
    call = call_on(limited(ends[0]));
    other = begin(reads_some, &call);
    pause_a_little();
    fflush(stderr);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) { /* system calls only */
        static const struct timespec ms = {0, 1000000};
        alarm(60);
        for (i = 0; i < 20; i++) {
            int mode = i % 2 == 0 ? O_NONBLOCK : 0;
            if (fcntl(ends[0], F_SETFL, mode) != 0) _exit(1);
            if (fcntl(ends[1], F_SETFL, O_WRONLY | mode) != 0) _exit(2);
            if (write(ends[1], "i", 1) != 1) _exit(3);
            nanosleep(&ms, NULL);
        }
        _exit(0);
    }
    CHECK_EQ(goroutine_close(ends[1]), 0);
    i = (int)end(other);
    CHECK(i > 0);
    for (; i < 20; i++) CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
    CHECK_EQ(goroutine_read(ends[0], &c, 1), 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(goroutine_close(ends[0]), 0);
}

int main(void) {
    static Block blocks[] = {full_pipe, spliced, packet_pipe, together, fifos, terminals, events, timers,
                             signals, notes, processes, pollers, copies, inherited, NULL};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    everywhere(blocks);
    return 0;
}

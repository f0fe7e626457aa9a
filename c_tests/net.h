/* What the tests of descriptors share: others who act meanwhile, and pairs of connected ends. Include check.h first.
 *
 * A block is a function that runs on a goroutine, on a bound one, and on a plain thread; those whom it starts (`begin`) are of its kind. */
#ifndef NET_H
#define NET_H

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

static bool on_threads;
/* One worker: whoever was begun is in its call, and waits, once the one who began it goes on after a pause. */
static bool one_worker;

typedef struct Other {
    GoroutinePromise *promise; /* NULL: a thread */
    pthread_t thread;
} Other;
static inline Other begin(GoroutineFn f, void *arg) {
    Other other;
    memset(&other, 0, sizeof other);
    if (on_threads) {
        CHECK(pthread_create(&other.thread, NULL, f, arg) == 0);
    } else {
        other.promise = goroutine_spawn(f, arg);
        CHECK(other.promise != NULL);
    }
    return other;
}
/* What it returned. */
static inline int64_t end(Other other) {
    void *value = NULL;
    if (other.promise != NULL) {
        OK(goroutine_promise_await_take(other.promise, 60 * SECOND, &value));
    } else {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 60;
        CHECK_EQ(pthread_timedjoin_np(other.thread, &value, &until), 0);
    }
    return (int64_t)(intptr_t)value;
}
/* The others come to where they wait, mostly. Whether they did changes what is tried, and not what must be. */
static inline void pause_a_little(void) {
    if (on_threads)
        thread_sleep(2 * MS);
    else
        OK(goroutine_sleep(2 * MS));
}

/* Threads: until so many wait in ppoll. One that began after a close would be in the call of whatever has the number then: a mistake of ours. */
static inline void until_threads_wait(int n) {
    uint64_t until = now_ns() + 30 * SECOND;
    int waiting = on_threads ? 0 : n, known = 1;
    while (waiting < n && known != 0) {
        DIR *tasks = opendir("/proc/self/task");
        struct dirent *entry;
        CHECK(tasks != NULL && now_ns() < until);
        waiting = known = 0;
        while ((entry = readdir(tasks)) != NULL) {
            char path[300], line[32] = "";
            FILE *file;
            snprintf(path, sizeof path, "/proc/self/task/%s/syscall", entry->d_name);
            file = fopen(path, "r");
            if (file == NULL) continue;
            if (fgets(line, sizeof line, file) != NULL) {
                known++;
                waiting += atoi(line) == SYS_ppoll;
            }
            fclose(file);
        }
        closedir(tasks);
        pause_a_little();
    }
}

/* No call on it waits for ever. */
static inline int limited(int fd) {
    CHECK(fd >= 0);
    OK(goroutine_set_deadline(fd, POLLIN | POLLOUT, 30 * SECOND));
    return fd;
}
static inline void close_both(const int ends[2]) {
    CHECK_EQ(goroutine_close(ends[0]), 0);
    CHECK_EQ(goroutine_close(ends[1]), 0);
}
static inline void unlimited(int fd) { OK(goroutine_set_deadline(fd, POLLIN | POLLOUT, GOROUTINE_FOREVER)); }

typedef union Address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
} Address;
/* The loopback address, port 0; an unnamed Unix one, for which the kernel finds an abstract name. */
static inline socklen_t loopback(int family, Address *address) {
    memset(address, 0, sizeof *address);
    address->any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof address->v4;
    }
    if (family == AF_INET6) {
        address->v6.sin6_addr = in6addr_loopback;
        return sizeof address->v6;
    }
    return sizeof(sa_family_t);
}
/* A bound socket, and its name. -1: there is no such family here. */
static inline int bound(int family, int type, Address *address, socklen_t *size) {
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    *size = loopback(family, address);
    if (fd >= 0 && bind(fd, &address->any, *size) != 0) {
        CHECK_EQ(close(fd), 0);
        fd = -1;
    }
    if (fd < 0) {
        CHECK_EQ(family, AF_INET6);
        return -1;
    }
    *size = sizeof *address;
    CHECK(getsockname(fd, &address->any, size) == 0);
    return limited(fd);
}
static inline int listening(int family, int type, int backlog, Address *address, socklen_t *size) {
    int fd = bound(family, type, address, size);
    if (fd >= 0) CHECK(listen(fd, backlog) == 0);
    return fd;
}
static inline int new_socket(int family, int type) { return limited(socket(family, type | SOCK_CLOEXEC, 0)); }
static inline void option(int fd, int level, int name, int value) { CHECK(setsockopt(fd, level, name, &value, sizeof value) == 0); }
/* ends[0] connected, ends[1] accepted. */
static inline void connected(int family, int type, int ends[2]) {
    Address address;
    socklen_t size;
    int listener = listening(family, type, 16, &address, &size);
    CHECK(listener >= 0);
    ends[0] = new_socket(family, type);
    if (family != AF_UNIX) { /* of a size that stays: what is full is full */
        option(listener, SOL_SOCKET, SO_RCVBUF, 65536);
        option(listener, SOL_SOCKET, SO_SNDBUF, 65536);
        option(ends[0], SOL_SOCKET, SO_RCVBUF, 65536);
        option(ends[0], SOL_SOCKET, SO_SNDBUF, 65536);
    }
    CHECK_EQ(goroutine_connect(ends[0], &address.any, size), 0);
    ends[1] = limited((int)goroutine_accept(listener, NULL, NULL));
    CHECK_EQ(goroutine_close(listener), 0);
}
/* Its close is a reset. */
static inline void will_reset(int fd) {
    struct linger now = {1, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
}
static inline bool has_ipv6(void) {
    Address address;
    socklen_t size;
    int fd = bound(AF_INET6, SOCK_STREAM, &address, &size);
    if (fd >= 0) CHECK_EQ(goroutine_close(fd), 0);
    return fd >= 0;
}

/* Until nothing more goes into it at once. Gives how much did. */
static inline size_t fill(int fd) {
    static char zeros[65536];
    size_t sum = 0;
    ssize_t n;
    int flags = fcntl(fd, F_GETFL);
    uint64_t until = now_ns() + 30 * SECOND;
    uint32_t ready;
    CHECK(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    do { /* what goes to a TCP peer's buffer makes room again for a moment */
        while ((n = write(fd, zeros, sizeof zeros)) > 0) sum += (size_t)n;
        while ((n = write(fd, zeros, 1)) > 0) sum += (size_t)n;
        CHECK(now_ns() < until);
    } while (goroutine_fd_wait(fd, POLLOUT, 20 * MS, &ready) == GOROUTINE_OK);
    CHECK(fcntl(fd, F_SETFL, flags) == 0);
    return sum;
}
static inline void take_all(int fd, size_t n) {
    static char sink[65536];
    while (n != 0) {
        int64_t now = goroutine_read(fd, sink, n < sizeof sink ? n : sizeof sink);
        CHECK(now > 0);
        n -= (size_t)now;
    }
}
static inline void give_all(int fd, const void *bytes, size_t n) {
    const char *at = (const char *)bytes;
    while (n != 0) {
        int64_t now = goroutine_write(fd, at, n);
        CHECK(now > 0);
        at += now;
        n -= (size_t)now;
    }
}
static inline void expect_bytes(int fd, const char *text) {
    char is[256];
    size_t n = strlen(text), at = 0;
    CHECK(n < sizeof is);
    while (at < n) {
        int64_t now = goroutine_read(fd, is + at, n - at);
        CHECK(now > 0);
        at += (size_t)now;
    }
    CHECK(memcmp(is, text, n) == 0);
}
/* A call that an other is in, on a descriptor. */
typedef struct Call {
    int fd;
    int64_t result;
    char bytes[64];
} Call;
static inline void *reads_some(void *arg) {
    Call *c = (Call *)arg;
    c->result = goroutine_read(c->fd, c->bytes, sizeof c->bytes);
    return P(c->result);
}
static inline void *reads_one(void *arg) {
    Call *c = (Call *)arg;
    c->result = goroutine_read(c->fd, c->bytes, 1);
    return P(c->result);
}
static inline void *writes_one(void *arg) {
    Call *c = (Call *)arg;
    c->result = goroutine_write(c->fd, "w", 1);
    return P(c->result);
}
static inline void *accepts(void *arg) {
    Call *c = (Call *)arg;
    c->result = goroutine_accept(c->fd, NULL, NULL);
    return P(c->result);
}
static inline Call call_on(int fd) {
    Call call;
    memset(&call, 0, sizeof call);
    call.fd = fd;
    return call;
}

/* Blocks, one after the other, in every place. */
typedef void (*Block)(void);
static inline void *all_blocks(void *arg) {
    const Block *block = (const Block *)arg;
    for (; *block != NULL; block++) (*block)();
    return NULL;
}
static inline void *all_blocks_bound(void *arg) {
    OK(goroutine_ffi_bind());
    return all_blocks(arg);
}
static inline void everywhere(Block *blocks) {
    static const uint32_t counts[] = {1, 2, 8};
    GoroutineStats stats;
    int i;
    on_threads = true;
    one_worker = false;
    all_blocks(blocks); /* without a runtime */
    for (i = 0; i < 3; i++) {
        start_workers(counts[i]);
        on_threads = false;
        one_worker = counts[i] == 1;
        run_goroutine(all_blocks, blocks);
        one_worker = false;
        if (i == 1) run_goroutine(all_blocks_bound, blocks);
        on_threads = true;
        if (i == 2) all_blocks(blocks);
        OK(goroutine_runtime_wait(30 * SECOND));
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        CHECK(stats.live == 0 && stats.timers == 0);
        stop();
    }
}

#endif

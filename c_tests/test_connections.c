/* timeout: 300 */
/* Connections come and go, and their numbers are used again at once by other goroutines: every answer is to the question that was asked on that
 * connection, a close ends the waits of its own connection and no other's, and nothing is left in the poller.
 * GOROUTINE_TEST_CONNECTIONS: how many (20,000; stress_connections: 1,000,000). */
#include "check.h"
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef CONNECTIONS
#define CONNECTIONS 20000
#endif

static uint32_t workers;
static uint64_t connections, begun, answered, reset, ended;
static struct sockaddr_in tcp_address;
static struct sockaddr_un unix_address;
static socklen_t unix_size;

/* Answers each question with itself plus one, until the other side closes. */
static void *serve(void *arg) {
    int fd = (int)U(arg);
    uint64_t question;
    for (;;) {
        int64_t n = goroutine_read(fd, &question, sizeof question);
        if (n <= 0) {
            CHECK(n == 0 || n == -ECONNRESET || n == -EPIPE);
            break;
        }
        CHECK_EQ(n, 8);
        question++;
        n = goroutine_write(fd, &question, sizeof question);
        CHECK(n == 8 || n == -EPIPE || n == -ECONNRESET);
    }
    CHECK_EQ(goroutine_close(fd), 0);
    ADD(ended, 1);
    return NULL;
}
static void *accept_all(void *arg) {
    for (;;) {
        int64_t fd = goroutine_accept((int)U(arg), NULL, NULL);
        if (fd < 0) {
            CHECK_EQ(fd, -EBADF);
            return NULL;
        }
        OK(goroutine_go(serve, P(fd)));
    }
}
/* Waits for an answer that does not come: its connection is closed by another goroutine. With one worker, so that it waits for sure when that one
 * goes on: to begin a read of what was closed would be to read another's connection. */
typedef struct Vain {
    int fd;
    bool waits;
} Vain;
static void *wait_in_vain(void *arg) {
    Vain *vain = (Vain *)arg;
    uint64_t answer;
    SET(vain->waits, true);
    CHECK_EQ(goroutine_read(vain->fd, &answer, sizeof answer), -EBADF);
    return NULL;
}
static void *client(void *arg) {
    uint64_t state = random_seed(environment_number("GOROUTINE_SEED", 5), U(arg)), i;
    while (ADD(begun, 1) <= connections) {
        uint64_t kind = random_next(&state) % 3, questions = random_next(&state) % 4;
        int fd, ends[2] = {-1, -1};
        if (kind == 2) {
            CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
            fd = ends[0];
            OK(goroutine_go(serve, P(ends[1])));
        } else {
            fd = socket(kind == 1 ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            CHECK(fd >= 0);
            CHECK_EQ(kind == 1 ? goroutine_connect(fd, (struct sockaddr *)&tcp_address, sizeof tcp_address)
                               : goroutine_connect(fd, (struct sockaddr *)&unix_address, unix_size),
                     0);
        }
        for (i = 0; i < questions; i++) {
            uint64_t question = random_next(&state), answer = 0;
            CHECK_EQ(goroutine_write(fd, &question, sizeof question), 8);
            if (random_next(&state) % 4 == 0) goroutine_yield();
            CHECK_EQ(goroutine_read(fd, &answer, sizeof answer), 8);
            CHECK_EQ(answer, question + 1);
            ADD(answered, 1);
        }
        if (kind == 1) { /* no TIME_WAIT: there are not a million ports */
            struct linger now = {1, 0};
            CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
            ADD(reset, 1);
        }
        if (workers == 1 && random_next(&state) % 8 == 0) {
            Vain vain = {fd, false};
            GoroutinePromise *p = goroutine_spawn(wait_in_vain, &vain);
            while (!GET(vain.waits)) goroutine_yield();
            CHECK_EQ(goroutine_close(fd), 0);
            OK(goroutine_promise_await_take(p, 60 * SECOND, NULL));
        } else {
            CHECK_EQ(goroutine_close(fd), 0);
        }
    }
    return NULL;
}

static uint64_t open_descriptors(void) {
    uint64_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    CHECK(d != NULL);
    while (readdir(d) != NULL) n++;
    closedir(d);
    return n;
}
/* Descriptors that the library's epoll instances know. */
static uint64_t registrations(void) {
    uint64_t n = 0;
    struct dirent *entry;
    DIR *d = opendir("/proc/self/fdinfo");
    CHECK(d != NULL);
    while ((entry = readdir(d)) != NULL) {
        char path[300], line[300];
        FILE *f;
        snprintf(path, sizeof path, "/proc/self/fdinfo/%s", entry->d_name);
        f = fopen(path, "r");
        if (f == NULL) continue;
        while (fgets(line, sizeof line, f) != NULL) n += strncmp(line, "tfd:", 4) == 0;
        fclose(f);
    }
    closedir(d);
    return n;
}
static int listener(struct sockaddr *address, socklen_t *size, socklen_t room) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, address, *size) == 0 && listen(fd, 4096) == 0);
    *size = room;
    CHECK(getsockname(fd, address, size) == 0);
    return fd;
}

int main(void) {
    static const uint32_t counts[] = {1, 2, 8};
    enum { CLIENTS = 64 };
    uint64_t before = open_descriptors(), w, i;
    for (w = 0; w < 3; w++) {
        GoroutinePromise *p[CLIENTS], *a[2];
        int listeners[2];
        socklen_t tcp_size = sizeof tcp_address;
        GoroutineStats stats;
        connections = environment_number("GOROUTINE_TEST_CONNECTIONS", scaled(CONNECTIONS, 10)) / 3;
        begun = answered = reset = ended = 0;
        memset(&tcp_address, 0, sizeof tcp_address);
        memset(&unix_address, 0, sizeof unix_address);
        tcp_address.sin_family = AF_INET;
        tcp_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        unix_address.sun_family = AF_UNIX;
        unix_size = sizeof(sa_family_t); /* the kernel finds a name */
        listeners[0] = listener((struct sockaddr *)&tcp_address, &tcp_size, sizeof tcp_address);
        listeners[1] = listener((struct sockaddr *)&unix_address, &unix_size, sizeof unix_address);
        workers = counts[w];
        start_workers(workers);
        for (i = 0; i < 2; i++) a[i] = goroutine_spawn(accept_all, P(listeners[i]));
        for (i = 0; i < CLIENTS; i++) p[i] = goroutine_spawn(client, P(i));
        for (i = 0; i < CLIENTS; i++) OK(goroutine_promise_await_take(p[i], 280 * SECOND, NULL));
        for (i = 0; i < 2; i++) CHECK_EQ(goroutine_close(listeners[i]), 0);
        for (i = 0; i < 2; i++) OK(goroutine_promise_await_take(a[i], 60 * SECOND, NULL));
        OK(goroutine_runtime_wait(60 * SECOND));
        CHECK_EQ(registrations(), 1); /* what wakes the poller */
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        CHECK(stats.live == 0 && stats.timers == 0);
        fprintf(stderr, "%" PRIu32 " workers: %" PRIu64 " connections, %" PRIu64 " answers\n", workers, connections, answered);
        stop();
        CHECK_EQ(open_descriptors(), before);
    }
    return 0;
}

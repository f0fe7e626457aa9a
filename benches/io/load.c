/* The client of the I/O benchmarks: one thread, which holds connections and keeps some of them busy, one request after another on each.
 *
 * load PORT echo|http FROM: to 127.0.0.1:PORT, from the address FROM. It is told what to do by lines, and answers each with one:
 *   connect N                          "connected N": so many more
 *   touch                              "touched N": one request on each, 100 at a time
 *   run ACTIVE WARM_MS MS [PID...]     "ran ...", 7 numbers, see `run`: the first ACTIVE connections are busy for WARM_MS, then for MS more
 *
 * An answer that is not what it shall be ends the program. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ECHO_BYTES = 128, ANSWER = 1024, PIDS = 16, PATIENCE_MS = 10000 };

typedef struct Connection {
    int fd;
    unsigned got, shall; /* bytes of the answer so far, and in all (0: not known yet) */
    uint64_t asked_ns;
    char in[ANSWER];
} Connection;

static Connection **all;
static int count, poll_fd;
static struct sockaddr_in server, from;
static char request[ECHO_BYTES * 2];
static size_t request_size;
static bool is_http;
static uint64_t answers;
static uint64_t late[64 * 32]; /* answers by how late they came: a power of two in 32 steps */

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}
static void wrong(Connection *c, const char *what) {
    fprintf(stderr, "load: answer %" PRIu64 " is wrong, %s: %.*s\n", answers, what, (int)c->got, c->in);
    exit(1);
}
static uint64_t ns_of(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) die("clock_gettime");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static uint64_t now_ns(void) {
    return ns_of(CLOCK_MONOTONIC);
}

static unsigned step_of(uint64_t ns) {
    int power;
    if (ns < 32) return (unsigned)ns;
    power = 63 - __builtin_clzll(ns);
    return (unsigned)(power - 4) * 32 + (unsigned)(ns >> (power - 5) & 31);
}
static uint64_t ns_of_step(unsigned step) {
    return step < 32 ? step : (uint64_t)(32 + step % 32) << (step / 32 - 1);
}
static uint64_t percentile(double part) {
    uint64_t n = 0, seen = 0;
    unsigned i;
    for (i = 0; i < sizeof late / sizeof *late; i++) n += late[i];
    for (i = 0; i < sizeof late / sizeof *late; i++) {
        seen += late[i];
        if (seen != 0 && (double)seen >= part * (double)n) return ns_of_step(i);
    }
    return 0;
}

static void connect_more(int more) {
    int one = 1;
    all = realloc(all, (size_t)(count + more) * sizeof *all);
    for (; more > 0; more--) {
        Connection *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = c}};
        if (c == NULL) die("calloc");
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0) die("socket");
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from) != 0) die("bind");
        if (connect(c->fd, (struct sockaddr *)&server, sizeof server) != 0) die("connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) die("epoll_ctl");
        all[count++] = c;
    }
}
static void ask(Connection *c) {
    c->got = c->shall = 0;
    c->asked_ns = now_ns();
    if (write(c->fd, request, request_size) != (ssize_t)request_size) die("write");
}
/* How long the answer will be; 0: that is not known yet. */
static unsigned length(Connection *c) {
    char *end, *at;
    if (!is_http) return (unsigned)request_size;
    end = memmem(c->in, c->got, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    *end = 0;
    if (strncmp(c->in, "HTTP/1.1 200", 12) != 0) wrong(c, "status");
    at = strcasestr(c->in, "\r\ncontent-length: 13");
    if (at == NULL) wrong(c, "length");
    *end = '\r';
    return (unsigned)(end - c->in) + 4 + 13;
}
static bool complete(Connection *c) {
    ssize_t got = read(c->fd, c->in + c->got, sizeof c->in - c->got);
    if (got <= 0) die("the server closed a connection");
    c->got += (unsigned)got;
    if (c->shall == 0) c->shall = length(c);
    if (c->shall == 0 || c->got < c->shall) return false;
    if (c->got != c->shall) wrong(c, "too long");
    if (is_http ? memcmp(c->in + c->got - 13, "Hello, world!", 13) != 0 : memcmp(c->in, request, request_size) != 0)
        wrong(c, "content");
    answers++;
    return true;
}

/* Keeps connections `first` .. `first + active` busy until `end`, then waits for the answers that are due: none is under way afterwards. */
static void keep_busy(int first, int active, uint64_t end, bool counts) {
    struct epoll_event events[256];
    int i, n, due = active;
    uint64_t now = now_ns();
    for (i = 0; i < active; i++) ask(all[first + i]);
    while (due > 0) {
        n = epoll_wait(poll_fd, events, 256, PATIENCE_MS);
        if (n <= 0) die("no answer");
        for (i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (!complete(c)) continue;
            now = now_ns();
            if (counts) late[step_of(now - c->asked_ns)]++;
            if (now < end) ask(c);
            else due--;
        }
    }
}
static uint64_t cpu_ns(char *pids[], int n) {
    uint64_t sum = 0;
    int i;
    for (i = 0; i < n; i++) {
        clockid_t clock;
        if ((errno = clock_getcpuclockid(atoi(pids[i]), &clock)) != 0) die("clock_getcpuclockid");
        sum += ns_of(clock);
    }
    return sum;
}
/* "ran": answers, ns and the processes' CPU ns of the time measured; the answer that 50 and 99 of 100 were as fast as, ns; the slowest;
 * answers in all. */
static void run(int active, uint64_t warm_ms, uint64_t ms, char *pids[], int n) {
    uint64_t first, start, cpu, before = answers;
    if (active > count) die("run: there are not so many");
    if (warm_ms != 0) keep_busy(0, active, now_ns() + warm_ms * 1000000, false);
    memset(late, 0, sizeof late);
    first = answers;
    cpu = cpu_ns(pids, n);
    start = now_ns();
    keep_busy(0, active, start + ms * 1000000, true);
    start = now_ns() - start;
    cpu = cpu_ns(pids, n) - cpu;
    printf("ran %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", answers - first, start, cpu,
           percentile(0.5), percentile(0.99), percentile(1), answers - before);
}

int main(int argc, char **argv) {
    struct rlimit limit;
    char line[256];
    if (argc != 4) return fprintf(stderr, "load PORT echo|http FROM\n"), 2;
    is_http = strcmp(argv[2], "http") == 0;
    server.sin_family = from.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (inet_pton(AF_INET, argv[3], &from.sin_addr) != 1) die(argv[3]);
    if (is_http) {
        request_size = (size_t)sprintf(request, "GET / HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n\r\n", argv[1]);
    } else {
        for (; request_size < ECHO_BYTES; request_size++) request[request_size] = (char)('a' + request_size % 26);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0) die("epoll_create1");
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *words[PIDS + 4], *word;
        int n = 0, i;
        for (word = strtok(line, " \n"); word != NULL && n < PIDS + 4; word = strtok(NULL, " \n")) words[n++] = word;
        if (n == 2 && strcmp(words[0], "connect") == 0) {
            connect_more(atoi(words[1]));
            printf("connected %d\n", count);
        } else if (n == 1 && strcmp(words[0], "touch") == 0) {
            for (i = 0; i < count; i += 100) keep_busy(i, count - i < 100 ? count - i : 100, 0, false);
            printf("touched %d\n", count);
        } else if (n >= 4 && strcmp(words[0], "run") == 0) {
            run(atoi(words[1]), strtoul(words[2], NULL, 10), strtoul(words[3], NULL, 10), words + 4, n - 4);
        } else {
            return fprintf(stderr, "load: what?\n"), 2;
        }
        fflush(stdout);
    }
    return 0;
}

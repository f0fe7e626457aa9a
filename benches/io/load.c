/* The client of the I/O benchmarks: keeps so many connections busy for a time, one request after another on each, on one thread.
 * load HOST PORT CONNECTIONS SECONDS echo|http [BYTES]: prints the number of answers and the answers that were wrong. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 4096 };
typedef struct Connection {
    int fd;
    size_t got, shall; /* bytes of the answer so far, and in all (0: not known yet) */
    char in[BUFFER];
} Connection;

static char request[BUFFER];
static size_t request_size;
static bool is_http;
static uint64_t answers, wrong;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}
static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
static void ask(Connection *c) {
    c->got = c->shall = 0;
    if (write(c->fd, request, request_size) != (ssize_t)request_size) die("write");
}
/* Whether the answer is complete. */
static bool complete(Connection *c) {
    char *end, *length;
    if (!is_http) {
        c->shall = request_size;
    } else if (c->shall == 0 && c->got >= 4 && (end = memmem(c->in, c->got, "\r\n\r\n", 4)) != NULL) {
        *end = 0;
        length = strcasestr(c->in, "content-length:");
        c->shall = (size_t)(end - c->in) + 4 + (length != NULL ? strtoul(length + 15, NULL, 10) : 0);
        if (strncmp(c->in, "HTTP/1.1 200", 12) != 0 || length == NULL) wrong++;
        *end = '\r';
    }
    return c->shall != 0 && c->got >= c->shall;
}

int main(int argc, char **argv) {
    struct sockaddr_in address;
    struct epoll_event events[256];
    Connection *all;
    int poll, i, n, connections, one = 1;
    uint64_t end;
    if (argc < 6) return fprintf(stderr, "load HOST PORT CONNECTIONS SECONDS echo|http [BYTES]\n"), 2;
    connections = atoi(argv[3]);
    is_http = strcmp(argv[5], "http") == 0;
    if (is_http) {
        request_size = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s:%s\r\n\r\n", argv[1], argv[2]);
    } else {
        request_size = argc > 6 ? strtoul(argv[6], NULL, 10) : 128;
        if (request_size == 0 || request_size > sizeof request) return 2;
        for (i = 0; i < (int)request_size; i++) request[i] = (char)('a' + i % 26);
    }
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) die(argv[1]);
    all = calloc((size_t)connections, sizeof *all);
    poll = epoll_create1(0);
    if (all == NULL || poll < 0) die("start");
    for (i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = &all[i]}};
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (all[i].fd < 0 || connect(all[i].fd, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event) != 0) die("epoll_ctl");
    }
    end = now_ns() + (uint64_t)(atof(argv[4]) * 1e9);
    for (i = 0; i < connections; i++) ask(&all[i]);
    while (now_ns() < end) {
        n = epoll_wait(poll, events, 256, 100);
        for (i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            ssize_t got = read(c->fd, c->in + c->got, sizeof c->in - c->got);
            if (got <= 0) die("the server closed a connection");
            c->got += (size_t)got;
            if (!complete(c)) continue;
            if (c->got != c->shall || (!is_http && memcmp(c->in, request, request_size) != 0)) wrong++;
            answers++;
            ask(c);
        }
    }
    printf("%llu %llu\n", (unsigned long long)answers, (unsigned long long)wrong);
    return wrong != 0;
}

/* Clients that count: plain threads and blocking sockets, nothing of the library's.
 *   attack fuzz PORT N SEED     N malformed requests. Each must get an answer that is HTTP, or a hang-up, within 10 s
 *   attack load PORT THREADS    good requests until nobody listens any more. Each must get its whole response */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADD(counter, n) __atomic_add_fetch(&(counter), (n), __ATOMIC_RELAXED)

static int port;
static long total, seed, next_index, answers, silent_ends, stuck, no_http, lost, wrong, refused;

static uint64_t random_next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Dull;
}

static int open_connection(void) {
    struct sockaddr_in address;
    struct timeval limit = {10, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}
static bool send_all(int fd, const char *at, size_t n) {
    while (n > 0) {
        ssize_t done = send(fd, at, n, MSG_NOSIGNAL);
        if (done <= 0) return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

/* ---- fuzz ---- */

static const char *const good[] = {
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /user/1 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
    "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n1,2,3,4",
    "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n1,2,3,4\r\n0\r\n\r\n",
    "GET /proxy/hello?a=b&c=%41 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: y\r\n\r\n",
    "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n1,2,3,4\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde",
    "HEAD /metrics HTTP/1.0\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
};
enum { ROOM = 256 << 10 };
static const char *const nasty[] = {"\r\n", "\n", "\r", " ", "\t", "%", "Content-Length: 99999999999999999999\r\n", "Content-Length: -1\r\n",
                                    "Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n", "HTTP/9.9", "\xff\xfe", ":", "0\r\n\r\n", "\r\n\r\n"};

/* A request that is not what it was. */
static size_t mutate(char *text, uint64_t *state) {
    const char *from = good[random_next(state) % (sizeof good / sizeof *good)];
    size_t n = strlen(from), times = 1 + random_next(state) % 4;
    memcpy(text, from, n);
    while (times-- > 0) {
        size_t at = n == 0 ? 0 : random_next(state) % n, m = 1 + random_next(state) % 16;
        const char *piece;
        switch (random_next(state) % 8) {
        case 0: /* other bytes */
            for (; m > 0 && at < n; m--, at++) text[at] = (char)random_next(state);
            break;
        case 1: /* without some */
            if (m > n - at) m = n - at;
            memmove(text + at, text + at + m, n - at - m);
            n -= m;
            break;
        case 2: /* some twice */
            if (m > n - at) m = n - at;
            memmove(text + at + m, text + at, n - at);
            n += m;
            break;
        case 3: /* cut */ n = at; break;
        case 4: /* something nasty in it */
            piece = nasty[random_next(state) % (sizeof nasty / sizeof *nasty)];
            memmove(text + at + strlen(piece), text + at, n - at);
            memcpy(text + at, piece, strlen(piece));
            n += strlen(piece);
            break;
        case 5: /* a zero */
            if (n > 0) text[at] = 0;
            break;
        case 6: /* very long somewhere */
            m = random_next(state) % 30000;
            if (n + m > ROOM / 2) break;
            memmove(text + at + m, text + at, n - at);
            memset(text + at, 'a' + (int)(random_next(state) % 26), m);
            n += m;
            break;
        default: /* many fields */
            for (m = random_next(state) % 500; m > 0 && n < ROOM / 2; m--) {
                memmove(text + at + 6, text + at, n - at);
                memcpy(text + at, "a: b\r\n", 6);
                n += 6;
            }
        }
    }
    return n;
}
static void *fuzz(void *unused) {
    char *text = malloc(ROOM), answer[65536];
    long i;
    while ((i = ADD(next_index, 1)) <= total) {
        uint64_t state = (uint64_t)(seed * 1000003 + i) * 0x9E3779B97F4A7C15ull | 1;
        size_t n = mutate(text, &state), got = 0, half;
        int fd = open_connection();
        ssize_t more;
        if (fd < 0) {
            ADD(refused, 1);
            continue;
        }
        half = random_next(&state) % 4 == 0 && n > 0 ? random_next(&state) % n : n; /* in two pieces */
        if (send_all(fd, text, half) && half < n) {
            usleep(random_next(&state) % 2000);
            send_all(fd, text + half, n - half);
        }
        if (random_next(&state) % 100 != 0) shutdown(fd, SHUT_WR); /* some wait */
        while ((more = recv(fd, answer + got, sizeof answer - 1 - got, 0)) > 0 && (got += (size_t)more) < sizeof answer - 1) {
        }
        if (more < 0 && errno == EAGAIN) {
            ADD(stuck, 1);
            fprintf(stderr, "attack: request %ld of seed %ld is stuck\n", i, seed);
        } else if (got == 0) {
            ADD(silent_ends, 1);
        } else if (got < 9 || memcmp(answer, "HTTP/1.1 ", 9) != 0) {
            ADD(no_http, 1);
            fprintf(stderr, "attack: request %ld of seed %ld got what is no HTTP\n", i, seed);
        } else {
            ADD(answers, 1);
        }
        close(fd);
    }
    free(text);
    return unused;
}

/* ---- load ---- */

/* Reads a response. 0: it is whole, and the connection goes on; 1: whole, and ends; -1: not whole. */
static int response(int fd, int *status) {
    char text[65536], *body = NULL, *at;
    size_t got = 0, length = 0;
    for (;;) {
        ssize_t n;
        if (body == NULL && (body = memmem(text, got, "\r\n\r\n", 4)) != NULL) {
            body += 4;
            text[got] = 0;
            at = strcasestr(text, "content-length:");
            length = at == NULL ? 0 : strtoul(at + 15, NULL, 10);
            *status = atoi(text + 9);
        }
        if (body != NULL && got - (size_t)(body - text) >= length) break;
        n = recv(fd, text + got, sizeof text - 1 - got, 0);
        if (n <= 0) return -1;
        got += (size_t)n;
    }
    at = strcasestr(text, "connection: close");
    return at != NULL && at < body;
}
static void *load(void *arg) {
    static const char *const paths[] = {"/", "/sleep/20", "/user/1", "/proxy/hello", "/predict?x=1,2,3,4", "/sleep/3"};
    uint64_t state = (uint64_t)(uintptr_t)arg * 0x9E3779B97F4A7C15ull | 1;
    bool one_each = (uintptr_t)arg % 2 != 0; /* a new connection for each request */
    int fd = -1, status, end;
    char request[256];
    for (;;) {
        if (fd < 0 && (fd = open_connection()) < 0) {
            ADD(refused, 1);
            return NULL; /* nobody listens any more */
        }
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", paths[random_next(&state) % 6],
                 one_each ? "Connection: close\r\n" : "");
        status = 0;
        end = send_all(fd, request, strlen(request)) ? response(fd, &status) : -1;
        if (end < 0) {
            fprintf(stderr, "attack: lost, of %s connection: %s", one_each ? "a new" : "an old", request);
            ADD(lost, 1);
        } else if (status != 200) {
            fprintf(stderr, "attack: status %d of %s", status, request);
            ADD(wrong, 1);
        } else {
            ADD(answers, 1);
        }
        if (end != 0) {
            close(fd);
            fd = -1;
        }
    }
}

int main(int argc, char **argv) {
    pthread_t threads[256];
    long i, n = 16;
    bool is_fuzz = argc == 5 && strcmp(argv[1], "fuzz") == 0;
    if (!is_fuzz && (argc != 4 || strcmp(argv[1], "load") != 0)) return 2;
    port = atoi(argv[2]);
    if (is_fuzz) {
        total = atol(argv[3]);
        seed = atol(argv[4]);
    } else {
        n = atol(argv[3]);
        if (n < 1 || n > 256) return 2;
    }
    for (i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, is_fuzz ? fuzz : load, (void *)(uintptr_t)(i + 1)) != 0) return 2;
    for (i = 0; i < n; i++) pthread_join(threads[i], NULL);
    if (is_fuzz)
        printf("%ld answered, %ld hung up, %ld stuck, %ld no HTTP, %ld refused\n", answers, silent_ends, stuck, no_http, refused);
    else printf("%ld responses, %ld lost, %ld wrong\n", answers, lost, wrong);
    return is_fuzz ? stuck + no_http + refused != 0 || answers == 0 : lost + wrong != 0 || answers == 0;
}

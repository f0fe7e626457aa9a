/* An HTTP/1.1 server: one goroutine per connection, PostgreSQL and other servers behind it without blocking, LibTorch on threads of its own.
 *
 * SIGTERM and SIGINT end it without losing a response: it answers no more connection requests, takes the connections that were made, tells
 * every client with its next response that the connection ends, and ends when all have theirs, or when the grace is over. */
#include "webserver.h"
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

Options options;

/* How long a client takes to end the handshake of a connection. */
#define HANDSHAKE_NS (200 * MS)

static int listener;
static GoroutineGroup *connections;

static int open_listener(void) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)options.port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        perror("webserver: listen");
        exit(1);
    }
    options.port = ntohs(address.sin_port);
    return fd;
}

static void serve(int fd) {
    if (goroutine_group_spawn(connections, connection, (void *)(intptr_t)fd) != GOROUTINE_OK) goroutine_close(fd);
}
static void *accept_all(void *unused) {
    int64_t fd;
    for (;;) {
        fd = goroutine_accept(listener, NULL, NULL);
        if (fd >= 0) serve((int)fd);
        else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM) report("accept", "\"error\":\"%s\"", strerror((int)-fd));
        else break;
    }
    /* Cancelled. No more come; these have, and their clients think that they are served. */
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) serve((int)fd);
    goroutine_close(listener);
    return unused;
}

/* The kernel answers no connection request any more: what comes to the listening socket with SYN and without ACK is dropped. Closing it
 * instead would reset those connections that are made and not accepted yet; dropping all would lose those that are half made. */
static void refuse_more(void) {
    struct sock_filter no_requests[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), /* the flags: a socket's filter sees the TCP header first */
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xFFFF),
    };
    struct sock_fprog filter = {sizeof no_requests / sizeof *no_requests, no_requests};
    if (setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0)
        report("stop", "\"filter\":\"%s\"", strerror(errno));
}

static void *program(void *signals) {
    GoroutinePromise *acceptor = goroutine_spawn(accept_all, NULL);
    GoroutineStatus status;
    void *signal = NULL;
    report("start", "\"port\":%d,\"pid\":%d", options.port, (int)getpid());
    goroutine_promise_await((GoroutinePromise *)signals, GOROUTINE_FOREVER, &signal);
    report("stop", "\"signal\":%d,\"connections\":%d", (int)(intptr_t)signal, GET(connections_now));
    SET(stopping, 1);
    refuse_more();
    goroutine_sleep(HANDSHAKE_NS);
    goroutine_cancel(acceptor);
    goroutine_promise_await_take(acceptor, GOROUTINE_FOREVER, NULL);
    status = goroutine_group_wait(connections, options.lame_duck_ns, NULL);
    if (status != GOROUTINE_OK) {
        connections_shut_idle();
        status = goroutine_group_wait(connections, options.grace_ns, NULL);
    }
    if (status != GOROUTINE_OK) {
        report("stop", "\"abandoned\":%d", GET(connections_now));
        goroutine_group_cancel(connections);
        status = goroutine_group_wait(connections, GOROUTINE_FOREVER, NULL);
    }
    goroutine_group_free(connections);
    routes_stop();
    report("end", "\"connections\":%d", GET(connections_now));
    return NULL;
}

static uint64_t ms(const char *text) { return strtoull(text, NULL, 10) * MS; }
static void parse_options(int argc, char **argv) {
    static const struct option names[] = {
        {"port", 1, NULL, 'p'},       {"workers", 1, NULL, 'w'},      {"database", 1, NULL, 'd'},   {"database-connections", 1, NULL, 'D'},
        {"upstream", 1, NULL, 'u'},   {"predictors", 1, NULL, 'P'},   {"connections", 1, NULL, 'c'}, {"request-ms", 1, NULL, 'r'},
        {"idle-ms", 1, NULL, 'i'},    {"lame-duck-ms", 1, NULL, 'l'}, {"grace-ms", 1, NULL, 'g'},    {"quiet", 0, NULL, 'q'},
        {"hidden", 1, NULL, 'h'},     {"predict-nice", 1, NULL, 'n'}, {"database-ms", 1, NULL, 'm'},
        {NULL, 0, NULL, 0},
    };
    int option;
    options.database_connections = 10;
    options.database_ns = 5 * SECOND;
    options.predictors = 2;
    options.hidden = 8;
    options.connections_max = 10000;
    options.request_ns = 10 * SECOND;
    options.idle_ns = 60 * SECOND;
    options.lame_duck_ns = SECOND;
    options.grace_ns = 30 * SECOND;
    options.log_requests = true;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'w': options.workers = (uint32_t)atoi(optarg); break;
        case 'd': options.database = optarg; break;
        case 'D': options.database_connections = atoi(optarg); break;
        case 'm': options.database_ns = ms(optarg); break;
        case 'u': options.upstream = optarg; break;
        case 'P': options.predictors = (uint32_t)atoi(optarg) < 64 ? (uint32_t)atoi(optarg) : 64; break;
        case 'h': options.hidden = atoi(optarg) < 1 ? 1 : atoi(optarg); break;
        case 'n': options.predict_nice = atoi(optarg); break;
        case 'c': options.connections_max = atoi(optarg); break;
        case 'r': options.request_ns = ms(optarg); break;
        case 'i': options.idle_ns = ms(optarg); break;
        case 'l': options.lame_duck_ns = ms(optarg); break;
        case 'g': options.grace_ns = ms(optarg); break;
        case 'q': options.log_requests = false; break;
        default:
            fprintf(stderr, "usage: webserver [--port N] [--workers N] [--database CONNINFO] [--database-connections N] [--database-ms N]\n"
                            "  [--upstream URL] [--predictors N] [--hidden N] [--predict-nice N] [--connections N] [--request-ms N]\n"
                            "  [--idle-ms N] [--lame-duck-ms N] [--grace-ms N] [--quiet]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    GoroutineConfig config;
    GoroutinePromise *signals, *main_goroutine;
    struct rlimit files;
    sigset_t wanted;
    int signal = 0;
    parse_options(argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigprocmask(SIG_BLOCK, &wanted, NULL); /* this thread waits for them */
    curl_global_init(CURL_GLOBAL_DEFAULT);
    listener = open_listener();
    goroutine_config_init(&config);
    config.workers = options.workers;
    if (goroutine_runtime_start(&config) != GOROUTINE_OK || (connections = goroutine_group_new(0)) == NULL ||
        (signals = goroutine_promise_new()) == NULL || !report_start() || !routes_start() ||
        (main_goroutine = goroutine_spawn(program, signals)) == NULL) {
        fprintf(stderr, "webserver: it does not start\n");
        return 1;
    }
    goroutine_external_begin(); /* this thread settles the promise */
    while (sigwait(&wanted, &signal) != 0) {
    }
    goroutine_promise_resolve(signals, (void *)(intptr_t)signal);
    goroutine_external_end();
    goroutine_promise_await_take(main_goroutine, GOROUTINE_FOREVER, NULL);
    goroutine_promise_release(signals);
    report_stop();
    if (goroutine_runtime_shutdown(10 * SECOND) != GOROUTINE_OK) return 1;
    curl_global_cleanup();
    return 0;
}

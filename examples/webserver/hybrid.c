/* A client of the hybrid load: very many connections ask for /user, each with a request under way at all times, while a few loop over /predict.
 * One thread, epoll, nothing of the library's. Every response is checked in full: its head, its length, that it is the one that its
 * connection asked for last, that nothing comes after it.
 *   hybrid check PORT USERS PREDICTORS HIDDEN COUNT        until each of the USERS connections has COUNT responses, each of the PREDICTORS one
 *   hybrid until-end PORT USERS PREDICTORS HIDDEN          until the server has ended every connection: a request that was sent gets its response
 *   hybrid rounds PORT USERS PREDICTORS HIDDEN ROUNDS SECONDS [NAME=PID]...
 *                                                          latencies of /user, by turns without and with the predictors, and the ratio; and the
 *                                                          share of the CPUs that those processes and their children had
 * HIDDEN is the server's --hidden. 1: a response was wrong or lost; 2: it could not try. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IDS = 1000, INPUTS = 64, RESPONSE_MAX = 1024, EVENTS = 512, PATIENCE_S = 60, PROCESSES = 4 };

/* I1: `asked_ns` is not 0 exactly while a request is under way. */
typedef struct Client {
    int fd; /* -1: the server has ended it */
    bool predicts;
    uint32_t id;      /* what it asked for: a user, or one of `inputs` */
    uint32_t answers; /* since `mark` */
    uint64_t asked_ns;
    uint32_t got;
    char text[RESPONSE_MAX];
} Client;

/* The latencies of a phase, in ns. */
typedef struct Sample {
    uint64_t *at;
    size_t n, room;
} Sample;

/* What is asked of the model, and what it says. */
typedef struct Input {
    char x[64];
    double y;
} Input;

static int port, events;
static Input inputs[INPUTS];
static Client *clients;
static uint32_t users, predictors, open_now;
static bool predict_now, until_end;
static uint64_t user_answers, predict_answers, lost, wrong, mark_ns;
static uint32_t unmarked; /* connections for /user that have no response yet to a request since `mark_ns` */
static Sample *sample;    /* where latencies go, or NULL */
static Sample *predict_sample;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
static void give_up(const char *why) {
    fprintf(stderr, "hybrid: %s: %s\n", why, strerror(errno));
    exit(2);
}
static void add(Sample *s, uint64_t ns) {
    if (s->n == s->room) {
        s->room = s->room == 0 ? 1 << 16 : s->room * 2;
        s->at = (uint64_t *)realloc(s->at, s->room * sizeof *s->at);
        if (s->at == NULL) give_up("memory");
    }
    s->at[s->n++] = ns;
}

/* ---- One request, and its response. ---- */

static void complain(const Client *c, const char *what) {
    fprintf(stderr, "hybrid: %s: %s %u: '%.*s'\n", what, c->predicts ? "predictor" : "user", c->id, (int)c->got, c->text);
}
static void hang_up(Client *c) {
    close(c->fd);
    c->fd = -1;
    c->asked_ns = 0;
    open_now--;
}
/* The server ended it: with a request under way, it lost a response. */
static void ended(Client *c) {
    if (c->asked_ns != 0) {
        complain(c, "lost");
        lost++;
    } else if (!until_end) {
        complain(c, "hung up");
        lost++;
    }
    hang_up(c);
}

static uint32_t random_next(void) {
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}
/* As predict.cpp says. */
static void make_inputs(uint32_t hidden) {
    Input *input;
    for (input = inputs; input < inputs + INPUTS; input++) {
        double x[4];
        uint32_t i, j;
        for (j = 0; j < 4; j++) x[j] = ((int)(random_next() % 201) - 100) / 100.0;
        snprintf(input->x, sizeof input->x, "%.2f,%.2f,%.2f,%.2f", x[0], x[1], x[2], x[3]);
        for (i = 0; i < hidden; i++) {
            double sum = 0;
            for (j = 0; j < 4; j++) sum += (i + 1.0) / (j + 2.0) / hidden * x[j];
            input->y += tanh(sum) * 2 / hidden;
        }
    }
}

static void ask(Client *c) {
    char text[128];
    int n;
    if (c->predicts) {
        c->id = random_next() % INPUTS;
        n = snprintf(text, sizeof text, "GET /predict?x=%s HTTP/1.1\r\nHost: x\r\n\r\n", inputs[c->id].x);
    } else {
        c->id = c->id % IDS + 1; /* never that of the request before it */
        n = snprintf(text, sizeof text, "GET /user/%u HTTP/1.1\r\nHost: x\r\n\r\n", c->id);
    }
    c->got = 0;
    c->asked_ns = now_ns();
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n) ended(c); /* the buffer is empty: it takes all of it */
}

static bool is_prediction(const Client *c, const char *body) {
    char *end;
    double y = strtod(body, &end);
    return end != body && strcmp(end, "\n") == 0 && fabs(y - inputs[c->id].y) < 1e-4;
}
static bool is_right(const Client *c, const char *body) {
    char shall[128];
    if (strncmp(c->text, "HTTP/1.1 200 OK\r\n", 17) != 0) return false;
    if (c->predicts) return is_prediction(c, body);
    snprintf(shall, sizeof shall, "{\"id\":%u,\"name\":\"user \\\"%u\\\"\"}\n", c->id, c->id);
    return strcmp(body, shall) == 0;
}

/* Its response is whole, and `body` is where its body begins. */
static void answered(Client *c, const char *body) {
    uint64_t ns = now_ns() - c->asked_ns;
    const char *last = strcasestr(c->text, "connection: close");
    bool counts = c->asked_ns >= mark_ns;
    if (!is_right(c, body)) {
        complain(c, "wrong");
        wrong++;
    }
    c->asked_ns = 0;
    if (c->predicts) {
        predict_answers++;
        if (predict_sample != NULL && counts) add(predict_sample, ns);
    } else {
        user_answers++;
        if (sample != NULL && counts) add(sample, ns);
    }
    if (counts && c->answers++ == 0 && !c->predicts) unmarked--;
    if (last != NULL && last < body) hang_up(c);
    else if (!c->predicts || predict_now) ask(c);
}

static void readable(Client *c) {
    ssize_t n = recv(c->fd, c->text + c->got, sizeof c->text - 1 - c->got, MSG_DONTWAIT);
    char *body, *length;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        ended(c);
        return;
    }
    c->got += (uint32_t)n;
    c->text[c->got] = 0;
    body = strstr(c->text, "\r\n\r\n");
    length = strcasestr(c->text, "content-length:");
    if (c->asked_ns != 0 && c->got < sizeof c->text - 1) {
        size_t shall, is;
        if (body == NULL || length == NULL || length > body) return; /* more comes */
        body += 4;
        shall = strtoul(length + 15, NULL, 10);
        is = c->got - (size_t)(body - c->text);
        if (is < shall) return;
        if (is == shall) {
            answered(c, body);
            return;
        }
    }
    complain(c, "too much"); /* nobody asked for it */
    wrong++;
    hang_up(c);
}

/* ---- All of them. ---- */

static void open_client(Client *c) {
    struct sockaddr_in address;
    struct epoll_event event;
    int one = 1;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) give_up("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    event.events = EPOLLIN;
    event.data.ptr = c;
    if (epoll_ctl(events, EPOLL_CTL_ADD, c->fd, &event) != 0) give_up("epoll");
    open_now++;
}
static void open_all(void) {
    struct rlimit files;
    uint32_t i;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    events = epoll_create1(EPOLL_CLOEXEC);
    clients = (Client *)calloc(users + predictors, sizeof *clients);
    if (events < 0 || clients == NULL) give_up("start");
    for (i = 0; i < users + predictors; i++) {
        clients[i].predicts = i >= users;
        clients[i].id = i;
        open_client(&clients[i]);
    }
    for (i = 0; i < users; i++) ask(&clients[i]);
}

/* Serves what is ready. Exits if nothing comes for a minute: a response is stuck. */
static void turn(void) {
    static struct epoll_event ready[EVENTS];
    int i, n = epoll_wait(events, ready, EVENTS, PATIENCE_S * 1000);
    if (n < 0 && errno != EINTR) give_up("epoll");
    if (n == 0) {
        printf("nothing came for %d s\n", PATIENCE_S);
        exit(1);
    }
    for (i = 0; i < n; i++) readable((Client *)ready[i].data.ptr);
}

/* From now on the predictors loop, or do not; what counts are requests from now on. Comes back when each connection has a response to such a one. */
static void mark(bool predict) {
    uint32_t i;
    predict_now = predict;
    mark_ns = now_ns();
    unmarked = users;
    for (i = 0; i < users + predictors; i++) clients[i].answers = 0;
    for (i = users; predict && i < users + predictors; i++)
        if (clients[i].fd >= 0 && clients[i].asked_ns == 0) ask(&clients[i]);
    while (unmarked > 0 && open_now > 0 && (until_end || lost == 0)) turn();
}

static int verdict(void) {
    printf("%llu of /user, %llu of /predict, %llu lost, %llu wrong\n", (unsigned long long)user_answers, (unsigned long long)predict_answers,
           (unsigned long long)lost, (unsigned long long)wrong);
    return lost + wrong != 0 || user_answers < users || (predictors > 0 && predict_answers < predictors);
}
static bool all_have(uint32_t count) {
    uint32_t i;
    for (i = 0; i < users + predictors; i++)
        if (clients[i].answers < (clients[i].predicts ? 1 : count)) return false;
    return true;
}
static int check(uint32_t count) {
    mark(true);
    while (lost + wrong == 0 && !all_have(count)) turn();
    return verdict();
}
static int check_end(void) {
    until_end = true;
    mark(true);
    fprintf(stderr, "hybrid: under way\n"); /* who is to end the server now waits for this line */
    while (open_now > 0) turn();
    return verdict();
}

/* ---- The table. ---- */

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}
/* In ms. */
static double percentile(Sample *s, double p) {
    if (s->n == 0) return NAN;
    return (double)s->at[(size_t)(p * (double)(s->n - 1))] / 1e6;
}
static double median(double *at, uint32_t n) {
    uint32_t i, j;
    for (i = 1; i < n; i++)
        for (j = i; j > 0 && at[j] < at[j - 1]; j--) {
            double x = at[j];
            at[j] = at[j - 1];
            at[j - 1] = x;
        }
    return n % 2 ? at[n / 2] : (at[n / 2 - 1] + at[n / 2]) / 2;
}
/* A process, and its children, whose CPU time is shown. */
typedef struct Process {
    const char *name;
    int pid;
    uint64_t before, after; /* in ticks */
} Process;
static Process processes[PROCESSES];
static uint32_t process_count;
static uint64_t busy_before, busy_after; /* all CPUs */

static void read_cpu(bool after) {
    DIR *all = opendir("/proc");
    FILE *file = fopen("/proc/stat", "r");
    struct dirent *entry;
    unsigned long long t[8] = {0};
    uint32_t i;
    if (all == NULL || file == NULL) give_up("/proc");
    if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6]) != 7) give_up("/proc/stat");
    fclose(file);
    *(after ? &busy_after : &busy_before) = t[0] + t[1] + t[2] + t[5] + t[6];
    for (i = 0; i < process_count; i++) *(after ? &processes[i].after : &processes[i].before) = 0;
    while ((entry = readdir(all)) != NULL) {
        char path[280], text[1024], *at;
        int pid = atoi(entry->d_name), parent;
        size_t n;
        if (pid == 0) continue;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        file = fopen(path, "r");
        if (file == NULL) continue; /* it has ended */
        n = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[n] = 0;
        at = strrchr(text, ')'); /* its name may have anything in it */
        if (at == NULL || sscanf(at + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &parent, &t[0], &t[1]) != 3) continue;
        for (i = 0; i < process_count; i++)
            if (processes[i].pid == pid || processes[i].pid == parent) *(after ? &processes[i].after : &processes[i].before) += t[0] + t[1];
    }
    closedir(all);
}
static void show_cpu(double took) {
    double cpus = (double)sysconf(_SC_NPROCESSORS_ONLN), ticks = took * cpus * (double)sysconf(_SC_CLK_TCK) / 100;
    double others = (double)(busy_after - busy_before);
    uint32_t i;
    for (i = 0; i < process_count; i++) {
        double used = (double)processes[i].after - (double)processes[i].before;
        others -= used;
        printf("%9.0f%%", used / ticks);
    }
    printf("%9.0f%%", others < 0 ? 0 : others / ticks);
}

/* One phase. Gives the p99 of /user. */
static double phase(uint32_t round, bool predict, double seconds) {
    Sample of_users = {NULL, 0, 0}, of_predictors = {NULL, 0, 0};
    uint64_t begin;
    double took, p99;
    mark(predict);
    sample = &of_users;
    predict_sample = &of_predictors;
    read_cpu(false);
    begin = now_ns();
    while (lost + wrong == 0 && (double)(now_ns() - begin) < seconds * 1e9) turn();
    took = (double)(now_ns() - begin) / 1e9;
    read_cpu(true);
    sample = predict_sample = NULL;
    qsort(of_users.at, of_users.n, sizeof *of_users.at, by_size);
    qsort(of_predictors.at, of_predictors.n, sizeof *of_predictors.at, by_size);
    p99 = percentile(&of_users, 0.99);
    printf("%5u  %-8s  %7.0f  %6.1f  %6.1f  %6.1f", round, predict ? "with" : "without", (double)of_users.n / took, percentile(&of_users, 0.5), p99,
           percentile(&of_users, 1));
    if (predict)
        printf("  %10.0f  %6.2f  %6.2f", (double)of_predictors.n / took, percentile(&of_predictors, 0.5), percentile(&of_predictors, 0.99));
    else printf("  %10s  %6s  %6s", "-", "-", "-");
    show_cpu(took);
    printf("\n");
    fflush(stdout);
    free(of_users.at);
    free(of_predictors.at);
    return p99;
}
static int rounds(uint32_t n, double seconds) {
    double *without = (double *)calloc(n, sizeof *without), *with = (double *)calloc(n, sizeof *with), a, b;
    uint32_t i;
    if (without == NULL || with == NULL) give_up("memory");
    printf("%u connections ask for /user, %u for /predict by turns; latencies in ms; shares of all CPUs\n", users, predictors);
    printf("round  /predict  /user/s     p50     p99    most  /predict/s     p50     p99");
    for (i = 0; i < process_count; i++) printf("%10s", processes[i].name);
    printf("    others\n");
    for (i = 0; i < n && lost + wrong == 0; i++) {
        bool first = i % 2 != 0; /* what comes first changes */
        (first ? with : without)[i] = phase(i + 1, first, seconds);
        (first ? without : with)[i] = phase(i + 1, !first, seconds);
    }
    if (i == n) {
        a = median(without, n);
        b = median(with, n);
        printf("p99 of /user, median of %u: %.1f without, %.1f with: %.2f times\n", n, a, b, b / a);
    }
    free(without);
    free(with);
    return verdict();
}

static int usage(void) {
    fprintf(stderr, "usage: hybrid check PORT USERS PREDICTORS HIDDEN COUNT | until-end PORT USERS PREDICTORS HIDDEN |\n"
                    "  rounds PORT USERS PREDICTORS HIDDEN ROUNDS SECONDS [NAME=PID]...\n");
    return 2;
}
int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    int i, hidden, needed = strcmp(mode, "check") == 0 ? 7 : strcmp(mode, "until-end") == 0 ? 6 : strcmp(mode, "rounds") == 0 ? 8 : 0;
    if (needed == 0 || argc < needed || argc > (needed == 8 ? 8 + PROCESSES - 1 : needed)) return usage();
    port = atoi(argv[2]);
    users = (uint32_t)atoi(argv[3]);
    predictors = (uint32_t)atoi(argv[4]);
    hidden = atoi(argv[5]);
    if (users < 1 || hidden < 1 || (needed > 6 && atoi(argv[6]) < 1)) return usage();
    for (i = needed; i < argc; i++) {
        char *is = strchr(argv[i], '=');
        if (is == NULL) return usage();
        *is = 0;
        processes[process_count].name = argv[i];
        processes[process_count++].pid = atoi(is + 1);
    }
    processes[process_count].name = "client";
    processes[process_count++].pid = (int)getpid();
    make_inputs((uint32_t)hidden);
    open_all();
    if (needed == 6) return check_end();
    if (needed == 7) return check((uint32_t)atoi(argv[6]));
    return rounds((uint32_t)atoi(argv[6]), atof(argv[7]));
}

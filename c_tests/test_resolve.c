/* timeout: 300 */
/* Names: the same answers as getaddrinfo's, from goroutines and threads; time-outs and cancels in time, whatever the resolver does: in a
 * name space where the only name server never answers, and with a getaddrinfo of our own in front of glibc's. */
#include "check.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

enum { NAME_THREADS = 64 };

/* ---- a getaddrinfo that waits when it is told to: the program's comes before glibc's ---- */
typedef int (*Getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
static uint64_t held; /* "held.*": wait until it is 0 */
static uint64_t inside, calls;

/* netdb.h has declared it, for C++ too. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    Getaddrinfo real;
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    CHECK(symbol != NULL);
    memcpy(&real, &symbol, sizeof real);
    ADD(calls, 1);
    if (node != NULL && strncmp(node, "held.", 5) == 0) {
        ADD(inside, 1);
        while (GET(held) != 0) thread_sleep(MS);
        ADD(inside, -1);
        return real("127.0.0.1", service, hints, list); /* a late answer: somebody has to free it */
    }
    return real(node, service, hints, list);
}

/* ---- the same as getaddrinfo ---- */
static bool same_list(const struct addrinfo *a, const struct addrinfo *b) {
    for (; a != NULL && b != NULL; a = a->ai_next, b = b->ai_next) {
        if (a->ai_flags != b->ai_flags || a->ai_family != b->ai_family || a->ai_socktype != b->ai_socktype) return false;
        if (a->ai_protocol != b->ai_protocol || a->ai_addrlen != b->ai_addrlen) return false;
        if (memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen) != 0) return false;
        if ((a->ai_canonname == NULL) != (b->ai_canonname == NULL)) return false;
        if (a->ai_canonname != NULL && strcmp(a->ai_canonname, b->ai_canonname) != 0) return false;
    }
    return a == NULL && b == NULL;
}
static void same(const char *node, const char *service, const struct addrinfo *hints, uint64_t timeout) {
    struct addrinfo untouched, *a = &untouched, *b = NULL;
    int64_t is = goroutine_getaddrinfo(node, service, hints, &a, timeout);
    int shall = getaddrinfo(node, service, hints, &b);
    CHECK_EQ(is, shall);
    CHECK(is == 0 ? same_list(a, b) : a == &untouched);
    if (is == 0) freeaddrinfo(a), freeaddrinfo(b);
}
static void *battery(void *arg) {
    const uint64_t timeouts[2] = {30 * SECOND, GOROUTINE_FOREVER};
    struct addrinfo hints;
    int i;
    if (arg != NULL) OK(goroutine_ffi_bind());
    for (i = 0; i < 2; i++) {
        memset(&hints, 0, sizeof hints);
        same("127.0.0.1", "80", NULL, timeouts[i]);
        same("::1", NULL, NULL, timeouts[i]);
        same("localhost", "80", NULL, timeouts[i]);
        same(NULL, "443", NULL, timeouts[i]);
        same(NULL, NULL, NULL, timeouts[i]);
        hints.ai_flags = AI_PASSIVE;
        hints.ai_socktype = SOCK_STREAM;
        same(NULL, "80", &hints, timeouts[i]);
        hints.ai_flags = AI_NUMERICHOST | AI_CANONNAME;
        hints.ai_family = AF_INET;
        same("10.1.2.3", NULL, &hints, timeouts[i]);
        same("no number", NULL, &hints, timeouts[i]);
        same("::1", NULL, &hints, timeouts[i]);
        hints.ai_flags = AI_NUMERICSERV;
        same("127.0.0.1", "no number", &hints, timeouts[i]);
        hints.ai_flags = 0x7FFFFFFF;
        same("127.0.0.1", NULL, &hints, timeouts[i]);
        hints.ai_flags = 0;
        hints.ai_family = 12345;
        same("127.0.0.1", NULL, &hints, timeouts[i]);
        hints.ai_family = AF_INET;
        hints.ai_socktype = 77;
        same("127.0.0.1", NULL, &hints, timeouts[i]);
    }
    return NULL;
}
static void *battery_on_thread(void *arg) { return battery(arg); }

/* ---- look-ups that nobody answers ---- */
typedef struct Lookup {
    const char *name;
    uint64_t timeout, early, late;
    int64_t result;
} Lookup;
static void *look_up(void *arg) {
    Lookup *l = (Lookup *)arg;
    struct addrinfo *list = NULL;
    uint64_t begun = now_ns(), took;
    l->result = goroutine_getaddrinfo(l->name, "80", NULL, &list, l->timeout);
    took = now_ns() - begun;
    l->early = l->timeout != GOROUTINE_FOREVER && l->result == GOROUTINE_ETIMEDOUT && took + MS < l->timeout;
    if (l->result == 0) freeaddrinfo(list);
    return NULL;
}
static void all_time_out(const char *name, uint64_t n) {
    static Lookup lookups[10000];
    static GoroutinePromise *promises[10000];
    uint64_t i;
    for (i = 0; i < n; i++) {
        memset(&lookups[i], 0, sizeof lookups[i]);
        lookups[i].name = name;
        lookups[i].timeout = 100 * MS;
        promises[i] = goroutine_spawn(look_up, &lookups[i]);
        CHECK(promises[i] != NULL);
    }
    for (i = 0; i < n; i++) {
        /* The slack is for a loaded machine. Without a time-out of their own they take minutes, or for ever. */
        OK(goroutine_promise_await_take(promises[i], 30 * SECOND, NULL));
        CHECK_EQ(lookups[i].result, GOROUTINE_ETIMEDOUT);
        CHECK(!lookups[i].early);
    }
}
static void *on_a_thread(void *arg) { return look_up(arg); }

static void held_look_ups(void) {
    static char name[32];
    Lookup cancelled, queued, on_thread;
    GoroutinePromise *first, *second;
    pthread_t thread;
    uint64_t before;
    strcpy(name, "held.example");
    SET(held, 1);
    memset(&cancelled, 0, sizeof cancelled);
    cancelled.name = name;
    cancelled.timeout = GOROUTINE_FOREVER;
    queued = on_thread = cancelled;
    on_thread.timeout = 50 * MS;
    /* Begun, and abandoned by a cancel. */
    first = goroutine_spawn(look_up, &cancelled);
    while (GET(inside) != 1) thread_sleep(MS);
    OK(goroutine_cancel(first));
    OK(goroutine_promise_await_take(first, 30 * SECOND, NULL));
    CHECK_EQ(cancelled.result, GOROUTINE_ECANCELED);
    CHECK_EQ(GET(inside), 1); /* it goes on alone */
    memset(name, 'x', sizeof name - 1); /* with a copy of its own */
    strcpy(name, "held.example");
    /* From a thread. */
    CHECK(pthread_create(&thread, NULL, on_a_thread, &on_thread) == 0 && pthread_join(thread, NULL) == 0);
    CHECK_EQ(on_thread.result, GOROUTINE_ETIMEDOUT);
    /* As many as there may be, and as many again: those never begin. */
    before = GET(calls);
    all_time_out(name, 10000);
    CHECK(GET(inside) <= NAME_THREADS);
    CHECK(GET(calls) - before <= NAME_THREADS);
    CHECK(GET(inside) > 1);
    /* Every thread is taken: one that waits is cancelled before it begins. */
    while (GET(inside) < NAME_THREADS) all_time_out(name, NAME_THREADS);
    before = GET(calls);
    second = goroutine_spawn(look_up, &queued);
    CHECK_EQ(goroutine_promise_await(second, 20 * MS, NULL), GOROUTINE_ETIMEDOUT);
    OK(goroutine_cancel(second));
    OK(goroutine_promise_await_take(second, 30 * SECOND, NULL));
    CHECK_EQ(queued.result, GOROUTINE_ECANCELED);
    SET(held, 0);
    wait_for_bound(0);
    CHECK_EQ(GET(inside), 0);
    CHECK_EQ(GET(calls), before);
    run_goroutine(battery, NULL); /* and all is well */
}

/* ---- a name server that never answers ---- */
static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}
static int name_server(uint32_t address) {
    struct sockaddr_in here;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_port = htons(53);
    here.sin_addr.s_addr = htonl(address);
    return fd >= 0 && bind(fd, (struct sockaddr *)&here, sizeof here) == 0 ? fd : -1;
}
static uint64_t questions(int fd) {
    uint64_t n = 0;
    char question[512];
    while (recv(fd, question, sizeof question, 0) > 0) n++;
    return n;
}
static bool own_network(void) {
    struct ifreq lo;
    int other;
    if ((geteuid() != 0 && unshare(CLONE_NEWUSER) != 0) || unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) return false;
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0) return false;
    if (mount("names", "/mnt", "tmpfs", 0, "size=64k") != 0) return false;
    write_file("/mnt/resolv.conf", "nameserver 127.0.0.1\n");
    write_file("/mnt/nsswitch.conf", "hosts: files dns\n");
    if (mount("/mnt/resolv.conf", "/etc/resolv.conf", "none", MS_BIND, NULL) != 0) return false;
    if (mount("/mnt/nsswitch.conf", "/etc/nsswitch.conf", "none", MS_BIND, NULL) != 0) return false;
    memset(&lo, 0, sizeof lo);
    strcpy(lo.ifr_name, "lo");
    lo.ifr_flags = IFF_UP | IFF_RUNNING;
    other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (other < 0 || ioctl(other, SIOCSIFFLAGS, &lo) != 0) return false;
    close(other);
    return true;
}
static void in_name_space(void *arg) {
    int first, second;
    uint64_t asked;
    (void)arg;
    if (!own_network() || (first = name_server(INADDR_LOOPBACK)) < 0 || (second = name_server(INADDR_LOOPBACK + 1)) < 0) {
        fprintf(stderr, "not permitted\n");
        return;
    }
    start_workers(2);
    all_time_out("nobody.example.org", scaled(10000, 10));
    wait_for_bound(0); /* every thread is free again */
    asked = questions(first);
    /* Two questions, for either kind of address, once: glibc by itself would ask again, after 5 s, and wait for 5 s more. */
    CHECK(GET(calls) != 0 && asked != 0);
    CHECK(asked <= 2 * GET(calls));
    CHECK_EQ(questions(second), 0);
    /* A changed configuration is noticed. */
    write_file("/mnt/resolv.conf", "# another one\nnameserver 127.0.0.2\n");
    all_time_out("nobody.example.org", NAME_THREADS);
    wait_for_bound(0);
    CHECK(questions(second) != 0);
    CHECK_EQ(questions(first), 0);
    stop();
}
static void silent_name_server(void) {
    static Child child;
    run_child(in_name_space, NULL, &child);
    if (strstr(child.text, "not permitted") != NULL) {
        fprintf(stderr, "skipped: a name server that never answers (no name spaces permitted)\n");
    } else if (child.signal != 0 || child.status != 0) {
        fprintf(stderr, "a name server that never answers: signal %d, status %d: %s", child.signal, child.status, child.text);
        _exit(1);
    }
}

/* ---- a shutdown waits for a look-up that has begun ---- */
static void *let_go(void *arg) {
    thread_sleep(100 * MS);
    SET(held, 0);
    return arg;
}
static void shut_down_meanwhile(void) {
    static Lookup lookup;
    GoroutinePromise *promise;
    pthread_t thread;
    lookup.name = "held.example";
    lookup.timeout = GOROUTINE_FOREVER;
    SET(held, 1);
    CHECK((promise = goroutine_spawn(look_up, &lookup)) != NULL);
    while (GET(inside) != 1) thread_sleep(MS);
    CHECK_EQ(goroutine_runtime_shutdown(20 * MS), GOROUTINE_ETIMEDOUT);
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    CHECK_EQ(lookup.result, GOROUTINE_ECANCELED);
    CHECK(pthread_create(&thread, NULL, let_go, NULL) == 0);
    stop();
    CHECK_EQ(GET(inside), 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(void) {
    pthread_t thread;
    Lookup none;
    silent_name_server();
    start_workers(2);
    run_goroutine(battery, NULL);
    run_goroutine(battery, P(1)); /* bound */
    CHECK(pthread_create(&thread, NULL, battery_on_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    memset(&none, 0, sizeof none);
    none.name = "127.0.0.1";
    run_goroutine(look_up, &none); /* a time-out of 0 */
    CHECK_EQ(none.result, GOROUTINE_ETIMEDOUT);
    held_look_ups();
    shut_down_meanwhile();
    none.timeout = SECOND;
    look_up(&none);
    CHECK_EQ(none.result, GOROUTINE_ESHUTDOWN);
    start_workers(1);
    run_goroutine(battery, NULL);
    stop();
    return 0;
}

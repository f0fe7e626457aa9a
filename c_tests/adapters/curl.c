/* include/goroutine_curl.h against libcurl and nginx, over HTTP and HTTPS, and against servers here that misbehave. */
#include "adapters.h"
/* So long that nothing here gets on by it, but where a test says otherwise. */
static uint64_t beat_ns = 200 * SECOND;
#define GOROUTINE_CURL_BEAT_NS beat_ns
#include <goroutine_curl.h>
#include <goroutine_curl.h> /* twice */
#include <linux/filter.h>

enum { MANY = 1000, BIG = 8 << 20, UPLOAD = 4 << 20 };

static char http[128], https[128], by_name[128]; /* where nginx is */
static const char *authority;                    /* the file of its CA */
static int silent_port, gate_port, sink_port, refused_port;

/* What a transfer has got. */
typedef struct Body {
    size_t bytes;
    uint64_t sum;
    char text[64];
} Body;

static size_t take(char *data, size_t size, size_t n, void *arg) {
    Body *body = (Body *)arg;
    size_t i, bytes = size * n;
    for (i = 0; i < bytes; i++) body->sum = body->sum * 31 + (unsigned char)data[i];
    for (i = 0; i < bytes && body->bytes + i + 1 < sizeof body->text; i++) body->text[body->bytes + i] = data[i];
    body->bytes += bytes;
    return bytes;
}

static CURL *transfer(const char *base, int port, const char *path, Body *body) {
    char url[256];
    CURL *easy = curl_easy_init();
    CHECK(easy != NULL);
    memset(body, 0, sizeof *body);
    if (base != NULL) snprintf(url, sizeof url, "%s%s", base, path);
    else snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(easy, CURLOPT_CAINFO, authority);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 240000L);
    return easy;
}
static long info(CURL *easy, CURLINFO which) {
    long value = -1;
    CHECK_EQ(curl_easy_getinfo(easy, which, &value), CURLE_OK);
    return value;
}
static void expect(CURL *easy, Body *body, CURLcode code, long status) {
    CURLcode is = goroutine_curl_perform(easy);
    if (is != code) fprintf(stderr, "%s\n", curl_easy_strerror(is));
    CHECK_EQ(is, code);
    if (code == CURLE_OK) CHECK_EQ(info(easy, CURLINFO_RESPONSE_CODE), status);
    if (status == 200) CHECK(body->bytes > 0);
    curl_easy_cleanup(easy);
}

/* ---- Servers. ---- */

/* Accepts, and never answers. */
static int silent_fds[64], silent_count;
static void *silent(void *arg) {
    int64_t fd;
    while ((fd = goroutine_accept((int)(intptr_t)arg, NULL, NULL)) >= 0) {
        CHECK(silent_count < 64);
        silent_fds[silent_count++] = (int)fd;
    }
    CHECK_EQ(fd, GOROUTINE_EBADF);
    return NULL;
}
static void wait_for_silent(int count) {
    while (GET(silent_count) < count) OK(goroutine_sleep(MS));
}

/* Reads a request's head, byte by byte. */
static int64_t read_head(int fd, char *head, size_t room) {
    size_t n = 0;
    while (n + 1 < room) {
        int64_t got = goroutine_read(fd, head + n, 1);
        if (got <= 0) return got;
        n++;
        head[n] = 0;
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0) return (int64_t)n;
    }
    return -EMSGSIZE;
}
static void respond(int fd, const char *body) {
    char text[256];
    int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(body), body);
    CHECK(write_all(fd, text, (size_t)n));
    CHECK_EQ(goroutine_close(fd), 0);
}

/* Answers when MANY requests have come, not before: so all are under way at the same time. */
static GoroutineWaitGroup *missing;
static void *gate_one(void *arg) {
    char head[2048];
    CHECK(read_head((int)(intptr_t)arg, head, sizeof head) > 0);
    OK(goroutine_wait_group_done(missing));
    OK(goroutine_wait_group_wait(missing, 240 * SECOND));
    respond((int)(intptr_t)arg, "all are here");
    return NULL;
}
static void *gate(void *arg) {
    int64_t fd;
    while ((fd = goroutine_accept((int)(intptr_t)arg, NULL, NULL)) >= 0) OK(goroutine_go(gate_one, P(fd)));
    CHECK_EQ(fd, GOROUTINE_EBADF);
    return NULL;
}

/* Reads a body slowly, and answers how much there was. */
static void *sink_one(void *arg) {
    int fd = (int)(intptr_t)arg;
    char head[2048], text[32], *at;
    char *chunk = (char *)malloc(65536);
    size_t length, got = 0;
    CHECK(chunk != NULL && read_head(fd, head, sizeof head) > 0);
    at = strcasestr(head, "content-length:");
    CHECK(at != NULL);
    length = strtoull(at + 15, NULL, 10);
    while (got < length) {
        int64_t n = goroutine_read(fd, chunk, 65536);
        CHECK(n > 0);
        got += (size_t)n;
        if (got % 7 == 0) goroutine_yield();
    }
    snprintf(text, sizeof text, "%zu", got);
    free(chunk);
    respond(fd, text);
    return NULL;
}
static void *sink(void *arg) {
    int64_t fd;
    while ((fd = goroutine_accept((int)(intptr_t)arg, NULL, NULL)) >= 0) OK(goroutine_go(sink_one, P(fd)));
    CHECK_EQ(fd, GOROUTINE_EBADF);
    return NULL;
}

/* ---- One at a time. ---- */

static void *plain(void *unused) {
    Body body;
    CURL *easy = transfer(http, 0, "/hello", &body);
    int i;
    CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK);
    CHECK_EQ(info(easy, CURLINFO_RESPONSE_CODE), 200);
    CHECK(strcmp(body.text, "hello\n") == 0);
    curl_easy_cleanup(easy);

    easy = transfer(http, 0, "/hello", &body); /* another handle: the connection is there */
    CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK);
    CHECK_EQ(info(easy, CURLINFO_NUM_CONNECTS), 0);
    CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK); /* the same handle again */
    CHECK_EQ(body.bytes, 12);
    curl_easy_cleanup(easy);

    easy = transfer(http, 0, "/hello", &body); /* without a time-out libcurl may want no timer at all */
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 0L);
    for (i = 0; i < 10; i++) CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK);
    CHECK_EQ(body.bytes, 60);
    curl_easy_cleanup(easy);

    expect(transfer(http, 0, "/missing", &body), &body, CURLE_OK, 404);
    expect(transfer(by_name, 0, "/hello", &body), &body, CURLE_OK, 200); /* resolved; its first address may refuse */
    return unused;
}

static uint64_t big_sum(void) {
    uint64_t sum = 0, i;
    for (i = 0; i < BIG; i++) sum = sum * 31 + "0123456789abcde\n"[i % 16];
    return sum;
}
static void *tls(void *unused) {
    Body body;
    CURL *easy = transfer(https, 0, "/big", &body);
    CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK);
    CHECK_EQ(info(easy, CURLINFO_SSL_VERIFYRESULT), 0);
    CHECK_EQ(body.bytes, BIG);
    CHECK_EQ(body.sum, big_sum());
    curl_easy_cleanup(easy);

    easy = transfer(https, 0, "/hello", &body); /* an authority that the server's certificate is not of */
    curl_easy_setopt(easy, CURLOPT_CAINFO, setting("ADAPTERS_OTHER_CA"));
    expect(easy, &body, CURLE_PEER_FAILED_VERIFICATION, 0);
    return unused;
}

static size_t give(char *data, size_t size, size_t n, void *arg) {
    size_t *left = (size_t *)arg, bytes = size * n;
    if (bytes > *left) bytes = *left;
    memset(data, 'u', bytes);
    *left -= bytes;
    return bytes;
}
static void *upload(void *unused) {
    Body body;
    size_t left = UPLOAD;
    CURL *easy = transfer(NULL, sink_port, "/", &body);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(easy, CURLOPT_READDATA, &left);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE, (long)UPLOAD);
    CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK);
    CHECK_EQ(strtoull(body.text, NULL, 10), UPLOAD);
    curl_easy_cleanup(easy);
    return unused;
}

static int give_up(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    return ADD(*(int *)arg, 1) >= 30; /* far more often than something happens */
}
static void *errors(void *unused) {
    Body body;
    int calls = 0;
    CURL *easy;
    CHECK_EQ(goroutine_curl_perform(NULL), CURLE_BAD_FUNCTION_ARGUMENT);
    expect(transfer(NULL, refused_port, "/", &body), &body, CURLE_COULDNT_CONNECT, 0);
    expect(transfer("http://goroutine.invalid", 0, "/", &body), &body, CURLE_COULDNT_RESOLVE_HOST, 0);
    expect(transfer("nonsense://127.0.0.1", 0, "/", &body), &body, CURLE_UNSUPPORTED_PROTOCOL, 0);

    easy = transfer(NULL, silent_port, "/", &body);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 50L);
    expect(easy, &body, CURLE_OPERATION_TIMEDOUT, 0);

    easy = transfer(NULL, silent_port, "/", &body); /* the callback is asked although nothing happens */
    beat_ns = 10 * MS;
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, give_up);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &calls);
    expect(easy, &body, CURLE_ABORTED_BY_CALLBACK, 0);
    beat_ns = 200 * SECOND;
    return unused;
}

/* A callback parks, and performs a transfer itself; and its own, which is in use. */
static CURL *outer;
static void *inside(void *unused) {
    Body body;
    OK(goroutine_sleep(MS));
    expect(transfer(https, 0, "/hello", &body), &body, CURLE_OK, 200);
    CHECK_EQ(goroutine_curl_perform(outer), CURLE_FAILED_INIT);
    return unused;
}
static size_t take_and_park(char *data, size_t size, size_t n, void *arg) {
    goroutine_callback_run(inside, NULL);
    return take(data, size, n, arg);
}
static void *callbacks(void *unused) {
    Body body;
    outer = transfer(https, 0, "/hello", &body);
    curl_easy_setopt(outer, CURLOPT_WRITEFUNCTION, take_and_park);
    CHECK_EQ(goroutine_curl_perform(outer), CURLE_OK);
    CHECK(strcmp(body.text, "hello\n") == 0);
    curl_easy_cleanup(outer);
    return unused;
}

static void *perform(void *easy) { return P(goroutine_curl_perform((CURL *)easy)); }
static void *cancels(void *unused) {
    Body body, other;
    void *code = NULL;
    int before = GET(silent_count);
    CURL *easy = transfer(NULL, silent_port, "/", &body);
    GoroutinePromise *one = goroutine_spawn(perform, easy);
    wait_for_silent(before + 1);
    OK(goroutine_cancel(one));
    OK(goroutine_promise_await_take(one, 60 * SECOND, &code));
    CHECK_EQ(U(code), CURLE_ABORTED_BY_CALLBACK);
    curl_easy_setopt(easy, CURLOPT_URL, http); /* it is as good as before */
    CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK);
    curl_easy_cleanup(easy);

    { /* as async operations */
        int64_t id, quick;
        CURL *slow = transfer(NULL, silent_port, "/", &body), *fast = transfer(http, 0, "/hello", &other);
        CHECK_EQ(goroutine_curl_async(NULL), GOROUTINE_EINVAL);
        CHECK((id = goroutine_curl_async(slow)) > 0);
        CHECK((quick = goroutine_curl_async(fast)) > 0);
        OK(goroutine_async_await(quick, 60 * SECOND, &code));
        CHECK_EQ(U(code), CURLE_OK);
        CHECK(strcmp(other.text, "hello\n") == 0);
        CHECK_EQ(goroutine_curl_async_cancel(quick), GOROUTINE_EALREADY);
        CHECK_EQ(goroutine_async_await(id, 0, &code), GOROUTINE_EAGAIN);
        wait_for_silent(before + 2);
        OK(goroutine_curl_async_cancel(id));
        OK(goroutine_async_await(id, 60 * SECOND, &code));
        CHECK_EQ(U(code), CURLE_ABORTED_BY_CALLBACK);
        curl_easy_cleanup(slow);
        curl_easy_cleanup(fast);
    }
    return unused;
}

/* A host with two addresses, of which the first one says nothing: libcurl tries the other meanwhile, and waits for both. */
static void *two_sockets(void *unused) {
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog filter = {1, nothing};
    struct sockaddr_in6 address;
    char both[128], url[128];
    struct curl_slist *hosts;
    Body body;
    CURL *easy;
    int yes = 1, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    address.sin6_port = htons((uint16_t)atoi(strrchr(http, ':') + 1));
    if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fprintf(stderr, "no IPv6 here: not tried with two addresses\n");
        if (fd >= 0) close(fd);
        return unused;
    }
    CHECK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0 && listen(fd, 1) == 0);
    snprintf(both, sizeof both, "two.test%s:[::1],127.0.0.1", strrchr(http, ':'));
    snprintf(url, sizeof url, "http://two.test%s", strrchr(http, ':'));
    hosts = curl_slist_append(NULL, both);
    goroutine_curl_cleanup();
    easy = transfer(url, 0, "/hello", &body);
    curl_easy_setopt(easy, CURLOPT_RESOLVE, hosts);
    curl_easy_setopt(easy, CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS, 20L);
    expect(easy, &body, CURLE_OK, 200);
    CHECK(goroutine_curl_shared.idle != NULL && goroutine_curl_shared.idle->epoll >= 0); /* it did wait for both */
    curl_slist_free_all(hosts);
    close(fd);
    return unused;
}

/* ---- Many at a time. ---- */

static int done_count;
static void *one_of_gate(void *unused) {
    Body body;
    expect(transfer(NULL, gate_port, "/", &body), &body, CURLE_OK, 200);
    CHECK(strcmp(body.text, "all are here") == 0);
    ADD(done_count, 1);
    return unused;
}
static void *one_of_many(void *index) {
    Body body;
    CURL *easy = transfer(U(index) % 2 ? https : http, 0, "/trickle", &body); /* nginx sends it bit by bit */
    CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK);
    CHECK_EQ(body.bytes, 20000);
    curl_easy_cleanup(easy);
    ADD(done_count, 1);
    return NULL;
}

static void *stack_use(void *unused) {
    Body body;
    CURL *easy = transfer(https, 0, "/hello", &body);
    goroutine_curl_cleanup(); /* so that there is a handshake */
    paint_stack();
    CHECK_EQ(goroutine_curl_perform(easy), CURLE_OK);
    stack_is_within("goroutine_curl_perform", 4096);
    curl_easy_cleanup(easy);
    return unused;
}

static int listener(GoroutineFn server, int *port) {
    int fd = listen_anywhere(port);
    OK(goroutine_go(server, P(fd)));
    return fd;
}
static void *on_thread(void *unused) {
    Body body;
    expect(transfer(https, 0, "/hello", &body), &body, CURLE_OK, 200);
    expect(transfer(by_name, 0, "/hello", &body), &body, CURLE_OK, 200);
    return unused;
}

static void all(uint32_t workers) {
    int listeners[3], i, before;
    pthread_t thread;
    start_workers(workers);
    before = open_descriptors();
    done_count = silent_count = 0;
    CHECK((missing = goroutine_wait_group_new()) != NULL);
    OK(goroutine_wait_group_add(missing, MANY));
    listeners[0] = listener(silent, &silent_port);
    listeners[1] = listener(gate, &gate_port);
    listeners[2] = listener(sink, &sink_port);
    run_goroutine(plain, NULL);
    run_goroutine(tls, NULL);
    run_goroutine(upload, NULL);
    run_goroutine(errors, NULL);
    run_goroutine(callbacks, NULL);
    run_goroutine(cancels, NULL);
    run_goroutine(two_sockets, NULL);
    run_goroutine(stack_use, NULL);
    spawn_all(MANY, one_of_gate);
    CHECK_EQ(done_count, MANY);
    spawn_all(MANY, one_of_many);
    CHECK_EQ(done_count, 2 * MANY);
    CHECK(pthread_create(&thread, NULL, on_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    goroutine_curl_cleanup();
    for (i = 0; i < 3; i++) CHECK_EQ(goroutine_close(listeners[i]), 0);
    for (i = 0; i < silent_count; i++) CHECK_EQ(goroutine_close(silent_fds[i]), 0);
    OK(goroutine_runtime_wait(60 * SECOND));
    OK(goroutine_wait_group_free(missing));
    CHECK(open_descriptors() <= before + 3); /* the library's own: the poller's two, this thread's one */
    stop();
}

int main(void) {
    authority = setting("ADAPTERS_CA");
    snprintf(http, sizeof http, "http://127.0.0.1:%s", setting("ADAPTERS_HTTP_PORT"));
    snprintf(https, sizeof https, "https://localhost:%s", setting("ADAPTERS_HTTPS_PORT"));
    snprintf(by_name, sizeof by_name, "http://localhost:%s", setting("ADAPTERS_HTTP_PORT"));
    many_descriptors(3 * MANY + MANY + 500);
    CHECK_EQ(curl_global_init(CURL_GLOBAL_DEFAULT), CURLE_OK);
    close(listen_anywhere(&refused_port));
    all(1);
    all(4);
    curl_global_cleanup();
    return 0;
}

/* include/goroutine_openssl.h against OpenSSL: between goroutines with certificates on both sides, with nginx, and when it goes wrong. */
#include "adapters.h"
#include <goroutine_openssl.h>
#include <goroutine_openssl.h> /* twice */
#include <poll.h>

enum { MANY = 200, BIG = 1 << 20 };

static SSL_CTX *server_context, *client_context;

static void file_name(char *name, size_t room, const char *what) {
    snprintf(name, room, "%s/%s", setting("ADAPTERS_CERTIFICATES"), what);
}
/* Shows this certificate with its chain, and wants one of our authority's. */
static SSL_CTX *context_of(const SSL_METHOD *method, const char *who) {
    char chain[600], key[600], name[64];
    SSL_CTX *context = SSL_CTX_new(method);
    CHECK(context != NULL);
    snprintf(name, sizeof name, "%s.chain", who);
    file_name(chain, sizeof chain, name);
    snprintf(name, sizeof name, "%s.key", who);
    file_name(key, sizeof key, name);
    CHECK_EQ(SSL_CTX_use_certificate_chain_file(context, chain), 1);
    CHECK_EQ(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM), 1);
    CHECK_EQ(SSL_CTX_load_verify_locations(context, setting("ADAPTERS_CA"), NULL), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return context;
}

/* An SSL over a descriptor, which it closes. */
static SSL *over(SSL_CTX *context, int fd) {
    SSL *ssl = SSL_new(context);
    BIO *bio = goroutine_bio_new(fd, BIO_CLOSE);
    CHECK(ssl != NULL && bio != NULL);
    CHECK_EQ(SSL_CTX_get_verify_mode(context) & SSL_VERIFY_PEER, SSL_VERIFY_PEER);
    SSL_set_bio(ssl, bio, bio);
    CHECK_EQ(SSL_get_fd(ssl), fd);
    if (context == client_context) CHECK_EQ(SSL_set1_host(ssl, "localhost"), 1);
    return ssl;
}
static void must(int is_one, SSL *ssl, const char *what) {
    if (is_one == 1) return;
    fprintf(stderr, "%s: %d, error %d, io %lld\n", what, is_one, SSL_get_error(ssl, is_one),
            (long long)goroutine_bio_error(SSL_get_rbio(ssl)));
    ERR_print_errors_fp(stderr);
    _exit(1);
}
static void socket_pair(int fds[2]) { CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0); }

/* Sends back what it gets, until the other side says goodbye. */
static size_t server_stack;
static void *echo(void *arg) {
    SSL *ssl = over(server_context, (int)(intptr_t)arg);
    char buffer[4096];
    size_t used;
    int n;
    paint_stack();
    must(SSL_accept(ssl), ssl, "accept");
    used = painted_over();
    if (used > GET(server_stack)) SET(server_stack, used);
    CHECK(SSL_get_verify_result(ssl) == X509_V_OK);
    while ((n = SSL_read(ssl, buffer, sizeof buffer)) > 0) CHECK_EQ(SSL_write(ssl, buffer, n), n);
    CHECK_EQ(SSL_get_error(ssl, n), SSL_ERROR_ZERO_RETURN);
    CHECK(SSL_shutdown(ssl) >= 0 || goroutine_bio_error(SSL_get_wbio(ssl)) == GOROUTINE_EPIPE); /* they need not wait for ours */
    SSL_free(ssl);
    return NULL;
}

/* Writes while another goroutine reads would need a lock: so turn by turn. */
static void talk(SSL *ssl, size_t bytes, uint64_t seed) {
    char out[4096], in[4096];
    size_t done = 0, i;
    uint64_t state = random_seed(seed, 1);
    while (done < bytes) {
        size_t n = bytes - done < sizeof out ? bytes - done : sizeof out, got = 0;
        for (i = 0; i < n; i++) out[i] = (char)random_next(&state);
        CHECK_EQ(SSL_write(ssl, out, (int)n), n);
        while (got < n) {
            int more = SSL_read(ssl, in + got, (int)(n - got));
            CHECK(more > 0);
            got += (size_t)more;
        }
        CHECK(memcmp(in, out, n) == 0);
        done += n;
    }
}
static void goodbye(SSL *ssl) {
    char byte;
    CHECK(SSL_shutdown(ssl) >= 0);
    CHECK_EQ(SSL_read(ssl, &byte, 1), 0); /* theirs */
    CHECK_EQ(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN);
    SSL_free(ssl);
}
static size_t client_stack;
static void *one_pair(void *index) {
    int fds[2];
    SSL *ssl;
    size_t used;
    GoroutinePromise *server;
    socket_pair(fds);
    server = goroutine_spawn(echo, P(fds[1]));
    ssl = over(client_context, fds[0]);
    paint_stack();
    must(SSL_connect(ssl), ssl, "connect");
    used = painted_over();
    if (used > GET(client_stack)) SET(client_stack, used);
    CHECK_EQ(SSL_get_verify_result(ssl), X509_V_OK);
    talk(ssl, U(index) == 0 ? BIG : 20000, U(index));
    goodbye(ssl);
    OK(goroutine_promise_await_take(server, 120 * SECOND, NULL));
    return NULL;
}

/* Somebody else's server. */
static void *with_nginx(void *unused) {
    struct sockaddr_in address;
    char answer[8192];
    static const char request[] = "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    int n, got = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL *ssl;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(setting("ADAPTERS_HTTPS_PORT")));
    CHECK_EQ(goroutine_connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    ssl = over(client_context, fd);
    must(SSL_connect(ssl), ssl, "connect");
    CHECK_EQ(SSL_write(ssl, request, (int)sizeof request - 1), sizeof request - 1);
    while ((n = SSL_read(ssl, answer + got, (int)sizeof answer - 1 - got)) > 0) got += n;
    CHECK_EQ(SSL_get_error(ssl, n), SSL_ERROR_ZERO_RETURN);
    answer[got] = 0;
    CHECK(strncmp(answer, "HTTP/1.1 200", 12) == 0 && strstr(answer, "\r\n\r\nhello\n") != NULL);
    SSL_free(ssl);
    return unused;
}

/* ---- What goes wrong. ---- */

/* Connected, and the server's goroutine runs. */
static SSL *connected(GoroutinePromise **server, int fds[2]) {
    SSL *ssl;
    socket_pair(fds);
    *server = goroutine_spawn(echo, P(fds[1]));
    ssl = over(client_context, fds[0]);
    must(SSL_connect(ssl), ssl, "connect");
    return ssl;
}
static void *deadline(void *unused) {
    int fds[2], n;
    char byte = 'x';
    GoroutinePromise *server;
    SSL *ssl = connected(&server, fds);
    OK(goroutine_set_deadline(fds[0], POLLIN, 20 * MS));
    n = SSL_read(ssl, &byte, 1);
    CHECK_EQ(SSL_get_error(ssl, n), SSL_ERROR_WANT_READ);
    CHECK_EQ(goroutine_bio_error(SSL_get_rbio(ssl)), GOROUTINE_ETIMEDOUT);
    OK(goroutine_set_deadline(fds[0], POLLIN, GOROUTINE_FOREVER));
    talk(ssl, 10000, 7); /* nothing was lost */
    CHECK_EQ(goroutine_bio_error(SSL_get_rbio(ssl)), 0);
    goodbye(ssl);
    OK(goroutine_promise_await_take(server, 60 * SECOND, NULL));
    return unused;
}

static void *read_one(void *arg) {
    SSL *ssl = (SSL *)arg;
    char byte;
    int n = SSL_read(ssl, &byte, 1);
    CHECK_EQ(SSL_get_error(ssl, n), SSL_ERROR_SYSCALL);
    CHECK_EQ(goroutine_bio_error(SSL_get_rbio(ssl)), GOROUTINE_ECANCELED);
    return NULL;
}
static void *cancelled(void *unused) {
    int fds[2];
    GoroutinePromise *server, *reader;
    SSL *ssl = connected(&server, fds);
    reader = goroutine_spawn(read_one, ssl);
    goroutine_yield();
    OK(goroutine_cancel(reader));
    OK(goroutine_promise_await_take(reader, 60 * SECOND, NULL));
    CHECK_EQ(SSL_shutdown(ssl) < 0, 0);
    SSL_free(ssl);
    OK(goroutine_promise_await_take(server, 60 * SECOND, NULL));
    return unused;
}

/* The other side closes without a goodbye: that is no end of the data. */
static void *hang_up(void *arg) {
    SSL *ssl = over(server_context, (int)(intptr_t)arg);
    must(SSL_accept(ssl), ssl, "accept");
    SSL_free(ssl);
    return NULL;
}
static void *unexpected_end(void *unused) {
    int fds[2], n;
    char byte;
    SSL *ssl;
    socket_pair(fds);
    OK(goroutine_go(hang_up, P(fds[1])));
    ssl = over(client_context, fds[0]);
    must(SSL_connect(ssl), ssl, "connect");
    n = SSL_read(ssl, &byte, 1);
    CHECK(n <= 0);
    CHECK_EQ(SSL_get_error(ssl, n), SSL_ERROR_SSL);
    CHECK_EQ(ERR_GET_REASON(ERR_get_error()), SSL_R_UNEXPECTED_EOF_WHILE_READING); /* though an alert was written since */
    CHECK_EQ(ERR_get_error(), 0);
    SSL_free(ssl);
    return unused;
}

/* A certificate of somebody else: the reason outlives the alert. The other side is told. */
static void *refused(void *arg) {
    SSL *ssl = over(server_context, (int)(intptr_t)arg);
    char byte;
    int n = SSL_accept(ssl);
    if (n == 1) n = SSL_read(ssl, &byte, 1);
    CHECK(n <= 0);
    CHECK_EQ(SSL_get_error(ssl, n), SSL_ERROR_SSL);
    CHECK_EQ(ERR_GET_REASON(ERR_get_error()), SSL_R_TLSV1_ALERT_UNKNOWN_CA);
    ERR_clear_error();
    SSL_free(ssl);
    return NULL;
}
static void *wrong_authority(void *unused) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    GoroutinePromise *server;
    int fds[2], n;
    SSL *ssl;
    CHECK_EQ(SSL_CTX_load_verify_locations(context, setting("ADAPTERS_OTHER_CA"), NULL), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    socket_pair(fds);
    server = goroutine_spawn(refused, P(fds[1]));
    ssl = over(context, fds[0]);
    ERR_clear_error();
    n = SSL_connect(ssl);
    CHECK_EQ(SSL_get_error(ssl, n), SSL_ERROR_SSL);
    CHECK_EQ(ERR_GET_REASON(ERR_get_error()), SSL_R_CERTIFICATE_VERIFY_FAILED);
    CHECK_EQ(ERR_get_error(), 0);
    SSL_free(ssl);
    SSL_CTX_free(context);
    OK(goroutine_promise_await_take(server, 60 * SECOND, NULL));
    return unused;
}

/* A handshake with nonsense leaves errors in the thread's list, and nobody takes them out. The others on this thread have
 * deadlines that pass meanwhile: theirs are no errors of OpenSSL's. */
static int litter_over;
static void *litter(void *unused) {
    int fds[2], n;
    do {
        SSL *ssl;
        socket_pair(fds);
        CHECK(write_all(fds[1], "this is no TLS at all\r\n", 23));
        ssl = over(client_context, fds[0]);
        n = SSL_connect(ssl);
        CHECK(n <= 0 && ERR_peek_error() != 0);
        SSL_free(ssl);
        CHECK_EQ(goroutine_close(fds[1]), 0);
        goroutine_yield();
    } while (!GET(litter_over));
    ERR_clear_error();
    return unused;
}
static void *errors_of_others(void *unused) {
    int fds[2], n, i;
    char byte;
    GoroutinePromise *server, *other;
    SSL *ssl = connected(&server, fds);
    litter_over = 0;
    other = goroutine_spawn(litter, NULL);
    for (i = 0; i < 20; i++) {
        OK(goroutine_set_deadline(fds[0], POLLIN, 2 * MS));
        ERR_clear_error();
        n = SSL_read(ssl, &byte, 1);
        CHECK_EQ(SSL_get_error(ssl, n), SSL_ERROR_WANT_READ);
    }
    SET(litter_over, 1);
    OK(goroutine_promise_await_take(other, 60 * SECOND, NULL));
    OK(goroutine_set_deadline(fds[0], POLLIN, GOROUTINE_FOREVER));
    talk(ssl, 10000, 9);
    goodbye(ssl);
    OK(goroutine_promise_await_take(server, 60 * SECOND, NULL));
    return unused;
}

static void *alone(void *unused) {
    int fds[2];
    char text[32];
    BIO *bio;
    socket_pair(fds);
    bio = goroutine_bio_new(fds[0], BIO_NOCLOSE);
    CHECK_EQ(BIO_get_fd(bio, NULL), fds[0]);
    CHECK_EQ(BIO_puts(bio, "one\n"), 4);
    CHECK_EQ(goroutine_read(fds[1], text, sizeof text), 4);
    CHECK(write_all(fds[1], "two\n", 4));
    CHECK_EQ(BIO_read(bio, text, sizeof text), 4);
    CHECK_EQ(goroutine_close(fds[1]), 0);
    CHECK_EQ(BIO_eof(bio), 0);
    CHECK_EQ(BIO_read(bio, text, sizeof text), 0);
    CHECK_EQ(BIO_eof(bio), 1);
    CHECK_EQ(BIO_write(bio, "x", 1), -1);
    CHECK_EQ(goroutine_bio_error(bio), GOROUTINE_EPIPE);
    CHECK_EQ(BIO_should_retry(bio), 0);
    CHECK_EQ(BIO_free(bio), 1);
    CHECK_EQ(goroutine_close(fds[0]), 0); /* it was left open */
    return unused;
}

/* A plain thread waits in the kernel. paint_stack is for goroutines: so this is what is left of one_pair. */
static void *in_thread(void *unused) {
    GoroutinePromise *server;
    int fds[2];
    SSL *ssl = connected(&server, fds);
    talk(ssl, 10000, 3);
    goodbye(ssl);
    OK(goroutine_promise_await_take(server, 60 * SECOND, NULL));
    return unused;
}

static void all(uint32_t workers) {
    pthread_t thread;
    int before;
    start_workers(workers);
    run_goroutine(one_pair, NULL);
    before = open_descriptors();
    /* As the head of the header says. */
    fprintf(stderr, "stack: %d workers, the first handshake: %zu bytes, its server %zu\n", (int)workers, client_stack, server_stack);
    CHECK(client_stack > 2048 && client_stack <= 24576 && server_stack > 2048 && server_stack <= 24576);
    client_stack = server_stack = 0;
    spawn_all(MANY, one_pair);
    fprintf(stderr, "stack: %d workers, handshakes: %zu bytes, their servers %zu\n", (int)workers, client_stack, server_stack);
    CHECK(client_stack > 2048 && client_stack <= 24576 && server_stack > 2048 && server_stack <= 24576);
    if (getenv("ADAPTERS_HTTPS_PORT") != NULL) run_goroutine(with_nginx, NULL);
    run_goroutine(alone, NULL);
    run_goroutine(deadline, NULL);
    run_goroutine(cancelled, NULL);
    run_goroutine(unexpected_end, NULL);
    run_goroutine(wrong_authority, NULL);
    run_goroutine(errors_of_others, NULL);
    CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK(open_descriptors() <= before + 1); /* the eventfd of a plain thread, which the library keeps */
    stop();
}

int main(void) {
    server_context = context_of(TLS_server_method(), "localhost");
    /* No tickets: an accept would still be writing them when the client, for whom the handshake is over, is gone again. */
    CHECK_EQ(SSL_CTX_set_num_tickets(server_context, 0), 1);
    client_context = context_of(TLS_client_method(), "goroutine");
    all(1);
    all(4);
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
    return 0;
}

/* libgoroutine for OpenSSL: TLS over a descriptor, parking the goroutine. Header only, over goroutine.h and OpenSSL 1.1.1 or newer.
 *
 * A program
 *
 *     #include <goroutine_openssl.h>
 *
 *     static void *serve(void *fd) {
 *         SSL *ssl = SSL_new(context);
 *         BIO *bio = goroutine_bio_new((int)(intptr_t)fd, 1);
 *         char line[100];
 *         int n;
 *         SSL_set_bio(ssl, bio, bio);
 *         if (SSL_accept(ssl) == 1) {                     // other goroutines run meanwhile
 *             while ((n = SSL_read(ssl, line, sizeof line)) > 0) SSL_write(ssl, line, n);
 *             SSL_shutdown(ssl);
 *         }
 *         SSL_free(ssl);                                  // closes fd
 *         return NULL;
 *     }
 *
 * How
 *   A BIO whose reads and writes are goroutine_read and goroutine_write. To OpenSSL it is one that blocks: SSL_read and the others
 *   return when they are done. So OpenSSL runs on the goroutine's own stack, for it parks there. (A foreign call that parks keeps its thread.)
 *
 * Stack
 *   A handshake with chains of certificates on both sides, the first one in a process too, took 13 KiB of the goroutine's stack with
 *   OpenSSL 3.0; c_tests/adapters/openssl.c measures it, and allows 24. A goroutine has 192 KiB unless
 *   `stack_bytes` says otherwise: your own callbacks, engines and providers run on it, too.
 *
 * Time-outs and cancels
 *   goroutine_set_deadline(fd, POLLIN or POLLOUT, ...) before a call. When it passes, SSL_get_error is SSL_ERROR_WANT_READ or
 *   SSL_ERROR_WANT_WRITE: nothing is lost, and the call may be made again. With other failures it is SSL_ERROR_SYSCALL, and
 *   goroutine_bio_error tells which: GOROUTINE_ECANCELED, -ECONNRESET ...
 *
 * Errors
 *   OpenSSL keeps a list of errors per thread, and goroutines share threads. The BIO takes care that after a call the list has what that
 *   call put there, and nothing of others: empty it before (ERR_clear_error), as OpenSSL wants it anyway, and look at it before anything
 *   else that parks.
 */
#ifndef GOROUTINE_OPENSSL_H
#define GOROUTINE_OPENSSL_H

#include <goroutine.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What the rest of this header is made of: not to be used. ---- */

/** One for the process, in however many files this header is included. It is never freed. */
typedef struct GoroutineBioShared {
    CRYPTO_ONCE once;
    BIO_METHOD *method; /* NULL: out of memory */
} GoroutineBioShared;

__attribute__((weak)) GoroutineBioShared goroutine_bio_shared = {CRYPTO_ONCE_STATIC_INIT, NULL};

/** A BIO's data. */
typedef struct GoroutineBio {
    int fd;
    int64_t error; /* of the last read or write; 0: none */
    bool eof;
} GoroutineBio;

/** An error of the thread's list, which holds 16. */
typedef struct GoroutineBioError {
    unsigned long code;
    const char *file; /* static strings */
    const char *function;
    char *data; /* a copy, or NULL */
    int line;
} GoroutineBioError;
typedef struct GoroutineBioErrors {
    GoroutineBioError error[16];
    size_t count;
} GoroutineBioErrors;

/* Takes the errors that this call has made so far out of the list: it is writing the alert that tells them to the other side. */
static inline GoroutineBioErrors *goroutine_bio_take_errors(void) {
    GoroutineBioErrors *errors;
    if (ERR_peek_error() == 0) return NULL;
    errors = (GoroutineBioErrors *)calloc(1, sizeof *errors);
    while (errors != NULL && errors->count < sizeof errors->error / sizeof errors->error[0]) {
        GoroutineBioError *one = &errors->error[errors->count];
        const char *data = NULL;
        int flags = 0;
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
        one->code = ERR_get_error_all(&one->file, &one->line, &one->function, &data, &flags);
#else
        one->code = ERR_get_error_line_data(&one->file, &one->line, &data, &flags);
#endif
        if (one->code == 0) break;
        if ((flags & ERR_TXT_STRING) && data != NULL) one->data = OPENSSL_strdup(data);
        errors->count++;
    }
    return errors;
}

/* The list is this call's again: it may be another thread's by now, or have got errors of other goroutines. */
static inline void goroutine_bio_put_errors(GoroutineBioErrors *errors) {
    size_t i;
    ERR_clear_error();
    for (i = 0; errors != NULL && i < errors->count; i++) {
        const GoroutineBioError *one = &errors->error[i];
        const char *data = one->data == NULL ? "" : one->data;
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
        ERR_new();
        ERR_set_debug(one->file, one->line, one->function);
        ERR_set_error(ERR_GET_LIB(one->code), ERR_GET_REASON(one->code), *data == 0 ? NULL : "%s", data);
#else
        ERR_put_error(ERR_GET_LIB(one->code), ERR_GET_FUNC(one->code), ERR_GET_REASON(one->code), one->file, one->line);
        if (*data != 0) ERR_add_error_data(1, data);
#endif
        OPENSSL_free(one->data);
    }
    free(errors);
}

/* What a read or a write gave, as OpenSSL wants it. */
static inline int goroutine_bio_result(BIO *b, int64_t n, int retry) {
    GoroutineBio *own = (GoroutineBio *)BIO_get_data(b);
    BIO_clear_retry_flags(b);
    own->error = n < 0 ? n : 0;
    if (n == GOROUTINE_ETIMEDOUT) BIO_set_flags(b, retry | BIO_FLAGS_SHOULD_RETRY);
    return n < 0 ? -1 : (int)n;
}
static inline int goroutine_bio_read(BIO *b, char *buffer, int n) {
    GoroutineBio *own = (GoroutineBio *)BIO_get_data(b);
    GoroutineBioErrors *errors;
    int64_t got;
    if (buffer == NULL || n <= 0) return 0;
    errors = goroutine_bio_take_errors();
    got = goroutine_read(own->fd, buffer, (size_t)n);
    goroutine_bio_put_errors(errors);
    if (got == 0) own->eof = true;
    return goroutine_bio_result(b, got, BIO_FLAGS_READ);
}
static inline int goroutine_bio_write(BIO *b, const char *buffer, int n) {
    GoroutineBio *own = (GoroutineBio *)BIO_get_data(b);
    GoroutineBioErrors *errors;
    int64_t done;
    if (buffer == NULL || n <= 0) return 0;
    errors = goroutine_bio_take_errors();
    done = goroutine_write(own->fd, buffer, (size_t)n);
    goroutine_bio_put_errors(errors);
    return goroutine_bio_result(b, done, BIO_FLAGS_WRITE);
}
static inline int goroutine_bio_puts(BIO *b, const char *text) {
    size_t n = 0;
    while (text[n] != 0 && n < INT_MAX) n++;
    return goroutine_bio_write(b, text, (int)n);
}
static inline long goroutine_bio_ctrl(BIO *b, int command, long number, void *pointer) {
    GoroutineBio *own = (GoroutineBio *)BIO_get_data(b);
    switch (command) {
    case BIO_C_GET_FD:
        if (pointer != NULL) *(int *)pointer = own->fd;
        return own->fd;
    case BIO_CTRL_GET_CLOSE: return BIO_get_shutdown(b);
    case BIO_CTRL_SET_CLOSE: BIO_set_shutdown(b, (int)number); return 1;
    case BIO_CTRL_EOF: return own->eof;
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP: return 1;
    default: return 0;
    }
}
static inline int goroutine_bio_destroy(BIO *b) {
    GoroutineBio *own = (GoroutineBio *)BIO_get_data(b);
    if (own == NULL) return 1;
    if (BIO_get_shutdown(b)) goroutine_close(own->fd);
    BIO_set_data(b, NULL);
    BIO_set_init(b, 0);
    free(own);
    return 1;
}
static inline void goroutine_bio_make_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "goroutine");
    if (method == NULL) return;
    BIO_meth_set_read(method, goroutine_bio_read);
    BIO_meth_set_write(method, goroutine_bio_write);
    BIO_meth_set_puts(method, goroutine_bio_puts);
    BIO_meth_set_ctrl(method, goroutine_bio_ctrl);
    BIO_meth_set_destroy(method, goroutine_bio_destroy);
    goroutine_bio_shared.method = method;
}

/* ---- The BIO. ---- */

/**
 * Makes a BIO over a connected socket or another descriptor. Both directions may be in use at the same time only through two SSLs or BIOs: as
 * always with OpenSSL, one goroutine at a time uses an SSL.
 * Context:   T, G. What uses it blocks the thread where it is a plain one.
 * Parks:     never; what uses it does: the goroutine, not its thread. It may resume on another thread.
 * Ownership: the caller passes it to SSL_set_bio or BIO_free. With `close` (BIO_CLOSE) it owns `fd`, and closes it by goroutine_close;
 *            without (BIO_NOCLOSE), `fd` lives longer than the BIO.
 * Returns:   a BIO; NULL when out of memory.
 * Since:     ABI 1.
 */
static inline BIO *goroutine_bio_new(int fd, int close) {
    GoroutineBio *own;
    BIO *b;
    if (!CRYPTO_THREAD_run_once(&goroutine_bio_shared.once, goroutine_bio_make_method) || goroutine_bio_shared.method == NULL)
        return NULL;
    own = (GoroutineBio *)calloc(1, sizeof *own);
    b = own == NULL ? NULL : BIO_new(goroutine_bio_shared.method);
    if (b == NULL) {
        free(own);
        return NULL;
    }
    own->fd = fd;
    BIO_set_data(b, own);
    BIO_set_shutdown(b, close);
    BIO_set_init(b, 1);
    return b;
}

/**
 * Why the last read or write of a BIO of goroutine_bio_new failed.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   0: it did not; GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, or another negative errno.
 * Since:     ABI 1.
 */
static inline int64_t goroutine_bio_error(BIO *b) { return ((GoroutineBio *)BIO_get_data(b))->error; }

#ifdef __cplusplus
}
#endif

#endif

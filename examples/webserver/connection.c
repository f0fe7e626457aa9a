/* One goroutine per connection: it reads as if it blocked, has llhttp take the bytes apart, and answers one request after the other.
 *
 * Against slow and greedy clients: a request must come within a time from its first byte on, its body within as much again, a response
 * must go within that; targets, heads and bodies have bounds; so has the number of connections. */
#include "webserver.h"
#include "llhttp.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { TARGET_MAX = 4096, HEAD_MAX = 16 << 10, BODY_MAX = 64 << 10, LINGER_MAX = 1 << 20 };

struct Connection {
    int fd;
    Connection *next, *previous;
    bool idle; /* under the lock: nothing of a request has come yet */

    llhttp_t parser;
    char input[8192];
    size_t at, end; /* what of `input` is not parsed yet */

    /* The request that is coming. */
    bool begun, head_done, wants_continue, is_last;
    int failure; /* the status that says why it is refused */
    size_t head_bytes, target_bytes, field_bytes, body_bytes;
    char target[TARGET_MAX + 1], field[16];
    char *body;

    /* Its response. */
    int status;
    size_t sent;
};

int connections_now, stopping;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held for a few instructions, and a shutdown(2) each */
static Connection *all;
static bool no_idling; /* connections_shut_idle was called */

static void enter(Connection *c) {
    pthread_mutex_lock(&lock);
    c->next = all;
    if (all != NULL) all->previous = c;
    all = c;
    pthread_mutex_unlock(&lock);
}
/* Afterwards nobody but its goroutine touches its descriptor. */
static void leave(Connection *c) {
    pthread_mutex_lock(&lock);
    if (c->next != NULL) c->next->previous = c->previous;
    if (c->previous != NULL) c->previous->next = c->next;
    else all = c->next;
    pthread_mutex_unlock(&lock);
}
static void set_idle(Connection *c, bool idle) {
    pthread_mutex_lock(&lock);
    c->idle = idle;
    if (idle && no_idling) shutdown(c->fd, SHUT_RD);
    pthread_mutex_unlock(&lock);
}

/* Those that wait for a request wait no longer. What has come is still read. */
void connections_shut_idle(void) {
    Connection *c;
    pthread_mutex_lock(&lock);
    no_idling = true;
    for (c = all; c != NULL; c = c->next) {
        if (c->idle) shutdown(c->fd, SHUT_RD);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- Reading: what llhttp calls. ---- */

static int refuse(Connection *c, int status) {
    c->failure = status;
    return HPE_USER;
}
static int head_grows(Connection *c, size_t n) {
    c->head_bytes += n;
    return c->head_bytes > HEAD_MAX ? refuse(c, 431) : 0;
}
static int on_message_begin(llhttp_t *parser) {
    Connection *c = (Connection *)parser->data;
    c->begun = true;
    c->head_done = c->wants_continue = false;
    c->head_bytes = c->target_bytes = c->field_bytes = c->body_bytes = 0;
    return 0;
}
static int on_url(llhttp_t *parser, const char *at, size_t n) {
    Connection *c = (Connection *)parser->data;
    if (c->target_bytes + n > TARGET_MAX) return refuse(c, 414);
    memcpy(c->target + c->target_bytes, at, n);
    c->target_bytes += n;
    return 0;
}
static int on_header_field(llhttp_t *parser, const char *at, size_t n) {
    Connection *c = (Connection *)parser->data;
    size_t i;
    for (i = 0; i < n && c->field_bytes < sizeof c->field; i++) c->field[c->field_bytes++] = at[i];
    return head_grows(c, n + 4); /* a colon, a space and a line's end each */
}
static int on_header_value(llhttp_t *parser, const char *at, size_t n) {
    Connection *c = (Connection *)parser->data;
    if (c->field_bytes == 6 && strncasecmp(c->field, "expect", 6) == 0 && n == 12 && strncasecmp(at, "100-continue", 12) == 0)
        c->wants_continue = true;
    return head_grows(c, n);
}
static int on_header_value_complete(llhttp_t *parser) {
    ((Connection *)parser->data)->field_bytes = 0;
    return 0;
}
static int on_headers_complete(llhttp_t *parser) {
    Connection *c = (Connection *)parser->data;
    c->head_done = true;
    if (parser->http_major != 1) return refuse(c, 505);
    if (parser->content_length > BODY_MAX) return refuse(c, 413);
    return 0;
}
static int on_body(llhttp_t *parser, const char *at, size_t n) {
    Connection *c = (Connection *)parser->data;
    if (c->body_bytes + n > BODY_MAX) return refuse(c, 413);
    if (c->body == NULL) c->body = (char *)malloc(BODY_MAX + 1);
    if (c->body == NULL) return refuse(c, 503);
    memcpy(c->body + c->body_bytes, at, n);
    c->body_bytes += n;
    return 0;
}
static int on_message_complete(llhttp_t *parser) {
    (void)parser;
    return HPE_PAUSED; /* one request at a time */
}

static void set_up(llhttp_settings_t *settings) {
    llhttp_settings_init(settings);
    settings->on_message_begin = on_message_begin;
    settings->on_url = on_url;
    settings->on_header_field = on_header_field;
    settings->on_header_value = on_header_value;
    settings->on_header_value_complete = on_header_value_complete;
    settings->on_headers_complete = on_headers_complete;
    settings->on_body = on_body;
    settings->on_message_complete = on_message_complete;
}

/* Parses what there is. True: a request is complete, or will never be (`failure`). */
static bool parse(Connection *c) {
    bool had_head = c->head_done;
    llhttp_errno_t result = llhttp_execute(&c->parser, c->input + c->at, c->end - c->at);
    if (result == HPE_OK) {
        c->at = c->end;
        if (c->begun && c->head_done && !had_head) goroutine_set_deadline(c->fd, POLLIN, options.request_ns); /* for the body */
        return false;
    }
    if (result == HPE_PAUSED) {
        c->at = (size_t)(llhttp_get_error_pos(&c->parser) - c->input);
        c->is_last = !llhttp_should_keep_alive(&c->parser);
        llhttp_resume(&c->parser);
        return true;
    }
    if (result == HPE_PAUSED_UPGRADE) c->failure = 501; /* CONNECT, or an upgrade */
    if (c->failure == 0) c->failure = 400;
    return true;
}

static bool write_all(Connection *c, struct iovec *at, int n) {
    while (n > 0) {
        int64_t done = goroutine_writev(c->fd, at, n);
        if (done < 0) return false;
        c->sent += (size_t)done;
        while (n > 0 && (size_t)done >= at->iov_len) {
            done -= (int64_t)at->iov_len;
            at++;
            n--;
        }
        if (n > 0) {
            at->iov_base = (char *)at->iov_base + done;
            at->iov_len -= (size_t)done;
        }
    }
    return true;
}

/* Reads a request. False: there is none any more. */
static bool read_request(Connection *c) {
    bool has_deadline = false;
    c->begun = c->head_done = false;
    c->failure = 0;
    goroutine_set_deadline(c->fd, POLLIN, options.idle_ns); /* once, as the next one: they do not begin anew with each byte */
    for (;;) {
        int64_t n;
        if (c->at < c->end && parse(c)) return true;
        if (c->head_done && c->wants_continue) {
            struct iovec go_on;
            go_on.iov_base = (void *)(uintptr_t)"HTTP/1.1 100 Continue\r\n\r\n";
            go_on.iov_len = 25;
            c->wants_continue = false;
            if (!write_all(c, &go_on, 1)) return false;
        }
        if (!c->begun) {
            set_idle(c, true);
        } else if (!has_deadline) {
            has_deadline = true;
            goroutine_set_deadline(c->fd, POLLIN, options.request_ns);
        }
        n = goroutine_read(c->fd, c->input, sizeof c->input);
        if (!c->begun) set_idle(c, false);
        if (n <= 0) {
            if (n == -ETIMEDOUT && c->begun) c->failure = 408;
            return c->failure != 0;
        }
        c->at = 0;
        c->end = (size_t)n;
    }
}

/* ---- Answering. ---- */

static const char *reason(int status) {
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
    }
}

void respond(Connection *c, int status, const char *type, const void *body, size_t bytes) {
    char head[512], date[64];
    struct iovec parts[2];
    struct tm tm;
    time_t now = time(NULL);
    bool has_body = c->parser.method != HTTP_HEAD || c->failure != 0;
    if (GET(stopping) || c->failure != 0) c->is_last = true;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    parts[0].iov_base = head;
    parts[0].iov_len = (size_t)snprintf(head, sizeof head,
                                        "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %.100s\r\nContent-Length: %zu\r\n%s\r\n", status,
                                        reason(status), date, type, bytes,
                                        c->is_last                     ? "Connection: close\r\n"
                                        : c->parser.http_minor == 0 ? "Connection: keep-alive\r\n"
                                                                       : "");
    parts[1].iov_base = (void *)(uintptr_t)body;
    parts[1].iov_len = bytes;
    c->status = status;
    goroutine_set_deadline(c->fd, POLLOUT, options.request_ns);
    if (!write_all(c, parts, has_body && bytes > 0 ? 2 : 1)) c->is_last = true;
    count_response(status);
}

void respond_text(Connection *c, int status, const char *format, ...) {
    char text[1024];
    va_list arguments;
    int n;
    va_start(arguments, format);
    n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    respond(c, status, "text/plain", text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void answer(Connection *c) {
    uint64_t begin = now_ns();
    char path[3000], *query;
    Request request;
    c->sent = 0;
    c->status = 0;
    c->target[c->target_bytes] = 0;
    if (c->failure != 0) {
        respond_text(c, c->failure, "%s\n", reason(c->failure));
    } else {
        query = strchr(c->target, '?');
        if (query != NULL) *query = 0;
        if (c->body != NULL) c->body[c->body_bytes] = 0;
        request.method = llhttp_method_name((llhttp_method_t)c->parser.method);
        request.path = c->target;
        request.query = query == NULL ? "" : query + 1;
        request.body = c->body == NULL ? "" : c->body;
        request.body_bytes = c->body_bytes;
        route(c, &request);
        if (c->status == 0) respond_text(c, 500, "no answer\n");
    }
    free(c->body);
    c->body = NULL;
    if (options.log_requests)
        report("request", "\"id\":%llu,\"method\":\"%s\",\"path\":\"%s\",\"status\":%d,\"bytes\":%zu,\"us\":%llu",
               (unsigned long long)goroutine_id(goroutine_current()), llhttp_method_name((llhttp_method_t)c->parser.method),
               json_text(path, sizeof path, c->target), c->status, c->sent, (unsigned long long)((now_ns() - begin) / 1000));
}

/* A close while there is something unread would be a reset, which may overtake the response. */
static void hang_up(Connection *c) {
    size_t got = 0;
    int64_t n;
    if (shutdown(c->fd, SHUT_WR) != 0) return;
    goroutine_set_deadline(c->fd, POLLIN, SECOND);
    while (got < LINGER_MAX && (n = goroutine_read(c->fd, c->input, sizeof c->input)) > 0) got += (size_t)n;
}

void *connection(void *fd) {
    llhttp_settings_t settings;
    Connection *c = (Connection *)calloc(1, sizeof *c);
    int one = 1, now = ADD(connections_now, 1);
    if (c == NULL) {
        goroutine_close((int)(intptr_t)fd);
        ADD(connections_now, -1);
        return NULL;
    }
    c->fd = (int)(intptr_t)fd;
    setsockopt(c->fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
    set_up(&settings);
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
    enter(c);
    if (now > options.connections_max) {
        c->failure = 503;
        answer(c);
    } else {
        while (!c->is_last && read_request(c)) answer(c);
    }
    leave(c);
    if (c->is_last) hang_up(c);
    goroutine_close(c->fd);
    free(c->body);
    free(c);
    ADD(connections_now, -1);
    return NULL;
}

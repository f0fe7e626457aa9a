/* The HTTP server: "Hello, world!", one goroutine per connection, written as if it blocked. http_goroutine PORT
 *
 * The parser is a library, http_parser. Requests may come in pieces or many at a time (pipelined): their answers go out in order, and are
 * written together when the parser has seen all that was read. Buffers are on the goroutine's stack, and small, so that an idle
 * connection takes one page. */
#define _GNU_SOURCE
#include "serve_all.h"
#include <http_parser.h>
#include <string.h>
#include <time.h>

enum { IN = 512, OUT = 512, ANSWER = 192 };

typedef struct Connection {
    int fd;
    bool failed; /* a write did */
    size_t out_size;
    http_parser parser;
    char out[OUT];
} Connection;

static bool flush(Connection *c) {
    size_t at = 0;
    while (at < c->out_size && !c->failed) {
        int64_t n = goroutine_write(c->fd, c->out + at, c->out_size - at);
        if (n <= 0) c->failed = true;
        at += (size_t)n;
    }
    c->out_size = 0;
    return !c->failed;
}

/* All but the body, with this second's date: made once a second and thread. Nothing here parks, so it is this thread's throughout. */
static const char *head(bool keep_alive, size_t *size) {
    static _Thread_local struct {
        time_t second;
        size_t size[2];
        char text[2][ANSWER];
    } made;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != made.second) {
        struct tm utc;
        char date[64];
        int i;
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now.tv_sec, &utc));
        for (i = 0; i < 2; i++) {
            made.size[i] = (size_t)snprintf(made.text[i], ANSWER,
                                            "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n%s\r\n",
                                            date, i ? "" : "Connection: close\r\n");
        }
        made.second = now.tv_sec;
    }
    *size = made.size[keep_alive];
    return made.text[keep_alive];
}

/* The parser has seen a whole request: its answer. */
static int answer(http_parser *parser) {
    static const char body[] = "Hello, world!";
    Connection *c = parser->data;
    bool keep_alive = parser->http_minor != 0 && !parser->upgrade && http_should_keep_alive(parser); /* HTTP/1.0 would have to be told so */
    size_t size, body_size = parser->method == HTTP_HEAD ? 0 : sizeof body - 1;
    const char *text;
    if (c->out_size + ANSWER + sizeof body > OUT && !flush(c)) return 1;
    text = head(keep_alive, &size); /* after the flush, which may have parked */
    memcpy(c->out + c->out_size, text, size);
    memcpy(c->out + c->out_size + size, body, body_size);
    c->out_size += size + body_size;
    return keep_alive ? 0 : 1; /* an error here ends the parsing: what comes after a last request is nothing */
}

static void *serve(void *arg) {
    static const http_parser_settings settings = {.on_message_complete = answer};
    static const char bad[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    Connection c = {.fd = (int)(intptr_t)arg};
    char in[IN];
    int64_t got;
    no_delay(c.fd);
    http_parser_init(&c.parser, HTTP_REQUEST);
    c.parser.data = &c;
    while ((got = goroutine_read(c.fd, in, sizeof in)) > 0) {
        http_parser_execute(&c.parser, &settings, in, (size_t)got);
        if (!flush(&c)) break;
        if (HTTP_PARSER_ERRNO(&c.parser) == HPE_OK && !c.parser.upgrade) continue;
        if (HTTP_PARSER_ERRNO(&c.parser) != HPE_CB_message_complete) goroutine_write(c.fd, bad, sizeof bad - 1);
        break;
    }
    goroutine_close(c.fd);
    return NULL;
}
int main(int argc, char **argv) {
    return serve_all(argc, argv, serve);
}

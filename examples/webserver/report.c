/* Log lines and metrics. Lines go through a channel to one goroutine that writes them, many at a time: a pipe that nobody reads, or a slow
 * disk, holds up no request. */
#include "webserver.h"
#include <malloc.h>

enum { LINES = 8192, BATCH = 64 << 10 };

static GoroutineChannel *lines;
static GoroutinePromise *writer;
static uint64_t dropped;
static uint64_t responses[600];

static bool write_all(const char *at, size_t n) {
    while (n > 0) {
        int64_t done = goroutine_write(2, at, n);
        if (done < 0) return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static void *write_lines(void *unused) {
    char *batch = (char *)malloc(BATCH), *line = NULL;
    size_t used = 0;
    bool works = batch != NULL;
    goroutine_cancel_disable(); /* the last lines are those of a shutdown */
    while (goroutine_channel_receive(lines, &line, used == 0 ? GOROUTINE_FOREVER : 0) == GOROUTINE_OK || used != 0) {
        size_t n = line == NULL ? 0 : strlen(line);
        if (line == NULL || used + n > BATCH) { /* there is none at the moment, or no room for it */
            works = works && write_all(batch, used);
            used = 0;
        }
        if (works && n <= BATCH) {
            if (n != 0) memcpy(batch + used, line, n);
            used += n;
        }
        free(line);
        line = NULL;
    }
    free(batch);
    return unused;
}

bool report_start(void) {
    lines = goroutine_channel_new(sizeof(char *), LINES);
    writer = lines == NULL ? NULL : goroutine_spawn(write_lines, NULL);
    return writer != NULL;
}

/* When nobody reports any more. */
void report_stop(void) {
    goroutine_channel_close(lines);
    goroutine_promise_await_take(writer, 10 * SECOND, NULL);
    goroutine_channel_free(lines);
}

void report(const char *event, const char *format, ...) {
    char text[4096], *line;
    struct timespec t;
    va_list arguments;
    size_t n;
    clock_gettime(CLOCK_REALTIME, &t);
    n = (size_t)snprintf(text, sizeof text, "{\"t\":%lld.%06ld,\"event\":\"%s\"", (long long)t.tv_sec, t.tv_nsec / 1000, event);
    if (*format != 0) {
        text[n++] = ',';
        va_start(arguments, format);
        n += (size_t)vsnprintf(text + n, sizeof text - n, format, arguments);
        va_end(arguments);
    }
    if (n + 3 > sizeof text) n = sizeof text - 3; /* it was cut: no caller lets it come to that */
    memcpy(text + n, "}\n", 3);
    line = strdup(text);
    if (line == NULL || goroutine_channel_send(lines, &line, 0) != GOROUTINE_OK) {
        ADD(dropped, 1);
        free(line);
    }
}

char *json_text(char *to, size_t room, const char *text) {
    size_t n = 0;
    for (; *text != 0 && n + 7 < room; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            to[n++] = '\\';
            to[n++] = (char)c;
        } else if (c < 0x20 || c >= 0x7F) { /* byte by byte: it may be no UTF-8 */
            n += (size_t)snprintf(to + n, room - n, "\\u%04x", c);
        } else {
            to[n++] = (char)c;
        }
    }
    to[n] = 0;
    return to;
}

void count_response(int status) { ADD(responses[status], 1); }

char *metrics(size_t *bytes) {
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);
    GoroutineStats s;
    int status;
    if (out == NULL) return NULL;
    goroutine_stats_init(&s);
    goroutine_runtime_stats(&s);
#define GAUGE(name, value) fprintf(out, "# TYPE " name " gauge\n" name " %llu\n", (unsigned long long)(value))
#define COUNTER(name, value) fprintf(out, "# TYPE " name "_total counter\n" name "_total %llu\n", (unsigned long long)(value))
    GAUGE("goroutine_workers", s.workers);
    COUNTER("goroutine_spawned", s.spawned);
    COUNTER("goroutine_finished", s.finished);
    GAUGE("goroutine_live", s.live);
    GAUGE("goroutine_timers", s.timers);
    GAUGE("goroutine_async_operations", s.async_operations);
    COUNTER("goroutine_stolen", s.stolen);
    COUNTER("goroutine_sleeps", s.sleeps);
    COUNTER("goroutine_wakes", s.wakes);
    GAUGE("goroutine_threads", s.threads);
    GAUGE("goroutine_stacks", s.stacks);
    GAUGE("goroutine_promises", s.promises);
    GAUGE("goroutine_ffi_bound", s.ffi_bound);
    COUNTER("goroutine_ffi_bindings", s.ffi_bindings);
    COUNTER("goroutine_ffi_retaken", s.ffi_retaken);
    GAUGE("http_connections", GET(connections_now));
    COUNTER("log_lines_dropped", GET(dropped));
    GAUGE("process_heap_bytes", mallinfo2().uordblks);
    fprintf(out, "# TYPE http_responses_total counter\n");
    for (status = 100; status < 600; status++) {
        uint64_t n = GET(responses[status]);
        if (n != 0) fprintf(out, "http_responses_total{code=\"%d\"} %llu\n", status, (unsigned long long)n);
    }
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}

/* The web server's parts: what each file gives the others.
 *
 *   main.c        options, start, what SIGTERM does
 *   connection.c  one goroutine per connection: llhttp, limits, time-outs
 *   routes.c      what a request asks for: the database, another server, a model
 *   predict.cpp   LibTorch, on bound goroutines (predict_none.c where it is not installed)
 *   report.c      log lines and metrics */
#ifndef WEBSERVER_H
#define WEBSERVER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <goroutine.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MS 1000000ull
#define SECOND 1000000000ull
#define ADD(counter, n) __atomic_add_fetch(&(counter), (n), __ATOMIC_RELAXED)
#define GET(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)
#define CODE(function) ((void *)(uintptr_t)(function))

typedef struct Options {
    int port;
    uint32_t workers;
    const char *database; /* libpq's conninfo, or NULL */
    int database_connections;
    uint64_t database_ns; /* to get one of them, and for its query */
    const char *upstream; /* of /proxy, or NULL */
    uint32_t predictors;
    int hidden;       /* the model's size */
    int predict_nice; /* how much their threads give way to the others */
    int connections_max;
    uint64_t request_ns;  /* for a request to come, from its first byte on, and for its body; and for a response to go */
    uint64_t idle_ns;     /* between requests */
    uint64_t lame_duck_ns; /* after SIGTERM: for clients to hear that their connection ends */
    uint64_t grace_ns;    /* after SIGTERM: for requests under way */
    bool log_requests;
} Options;
extern Options options;

/* ---- A request, and how to answer it. ---- */

typedef struct Connection Connection;
typedef struct Request {
    const char *method, *path, *query; /* path: decoded no further than the client sent it; query: after the ?, or "" */
    const char *body;
    size_t body_bytes;
} Request;

void route(Connection *c, const Request *request);                                                  /* routes.c */
void respond(Connection *c, int status, const char *type, const void *body, size_t bytes);          /* once per request */
void respond_text(Connection *c, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- connection.c ---- */

void *connection(void *fd); /* the goroutine of one */
void connections_shut_idle(void);
extern int connections_now, stopping; /* stopping: every response is its connection's last */

/* ---- routes.c ---- */

bool routes_start(void);
void routes_stop(void);

/* ---- predict.cpp ---- */

enum { FEATURES = 4 };
typedef struct Prediction {
    float x[FEATURES];
    float y;
    bool ok;
} Prediction;
extern const bool predict_exists;
void *predict(void *prediction); /* a foreign call; each thread has its own model */

/* ---- report.c ---- */

bool report_start(void);
void report_stop(void);
/* One line of JSON: {"t":...,"event":"...", and what `format` gives}. Never waits: lines that nobody takes are dropped, and counted. */
void report(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *json_text(char *to, size_t room, const char *text); /* escaped, cut if need be; gives `to` */
void count_response(int status);
char *metrics(size_t *bytes); /* to be freed; NULL: out of memory */

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

#ifdef __cplusplus
}
#endif

#endif

/* What the servers with goroutines share: a goroutine that accepts, and one for each connection. */
#ifndef SERVE_ALL_H
#define SERVE_ALL_H
#include "listen.h"
#include <goroutine.h>

static GoroutineFn serve_one;

static void *accept_all(void *arg) {
    int listener = (int)(intptr_t)arg;
    for (;;) {
        int64_t fd = goroutine_accept(listener, NULL, NULL);
        if (fd < 0) {
            fprintf(stderr, "accept: error %lld\n", (long long)-fd);
            return NULL;
        }
        if (goroutine_go(serve_one, (void *)(intptr_t)fd) != GOROUTINE_OK) goroutine_close((int)fd);
    }
}
static int serve_all(int argc, char **argv, GoroutineFn serve) {
    if (argc != 2) return fprintf(stderr, "%s PORT\n", argv[0]), 2;
    serve_one = serve;
    return goroutine_runtime_run(accept_all, (void *)(intptr_t)listen_on(argv[1]), NULL) != GOROUTINE_OK;
}
#endif

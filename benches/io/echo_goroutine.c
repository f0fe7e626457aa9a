/* One goroutine per connection. echo_goroutine PORT */
#define _GNU_SOURCE
#include <goroutine.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void *serve(void *arg) {
    int fd = (int)(intptr_t)arg, one = 1;
    char buffer[16384];
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (;;) {
        int64_t got = goroutine_read(fd, buffer, sizeof buffer), at = 0;
        if (got <= 0) break;
        while (at < got) {
            int64_t n = goroutine_write(fd, buffer + at, (size_t)(got - at));
            if (n <= 0) break;
            at += n;
        }
        if (at < got) break;
    }
    goroutine_close(fd);
    return NULL;
}
static void *accept_all(void *arg) {
    int listener = (int)(intptr_t)arg;
    for (;;) {
        int64_t fd = goroutine_accept(listener, NULL, NULL);
        if (fd >= 0) goroutine_go(serve, (void *)(intptr_t)fd);
    }
    return NULL;
}
int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_port = htons((unsigned short)atoi(argc > 1 ? argv[1] : "0"));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0) {
        perror("listen");
        return 1;
    }
    return goroutine_runtime_run(accept_all, (void *)(intptr_t)listener, NULL) != GOROUTINE_OK;
}

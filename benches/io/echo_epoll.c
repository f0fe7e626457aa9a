/* The floor of the echo benchmark: one thread, one level-triggered epoll loop, nothing else. echo_epoll PORT */
#define _GNU_SOURCE
#include "listen.h"
#include <sys/epoll.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct epoll_event event = {.events = EPOLLIN}, events[256];
    static char buffer[16384];
    int i, n, poll = epoll_create1(0), listener;
    if (argc != 2) return fprintf(stderr, "echo_epoll PORT\n"), 2;
    listener = listen_on(argv[1]);
    event.data.fd = listener;
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        n = epoll_wait(poll, events, 256, -1);
        for (i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) continue;
                no_delay(fd);
                event.data.fd = fd;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
            } else {
                ssize_t got = read(fd, buffer, sizeof buffer);
                if (got <= 0 || write(fd, buffer, (size_t)got) != got) close(fd);
            }
        }
    }
}

/* The echo server: one goroutine per connection, written as if it blocked. echo_goroutine PORT
 *
 * The buffer is on the goroutine's stack and small, so that an idle connection takes one page. */
#define _GNU_SOURCE
#include "serve_all.h"

static void *serve(void *arg) {
    int fd = (int)(intptr_t)arg;
    char buffer[1024];
    int64_t got, at, n;
    no_delay(fd);
    while ((got = goroutine_read(fd, buffer, sizeof buffer)) > 0) {
        for (at = 0; at < got; at += n) {
            n = goroutine_write(fd, buffer + at, (size_t)(got - at));
            if (n <= 0) goto end;
        }
    }
end:
    goroutine_close(fd);
    return NULL;
}
int main(int argc, char **argv) {
    return serve_all(argc, argv, serve);
}

/* What the tests of the adapters share: servers that are goroutines, and how much of its stack a goroutine used. */
#ifndef ADAPTERS_H
#define ADAPTERS_H

#include "../check.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* From tools/adapters.sh; without it the test is skipped. */
static inline const char *setting(const char *name) {
    const char *value = getenv(name);
    if (value != NULL && *value != 0) return value;
    fprintf(stderr, "no %s: run by tools/adapters.sh\n", name);
    _exit(77);
}

/* As many descriptors as may be. */
static inline void many_descriptors(rlim_t needed) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur >= needed) return;
    fprintf(stderr, "%d descriptors are needed (ulimit -Hn)\n", (int)needed);
    _exit(77);
}

static inline int open_descriptors(void) {
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n;
}

/* Listens on a port of the loopback that the kernel chooses. */
static inline int listen_anywhere(int *port) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 4096) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline bool write_all(int fd, const void *data, size_t n) {
    const char *at = (const char *)data;
    while (n > 0) {
        int64_t done = goroutine_write(fd, at, n);
        if (done < 0) return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static inline void spawn_all(uint64_t n, GoroutineFn fn) {
    GoroutinePromise **promises = (GoroutinePromise **)calloc(n, sizeof *promises);
    uint64_t i;
    CHECK(promises != NULL);
    for (i = 0; i < n; i++) CHECK((promises[i] = goroutine_spawn(fn, P(i))) != NULL);
    for (i = 0; i < n; i++) OK(goroutine_promise_await_take(promises[i], 300 * SECOND, NULL));
    free(promises);
}

/* ---- The goroutine's stack, painted below where it stands. ---- */

#define PAINT 0x5AF3C2915AF3C291ull

static inline uint64_t *stack_low(void) {
    void *low = NULL, *high = NULL;
    OK(goroutine_stack_bounds(&low, &high));
    return (uint64_t *)low;
}
__attribute__((noinline)) static void paint_stack(void) {
    volatile uint64_t *at = stack_low() + 1024; /* not the last pages: they are the library's reserve */
    uint64_t *here = (uint64_t *)__builtin_frame_address(0) - 32;
    while (at < here) *at++ = PAINT;
}
/* How many bytes below the caller were used since. */
__attribute__((noinline)) static size_t painted_over(void) {
    volatile uint64_t *at = stack_low() + 1024;
    uint64_t *here = (uint64_t *)__builtin_frame_address(0);
    while (at < here && *at == PAINT) at++;
    return (size_t)((char *)here - (char *)(uintptr_t)at);
}

/* Fails unless what happened since paint_stack needed at most `most` bytes. What this says is in the headers' documentation. */
static inline void stack_is_within(const char *what, size_t most) {
    size_t used = painted_over();
    fprintf(stderr, "stack: %s: %zu bytes\n", what, used);
    CHECK(used > 256); /* it did paint */
    CHECK(used <= most);
}

#endif

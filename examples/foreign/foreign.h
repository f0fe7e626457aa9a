/* What the programs that call real foreign libraries share: checks, and rounds that must not make the process grow.
 *
 * Each program runs everything twice, or with `--seconds N` again and again for N seconds, however slow the machine is. The
 * memory in use after the first rounds (a fifth of the time) is what it may have MIN_ROUNDS or more later, but for `slack`. */
#ifndef FOREIGN_H
#define FOREIGN_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <goroutine.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ull
#define SECOND 1000000000ull

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
#define CHECK_EQ(is, shall) check_equal(__FILE__, __LINE__, #is, (long long)(is), (long long)(shall))
#define OK(call) CHECK_EQ(call, GOROUTINE_OK)

/* ISO C has no cast between functions and void *. */
#define CODE(function) ((void *)(uintptr_t)(function))
#define P(integer) ((void *)(uintptr_t)(integer))
#define U(pointer) ((uint64_t)(uintptr_t)(pointer))
#define ADD(counter, n) __atomic_add_fetch(&(counter), (n), __ATOMIC_SEQ_CST)
#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)

static inline void check_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    _exit(1); /* not exit(): other threads still run */
}
static inline void check_equal(const char *file, int line, const char *what, long long is, long long shall) {
    if (is == shall) return;
    fprintf(stderr, "%s:%d: %s is %lld (%#llx), not %lld (%#llx)\n", file, line, what, is, (unsigned long long)is, shall,
            (unsigned long long)shall);
    _exit(1);
}

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* The bytes that the process has in memory. */
static inline size_t resident(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%*u %lu", &pages) == 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* --seconds N; 0: none given. */
static inline uint64_t seconds_asked(int argc, char **argv) {
    int i;
    for (i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0) return strtoull(argv[i + 1], NULL, 10);
    }
    return 0;
}

enum { MIN_ROUNDS = 3 };

/* Runs round(), as the head of this file says. */
static inline void run_rounds(int argc, char **argv, void (*round)(void), size_t slack) {
    uint64_t seconds = seconds_asked(argc, argv), begin = now_ns(), n = 0, since = 0;
    size_t before = 0, after;
    if (seconds == 0) {
        round();
        round();
        return;
    }
    do {
        round();
        n++;
        if (before != 0) {
            since++;
        } else if (now_ns() - begin > seconds * SECOND / 5) {
            before = resident();
        }
    } while (now_ns() - begin < seconds * SECOND || since < MIN_ROUNDS);
    after = resident();
    fprintf(stderr, "%s: %llu rounds in %llu s, %zu KiB in memory, %zu KiB after a fifth of the time\n", argv[0],
            (unsigned long long)n, (unsigned long long)seconds, after >> 10, before >> 10);
    CHECK(after <= before + slack);
}

/* Spawns n goroutines fn(0) ... fn(n - 1), waits for them all. */
static inline void spawn_all(uint64_t n, GoroutineFn fn) {
    GoroutinePromise **promises = (GoroutinePromise **)calloc(n, sizeof *promises);
    uint64_t i;
    CHECK(promises != NULL);
    for (i = 0; i < n; i++) CHECK((promises[i] = goroutine_spawn(fn, P(i))) != NULL);
    for (i = 0; i < n; i++) OK(goroutine_promise_await_take(promises[i], 120 * SECOND, NULL));
    free(promises);
}

/* Runs f() in a forked child, which must die of `signal` after it wrote `text` to stderr. Before any runtime is started. */
static inline void child_dies(void (*f)(void), int signal, const char *text) {
    static char wrote[65536];
    int ends[2], status = 0;
    size_t used = 0;
    ssize_t n;
    pid_t pid;
    CHECK(pipe(ends) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        alarm(60);
        f();
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], wrote + used, sizeof wrote - 1 - used)) > 0) used += (size_t)n;
    wrote[used] = 0;
    close(ends[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == signal && strstr(wrote, text) != NULL) return;
    fprintf(stderr, "the child ended with %#x, not of signal %d, or did not write \"%s\":\n%s\n", (unsigned)status, signal, text,
            wrote);
    _exit(1);
}

#endif

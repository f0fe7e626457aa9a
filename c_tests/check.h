/* What the C tests share. Include it first. A failed check names itself on stderr and ends the process with status 1. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <goroutine.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define US 1000ull
#define MS 1000000ull
#define SECOND 1000000000ull

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
/* For integers and pointers. */
#define CHECK_EQ(is, shall) check_equal(__FILE__, __LINE__, #is, (long long)(is), (long long)(shall))
#define OK(call) CHECK_EQ(call, GOROUTINE_OK)

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

/* ISO C has no cast between functions and void *. */
#define CODE(function) ((void *)(uintptr_t)(function))
#define FN(code) ((GoroutineFn)(uintptr_t)(code))
#define P(integer) ((void *)(uintptr_t)(integer))
#define U(pointer) ((uint64_t)(uintptr_t)(pointer))

#define ADD(counter, n) __atomic_add_fetch(&(counter), (n), __ATOMIC_SEQ_CST)
#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_SEQ_CST)

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}
static inline void thread_sleep(uint64_t ns) {
    struct timespec t;
    t.tv_sec = (time_t)(ns / SECOND);
    t.tv_nsec = (long)(ns % SECOND);
    while (nanosleep(&t, &t) != 0) {
    }
}
static inline int thread_id(void) { return (int)syscall(SYS_gettid); }

static inline uint64_t environment_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL && *text != 0 ? strtoull(text, NULL, 0) : otherwise;
}
/* Under valgrind or a sanitizer: do less. */
static inline bool is_slow(void) { return environment_number("GOROUTINE_TEST_SLOW", 0) != 0; }
static inline uint64_t scaled(uint64_t n, uint64_t divisor) { return is_slow() ? n / divisor : n; }

/* RUNS_OUT: of stack. ThreadSanitizer is not told of such functions: else the stack mostly ends in its own, which are no code of the program's, and it takes
 * the frames that are given up to be there still. */
#if defined(__SANITIZE_THREAD__)
#define THREADS_SANITIZED 1
#define RUNS_OUT __attribute__((no_sanitize("thread")))
#else
#define THREADS_SANITIZED 0
#define RUNS_OUT
#endif

/* pthread_create, in a child of fork, too. ThreadSanitizer ends it where a thread has the id of one of its parent's, and the C library gives those out again with
 * their stacks: so there it has a stack that no thread had, and keeps it. (The library's threads have such ones there by themselves.) */
static inline void start_thread(pthread_t *thread, void *(*f)(void *), void *arg) {
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
#if defined(__SANITIZE_THREAD__)
    {
        size_t bytes = 2 << 20;
        void *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        CHECK(stack != MAP_FAILED);
        CHECK(pthread_attr_setstack(&attributes, stack, bytes - 1024) == 0);
    }
#endif
    CHECK(pthread_create(thread, &attributes, f, arg) == 0);
    pthread_attr_destroy(&attributes);
}

/* xorshift64*: one state per user; never 0. */
static inline uint64_t random_next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Dull;
}
static inline uint64_t random_seed(uint64_t seed, uint64_t index) {
    uint64_t state = (seed + 1) * 0x9E3779B97F4A7C15ull ^ (index + 1) * 0xBF58476D1CE4E5B9ull;
    state |= 1;
    random_next(&state);
    return state;
}

static inline void start_workers(uint32_t workers) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = workers;
    OK(goroutine_runtime_start(&config));
}
static inline void stop(void) { OK(goroutine_runtime_shutdown(30 * SECOND)); }

/* Until so many threads are in use. A second look is allowed: what a thread has just left is still counted for a moment. */
static inline void wait_for_bound(uint64_t n) {
    uint64_t end = now_ns() + 60 * SECOND;
    GoroutineStats stats;
    do {
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        if (stats.ffi_bound == n) return;
        thread_sleep(MS);
    } while (now_ns() < end);
    CHECK_EQ(stats.ffi_bound, n);
}

/* Until no goroutine is left. */
static inline void await_none(uint64_t timeout_ns) {
    uint64_t end = now_ns() + timeout_ns;
    GoroutineStats stats;
    do {
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        if (stats.live == 0) return;
        thread_sleep(100 * US);
    } while (now_ns() < end);
    CHECK_EQ(stats.live, 0);
}

/* `f(arg)`, with a name for reports. */
static inline GoroutinePromise *spawn_as(const char *name, GoroutineFn f, void *arg, uint32_t flags) {
    GoroutineSpawn s;
    GoroutinePromise *promise = NULL;
    goroutine_spawn_init(&s);
    s.fn = CODE(f);
    s.int_args[0] = U(arg);
    s.name = name;
    s.flags = flags;
    OK(goroutine_spawn_with(&s, &promise));
    return promise;
}

/* Runs a function as a goroutine, from a plain thread, until it is over. */
static inline void *run_goroutine(GoroutineFn f, void *arg) {
    void *value = NULL;
    GoroutinePromise *promise = goroutine_spawn(f, arg);
    CHECK(promise != NULL);
    OK(goroutine_promise_await_take(promise, (is_slow() ? 600 : 60) * SECOND, &value));
    return value;
}

/* What became of a forked child. */
typedef struct Child {
    int signal; /* 0: it ended by itself */
    int status;
    char text[131072]; /* what it wrote to stderr */
} Child;

/* Runs f(arg) in a forked child; returning from f is exit status 0. Call it before the runtime starts. */
static inline void run_child(void (*f)(void *), void *arg, Child *child) {
    int ends[2];
    int status = 0;
    size_t used = 0;
    ssize_t n;
    pid_t pid;
    CHECK(pipe(ends) == 0);
    fflush(stderr);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        alarm(is_slow() ? 600 : 60);
        f(arg);
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], child->text + used, sizeof child->text - 1 - used)) > 0) used += (size_t)n;
    child->text[used] = 0;
    close(ends[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    child->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    child->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The child must die of `signal` (or end with `status` if that is 0), having written `text` to stderr. */
static inline void expect_child(const char *what, void (*f)(void *), void *arg, int signal, int status, const char *text) {
    static Child child;
    bool ends_so;
    run_child(f, arg, &child);
    ends_so = child.signal == signal && (signal != 0 || child.status == status);
    if (ends_so && (text == NULL || strstr(child.text, text) != NULL)) return;
    fprintf(stderr, "%s: signal %d, status %d instead of signal %d, status %d; \"%s\" expected in:\n%s", what, child.signal,
            child.status, signal, status, text == NULL ? "" : text, child.text);
    _exit(1);
}

#endif

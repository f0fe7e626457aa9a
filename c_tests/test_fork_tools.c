/* A child of fork, from a parent with goroutines, has every tool after a start of its own: code registration, dumps, traces, a stopped world with its
 * roots, overflow events; and sees nothing of the parent's in them. */
#include "check.h"
#include "code.h"
#include <fcntl.h>

static uint64_t begun, may_end, overflows, seen;
static GoroutinePromise *end;
static void *parents(void *arg) {
    ADD(begun, 1);
    /* ThreadSanitizer's allocator may be locked in a child of who allocates meanwhile. */
    if (THREADS_SANITIZED) OK(goroutine_promise_await(end, GOROUTINE_FOREVER, NULL));
    while (!GET(may_end)) OK(goroutine_sleep(MS));
    return arg;
}
/* What a file has, as text. Kept for ever. */
static char *contents(int fd) {
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = (char *)calloc((size_t)size + 1, 1);
    CHECK(text != NULL && pread(fd, text, (size_t)size, 0) == size);
    return text;
}
static bool shown(const char *what) {
    int fd = memfd_create("dump", 0);
    char *text;
    CHECK(fd >= 0);
    OK(goroutine_dump(fd));
    text = contents(fd);
    close(fd);
    return strstr(text, what) != NULL;
}

static uint64_t gate_value, reading;
static GoroutinePromise *gate;
static void *waits(void *arg) {
    SET(reading, 1);
    OK(goroutine_promise_await(gate, GOROUTINE_FOREVER, NULL));
    return arg;
}
static GoroutineFn emitted, overflowing;
static void emit_and_register(const char *name) {
    Emit e = emit_begin(4096);
    size_t bytes = emit_framed(&e, CODE(waits)), at = e.used;
    GoroutineCode codes[2];
    EMIT(&e, "\x57\xE8"); /* push rdi; call itself */
    emit_u32(&e, (uint32_t)-6);
    codes[0] = code_of(name, e.code, bytes, GOROUTINE_CODE_FRAME_POINTER);
    codes[1] = code_of("overflowing", e.code + at, e.used - at, 0);
    emitted = FN(e.code);
    overflowing = FN(e.code + at);
    emit_end(&e);
    OK(goroutine_code_register(codes, 2, NULL));
}
static void on_overflow(Goroutine *g, void *address, GoroutineContext *at, void *arg) {
    (void)address, (void)at, (void)arg;
    CHECK(g == goroutine_current());
    ADD(overflows, 1);
}
static void count(void *arg, const Goroutine *g, const GoroutineContext *at, const void *low, const void *high) {
    CHECK(g != NULL && low < high);
    *(uint64_t *)arg += at != NULL; /* with a goroutine's first range */
}
static void count_root(void *arg, void **root) { *(uint64_t *)arg += *root == (void *)&gate_value; }

/* Every tool once. */
static void *uses_tools(void *path) {
    GoroutinePromise *p, *q, *kept;
    uint64_t goroutines = 0, roots = 0;
    void *value;
    char *text;
    int fd;
    OK(goroutine_trace_start((const char *)path));
    CHECK((gate = goroutine_promise_new()) != NULL);
    CHECK((kept = goroutine_promise_new()) != NULL);
    OK(goroutine_promise_resolve(kept, &gate_value));
    SET(reading, 0);
    p = spawn_as("reader", emitted, NULL, 0);
    while (!GET(reading) || !shown("reader") || !shown("scripts.wait")) OK(goroutine_sleep(MS));
    CHECK(!shown("parents"));
    OK(goroutine_world_stop(20 * SECOND));
    goroutine_world_for_each(count, &goroutines);
    goroutine_world_for_each_root(count_root, &roots);
    goroutine_world_start();
    fprintf(stderr, "%" PRIu64 " goroutines, %" PRIu64 " roots\n", goroutines, roots);
    CHECK_EQ(goroutines, 2); /* ours, and the reader's: none of the parent's */
    CHECK_EQ(roots, 1);
    goroutine_promise_release(kept);
    q = spawn_as("runs away", overflowing, NULL, 0);
    CHECK_EQ(goroutine_promise_await_take(q, 30 * SECOND, &value), GOROUTINE_ESTACKOVERFLOW);
    CHECK_EQ(GET(overflows), 1);
    OK(goroutine_promise_resolve(gate, NULL));
    OK(goroutine_promise_await_take(p, 30 * SECOND, NULL));
    goroutine_promise_release(gate);
    OK(goroutine_trace_stop());
    fd = open((const char *)path, O_RDONLY);
    CHECK(fd >= 0);
    text = contents(fd);
    close(fd);
    CHECK(strstr(text, "reader") != NULL && strstr(text, "parents") == NULL);
    SET(seen, 1);
    return NULL;
}
static void tools(uint32_t flags) {
    GoroutineConfig config;
    char path[64];
    snprintf(path, sizeof path, "/tmp/test_fork_tools.%d", (int)getpid());
    goroutine_config_init(&config);
    config.workers = 2;
    config.flags = flags;
    config.stack_overflow = on_overflow;
    SET(overflows, 0);
    SET(seen, 0);
    OK(goroutine_runtime_start(&config));
    run_goroutine(uses_tools, path);
    CHECK_EQ(GET(seen), 1);
    stop();
    unlink(path);
}
/* A crash in the child says so, too. */
static void *crashes(void *arg) {
    *(volatile uint64_t *)P(0x1238) = 1;
    return arg;
}

static pid_t child_that(bool crashes_at_last) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid != 0) return pid;
    alarm(60);
    CHECK(!shown("parents")); /* there is no runtime here */
    emit_and_register("scripts.wait");
    tools(GOROUTINE_CONFIG_LEARN_STACKS);
    tools(0);
    if (crashes_at_last) {
        start_workers(1);
        run_goroutine(crashes, NULL);
    }
    _exit(0);
}

int main(void) {
    GoroutinePromise *p[50];
    char path[64];
    int status, i;
    pid_t pid;
    start_workers(2);
    snprintf(path, sizeof path, "/tmp/test_fork_tools.%d.parent", (int)getpid());
    CHECK((end = goroutine_promise_new()) != NULL);
    emit_and_register("scripts.of_parent");
    OK(goroutine_trace_start(path)); /* the child's trace is another one */
    for (i = 0; i < 50; i++) p[i] = spawn_as("parents", parents, NULL, 0);
    while (GET(begun) != 50) thread_sleep(MS);
    for (i = 0; i < 4; i++) {
        pid = child_that(i == 3);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        if (i == 3) CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
        else CHECK_EQ(status, 0);
    }
    CHECK(shown("parents")); /* and the parent is as it was */
    SET(may_end, 1);
    OK(goroutine_promise_resolve(end, NULL));
    for (i = 0; i < 50; i++) OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
    OK(goroutine_trace_stop());
    goroutine_promise_release(end);
    unlink(path);
    stop();
    return 0;
}

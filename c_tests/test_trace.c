/* Traces: started and stopped, also while everything runs; what the file says; what becomes of it at a shutdown, an exit, a fork; files
 * that cannot be written. That viewers can read it is tools/trace_test.sh's business. */
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

static char directory[] = "/tmp/goroutine-trace-XXXXXX";

static void remove_directory(void) {
    static const char *const names[] = {"everything", "busy",   "pipe",        "shutdown",     "parent",
                                        "child",      "exit",   "environment", "environment.2"};
    char path[128];
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        CHECK(unlink(path) == 0);
    }
    CHECK(rmdir(directory) == 0);
}

static const char *in_directory(const char *name) {
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

/* The whole file, with a NUL. */
static char *text_of(const char *path) {
    struct stat about;
    FILE *file = fopen(path, "r");
    char *text;
    CHECK(file != NULL);
    CHECK(fstat(fileno(file), &about) == 0);
    text = (char *)malloc((size_t)about.st_size + 1);
    CHECK(text != NULL);
    CHECK_EQ(fread(text, 1, (size_t)about.st_size, file), about.st_size);
    text[about.st_size] = 0;
    fclose(file);
    return text;
}

static size_t times(const char *text, const char *what) {
    size_t n = 0;
    while ((text = strstr(text, what)) != NULL) {
        n++;
        text += strlen(what);
    }
    return n;
}
static void has(const char *text, const char *what) {
    if (times(text, what) != 0) return;
    fprintf(stderr, "not in the trace: %s\n", what);
    _exit(1);
}
static bool is_complete(const char *text) {
    size_t length = strlen(text);
    return length > 4 && text[0] == '[' && strcmp(text + length - 3, "\n]\n") == 0;
}

/* The number behind `key` in the last line that has it. */
static uint64_t number_after(const char *text, const char *key) {
    const char *at = NULL, *next = text;
    while ((next = strstr(next, key)) != NULL) at = next += strlen(key);
    CHECK(at != NULL);
    return strtoull(at, NULL, 10);
}

static GoroutineStats stats(void) {
    GoroutineStats now;
    goroutine_stats_init(&now);
    OK(goroutine_runtime_stats(&now));
    return now;
}

/* ---- what happens, and what the file says about it ---- */

typedef struct All {
    GoroutineMutex *mutex;
    GoroutineChannel *channel;
    GoroutineSemaphore *semaphore;
    GoroutineWaitGroup *group;
    int pipe[2];
    uint32_t fired;
} All;

static void *quick(void *arg) { return arg; }
static void *fire(void *arg) {
    ADD(((All *)arg)->fired, 1);
    return NULL;
}
static void *trace_test_c(void *arg) {
    thread_sleep(MS / 10);
    return arg;
}
static void *trace_test_long_c(void *arg) {
    thread_sleep(20 * MS);
    return arg;
}
static void *sleeps(void *arg) {
    OK(goroutine_sleep(MS));
    return arg;
}
static void *takes_mutex(void *arg) {
    All *all = (All *)arg;
    OK(goroutine_mutex_lock(all->mutex, 10 * SECOND));
    OK(goroutine_mutex_unlock(all->mutex));
    return NULL;
}
static void *receives(void *arg) {
    All *all = (All *)arg;
    int value = 0;
    OK(goroutine_channel_receive(all->channel, &value, 10 * SECOND));
    CHECK_EQ(value, 7);
    return NULL;
}
static void *takes_permit(void *arg) {
    OK(goroutine_semaphore_acquire(((All *)arg)->semaphore, 1, 10 * SECOND));
    return NULL;
}
static void *waits_for_group(void *arg) {
    OK(goroutine_wait_group_wait(((All *)arg)->group, 10 * SECOND));
    return NULL;
}
static void *reads(void *arg) {
    char byte = 0;
    CHECK_EQ(goroutine_read(((All *)arg)->pipe[0], &byte, 1), 1);
    return NULL;
}
static void *calls_c(void *arg) {
    int i;
    (void)arg;
    for (i = 0; i < 3; i++) CHECK(execute_ffi_call(NULL, CODE(trace_test_c), P(1)) == P(1));
    CHECK(goroutine_ffi_call_leaf(CODE(trace_test_c), P(2)) == P(2));
    OK(goroutine_ffi_unbind());
    CHECK(goroutine_ffi_call_leaf(CODE(trace_test_c), P(3)) == P(3));
    return NULL;
}
static void *blocks(void *arg) {
    CHECK(goroutine_ffi_call_blocking(CODE(trace_test_long_c), arg) == arg);
    return NULL;
}
static void *fails(void *arg) {
    (void)arg;
    goroutine_exit(GOROUTINE_EPIPE, NULL);
}
static bool ready_at_once(GoroutineTicket ticket, void *arg) {
    (void)arg;
    goroutine_ready(ticket, GOROUTINE_OK);
    return true;
}

static void *everything(void *arg) {
    static const char *names[] = {"sleeps", "mutexes", "receives", "permits", "groups", "reads", "calls", "blocks"};
    GoroutineFn functions[] = {sleeps, takes_mutex, receives, takes_permit, waits_for_group, reads, calls_c, blocks};
    All *all = (All *)arg;
    GoroutinePromise *promises[8];
    int i, value = 7;
    int64_t timer;
    OK(goroutine_mutex_lock(all->mutex, 0));
    for (i = 0; i < 8; i++) promises[i] = spawn_as(names[i], functions[i], all, 0);
    CHECK(goroutine_timer_start(MS, 0, fire, all) > 0);
    timer = goroutine_timer_start(10 * SECOND, 0, fire, all);
    CHECK(goroutine_timer_stop(timer));
    for (i = 0; i < 10; i++) goroutine_yield();
    OK(goroutine_sleep(5 * MS)); /* all of them wait now */
    OK(goroutine_mutex_unlock(all->mutex));
    OK(goroutine_channel_send(all->channel, &value, 10 * SECOND));
    OK(goroutine_semaphore_release(all->semaphore, 1));
    OK(goroutine_wait_group_done(all->group));
    CHECK_EQ(goroutine_write(all->pipe[1], "x", 1), 1);
    for (i = 0; i < 8; i++) OK(goroutine_promise_await_take(promises[i], 10 * SECOND, NULL));
    CHECK_EQ(goroutine_promise_await_take(spawn_as("fails", fails, NULL, 0), 10 * SECOND, NULL), GOROUTINE_EPIPE);
    OK(goroutine_park(ready_at_once, NULL, 10 * SECOND));
    while (GET(all->fired) == 0) OK(goroutine_sleep(MS));
    return NULL;
}

static void says_what_happened(const char *path) {
    static const char *const waits[] = {"park",       "sleep",   "mutex",      "receive", "semaphore",
                                        "wait group", "promise", "descriptor", "a worker"};
    GoroutineStats after;
    All all;
    char *text;
    size_t i;
    memset(&all, 0, sizeof all);
    start_workers(2);
    all.mutex = goroutine_mutex_new(0);
    all.channel = goroutine_channel_new(sizeof(int), 0);
    all.semaphore = goroutine_semaphore_new(0);
    all.group = goroutine_wait_group_new();
    OK(goroutine_wait_group_add(all.group, 1));
    CHECK(pipe2(all.pipe, O_NONBLOCK | O_CLOEXEC) == 0);
    OK(goroutine_trace_start(path));
    CHECK_EQ(goroutine_trace_start(in_directory("other")), GOROUTINE_EALREADY);
    CHECK_EQ(access(in_directory("other"), F_OK), -1);
    goroutine_promise_await_take(spawn_as("a \"main\" one", everything, &all, 0), 30 * SECOND, NULL);
    OK(goroutine_runtime_wait(30 * SECOND)); /* a promise is settled before the goroutine is over */
    OK(goroutine_trace_stop());
    CHECK_EQ(goroutine_trace_stop(), GOROUTINE_EALREADY);
    after = stats();
    text = text_of(path);
    CHECK(is_complete(text));
    /* Slices with their reasons. */
    has(text, "\"name\":\"a \\\"main\\\" one\",\"ts\":");
    has(text, "\"name\":\"sleeps\"");
    has(text, "\"stops for\":\"sleep\"");
    has(text, "\"waited for\":\"mutex\"");
    has(text, "\"waited for\":\"receive\"");
    has(text, "\"waited for\":\"semaphore\"");
    has(text, "\"waited for\":\"wait group\"");
    has(text, "\"waited for\":\"descriptor\"");
    has(text, "\"waited for\":\"promise\"");
    has(text, "\"stops for\":\"park\"");
    has(text, "\"readied by\":\"time\"");
    has(text, "\"stops for\":\"end: GOROUTINE_EPIPE\"");
    CHECK(times(text, "\"stops for\":\"yield\"") >= 10);
    CHECK(times(text, "\"stops for\":\"end\"") >= 10);
    /* Who readied whom: a flow each. */
    CHECK_EQ(times(text, "\"ph\":\"s\""), times(text, "\"ph\":\"f\""));
    CHECK(times(text, "\"name\":\"spawn\",\"cat\":\"flow\",\"id\"") >= 9);
    CHECK(times(text, "\"name\":\"ready\",\"cat\":\"flow\",\"id\"") >= 5);
    has(text, "\"spawned at\":\"");
    /* States of goroutines, called as what the slices stop for: begun as often as ended. */
    for (i = 0; i < sizeof waits / sizeof *waits; i++) {
        char state[64];
        snprintf(state, sizeof state, "\"name\":\"waits: %s\",\"cat\":\"goroutine\"", waits[i]);
        CHECK(times(text, state) >= 2);
        snprintf(state, sizeof state, "\"stops for\":\"%s\"", waits[i]);
        has(text, state);
    }
    CHECK_EQ(times(text, "\"ph\":\"b\""), times(text, "\"ph\":\"e\""));
    /* Calls of C: three bound and one leaf on the bound thread, one leaf, a long one whose worker went on. */
    CHECK_EQ(times(text, "\"call\":\"bound\""), 4);
    CHECK_EQ(times(text, "\"call\":\"leaf\""), 1);
    CHECK_EQ(times(text, "\"call\":\"blocking\""), 1);
    has(text, "\"name\":\"bound to this thread\"");
    has(text, "\"name\":\"not bound any more\"");
    has(text, "\"name\":\"hands off worker ");
    has(text, " from a long call\"");
    has(text, "\"stops for\":\"a worker\"");
    has(text, "\"name\":\"takes worker ");
    /* Timers and threads. */
    CHECK_EQ(times(text, "\"name\":\"timer starts\""), 2);
    CHECK_EQ(times(text, "\"name\":\"timer is stopped\""), 1);
    CHECK_EQ(times(text, "\"name\":\"timer fires\""), 1);
    has(text, "\"args\":{\"name\":\"gr-worker-0\"}");
    has(text, "\"args\":{\"name\":\"gr-worker-1\"}");
    /* And the sums. */
    CHECK_EQ(number_after(text, "\"args\":{\"events\":"), after.trace_events);
    CHECK_EQ(number_after(text, "\"lost\":"), after.trace_lost);
    CHECK_EQ(after.trace_lost, 0);
    CHECK(after.trace_events > 100);
    free(text);
    OK(goroutine_mutex_free(all.mutex));
    OK(goroutine_channel_free(all.channel));
    OK(goroutine_semaphore_free(all.semaphore));
    OK(goroutine_wait_group_free(all.group));
    close(all.pipe[0]);
    close(all.pipe[1]);
    stop();
}

/* ---- started and stopped while everything runs, by goroutines and threads ---- */

static uint32_t busy_stop;
static uint64_t busy_rounds;

static void *busy(void *arg) {
    while (!GET(busy_stop)) {
        goroutine_yield();
        OK(goroutine_promise_await_take(goroutine_spawn(quick, arg), 30 * SECOND, NULL));
        goroutine_ffi_call_blocking(CODE(quick), arg);
        ADD(busy_rounds, 1);
    }
    return NULL;
}
static void *busy_thread(void *arg) {
    while (!GET(busy_stop)) OK(goroutine_promise_await_take(goroutine_spawn(quick, arg), 30 * SECOND, NULL));
    return NULL;
}
/* Threads that come and go, each with a ring. */
static void *spawn_once(void *arg) {
    OK(goroutine_promise_await_take(goroutine_spawn(quick, arg), 30 * SECOND, NULL));
    return NULL;
}
static void *makes_threads(void *arg) {
    while (!GET(busy_stop)) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, spawn_once, arg) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    return NULL;
}
static void *starts_and_stops(void *path) {
    int i, rounds = is_slow() ? 5 : 30;
    for (i = 0; i < rounds; i++) {
        GoroutineStatus status = goroutine_trace_start((const char *)path);
        if (status == GOROUTINE_EALREADY) {
            goroutine_yield();
            continue;
        }
        OK(status);
        goroutine_sleep(MS);
        status = goroutine_trace_stop();
        if (status != GOROUTINE_EALREADY) OK(status);
    }
    return NULL;
}

static void while_everything_runs(void) {
    const char *path = in_directory("busy");
    GoroutinePromise *busy_ones[4], *starters[2];
    pthread_t threads[2];
    uint64_t rounds;
    char *text;
    int i;
    SET(busy_stop, 0);
    start_workers(2);
    for (i = 0; i < 4; i++) busy_ones[i] = goroutine_spawn(busy, NULL);
    CHECK(pthread_create(&threads[0], NULL, busy_thread, NULL) == 0);
    CHECK(pthread_create(&threads[1], NULL, makes_threads, NULL) == 0);
    for (i = 0; i < 2; i++) starters[i] = goroutine_spawn(starts_and_stops, (void *)(uintptr_t)path);
    starts_and_stops((void *)(uintptr_t)path);
    for (i = 0; i < 2; i++) OK(goroutine_promise_await_take(starters[i], 60 * SECOND, NULL));
    /* One more, alone, that is looked at. */
    OK(goroutine_trace_start(path));
    rounds = GET(busy_rounds);
    while (GET(busy_rounds) < rounds + 100) thread_sleep(MS);
    OK(goroutine_trace_stop());
    text = text_of(path);
    CHECK(is_complete(text));
    has(text, "\"stops for\":\"yield\"");
    has(text, "\"call\":\"blocking\"");
    CHECK_EQ(times(text, "\"ph\":\"b\""), times(text, "\"ph\":\"e\""));
    CHECK_EQ(number_after(text, "\"lost\":"), stats().trace_lost);
    free(text);
    SET(busy_stop, 1);
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    for (i = 0; i < 4; i++) OK(goroutine_promise_await_take(busy_ones[i], 60 * SECOND, NULL));
    stop();
}

/* ---- a reader that does not read: events are lost, and counted, and nobody waits ---- */

static void *yields(void *n) {
    uintptr_t i;
    for (i = 0; i < (uintptr_t)n; i++) goroutine_yield();
    return NULL;
}
static uint64_t seen_lost;
static void *late_reader(void *path) {
    static char block[1 << 16];
    const char key[] = "\"lost\":";
    char tail[4096];
    size_t kept = 0;
    ssize_t n;
    int file = open((const char *)path, O_RDONLY | O_NONBLOCK); /* there is a reader, so the trace can begin */
    CHECK(file >= 0);
    SET(busy_stop, 1);
    while (GET(busy_stop) == 1) thread_sleep(MS);
    fcntl(file, F_SETFL, 0);
    while ((n = read(file, block, sizeof block)) > 0) {
        size_t take = (size_t)n < sizeof tail / 2 ? (size_t)n : sizeof tail / 2;
        if (kept + take > sizeof tail - 1) {
            memmove(tail, tail + kept - sizeof tail / 2 + 1, sizeof tail / 2 - 1);
            kept = sizeof tail / 2 - 1;
        }
        memcpy(tail + kept, block + n - take, take);
        kept += take;
    }
    tail[kept] = 0;
    CHECK(kept > 3 && strcmp(tail + kept - 3, "\n]\n") == 0);
    seen_lost = number_after(tail, key);
    close(file);
    return NULL;
}

static void loses_and_counts(void) {
    const char *path = in_directory("pipe");
    pthread_t reader;
    GoroutinePromise *two[2];
    int i;
    CHECK(mkfifo(path, 0600) == 0);
    start_workers(1);
    CHECK_EQ(goroutine_trace_start(path), -ENXIO); /* nobody reads it */
    SET(busy_stop, 0);
    CHECK(pthread_create(&reader, NULL, late_reader, (void *)(uintptr_t)path) == 0);
    while (GET(busy_stop) == 0) thread_sleep(MS);
    OK(goroutine_trace_start(path));
    /* More events than the pipe, the writer and the ring hold together. */
    for (i = 0; i < 2; i++) two[i] = goroutine_spawn(yields, P(400000));
    for (i = 0; i < 2; i++) OK(goroutine_promise_await_take(two[i], 60 * SECOND, NULL));
    SET(busy_stop, 2);
    OK(goroutine_trace_stop());
    pthread_join(reader, NULL);
    CHECK(stats().trace_lost > 0);
    CHECK_EQ(seen_lost, stats().trace_lost);
    CHECK(stats().trace_events + stats().trace_lost >= 4 * 400000);
    stop();
}

/* ---- ends of other kinds ---- */

static void shutdown_ends_it(void) {
    const char *path = in_directory("shutdown");
    char *text;
    start_workers(1);
    OK(goroutine_trace_start(path));
    run_goroutine(sleeps, NULL);
    stop();
    text = text_of(path);
    CHECK(is_complete(text));
    has(text, "\"stops for\":\"sleep\"");
    free(text);
    CHECK_EQ(goroutine_trace_stop(), GOROUTINE_EALREADY);
    CHECK_EQ(goroutine_trace_start(path), GOROUTINE_ESHUTDOWN);
    /* A new runtime, a new trace. */
    start_workers(1);
    OK(goroutine_trace_start(path));
    run_goroutine(quick, NULL);
    OK(goroutine_runtime_wait(30 * SECOND)); /* its end is an event, too */
    OK(goroutine_trace_stop());
    text = text_of(path);
    CHECK(is_complete(text));
    CHECK_EQ(times(text, "\"stops for\":\"sleep\""), 0);
    CHECK_EQ(times(text, "\"stops for\":\"end\""), 1);
    free(text);
    stop();
}

/* A child of fork has no trace, may have one of its own, and leaves the parent's alone. */
static void fork_has_none(void) {
    const char *path = in_directory("parent"), *of_child = in_directory("child");
    char *text;
    pid_t child;
    int status = -1;
    start_workers(2);
    OK(goroutine_trace_start(path));
    run_goroutine(sleeps, NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        CHECK_EQ(goroutine_trace_stop(), GOROUTINE_EALREADY);
        start_workers(1);
        CHECK_EQ(goroutine_promise_await_take(goroutine_spawn(fails, NULL), 60 * SECOND, NULL), GOROUTINE_EPIPE); /* in no file */
        OK(goroutine_trace_start(of_child));
        run_goroutine(sleeps, NULL);
        OK(goroutine_trace_stop());
        stop();
#if defined(__SANITIZE_ADDRESS__)
        _exit(0); /* the parent's runtime is lost here, and that would be reported */
#else
        exit(0); /* with its handlers */
#endif
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    run_goroutine(sleeps, NULL);
    OK(goroutine_trace_stop());
    text = text_of(path);
    CHECK(is_complete(text));
    CHECK_EQ(times(text, "\"stops for\":\"sleep\""), 2);
    CHECK_EQ(times(text, "EPIPE"), 0);
    free(text);
    text = text_of(of_child);
    CHECK(is_complete(text));
    CHECK_EQ(times(text, "\"stops for\":\"sleep\""), 1);
    free(text);
    stop();
}

static void exits_with_a_trace(void *path) {
    OK(goroutine_trace_start((const char *)path)); /* starts the runtime, too */
    run_goroutine(sleeps, NULL);
    exit(0);
}
static void traced_by_environment(void *path) {
    setenv("GOROUTINE_TRACE", (const char *)path, 1);
    start_workers(1);
    CHECK_EQ(goroutine_trace_start("/dev/null"), GOROUTINE_EALREADY);
    run_goroutine(sleeps, NULL);
    stop();
    start_workers(1);
    run_goroutine(quick, NULL);
    stop();
}
static void environment_cannot_be_written(void *path) {
    setenv("GOROUTINE_TRACE", (const char *)path, 1);
    CHECK_EQ(goroutine_runtime_start(NULL), -ENOENT);
}
static void quits_after_a_failed_start(void *unused) {
    (void)unused;
    signal(SIGQUIT, SIG_DFL);
    setenv("GOROUTINE_SIGQUIT", "1", 1);
    environment_cannot_be_written((void *)(uintptr_t) "/nowhere/at/all");
    raise(SIGQUIT);
}

static void other_ends(void) {
    const char *path = in_directory("exit");
    char *text;
    expect_child("exit", exits_with_a_trace, (void *)(uintptr_t)path, 0, 0, NULL);
    text = text_of(path);
    CHECK(is_complete(text));
    has(text, "\"stops for\":\"sleep\"");
    free(text);
    path = in_directory("environment");
    expect_child("environment", traced_by_environment, (void *)(uintptr_t)path, 0, 0, NULL);
    text = text_of(path);
    CHECK(is_complete(text));
    has(text, "\"stops for\":\"sleep\"");
    free(text);
    text = text_of(in_directory("environment.2")); /* of its second runtime */
    CHECK(is_complete(text));
    CHECK_EQ(times(text, "\"stops for\":\"sleep\""), 0);
    free(text);
    expect_child("no directory", environment_cannot_be_written, (void *)(uintptr_t) "/nowhere/at/all", 0, 0,
                 "GOROUTINE_TRACE: cannot write /nowhere/at/all: No such file or directory");
    /* A start that failed leaves no handler behind. */
    expect_child("no directory, and a quit", quits_after_a_failed_start, NULL, SIGQUIT, 0, "GOROUTINE_TRACE: cannot write");
}

static void what_cannot_be_written(void) {
    start_workers(1);
    CHECK_EQ(goroutine_trace_start(NULL), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_trace_start(""), -ENOENT);
    CHECK_EQ(goroutine_trace_start("/nowhere/at/all"), -ENOENT);
    CHECK_EQ(goroutine_trace_start("/"), -EISDIR);
    CHECK_EQ(goroutine_trace_stop(), GOROUTINE_EALREADY);
    OK(goroutine_trace_start("/dev/full"));
    run_goroutine(sleeps, NULL);
    CHECK_EQ(goroutine_trace_stop(), -ENOSPC);
    OK(goroutine_trace_start("/dev/null"));
    OK(goroutine_trace_stop());
    stop();
}

int main(int argc, char **argv) {
    if (argc > 1) { /* for tools/trace_test.sh: the trace alone, to look at */
        says_what_happened(argv[1]);
        return 0;
    }
    CHECK(mkdtemp(directory) != NULL);
    other_ends();
    says_what_happened(in_directory("everything"));
    what_cannot_be_written();
    while_everything_runs();
    loses_and_counts();
    shutdown_ends_it();
    fork_has_none();
    remove_directory();
    return 0;
}

/* A dlclose while the library's threads run unmaps nothing; after the shutdown it unmaps everything, whichever came first. A hundred loads
 * take no more memory than ten. What exit runs takes nothing away from threads that go on meanwhile. */
#include "check.h"
#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <sys/wait.h>

static char copy[PATH_MAX];

/* A second library of its own, so that the one this program is linked to is no user of it. */
static bool make_copy(void) {
    const char *plugins = getenv("C_TESTS_PLUGINS");
    char command[3 * PATH_MAX];
    Dl_info info;
    CHECK(plugins != NULL);
    CHECK(dladdr(CODE(goroutine_runtime_start), &info) != 0);
    if (strstr(info.dli_fname, ".so") == NULL) return false; /* linked to the .a */
    snprintf(copy, sizeof copy, "%s/unload-%d.so", plugins, (int)getpid());
    snprintf(command, sizeof command, "cp '%s' '%s'", info.dli_fname, copy);
    CHECK(system(command) == 0);
    return true;
}
static bool mapped(void) {
    char line[PATH_MAX + 200];
    bool found = false;
    FILE *f = fopen("/proc/self/maps", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) found |= strstr(line, copy) != NULL;
    fclose(f);
    return found;
}

typedef GoroutineStatus (*Start)(const GoroutineConfig *);
typedef GoroutineStatus (*Ends)(uint64_t);
typedef GoroutinePromise *(*Spawn)(GoroutineFn, void *);
typedef GoroutineStatus (*Await)(GoroutinePromise *, uint64_t, void **);
typedef GoroutineStatus (*Sleep)(uint64_t);

static Sleep sleep_in_copy;
static void *sleeps(void *arg) {
    OK(sleep_in_copy(20 * MS));
    return P(U(arg) + 1);
}

enum { CLOSE_FIRST = 1, RELEASE = 2, START_TWICE = 4 };
/* All of it on a thread that ends: the C library keeps an object mapped for a thread whose thread-local destructors are in it. */
static void *load_and_unload(void *arg) {
    uint64_t how = U(arg);
    void *handle = dlopen(copy, RTLD_NOW | RTLD_LOCAL), *value = NULL;
    Start start;
    Ends end, wait;
    Spawn spawn;
    Await await;
    void (*retain)(void);
    GoroutinePromise *promise;
    int rounds = how & START_TWICE ? 2 : 1;
    if (handle == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(handle != NULL);
    start = (Start)U(dlsym(handle, "goroutine_runtime_start"));
    end = (Ends)U(dlsym(handle, how & RELEASE ? "goroutine_runtime_release" : "goroutine_runtime_shutdown"));
    retain = (void (*)(void))U(dlsym(handle, "goroutine_runtime_retain"));
    wait = (Ends)U(dlsym(handle, "goroutine_runtime_wait"));
    spawn = (Spawn)U(dlsym(handle, "goroutine_spawn"));
    await = (Await)U(dlsym(handle, "goroutine_promise_await_take"));
    sleep_in_copy = (Sleep)U(dlsym(handle, "goroutine_sleep"));
    for (; rounds > 0; rounds--) {
        if (how & RELEASE) retain();
        OK(start(NULL));
        promise = spawn(sleeps, P(1));
        if (how & CLOSE_FIRST && rounds == 1) CHECK(dlclose(handle) == 0);
        CHECK(mapped());
        OK(await(promise, 10 * SECOND, &value));
        CHECK_EQ(U(value), 2);
        OK(wait(10 * SECOND));
        OK(end(10 * SECOND)); /* where it was closed before, this function is not there any more when it returns */
    }
    if (!(how & CLOSE_FIRST)) {
        CHECK(mapped());
        CHECK(dlclose(handle) == 0);
    }
    return NULL;
}

/* ---- Nothing is left. ---- */

static size_t mappings(void) {
    size_t lines = 0;
    int c;
    FILE *f = fopen("/proc/self/maps", "r");
    CHECK(f != NULL);
    while ((c = getc(f)) != EOF) lines += c == '\n';
    fclose(f);
    return lines;
}
static size_t malloced(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static int pipe_of_copy[2];
static int64_t (*read_in_copy)(int, void *, size_t);
static void (*set_in_copy)(uint32_t, void *);
static uint32_t key_in_copy;
static int unmapped;
static void *uses_tables(void *arg) {
    char byte;
    set_in_copy(key_in_copy, arg);
    OK(sleep_in_copy(MS));
    if (arg == NULL) CHECK_EQ(read_in_copy(pipe_of_copy[0], &byte, 1), 0); /* the end: nobody writes */
    return arg;
}
static void *load_and_use(void *arg) {
    enum { N = 500 };
    void *handle = dlopen(copy, RTLD_NOW | RTLD_LOCAL), *value;
    GoroutinePromise *promises[N];
    uint64_t i;
    CHECK(handle != NULL);
    sleep_in_copy = (Sleep)U(dlsym(handle, "goroutine_sleep"));
    read_in_copy = (int64_t (*)(int, void *, size_t))U(dlsym(handle, "goroutine_read"));
    set_in_copy = (void (*)(uint32_t, void *))U(dlsym(handle, "goroutine_local_set"));
    CHECK(pipe(pipe_of_copy) == 0);
    close(pipe_of_copy[1]);
    OK(((Start)U(dlsym(handle, "goroutine_runtime_start")))(NULL));
    OK(((GoroutineStatus (*)(GoroutineDropFn, uint32_t *))U(dlsym(handle, "goroutine_local_key")))(NULL, &key_in_copy));
    for (i = 0; i < N; i++) promises[i] = ((Spawn)U(dlsym(handle, "goroutine_spawn")))(uses_tables, P(i));
    for (i = 0; i < N; i++) OK(((Await)U(dlsym(handle, "goroutine_promise_await_take")))(promises[i], 10 * SECOND, &value));
    CHECK_EQ(((int64_t (*)(int))U(dlsym(handle, "goroutine_close")))(pipe_of_copy[0]), 0);
    OK(((Ends)U(dlsym(handle, "goroutine_runtime_shutdown")))(10 * SECOND));
    CHECK(dlclose(handle) == 0);
    unmapped += !mapped(); /* not if this thread had to wait for a lock: then it has a thread-local destructor in it */
    return arg;
}
/* On 10 rounds the C library has the arenas and the threads' stacks that it keeps. */
static void a_hundred_times(void) {
    enum { FIRST = 10, ROUNDS = 110, EACH = 1024 };
    size_t maps = 0, bytes = 0;
    int round;
    for (round = 0; round < ROUNDS; round++) {
        pthread_t thread;
        if (round == FIRST) maps = mappings(), bytes = malloced();
        CHECK(pthread_create(&thread, NULL, load_and_use, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK(unmapped >= ROUNDS / 2);
    if (mappings() > maps + 10 || malloced() > bytes + EACH * (ROUNDS - FIRST))
        fprintf(stderr, "%zu then %zu mappings, %zu then %zu bytes\n", maps, mappings(), bytes, malloced());
    if (THREADS_SANITIZED) return; /* it has new ones for each dlopen, and its own malloc */
    CHECK(mappings() <= maps + 10);                              /* one left each time would be 100 */
    CHECK(malloced() <= bytes + EACH * (ROUNDS - FIRST)); /* what the lock library keeps: 150 bytes; one table left each time would be 64 KiB */
}

/* ---- exit is no dlclose. ---- */

static void *goes_on(void *arg) {
    for (;;) {
        GoroutinePromise *promise = goroutine_promise_new();
        CHECK(promise != NULL);
        goroutine_promise_resolve(promise, arg);
        goroutine_promise_release(promise);
    }
    return arg;
}
static void exits_meanwhile(void) {
    int round;
    for (round = 0; round < 50; round++) {
        int status;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pthread_t thread;
            OK(goroutine_runtime_start(NULL));
            OK(goroutine_runtime_shutdown(10 * SECOND));
            CHECK(pthread_create(&thread, NULL, goes_on, NULL) == 0);
            usleep(1000);
            exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (status != 0) fprintf(stderr, "round %d: status %#x\n", round, status);
        CHECK(status == 0);
    }
}

int main(void) {
    uint64_t how;
    exits_meanwhile();
    if (is_slow() && !THREADS_SANITIZED) return 77; /* other sanitizers keep libraries, or read what they had mapped */
    if (!make_copy()) return 0;
    for (how = 0; how < 8; how++) {
        pthread_t thread;
        CHECK(!mapped());
        CHECK(pthread_create(&thread, NULL, load_and_unload, P(how)) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(!mapped());
    }
    a_hundred_times();
    CHECK(unlink(copy) == 0);
    return 0;
}

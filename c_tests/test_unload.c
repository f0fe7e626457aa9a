/* A dlclose while the library's threads run unmaps nothing; after the shutdown it unmaps everything, whichever came first. */
#include "check.h"
#include <dlfcn.h>
#include <limits.h>

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

int main(void) {
    uint64_t how;
    if (is_slow()) return 77; /* sanitizers keep libraries, or read what they had mapped */
    if (!make_copy()) return 0;
    for (how = 0; how < 8; how++) {
        pthread_t thread;
        CHECK(!mapped());
        CHECK(pthread_create(&thread, NULL, load_and_unload, P(how)) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(!mapped());
    }
    CHECK(unlink(copy) == 0);
    return 0;
}

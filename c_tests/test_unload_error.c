/* "After that, a dlclose unmaps it", also if goroutine_ffi_load failed once on a plain thread that still lives, and that ends later. */
#include "check.h"
#include <dlfcn.h>
#include <limits.h>

#if defined(__SANITIZE_ADDRESS__)
/* The library keeps its promises' memory for ever, and once it is unmapped nobody points there. */
#ifdef __cplusplus
extern "C"
#endif
    const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:load_and_unload"; }
#endif

static bool mapped(const char *name) {
    char line[PATH_MAX + 200];
    bool found = false;
    FILE *f = fopen("/proc/self/maps", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) found |= strstr(line, name) != NULL;
    fclose(f);
    return found;
}
static void *load_and_unload(void *arg) {
    static char copy[PATH_MAX], command[3 * PATH_MAX];
    const char *dir = getenv("C_TESTS_PLUGINS");
    Dl_info info;
    int fails;
    CHECK(dladdr(CODE(goroutine_runtime_start), &info) != 0);
    if (strstr(info.dli_fname, ".so") == NULL) _exit(77); /* linked to the .a */
    for (fails = 0; fails < 2; fails++) {
        void *handle, *loaded;
        snprintf(copy, sizeof copy, "%s/unload-error-%d-%d.so", dir != NULL ? dir : ".", (int)getpid(), fails);
        snprintf(command, sizeof command, "cp '%s' '%s'", info.dli_fname, copy);
        CHECK(system(command) == 0);
        handle = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
        CHECK(handle != NULL);
        OK(((GoroutineStatus(*)(const GoroutineConfig *))U(dlsym(handle, "goroutine_runtime_start")))(NULL));
        CHECK_EQ(((GoroutineStatus(*)(const char *, int, void **))U(dlsym(handle, "goroutine_ffi_load")))(fails ? "/nowhere.so" : "libm.so.6", 0, &loaded),
                 fails ? GOROUTINE_EFFILOAD : GOROUTINE_OK);
        OK(((GoroutineStatus(*)(uint64_t))U(dlsym(handle, "goroutine_runtime_shutdown")))(GOROUTINE_FOREVER));
        CHECK(dlclose(handle) == 0);
        if (mapped(copy)) fprintf(stderr, "%s: still mapped\n", fails ? "a load failed" : "no load failed");
        unlink(copy);
        CHECK(!mapped(copy));
    }
    return arg;
}
int main(void) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, load_and_unload, NULL), 0);
    pthread_join(thread, NULL); /* it ends after the code is gone */
    return 0;
}

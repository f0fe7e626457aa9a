/* A thread cannot be made for 300 ms: "... none was given back for 10 s" is said within a second, with 0 who wait. */
#include "check.h"
#include <dlfcn.h>

#ifdef __cplusplus
int main(void) { return 77; }
#else
static uint64_t refuse;
typedef int Create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg) {
    Create *next;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return GET(refuse) ? EAGAIN : next(t, a, f, arg);
}
static void *language(void *arg) {
    OK(goroutine_sleep(300 * MS));
    SET(refuse, 0);
    return arg;
}
static void *c_code(void *arg) { return goroutine_callback_run(language, arg); }
static void *leaf(void *arg) {
    goroutine_ffi_call_leaf(CODE(c_code), NULL);
    return arg;
}
static void child(void *arg) {
    (void)arg;
    start_workers(1);
    SET(refuse, 1);
    run_goroutine(leaf, NULL);
    stop();
}
int main(void) {
    static Child result;
    run_child(child, NULL, &result);
    fprintf(stderr, "%s", result.text);
    CHECK(strstr(result.text, "for 10 s") == NULL);
    return 0;
}
#endif

/* C called by a blocking call calls back; the callback makes a blocking call, whose C jumps back to the outer C over the callback. The
 * assembly sees that (label 3 of goroutine_asm_blocking_call): "C frames were jumped over", the thread "serves nobody after that".
 * With an inner leaf call it is so; with a blocking one the mark is set and overlooked: native_stack is 0 by then. */
#include "check.h"
#include <setjmp.h>

static jmp_buf place;
static bool leaf;
static int thread;
static void *inner(void *arg) {
    (void)arg;
    longjmp(place, 1);
    return NULL;
}
static void *language(void *arg) {
    return leaf ? goroutine_ffi_call_leaf(CODE(inner), arg) : goroutine_ffi_call_blocking(CODE(inner), arg);
}
static void *outer(void *arg) {
    thread = thread_id();
    if (setjmp(place) == 0) goroutine_callback_run(language, arg);
    return NULL;
}
static void *body(void *arg) { return goroutine_ffi_call_blocking(CODE(outer), arg); }
static void *nothing(void *arg) { return arg; }
int main(void) {
    int i, bad = 0;
    for (i = 1; i >= 0; i--) {
        char path[64];
        bool lives;
        leaf = i != 0;
        start_workers(1);
        run_goroutine(body, NULL);
        run_goroutine(nothing, NULL);
        thread_sleep(50 * MS);
        snprintf(path, sizeof path, "/proc/self/task/%d", thread);
        lives = access(path, F_OK) == 0;
        fprintf(stderr, "inner %s call: the thread with the discarded frames %s\n", leaf ? "leaf" : "blocking", lives ? "serves others" : "has ended");
        bad |= lives;
        stop();
    }
    CHECK_EQ(bad, 0);
    return 0;
}

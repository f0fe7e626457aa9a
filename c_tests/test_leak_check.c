/* A program that is done with the library has lost no memory, in valgrind's eyes: not even "possibly". What is kept for the next start is reachable.
 * The program runs itself under valgrind; without one the test is skipped. */
#include "check.h"
#include <sys/socket.h>

static void *sleeps(void *arg) {
    OK(goroutine_sleep(MS));
    return arg;
}
static void *works(void *arg) {
    int ends[2], i;
    char c = 'c';
    void *value = NULL;
    GoroutinePromise *p[4];
    GoroutineChannel *channel = goroutine_channel_new(4, 1);
    for (i = 0; i < 4; i++) p[i] = goroutine_spawn(sleeps, P(i));
    for (i = 0; i < 4; i++) OK(goroutine_promise_await_take(p[i], 60 * SECOND, &value));
    CHECK(channel != NULL);
    OK(goroutine_channel_free(channel));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK_EQ(goroutine_write(ends[1], &c, 1), 1);
    CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
    CHECK(goroutine_close(ends[0]) == 0 && goroutine_close(ends[1]) == 0);
    return arg;
}
static void *nothing(void *arg) { return arg; }

/* What it leaks by itself shows that one would be seen. */
static char *volatile leaked;
static int child(const char *what) {
    GoroutineFn f = strcmp(what, "works") == 0 ? works : nothing;
    if (strcmp(what, "leaks") == 0) {
        leaked = (char *)malloc(4711);
        leaked[0] = 1;
        leaked = NULL;
    }
    OK(goroutine_runtime_run(f, NULL, NULL));
    stop();
    return 0;
}

static void valgrind(void *what) {
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *arguments[7];
    int i = 0;
    CHECK(n > 0);
    self[n] = 0;
    alarm(110);
    arguments[i++] = (char *)(uintptr_t) "valgrind";
    arguments[i++] = (char *)(uintptr_t) "--leak-check=full";
    arguments[i++] = (char *)(uintptr_t) "--error-exitcode=9";
    arguments[i++] = self;
    arguments[i++] = (char *)what;
    arguments[i] = NULL;
    execvp(arguments[0], arguments);
    _exit(77);
}

int main(int argc, char **argv) {
    static Child result;
    char what[3][8] = {"leaks", "nothing", "works"};
    int i;
    if (argc > 1) return child(argv[1]);
    if (is_slow()) return 77; /* under valgrind itself, or a sanitizer, which valgrind does not run */
    for (i = 0; i < 3; i++) {
        run_child(valgrind, what[i], &result);
        if (result.status == 77) {
            fprintf(stderr, "skipped: no valgrind here\n");
            return 77;
        }
        if (result.signal != 0 || result.status != (i == 0 ? 9 : 0)) {
            fprintf(stderr, "%s: signal %d, status %d\n%s", what[i], result.signal, result.status, result.text);
            return 1;
        }
        CHECK((strstr(result.text, "4,711 bytes") != NULL) == (i == 0));
    }
    return 0;
}

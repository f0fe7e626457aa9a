/* timeout: 300 */
/* A child of fork from a parent whose goroutines are in the middle of what they do with groups, channels and promises: it shows all roots, of the parent's
 * objects, too. GOROUTINE_TEST_FORKS children. */
#include "check.h"

enum { BUSY = 6 };
static uint64_t over;
static GoroutineGroup *groups[BUSY];
static GoroutineChannel *channels[BUSY];

static void *nothing(void *arg) { return arg; }
static void *spawns(void *arg) {
    GoroutineGroup *group = groups[U(arg)];
    while (!GET(over)) {
        uint64_t i;
        for (i = 0; i < 8; i++) OK(goroutine_group_spawn(group, nothing, NULL));
        OK(goroutine_group_wait(group, GOROUTINE_FOREVER, NULL));
    }
    return arg;
}
static void *sends(void *arg) {
    uint64_t value = 0;
    while (!GET(over)) {
        OK(goroutine_channel_send(channels[U(arg)], &value, GOROUTINE_FOREVER));
        OK(goroutine_channel_receive(channels[U(arg)], &value, GOROUTINE_FOREVER));
    }
    return arg;
}
static void ignores(void *arg, GoroutineStatus status, void *value) { (void)arg, (void)status, (void)value; }
static void *settles(void *arg) {
    while (!GET(over)) {
        GoroutinePromise *promise = goroutine_promise_new();
        int i;
        CHECK(promise != NULL);
        for (i = 0; i < 30; i++) OK(goroutine_promise_then(promise, ignores, NULL));
        OK(goroutine_promise_resolve(promise, NULL));
        goroutine_promise_release(promise);
        goroutine_yield();
    }
    return arg;
}
static void count(void *arg, void **root) {
    (void)root;
    ADD(*(uint64_t *)arg, 1);
}
static void *shows(void *arg) {
    uint64_t roots = 0;
    OK(goroutine_world_stop(20 * SECOND));
    goroutine_world_for_each_root(count, &roots);
    goroutine_world_start();
    CHECK(roots != 0);
    return arg;
}
static void child(void) {
    void *value;
    alarm(20);
    start_workers(2);
    OK(goroutine_runtime_run(shows, NULL, &value));
    stop();
    _exit(0);
}

int main(void) {
    uint64_t forks = scaled(environment_number("GOROUTINE_TEST_FORKS", 300), 20), i;
    start_workers(4);
    for (i = 0; i < BUSY; i++) {
        CHECK((groups[i] = goroutine_group_new(0)) != NULL);
        CHECK((channels[i] = goroutine_channel_new(8, 8)) != NULL);
        goroutine_promise_release(goroutine_spawn(spawns, P(i)));
        goroutine_promise_release(goroutine_spawn(sends, P(i)));
        goroutine_promise_release(goroutine_spawn(settles, P(i)));
    }
    for (i = 0; i < forks; i++) {
        int status;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) child();
        CHECK(waitpid(pid, &status, 0) == pid);
        if (status != 0) fprintf(stderr, "child %" PRIu64 ": status %#x\n", i, (unsigned)status);
        CHECK_EQ(status, 0);
    }
    SET(over, 1);
    OK(goroutine_runtime_wait(60 * SECOND));
    for (i = 0; i < BUSY; i++) {
        OK(goroutine_group_free(groups[i]));
        OK(goroutine_channel_free(channels[i]));
    }
    stop();
    return 0;
}

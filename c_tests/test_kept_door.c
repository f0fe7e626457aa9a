/* timeout: 30 */
/* Between a shutdown that could not join its threads yet, and the next one, a kept stay is taken back, too: a close closes, a release
 * returns ("r"), a number that an accept gave is new ("a"). */
#include "check.h"
#include "net.h"
static int over;
static pthread_key_t key;
static void thread_end(void *data) {
    (void)data;
    while (!GET(over)) thread_sleep(MS);
}
static void *writes_it(void *arg) {
    CHECK(pthread_setspecific(key, arg) == 0); /* its thread takes a while to end */
    return P(goroutine_write((int)U(arg), "a", 1));
}
static int variant(int argc, char **argv) {
    int ends[2], i;
    void *value = NULL;
    bool open;
    GoroutineConfig config;
    int64_t status = 0;
    CHECK(pthread_key_create(&key, thread_end) == 0);
    goroutine_config_init(&config);
    config.workers = 1;
    OK(goroutine_runtime_start(&config));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    OK(goroutine_promise_await_take(goroutine_spawn(writes_it, P(ends[0])), 60 * SECOND, &value));
    for (i = 0; i < 20; i++) CHECK((status = goroutine_runtime_shutdown(10 * MS)) != GOROUTINE_OK);
    if (argc > 1 && argv[1][0] == 'a') {
        Address address;
        socklen_t size;
        char c;
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), listener = listening(AF_INET, SOCK_STREAM, 16, &address, &size);
        OK(goroutine_set_deadline(ends[0], POLLIN, 1 * MS));
        CHECK_EQ(connect(client, &address.any, size), 0);
        CHECK_EQ(write(client, "n", 1), 1);
        CHECK(close(ends[0]) == 0);
        thread_sleep(2 * MS);
        CHECK_EQ(goroutine_accept(listener, NULL, NULL), ends[0]);
        CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
    } else if (argc > 1) {
        OK(goroutine_fd_release(ends[0]));
    } else {
        CHECK_EQ(goroutine_close(ends[0]), 0);
        open = fcntl(ends[0], F_GETFD) >= 0;
        CHECK(!open);
    }
    SET(over, 1);
    stop();
    return 0;
}

static void child(void *arg) {
    char *words[2];
    words[0] = NULL;
    words[1] = (char *)arg;
    _exit(variant(arg == NULL ? 1 : 2, words));
}
int main(void) {
    expect_child("door, null", child, NULL, 0, 0, NULL);
    expect_child("door, r", child, (void *)(uintptr_t)"r", 0, 0, NULL);
    expect_child("door, a", child, (void *)(uintptr_t)"a", 0, 0, NULL);
    return 0;
}

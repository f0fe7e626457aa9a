/* timeout: 60 */
/* A descriptor that is used by one worker for long is biased to it, and that worker's calls count nobody in (src/netpoll/hazard.rs). Nobody notices:
 * a close that somebody else makes ends when no call is under way, and never before. */
#include "check.h"
#include "net.h"
#include "step.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

enum How { THREAD_CLOSES, GOROUTINE_CLOSES, THREAD_RELEASES, GOROUTINE_RELEASES, HOWS };
enum { EARNED = 600 }; /* calls in a row: more than enough */

static void pair(int ends[2]) { CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0); }
static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }
static bool releases(enum How how) { return how == THREAD_RELEASES || how == GOROUTINE_RELEASES; }
static int64_t ended(int fd, enum How how) { return releases(how) ? goroutine_fd_release(fd) : goroutine_close(fd); }

/* Its other end is closed: after what was written, the end. */
static void ends_now(int peer) {
    struct pollfd one;
    char some[4096];
    ssize_t n;
    one.fd = peer;
    one.events = POLLIN;
    do {
        CHECK_EQ(poll(&one, 1, 60000), 1);
        n = read(peer, some, sizeof some);
    } while (n > 0);
    CHECK(n == 0 || errno == ECONNRESET); /* the latter: something was left unread */
}

/* ---- each instruction of a call ---- */

static int ends[2], ready, go;
static int64_t wrote;
static void *victim(void *arg) {
    int i;
    for (i = 0; i < EARNED; i++) CHECK_EQ(goroutine_write(ends[0], "a", 1), 1);
    SET(ready, 1);
    while (!GET(go)) {
    }
    step_begin();
    wrote = goroutine_write(ends[0], "b", 1);
    step_end();
    return arg;
}
static enum How closer_how;
static void *closer(void *arg) {
    CHECK_EQ(ended(ends[0], closer_how), 0);
    return arg;
}

/* The victim stands before that instruction of its call, and the rival ends the descriptor. False: it has none so late. */
static bool stands_before(uint32_t at, enum How how) {
    GoroutinePromise *p;
    bool stopped, in_call, stands;
    int both[2];
    closer_how = how;
    step_reset(at);
    SET(ready, 0), SET(go, 0);
    CHECK(pipe2(both, O_CLOEXEC) == 0);
    ends[0] = both[1], ends[1] = both[0];
    p = spawn_as("victim", victim, NULL, GOROUTINE_SPAWN_PINNED); /* so it stays with one worker */
    while (!GET(ready)) sched_yield();
    SET(go, 1);
    while (GET(step_stopped) == 0 && GET(step_over) == 0) sched_yield();
    stopped = GET(step_stopped) != 0;
    in_call = stopped && step_is_call(GET(step_ip));
    if (how == THREAD_CLOSES || how == THREAD_RELEASES) {
        CHECK_EQ(ended(ends[0], how), 0);
    } else {
        OK(goroutine_promise_await_take(goroutine_spawn(closer, NULL), 60 * SECOND, NULL));
    }
    stands = stopped && GET(step_impatient) == 0;
    if (in_call && stands) CHECK(!releases(how) && is_open(ends[0])); /* who releases waits for it, a close is left to it */
    SET(step_goes_on, 1u);
    OK(goroutine_promise_await_take(p, 60 * SECOND, NULL));
    CHECK(wrote == 1 || ((wrote == -EBADF || wrote == GOROUTINE_EBADF) && !in_call));
    if (releases(how)) CHECK(is_open(ends[0]) && close(ends[0]) == 0);
    CHECK(!is_open(ends[0]));
    ends_now(ends[1]);
    CHECK(close(ends[1]) == 0);
    return stopped;
}

/* ---- many at once ---- */

enum { ROUNDS = 400, READERS = 3 };
static int going, many[2];
/* Reads for as long as there is something, on whatever worker it comes to. */
static void *reads(void *arg) {
    char c;
    while (goroutine_read(many[0], &c, 1) == 1) ADD(going, 1);
    return arg;
}
static void in_a_crowd(void) {
    static char some[8192];
    int round, rounds = (int)scaled(ROUNDS, 40), i;
    for (round = 0; round < rounds; round++) {
        GoroutinePromise *p[READERS];
        enum How how = (enum How)(round % HOWS);
        SET(going, 0);
        pair(many);
        CHECK_EQ(write(many[1], some, sizeof some), (ssize_t)sizeof some);
        for (i = 0; i < READERS; i++) p[i] = goroutine_spawn(reads, NULL);
        while (GET(going) < EARNED + round % 64) sched_yield();
        ends[0] = many[0];
        closer_how = how;
        if (how == THREAD_CLOSES || how == THREAD_RELEASES) {
            CHECK_EQ(ended(many[0], how), 0);
        } else {
            OK(goroutine_promise_await_take(goroutine_spawn(closer, NULL), 60 * SECOND, NULL));
        }
        /* (After a release the number is open, and a reader goes on with it.) */
        if (releases(how)) CHECK(shutdown(many[1], SHUT_WR) == 0);
        for (i = 0; i < READERS; i++) OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
        if (releases(how)) CHECK_EQ(goroutine_close(many[0]), 0);
        CHECK(!is_open(many[0]));
        ends_now(many[1]);
        CHECK(close(many[1]) == 0);
    }
}

int main(void) {
    uint32_t at;
    int how, i;
    step_init();
    start_workers(2);
    for (how = 0; how < HOWS && !THREADS_SANITIZED; how++) { /* the handler would be in the middle of its functions */
        for (i = 0; i < 20; i++) CHECK(stands_before(STEP_AT_CALL, (enum How)how));
        for (at = 1; stands_before(at, (enum How)how); at += 2) {
        }
        CHECK(at > 100);
    }
    stop();
    start_workers(4);
    in_a_crowd();
    stop();
    start_workers(1);
    in_a_crowd();
    stop();
    return 0;
}

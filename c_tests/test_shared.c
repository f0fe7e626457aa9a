/* timeout: 300 */
/* 100,000 goroutines wait for 5,000 descriptors, 20 for each; and 20,000 for a single one. Each byte is read by one of them and none is lost, whoever is
 * cancelled takes nothing along, an end ends all reads, and a close ends all waits.
 * GOROUTINE_TEST_SHARED: how many goroutines (100,000). */
#include "check.h"
#include "proc.h"
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { PER = 20, DESCRIPTORS_MAX = 5000, WRITERS = 5 };

typedef struct Shared {
    int ends[2]; /* read, write */
    uint32_t seen; /* which bytes were read */
} Shared;
typedef struct Reader {
    Shared *of;
    GoroutinePromise *promise;
    int64_t result;
} Reader;

static Shared shared[DESCRIPTORS_MAX];
static Reader readers[DESCRIPTORS_MAX * PER];
static uint64_t descriptors, per, begun, turn;

/* Until all have begun, and the process has come to rest: then they wait. Nothing below depends on it but what is meant to be tried. */
static void settle(uint64_t begin) {
    uint64_t end = now_ns() + 60 * SECOND, before, rest = 0;
    while (GET(begun) != begin) {
        CHECK(now_ns() < end);
        thread_sleep(MS);
    }
    while (rest < 3 && now_ns() < end) {
        before = cpu_ns();
        thread_sleep(2 * MS);
        rest = cpu_ns() - before < 200 * US ? rest + 1 : 0;
    }
}
static void *read_byte(void *arg) {
    Reader *r = (Reader *)arg;
    unsigned char byte = 255;
    ADD(begun, 1);
    r->result = goroutine_read(r->of->ends[0], &byte, 1);
    if (r->result == 1) {
        CHECK(byte < per);
        CHECK((__atomic_fetch_or(&r->of->seen, 1u << byte, __ATOMIC_SEQ_CST) & 1u << byte) == 0); /* nobody else read it */
    }
    return NULL;
}
static void open_all(void) {
    uint64_t d;
    for (d = 0; d < descriptors; d++) {
        CHECK((d % 2 == 0 ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, shared[d].ends) : pipe(shared[d].ends)) == 0);
        shared[d].seen = 0;
    }
}
/* All readers, in an order in which those of one descriptor are far apart. `cancellable`: every other one has a promise. */
static void spawn_all(bool cancellable) {
    uint64_t i;
    SET(begun, 0);
    for (i = 0; i < descriptors * per; i++) {
        Reader *r = &readers[i];
        r->of = &shared[i % descriptors];
        r->promise = NULL;
        r->result = -1000;
        if (cancellable && i / descriptors % 2 == 0) {
            r->promise = goroutine_spawn(read_byte, r);
            CHECK(r->promise != NULL);
        } else {
            OK(goroutine_go(read_byte, r));
        }
    }
    settle(descriptors * per);
}
/* Bytes 0 to `bytes` - 1 for each descriptor of one writer, a few at a time, in turn. */
static uint64_t bytes;
static void *write_some(void *arg) {
    uint64_t d, at, state = random_seed(turn, U(arg));
    static const unsigned char all[PER] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
    for (at = 0; at < bytes;) {
        uint64_t n = random_next(&state) % 3 + 1;
        if (n > bytes - at) n = bytes - at;
        for (d = U(arg); d < descriptors; d += WRITERS) CHECK_EQ(goroutine_write(shared[d].ends[1], all + at, n), n);
        at += n;
    }
    return NULL;
}
static void write_all_of_them(uint64_t n) {
    pthread_t thread;
    uint64_t w;
    bytes = n;
    turn++;
    for (w = 1; w < WRITERS; w++) OK(goroutine_go(write_some, P(w)));
    CHECK(pthread_create(&thread, NULL, write_some, P(0)) == 0);
    pthread_join(thread, NULL);
    OK(goroutine_runtime_wait(60 * SECOND));
}
/* Nothing is left to be read. */
static void close_all(void) {
    uint64_t d;
    uint32_t ready;
    for (d = 0; d < descriptors; d++) {
        CHECK_EQ(goroutine_fd_wait(shared[d].ends[0], POLLIN, 0, &ready), GOROUTINE_EAGAIN);
        CHECK(goroutine_close(shared[d].ends[0]) == 0 && goroutine_close(shared[d].ends[1]) == 0);
    }
}
static uint64_t ended_with(int64_t result) {
    uint64_t n = 0, i;
    for (i = 0; i < descriptors * per; i++) n += readers[i].result == result;
    return n;
}

static void each_gets_one(void) {
    uint64_t d;
    open_all();
    spawn_all(false);
    write_all_of_them(per);
    CHECK_EQ(ended_with(1), descriptors * per);
    for (d = 0; d < descriptors; d++) CHECK_EQ(shared[d].seen, (1u << per) - 1);
    close_all();
}
static void half_is_cancelled(void) {
    uint64_t i;
    open_all();
    spawn_all(true);
    for (i = 0; i < descriptors * per; i++) {
        if (readers[i].promise == NULL) continue;
        OK(goroutine_cancel(readers[i].promise));
    }
    for (i = 0; i < descriptors * per; i++) {
        if (readers[i].promise == NULL) continue;
        OK(goroutine_promise_await_take(readers[i].promise, 60 * SECOND, NULL));
        CHECK_EQ(readers[i].result, -ECANCELED);
    }
    write_all_of_them(per / 2);
    CHECK_EQ(ended_with(1), descriptors * (per / 2));
    for (i = 0; i < descriptors; i++) CHECK_EQ(shared[i].seen, (1u << per / 2) - 1);
    close_all();
}
/* While bytes come. Whoever is cancelled takes none along: those who are left get theirs from what is left. */
static void cancelled_meanwhile(void) {
    uint64_t i, d, cancelled, read;
    pthread_t thread;
    open_all();
    spawn_all(true);
    bytes = per / 2;
    turn++;
    for (i = 1; i < WRITERS; i++) OK(goroutine_go(write_some, P(i)));
    CHECK(pthread_create(&thread, NULL, write_some, P(0)) == 0);
    for (i = 0; i < descriptors * per; i++) {
        GoroutineStatus status = readers[i].promise == NULL ? GOROUTINE_OK : goroutine_cancel(readers[i].promise);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY); /* it has read a byte */
    }
    for (i = 0; i < descriptors * per; i++) {
        if (readers[i].promise != NULL) OK(goroutine_promise_await_take(readers[i].promise, 60 * SECOND, NULL));
    }
    pthread_join(thread, NULL);
    for (d = 0; d < descriptors; d++) { /* all of them are read before the others hear of the end */
        uint64_t end = now_ns() + 60 * SECOND;
        while (GET(shared[d].seen) != (1u << bytes) - 1) {
            CHECK(now_ns() < end);
            thread_sleep(MS);
        }
        CHECK_EQ(goroutine_close(shared[d].ends[1]), 0);
    }
    OK(goroutine_runtime_wait(60 * SECOND));
    cancelled = ended_with(-ECANCELED);
    read = ended_with(1);
    CHECK_EQ(read, descriptors * bytes);
    CHECK_EQ(ended_with(0), descriptors * per - read - cancelled);
    for (d = 0; d < descriptors; d++) CHECK_EQ(goroutine_close(shared[d].ends[0]), 0);
}
static void all_ended(bool by_close) {
    uint64_t d;
    open_all();
    spawn_all(false);
    for (d = 0; d < descriptors; d++) CHECK_EQ(goroutine_close(shared[d].ends[by_close ? 0 : 1]), 0);
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(ended_with(by_close ? -EBADF : 0), descriptors * per);
    for (d = 0; d < descriptors; d++) CHECK_EQ(goroutine_close(shared[d].ends[by_close ? 1 : 0]), 0);
}

/* ---- a crowd at one socket: readers, and behind them writers and those who only ask, for whom nothing happens for a long time ---- */
enum { CROWD = 20000, OTHERS = 200 };
static int one[2];
static unsigned char read_once[CROWD];
static uint64_t written, asked;
static void *read_number(void *unused) {
    uint32_t number = CROWD;
    (void)unused;
    ADD(begun, 1);
    CHECK_EQ(goroutine_read(one[0], &number, sizeof number), sizeof number); /* numbers are never torn: each is written at once */
    CHECK(number < CROWD);
    CHECK_EQ(__atomic_add_fetch(&read_once[number], 1, __ATOMIC_SEQ_CST), 1);
    return NULL;
}
static void *write_letter(void *unused) {
    (void)unused;
    ADD(begun, 1);
    CHECK_EQ(goroutine_write(one[0], "w", 1), 1);
    ADD(written, 1);
    return NULL;
}
static void *ask_for_room(void *unused) {
    uint32_t ready = 0;
    (void)unused;
    ADD(begun, 1);
    OK(goroutine_fd_wait(one[0], POLLOUT, GOROUTINE_FOREVER, &ready));
    CHECK(ready & POLLOUT);
    ADD(asked, 1);
    return NULL;
}
static void crowd(void) {
    uint64_t n = scaled(CROWD, 20), i;
    char buffer[4096];
    ssize_t got, full = 0, drained = 0;
    memset(read_once, 0, sizeof read_once);
    memset(buffer, 'f', sizeof buffer);
    SET(begun, 0);
    SET(written, 0);
    SET(asked, 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, one) == 0);
    while ((got = send(one[0], buffer, sizeof buffer, MSG_DONTWAIT)) > 0) full += got;
    while ((got = send(one[0], buffer, 1, MSG_DONTWAIT)) > 0) full += got;
    for (i = 0; i < n; i++) OK(goroutine_go(read_number, NULL));
    for (i = 0; i < OTHERS; i++) OK(goroutine_go(write_letter, NULL));
    for (i = 0; i < OTHERS; i++) OK(goroutine_go(ask_for_room, NULL));
    settle(n + 2 * OTHERS);
    for (i = 0; i < n; i++) {
        uint32_t number = (uint32_t)i;
        CHECK_EQ(goroutine_write(one[1], &number, sizeof number), sizeof number);
    }
    for (i = 0; i < n; i++) {
        uint64_t end = now_ns() + 60 * SECOND;
        while (__atomic_load_n(&read_once[i], __ATOMIC_SEQ_CST) == 0) {
            CHECK(now_ns() < end);
            thread_sleep(MS);
        }
    }
    CHECK(GET(written) == 0 && GET(asked) == 0); /* there was never room */
    while (drained < full + OTHERS) {
        int64_t now;
        OK(goroutine_set_deadline(one[1], POLLIN, 60 * SECOND));
        now = goroutine_read(one[1], buffer, sizeof buffer);
        CHECK(now > 0);
        drained += now;
    }
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK(GET(written) == OTHERS && GET(asked) == OTHERS);
    CHECK(goroutine_close(one[0]) == 0 && goroutine_close(one[1]) == 0);
}

int main(void) {
    static const uint32_t counts[] = {1, 2, 8};
    struct rlimit limit;
    uint64_t goroutines = environment_number("GOROUTINE_TEST_SHARED", scaled(DESCRIPTORS_MAX * PER, 20)), i;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    per = PER;
    descriptors = goroutines / per;
    if (descriptors > DESCRIPTORS_MAX) descriptors = DESCRIPTORS_MAX;
    if (limit.rlim_max < 2 * descriptors + 100) {
        descriptors = (limit.rlim_max - 100) / 2;
        fprintf(stderr, "%" PRIu64 " goroutines only: the limit of descriptors\n", descriptors * per);
    }
    for (i = 0; i < 3; i++) {
        GoroutineStats stats;
        start_workers(counts[i]);
        each_gets_one();
        half_is_cancelled();
        cancelled_meanwhile();
        all_ended(false);
        all_ended(true);
        crowd();
        goroutine_stats_init(&stats);
        OK(goroutine_runtime_stats(&stats));
        CHECK(stats.live == 0 && stats.timers == 0);
        stop();
    }
    return 0;
}

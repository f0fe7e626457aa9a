/* timeout: 1800 */
/* Waiting in line and granting, stopped at each instruction while another thread grants, cancels or frees (step.h): a value, a permit and
 * a lock are in one place, a signal arrives, and who has granted something, or was told, does not touch what may be freed by then.
 *
 * stress_step [SCENE [KINDS]]: those whose names contain SCENE; KINDS: 1 plain threads, 2 goroutines, 4 bound ones. */
#include "step.h"

#include <fcntl.h>
#include <sys/socket.h>

#ifndef STEP_STRIDE
#define STEP_STRIDE 1
#define STEPS_MAX 2500
#define STEP_SCENES(scene) true
#endif

typedef enum Kind { THREAD, GOROUTINE, BOUND, KINDS } Kind;
static const char *const kind_names[] = {"thread", "goroutine", "bound goroutine"};

typedef enum Begin { WHEN_STOPPED, AT_ONCE, WHEN_PREPARED } Begin;
typedef struct Scene {
    const char *name;
    void (*prepare)(void);
    void (*before)(void); /* the victim's, not in steps; or NULL */
    void (*victim)(void);
    void (*after)(void);
    void (*rival)(void);
    void (*verify)(void);
    Begin begin;   /* the rival */
    unsigned kinds; /* of victims, a bit each */
    bool every_day;
} Scene;

static const Scene *scene;
static Kind kind;
static uint32_t step;

static GoroutineMutex *mutex;
static GoroutineSemaphore *semaphore;
static GoroutineCondition *condition;
static GoroutineRwLock *rwlock;
static GoroutineChannel *channel;
static GoroutineWaitGroup *wait_group;
static GoroutineOnce *once;
static GoroutinePromise *promise, *self;
static Ashes ashes;
static bool was_freed, is_owned, rival_was_first;
static GoroutineStatus status, rival_status;
static uint64_t value, ran;
static uint32_t victim_stage, rival_over, is_ready;

static void must(bool is, int line, const char *what) {
    if (is) return;
    fprintf(stderr, "%s, %s, step %u, line %d: %s\n", scene->name, kind_names[kind], step, line, what);
    _exit(1);
}
#define MUST(condition) must(condition, __LINE__, #condition)

/* Freed, or somebody waits. */
static void is_free(GoroutineStatus of_free) {
    MUST(of_free == GOROUTINE_OK || of_free == GOROUTINE_EBUSY);
    was_freed = of_free == GOROUTINE_OK;
    if (was_freed) ashes_scatter(&ashes);
}
static bool stayed_free(void) {
    if (!was_freed) return false;
    MUST(ashes_are_quiet(&ashes));
    free(ashes.at);
    return true;
}
static void cancel(void) {
    GoroutineStatus cancelled;
    if (self == NULL) return;
    cancelled = goroutine_cancel(self);
    MUST(cancelled == GOROUTINE_OK || cancelled == GOROUTINE_EALREADY);
}

/* ---- Who waits is stopped: the rival gives, and cancels it ---- */

static void new_semaphore(void) { semaphore = goroutine_semaphore_new(0); }
static void acquires(void) { status = goroutine_semaphore_acquire(semaphore, 1, GOROUTINE_FOREVER); }
static void release_cancel(void) {
    OK(goroutine_semaphore_release(semaphore, 1));
    cancel();
}
static void cancel_release(void) {
    cancel();
    OK(goroutine_semaphore_release(semaphore, 1));
}
static void one_permit(void) {
    const bool is_left = goroutine_semaphore_acquire(semaphore, 1, 0) == GOROUTINE_OK;
    MUST(is_left == (status != GOROUTINE_OK));
    OK(goroutine_semaphore_free(semaphore));
}

static void new_mutex(void) { mutex = goroutine_mutex_new(0); }
static void lock(void) { OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER)); }
static void unlock(void) { OK(goroutine_mutex_unlock(mutex)); }
/* A goroutine that has the mutex until it is told. */
static uint32_t owner_stage;
static GoroutinePromise *owner;
static void *owns(void *arg) {
    lock();
    SET(owner_stage, 1u);
    while (GET(owner_stage) != 2) goroutine_sleep(200 * US);
    unlock();
    return arg;
}
static void new_mutex_held(void) {
    new_mutex();
    SET(owner_stage, 0u);
    owner = goroutine_spawn(owns, NULL);
    while (GET(owner_stage) != 1) sched_yield();
}
static void locks(void) { status = goroutine_mutex_lock(mutex, GOROUTINE_FOREVER); }
static void unlock_if_owned(void) {
    is_owned = goroutine_mutex_is_owned(mutex);
    if (is_owned) unlock();
}
static void unlock_cancel(void) {
    SET(owner_stage, 2u);
    OK(goroutine_promise_await_take(owner, 10 * SECOND, NULL));
    cancel();
}
static void cancel_unlock(void) {
    SET(owner_stage, 2u);
    cancel();
    OK(goroutine_promise_await_take(owner, 10 * SECOND, NULL));
}
static void owned_if_ok(void) {
    MUST(is_owned == (status == GOROUTINE_OK));
    OK(goroutine_mutex_free(mutex));
}

static void new_channel_0(void) { channel = goroutine_channel_new(sizeof value, 0); }
static void new_channel_1(void) { channel = goroutine_channel_new(sizeof value, 1); }
static void new_channel_full(void) {
    const uint64_t five = 5;
    new_channel_1();
    OK(goroutine_channel_send(channel, &five, 0));
}
static void receives(void) { status = goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER); }
static void selects(void) {
    GoroutineSelectCase cases[3];
    uint64_t unsent = 3;
    size_t chosen = 99;
    memset(cases, 0, sizeof cases);
    cases[0].op = cases[2].op = GOROUTINE_SELECT_RECEIVE;
    cases[0].object = cases[2].object = channel; /* in the line twice */
    cases[0].value = cases[2].value = &value;
    cases[1].op = GOROUTINE_SELECT_SEND;
    cases[1].value = &unsent;
    status = goroutine_select(cases, 3, GOROUTINE_FOREVER, &chosen);
    MUST(status != GOROUTINE_OK || (chosen % 2 == 0 && cases[chosen].status == GOROUTINE_OK));
}
static void send_cancel(void) {
    const uint64_t seven = 7;
    rival_status = goroutine_channel_send(channel, &seven, SECOND);
    cancel();
}
static void try_send_cancel(void) {
    const uint64_t seven = 7;
    rival_status = goroutine_channel_send(channel, &seven, 0);
    cancel();
}
static void cancel_send(void) {
    const uint64_t seven = 7;
    cancel();
    rival_status = goroutine_channel_send(channel, &seven, self == NULL ? SECOND : 10 * MS);
}
static void one_value(void) {
    uint64_t left = 0;
    const bool is_left = goroutine_channel_receive(channel, &left, 0) == GOROUTINE_OK;
    MUST(is_left == (status != GOROUTINE_OK && rival_status == GOROUTINE_OK));
    MUST(status != GOROUTINE_OK || (value == 7 && rival_status == GOROUTINE_OK));
    OK(goroutine_channel_free(channel));
}
static void sends(void) {
    const uint64_t nine = 9;
    status = goroutine_channel_send(channel, &nine, GOROUTINE_FOREVER);
}
static void try_receive_cancel(void) {
    rival_status = goroutine_channel_receive(channel, &value, self == NULL ? SECOND : 0);
    cancel();
}
static void one_sent(void) {
    MUST((status == GOROUTINE_OK) == (rival_status == GOROUTINE_OK));
    MUST(rival_status != GOROUTINE_OK || value == 9);
    OK(goroutine_channel_free(channel));
}
static void one_sent_after_five(void) {
    uint64_t left = 0;
    const bool is_left = goroutine_channel_receive(channel, &left, 0) == GOROUTINE_OK;
    MUST(rival_status == GOROUTINE_OK && value == 5);
    MUST(is_left == (status == GOROUTINE_OK) && (!is_left || left == 9));
    OK(goroutine_channel_free(channel));
}

static void new_promise(void) { promise = goroutine_promise_new(); }
static void awaits(void) {
    void *result = NULL;
    status = goroutine_promise_await(promise, GOROUTINE_FOREVER, &result);
    value = U(result);
}
static void resolve_cancel(void) {
    OK(goroutine_promise_resolve(promise, P(77)));
    cancel();
}
static void right_value(void) {
    MUST(status == GOROUTINE_OK ? value == 77 : status == GOROUTINE_ECANCELED);
    goroutine_promise_release(promise);
}

/* A signal arrives, and the condition may be freed after it. */
static void new_condition(void) {
    condition = goroutine_condition_new();
    mutex = goroutine_mutex_new(0);
    ashes = ashes_of(condition);
}
static void waits_for_signal(void) { status = goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER); }
static void signal_free(void) {
    lock();
    OK(goroutine_condition_signal(condition));
    unlock();
    is_free(goroutine_condition_free(condition));
}
static void signal_cancel_free(void) {
    lock();
    OK(goroutine_condition_signal(condition));
    cancel();
    unlock();
    is_free(goroutine_condition_free(condition));
}
static void got_signal(void) {
    MUST(status == GOROUTINE_OK);
    MUST(stayed_free());
    OK(goroutine_mutex_free(mutex));
}
static GoroutinePromise *second;
static GoroutineStatus second_status;
static void *waits_second(void *arg) {
    lock();
    SET(is_ready, 1u);
    second_status = goroutine_condition_wait(condition, mutex, GOROUTINE_FOREVER);
    unlock();
    return arg;
}
static void lock_first(void) {
    lock();
    second = goroutine_spawn(waits_second, NULL); /* behind us in the line */
}
static void signal_cancel(void) {
    while (GET(is_ready) == 0) sched_yield();
    lock();
    OK(goroutine_condition_signal(condition));
    cancel();
    unlock();
}
static void one_signal(void) {
    /* The second has it if the first has not. */
    const GoroutineStatus woken = goroutine_promise_await(second, status == GOROUTINE_OK ? 0 : 10 * SECOND, NULL);
    MUST(woken == (status == GOROUTINE_OK ? GOROUTINE_EAGAIN : GOROUTINE_OK));
    OK(goroutine_condition_signal(condition));
    OK(goroutine_promise_await_take(second, 10 * SECOND, NULL));
    MUST(second_status == GOROUTINE_OK);
    OK(goroutine_condition_free(condition));
    OK(goroutine_mutex_free(mutex));
}

/* ---- Who grants is stopped: the rival, which got it, frees ---- */

static void new_mutex_to_free(void) {
    new_mutex();
    ashes = ashes_of(mutex);
}
static void unlocks(void) { status = goroutine_mutex_unlock(mutex); }
static void lock_free(void) {
    lock();
    unlock();
    is_free(goroutine_mutex_free(mutex));
}
static void try_free(void) {
    while (goroutine_mutex_try_lock(mutex) != GOROUTINE_OK) sched_yield();
    unlock();
    is_free(goroutine_mutex_free(mutex));
}
static void was_free(void) {
    MUST(status == GOROUTINE_OK);
    MUST(stayed_free());
}
static void new_wait_group(void) {
    wait_group = goroutine_wait_group_new();
    OK(goroutine_wait_group_add(wait_group, 1));
    ashes = ashes_of(wait_group);
}
static void is_done(void) { status = goroutine_wait_group_done(wait_group); }
static void wait_free(void) {
    OK(goroutine_wait_group_wait(wait_group, 10 * SECOND));
    is_free(goroutine_wait_group_free(wait_group));
}
static void new_semaphore_to_free(void) {
    new_semaphore();
    ashes = ashes_of(semaphore);
}
static void releases(void) { status = goroutine_semaphore_release(semaphore, 1); }
static void acquire_free(void) {
    OK(goroutine_semaphore_acquire(semaphore, 1, 10 * SECOND));
    is_free(goroutine_semaphore_free(semaphore));
}
static void new_rwlock(void) {
    rwlock = goroutine_rwlock_new();
    ashes = ashes_of(rwlock);
}
static void write_lock(void) { OK(goroutine_rwlock_write_lock(rwlock, 10 * SECOND)); }
static void write_unlocks(void) { status = goroutine_rwlock_write_unlock(rwlock); }
static void write_lock_free(void) {
    write_lock();
    OK(goroutine_rwlock_write_unlock(rwlock));
    is_free(goroutine_rwlock_free(rwlock));
}
static void new_channel_0_to_free(void) {
    new_channel_0();
    ashes = ashes_of(channel);
}
static void new_channel_1_to_free(void) {
    new_channel_1();
    ashes = ashes_of(channel);
}
static void receive_free(void) {
    OK(goroutine_channel_receive(channel, &value, 10 * SECOND));
    MUST(value == 9);
    is_free(goroutine_channel_free(channel));
}
static void send_free(void) {
    const uint64_t seven = 7;
    OK(goroutine_channel_send(channel, &seven, 10 * SECOND));
    is_free(goroutine_channel_free(channel));
}
static void closes(void) { status = goroutine_channel_close(channel); }
static void closed_free(void) {
    MUST(goroutine_channel_receive(channel, &value, 10 * SECOND) == GOROUTINE_EPIPE);
    is_free(goroutine_channel_free(channel));
}
static void *run(void *arg) {
    SET(is_ready, 1u);
    ADD(ran, 1);
    return arg;
}
static void new_once(void) {
    once = goroutine_once_new();
    ashes = ashes_of(once);
    ran = 0;
}
static void runs(void) {
    void *result = NULL;
    status = goroutine_once_run(once, run, P(41), GOROUTINE_FOREVER, &result);
    value = U(result);
}
static void ran_free(void) {
    void *result = NULL;
    while (GET(is_ready) == 0) sched_yield();
    OK(goroutine_once_run(once, run, P(42), 10 * SECOND, &result));
    MUST(U(result) == 41);
    is_free(goroutine_once_free(once));
}
static void ran_once(void) {
    MUST(status == GOROUTINE_OK && value == 41 && ran == 1);
    if (!stayed_free()) OK(goroutine_once_free(once)); /* the one who ran it had it still */
}
static void resolves(void) { status = goroutine_promise_resolve(promise, P(77)); }
static void await_only(void) {
    void *result = NULL;
    OK(goroutine_promise_await(promise, 10 * SECOND, &result));
    MUST(U(result) == 77);
}
static void resolved(void) {
    MUST(status == GOROUTINE_OK);
    goroutine_promise_release(promise);
}
static void until_it_waits(void) {
    while (GET(is_ready) == 0) sched_yield();
    lock(); /* it has given it up */
    unlock();
}
static void signals(void) { status = goroutine_condition_signal(condition); }
static void broadcasts(void) { status = goroutine_condition_broadcast(condition); }
static void signalled_free(void) {
    lock();
    SET(is_ready, 1u);
    OK(goroutine_condition_wait(condition, mutex, 10 * SECOND));
    unlock();
    is_free(goroutine_condition_free(condition));
}
/* More than there may be: one of two is refused, however they meet, and nothing is lost. */
static GoroutineStatus large_status;
static void *acquires_all(void *arg) {
    SET(is_ready, 1u);
    large_status = goroutine_semaphore_acquire(semaphore, UINT32_MAX, GOROUTINE_FOREVER);
    return arg;
}
static void new_semaphore_nearly_full(void) {
    semaphore = goroutine_semaphore_new(UINT32_MAX - 3);
    second = goroutine_spawn(acquires_all, NULL);
    while (GET(is_ready) == 0 || goroutine_semaphore_acquire(semaphore, 1, 0) == GOROUTINE_OK) {
        if (GET(is_ready) != 0) goroutine_semaphore_release(semaphore, 1);
        thread_sleep(20 * US);
    }
}
static void release_two(void) { status = goroutine_semaphore_release(semaphore, 2); }
static void release_two_as_well(void) { rival_status = goroutine_semaphore_release(semaphore, 2); }
static void one_was_refused(void) {
    MUST((status == GOROUTINE_OK && rival_status == GOROUTINE_EINVAL) || (status == GOROUTINE_EINVAL && rival_status == GOROUTINE_OK));
    OK(goroutine_semaphore_release(semaphore, 1));
    OK(goroutine_promise_await_take(second, 10 * SECOND, NULL));
    MUST(large_status == GOROUTINE_OK && goroutine_semaphore_acquire(semaphore, 1, 0) == GOROUTINE_EAGAIN);
    OK(goroutine_semaphore_free(semaphore));
}

static bool until(const uint32_t *word, uint32_t is, uint64_t ns) {
    const uint64_t end = now_ns() + ns;
    while (GET(*word) < is) {
        if (now_ns() > end) return false;
        sched_yield();
    }
    return true;
}

/* ---- Descriptors: the edge, the cancel or the close comes at each instruction of a read; a close is stopped in the middle ---- */
static int ends[2];
static int64_t got, other_got, closed;
static char byte;
static uint32_t stale_at; /* the first step at which a read found out that it was closed */

static void new_pair(void) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    if (step == 1) stale_at = UINT32_MAX;
    byte = 0;
    got = other_got = closed = 1;
}
/* One that the poller knows. */
static void *waits_once(void *arg) {
    char c;
    OK(goroutine_set_deadline(ends[0], 1, 100 * US));
    CHECK_EQ(goroutine_read(ends[0], &c, 1), -ETIMEDOUT);
    OK(goroutine_set_deadline(ends[0], 1, GOROUTINE_FOREVER));
    return arg;
}
static void new_pair_known(void) {
    new_pair();
    run_goroutine(waits_once, NULL);
}
static void reads(void) { got = goroutine_read(ends[0], &byte, 1); }
static void writes_cancels(void) {
    CHECK_EQ(goroutine_write(ends[1], "a", 1), 1);
    cancel();
}
static void cancels_writes(void) {
    cancel();
    CHECK_EQ(goroutine_write(ends[1], "a", 1), 1);
}
static void closes_pair(void) {
    goroutine_close(ends[0]);
    goroutine_close(ends[1]);
}
static void one_byte(void) {
    char c = 0;
    MUST((got == 1 && byte == 'a') || got == -ECANCELED);
    MUST(recv(ends[0], &c, 1, MSG_DONTWAIT) == (got == 1 ? -1 : 1));
    closes_pair();
}
/* Two wait, one edge is for both. */
static void *reads_second(void *arg) {
    char c;
    SET(is_ready, 1u);
    other_got = goroutine_read(ends[0], &c, 1);
    return arg;
}
static void new_pair_with_a_reader(void) {
    new_pair_known();
    second = goroutine_spawn(reads_second, NULL);
    while (GET(is_ready) == 0) sched_yield();
}
static void writes_two(void) { CHECK_EQ(goroutine_write(ends[1], "ab", 2), 2); }
static void both_read(void) {
    MUST(got == 1);
    OK(goroutine_promise_await_take(second, 10 * SECOND, NULL));
    MUST(other_got == 1);
    closes_pair();
}
static void writes_two_cancels(void) {
    writes_two();
    cancel();
}
static void other_reads(void) {
    MUST(got == 1 || got == -ECANCELED);
    OK(goroutine_promise_await_take(second, 10 * SECOND, NULL));
    MUST(other_got == 1);
    closes_pair();
}
/* The number is another connection's at once, where there is something to read. */
static void closes_and_connects(void) {
    int others[2];
    closed = goroutine_close(ends[0]);
    goroutine_close(ends[1]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, others) == 0);
    ends[0] = others[0];
    ends[1] = others[1];
    CHECK_EQ(goroutine_write(ends[1], "z", 1), 1);
}
static void read_none_of_it(void) {
    MUST(closed == 0);
    /* Before the call had looked at the descriptor it cannot know; once it has, never. */
    if (got == -EBADF && rival_was_first && GET(step_impatient) == 0 && step < stale_at) stale_at = step; /* else it may be the kernel's: between the two files */
    MUST(got == -EBADF || got == 0 || (got == 1 && byte == 'z' && step < stale_at)); /* 0: it was in the middle, and the other end is closed, too */
    closes_pair();
}
static void closes_end(void) { closed = goroutine_close(ends[0]); }
static void reads_as_other(void) {
    char c;
    other_got = goroutine_read(ends[0], &c, 1);
}
static void both_know(void) {
    MUST(closed == 0 && other_got == -EBADF);
    goroutine_close(ends[1]);
}
static void closes_as_well(void) { other_got = goroutine_close(ends[0]); }
static void one_closed(void) {
    MUST((closed == 0 && other_got == -EBADF) || (closed == -EBADF && other_got == 0));
    goroutine_close(ends[1]);
}
/* One who reads meanwhile may know of nothing: he registers the number that is being forgotten. */
static void releases_end(void) { status = goroutine_fd_release(ends[0]); }
static void reads_in_goroutine(void) {
    second = goroutine_spawn(reads_second, NULL);
    until(&is_ready, 1, SECOND);
    thread_sleep(200 * US);
}
static void woken_or_told(void) {
    MUST(status == GOROUTINE_OK);
    CHECK_EQ(goroutine_write(ends[1], "r", 1), 1);
    OK(goroutine_promise_await_take(second, 10 * SECOND, NULL));
    if (other_got != 1 && other_got != -EBADF) fprintf(stderr, "the read gave %lld\n", (long long)other_got);
    MUST(other_got == 1 || other_got == -EBADF);
    closes_pair();
}
/* One who is late reads the old file; what he found out of it is not held against the next file of the number. */
static void new_file(void) {
    new_pair();
    close(ends[1]);
    ends[1] = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(ends[1] >= 0 && dup2(ends[1], ends[0]) == ends[0]);
}
static void *reads_briefly(void *arg) {
    char c;
    OK(goroutine_set_deadline(ends[0], 1, MS));
    got = goroutine_read(ends[0], &c, 1);
    return arg;
}
static void next_file_waits(void) {
    int others[2];
    MUST(closed == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, others) == 0);
    CHECK(others[0] == ends[0] || dup2(others[0], ends[0]) == ends[0]);
    promise = goroutine_spawn(reads_briefly, NULL);
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    MUST(got == -ETIMEDOUT);
    goroutine_close(ends[1]);
    if (others[0] != ends[0]) goroutine_close(others[0]);
    goroutine_close(others[1]);
    goroutine_close(ends[0]);
}

static const Scene scenes[] = {
    {"read: write, cancel", new_pair, NULL, reads, NULL, writes_cancels, one_byte, WHEN_STOPPED, 7, false},
    {"read: cancel, write", new_pair, NULL, reads, NULL, cancels_writes, one_byte, WHEN_STOPPED, 6, false},
    {"read again: write, cancel", new_pair_known, NULL, reads, NULL, writes_cancels, one_byte, WHEN_STOPPED, 7, false},
    {"read of two: write two", new_pair_with_a_reader, NULL, reads, NULL, writes_two, both_read, WHEN_STOPPED, 6, true},
    {"read of two: write two, cancel", new_pair_with_a_reader, NULL, reads, NULL, writes_two_cancels, other_reads, WHEN_STOPPED, 6, false},
    {"read: close, connect", new_pair, NULL, reads, NULL, closes_and_connects, read_none_of_it, WHEN_STOPPED, 7, true},
    {"read again: close, connect", new_pair_known, NULL, reads, NULL, closes_and_connects, read_none_of_it, WHEN_STOPPED, 7, false},
    {"close: reads", new_pair_known, NULL, closes_end, NULL, reads_as_other, both_know, AT_ONCE, 7, false},
    {"close: read", new_pair_known, NULL, closes_end, NULL, reads_as_other, both_know, WHEN_STOPPED, 7, true},
    {"close: close", new_pair_known, NULL, closes_end, NULL, closes_as_well, one_closed, WHEN_STOPPED, 7, false},
    {"release: read", new_pair_known, NULL, releases_end, NULL, reads_in_goroutine, woken_or_told, WHEN_STOPPED, 7, true},
    {"close: read of a file", new_file, NULL, closes_end, NULL, reads_as_other, next_file_waits, WHEN_STOPPED, 7, true},
    {"acquire: release, cancel", new_semaphore, NULL, acquires, NULL, release_cancel, one_permit, WHEN_STOPPED, 7, true},
    {"acquire: cancel, release", new_semaphore, NULL, acquires, NULL, cancel_release, one_permit, WHEN_STOPPED, 7, false},
    {"lock: unlock, cancel", new_mutex_held, NULL, locks, unlock_if_owned, unlock_cancel, owned_if_ok, WHEN_STOPPED, 7, false},
    {"lock: cancel, unlock", new_mutex_held, NULL, locks, unlock_if_owned, cancel_unlock, owned_if_ok, WHEN_STOPPED, 7, false},
    {"receive: send, cancel", new_channel_0, NULL, receives, NULL, send_cancel, one_value, WHEN_STOPPED, 7, false},
    {"receive: cancel, send", new_channel_0, NULL, receives, NULL, cancel_send, one_value, WHEN_STOPPED, 7, false},
    {"receive: try to send, cancel", new_channel_0, NULL, receives, NULL, try_send_cancel, one_value, WHEN_STOPPED, 6, false},
    {"receive from one: send, cancel", new_channel_1, NULL, receives, NULL, send_cancel, one_value, WHEN_STOPPED, 7, false},
    {"select: send, cancel", new_channel_0, NULL, selects, NULL, send_cancel, one_value, WHEN_STOPPED, 7, false},
    {"select: cancel, send", new_channel_0, NULL, selects, NULL, cancel_send, one_value, WHEN_STOPPED, 7, false},
    {"select from one: send, cancel", new_channel_1, NULL, selects, NULL, send_cancel, one_value, WHEN_STOPPED, 7, false},
    {"send: receive, cancel", new_channel_0, NULL, sends, NULL, try_receive_cancel, one_sent, WHEN_STOPPED, 7, false},
    {"send to a full one: receive, cancel", new_channel_full, NULL, sends, NULL, try_receive_cancel, one_sent_after_five, WHEN_STOPPED, 7, false},
    {"await: resolve, cancel", new_promise, NULL, awaits, NULL, resolve_cancel, right_value, WHEN_STOPPED, 7, false},
    {"condition: signal, free", new_condition, lock, waits_for_signal, unlock, signal_free, got_signal, WHEN_STOPPED, 7, true},
    {"condition: signal, cancel, free", new_condition, lock, waits_for_signal, unlock, signal_cancel_free, got_signal, WHEN_STOPPED, 6, true},
    {"condition of two: signal, cancel", new_condition, lock_first, waits_for_signal, unlock, signal_cancel, one_signal, WHEN_STOPPED, 6, false},
    {"unlock: lock, free", new_mutex_to_free, lock, unlocks, NULL, lock_free, was_free, WHEN_STOPPED, 7, false},
    {"unlock: try, free", new_mutex_to_free, lock, unlocks, NULL, try_free, was_free, WHEN_STOPPED, 7, false},
    {"unlock: waits, free", new_mutex_to_free, lock, unlocks, NULL, lock_free, was_free, WHEN_PREPARED, 7, false},
    {"done: wait, free", new_wait_group, NULL, is_done, NULL, wait_free, was_free, WHEN_STOPPED, 7, false},
    {"done: waits, free", new_wait_group, NULL, is_done, NULL, wait_free, was_free, AT_ONCE, 7, false},
    {"release: acquire, free", new_semaphore_to_free, NULL, releases, NULL, acquire_free, was_free, WHEN_STOPPED, 7, false},
    {"release: waits, free", new_semaphore_to_free, NULL, releases, NULL, acquire_free, was_free, AT_ONCE, 7, false},
    {"release: release too many", new_semaphore_nearly_full, NULL, release_two, NULL, release_two_as_well, one_was_refused, WHEN_STOPPED, 7, true},
    {"write unlock: lock, free", new_rwlock, write_lock, write_unlocks, NULL, write_lock_free, was_free, WHEN_STOPPED, 7, false},
    {"write unlock: waits, free", new_rwlock, write_lock, write_unlocks, NULL, write_lock_free, was_free, WHEN_PREPARED, 7, false},
    {"send: receive, free", new_channel_0_to_free, NULL, sends, NULL, receive_free, was_free, WHEN_STOPPED, 7, false},
    {"send: waits, free", new_channel_0_to_free, NULL, sends, NULL, receive_free, was_free, AT_ONCE, 7, false},
    {"send to one: receive, free", new_channel_1_to_free, NULL, sends, NULL, receive_free, was_free, WHEN_STOPPED, 7, false},
    {"send to one: waits, free", new_channel_1_to_free, NULL, sends, NULL, receive_free, was_free, AT_ONCE, 7, false},
    {"receive: send, free", new_channel_0_to_free, NULL, receives, NULL, send_free, was_free, WHEN_STOPPED, 7, false},
    {"receive: waits, free", new_channel_0_to_free, NULL, receives, NULL, send_free, was_free, AT_ONCE, 7, false},
    {"close: receive, free", new_channel_0_to_free, NULL, closes, NULL, closed_free, was_free, WHEN_STOPPED, 7, false},
    {"close: waits, free", new_channel_0_to_free, NULL, closes, NULL, closed_free, was_free, AT_ONCE, 7, false},
    {"once: once, free", new_once, NULL, runs, NULL, ran_free, ran_once, WHEN_STOPPED, 7, true},
    {"resolve: await", new_promise, NULL, resolves, NULL, await_only, resolved, WHEN_STOPPED, 7, false},
    {"resolve: awaits", new_promise, NULL, resolves, NULL, await_only, resolved, AT_ONCE, 7, false},
    {"signal: waits, free", new_condition, until_it_waits, signals, NULL, signalled_free, got_signal, AT_ONCE, 7, false},
    {"broadcast: waits, free", new_condition, until_it_waits, broadcasts, NULL, signalled_free, got_signal, AT_ONCE, 7, false},
};

/* ---- The stage ---- */

static void *victim_main(void *arg) {
    if (scene->before != NULL) scene->before();
    SET(victim_stage, 1u);
    step_begin();
    scene->victim();
    step_end();
    if (scene->after != NULL) scene->after();
    SET(victim_stage, 2u);
    return arg;
}
static void *rival_main(void *arg) {
    scene->rival();
    SET(rival_over, 1u);
    return arg;
}
static pthread_t start(void *(*f)(void *)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, f, NULL) == 0);
    return thread;
}
/* It is stopped, or it is over, or it does nothing any more. */
static bool stops_or_waits(void) {
    uint32_t count = 0;
    uint64_t end = now_ns() + 100 * MS;
    while (GET(step_stopped) == 0 && GET(step_over) == 0 && now_ns() < end) {
        if (GET(step_count) != count) {
            count = GET(step_count);
            end = now_ns() + 100 * MS;
        }
        sched_yield();
    }
    return GET(step_stopped) != 0;
}

/* Whether the victim was stopped. */
static bool play(void) {
    pthread_t victim = pthread_self(), rival = pthread_self();
    bool was_stopped;
    was_freed = is_owned = false;
    self = NULL;
    status = rival_status = GOROUTINE_OK;
    value = 0;
    SET(victim_stage, 0u);
    SET(rival_over, 0u);
    SET(is_ready, 0u);
    step_reset(step);
    scene->prepare();
    if (scene->begin == AT_ONCE) rival = start(rival_main);
    if (scene->begin == AT_ONCE && scene->before == NULL) thread_sleep(100 * US);
    if (kind == THREAD) {
        victim = start(victim_main);
    } else {
        GoroutineSpawn spawn;
        goroutine_spawn_init(&spawn);
        spawn.fn = CODE(victim_main);
        spawn.flags = kind == BOUND ? GOROUTINE_SPAWN_BOUND : 0;
        OK(goroutine_spawn_with(&spawn, &self));
    }
    MUST(until(&victim_stage, 1, 10 * SECOND));
    if (scene->begin == WHEN_PREPARED) rival = start(rival_main);
    was_stopped = stops_or_waits();
    if (scene->begin == WHEN_STOPPED) rival = start(rival_main);
    rival_was_first = until(&rival_over, 1, STEP_PATIENCE);
    SET(step_goes_on, 1u);
    MUST(until(&victim_stage, 2, 10 * SECOND));
    MUST(until(&rival_over, 1, 10 * SECOND));
    pthread_join(rival, NULL);
    if (kind == THREAD) {
        pthread_join(victim, NULL);
    } else {
        OK(goroutine_promise_await_take(self, 10 * SECOND, NULL));
    }
    scene->verify();
    return was_stopped;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    const unsigned kinds = argc > 2 ? (unsigned)atoi(argv[2]) : 7;
    size_t i;
    if (is_slow()) {
        fprintf(stderr, "skipped: an instrument has instructions of its own\n");
        return 77;
    }
    step_init();
    start_workers(2);
    for (i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        int k;
        scene = &scenes[i];
        if (strstr(scene->name, name) == NULL || !(STEP_SCENES(scene))) continue;
        for (k = 0; k < KINDS; k++) {
            int missed = 0;
            kind = (Kind)k;
            if (((scene->kinds & kinds) >> k & 1) == 0) continue;
            for (step = 1; step < STEPS_MAX && missed < 3; step += STEP_STRIDE) missed = play() ? 0 : missed + 1;
            if (argc > 1 || STEP_STRIDE == 1) fprintf(stderr, "%s, %s: %u steps\n", scene->name, kind_names[kind], step);
        }
    }
    stop();
    return 0;
}

/* timeout: 240 */
/* GOROUTINE_CONFIG_DEADLOCK_REPORT: circles through readers-writer locks, onces, task groups and selects; what looks like one and is none; and
 * what goroutine_runtime_run says of it. */
#include "check.h"

static GoroutineMutex *mutex;
static GoroutineRwLock *lock;
static GoroutineOnce *once;
static GoroutineGroup *group;
static GoroutineChannel *channel, *other_channel;
static GoroutinePromise *of_writer, *of_keeper;
static uint64_t step, over;

static void start(void) {
    GoroutineConfig config;
    setenv("GOROUTINE_DEADLOCK_LOOK_MS", "20", 1);
    goroutine_config_init(&config);
    config.workers = 2;
    config.flags = GOROUTINE_CONFIG_DEADLOCK_REPORT;
    OK(goroutine_runtime_start(&config));
    mutex = goroutine_mutex_new(0);
    lock = goroutine_rwlock_new();
    once = goroutine_once_new();
    channel = goroutine_channel_new(8, 0);
    other_channel = goroutine_channel_new(8, 0);
}
static void reach(uint64_t turn) { SET(step, turn); }
static void await_step(uint64_t turn) {
    while (GET(step) < turn) goroutine_sleep(MS);
}
/* It goes on, and is in no circle; so not all are asleep. */
static void *beats(void *arg) {
    while (!GET(over)) goroutine_sleep(MS);
    return arg;
}
/* For eight looks, and more: somebody else is the one to be found. */
static void look_on(void) {
    GoroutinePromise *beating = spawn_as("beat", beats, NULL, 0);
    CHECK_EQ(goroutine_runtime_wait(400 * MS), GOROUTINE_ETIMEDOUT);
    goroutine_promise_release(beating);
    _exit(0);
}

/* ---- Who has the mutex waits for the lock, and the other way round. ---- */

static void *has_mutex_reads(void *arg) {
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    reach(1);
    await_step(2);
    goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER);
    return arg;
}
static void *has_mutex_writes(void *arg) {
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    reach(1);
    await_step(2);
    goroutine_rwlock_write_lock(lock, GOROUTINE_FOREVER);
    return arg;
}
static void *has_mutex_runs_once(void *arg) {
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    reach(1);
    await_step(2);
    goroutine_once_run(once, beats, NULL, GOROUTINE_FOREVER, NULL);
    return arg;
}
static void *has_mutex_joins(void *arg) {
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    reach(1);
    await_step(2);
    goroutine_group_wait(group, GOROUTINE_FOREVER, NULL);
    return arg;
}
static void *locks_mutex(void *arg) {
    await_step(1);
    reach(2);
    goroutine_mutex_lock(mutex, GOROUTINE_FOREVER);
    return arg;
}
static void *writes_locks_mutex(void *arg) {
    OK(goroutine_rwlock_write_lock(lock, GOROUTINE_FOREVER));
    return locks_mutex(arg);
}
static void *reads_locks_mutex(void *arg) {
    OK(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER));
    return locks_mutex(arg);
}
static void *once_locks_mutex(void *arg) {
    goroutine_once_run(once, locks_mutex, arg, GOROUTINE_FOREVER, NULL);
    return arg;
}
static void read_behind_writer(void *unused) {
    (void)unused;
    start();
    spawn_as("one", has_mutex_reads, NULL, 0);
    spawn_as("two", writes_locks_mutex, NULL, 0);
    look_on();
}
static void write_behind_writer(void *unused) {
    (void)unused;
    start();
    spawn_as("one", has_mutex_writes, NULL, 0);
    spawn_as("two", writes_locks_mutex, NULL, 0);
    look_on();
}
static void write_behind_readers(void *unused) {
    (void)unused;
    start();
    spawn_as("one", has_mutex_writes, NULL, 0);
    spawn_as("two", reads_locks_mutex, NULL, 0);
    look_on();
}
static void a_once(void *unused) {
    (void)unused;
    start();
    spawn_as("one", has_mutex_runs_once, NULL, 0);
    spawn_as("two", once_locks_mutex, NULL, 0);
    look_on();
}
static void a_group(void *flags) {
    (void)flags;
    start();
    group = goroutine_group_new((uint32_t)U(flags));
    spawn_as("one", has_mutex_joins, NULL, 0);
    OK(goroutine_group_spawn(group, locks_mutex, NULL));
    look_on();
}

/* ---- One of several readers is enough: all have to go. Another one goes on. ---- */

static void *reads_and_goes_on(void *arg) {
    OK(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER));
    reach(1);
    return beats(arg);
}
static void *reads_awaits_writer(void *arg) {
    void *value;
    await_step(1);
    OK(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER));
    reach(2);
    await_step(3);
    goroutine_promise_await(of_writer, GOROUTINE_FOREVER, &value);
    return arg;
}
static void *writes(void *arg) {
    await_step(2);
    goroutine_rwlock_write_lock(lock, arg == NULL ? GOROUTINE_FOREVER : U(arg));
    return arg;
}
static void one_of_the_readers(void *unused) {
    (void)unused;
    start();
    spawn_as("goes on", reads_and_goes_on, NULL, 0);
    of_writer = spawn_as("one", writes, NULL, 0);
    spawn_as("two", reads_awaits_writer, NULL, 0);
    await_step(2);
    reach(3);
    look_on();
}

/* ---- Who reads, and reads again while somebody waits to write. ---- */

static void *reads_twice(void *arg) {
    OK(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER));
    reach(2);
    await_step(3);
    if (goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER) == GOROUTINE_OK) OK(goroutine_rwlock_read_unlock(lock));
    OK(goroutine_rwlock_read_unlock(lock));
    return arg;
}
static void *thread_writes(void *arg) {
    writes(arg);
    return NULL;
}
/* A reader is let in no more. (Or the one with a time-out has come and gone, unseen.) */
static void await_writer(void) {
    int tries;
    for (tries = 0; tries < 5000 && goroutine_rwlock_read_lock(lock, 0) == GOROUTINE_OK; tries++) {
        OK(goroutine_rwlock_read_unlock(lock));
        thread_sleep(MS);
    }
}
enum { FOR_EVER, WITH_A_TIME_OUT, AND_A_THREAD };
static void read_twice(void *how) {
    pthread_t thread;
    start();
    spawn_as("one", reads_twice, NULL, 0);
    await_step(2);
    if (U(how) == AND_A_THREAD) {
        CHECK(pthread_create(&thread, NULL, thread_writes, P(3600 * SECOND)) == 0);
        await_writer();
    }
    spawn_as("two", writes, U(how) == WITH_A_TIME_OUT ? P(300 * MS) : NULL, 0);
    await_writer();
    reach(3);
    look_on();
}

/* ---- Who waits for itself: to write what it reads, and for its own group. ---- */

static void *upgrades(void *arg) {
    OK(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER));
    goroutine_rwlock_write_lock(lock, GOROUTINE_FOREVER);
    return arg;
}
static void *joins_itself(void *arg) {
    goroutine_group_wait(group, GOROUTINE_FOREVER, NULL);
    return arg;
}
static void waits_for_itself(void *joins) {
    start();
    group = goroutine_group_new(0);
    if (joins == NULL) {
        spawn_as("one", upgrades, NULL, 0);
    } else {
        OK(goroutine_group_spawn(group, joins_itself, NULL));
    }
    look_on();
}

/* ---- Selects: of each other's channels, and of a promise. ---- */

static void use(GoroutineChannel *c, bool sends) {
    uint64_t value = 1;
    if (sends) {
        OK(goroutine_channel_send(c, &value, GOROUTINE_FOREVER));
    } else {
        OK(goroutine_channel_receive(c, &value, GOROUTINE_FOREVER));
    }
}
static void *selects(void *arg) {
    GoroutineSelectCase cases[2];
    uint64_t value;
    void *result;
    size_t chosen;
    use(channel, false);
    use(other_channel, true);
    reach(1);
    memset(cases, 0, sizeof cases);
    cases[0].op = GOROUTINE_SELECT_RECEIVE;
    cases[0].object = channel;
    cases[0].value = &value;
    cases[1].op = GOROUTINE_SELECT_PROMISE;
    cases[1].object = arg == NULL ? of_keeper : (GoroutinePromise *)arg;
    cases[1].value = &result;
    goroutine_select(cases, 2, GOROUTINE_FOREVER, &chosen);
    return NULL;
}
static void *keeps(void *arg) {
    uint64_t value;
    use(channel, true);
    use(other_channel, false);
    goroutine_channel_receive(other_channel, &value, GOROUTINE_FOREVER);
    return arg;
}
static void a_select(void *may_settle) {
    GoroutinePromise *promise = NULL;
    start();
    if (may_settle != NULL) promise = goroutine_promise_new();
    of_keeper = spawn_as("one", keeps, NULL, 0);
    spawn_as("two", selects, promise, 0);
    look_on();
}

/* ---- What is none. ---- */

/* A failure of one cancels the others: one who goes on may do that. */
static void a_cancelling_group(void *unused) {
    (void)unused;
    start();
    group = goroutine_group_new(GOROUTINE_GROUP_CANCEL_ON_ERROR);
    spawn_as("one", has_mutex_joins, NULL, 0);
    OK(goroutine_group_spawn(group, beats, NULL));
    OK(goroutine_group_spawn(group, locks_mutex, NULL));
    look_on();
}
/* The reader is a thread; or another goroutine unlocks for it. */
static void a_reading_thread(void *unused) {
    (void)unused;
    start();
    OK(goroutine_rwlock_read_lock(lock, 0));
    spawn_as("one", has_mutex_writes, NULL, 0);
    spawn_as("two", reads_locks_mutex, NULL, 0);
    look_on();
}
static void *reads_awaits_writer_for_another(void *arg) {
    OK(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER));
    OK(goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER));
    return reads_awaits_writer(arg);
}
static void *unlocks_a_strangers(void *arg) {
    await_step(2);
    OK(goroutine_rwlock_read_unlock(lock));
    reach(3);
    return beats(arg); /* and may do it again */
}
static void a_stranger(void *unused) {
    (void)unused;
    start();
    reach(1);
    of_writer = spawn_as("one", writes, NULL, 0);
    spawn_as("two", reads_awaits_writer_for_another, NULL, 0);
    spawn_as("three", unlocks_a_strangers, NULL, 0);
    look_on();
}
/* A lock of before the start is not watched; a writer's is known all the same. */
static void *reads_for_ever(void *arg) {
    goroutine_rwlock_read_lock(lock, GOROUTINE_FOREVER);
    return arg;
}
/* Asleep are only goroutines that no thread keeps waiting. */
static void written_by_a_thread(void *unused) {
    (void)unused;
    start();
    OK(goroutine_rwlock_write_lock(lock, 0));
    spawn_as("one", reads_for_ever, NULL, 0);
    CHECK_EQ(goroutine_runtime_wait(300 * MS), GOROUTINE_ETIMEDOUT);
    OK(goroutine_rwlock_write_unlock(lock));
    OK(goroutine_runtime_wait(30 * SECOND));
    _exit(0);
}
/* Somebody waits to write: nobody is reported, and it goes on once this thread unlocks. */
static void writes_after_us(void) {
    spawn_as("one", writes, NULL, 0);
    CHECK_EQ(goroutine_runtime_wait(300 * MS), GOROUTINE_ETIMEDOUT);
    OK(goroutine_rwlock_read_unlock(lock));
    OK(goroutine_runtime_wait(30 * SECOND));
    _exit(0);
}

static void read_by_a_thread(void *unused) {
    (void)unused;
    start();
    reach(2);
    OK(goroutine_rwlock_read_lock(lock, 0));
    writes_after_us();
}

/* Nor where it is not known who reads: because the lock was made before the start, or somebody unlocked who had not locked. */
static void *unlocks_once(void *arg) {
    OK(goroutine_rwlock_read_unlock(lock));
    return arg;
}
static void read_by_an_unknown_thread(void *by_a_stranger) {
    GoroutineRwLock *unwatched = goroutine_rwlock_new();
    start();
    reach(2);
    if (by_a_stranger == NULL) {
        OK(goroutine_rwlock_free(lock));
        lock = unwatched;
        OK(goroutine_rwlock_read_lock(lock, 0));
    } else {
        OK(goroutine_rwlock_read_lock(lock, 0));
        OK(goroutine_rwlock_read_lock(lock, 0));
        OK(goroutine_go(unlocks_once, NULL));
        OK(goroutine_runtime_wait(30 * SECOND));
    }
    writes_after_us();
}

/* ---- goroutine_runtime_run ---- */

static void *receives_for_ever(void *arg) {
    uint64_t value;
    goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER);
    return arg;
}
static void *leaves_one(void *arg) {
    OK(goroutine_go(receives_for_ever, NULL));
    return arg;
}
static void *naps(void *arg) {
    goroutine_sleep(100 * MS); /* five looks */
    return arg;
}
static void *fails(void *arg) {
    goroutine_exit(GOROUTINE_EREJECTED, arg);
    return arg;
}
static void run_main(void *which) {
    void *result = P(7);
    start();
    CHECK_EQ(goroutine_runtime_run(which == NULL ? receives_for_ever : leaves_one, P(3), &result), GOROUTINE_EDEADLK);
    CHECK_EQ(U(result), 7); /* not written */
    /* Whoever helps after all may wait again. */
    OK(goroutine_channel_close(channel));
    OK(goroutine_runtime_wait(30 * SECOND));
    OK(goroutine_runtime_run(naps, P(4), &result));
    CHECK_EQ(U(result), 4);
    CHECK_EQ(goroutine_runtime_run(fails, P(5), &result), GOROUTINE_EREJECTED);
    CHECK_EQ(U(result), 5);
    stop();
}

static void found(const char *what, void (*f)(void *), void *arg, const char *one, const char *two) {
    static Child child;
    const char *head;
    run_child(f, arg, &child);
    head = strstr(child.text, "deadlock: 2 goroutines wait for each other:\n");
    if (child.signal == 0 && child.status == 0 && head != NULL && strstr(head + 1, "deadlock: ") == NULL && strstr(head, one) != NULL &&
        strstr(head, two) != NULL && strstr(head, "\"beat\"") == NULL && strstr(head, "\"goes on\"") == NULL) {
        return;
    }
    fprintf(stderr, "%s: signal %d, status %d, expected: \"%s\", \"%s\":\n%s", what, child.signal, child.status, one, two, child.text);
    _exit(1);
}
static void quietly(const char *what, void (*f)(void *), void *arg) {
    static Child child;
    run_child(f, arg, &child);
    if (child.signal == 0 && child.status == 0 && strstr(child.text, "deadlock") == NULL) return;
    fprintf(stderr, "%s: signal %d, status %d:\n%s", what, child.signal, child.status, child.text);
    _exit(1);
}

int main(void) {
    found("to read", read_behind_writer, NULL, "\"one\" waits to read readers-writer lock 0x", ", held by goroutine ");
    found("to write", write_behind_writer, NULL, "\"one\" waits for readers-writer lock 0x", ", held by goroutine ");
    found("readers", write_behind_readers, NULL, "\"one\" waits for readers-writer lock 0x", ", read by goroutine ");
    found("one of the readers", one_of_the_readers, NULL, "\"one\" waits for readers-writer lock 0x", "\"two\" awaits promise 0x");
    found("a reader again", read_twice, P(FOR_EVER), "\"one\" waits to read readers-writer lock 0x", ", behind who waits to write, goroutine ");
    found("a once", a_once, NULL, "\"one\" waits for a once, of mutex 0x", "\"two\" waits for mutex 0x");
    found("a group", a_group, NULL, "\"one\" waits for wait group 0x", ", for the end of goroutine ");
    found("a group of one that cancels", a_group, P(GOROUTINE_GROUP_CANCEL_ON_ERROR), "\"one\" waits for wait group 0x", ", for the end of goroutine ");
    found("a select", a_select, NULL, "\"two\" selects, which, as far as is known, can be ended only by goroutine ", "\"one\" receives from channel 0x");
    expect_child("an upgrade", waits_for_itself, NULL, 0, 0, "goroutine: deadlock: a goroutine waits for itself:\n");
    expect_child("its own group", waits_for_itself, P(1), 0, 0, "goroutine: deadlock: a goroutine waits for itself:\n");
    quietly("a promise that anybody may settle", a_select, P(1));
    quietly("a writer with a time-out", read_twice, P(WITH_A_TIME_OUT));
    quietly("a thread waits to write", read_twice, P(AND_A_THREAD));
    quietly("a group that may cancel", a_cancelling_group, NULL);
    quietly("a thread reads", a_reading_thread, NULL);
    quietly("a stranger unlocks", a_stranger, NULL);
    quietly("a thread writes", written_by_a_thread, NULL);
    quietly("a thread reads, and all sleep", read_by_a_thread, NULL);
    quietly("a thread reads a lock of before the start, and all sleep", read_by_an_unknown_thread, NULL);
    quietly("a thread reads, a stranger unlocked, and all sleep", read_by_an_unknown_thread, P(1));
    expect_child("run: main", run_main, NULL, 0, 0, "goroutine: deadlock: all goroutines are asleep (1)\n");
    expect_child("run: another", run_main, P(1), 0, 0, "goroutine: deadlock: all goroutines are asleep (1)\n");
    return 0;
}

/* timeout: 300 */
/* A contended lock parks goroutines, never a worker's thread. On one worker a goroutine holds a lock and sleeps; a hundred others and
 * two plain threads want it, half of them for a while only, over and over; and those who sleep, a timer, and one who yields go on
 * meanwhile, on the one thread that there is: the lock is not given back before they have done their share.
 *
 * Every lock there is: mutexes, both sides of a readers-writer lock, a semaphore, a once, the mutex of a condition, UltraScript's lock.
 * test_held [KIND]: that one alone. */
#include "check.h"
#include <ultrascript_runtime.h>

enum { CONTENDERS = 100, THREADS = 2, ALL = CONTENDERS + THREADS, SLEEPERS = 5, SLEEPS = 250, BEATS = 20, YIELDS = 1000 };

static uint64_t held, arrived, had, over, worker_thread;
static uint64_t sleeps, beats, yields, timeouts;

static void on_the_worker(void) { CHECK_EQ(thread_id(), GET(worker_thread)); }

/* ---- who holds it ---- */
static void *yielder(void *arg) {
    uint64_t i;
    for (i = 0; i < YIELDS; i++) {
        on_the_worker();
        goroutine_yield();
        ADD(yields, 1);
    }
    return arg;
}
static void hold_on(void) {
    GoroutineStats before, after;
    goroutine_stats_init(&before);
    goroutine_stats_init(&after);
    SET(held, 1);
    while (GET(arrived) < ALL) OK(goroutine_sleep(MS));
    SET(sleeps, 0);
    SET(beats, 0);
    OK(goroutine_runtime_stats(&before));
    OK(goroutine_go(yielder, NULL));
    while (GET(sleeps) < SLEEPS || GET(beats) < BEATS || GET(yields) < YIELDS) OK(goroutine_sleep(MS));
    OK(goroutine_runtime_stats(&after));
    CHECK_EQ(after.ffi_hand_offs, before.ffi_hand_offs); /* nor has another thread stepped in for one that was blocked */
    CHECK_EQ(after.ffi_threads_peak, before.ffi_threads_peak);
    CHECK_EQ(GET(had), 0);
    SET(held, 0);
}
static void has_it(void) {
    CHECK_EQ(GET(held), 0);
    ADD(had, 1);
}
static bool is_patient(uint64_t i) { return i % 2 == 0; }
/* With a time-out of 1 ms, again and again, or once. */
#define UNTIL_OK(i, call, object)                                              \
    do {                                                                       \
        GoroutineStatus status;                                                \
        while ((status = call(object, is_patient(i) ? 100 * SECOND : MS)) != GOROUTINE_OK) { \
            CHECK(!is_patient(i));                                             \
            CHECK_EQ(status, GOROUTINE_ETIMEDOUT);                             \
            ADD(timeouts, 1);                                                  \
        }                                                                      \
    } while (0)

/* ---- mutexes ---- */
static GoroutineMutex *mutex;
static void make_mutex(void) { mutex = goroutine_mutex_new(0); }
static void make_recursive(void) { mutex = goroutine_mutex_new(GOROUTINE_MUTEX_RECURSIVE); }
static void hold_mutex(void) {
    OK(goroutine_mutex_lock(mutex, 0));
    hold_on();
    OK(goroutine_mutex_unlock(mutex));
}
static void hold_recursive(void) {
    OK(goroutine_mutex_lock(mutex, 0));
    hold_mutex();
    OK(goroutine_mutex_unlock(mutex));
}
static void want_mutex(uint64_t i) {
    UNTIL_OK(i, goroutine_mutex_lock, mutex);
    has_it();
    OK(goroutine_mutex_unlock(mutex));
}
static void free_mutex(void) { OK(goroutine_mutex_free(mutex)); }

/* ---- readers-writer locks ---- */
static GoroutineRwLock *rwlock;
static uint64_t writer_waits;
static void make_rwlock(void) {
    rwlock = goroutine_rwlock_new();
    writer_waits = 0;
}
static void hold_write(void) {
    OK(goroutine_rwlock_write_lock(rwlock, 0));
    hold_on();
    OK(goroutine_rwlock_write_unlock(rwlock));
}
static void hold_read(void) {
    OK(goroutine_rwlock_read_lock(rwlock, 0));
    hold_on();
    OK(goroutine_rwlock_read_unlock(rwlock));
}
static void want_write(uint64_t i) {
    if (i == 0) SET(writer_waits, 1); /* one worker: when others run, it is in line */
    UNTIL_OK(i, goroutine_rwlock_write_lock, rwlock);
    has_it();
    OK(goroutine_rwlock_write_unlock(rwlock));
}
static void want_read(uint64_t i) {
    while (GET(writer_waits) == 0) goroutine_yield();
    UNTIL_OK(i, goroutine_rwlock_read_lock, rwlock);
    has_it();
    OK(goroutine_rwlock_read_unlock(rwlock));
}
/* Readers wait, too, behind the writer who came first. */
static void want_either(uint64_t i) { (i < CONTENDERS && i % 3 == 1 ? want_read : want_write)(i); }
static void free_rwlock(void) { OK(goroutine_rwlock_free(rwlock)); }

/* ---- semaphores ---- */
static GoroutineSemaphore *semaphore;
static void make_semaphore(void) { semaphore = goroutine_semaphore_new(3); }
static void hold_semaphore(void) {
    OK(goroutine_semaphore_acquire(semaphore, 3, 0));
    hold_on();
    OK(goroutine_semaphore_release(semaphore, 3));
}
static GoroutineStatus acquire_two(GoroutineSemaphore *of, uint64_t timeout_ns) { return goroutine_semaphore_acquire(of, 2, timeout_ns); }
static void want_semaphore(uint64_t i) {
    UNTIL_OK(i, acquire_two, semaphore);
    has_it();
    OK(goroutine_semaphore_release(semaphore, 2));
}
static void free_semaphore(void) { OK(goroutine_semaphore_free(semaphore)); }

/* ---- once ---- */
static GoroutineOnce *once;
static void make_once(void) { once = goroutine_once_new(); }
static void *runs_once(void *arg) {
    hold_on();
    return arg;
}
static void *runs_twice(void *arg) {
    CHECK(!"it has run");
    return arg;
}
static void hold_once(void) { OK(goroutine_once_run(once, runs_once, NULL, 0, NULL)); }
static GoroutineStatus run_once(GoroutineOnce *of, uint64_t timeout_ns) {
    return goroutine_once_run(of, runs_twice, NULL, timeout_ns, NULL);
}
static void want_once(uint64_t i) {
    UNTIL_OK(i, run_once, once);
    has_it();
}
static void free_once(void) { OK(goroutine_once_free(once)); }

/* ---- the mutex of a condition: all are woken while somebody has it, and want it back ---- */
static GoroutineCondition *condition;
static uint64_t waiting, woken;
static void make_condition(void) {
    make_mutex();
    condition = goroutine_condition_new();
    waiting = woken = 0;
}
static void hold_condition(void) {
    while (GET(waiting) < ALL || GET(timeouts) == 0) OK(goroutine_sleep(MS));
    OK(goroutine_mutex_lock(mutex, 100 * SECOND));
    SET(woken, 1);
    OK(goroutine_condition_broadcast(condition));
    hold_on();
    OK(goroutine_mutex_unlock(mutex));
}
static void want_condition(uint64_t i) {
    OK(goroutine_mutex_lock(mutex, 100 * SECOND));
    ADD(waiting, 1);
    while (GET(woken) == 0) {
        GoroutineStatus status = goroutine_condition_wait(condition, mutex, is_patient(i) ? 100 * SECOND : MS);
        if (status == GOROUTINE_OK) continue;
        CHECK(!is_patient(i));
        CHECK_EQ(status, GOROUTINE_ETIMEDOUT);
        ADD(timeouts, 1);
    }
    has_it();
    OK(goroutine_mutex_unlock(mutex));
}
static void free_condition(void) {
    OK(goroutine_condition_free(condition));
    free_mutex();
}

/* ---- UltraScript's ---- */
static void *lock;
static void make_lock(void) { lock = __runtime_lock_create(); }
static void hold_lock(void) {
    __runtime_lock_lock(lock);
    CHECK(__runtime_lock_try_lock(lock));
    hold_on();
    __runtime_lock_unlock(lock);
    __runtime_lock_unlock(lock);
}
static void want_lock(uint64_t i) {
    if (is_patient(i)) {
        __runtime_lock_lock(lock);
    } else {
        while (!__runtime_lock_try_lock_for(lock, 1)) ADD(timeouts, 1);
    }
    has_it();
    __runtime_lock_unlock(lock);
}
static void free_lock(void) { __runtime_lock_destroy(lock); }

/* ---- all of them ---- */
typedef struct Kind {
    const char *name;
    void (*make)(void);
    void (*hold)(void);
    void (*want)(uint64_t i);
    void (*free)(void);
    bool wanted_first; /* before it is held */
} Kind;
static const Kind KINDS[] = {
    {"mutex", make_mutex, hold_mutex, want_mutex, free_mutex, false},
    {"recursive mutex", make_recursive, hold_recursive, want_mutex, free_mutex, false},
    {"writer", make_rwlock, hold_write, want_either, free_rwlock, false},
    {"reader", make_rwlock, hold_read, want_either, free_rwlock, false},
    {"semaphore", make_semaphore, hold_semaphore, want_semaphore, free_semaphore, false},
    {"once", make_once, hold_once, want_once, free_once, false},
    {"condition", make_condition, hold_condition, want_condition, free_condition, true},
    {"UltraScript", make_lock, hold_lock, want_lock, free_lock, false},
};
static const Kind *kind;

static void *holder(void *arg) {
    kind->hold();
    return arg;
}
static void *contender(void *arg) {
    uint64_t i = U(arg);
    while (!kind->wanted_first && GET(held) == 0) goroutine_sleep(100 * US);
    ADD(arrived, 1);
    if (i < CONTENDERS) on_the_worker();
    kind->want(i);
    if (i < CONTENDERS) on_the_worker();
    return NULL;
}
static void *sleeper(void *arg) {
    while (GET(over) == 0) {
        OK(goroutine_sleep(MS));
        on_the_worker();
        ADD(sleeps, 1);
    }
    return arg;
}
static void *beat(void *arg) {
    on_the_worker();
    ADD(beats, 1);
    return arg;
}
static void *the_worker(void *arg) {
    SET(worker_thread, (uint64_t)thread_id());
    return arg;
}
static void others_go_on(void) {
    GoroutinePromise *p[CONTENDERS], *s[SLEEPERS], *h;
    pthread_t thread[THREADS];
    int64_t timer;
    uint64_t i;
    held = arrived = had = over = sleeps = beats = yields = timeouts = 0;
    start_workers(1);
    run_goroutine(the_worker, NULL);
    kind->make();
    for (i = 0; i < SLEEPERS; i++) s[i] = goroutine_spawn(sleeper, NULL);
    timer = goroutine_timer_start(MS, MS, beat, NULL);
    CHECK(timer > 0);
    for (i = 0; i < CONTENDERS; i++) p[i] = goroutine_spawn(contender, P(i));
    for (i = 0; i < THREADS; i++) CHECK(pthread_create(&thread[i], NULL, contender, P(CONTENDERS + i)) == 0);
    h = goroutine_spawn(holder, NULL);
    OK(goroutine_promise_await_take(h, 60 * SECOND, NULL)); /* a worker that is blocked shows here */
    for (i = 0; i < CONTENDERS; i++) OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
    for (i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    SET(over, 1);
    for (i = 0; i < SLEEPERS; i++) OK(goroutine_promise_await_take(s[i], 100 * SECOND, NULL));
    CHECK(goroutine_timer_stop(timer));
    kind->free();
    CHECK_EQ(had, ALL);
    CHECK(timeouts > 0);
    stop();
}
int main(int argc, char **argv) {
    for (kind = KINDS; kind < KINDS + sizeof KINDS / sizeof *KINDS; kind++) {
        if (argc > 1 && strcmp(argv[1], kind->name) != 0) continue;
        fprintf(stderr, "%s\n", kind->name);
        others_go_on();
    }
    return 0;
}

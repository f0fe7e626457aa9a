/* timeout: 300 */
/* Mutexes: exclusion among goroutines, bound ones and plain threads; owners; order; time-outs; cancels; owners that end. */
#include "check.h"

static GoroutineMutex *another, *mutex;
static uint64_t counter, inside, rounds; /* counter: plain, so only the mutex keeps it right */
static uint64_t order[64], arrived;

static void section(void) {
    uint64_t before = counter;
    CHECK_EQ(ADD(inside, 1), 1);
    CHECK(goroutine_mutex_is_owned(mutex));
    if (before % 7 == 0) goroutine_yield();
    counter = before + 1;
    CHECK_EQ(ADD(inside, -1), 0);
}
static void *contender(void *arg) {
    uint64_t i, n = U(arg) >> 1;
    if (U(arg) & 1) OK(goroutine_ffi_bind());
    for (i = 0; i < n; i++) {
        GoroutineStatus status = i % 5 == 4 ? goroutine_mutex_try_lock(mutex) : GOROUTINE_EAGAIN;
        if (i % 5 == 3) status = goroutine_mutex_lock(mutex, 20 * US);
        if (status != GOROUTINE_OK) {
            CHECK(status == GOROUTINE_EAGAIN || status == GOROUTINE_ETIMEDOUT);
            OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
        }
        section();
        CHECK_EQ(goroutine_mutex_unlock(mutex), GOROUTINE_OK);
        CHECK(!goroutine_mutex_is_owned(mutex));
    }
    return NULL;
}

/* ---- exclusion: goroutines, two bound ones, two plain threads ---- */
static void contended(uint32_t workers, uint64_t goroutines, uint64_t each, bool threads) {
    GoroutinePromise **p = (GoroutinePromise **)calloc(goroutines, sizeof *p);
    pthread_t thread[2];
    uint64_t i;
    start_workers(workers);
    mutex = goroutine_mutex_new(0);
    CHECK(mutex != NULL && p != NULL);
    counter = 0;
    for (i = 0; i < goroutines; i++) {
        p[i] = goroutine_spawn(contender, P(each << 1 | (threads && i % (goroutines / 2) == 1)));
        CHECK(p[i] != NULL);
    }
    for (i = 0; threads && i < 2; i++) CHECK(pthread_create(&thread[i], NULL, contender, P(each << 1)) == 0);
    for (i = 0; i < goroutines; i++) OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
    for (i = 0; threads && i < 2; i++) pthread_join(thread[i], NULL);
    CHECK_EQ(counter, (goroutines + (threads ? 2 : 0)) * each);
    OK(goroutine_mutex_free(mutex));
    free(p);
    stop();
}

/* ---- owners ---- */
static void *not_the_owner(void *arg) {
    CHECK_EQ(goroutine_mutex_unlock(mutex), GOROUTINE_EPERM);
    CHECK(!goroutine_mutex_is_owned(mutex));
    CHECK_EQ(goroutine_mutex_try_lock(mutex), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_mutex_lock(mutex, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_mutex_lock(mutex, 1 * MS), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_mutex_free(mutex), GOROUTINE_EBUSY);
    return arg;
}
static void owners_here(uint32_t flags) {
    pthread_t thread;
    int i;
    mutex = goroutine_mutex_new(flags);
    CHECK_EQ(goroutine_mutex_unlock(mutex), GOROUTINE_EPERM); /* nobody has it */
    OK(goroutine_mutex_lock(mutex, 0));
    CHECK(goroutine_mutex_is_owned(mutex));
    if (flags & GOROUTINE_MUTEX_RECURSIVE) {
        for (i = 0; i < 1000; i++) OK(i % 2 ? goroutine_mutex_try_lock(mutex) : goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
        for (i = 0; i < 1000; i++) OK(goroutine_mutex_unlock(mutex));
    } else {
        CHECK_EQ(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
        CHECK_EQ(goroutine_mutex_lock(mutex, 0), GOROUTINE_EDEADLK);
        CHECK_EQ(goroutine_mutex_try_lock(mutex), GOROUTINE_EDEADLK);
    }
    CHECK(goroutine_mutex_is_owned(mutex));
    CHECK(pthread_create(&thread, NULL, not_the_owner, NULL) == 0);
    pthread_join(thread, NULL);
    OK(goroutine_promise_await_take(goroutine_spawn(not_the_owner, NULL), 10 * SECOND, NULL));
    CHECK_EQ(goroutine_mutex_free(mutex), GOROUTINE_EBUSY);
    OK(goroutine_mutex_unlock(mutex));
    CHECK_EQ(goroutine_mutex_unlock(mutex), GOROUTINE_EPERM);
    OK(goroutine_mutex_free(mutex));
}
static void *owners(void *arg) {
    if (arg != NULL) OK(goroutine_ffi_bind());
    owners_here(0);
    owners_here(GOROUTINE_MUTEX_RECURSIVE);
    return arg;
}

/* ---- std::lock: takes one, tries the other, and the other way round ---- */
enum { PAIRS = 200 };
static GoroutineMutex *pair[2];
static uint64_t pairs;
static void *takes_both(void *arg) {
    uint64_t i, first = U(arg) % 2;
    for (i = 0; i < PAIRS; i++) {
        for (;; first = 1 - first) {
            OK(goroutine_mutex_lock(pair[first], 60 * SECOND));
            if (goroutine_mutex_try_lock(pair[1 - first]) == GOROUTINE_OK) break;
            OK(goroutine_mutex_unlock(pair[first]));
        }
        pairs++;
        if (i % 3 == 0) goroutine_yield();
        OK(goroutine_mutex_unlock(pair[0]));
        OK(goroutine_mutex_unlock(pair[1]));
    }
    return NULL;
}
static void both(uint32_t workers) {
    GoroutinePromise *p[8];
    uint64_t i;
    start_workers(workers);
    for (i = 0; i < 2; i++) CHECK((pair[i] = goroutine_mutex_new(0)) != NULL);
    pairs = 0;
    for (i = 0; i < 8; i++) p[i] = goroutine_spawn(takes_both, P(i));
    for (i = 0; i < 8; i++) OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
    CHECK_EQ(pairs, 8 * PAIRS);
    for (i = 0; i < 2; i++) OK(goroutine_mutex_free(pair[i]));
    stop();
}

/* ---- first come, first served ---- */
static void *in_line(void *arg) {
    uint64_t place = U(arg);
    if (place % 8 == 3) OK(goroutine_ffi_bind());
    while (GET(arrived) != place) goroutine_sleep(100 * US);
    ADD(arrived, 1);
    OK(goroutine_mutex_lock(mutex, 60 * SECOND));
    order[counter++] = place;
    OK(goroutine_mutex_unlock(mutex));
    return NULL;
}
static void *line(void *arg) {
    GoroutinePromise *p[64];
    uint64_t i;
    (void)arg;
    counter = arrived = 0;
    OK(goroutine_mutex_lock(mutex, 0));
    for (i = 0; i < 64; i++) {
        if (i % 8 == 3) {
            arrived = i;
            p[i] = goroutine_spawn(in_line, P(i));
            while (GET(arrived) == i) goroutine_sleep(100 * US);
            goroutine_sleep(5 * MS); /* a bound one parks on its own thread: from its store to its park */
        } else {
            arrived = i;
            p[i] = goroutine_spawn(in_line, P(i));
            while (GET(arrived) == i) goroutine_yield();
            goroutine_yield(); /* one worker: it has parked */
        }
    }
    CHECK_EQ(goroutine_mutex_free(mutex), GOROUTINE_EBUSY);
    OK(goroutine_mutex_unlock(mutex));
    /* Those who wait come first, though nobody of them runs yet; but for one who only tries, once. */
    OK(goroutine_mutex_try_lock(mutex));
    goroutine_yield(); /* who was robbed is in front again */
    OK(goroutine_mutex_unlock(mutex));
    CHECK_EQ(goroutine_mutex_try_lock(mutex), GOROUTINE_EAGAIN);
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    CHECK_EQ(counter, 64);
    OK(goroutine_mutex_unlock(mutex));
    for (i = 0; i < 64; i++) {
        CHECK_EQ(order[i], i);
        OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
    }
    return NULL;
}

/* Who was robbed waits still, though it is in no queue: the mutex cannot be freed. */
static void *is_robbed(void *arg) {
    OK(goroutine_mutex_lock((GoroutineMutex *)arg, 60 * SECOND));
    OK(goroutine_mutex_unlock((GoroutineMutex *)arg));
    return NULL;
}
static void *robs(void *arg) {
    GoroutineMutex *one = goroutine_mutex_new(0);
    GoroutinePromise *promise;
    OK(goroutine_mutex_lock(one, 0));
    promise = goroutine_spawn(is_robbed, one);
    goroutine_yield(); /* one worker: it has parked */
    OK(goroutine_mutex_unlock(one));
    OK(goroutine_mutex_try_lock(one));
    CHECK_EQ(goroutine_mutex_free(one), GOROUTINE_EBUSY);
    OK(goroutine_mutex_unlock(one));
    CHECK_EQ(goroutine_mutex_free(one), GOROUTINE_EBUSY);
    OK(goroutine_promise_await_take(promise, 60 * SECOND, NULL));
    OK(goroutine_mutex_free(one));
    return arg;
}

/* Several that were robbed one after the other, before any of them ran: they come in the order in which they came. */
static void *in_robbed_line(void *arg) {
    OK(goroutine_mutex_lock(another, 60 * SECOND));
    order[counter++] = U(arg);
    OK(goroutine_mutex_unlock(another));
    return NULL;
}
static void *robs_many(void *arg) {
    GoroutinePromise *p[8];
    uint64_t i;
    another = goroutine_mutex_new(0);
    counter = 0;
    OK(goroutine_mutex_lock(another, 0));
    for (i = 0; i < 7; i++) p[i] = goroutine_spawn(in_robbed_line, P(i));
    goroutine_yield(); /* one worker: they have parked */
    for (i = 0; i < 5; i++) {
        OK(goroutine_mutex_unlock(another));
        OK(goroutine_mutex_try_lock(another));
    }
    p[7] = goroutine_spawn(in_robbed_line, P(7));
    goroutine_yield(); /* those who were robbed are in line again, before the 6th and all after it */
    OK(goroutine_mutex_unlock(another));
    for (i = 0; i < 8; i++) OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
    for (i = 0; i < 8; i++) CHECK_EQ(order[i], i);
    OK(goroutine_mutex_free(another));
    return arg;
}

/* ---- cancels, time-outs, and a grant at the same instant ---- */
static void *cancelled(void *arg) {
    ADD(arrived, 1);
    CHECK_EQ(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    CHECK(!goroutine_mutex_is_owned(mutex));
    goroutine_cancel_disable();
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    OK(goroutine_mutex_unlock(mutex));
    goroutine_cancel_enable();
    return arg;
}
static void *cancel_waiters(void *arg) {
    GoroutinePromise *p[20];
    size_t i;
    arrived = 0;
    OK(goroutine_mutex_lock(mutex, 0));
    for (i = 0; i < 20; i++) p[i] = goroutine_spawn(cancelled, NULL);
    while (GET(arrived) != 20) goroutine_sleep(100 * US);
    for (i = 0; i < 20; i += 2) OK(goroutine_cancel(p[i]));
    goroutine_sleep(1 * MS);
    for (i = 1; i < 20; i += 2) OK(goroutine_cancel(p[i]));
    goroutine_sleep(1 * MS);
    OK(goroutine_mutex_unlock(mutex));
    for (i = 0; i < 20; i++) OK(goroutine_promise_await_take(p[i], 60 * SECOND, NULL));
    return arg;
}
/* Many short time-outs and cancels against many grants: whoever has the lock says so, and it is never lost. */
static uint64_t granted, refused;
static void *impatient(void *arg) {
    uint64_t state = random_seed(U(arg), 1), i;
    if (U(arg) % 16 == 5) OK(goroutine_ffi_bind());
    for (i = 0; i < rounds; i++) {
        GoroutineStatus status = goroutine_mutex_lock(mutex, random_next(&state) % (40 * US));
        if (status == GOROUTINE_OK) {
            section();
            ADD(granted, 1);
            OK(goroutine_mutex_unlock(mutex));
        } else {
            CHECK(status == GOROUTINE_ETIMEDOUT || status == GOROUTINE_EAGAIN || status == GOROUTINE_ECANCELED);
            CHECK(!goroutine_mutex_is_owned(mutex));
            ADD(refused, 1);
            if (status == GOROUTINE_ECANCELED) return NULL;
        }
        if (i % 3 == 0) goroutine_yield();
    }
    return NULL;
}
static void impatience(uint32_t workers) {
    GoroutinePromise *p[64];
    pthread_t thread[2];
    uint64_t i;
    start_workers(workers);
    mutex = goroutine_mutex_new(0);
    counter = granted = refused = 0;
    rounds = scaled(2000, 20);
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER)); /* until somebody was refused: else all may be through before there is a second one */
    for (i = 0; i < 64; i++) p[i] = goroutine_spawn(impatient, P(i));
    for (i = 0; i < 2; i++) CHECK(pthread_create(&thread[i], NULL, impatient, P(i * 16)) == 0);
    while (GET(refused) == 0) thread_sleep(100 * US);
    OK(goroutine_mutex_unlock(mutex));
    for (i = 0; i < 64; i += 5) {
        thread_sleep(200 * US);
        GoroutineStatus status = goroutine_cancel(p[i]);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY);
    }
    for (i = 0; i < 64; i++) OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
    for (i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    CHECK_EQ(counter, granted);
    CHECK(granted > 0 && refused > 0);
    OK(goroutine_mutex_free(mutex));
    stop();
}

/* ---- a goroutine that ends with it ---- */
static void *ends_with_it(void *arg) {
    GoroutineStatus status = goroutine_mutex_lock(mutex, GOROUTINE_FOREVER);
    CHECK(status == GOROUTINE_OK || status == GOROUTINE_EOWNERDEAD);
    ADD(arrived, 1);
    if (U(arg) == 1) goroutine_exit(GOROUTINE_OK, P(5));
    if (U(arg) == 2) OK(goroutine_ffi_bind());
    if (U(arg) == 3) {
        goroutine_sleep(GOROUTINE_FOREVER); /* until it is cancelled */
        goroutine_exit(GOROUTINE_ECANCELED, NULL);
    }
    return P(5);
}
static void *waits_for_the_dead(void *arg) {
    CHECK_EQ(goroutine_mutex_lock(mutex, 60 * SECOND), GOROUTINE_EOWNERDEAD);
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
static void *dead_owners(void *arg) {
    uint64_t how;
    for (how = 0; how < 4; how++) {
        GoroutinePromise *owner, *waiter;
        arrived = 0;
        /* nobody waits: the next one to come is told, once */
        owner = goroutine_spawn(ends_with_it, P(how));
        while (GET(arrived) != 1) goroutine_yield();
        if (how == 3) OK(goroutine_cancel(owner));
        (void)goroutine_promise_await_take(owner, 60 * SECOND, NULL);
        CHECK_EQ(goroutine_mutex_lock(mutex, 0), GOROUTINE_EOWNERDEAD);
        CHECK(goroutine_mutex_is_owned(mutex));
        OK(goroutine_mutex_unlock(mutex));
        OK(goroutine_mutex_lock(mutex, 0));
        /* somebody waits */
        owner = goroutine_spawn(ends_with_it, P(how));
        goroutine_sleep(1 * MS);
        waiter = goroutine_spawn(waits_for_the_dead, NULL);
        goroutine_sleep(1 * MS);
        OK(goroutine_mutex_unlock(mutex));
        while (GET(arrived) != 2) goroutine_sleep(100 * US);
        if (how == 3) OK(goroutine_cancel(owner));
        (void)goroutine_promise_await_take(owner, 60 * SECOND, NULL);
        OK(goroutine_promise_await_take(waiter, 60 * SECOND, NULL));
    }
    return arg;
}
/* Holding many, among them recursive ones; and none is left behind by one who gave all back. */
static void *holds_many(void *arg) {
    GoroutineMutex **many = (GoroutineMutex **)arg;
    int i;
    for (i = 0; i < 300; i++) OK(goroutine_mutex_lock(many[i], 0));
    for (i = 0; i < 300; i += 3) OK(goroutine_mutex_lock(many[i], 0)); /* twice */
    return NULL;
}
static void *returns_many(void *arg) {
    GoroutineMutex **many = (GoroutineMutex **)arg;
    int i;
    for (i = 0; i < 300; i++) OK(goroutine_mutex_lock(many[i], 0));
    for (i = 0; i < 300; i++) OK(goroutine_mutex_unlock(many[i]));
    return NULL;
}
static void many_mutexes(void) {
    GoroutineMutex *many[300];
    int i;
    for (i = 0; i < 300; i++) many[i] = goroutine_mutex_new(GOROUTINE_MUTEX_RECURSIVE);
    run_goroutine(holds_many, many);
    for (i = 0; i < 300; i++) CHECK_EQ(goroutine_mutex_lock(many[i], 0), GOROUTINE_EOWNERDEAD);
    for (i = 0; i < 300; i++) OK(goroutine_mutex_unlock(many[i]));
    for (i = 0; i < 300; i++) CHECK_EQ(goroutine_mutex_unlock(many[i]), GOROUTINE_EPERM);
    run_goroutine(returns_many, many);
    for (i = 0; i < 300; i++) OK(goroutine_mutex_lock(many[i], 0));
    for (i = 0; i < 300; i++) CHECK_EQ(goroutine_mutex_free(many[i]), GOROUTINE_EBUSY);
    for (i = 0; i < 300; i++) OK(goroutine_mutex_unlock(many[i]));
    for (i = 299; i >= 0; i--) OK(goroutine_mutex_free(many[(i * 7) % 300]));
}
static void *lock_and_leave(void *arg) {
    OK(goroutine_mutex_lock(mutex, 0));
    return arg;
}
static void *unlock_later(void *arg) {
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
/* A plain thread's callbacks are one goroutine, which holds the mutex from one to the next and ends with the thread. */
static void *attached(void *arg) {
    CHECK(goroutine_callback_run(lock_and_leave, P(1)) == P(1));
    CHECK_EQ(goroutine_mutex_unlock(mutex), GOROUTINE_EPERM);
    CHECK_EQ(goroutine_mutex_try_lock(mutex), GOROUTINE_EAGAIN);
    CHECK(goroutine_callback_run(unlock_later, P(2)) == P(2));
    CHECK(goroutine_callback_run(lock_and_leave, P(1)) == P(1));
    return arg;
}

int main(void) {
    pthread_t thread;
    both(1);
    both(2);
    CHECK(goroutine_mutex_new(2) == NULL);
    contended(1, 1000, scaled(20, 4), false);
    contended(1, 40, scaled(500, 20), true);
    contended(2, 1000, scaled(20, 4), true);
    contended(4, 40, scaled(1000, 20), true);
    start_workers(1);
    owners(NULL);
    stop();
    start_workers(2);
    run_goroutine(owners, NULL);
    run_goroutine(owners, P(1));
    mutex = goroutine_mutex_new(0);
    run_goroutine(cancel_waiters, NULL);
    run_goroutine(dead_owners, NULL);
    CHECK(pthread_create(&thread, NULL, attached, NULL) == 0);
    pthread_join(thread, NULL);
    CHECK_EQ(goroutine_mutex_lock(mutex, 0), GOROUTINE_EOWNERDEAD);
    OK(goroutine_mutex_unlock(mutex));
    many_mutexes();
    stop();
    start_workers(1);
    run_goroutine(line, NULL);
    run_goroutine(robs, NULL);
    run_goroutine(robs_many, NULL);
    run_goroutine(dead_owners, NULL);
    stop();
    OK(goroutine_mutex_free(mutex));
    OK(goroutine_mutex_free(NULL));
    impatience(1);
    impatience(3);
    return 0;
}

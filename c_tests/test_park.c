/* Park and ready: each ticket readies once, whatever else happens to it. */
#include "check.h"

static GoroutineTicket published;
static uint64_t is_published;

static bool publish(GoroutineTicket ticket, void *arg) {
    (void)arg;
    published = ticket;
    SET(is_published, 1);
    return true;
}
static bool refuse(GoroutineTicket ticket, void *arg) {
    *(GoroutineTicket *)arg = ticket;
    return false;
}
static bool ready_at_once(GoroutineTicket ticket, void *arg) {
    goroutine_ready(ticket, (GoroutineStatus)(intptr_t)arg);
    goroutine_ready(ticket, -77); /* a second one is late */
    return true;
}
static bool ready_and_refuse(GoroutineTicket ticket, void *arg) {
    (void)arg;
    goroutine_ready(ticket, -5);
    return false;
}
static bool store(GoroutineTicket ticket, void *arg) {
    *(GoroutineTicket *)arg = ticket;
    return true;
}
static bool never_called(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    (void)arg;
    CHECK(!"commit is not called");
    return true;
}

/* What it does takes long; meanwhile its goroutine is cancelled, or the time-out is over. */
static bool take_long_and_refuse(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    SET(is_published, 1);
    if (arg == NULL) {
        thread_sleep(20 * MS);
    } else {
        while (GET(is_published) != 2) thread_sleep(50 * US);
    }
    return false;
}
static void *refuses_late(void *arg) {
    if (U(arg) == 2) OK(goroutine_ffi_bind());
    return P((intptr_t)goroutine_park(take_long_and_refuse, arg, arg == NULL ? MS : GOROUTINE_FOREVER));
}
static void refusal_counts(void) {
    uint64_t how;
    void *value;
    for (how = 0; how < 3; how++) { /* a time-out; a cancel; a cancel of a bound one */
        GoroutinePromise *promise = goroutine_spawn(refuses_late, P(how));
        while (GET(is_published) == 0) thread_sleep(50 * US);
        if (how != 0) OK(goroutine_cancel(promise));
        SET(is_published, 2);
        value = P(55);
        OK(goroutine_promise_await_take(promise, 10 * SECOND, &value));
        CHECK_EQ(U(value), GOROUTINE_OK);
        SET(is_published, 0);
    }
}

static GoroutineTicket wait_published(void) {
    while (GET(is_published) == 0) goroutine_yield();
    SET(is_published, 0);
    return published;
}
static void *park_published(void *arg) {
    (void)arg;
    return P((intptr_t)goroutine_park(publish, NULL, GOROUTINE_FOREVER));
}

static void *alone(void *arg) {
    GoroutineTicket stale, made_up;
    uint64_t begin;
    int i;
    (void)arg;
    OK(goroutine_park(refuse, &stale, GOROUTINE_FOREVER));
    goroutine_ready(stale, -1); /* stale from its birth */
    CHECK_EQ(goroutine_park(ready_at_once, P((intptr_t)-4242), GOROUTINE_FOREVER), -4242);
    CHECK_EQ(goroutine_park(ready_at_once, NULL, 5 * SECOND), 0);
    CHECK_EQ(goroutine_park(ready_at_once, P(17), 5 * SECOND), 17);
    i = goroutine_park(ready_and_refuse, NULL, GOROUTINE_FOREVER); /* both are true: it was readied, and it refused */
    CHECK(i == -5 || i == 0);
    CHECK_EQ(goroutine_park(never_called, NULL, 0), GOROUTINE_EAGAIN);
    begin = now_ns();
    CHECK_EQ(goroutine_park(store, &stale, 3 * MS), GOROUTINE_ETIMEDOUT);
    CHECK(now_ns() - begin >= 3 * MS);
    goroutine_ready(stale, -1); /* timed out before */
    /* Tickets that nobody gave out. */
    for (i = 0; i < 70; i++) {
        made_up.goroutine = i < 64 ? 1ull << i : i < 66 ? U(&made_up) : i < 68 ? stale.goroutine : 0;
        made_up.sequence = i % 2 != 0 ? stale.sequence + 1000000 : 0;
        goroutine_ready(made_up, -1);
        made_up.goroutine = (stale.goroutine ^ (1ull << (i % 64))) & 0x7FFFFFFFFFFFull;
        made_up.sequence = stale.sequence;
        goroutine_ready(made_up, -1);
    }
    made_up.goroutine = made_up.sequence = UINT64_MAX;
    goroutine_ready(made_up, -1);
    /* None of these ended a later park. */
    CHECK_EQ(goroutine_park(store, &stale, 1 * MS), GOROUTINE_ETIMEDOUT);
    OK(goroutine_sleep(1 * MS));
    return NULL;
}

static void ready_once(bool from_plain_thread) {
    GoroutinePromise *promise = goroutine_spawn(park_published, NULL);
    GoroutineTicket ticket;
    void *value = NULL;
    ticket = wait_published();
    if (from_plain_thread) thread_sleep(1 * MS); /* most often: parked already */
    goroutine_ready(ticket, -1001);
    goroutine_ready(ticket, -1002);
    OK(goroutine_promise_await_take(promise, 10 * SECOND, &value));
    CHECK_EQ((intptr_t)value, -1001);
    goroutine_ready(ticket, -1003); /* its goroutine is gone */
    promise = goroutine_spawn(park_published, NULL); /* probably on the same stack */
    goroutine_ready(ticket, -1004);
    ticket = wait_published();
    goroutine_ready(ticket, -1005);
    OK(goroutine_promise_await_take(promise, 10 * SECOND, &value));
    CHECK_EQ((intptr_t)value, -1005);
}
static void *ready_once_in_goroutine(void *arg) {
    ready_once(arg != NULL);
    return NULL;
}

/* Time-out against ready: exactly one of the two ends each park. */
static uint64_t won_by_ready, won_by_time;
static void *race_parker(void *arg) {
    uint64_t random = U(arg);
    uint64_t i, n = scaled(3000, 20);
    for (i = 0; i < n; i++) {
        GoroutineStatus status = goroutine_park(publish, NULL, 1 + random_next(&random) % (100 * US));
        CHECK(status == 0 || status == GOROUTINE_ETIMEDOUT || status == 1000 + (GoroutineStatus)(i % 100));
        if (status == GOROUTINE_ETIMEDOUT) ADD(won_by_time, 1);
        else ADD(won_by_ready, 1);
        while (GET(is_published) != 0) goroutine_yield(); /* until the other side has dealt with this one */
    }
    SET(is_published, 2);
    return NULL;
}
static void race_readier(void) {
    uint64_t random = 99, i = 0;
    for (;;) {
        uint64_t end, state;
        while ((state = GET(is_published)) == 0) goroutine_yield();
        if (state == 2) break;
        end = now_ns() + random_next(&random) % (100 * US);
        while (now_ns() < end) {
        }
        goroutine_ready(published, 1000 + (GoroutineStatus)(i++ % 100));
        SET(is_published, 0);
    }
    SET(is_published, 0);
}
static void *race_readier_goroutine(void *arg) {
    race_readier();
    return arg;
}

/* Many goroutines pass one token around in a ring, each readying the next. */
enum { RING = 200 };
static GoroutineTicket ring[RING];
static uint64_t ring_state[RING]; /* 1: the ticket is there */
static uint64_t laps;
static bool ring_commit(GoroutineTicket ticket, void *arg) {
    uint64_t i = U(arg);
    ring[i] = ticket;
    SET(ring_state[i], 1);
    return true;
}
static void *ring_member(void *arg) {
    uint64_t i = U(arg), next = (i + 1) % RING, lap;
    for (lap = 0; lap < laps; lap++) {
        if (i != 0 || lap != 0) CHECK_EQ(goroutine_park(ring_commit, arg, GOROUTINE_FOREVER), 7);
        if (next == 0 && lap + 1 == laps) break;
        while (GET(ring_state[next]) == 0) goroutine_yield();
        SET(ring_state[next], 0);
        goroutine_ready(ring[next], 7);
    }
    return NULL;
}

static GoroutineTicket after_shutdown;
static void *park_until_shutdown(void *arg) {
    (void)arg;
    CHECK_EQ(goroutine_park(store, &after_shutdown, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    CHECK_EQ(goroutine_park(never_called, NULL, GOROUTINE_FOREVER), GOROUTINE_ECANCELED);
    return NULL;
}

static void all_on(uint32_t workers) {
    GoroutinePromise *promises[RING];
    GoroutinePromise *promise;
    int i;
    start_workers(workers);
    run_goroutine(alone, NULL);
    refusal_counts();
    ready_once(true);
    run_goroutine(ready_once_in_goroutine, NULL);

    won_by_ready = won_by_time = 0;
    promise = goroutine_spawn(race_parker, P(workers + 1));
    race_readier();
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    promise = goroutine_spawn(race_parker, P(workers + 2));
    run_goroutine(race_readier_goroutine, NULL);
    OK(goroutine_promise_await_take(promise, 10 * SECOND, NULL));
    fprintf(stderr, "%u workers: %" PRIu64 " by ready, %" PRIu64 " by time-out\n", workers, won_by_ready, won_by_time);

    laps = scaled(200, 10);
    for (i = 0; i < RING; i++) promises[i] = goroutine_spawn(ring_member, P(i));
    for (i = 0; i < RING; i++) OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));

    promise = goroutine_spawn(park_until_shutdown, NULL);
    goroutine_promise_release(promise);
    stop();
    goroutine_ready(after_shutdown, 0);
    goroutine_ready(published, 0);
}

int main(void) {
    CHECK_EQ(goroutine_park(never_called, NULL, 1), GOROUTINE_ENOTGOROUTINE);
    all_on(1);
    all_on(2);
    all_on(4);
    return 0;
}

/* timeout: 300 */
/* Select: one case of many, each as likely; sends, receives, promises and time-outs; selects that look for each other. */
#include "check.h"

enum { SEND = GOROUTINE_SELECT_SEND, RECEIVE = GOROUTINE_SELECT_RECEIVE, PROMISE = GOROUTINE_SELECT_PROMISE };
static GoroutineSelectCase a_case(uint32_t op, void *object, void *value) {
    GoroutineSelectCase c;
    c.op = op;
    c.status = 12345;
    c.object = object;
    c.value = value;
    return c;
}

/* ---- without waiting ---- */
static void *polls(void *arg) {
    GoroutineChannel *empty = goroutine_channel_new(8, 1), *full = goroutine_channel_new(8, 1);
    GoroutinePromise *pending = goroutine_promise_new(), *good = goroutine_promise_new(), *bad = goroutine_promise_new();
    uint64_t value = 5, out = 6;
    void *result = P(7);
    size_t chosen = 99;
    GoroutineSelectCase cases[4];
    OK(goroutine_channel_send(full, &value, 0));
    OK(goroutine_promise_resolve(good, P(50)));
    OK(goroutine_promise_reject(bad, P(51)));
    cases[0] = a_case(RECEIVE, empty, &out);
    cases[1] = a_case(SEND, full, &value);
    cases[2] = a_case(PROMISE, pending, &result);
    cases[3] = a_case(RECEIVE, NULL, NULL);
    CHECK_EQ(goroutine_select(cases, 4, 0, &chosen), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_select(cases, 4, 1 * MS, &chosen), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_select(NULL, 0, 1 * MS, &chosen), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_select(cases + 3, 1, 1 * MS, &chosen), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_select(NULL, 0, 0, &chosen), GOROUTINE_EAGAIN);
    CHECK(chosen == 99 && out == 6 && result == P(7) && cases[0].status == 12345);
    CHECK_EQ(goroutine_select(cases, 4, 0, NULL), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_select(NULL, 1, 0, &chosen), GOROUTINE_EINVAL);
    cases[3] = a_case(3, empty, &out);
    CHECK_EQ(goroutine_select(cases, 4, 0, &chosen), GOROUTINE_EINVAL);
    cases[3] = a_case(SEND, empty, NULL);
    CHECK_EQ(goroutine_select(cases, 4, 0, &chosen), GOROUTINE_EINVAL);
    cases[3] = a_case(PROMISE, good, &result);
    OK(goroutine_select(cases, 4, GOROUTINE_FOREVER, &chosen));
    CHECK(chosen == 3 && cases[3].status == GOROUTINE_OK && result == P(50));
    cases[3] = a_case(PROMISE, bad, &result);
    OK(goroutine_select(cases, 4, GOROUTINE_FOREVER, &chosen));
    CHECK(chosen == 3 && cases[3].status == GOROUTINE_EREJECTED && result == P(51));
    cases[3] = a_case(PROMISE, bad, NULL);
    OK(goroutine_select(cases, 4, 0, &chosen));
    cases[3] = a_case(RECEIVE, full, &out);
    OK(goroutine_select(cases, 4, 0, &chosen)); /* case 3, then case 1 has room */
    CHECK(chosen == 3 && out == 5);
    value = 8;
    cases[3].object = NULL;
    OK(goroutine_select(cases, 4, 0, &chosen));
    CHECK(chosen == 1 && cases[1].status == GOROUTINE_OK);
    OK(goroutine_channel_close(empty));
    OK(goroutine_select(cases, 4, GOROUTINE_FOREVER, &chosen));
    CHECK(chosen == 0 && cases[0].status == GOROUTINE_EPIPE && out == 5);
    OK(goroutine_channel_free(empty));
    OK(goroutine_channel_free(full));
    goroutine_promise_release(pending);
    goroutine_promise_release(good);
    goroutine_promise_release(bad);
    return arg;
}

/* ---- fairness: of those that are possible each is chosen about as often, whatever its place ---- */
static void *fair(void *arg) {
    enum { N = 12, ROUNDS = 12000 };
    GoroutineChannel *channel[N];
    GoroutineSelectCase cases[N];
    uint64_t count[N] = {0}, value = 1, out;
    size_t i, chosen, possible = 0;
    for (i = 0; i < N; i++) {
        channel[i] = goroutine_channel_new(8, 1);
        cases[i] = a_case(RECEIVE, channel[i], &out);
        if (i % 3 != 2) { /* two of three */
            OK(goroutine_channel_send(channel[i], &value, 0));
            possible++;
        }
    }
    for (i = 0; i < ROUNDS; i++) {
        OK(goroutine_select(cases, N, 0, &chosen));
        CHECK(chosen % 3 != 2);
        count[chosen]++;
        OK(goroutine_channel_send(channel[chosen], &value, 0));
    }
    for (i = 0; i < N; i++) { /* 1,500 expected, standard deviation 36: within 8 of them */
        if (i % 3 != 2) CHECK(count[i] > ROUNDS / possible - 300 && count[i] < ROUNDS / possible + 300);
        OK(goroutine_channel_free(channel[i]));
    }
    return arg;
}

/* ---- waiting: a counterpart, a promise, a close, a time-out, a cancel ---- */
static GoroutineChannel *a, *b;
static GoroutinePromise *promise;
static uint64_t arrived;
typedef struct Waiting {
    GoroutineStatus status, case_status;
    size_t chosen;
    uint64_t out;
    void *result;
    bool bound;
} Waiting;
static void *waits(void *arg) {
    Waiting *w = (Waiting *)arg;
    uint64_t value = 40;
    GoroutineSelectCase cases[5];
    w->chosen = 99;
    w->out = 0;
    w->result = NULL;
    if (w->bound) OK(goroutine_ffi_bind());
    cases[0] = a_case(RECEIVE, a, &w->out);
    cases[1] = a_case(SEND, b, &value);
    cases[2] = a_case(PROMISE, promise, &w->result);
    cases[3] = a_case(RECEIVE, NULL, &w->out);
    cases[4] = a_case(RECEIVE, a, &w->out); /* twice the same */
    ADD(arrived, 1);
    w->status = goroutine_select(cases, 5, 60 * SECOND, &w->chosen);
    w->case_status = w->chosen < 5 ? cases[w->chosen].status : 1;
    return NULL;
}
static void wait_for_each(int who, bool one_worker) {
    int what;
    for (what = 0; what < 6; what++) {
        Waiting w;
        GoroutinePromise *p = NULL;
        pthread_t thread;
        uint64_t value = 70 + (uint64_t)what, out = 0;
        if (who == 2 && what == 5) continue; /* nobody can cancel a plain thread */
        a = goroutine_channel_new(8, 0);
        b = goroutine_channel_new(8, 0);
        promise = goroutine_promise_new();
        arrived = 0;
        w.bound = who == 1;
        if (who == 2) {
            CHECK(pthread_create(&thread, NULL, waits, &w) == 0);
        } else {
            p = goroutine_spawn(waits, &w);
        }
        while (GET(arrived) == 0) goroutine_sleep(100 * US);
        if (one_worker) { /* it has parked */
            CHECK_EQ(goroutine_channel_free(a), GOROUTINE_EBUSY);
            CHECK_EQ(goroutine_channel_free(b), GOROUTINE_EBUSY);
        }
        if (what == 0) OK(goroutine_channel_send(a, &value, 10 * SECOND));
        if (what == 1) OK(goroutine_channel_receive(b, &out, 10 * SECOND));
        if (what == 2) OK(goroutine_promise_reject(promise, P(72)));
        if (what == 3) OK(goroutine_channel_close(a));
        if (what == 4) OK(goroutine_channel_close(b));
        if (what == 5) OK(goroutine_cancel(p));
        if (p != NULL) {
            OK(goroutine_promise_await_take(p, 30 * SECOND, NULL));
        } else {
            pthread_join(thread, NULL);
        }
        CHECK_EQ(w.status, what == 5 ? GOROUTINE_ECANCELED : GOROUTINE_OK);
        if (what == 0) CHECK((w.chosen == 0 || w.chosen == 4) && w.case_status == GOROUTINE_OK && w.out == value);
        if (what == 1) CHECK(w.chosen == 1 && w.case_status == GOROUTINE_OK && out == 40);
        if (what == 2) CHECK(w.chosen == 2 && w.case_status == GOROUTINE_EREJECTED && w.result == P(72));
        if (what == 3) CHECK((w.chosen == 0 || w.chosen == 4) && w.case_status == GOROUTINE_EPIPE && w.out == 0);
        if (what == 4) CHECK(w.chosen == 1 && w.case_status == GOROUTINE_EPIPE);
        if (what == 5) CHECK(w.chosen == 99);
        OK(goroutine_channel_free(a)); /* it is in no line any more */
        OK(goroutine_channel_free(b));
        goroutine_promise_release(promise);
    }
}
static void *waits_for_each(void *arg) {
    wait_for_each(0, true);
    return arg;
}

/* ---- selects against selects, plain sends and receives, promises, time-outs and cancels: nothing is lost, nothing comes twice ---- */
enum { CHANNELS = 4 };
static GoroutineChannel *net[CHANNELS];
static uint64_t sent, received, sum_sent, sum_received, running, seed;
static GoroutinePromise *settles_at_last;
static void *netter(void *arg) {
    uint64_t state = random_seed(seed, U(arg)), i, n = scaled(2000, 20);
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    for (i = 0; i < n; i++) {
        GoroutineSelectCase cases[2 * CHANNELS + 1];
        uint64_t values[2 * CHANNELS], k, r;
        uint64_t count = 0;
        size_t chosen = 99;
        GoroutineStatus status;
        for (k = 0; k < CHANNELS; k++) {
            r = random_next(&state);
            if (r % 3 == 0) continue;
            if (r % 3 == 1) {
                values[count] = r >> 8;
                cases[count] = a_case(SEND, net[(k + i) % CHANNELS], &values[count]);
                count++;
            } else {
                values[count] = 0;
                cases[count] = a_case(RECEIVE, net[(k + i) % CHANNELS], &values[count]);
                count++;
                if (r & 1ull << 40) { /* both, on the same channel: it does not serve itself */
                    values[count] = r >> 8;
                    cases[count] = a_case(SEND, net[(k + i) % CHANNELS], &values[count]);
                    count++;
                }
            }
        }
        if (random_next(&state) % 4 == 0) cases[count++] = a_case(PROMISE, settles_at_last, NULL);
        status = goroutine_select(cases, count, random_next(&state) % (40 * US), &chosen);
        if (status == GOROUTINE_ECANCELED) break;
        if (status != GOROUTINE_OK) {
            CHECK(status == GOROUTINE_ETIMEDOUT || status == GOROUTINE_EAGAIN);
            continue;
        }
        CHECK(chosen < count);
        OK(cases[chosen].status);
        for (k = 0; k < count; k++) CHECK(k == chosen || cases[k].status == 12345);
        if (cases[chosen].op == SEND) {
            ADD(sent, 1);
            ADD(sum_sent, values[chosen]);
        } else {
            CHECK_EQ(cases[chosen].op, RECEIVE);
            ADD(received, 1);
            ADD(sum_received, values[chosen]);
        }
    }
    ADD(running, -1);
    return NULL;
}
static void net_of(uint32_t workers, size_t capacity) {
    GoroutinePromise *p[24];
    pthread_t thread[2];
    uint64_t i, value;
    start_workers(workers);
    sent = received = sum_sent = sum_received = 0;
    running = 26;
    settles_at_last = goroutine_promise_new();
    for (i = 0; i < CHANNELS; i++) net[i] = goroutine_channel_new(8, capacity);
    for (i = 0; i < 24; i++) p[i] = goroutine_spawn(netter, P(i));
    for (i = 0; i < 2; i++) CHECK(pthread_create(&thread[i], NULL, netter, P(100 + 8 * i)) == 0);
    for (i = 0; i < 24; i += 5) {
        GoroutineStatus status;
        thread_sleep(500 * US);
        status = goroutine_cancel(p[i]);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY);
    }
    for (i = 0; i < 24; i++) OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
    for (i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    for (i = 0; i < CHANNELS; i++) {
        while (goroutine_channel_receive(net[i], &value, 0) == GOROUTINE_OK) {
            ADD(received, 1);
            ADD(sum_received, value);
        }
        OK(goroutine_channel_free(net[i]));
    }
    CHECK(sent > 0);
    CHECK_EQ(sent, received);
    CHECK_EQ(sum_sent, sum_received);
    OK(goroutine_promise_resolve(settles_at_last, NULL));
    goroutine_promise_release(settles_at_last);
    stop();
}

/* ---- promises that settle while selects of many kinds of callers join them ---- */
static GoroutinePromise *some[3];
static void *awaits_any(void *arg) {
    GoroutineSelectCase cases[12];
    void *value[12];
    size_t i, chosen, count = U(arg) % 2 == 0 ? 3 : 12; /* 12: allocated */
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    for (i = 0; i < count; i++) cases[i] = a_case(PROMISE, i < 3 ? some[i] : NULL, &value[i]);
    OK(goroutine_select(cases, count, GOROUTINE_FOREVER, &chosen));
    CHECK(chosen < 3 && cases[chosen].status == GOROUTINE_OK && value[chosen] == P(chosen + 1));
    ADD(arrived, 1);
    return NULL;
}
static void promises(uint32_t workers) {
    uint64_t round, rounds = scaled(500, 10);
    start_workers(workers);
    for (round = 0; round < rounds; round++) {
        GoroutinePromise *p[8];
        pthread_t thread;
        uint64_t i;
        for (i = 0; i < 3; i++) some[i] = goroutine_promise_new();
        for (i = 0; i < 8; i++) p[i] = goroutine_spawn(awaits_any, P(i));
        CHECK(pthread_create(&thread, NULL, awaits_any, P(round % 2 * 9)) == 0);
        for (i = 0; i < 3; i++) OK(goroutine_promise_resolve(some[(i + round) % 3], P((i + round) % 3 + 1)));
        for (i = 0; i < 8; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
        pthread_join(thread, NULL);
        for (i = 0; i < 3; i++) goroutine_promise_release(some[i]);
    }
    stop();
}

int main(void) {
    seed = environment_number("GOROUTINE_TEST_SEED", now_ns());
    fprintf(stderr, "GOROUTINE_TEST_SEED=%" PRIu64 "\n", seed);
    CHECK(sizeof(GoroutineSelectCase) == 24);
    polls(NULL);
    fair(NULL);
    start_workers(2);
    run_goroutine(polls, NULL);
    run_goroutine(fair, NULL);
    wait_for_each(0, false);
    wait_for_each(1, false);
    wait_for_each(2, false);
    stop();
    start_workers(1);
    run_goroutine(waits_for_each, NULL);
    wait_for_each(0, false);
    stop();
    net_of(1, 0);
    net_of(2, 0);
    net_of(3, 1);
    net_of(2, 3);
    promises(1);
    promises(2);
    return 0;
}

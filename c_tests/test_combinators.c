/* all, all_settled, any, race: ECMAScript's rules. */
#include "check.h"

enum { RESOLVE, REJECT };
static GoroutinePromise *made(int how, uint64_t value) {
    GoroutinePromise *promise = goroutine_promise_new();
    OK(how == RESOLVE ? goroutine_promise_resolve(promise, P(value)) : goroutine_promise_reject(promise, P(value)));
    return promise;
}
static void *later(void *arg) {
    OK(goroutine_sleep((U(arg) % 7) * 100 * US));
    return P(U(arg) + 1);
}
static void *fails(void *arg) { goroutine_exit(GOROUTINE_EREJECTED, arg); }
static void *fails_with_status(void *arg) { goroutine_exit((GoroutineStatus)(intptr_t)arg, NULL); }

typedef GoroutinePromise *(*Combine)(GoroutinePromise *const *promises, size_t n);
static GoroutineStatus outcome(Combine combine, GoroutinePromise *const *list, size_t n, GoroutinePromise **promise, void *value) {
    *promise = combine(list, n);
    CHECK(*promise != NULL);
    return goroutine_promise_await(*promise, 10 * SECOND, (void **)value);
}

static void empty(void) {
    GoroutinePromise *promise;
    void *value = NULL;
    OK(outcome(goroutine_promise_all, NULL, 0, &promise, &value)); /* an empty array */
    goroutine_promise_release(promise);
    OK(outcome(goroutine_promise_all_settled, NULL, 0, &promise, &value));
    goroutine_promise_release(promise);
    CHECK_EQ(outcome(goroutine_promise_any, NULL, 0, &promise, &value), GOROUTINE_EREJECTED);
    goroutine_promise_release(promise);
    promise = goroutine_promise_race(NULL, 0); /* pending for ever */
    CHECK_EQ(goroutine_promise_await(promise, 2 * MS, &value), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_promise_await(promise, 0, &value), GOROUTINE_EAGAIN);
    goroutine_promise_release(promise);
}

static void settled_already(void) {
    GoroutinePromise *list[4], *mine[4], *promise;
    void **values = NULL;
    void *value = NULL;
    GoroutineSettled *settled = NULL;
    int i;
    list[0] = made(RESOLVE, 10);
    list[1] = made(REJECT, 11);
    list[2] = made(RESOLVE, 12);
    list[3] = made(REJECT, 13);
    memcpy(mine, list, sizeof mine);
    CHECK_EQ(outcome(goroutine_promise_all, list, 4, &promise, &value), GOROUTINE_EREJECTED);
    CHECK_EQ(U(value), 11); /* the first in input order */
    goroutine_promise_release(promise);
    OK(outcome(goroutine_promise_any, list, 4, &promise, &value));
    CHECK_EQ(U(value), 10);
    goroutine_promise_release(promise);
    OK(outcome(goroutine_promise_race, list, 4, &promise, &value));
    CHECK_EQ(U(value), 10);
    goroutine_promise_release(promise);
    CHECK_EQ(outcome(goroutine_promise_race, list + 1, 3, &promise, &value), GOROUTINE_EREJECTED);
    CHECK_EQ(U(value), 11);
    goroutine_promise_release(promise);
    OK(outcome(goroutine_promise_all_settled, list, 4, &promise, &settled));
    CHECK(settled[0].status == GOROUTINE_OK && U(settled[0].value) == 10);
    CHECK(settled[1].status == GOROUTINE_EREJECTED && U(settled[1].value) == 11);
    CHECK(settled[2].status == GOROUTINE_OK && U(settled[2].value) == 12);
    CHECK(settled[3].status == GOROUTINE_EREJECTED && U(settled[3].value) == 13);
    goroutine_promise_release(promise);

    /* The same promise more than once. */
    list[1] = list[0];
    list[2] = list[0];
    OK(outcome(goroutine_promise_all, list, 3, &promise, &values));
    CHECK(U(values[0]) == 10 && U(values[1]) == 10 && U(values[2]) == 10);
    goroutine_promise_release(promise);
    list[0] = list[1] = list[2] = list[3];
    CHECK_EQ(outcome(goroutine_promise_any, list, 4, &promise, &values), GOROUTINE_EREJECTED);
    CHECK(U(values[0]) == 13 && U(values[1]) == 13 && U(values[3]) == 13);
    goroutine_promise_release(promise);
    for (i = 0; i < 4; i++) goroutine_promise_release(mine[i]);
}

static void pending_twice(void) {
    GoroutinePromise *list[3], *all, *race, *any, *settled;
    void **values = NULL;
    void *value = NULL;
    list[0] = list[1] = list[2] = goroutine_promise_new();
    all = goroutine_promise_all(list, 3);
    race = goroutine_promise_race(list, 3);
    any = goroutine_promise_any(list, 3);
    settled = goroutine_promise_all_settled(list, 3);
    CHECK_EQ(goroutine_promise_await(all, 0, NULL), GOROUTINE_EAGAIN);
    OK(goroutine_promise_resolve(list[0], P(5)));
    goroutine_promise_release(list[0]); /* the combinators keep what they need */
    OK(goroutine_promise_await_take(race, 10 * SECOND, &value));
    CHECK_EQ(U(value), 5);
    OK(goroutine_promise_await_take(any, 10 * SECOND, &value));
    CHECK_EQ(U(value), 5);
    OK(goroutine_promise_await(all, 10 * SECOND, (void **)(void *)&values));
    CHECK(U(values[0]) == 5 && U(values[1]) == 5 && U(values[2]) == 5);
    goroutine_promise_release(all);
    OK(goroutine_promise_await_take(settled, 10 * SECOND, NULL));
}

static void first_rejection(void) {
    GoroutinePromise *list[3], *promise;
    void *value = NULL;
    void **reasons = NULL;
    GoroutineSettled *settled = NULL;
    list[0] = goroutine_promise_new(); /* stays pending */
    list[1] = goroutine_spawn(fails, P(77));
    list[2] = goroutine_spawn(later, P(6));
    CHECK_EQ(outcome(goroutine_promise_all, list, 3, &promise, &value), GOROUTINE_EREJECTED);
    CHECK_EQ(U(value), 77);
    goroutine_promise_release(promise);
    OK(outcome(goroutine_promise_any, list, 3, &promise, &value));
    CHECK_EQ(U(value), 7);
    goroutine_promise_release(promise);
    OK(goroutine_promise_reject(list[0], P(78)));
    CHECK_EQ(outcome(goroutine_promise_any, list, 2, &promise, &reasons), GOROUTINE_EREJECTED);
    CHECK(U(reasons[0]) == 78 && U(reasons[1]) == 77); /* in input order */
    goroutine_promise_release(promise);
    goroutine_promise_release(list[0]);
    /* A goroutine's own status goes through. */
    list[0] = goroutine_spawn(fails_with_status, P((intptr_t)GOROUTINE_EPIPE));
    CHECK_EQ(outcome(goroutine_promise_all, list, 1, &promise, &value), GOROUTINE_EPIPE);
    goroutine_promise_release(promise);
    CHECK_EQ(outcome(goroutine_promise_race, list, 1, &promise, &value), GOROUTINE_EPIPE);
    goroutine_promise_release(promise);
    OK(outcome(goroutine_promise_all_settled, list, 3, &promise, &settled));
    CHECK_EQ(settled[0].status, GOROUTINE_EPIPE);
    CHECK(settled[1].status == GOROUTINE_EREJECTED && U(settled[1].value) == 77);
    CHECK(settled[2].status == GOROUTINE_OK && U(settled[2].value) == 7);
    goroutine_promise_release(promise);
    goroutine_promise_release(list[0]);
    goroutine_promise_release(list[1]);
    goroutine_promise_release(list[2]);
}

static void many(void) {
    enum { N = 2000 };
    static GoroutinePromise *list[N];
    GoroutinePromise *promise, *nested[2];
    void **values = NULL;
    void *value = NULL;
    int i;
    for (i = 0; i < N; i++) CHECK((list[i] = goroutine_spawn(later, P(i))) != NULL);
    promise = goroutine_promise_all(list, N);
    nested[0] = promise;
    nested[1] = goroutine_promise_race(list, N);
    nested[1] = goroutine_promise_any(nested + 1, 1); /* of a combination */
    for (i = 0; i < N; i++) goroutine_promise_release(list[i]);
    OK(goroutine_promise_await(promise, 60 * SECOND, (void **)(void *)&values));
    for (i = 0; i < N; i++) CHECK_EQ(U(values[i]), i + 1);
    OK(goroutine_promise_await_take(nested[1], 60 * SECOND, &value));
    CHECK(U(value) >= 1 && U(value) <= N);
    goroutine_promise_release(promise);
}

/* Racing one promise again and again keeps nothing of the races. */
static void long_lived(void) {
    GoroutinePromise *list[2], *promise;
    GoroutineStats before, stats;
    uint64_t i, n = scaled(20000, 50);
    list[0] = goroutine_promise_new();
    goroutine_stats_init(&before);
    OK(goroutine_runtime_stats(&before));
    for (i = 0; i < n; i++) {
        void *value = NULL;
        list[1] = made(RESOLVE, i);
        promise = i % 2 != 0 ? goroutine_promise_race(list, 2) : goroutine_promise_any(list, 2);
        goroutine_promise_release(list[1]);
        OK(goroutine_promise_await_take(promise, 0, &value));
        CHECK_EQ(U(value), i);
    }
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    CHECK(stats.promises < before.promises + 1500); /* spare ones of two workers, not one per race */
    goroutine_promise_release(list[0]);
}

/* Inputs settle on several workers while they are combined. */
static void *settle(void *arg) {
    goroutine_promise_resolve((GoroutinePromise *)arg, arg);
    goroutine_promise_release((GoroutinePromise *)arg);
    return NULL;
}
static void races(void) {
    uint64_t n = scaled(1000, 20), i;
    static const Combine COMBINE[] = {goroutine_promise_all, goroutine_promise_all_settled, goroutine_promise_any,
                                      goroutine_promise_race};
    for (i = 0; i < n; i++) {
        GoroutinePromise *list[8], *promises[2];
        int k;
        for (k = 0; k < 8; k++) {
            list[k] = goroutine_promise_new();
            goroutine_promise_retain(list[k]);
            OK(goroutine_go(settle, list[k]));
        }
        for (k = 0; k < 2; k++) CHECK((promises[k] = COMBINE[(i + (uint64_t)k) % 4](list, 8)) != NULL);
        for (k = 0; k < 8; k++) goroutine_promise_release(list[k]);
        for (k = 0; k < 2; k++) OK(goroutine_promise_await_take(promises[k], 10 * SECOND, NULL));
    }
}
static void *races_on_goroutine(void *arg) {
    races();
    return arg;
}

static void all_on(uint32_t workers) {
    start_workers(workers);
    empty();
    settled_already();
    pending_twice();
    first_rejection();
    many();
    long_lived();
    races();
    run_goroutine(races_on_goroutine, NULL);
    stop();
}
int main(void) {
    all_on(1);
    all_on(2);
    all_on(4);
    return 0;
}

/* What a collector finds in a stopped world: each word that the library keeps, once, and whoever gets it finds what the collector wrote; and the
 * live stacks. */
#include "check.h"

/* Objects: their addresses are what is looked for; "moving" one adds MOVED to every word that points to it. */
enum { OBJECTS = 64, MOVED = 1 << 20 };
static char heap[OBJECTS][64];
static uint64_t found[OBJECTS];
static void *object(unsigned i) { return heap[i]; }
static void *moved(unsigned i) { return P(U(heap[i]) + MOVED); }
static bool moves;

static void root(void *arg, void **slot) {
    uint64_t at = U(*slot) - U(heap);
    ADD(*(uint64_t *)arg, 1);
    CHECK(!moves || U(*slot) < U(heap) + MOVED || U(*slot) >= U(heap) + MOVED + sizeof heap); /* it was shown before */
    if (U(*slot) < U(heap) || at >= sizeof heap) return;
    CHECK(at % 64 == 0);
    found[at / 64]++;
    if (moves) *slot = P(U(*slot) + MOVED);
}
static void range(void *arg, const Goroutine *g, const GoroutineContext *registers, const void *low, const void *high) {
    const uint64_t *word;
    (void)arg;
    (void)g;
    (void)registers;
    for (word = (const uint64_t *)low; word < (const uint64_t *)high; word++) {
        uint64_t at = *word - U(heap);
        if (*word >= U(heap) && at < sizeof heap && at % 64 == 0) found[at / 64]++;
    }
}
static uint64_t collect(bool roots, bool ranges) {
    uint64_t slots = 0;
    memset(found, 0, sizeof found);
    OK(goroutine_world_stop(20 * SECOND));
    if (roots) goroutine_world_for_each_root(root, &slots);
    if (ranges) goroutine_world_for_each(range, NULL);
    goroutine_world_start();
    return slots;
}
static uint64_t done;
static void finds(unsigned i, void *value) {
    CHECK_EQ(U(value), U(moved(i)));
    ADD(done, 1);
}
static void *gets(void *value) { /* 2 */
    finds(2, value);
    return NULL;
}
static void *gets_six(void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h) { /* 3 to 10, and 11 to 13 */
    void *user[3];
    memcpy(user, (char *)goroutine_current() + GOROUTINE_OFFSET_USER, sizeof user);
    finds(3, a), finds(4, b), finds(5, c), finds(6, d), finds(7, e), finds(8, f), finds(9, g), finds(10, h);
    finds(11, user[0]), finds(12, user[1]), finds(13, user[2]);
    return NULL;
}
static void *gets_timer(void *value) { /* 14, 15 */
    void *user;
    memcpy(&user, (char *)goroutine_current() + GOROUTINE_OFFSET_USER, 8);
    finds(14, value), finds(15, user);
    return NULL;
}
static void gets_then(void *arg, GoroutineStatus status, void *value) { /* 16 */
    (void)status;
    (void)value;
    finds(16, arg);
}
static GoroutinePromise *gate;
static uint64_t parked;
static uint32_t key;
static void *keeps(void *arg) { /* 17: a local; 18: a user word; 19: on the stack */
    void *volatile on_stack = object(19);
    void *value = object(18);
    (void)arg;
    goroutine_local_set(key, object(17));
    memcpy((char *)goroutine_current() + GOROUTINE_OFFSET_USER, &value, 8);
    ADD(parked, 1);
    OK(goroutine_promise_await(gate, GOROUTINE_FOREVER, NULL));
    memcpy(&value, (char *)goroutine_current() + GOROUTINE_OFFSET_USER, 8);
    finds(17, goroutine_local_get(key)), finds(18, value);
    CHECK(on_stack == object(19)); /* a range is the collector's to write itself */
    return NULL;
}
static uint64_t c_may_go;
static volatile uint64_t hidden; /* ~ object 20 */
static void *waits_in_c(void *arg) { /* 20: in C's frame, below a callback, and in no register that the callback would save */
    void *volatile in_c = P(~hidden);
    void *result;
    __asm__ volatile("" : : : "rbx", "r12", "r13", "r14", "r15");
    result = goroutine_callback_run((GoroutineFn)(uintptr_t)arg, NULL);
    CHECK(in_c == P(~hidden));
    return result;
}
static void *parks_in_callback(void *arg) { /* 21: in the callback */
    void *volatile here = object(21);
    ADD(parked, 1);
    OK(goroutine_promise_await(gate, GOROUTINE_FOREVER, NULL));
    CHECK(here == object(21));
    return arg;
}
static void *calls_c(void *arg) { /* 22: above the call */
    void *volatile here = object(22);
    execute_ffi_call(NULL, CODE(waits_in_c), CODE(parks_in_callback));
    CHECK(here == object(22));
    return arg;
}
static void *blocks(void *arg) {
    ADD(parked, 1);
    while (!GET(c_may_go)) thread_sleep(100 * US);
    return arg;
}
static void *is_in_c(void *arg) { /* 23: above a call that goes on */
    void *volatile here = object(23);
    (void)arg;
    execute_ffi_call(NULL, CODE(blocks), NULL);
    CHECK(here == object(23));
    return NULL;
}
static void *async_done(void *arg) { /* 40 */
    finds(40, arg);
    return NULL;
}
static void async_told(void *arg, void *result) { /* 41 */
    (void)result;
    finds(41, arg);
}
static void *wants_thread(void *arg) { /* holds the only thread for foreign code */
    OK(goroutine_ffi_bind());
    ADD(parked, 1);
    OK(goroutine_promise_await(gate, GOROUTINE_FOREVER, NULL));
    return arg;
}
static void *fails(void *arg) { goroutine_exit(GOROUTINE_EREJECTED, arg); }

static void kept(void) {
    GoroutineConfig config;
    GoroutineSpawn with;
    GoroutinePromise *promises[4], *waited_for[3], *all, *settled, *pending, *one, *waiting[5], *then;
    GoroutineChannel *channel, *odd;
    GoroutineGroup *group;
    void *value, *stack_args[2], **values;
    unsigned i;
    int64_t operation;
    uint64_t expected = 0;
    hidden = ~U(object(20));
    goroutine_config_init(&config);
    config.workers = 1;
    config.ffi_threads_max = 3;
    OK(goroutine_runtime_start(&config));
    CHECK((gate = goroutine_promise_new()) != NULL);
    OK(goroutine_local_key(NULL, &key));
    CHECK((waiting[0] = goroutine_spawn(keeps, NULL)) != NULL);
    CHECK((waiting[1] = goroutine_spawn(calls_c, NULL)) != NULL);
    CHECK((waiting[2] = goroutine_spawn(is_in_c, NULL)) != NULL);
    CHECK((waiting[3] = goroutine_spawn(wants_thread, NULL)) != NULL);
    while (GET(parked) != 4) thread_sleep(100 * US);
    /* The world stands, so none of these begins. */
    OK(goroutine_world_stop(SECOND));
    CHECK((waiting[4] = goroutine_spawn(gets, object(2))) != NULL);
    goroutine_spawn_init(&with);
    with.fn = CODE(gets_six);
    for (i = 0; i < 6; i++) with.int_args[i] = U(object(3 + i));
    for (i = 0; i < 2; i++) stack_args[i] = object(9 + i);
    with.stack_args = (const uint64_t *)stack_args;
    with.stack_args_count = 2;
    for (i = 0; i < 3; i++) with.user[i] = U(object(11 + i));
    OK(goroutine_spawn_with(&with, NULL));
    expected += 1 + 11;
    goroutine_spawn_init(&with);
    with.fn = CODE(gets_timer);
    with.int_args[0] = U(object(14));
    with.user[0] = U(object(15));
    CHECK(goroutine_timer_start_with(1, 0, &with, NULL, 0) > 0);
    CHECK((then = goroutine_promise_new()) != NULL);
    OK(goroutine_promise_then(then, gets_then, object(16)));
    expected += 2 + 1 + 2; /* `keeps` finds two */
    for (i = 0; i < 4; i++) CHECK((promises[i] = goroutine_promise_new()) != NULL);
    CHECK((all = goroutine_promise_all(promises, 2)) != NULL);
    waited_for[0] = promises[2];
    waited_for[1] = waited_for[2] = promises[3]; /* two waiters of one combination: what it has is shown once */
    CHECK((pending = goroutine_promise_all_settled(waited_for, 3)) != NULL);
    OK(goroutine_promise_resolve(promises[0], object(24)));
    OK(goroutine_promise_resolve(promises[1], object(25))); /* each in its promise, and in the array */
    OK(goroutine_promise_reject(promises[2], object(26)));  /* in its promise, and in the unfinished one */
    CHECK((settled = goroutine_promise_new()) != NULL);
    OK(goroutine_promise_resolve(settled, object(27)));
    CHECK((channel = goroutine_channel_new(8, 4)) != NULL);
    for (i = 0; i < 3; i++) {
        value = object(28 + i);
        OK(goroutine_channel_send(channel, &value, 0));
    }
    CHECK((odd = goroutine_channel_new(24, 2)) != NULL);
    {
        void *record[3];
        for (i = 0; i < 3; i++) record[i] = object(32 + i);
        OK(goroutine_channel_send(odd, record, 0));
    }
    CHECK((operation = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, object(36))) > 0);
    OK(goroutine_ffi_call_async(CODE(async_done), object(40), async_told, object(41)));
    expected += 2;
    moves = true;
    memset(found, 0, sizeof found);
    {
        uint64_t slots = 0;
        goroutine_world_for_each_root(root, &slots);
        CHECK(slots >= 30);
    }
    for (i = 2; i < 42; i++) {
        bool is_used = i <= 30 || (i >= 32 && i <= 34) || i == 36 || i >= 40;
        bool on_stacks = i >= 19 && i <= 23;
        uint64_t times = i == 24 || i == 25 || i == 26 ? 2 : is_used && !on_stacks ? 1 : 0;
        if (found[i] != times) fprintf(stderr, "object %u: found %d times\n", i, (int)found[i]);
        CHECK(found[i] == times);
    }
    memset(found, 0, sizeof found);
    goroutine_world_for_each(range, NULL); /* what was a root may lie there, too, in a register that was saved */
    for (i = 19; i <= 23; i++) CHECK(found[i] >= 1);
    for (i = 37; i < 40; i++) CHECK_EQ(found[i], 0);
    /* Found once more they would be moved once more: nothing is shown twice. */
    goroutine_world_start();
    /* Who gets them finds what was written. */
    OK(goroutine_promise_resolve(then, NULL));
    OK(goroutine_promise_resolve(gate, NULL));
    SET(c_may_go, 1);
    for (i = 0; i < 5; i++) OK(goroutine_promise_await_take(waiting[i], 60 * SECOND, NULL));
    OK(goroutine_promise_await(settled, 0, &value));
    CHECK_EQ(U(value), U(moved(27)));
    OK(goroutine_promise_await(all, 60 * SECOND, &value));
    values = (void **)value;
    CHECK_EQ(U(values[0]), U(moved(24)));
    CHECK_EQ(U(values[1]), U(moved(25)));
    OK(goroutine_promise_await(promises[0], 0, &value));
    CHECK_EQ(U(value), U(moved(24)));
    OK(goroutine_promise_resolve(promises[3], NULL));
    OK(goroutine_promise_await(pending, 60 * SECOND, &value));
    CHECK_EQ(U(((GoroutineSettled *)value)[0].value), U(moved(26)));
    for (i = 0; i < 3; i++) {
        OK(goroutine_channel_receive(channel, &value, 0));
        CHECK_EQ(U(value), U(moved(28 + i)));
    }
    {
        void *record[3];
        OK(goroutine_channel_receive(odd, record, 0));
        for (i = 0; i < 3; i++) CHECK_EQ(U(record[i]), U(moved(32 + i)));
    }
    /* Over: nothing of it is left. */
    OK(goroutine_async_complete(operation, NULL));
    OK(goroutine_async_await(operation, SECOND, NULL));
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(GET(done), expected);
    one = goroutine_promise_all(NULL, 0);
    for (i = 0; i < 4; i++) goroutine_promise_release(promises[i]);
    goroutine_promise_release(all);
    goroutine_promise_release(pending);
    goroutine_promise_release(settled);
    goroutine_promise_release(then);
    goroutine_promise_release(gate);
    goroutine_promise_release(one);
    OK(goroutine_channel_free(channel));
    OK(goroutine_channel_free(odd));
    moves = false;
    collect(true, true);
    for (i = 0; i < OBJECTS; i++) CHECK_EQ(found[i], 0);
    /* A group keeps the reason of its first failure. */
    CHECK((group = goroutine_group_new(0)) != NULL);
    OK(goroutine_group_spawn(group, fails, object(50)));
    OK(goroutine_runtime_wait(60 * SECOND));
    (void)collect(true, false);
    CHECK_EQ(found[50], 1);
    CHECK_EQ(goroutine_group_wait(group, SECOND, &value), GOROUTINE_EREJECTED);
    CHECK_EQ(U(value), U(object(50)));
    OK(goroutine_group_free(group));
    stop();
}

int main(void) {
    kept();
    return 0;
}

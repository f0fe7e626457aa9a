/* timeout: 300 */
/* Channels: values of any size in order, with and without a buffer, among goroutines, bound ones and plain threads; closing; time-outs;
 * cancels; many producers and consumers. */
#include "check.h"

static GoroutineChannel *channel, *back;
static uint64_t sent, received, sum_sent, sum_received, arrived;

/* ---- sizes ---- */
static const size_t SIZES[] = {0, 1, 8, 24, 4096};
enum { SIZE_COUNT = sizeof SIZES / sizeof *SIZES, BIGGEST = 4096 };
static void fill(uint8_t *value, size_t bytes, uint64_t n) {
    size_t i;
    for (i = 0; i < bytes; i++) value[i] = (uint8_t)(n * 31 + i * 7 + 1);
}
static void check_filled(const uint8_t *value, size_t bytes, uint64_t n) {
    size_t i;
    for (i = 0; i < bytes; i++) CHECK_EQ(value[i], (uint8_t)(n * 31 + i * 7 + 1));
    for (; i < BIGGEST + 16; i++) CHECK_EQ(value[i], 0xEE); /* not a byte too many */
}
typedef struct Sized {
    GoroutineChannel *channel;
    size_t bytes;
    uint64_t n;
    bool bound;
} Sized;
static void *send_sized(void *arg) {
    Sized *sized = (Sized *)arg;
    uint8_t *value = (uint8_t *)malloc(BIGGEST);
    uint64_t i;
    if (sized->bound) OK(goroutine_ffi_bind());
    for (i = 0; i < sized->n; i++) {
        fill(value, sized->bytes, i);
        OK(goroutine_channel_send(sized->channel, sized->bytes == 0 ? NULL : value, GOROUTINE_FOREVER));
        memset(value, 0x55, BIGGEST); /* it was copied */
        if (i % 5 == 0) goroutine_yield();
    }
    OK(goroutine_channel_close(sized->channel));
    free(value);
    return NULL;
}
static void *receive_sized(void *arg) {
    Sized *sized = (Sized *)arg;
    uint8_t *value = (uint8_t *)malloc(BIGGEST + 16);
    GoroutineStatus status;
    uint64_t i = 0;
    if (sized->bound) OK(goroutine_ffi_bind());
    for (;;) {
        memset(value, 0xEE, BIGGEST + 16);
        status = goroutine_channel_receive(sized->channel, i % 11 == 10 ? NULL : value, GOROUTINE_FOREVER);
        if (status == GOROUTINE_EPIPE) break;
        OK(status);
        if (i % 11 != 10) check_filled(value, sized->bytes, i);
        if (i % 7 == 0) goroutine_yield();
        i++;
    }
    CHECK_EQ(i, sized->n);
    check_filled(value, 0, 0); /* nothing is written when nothing came */
    free(value);
    return NULL;
}
/* Who: goroutines, bound ones, plain threads, on either side. */
static void sizes(uint32_t workers) {
    size_t size, capacity, who;
    start_workers(workers);
    for (size = 0; size < SIZE_COUNT; size++) {
        for (capacity = 0; capacity <= 5; capacity += capacity == 0 ? 1 : 4) {
            for (who = 0; who < 9; who++) {
                Sized sender, receiver;
                pthread_t thread;
                GoroutinePromise *p = NULL;
                sender.channel = receiver.channel = goroutine_channel_new(SIZES[size], capacity);
                sender.bytes = receiver.bytes = SIZES[size];
                sender.n = receiver.n = scaled(40, 5);
                sender.bound = who / 3 == 1;
                receiver.bound = who % 3 == 1;
                CHECK(sender.channel != NULL);
                if (who / 3 == 2) {
                    CHECK(pthread_create(&thread, NULL, send_sized, &sender) == 0);
                } else {
                    p = goroutine_spawn(send_sized, &sender);
                }
                if (who % 3 == 2) {
                    receive_sized(&receiver);
                } else {
                    run_goroutine(receive_sized, &receiver);
                }
                if (p != NULL) {
                    OK(goroutine_promise_await_take(p, 30 * SECOND, NULL));
                } else {
                    pthread_join(thread, NULL);
                }
                OK(goroutine_channel_free(sender.channel));
            }
        }
    }
    stop();
}

/* ---- without waiting ---- */
static void *polls(void *arg) {
    uint64_t value = 7, out = 9, i;
    GoroutineChannel *none = goroutine_channel_new(8, 0), *three = goroutine_channel_new(8, 3);
    CHECK_EQ(goroutine_channel_send(none, &value, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_channel_receive(none, &out, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_channel_send(none, &value, 1 * MS), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_channel_receive(none, &out, 1 * MS), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(goroutine_channel_send(none, NULL, 0), GOROUTINE_EINVAL);
    CHECK_EQ(out, 9);
    for (i = 0; i < 20; i++) { /* around the ring */
        uint64_t k;
        for (k = 0; k < 3; k++) {
            value = i * 10 + k;
            OK(goroutine_channel_send(three, &value, 0));
        }
        CHECK_EQ(goroutine_channel_send(three, &value, 0), GOROUTINE_EAGAIN);
        CHECK_EQ(goroutine_channel_send(three, &value, 10 * US), GOROUTINE_ETIMEDOUT);
        for (k = 0; k < i % 3 + 1; k++) {
            OK(goroutine_channel_receive(three, &out, 0));
            CHECK_EQ(out, i * 10 + k);
        }
        while (goroutine_channel_receive(three, &out, 0) == GOROUTINE_OK) {
        }
    }
    value = 1;
    OK(goroutine_channel_send(three, &value, 0));
    value = 2;
    OK(goroutine_channel_send(three, &value, 0));
    OK(goroutine_channel_close(three));
    CHECK_EQ(goroutine_channel_close(three), GOROUTINE_EALREADY);
    CHECK_EQ(goroutine_channel_send(three, &value, 0), GOROUTINE_EPIPE);
    CHECK_EQ(goroutine_channel_send(three, &value, GOROUTINE_FOREVER), GOROUTINE_EPIPE);
    OK(goroutine_channel_receive(three, &out, 0)); /* what was sent can be received */
    CHECK_EQ(out, 1);
    OK(goroutine_channel_receive(three, NULL, GOROUTINE_FOREVER));
    out = 9;
    CHECK_EQ(goroutine_channel_receive(three, &out, 0), GOROUTINE_EPIPE);
    CHECK_EQ(goroutine_channel_receive(three, &out, GOROUTINE_FOREVER), GOROUTINE_EPIPE);
    CHECK_EQ(out, 9);
    OK(goroutine_channel_free(three));
    OK(goroutine_channel_free(none));
    three = goroutine_channel_new(8, 3);
    OK(goroutine_channel_send(three, &value, 0));
    OK(goroutine_channel_free(three)); /* with a value in it */
    return arg;
}

/* ---- closing with somebody waiting; busy ---- */
static void *sends_into_close(void *arg) {
    uint64_t value = U(arg);
    if (value % 4 == 1) OK(goroutine_ffi_bind());
    ADD(arrived, 1);
    CHECK_EQ(goroutine_channel_send(channel, &value, GOROUTINE_FOREVER), GOROUTINE_EPIPE);
    ADD(sent, 1);
    return NULL;
}
static void *receives_from_close(void *arg) {
    uint64_t value = 77;
    if (U(arg) % 4 == 1) OK(goroutine_ffi_bind());
    ADD(arrived, 1);
    CHECK_EQ(goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER), GOROUTINE_EPIPE);
    CHECK_EQ(value, 77);
    ADD(received, 1);
    return NULL;
}
static void close_with_waiters(size_t capacity, GoroutineFn waits, uint64_t *counted) {
    GoroutinePromise *p[20];
    pthread_t thread[3];
    uint64_t i, value = 5;
    channel = goroutine_channel_new(8, capacity);
    arrived = *counted = 0;
    if (waits == sends_into_close) {
        for (i = 0; i < capacity; i++) OK(goroutine_channel_send(channel, &value, 0));
    }
    for (i = 0; i < 20; i++) p[i] = goroutine_spawn(waits, P(i));
    for (i = 0; i < 3; i++) CHECK(pthread_create(&thread[i], NULL, waits, P(4 * i)) == 0);
    while (GET(arrived) != 23) thread_sleep(1 * MS);
    thread_sleep(20 * MS); /* so that most have parked; those that have not find it closed */
    OK(goroutine_channel_close(channel));
    for (i = 0; i < 20; i++) OK(goroutine_promise_await_take(p[i], 30 * SECOND, NULL));
    for (i = 0; i < 3; i++) pthread_join(thread[i], NULL);
    CHECK_EQ(*counted, 23);
    OK(goroutine_channel_free(channel));
}

/* ---- first come, first served ---- */
static uint64_t order[40];
static void *sends_in_order(void *arg) {
    uint64_t value = U(arg);
    ADD(arrived, 1);
    OK(goroutine_channel_send(channel, &value, GOROUTINE_FOREVER));
    return NULL;
}
static void *receives_in_order(void *arg) {
    uint64_t value = 0;
    ADD(arrived, 1);
    OK(goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER));
    order[U(arg)] = value;
    return NULL;
}
static void *in_order(void *arg) {
    GoroutinePromise *p[40];
    uint64_t i, value;
    size_t capacity;
    for (capacity = 0; capacity < 5; capacity += 4) {
        channel = goroutine_channel_new(8, capacity);
        for (i = 0; i < 40; i++) {
            p[i] = goroutine_spawn(sends_in_order, P(i));
            goroutine_yield(); /* one worker: it waits */
        }
        CHECK_EQ(goroutine_channel_free(channel), GOROUTINE_EBUSY);
        for (i = 0; i < 40; i++) {
            OK(goroutine_channel_receive(channel, &value, 10 * SECOND));
            CHECK_EQ(value, i);
            if (i % 3 == 0) goroutine_yield();
        }
        for (i = 0; i < 40; i++) OK(goroutine_promise_await_take(p[i], 10 * SECOND, NULL));
        for (i = 0; i < 40; i++) {
            p[i] = goroutine_spawn(receives_in_order, P(i));
            goroutine_yield();
        }
        CHECK_EQ(goroutine_channel_free(channel), GOROUTINE_EBUSY);
        for (i = 0; i < 40; i++) {
            value = 100 + i;
            OK(goroutine_channel_send(channel, &value, 0)); /* to the next in line, though it does not run yet */
        }
        for (i = 0; i < 40; i++) OK(goroutine_promise_await_take(p[i], 10 * SECOND, NULL));
        for (i = 0; i < 40; i++) CHECK_EQ(order[i], 100 + i);
        OK(goroutine_channel_free(channel));
    }
    /* One value is taken out of a full channel: the next in line puts its own in, and goes on; then it is full again. */
    channel = goroutine_channel_new(8, 2);
    value = 1;
    OK(goroutine_channel_send(channel, &value, 0));
    OK(goroutine_channel_send(channel, &value, 0));
    p[0] = goroutine_spawn(sends_in_order, P(5));
    goroutine_yield();
    OK(goroutine_channel_receive(channel, &value, 0));
    OK(goroutine_promise_await_take(p[0], 10 * SECOND, NULL));
    CHECK_EQ(goroutine_channel_send(channel, &value, 0), GOROUTINE_EAGAIN);
    OK(goroutine_channel_receive(channel, &value, 0));
    OK(goroutine_channel_receive(channel, &value, 0));
    CHECK_EQ(value, 5);
    OK(goroutine_channel_free(channel));
    return arg;
}

/* ---- many of both, some of them impatient: every value that was sent comes once ---- */
static uint64_t senders_left;
static void *producer(void *arg) {
    uint64_t state = random_seed(U(arg), 11), i, n = scaled(3000, 30);
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    for (i = 0; i < n; i++) {
        uint64_t value[3];
        uint64_t timeout = random_next(&state) % 4 == 0 ? random_next(&state) % (30 * US) : GOROUTINE_FOREVER;
        GoroutineStatus status;
        value[0] = random_next(&state);
        value[1] = ~value[0];
        value[2] = value[0] * 3;
        status = goroutine_channel_send(channel, value, timeout);
        if (status == GOROUTINE_OK) {
            ADD(sum_sent, value[0]);
            ADD(sent, 1);
        } else if (status == GOROUTINE_ECANCELED) {
            break;
        } else {
            CHECK(timeout != GOROUTINE_FOREVER && (status == GOROUTINE_EAGAIN || status == GOROUTINE_ETIMEDOUT));
        }
    }
    if (ADD(senders_left, -1) == 0) OK(goroutine_channel_close(channel));
    return NULL;
}
static void *consumer(void *arg) {
    uint64_t state = random_seed(U(arg), 12);
    if (U(arg) % 8 == 5) OK(goroutine_ffi_bind());
    for (;;) {
        uint64_t value[3] = {1, 2, 3};
        uint64_t timeout = random_next(&state) % 4 == 0 ? random_next(&state) % (30 * US) : GOROUTINE_FOREVER;
        GoroutineStatus status = goroutine_channel_receive(channel, value, timeout);
        if (status == GOROUTINE_OK) {
            CHECK(value[1] == ~value[0] && value[2] == value[0] * 3);
            ADD(sum_received, value[0]);
            ADD(received, 1);
        } else if (status == GOROUTINE_EPIPE || status == GOROUTINE_ECANCELED) {
            return NULL;
        } else {
            CHECK(timeout != GOROUTINE_FOREVER && (status == GOROUTINE_EAGAIN || status == GOROUTINE_ETIMEDOUT));
            CHECK(value[0] == 1 && value[1] == 2 && value[2] == 3);
        }
    }
}
static void many(uint32_t workers, size_t capacity) {
    GoroutinePromise *p[32], *c[32];
    pthread_t thread[4];
    uint64_t i;
    start_workers(workers);
    channel = goroutine_channel_new(24, capacity);
    sent = received = sum_sent = sum_received = 0;
    senders_left = 34;
    for (i = 0; i < 32; i++) {
        p[i] = goroutine_spawn(producer, P(i));
        c[i] = goroutine_spawn(consumer, P(i));
    }
    for (i = 0; i < 2; i++) {
        CHECK(pthread_create(&thread[i], NULL, producer, P(32 + i)) == 0);
        CHECK(pthread_create(&thread[2 + i], NULL, consumer, P(32 + i)) == 0);
    }
    for (i = 0; i < 32; i += 6) { /* a cancelled one has its value, or has not */
        GoroutineStatus status;
        thread_sleep(300 * US);
        status = goroutine_cancel(p[i]);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY);
        status = goroutine_cancel(c[i]);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY);
    }
    for (i = 0; i < 32; i++) {
        OK(goroutine_promise_await_take(p[i], 100 * SECOND, NULL));
        OK(goroutine_promise_await_take(c[i], 100 * SECOND, NULL));
    }
    for (i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    CHECK(sent > 0);
    CHECK_EQ(sent, received);
    CHECK_EQ(sum_sent, sum_received);
    OK(goroutine_channel_free(channel));
    stop();
}

/* ---- to and fro ---- */
static void *echo(void *arg) {
    uint64_t value = 0;
    while (goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER) == GOROUTINE_OK) {
        value++;
        OK(goroutine_channel_send(back, &value, GOROUTINE_FOREVER));
    }
    return arg;
}
static void *ask(void *arg) {
    uint64_t i, value = 0, n = scaled(20000, 100);
    for (i = 0; i < n; i++) {
        OK(goroutine_channel_send(channel, &value, GOROUTINE_FOREVER));
        OK(goroutine_channel_receive(back, &value, GOROUTINE_FOREVER));
        CHECK_EQ(value, i + 1);
    }
    OK(goroutine_channel_close(channel));
    return arg;
}
static void to_and_fro(uint32_t workers) {
    GoroutinePromise *p;
    start_workers(workers);
    channel = goroutine_channel_new(8, 0);
    back = goroutine_channel_new(8, 0);
    p = goroutine_spawn(echo, NULL);
    run_goroutine(ask, NULL);
    OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
    OK(goroutine_channel_free(channel));
    OK(goroutine_channel_free(back));
    channel = goroutine_channel_new(8, 1);
    back = goroutine_channel_new(8, 1);
    p = goroutine_spawn(echo, NULL);
    ask(NULL); /* a plain thread */
    OK(goroutine_promise_await_take(p, 10 * SECOND, NULL));
    OK(goroutine_channel_free(channel));
    OK(goroutine_channel_free(back));
    stop();
}

int main(void) {
    uint64_t seed = environment_number("GOROUTINE_TEST_SEED", 1);
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    CHECK(goroutine_channel_new(SIZE_MAX, 2) == NULL);
    CHECK(goroutine_channel_new(1ull << 40, 1ull << 20) == NULL);
    CHECK(goroutine_channel_new(16, SIZE_MAX / 2) == NULL);
    OK(goroutine_channel_free(goroutine_channel_new(0, SIZE_MAX / 4)));
    polls(NULL);
    sizes(1);
    sizes(2);
    start_workers(2);
    run_goroutine(polls, NULL);
    close_with_waiters(0, sends_into_close, &sent);
    close_with_waiters(3, sends_into_close, &sent);
    close_with_waiters(0, receives_from_close, &received);
    close_with_waiters(3, receives_from_close, &received);
    stop();
    start_workers(1);
    run_goroutine(in_order, NULL);
    stop();
    many(1, 0);
    many(2, 0);
    many(3, 1);
    many(2, 7);
    to_and_fro(1);
    to_and_fro(2);
    return 0;
}

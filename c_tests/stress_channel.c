/* timeout: 3600 */
/* Every message is received once: 50 goroutines and 2 plain threads send, as many receive, over channels with and without a buffer, of
 * small and of large values; they wait for ever, for a while, or not at all, for one channel or for several (select), and goroutines are
 * cancelled over and over. At last the channels are closed while everybody is at it, and what is in them is drained.
 *
 * A message is known by its number. A send that did not succeed is tried again, as another attempt of the same number: so one that
 * was delivered nevertheless comes twice, and one that succeeded and was not delivered is missing. Each receiver also sees the
 * numbers of each sender rise, channel by channel; three of the channels have one receiver only. After the close nothing is sent,
 * and nothing comes but what was in the channel.
 *
 * stress_channel [COUNT [WORKERS]], or GOROUTINE_STRESS_COUNT and GOROUTINE_SEED in the environment. Without WORKERS: COUNT messages,
 * and those that are sent until all channels are closed, on each of 1, 2 and 8 workers. */
#include "check.h"

#ifndef MESSAGES
#define MESSAGES 10000000
#endif
enum { GOROUTINES = 50, THREADS = 2, PARTIES = GOROUTINES + THREADS }; /* on either side */
enum { SHARED = 9, CHANNELS = SHARED + 3, CASES = 4, BIGGEST = 1000, CANARY = 0x55AA };
enum { SLOTS_BEYOND = 100000, CANCELLED_AT_ONCE = 5, SHORT = 3000, CLOSES = 40 };
enum { ENDED = 1, CANCELLED = 2 }; /* what a goroutine returns */

static const struct { size_t bytes, capacity; } SHAPES[CHANNELS] = {
    {8, 0}, {8, 1}, {8, 128}, {24, 0}, {12, 7}, {104, 0}, {104, 16}, {BIGGEST, 0}, {BIGGEST, 3},
    {8, 0}, {24, 32}, {104, 1}, /* these have one receiver */
};
/* The receivers of those; the last one is a plain thread. */
static const unsigned ALONE[CHANNELS - SHARED] = {0, 1, GOROUTINES};

/* A sender or a receiver. If its goroutine is cancelled, another one goes on in its place. */
typedef struct Party {
    bool sends, home_only;
    unsigned index;
    /* Where it may wait for ever. Every channel has such receivers, so somebody always goes on. */
    unsigned home;
    uint64_t random;
    GoroutinePromise *promise;
    /* What a sender is about to send. */
    bool pending;
    uint8_t attempt;
    uint64_t number;
    /* For a receiver: the number after the last one, by channel and sender. */
    uint64_t next[CHANNELS][PARTIES];
    uint64_t passed, selected, misses, timeouts, cancelled, refused;
    uint8_t value[CASES][BIGGEST + 8];
} Party;

static Party senders[PARTIES], receivers[PARTIES];
static GoroutineChannel *channels[CHANNELS];
static uint64_t seed, messages, slots, drawn, arrived, passed, closed, done, drained[CHANNELS];
/* By number: the attempt that succeeded, and the one that came; 0: none. */
static uint8_t *sent, *received;

/* ---- values ---- */
static uint64_t word_of(const Party *p, unsigned channel) {
    return p->number | (uint64_t)p->attempt << 40 | (uint64_t)p->index << 48 | (uint64_t)channel << 56;
}
static uint64_t mixed(uint64_t word, size_t at) { return (word + at) * 0x9E3779B97F4A7C15ull; }
static void fill(uint8_t *value, size_t bytes, uint64_t word) {
    size_t at;
    memcpy(value, &word, 8);
    for (at = 8; at < bytes; at += 8) {
        uint64_t more = mixed(word, at);
        memcpy(value + at, &more, bytes - at < 8 ? bytes - at : 8);
    }
}
static void put_canary(uint8_t *value, size_t bytes) {
    uint16_t canary = CANARY;
    memset(value, 0xFF, 8); /* no message looks so */
    memcpy(value + bytes, &canary, sizeof canary);
}
static bool has_canary(const uint8_t *value, size_t bytes) {
    uint16_t canary;
    memcpy(&canary, value + bytes, sizeof canary);
    return canary == CANARY;
}
static bool is_untouched(const uint8_t *value, size_t bytes) {
    uint64_t word;
    memcpy(&word, value, 8);
    return word == UINT64_MAX && has_canary(value, bytes);
}
/* A value has come. */
static void take(Party *p, unsigned channel, const uint8_t *value) {
    size_t bytes = SHAPES[channel].bytes, at;
    uint64_t word, number;
    uint8_t attempt, before;
    unsigned sender;
    memcpy(&word, value, 8);
    number = word & 0xFFFFFFFFFFull;
    attempt = (uint8_t)(word >> 40);
    sender = (unsigned)(word >> 48 & 0xFF);
    CHECK(number < slots && attempt != 0 && sender < PARTIES);
    CHECK_EQ(word >> 56, channel);
    for (at = 8; at < bytes; at += 8) {
        uint64_t more = mixed(word, at);
        CHECK(memcmp(value + at, &more, bytes - at < 8 ? bytes - at : 8) == 0);
    }
    CHECK(has_canary(value, bytes));
    before = __atomic_exchange_n(&received[number], attempt, __ATOMIC_SEQ_CST);
    if (before != 0) {
        fprintf(stderr, "message %" PRIu64 " of sender %u came twice: attempts %u and %u, channel %u\n", number, sender, before,
                attempt, channel);
        _exit(1);
    }
    if (number < p->next[channel][sender]) {
        fprintf(stderr, "message %" PRIu64 " of sender %u came after %" PRIu64 ", channel %u, receiver %u\n", number, sender,
                p->next[channel][sender] - 1, channel, p->index);
        _exit(1);
    }
    p->next[channel][sender] = number + 1;
}

/* ---- one try, in one of eight ways ---- */
/* One that it may use: of those with one receiver a receiver uses its own alone. */
static unsigned any_channel(Party *p) {
    unsigned channel = (unsigned)(random_next(&p->random) >> 33) % (p->sends ? CHANNELS : SHARED + (p->home >= SHARED));
    return p->sends || channel < SHARED ? channel : p->home;
}
static GoroutineStatus pass_one(Party *p, unsigned channel, uint64_t timeout_ns) {
    uint8_t *value = p->value[0];
    size_t bytes = SHAPES[channel].bytes;
    GoroutineStatus status;
    if (p->sends) {
        fill(value, bytes, word_of(p, channel));
        status = goroutine_channel_send(channels[channel], value, timeout_ns);
        memset(value, 0xFF, 8); /* it was copied */
        return status;
    }
    put_canary(value, bytes);
    status = goroutine_channel_receive(channels[channel], value, timeout_ns);
    if (status == GOROUTINE_OK) {
        take(p, channel, value);
    } else {
        CHECK(is_untouched(value, bytes));
    }
    return status;
}
/* `*channel`: that of the case that was chosen. */
static GoroutineStatus pass_select(Party *p, uint64_t timeout_ns, unsigned *channel) {
    enum { UNTOUCHED = 12345 };
    GoroutineSelectCase cases[CASES];
    unsigned which[CASES];
    size_t n = 2 + random_next(&p->random) % (CASES - 1), at_home = random_next(&p->random) % n, chosen = CASES, i;
    GoroutineStatus status;
    for (i = 0; i < n; i++) {
        which[i] = i == at_home ? p->home : any_channel(p);
        cases[i].op = p->sends ? GOROUTINE_SELECT_SEND : GOROUTINE_SELECT_RECEIVE;
        cases[i].status = UNTOUCHED;
        cases[i].object = channels[which[i]];
        cases[i].value = p->value[i];
        if (p->sends) {
            fill(p->value[i], SHAPES[which[i]].bytes, word_of(p, which[i]));
        } else {
            put_canary(p->value[i], SHAPES[which[i]].bytes);
        }
    }
    status = goroutine_select(cases, n, timeout_ns, &chosen);
    if (status == GOROUTINE_OK) {
        CHECK(chosen < n);
        *channel = which[chosen];
        status = cases[chosen].status;
        if (status == GOROUTINE_OK) {
            p->selected++;
            if (!p->sends) take(p, which[chosen], p->value[chosen]);
        } else {
            CHECK_EQ(status, GOROUTINE_EPIPE);
            if (!p->sends) CHECK(is_untouched(p->value[chosen], SHAPES[which[chosen]].bytes));
        }
    } else {
        CHECK(chosen == CASES);
    }
    for (i = 0; i < n; i++) {
        if (i == chosen) continue;
        CHECK_EQ(cases[i].status, UNTOUCHED);
        if (!p->sends) CHECK(is_untouched(p->value[i], SHAPES[which[i]].bytes));
    }
    return status;
}
static GoroutineStatus pass(Party *p, unsigned *channel) {
    uint64_t way = p->home_only ? 0 : random_next(&p->random) % 8;
    uint64_t timeout_ns = GOROUTINE_FOREVER;
    bool was_closed = GET(closed) != 0;
    GoroutineStatus status;
    *channel = p->home;
    if (way >= 4) {
        timeout_ns = way < 6 ? 1 + random_next(&p->random) % (50 * US) : 0;
        *channel = any_channel(p);
    }
    status = way % 2 == 0 ? pass_one(p, *channel, timeout_ns) : pass_select(p, timeout_ns, channel);
    switch (status) {
    case GOROUTINE_OK:
        p->passed++;
        if (was_closed) { /* nothing but what was in it, and nobody waits to send */
            CHECK(!p->sends);
            CHECK(ADD(drained[*channel], 1) <= SHAPES[*channel].capacity);
        }
        break;
    case GOROUTINE_ETIMEDOUT:
        CHECK(timeout_ns != 0 && timeout_ns != GOROUTINE_FOREVER);
        p->timeouts++;
        break;
    case GOROUTINE_EAGAIN:
        CHECK_EQ(timeout_ns, 0);
        p->misses++;
        goroutine_yield();
        break;
    case GOROUTINE_ECANCELED:
        CHECK(p->index < GOROUTINES); /* nobody can cancel a thread */
        p->cancelled++;
        break;
    default: CHECK_EQ(status, GOROUTINE_EPIPE); p->refused++;
    }
    return status;
}

/* ---- who sends, and who receives ---- */
/* So that the threads take part in a short run, too. */
static void wait_for_all(void) {
    ADD(arrived, 1);
    while (GET(arrived) < 2 * PARTIES) goroutine_sleep(50 * US);
}
static void close_all(void) {
    unsigned i;
    for (i = 0; i < CHANNELS; i++) OK(goroutine_channel_close(channels[i]));
    SET(closed, 1);
}
static void *sender(void *arg) {
    Party *p = (Party *)arg;
    unsigned channel;
    if (p->random == 0) {
        p->random = random_seed(seed, p->index);
        wait_for_all();
    }
    for (;;) {
        if (!p->pending) {
            p->number = ADD(drawn, 1) - 1;
            p->attempt = 0;
            p->pending = true;
        }
        if (p->number >= slots) { /* the closer is on its way */
            while (GET(closed) == 0) {
                if (goroutine_sleep(50 * US) == GOROUTINE_ECANCELED) return P(CANCELLED);
            }
            return P(ENDED);
        }
        p->attempt = (uint8_t)(p->attempt % 255 + 1);
        switch (pass(p, &channel)) {
        case GOROUTINE_OK:
            CHECK_EQ(sent[p->number], 0);
            sent[p->number] = p->attempt;
            p->pending = false;
            break;
        case GOROUTINE_ECANCELED: return P(CANCELLED);
        case GOROUTINE_EPIPE: return P(ENDED);
        default: break;
        }
    }
}
static void *receiver(void *arg) {
    Party *p = (Party *)arg;
    unsigned channel;
    if (p->random == 0) {
        p->random = random_seed(seed, 1000 + p->index);
        wait_for_all();
    }
    for (;;) {
        switch (pass(p, &channel)) {
        case GOROUTINE_OK:
            if (ADD(passed, 1) == messages) close_all(); /* the others go on meanwhile */
            break;
        case GOROUTINE_ECANCELED: return P(CANCELLED);
        case GOROUTINE_EPIPE: /* closed, and drained */
            if (channel == p->home) return P(ENDED);
            p->home_only = true;
            break;
        default: break;
        }
    }
}
static void start_goroutine(Party *p) {
    p->promise = goroutine_spawn(p->sends ? sender : receiver, p);
    CHECK(p->promise != NULL);
}

/* ---- around them ---- */
static Party *goroutine_party(uint64_t i) { return i % 2 == 0 ? &senders[i / 2 % GOROUTINES] : &receivers[i / 2 % GOROUTINES]; }
/* Cancels some, and has others go on for them. */
static void cancel_some(uint64_t *random) {
    uint64_t first = random_next(random), i;
    for (i = 0; i < CANCELLED_AT_ONCE; i++) {
        Party *p = goroutine_party(first % 1000 + 11 * i);
        GoroutineStatus status;
        if (p->promise == NULL) continue;
        status = goroutine_cancel(p->promise);
        CHECK(status == GOROUTINE_OK || status == GOROUTINE_EALREADY);
    }
    for (i = 0; i < CANCELLED_AT_ONCE; i++) {
        Party *p = goroutine_party(first % 1000 + 11 * i);
        void *value = NULL;
        if (p->promise == NULL) continue;
        OK(goroutine_promise_await_take(p->promise, 600 * SECOND, &value));
        p->promise = NULL;
        if (value == P(CANCELLED)) start_goroutine(p);
    }
}
/* A hang can be told from slowness. */
static void *watch(void *arg) {
    uint64_t before = 0, i;
    int still = 0;
    while (GET(done) == 0) {
        for (i = 0; i < 200 && GET(done) == 0; i++) thread_sleep(5 * MS);
        if (isatty(2)) fprintf(stderr, "\r%" PRIu64 " received ", GET(passed));
        still = before == GET(passed) ? still + 1 : 0;
        before = GET(passed);
        if (still >= (is_slow() ? 300 : 30)) {
            fprintf(stderr, "stuck: drawn %" PRIu64 " received %" PRIu64 " closed %" PRIu64 "\n", GET(drawn), GET(passed), GET(closed));
            abort();
        }
    }
    return arg;
}
static GoroutineStats stats_now(void) {
    GoroutineStats stats;
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    return stats;
}
static Party *a_party(Party *of, unsigned i, bool sends) {
    Party *p = &of[i];
    unsigned k;
    memset(p, 0, sizeof *p);
    p->sends = sends;
    p->index = i;
    p->home = i % (sends ? CHANNELS : SHARED);
    for (k = 0; !sends && k < CHANNELS - SHARED; k++) {
        if (ALONE[k] == i) p->home = SHARED + k;
    }
    return p;
}
static void all_received_once(uint64_t n, uint32_t workers, bool tells) {
    pthread_t threads[2 * THREADS], watcher;
    uint64_t random = random_seed(seed, 5000), begin = now_ns(), cancelling = 0, i, total = 0, left = 0, next = n / 500 + 1;
    Party sum;
    uint64_t by_threads[2] = {0, 0};
    messages = n;
    slots = n + SLOTS_BEYOND;
    drawn = arrived = passed = closed = done = 0;
    sent = (uint8_t *)calloc(slots, 1);
    received = (uint8_t *)calloc(slots, 1);
    CHECK(sent != NULL && received != NULL);
    start_workers(workers);
    CHECK(stats_now().live == 0 && stats_now().timers == 0);
    for (i = 0; i < CHANNELS; i++) {
        channels[i] = goroutine_channel_new(SHAPES[i].bytes, SHAPES[i].capacity);
        CHECK(channels[i] != NULL);
        drained[i] = 0;
    }
    CHECK(pthread_create(&watcher, NULL, watch, NULL) == 0);
    for (i = 0; i < GOROUTINES; i++) {
        start_goroutine(a_party(senders, (unsigned)i, true));
        start_goroutine(a_party(receivers, (unsigned)i, false));
    }
    for (i = 0; i < THREADS; i++) {
        Party *s = a_party(senders, (unsigned)(GOROUTINES + i), true), *r = a_party(receivers, (unsigned)(GOROUTINES + i), false);
        CHECK(pthread_create(&threads[2 * i], NULL, sender, s) == 0);
        CHECK(pthread_create(&threads[2 * i + 1], NULL, receiver, r) == 0);
    }
    while (GET(closed) == 0) {
        while (GET(passed) < next && GET(closed) == 0) thread_sleep(100 * US);
        cancel_some(&random);
        cancelling++;
        next = GET(passed) + n / 500;
    }
    for (i = 0; i < 2 * GOROUTINES; i++) {
        Party *p = goroutine_party(i);
        void *value = NULL;
        if (p->promise == NULL) continue;
        OK(goroutine_promise_await_take(p->promise, 600 * SECOND, &value));
        CHECK_EQ(U(value), ENDED);
    }
    for (i = 0; i < 2 * THREADS; i++) pthread_join(threads[i], NULL);
    SET(done, 1);
    pthread_join(watcher, NULL);

    for (i = 0; i < slots; i++) {
        if (sent[i] != received[i]) {
            fprintf(stderr, "message %" PRIu64 ": attempt %u was sent, %u received (0: none)\n", i, sent[i], received[i]);
            _exit(1);
        }
        total += received[i] != 0;
    }
    CHECK_EQ(total, passed);
    CHECK(total >= n);
    memset(&sum, 0, sizeof sum);
    for (i = 0; i < 2 * PARTIES; i++) {
        const Party *p = i % 2 == 0 ? &senders[i / 2] : &receivers[i / 2];
        if (p->index >= GOROUTINES) by_threads[i % 2] += p->passed;
        sum.passed += p->passed;
        sum.selected += p->selected;
        sum.timeouts += p->timeouts;
        sum.misses += p->misses;
        sum.cancelled += p->cancelled;
        if (p->sends) sum.refused += p->refused;
    }
    CHECK_EQ(sum.passed, 2 * total);
    for (i = 0; i < CHANNELS; i++) left += drained[i];
    /* It was what it says it is. */
    CHECK(sum.timeouts > 0 && sum.misses > 0 && sum.selected > 0 && sum.refused > 0);
    if (n >= 1000000) CHECK(sum.cancelled > 0 && by_threads[0] > 0 && by_threads[1] > 0); /* a short run may be over before */
    for (i = 0; i < CHANNELS; i++) OK(goroutine_channel_free(channels[i])); /* nobody is in line */
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(stats_now().live, 0);
    CHECK_EQ(stats_now().timers, 0);
    stop();
    /* No promise leaked: counted when the workers' spare ones have been given back. */
    start_workers(1);
    CHECK_EQ(stats_now().promises, 0);
    stop();
    free(sent);
    free(received);
    if (!tells) return;
    fprintf(stderr,
            "%u workers: %" PRIu64 " messages in %.1f s (%" PRIu64 " sent and %" PRIu64 " received by threads; %" PRIu64
            " sends and receives by select, %" PRIu64 " time-outs, %" PRIu64 " not possible, %" PRIu64 " cancelled in %" PRIu64
            " rounds; %" PRIu64 " sends refused, %" PRIu64 " drained after the close)\n",
            workers, total, (double)(now_ns() - begin) / 1e9, by_threads[0], by_threads[1], sum.selected, sum.timeouts, sum.misses,
            sum.cancelled, cancelling, sum.refused, left);
}
/* Then some short ones, for the close at the end of each. */
static void on_workers(uint32_t workers, uint64_t n) {
    uint64_t i;
    all_received_once(n, workers, true);
    for (i = 0; i < scaled(CLOSES, 10); i++) {
        seed++;
        all_received_once(SHORT, workers, false);
    }
}
int main(int argc, char **argv) {
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : environment_number("GOROUTINE_STRESS_COUNT", MESSAGES);
    seed = environment_number("GOROUTINE_SEED", now_ns() ^ (uint64_t)getpid() << 40);
    fprintf(stderr, "GOROUTINE_SEED=%" PRIu64 "\n", seed);
    if (is_slow() && argc < 2) n = n / 1000 + 5000;
    if (argc > 2) {
        on_workers((uint32_t)strtoul(argv[2], NULL, 0), n);
        return 0;
    }
    on_workers(1, n);
    on_workers(2, n);
    on_workers(8, n);
    return 0;
}

/* timeout: 240 */
/* GOROUTINE_CONFIG_DEADLOCK_REPORT is silent about programs that have none: random ones of mutexes, readers-writer locks, onces, groups, promises,
 * conditions, semaphores, channels and selects, looked at every millisecond. Locks are taken in one order only, and whoever is asked answers.
 * GOROUTINE_TEST_PROGRAMS of them. The long run is stress_deadlock_none.c. */
#include "check.h"

#ifndef PROGRAMS
#define PROGRAMS 200
#endif
enum { CLIENTS = 12, SERVERS = 3, LOCKS = 6, STEPS = 8, DEPTH_MAX = 3 };

typedef struct Message {
    struct Client *from;
    uint64_t number;
} Message;
typedef struct Client {
    GoroutineChannel *answers;
    uint64_t seed, asked;
} Client;

static GoroutineMutex *mutexes[LOCKS], *of_condition;
static GoroutineRwLock *rwlocks[LOCKS];
static GoroutineOnce *onces[LOCKS];
static GoroutineSemaphore *semaphore;
static GoroutineCondition *condition;
static GoroutineChannel *questions;
static uint64_t turns, done;

static uint64_t below(Client *c, uint64_t n) { return random_next(&c->seed) % n; }
/* Long enough to be seen twice, now and then. */
static void linger(Client *c) {
    switch (below(c, 4)) {
    case 0: goroutine_yield(); break;
    case 1: OK(goroutine_sleep(below(c, 4 * MS))); break;
    default: break;
    }
}

/* Answers to whoever asks; holds nothing. */
static void *serves(void *arg) {
    Message m;
    while (goroutine_channel_receive(questions, &m, GOROUTINE_FOREVER) == GOROUTINE_OK) {
        if (m.number % 8 == 0) OK(goroutine_sleep(2 * MS));
        OK(goroutine_channel_send(m.from->answers, &m.number, GOROUTINE_FOREVER));
    }
    return arg;
}
static void ask(Client *c) {
    Message m;
    uint64_t answer = 0;
    m.from = c;
    m.number = ++c->asked;
    OK(goroutine_channel_send(questions, &m, GOROUTINE_FOREVER));
    if (below(c, 2) == 0) {
        OK(goroutine_channel_receive(c->answers, &answer, GOROUTINE_FOREVER));
    } else {
        GoroutineSelectCase cases[1];
        size_t chosen;
        memset(cases, 0, sizeof cases);
        cases[0].op = GOROUTINE_SELECT_RECEIVE;
        cases[0].object = c->answers;
        cases[0].value = &answer;
        OK(goroutine_select(cases, 1, GOROUTINE_FOREVER, &chosen));
        OK(cases[0].status);
    }
    CHECK_EQ(answer, m.number);
}

/* Something that takes locks from `from` on only. */
static void act(Client *c, uint64_t from, uint64_t depth);

typedef struct Part {
    Client client;
    uint64_t from, depth;
} Part;
static void part_begin(Part *part, Client *c, uint64_t from, uint64_t depth) {
    part->client.answers = goroutine_channel_new(8, 0);
    part->client.asked = 0;
    part->client.seed = random_next(&c->seed) | 1;
    part->from = from;
    part->depth = depth + 1;
}
static void part_end(Part *part) { OK(goroutine_channel_free(part->client.answers)); }
static void *acts(void *part) {
    Part *p = (Part *)part;
    act(&p->client, p->from, p->depth);
    return part;
}

static void act(Client *c, uint64_t from, uint64_t depth) {
    uint64_t at = from + below(c, 2), what = below(c, depth < DEPTH_MAX ? 10 : 6);
    Part parts[3];
    GoroutineGroup *group;
    GoroutinePromise *promise;
    void *value;
    size_t i;
    if (at >= LOCKS) what = 5;
    switch (what) {
    case 0:
        OK(goroutine_mutex_lock(mutexes[at], GOROUTINE_FOREVER));
        linger(c);
        if (depth < DEPTH_MAX) act(c, at + 1, depth + 1);
        OK(goroutine_mutex_unlock(mutexes[at]));
        break;
    case 1:
        OK(goroutine_rwlock_read_lock(rwlocks[at], GOROUTINE_FOREVER));
        linger(c);
        if (depth < DEPTH_MAX) act(c, at + 1, depth + 1);
        OK(goroutine_rwlock_read_unlock(rwlocks[at]));
        break;
    case 2:
        OK(goroutine_rwlock_write_lock(rwlocks[at], GOROUTINE_FOREVER));
        linger(c);
        if (depth < DEPTH_MAX) act(c, at + 1, depth + 1);
        OK(goroutine_rwlock_write_unlock(rwlocks[at]));
        break;
    case 3: /* with a time-out, which may come */
        if (goroutine_rwlock_write_lock(rwlocks[at], 1 + below(c, 3 * MS)) != GOROUTINE_OK) break;
        linger(c);
        OK(goroutine_rwlock_write_unlock(rwlocks[at]));
        break;
    case 4: /* the next turn is somebody's who waits, or has come by */
        OK(goroutine_mutex_lock(of_condition, GOROUTINE_FOREVER));
        turns++;
        OK(goroutine_condition_broadcast(condition));
        if (below(c, 2) == 0) goroutine_condition_wait(condition, of_condition, 1 + below(c, 3 * MS));
        OK(goroutine_mutex_unlock(of_condition));
        break;
    case 5:
        if (below(c, 4) == 0) OK(goroutine_semaphore_acquire(semaphore, 1, GOROUTINE_FOREVER));
        else { ask(c); break; }
        linger(c);
        OK(goroutine_semaphore_release(semaphore, 1));
        break;
    case 6:
        part_begin(&parts[0], c, at + 1, depth);
        OK(goroutine_once_run(onces[at], acts, &parts[0], GOROUTINE_FOREVER, &value));
        part_end(&parts[0]);
        break;
    case 7:
    case 8:
        group = goroutine_group_new(what == 7 ? GOROUTINE_GROUP_CANCEL_ON_ERROR : 0);
        for (i = 0; i < 3; i++) {
            part_begin(&parts[i], c, at, depth);
            OK(goroutine_group_spawn(group, acts, &parts[i]));
        }
        OK(goroutine_group_wait(group, GOROUTINE_FOREVER, NULL));
        OK(goroutine_group_free(group));
        for (i = 0; i < 3; i++) part_end(&parts[i]);
        break;
    default:
        part_begin(&parts[0], c, at, depth);
        promise = goroutine_spawn(acts, &parts[0]);
        CHECK(promise != NULL);
        OK(goroutine_promise_await_take(promise, GOROUTINE_FOREVER, &value));
        part_end(&parts[0]);
    }
}
static void *client(void *arg) {
    Client *c = (Client *)arg;
    int i;
    ask(c);
    for (i = 0; i < STEPS; i++) act(c, 0, 0);
    ADD(done, 1);
    return arg;
}

/* (A thread of the program's that did it would have to say so: goroutine_external_begin.) */
static void *closes(void *arg) {
    while (GET(done) != CLIENTS) OK(goroutine_sleep(MS));
    OK(goroutine_channel_close(questions));
    return arg;
}

static void program(uint64_t seed) {
    Client clients[CLIENTS];
    uint64_t i;
    of_condition = goroutine_mutex_new(0);
    condition = goroutine_condition_new();
    semaphore = goroutine_semaphore_new(2);
    questions = goroutine_channel_new(sizeof(Message), seed % 2 == 0 ? 0 : 3);
    SET(done, 0);
    for (i = 0; i < LOCKS; i++) {
        mutexes[i] = goroutine_mutex_new(0);
        rwlocks[i] = goroutine_rwlock_new();
        onces[i] = goroutine_once_new();
    }
    goroutine_external_begin(); /* we will spawn those who ask */
    for (i = 0; i < SERVERS; i++) OK(goroutine_go(serves, NULL));
    for (i = 0; i < CLIENTS; i++) {
        clients[i].seed = random_seed(seed, i);
        clients[i].asked = 0;
        clients[i].answers = goroutine_channel_new(8, 0);
        OK(goroutine_go(client, &clients[i]));
    }
    OK(goroutine_go(closes, NULL));
    goroutine_external_end();
    OK(goroutine_runtime_wait(60 * SECOND));
    for (i = 0; i < CLIENTS; i++) OK(goroutine_channel_free(clients[i].answers));
    for (i = 0; i < LOCKS; i++) {
        OK(goroutine_mutex_free(mutexes[i]));
        OK(goroutine_rwlock_free(rwlocks[i]));
        OK(goroutine_once_free(onces[i]));
    }
    OK(goroutine_channel_free(questions));
    OK(goroutine_semaphore_free(semaphore));
    OK(goroutine_condition_free(condition));
    OK(goroutine_mutex_free(of_condition));
}

int main(void) {
    static const uint32_t WORKERS[] = {1, 2, 8};
    static char text[16384];
    uint64_t programs = scaled(environment_number("GOROUTINE_TEST_PROGRAMS", PROGRAMS), 10), i, first = now_ns();
    int report = memfd_create("stderr", 0);
    size_t w;
    ssize_t n;
    setenv("GOROUTINE_DEADLOCK_LOOK_MS", "1", 1);
    CHECK(report >= 0 && dup2(2, 100) == 100 && dup2(report, 2) == 2);
    for (w = 0; w < 3; w++) {
        GoroutineConfig config;
        goroutine_config_init(&config);
        config.workers = WORKERS[w];
        config.flags = GOROUTINE_CONFIG_DEADLOCK_REPORT;
        OK(goroutine_runtime_start(&config));
        for (i = w; i < programs; i += 3) {
            program(first + i);
            n = pread(report, text, sizeof text - 1, 0);
            if (n > 0) {
                CHECK(dup2(100, 2) == 2);
                text[n] = 0;
                fprintf(stderr, "program %" PRIu64 " on %u workers:\n%s", first + i, WORKERS[w], text);
                return 1;
            }
        }
        stop();
    }
    return 0;
}

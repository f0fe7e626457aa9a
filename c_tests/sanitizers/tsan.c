/* For tools/user_sanitizers.sh: a program built with ThreadSanitizer, and one race, or none.
 *
 * tsan CASE WORKERS [forked]: `clean` must end with 0 and nothing to say; each other case plants the race of its name, and how its goroutines come together is left
 * to nothing but the two accesses: they run on one worker in turn, or on two.
 *
 * With -DUNTOLD nobody tells ThreadSanitizer which goroutine runs: then the races on one worker must be missed. */
#include "../check.h"

#if defined(UNTOLD)
/* The library's goes here: the program comes first in the loader's order. */
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags) { (void)fiber, (void)flags; }
#endif

#define NOINLINE __attribute__((noinline))

static uint64_t raced_word;
static GoroutineMutex *mutex, *other_mutex;
static GoroutineChannel *channel;

static NOINLINE void touch(void) { raced_word++; }

/* -- the races -- */

static void *touch_and_yield(void *arg) {
    for (int i = 0; i < 10; i++) {
        touch();
        goroutine_yield();
    }
    return arg;
}
/* Each has a mutex, of its own. */
static void *lock_another(void *arg) {
    GoroutineMutex *own = U(arg) % 2 ? mutex : other_mutex;
    for (int i = 0; i < 10; i++) {
        OK(goroutine_mutex_lock(own, GOROUTINE_FOREVER));
        touch();
        OK(goroutine_mutex_unlock(own));
        goroutine_yield();
    }
    return arg;
}
/* After the unlock. */
static void *touch_late(void *arg) {
    for (int i = 0; i < 10; i++) {
        OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
        OK(goroutine_mutex_unlock(mutex));
        touch();
        goroutine_yield();
    }
    return arg;
}
/* The sender goes on with what it has sent. */
static void *send_and_touch(void *arg) {
    if (U(arg) % 2) {
        uint64_t value = 1;
        OK(goroutine_channel_send(channel, &value, GOROUTINE_FOREVER));
        touch();
    } else {
        uint64_t value;
        OK(goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER));
        touch();
    }
    return arg;
}
static int in_c;
static NOINLINE void *touch_in_c(void *arg) {
    __atomic_add_fetch(&in_c, 1, __ATOMIC_RELAXED); /* which orders nothing */
    while (__atomic_load_n(&in_c, __ATOMIC_RELAXED) < 2) thread_sleep(100 * US);
    touch();
    return arg;
}
/* On threads of their own: C that one thread runs for two goroutines, one after the other, is ordered to ThreadSanitizer. */
static void *call_c(void *arg) { return execute_ffi_call(NULL, CODE(touch_in_c), arg); }

static void two(GoroutineFn f) {
    GoroutinePromise *a = goroutine_spawn(f, P(1)), *b = goroutine_spawn(f, P(2));
    void *value;
    OK(goroutine_promise_await_take(a, 60 * SECOND, &value));
    OK(goroutine_promise_await_take(b, 60 * SECOND, &value));
}
static void *two_inside(void *f) {
    two(FN(f));
    return NULL;
}

/* -- and no race -- */

static void *count_locked(void *arg) {
    for (int i = 0; i < 100; i++) {
        OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
        touch();
        if (i % 10 == 0) goroutine_yield();
        OK(goroutine_mutex_unlock(mutex));
    }
    return arg;
}
static NOINLINE uint64_t sum_of_locals(int depth) {
    uint64_t words[16];
    for (int i = 0; i < 16; i++) words[i] = (uint64_t)depth;
    goroutine_yield();
    uint64_t sum = depth > 0 ? sum_of_locals(depth - 1) : 0;
    for (int i = 0; i < 16; i++) sum += words[i];
    return sum;
}
/* One stack after another is used again. */
static void *use_stack(void *arg) {
    CHECK(sum_of_locals(5) == 16 * 15);
    return arg;
}
static void *many(void *arg) {
    for (int round = 0; round < 20; round++) {
        GoroutinePromise *all[20];
        for (int i = 0; i < 20; i++) all[i] = goroutine_spawn(use_stack, arg);
        for (int i = 0; i < 20; i++) {
            void *value;
            OK(goroutine_promise_await_take(all[i], GOROUTINE_FOREVER, &value));
        }
    }
    return arg;
}
static void *produce(void *arg) {
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t *box = (uint64_t *)malloc(sizeof *box);
        *box = i;
        OK(goroutine_channel_send(channel, &box, GOROUTINE_FOREVER));
    }
    return arg;
}
static void *consume(void *arg) {
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t *box;
        OK(goroutine_channel_receive(channel, &box, GOROUTINE_FOREVER));
        *box += 1;
        free(box);
    }
    return arg;
}
static void plain(GoroutineFn f) {
    f(NULL);
    two(f);
    f(NULL);
}

/* All of it in a child, whose parent had threads. */
static void go_on_in_child(uint32_t workers) {
    int status;
    start_workers(workers);
    two(count_locked);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) return;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    stop();
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        GoroutineFn f;
    } races[] = {{"plain", touch_and_yield},
                 {"two_mutexes", lock_another},
                 {"after_unlock", touch_late},
                 {"sent", send_and_touch},
                 {"in_c", call_c}};
    CHECK(argc == 3 || argc == 4);
    mutex = goroutine_mutex_new(0);
    other_mutex = goroutine_mutex_new(0);
    if (argc == 4) go_on_in_child((uint32_t)atoi(argv[2]));
    start_workers((uint32_t)atoi(argv[2]));
    channel = goroutine_channel_new(8, 1);
    bool done = false;
    for (size_t i = 0; i < sizeof races / sizeof *races; i++) {
        if (strcmp(argv[1], races[i].name) == 0) {
            two(races[i].f);
            done = true;
        }
    }
    if (!done) {
        CHECK(strcmp(argv[1], "clean") == 0);
        plain(count_locked);
        run_goroutine(two_inside, CODE(count_locked));
        run_goroutine(many, NULL);
        GoroutinePromise *producer = goroutine_spawn(produce, NULL);
        run_goroutine(consume, NULL);
        void *value;
        OK(goroutine_promise_await_take(producer, 60 * SECOND, &value));
    }
    OK(goroutine_mutex_free(mutex));
    OK(goroutine_mutex_free(other_mutex));
    OK(goroutine_channel_free(channel));
    stop();
    return 0;
}

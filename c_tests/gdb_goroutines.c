/* Run under a debugger by tools/gdb_test.sh: 1,003 goroutines in known states, then gdb_ready(); with an argument a core file. */
#include "code.h"

enum { RECEIVERS = 595, LOCKERS = 200, SLEEPERS = 100, AWAITERS = 96 };

static GoroutineChannel *channel;
static GoroutineMutex *mutex;
static GoroutineRwLock *rwlock;
static GoroutinePromise *pending, *of_one;
static uint64_t waiting, spinning;

__attribute__((noinline)) void gdb_ready(void) { __asm__ volatile("" ::: "memory"); }

static void *receives(void *arg) {
    uint64_t value;
    ADD(waiting, 1);
    goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER);
    return arg;
}
static void *locks(void *arg) {
    ADD(waiting, 1);
    goroutine_mutex_lock(mutex, GOROUTINE_FOREVER);
    return arg;
}
static void *sleeps(void *arg) {
    ADD(waiting, 1);
    goroutine_sleep(GOROUTINE_FOREVER);
    return arg;
}
static void *sleeps_long(void *arg) {
    ADD(waiting, 1);
    goroutine_sleep(3600 * SECOND);
    return arg;
}
static void *receives_in_time(void *arg) {
    uint64_t value;
    ADD(waiting, 1);
    goroutine_channel_receive(channel, &value, 3600 * SECOND);
    return arg;
}
static void *a_thread(void *arg) { return goroutine_callback_run(sleeps_long, arg); }
static void *awaits(void *arg) {
    void *value;
    ADD(waiting, 1);
    goroutine_promise_await(pending, GOROUTINE_FOREVER, &value);
    return arg;
}
static void *spins(void *arg) {
    SET(spinning, 1);
    for (;;) {
    }
    return arg;
}
static void *holds(void *arg) {
    goroutine_mutex_lock(mutex, GOROUTINE_FOREVER);
    return receives(arg);
}

static void *writes(void *arg) {
    goroutine_rwlock_write_lock(rwlock, GOROUTINE_FOREVER);
    return receives(arg);
}
static void *locks_to_write(void *arg) {
    ADD(waiting, 1);
    goroutine_rwlock_write_lock(rwlock, GOROUTINE_FOREVER);
    return arg;
}
static void *locks_to_read(void *arg) {
    ADD(waiting, 1);
    goroutine_rwlock_read_lock(rwlock, GOROUTINE_FOREVER);
    return arg;
}
static void *awaits_one(void *arg) {
    void *value;
    ADD(waiting, 1);
    goroutine_promise_await(of_one, GOROUTINE_FOREVER, &value);
    return arg;
}

static void spawn_named(const char *name, GoroutineFn f, uint32_t flags) {
    GoroutineSpawn s;
    goroutine_spawn_init(&s);
    s.fn = CODE(f);
    s.name = name;
    s.flags = flags;
    OK(goroutine_spawn_with(&s, NULL));
}

static GoroutineFn nested(void) {
    Emit e = emit_beside_table();
    GoroutineCode codes[3];
    size_t starts[3], bytes[3];
    starts[0] = e.used;
    bytes[0] = emit_framed(&e, CODE(receives));
    starts[1] = e.used;
    bytes[1] = emit_unframed(&e, e.code + starts[0]);
    starts[2] = e.used;
    bytes[2] = emit_framed(&e, e.code + starts[1]);
    codes[0] = code_of("innermost_emitted", e.code + starts[0], bytes[0], GOROUTINE_CODE_FRAME_POINTER);
    codes[1] = code_of("middle_emitted", e.code + starts[1], bytes[1], 0);
    codes[2] = code_of("outermost_emitted", e.code + starts[2], bytes[2], GOROUTINE_CODE_FRAME_POINTER);
    codes[1].eh_frame = table_beside(&e);
    codes[1].eh_frame_bytes = frames_of_unframed(table_beside(&e), e.code + starts[1], bytes[1]);
    emit_end(&e);
    OK(goroutine_code_register(codes, 3, NULL));
    return FN(e.code + starts[2]);
}

int main(int argc, char **argv) {
    GoroutineConfig config;
    pthread_t thread;
    int i;
    (void)argv;
    goroutine_config_init(&config);
    config.workers = 2;
    config.stack_bytes = 128 << 10;
    OK(goroutine_runtime_start(&config));
    channel = goroutine_channel_new(8, 0);
    mutex = goroutine_mutex_new(0);
    rwlock = goroutine_rwlock_new();
    pending = goroutine_promise_new();
    spawn_named("holder", holds, 0);
    while (GET(waiting) != 1) thread_sleep(MS);
    spawn_named("writer", writes, 0);
    while (GET(waiting) != 2) thread_sleep(MS);
    spawn_named("to write", locks_to_write, 0);
    spawn_named("to read", locks_to_read, 0);
    of_one = spawn_as("one", receives, NULL, 0);
    spawn_named("awaits one", awaits_one, 0);
    spawn_named("nested", nested(), 0);
    for (i = 0; i < RECEIVERS; i++) OK(goroutine_go(receives, NULL));
    for (i = 0; i < LOCKERS; i++) OK(goroutine_go(locks, NULL));
    for (i = 0; i < SLEEPERS; i++) OK(goroutine_go(sleeps, NULL));
    for (i = 0; i < AWAITERS; i++) OK(goroutine_go(awaits, NULL));
    spawn_named("bound", receives, GOROUTINE_SPAWN_BOUND | GOROUTINE_SPAWN_DAEMON);
    spawn_named("sleeper", sleeps_long, 0);
    spawn_named("in time", receives_in_time, 0);
    CHECK(pthread_create(&thread, NULL, a_thread, NULL) == 0);
    while (GET(waiting) != 11 + RECEIVERS + LOCKERS + SLEEPERS + AWAITERS) thread_sleep(MS);
    spawn_named("spinner", spins, 0);
    while (!GET(spinning)) thread_sleep(MS);
    thread_sleep(50 * MS); /* the last ones have counted themselves, and are about to park */
    gdb_ready();
    if (argc > 1) abort();
    _exit(0);
}

/* timeout: 240 */
/* GOROUTINE_DUMP_SIGNAL: a dump has the frames of goroutines that run, in C, in emitted code and in foreign calls, and says why where it has not. */
#include "dump.h"
#include <ucontext.h>

static int the_signal;

/* The part of the goroutine of this name. Static. */
static char *part_of(const char *text, const char *name) {
    static char part[16384];
    char head[128];
    const char *at, *end;
    snprintf(head, sizeof head, "\"%s\" ", name);
    at = strstr(text, head);
    CHECK(at != NULL);
    end = strstr(at, "\n\n");
    if (end == NULL) end = strstr(at, "\ngoroutine: end of dump");
    CHECK(end != NULL && (size_t)(end - at) < sizeof part);
    memcpy(part, at, (size_t)(end - at));
    part[end - at] = 0;
    return part;
}
static void start(uint32_t workers) {
    char number[16];
    snprintf(number, sizeof number, "%d", the_signal);
    setenv("GOROUTINE_DUMP_SIGNAL", number, 1);
    start_workers(workers);
}
static void finish(GoroutinePromise *promise) {
    void *result;
    OK(goroutine_promise_await_take(promise, 60 * SECOND, &result));
}

/* The frames, as numbers: `#0` first. */
static size_t frames_in(const char *part, uint64_t *frames, size_t most) {
    size_t n = 0;
    const char *at = part;
    while ((at = strstr(at, "\n    #")) != NULL && n < most) {
        unsigned long long address;
        size_t number;
        CHECK(sscanf(at, "\n    #%zu %llx", &number, &address) == 2 && number == n);
        frames[n++] = address;
        at++;
    }
    return n;
}
static bool lies_in(uint64_t address, const void *function) { return address >= U(function) && address < U(function) + 512; }
/* A frame in each of these functions, in this order. */
static bool has_in_order(const char *part, void *const *functions, size_t count) {
    uint64_t frames[64];
    size_t n = frames_in(part, frames, 64), i, at = 0;
    for (i = 0; i < n && at < count; i++) at += lies_in(frames[i], functions[at]);
    return at == count;
}

/* ---- C, on a goroutine's stack and in foreign calls. ---- */

static uint64_t over, spinning;
__attribute__((noinline)) static uint64_t spin_innermost(uint64_t n) {
    while (!GET(over)) n = n * 3 + 1;
    return n;
}
__attribute__((noinline)) static uint64_t spin_middle(uint64_t n) {
    volatile uint64_t some[20]; /* a frame that no frame pointer is needed for */
    some[n % 20] = n;
    ADD(spinning, 1);
    return spin_innermost(some[n % 20]) + some[(n + 1) % 20];
}
__attribute__((noinline)) static void *spins(void *arg) { return P(spin_middle(U(arg)) + 1); }
__attribute__((noinline)) static void *leaf(void *arg) {
    void *volatile value = goroutine_ffi_call_leaf(CODE(spins), arg);
    return value;
}
static void *bound(void *arg) { return execute_ffi_call(NULL, CODE(spins), arg); }
static void *blocking(void *arg) { return goroutine_ffi_call_blocking(CODE(spins), arg); }
static void *blocks_signal(void *arg) {
    sigset_t set;
    sigfillset(&set);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    ADD(spinning, 1);
    spin_innermost(U(arg));
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
    return arg;
}
static void *blocks_in_c(void *arg) { return execute_ffi_call(NULL, CODE(blocks_signal), arg); }

static void in_c(void) {
    void *const ORDER[] = {CODE(spin_innermost), CODE(spin_middle), CODE(spins)};
    void *const ACROSS[] = {CODE(spins), CODE(leaf)};
    static const char *const NAMES[] = {"on its stack", "leaf", "bound", "blocking"};
    GoroutinePromise *all[5];
    char *text;
    size_t i;
    all[0] = spawn_as(NAMES[0], spins, NULL, 0);
    all[1] = spawn_as(NAMES[1], leaf, NULL, 0);
    all[2] = spawn_as(NAMES[2], bound, NULL, 0);
    all[3] = spawn_as(NAMES[3], blocking, NULL, 0);
    all[4] = spawn_as("blocks it", blocks_in_c, NULL, 0);
    while (GET(spinning) < 5) thread_sleep(MS);
    thread_sleep(MS);
    for (;;) { /* until all of them had a CPU in time, whatever else this machine does */
        text = dump();
        if (strstr(text, "no frames: its thread did not answer in time") == NULL) break;
        free(text);
    }
    for (i = 0; i < 4; i++) {
        if (!has_in_order(part_of(text, NAMES[i]), ORDER, 3)) {
            fprintf(stderr, "%#" PRIx64 " %#" PRIx64 " %#" PRIx64 " expected in:\n%s\n", U(ORDER[0]), U(ORDER[1]), U(ORDER[2]),
                    part_of(text, NAMES[i]));
            _exit(1);
        }
    }
    CHECK(has_in_order(part_of(text, "leaf"), ACROSS, 2)); /* from the thread's stack on to the goroutine's */
    CHECK(strstr(part_of(text, "blocks it"), "\n    no frames: its thread blocks the signal of GOROUTINE_DUMP_SIGNAL") != NULL);
    CHECK(strstr(part_of(text, "blocks it"), "#0") == NULL);
    free(text);
    SET(over, 1);
    for (i = 0; i < 5; i++) finish(all[i]);
    SET(over, 0);
    SET(spinning, 0);
}

/* ---- Foreign code on a stack of its own, below the thread's, and so small that it ends soon above. ---- */

static ucontext_t of_thread, of_fiber;
static void in_fiber(void) {
    spin_middle(1);
    CHECK(swapcontext(&of_fiber, &of_thread) == 0);
}
static void *has_fiber(void *arg) {
    const size_t page = 4096, pages = 16;
    char *memory = (char *)MAP_FAILED;
    uint64_t at = U(&memory) & ~(uint64_t)(page - 1);
    while (memory == (char *)MAP_FAILED) {
        at -= 16 << 20; /* the first room below the thread's stack */
        memory = (char *)mmap(P(at), (pages + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    }
    CHECK(mprotect(memory + page, pages * page, PROT_READ | PROT_WRITE) == 0);
    CHECK(getcontext(&of_fiber) == 0);
    of_fiber.uc_stack.ss_sp = memory + page;
    of_fiber.uc_stack.ss_size = pages * page;
    makecontext(&of_fiber, in_fiber, 0);
    CHECK(swapcontext(&of_thread, &of_fiber) == 0);
    CHECK(munmap(memory, (pages + 2) * page) == 0);
    return arg;
}
static void *fiber_bound(void *arg) { return execute_ffi_call(NULL, CODE(has_fiber), arg); }
static void on_foreign_stack(void) {
    GoroutinePromise *promise = spawn_as("fiber", fiber_bound, NULL, 0);
    bool answered = false;
    while (GET(spinning) < 1) thread_sleep(MS);
    while (!answered) {
        char *text = dump(), *part = part_of(text, "fiber");
        CHECK(strstr(part, "#0") == NULL); /* where that stack ends nobody knows */
        answered = strstr(part, ", or on a stack of foreign code's own") != NULL;
        free(text);
    }
    SET(over, 1);
    finish(promise);
    SET(over, 0);
    SET(spinning, 0);
}

/* ---- Emitted code: by frame pointers and by tables, wherever it is interrupted. ---- */

/* void *f(void *): while (!over) leaf(); framed; the leaf has a frame, too, so that half of the time it is being made or given up. */
static void in_emitted_code(void) {
    Emit e = emit_beside_table();
    GoroutineCode codes[3];
    size_t starts[3], bytes[3], again, i;
    uint64_t ids[3], wanted = 200, whole = 0;
    GoroutinePromise *promise;
    starts[0] = e.used;
    EMIT(&e, "\x55\x48\x89\xE5\x5D\xC3"); /* push rbp; mov rbp, rsp; pop rbp; ret */
    bytes[0] = e.used - starts[0];
    starts[1] = e.used;
    EMIT(&e, "\x55\x48\x89\xE5");
    again = e.used;
    emit_call(&e, e.code + starts[0]);
    emit_constant(&e, RAX, U(&over));
    EMIT(&e, "\x48\x83\x38\x00"); /* cmp qword [rax], 0 */
    emit_jump_back_if(&e, EQUAL, again);
    EMIT(&e, "\x5D\xC3");
    bytes[1] = e.used - starts[1];
    starts[2] = e.used;
    bytes[2] = emit_unframed(&e, e.code + starts[1]);
    codes[0] = code_of("emitted_leaf", e.code + starts[0], bytes[0], GOROUTINE_CODE_FRAME_POINTER);
    codes[1] = code_of("emitted_loop", e.code + starts[1], bytes[1], GOROUTINE_CODE_FRAME_POINTER);
    codes[2] = code_of("emitted_outermost", e.code + starts[2], bytes[2], 0);
    codes[2].eh_frame = table_beside(&e);
    codes[2].eh_frame_bytes = frames_of_unframed(table_beside(&e), e.code + starts[2], bytes[2]);
    emit_end(&e);
    OK(goroutine_code_register(codes, 3, ids));
    promise = spawn_as("emitted", FN(e.code + starts[2]), NULL, 0);
    while (whole < wanted) { /* under load some answers come too late */
        char *text = dump(), *part = part_of(text, "emitted"), *at;
        if (strstr(part, "#0") != NULL) {
            at = strstr(part, " emitted_loop+0x");
            if (at == NULL || strstr(at, " emitted_outermost+0x") == NULL || strstr(at, " emitted_leaf+0x") != NULL) {
                fprintf(stderr, "%s\n", part);
                _exit(1);
            }
            whole++;
        }
        free(text);
    }
    SET(over, 1);
    finish(promise);
    SET(over, 0);
    for (i = 0; i < 3; i++) OK(goroutine_code_unregister(ids[i], 30 * SECOND));
}

/* ---- While everybody switches, and keeps things below rsp. ---- */

static GoroutineChannel *channel;
static void *switches(void *arg) {
    uint64_t value = 0;
    while (!GET(over)) {
        goroutine_yield();
        if (U(arg) % 2 == 0) {
            goroutine_channel_send(channel, &value, MS);
        } else {
            goroutine_channel_receive(channel, &value, MS);
        }
        if (U(arg) % 12 == 0) free(goroutine_ffi_call_leaf(CODE(dump), NULL)); /* several at a time */
    }
    return arg;
}
/* mov [rsp - 1024], rdi ...: a value far below, and checked, as UltraScript's code keeps them. */
static GoroutineFn below_rsp(void) {
    Emit e = emit_begin(4096);
    size_t again, differs;
    EMIT(&e, "\x55\x48\x89\xE5");
    emit_constant(&e, RDI, 0x5AB1E0BE10Cull); /* as no handler's frame has it */
    again = e.used;
    emit_store(&e, RDI, RSP, -1024);
    emit_store(&e, RDI, RSP, -4000);
    emit_compare(&e, RDI, RSP, -1024);
    differs = emit_jump_if(&e, NOT_EQUAL);
    emit_compare(&e, RDI, RSP, -4000);
    emit_land(&e, differs);
    differs = emit_jump_if(&e, NOT_EQUAL);
    emit_constant(&e, RAX, U(&over));
    EMIT(&e, "\x48\x83\x38\x00");
    emit_jump_back_if(&e, EQUAL, again);
    EMIT(&e, "\x31\xC0\x5D\xC3"); /* xor eax, eax */
    emit_land(&e, differs);
    EMIT(&e, "\xB8\x01\0\0\0\x5D\xC3"); /* mov eax, 1 */
    return FN(emit_end(&e));
}
static void *reads(void *ends) {
    char byte;
    return P(read(((int *)ends)[0], &byte, 1) == 1); /* blocks its thread, and is not to fail with EINTR */
}
static int ends[2];
static void *reads_bound(void *arg) {
    (void)arg;
    return execute_ffi_call(NULL, CODE(reads), ends);
}
static void storm(void) {
    GoroutinePromise *all[24], *below, *reader;
    uint64_t i, dumps = 150, runs = 0, framed = 0;
    void *value;
    channel = goroutine_channel_new(8, 0);
    CHECK(pipe(ends) == 0);
    below = spawn_as("below", below_rsp(), NULL, 0);
    reader = spawn_as("reader", reads_bound, NULL, 0);
    for (i = 0; i < 24; i++) CHECK((all[i] = goroutine_spawn(switches, P(i + 1))) != NULL);
    for (i = 0; i < dumps || runs == 0 || framed == 0; i++) {
        char *text = dump(), *at;
        for (at = text; (at = strstr(at, " runs on worker ")) != NULL; at++) runs++;
        framed += strstr(part_of(text, "below"), "#0") != NULL;
        free(text);
    }
    CHECK(write(ends[1], "x", 1) == 1);
    OK(goroutine_promise_await_take(reader, 60 * SECOND, &value));
    CHECK(U(value) == 1);
    SET(over, 1);
    for (i = 0; i < 24; i++) finish(all[i]);
    OK(goroutine_promise_await_take(below, 60 * SECOND, &value));
    CHECK(U(value) == 0); /* no handler ran there */
    SET(over, 0);
    OK(goroutine_channel_free(channel));
}

/* ---- The goroutine that dumps. ---- */

static void *dumps_itself(void *arg) {
    char *text = dump(), *part = part_of(text, "itself");
    void *const ORDER[] = {CODE(dump), CODE(dumps_itself)};
    if (!has_in_order(part, ORDER, 2)) {
        fprintf(stderr, "%s\n", part);
        _exit(1);
    }
    free(text);
    return arg;
}

/* ---- The signal is nobody else's, and is given back. ---- */

static void handler(int signal) { (void)signal; }
static void refused(void *number) {
    setenv("GOROUTINE_DUMP_SIGNAL", (const char *)number, 1);
    signal(SIGUSR2, handler);
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_EINVAL);
}
static void (*disposition(void))(int) {
    struct sigaction now;
    CHECK(sigaction(the_signal, NULL, &now) == 0);
    return now.sa_handler;
}

int main(void) {
    char of_libc[16];
    if (is_slow()) {
        fprintf(stderr, "skipped: threads that answer within 50 ms\n");
        return 77;
    }
    the_signal = SIGRTMIN + 3;
    snprintf(of_libc, sizeof of_libc, "%d", SIGRTMIN - 1);
    expect_child("synchronous", refused, (void *)(uintptr_t)"11", 0, 0, "GOROUTINE_DUMP_SIGNAL is no signal that can be had");
    expect_child("somebody's", refused, (void *)(uintptr_t)"12", 0, 0, "GOROUTINE_DUMP_SIGNAL is no signal that can be had");
    expect_child("the C library's", refused, of_libc, 0, 0, "GOROUTINE_DUMP_SIGNAL is no signal that can be had");
    expect_child("none", refused, (void *)(uintptr_t)"65", 0, 0, "GOROUTINE_DUMP_SIGNAL is no signal that can be had");
    expect_child("no number", refused, (void *)(uintptr_t)"x", 0, 0, "not a number: GOROUTINE_DUMP_SIGNAL=x");
    start(8);
    in_c();
    on_foreign_stack();
    in_emitted_code();
    finish(spawn_as("itself", dumps_itself, NULL, 0));
    storm();
    CHECK(disposition() != SIG_DFL);
    stop();
    CHECK(disposition() == SIG_DFL);
    start(1);
    finish(spawn_as("itself", dumps_itself, NULL, 0));
    stop();
    return 0;
}

/* Who waits in a call of the library is shown with the registers of its caller: emitted code that has a mark in each register that a call keeps,
 * across every kind of call that leaves its stack. What the library has been passed is shown, too: a buffer may be nobody else's by then. */
#include "emit.h"
#include <poll.h>
#include <stddef.h>

typedef struct Call {
    uint64_t args[6], function, marks[6]; /* rbx rbp r12 r13 r14 r15 */
    uint64_t again, turns, rsp, result;
    uint64_t rip;       /* behind the call */
    uint64_t seen, bare; /* how often the goroutine was shown with the marks, and how often with no registers at all */
    uint64_t goroutine; /* its id; 0: not known yet */
    uint64_t passed;    /* a pointer that the library has been passed, and that nobody else has; 0: none */
} Call;

static const unsigned KEPT[6] = {RBX, RBP, R12, R13, R14, R15};

/* void *f(Call *): calls function(args) with the marks in registers, again and again while it shall; with rsp at `misaligned` mod 16. */
static GoroutineFn emit_caller(unsigned misaligned, uint64_t *rip) {
    Emit e = emit_begin(4096);
    static const unsigned ARGS[6] = {RDI, RSI, RDX, RCX, R8, R9};
    size_t loop, bad[6];
    int32_t room = 8 + (int32_t)misaligned;
    unsigned i;
    EMIT(&e, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57"); /* push rbx, rbp, r12, r13, r14, r15 */
    emit_move_stack(&e, -room);
    EMIT(&e, "\x48\x89\x3C\x24");                         /* mov [rsp], rdi */
    emit_store(&e, RSP, RDI, offsetof(Call, rsp));
    loop = e.used;
    EMIT(&e, "\x4C\x8B\x1C\x24");                         /* mov r11, [rsp] */
    for (i = 0; i < 6; i++) emit_load(&e, KEPT[i], R11, (int32_t)(offsetof(Call, marks) + 8 * i));
    for (i = 0; i < 6; i++) emit_load(&e, ARGS[i], R11, (int32_t)(offsetof(Call, args) + 8 * i));
    emit_load(&e, RAX, R11, offsetof(Call, function));
    EMIT(&e, "\xFF\xD0");                                 /* call rax */
    *rip = U(e.code) + e.used;
    EMIT(&e, "\x4C\x8B\x1C\x24");                         /* mov r11, [rsp] */
    emit_store(&e, RAX, R11, offsetof(Call, result));
    for (i = 0; i < 6; i++) {
        emit_compare(&e, KEPT[i], R11, (int32_t)(offsetof(Call, marks) + 8 * i));
        bad[i] = emit_jump_if(&e, NOT_EQUAL);
    }
    emit_memory(&e, 0xFF, 0, R11, offsetof(Call, turns)); /* inc qword */
    emit_memory(&e, 0x83, 7, R11, offsetof(Call, again)); /* cmp qword, 0 */
    emit_u8(&e, 0);
    emit_jump_back_if(&e, NOT_EQUAL, loop);
    emit_load(&e, RAX, R11, offsetof(Call, result));
    emit_move_stack(&e, room);
    EMIT(&e, "\x41\x5F\x41\x5E\x41\x5D\x41\x5C\x5D\x5B\xC3"); /* pop ...; ret */
    for (i = 0; i < 6; i++) emit_land(&e, bad[i]);
    EMIT(&e, "\x0F\x0B");                                 /* ud2 */
    return FN(emit_end(&e));
}
static GoroutineFn callers[2];
static uint64_t rips[2];

/* ---- looking ---- */

static uint64_t shown;       /* whether the goroutine was: with its first range come its registers */
static uint64_t found_passed; /* how often what the library was passed lay in its ranges */
static uint64_t saved;        /* whether what the library had in registers was one */
static void look(void *arg, const Goroutine *g, const GoroutineContext *r, const void *low, const void *high) {
    Call *c = (Call *)arg;
    const uint64_t *word;
    CHECK(low < high);
    if (goroutine_id(g) != c->goroutine) return;
    if (U(low) > U(g) && U(high) <= U(g) + 256) {
        CHECK(r == NULL && U(high) - U(low) == 48);
        saved++;
    }
    for (word = (const uint64_t *)low; word < (const uint64_t *)high; word++) found_passed += *word == c->passed;
    if (r == NULL) return;
    shown++;
    if (r->rip == 0) { /* C runs, or there is no code but the library's */
        CHECK((r->rbx | r->rbp | r->r12 | r->r13 | r->r14 | r->r15) == 0);
        c->bare++;
        return;
    }
    CHECK_EQ(r->rip, c->rip);
    CHECK_EQ(r->rsp, c->rsp);
    CHECK_EQ(r->rbx, c->marks[0]);
    CHECK_EQ(r->rbp, c->marks[1]);
    CHECK_EQ(r->r12, c->marks[2]);
    CHECK_EQ(r->r13, c->marks[3]);
    CHECK_EQ(r->r14, c->marks[4]);
    CHECK_EQ(r->r15, c->marks[5]);
    CHECK((r->rax | r->rcx | r->rdx | r->rsi | r->rdi | r->r8 | r->r9 | r->r10 | r->r11) == 0);
    c->seen++;
}
static void look_until(Call *c, const uint64_t *word, uint64_t n) {
    uint64_t deadline = now_ns() + 60 * SECOND;
    while (GET(c->goroutine) == 0) thread_sleep(20 * US);
    while (*word < n) {
        uint64_t seen = c->seen;
        OK(goroutine_world_stop(20 * SECOND));
        shown = found_passed = saved = 0;
        goroutine_world_for_each(look, c);
        CHECK(shown <= 1);
        CHECK(shown == 0 || c->passed == 0 || found_passed != 0);
        CHECK_EQ(saved, c->seen != seen && c->function != U(CODE(goroutine_yield)));
        goroutine_world_start();
        CHECK(now_ns() < deadline);
        thread_sleep(20 * US);
    }
}

/* ---- calls ---- */

static Call *new_call(void *function, unsigned misaligned) {
    static uint64_t seed = 1;
    Call *c = (Call *)calloc(1, sizeof *c);
    unsigned i;
    CHECK(c != NULL);
    for (i = 0; i < 6; i++) c->marks[i] = random_next(&seed);
    c->function = U(function);
    c->rip = rips[misaligned / 8];
    return c;
}
static void *begin(void *arg) { /* (in C: what runs emitted code has told its name before) */
    Call *c = (Call *)arg;
    SET(c->goroutine, goroutine_id(goroutine_current()));
    return callers[c->rip == rips[1]](c);
}
static GoroutinePromise *spawn(GoroutineFn f, Call *c) {
    GoroutinePromise *p = goroutine_spawn(f, c);
    CHECK(p != NULL);
    return p;
}
/* Looked at until it is cancelled. */
static void parked(const char *what, void *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d, const void *passed) {
    unsigned misaligned;
    for (misaligned = 0; misaligned <= 8; misaligned += 8) {
        Call *call = new_call(function, misaligned);
        GoroutinePromise *p;
        void *status = NULL;
        call->args[0] = a, call->args[1] = b, call->args[2] = c, call->args[3] = d;
        call->passed = U(passed);
        p = spawn(begin, call);
        look_until(call, &call->seen, 5);
        if (call->bare != 0) fprintf(stderr, "%s: shown %d times without registers\n", what, (int)call->bare);
        CHECK_EQ(call->bare, 0);
        OK(goroutine_cancel(p));
        OK(goroutine_promise_await_take(p, 60 * SECOND, &status));
        free(call);
    }
}
/* Again and again, `n` of them: with others that want the worker. */
static void turns(unsigned n, GoroutineFn start, void *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d, bool is_in_c) {
    Call *calls[3];
    GoroutinePromise *promises[3];
    unsigned i;
    for (i = 0; i < n; i++) {
        calls[i] = new_call(function, i == 1 ? 8 : 0);
        calls[i]->args[0] = a, calls[i]->args[1] = b, calls[i]->args[2] = c, calls[i]->args[3] = d;
        calls[i]->again = 1;
        promises[i] = spawn(start, calls[i]);
    }
    for (i = 0; i < n; i++) look_until(calls[i], &calls[i]->seen, 20);
    for (i = 0; i < n; i++) SET(calls[i]->again, 0);
    for (i = 0; i < n; i++) {
        OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
        CHECK(is_in_c || calls[i]->bare == 0);
        CHECK(calls[i]->turns != 0);
        free(calls[i]);
    }
}

/* ---- in C, above C, below C ---- */

static bool keep_ticket(GoroutineTicket t, void *arg) {
    (void)t;
    (void)arg;
    return true;
}
static void *nothing(void *arg) { return arg; }
static void *as_leaf(void *c) { return goroutine_ffi_call_leaf(CODE(begin), c); }
static void *as_blocking(void *c) { return goroutine_ffi_call_blocking(CODE(begin), c); }
static void *as_bound(void *c) { return execute_ffi_call(NULL, CODE(begin), c); }
static void *calls_back(void *c) { return goroutine_callback_run(begin, c); }
static void *under_leaf(void *c) { return goroutine_ffi_call_leaf(CODE(calls_back), c); }
static void *under_blocking(void *c) { return goroutine_ffi_call_blocking(CODE(calls_back), c); }
static void *under_bound(void *c) { return execute_ffi_call(NULL, CODE(calls_back), c); }
static void *on_segment(void *c) { return goroutine_more_stack(begin, c); }
/* Its first call parks, so from then on its thread is its own. */
static void through_c(GoroutineFn how) {
    unsigned misaligned;
    for (misaligned = 0; misaligned <= 8; misaligned += 8) {
        Call *c = new_call(CODE(goroutine_sleep), misaligned);
        GoroutinePromise *p;
        c->args[0] = 3600 * SECOND;
        p = spawn(how, c);
        look_until(c, &c->seen, 5);
        OK(goroutine_cancel(p));
        OK(goroutine_promise_await_take(p, 60 * SECOND, NULL));
        free(c);
    }
}
/* A goroutine whose function is one of the library's: no frame is outside. There is no other one. */
static void no_registers(void *arg, const Goroutine *g, const GoroutineContext *r, const void *low, const void *high) {
    CHECK(goroutine_id(g) != 0 && low < high);
    if (r == NULL) return;
    CHECK((r->rip | r->rbx | r->rbp | r->r12 | r->r13 | r->r14 | r->r15) == 0);
    CHECK(U(low) <= r->rsp && r->rsp < U(high));
    ++*(uint64_t *)arg;
}
static void alone(void) {
    GoroutineSpawn with;
    GoroutinePromise *p;
    uint64_t found = 0;
    goroutine_spawn_init(&with);
    with.fn = CODE(goroutine_sleep);
    with.int_args[0] = 3600 * SECOND;
    OK(goroutine_spawn_with(&with, &p));
    while (found == 0) { /* until it has begun */
        OK(goroutine_world_stop(20 * SECOND));
        goroutine_world_for_each(no_registers, &found);
        goroutine_world_start();
    }
    CHECK_EQ(found, 1);
    OK(goroutine_cancel(p));
    OK(goroutine_promise_await_take(p, 60 * SECOND, NULL));
}

int main(void) {
    GoroutinePromise *pending;
    GoroutineChannel *empty, *full;
    GoroutineMutex *mutex;
    GoroutineRwLock *rwlock;
    GoroutineSemaphore *semaphore;
    GoroutineWaitGroup *group;
    GoroutineFfiLane *lane;
    GoroutineSelectCase cases[2];
    size_t chosen;
    uint64_t value = 1;
    int64_t operation;
    void *result;
    int pipes[2];
    char buffer[8];
    callers[0] = emit_caller(0, &rips[0]);
    callers[1] = emit_caller(8, &rips[1]);
    start_workers(2);
    CHECK((pending = goroutine_promise_new()) != NULL);
    CHECK((empty = goroutine_channel_new(8, 0)) != NULL);
    CHECK((full = goroutine_channel_new(8, 1)) != NULL);
    OK(goroutine_channel_send(full, &value, 0));
    CHECK((mutex = goroutine_mutex_new(0)) != NULL);
    OK(goroutine_mutex_lock(mutex, 0));
    CHECK((rwlock = goroutine_rwlock_new()) != NULL);
    OK(goroutine_rwlock_write_lock(rwlock, 0));
    CHECK((semaphore = goroutine_semaphore_new(0)) != NULL);
    CHECK((group = goroutine_wait_group_new()) != NULL);
    OK(goroutine_wait_group_add(group, 1));
    CHECK((operation = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL)) > 0);
    CHECK(pipe(pipes) == 0);
    memset(cases, 0, sizeof cases);
    cases[0].op = GOROUTINE_SELECT_RECEIVE;
    cases[0].object = empty;
    cases[0].value = &value;
    cases[1].op = GOROUTINE_SELECT_PROMISE;
    cases[1].object = pending;

    parked("sleep", CODE(goroutine_sleep), 3600 * SECOND, 0, 0, 0, NULL);
    parked("park", CODE(goroutine_park), U(keep_ticket), 0, GOROUTINE_FOREVER, 0, NULL);
    parked("await", CODE(goroutine_promise_await), U(pending), GOROUTINE_FOREVER, U(&result), 0, &result);
    parked("receive", CODE(goroutine_channel_receive), U(empty), U(&value), GOROUTINE_FOREVER, 0, &value);
    parked("send", CODE(goroutine_channel_send), U(full), U(&value), GOROUTINE_FOREVER, 0, &value);
    parked("select", CODE(goroutine_select), U(cases), 2, GOROUTINE_FOREVER, U(&chosen), cases);
    parked("mutex", CODE(goroutine_mutex_lock), U(mutex), GOROUTINE_FOREVER, 0, 0, mutex);
    parked("rwlock, write", CODE(goroutine_rwlock_write_lock), U(rwlock), GOROUTINE_FOREVER, 0, 0, rwlock);
    parked("rwlock, read", CODE(goroutine_rwlock_read_lock), U(rwlock), GOROUTINE_FOREVER, 0, 0, rwlock);
    parked("semaphore", CODE(goroutine_semaphore_acquire), U(semaphore), 1, GOROUTINE_FOREVER, 0, semaphore);
    parked("wait group", CODE(goroutine_wait_group_wait), U(group), GOROUTINE_FOREVER, 0, 0, group);
    parked("async", CODE(goroutine_async_await), (uint64_t)operation, GOROUTINE_FOREVER, U(&result), 0, &result);
    parked("fd_wait", CODE(goroutine_fd_wait), (uint64_t)pipes[0], POLLIN, GOROUTINE_FOREVER, U(&chosen), &chosen);
    parked("read", CODE(goroutine_read), (uint64_t)pipes[0], U(buffer), sizeof buffer, 0, buffer);

    turns(3, begin, CODE(goroutine_yield), 0, 0, 0, 0, false);
    turns(3, begin, CODE(goroutine_sleep), 0, 0, 0, 0, false);
    turns(3, begin, CODE(goroutine_sleep), 1 * US, 0, 0, 0, false);
    turns(3, begin, CODE(goroutine_ffi_call_leaf), U(nothing), 0, 0, 0, true);
    turns(3, begin, CODE(goroutine_ffi_call_blocking), U(nothing), 0, 0, 0, true);
    turns(3, begin, CODE(execute_ffi_call), 0, U(nothing), 0, 0, true);
    turns(3, begin, CODE(goroutine_ffi_call), GOROUTINE_FFI_LEAF, U(nothing), 0, 0, true);
    turns(3, begin, CODE(goroutine_ffi_call), GOROUTINE_FFI_BLOCKING, U(nothing), 0, 0, true);
    turns(3, begin, CODE(goroutine_ffi_call), GOROUTINE_FFI_BOUND, U(nothing), 0, 0, true);
    OK(goroutine_ffi_lane_new("lane", &lane));
    turns(3, begin, CODE(goroutine_ffi_lane_call), U(lane), U(nothing), 0, 0, true);
    OK(goroutine_ffi_lane_release(lane));
    turns(1, as_leaf, CODE(goroutine_callback_run), U(nothing), 0, 0, 0, true);

    through_c(as_leaf);
    through_c(as_blocking);
    through_c(as_bound);
    through_c(under_leaf);
    through_c(under_blocking);
    through_c(under_bound);
    through_c(on_segment);

    OK(goroutine_async_complete(operation, NULL));
    OK(goroutine_async_await(operation, SECOND, NULL));
    OK(goroutine_runtime_wait(60 * SECOND));
    alone();
    goroutine_promise_release(pending);
    OK(goroutine_channel_free(empty));
    OK(goroutine_channel_free(full));
    OK(goroutine_mutex_unlock(mutex));
    OK(goroutine_mutex_free(mutex));
    OK(goroutine_rwlock_write_unlock(rwlock));
    OK(goroutine_rwlock_free(rwlock));
    OK(goroutine_semaphore_free(semaphore));
    OK(goroutine_wait_group_done(group));
    OK(goroutine_wait_group_free(group));
    close(pipes[0]);
    close(pipes[1]);
    stop();
    return 0;
}

/* timeout: 240 */
/* What keeps a function registered: who will return to it, and not what an earlier goroutine left on a stack that is used again. */
#include "code.h"

enum { ROOM = 2048, DEEP = 200 };

typedef struct Parked {
    const uint8_t *code; /* whose return addresses are looked for */
    size_t code_bytes;
    bool saw, parked;
    GoroutineTicket ticket;
    int how;
} Parked;

static GoroutineMutex *mutex;
static GoroutineChannel *channel;

static bool keep_ticket(GoroutineTicket ticket, void *arg) {
    Parked *p = (Parked *)arg;
    p->ticket = ticket;
    SET(p->parked, true);
    return true;
}
static void *parks(void *arg) {
    goroutine_park(keep_ticket, arg, GOROUTINE_FOREVER);
    return arg;
}
/* `room`: ROOM bytes of its caller's frame that nobody has written. */
static void *looks_and_parks(void *arg, const uint64_t *room) {
    Parked *p = (Parked *)arg;
    size_t i;
    for (i = 0; i < ROOM / 8; i++) p->saw |= room[i] > U(p->code) && room[i] <= U(p->code) + p->code_bytes;
    return parks(arg);
}
static void *waits_in_a_call(void *arg) {
    Parked *p = (Parked *)arg;
    void *value = NULL;
    if (p->how < 2) SET(p->parked, true); /* it is about to */
    switch (p->how) {
    case 0: OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER)), goroutine_mutex_unlock(mutex); break;
    case 1: CHECK_EQ(goroutine_channel_receive(channel, &value, GOROUTINE_FOREVER), GOROUTINE_EPIPE); break;
    default: parks(arg);
    }
    return arg;
}

/* void *f(void *n): itself, n deep, with a frame pointer. */
static GoroutineFn emit_deep(size_t *bytes) {
    static const uint8_t CODE_OF[] = {0x55, 0x48, 0x89, 0xE5, 0x57, 0x48, 0x85, 0xFF, 0x74, 0x0A, 0x48, 0xFF,
                                      0xCF, 0xE8, 0xEE, 0xFF, 0xFF, 0xFF, 0xEB, 0x00, 0x5F, 0x5D, 0xC3};
    Emit e = emit_begin(4096);
    emit_bytes(&e, CODE_OF, sizeof CODE_OF);
    *bytes = e.used;
    return FN(emit_end(&e));
}
/* void *f(void *arg) { unwritten ROOM; return function(arg, ROOM); } with a frame pointer. */
static size_t emit_roomy(Emit *e, void *function) {
    EMIT(e, "\x55\x48\x89\xE5"); /* push rbp; mov rbp, rsp */
    emit_move_stack(e, -ROOM);
    EMIT(e, "\x48\x89\xE6");     /* mov rsi, rsp */
    emit_call(e, function);
    EMIT(e, "\xC9\xC3");         /* leave; ret */
    return e->used;
}
/* void *f(...): goes on on another segment, and is over there but for the `ret` that the link comes back through. */
static void *emit_crossing(void *function) {
    Emit e = emit_begin(4096);
    EMIT(&e, "\x41\xBA\0\x10\0\0\x45\x31\xDB"); /* mov r10d, 4096; xor r11d, r11d */
    emit_call(&e, CODE(goroutine_more_stack_prologue));
    emit_return(&e);
    emit_constant(&e, RAX, U(function));
    EMIT(&e, "\xFF\xE0"); /* jmp rax */
    return emit_end(&e);
}

enum { MANY = 64 };
enum { KNOWN, UNKNOWN }; /* whether the frames of who waits are */

typedef struct Case {
    GoroutineFn waiter;
    size_t waiter_bytes; /* 0: it is C */
    int how, frames;
} Case;

/* Goroutines run f and end; others, which never do, wait on their stacks. On a goroutine, whose worker, the only one, has these stacks at hand. */
static void *old_words_on_stacks(void *arg) {
    const Case *on = (const Case *)arg;
    static Parked parked[MANY];
    GoroutinePromise *promises[MANY];
    size_t bytes;
    uint64_t id, waiter_id = 0;
    void *value = NULL;
    int i;
    GoroutineFn f = emit_deep(&bytes);
    GoroutineCode c = code_of("deep", CODE(f), bytes, GOROUTINE_CODE_FRAME_POINTER), w;
    OK(goroutine_code_register(&c, 1, &id));
    if (on->waiter_bytes != 0 && on->frames == KNOWN) {
        w = code_of("waiter", CODE(on->waiter), on->waiter_bytes, GOROUTINE_CODE_FRAME_POINTER);
        OK(goroutine_code_register(&w, 1, &waiter_id));
    }
    memset(parked, 0, sizeof parked);
    mutex = goroutine_mutex_new(0);
    channel = goroutine_channel_new(8, 0);
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    for (i = 0; i < MANY; i++) promises[i] = goroutine_spawn(f, P(DEEP));
    for (i = 0; i < MANY; i++) OK(goroutine_promise_await_take(promises[i], 30 * SECOND, &value));
    for (i = 0; i < MANY; i++) {
        parked[i].code = (const uint8_t *)CODE(f);
        parked[i].code_bytes = bytes;
        parked[i].how = on->how;
        promises[i] = goroutine_spawn(on->waiter, &parked[i]);
    }
    for (i = 0; i < MANY; i++) {
        while (!GET(parked[i].parked)) goroutine_sleep(100 * US);
        if (on->waiter_bytes != 0) CHECK(parked[i].saw); /* else the test would be of nothing */
    }
    if (on->frames == UNKNOWN) CHECK_EQ(goroutine_code_unregister(id, 20 * MS), GOROUTINE_ETIMEDOUT);
    else OK(goroutine_code_unregister(id, 30 * SECOND));
    goroutine_mutex_unlock(mutex);
    OK(goroutine_channel_close(channel));
    for (i = 0; i < MANY; i++) {
        if (on->how > 1) goroutine_ready(parked[i].ticket, GOROUTINE_OK);
        OK(goroutine_promise_await_take(promises[i], 30 * SECOND, &value));
    }
    if (on->frames == UNKNOWN) OK(goroutine_code_unregister(id, 30 * SECOND));
    if (waiter_id != 0) OK(goroutine_code_unregister(waiter_id, 30 * SECOND));
    goroutine_mutex_free(mutex);
    goroutine_channel_free(channel);
    return arg;
}
static void old_words(GoroutineFn waiter, size_t waiter_bytes, int how, int frames) {
    Case on;
    on.waiter = waiter;
    on.waiter_bytes = waiter_bytes;
    on.how = how;
    on.frames = frames;
    run_goroutine(old_words_on_stacks, &on);
}

/* Who is in it. `emit`ted code calls `function`; `through`: what the goroutine runs, with the code's address in the Parked; NULL: the code. */
static GoroutineFn inner;
static void *c_between(void *arg) {
    volatile char frame[256]; /* a C frame without a frame pointer above it */
    frame[0] = 1;
    arg = inner(arg);
    return frame[0] == 1 ? arg : NULL;
}
static void *c_below(void *arg) {
    volatile char frame[512];
    frame[0] = 1;
    arg = parks(arg);
    return frame[0] == 1 ? arg : NULL;
}
static void in_it(size_t (*emit)(Emit *, void *), void *function, GoroutineFn through, uint32_t flags) {
    static Parked parked;
    Emit e = emit_begin(4096);
    size_t bytes = emit(&e, function);
    const void *code = emit_end(&e);
    GoroutineCode c = code_of("guest", code, bytes, flags);
    GoroutinePromise *promise;
    uint64_t id;
    void *value = NULL;
    memset(&parked, 0, sizeof parked);
    parked.code = (const uint8_t *)code;
    parked.how = 2;
    inner = FN(code);
    OK(goroutine_code_register(&c, 1, &id));
    promise = goroutine_spawn(through == NULL ? FN(code) : through, &parked);
    while (!GET(parked.parked)) thread_sleep(100 * US);
    CHECK_EQ(goroutine_code_unregister(id, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_code_unregister(id, 20 * MS), GOROUTINE_ETIMEDOUT);
    goroutine_ready(parked.ticket, GOROUTINE_OK);
    OK(goroutine_promise_await_take(promise, 30 * SECOND, &value));
    CHECK(value == &parked);
    OK(goroutine_code_unregister(id, 30 * SECOND));
}

/* A frame pointer that is not there: rbp is its caller's, so who trusts it misses its caller. Registered code of that kind calls the function above. */
static size_t emit_frameless(Emit *e, void *function) {
    EMIT(e, "\x50");         /* push rax */
    emit_call(e, function);
    EMIT(e, "\x59\xC3");     /* pop rcx; ret */
    return e->used;
}
/* The same, with what a frame begins with only after the call. */
static size_t emit_frame_too_late(Emit *e, void *function) {
    EMIT(e, "\x50");                     /* push rax */
    emit_call(e, function);
    EMIT(e, "\x59\x55\x48\x89\xE5\x5D\xC3"); /* pop rcx; push rbp; mov rbp, rsp; pop rbp; ret */
    return e->used;
}
static void below_a_false_frame_pointer(size_t (*emit)(Emit *, void *)) {
    Emit e = emit_begin(4096);
    size_t bytes = emit(&e, CODE(parks));
    const void *code = emit_end(&e);
    GoroutineCode c = code_of("false", code, bytes, GOROUTINE_CODE_FRAME_POINTER);
    uint64_t id;
    OK(goroutine_code_register(&c, 1, &id));
    in_it(emit_framed, (void *)(uintptr_t)code, NULL, GOROUTINE_CODE_FRAME_POINTER);
    OK(goroutine_code_unregister(id, 30 * SECOND));
}

int main(void) {
    Emit e = emit_begin(4096), crossing = emit_begin(4096);
    size_t bytes = emit_roomy(&e, CODE(looks_and_parks)), crossing_bytes;
    GoroutineFn roomy = FN(emit_end(&e)), roomy_crossing;
    void *crosses = emit_crossing(CODE(looks_and_parks));
    crossing_bytes = emit_roomy(&crossing, crosses);
    roomy_crossing = FN(emit_end(&crossing));
    start_workers(1);
    old_words(waits_in_a_call, 0, 0, KNOWN);
    old_words(waits_in_a_call, 0, 1, KNOWN);
    old_words(waits_in_a_call, 0, 2, KNOWN);
    old_words(roomy, bytes, 2, KNOWN);
    old_words(roomy_crossing, crossing_bytes, 2, KNOWN);
    old_words(roomy, bytes, 2, UNKNOWN);
    stop();
    start_workers(2);
    in_it(emit_framed, CODE(parks), NULL, GOROUTINE_CODE_FRAME_POINTER);
    in_it(emit_framed, CODE(c_below), c_between, GOROUTINE_CODE_FRAME_POINTER);
    in_it(emit_unframed, CODE(c_below), c_between, 0);
    in_it(emit_framed, emit_crossing(CODE(c_below)), NULL, GOROUTINE_CODE_FRAME_POINTER);
    below_a_false_frame_pointer(emit_frameless);
    below_a_false_frame_pointer(emit_frame_too_late);
    stop();
    return 0;
}

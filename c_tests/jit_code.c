/* sanitizer: fast_unwind_on_malloc=1 */
/* (libgcc sorts registered tables under its lock, allocates for that, and the sanitizer would unwind that allocation: by the same tables.) */
/* timeout: 240 */
/* Code that a compiler emitted and registered: who is told of it, and how long it stays. */
#include "code.h"
#include <unwind.h>

/* ---- the unwinder ---- */

typedef struct Trace {
    uintptr_t pcs[64];
    int n;
} Trace;

static _Unwind_Reason_Code trace_one(struct _Unwind_Context *context, void *arg) {
    Trace *t = (Trace *)arg;
    if (t->n < 64) t->pcs[t->n++] = (uintptr_t)_Unwind_GetIP(context);
    return _URC_NO_REASON;
}
static void *trace_here(void *arg) {
    ((Trace *)arg)->n = 0;
    _Unwind_Backtrace(trace_one, arg);
    return arg;
}
/* Whether it has what comes after the emitted function. */
static bool passes(const Trace *t, const void *code, size_t bytes) {
    int i;
    for (i = 0; i + 1 < t->n; i++) {
        if (t->pcs[i] > U(code) && t->pcs[i] < U(code) + bytes) return true;
    }
    return false;
}

#ifdef __cplusplus
static void *throw_it(void *arg) { throw arg; }
static bool catches(GoroutineFn f, void *arg) {
    try {
        f(arg);
    } catch (void *caught) {
        return caught == arg;
    }
    return false;
}
#endif

typedef struct Unwound {
    GoroutineFn f;
    size_t bytes;
    bool shall_pass;
} Unwound;

static void *unwind_once(void *arg) {
    static Trace t; /* not on the stack, where its addresses would count as frames */
    Unwound *u = (Unwound *)arg;
    u->f(&t);
    CHECK_EQ(passes(&t, CODE(u->f), u->bytes), u->shall_pass);
    return arg;
}
#ifdef __cplusplus
static void *catch_once(void *arg) {
    static int thrown;
    CHECK(catches(((Unwound *)arg)->f, &thrown));
    return arg;
}
#endif
static void run(GoroutineFn f, void *arg, bool on_goroutine) {
    if (on_goroutine) run_goroutine(f, arg);
    else f(arg);
}

static void unwind(bool on_goroutine) {
    Emit e = emit_beside_table();
    uint8_t *table = table_beside(&e);
    Unwound u;
    GoroutineCode c;
    uint64_t id = 0;
    size_t i;
    u.bytes = emit_unframed(&e, CODE(trace_here));
    u.f = FN(emit_end(&e));
    u.shall_pass = false;
    run(unwind_once, &u, on_goroutine);
    c = code_of("unframed", CODE(u.f), u.bytes, 0);
    c.eh_frame = table;
    c.eh_frame_bytes = frames_of_unframed(table, CODE(u.f), u.bytes);
    /* A damaged one is refused: cut short anywhere but after an entry, or of other code. */
    for (i = 1; i < c.eh_frame_bytes; i++) {
        GoroutineCode cut = c;
        cut.eh_frame_bytes = i;
        if (i != 24) CHECK_EQ(goroutine_code_register(&cut, 1, &id), GOROUTINE_EINVAL);
    }
    c.code_bytes--;
    CHECK_EQ(goroutine_code_register(&c, 1, &id), GOROUTINE_EINVAL);
    c.code_bytes++;
    OK(goroutine_code_register(&c, 1, &id));
    memset(table, 0xCC, 4096); /* it was copied */
    u.shall_pass = true;
    run(unwind_once, &u, on_goroutine);
    OK(goroutine_code_unregister(id, 10 * SECOND));
    u.shall_pass = false;
    run(unwind_once, &u, on_goroutine);
#ifdef __cplusplus
    e = emit_beside_table();
    u.bytes = emit_unframed(&e, CODE(throw_it));
    u.f = FN(emit_end(&e));
    c = code_of("throws", CODE(u.f), u.bytes, 0);
    c.eh_frame = table_beside(&e);
    c.eh_frame_bytes = frames_of_unframed(table_beside(&e), CODE(u.f), u.bytes);
    OK(goroutine_code_register(&c, 1, &id));
    run(catch_once, &u, on_goroutine);
    OK(goroutine_code_unregister(id, 10 * SECOND));
#endif
}

/* ---- how long it stays ---- */

typedef struct Guest {
    GoroutineFn f;
    void *arg;
    uint64_t id;
    GoroutineTicket ticket;
    bool parked, released;
    GoroutineStatus status;
} Guest;

static bool keep_ticket(GoroutineTicket ticket, void *arg) {
    Guest *guest = (Guest *)arg;
    guest->ticket = ticket;
    SET(guest->parked, true);
    return true;
}
static void *guest_parks(void *arg) {
    goroutine_park(keep_ticket, arg, GOROUTINE_FOREVER);
    return arg;
}
static void *guest_computes(void *arg) {
    Guest *guest = (Guest *)arg;
    SET(guest->parked, true);
    while (!GET(guest->released)) {
    }
    return arg;
}
static void *guest_calls_back(void *arg) { return goroutine_callback_run(guest_parks, arg); }
static void *guest_unregisters(void *arg) {
    Guest *guest = (Guest *)arg;
    guest->status = goroutine_code_unregister(guest->id, GOROUTINE_FOREVER);
    return arg;
}
static void *nothing(void *arg) { return arg; }
static void *guest_goes_native(void *arg) {
    Guest *guest = (Guest *)arg;
    goroutine_ffi_call_leaf(CODE(nothing), NULL); /* from now on it has a native stack */
    return guest->f(arg);
}

/* void *f(void *arg): a foreign call written out, so that the only return address into it is on the thread's own stack. */
static size_t emit_inline_call(Emit *e, void *function) {
    EMIT(e, "\x53\x41\x55\x50");             /* push rbx; push r13; push rax */
    EMIT(e, "\x64\x48\x8B\x1C\x25");         /* mov rbx, fs:[...] */
    emit_u32(e, (uint32_t)goroutine_tls_offset());
    EMIT(e, "\x49\x89\xE5");                 /* mov r13, rsp */
    emit_store(e, RSP, RBX, GOROUTINE_OFFSET_FOREIGN_SP);
    emit_load(e, RSP, RBX, GOROUTINE_OFFSET_NATIVE_STACK);
    emit_call(e, function);
    EMIT(e, "\x4C\x89\xEC");                 /* mov rsp, r13 */
    EMIT(e, "\x31\xC9");                     /* xor ecx, ecx */
    emit_store(e, RCX, RBX, GOROUTINE_OFFSET_FOREIGN_SP);
    EMIT(e, "\x59\x41\x5D\x5B\xC3");         /* pop rcx; pop r13; pop rbx; ret */
    return e->used;
}

/* void *f(void *arg): goes on on another segment, and is over but for the `ret` that it will come back through. */
static size_t emit_tail_of_link(Emit *e, void *function) {
    EMIT(e, "\x41\xBA\0\x10\0\0\x45\x31\xDB"); /* mov r10d, 4096; xor r11d, r11d */
    emit_call(e, CODE(goroutine_more_stack_prologue));
    emit_return(e);
    emit_constant(e, RAX, U(function));
    EMIT(e, "\xFF\xE0"); /* jmp rax */
    return e->used;
}

static void *unregister_it(void *arg) {
    Guest *guest = (Guest *)arg;
    GoroutineStatus status;
    do status = goroutine_code_unregister(guest->id, 30 * SECOND);
    while (status == GOROUTINE_EALREADY); /* who looks whether we are there was at it */
    return P((uint32_t)status);
}

/* `f` lets the guest be in emitted code that calls it; `through`: what the goroutine runs. */
static void stays(size_t (*emit)(Emit *, void *), GoroutineFn f, GoroutineFn through) {
    static Guest guest;
    Emit e = emit_begin(4096);
    size_t bytes = emit(&e, CODE(f));
    const void *code = emit_end(&e);
    GoroutineCode c = code_of("guest", code, bytes, GOROUTINE_CODE_FRAME_POINTER);
    GoroutinePromise *promise, *other;
    void *value = NULL;
    memset(&guest, 0, sizeof guest);
    guest.f = FN(code);
    OK(goroutine_code_register(&c, 1, &guest.id));
    promise = goroutine_spawn(through == NULL ? guest.f : through, &guest);
    while (!GET(guest.parked)) thread_sleep(100 * US);
    CHECK_EQ(goroutine_code_unregister(guest.id, 0), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_code_unregister(guest.id, 20 * MS), GOROUTINE_ETIMEDOUT);
    /* Still registered. */
    CHECK_EQ(goroutine_code_register(&c, 1, NULL), GOROUTINE_EALREADY);
    other = goroutine_spawn(unregister_it, &guest); /* waits meanwhile */
    while (goroutine_code_unregister(guest.id, 0) != GOROUTINE_EALREADY) thread_sleep(100 * US);
    CHECK_EQ(goroutine_promise_await(other, 20 * MS, &value), GOROUTINE_ETIMEDOUT);
    SET(guest.released, true);
    goroutine_ready(guest.ticket, GOROUTINE_OK);
    OK(goroutine_promise_await_take(promise, 30 * SECOND, &value));
    OK(goroutine_promise_await_take(other, 30 * SECOND, &value));
    CHECK_EQ(U(value), GOROUTINE_OK);
    CHECK_EQ(goroutine_code_unregister(guest.id, 0), GOROUTINE_EINVAL);
}

static void *guest_knows(void *arg) {
    Guest *guest = (Guest *)arg;
    volatile GoroutineFn known = guest->f; /* on its stack */
    guest_parks(arg);
    CHECK(known == guest->f);
    return arg;
}

static void in_its_own_way(void) {
    static Guest guest;
    GoroutinePromise *promise;
    void *value;
    Emit e = emit_begin(4096);
    size_t bytes = emit_framed(&e, CODE(guest_unregisters));
    const void *code = emit_end(&e);
    GoroutineCode c = code_of("own", code, bytes, GOROUTINE_CODE_FRAME_POINTER);
    OK(goroutine_code_register(&c, 1, &guest.id));
    run_goroutine(FN(code), &guest);
    CHECK_EQ(guest.status, GOROUTINE_EDEADLK);
    /* A goroutine that knows the function is not in it. */
    guest.f = FN(code);
    promise = goroutine_spawn(guest_knows, &guest);
    while (!GET(guest.parked)) thread_sleep(100 * US);
    OK(goroutine_code_unregister(guest.id, 30 * SECOND));
    goroutine_ready(guest.ticket, GOROUTINE_OK);
    OK(goroutine_promise_await_take(promise, 30 * SECOND, &value));
}

/* Who has stopped the world cannot wait for anybody in it. */
static void *guest_yields(void *arg) {
    Guest *guest = (Guest *)arg;
    SET(guest->parked, true);
    while (!GET(guest->released)) goroutine_yield();
    return arg;
}
static void *stops_world(void *arg) {
    Guest *guest = (Guest *)arg;
    OK(goroutine_world_stop(30 * SECOND));
    CHECK_EQ(goroutine_code_unregister(guest->id, GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    goroutine_world_start();
    return arg;
}
static void in_a_stopped_world(void) {
    static Guest guest;
    Emit e = emit_begin(4096);
    size_t bytes = emit_framed(&e, CODE(guest_yields));
    const void *code = emit_end(&e);
    GoroutineCode c = code_of("guest", code, bytes, GOROUTINE_CODE_FRAME_POINTER);
    GoroutinePromise *promise;
    void *value;
    OK(goroutine_code_register(&c, 1, &guest.id));
    promise = goroutine_spawn(FN(code), &guest);
    while (!GET(guest.parked)) thread_sleep(100 * US);
    stops_world(&guest);
    run_goroutine(stops_world, &guest);
    SET(guest.released, true);
    OK(goroutine_promise_await_take(promise, 30 * SECOND, &value));
    OK(goroutine_code_unregister(guest.id, 30 * SECOND));
}

/* ---- many ---- */

static void *return_it(void *arg) { return arg; }

static void many(size_t n, size_t at_once) {
    enum { EACH = 32 };
    Emit e = emit_begin(n * EACH);
    GoroutineCode *codes = (GoroutineCode *)calloc(at_once, sizeof *codes);
    uint64_t *ids = (uint64_t *)calloc(n, sizeof *ids);
    char(*names)[32] = (char(*)[32])calloc(at_once, 32);
    size_t i, k, step = 7919; /* not in the order of the addresses */
    CHECK(codes != NULL && ids != NULL && names != NULL);
    for (i = 0; i < n; i++) {
        e.used = i * EACH;
        emit_framed(&e, CODE(return_it));
    }
    emit_end(&e);
    CHECK(n % step != 0);
    for (i = 0; i < n; i += at_once) {
        for (k = 0; k < at_once; k++) {
            size_t which = (i + k) * step % n;
            snprintf(names[k], sizeof names[k], "many_%zu", which);
            codes[k] = code_of(names[k], e.code + which * EACH, EACH, GOROUTINE_CODE_FRAME_POINTER);
        }
        OK(goroutine_code_register(codes, at_once, ids + i));
    }
    for (i = 1; i < n; i++) CHECK(ids[i] > ids[i - 1]);
    /* Each place is taken; a batch is refused as a whole. */
    codes[0] = code_of("again", e.code + (n - 1) * EACH + 5, 1, 0);
    CHECK_EQ(goroutine_code_register(codes, 1, NULL), GOROUTINE_EALREADY);
    for (i = 0; i < n; i++) OK(goroutine_code_unregister(ids[i * step % n], 30 * SECOND));
    OK(goroutine_code_register(codes, 1, ids));
    OK(goroutine_code_unregister(ids[0], SECOND));
    munmap(e.code, e.size);
    free(codes);
    free(ids);
    free(names);
}

static void refused_as_a_whole(void) {
    GoroutineCode codes[3];
    static uint8_t memory[64];
    uint64_t ids[3] = {7, 7, 7};
    codes[0] = code_of("a", memory, 16, 0);
    codes[1] = code_of("b", memory + 32, 16, 0);
    codes[2] = code_of("c", memory + 15, 2, 0);
    CHECK_EQ(goroutine_code_register(codes, 3, ids), GOROUTINE_EINVAL);
    CHECK(ids[0] == 7 && ids[2] == 7);
    OK(goroutine_code_register(codes, 2, ids));
    CHECK_EQ(goroutine_code_register(codes + 2, 1, ids + 2), GOROUTINE_EALREADY);
    OK(goroutine_code_unregister(ids[0], SECOND));
    OK(goroutine_code_register(codes + 2, 1, ids + 2));
    OK(goroutine_code_unregister(ids[1], SECOND));
    OK(goroutine_code_unregister(ids[2], SECOND));
}

/* ---- what is refused, in words ---- */

typedef struct Refusal {
    const char *text;
    void (*spoil)(GoroutineCode *codes);
    GoroutineStatus status;
} Refusal;

static uint8_t refused_memory[256];
static void no_codes(GoroutineCode *c) { (void)c; }
static void small_size(GoroutineCode *c) { c[0].size = 63; }
static void other_size(GoroutineCode *c) { c[2].size = 72; }
static void bad_flags(GoroutineCode *c) { c[2].flags = 2; }
static void null_name(GoroutineCode *c) { c[2].name = NULL; }
static void no_name(GoroutineCode *c) { c[2].name = ""; }
static void null_code(GoroutineCode *c) { c[2].code = NULL; }
static void no_bytes(GoroutineCode *c) { c[2].code_bytes = 0; }
static void all_bytes(GoroutineCode *c) { c[2].code_bytes = UINT64_MAX; }
static void no_table_bytes(GoroutineCode *c) { c[2].eh_frame = refused_memory; }
static void no_table(GoroutineCode *c) { c[2].eh_frame_bytes = 1; }
static void no_image_bytes(GoroutineCode *c) { c[2].symfile = refused_memory; }
static void no_image(GoroutineCode *c) { c[2].symfile_bytes = 1; }
static void damaged_table(GoroutineCode *c) {
    static const uint8_t table[] = {1, 2, 3};
    c[2].eh_frame = table;
    c[2].eh_frame_bytes = sizeof table;
}
static void table_of_others(GoroutineCode *c) {
    static uint8_t table[64];
    c[2].eh_frame = table;
    c[2].eh_frame_bytes = frames_of_unframed(table, refused_memory + 96, 32);
}
static void two_overlap(GoroutineCode *c) { c[1].code = refused_memory + 15; }
static void known_overlap(GoroutineCode *c) { c[2].code = refused_memory + 128; }

static const Refusal REFUSALS[] = {
    {"EINVAL: codes is NULL\n", no_codes, GOROUTINE_EINVAL},
    {"EINVAL: codes[0].size is out of range\n", small_size, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].size is not that of codes[0]\n", other_size, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].flags is out of range\n", bad_flags, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].name is NULL\n", null_name, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].name is empty\n", no_name, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].code is NULL\n", null_code, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].code_bytes is 0\n", no_bytes, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].code_bytes is out of range\n", all_bytes, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].eh_frame_bytes is 0, and there is one\n", no_table_bytes, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].eh_frame is NULL, and has a size\n", no_table, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].symfile_bytes is 0, and there is one\n", no_image_bytes, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].symfile is NULL, and has a size\n", no_image, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].eh_frame is damaged, or of a kind that is not known\n", damaged_table, GOROUTINE_EINVAL},
    {"EINVAL: codes[2].eh_frame speaks of code that is not in this call\n", table_of_others, GOROUTINE_EINVAL},
    {"EINVAL: codes[1] overlaps codes[0]\n", two_overlap, GOROUTINE_EINVAL},
    {"EALREADY: codes[2] overlaps the registered function \"the neighbour\"\n", known_overlap, GOROUTINE_EALREADY},
};

static void refuse(void *arg) {
    const Refusal *r = (const Refusal *)arg;
    GoroutineCode codes[3], neighbour = code_of("the neighbour", refused_memory + 128, 16, 0);
    int i;
    for (i = 0; i < 3; i++) codes[i] = code_of("a", refused_memory + 32 * i, 16, 0);
    OK(goroutine_code_register(&neighbour, 1, NULL));
    r->spoil(codes);
    CHECK_EQ(goroutine_code_register(r->spoil == no_codes ? NULL : codes, 3, NULL), r->status);
}
static void refused_in_words(void) {
    size_t i;
    for (i = 0; i < sizeof REFUSALS / sizeof *REFUSALS; i++) {
        expect_child("refused", refuse, (void *)(uintptr_t)&REFUSALS[i], 0, 0, REFUSALS[i].text);
    }
}

/* ---- perf ---- */

static bool perf_knows(const char *line) {
    char path[64], is[512];
    FILE *file;
    bool found = false;
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    file = fopen(path, "r");
    if (file == NULL) return false;
    while (fgets(is, sizeof is, file) != NULL) found |= strcmp(is, line) == 0;
    fclose(file);
    return found;
}

static void perf_map(void *wanted) {
    static uint8_t memory[64];
    GoroutineCode c = code_of("first\nfunction", memory, 16, 0);
    char line[128], path[64];
    pid_t child;
    int status = 1;
    if (wanted != NULL) setenv("GOROUTINE_PERF_MAP", "1", 1);
    OK(goroutine_code_register(&c, 1, NULL));
    snprintf(line, sizeof line, "%" PRIx64 " 10 first function\n", U(memory));
    CHECK_EQ(perf_knows(line), wanted != NULL);
    child = fork();
    CHECK(child >= 0);
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    if (child == 0) {
        c = code_of("second", memory + 16, 1, 0);
        OK(goroutine_code_register(&c, 1, NULL));
        CHECK_EQ(perf_knows(line), wanted != NULL);
        snprintf(line, sizeof line, "%" PRIx64 " 1 second\n", U(memory + 16));
        CHECK_EQ(perf_knows(line), wanted != NULL);
        unlink(path);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    unlink(path);
}

/* ---- the overflow report ---- */

static void *runs_away(void *arg);
static GoroutineFn runaway;
static void *runs_away(void *arg) {
    volatile char frame[1024];
    frame[0] = 1;
    arg = runaway(arg);
    return (void *)(uintptr_t)(U(arg) + (uint64_t)frame[0]);
}
static void overflow(void *unused) {
    Emit e = emit_beside_table();
    size_t bytes = emit_unframed(&e, CODE(runs_away));
    const void *code = emit_end(&e);
    GoroutineCode c = code_of("runaway_function", code, bytes, 0);
    (void)unused;
    c.eh_frame = table_beside(&e);
    c.eh_frame_bytes = frames_of_unframed(table_beside(&e), code, bytes);
    runaway = FN(code);
    OK(goroutine_code_register(&c, 1, NULL));
    run_goroutine(runaway, NULL);
}

int main(void) {
    expect_child("perf", perf_map, NULL, 0, 0, NULL);
    expect_child("perf", perf_map, P(1), 0, 0, NULL);
#if defined(__SANITIZE_ADDRESS__)
    (void)overflow; /* the signal goes on to the sanitizer, which ends the process in its own way */
#else
    expect_child("overflow", overflow, NULL, SIGSEGV, 0, "runaway_function+0x");
#endif
    refused_in_words();
    /* Before start. */
    refused_as_a_whole();
    unwind(false);
    start_workers(2);
    unwind(true);
    stays(emit_framed, guest_parks, NULL);
    stays(emit_unframed, guest_parks, NULL);
    stays(emit_framed, guest_computes, NULL);
    stays(emit_inline_call, guest_calls_back, guest_goes_native);
    stays(emit_tail_of_link, guest_parks, NULL);
    in_a_stopped_world();
    in_its_own_way();
    refused_as_a_whole();
    many(scaled(100000, 50), scaled(100000, 50));
    many(scaled(100000, 50), 1);
    many(scaled(100000, 50), scaled(1000, 50));
    stop();
    return 0;
}

/* sanitizer: fast_unwind_on_malloc=1 */
/* (libgcc sorts registered tables under its lock, allocates for that, and the sanitizer would unwind that allocation: by the same tables.) */
/* timeout: 240 */
/* goroutine_dump: what it says of goroutines in every state, while nothing stops for it. */
#include "dump.h"

/* The part of the goroutine of this name, up to the next one; NULL: there is none. Static. */
static char *part_of(const char *text, const char *name) {
    static char part[16384];
    char head[128];
    const char *at, *end;
    snprintf(head, sizeof head, "\"%s\" ", name);
    at = strstr(text, head);
    if (at == NULL) return NULL;
    while (strncmp(at, "\n\n", 2) != 0 && at > text) at--;
    end = strstr(at + 2, "\n\n");
    if (end == NULL) end = strstr(at, "\ngoroutine: end of dump");
    CHECK(end != NULL && (size_t)(end - at) < sizeof part);
    memcpy(part, at, (size_t)(end - at));
    part[end - at] = 0;
    return part;
}
static void expect(const char *text, const char *name, const char *what) {
    const char *part = part_of(text, name);
    if (part != NULL && strstr(part, what) != NULL) return;
    fprintf(stderr, "%s: \"%s\" expected in:\n%s\n", name, what, part == NULL ? text : part);
    _exit(1);
}
static void expect_address(const char *text, const char *name, const char *before, const void *object, const char *after) {
    char what[256];
    snprintf(what, sizeof what, "%s%#" PRIx64 "%s", before, U(object), after);
    expect(text, name, what);
}

static GoroutineMutex *mutex, *of_thread;
static GoroutineSemaphore *semaphore;
static GoroutineWaitGroup *group;
static GoroutineChannel *empty, *full;
static GoroutinePromise *pending, *of_holder;
static GoroutineRwLock *rwlock;
static GoroutineCondition *condition;
static int ends[2];
static uint64_t holder_id, stop_spinning, spinning;
static GoroutineTicket ticket;

static bool take_ticket(GoroutineTicket t, void *arg) {
    (void)arg;
    ticket = t;
    return true;
}
static void *holds(void *arg) {
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    SET(holder_id, goroutine_id(goroutine_current()));
    goroutine_park(take_ticket, NULL, GOROUTINE_FOREVER);
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
static void *locks(void *arg) {
    OK(goroutine_mutex_lock(mutex, GOROUTINE_FOREVER));
    OK(goroutine_mutex_unlock(mutex));
    return arg;
}
static void *locks_threads(void *arg) {
    OK(goroutine_mutex_lock(of_thread, GOROUTINE_FOREVER));
    OK(goroutine_mutex_unlock(of_thread));
    return arg;
}
static void *reads_lock(void *arg) {
    OK(goroutine_rwlock_read_lock(rwlock, GOROUTINE_FOREVER));
    OK(goroutine_rwlock_read_unlock(rwlock));
    return arg;
}
static void *waits_condition(void *arg) {
    GoroutineMutex *own = goroutine_mutex_new(0);
    OK(goroutine_mutex_lock(own, GOROUTINE_FOREVER));
    OK(goroutine_condition_wait(condition, own, GOROUTINE_FOREVER));
    OK(goroutine_mutex_unlock(own));
    OK(goroutine_mutex_free(own));
    return arg;
}
static void *acquires(void *arg) {
    OK(goroutine_semaphore_acquire(semaphore, 1, GOROUTINE_FOREVER));
    return arg;
}
static void *waits_group(void *arg) {
    OK(goroutine_wait_group_wait(group, GOROUTINE_FOREVER));
    return arg;
}
static void *receives(void *arg) {
    uint64_t value;
    OK(goroutine_channel_receive(empty, &value, GOROUTINE_FOREVER));
    return arg;
}
static void *sends(void *arg) {
    uint64_t value = 1;
    OK(goroutine_channel_send(full, &value, GOROUTINE_FOREVER));
    return arg;
}
static void *selects(void *arg) {
    GoroutineSelectCase cases[1];
    uint64_t value;
    size_t chosen;
    memset(cases, 0, sizeof cases);
    cases[0].op = GOROUTINE_SELECT_RECEIVE;
    cases[0].object = empty;
    cases[0].value = &value;
    OK(goroutine_select(cases, 1, GOROUTINE_FOREVER, &chosen));
    return arg;
}
static void *awaits(void *arg) {
    void *value;
    OK(goroutine_promise_await(pending, GOROUTINE_FOREVER, &value));
    return arg;
}
static void *awaits_holder(void *arg) {
    void *value;
    OK(goroutine_promise_await(of_holder, GOROUTINE_FOREVER, &value));
    return arg;
}
static void *reads(void *arg) {
    char byte;
    CHECK_EQ(goroutine_read(ends[0], &byte, 1), 1);
    return arg;
}
static void *sleeps(void *arg) {
    goroutine_sleep(3600 * SECOND);
    return arg;
}
static void *naps(void *arg) {
    int i;
    for (i = 0; i < 200; i++) goroutine_sleep(MS);
    return arg;
}
static void *spins(void *arg) {
    ADD(spinning, 1);
    while (!GET(stop_spinning)) {
    }
    return arg;
}

/* Emitted: framed calls unframed calls framed calls `receives`. */
static GoroutineFn nested(void) {
    static uint64_t ids[3];
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
    OK(goroutine_code_register(codes, 3, ids));
    return FN(e.code + starts[2]);
}

static void await_state(const char *name, const char *what) {
    for (;;) {
        char *text = dump();
        const char *part = part_of(text, name);
        bool there = part != NULL && strstr(part, what) != NULL;
        free(text);
        if (there) return;
        thread_sleep(MS);
    }
}

static void states(void) {
    GoroutinePromise *all[32];
    size_t n = 0, i;
    uint64_t value = 1, parked_ms, before;
    unsigned long long got;
    char *text;
    const char *at, *part;
    char line[128];
    mutex = goroutine_mutex_new(0);
    of_thread = goroutine_mutex_new(0);
    OK(goroutine_mutex_lock(of_thread, 0));
    semaphore = goroutine_semaphore_new(0);
    group = goroutine_wait_group_new();
    OK(goroutine_wait_group_add(group, 1));
    empty = goroutine_channel_new(8, 0);
    full = goroutine_channel_new(8, 1);
    OK(goroutine_channel_send(full, &value, 0));
    pending = goroutine_promise_new();
    rwlock = goroutine_rwlock_new();
    OK(goroutine_rwlock_write_lock(rwlock, 0));
    condition = goroutine_condition_new();
    CHECK(pipe(ends) == 0);

    run_goroutine(naps, NULL); /* a past, of which nobody below is part */
    before = now_ns();
    of_holder = all[n++] = spawn_as("holder", holds, NULL, 0);
    while (!GET(holder_id)) thread_sleep(100 * US);
    all[n++] = spawn_as("locker", locks, NULL, 0);
    all[n++] = spawn_as("locker of a thread's", locks_threads, NULL, 0);
    all[n++] = spawn_as("reader of a lock", reads_lock, NULL, 0);
    all[n++] = spawn_as("waiter for a condition", waits_condition, NULL, 0);
    all[n++] = spawn_as("acquirer", acquires, NULL, 0);
    all[n++] = spawn_as("waiter", waits_group, NULL, 0);
    all[n++] = spawn_as("sender", sends, NULL, 0);
    all[n++] = spawn_as("awaiter", awaits, NULL, GOROUTINE_SPAWN_DAEMON);
    all[n++] = spawn_as("awaiter of the holder", awaits_holder, NULL, 0);
    all[n++] = spawn_as("reader", reads, NULL, 0);
    all[n++] = spawn_as("receiver", receives, NULL, 0);
    all[n++] = spawn_as("selecter", selects, NULL, 0);
    all[n++] = spawn_as("bound", receives, NULL, GOROUTINE_SPAWN_BOUND);
    all[n++] = spawn_as("nested", nested(), NULL, 0);
    all[n++] = spawn_as("sleeper", sleeps, NULL, 0);
    await_state("nested", "receives from channel");
    await_state("sleeper", "sleeps");
    await_state("selecter", "selects");
    await_state("bound", "receives");
    await_state("reader", "descriptor");
    thread_sleep(60 * MS);

    text = dump();
    expect(text, "holder", " is parked");
    expect(text, "holder", "waits for its ticket");
    snprintf(line, sizeof line, ", held by goroutine %" PRIu64, holder_id);
    expect_address(text, "locker", "waits for mutex ", mutex, line);
    expect_address(text, "locker of a thread's", "waits for mutex ", of_thread, ", held by a thread");
    expect_address(text, "reader of a lock", "waits to read readers-writer lock ", rwlock, ", held by a thread");
    expect_address(text, "waiter for a condition", "waits for condition ", condition, "");
    expect_address(text, "acquirer", "waits for semaphore ", semaphore, "");
    expect_address(text, "waiter", "waits for wait group ", group, "");
    expect_address(text, "sender", "sends to channel ", full, "");
    expect_address(text, "receiver", "receives from channel ", empty, "");
    expect_address(text, "awaiter", "awaits promise ", pending, "\n");
    expect(text, "awaiter", ", daemon");
    snprintf(line, sizeof line, " of goroutine %" PRIu64, holder_id);
    expect_address(text, "awaiter of the holder", "awaits promise ", of_holder, line);
    snprintf(line, sizeof line, "waits for descriptor %d\n", ends[0]);
    expect(text, "reader", line);
    expect(text, "selecter", "selects");
    expect(text, "sleeper", "sleeps for 59 min");
    expect(text, "bound", ", bound to thread ");
    CHECK(strstr(part_of(text, "receiver"), "bound") == NULL);
    /* At least as long as it says, and the monitor has looked since. */
    part = part_of(text, "receiver");
    at = strstr(part, " is parked, for ");
    CHECK(at != NULL && sscanf(at, " is parked, for %llu ms", &got) == 1);
    parked_ms = (now_ns() - before) / MS;
    CHECK(got >= 40 && got <= parked_ms);
    /* Through emitted code, by frame pointers and by tables, in this order, to the end of the stack. */
    part = part_of(text, "nested");
    CHECK(strstr(part, "began in ") != NULL && strstr(part, "outermost_emitted+0x0\n") != NULL);
    at = strstr(part, "    #0 ");
    CHECK(at != NULL && (at = strstr(at, "innermost_emitted+0x")) != NULL && (at = strstr(at, "middle_emitted+0x")) != NULL &&
          (at = strstr(at, "outermost_emitted+0x")) != NULL);
    at = strchr(at, '\n');
    CHECK(at != NULL && strncmp(at + 1, "    #", 5) == 0); /* the library's first frame */
    CHECK(strchr(at + 1, '\n') == NULL);                   /* and no other */
    free(text);

    /* Let all go. */
    goroutine_ready(ticket, GOROUTINE_OK);
    OK(goroutine_mutex_unlock(of_thread));
    OK(goroutine_rwlock_write_unlock(rwlock));
    OK(goroutine_condition_broadcast(condition));
    OK(goroutine_semaphore_release(semaphore, 1));
    OK(goroutine_wait_group_done(group));
    OK(goroutine_channel_receive(full, &value, SECOND));
    OK(goroutine_promise_resolve(pending, NULL));
    CHECK(write(ends[1], "x", 1) == 1);
    for (i = 0; i < 4; i++) OK(goroutine_channel_send(empty, &value, 10 * SECOND));
    OK(goroutine_cancel(all[n - 1]));
    for (i = 0; i < n; i++) {
        void *result;
        OK(goroutine_promise_await_take(all[i], 30 * SECOND, &result));
    }
    await_none(30 * SECOND); /* a promise is settled before the goroutine is over */
    text = dump();
    CHECK(part_of(text, "nested") == NULL);
    CHECK(strstr(text, ": 0 goroutines, ") != NULL);
    free(text);
}

/* ---- long backtraces ---- */

static void *receives_late(void *arg) {
    (void)arg;
    return receives(NULL);
}
/* f(n): itself n times, in frames of 16 bytes, then `receives_late`; and who calls that. */
static GoroutineFn emit_deep(void) {
    Emit e = emit_begin(4096);
    GoroutineCode codes[2];
    size_t last, caller;
    EMIT(&e, "\x55\x48\x89\xE5\x48\x85\xFF"); /* push rbp; mov rbp, rsp; test rdi, rdi */
    last = emit_jump_if(&e, 4);
    EMIT(&e, "\x48\xFF\xCF\xE8"); /* dec rdi; call itself */
    emit_u32(&e, (uint32_t) - (int32_t)(e.used + 4));
    EMIT(&e, "\x5D\xC3");
    emit_land(&e, last);
    emit_call(&e, CODE(receives_late));
    EMIT(&e, "\x5D\xC3");
    codes[0] = code_of("deep_emitted", e.code, e.used, GOROUTINE_CODE_FRAME_POINTER);
    caller = e.used;
    codes[1] = code_of("caller_of_deep", e.code + caller, emit_framed(&e, e.code), GOROUTINE_CODE_FRAME_POINTER);
    emit_end(&e);
    OK(goroutine_code_register(codes, 2, NULL));
    return FN(e.code + caller);
}
static void deep_one(GoroutineFn f, const char *name, uint64_t depth, uint64_t shown_and_more, bool whole) {
    GoroutineSpawn s;
    GoroutinePromise *promise = NULL;
    unsigned long long more = 0, frame = 0;
    uint64_t value = 1, lines = 0;
    char *text;
    const char *part, *at, *cut;
    void *result;
    goroutine_spawn_init(&s);
    s.fn = CODE(f);
    s.name = name;
    s.int_args[0] = depth;
    s.stack_bytes = 1 << 20;
    OK(goroutine_spawn_with(&s, &promise));
    await_state(name, "receives from channel");
    text = dump();
    part = part_of(text, name);
    for (at = part; (at = strstr(at, "\n    #")) != NULL; at++) {
        CHECK(sscanf(at, "\n    #%llu ", &frame) == 1);
        lines++;
    }
    cut = strstr(part, "\n    ... ");
    if (shown_and_more == 0) {
        CHECK(cut == NULL && lines == frame + 1 && lines > depth);
    } else if (whole) { /* every frame is shown or counted, and the outer end is there */
        CHECK(cut != NULL && sscanf(cut, "\n    ... %llu more frames\n", &more) == 1);
        CHECK(lines == 100 && frame + 1 == lines + more && lines + more > depth && lines + more < depth + 40);
        CHECK(strstr(part, "caller_of_deep+0x0\n") < cut && strstr(cut, "caller_of_deep+0x") != NULL);
    } else {
        CHECK(cut != NULL && sscanf(cut, "\n    ... at least %llu more frames", &more) == 1);
        CHECK(lines == 90 && lines + more == shown_and_more && strstr(cut, "\n    #") == NULL);
    }
    free(text);
    OK(goroutine_channel_send(empty, &value, 10 * SECOND));
    OK(goroutine_promise_await_take(promise, 30 * SECOND, &result));
}
static void deep(void) {
    GoroutineFn f = emit_deep();
    empty = goroutine_channel_new(8, 0);
    deep_one(f, "short", 60, 0, true);
    deep_one(f, "long", 1000, 1, true);
    deep_one(f, "longer", 12000, 1, true);
    deep_one(f, "very long", 30000, 16384, false);
    OK(goroutine_channel_free(empty));
}

/* On one worker: one runs, another one could. */
static void running(void) {
    GoroutinePromise *a, *b;
    char *text;
    void *result;
    a = spawn_as("runs", spins, NULL, 0);
    while (!GET(spinning)) thread_sleep(100 * US);
    b = spawn_as("could run", spins, NULL, 0);
    await_state("runs", "runs on worker 0, thread ");
    text = dump();
    expect(text, "could run", " is runnable");
    CHECK(strstr(part_of(text, "runs"), "#0") == NULL);
    free(text);
    await_state("runs", ", for "); /* the monitor has noticed */
    SET(stop_spinning, 1);
    OK(goroutine_promise_await_take(a, 30 * SECOND, &result));
    OK(goroutine_promise_await_take(b, 30 * SECOND, &result));
}

/* ---- while goroutines come, run, park and go ---- */

static uint64_t churning, ended;

static void *passes_on(void *arg) {
    uint64_t value;
    goroutine_channel_receive(empty, &value, MS);
    goroutine_channel_send(empty, &value, MS);
    goroutine_yield();
    return arg;
}
static void *churns(void *arg) {
    while (GET(churning)) {
        GoroutinePromise *promises[16];
        size_t i;
        for (i = 0; i < 16; i++) promises[i] = i % 4 == 0 ? spawn_as("passer", passes_on, NULL, 0) : goroutine_spawn(passes_on, arg);
        for (i = 0; i < 16; i++) {
            void *result;
            OK(goroutine_promise_await_take(promises[i], 60 * SECOND, &result));
            ADD(ended, 1);
        }
    }
    return arg;
}
static void churn(void) {
    GoroutinePromise *promises[8];
    uint64_t dumps = scaled(200, 20), described = 0, i;
    empty = goroutine_channel_new(8, 0);
    SET(churning, 1);
    for (i = 0; i < 8; i++) promises[i] = goroutine_spawn(churns, NULL);
    while (GET(ended) == 0) thread_sleep(100 * US); /* under load they may come late */
    for (i = 0; i < dumps; i++) {
        char *text = dump();
        const char *at;
        for (at = text; (at = strstr(at, "\ngoroutine ")) != NULL; at++) described++;
        free(text);
    }
    SET(churning, 0);
    for (i = 0; i < 8; i++) {
        void *result;
        OK(goroutine_promise_await_take(promises[i], 60 * SECOND, &result));
    }
    CHECK(described >= 8 * dumps); /* those that churn, at least */
    OK(goroutine_channel_free(empty));
}

/* ---- SIGQUIT ---- */

static volatile sig_atomic_t own_handler;
static void count_quits(int signal) {
    (void)signal;
    own_handler = 1;
}
static void quit(void *own) {
    static char text[65536];
    GoroutinePromise *promise;
    void *result;
    int fd = memfd_create("stderr", 0), real = dup(2);
    empty = goroutine_channel_new(8, 0);
    if (own != NULL) signal(SIGQUIT, count_quits);
    setenv("GOROUTINE_SIGQUIT", "1", 1);
    start_workers(1);
    promise = spawn_as("asked about", receives, NULL, 0);
    await_state("asked about", "receives");
    CHECK(fd >= 0 && dup2(fd, 2) == 2);
    kill(getpid(), SIGQUIT);
    while (pread(fd, text, sizeof text - 1, 0) < 0 || strstr(text, "end of dump") == NULL) thread_sleep(MS);
    CHECK(dup2(real, 2) == 2);
    CHECK_EQ(own_handler, own != NULL);
    fputs(text, stderr); /* for the parent */
    goroutine_channel_send(empty, &result, SECOND);
    OK(goroutine_promise_await_take(promise, 30 * SECOND, &result));
    stop();
    signal(SIGQUIT, SIG_DFL);
}

int main(void) {
    char *text;
    expect_child("SIGQUIT", quit, NULL, 0, 0, "\"asked about\" is parked");
    expect_child("SIGQUIT", quit, P(1), 0, 0, "\"asked about\" is parked");
    text = dump(); /* without a runtime */
    CHECK(strstr(text, ": 0 goroutines, 0 workers, 0 threads\n") != NULL);
    free(text);
    start_workers(1);
    running();
    stop();
    start_workers(2);
    states();
    deep();
    churn();
    stop();
    return 0;
}

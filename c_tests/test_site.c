/* Where a goroutine was spawned: what dumps and reports say of it, whoever did it and from wherever. */
#include "dump.h"
#include <ultrascript_runtime.h>

/* What the dump says of the one goroutine that is in here (`parks`): its site, 0: none. `line`: the words after the address, 256 bytes. */
static uint64_t site_in(const char *text, char *line) {
    const char *at = strstr(text, "waits for its ticket"), *end, *spawned;
    unsigned long long site;
    CHECK(at != NULL);
    end = strstr(at, "\n\n");
    spawned = strstr(at, "\n    spawned at ");
    if (spawned == NULL || (end != NULL && spawned > end)) return 0;
    line[0] = 0;
    CHECK(sscanf(spawned, "\n    spawned at %llx %255[^\n]", &site, line) >= 1);
    return site;
}

static GoroutineTicket ticket;
static uint64_t parked;
static bool keep(GoroutineTicket t, void *arg) {
    (void)arg;
    ticket = t;
    SET(parked, 1);
    return true;
}
static void *parks(void *arg) {
    OK(goroutine_park(keep, NULL, 60 * SECOND));
    return arg;
}
static void parks_then(void *arg, GoroutineStatus status, void *value) {
    (void)status;
    (void)value;
    parks(arg);
}
static void *nothing(void *arg) { return arg; }

/* Its site, once it has parked; then it ends. */
static uint64_t site_now(char *line) {
    uint64_t site;
    char *text;
    while (!GET(parked)) thread_sleep(100 * US);
    text = dump();
    site = site_in(text, line);
    free(text);
    SET(parked, 0);
    goroutine_ready(ticket, GOROUTINE_OK);
    return site;
}

/* ---- C: the address lies in the function that spawned, after its call. ---- */

enum { GO, SPAWN, SPAWN_SHORT, SPAWN_WITH, BOUND, PINNED, GROUP, THEN, US_DIRECT, US_FUNC, US_SCOPE, WAYS };
static GoroutineGroup *group;

__attribute__((noinline)) static void spawn_somehow(uint64_t way) {
    GoroutineSpawn s;
    GoroutinePromise *promise = NULL;
    goroutine_spawn_init(&s);
    s.fn = CODE(parks);
    switch ((int)way) {
    case GO: OK(goroutine_go(parks, NULL)); return;
    case SPAWN: promise = goroutine_spawn(parks, NULL); break;
    case SPAWN_SHORT: s.size = 64; OK(goroutine_spawn_with(&s, &promise)); break;
    case SPAWN_WITH: s.name = "named"; OK(goroutine_spawn_with(&s, &promise)); break;
    case BOUND: s.flags = GOROUTINE_SPAWN_BOUND; OK(goroutine_spawn_with(&s, &promise)); break;
    case PINNED: s.flags = GOROUTINE_SPAWN_PINNED; OK(goroutine_spawn_with(&s, &promise)); break;
    case GROUP: OK(goroutine_group_spawn(group, parks, NULL)); return;
    case THEN:
        promise = goroutine_promise_new();
        OK(goroutine_promise_then(promise, parks_then, NULL));
        OK(goroutine_promise_resolve(promise, NULL)); /* and not whoever settles it */
        break;
    case US_DIRECT: promise = (GoroutinePromise *)__goroutine_spawn_direct(CODE(parks)); break;
    case US_FUNC: promise = (GoroutinePromise *)__goroutine_spawn_func_ptr(CODE(parks), NULL); break;
    case US_SCOPE: promise = (GoroutinePromise *)__goroutine_spawn_func_ptr_with_scope(CODE(parks), NULL, NULL); break;
    default: CHECK(!"a way");
    }
    CHECK(promise != NULL);
    if (way >= US_DIRECT) {
        __promise_release(promise);
    } else {
        goroutine_promise_release(promise);
    }
}
/* Not a leaf, and after the above in no order: so `is_in_spawner` asks for the bytes of a call, too. */
static bool is_after_call(uint64_t site) {
    const uint8_t *at = (const uint8_t *)(uintptr_t)site;
    return at[-5] == 0xE8 || (at[-6] == 0xFF && at[-5] == 0x15) || (at[-2] == 0xFF && (at[-1] & 0xF8) == 0xD0) ||
           (at[-3] == 0x41 && at[-2] == 0xFF);
}
static bool is_in_spawner(uint64_t site) {
    uint64_t start = U(CODE(spawn_somehow));
    return site > start && site < start + 2048 && is_after_call(site);
}
static void *spawns(void *way) {
    spawn_somehow(U(way));
    return NULL;
}
static void *thread_spawns(void *way) {
    spawn_somehow(U(way));
    return NULL;
}
static void check_spawner(uint64_t way, const char *who) {
    char line[256];
    uint64_t site = site_now(line);
    if (!is_in_spawner(site) || (strstr(line, "test_site") == NULL && strstr(line, "spawn_somehow") == NULL)) {
        fprintf(stderr, "way %d, by %s: %#" PRIx64 " %s is not in %#" PRIx64 "\n", (int)way, who, site, line, U(CODE(spawn_somehow)));
        _exit(1);
    }
    await_none(60 * SECOND);
}
static void by_c(void) {
    uint64_t way;
    pthread_t thread;
    group = goroutine_group_new(0);
    for (way = 0; way < WAYS; way++) {
        run_goroutine(spawns, P(way));
        check_spawner(way, "a goroutine");
        spawn_somehow(way);
        check_spawner(way, "the main thread");
        start_thread(&thread, thread_spawns, P(way));
        CHECK(pthread_join(thread, NULL) == 0);
        check_spawner(way, "a thread");
    }
    OK(goroutine_group_wait(group, 30 * SECOND, NULL));
    OK(goroutine_group_free(group));
}

/* ---- Callbacks: C on a foreign call, and threads that the library did not make. ---- */

static void *spawns_in_callback(void *way) { return goroutine_callback_run(spawns, way); }
static void *in_foreign_call(void *way) { return goroutine_ffi_call_leaf(CODE(spawns_in_callback), way); }

__attribute__((noinline)) static void *calls_back(void *f) {
    void *volatile value = goroutine_callback_run(FN(f), NULL);
    return value;
}
static void by_callbacks(void) {
    char line[256];
    pthread_t thread;
    uint64_t site;
    run_goroutine(in_foreign_call, P(SPAWN));
    check_spawner(SPAWN, "a callback");
    start_thread(&thread, spawns_in_callback, P(GO));
    CHECK(pthread_join(thread, NULL) == 0);
    check_spawner(GO, "a callback of a thread's");
    /* The thread's own goroutine is there because somebody called back: each time anew. */
    start_thread(&thread, calls_back, CODE(parks));
    site = site_now(line);
    CHECK(site > U(CODE(calls_back)) && site < U(CODE(calls_back)) + 128 && is_after_call(site));
    CHECK(pthread_join(thread, NULL) == 0);
    await_none(60 * SECOND);
}

/* ---- The library itself: nobody's, also on a stack that was somebody's. ---- */

static void by_library(void) {
    char line[256];
    int i;
    for (i = 0; i < 100; i++) run_goroutine(nothing, NULL);
    await_none(60 * SECOND);
    CHECK(goroutine_timer_start(1, 0, parks, NULL) > 0);
    CHECK_EQ(site_now(line), 0);
    await_none(60 * SECOND);
}

/* ---- main_fn, and what has to be waited for by another thread than this one. ---- */

__attribute__((noinline)) static void *runs_main(void *how) {
    void *volatile value = NULL;
    if (how == NULL) {
        OK(goroutine_runtime_run(parks, NULL, NULL));
    } else {
        value = __goroutine_spawn_and_wait_direct(CODE(parks));
    }
    return value;
}
static void by_waiters(void) {
    uint64_t how, site, start = U(CODE(runs_main));
    char line[256];
    pthread_t thread;
    for (how = 0; how < 2; how++) {
        CHECK(pthread_create(&thread, NULL, runs_main, P(how)) == 0);
        site = site_now(line);
        CHECK(site > start && site < start + 256 && is_after_call(site));
        CHECK(pthread_join(thread, NULL) == 0);
        await_none(60 * SECOND);
    }
}

/* ---- Emitted code: to the byte, by the names it was registered with. ---- */

typedef struct Emitted {
    void *code;
    uint64_t site;
    size_t bytes;
} Emitted;

/* f(): function(first, second, 0, 0), called with rsp at 0 or 8 mod 16. */
static Emitted emit_spawner(Emit *e, void *function, uint64_t first, uint64_t second, bool odd) {
    Emitted made;
    size_t start = e->used;
    made.code = e->code + start;
    EMIT(e, "\x55\x48\x89\xE5"); /* push rbp; mov rbp, rsp */
    if (odd) emit_move_stack(e, -8);
    emit_constant(e, RDI, first);
    emit_constant(e, RSI, second);
    EMIT(e, "\x31\xD2\x31\xC9"); /* xor edx, edx; xor ecx, ecx */
    emit_call(e, function);
    made.site = U(e->code) + e->used;
    EMIT(e, "\xC9\xC3"); /* leave; ret */
    made.bytes = e->used - start;
    return made;
}
static void by_emitted_code(void) {
    static GoroutineSpawn request;
    static GoroutinePromise *promise;
    static const char *const NAMES[] = {"emitted_go", "emitted_spawn", "emitted_spawn_with", "emitted_direct", "emitted_func",
                                        "emitted_scope", "emitted_v2"};
    void *functions[7];
    Emitted all[14];
    GoroutineCode codes[14];
    uint64_t ids[14], i;
    Emit e = emit_begin(4096);
    char line[256];
    goroutine_spawn_init(&request);
    request.fn = CODE(parks);
    request.user[0] = 1;
    functions[0] = CODE(goroutine_go);
    functions[1] = CODE(goroutine_spawn);
    functions[2] = CODE(goroutine_spawn_with);
    functions[3] = CODE(__goroutine_spawn_direct);
    functions[4] = CODE(__goroutine_spawn_func_ptr);
    functions[5] = CODE(__goroutine_spawn_func_ptr_with_scope);
    functions[6] = CODE(__runtime_spawn_goroutine_v2);
    for (i = 0; i < 14; i++) {
        bool with = i % 7 == 2;
        all[i] = emit_spawner(&e, functions[i % 7], U(with ? (void *)&request : CODE(parks)), with ? U(&promise) : 0, i >= 7);
        codes[i] = code_of(NAMES[i % 7], all[i].code, all[i].bytes, GOROUTINE_CODE_FRAME_POINTER);
    }
    emit_end(&e);
    OK(goroutine_code_register(codes, 14, ids));
    for (i = 0; i < 14; i++) {
        char expected[64];
        void *made;
        uint64_t site;
        snprintf(expected, sizeof expected, "%s+%#" PRIx64, NAMES[i % 7], all[i].site - U(all[i].code));
        made = run_goroutine(FN(all[i].code), NULL);
        site = site_now(line);
        if (site != all[i].site || strcmp(line, expected) != 0) {
            fprintf(stderr, "%s: %#" PRIx64 " (%s), not %#" PRIx64 " (%s)\n", NAMES[i % 7], site, line, all[i].site, expected);
            _exit(1);
        }
        if (i % 7 == 1) goroutine_promise_release((GoroutinePromise *)made);
        if (i % 7 == 2) goroutine_promise_release(promise);
        if (i % 7 > 2) __promise_release(made);
        await_none(60 * SECOND);
    }
    for (i = 0; i < 14; i++) OK(goroutine_code_unregister(ids[i], 30 * SECOND));
}

/* ---- A child of fork. ---- */

static void in_child(void) {
    pid_t pid = fork();
    int status = 0;
    CHECK(pid >= 0);
    if (pid == 0) {
        start_workers(1);
        by_c();
        by_emitted_code();
        stop();
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- Reports that name a goroutine, each by an emitted spawner. ---- */

static void spawn_from_emitted(GoroutineFn f) {
    Emit e = emit_begin(4096);
    Emitted made = emit_spawner(&e, CODE(goroutine_go), U(CODE(f)), 0, false);
    GoroutineCode code = code_of("scripts.spawner", made.code, made.bytes, GOROUTINE_CODE_FRAME_POINTER);
    emit_end(&e);
    OK(goroutine_code_register(&code, 1, NULL));
    CHECK_EQ(U(FN(made.code)(NULL)), 0);
}
static void *crashes(void *arg) {
    *(volatile uint64_t *)P(0x1238) = U(arg);
    return arg;
}
static uint64_t recursion(volatile uint64_t *above, uint64_t depth) {
    volatile uint64_t frame[16];
    frame[depth % 16] = depth + *above;
    return depth == UINT64_MAX ? 0 : recursion(frame, depth + 1) + frame[(depth + 1) % 16];
}
static void *overflows(void *arg) {
    volatile uint64_t top = U(arg);
    return P(recursion(&top, 1));
}
static void *fails(void *arg) {
    goroutine_exit(GOROUTINE_EREJECTED, arg);
    return arg;
}
static uint64_t go_on;
static void *computes(void *arg) {
    while (!GET(go_on)) {
    }
    return arg;
}
static void *waits_for_ever(void *arg) {
    goroutine_wait_group_wait((GoroutineWaitGroup *)arg, GOROUTINE_FOREVER);
    return arg;
}
static GoroutineWaitGroup *wait_group;
static void *waits_for_group(void *arg) { return waits_for_ever(arg == NULL ? wait_group : arg); }

static void a_crash(void *f) {
    start_workers(1);
    spawn_from_emitted(FN(f));
    thread_sleep(30 * SECOND);
}
static void a_failure(void *unused) {
    (void)unused;
    start_workers(1);
    spawn_from_emitted(fails);
    OK(goroutine_runtime_wait(30 * SECOND));
    stop();
}
static void a_shutdown(void *unused) {
    (void)unused;
    start_workers(1);
    spawn_from_emitted(computes);
    CHECK_EQ(goroutine_runtime_shutdown(50 * MS), GOROUTINE_ETIMEDOUT);
    SET(go_on, 1);
    stop();
}
static void a_deadlock(void *unused) {
    GoroutineConfig config;
    (void)unused;
    goroutine_config_init(&config);
    config.flags = GOROUTINE_CONFIG_DEADLOCK_REPORT;
    OK(goroutine_runtime_start(&config));
    wait_group = goroutine_wait_group_new();
    OK(goroutine_wait_group_add(wait_group, 1));
    spawn_from_emitted(waits_for_group);
    CHECK_EQ(goroutine_runtime_wait(GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    stop();
}
static void reports(void) {
    static const char SITE[] = ", spawned at 0x";
    static Child child;
    static const struct {
        void (*f)(void *);
        GoroutineFn arg;
        int signal;
        const char *text;
    } ALL[] = {
        {a_crash, crashes, SIGSEGV, "SIGSEGV at 0x1238"},
        {a_crash, overflows, SIGSEGV, "stack overflow: goroutine "},
        {a_failure, NULL, 0, "unhandled: goroutine "},
        {a_shutdown, NULL, 0, " runs, or is queued"},
        {a_deadlock, NULL, 0, "waits for wait group 0x"},
    };
    size_t i;
    for (i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        char *at, *end, *site;
        run_child(ALL[i].f, CODE(ALL[i].arg), &child);
        at = strstr(child.text, ALL[i].text);
        end = at == NULL ? NULL : strchr(at, '\n');
        if (end != NULL) *end = 0;
        site = at == NULL ? NULL : strstr(at, SITE);
        if (child.signal != ALL[i].signal || child.status > 0 || site == NULL || strstr(site, " (scripts.spawner+0x") == NULL) {
            fprintf(stderr, "%s: signal %d, status %d:\n%s\n", ALL[i].text, child.signal, child.status, child.text);
            _exit(1);
        }
    }
}

int main(void) {
    if (!is_slow() || THREADS_SANITIZED) reports(); /* crashes, and a goroutine that computes */
    start_workers(2);
    by_c();
    by_callbacks();
    by_library();
    by_waiters();
    by_emitted_code();
    in_child();
    by_c();
    stop();
    return 0;
}

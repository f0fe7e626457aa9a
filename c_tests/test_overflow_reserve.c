/* sanitizer: handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0 */
/* What a stack_overflow callback may do on its reserve: all that language code may do elsewhere. It is parked, looked at and dumped there, unregisters
 * code, stops the world, traces, calls C and is called back, and goes on on another segment; each on the goroutine's own stack and on a segment. */
#include "code.h"
#include "runs_out.h"

static GoroutineChannel *go_on;
static uint64_t code_id, steps;

/* ---- what is done on the reserve ---- */
typedef void (*Step)(void);

static void parks(void) {
    int value;
    OK(goroutine_channel_receive(go_on, &value, 60 * SECOND));
}
static void yields(void) {
    int i;
    for (i = 0; i < 100; i++) goroutine_yield();
    OK(goroutine_sleep(MS));
}
static void unregisters(void) { OK(goroutine_code_unregister(code_id, 20 * SECOND)); }
static void dumps(void) {
    int fd = memfd_create("dump", MFD_CLOEXEC);
    char text[4096];
    ssize_t n;
    CHECK(fd >= 0);
    OK(goroutine_dump(fd));
    n = pread(fd, text, sizeof text - 1, 0);
    CHECK(n > 0);
    text[n] = 0;
    CHECK(strstr(text, "\"overflowed\" runs on worker ") != NULL);
    close(fd);
}
static void traces(void) {
    OK(goroutine_trace_start("/dev/null"));
    goroutine_yield();
    OK(goroutine_trace_stop());
}
typedef struct Seen {
    const Goroutine *g;
    int ranges;
    bool here;
} Seen;
static void see(void *arg, const Goroutine *g, const GoroutineContext *registers, const void *low, const void *high) {
    Seen *seen = (Seen *)arg;
    CHECK(low <= high);
    if (g != seen->g) return;
    CHECK((registers != NULL) == (seen->ranges == 0));
    seen->ranges++;
    seen->here |= (char *)seen >= (char *)low && (char *)seen < (char *)high;
}
static void stops_world(void) {
    Seen seen;
    memset(&seen, 0, sizeof seen);
    seen.g = goroutine_current();
    OK(goroutine_world_stop(20 * SECOND));
    goroutine_world_for_each(see, &seen);
    goroutine_world_start();
    CHECK(seen.here && seen.ranges >= 1);
}
static void *yields_once(void *arg) {
    goroutine_yield();
    return arg;
}
static void *calls_back(void *arg) { return goroutine_callback_run(yields_once, arg); }
static void calls_c(void) {
    CHECK(goroutine_ffi_call_leaf(CODE(calls_back), P(5)) == P(5));
    CHECK(goroutine_ffi_call_blocking(CODE(calls_back), P(6)) == P(6));
    CHECK(execute_ffi_call(NULL, CODE(calls_back), P(7)) == P(7));
}
static void *lands(void *arg) {
    goroutine_yield();
    goroutine_ffi_landed(); /* in a segment that the callback went on to: it is still on the reserve */
    return arg;
}
static void grows(void) {
    int i;
    for (i = 0; i < 3; i++) CHECK(goroutine_more_stack(lands, P(9)) == P(9));
}

static void callback(Goroutine *g, void *fault_address, GoroutineContext *at, void *arg) {
    void *low = at->stack_base;
    volatile char room[2000]; /* is written before and after: the reserve is there all the time */
    size_t i;
    (void)fault_address;
    (void)arg;
    CHECK(g == goroutine_current());
    CHECK((char *)room > (char *)low - GOROUTINE_OVERFLOW_RESERVE && (char *)room < (char *)low);
    for (i = 0; i < sizeof room; i++) room[i] = (char)i;
    (*(Step *)(void *)((char *)g + GOROUTINE_OFFSET_USER))();
    CHECK(g == goroutine_current());
    for (i = 0; i < sizeof room; i++) CHECK(room[i] == (char)i);
    ADD(steps, 1);
}

static void *overflows(void *arg) {
    GoroutineFn const *f = (GoroutineFn const *)arg;
    return (*f)(NULL);
}
static GoroutinePromise *spawn(GoroutineFn const *f, Step step) {
    GoroutineSpawn request;
    GoroutinePromise *promise = NULL;
    goroutine_spawn_init(&request);
    request.fn = CODE(overflows);
    request.int_args[0] = U(f);
    request.user[0] = U(step);
    request.name = "overflowed";
    OK(goroutine_spawn_with(&request, &promise));
    return promise;
}
static void ends(GoroutinePromise *promise) {
    void *value;
    CHECK_EQ(goroutine_promise_await_take(promise, 60 * SECOND, &value), GOROUTINE_ESTACKOVERFLOW);
}

/* ---- looked at from outside while it is parked there ---- */
static void expect_in_dump(const char *what) {
    static char text[65536];
    uint64_t end = now_ns() + 20 * SECOND;
    do {
        int fd = memfd_create("dump", MFD_CLOEXEC);
        ssize_t n;
        CHECK(fd >= 0);
        OK(goroutine_dump(fd));
        n = pread(fd, text, sizeof text - 1, 0);
        CHECK(n > 0);
        text[n] = 0;
        close(fd);
        if (strstr(text, what) != NULL) return;
        thread_sleep(MS);
    } while (now_ns() < end);
    fprintf(stderr, "\"%s\" is not in:\n%s", what, text);
    _exit(1);
}
static void registers(void) {
    Emit e = emit_begin(4096);
    GoroutineCode code;
    size_t n = emit_framed(&e, CODE(yields_once));
    code = code_of("nobody_is_here", emit_end(&e), n, GOROUTINE_CODE_FRAME_POINTER);
    OK(goroutine_code_register(&code, 1, &code_id));
}

int main(void) {
    static GoroutineFn const bad[] = {in_c, on_segment};
    static const Step all[] = {yields, unregisters, dumps, traces, stops_world, calls_c, grows};
    GoroutineConfig config;
    size_t i, k;
    int value = 1;
    if (is_slow() && !SANITIZED) {
        fprintf(stderr, "skipped: frames that are given up, and faults (valgrind counts them)\n");
        return 77;
    }
    goroutine_config_init(&config);
    config.workers = 2;
    config.flags = GOROUTINE_CONFIG_OWN_CODE;
    config.stack_overflow = callback;
    OK(goroutine_runtime_start(&config));
    CHECK((go_on = goroutine_channel_new(sizeof(int), 0)) != NULL);
    for (i = 0; i < 2; i++) {
        GoroutinePromise *promise;
        for (k = 0; k < sizeof all / sizeof all[0]; k++) {
            if (all[k] == unregisters) registers();
            ends(spawn(&bad[i], all[k]));
        }
        promise = spawn(&bad[i], parks);
        expect_in_dump("\"overflowed\" is parked");
        expect_in_dump(": receives from channel");
        expect_in_dump("    #1 ");
        registers();
        unregisters(); /* it is seen not to be there */
        OK(goroutine_channel_send(go_on, &value, 20 * SECOND));
        ends(promise);
    }
    CHECK_EQ(GET(steps), 2 * (sizeof all / sizeof all[0] + 1));
    OK(goroutine_channel_free(go_on));
    stop();
    return 0;
}

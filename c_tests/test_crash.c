/* A crash on a goroutine that nobody handles: one line says whose it was; the signal goes on as without us. With a handler of the program's: no line. */
#include "check.h"
#include "code.h"

static void *const WILD = (void *)0x1238;
static int how; /* the signal */

static __attribute__((noinline)) void crash_here(void) {
    switch (how) {
    case SIGSEGV: *(volatile uint64_t *)WILD = 1; break;
    case SIGFPE: __asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; idivl %%ecx" ::: "eax", "ecx", "edx"); break;
    case SIGILL: __asm__ volatile("ud2"); break;
    case SIGABRT: abort();
    case SIGBUS: {
        char path[] = "/tmp/test_crash_XXXXXX";
        int fd = mkstemp(path);
        volatile char *page = (volatile char *)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0); /* of an empty file */
        unlink(path);
        (void)page[0];
        break;
    }
    default: raise(SIGSEGV); /* nothing faults: somebody sent it */
    }
}
static void *crashes(void *arg) {
    crash_here();
    return arg;
}
static void *crashes_in_c(void *arg) { return execute_ffi_call(NULL, CODE(crashes), arg); }
static void *crashes_in_leaf(void *arg) { return goroutine_ffi_call_leaf(CODE(crashes), arg); }

static void start_and_crash(void *f) {
    GoroutineSpawn spawn;
    GoroutinePromise *promise;
    start_workers(1);
    goroutine_spawn_init(&spawn);
    spawn.fn = f;
    spawn.name = "victim";
    OK(goroutine_spawn_with(&spawn, &promise));
    goroutine_promise_await(promise, 30 * SECOND, NULL);
    _exit(3);
}
static void own(int signal) { _exit(signal == how ? 43 : 44); }
static void install(int signal, int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = own;
    action.sa_flags = flags;
    CHECK_EQ(sigaction(signal, &action, NULL), 0);
}
static void with_own_before(void *f) {
    install(how, SA_ONSTACK);
    start_and_crash(f);
}
static void *installs_and_crashes(void *arg) {
    install(how, SA_ONSTACK);
    return crashes(arg);
}
static void plain_thread(void *unused) {
    start_workers(1);
    crashes(unused);
}
static void without_handlers(void *f) {
    setenv("GOROUTINE_NO_SIGNAL_HANDLERS", "1", 1);
    CHECK(goroutine_spawn(FN(f), NULL) != NULL);
    thread_sleep(30 * SECOND);
}

/* Emitted code that was registered is named. */
static void emitted(void *unused) {
    Emit e = emit_begin(4096);
    GoroutineCode code;
    (void)unused;
    EMIT(&e, "\x90\x0F\x0B"); /* nop; ud2 */
    emit_end(&e);
    code = code_of("scripts.main", e.code, 3, 0);
    OK(goroutine_code_register(&code, 1, NULL));
    start_and_crash(e.code);
}

static void no_line(const char *what, void (*f)(void *), void *arg, int signal, int status) {
    static Child child;
    run_child(f, arg, &child);
    if (child.signal == signal && (signal != 0 || child.status == status) && strstr(child.text, "goroutine: ") == NULL) return;
    fprintf(stderr, "%s: signal %d, status %d:\n%s", what, child.signal, child.status, child.text);
    _exit(1);
}

int main(void) {
    static const struct {
        int signal;
        const char *text;
    } ALL[] = {
        {SIGSEGV, "SIGSEGV at 0x1238, rip 0x"},
        {SIGBUS, "SIGBUS at 0x"},
        {SIGFPE, "SIGFPE, rip 0x"},
        {SIGILL, "SIGILL, rip 0x"},
        {SIGABRT, "SIGABRT sent by process "},
    };
    unsigned i;
    char text[200];
    for (i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        how = ALL[i].signal;
        snprintf(text, sizeof text, " \"victim\", worker 0: %s", ALL[i].text);
        expect_child("on a goroutine", start_and_crash, CODE(crashes), how, 0, text);
        snprintf(text, sizeof text, " \"victim\", worker 0, in foreign code: %s", ALL[i].text);
        expect_child("in a leaf call", start_and_crash, CODE(crashes_in_leaf), how, 0, text);
        no_line("a handler from before", with_own_before, CODE(crashes), 0, 43);
        no_line("a handler from after", start_and_crash, CODE(installs_and_crashes), 0, 43);
        no_line("on a plain thread", plain_thread, NULL, how, 0);
        no_line("without handlers", without_handlers, CODE(crashes), how, 0);
    }
    how = SIGSEGV;
    expect_child("bound", start_and_crash, CODE(crashes_in_c), SIGSEGV, 0, "\"victim\", on a thread of its own, in foreign code: SIGSEGV at 0x1238");
    expect_child("in this program", start_and_crash, CODE(crashes), SIGSEGV, 0, " (test_crash");
    how = 0;
    expect_child("sent", start_and_crash, CODE(crashes), SIGSEGV, 0, "SIGSEGV sent by process ");
    expect_child("emitted", emitted, NULL, SIGILL, 0, " (scripts.main+0x1), spawned at 0x");
    return 0;
}

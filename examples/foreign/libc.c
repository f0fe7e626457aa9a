/* The C library's own state of a thread: its locale, errno, what pthread_self says (asked 1,000,000 times a round). Bound goroutines
 * have a thread, so they have all of it; errno belongs to every goroutine. */
#include "foreign.h"
#include <fcntl.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <wchar.h>

enum { BOUND = 64, CALLS = 1000000 / BOUND };

/* ---- pthread_self ---- */

static pthread_t threads[BOUND];
static uint64_t here;

static void *who(void *arg) {
    (void)arg;
    return P(pthread_self());
}
static void *always_the_same(void *arg) {
    Goroutine *g = goroutine_current();
    pthread_t mine = (pthread_t)U(execute_ffi_call(g, CODE(who), NULL));
    uint64_t i, round = ADD(here, 1);
    CHECK(is_goroutine_ffi_bound(g));
    threads[U(arg)] = mine;
    for (i = 0; i < CALLS; i++) {
        CHECK(U(execute_ffi_call(g, CODE(who), NULL)) == (uint64_t)mine);
        if (i % 1024 == 0) OK(goroutine_sleep(100000));
    }
    /* Nobody ends before all have a thread: no thread is handed on meanwhile. */
    while (GET(here) < (round - 1) / BOUND * BOUND + BOUND) OK(goroutine_sleep(1 * MS));
    return NULL;
}
static void pthread_self_stays(void) {
    int i, j;
    spawn_all(BOUND, always_the_same);
    for (i = 0; i < BOUND; i++) {
        for (j = 0; j < i; j++) CHECK(threads[i] != threads[j]);
    }
}

/* ---- The locale of a thread ---- */

static const char *const locales[2] = {"C", "C.UTF-8"};
static const char *const codesets[2] = {"ANSI_X3.4-1968", "UTF-8"};

static void *set_locale(void *arg) {
    locale_t locale = newlocale(LC_ALL_MASK, locales[U(arg) % 2], (locale_t)0);
    CHECK(locale != (locale_t)0);
    return (void *)uselocale(locale);
}
static void *look_at_locale(void *arg) {
    char bytes[MB_LEN_MAX];
    mbstate_t state;
    memset(&state, 0, sizeof state);
    CHECK(strcmp(nl_langinfo(CODESET), codesets[U(arg) % 2]) == 0);
    CHECK_EQ(MB_CUR_MAX == 1, U(arg) % 2 == 0);
    /* U+00E9 takes two bytes in one of them, and cannot be said in the other. */
    CHECK_EQ(wcrtomb(bytes, 0xe9, &state), U(arg) % 2 == 0 ? (size_t)-1 : 2);
    return NULL;
}
static void *reset_locale(void *arg) {
    locale_t mine = uselocale((locale_t)arg);
    if (mine != LC_GLOBAL_LOCALE) freelocale(mine);
    return NULL;
}
static void *with_a_locale(void *arg) {
    Goroutine *g = goroutine_current();
    void *before = execute_ffi_call(g, CODE(set_locale), arg);
    int i;
    for (i = 0; i < 100; i++) {
        execute_ffi_call(g, CODE(look_at_locale), arg);
        if (i % 3 == 0) goroutine_yield();
        if (i % 10 == 0) OK(goroutine_sleep(100000));
    }
    /* The thread serves others after us: what we set in it is ours to take back. */
    execute_ffi_call(g, CODE(reset_locale), before);
    return NULL;
}

/* setlocale is the process's: a thread with a locale of its own does not see it, every other does. */
static void *set_process_locale(void *arg) { return setlocale(LC_ALL, locales[U(arg)]); }
static void *the_process_has(void *arg) {
    Goroutine *g = goroutine_current();
    void *before;
    CHECK(execute_ffi_call(g, CODE(set_process_locale), arg) != NULL);
    goroutine_yield();
    execute_ffi_call(g, CODE(look_at_locale), arg);
    before = execute_ffi_call(g, CODE(set_locale), P(1 - U(arg)));
    goroutine_yield();
    execute_ffi_call(g, CODE(look_at_locale), P(1 - U(arg)));
    execute_ffi_call(g, CODE(reset_locale), before);
    execute_ffi_call(g, CODE(look_at_locale), arg);
    return NULL;
}
static void *has_a_process_locale(void *arg) {
    (void)arg;
    OK(goroutine_promise_await_take(goroutine_spawn(the_process_has, P(1)), 30 * SECOND, NULL));
    OK(goroutine_promise_await_take(goroutine_spawn(the_process_has, P(0)), 30 * SECOND, NULL));
    return NULL;
}

/* ---- errno ---- */

static void *fails(void *arg) {
    static const char *const paths[2] = {"/no/such/file", "/"};
    CHECK_EQ(open(paths[U(arg) % 2], O_WRONLY), -1);
    return NULL;
}
/* Out of line: a compiler may keep the address of errno, and an unbound goroutine changes threads. */
static __attribute__((noinline)) int last_error(void) { return errno; }

static void *keeps_errno(void *arg) {
    int expected = U(arg) % 2 == 0 ? ENOENT : EISDIR, i;
    for (i = 0; i < 200; i++) {
        switch (U(arg) / 2 % 3) {
        case 0: execute_ffi_call(NULL, CODE(fails), arg); break;
        case 1: goroutine_ffi_call_leaf(CODE(fails), arg); break;
        default: goroutine_ffi_call_blocking(CODE(fails), arg); break;
        }
        goroutine_yield();
        CHECK_EQ(last_error(), expected);
        if (i % 20 == 0) OK(goroutine_sleep(100000));
        CHECK_EQ(last_error(), expected);
    }
    return NULL;
}

static void round_of_all(void) {
    pthread_self_stays();
    spawn_all(BOUND, with_a_locale);
    spawn_all(1, has_a_process_locale);
    spawn_all(60, keeps_errno);
}

int main(int argc, char **argv) {
    run_rounds(argc, argv, round_of_all, 4 << 20);
    CHECK(strcmp(setlocale(LC_ALL, NULL), "C") == 0); /* what it was */
    OK(goroutine_runtime_wait(10 * SECOND));
    OK(goroutine_runtime_shutdown(10 * SECOND));
    return 0;
}

/* A real collector on top: goroutines that live on the heap of the Boehm GC, which knows none of their threads and stops none of them. It is told what
 * they hold by goroutine_world_for_each and goroutine_world_for_each_root, in a world that goroutine_world_stop has stopped.
 *
 * Collections happen there and nowhere else: GC_disable() keeps an allocation from starting one, so no thread needs to be registered but the one
 * that collects. An allocation takes the collector's lock; no goroutine stops while it holds it, because none parks in there.
 *
 * gc_boehm [COLLECTIONS [GOROUTINES]]: each goroutine keeps objects in one place at a time, and looks whether they are still themselves. Objects that
 * nobody keeps must go, or most of them: the collector is a conservative one. */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc/gc.h>
#include <gc/gc_mark.h>
#include <goroutine.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MS 1000000ull
#define CHECK(condition) ((condition) ? (void)0 : failed(__LINE__, #condition))
#define GET(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_add_fetch(&(word), (n), __ATOMIC_SEQ_CST)

static void failed(int line, const char *what) {
    fprintf(stderr, "gc_boehm.c:%d: failed: %s\n", line, what);
    _Exit(1);
}

/* ---- the collector ---- */

static void push_range(void *arg, const Goroutine *g, const GoroutineContext *registers, const void *low, const void *high) {
    (void)arg;
    (void)g;
    if (registers != NULL) /* rax to r15 begin it */
        GC_push_all_eager((void *)registers, (char *)registers + GOROUTINE_CONTEXT_OFFSET_RSP);
    GC_push_all_eager((void *)low, (void *)high);
}
static void push_root(void *arg, void **slot) {
    (void)arg;
    GC_push_all_eager(slot, slot + 1);
}
static GC_push_other_roots_proc push_others; /* the stack of the thread that collects */
static void push_world(void) {
    push_others();
    goroutine_world_for_each(push_range, NULL);
    goroutine_world_for_each_root(push_root, NULL);
}
static void collect(void) {
    CHECK(goroutine_world_stop(20000 * MS) == GOROUTINE_OK);
    GC_enable();
    GC_gcollect();
    GC_disable();
    goroutine_world_start();
    GC_invoke_finalizers(); /* on demand, here: the world runs again */
}

/* ---- objects ---- */

/* Where they are kept. */
enum { STACK, REGISTER, YIELD, PROMISE, TIMER, CHANNEL, USER, LOCAL, ARGUMENT, BUFFER, CALLBACK, PLACES };
static const char *const NAMES[] = {"a parked stack", "a register at a safepoint", "a register across a yield", "a promise", "a timer", "a channel",
                                    "a user word", "a goroutine-local value", "a spawn's argument", "a call that is to fill it", "C below a callback"};

typedef struct Object {
    uint64_t magic, number;
    struct Object *next;
} Object;
static uint64_t made, gone, checks[16];

static void is_gone(void *object, void *data) {
    (void)data;
    memset(object, 0xDD, sizeof(Object)); /* whoever still has it will notice */
    ADD(gone, 1);
}
static __attribute__((noinline)) Object *object(uint64_t number) {
    Object *o = (Object *)GC_MALLOC(sizeof *o);
    CHECK(o != NULL);
    o->number = number;
    o->magic = ~number;
    o->next = NULL;
    GC_REGISTER_FINALIZER_NO_ORDER(o, is_gone, NULL, NULL, NULL);
    ADD(made, 1);
    return o;
}
static __attribute__((noinline)) Object *chain(uint64_t number) {
    Object *o = object(number);
    o->next = object(number + 1);
    return o;
}
static __attribute__((noinline)) void check(const Object *o, uint64_t number, unsigned place) {
    if (o->magic != ~number || o->number != number) {
        fprintf(stderr, "lost: what %s had, object %#" PRIx64 ": %#" PRIx64 " %#" PRIx64 "\n", NAMES[place], number, o->magic, o->number);
        failed(__LINE__, "an object is still itself");
    }
    if (o->next != NULL) CHECK(o->next->magic == ~(number + 1));
    ADD(checks[place], 1);
}

/* ---- where they are kept ---- */

static uint64_t quit, collections;
static uint32_t key;

/* What calls have left below is no reference any more, but a frame that does not write to it would keep it. */
static __attribute__((noinline)) void wipe(void) {
    char below[2048];
    memset(below, 0, sizeof below);
    __asm__ volatile("" : : "r"(below) : "memory");
}
/* Until so many collections have passed. */
static void outlive(uint64_t n) {
    wipe();
    uint64_t until = GET(collections) + n;
    while (GET(collections) < until && !GET(quit)) (void)goroutine_sleep(MS / 2);
}
/* void *f(uint64_t *collections, uint64_t until, uint64_t hidden): keeps ~hidden in r12 alone, and polls; or yields, all the time. */
typedef void *(*Loop)(uint64_t *counter, uint64_t until, uint64_t hidden);
static Loop polls, yields;
static Loop emit_loop(void (*call)(void), int always) {
    static const uint8_t before[] = {
        0x41, 0x54, 0x53, 0x41, 0x55,       /* push r12; push rbx; push r13 */
        0x56, 0x57,                         /* push rsi; push rdi: rsp is 0 mod 16 */
        0x49, 0x89, 0xD4, 0x49, 0xF7, 0xD4, /* mov r12, rdx; not r12 */
        0x31, 0xD2,                         /* xor edx, edx */
        0x64, 0x48, 0x8B, 0x1C, 0x25        /* mov rbx, fs:[current] */
    };
    static const uint8_t middle[] = {
        0x48, 0x8B, 0x3C, 0x24,             /* 0: mov rdi, [rsp] */
        0x48, 0x8B, 0x07,                   /* 4: mov rax, [rdi] */
        0x48, 0x3B, 0x44, 0x24, 0x08,       /* 7: cmp rax, [rsp + 8] */
        0x73, 0x14,                         /* 12: jae out (34) */
        0x83, 0x7B, 0x10, 0x00,             /* 14: cmp dword [rbx + 16], 0 */
        0x74, 0xEC,                         /* 18: je 0 */
        0x48, 0xB8                          /* 20: mov rax, imm64 */
    };
    static const uint8_t after[] = {
        0xFF, 0xD0,                         /* 30: call rax */
        0xEB, 0xDE,                         /* 32: jmp 0 */
        0x4C, 0x89, 0xE0,                   /* 34: mov rax, r12 */
        0x48, 0x83, 0xC4, 0x10,             /* add rsp, 16 */
        0x41, 0x5D, 0x5B, 0x41, 0x5C, 0xC3  /* pop r13; pop rbx; pop r12; ret */
    };
    uint8_t *code = (uint8_t *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *at = code;
    int32_t offset = goroutine_tls_offset();
    Loop loop;
    CHECK(code != (uint8_t *)MAP_FAILED);
    at = (uint8_t *)memcpy(at, before, sizeof before) + sizeof before;
    at = (uint8_t *)memcpy(at, &offset, 4) + 4;
    at = (uint8_t *)memcpy(at, middle, sizeof middle) + sizeof middle;
    if (always) at[-4] = at[-3] = 0x90; /* in place of the je: nops */
    at = (uint8_t *)memcpy(at, &call, 8) + 8;
    memcpy(at, after, sizeof after);
    CHECK(mprotect(code, 4096, PROT_READ | PROT_EXEC) == 0);
    memcpy(&loop, &code, sizeof loop);
    return loop;
}
static __attribute__((noinline)) uint64_t hidden(uint64_t number) { return ~(uint64_t)(uintptr_t)chain(number); }

/* Of ~at the library alone has what it is: the call is a jump, and nobody sends anything. */
static __attribute__((noinline)) GoroutineStatus receive_into(GoroutineChannel *c, uint64_t at) {
    wipe();
    return goroutine_channel_receive(c, &((Object *)(uintptr_t)~at)->next, 5 * MS);
}

static uint64_t timers_due;
static void *on_timer(void *arg) {
    check((Object *)arg, ((Object *)arg)->number, TIMER);
    ADD(timers_due, (uint64_t)-1);
    return NULL;
}
static void *on_argument(void *arg) {
    check((Object *)arg, ((Object *)arg)->number, ARGUMENT);
    return NULL;
}
/* While C runs nobody can look into its frames, so the caller keeps for it what it works on: here a user word. That is emptied where C waits for a
 * callback: from there to its return C's frame alone has the object. */
static Object **kept_for_c(void) { return (Object **)((char *)goroutine_current() + GOROUTINE_OFFSET_USER + 16); }
static void *in_callback(void *frame) {
    *kept_for_c() = NULL;
    outlive(2);
    *kept_for_c() = *(Object *volatile *)frame;
    return NULL;
}
static void *c_calls_back(void *number) {
    Object *volatile here = *kept_for_c();
    (void)goroutine_callback_run(in_callback, (void *)&here);
    check(here, (uint64_t)(uintptr_t)number, CALLBACK);
    return NULL;
}
/* (Each in a function of its own, so that no other frame has a copy.) */
static __attribute__((noinline)) void into_promise(GoroutinePromise *p, uint64_t n) { (void)goroutine_promise_resolve(p, chain(n)); }
static __attribute__((noinline)) void into_timer(uint64_t n) { CHECK(goroutine_timer_start(3 * MS, 0, on_timer, chain(n)) > 0); }
static __attribute__((noinline)) void into_channel(GoroutineChannel *c, uint64_t n) {
    Object *o = chain(n);
    CHECK(goroutine_channel_send(c, &o, GOROUTINE_FOREVER) == GOROUTINE_OK);
}
static __attribute__((noinline)) void into_user(uint64_t n) {
    Object *o = chain(n);
    memcpy((char *)goroutine_current() + GOROUTINE_OFFSET_USER + 8, &o, sizeof o);
}
static __attribute__((noinline)) void into_kept_for_c(uint64_t n) { *kept_for_c() = chain(n); }
static __attribute__((noinline)) void into_local(uint64_t n) { goroutine_local_set(key, chain(n)); }
static __attribute__((noinline)) void into_argument(uint64_t n) { CHECK(goroutine_go(on_argument, chain(n)) == GOROUTINE_OK); }
static __attribute__((noinline)) void garbage(uint64_t n) { (void)chain(n); }

static void *lives(void *arg) {
    uint64_t number = (uint64_t)(uintptr_t)arg << 32, round, at;
    GoroutineChannel *channel = goroutine_channel_new(sizeof(void *), 2);
    GoroutinePromise *promise;
    Object *volatile on_stack = NULL;
    Object *out = NULL;
    void *value;
    CHECK(channel != NULL);
    for (round = (uint64_t)(uintptr_t)arg; !GET(quit); round++) {
        number += 2;
        garbage(number | 1ull << 63);
        switch (round % PLACES) {
        case STACK:
            on_stack = chain(number);
            outlive(2);
            check(on_stack, number, STACK);
            on_stack = NULL;
            break;
        case REGISTER: /* few at a time: they do not park */
        case YIELD:
            if (round / PLACES % 16 != 0) break;
            out = (Object *)(round % PLACES == REGISTER ? polls : yields)(&collections, GET(collections) + 1, hidden(number));
            check(out, number, round % PLACES);
            out = NULL;
            break;
        case PROMISE:
            CHECK((promise = goroutine_promise_new()) != NULL);
            into_promise(promise, number);
            outlive(2);
            CHECK(goroutine_promise_await_take(promise, GOROUTINE_FOREVER, &value) == GOROUTINE_OK);
            check((Object *)value, number, PROMISE);
            break;
        case TIMER:
            ADD(timers_due, 1);
            into_timer(number);
            outlive(1);
            break;
        case CHANNEL:
            into_channel(channel, number);
            outlive(2);
            CHECK(goroutine_channel_receive(channel, &out, GOROUTINE_FOREVER) == GOROUTINE_OK);
            check(out, number, CHANNEL);
            out = NULL;
            break;
        case USER:
            into_user(number);
            outlive(2);
            memcpy(&out, (char *)goroutine_current() + GOROUTINE_OFFSET_USER + 8, sizeof out);
            check(out, number, USER);
            memset((char *)goroutine_current() + GOROUTINE_OFFSET_USER, 0, 24);
            out = NULL;
            break;
        case LOCAL:
            into_local(number);
            outlive(2);
            check((Object *)goroutine_local_get(key), number, LOCAL);
            goroutine_local_set(key, NULL);
            break;
        case ARGUMENT: into_argument(number); break;
        case BUFFER:
            at = hidden(number);
            CHECK(receive_into(channel, at) == GOROUTINE_ETIMEDOUT);
            check((Object *)(uintptr_t)~at, number, BUFFER);
            break;
        case CALLBACK: /* it keeps its thread meanwhile: few */
            if (round / PLACES % 16 != 0) break;
            into_kept_for_c(number);
            (void)goroutine_ffi_call_leaf((void *)(uintptr_t)c_calls_back, (void *)(uintptr_t)number);
            *kept_for_c() = NULL;
            break;
        }
    }
    CHECK(goroutine_channel_free(channel) == GOROUTINE_OK);
    return NULL;
}

int main(int count, char **arguments) {
    uint64_t wanted = count > 1 ? strtoull(arguments[1], NULL, 0) : 10000, goroutines = count > 2 ? strtoull(arguments[2], NULL, 0) : 1000;
    uint64_t i;
    GC_set_finalize_on_demand(1);
    GC_INIT();
    GC_disable();
    GC_allow_register_threads(); /* or it takes the process for one with a single thread, and no lock */
    push_others = GC_get_push_other_roots();
    GC_set_push_other_roots(push_world);
    polls = emit_loop(goroutine_safepoint, 0);
    yields = emit_loop(goroutine_yield, 1);
    CHECK(goroutine_runtime_start(NULL) == GOROUTINE_OK);
    CHECK(goroutine_local_key(NULL, &key) == GOROUTINE_OK);
    for (i = 0; i < goroutines; i++) CHECK(goroutine_go(lives, (void *)(uintptr_t)(i + 1)) == GOROUTINE_OK);
    for (i = 0; i < wanted; i++) {
        collect();
        ADD(collections, 1);
        (void)goroutine_sleep(MS / 4);
    }
    __atomic_store_n(&quit, 1, __ATOMIC_SEQ_CST);
    ADD(collections, 1000); /* nobody waits for one any more */
    CHECK(goroutine_runtime_wait(60000 * MS) == GOROUTINE_OK);
    collect();
    collect();
    for (i = 0; i < PLACES; i++) {
        fprintf(stderr, "%-28s %" PRIu64 " times\n", NAMES[i], checks[i]);
        CHECK(checks[i] != 0);
    }
    fprintf(stderr, "%" PRIu64 " collections, %" PRIu64 " goroutines, %" PRIu64 " objects made, %" PRIu64 " gone\n", wanted, goroutines, made, gone);
    CHECK(made - gone <= made / 20 + 100);
    CHECK(goroutine_runtime_shutdown(20000 * MS) == GOROUTINE_OK);
    return 0;
}

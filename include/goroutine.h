/* libgoroutine: a Go-style goroutine runtime for C, C++ and code emitted by JIT compilers.
 * ABI 1. Linux, x86-64. Generated from the Rust sources by `make header`: do not edit.
 *
 * A program
 *
 *     #include <goroutine.h>
 *     #include <stdio.h>
 *
 *     static void *square(void *n) {
 *         goroutine_sleep(1000000);                 // 1 ms, in which the thread runs other goroutines
 *         return (void *)((intptr_t)n * (intptr_t)n);
 *     }
 *     static void *sum_of_squares(void *count) {
 *         GoroutinePromise *promises[100];
 *         intptr_t sum = 0, n = (intptr_t)count;
 *         for (intptr_t i = 0; i < n; i++) promises[i] = goroutine_spawn(square, (void *)i);
 *         for (intptr_t i = 0; i < n; i++) {
 *             void *value = NULL;
 *             goroutine_promise_await_take(promises[i], GOROUTINE_FOREVER, &value);
 *             sum += (intptr_t)value;
 *         }
 *         return (void *)sum;
 *     }
 *     int main(void) {
 *         void *sum = NULL;
 *         if (goroutine_runtime_run(sum_of_squares, (void *)100, &sum) != GOROUTINE_OK) return 1;
 *         return printf("%d\n", (int)(intptr_t)sum) < 0;
 *     }
 *
 * Words
 *   goroutine  A stack, saved registers and a state. Stacks never move, so pointers into them stay valid. By default one has
 *              192 KiB, 256 KiB with its guard (GoroutineSpawn.stack_bytes, GOROUTINE_STACK_BYTES). C and C++ code on it with frames
 *              over 64 KiB is to be compiled with -fstack-clash-protection, or it may step over the guard unseen; what needs
 *              more goes through a foreign call.
 *   worker     The right to run goroutines, with a queue and timers. There are as many as CPUs.
 *   park       The current goroutine waits, and its worker runs another one.
 *   ready      Make a parked goroutine runnable.
 *   promise    Settles once, with a value (resolved) or a reason (rejected). Anybody may await it.
 *   bound      The goroutine owns its OS thread and holds no worker.
 *   daemon     A goroutine that does not keep the program alive.
 *
 * Context: where a function may be called from
 *   T  any thread, whether the library made it or not
 *   G  inside a goroutine
 *   R  real-time code: it takes no lock, allocates nothing and does not enter the kernel
 *   S  a signal handler (async-signal-safe)
 * A goroutine may go on on another thread after a call that parks, and after no other call. So keep no pointer to a
 * thread's data (errno's address, a thread-local variable's) across one. Compilers do, for errno: `__errno_location` is declared
 * const, so optimized C that has used errno once in a function uses the old thread's after a call that parked. The value is kept for
 * each goroutine; to read it after such a call, do so in a function of its own that is not inlined.
 * Every function accepts rsp at 0 or 8 mod 16, and preserves the callee-saved registers, MXCSR (but for its status
 * flags) and the x87 control word. Every function needs a few hundred bytes of the goroutine's stack unless it says otherwise, and
 * up to 3.5 KiB when it allocates, makes a thread, loads a library or reports: the reserve below `stack_limit`, GOROUTINE_STACK_RESERVE, is enough
 * for all of that. (Not for the dynamic linker, which may need more to look a function up at its first call.) A goroutine starts
 * with MXCSR 0x1F80, x87 control word 0x37F and the direction flag clear.
 *
 * Ownership
 *   What a `_new` function, a spawn or a combinator gives belongs to the caller, who passes it to `_free` or
 *   `_release` once. Arguments are borrowed for the call unless the function says "consumes". A value travels
 *   through the library as a plain pointer: the library never reads, copies or frees what it points to.
 *
 * Callbacks
 *   Unless it says otherwise a callback is no goroutine of its own. It runs on the stack of whoever came to it: mostly a thread of the
 *   library between two goroutines, where goroutine_current() is NULL, and a call that would park blocks that thread, and with it a
 *   worker. It may spawn, settle, ready, unlock. It must not wait for a goroutine.
 *
 * Errors
 *   GoroutineStatus is 0 (GOROUTINE_OK) or negative: -errno where an errno fits, from -4096 down where none does.
 *   An output parameter is written on GOROUTINE_OK only, and on GOROUTINE_EREJECTED where it carries the reason.
 *   NULL where none is allowed gives GOROUTINE_EINVAL, or a harmless result where the function cannot fail.
 *   Times are nanoseconds. A time-out of 0 polls and gives GOROUTINE_EAGAIN when not ready, another one
 *   GOROUTINE_ETIMEDOUT; GOROUTINE_FOREVER never passes.
 *
 * Versions
 *   Within one ABI version names, values, offsets and meanings stay, and new ones are added; the soname holds the
 *   version. Structs that callers fill start with their size, so a library and a program of different age fit: set
 *   them up with goroutine_config_init and its like. Machine code may hold the offsets in this header as literals,
 *   but never the result of goroutine_tls_offset from one process in another.
 *
 * The library never writes to stdout.
 */

#ifndef GOROUTINE_H
#define GOROUTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "goroutine.h: Linux on x86-64 only"
#endif

#define GOROUTINE_ALIGNED(n) __attribute__((aligned(n)))
#if defined(__cplusplus)
#define GOROUTINE_NORETURN [[noreturn]]
#else
#define GOROUTINE_NORETURN _Noreturn
#endif

/** A goroutine. Opaque but for its first GOROUTINE_HEADER_BYTES, which emitted code reads: GOROUTINE_OFFSET_*. */
typedef struct Goroutine Goroutine;
/* <netdb.h>, whose other names need not be everybody's. */
struct addrinfo;

/** A value to come. Opaque but for its state and value, which emitted code reads: GOROUTINE_PROMISE_OFFSET_*. */
typedef struct GoroutinePromise GoroutinePromise;

/** One thread for the calls of many goroutines. Opaque. */
typedef struct GoroutineFfiLane GoroutineFfiLane;
/** A mutex. Opaque. */
typedef struct GoroutineMutex GoroutineMutex;
/** A readers-writer lock. Opaque. */
typedef struct GoroutineRwLock GoroutineRwLock;
/** A condition. Opaque. */
typedef struct GoroutineCondition GoroutineCondition;
/** A semaphore. Opaque. */
typedef struct GoroutineSemaphore GoroutineSemaphore;
/** A count that can be waited for. Opaque. */
typedef struct GoroutineWaitGroup GoroutineWaitGroup;
/** Something that happens once. Opaque. */
typedef struct GoroutineOnce GoroutineOnce;
/** A channel. Opaque. */
typedef struct GoroutineChannel GoroutineChannel;
/** Goroutines that belong together. Opaque. */
typedef struct GoroutineGroup GoroutineGroup;

/* The structs that callers fill, or have filled: the macros pass the size that the caller was compiled with, so that
 * a newer library never writes past an older program's struct. */

/** `GoroutineConfig *c`: the defaults. */
#define goroutine_config_init(c) goroutine_config_init_sized((c), sizeof *(c))
/** `GoroutineSpawn *s`: zero, and its size. */
#define goroutine_spawn_init(s) goroutine_spawn_init_sized((s), sizeof *(s))
/** `GoroutineStats *s`: zero, and its size. */
#define goroutine_stats_init(s) goroutine_stats_init_sized((s), sizeof *(s))

/**
 * Code flag: every frame of the function has its caller's rbp at `[rbp]` and its return address at `[rbp + 8]`, but in its first and
 * last instructions.
 */
#define GOROUTINE_CODE_FRAME_POINTER 1
/** Bytes of a `GoroutineCode`. */
#define GOROUTINE_CODE_BYTES 64

/** Config flag: all code on goroutine stacks is the language's own. */
#define GOROUTINE_CONFIG_OWN_CODE 1
/** Config flag: install no signal handlers. */
#define GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS 2
/**
 * Config flag: report goroutines that wait for each other on stderr, within a second (by looking several times a second; channels and
 * readers-writer locks remember who used them). When all are asleep for good, goroutine_runtime_wait and goroutine_runtime_run give GOROUTINE_EDEADLK.
 */
#define GOROUTINE_CONFIG_DEADLOCK_REPORT 4
/**
 * Config flag: learn from samples how much stack the goroutines use that are spawned of one function at one place (where the call of the spawn
 * returns to), and have it there before the next one runs, so that it does not take a page fault for each page. Linux 5.14; before that the start
 * gives GOROUTINE_ENOSYS.
 */
#define GOROUTINE_CONFIG_LEARN_STACKS 8
/** Config flag: make no threads ahead for functions whose goroutines nearly always bind. */
#define GOROUTINE_CONFIG_NO_PREDICTION 16
/**
 * Config flag: files are read and written by threads, not by the kernel's io_uring. GOROUTINE_IO_URING=0 in the environment sets it, too.
 */
#define GOROUTINE_CONFIG_NO_IO_URING 32

/** Words of `ffi_cpus`. */
#define GOROUTINE_CPUS_WORDS 16

/** `ffi_exhausted`: wait for a thread, first come first served. */
#define GOROUTINE_FFI_WAIT 0
/** `ffi_exhausted`: run the call without binding. */
#define GOROUTINE_FFI_UNBOUND 1
/** `ffi_exhausted`: fail with `GOROUTINE_EFFITHREADS`. */
#define GOROUTINE_FFI_FAIL 2
/** `ffi_release`: a thread that is given back serves again. */
#define GOROUTINE_FFI_REUSE 0
/**
 * `ffi_release`: a thread that is given back ends: after a bound goroutine, a blocking call that took long, loads, and calls of
 * goroutine_ffi_call_async, of which it may run several in a row.
 */
#define GOROUTINE_FFI_RETIRE 1

/** Bytes of a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_BYTES 688
/** Offset of `rax` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RAX 0
/** Offset of `rbx` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RBX 8
/** Offset of `rcx` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RCX 16
/** Offset of `rdx` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RDX 24
/** Offset of `rsi` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RSI 32
/** Offset of `rdi` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RDI 40
/** Offset of `rbp` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RBP 48
/** Offset of `r8` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_R8 56
/** Offset of `r9` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_R9 64
/** Offset of `r10` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_R10 72
/** Offset of `r11` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_R11 80
/** Offset of `r12` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_R12 88
/** Offset of `r13` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_R13 96
/** Offset of `r14` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_R14 104
/** Offset of `r15` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_R15 112
/** Offset of `rsp` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RSP 120
/** Offset of `rip` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RIP 128
/** Offset of `rflags` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_RFLAGS 136
/** Offset of `xmm_state` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_XMM_STATE 144
/** Offset of `stack_base` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_STACK_BASE 656
/** Offset of `stack_top` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_STACK_TOP 664
/** Offset of `stack_size` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_STACK_SIZE 672
/** Offset of `guard_page` in a `GoroutineContext`. */
#define GOROUTINE_CONTEXT_OFFSET_GUARD_PAGE 680

/** The version of the binary interface this library implements. */
#define GOROUTINE_ABI_VERSION 1

/** A time-out that never passes. */
#define GOROUTINE_FOREVER UINT64_MAX

/** Bytes below `stack_limit` that are always usable: enough for every function of the library. */
#define GOROUTINE_STACK_RESERVE 4096

/** Bytes of the overflowed stack on which the config's `stack_overflow` runs. */
#define GOROUTINE_OVERFLOW_RESERVE 16384

/** Offset of `stack_limit` (`uint64_t`) in a `Goroutine`: a prologue compares `rsp` with it. */
#define GOROUTINE_OFFSET_STACK_LIMIT 0
/** Offset of `id` (`uint64_t`), never reused. */
#define GOROUTINE_OFFSET_ID 8
/** Offset of `preempt` (`uint32_t`): when non-zero, call `goroutine_safepoint`. */
#define GOROUTINE_OFFSET_PREEMPT 16
/** Offset of `flags` (`uint32_t`): `GOROUTINE_FLAG_*`. */
#define GOROUTINE_OFFSET_FLAGS 20
/**
 * Offset of `native_stack` (`uint64_t`): where the next foreign call's stack starts; 0 outside goroutines.
 */
#define GOROUTINE_OFFSET_NATIVE_STACK 24
/** Offset of `context` (`GoroutineContext *`): set while stopped with the full register file. */
#define GOROUTINE_OFFSET_CONTEXT 32
/** Offset of `user[3]` (`uint64_t`): they belong to the compiler, zero at start, roots for a collector. */
#define GOROUTINE_OFFSET_USER 40
/** Offset of `foreign_sp` (`uint64_t`): non-zero while in foreign code. */
#define GOROUTINE_OFFSET_FOREIGN_SP 64

/** Bytes of a `Goroutine` that are visible to emitted code. */
#define GOROUTINE_HEADER_BYTES 128

/** Bit of `flags`: the goroutine is bound to an OS thread. */
#define GOROUTINE_FLAG_BOUND 1
/** Bit of `flags`: stands for a thread the library did not make. */
#define GOROUTINE_FLAG_ATTACHED 2
/** Bit of `flags`: somebody asked it to stop. */
#define GOROUTINE_FLAG_CANCEL 4

/** `goroutine_ffi_call`: on the goroutine's own thread (`execute_ffi_call`). */
#define GOROUTINE_FFI_BOUND 0
/** `goroutine_ffi_call`: on whichever thread runs the goroutine (`goroutine_ffi_call_leaf`). */
#define GOROUTINE_FFI_LEAF 1
/** `goroutine_ffi_call`: the same, and other goroutines go on elsewhere (`goroutine_ffi_call_blocking`). */
#define GOROUTINE_FFI_BLOCKING 2

/** Offset of `state` (`uint32_t`, acquire load) in a `GoroutinePromise`. */
#define GOROUTINE_PROMISE_OFFSET_STATE 0
/** Offset of `value` (`void *`), valid once `state` is not `GOROUTINE_PROMISE_PENDING`. */
#define GOROUTINE_PROMISE_OFFSET_VALUE 8
/** Promise state: not settled. */
#define GOROUTINE_PROMISE_PENDING 0
/** Promise state: settled with a value. */
#define GOROUTINE_PROMISE_RESOLVED 1
/** Promise state: settled with a reason. */
#define GOROUTINE_PROMISE_REJECTED 2

/** `goroutine_timer_start_with`: the timer does not keep the program alive. */
#define GOROUTINE_TIMER_UNREF 1

/** Kind of an async operation: a timer. */
#define GOROUTINE_ASYNC_TIMER 0
/** Kind of an async operation: an HTTP request. */
#define GOROUTINE_ASYNC_HTTP_REQUEST 1
/** Kind of an async operation: file input or output. */
#define GOROUTINE_ASYNC_FILE_IO 2
/** Kind of an async operation: a promise combinator. */
#define GOROUTINE_ASYNC_PROMISE_ALL 3
/** Kind of an async operation: the caller's own. */
#define GOROUTINE_ASYNC_CUSTOM 4

/** Spawn flag: bound to an OS thread from its start. */
#define GOROUTINE_SPAWN_BOUND 1
/** Spawn flag: runs before regular goroutines. */
#define GOROUTINE_SPAWN_PRIORITY 2
/** Spawn flag: does not keep the program alive. */
#define GOROUTINE_SPAWN_DAEMON 4
/**
 * Spawn flag: stays on one worker, that of its spawner, and while it lives this worker stays on one thread: a goroutine that binds there
 * moves to another thread, and a blocking call there keeps the worker, and makes all others on it wait. Two things end that. Once it is
 * bound, by itself or because its own callback parks, the thread is its own until it unbinds, and it is not pinned any more. And where
 * somebody else's callback parks, C frames keep that thread: the worker goes on on another one, its pinned goroutines with it. A goroutine
 * that must never change its thread is spawned with `GOROUTINE_SPAWN_BOUND`, which makes this flag mean nothing.
 */
#define GOROUTINE_SPAWN_PINNED 8
/** Bytes of a `GoroutineSpawn` in ABI 1. */
#define GOROUTINE_SPAWN_BYTES 240
/** The smallest `size` that is accepted: through `int_args`. */
#define GOROUTINE_SPAWN_BYTES_MIN 64

/** `goroutine_mutex_new`: its owner may lock it again, and unlocks it as often. */
#define GOROUTINE_MUTEX_RECURSIVE 1

/** `goroutine_group_new`: the first member that fails cancels the others. */
#define GOROUTINE_GROUP_CANCEL_ON_ERROR 1

/** `op` of a select's case: send the value at `value`. */
#define GOROUTINE_SELECT_SEND 0
/** `op`: receive into `value`. */
#define GOROUTINE_SELECT_RECEIVE 1
/** `op`: a promise settles; `value` is a `void **`. */
#define GOROUTINE_SELECT_PROMISE 2
/** Bytes of a `GoroutineSelectCase`. */
#define GOROUTINE_SELECT_CASE_BYTES 24
/** Offset of `op` (`uint32_t`) in a `GoroutineSelectCase`. */
#define GOROUTINE_SELECT_CASE_OFFSET_OP 0
/** Offset of `status` (`int32_t`). */
#define GOROUTINE_SELECT_CASE_OFFSET_STATUS 4
/** Offset of `object` (`void *`). */
#define GOROUTINE_SELECT_CASE_OFFSET_OBJECT 8
/** Offset of `value` (`void *`). */
#define GOROUTINE_SELECT_CASE_OFFSET_VALUE 16

/** 0 (`GOROUTINE_OK`) or a negative `GOROUTINE_E…` code. */
typedef int32_t GoroutineStatus;

/**
 * Every register of a stopped context and the stack it runs on. Filled by `save_context`,
 * `switch_context` and `goroutine_context_init`; continued by `restore_context` and `switch_context`.
 */
typedef struct GOROUTINE_ALIGNED(16) GoroutineContext {
    uint64_t rax;
    uint64_t rbx;
    uint64_t rcx;
    uint64_t rdx;
    uint64_t rsi;
    uint64_t rdi;
    uint64_t rbp;
    uint64_t r8;
    uint64_t r9;
    uint64_t r10;
    uint64_t r11;
    uint64_t r12;
    uint64_t r13;
    uint64_t r14;
    uint64_t r15;
    uint64_t rsp;
    uint64_t rip;
    uint64_t rflags;
    /** FXSAVE image: x87, MXCSR, xmm0 to xmm15. */
    uint8_t xmm_state[512];
    /** Lowest usable address of the stack. */
    void *stack_base;
    /** One past the highest. */
    void *stack_top;
    /** Usable bytes. */
    size_t stack_size;
    /** The inaccessible pages below `stack_base`, or NULL. */
    void *guard_page;
} GoroutineContext;

/**
 * The stack of `g`, the running goroutine, has overflowed in the language's own code: registered code, or with `GOROUTINE_CONFIG_OWN_CODE` the
 * program itself and code that no loaded object maps; with no C frames live. It runs on `GOROUTINE_OVERFLOW_RESERVE` bytes of the same stack,
 * and may edit `at` (execution resumes there), throw, or return: that ends the goroutine, whose promise settles with
 * `GOROUTINE_ESTACKOVERFLOW`. Otherwise, and without one, an overflow is reported on stderr, and the SIGSEGV goes on. A language that throws
 * in a way of its own calls `goroutine_ffi_landed` where it caught: that makes the reserve ready for another time. It must not park.
 */
typedef void (*GoroutineStackOverflowFn)(Goroutine *g,
                                         void *fault_address,
                                         struct GoroutineContext *at,
                                         void *arg);

/**
 * A failure nobody looked at: a promise-less goroutine's (`g` set), or a rejected promise's that was
 * released unobserved (`g` NULL).
 */
typedef void (*GoroutineUnhandledFn)(const Goroutine *g, GoroutineStatus status, void *reason, void *arg);

/** A foreign call could not bind. */
typedef void (*GoroutineFfiFailedFn)(Goroutine *g, GoroutineStatus status, void *arg);

/** A goroutine ended; runs off its stack. */
typedef void (*GoroutineEndFn)(Goroutine *g, void *arg);

/** A thread of the library starts, stops, or is about to sleep. */
typedef void (*GoroutineThreadFn)(void *arg);

/**
 * The library found something that cannot go on; `message` is what it also writes to stderr. `abort` follows.
 */
typedef void (*GoroutineFatalFn)(const char *message, void *arg);

/** How to run. Fill with `goroutine_config_init`, then change what you need. */
typedef struct GoroutineConfig {
    /** Bytes of this struct that the caller knows. */
    uint32_t size;
    /** `GOROUTINE_CONFIG_*`. */
    uint32_t flags;
    /** Workers; 0: as many as the CPU affinity and the cgroup quota allow. At most 256. */
    uint32_t workers;
    /** Must be 0. */
    uint32_t reserved;
    /**
     * Bytes reserved per goroutine, guard included, rounded up to a power of two, at least 128 KiB; 0: 256 KiB.
     */
    uint64_t stack_bytes;
    /**
     * The largest reservation that a spawn may ask for, and the most that any goroutine may grow to (goroutine_more_stack); 0: 1 GiB.
     */
    uint64_t stack_bytes_max;
    /** Most threads for bound goroutines, and as many for blocking calls that last; 0: 1,000. */
    uint32_t ffi_threads_max;
    /** How many of them to start at once, and to keep. */
    uint32_t ffi_threads_prestart;
    /** `GOROUTINE_FFI_WAIT`, `_UNBOUND` or `_FAIL`. */
    uint32_t ffi_exhausted;
    /** `GOROUTINE_FFI_REUSE` or `_RETIRE`. */
    uint32_t ffi_release;
    GoroutineStackOverflowFn stack_overflow;
    void *stack_overflow_arg;
    GoroutineUnhandledFn unhandled;
    void *unhandled_arg;
    GoroutineFfiFailedFn ffi_failed;
    void *ffi_failed_arg;
    GoroutineEndFn goroutine_end;
    void *goroutine_end_arg;
    GoroutineThreadFn thread_start;
    void *thread_start_arg;
    GoroutineThreadFn thread_stop;
    void *thread_stop_arg;
    GoroutineThreadFn idle;
    void *idle_arg;
    GoroutineFatalFn fatal;
    void *fatal_arg;
    /**
     * Bytes of stack of every thread of the library, on which foreign calls run; 0: 8 MiB. At least 256 KiB are taken.
     */
    uint64_t thread_stack_bytes;
    /**
     * Asynchronous signals that threads of the library do not block: bit n - 1 is signal n. Their handlers need
     * SA_ONSTACK, or the start gives GOROUTINE_EINVAL.
     */
    uint64_t signals_open;
    /** How long a spare thread waits before it ends, unless it is one of the last few; 0: 10 s. */
    uint64_t ffi_threads_idle_ns;
    /**
     * The CPUs for threads that serve bound goroutines, lanes and other calls on the library's own threads, while they do so:
     * bit n % 64 of word n / 64 is CPU n. All 0: any. Those that the process may not use do not count; if none is left,
     * the start gives GOROUTINE_EINVAL. A thread that serves no more has the CPUs again that it had before.
     */
    uint64_t ffi_cpus[GOROUTINE_CPUS_WORDS];
    /** 1: each of these threads on one CPU of them (of all, if `ffi_cpus` is 0), the one with the fewest. */
    uint32_t ffi_cpus_spread;
    /** Must be 0. */
    uint32_t reserved_too;
} GoroutineConfig;

/** A goroutine's function: one argument in, one value out. NULL is refused with `GOROUTINE_EINVAL`. */
typedef void *(*GoroutineFn)(void *arg);

/** Counters of a running runtime. Each is exact; together they are not one moment's picture. */
typedef struct GoroutineStats {
    /** Bytes of this struct that the caller knows. */
    uint32_t size;
    /** Workers. */
    uint32_t workers;
    /** Goroutines ever spawned. */
    uint64_t spawned;
    /** Goroutines ended. */
    uint64_t finished;
    /** Goroutines that exist now, daemons included. */
    uint64_t live;
    /** Timers armed now, those of sleeps and time-outs included. */
    uint64_t timers;
    /** Async operations pending. */
    uint64_t async_operations;
    /** Goroutines taken from another worker. */
    uint64_t stolen;
    /** Times a worker went to sleep. */
    uint64_t sleeps;
    /** Times a sleeping worker was woken for work. */
    uint64_t wakes;
    /** Times a long queue was shared out. */
    uint64_t published;
    /** OS threads of the library. */
    uint64_t threads;
    /** Stacks reserved. */
    uint64_t stacks;
    /** Stacks in the shared pools; workers keep up to 256 more each. */
    uint64_t stacks_free;
    /** Stacks whose memory was given back by the background trim. */
    uint64_t stacks_trimmed;
    /** Promises that exist now, and up to 512 spare ones per worker. */
    uint64_t promises;
    /** Threads that wait for a goroutine to bind, or for a worker. */
    uint64_t ffi_threads_idle;
    /** Most scheduling threads there ever were at a time. */
    uint64_t ffi_threads_peak;
    /**
     * Threads taken now: by bound goroutines, by calls that the library runs on threads of its own, and by long blocking calls.
     */
    uint64_t ffi_bound;
    /** Times a goroutine was bound. */
    uint64_t ffi_bindings;
    /** Of them because it parked with C frames live: beyond `ffi_threads_max` if need be. */
    uint64_t ffi_bindings_on_the_spot;
    /**
     * Calls that went through the library while their goroutines were bound; counted when the binding ends.
     */
    uint64_t ffi_calls;
    /** Times a worker went on on another thread. */
    uint64_t ffi_hand_offs;
    /** Times somebody waited for a thread, because `ffi_threads_max` were taken. */
    uint64_t ffi_waits;
    /** Times a goroutine was not bound for that reason, or for want of memory. */
    uint64_t ffi_refused;
    /**
     * Threads taken without waiting, by bindings and by calls on the library's own threads: there was one in reserve ...
     */
    uint64_t ffi_spares_ready;
    /** ... or one had to be made. */
    uint64_t ffi_spares_missed;
    /** Times a worker was taken away from a long blocking call. */
    uint64_t ffi_retaken;
    /** Events in the file of the last trace that ended ... */
    uint64_t trace_events;
    /** ... and events of it that were dropped, because nobody got to them in time. */
    uint64_t trace_lost;
    /** Linked segments reserved. */
    uint64_t segments;
    /** Of them in the shared pool; goroutines that grew keep one or so more each. */
    uint64_t segments_free;
    /** Times a goroutine took one from there. */
    uint64_t segments_taken;
    /** Times the memory of one was given back by the background trim. */
    uint64_t segments_trimmed;
    /**
     * Times a goroutine that had run for 10 ms while others waited was asked to give way (`preempt` in its header).
     */
    uint64_t preempted;
    /** Of them how many did not look within another 10 ms: they do not poll. */
    uint64_t preempt_ignored;
    /** The id of the last one of those; 0: none. */
    uint64_t preempt_ignored_by;
    /** Times the world was stopped, in this process. */
    uint64_t world_stops;
    /**
     * The id of the goroutine that kept goroutine_world_stop from succeeding, the last time that timed out; 0: none, or code between two goroutines.
     */
    uint64_t world_held_up_by;
} GoroutineStats;

/** The registers, the stack and the options a goroutine starts with. Everything is copied. */
typedef struct GoroutineSpawn {
    /** Bytes of this struct that the caller knows: 64, or 240 and more (what is beyond is not looked at). */
    uint32_t size;
    /** `GOROUTINE_SPAWN_*`. */
    uint32_t flags;
    /** Called with the arguments below; its `rax` is the promise's value. */
    void *fn;
    /** rdi, rsi, rdx, rcx, r8, r9. */
    uint64_t int_args[6];
    /** Arguments passed on the stack, first one at `[rsp + 8]` of the called function. */
    const uint64_t *stack_args;
    /** How many; 65,536 at most. */
    uint64_t stack_args_count;
    /** rbx at entry. */
    uint64_t rbx;
    /** rbp at entry. */
    uint64_t rbp;
    /** r12 at entry. */
    uint64_t r12;
    /** r13 at entry. */
    uint64_t r13;
    /** r14 at entry. */
    uint64_t r14;
    /** r15 at entry. */
    uint64_t r15;
    /** First values of the header's `user` words. */
    uint64_t user[3];
    /**
     * Bytes to reserve, guard included, rounded up to a power of two, at least 128 KiB; 0: the configured default.
     */
    uint64_t stack_bytes;
    /** For reports; NULL: none. At most 63 bytes are kept. */
    const char *name;
    /**
     * Start from this register file instead of `fn`: `rip` is where, `rsp` 0 means the goroutine's own stack.
     */
    const struct GoroutineContext *context;
    /** xmm0 to xmm7. */
    double fp_args[8];
} GoroutineSpawn;

/** One park of one goroutine. Copy it freely: it readies once, and a stale one does nothing. */
typedef struct GoroutineTicket {
    /** Names the goroutine. Opaque. */
    uint64_t goroutine;
    /** Names the park; unique in the process. */
    uint64_t sequence;
} GoroutineTicket;

/** Runs off the goroutine's stack once `ticket` may be readied; `false`: do not park. */
typedef bool (*GoroutineParkFn)(struct GoroutineTicket ticket, void *arg);

/** Frees a value that its owner drops. */
typedef void (*GoroutineDropFn)(void *value);

/** Runs when a promise settles, once, in a goroutine of its own. */
typedef void (*GoroutineThenFn)(void *arg, GoroutineStatus status, void *value);

/**
 * Tells a host that its lane has calls: called when there is one after there was none, by the thread that made it, and after
 * a drain that left some. It must not call into the lane; it posts to the host's event loop.
 */
typedef void (*GoroutineFfiWakeFn)(void *arg);

/** Runs after a call that `goroutine_ffi_call_async` made, on the thread that made it. */
typedef void (*GoroutineFfiDoneFn)(void *arg, void *result);

/** One case of `goroutine_select`. */
typedef struct GoroutineSelectCase {
    /** `GOROUTINE_SELECT_*`. */
    uint32_t op;
    /** Written if it is chosen. */
    GoroutineStatus status;
    /** A `GoroutineChannel *` or `GoroutinePromise *`; NULL: it is never chosen. */
    void *object;
    /** To send, or where to receive. */
    void *value;
} GoroutineSelectCase;

/** Gets a live range of a stopped world. See goroutine_world_for_each. */
typedef void (*GoroutineRangeFn)(void *arg,
                                 const Goroutine *g,
                                 const struct GoroutineContext *registers,
                                 const void *low,
                                 const void *high);

/** Gets a word that the library keeps for goroutines. See goroutine_world_for_each_root. */
typedef void (*GoroutineRootFn)(void *arg, void **slot);

/** A function in memory. Everything but the code itself is copied. */
typedef struct GoroutineCode {
    /** Bytes of this struct that the caller knows: 64, or more (what is beyond is not looked at). */
    uint32_t size;
    /** `GOROUTINE_CODE_*`. */
    uint32_t flags;
    /** For people. At most 255 bytes are kept. */
    const char *name;
    /** Its first instruction. */
    const void *code;
    /** Bytes of code. */
    uint64_t code_bytes;
    /**
     * Unwind tables, as in a section .eh_frame; NULL: none. Functions of one call may have one and the same.
     */
    const void *eh_frame;
    /** Bytes of them. */
    uint64_t eh_frame_bytes;
    /**
     * An ELF image with symbols and line numbers, for debuggers; NULL: the library makes one with the name.
     */
    const void *symfile;
    /** Bytes of it. */
    uint64_t symfile_bytes;
} GoroutineCode;

/** One of `GOROUTINE_ASYNC_*`. */
typedef uint32_t GoroutineAsyncType;

/** What `goroutine_promise_all_settled` gives for each input. */
typedef struct GoroutineSettled {
    /** `GOROUTINE_OK` or the status that the promise was rejected with. */
    GoroutineStatus status;
    /** The value or the reason. */
    void *value;
} GoroutineSettled;

/** Success. */
#define GOROUTINE_OK 0
/** The caller may not do that. */
#define GOROUTINE_EPERM (-1)
/** The descriptor is closed. */
#define GOROUTINE_EBADF (-9)
/** Not ready, and the time-out was 0. */
#define GOROUTINE_EAGAIN (-11)
/** Out of memory or address space. */
#define GOROUTINE_ENOMEM (-12)
/** The object is in use: somebody has it, waits on it, or runs in it. */
#define GOROUTINE_EBUSY (-16)
/** An argument, or a field of what it points to, is NULL or out of range, or does not fit this call. */
#define GOROUTINE_EINVAL (-22)
/** The channel is closed. */
#define GOROUTINE_EPIPE (-32)
/** The caller has it, or would wait for itself. */
#define GOROUTINE_EDEADLK (-35)
/** Not available in this build of the library. */
#define GOROUTINE_ENOSYS (-38)
/** The time-out passed. */
#define GOROUTINE_ETIMEDOUT (-110)
/** It was done before. */
#define GOROUTINE_EALREADY (-114)
/** The goroutine was cancelled. */
#define GOROUTINE_ECANCELED (-125)
/** The lock is the caller's: its last owner ended with it. */
#define GOROUTINE_EOWNERDEAD (-130)
/** The promise was rejected; the value is the reason. */
#define GOROUTINE_EREJECTED (-4096)
/** Only a goroutine may call that. */
#define GOROUTINE_ENOTGOROUTINE (-4097)
/** The runtime is shutting down, or was shut down: goroutine_runtime_start starts it again. */
#define GOROUTINE_ESHUTDOWN (-4098)
/** The goroutine ran out of stack. */
#define GOROUTINE_ESTACKOVERFLOW (-4099)
/** No thread for foreign calls is free. */
#define GOROUTINE_EFFITHREADS (-4100)
/** The library or symbol could not be loaded: goroutine_ffi_error tells why. */
#define GOROUTINE_EFFILOAD (-4101)

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ---- The runtime: start, run, wait, shut down. ---- */

/**
 * The ABI version of the library that is loaded: compare it with `GOROUTINE_ABI_VERSION`.
 * Context:   T, G, R, S.
 * Returns:   the version.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
uint32_t goroutine_abi_version(void);

/**
 * The version of the library that is loaded, as in "0.1.0".
 * Context:   T, G, R, S.
 * Returns:   a string that lives as long as the library.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
const char *goroutine_version(void);

/**
 * The name of a status: "GOROUTINE_ETIMEDOUT"; of an errno that has no constant here: "ECONNRESET".
 * Context:   T, G, R, S.
 * Returns:   a string that lives as long as the library; "GOROUTINE_UNKNOWN" for a value that is no status.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
const char *goroutine_status_name(GoroutineStatus status);

/**
 * A sentence for people about a status.
 * Context:   T, G, R, S.
 * Returns:   a string that lives as long as the library.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
const char *goroutine_status_message(GoroutineStatus status);

/**
 * The `fs:` offset of the word that holds the current `Goroutine *`. The word is never NULL: outside a goroutine
 * it points to a dummy whose header is all zeros. The offset is the same on every thread while the library is loaded;
 * it may differ in the next process. Valid before start.
 * Context:   T, G, R, S.
 * Returns:   the offset: `mov reg, fs:[offset]`.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int32_t goroutine_tls_offset(void);

/**
 * Fills a config with the defaults. Use the macro `goroutine_config_init(c)`.
 * Context:   T, G, R, S. NULL is ignored.
 * Output:    `size` bytes at most, so a newer library does not write past an older caller's struct.
 * Since:     ABI 1.
 *
 * Safety:
 * `config` has `size` writable bytes, or is NULL.
 */
void goroutine_config_init_sized(struct GoroutineConfig *config, size_t size);

/**
 * Starts the runtime. NULL: the defaults, changed by the environment (`GOROUTINE_WORKERS`, `GOROUTINE_STACK_BYTES`,
 * `GOROUTINE_STACK_BYTES_MAX`, `GOROUTINE_NO_SIGNAL_HANDLERS`, `GOROUTINE_LEARN_STACKS`,
 * `GOROUTINE_IO_URING`). The first spawn, timer or async operation of a process starts it so by itself;
 * after a shutdown only this function does.
 * Context:   T, G.
 * Ownership: `config` is copied.
 * Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (it runs), GOROUTINE_EINVAL (stderr says which field), GOROUTINE_ENOMEM (threads),
 * GOROUTINE_ENOSYS (the kernel cannot do what an option needs); a negative errno: the trace that GOROUTINE_TRACE asks for cannot be written
 * (stderr says why).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_runtime_start(const struct GoroutineConfig *config);

/**
 * Starts the runtime if need be, runs `main_fn(arg)` as a goroutine, and waits until nothing is left that keeps the
 * program alive. The calling thread never runs goroutines. It does not shut down.
 * Context:   T.
 * Output:    `*result` (may be NULL): the value, or the reason.
 * Returns:   what `main_fn` ended with (GOROUTINE_OK, GOROUTINE_EREJECTED, ...); GOROUTINE_EINVAL, GOROUTINE_EDEADLK (on a goroutine, or a
 * thread of the library; with GOROUTINE_CONFIG_DEADLOCK_REPORT also when all goroutines that are left are asleep for good, as
 * goroutine_runtime_wait has it: they stay, and `main_fn` may be one of them), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_runtime_run(GoroutineFn main_fn,
                                      void *arg,
                                      void **result);

/**
 * Waits until no goroutine (but daemons), timer (but unreferenced ones) or async operation is left.
 * Context:   T.
 * Returns:   GOROUTINE_OK (also when nothing was ever started), GOROUTINE_EAGAIN (`timeout_ns` 0), GOROUTINE_ETIMEDOUT,
 * GOROUTINE_EDEADLK (on a goroutine, or a thread of the library, which would wait for itself; with GOROUTINE_CONFIG_DEADLOCK_REPORT also
 * when all goroutines are asleep for good, as far as the library can know), GOROUTINE_ESHUTDOWN (a shutdown came, and something is left that only a plain thread could end).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_runtime_wait(uint64_t timeout_ns);

/**
 * Refuses new goroutines, stops timers, cancels what is left, waits for it, joins every thread. A start may follow. From a start to
 * the end of a shutdown the library stays loaded, whoever calls dlclose on it; after that, a dlclose unmaps it, also one that came
 * before (unless another library has put its signal handlers on top of ours, and may call them).
 * After one, also when nothing ran or ever had, only goroutine_runtime_start starts it again: the first spawn no longer does by itself.
 * Context:   T.
 * Returns:   GOROUTINE_OK (also when nothing runs), GOROUTINE_EDEADLK (on a goroutine), GOROUTINE_ETIMEDOUT: still stopping, nothing
 * freed; what is stuck is named on stderr; call again. GOROUTINE_EAGAIN (`timeout_ns` 0): the same, without a report.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_runtime_shutdown(uint64_t timeout_ns);

/**
 * One more user of the runtime in this process. It does not start it.
 * Context:   T, G.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_runtime_retain(void);

/**
 * One user less; the last release shuts down.
 * Context:   T.
 * Returns:   GOROUTINE_OK, GOROUTINE_EPERM (nobody had retained), and as goroutine_runtime_shutdown.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_runtime_release(uint64_t timeout_ns);

/**
 * Sets `size` and zeros the rest. Use the macro `goroutine_stats_init(s)`.
 * Context:   T, G, R, S. NULL is ignored.
 * Since:     ABI 1.
 *
 * Safety:
 * `stats` has `size` writable bytes, or is NULL.
 */
void goroutine_stats_init_sized(struct GoroutineStats *stats, size_t size);

/**
 * Counters of the running runtime. All zero when none runs.
 * Context:   T, G.
 * Output:    `out->size` bytes at most.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL, or a `size` below 8).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_runtime_stats(struct GoroutineStats *out);

/**
 * A plain thread will settle or ready something: until goroutine_external_end the runtime does not count as finished,
 * and no deadlock is reported.
 * Context:   T, G.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_external_begin(void);

/**
 * Ends a goroutine_external_begin.
 * Context:   T, G.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_external_end(void);

/* ---- Goroutines: spawn, yield, sleep, park, cancel. ---- */

/**
 * Runs `f(arg)` in a new goroutine, without a handle: the cheapest way.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_go(GoroutineFn f, void *arg);

/**
 * Runs `f(arg)` in a new goroutine.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller has one reference to the promise: goroutine_promise_release.
 * Returns:   a promise of its return value; NULL when out of memory or shut down, or `f` is NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutinePromise *goroutine_spawn(GoroutineFn f, void *arg);

/**
 * Sets `size` and zeros the rest. Use the macro `goroutine_spawn_init(s)`.
 * Context:   T, G, R, S. NULL is ignored.
 * Since:     ABI 1.
 *
 * Safety:
 * `request` has `size` writable bytes, or is NULL.
 */
void goroutine_spawn_init_sized(struct GoroutineSpawn *request, size_t size);

/**
 * Starts a goroutine with registers, stack arguments and options of the caller's choice.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: everything is copied; the caller has one reference to `*out`.
 * Output:    `*out` (may be NULL): the promise of its rax.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (stderr says which field), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN,
 * GOROUTINE_EFFITHREADS (GOROUTINE_SPAWN_BOUND with the policy GOROUTINE_FFI_FAIL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_spawn_with(const struct GoroutineSpawn *request, GoroutinePromise **out);

/**
 * The running goroutine.
 * Context:   T, G, R, S.
 * Returns:   it; NULL outside goroutines. Valid only inside that goroutine, or while the world is stopped.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
Goroutine *goroutine_current(void);

/**
 * The id of a goroutine, never reused in a process; in no order.
 * Context:   T, G, R, S.
 * Returns:   the id; 0 for NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
uint64_t goroutine_id(const Goroutine *g);

/**
 * The usable stack that the running goroutine runs on: its own, or a linked segment (`goroutine_more_stack`).
 * Context:   G, R, S.
 * Output:    lowest usable address, and one past the highest.
 * Returns:   GOROUTINE_OK, GOROUTINE_ENOTGOROUTINE, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_stack_bounds(void **lo, void **hi);

/**
 * Lets other goroutines run. On a plain thread: sched_yield.
 * Context:   T, G.
 * Parks:     yes. It may resume on another thread.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_yield(void);

/**
 * Parks the goroutine for at least `ns` nanoseconds. On a plain thread it sleeps the thread.
 * Context:   T, G.
 * Parks:     yes. It may resume on another thread.
 * Returns:   GOROUTINE_OK, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_sleep(uint64_t ns);

/**
 * Ends the running goroutine, at any depth; its frames are abandoned. GOROUTINE_OK resolves its promise with `value`,
 * GOROUTINE_EREJECTED rejects it with `value`, another negative status settles it with that. A positive status, or a call
 * outside a goroutine, is fatal: one line on stderr, the `fatal` callback, abort.
 * Context:   G.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GOROUTINE_NORETURN void goroutine_exit(GoroutineStatus status,
                     void *value);

/**
 * Gives way if somebody asked for it: emitted code calls it when `preempt` is set. Clobbers what a C call clobbers.
 * Context:   T, G.
 * Parks:     if asked to.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_safepoint(void);

/**
 * The same, preserving every register, the flags and the vector state (x87, SSE, AVX, AVX-512), and recording the
 * `GoroutineContext` of the caller in the header's `context` meanwhile.
 * Context:   T, G.
 * Parks:     if asked to.
 * Stack:     up to 4 KiB of the goroutine's.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_safepoint_full(void);

/**
 * Asks the goroutine behind a promise to stop: wakes it if it is parked, and makes this and every later parking call
 * of it return GOROUTINE_ECANCELED, until it ends. It is not stopped by force.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (it has ended), GOROUTINE_EINVAL (NULL, or a promise without a goroutine).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_cancel(GoroutinePromise *promise);

/**
 * Until the matching goroutine_cancel_enable the running goroutine's parks are not cancelled. Nests. Does nothing
 * outside a goroutine.
 * Context:   T, G, R.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_cancel_disable(void);

/**
 * Ends a goroutine_cancel_disable. One too many is fatal.
 * Context:   T, G, R.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_cancel_enable(void);

/**
 * Parks the running goroutine. `commit(ticket, arg)` runs off its stack once the ticket may be readied; until it has
 * returned the goroutine does not run, so `arg` may lie on its stack. `false`: do not park. `commit` must not park.
 * Context:   G.
 * Parks:     yes. It may resume on another thread.
 * Returns:   what goroutine_ready passed; GOROUTINE_OK when `commit` gave false; GOROUTINE_ETIMEDOUT, GOROUTINE_EAGAIN (`timeout_ns` 0:
 * `commit` is not called), GOROUTINE_ECANCELED, GOROUTINE_EINVAL, GOROUTINE_ENOTGOROUTINE, GOROUTINE_ENOMEM.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_park(GoroutineParkFn commit,
                               void *arg,
                               uint64_t timeout_ns);

/**
 * Readies the park of a ticket; that park returns `status`. A ticket readies once; a stale or made-up one does nothing,
 * also after a shutdown. On a goroutine it takes no lock; on a plain thread it may enter the kernel to wake a worker.
 * Not R, not S.
 * Context:   T, G.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_ready(struct GoroutineTicket ticket,
                     GoroutineStatus status);

/* ---- Promises: settle, await, combine. ---- */

/**
 * A pending promise.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller has one reference.
 * Returns:   it; NULL when out of memory.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutinePromise *goroutine_promise_new(void);

/**
 * A pending promise that owns its value: `drop(value)` runs with its last release, if it was settled.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller has one reference.
 * Returns:   it; NULL when out of memory.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutinePromise *goroutine_promise_new_with(GoroutineDropFn drop);

/**
 * One more reference. NULL is ignored. A promise without a reference is fatal.
 * Context:   T, G, R.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_promise_retain(GoroutinePromise *promise);

/**
 * One reference less. NULL is ignored. One release too many is fatal while the memory is not in use again.
 * A rejected promise whose outcome nobody looked at goes to `unhandled`.
 * Context:   T, G.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_promise_release(GoroutinePromise *promise);

/**
 * Settles it with a value. On a goroutine it takes no lock of the system's; on a plain thread it may enter the kernel to
 * wake a worker. Not R.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (settled before), GOROUTINE_EPERM (a goroutine's promise), GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_promise_resolve(GoroutinePromise *promise,
                                          void *value);

/**
 * Settles it with a reason. As goroutine_promise_resolve.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   as goroutine_promise_resolve.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_promise_reject(GoroutinePromise *promise, void *value);

/**
 * Parks the goroutine until `promise` settles or `timeout_ns` passes. On a plain thread it blocks the thread.
 * Context:   T, G.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `promise`.
 * Output:    `*value` (may be NULL): the value, or with GOROUTINE_EREJECTED the reason; nothing with any other status.
 * Returns:   GOROUTINE_OK, GOROUTINE_EREJECTED, or the status that the goroutine ended with; of the caller: GOROUTINE_EAGAIN,
 * GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL. (A goroutine may end with one of these,
 * too: then the promise's `state` is not 0.)
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_promise_await(GoroutinePromise *promise,
                                        uint64_t timeout_ns,
                                        void **value);

/**
 * The same, and consumes the caller's reference, whatever it returns (but GOROUTINE_EINVAL).
 * Context:   T, G.
 * Parks:     as goroutine_promise_await.
 * Ownership: consumes `promise`.
 * Output:    as goroutine_promise_await.
 * Returns:   as goroutine_promise_await.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_promise_await_take(GoroutinePromise *promise, uint64_t timeout_ns, void **value);

/**
 * Runs `f(arg, status, value)` once, in a goroutine (it may clobber registers), when `promise` settles. A promise that never settles does not keep
 * the program alive by this. A shutdown before that: `f` does not run.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: retains `promise` until then.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_promise_then(GoroutinePromise *promise,
                                       GoroutineThenFn f,
                                       void *arg);

/**
 * Resolves with all values (`void *[n]`, in input order, owned by the promise), or settles as the first that is not resolved does,
 * with its status and reason.
 * Without inputs it is resolved at once.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result.
 * Returns:   a promise; NULL when out of memory, or an element is NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutinePromise *goroutine_promise_all(GoroutinePromise *const *promises,
                                        size_t n);

/**
 * Resolves once all inputs are settled, with `GoroutineSettled[n]` in input order, owned by the promise.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result.
 * Returns:   a promise; NULL when out of memory, or an element is NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutinePromise *goroutine_promise_all_settled(GoroutinePromise *const *promises, size_t n);

/**
 * Resolves with the first value, or rejects with all reasons (`void *[n]`, owned by the promise).
 * Without inputs it is rejected at once.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result.
 * Returns:   a promise; NULL when out of memory, or an element is NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutinePromise *goroutine_promise_any(GoroutinePromise *const *promises, size_t n);

/**
 * Settles as the first input does. Without inputs it stays pending.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result.
 * Returns:   a promise; NULL when out of memory, or an element is NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutinePromise *goroutine_promise_race(GoroutinePromise *const *promises, size_t n);

/* ---- Timers. ---- */

/**
 * Runs `f(arg)` in a goroutine of its own (it may clobber registers and call goroutine_exit), before regular work, once `delay_ns` has passed, and then every `period_ns`
 * (0: once). Intervals keep to the grid of the first deadline; runs of one timer never overlap, missed beats are left out.
 * Firing never fails for want of memory: it waits for some.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   an id (above 0, below 2^53, never reused), or GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t goroutine_timer_start(uint64_t delay_ns,
                              uint64_t period_ns,
                              GoroutineFn f,
                              void *arg);

/**
 * The same with a spawn request: `request->fn(int_args[0])` runs, with its `stack_bytes`, `name`, `user` and rbx; the other
 * registers are not used. `drop(arg)` runs once, after the stop and after any running callback. `flags`:
 * GOROUTINE_TIMER_UNREF.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: everything is copied; `drop` owns int_args[0] from a successful return on.
 * Returns:   as goroutine_timer_start.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t goroutine_timer_start_with(uint64_t delay_ns,
                                   uint64_t period_ns,
                                   const struct GoroutineSpawn *request,
                                   GoroutineDropFn drop,
                                   uint32_t flags);

/**
 * Stops a timer. Any value may be passed.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   true: it had not fired, or was periodic, and will not run again (a run under way goes on to its end).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool goroutine_timer_stop(int64_t id);

/* ---- Input and output: as if it blocked, while the thread runs other goroutines. ---- */

/**
 * Waits until a descriptor is ready for one of `events`: POLLIN, POLLOUT and their like, as for poll(2). `*ready` says for which; POLLERR and
 * POLLHUP are always waited for. The descriptor may be anybody's, also of a library that closes it without telling: it asks
 * the kernel each time, which takes two system calls, or one if it is ready.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `ready`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_EBADF (also: closed meanwhile), GOROUTINE_ENOMEM,
 *            GOROUTINE_EINVAL (NULL, other events).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_fd_wait(int32_t fd,
                                  uint32_t events,
                                  uint64_t timeout_ns,
                                  uint32_t *ready);

/**
 * The calls that follow on this descriptor end with -ETIMEDOUT once `timeout_ns` have passed from now: for `events` POLLIN reads and accepts,
 * for POLLOUT writes and connects. GOROUTINE_FOREVER: no deadline; 0: they end with -ETIMEDOUT at once. It is the descriptor's, for all calls until it is set
 * anew (so an idle time-out is set before each read), and does not change calls that have begun. Calls on files at an offset, or by name, have none.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   GOROUTINE_OK, GOROUTINE_EBADF (not open, unless it was used here and closed by close(2)), GOROUTINE_EINVAL (events).
 * Since:     ABI 1.
 */
GoroutineStatus goroutine_set_deadline(int32_t fd,
                                       uint32_t events,
                                       uint64_t timeout_ns);

/**
 * Reads up to `n` bytes, as read(2); waits until there are some, or the end.
 * Sockets are read without changing their mode. Other files, too, if their kind can be read without waiting (pipes, eventfd ...) or
 * they are non-blocking; else (terminals) the call is made as a blocking foreign call once there is something. Of regular files what is in
 * memory is read at once, and threads of the library do the rest. Now and then a call that need not wait gives way to other goroutines first.
 * What was read or written here is closed by goroutine_close and by nothing else: after close(2), or dup2(2) onto it, the next file with the number
 * may wait for a second or two for what it has already.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `buffer`.
 * Returns:   the number of bytes, 0 at the end; or a negative errno: -ETIMEDOUT (goroutine_set_deadline), -ECANCELED (nothing was read), -EBADF (also: closed meanwhile) ...
 * Since:     ABI 1.
 *
 * Safety:
 * `buffer` has room for `n` bytes.
 */
int64_t goroutine_read(int32_t fd,
                       void *buffer,
                       size_t n);

/**
 * Writes up to `n` bytes, as write(2), and returns as soon as some are written. A socket raises no SIGPIPE.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `buffer`.
 * Returns:   the number of bytes; or a negative errno, as goroutine_read, -EPIPE ...
 * Since:     ABI 1.
 *
 * Safety:
 * `buffer` holds `n` bytes.
 */
int64_t goroutine_write(int32_t fd, const void *buffer, size_t n);

/**
 * goroutine_read into several buffers, as readv(2).
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows all of them.
 * Returns:   as goroutine_read; -EINVAL.
 * Since:     ABI 1.
 *
 * Safety:
 * `vectors` are `count` buffers.
 */
int64_t goroutine_readv(int32_t fd, const struct iovec *vectors, int32_t count);

/**
 * goroutine_write of several buffers, as writev(2).
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows all of them.
 * Returns:   as goroutine_write; -EINVAL.
 * Since:     ABI 1.
 *
 * Safety:
 * `vectors` are `count` buffers.
 */
int64_t goroutine_writev(int32_t fd, const struct iovec *vectors, int32_t count);

/**
 * Receives one message, as recvmsg(2). With MSG_DONTWAIT, MSG_OOB or MSG_ERRQUEUE it does not wait: -EAGAIN.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `message` and what it names.
 * Returns:   the number of bytes; or a negative errno, as goroutine_read, -ENOTSOCK ...
 * Since:     ABI 1.
 *
 * Safety:
 * `message` is as recvmsg wants it, or NULL.
 */
int64_t goroutine_recvmsg(int32_t fd, struct msghdr *message, int32_t flags);

/**
 * Sends one message, as sendmsg(2). With MSG_DONTWAIT it does not wait: -EAGAIN.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `message` and what it names.
 * Returns:   the number of bytes; or a negative errno, as goroutine_write, -ENOTSOCK ...
 * Since:     ABI 1.
 *
 * Safety:
 * `message` is as sendmsg wants it, or NULL.
 */
int64_t goroutine_sendmsg(int32_t fd, const struct msghdr *message, int32_t flags);

/**
 * Waits for a connection, as accept(2). Makes `fd` non-blocking. Connections that broke before they were accepted are left out; when
 * the process is out of descriptors or memory it tries again, less and less often, for a second, and only then says so: a loop of
 * accepts never spins.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: the new descriptor is the caller's, who closes it with goroutine_close. It is non-blocking and close-on-exec.
 * Returns:   the new descriptor; or a negative errno, as goroutine_read, -EMFILE ...
 * Since:     ABI 1.
 *
 * Safety:
 * `address` and `size` are as accept wants them: NULL will do.
 */
int64_t goroutine_accept(int32_t fd,
                         struct sockaddr *address,
                         socklen_t *size);

/**
 * Connects a socket, as connect(2), and makes it non-blocking. If the number was another file's, which was closed by close(2), it begins anew here, and
 * who still waits for that one gets -EBADF.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `address`.
 * Returns:   0; or a negative errno: -ECONNREFUSED, -ETIMEDOUT (goroutine_set_deadline for POLLOUT, or the network's), -ECANCELED ... Close
 *            it then.
 * Since:     ABI 1.
 *
 * Safety:
 * `address` has `size` bytes.
 */
int64_t goroutine_connect(int32_t fd,
                          const struct sockaddr *address,
                          socklen_t size);

/**
 * Closes a descriptor. Whoever waits for it goes on with -EBADF; a system call on it that is under way ends first. A descriptor that
 * was read or written here is to be closed here: close(2) would leave its waiters alone, and its number would be taken for the old file;
 * so would a dup2(2) onto it (docs/io.md, "Closing").
 * Context:   T, G.
 * Parks:     no; with SO_LINGER the calling thread may block, while its other goroutines go on elsewhere.
 * Ownership: consumes `fd`.
 * Returns:   0; or a negative errno: -EBADF (not open, or being closed) ...
 * Since:     ABI 1.
 */
int64_t goroutine_close(int32_t fd);

/**
 * The library knows the descriptor no more, as after goroutine_close, but it stays open: for one that somebody else closes.
 * Context:   T, G.
 * Parks:     while a call on it is under way that has begun before: a file's may take long. It may resume on another thread.
 * Ownership: `fd` is the caller's alone again.
 * Returns:   GOROUTINE_OK, GOROUTINE_EBADF (not open, or being closed).
 * Since:     ABI 1.
 */
GoroutineStatus goroutine_fd_release(int32_t fd);

/* ---- Files: opened, read and written at an offset, while the thread runs other goroutines. ---- */

/**
 * Opens a file, as open(2). Made by the kernel's io_uring, or by one of 16 threads of the library if the kernel does not allow that
 * (GOROUTINE_IO_URING=0 and GOROUTINE_CONFIG_NO_IO_URING rule it out); which one does not show. Opening a FIFO waits for its other end,
 * on a thread of its own, of which there are up to 1,024; with O_NONBLOCK it does not.
 * Context:   T, G. On a plain thread, and on a bound goroutine's own, it is the system call.
 * Parks:     the goroutine, not its thread. It may resume on another thread. Once begun it is waited for: a cancel ends it only before.
 * Ownership: borrows `path`; the descriptor is the caller's, who closes it with goroutine_close.
 * Returns:   the descriptor; or a negative errno: -ENOENT, -EACCES, -EMFILE, -ECANCELED, -EINVAL (also: NULL) ...
 * Since:     ABI 1.
 *
 * Safety:
 * `path` is a C string, or NULL.
 */
int64_t goroutine_open(const char *path,
                       int32_t flags,
                       mode_t mode);

/**
 * Reads up to `n` bytes at `offset`, as pread(2): fewer only at the end of the file. What the kernel has in memory is read at once, anything
 * else as goroutine_open opens.
 * Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
 * Parks:     as goroutine_open.
 * Ownership: borrows `buffer`.
 * Returns:   the number of bytes, 0 at the end; or a negative errno: -EBADF, -EISDIR, -ESPIPE (it has no offsets), -EINVAL, -EIO, -ECANCELED ...
 * Since:     ABI 1.
 *
 * Safety:
 * `buffer` has room for `n` bytes.
 */
int64_t goroutine_pread(int32_t fd,
                        void *buffer,
                        size_t n,
                        off_t offset);

/**
 * Writes up to `n` bytes at `offset`, as pwrite(2): fewer only if there is no room for more.
 * Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
 * Parks:     as goroutine_open.
 * Ownership: borrows `buffer`.
 * Returns:   the number of bytes; or a negative errno: -EBADF, -ENOSPC, -ESPIPE, -EINVAL, -EIO, -ECANCELED ...
 * Since:     ABI 1.
 *
 * Safety:
 * `buffer` holds `n` bytes.
 */
int64_t goroutine_pwrite(int32_t fd,
                         const void *buffer,
                         size_t n,
                         off_t offset);

/**
 * Waits until what was written is on the disk, as fsync(2).
 * Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
 * Parks:     as goroutine_open.
 * Returns:   0; or a negative errno: -EBADF, -EINVAL (it cannot be synced), -EIO, -ENOSPC, -ECANCELED ...
 * Since:     ABI 1.
 */
int64_t goroutine_fsync(int32_t fd);

/**
 * What is known of a file, as stat(2).
 * Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
 * Parks:     as goroutine_open.
 * Ownership: borrows both.
 * Output:    `*result`, if 0 is returned.
 * Returns:   0; or a negative errno: -ENOENT, -EACCES, -ECANCELED, -EINVAL (NULL) ...
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t goroutine_stat(const char *path, struct stat *result);

/**
 * The same of an open file, as fstat(2).
 * Context:   T, G. On a plain thread, and on a bound goroutine's own, it blocks the thread.
 * Parks:     as goroutine_open.
 * Ownership: borrows `result`.
 * Output:    `*result`, if 0 is returned.
 * Returns:   0; or a negative errno: -EBADF, -ECANCELED, -EINVAL (NULL) ...
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t goroutine_fstat(int32_t fd, struct stat *result);

/* ---- Names of hosts and services, while the thread runs other goroutines. ---- */

/**
 * Looks up a host and a service, as getaddrinfo(3), on one of up to 64 threads of the library that are there for this alone. It works
 * on copies of what it is given: after a time-out or a cancel the caller is free, and what comes too late is freed. A look-up that has begun keeps
 * its thread until glibc gives up; its patience with name servers that do not answer is cut to what is left of the time-out, in whole seconds, at
 * least one per server. goroutine_runtime_shutdown waits for it, whether anybody else does or not.
 * Context:   T, G. On a plain thread it blocks the thread; with GOROUTINE_FOREVER it is getaddrinfo, else it starts the runtime as a spawn does.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `node`, `service` and `hints`. The list is the caller's, who frees it with freeaddrinfo.
 * Output:    `*result`, if 0 is returned.
 * Returns:   0; a negative EAI_ code, for gai_strerror (EAI_AGAIN also when 65,536 look-ups wait; after EAI_SYSTEM errno says more); or
 *            GOROUTINE_ETIMEDOUT (a time-out of 0: at once), GOROUTINE_ECANCELED, GOROUTINE_ESHUTDOWN, GOROUTINE_EINVAL (`result` NULL), which are none
 *            of them.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as getaddrinfo wants them; `result` may be NULL.
 */
int64_t goroutine_getaddrinfo(const char *node,
                              const char *service,
                              const struct addrinfo *hints,
                              struct addrinfo **result,
                              uint64_t timeout_ns);

/* ---- Foreign calls: C code under goroutines, and language code under C. ---- */

/**
 * Calls `ffi_function(args)` on the native stack of an OS thread that belongs to the goroutine: its first such call binds
 * it, and from then on all its calls are made by that thread, until it ends or calls goroutine_ffi_unbind. `current` is the
 * running goroutine, or NULL. On a plain thread, and from C code that was called this way, it is a plain call.
 * Context:   T, G.
 * Parks:     the first call may wait for a thread (`ffi_exhausted`), and so may any call when a stop was asked for.
 * Returns:   what the function returned. NULL if it was not called, for which the config's `ffi_failed` gets the reason:
 * GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM, GOROUTINE_ECANCELED, GOROUTINE_EINVAL (NULL, or another goroutine).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *execute_ffi_call(Goroutine *current,
                       void *ffi_function,
                       void *args);

/**
 * The slow path of execute_ffi_call, for emitted code that has the fast one in line: binds the goroutine if it is not bound
 * yet, then calls.
 * Context:   T, G.
 * Parks:     as execute_ffi_call.
 * Returns:   as execute_ffi_call.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *migrate_to_ffi_thread(Goroutine *current,
                            void *ffi_function,
                            void *args);

/**
 * Whether a goroutine has an OS thread of its own.
 * Context:   T, G, R, S.
 * Returns:   that; false for NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool is_goroutine_ffi_bound(const Goroutine *g);

/**
 * The same as goroutine_ffi_call_leaf.
 * Context:   T, G.
 * Parks:     as goroutine_ffi_call_leaf.
 * Returns:   as goroutine_ffi_call_leaf.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *call_c_function_safely(void *function, void *args);

/**
 * Calls `function(args)` on the native stack of whichever thread runs the goroutine. For functions that return soon
 * and do not care which thread it is: other goroutines of this worker wait meanwhile. On a plain thread it is a plain call.
 * Context:   T, G.
 * Parks:     only after the call, when a stop was asked for.
 * Returns:   what the function returned; NULL for NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *goroutine_ffi_call_leaf(void *function,
                              void *args);

/**
 * The same for functions that may take long: other goroutines go on on another thread, if they would have to wait, after 0.5 to
 * 1 ms. So a burst of them begins at one per worker and millisecond: for calls that are known to wait, bound goroutines begin sooner.
 * A bound goroutine has no worker to spare, and just calls.
 * Context:   T, G.
 * Parks:     after the call, until there is a worker for it. It may resume on another thread.
 * Returns:   what the function returned; NULL for NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *goroutine_ffi_call_blocking(void *function,
                                  void *args);

/**
 * Calls `function(args)` as `kind` says (GOROUTINE_FFI_BOUND, _LEAF, _BLOCKING), and says whether it was called.
 * Context:   T, G.
 * Parks:     as the function of that kind.
 * Output:    `*result` (may be NULL): what the function returned.
 * Returns:   GOROUTINE_OK; GOROUTINE_EINVAL, and for GOROUTINE_FFI_BOUND GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM, GOROUTINE_ECANCELED.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_ffi_call(uint32_t kind,
                                   void *function,
                                   void *args,
                                   void **result);

/**
 * Gives the running goroutine the thread it is on, for good, as its first execute_ffi_call would: for emitted code that makes
 * its calls in line. It gets another thread if it had to wait for one, or if others are pinned to its worker (GOROUTINE_SPAWN_PINNED),
 * whose thread this is then. If it was pinned itself, it is not any more.
 * Context:   G.
 * Parks:     it may wait for a thread (`ffi_exhausted`). It may resume on another thread.
 * Returns:   GOROUTINE_OK, also if it was bound; GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM, GOROUTINE_ECANCELED, GOROUTINE_ENOTGOROUTINE.
 * Since:     ABI 1.
 *
 * Safety:
 * Callable anywhere.
 */
GoroutineStatus goroutine_ffi_bind(void);

/**
 * Gives the thread back: the goroutine goes on on a worker.
 * Context:   G.
 * Parks:     until there is a worker for it. It resumes on another thread.
 * Returns:   GOROUTINE_OK, also if it was not bound; GOROUTINE_EPERM (C frames are live, or the thread is not the
 * library's); GOROUTINE_ENOTGOROUTINE.
 * Since:     ABI 1.
 *
 * Safety:
 * Callable anywhere.
 */
GoroutineStatus goroutine_ffi_unbind(void);

/**
 * Sets `native_stack` for leaf calls in line, until the goroutine parks: the slow path of emitted code that finds it 0.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   GOROUTINE_OK; GOROUTINE_ENOTGOROUTINE: there is none, call directly.
 * Since:     ABI 1.
 *
 * Safety:
 * Callable anywhere.
 */
GoroutineStatus goroutine_ffi_prepare(void);

/**
 * Called by C code: runs `f(arg)` as the language's code, on the stack of the goroutine whose foreign call the C code is
 * in. There it may do what any goroutine may. If it parks, its thread waits with it, for the C frames are
 * the thread's. From a blocking call it gets a worker first. On a thread without a goroutine, whether the library made
 * it or not, it gets one of its own, which the thread keeps until it ends, and which blocks the thread when it parks.
 * C++ exceptions must not leave `f`. goroutine_exit in it ends the goroutine and abandons the C frames; on a thread of its own
 * it ends the outermost callback, which gives NULL unless the status is GOROUTINE_OK.
 * Context:   T, G.
 * Parks:     if `f` does. It resumes on the same thread.
 * Stack:     128 bytes of each.
 * Returns:   what `f` returned; NULL for NULL, and (`ffi_failed`, or a line on stderr) when the runtime is out of memory or shut down: on a
 *            thread that the library did not make as soon as a shutdown has begun, unless it is inside a callback.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *goroutine_callback_run(GoroutineFn f,
                             void *arg);

/**
 * To be called first, before anything else is, where a longjmp or a C++ exception has landed that came out of C code called by
 * this goroutine, or out of a callback. Jumps within one stretch of C code need nothing. The goroutine keeps its thread from
 * then on, which ends with it: nobody knows what the abandoned C code held. Does nothing if there was no such jump. Likewise where code goes
 * on that a `stack_overflow` callback sent there, or that caught what it threw in a way of its own: the reserve is ready for another time, and nothing
 * is bound by that.
 * Context:   T, G.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Callable anywhere.
 */
void goroutine_ffi_landed(void);

/* ---- Lanes: one thread for the calls of many goroutines. ---- */

/**
 * Makes a lane: a thread of the library that runs the calls made through it, one after the other in the order they came. It is one
 * of the `ffi_threads_max`, and ends with the lane. `name` is the thread's name, of which the kernel keeps 15 bytes.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_ffi_lane_release.
 * Output:    `*out`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL), GOROUTINE_ENOMEM, GOROUTINE_EFFITHREADS (GOROUTINE_FFI_FAIL; with the other
 * policies the lane begins when a thread is free), GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_ffi_lane_new(const char *name,
                                       GoroutineFfiLane **out);

/**
 * Makes a lane that a thread of the host serves: GTK's, Node's. `wake(arg)` tells the host when there are calls; it then has that
 * thread call goroutine_ffi_lane_drain.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: as goroutine_ffi_lane_new.
 * Output:    `*out`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL; `arg` may be NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_ffi_lane_host(const char *name,
                                        GoroutineFfiWakeFn wake,
                                        void *arg,
                                        GoroutineFfiLane **out);

/**
 * Ends a lane, and its thread, if it has one of its own.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: a call is in it; nothing happened. A goroutine_ffi_lane_drain that has run its
 * last call may still be on its way out.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_ffi_lane_release(GoroutineFfiLane *lane);

/**
 * Runs `function(args)` on the lane's thread and waits for it, however long it takes: it has no time-out, for `args` are in use until it
 * is over. A cancel ends the wait as long as the call has not begun. From within a call of the same lane it is a plain call, from a
 * callback in it one on the thread's stack.
 * errno is what the function left; it begins as 0.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Output:    `*result` (may be NULL), on GOROUTINE_OK.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL), GOROUTINE_ECANCELED (it did not run), GOROUTINE_ESHUTDOWN (nobody serves the lane).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_ffi_lane_call(GoroutineFfiLane *lane,
                                        void *function,
                                        void *args,
                                        void **result);

/**
 * Runs calls of a host lane on the calling thread: up to `max`, or with 0 all that are there now. If some are left the host is told again.
 * Context:   T. On a goroutine, and for a lane with a thread of its own, it does nothing.
 * Returns:   how many ran.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
size_t goroutine_ffi_lane_drain(GoroutineFfiLane *lane,
                                size_t max);

/* ---- Foreign libraries: loaded and called away from the caller's thread. docs/foreign-runtimes.md says when that matters. ---- */

/**
 * Loads a library as dlopen does, on a thread of the library's own: with a native stack and asynchronous signals blocked, which threads
 * that the library makes inherit. Signal handlers of the process that only got SA_ONSTACK added meanwhile get their old
 * flags back, but for the signals that Go's threads keep unblocked (docs/foreign-runtimes.md). Loads run one at a time. Starts
 * the runtime if it never was.
 * Context:   T, G.
 * Parks:     the goroutine, or blocks the thread, until the load is over. There is no time-out, and a cancel waits: a library
 * cannot be half loaded. A constructor of the library may load others, but must not wait for another thread that does.
 * Ownership: `handle` is dlopen's; dlclose takes it.
 * Output:    `*handle`, on GOROUTINE_OK only. `path` NULL: the program itself. `flags` 0: RTLD_NOW.
 * Returns:   GOROUTINE_OK, GOROUTINE_EFFILOAD (goroutine_ffi_error tells why), GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM,
 * GOROUTINE_ESHUTDOWN, GOROUTINE_EINVAL (`handle` NULL), GOROUTINE_EDEADLK (a goroutine on the thread of a constructor).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says. The library's constructors run.
 */
GoroutineStatus goroutine_ffi_load(const char *path,
                                   int flags,
                                   void **handle);

/**
 * The address of a symbol, as dlsym gives it. `handle` NULL: among what the program and its libraries export. The foreign calls call a
 * `void *f(void *)`; for a function of another kind (`double cos(double)`) write such a one around it, with a struct for what
 * goes in and out, or emit the call in line (docs/jit.md).
 * Context:   T, G.
 * Parks:     the goroutine, or blocks the thread, while a load is under way. No time-out, as goroutine_ffi_load.
 * Output:    `*address`, on GOROUTINE_OK only. It may be NULL for a weak symbol.
 * Returns:   GOROUTINE_OK, GOROUTINE_EFFILOAD (goroutine_ffi_error tells why), GOROUTINE_EFFITHREADS, GOROUTINE_ENOMEM,
 * GOROUTINE_ESHUTDOWN, GOROUTINE_EINVAL (`name` or `address` NULL), GOROUTINE_EDEADLK as goroutine_ffi_load.
 * Since:     ABI 1.
 *
 * Safety:
 * `handle` came from goroutine_ffi_load or dlopen, and was not closed. Other pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_ffi_symbol(void *handle,
                                     const char *name,
                                     void **address);

/**
 * What the loader said when goroutine_ffi_load or goroutine_ffi_symbol last failed for the calling goroutine, or
 * plain thread; NULL: neither did. A success leaves it as it is.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the library's. The text stays until the same goroutine or thread fails to load again, or ends.
 * Since:     ABI 1.
 *
 * Safety:
 * None.
 */
const char *goroutine_ffi_error(void);

/**
 * Calls `function(args)` on a thread of the pool for foreign calls, in its native stack, then, on the same thread, `done(arg, result)`: for a
 * thread that must not wait, such as a host's event loop, to which `done` posts the result. Both are called as plain C on no
 * goroutine; they may block, and may call the library as any plain thread does, but for goroutine_runtime_run, _wait, _shutdown and _release, which
 * would wait for this very call (GOROUTINE_EDEADLK). Calls start in order and run side by side, as many as the pool
 * has threads; further ones wait, at most 65,536. A pending call keeps the program alive; a shutdown waits for it. Starts the
 * runtime if it never was.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `args` and `arg` until `done`, which runs exactly once if this returns GOROUTINE_OK, else never.
 * `done` may be NULL.
 * Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN (too many wait: try again when some are done), GOROUTINE_EFFITHREADS,
 * GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN, GOROUTINE_EINVAL (`function` NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * `function` is a C function that takes `args`, and `done` one that takes `arg`; both may run on any thread.
 */
GoroutineStatus goroutine_ffi_call_async(void *function,
                                         void *args,
                                         GoroutineFfiDoneFn done,
                                         void *arg);

/* ---- Mutexes: one owner at a time, a goroutine or a plain thread. ---- */

/**
 * Makes a mutex. Who unlocks it hands it to the first who waits: first come, first served, and nobody overtakes those who wait.
 * Its owner is the goroutine that locked it (on whatever thread it runs then), or the plain thread. With
 * GOROUTINE_MUTEX_RECURSIVE its owner may lock it again, and unlocks it as often.
 *
 * A goroutine that ends while it holds the mutex (also by goroutine_exit, or cancelled) gives it up: the next one to lock it, perhaps one
 * who waits, gets GOROUTINE_EOWNERDEAD, and has the lock. A plain thread that ends so leaves it locked for ever, and
 * nobody else can unlock it: where it may end early (pthread_exit, a cancel), unlock it in a handler of pthread_cleanup_push.
 * In a child of fork the mutexes of its parent are not to be used.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_mutex_free.
 * Returns:   a mutex; NULL when out of memory, or a flag is unknown.
 * Since:     ABI 1.
 */
GoroutineMutex *goroutine_mutex_new(uint32_t flags);

/**
 * Locks it; waits while somebody else has it.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `mutex`.
 * Returns:   with the lock: GOROUTINE_OK, GOROUTINE_EOWNERDEAD (its last owner ended with it). Without: GOROUTINE_EAGAIN (a time-out
 * of 0; a recursive one is locked 2^32 times), GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_EDEADLK (the caller has it, and it
 * is not recursive), GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_mutex_lock(GoroutineMutex *mutex,
                                     uint64_t timeout_ns);

/**
 * goroutine_mutex_lock with a time-out of 0. It may come before the first who waits, if that one was handed the mutex and has not run since;
 * that one is in front again then, and nobody comes before it a second time. (So std::lock gets on.)
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `mutex`.
 * Returns:   as goroutine_mutex_lock.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_mutex_try_lock(GoroutineMutex *mutex);

/**
 * Unlocks it, and hands it to the first who waits.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `mutex`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EPERM (the caller does not have it), GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_mutex_unlock(GoroutineMutex *mutex);

/**
 * Whether the caller has it. NULL: false.
 * Context:   T, G, R.
 * Parks:     never.
 * Ownership: borrows `mutex`.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool goroutine_mutex_is_owned(const GoroutineMutex *mutex);

/**
 * Frees it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `mutex`.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody has it, waits for it, or will lock it again after
 * goroutine_condition_wait; nothing happened.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_mutex_free(GoroutineMutex *mutex);

/* ---- Readers-writer locks: many readers, or one writer. ---- */

/**
 * Makes a readers-writer lock. First come, first served: while a writer waits, later readers wait behind it; so one who reads must not
 * read-lock it again. A goroutine that ends while it holds it leaves it locked.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_rwlock_free.
 * Returns:   a lock; NULL when out of memory.
 * Since:     ABI 1.
 */
GoroutineRwLock *goroutine_rwlock_new(void);

/**
 * Locks it for reading, together with up to 2^30 others; waits for a writer, and for those who came before.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `lock`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_EDEADLK (the caller is the writer),
 * GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_rwlock_read_lock(GoroutineRwLock *lock,
                                           uint64_t timeout_ns);

/**
 * Unlocks it for one who reads. (Readers are not known by name: it is not checked who.)
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `lock`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EPERM (nobody reads), GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_rwlock_read_unlock(GoroutineRwLock *lock);

/**
 * Locks it for writing, alone.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `lock`.
 * Returns:   as goroutine_rwlock_read_lock.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_rwlock_write_lock(GoroutineRwLock *lock, uint64_t timeout_ns);

/**
 * Unlocks it for its writer.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `lock`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EPERM (the caller is not the writer), GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_rwlock_write_unlock(GoroutineRwLock *lock);

/**
 * Frees it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `lock`.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody has it or waits for it; nothing happened.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_rwlock_free(GoroutineRwLock *lock);

/* ---- Conditions: until somebody says that something changed. ---- */

/**
 * Makes a condition.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_condition_free.
 * Returns:   a condition; NULL when out of memory.
 * Since:     ABI 1.
 */
GoroutineCondition *goroutine_condition_new(void);

/**
 * Unlocks `mutex` (however often its owner locked it), waits for a signal, and locks it as before, also when the wait ended otherwise, and
 * however long that takes. No signal between the unlock and the wait is missed. Whoever gets the mutex in between may change things again:
 * look whether what is waited for is there. A time-out or a cancel that comes after the signal is too late: it is GOROUTINE_OK.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `condition` and `mutex`.
 * Returns:   with the mutex locked: GOROUTINE_OK, GOROUTINE_EOWNERDEAD (a signal, and goroutine_mutex_lock said so), GOROUTINE_EAGAIN (a
 * time-out of 0), GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM. GOROUTINE_EPERM (the caller does not have the mutex),
 * GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_condition_wait(GoroutineCondition *condition,
                                         GoroutineMutex *mutex,
                                         uint64_t timeout_ns);

/**
 * Wakes the first who waits, if anybody does. With or without the mutex.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `condition`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_condition_signal(GoroutineCondition *condition);

/**
 * Wakes all who wait.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `condition`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_condition_broadcast(GoroutineCondition *condition);

/**
 * Frees it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `condition`.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody waits on it; nothing happened. Those that were signalled do not wait
 * any more, also while they are about to take the mutex again.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_condition_free(GoroutineCondition *condition);

/* ---- Semaphores: so many at a time. ---- */

/**
 * Makes a semaphore with so many permits. First come, first served: who waits for many is not overtaken by those who want few.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_semaphore_free.
 * Returns:   a semaphore; NULL when out of memory.
 * Since:     ABI 1.
 */
GoroutineSemaphore *goroutine_semaphore_new(uint32_t permits);

/**
 * Takes `n` permits, all at once; waits until they are free.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `semaphore`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_semaphore_acquire(GoroutineSemaphore *semaphore,
                                            uint32_t n,
                                            uint64_t timeout_ns);

/**
 * Gives `n` permits back, or makes so many more. Anybody may.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `semaphore`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL; there would be over 2^32 - 1 free ones: nothing happened).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_semaphore_release(GoroutineSemaphore *semaphore, uint32_t n);

/**
 * Frees it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `semaphore`.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody waits on it; nothing happened.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_semaphore_free(GoroutineSemaphore *semaphore);

/* ---- Wait groups: until a count is 0. ---- */

/**
 * Makes a wait group with a count of 0.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_wait_group_free.
 * Returns:   a wait group; NULL when out of memory.
 * Since:     ABI 1.
 */
GoroutineWaitGroup *goroutine_wait_group_new(void);

/**
 * Adds `n`, which may be negative, to the count. All who wait go on when it becomes 0.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `group`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL; the count would be below 0 or over 2^31 - 1: nothing happened).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_wait_group_add(GoroutineWaitGroup *group,
                                         int32_t n);

/**
 * goroutine_wait_group_add of -1.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `group`.
 * Returns:   as goroutine_wait_group_add.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_wait_group_done(GoroutineWaitGroup *group);

/**
 * Waits until the count is 0.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `group`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_wait_group_wait(GoroutineWaitGroup *group,
                                          uint64_t timeout_ns);

/**
 * Frees it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `group`.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody waits on it; nothing happened.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_wait_group_free(GoroutineWaitGroup *group);

/* ---- Once: the first who asks does it, the others wait for that. ---- */

/**
 * Makes one that has not run.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_once_free.
 * Returns:   a once; NULL when out of memory.
 * Since:     ABI 1.
 */
GoroutineOnce *goroutine_once_new(void);

/**
 * Runs `f(arg)` on the calling goroutine or thread, unless that was done before; if somebody is about to, waits for it. (It may clobber
 * registers.) If a goroutine ends within `f`, the next one runs it anew.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `once`.
 * Output:    `*result` (may be NULL): what `f` returned when it ran, for every caller; on GOROUTINE_OK.
 * Returns:   GOROUTINE_OK: it has run. GOROUTINE_EDEADLK (called within `f`), GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED,
 * GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_once_run(GoroutineOnce *once,
                                   GoroutineFn f,
                                   void *arg,
                                   uint64_t timeout_ns,
                                   void **result);

/**
 * Frees it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `once`.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: it runs, or somebody waits; nothing happened.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_once_free(GoroutineOnce *once);

/* ---- Channels: values from those who send to those who receive, in order. ---- */

/**
 * Makes a channel for values of `value_bytes` (also 0: then only that something is sent counts). With a `capacity` of 0 a send waits until
 * somebody receives; otherwise so many values are kept before a send waits. First come, first served, on both sides.
 * In a child of fork the channels of its parent are not to be used.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_channel_free.
 * Returns:   a channel; NULL when out of memory.
 * Since:     ABI 1.
 */
GoroutineChannel *goroutine_channel_new(size_t value_bytes,
                                        size_t capacity);

/**
 * Sends the value at `value`; waits while there is neither room nor a receiver. The value is copied.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `channel`, and `value` until it returns (NULL if values have no bytes).
 * Returns:   GOROUTINE_OK: it was sent. It was not: GOROUTINE_EPIPE (closed, also while it waited), GOROUTINE_EAGAIN,
 * GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_channel_send(GoroutineChannel *channel,
                                       const void *value,
                                       uint64_t timeout_ns);

/**
 * Receives the oldest value; waits while there is none and the channel is open.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `channel`.
 * Output:    `*value` (NULL: the value is dropped), on GOROUTINE_OK.
 * Returns:   GOROUTINE_OK, GOROUTINE_EPIPE (closed, and no value is left), GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED,
 * GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_channel_receive(GoroutineChannel *channel,
                                          void *value,
                                          uint64_t timeout_ns);

/**
 * Closes it: nothing is sent any more, and who waits to send gets GOROUTINE_EPIPE. What was sent can still be received; then receivers get
 * GOROUTINE_EPIPE, those who wait at once.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `channel`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (it was closed), GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_channel_close(GoroutineChannel *channel);

/**
 * Frees it, with the values that are in it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `channel`.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: somebody waits on it; nothing happened.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_channel_free(GoroutineChannel *channel);

/* ---- Select: the first of many sends, receives and promises. ---- */

/**
 * Waits until one of `n` cases is possible, and does it: that one alone. If several are, each is as likely to be chosen. A case whose object
 * is NULL never is. A closed channel is, with the status GOROUTINE_EPIPE. A time-out of 0 is what other languages write as the default case.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Stack:     up to 1.5 KiB; for over 8 cases it allocates meanwhile.
 * Ownership: borrows `cases` and their objects.
 * Output:    on GOROUTINE_OK: `*chosen`, and of that case `status`: GOROUTINE_OK, GOROUTINE_EPIPE, or how the promise was settled (with
 * GOROUTINE_OK and GOROUTINE_EREJECTED `*(void **)value` is its value, unless `value` is NULL); a received value at `value`.
 * Returns:   GOROUTINE_OK: a case was chosen. None was: GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM,
 * GOROUTINE_EINVAL (NULL, an unknown `op`, nothing to send).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_select(struct GoroutineSelectCase *cases,
                                 size_t n,
                                 uint64_t timeout_ns,
                                 size_t *chosen);

/* ---- Task groups: goroutines that are awaited and cancelled together. ---- */

/**
 * Makes a task group. With GOROUTINE_GROUP_CANCEL_ON_ERROR the first member that fails (ends with another status than GOROUTINE_OK)
 * cancels all others.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to goroutine_group_free.
 * Returns:   a group; NULL when out of memory, or a flag is unknown.
 * Since:     ABI 1.
 */
GoroutineGroup *goroutine_group_new(uint32_t flags);

/**
 * Spawns a goroutine that belongs to the group. What it returns is dropped; a failure is not reported as unhandled.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `group` until the goroutine is over.
 * Returns:   GOROUTINE_OK, GOROUTINE_ECANCELED (the group was cancelled: it does not start), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN,
 * GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_group_spawn(GoroutineGroup *group,
                                      GoroutineFn f,
                                      void *arg);

/**
 * Waits until no member is left.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `group`.
 * Output:    `*first_reason` (may be NULL): with GOROUTINE_EREJECTED, the reason.
 * Returns:   GOROUTINE_OK: all ended well. How the first that failed did: GOROUTINE_EREJECTED, or its own status. Of the caller: GOROUTINE_EAGAIN,
 * GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL). (A member may end with one of these, too:
 * goroutine_group_free gives GOROUTINE_EBUSY as long as members are left.) A member that waits for its own group waits for ever.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_group_wait(GoroutineGroup *group,
                                     uint64_t timeout_ns,
                                     void **first_reason);

/**
 * goroutine_cancel of every member; no other starts.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `group`.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_group_cancel(GoroutineGroup *group);

/**
 * Frees it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `group`.
 * Returns:   GOROUTINE_OK (also for NULL), GOROUTINE_EBUSY: a member runs, or somebody waits; nothing happened.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_group_free(GoroutineGroup *group);

/* ---- Goroutine-local values. ---- */

/**
 * Makes a key, for good: each goroutine has a value of its own for it, NULL at first. When the goroutine ends, however that comes about,
 * `drop(value)` (may be NULL) is called, off its stack, if its value is not NULL; the lowest key first. There are 1,024 keys.
 * Context:   T, G.
 * Parks:     never.
 * Output:    `*key`, not 0.
 * Returns:   GOROUTINE_OK, GOROUTINE_ENOMEM (no key is left), GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_local_key(GoroutineDropFn drop,
                                    uint32_t *key);

/**
 * Sets the calling goroutine's value. The one before is not dropped. On a plain thread, and for a key that does not exist, it does nothing. No
 * memory is fatal.
 * Context:   T, G.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_local_set(uint32_t key,
                         void *value);

/**
 * The calling goroutine's value; NULL: none was set, or on a plain thread.
 * Context:   T, G, R.
 * Parks:     never.
 * Since:     ABI 1.
 */
void *goroutine_local_get(uint32_t key);

/* ---- Stopping the world, for collectors. ---- */

/**
 * Stops every goroutine but the caller: no language code runs until goroutine_world_start. Goroutines stop where they park or yield, and
 * where they find `preempt` set (goroutine_safepoint); those in foreign code count as stopped, and stop when C returns, calls back, or
 * ends them. So does a thread that the library did not make, when it calls back. Plain threads are not stopped: what they spawn and ready
 * waits for the start. Code of the library's callers that runs between goroutines (commit, `drop` and other callbacks) is waited for.
 *
 * Until the start the caller must wait for nobody: what would park it, or block its thread in the library, gives GOROUTINE_EPERM instead.
 * malloc and C's other locks are free to use: no goroutine stops inside the C library, and C code that holds one of its locks goes on.
 * Context:   T, G.
 * Parks:     while somebody else has stopped the world: stoppers take turns.
 * Returns:   GOROUTINE_OK, GOROUTINE_ETIMEDOUT (a goroutine did not stop: the world runs on, and the stats say who it was), GOROUTINE_EAGAIN
 * (a time-out of 0), GOROUTINE_ECANCELED (while it waited for its turn), GOROUTINE_EDEADLK (the caller has stopped it already),
 * GOROUTINE_ENOMEM.
 * Since:     ABI 1.
 */
GoroutineStatus goroutine_world_stop(uint64_t timeout_ns);

/**
 * The world goes on. Nothing happens unless the calling goroutine or thread has stopped it.
 * Context:   T, G.
 * Parks:     never.
 * Since:     ABI 1.
 */
void goroutine_world_start(void);

/**
 * Calls `f(arg, g, registers, low, high)` for every live range of every goroutine's stack, `low` to below `high`, while the caller has the
 * world stopped; otherwise it does nothing. The innermost range of a goroutine comes first, and with it its registers; they are NULL with its
 * further ranges: outer parts of the stack, and of C code that waits for a callback to return, the part of its thread's stack. The caller, if it
 * is a goroutine, is among them. One that has not begun has no range (its arguments are roots: goroutine_world_for_each_root).
 *
 * Registers are those of the innermost frame outside the library, and `rip` is where its call comes back to: at goroutine_safepoint_full all of them;
 * of one that waits in any other call, and of the caller, `rip`, `rsp` and the callee-saved ones, the rest is 0. Frames of the library that it waits in
 * lie in the first range, below `rsp`; what these have in callee-saved registers is a last range of 48 bytes, in the control block: it may be all that
 * points to a buffer that was passed. Of a goroutine in foreign code `rsp` alone is known, the rest is 0: references are spilled before the call. So it is
 * of one in which no code but the library's is live, or for which there are no unwind tables. The stacks of C code that runs cannot be shown, nor those that C code has made for itself
 * (fibers, coroutines).
 * Context:   T, G. `f` is C code: it keeps the callee-saved registers, and does not use the library.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_world_for_each(GoroutineRangeFn f,
                              void *arg);

/**
 * Calls `f(arg, slot)` for every word that the library keeps for goroutines, while the caller has the world stopped; otherwise it does
 * nothing. `f` may write `*slot`: whoever gets the word finds what it wrote. These are: the `user` words and the goroutine-local values; the
 * arguments, stack arguments and registers of goroutines that have not begun; the arguments of timers, of promises' callbacks, of async
 * operations, and of asynchronous foreign calls that have not begun; the values of promises, what combinations have gathered, and the reasons that groups
 * keep; every aligned word of the values in channels. Words that are no pointers are among them, and NULLs.
 * Context:   T, G. `f` is C code: it keeps the callee-saved registers, and does not use the library.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void goroutine_world_for_each_root(GoroutineRootFn f,
                                   void *arg);

/* ---- Traces: what goroutines and threads do, in a file for Perfetto and chrome://tracing. docs/tracing.md tells how to read one. ---- */

/**
 * Begins a trace: what goroutines and threads do is written to `path`, which is made, or emptied, until goroutine_trace_stop, the shutdown, or
 * the end of the process. Nobody waits for the file: what the writer does not get to in time is dropped, and counted there. Starts
 * the runtime with defaults if there never was one. The environment variable GOROUTINE_TRACE has each start of a runtime begin one.
 * A child of fork has no trace.
 * Context:   T, G.
 * Parks:     as goroutine_ffi_call_blocking, for as long as opening the file takes.
 * Returns:   GOROUTINE_OK; GOROUTINE_EALREADY (one runs); the negative errno of opening the file; GOROUTINE_EINVAL (NULL), GOROUTINE_ENOMEM,
 * GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * `path` is a string, or NULL.
 */
GoroutineStatus goroutine_trace_start(const char *path);

/**
 * Ends the trace: when this returns, the file is complete. How many events it has, and how many were dropped, is its last line, and in
 * GoroutineStats (`trace_events`, `trace_lost`).
 * Context:   T, G.
 * Parks:     as goroutine_ffi_call_blocking, until the file is written.
 * Returns:   GOROUTINE_OK; GOROUTINE_EALREADY (none runs, or somebody else stops it); the negative errno of the first write that failed.
 * Since:     ABI 1.
 *
 * Safety:
 * Callable anywhere.
 */
GoroutineStatus goroutine_trace_stop(void);

/* ---- Explicit context switching: any thread, no runtime needed. ---- */

/**
 * Saves the full register file. A later restore_context of it returns from this call again.
 * Context:   T, G, R, S.
 * Since:     ABI 1.
 *
 * Safety:
 * `to` is writable and 16-aligned.
 */
void save_context(struct GoroutineContext *to);

/**
 * Continues a saved or made register file: all general registers, flags, x87, SSE, exactly its rsp. The 128 bytes below
 * that rsp are left alone.
 * Context:   T, G, R, S.
 * Since:     ABI 1.
 *
 * Safety:
 * `from` is a valid context whose stack is still there.
 */
GOROUTINE_NORETURN void restore_context(const struct GoroutineContext *from);

/**
 * save_context(from) and restore_context(to) in one: the call returns when somebody switches back.
 * Context:   T, G, R, S.
 * Since:     ABI 1.
 *
 * Safety:
 * As save_context and restore_context.
 */
void switch_context(struct GoroutineContext *from, const struct GoroutineContext *to);

/**
 * Another name of switch_context.
 * Context:   T, G, R, S.
 * Since:     ABI 1.
 *
 * Safety:
 * As switch_context.
 */
void switch_goroutine_context(struct GoroutineContext *from, const struct GoroutineContext *to);

/**
 * switch_context with all signals blocked from before the first register is saved until the target's stack is in
 * place; the caller's mask holds on both sides afterwards.
 * Context:   T, G, S.
 * Since:     ABI 1.
 *
 * Safety:
 * As switch_context.
 */
void signal_safe_context_switch(struct GoroutineContext *from,
                                const struct GoroutineContext *to);

/**
 * Makes a context that calls `f(arg)` on the given stack. `f` must not return (fatal): it switches away.
 * Context:   T, G, R, S.
 * Ownership: the stack stays the caller's.
 * Returns:   GOROUTINE_OK, GOROUTINE_EINVAL (NULL, `to` not 16-aligned, or less than 1 KiB of stack).
 * Since:     ABI 1.
 *
 * Safety:
 * The stack is writable memory.
 */
GoroutineStatus goroutine_context_init(struct GoroutineContext *to,
                                       void *stack_base,
                                       size_t stack_size,
                                       GoroutineFn f,
                                       void *arg);

/* ---- Tools for language runtimes: emitted code by name, and goroutines looked at from outside. ---- */

/**
 * Tells the library about `n` functions in memory, so that everybody who meets their addresses knows them: goroutine_dump and the library's
 * reports by name, debuggers through GDB's JIT interface, perf with GOROUTINE_PERF_MAP=1 in the environment
 * (/tmp/perf-PID.map, which stays there), and the unwinder that C++ throws with, if they have tables (`eh_frame`).
 * All or none of them are registered. Many functions in one call are cheaper than one by one, for debuggers most of all, but either way the
 * cost is about n log n. The functions of one call may be in any order, and may share one `eh_frame`, which may describe nothing else. No two registered functions may overlap.
 *
 * `eh_frame` is a section of that name (DWARF call frame information; the zero word at its end may be missing), with addresses absolute or relative to
 * where they are; libgcc's unwinder is told, and nobody else tells it of other code in the same pages. With GOROUTINE_CODE_FRAME_POINTER dumps walk the function's frames
 * by rbp, and debuggers are given a table that says so. With neither, a backtrace ends at the function.
 * The code itself stays where it is and as it is until it is unregistered, or the process ends.
 * In a program that has an LLVM or V8 linked into the same object as the static library, GDB finds only theirs.
 * Context:   T, G. It needs no runtime.
 * Parks:     never.
 * Ownership: everything but the code is copied.
 * Output:    `ids` (may be NULL): for goroutine_code_unregister, one for each; above 0, never reused.
 * Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (a function overlaps one that is registered), GOROUTINE_EINVAL (NULL, with `n` not 0; a wrong
 * `size`, an unknown flag; no name, no code, a pointer without a size or the other way round; two of them overlap; an `eh_frame` that is damaged, is of another
 * kind, or speaks of other code). But for GOROUTINE_OK, a line on stderr says which of them, which field, and why, or the name of the registered function.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_code_register(const struct GoroutineCode *codes,
                                        size_t n,
                                        uint64_t *ids);

/**
 * Forgets a registered function, once no goroutine is in it or will return to it. Then its memory may be used for something else. The caller
 * sees to it first that nobody calls it any more.
 *
 * Each goroutine must be seen without it once, at a moment when it is parked, or over: one that computes without ever parking lets this
 * time out. So does one that is parked and will return to it. Of a parked goroutine the return addresses count, as long as its frames are known
 * up to where it began: each is of C or C++ with unwind tables, or of a registered function with a table or with GOROUTINE_CODE_FRAME_POINTER, whose
 * `push rbp; mov rbp, rsp` is in its first 64 bytes and before the call. Of a goroutine where that is not so (also while C that it called waits for a
 * callback of its) every word on its stacks counts that could be a return address into the function, also one that an earlier
 * goroutine left on that stack: such a word can let this time out until the goroutine goes on or ends. The function's first address
 * never counts. Threads that run no goroutine, and stacks that a program made itself, are not looked at.
 * Context:   T, G.
 * Parks:     the goroutine, not its thread, as goroutine_sleep does, while it is not the time yet.
 * Returns:   GOROUTINE_OK; GOROUTINE_EAGAIN (`timeout_ns` 0) and GOROUTINE_ETIMEDOUT (still registered: some goroutine is in it, or was not
 * seen without it); GOROUTINE_EDEADLK (the calling goroutine is; or the caller has stopped the world, and would wait for
 * somebody who stands), GOROUTINE_ECANCELED, GOROUTINE_EALREADY (another call waits for it), GOROUTINE_EINVAL (no such id).
 * Since:     ABI 1.
 */
GoroutineStatus goroutine_code_unregister(uint64_t id,
                                          uint64_t timeout_ns);

/**
 * Writes what every goroutine does: its id and name; whether it runs (on which worker and thread), is runnable, or is parked, for how long, and for
 * what (with the holder of a mutex, and the goroutine whose promise it is); the function it began in, and where it was
 * spawned; whether it is bound, a daemon, pinned; and of a parked one
 * the backtrace, through emitted code that was registered. A backtrace of more than 100 frames is cut: the innermost 90, `... N more frames`, the
 * outermost 10; of one of 16,384 and more only the innermost 90, and how many more there are at least. Nothing stops for it: each goroutine is described as it was at a
 * moment of its own. Times are what was seen by a thread that looks now and then: at least that long.
 * With GOROUTINE_DUMP_SIGNAL=N in the environment when the runtime starts, N a signal that nobody uses, goroutines that run have frames, too
 * (docs/inspect.md); each is waited for 50 ms at most, and all of them 500.
 *
 * With GOROUTINE_SIGQUIT=1 in the environment when the runtime starts, SIGQUIT (ctrl-\\) makes the library write this to stderr. A handler that
 * the program had installed before runs, too; without one the signal no longer ends the process.
 * Context:   T, G. It blocks the thread as write(2) does.
 * Parks:     never.
 * Output:    text on `fd`, about 100 bytes for a goroutine and 60 for a frame.
 * Returns:   GOROUTINE_OK (also without a runtime), or the negative errno of write(2): GOROUTINE_EBADF, GOROUTINE_EAGAIN, GOROUTINE_EPIPE, ...
 * Since:     ABI 1.
 */
GoroutineStatus goroutine_dump(int32_t fd);

/* ---- C++ and other languages' runtimes: exceptions that are kept per goroutine, and what becomes of those that nobody catches. ---- */

/**
 * C++'s `__cxa_eh_globals` of the running goroutine, or outside goroutines of the thread: a pointer and an `unsigned int`. What the
 * library's `__cxa_get_globals` gives; goroutine.hpp has its own definition of that on top of this.
 * Context:   T, G, R, S.
 * Parks:     never.
 * Ownership: the library's. A goroutine's stays where it is until the goroutine ends.
 * Returns:   their address.
 * Since:     ABI 1.
 *
 * Safety:
 * None.
 */
void *goroutine_cxx_exceptions(void);

/**
 * Reports a failure that nobody looked at as the library reports its own: to the config's `unhandled`, or else on stderr, where
 * `text` (NULL: `status` and `reason`) says what it was. `goroutine` is its id, 0: unknown; the callback gets the goroutine itself only if
 * it is the running one. A GOROUTINE_ECANCELED during a shutdown is not reported: the shutdown did that.
 * Context:   T, G.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * `text` is a string, or NULL.
 */
void goroutine_report_unhandled(uint64_t goroutine,
                                GoroutineStatus status,
                                void *reason,
                                const char *text);

/* ---- Async operations: what somebody else will complete. ---- */

/**
 * Begins an operation that keeps the program alive until it is completed or cancelled. `user` is for reports (of a later version).
 * Context:   T, G.
 * Parks:     never.
 * Returns:   an id (above 0, below 2^53, never reused), or GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t goroutine_async_begin(GoroutineAsyncType kind,
                              void *user);

/**
 * Completes an operation, once, from any thread. The last 65,536 results wait for a late await.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   GOROUTINE_OK, GOROUTINE_EALREADY (completed or cancelled before), GOROUTINE_EINVAL (no such id was given out).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_async_complete(int64_t id,
                                         void *result);

/**
 * Cancels an operation: whoever awaits it gets GOROUTINE_ECANCELED.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   as goroutine_async_complete.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_async_cancel(int64_t id);

/**
 * Waits for an operation. The first successful await forgets it.
 * Context:   T, G.
 * Parks:     the goroutine, not its thread. On a plain thread it blocks the thread.
 * Output:    `*result` (may be NULL), on GOROUTINE_OK.
 * Returns:   GOROUTINE_OK, GOROUTINE_ECANCELED (it, or the caller, was cancelled), GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT,
 * GOROUTINE_EALREADY (awaited before), GOROUTINE_EINVAL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
GoroutineStatus goroutine_async_await(int64_t id,
                                      uint64_t timeout_ns,
                                      void **result);

/* ---- More stack, for emitted code with a prologue check and for C. ---- */

/**
 * For emitted code alone, not a C function: called first in a function whose prologue check failed, with r10 = the bytes of its frame and r11 =
 * those of its stack arguments (at most 32,768), which are copied. The function goes on after the call on a linked segment, rsp at 8 mod 16,
 * its arguments at [rsp + 8], every register but r10, r11 and the flags as it was; what is on the stack so far stays where it is. Its `ret` goes
 * to its caller by way of the library, which keeps rax, rdx, xmm0 and xmm1, and takes the segment off. If the instruction after the call is a
 * `ret` (C3), the function goes on behind it: then the CPU predicts all returns (docs/jit.md).
 * On a plain thread, and where C calls emitted code without goroutine_callback_run, it changes nothing and goes on.
 * Beyond `stack_bytes_max`, or out of memory: a stack overflow, as in a guard.
 * Context:   T, G.
 * Parks:     never.
 * Stack:     up to 128 bytes of the goroutine's.
 * Since:     ABI 1.
 *
 * Safety:
 * As above.
 */
void goroutine_more_stack_prologue(void);

/**
 * Runs `f(arg)` on a linked segment, 64 KiB first, and each that is called out of another larger than that, up to the
 * config's `stack_bytes_max`. On a plain thread, and in C that a foreign call runs: a call.
 * Beyond the maximum, or out of memory: a stack overflow, as in a guard.
 * Context:   T, G.
 * Parks:     never; `f` may.
 * Stack:     up to 128 bytes of the goroutine's.
 * Returns:   what `f` returns; NULL for a NULL `f`.
 * Since:     ABI 1.
 *
 * Safety:
 * `f` may be called with `arg`.
 */
void *goroutine_more_stack(GoroutineFn f,
                           void *arg);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* GOROUTINE_H */

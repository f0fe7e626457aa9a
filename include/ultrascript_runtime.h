/* What UltraScript's x86-64 code generator calls by name: a layer over goroutine.h, in the same library.
 * ABI 1. Linux, x86-64. Generated from src/capi/ultrascript.rs by `make header`: do not edit.
 *
 * A program
 *
 *     #include <ultrascript_runtime.h>
 *
 *     static void *answer;
 *     static void *child(void) { __runtime_time_sleep_millis(1); return (void *)42; }
 *     static void *program(void) { return answer = __goroutine_spawn_and_wait_direct((void *)(uintptr_t)child); }
 *
 *     int main(void) {
 *         __new_goroutine_system_init();
 *         __runtime_spawn_main_goroutine((void *)(uintptr_t)program);
 *         __runtime_wait_for_main_goroutine();      // until no goroutine, timer or async handle is left
 *         __new_goroutine_system_cleanup();
 *         return answer != (void *)42;
 *     }
 *
 * What callers may do
 *   rsp may be at 0 or 8 mod 16 at every call. Functions that are passed may return with rbx, rbp and r12-r15
 *   clobbered, need no unwind tables and no frame pointers, and may store as far below rsp as their stack goes: only what
 *   they call runs there, and no handler of an asynchronous signal does. They start with rsp at 8 mod 16, the direction
 *   flag clear, MXCSR 0x1F80, x87 control word 0x37F; what they leave in rax is their value.
 *   Code stays mapped as long as a goroutine runs in it.
 *
 * Handles
 *   A handle is a GoroutinePromise of goroutine.h with one reference, the caller's: __promise_release gives it back. One
 *   that never is stays valid until the cleanup. Everything in goroutine.h that takes a promise takes a handle, but
 *   goroutine_promise_release and _await_take.
 *
 * Contexts (T any thread, G a goroutine, R real-time code, S signal handlers), parking, and the names of statuses are
 * as goroutine.h says; this header does not need it, and both may be included. A goroutine that was cancelled ends in
 * the call that would have parked.
 */

#ifndef ULTRASCRIPT_RUNTIME_H
#define ULTRASCRIPT_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "ultrascript_runtime.h: Linux on x86-64 only"
#endif

#if defined(__cplusplus)
extern "C" {
#endif

/* As in goroutine.h, which documents them. `current` is what goroutine_current gives, or NULL for the running one. */
struct Goroutine;
void *execute_ffi_call(struct Goroutine *current, void *ffi_function, void *args);
void *migrate_to_ffi_thread(struct Goroutine *current, void *ffi_function, void *args);
bool is_goroutine_ffi_bound(const struct Goroutine *g);

#if defined(__cplusplus)
}
#endif

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ---- UltraScript's runtime, as its code generator calls it by name. ---- */

/**
 * Starts the runtime, with the defaults and the `GOROUTINE_*` environment, as goroutine_runtime_start(NULL) does. A second
 * call does nothing; after a cleanup it starts anew. Spawns and timers start it by themselves, but not after a cleanup.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   nothing. A start that fails (the environment, no threads) says so in a line on stderr.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __new_goroutine_system_init(void);

/**
 * Shuts the runtime down, as goroutine_runtime_shutdown does: cancels what is left, waits for it, at most 10 s, joins every
 * thread; then gives back every handle that nobody did. A second call does nothing.
 * Before that, failures in handles that nobody looked at are reported as unhandled.
 * What is cancelled ends in its next call of __promise_await, __goroutine_spawn_and_wait_direct, __runtime_time_sleep_millis,
 * __runtime_lock_lock and their like: emitted code could not tell a cancelled call from another.
 * Context:   T.
 * Parks:     never. It blocks the thread.
 * Ownership: ends all handles, if the runtime has stopped.
 * Returns:   nothing. On a goroutine, or when something does not stop, it says so on stderr, and nothing is freed: call again.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __new_goroutine_system_cleanup(void);

/**
 * Runs the program's main function as a goroutine. What it returns is not looked at.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   nothing. NULL, or no memory, or after a cleanup: a line on stderr, and nothing runs.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_spawn_main_goroutine(void *function);

/**
 * The same as __runtime_spawn_main_goroutine.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_spawn_main_goroutine_v2(void *function);

/**
 * Blocks the thread until no goroutine, timer or async handle is left. The main goroutine may have returned long before.
 * Context:   T.
 * Parks:     never. It blocks the thread.
 * Returns:   nothing. On a goroutine, which would wait for itself, it says so on stderr and returns at once.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_wait_for_main_goroutine(void);

/**
 * The same as __runtime_wait_for_main_goroutine.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_wait_for_main_goroutine_v2(void);

/**
 * Calls `function` in a new goroutine: `void *function(void)`.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller has one reference to the handle: __promise_release. It stays valid after the goroutine's end.
 * Returns:   a handle, a promise of what `function` returns in rax; NULL for NULL, when out of memory, and after a cleanup.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__runtime_spawn_goroutine(void *function);

/**
 * The same as __runtime_spawn_goroutine.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__runtime_spawn_goroutine_v2(void *function);

/**
 * The same as __runtime_spawn_goroutine.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__goroutine_spawn_direct(void *function);

/**
 * Calls `function(arg)` in a new goroutine.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: as __runtime_spawn_goroutine.
 * Returns:   as __runtime_spawn_goroutine.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__goroutine_spawn_func_ptr(void *function, void *arg);

/**
 * The same; `function` is entered with r12 = `scope`. For more registers: goroutine_spawn_with.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: as __runtime_spawn_goroutine.
 * Returns:   as __runtime_spawn_goroutine.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__goroutine_spawn_func_ptr_with_scope(void *function, void *arg, void *scope);

/**
 * Calls `function` in a new goroutine and waits for its end: `await go function()`.
 * Context:   T, G.
 * Parks:     the goroutine, not its thread. On a plain thread it blocks the thread.
 * Returns:   as __promise_await; NULL if there is no goroutine.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__goroutine_spawn_and_wait_direct(void *function);

/**
 * The same as __goroutine_spawn_and_wait_direct.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__goroutine_spawn_and_wait_fast(void *function);

/**
 * Waits until a promise is settled. A handle, or any promise of goroutine.h.
 * Context:   T, G.
 * Parks:     the goroutine, not its thread. It may resume on another thread. On a plain thread it blocks the thread.
 * Ownership: borrows `promise`.
 * Returns:   the value; the reason if it was rejected, which its `state` tells (offset 0, 2); NULL for NULL, and for a goroutine
 * that ended with another status.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__promise_await(void *promise);

/**
 * Gives a handle back. Handles that never are stay valid until the cleanup, which gives them back: 64 bytes each once settled,
 * counted in GoroutineStats' `promises`. NULL is ignored. A failure that nobody looked at is reported as unhandled.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes the caller's reference. Handles are given back by this function, not by goroutine_promise_release.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __promise_release(void *promise);

/**
 * Resolves with all values (`void *[n]`, in input order, owned by the handle), or rejects with the first reason. Without inputs it
 * is resolved at once. Inputs may be of goroutines or not, settled or not, and the same one several times.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: `promises` is borrowed, its elements are retained; the caller has one reference to the result: __promise_release.
 * Returns:   a handle; NULL when out of memory, when an element is NULL or `n` negative, or `promises` is NULL and `n` is not 0.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__promise_all(void *const *promises,
                    int64_t n);

/**
 * Settles as the first input does. Without inputs it stays pending.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: as __promise_all.
 * Returns:   as __promise_all.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__promise_race(void *const *promises, int64_t n);

/**
 * Calls `function` in a goroutine of its own, before regular work, once `delay` milliseconds have passed. Keeps the program alive.
 * `delay` is an integer, or the raw bits of a double: 2^52 and more, or negative, is bits. At or below zero, and NaN, is 0; what
 * does not fit in 64 bits of nanoseconds never fires. `function` gets no argument: one with data is goroutine_timer_start's.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   an id (above 0, below 2^53, never reused); negative: GOROUTINE_EINVAL (NULL), GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t __gots_set_timeout(void *function,
                           int64_t delay);

/**
 * The same as __gots_set_timeout.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t __gots_set_timeout_v2(void *function, int64_t delay);

/**
 * The same every `delay` milliseconds, until it is cleared: at least 1 ms, as in JavaScript's hosts. Runs of one interval never
 * overlap, and keep to the grid of the first.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   as __gots_set_timeout.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t __gots_set_interval(void *function,
                            int64_t delay);

/**
 * The same as __gots_set_interval.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t __gots_set_interval_v2(void *function, int64_t delay);

/**
 * Stops a timeout, or an interval. Any value may be passed.
 * Context:   T, G.
 * Parks:     never.
 * Returns:   true: it existed, and will not run again (a run under way goes on to its end).
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool __gots_clear_timeout(int64_t id);

/**
 * The same as __gots_clear_timeout.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool __gots_clear_timeout_v2(int64_t id);

/**
 * The same as __gots_clear_timeout.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool __gots_clear_interval(int64_t id);

/**
 * The same as __gots_clear_timeout.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool __gots_clear_interval_v2(int64_t id);

/**
 * Something is under way that keeps the program alive until it is completed or cancelled. `kind`: one of GOROUTINE_ASYNC_*;
 * `data` is for reports (of a later version).
 * Context:   T, G.
 * Parks:     never.
 * Returns:   an id (above 0, below 2^53, never reused); negative: GOROUTINE_EINVAL, GOROUTINE_ENOMEM, GOROUTINE_ESHUTDOWN.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t __gots_add_async_handle(int64_t kind,
                                void *data);

/**
 * The same as __gots_add_async_handle.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t __gots_add_async_handle_v2(int64_t kind, void *data);

/**
 * Ends a handle, once, from any thread. An id that is not pending is ignored.
 * Context:   T, G.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __gots_complete_async_handle(int64_t id);

/**
 * The same as __gots_complete_async_handle.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __gots_complete_async_handle_v2(int64_t id);

/**
 * The same; who awaits it by goroutine_async_await gets GOROUTINE_ECANCELED.
 * Context:   T, G.
 * Parks:     never.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __gots_cancel_async_handle(int64_t id);

/**
 * The same as __gots_cancel_async_handle.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __gots_cancel_async_handle_v2(int64_t id);

/**
 * Makes a recursive lock. Its owner is the goroutine that locked it, on whatever thread it runs then, or the plain thread. Who waits
 * gets it first come, first served. A goroutine that ends while it holds the lock gives it up. A GoroutineMutex of goroutine.h.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: the caller passes it to __runtime_lock_destroy.
 * Returns:   a lock; NULL when out of memory.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void *__runtime_lock_create(void);

/**
 * Locks it; waits while somebody else has it. NULL: returns at once.
 * Context:   T, G.
 * Parks:     the goroutine, not its thread. It may resume on another thread. On a plain thread it blocks the thread.
 * Ownership: borrows `lock`.
 * Returns:   with the lock. A goroutine that was cancelled ends here instead, without it.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_lock_lock(void *lock);

/**
 * Unlocks it, as often as it was locked. NULL is ignored.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `lock`.
 * Returns:   nothing. If the caller does not have it, nothing happens but a line on stderr.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_lock_unlock(void *lock);

/**
 * Locks it if nobody else has it.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: borrows `lock`.
 * Returns:   true: the caller has it; false for NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool __runtime_lock_try_lock(void *lock);

/**
 * Locks it; waits at most `ms` milliseconds while somebody else has it. 0 and less: does not wait.
 * Context:   T, G.
 * Parks:     as __runtime_lock_lock.
 * Ownership: borrows `lock`.
 * Returns:   as __runtime_lock_try_lock.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool __runtime_lock_try_lock_for(void *lock, int64_t ms);

/**
 * Whether the caller, a goroutine or a plain thread, has it.
 * Context:   T, G, R.
 * Parks:     never.
 * Ownership: borrows `lock`.
 * Returns:   that; false for NULL.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
bool __runtime_lock_is_locked_by_current(void *lock);

/**
 * Frees it. NULL is ignored.
 * Context:   T, G.
 * Parks:     never.
 * Ownership: consumes `lock`.
 * Returns:   nothing. If somebody has it or waits for it, nothing happens but a line on stderr.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_lock_destroy(void *lock);

/**
 * Lets `ms` milliseconds pass, at least; 0 and less: lets others run.
 * Context:   T, G.
 * Parks:     the goroutine, not its thread. It may resume on another thread. On a plain thread it sleeps the thread.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_time_sleep_millis(int64_t ms);

/**
 * The same for nanoseconds.
 * Context:   T, G.
 * Parks:     as __runtime_time_sleep_millis.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
void __runtime_time_sleep_nanos(int64_t ns);

/**
 * The running goroutine's id, never reused in a process.
 * Context:   T, G, R, S.
 * Returns:   the id; 0 outside goroutines.
 * Since:     ABI 1.
 *
 * Safety:
 * Pointers are as the text says, or NULL.
 */
int64_t __runtime_go_current_id(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ULTRASCRIPT_RUNTIME_H */

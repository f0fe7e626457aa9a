/* libgoroutine for C++17: futures with types, exceptions that travel, chrono time-outs. Header only, over goroutine.h.
 *
 * A program
 *
 *     #include <goroutine.hpp>
 *     #include <cstdio>
 *     #include <stdexcept>
 *     using namespace std::chrono_literals;
 *
 *     static int square(int n) {
 *         goroutine::this_goroutine::sleep_for(1ms);
 *         if (n == 7) throw std::runtime_error("seven");
 *         return n * n;
 *     }
 *     int main() {
 *         goroutine::runtime runtime;
 *         auto nine = goroutine::spawn(square, 3), seven = goroutine::spawn(square, 7);
 *         std::printf("%d\n", nine.get());
 *         try {
 *             seven.get();
 *         } catch (const std::runtime_error &e) {
 *             std::printf("%s\n", e.what());
 *         }
 *     }
 *
 * Exceptions
 *   One that leaves a function started here becomes its future's, and get() throws it again, in whatever goroutine or thread. One that
 *   nobody will get goes to `unhandled` of the config, or else to stderr, and the process goes on. A status that is an error becomes a
 *   goroutine::error: a cancelled goroutine's next parking call here throws one with GOROUTINE_ECANCELED.
 *   A goroutine may park inside a catch block or in a destructor during unwinding, also through the C functions, and go on on another
 *   thread. For that this header replaces __cxa_get_globals of the C++ runtime in the program that includes it. If that did not take
 *   effect, go and spawn throw GOROUTINE_ENOSYS, and exceptions_are_kept() is false: docs/cpp.md has the reasons.
 *   An exception must not leave a function that was started by the C interface (std::terminate), nor a callback.
 *   goroutine_exit abandons frames: no destructor runs, and what they own leaks. So does a longjmp. pthread_exit and pthread_cancel
 *   are not for goroutines: their unwinding ends the process with a line on stderr.
 *
 * Each call documents what it parks on; all of them may be called on a plain thread, too, which they then block.
 */
#ifndef GOROUTINE_HPP
#define GOROUTINE_HPP

#if !defined(__cplusplus) || __cplusplus < 201703L
#error "goroutine.hpp: C++17 or newer"
#endif
#if !defined(__cpp_exceptions)
#error "goroutine.hpp: needs exceptions"
#endif

#include "goroutine.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <ratio>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <unwind.h>
#include <utility>

/* ---- The C++ runtime asks these where a thread's exceptions are. The program's own definition comes before any
 * library's. Weak: one of many, as each file that includes this has them; and a program may define its own. ---- */

#if defined(__GLIBCXX__)
namespace __cxxabiv1 {
extern "C" __attribute__((weak, visibility("default"))) __cxa_eh_globals *__cxa_get_globals() noexcept {
    return static_cast<__cxa_eh_globals *>(goroutine_cxx_exceptions());
}
extern "C" __attribute__((weak, visibility("default"))) __cxa_eh_globals *__cxa_get_globals_fast() noexcept {
    return static_cast<__cxa_eh_globals *>(goroutine_cxx_exceptions());
}
} // namespace __cxxabiv1
#else
extern "C" {
void *__cxa_get_globals() noexcept;
void *__cxa_get_globals_fast() noexcept;
__attribute__((weak, visibility("default"))) void *__cxa_get_globals() noexcept { return goroutine_cxx_exceptions(); }
__attribute__((weak, visibility("default"))) void *__cxa_get_globals_fast() noexcept { return goroutine_cxx_exceptions(); }
}
#endif

namespace goroutine {

/* ---- Errors ---- */

/** The category of GoroutineStatus. `code == std::errc::timed_out` and its like work where a status has an errno. */
inline const std::error_category &status_category() noexcept {
    struct category final : std::error_category {
        const char *name() const noexcept override { return "goroutine"; }
        std::string message(int status) const override { return goroutine_status_message(status); }
        std::error_condition default_error_condition(int status) const noexcept override {
            return status < 0 && status > GOROUTINE_EREJECTED ? std::error_condition(-status, std::generic_category())
                                                              : std::error_condition(status, *this);
        }
    };
    static const category one;
    return one;
}

/** A status that is not GOROUTINE_OK. */
class __attribute__((visibility("default"))) error : public std::system_error {
public:
    explicit error(GoroutineStatus status) : error(status, goroutine_status_message(status)) {}
    /** `what` in place of the sentence that the status has. */
    error(GoroutineStatus status, const char *what)
        : std::system_error(status, status_category()), text_(std::string(goroutine_status_name(status)) + ": " + what) {}
    GoroutineStatus status() const noexcept { return code().value(); }
    const char *what() const noexcept override { return text_.what(); }

private:
    std::runtime_error text_; // a string whose copies throw nothing
};

/** Throws what is not GOROUTINE_OK. */
inline void check(GoroutineStatus status) {
    if (status != GOROUTINE_OK) throw error(status);
}

namespace detail {
struct spawner;
}

namespace this_goroutine {

/** Its id; 0 outside goroutines. */
inline std::uint64_t id() noexcept { return goroutine_id(goroutine_current()); }
/** Lets others run. Parks. */
inline void yield() noexcept { goroutine_yield(); }
/** Whether somebody asked it to stop. */
inline bool is_cancelled() noexcept {
    const void *self = goroutine_current();
    if (self == nullptr) return false;
    const auto *flags = reinterpret_cast<const std::uint32_t *>(static_cast<const char *>(self) + GOROUTINE_OFFSET_FLAGS);
    return (__atomic_load_n(flags, __ATOMIC_RELAXED) & GOROUTINE_FLAG_CANCEL) != 0;
}

} // namespace this_goroutine

namespace detail {

/* ---- Time ---- */

/** As the C functions take it: rounded up, below zero is 0, and what does not fit is for ever. */
template <class Rep, class Period> std::uint64_t timeout(std::chrono::duration<Rep, Period> duration) {
    using nanoseconds = std::chrono::duration<std::uint64_t, std::nano>;
    const double about = std::chrono::duration<double, std::nano>(duration).count();
    if (!(about > 0)) return 0;
    if (about >= 18.0e18) return GOROUTINE_FOREVER;
    if constexpr (std::chrono::treat_as_floating_point_v<Rep> || std::ratio_less_v<Period, std::nano>) {
        return static_cast<std::uint64_t>(std::ceil(about));
    } else {
        return std::chrono::duration_cast<nanoseconds>(duration).count();
    }
}
template <class Clock, class Duration> std::uint64_t timeout(std::chrono::time_point<Clock, Duration> deadline) {
    const auto now = Clock::now();
    return deadline <= now ? 0 : timeout(deadline - now); // the difference to one long ago may not fit
}

/* ---- Exceptions ---- */

/** What __cxa_get_globals points to, by the Itanium C++ ABI. */
struct exceptions {
    void *caught;
    unsigned int uncaught;
};

/** Whether the C++ runtime that this was linked with looks at the library's words: first through __cxa_get_globals, and
 *  only if so through __cxa_get_globals_fast, with an exception that is foreign to it (its class is 0), of which it
 *  reads nothing. Throws nothing. */
inline bool probe_exceptions() noexcept {
    constexpr unsigned int many = 1u << 20;
    auto *now = static_cast<exceptions *>(goroutine_cxx_exceptions());
    const exceptions before = *now;
    now->uncaught = before.uncaught + many;
    const bool asked = std::uncaught_exceptions() == static_cast<int>(before.uncaught + many);
    *now = before;
    if (!asked) return false;
    _Unwind_Exception foreign{};
    *now = {};
    abi::__cxa_begin_catch(&foreign);
    const bool begun = now->caught != nullptr;
    abi::__cxa_end_catch();
    const bool ended = now->caught == nullptr;
    *now = before;
    return begun && ended;
}

/** What an `unhandled` callback is being told of. */
inline thread_local std::atomic<const std::exception_ptr *> reported{nullptr}; /* atomic for ThreadSanitizer: goroutines share it */

/** The running handler's exception in words, into `text`. */
inline void describe(char *text, std::size_t bytes, const char *what) noexcept {
    const std::type_info *type = abi::__cxa_current_exception_type();
    int status = 0;
    char *name = type == nullptr ? nullptr : abi::__cxa_demangle(type->name(), nullptr, nullptr, &status);
    const char *readable = name != nullptr ? name : type != nullptr ? type->name() : "an exception of another language";
    std::snprintf(text, bytes, "%s%s%s", readable, what != nullptr ? ": " : "", what != nullptr ? what : "");
    std::free(name);
}

/** Nobody will get this exception of goroutine `id`. `expected`: somebody had cancelled the goroutine. */
inline void report(std::uint64_t id, const std::exception_ptr &exception, bool expected) noexcept {
    GoroutineStatus status = GOROUTINE_EREJECTED;
    char text[512];
    try {
        std::rethrow_exception(exception);
    } catch (const error &e) {
        if (e.status() == GOROUTINE_ECANCELED) status = GOROUTINE_ECANCELED;
        describe(text, sizeof text, e.what());
    } catch (const std::exception &e) {
        describe(text, sizeof text, e.what());
    } catch (...) {
        describe(text, sizeof text, nullptr);
    }
    if (expected && status == GOROUTINE_ECANCELED) return;
    reported.store(&exception, std::memory_order_relaxed);
    goroutine_report_unhandled(id, status, const_cast<std::exception_ptr *>(&exception), text);
    reported.store(nullptr, std::memory_order_relaxed);
}

} // namespace detail

/** Whether goroutines may park inside catch blocks. False: this header was not looked at first, see docs/cpp.md. */
inline bool exceptions_are_kept() noexcept {
    static const bool kept = detail::probe_exceptions();
    return kept;
}

/** For the config's `unhandled`: the exception behind `reason`; null if it is no exception of a function started
 *  here. */
inline std::exception_ptr unhandled_exception(const void *reason) noexcept {
    const std::exception_ptr *reported = detail::reported.load(std::memory_order_relaxed);
    return reason != nullptr && reason == reported ? *reported : nullptr;
}

namespace detail {

inline void need_exceptions() {
    if (!exceptions_are_kept()) {
        throw error(GOROUTINE_ENOSYS, "exceptions would not be kept per goroutine: the C++ runtime was bound before goroutine.hpp "
                                      "(docs/cpp.md, \"If it does not take effect\")");
    }
}

/* ---- What a goroutine runs ---- */

/** A function and its arguments, copied or moved as std::thread does; std::ref for references. */
template <class F, class... Args> class call {
public:
    using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
    template <class G, class... As> explicit call(G &&f, As &&...args) : parts_(std::forward<G>(f), std::forward<As>(args)...) {}
    result operator()() {
        return std::apply([](auto &&...parts) -> result { return std::invoke(std::move(parts)...); }, parts_);
    }

private:
    std::tuple<std::decay_t<F>, std::decay_t<Args>...> parts_;
};

/** Where a result waits for its future. */
template <class T> class slot {
public:
    template <class Call> void fill(Call &call) { value_.emplace(call()); }
    T take() { return std::move(*value_); }
    void *address() noexcept { return std::addressof(*value_); }

private:
    std::optional<T> value_;
};
template <class T> class slot_of_reference {
public:
    template <class Call> void fill(Call &call) {
        T &&result = call();
        at_ = std::addressof(result);
    }
    T take() noexcept { return static_cast<T>(*at_); }
    void *address() noexcept { return const_cast<void *>(static_cast<const volatile void *>(at_)); }

private:
    std::remove_reference_t<T> *at_ = nullptr;
};
template <class T> class slot<T &> : public slot_of_reference<T &> {};
template <class T> class slot<T &&> : public slot_of_reference<T &&> {};
template <> class slot<void> {
public:
    template <class Call> void fill(Call &call) { call(); }
    void take() noexcept {}
    void *address() noexcept { return nullptr; }
};

/** What a future and its goroutine share.
 *  S1. The goroutine writes `id`, `result`, `exception` and `done` before it gives up its share and settles the promise; the future reads
 *      them after it saw the promise settled, or as the last owner (acq_rel on `owners`).
 *  S2. `promise` is the future's alone: the goroutine may be over before spawn has it.
 *  S3. Who gives up the last share reports an exception that nobody got, and deletes. */
template <class T> struct state {
    GoroutinePromise *promise = nullptr;
    std::atomic<int> owners{2};
    std::atomic<bool> cancelled{false};
    bool done = false;
    bool seen = false;
    std::uint64_t id = 0;
    std::exception_ptr exception;
    slot<T> result;

    virtual ~state() {
        if (exception != nullptr && !seen) report(id, exception, cancelled.load(std::memory_order_relaxed));
    }
    /** True: it was the last share. */
    bool give_up() noexcept { return owners.fetch_sub(1, std::memory_order_acq_rel) == 1; }

protected:
    state() = default;
    state(const state &) = delete;
    state &operator=(const state &) = delete;
};

template <class Call> class task final : public state<std::remove_cv_t<typename Call::result>> {
public:
    using value_type = std::remove_cv_t<typename Call::result>;
    template <class... Parts> explicit task(Parts &&...parts) { call_.emplace(std::forward<Parts>(parts)...); }

    /** The goroutine. An exception rejects its promise, with the std::exception_ptr as reason. Else its value is the
     *  result's address. Both are there as long as the future. */
    static void *run(void *self) {
        auto *task = static_cast<class task *>(self);
        task->id = this_goroutine::id();
        task->produce();
        void *failed = task->exception != nullptr ? &task->exception : nullptr;
        void *value = failed != nullptr ? nullptr : task->result.address();
        task->done = true;
        if (task->give_up()) {
            delete task;
            return nullptr;
        }
        if (failed != nullptr) goroutine_exit(GOROUTINE_EREJECTED, failed); // nothing is left in this frame to destroy
        return value;
    }

private:
    void produce() {
        try {
            this->result.fill(*call_);
        }
#if defined(__GLIBCXX__)
        catch (abi::__forced_unwind &) {
            throw;
        }
#endif
        catch (...) {
            this->exception = std::current_exception();
        }
        call_.reset(); // what the function held is free before anybody sees that it is done
    }
    std::optional<Call> call_;
};

/** The goroutine of go(). */
template <class Call> void *run_alone(void *call) {
    try {
        std::unique_ptr<Call> own(static_cast<Call *>(call));
        (*own)();
    }
#if defined(__GLIBCXX__)
    catch (abi::__forced_unwind &) {
        throw;
    }
#endif
    catch (...) {
        report(this_goroutine::id(), std::current_exception(), false);
    }
    return nullptr;
}

} // namespace detail

/* ---- Spawning ---- */

/** How to start a goroutine: GOROUTINE_SPAWN_* flags, bytes of stack (0: the default), a name for reports. */
struct options {
    std::uint32_t flags = 0;
    std::uint64_t stack_bytes = 0;
    const char *name = nullptr;
};

/** The result of a goroutine, once. Its destructor waits for nothing. */
template <class T> class [[nodiscard]] future {
public:
    using value_type = T;

    future() noexcept = default;
    future(future &&other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    future &operator=(future &&other) noexcept {
        future(std::move(other)).swap(*this);
        return *this;
    }
    future(const future &) = delete;
    future &operator=(const future &) = delete;
    ~future() { drop(); }
    void swap(future &other) noexcept { std::swap(state_, other.state_); }

    /** False for one that was made without a goroutine, was moved from, or gave its result away. */
    bool valid() const noexcept { return state_ != nullptr; }
    /** Whether the goroutine is over. */
    bool is_ready() const { return is_settled(need()); }

    /** The result, or throws the goroutine's exception. After that, valid() is false. Throws error, and stays valid,
     *  when the wait was in vain: GOROUTINE_ECANCELED (the caller was cancelled), GOROUTINE_ETIMEDOUT, GOROUTINE_EAGAIN
     *  (a time-out of 0). A goroutine that ended by goroutine_exit has no result: its status becomes an error, as in
     *  GOROUTINE_ESTACKOVERFLOW, or GOROUTINE_EREJECTED if that was GOROUTINE_OK. Parks. */
    T get() { return get_within(GOROUTINE_FOREVER); }
    template <class Rep, class Period> T get(std::chrono::duration<Rep, Period> timeout) {
        return get_within(detail::timeout(timeout));
    }

    /** Until it is over. Throws error(GOROUTINE_ECANCELED) if the caller was cancelled. Parks. */
    void wait() const { wait_within(GOROUTINE_FOREVER); }
    /** True: it is over. Parks. */
    template <class Rep, class Period> bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
        return wait_within(detail::timeout(timeout));
    }
    template <class Clock, class Duration> bool wait_until(std::chrono::time_point<Clock, Duration> deadline) const {
        return wait_within(detail::timeout(deadline));
    }

    /** Asks the goroutine to stop: its parking calls throw error(GOROUTINE_ECANCELED) from now on, which is not
     *  reported if nobody gets it. False: it is over. */
    bool cancel() {
        state &of = need();
        of.cancelled.store(true, std::memory_order_relaxed);
        const GoroutineStatus status = goroutine_cancel(of.promise);
        if (status == GOROUTINE_EALREADY) return false;
        check(status);
        return true;
    }

    /** The promise, for the C functions, borrowed. It resolves with the result's address (NULL for void), or is
     *  rejected with a std::exception_ptr *; both are there as long as this future, or whatever it was moved to. */
    GoroutinePromise *promise() const noexcept { return state_ == nullptr ? nullptr : state_->promise; }

private:
    using state = detail::state<T>;
    friend struct detail::spawner;

    explicit future(state *of) noexcept : state_(of) {}

    state &need() const {
        if (state_ == nullptr) throw error(GOROUTINE_EINVAL, "a future without a goroutine");
        return *state_;
    }
    static bool is_settled(const state &of) noexcept {
        const auto *word = reinterpret_cast<const std::uint32_t *>(reinterpret_cast<const char *>(of.promise));
        return __atomic_load_n(word + GOROUTINE_PROMISE_OFFSET_STATE / sizeof *word, __ATOMIC_ACQUIRE) != GOROUTINE_PROMISE_PENDING;
    }

    /** False: the time is up. */
    bool wait_within(std::uint64_t timeout_ns) const {
        const state &of = need();
        if (is_settled(of)) return true;
        const GoroutineStatus status = goroutine_promise_await(of.promise, timeout_ns, nullptr);
        if (status == GOROUTINE_OK || status == GOROUTINE_EREJECTED || is_settled(of)) return true;
        if (status == GOROUTINE_ETIMEDOUT || status == GOROUTINE_EAGAIN) return false;
        throw error(status);
    }

    T get_within(std::uint64_t timeout_ns) {
        const GoroutineStatus status = goroutine_promise_await(need().promise, timeout_ns, nullptr);
        const bool settled = status == GOROUTINE_OK || status == GOROUTINE_EREJECTED || is_settled(*state_);
        if (!settled || (status != GOROUTINE_OK && status != GOROUTINE_EREJECTED && state_->done)) throw error(status); // the caller's
        future own(std::move(*this)); // whatever comes, this one has given its result away
        state &of = *own.state_;
        of.seen = true;
        if (!of.done) throw_end(goroutine_promise_await(of.promise, 0, nullptr));
        if (of.exception != nullptr) std::rethrow_exception(of.exception);
        return of.result.take();
    }
    /** It ended by goroutine_exit. */
    [[noreturn]] static void throw_end(GoroutineStatus status) {
        if (status != GOROUTINE_OK && status != GOROUTINE_EREJECTED) throw error(status);
        throw error(GOROUTINE_EREJECTED, status == GOROUTINE_OK ? "goroutine_exit(GOROUTINE_OK) ended the goroutine, without a result"
                                                                : "goroutine_exit(GOROUTINE_EREJECTED) ended the goroutine");
    }

    void drop() noexcept {
        if (state_ == nullptr) return;
        state *const of = std::exchange(state_, nullptr);
        GoroutinePromise *const promise = of->promise;
        const bool exited = is_settled(*of) && !of->done; // by goroutine_exit, with its share
        if (of->give_up() || exited) {
            const bool reported = of->exception != nullptr && !of->seen;
            delete of;
            // The promise is rejected, or about to be, and the library must not report that again: a time-out, however short, says that
            // somebody looks.
            if (reported) goroutine_promise_await(promise, 1, nullptr);
        }
        goroutine_promise_release(promise);
    }

    state *state_ = nullptr;
};

namespace detail {

/* In whoever spawns: dumps say where that is. */
#define GOROUTINE_IN_CALLER inline __attribute__((always_inline))

/** f(arg) in a new goroutine; its promise if `promised`. */
GOROUTINE_IN_CALLER GoroutinePromise *start(GoroutineFn f, void *arg, const options *how, bool promised) {
    GoroutinePromise *promise = nullptr;
    if (how == nullptr && promised && (promise = goroutine_spawn(f, arg)) != nullptr) return promise;
    GoroutineSpawn request; // or once more, for the status that says why not
    goroutine_spawn_init(&request);
    request.fn = reinterpret_cast<void *>(f);
    request.int_args[0] = reinterpret_cast<std::uintptr_t>(arg);
    if (how != nullptr) {
        request.flags = how->flags;
        request.stack_bytes = how->stack_bytes;
        request.name = how->name;
    }
    check(goroutine_spawn_with(&request, promised ? &promise : nullptr));
    return promise;
}

struct spawner {
    template <class F, class... Args> GOROUTINE_IN_CALLER static auto spawn(const options *how, F &&f, Args &&...args) {
        using task = detail::task<call<F, Args...>>;
        need_exceptions();
        auto one = std::make_unique<task>(std::forward<F>(f), std::forward<Args>(args)...);
        one->promise = start(task::run, one.get(), how, true); // S2: what it writes of the task is not this
        return future<typename task::value_type>(one.release());
    }
    template <class F, class... Args> GOROUTINE_IN_CALLER static void go(const options *how, F &&f, Args &&...args) {
        using call = detail::call<F, Args...>;
        need_exceptions();
        auto one = std::make_unique<call>(std::forward<F>(f), std::forward<Args>(args)...);
        if (how != nullptr) {
            start(run_alone<call>, one.get(), how, false);
        } else {
            check(goroutine_go(run_alone<call>, one.get()));
        }
        one.release(); // NOLINT: the goroutine's
    }
};

template <class F> using unless_options = std::enable_if_t<!std::is_same_v<std::decay_t<F>, options>, int>;

} // namespace detail

/** Runs f(args...) in a new goroutine. f and args are copied or moved, as std::thread does; std::ref for references.
 *  Throws error(GOROUTINE_ENOMEM), error(GOROUTINE_ESHUTDOWN), error(GOROUTINE_ENOSYS). Never parks. */
template <class F, class... Args, detail::unless_options<F> = 0> GOROUTINE_IN_CALLER auto spawn(F &&f, Args &&...args) {
    return detail::spawner::spawn(nullptr, std::forward<F>(f), std::forward<Args>(args)...);
}
template <class F, class... Args> GOROUTINE_IN_CALLER auto spawn(const options &how, F &&f, Args &&...args) {
    return detail::spawner::spawn(&how, std::forward<F>(f), std::forward<Args>(args)...);
}

/** The same without a future. What f returns is dropped; an exception that leaves it goes to `unhandled`. */
template <class F, class... Args, detail::unless_options<F> = 0> GOROUTINE_IN_CALLER void go(F &&f, Args &&...args) {
    detail::spawner::go(nullptr, std::forward<F>(f), std::forward<Args>(args)...);
}
template <class F, class... Args> GOROUTINE_IN_CALLER void go(const options &how, F &&f, Args &&...args) {
    detail::spawner::go(&how, std::forward<F>(f), std::forward<Args>(args)...);
}

/* ---- The runtime ---- */

/** A user of the runtime: starts it if nobody has; the last of them to go shuts it down, which cancels the goroutines
 *  that are left and waits for them. Not on a goroutine. */
class runtime {
public:
    runtime() {
        const GoroutineStatus status = goroutine_runtime_start(nullptr);
        if (status != GOROUTINE_EALREADY) check(status);
        goroutine_runtime_retain();
    }
    /** Throws error(GOROUTINE_EALREADY) if it runs, for then the config would not count. */
    explicit runtime(const GoroutineConfig &config) {
        const GoroutineStatus status = goroutine_runtime_start(&config);
        if (status == GOROUTINE_EALREADY) throw error(status, "the runtime runs already, so this config would not count");
        check(status);
        goroutine_runtime_retain();
    }
    explicit runtime(std::uint32_t workers) : runtime(with_workers(workers)) {}
    runtime(const runtime &) = delete;
    runtime &operator=(const runtime &) = delete;
    /** On a goroutine that would wait for itself: std::terminate. */
    ~runtime() { check(goroutine_runtime_release(GOROUTINE_FOREVER)); }

    /** Until no goroutine, timer or async operation is left that keeps the program alive. Blocks the thread. */
    void wait() { check(goroutine_runtime_wait(GOROUTINE_FOREVER)); }
    /** False: the time is up. */
    template <class Rep, class Period> bool wait_for(std::chrono::duration<Rep, Period> timeout) {
        const GoroutineStatus status = goroutine_runtime_wait(detail::timeout(timeout));
        if (status == GOROUTINE_ETIMEDOUT || status == GOROUTINE_EAGAIN) return false;
        check(status);
        return true;
    }

private:
    static GoroutineConfig with_workers(std::uint32_t workers) {
        GoroutineConfig config;
        goroutine_config_init(&config);
        config.workers = workers;
        return config;
    }
};

/** Runs f(args...) as a goroutine, waits until nothing is left that keeps the program alive, and gives its result, or
 *  throws its exception. Starts the runtime if need be. Blocks the thread; on a goroutine throws
 *  error(GOROUTINE_EDEADLK), and with GOROUTINE_CONFIG_DEADLOCK_REPORT also when all goroutines that are left are asleep for good. */
template <class F, class... Args> GOROUTINE_IN_CALLER auto run(F &&f, Args &&...args) ->
    typename decltype(spawn(std::forward<F>(f), std::forward<Args>(args)...))::value_type {
    if (goroutine_current() != nullptr) throw error(GOROUTINE_EDEADLK);
    auto result = spawn(std::forward<F>(f), std::forward<Args>(args)...);
    if (goroutine_runtime_wait(GOROUTINE_FOREVER) == GOROUTINE_EDEADLK) throw error(GOROUTINE_EDEADLK); // f may be in it
    result.wait();
    check(goroutine_runtime_wait(GOROUTINE_FOREVER));
    return result.get();
}

#undef GOROUTINE_IN_CALLER

/* ---- The running goroutine ---- */

namespace this_goroutine {

/** Parks for at least so long. Throws error(GOROUTINE_ECANCELED). */
template <class Rep, class Period> void sleep_for(std::chrono::duration<Rep, Period> duration) {
    check(goroutine_sleep(detail::timeout(duration)));
}
template <class Clock, class Duration> void sleep_until(std::chrono::time_point<Clock, Duration> deadline) {
    while (Clock::now() < deadline) check(goroutine_sleep(detail::timeout(deadline)));
}

/** While one is alive, the goroutine's parking calls do not throw error(GOROUTINE_ECANCELED): for what must be
 *  finished. They nest. */
class uncancelled {
public:
    uncancelled() noexcept { goroutine_cancel_disable(); }
    ~uncancelled() { goroutine_cancel_enable(); }
    uncancelled(const uncancelled &) = delete;
    uncancelled &operator=(const uncancelled &) = delete;
};

} // namespace this_goroutine

/* ---- Foreign calls ---- */

/** f() on the native stack of a thread: `kind` is GOROUTINE_FFI_BOUND, _LEAF or _BLOCKING (goroutine_ffi_call). Its
 *  result is given, and its exception thrown, on this side, so no frame between the two stacks is unwound and
 *  goroutine_ffi_landed is not needed. */
template <class F> std::invoke_result_t<F &> foreign_call(std::uint32_t kind, F &&f) {
    struct frame {
        std::remove_reference_t<F> &function;
        detail::slot<std::remove_cv_t<std::invoke_result_t<F &>>> result;
        std::exception_ptr exception;
        static void *run(void *self) {
            auto *here = static_cast<frame *>(self);
            try {
                here->result.fill(here->function);
            }
#if defined(__GLIBCXX__)
            catch (abi::__forced_unwind &) {
                throw;
            }
#endif
            catch (...) {
                here->exception = std::current_exception();
            }
            return nullptr;
        }
    } here{f, {}, nullptr};
    check(goroutine_ffi_call(kind, reinterpret_cast<void *>(&frame::run), &here, nullptr));
    if (here.exception != nullptr) std::rethrow_exception(here.exception);
    return here.result.take();
}

/* ---- Locks ---- */

namespace detail {

template <std::uint32_t flags> class basic_mutex {
public:
    basic_mutex() : mutex_(goroutine_mutex_new(flags)) {
        if (mutex_ == nullptr) throw error(GOROUTINE_ENOMEM);
    }
    /** Locked, or waited for, or to be locked again by one that waits on a condition_variable: std::terminate. */
    ~basic_mutex() { check(goroutine_mutex_free(mutex_)); }
    basic_mutex(const basic_mutex &) = delete;
    basic_mutex &operator=(const basic_mutex &) = delete;

    /** Throws error, without the lock: GOROUTINE_ECANCELED, GOROUTINE_EDEADLK (the caller has it), and once after its
     *  owner ended with it by goroutine_exit GOROUTINE_EOWNERDEAD: what it protects may be half done. Parks. */
    void lock() { locked(goroutine_mutex_lock(mutex_, GOROUTINE_FOREVER)); }
    bool try_lock() { return locked(goroutine_mutex_try_lock(mutex_)); }
    /** False: the time is up. */
    template <class Rep, class Period> bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
        return locked(goroutine_mutex_lock(mutex_, detail::timeout(timeout)));
    }
    template <class Clock, class Duration> bool try_lock_until(std::chrono::time_point<Clock, Duration> deadline) {
        return locked(goroutine_mutex_lock(mutex_, detail::timeout(deadline)));
    }
    /** Throws error(GOROUTINE_EPERM) if the caller does not have it. */
    void unlock() { check(goroutine_mutex_unlock(mutex_)); }

    using native_handle_type = GoroutineMutex *;
    native_handle_type native_handle() noexcept { return mutex_; }

private:
    bool locked(GoroutineStatus status) {
        if (status == GOROUTINE_ETIMEDOUT || status == GOROUTINE_EAGAIN) return false;
        if (status == GOROUTINE_EOWNERDEAD) {
            check(goroutine_mutex_unlock(mutex_));
            throw error(status, "the mutex's last owner ended with it, without unlocking; it was unlocked again");
        }
        check(status);
        return true;
    }
    GoroutineMutex *mutex_;
};

} // namespace detail

/** For goroutines and plain threads; they wait in order. For std::lock_guard, std::unique_lock and std::scoped_lock:
 *  Lockable, TimedLockable. */
using mutex = detail::basic_mutex<0>;
/** Its owner may lock it again. */
using recursive_mutex = detail::basic_mutex<GOROUTINE_MUTEX_RECURSIVE>;

/** With a mutex or a recursive_mutex in a std::unique_lock. A wake without a notify is possible: use the forms with a
 *  predicate. A wait that throws error (GOROUTINE_ECANCELED, or GOROUTINE_EOWNERDEAD as the lock did) has the lock
 *  again, too. */
class condition_variable {
public:
    condition_variable() : condition_(goroutine_condition_new()) {
        if (condition_ == nullptr) throw error(GOROUTINE_ENOMEM);
    }
    /** Somebody waits on it: std::terminate. */
    ~condition_variable() { check(goroutine_condition_free(condition_)); }
    condition_variable(const condition_variable &) = delete;
    condition_variable &operator=(const condition_variable &) = delete;

    void notify_one() noexcept { goroutine_condition_signal(condition_); }
    void notify_all() noexcept { goroutine_condition_broadcast(condition_); }

    /** Parks. */
    template <class Lock> void wait(Lock &lock) { wait_within(lock, GOROUTINE_FOREVER); }
    template <class Lock, class Predicate> void wait(Lock &lock, Predicate is_there) {
        while (!is_there()) wait(lock);
    }
    /** False: the time is up. */
    template <class Lock, class Rep, class Period> bool wait_for(Lock &lock, std::chrono::duration<Rep, Period> timeout) {
        return wait_within(lock, detail::timeout(timeout));
    }
    template <class Lock, class Clock, class Duration>
    bool wait_until(Lock &lock, std::chrono::time_point<Clock, Duration> deadline) {
        return wait_within(lock, detail::timeout(deadline));
    }
    /** Whether it is there. */
    template <class Lock, class Clock, class Duration, class Predicate>
    bool wait_until(Lock &lock, std::chrono::time_point<Clock, Duration> deadline, Predicate is_there) {
        while (!is_there()) {
            if (!wait_until(lock, deadline)) return is_there();
        }
        return true;
    }
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(Lock &lock, std::chrono::duration<Rep, Period> timeout, Predicate is_there) {
        const std::uint64_t ns = detail::timeout(timeout);
        if (ns >= std::uint64_t{1} << 62) { // no clock has such a time
            wait(lock, std::move(is_there));
            return true;
        }
        return wait_until(lock, std::chrono::steady_clock::now() + std::chrono::nanoseconds(static_cast<std::int64_t>(ns)),
                          std::move(is_there));
    }

    GoroutineCondition *native_handle() noexcept { return condition_; }

private:
    template <class Lock> bool wait_within(Lock &lock, std::uint64_t timeout_ns) {
        if (!lock.owns_lock()) throw error(GOROUTINE_EPERM);
        const GoroutineStatus status = goroutine_condition_wait(condition_, lock.mutex()->native_handle(), timeout_ns);
        if (status == GOROUTINE_ETIMEDOUT || status == GOROUTINE_EAGAIN) return false;
        check(status);
        return true;
    }
    GoroutineCondition *condition_;
};

/** Waits for many. */
class wait_group {
public:
    wait_group() : group_(goroutine_wait_group_new()) {
        if (group_ == nullptr) throw error(GOROUTINE_ENOMEM);
    }
    /** Somebody waits on it: std::terminate. */
    ~wait_group() { check(goroutine_wait_group_free(group_)); }
    wait_group(const wait_group &) = delete;
    wait_group &operator=(const wait_group &) = delete;

    /** Throws error(GOROUTINE_EINVAL) if the count would be below 0. */
    void add(std::int32_t n = 1) { counted(goroutine_wait_group_add(group_, n)); }
    void done() { counted(goroutine_wait_group_done(group_)); }
    /** Until the count is 0. Parks. */
    void wait() { check(goroutine_wait_group_wait(group_, GOROUTINE_FOREVER)); }
    /** False: the time is up. */
    template <class Rep, class Period> bool wait_for(std::chrono::duration<Rep, Period> timeout) {
        const GoroutineStatus status = goroutine_wait_group_wait(group_, detail::timeout(timeout));
        if (status == GOROUTINE_ETIMEDOUT || status == GOROUTINE_EAGAIN) return false;
        check(status);
        return true;
    }

    GoroutineWaitGroup *native_handle() noexcept { return group_; }

private:
    static void counted(GoroutineStatus status) {
        if (status == GOROUTINE_EINVAL) throw error(status, "the count would be below 0");
        check(status);
    }
    GoroutineWaitGroup *group_;
};

/* ---- Channels ---- */

/** Values from those who send to those who receive, in order; T is any type that can be moved. Small values that are
 *  mere bytes go as they are, others by a pointer. Parking calls throw error(GOROUTINE_ECANCELED), and those with a
 *  time-out error(GOROUTINE_ETIMEDOUT), or (0) error(GOROUTINE_EAGAIN). */
template <class T> class channel {
    static_assert(std::is_object_v<T> && std::is_move_constructible_v<T> && !std::is_const_v<T>, "values are moved");
    static constexpr bool is_plain = std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> && sizeof(T) <= 64;

    /** What lies in the channel, on its way in: `value` stays the caller's unless it was sent. */
    class outgoing {
    public:
        explicit outgoing(T &value) : value_(value) {
            if constexpr (!is_plain) box_ = new T(std::move(value));
        }
        outgoing(const outgoing &) = delete;
        outgoing &operator=(const outgoing &) = delete;
        ~outgoing() {
            if constexpr (!is_plain) {
                if (box_ != nullptr && std::is_move_assignable_v<T>) give_back();
                delete box_;
            }
        }
        void *bytes() noexcept {
            if constexpr (is_plain) {
                return std::addressof(value_);
            } else {
                return &box_;
            }
        }
        void is_sent() noexcept { box_ = nullptr; }

    private:
        void give_back() {
            if constexpr (std::is_move_assignable_v<T>) value_ = std::move(*box_);
        }
        T &value_;
        T *box_ = nullptr;
    };
    /** And on its way out. */
    class incoming {
    public:
        incoming() = default;
        incoming(const incoming &) = delete;
        incoming &operator=(const incoming &) = delete;
        void *bytes() noexcept { return &room_; }
        T take() {
            if constexpr (is_plain) {
                return *std::launder(reinterpret_cast<T *>(&room_));
            } else {
                T *box;
                std::memcpy(&box, &room_, sizeof box);
                const std::unique_ptr<T> own(box);
                return std::move(*own);
            }
        }

    private:
        alignas(is_plain ? alignof(T) : alignof(T *)) unsigned char room_[is_plain ? sizeof(T) : sizeof(T *)];
    };

public:
    using value_type = T;

    /** So many values are kept before a send waits; 0: it waits until somebody receives. */
    explicit channel(std::size_t capacity = 0) : channel_(goroutine_channel_new(is_plain ? sizeof(T) : sizeof(T *), capacity)) {
        if (channel_ == nullptr) throw error(GOROUTINE_ENOMEM);
    }
    /** With the values that are in it. Somebody waits on it: std::terminate. */
    ~channel() {
        if constexpr (!is_plain) {
            T *box = nullptr;
            while (goroutine_channel_receive(channel_, &box, 0) == GOROUTINE_OK) delete box;
        }
        check(goroutine_channel_free(channel_));
    }
    channel(const channel &) = delete;
    channel &operator=(const channel &) = delete;

    /** Throws error(GOROUTINE_EPIPE) when it is closed. Whenever it throws, `value` is as it was (if it can be
     *  assigned). Parks. */
    void send(T &&value) { check(send_within(value, GOROUTINE_FOREVER)); }
    void send(const T &value) { send(T(value)); }
    template <class Rep, class Period> void send(T &&value, std::chrono::duration<Rep, Period> timeout) {
        check(send_within(value, detail::timeout(timeout)));
    }
    template <class Rep, class Period> void send(const T &value, std::chrono::duration<Rep, Period> timeout) {
        send(T(value), timeout);
    }
    /** False: there is neither room nor a receiver. */
    bool try_send(T &&value) {
        const GoroutineStatus status = send_within(value, 0);
        if (status == GOROUTINE_EAGAIN) return false;
        check(status);
        return true;
    }
    bool try_send(const T &value) { return try_send(T(value)); }

    /** The oldest value; nothing once it is closed and empty. Parks. */
    std::optional<T> receive() { return receive_within(GOROUTINE_FOREVER); }
    template <class Rep, class Period> std::optional<T> receive(std::chrono::duration<Rep, Period> timeout) {
        return receive_within(detail::timeout(timeout));
    }
    /** Nothing: there is none now. */
    std::optional<T> try_receive() {
        incoming in;
        const GoroutineStatus status = goroutine_channel_receive(channel_, in.bytes(), 0);
        if (status == GOROUTINE_EAGAIN || status == GOROUTINE_EPIPE) return std::nullopt;
        check(status);
        return std::optional<T>(in.take());
    }

    /** Ends sending; what was sent can be received. False: it was closed before. */
    bool close() {
        const GoroutineStatus status = goroutine_channel_close(channel_);
        if (status == GOROUTINE_EALREADY) return false;
        check(status);
        return true;
    }

    /** `for (T &value : channel)`: until it is closed and empty. */
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        using pointer = T *;
        using reference = T &;

        iterator() = default;
        explicit iterator(channel *of) : of_(of) { ++*this; }
        T &operator*() const noexcept { return *value_; }
        T *operator->() const noexcept { return &*value_; }
        iterator &operator++() {
            value_.reset();
            if (std::optional<T> next = of_->receive()) {
                value_.emplace(std::move(*next));
            } else {
                of_ = nullptr;
            }
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.of_ == b.of_; }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.of_ != b.of_; }

    private:
        channel *of_ = nullptr;
        mutable std::optional<T> value_; // as with a pointer, what it points to is not const
    };
    iterator begin() { return iterator(this); }
    iterator end() noexcept { return iterator(); }

    GoroutineChannel *native_handle() noexcept { return channel_; }

private:
    template <class, class> friend class receive_case;
    template <class, class> friend class send_case;

    GoroutineStatus send_within(T &value, std::uint64_t timeout_ns) {
        outgoing out(value);
        const GoroutineStatus status = goroutine_channel_send(channel_, out.bytes(), timeout_ns);
        if (status == GOROUTINE_OK) out.is_sent();
        return status;
    }
    std::optional<T> receive_within(std::uint64_t timeout_ns) {
        incoming in;
        const GoroutineStatus status = goroutine_channel_receive(channel_, in.bytes(), timeout_ns);
        if (status == GOROUTINE_EPIPE) return std::nullopt;
        check(status);
        return std::optional<T>(in.take());
    }

    GoroutineChannel *channel_;
};

/* ---- Select ---- */

/** Behind on_receive, on_send and on_ready. */
template <class T, class F> class receive_case {
public:
    receive_case(channel<T> &from, F f) : from_(from), function_(std::move(f)) {}
    GoroutineSelectCase describe() noexcept {
        return {GOROUTINE_SELECT_RECEIVE, GOROUTINE_OK, from_.channel_, in_.bytes()};
    }
    void happened(GoroutineStatus status) {
        std::optional<T> value;
        if (status == GOROUTINE_OK) value.emplace(in_.take());
        function_(std::move(value));
    }

private:
    channel<T> &from_;
    F function_;
    typename channel<T>::incoming in_;
};
template <class T, class F> class send_case {
public:
    send_case(channel<T> &to, T &value, F f) : to_(to), out_(value), function_(std::move(f)) {}
    GoroutineSelectCase describe() noexcept { return {GOROUTINE_SELECT_SEND, GOROUTINE_OK, to_.channel_, out_.bytes()}; }
    void happened(GoroutineStatus status) {
        check(status);
        out_.is_sent();
        function_();
    }

private:
    channel<T> &to_;
    typename channel<T>::outgoing out_;
    F function_;
};
template <class F> class ready_case {
public:
    ready_case(GoroutinePromise *promise, F f) : promise_(promise), function_(std::move(f)) {}
    GoroutineSelectCase describe() noexcept { return {GOROUTINE_SELECT_PROMISE, GOROUTINE_OK, promise_, nullptr}; }
    void happened(GoroutineStatus) { function_(); }

private:
    GoroutinePromise *promise_;
    F function_;
};

/** A case of select: a value comes, or the channel is closed and empty: f(std::optional<T>). */
template <class T, class F> receive_case<T, std::decay_t<F>> on_receive(channel<T> &from, F &&f) {
    return {from, std::forward<F>(f)};
}
/** The value goes: f(). A closed channel makes select throw error(GOROUTINE_EPIPE). `value` is as it was if it was not
 *  sent (and can be assigned). */
template <class T, class F> send_case<T, std::decay_t<F>> on_send(channel<T> &to, T &value, F &&f) {
    return {to, value, std::forward<F>(f)};
}
/** The future's goroutine is over: f(), which may get() it. */
template <class T, class F> ready_case<std::decay_t<F>> on_ready(const future<T> &of, F &&f) {
    return {of.promise(), std::forward<F>(f)};
}

namespace detail {

template <std::size_t... indices, class... Cases>
std::size_t select_within(std::uint64_t timeout_ns, std::index_sequence<indices...>, Cases &...cases) {
    GoroutineSelectCase all[] = {cases.describe()...};
    std::size_t chosen = sizeof...(Cases);
    check(goroutine_select(all, sizeof...(Cases), timeout_ns, &chosen));
    ((chosen == indices ? cases.happened(all[indices].status) : void()), ...);
    return chosen;
}

} // namespace detail

/** Does the first of its cases that is possible, one of them at random if several are, calls that case's function on
 *  the caller's stack, and gives its index: `select(on_receive(a, ...), on_send(b, value, ...), on_ready(future,
 *  ...))`. Parks. */
template <class... Cases> std::size_t select(Cases &&...cases) {
    return detail::select_within(GOROUTINE_FOREVER, std::index_sequence_for<Cases...>(), cases...);
}
/** Throws error(GOROUTINE_ETIMEDOUT) when the time is up, or with a time-out of 0 error(GOROUTINE_EAGAIN) when no case
 *  is possible. */
template <class Rep, class Period, class... Cases>
std::size_t select(std::chrono::duration<Rep, Period> timeout, Cases &&...cases) {
    return detail::select_within(detail::timeout(timeout), std::index_sequence_for<Cases...>(), cases...);
}

} // namespace goroutine

#endif /* GOROUTINE_HPP */

/* sanitizer: handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0 */
/* The stack_overflow callback throws: the exception is caught in the same goroutine, by whoever has a catch for it, over and over. */
#include "check.h"
#include <goroutine.hpp>

#include <stdexcept>
#include <string>
#include <unwind.h>

struct stack_overflow : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* Through a pointer: the compiler is not to find out that nothing here throws. (Where it does, code needs -fnon-call-exceptions.) */
static uint64_t dive(volatile uint64_t *above, uint64_t depth);
static uint64_t (*volatile dive_again)(volatile uint64_t *, uint64_t) = dive;
RUNS_OUT static uint64_t dive(volatile uint64_t *above, uint64_t depth) {
    volatile uint64_t frame[16];
    frame[depth % 16] = depth + *above;
    return depth == UINT64_MAX ? 0 : dive_again(frame, depth + 1) + frame[(depth + 1) % 16];
}
RUNS_OUT static void *overflows(void *arg) {
    volatile uint64_t top = U(arg);
    return P(dive_again(&top, 1));
}
struct Guard {
    int &unwound;
    ~Guard() {
        unwound++;
        CHECK_EQ(std::uncaught_exceptions(), 1);
        try { /* a destructor that catches something itself, before the outer catch is reached */
            throw 1;
        } catch (int n) {
            CHECK_EQ(n, 1);
        }
    }
};
static void *guarded(void *arg) {
    Guard guard{*static_cast<int *>(arg)};
    return overflows(arg);
}
static void *on_segment(void *arg) {
    Guard guard{*static_cast<int *>(arg)};
    return goroutine_more_stack(guarded, arg);
}

/* The frames that the callback's unwinder sees: those that overflowed, hundreds of them, down to the goroutine's first. */
static _Unwind_Reason_Code look(_Unwind_Context *context, void *seen) {
    static_cast<int *>(seen)[_Unwind_FindEnclosingFunction(P(_Unwind_GetIP(context))) == CODE(dive)]++;
    return _URC_NO_REASON;
}
/* The callback goes on on a segment, and somebody throws and catches there: the reserve has its frames all the time. */
static void *catches_there(void *arg) {
    try {
        throw 2;
    } catch (int n) {
        CHECK_EQ(n, 2);
    }
    return arg;
}
static void throws(Goroutine *g, void *, GoroutineContext *, void *arg) {
    int seen[2] = {0, 0};
    CHECK(goroutine_more_stack(catches_there, arg) == arg);
    CHECK(g == goroutine_current() && arg == P(0x77));
    CHECK_EQ(_Unwind_Backtrace(look, seen), _URC_END_OF_STACK);
    CHECK(seen[1] > 100);
    throw stack_overflow("goroutine " + std::to_string(goroutine_id(g)));
}

static void *catches(void *) {
    void *low, *high, *low_again, *high_again;
    OK(goroutine_stack_bounds(&low, &high));
    const std::string expected = "goroutine " + std::to_string(goroutine_id(goroutine_current()));
    for (int i = 0; i < 60; i++) {
        int unwound = 0;
        std::string caught;
        try {
            (i % 3 == 0 ? overflows : i % 3 == 1 ? guarded : on_segment)(&unwound);
        } catch (const stack_overflow &e) {
            caught = e.what();
            if (i % 5 == 0) goroutine_yield(); /* inside the catch */
        }
        CHECK(caught == expected);
        CHECK_EQ(unwound, i % 3);
        CHECK_EQ(std::uncaught_exceptions(), 0);
        OK(goroutine_stack_bounds(&low_again, &high_again));
        CHECK(low == low_again && high == high_again);
        if (i % 7 == 0) goroutine_yield();
    }
    return P(1);
}

static void on(uint32_t workers) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = workers;
    config.flags = GOROUTINE_CONFIG_OWN_CODE;
    config.stack_overflow = throws;
    config.stack_overflow_arg = P(0x77);
    OK(goroutine_runtime_start(&config));
    GoroutinePromise *promises[20];
    for (auto &promise : promises) CHECK((promise = goroutine_spawn(catches, nullptr)) != nullptr);
    for (auto *promise : promises) {
        void *value = nullptr;
        OK(goroutine_promise_await_take(promise, 60 * SECOND, &value));
        CHECK(value == P(1));
    }
    /* Nobody catches it inside: the future has it. */
    bool told = false;
    auto future = goroutine::spawn([] {
        int unwound = 0;
        guarded(&unwound);
    });
    try {
        future.get();
    } catch (const stack_overflow &) {
        told = true;
    }
    CHECK(told);
    stop();
}

int main() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (is_slow()) return 77; /* valgrind counts the faults */
#endif
    for (uint32_t workers : {1u, 2u, 8u}) on(workers);
    return 0;
}

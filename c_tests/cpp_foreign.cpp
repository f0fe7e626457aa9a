/* Exceptions and foreign calls: thrown by C++ code on the native stack of each class of call, through callbacks and the
 * frames between the stacks, caught on the goroutine's; and foreign_call, which carries them over. */
#include "check.h"
#include <goroutine.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

#define WORD(g, offset) (*(volatile uint64_t *)((char *)(g) + (offset)))

enum { BOUND = GOROUTINE_FFI_BOUND, LEAF = GOROUTINE_FFI_LEAF, BLOCKING = GOROUTINE_FFI_BLOCKING, KINDS };
static void *call(unsigned kind, void *(*function)(void *), void *arg) {
    switch (kind) {
    case BOUND: return execute_ffi_call(NULL, CODE(function), arg);
    case LEAF: return goroutine_ffi_call_leaf(CODE(function), arg);
    default: return goroutine_ffi_call_blocking(CODE(function), arg);
    }
}
static bool is_on_goroutine_stack() {
    void *low = NULL, *high = NULL;
    OK(goroutine_stack_bounds(&low, &high));
    const uint64_t here = U(__builtin_frame_address(0));
    return here > U(low) && here < U(high);
}

struct Throw {
    unsigned kind;
    int depth; /* callbacks to go through */
    bool parks;
    std::string what;
    int unwound;
};
struct Guard {
    Throw &of;
    ~Guard() {
        of.unwound++;
        CHECK_EQ(std::uncaught_exceptions(), 1);
    }
};
static void *language(void *arg);
static void *native(void *arg) {
    Throw &of = *static_cast<Throw *>(arg);
    Guard guard{of};
    CHECK(!is_on_goroutine_stack());
    if (of.depth-- == 0) throw std::runtime_error(of.what);
    return goroutine_callback_run(language, arg);
}
static void *language(void *arg) {
    Throw &of = *static_cast<Throw *>(arg);
    Guard guard{of};
    CHECK(is_on_goroutine_stack());
    if (of.parks) goroutine_yield();
    return call(of.kind, native, arg);
}
/* What the documentation says: catch on the goroutine's stack, goroutine_ffi_landed first of all. */
static void over_the_stacks(unsigned kind, int depth, bool parks) {
    Throw of{kind, depth, parks, "kind " + std::to_string(kind) + ", depth " + std::to_string(depth), 0};
    try {
        call(kind, native, &of);
        CHECK(!"it throws");
    } catch (const std::runtime_error &e) {
        goroutine_ffi_landed();
        CHECK(is_on_goroutine_stack());
        CHECK_EQ(WORD(goroutine_current(), GOROUTINE_OFFSET_FOREIGN_SP), 0);
        CHECK(of.what == e.what());
        goroutine_yield(); /* it handles the exception still, and parks */
        CHECK(goroutine_sleep(10 * US) == GOROUTINE_OK);
        try {
            throw;
        } catch (const std::runtime_error &again) {
            CHECK(of.what == again.what());
        }
    }
    CHECK_EQ(of.unwound, 2 * depth + 1);
    CHECK(is_goroutine_ffi_bound(goroutine_current())); /* it keeps the thread that has half-run C */
}
/* Caught where it was thrown, with a callback that parks inside the catch block. */
static void *throws_meanwhile(void *what) {
    const std::string mine = *static_cast<std::string *>(what) + ", again";
    try {
        throw std::logic_error(mine);
    } catch (...) {
        CHECK(goroutine_sleep(20 * US) == GOROUTINE_OK);
        goroutine_yield();
        try {
            throw;
        } catch (const std::logic_error &e) {
            CHECK(mine == e.what());
        }
    }
    return NULL;
}
static void *catches_itself(void *what) {
    const std::string mine = *static_cast<std::string *>(what);
    try {
        throw std::runtime_error(mine);
    } catch (...) {
        goroutine_callback_run(throws_meanwhile, what);
        goroutine_yield();
        try {
            throw;
        } catch (const std::runtime_error &e) {
            CHECK(mine == e.what());
        }
    }
    return NULL;
}
static void one(unsigned n) {
    for (unsigned i = 0; i < (is_slow() ? 4 : 20); i++) {
        const unsigned kind = (n + i) % KINDS;
        std::string mine = std::to_string(n) + "." + std::to_string(i);
        call(kind, catches_itself, &mine);
        /* Carried over: values, references, move-only, exceptions; and no thread is lost to it. */
        CHECK_EQ(goroutine::foreign_call(kind, [&] { return mine.size(); }), mine.size());
        CHECK_EQ(&goroutine::foreign_call(kind, [&]() -> std::string & { return mine; }), &mine);
        CHECK_EQ(*goroutine::foreign_call(kind, [] { return std::make_unique<int>(4); }), 4);
        bool called = false;
        goroutine::foreign_call(kind, [&] {
            called = true;
            CHECK(!is_on_goroutine_stack());
        });
        CHECK(called);
        try {
            goroutine::foreign_call(kind, [&] { throw std::runtime_error(mine); });
            CHECK(!"it throws");
        } catch (const std::runtime_error &e) {
            CHECK(is_on_goroutine_stack());
            goroutine_yield();
            CHECK(mine == e.what());
        }
        if (i % 3 == 2) over_the_stacks(kind, static_cast<int>(i % 4), i % 2 == 0);
    }
}
static void leaves_no_thread_behind() {
    goroutine::spawn([] {
        for (unsigned kind : {LEAF, BLOCKING}) {
            try {
                goroutine::foreign_call(kind, [] { throw 1; });
            } catch (int) {
            }
            CHECK(!is_goroutine_ffi_bound(goroutine_current()));
        }
        try {
            goroutine::foreign_call(77, [] {});
            CHECK(!"no such kind");
        } catch (const goroutine::error &e) {
            CHECK_EQ(e.status(), GOROUTINE_EINVAL);
        }
    }).get();
}

int main() {
    for (uint32_t workers : {1u, 2u, 8u}) {
        goroutine::runtime runtime(workers);
        leaves_no_thread_behind();
        std::vector<goroutine::future<void>> all;
        for (unsigned n = 0; n < 24; n++) all.push_back(goroutine::spawn(one, n));
        for (auto &future : all) future.get();
        /* On a plain thread it is a call. */
        CHECK_EQ(goroutine::foreign_call(BOUND, [] { return 3; }), 3);
    }
    return 0;
}

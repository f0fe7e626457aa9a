/* with: part_cpp_future.cpp */
/* Futures with types, and exceptions that travel: from ten frames deep in one goroutine to get() in another, or in a
 * plain thread. */
#include "check.h"
#include "part_cpp_future.hpp"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using goroutine::future;
using goroutine::spawn;

/* What f throws, by its status; GOROUTINE_OK: nothing. */
template <class F> static GoroutineStatus status_of(F f) {
    try {
        f();
    } catch (const goroutine::error &e) {
        CHECK(e.code().category() == goroutine::status_category());
        const char *name = goroutine_status_name(e.status());
        CHECK(strncmp(e.what(), name, strlen(name)) == 0 && strncmp(e.what() + strlen(name), ": ", 2) == 0);
        return e.status();
    }
    return GOROUTINE_OK;
}
/* And what that says. */
template <class F> static std::string text_of(F f) {
    try {
        f();
    } catch (const std::system_error &e) {
        const auto copy = e; // of the base: it still names the status
        CHECK(copy.code().category() == goroutine::status_category());
        return e.what();
    }
    return "";
}
static void texts() {
    CHECK(text_of([] { goroutine::check(GOROUTINE_EPIPE); }) == "GOROUTINE_EPIPE: The channel is closed.");
    CHECK(text_of([] { throw goroutine::error(GOROUTINE_EPIPE, std::string("gone").c_str()); }) == "GOROUTINE_EPIPE: gone");
    CHECK(text_of([] { goroutine::runtime again(2u); }) ==
          "GOROUTINE_EALREADY: the runtime runs already, so this config would not count");
    CHECK(text_of([] { (void)spawn([]() -> int { goroutine_exit(GOROUTINE_OK, P(1)); }).get(); }) ==
          "GOROUTINE_EREJECTED: goroutine_exit(GOROUTINE_OK) ended the goroutine, without a result");
    CHECK(text_of([] { (void)spawn([]() -> int { goroutine_exit(GOROUTINE_EREJECTED, P(1)); }).get(); }) ==
          "GOROUTINE_EREJECTED: goroutine_exit(GOROUTINE_EREJECTED) ended the goroutine");
    CHECK(text_of([] { goroutine::wait_group().done(); }) == "GOROUTINE_EINVAL: the count would be below 0");
    CHECK(text_of([] { goroutine::wait_group().add(-1); }) == "GOROUTINE_EINVAL: the count would be below 0");
}

/* ---- values ---- */

struct Counted {
    static std::atomic<int> alive;
    int value = 0;
    explicit Counted(int n) : value(n) { alive++; }
    Counted(const Counted &other) : value(other.value) { alive++; }
    Counted(Counted &&other) noexcept : value(std::exchange(other.value, -1)) { alive++; }
    Counted &operator=(const Counted &) = default;
    ~Counted() { alive--; }
};
std::atomic<int> Counted::alive{0};

static int add(int a, int b) { return a + b; }
static int global = 3;
static int &reference(int &n) {
    n++;
    return n;
}
static const std::string constant() { return "constant"; }
struct Object {
    int n = 4;
    int twice() const { return 2 * n; }
    std::unique_ptr<int> operator()(std::unique_ptr<int> p) {
        *p += n;
        return p;
    }
};
static void values() {
    static_assert(!std::is_copy_constructible_v<future<int>> && std::is_nothrow_move_constructible_v<future<int>>);
    static_assert(std::is_same_v<decltype(spawn(add, 1, 2)), future<int>>);
    static_assert(std::is_same_v<decltype(spawn(reference, std::ref(global))), future<int &>>);
    static_assert(std::is_same_v<decltype(spawn(constant)), future<std::string>>);
    static_assert(std::is_same_v<decltype(spawn(goroutine::this_goroutine::yield)), future<void>>);

    CHECK_EQ(spawn(add, 2, 3).get(), 5);
    CHECK(spawn(constant).get() == "constant");
    CHECK_EQ(spawn(reference, std::ref(global)).get(), 4);
    global = 3;
    int here = 0;
    int &same = spawn(reference, std::ref(here)).get();
    CHECK_EQ(&same, &here);
    CHECK_EQ(here, 1);
    auto &&moved = spawn([&]() -> int && { return std::move(here); }).get();
    CHECK_EQ(&moved, &here);
    spawn([&] { here = 9; }).get();
    CHECK_EQ(here, 9);
    CHECK_EQ(*spawn(Object{}, std::make_unique<int>(5)).get(), 9);
    Object object;
    object.n = 21;
    CHECK_EQ(spawn(&Object::twice, &object).get(), 42);
    CHECK_EQ(spawn(&Object::twice, object).get(), 42);
    CHECK(spawn([](std::string a, const char *b) { return a + b; }, "goroutine", "s").get() == "goroutines");
    std::unique_ptr<int> only = spawn([p = std::make_unique<int>(6)]() mutable { return std::move(p); }).get();
    CHECK_EQ(*only, 6);
    {
        auto counted = spawn([](Counted c) { return c; }, Counted(8));
        counted.wait();
        CHECK_EQ(counted.get().value, 8);
        CHECK(!counted.valid());
        spawn([c = Counted(1)] { return Counted(c.value); }).get();
        future<Counted> dropped = spawn([] { return Counted(3); });
    }
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(Counted::alive.load(), 0);

    /* What the function held is gone before it is done. */
    auto held = std::make_shared<int>(1);
    auto user = spawn([held] { goroutine_yield(); });
    user.wait();
    CHECK_EQ(held.use_count(), 1);

    /* Through C. */
    auto text = spawn([] { return std::string("in place"); });
    void *address = NULL;
    OK(goroutine_promise_await(text.promise(), 60 * SECOND, &address));
    CHECK(*static_cast<std::string *>(address) == "in place");
    CHECK(text.get() == "in place");

    goroutine::options options;
    options.stack_bytes = 1 << 20;
    options.flags = GOROUTINE_SPAWN_DAEMON | GOROUTINE_SPAWN_PRIORITY;
    options.name = "deep";
    auto bytes = [] {
        void *low = NULL, *high = NULL;
        OK(goroutine_stack_bounds(&low, &high));
        return U(high) - U(low);
    };
    CHECK(spawn(options, bytes).get() > 800000);
    CHECK(spawn(bytes).get() < 300000);
    std::atomic<int> went{0};
    goroutine::go([&went](int by) { went += by; }, 1);
    goroutine::go(options, [&went](std::unique_ptr<int> by) { went += *by; }, std::make_unique<int>(10));
    while (went.load() != 11) goroutine_yield();
    options.stack_bytes = UINT64_MAX;
    CHECK_EQ(status_of([&] { (void)spawn(options, bytes); }), GOROUTINE_EINVAL);
    CHECK_EQ(status_of([&] { goroutine::go(options, bytes); }), GOROUTINE_EINVAL);
}

/* ---- waiting ---- */

static void times() {
    using goroutine::detail::timeout;
    CHECK_EQ(timeout(0s), 0);
    CHECK_EQ(timeout(-1ns), 0);
    CHECK_EQ(timeout(std::chrono::hours::min()), 0);
    CHECK_EQ(timeout(1ns), 1);
    CHECK_EQ(timeout(3h), 3 * 3600 * SECOND);
    CHECK_EQ(timeout(std::chrono::nanoseconds::max()), INT64_MAX);
    CHECK_EQ(timeout(std::chrono::hours::max()), GOROUTINE_FOREVER);
    CHECK_EQ(timeout(std::chrono::duration<int64_t, std::pico>(1)), 1); /* rounded up */
    CHECK_EQ(timeout(std::chrono::duration<int64_t, std::pico>(2000)), 2);
    CHECK_EQ(timeout(std::chrono::duration<float>(0.5f)), SECOND / 2);
    CHECK_EQ(timeout(std::chrono::duration<double>(1e300)), GOROUTINE_FOREVER);
    CHECK_EQ(timeout(std::chrono::duration<int8_t>(100)), 100 * SECOND);
    CHECK_EQ(timeout(std::chrono::steady_clock::now() - 1s), 0);
    CHECK_EQ(timeout(std::chrono::steady_clock::time_point::min() + 1s), 0);
}
static void waiting() {
    GoroutinePromise *gate = goroutine_promise_new();
    auto late = spawn([gate] {
        OK(goroutine_promise_await(gate, GOROUTINE_FOREVER, NULL));
        return 5;
    });
    CHECK(!late.is_ready());
    CHECK(!late.wait_for(0s));
    CHECK(!late.wait_for(-1h));
    CHECK(!late.wait_for(1ms));
    CHECK(!late.wait_for(std::chrono::duration<double>(1e-5)));
    CHECK(!late.wait_until(std::chrono::steady_clock::now() + 100us));
    CHECK_EQ(status_of([&] { late.get(0ns); }), GOROUTINE_EAGAIN);
    CHECK_EQ(status_of([&] { late.get(1us); }), GOROUTINE_ETIMEDOUT);
    CHECK(late.valid());
    try {
        late.get(1us);
    } catch (const std::system_error &e) {
        CHECK(e.code() == std::errc::timed_out);
    }
    OK(goroutine_promise_resolve(gate, NULL));
    CHECK(late.wait_for(std::chrono::hours::max()));
    CHECK(late.is_ready());
    future<int> other = std::move(late);
    CHECK(!late.valid());
    CHECK_EQ(status_of([&] { late.get(); }), GOROUTINE_EINVAL);
    CHECK_EQ(status_of([&] { (void)late.is_ready(); }), GOROUTINE_EINVAL);
    CHECK_EQ(status_of([&] { late.cancel(); }), GOROUTINE_EINVAL);
    CHECK(late.promise() == NULL);
    late = std::move(other);
    CHECK_EQ(late.get(60s), 5);
    goroutine_promise_release(gate);
    const uint64_t before = now_ns();
    goroutine::this_goroutine::sleep_for(1500us);
    goroutine::this_goroutine::sleep_until(std::chrono::system_clock::now() + 1ms);
    CHECK(now_ns() - before >= 2500 * US);
}

/* ---- exceptions ---- */

static std::atomic<int> unwound;
struct Unwound {
    ~Unwound() { unwound++; }
};
struct Wrong : std::runtime_error {
    explicit Wrong(const std::string &what) : std::runtime_error(what) {}
};
static __attribute__((noinline)) int deep(int frames, int n) {
    Unwound unwound_here;
    goroutine_yield();
    if (frames == 0) throw Wrong("from " + std::to_string(n));
    return 1 + deep(frames - 1, n);
}
static int relay(int n) { /* gets it in another goroutine, and lets it leave that one, too */
    return spawn(deep, 9, n).get();
}
static void exceptions() {
    for (int n = 0; n < 200; n++) {
        auto first = spawn(deep, 9, n);
        auto second = spawn(relay, n);
        unwound = 0;
        for (auto *one : {&first, &second}) {
            try {
                one->get();
                CHECK(!"it throws");
            } catch (const Wrong &e) {
                CHECK("from " + std::to_string(n) == e.what());
            }
            CHECK(!one->valid());
        }
    }
    unwound = 0;
    try {
        spawn(deep, 9, 1).get();
        CHECK(!"it throws");
    } catch (const Wrong &) {
    }
    CHECK_EQ(unwound.load(), 10);
    try {
        spawn([] { throw 42; }).get();
        CHECK(!"it throws");
    } catch (int thrown) {
        CHECK_EQ(thrown, 42);
    }
    /* An exception_ptr by itself, from goroutine to thread to goroutine. */
    std::exception_ptr carried = spawn([] {
        try {
            deep(3, 7);
        } catch (...) {
            goroutine_yield();
            return std::current_exception();
        }
        return std::exception_ptr();
    }).get();
    std::thread thread([&] {
        try {
            std::rethrow_exception(carried);
        } catch (const Wrong &e) {
            CHECK(strcmp(e.what(), "from 7") == 0);
            spawn([again = std::current_exception()] {
                try {
                    std::rethrow_exception(again);
                } catch (const Wrong &same) {
                    goroutine_yield();
                    CHECK(strcmp(same.what(), "from 7") == 0);
                }
            }).get();
        }
    });
    goroutine::foreign_call(GOROUTINE_FFI_BLOCKING, [&] { thread.join(); }); /* the worker is needed elsewhere */
    /* C sees a rejection. */
    auto rejected = spawn(deep, 0, 3);
    void *reason = NULL;
    CHECK_EQ(goroutine_promise_await(rejected.promise(), 60 * SECOND, &reason), GOROUTINE_EREJECTED);
    try {
        std::rethrow_exception(*static_cast<std::exception_ptr *>(reason));
    } catch (const Wrong &e) {
        CHECK(strcmp(e.what(), "from 3") == 0);
    }
    CHECK(rejected.wait_for(0s));
    try {
        rejected.get();
        CHECK(!"it throws");
    } catch (const Wrong &) {
    }
    /* One that is thrown while the result is made. */
    struct Picky {
        Picky() = default;
        Picky(Picky &&) { throw Wrong("moved"); }
    };
    auto picky = spawn([]() -> Picky {
        return Picky();
    });
    try {
        (void)picky.get();
        CHECK(!"it throws");
    } catch (const Wrong &) {
    }
}

/* ---- ends of another kind ---- */

static void *runs_out_of_stack(void *) { goroutine_exit(GOROUTINE_ESTACKOVERFLOW, NULL); }
static void statuses() {
    { /* what the function held goes with the future */
        auto exits = spawn([](const Counted &) { goroutine_exit(GOROUTINE_EPIPE, NULL); }, Counted(1));
        CHECK_EQ(status_of([&] { exits.get(); }), GOROUTINE_EPIPE);
        CHECK_EQ(Counted::alive.load(), 0);
    }
    CHECK_EQ(status_of([] { spawn([] { goroutine_exit(GOROUTINE_ESTACKOVERFLOW, NULL); }).get(); }), GOROUTINE_ESTACKOVERFLOW);
    CHECK_EQ(status_of([] { spawn([] { goroutine_exit(GOROUTINE_EPIPE, NULL); }).get(1h); }), GOROUTINE_EPIPE);
    CHECK_EQ(status_of([] { (void)spawn([]() -> int { goroutine_exit(GOROUTINE_OK, P(1)); }).get(); }), GOROUTINE_EREJECTED);
    CHECK_EQ(status_of([] { (void)spawn([]() -> int { goroutine_exit(GOROUTINE_EREJECTED, P(1)); }).get(); }), GOROUTINE_EREJECTED);
    GoroutinePromise *overflown = goroutine_spawn(runs_out_of_stack, NULL);
    CHECK_EQ(status_of([&] { goroutine::check(goroutine_promise_await_take(overflown, 60 * SECOND, NULL)); }), GOROUTINE_ESTACKOVERFLOW);
    CHECK_EQ(status_of([] { spawn([] { throw goroutine::error(GOROUTINE_EBADF); }).get(); }), GOROUTINE_EBADF);
    CHECK(std::error_code(GOROUTINE_EREJECTED, goroutine::status_category()) != std::errc::invalid_argument);
    CHECK(strcmp(goroutine::status_category().name(), "goroutine") == 0);
}

static void cancelling() {
    std::atomic<int> finished{0};
    auto sleeper = spawn([&] {
        Unwound unwound_here;
        try {
            goroutine::this_goroutine::sleep_for(1000h);
        } catch (const goroutine::error &e) {
            CHECK_EQ(e.status(), GOROUTINE_ECANCELED);
            CHECK(e.code() == std::errc::operation_canceled);
            CHECK(goroutine::this_goroutine::is_cancelled());
            goroutine::this_goroutine::uncancelled section;
            goroutine::this_goroutine::sleep_for(1ms); /* what must be finished */
            finished++;
            throw;
        }
        return 1;
    });
    CHECK(!sleeper.wait_for(2ms));
    CHECK(sleeper.cancel());
    CHECK_EQ(status_of([&] { sleeper.get(); }), GOROUTINE_ECANCELED);
    CHECK_EQ(finished.load(), 1);
    auto over = spawn([] { return 1; });
    over.wait();
    CHECK(!over.cancel());
    CHECK_EQ(over.get(), 1);

    /* One that is cancelled while it waits for a future keeps the future. */
    GoroutinePromise *gate = goroutine_promise_new();
    auto inner = spawn([gate] {
        goroutine_promise_await(gate, GOROUTINE_FOREVER, NULL);
        return 6;
    });
    auto outer = spawn([&inner] {
        CHECK_EQ(status_of([&] { inner.get(); }), GOROUTINE_ECANCELED);
        CHECK_EQ(status_of([&] { inner.wait(); }), GOROUTINE_ECANCELED);
        CHECK(inner.valid());
    });
    CHECK(!outer.wait_for(1ms));
    CHECK(outer.cancel());
    outer.get();
    OK(goroutine_promise_resolve(gate, NULL));
    goroutine_promise_release(gate);
    CHECK_EQ(inner.get(), 6);
}

/* ---- many, with owners that come and go ---- */

static void races() {
    for (uint64_t i = 0; i < scaled(3000, 20); i++) {
        auto dropped = spawn([i] {
            if (i % 3 == 0) goroutine_yield();
            return Counted(1);
        });
        if (i % 2 == 0) goroutine_yield();
        auto taken = spawn([one = std::move(dropped), i]() mutable {
            if (i % 5 < 3) return one.get().value;
            return 1;
        });
        if (i % 7 < 5) CHECK_EQ(taken.get(), 1);
    }
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK_EQ(Counted::alive.load(), 0);
}

int main() {
    for (uint32_t workers : {1u, 2u, 8u}) {
        goroutine::runtime runtime(workers);
        CHECK_EQ(status_of([] { goroutine::runtime again(2u); }), GOROUTINE_EALREADY);
        texts();
        times();
        all_of_it_elsewhere();
        races();
        values();
        waiting();
        exceptions();
        statuses();
        cancelling();
        spawn([] {
            waiting();
            exceptions();
            statuses();
            cancelling();
            CHECK_EQ(status_of([] { goroutine::run([] {}); }), GOROUTINE_EDEADLK);
        }).get();
        runtime.wait();
        CHECK(runtime.wait_for(1s));
    }
    CHECK_EQ(status_of([] { (void)spawn([] {}); }), GOROUTINE_ESHUTDOWN);
    CHECK_EQ(status_of([] { goroutine::go([] {}); }), GOROUTINE_ESHUTDOWN);
    {
        goroutine::runtime one;
        goroutine::runtime another; /* the last one shuts down */
        std::atomic<int> after{0};
        CHECK_EQ(goroutine::run([&](int n) {
                     goroutine::go([&] {
                         goroutine::this_goroutine::sleep_for(5ms);
                         after = 1;
                     });
                     return n;
                 }, 4),
                 4);
        CHECK_EQ(after.load(), 1);
        try {
            goroutine::run(deep, 5, 5);
            CHECK(!"it throws");
        } catch (const Wrong &) {
        }
    }
    CHECK_EQ(goroutine_runtime_start(NULL), GOROUTINE_OK);
    stop();
    return 0;
}

/* Exceptions that nobody gets: the line on stderr or the callback names them, once, and the process goes on. And those
 * that the library cannot survive: what they say. */
#include "check.h"
#include <goroutine.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;

struct Special {
    int n;
};
static void fails() { throw std::runtime_error("nobody cares"); }
static void fails_later() {
    goroutine::this_goroutine::sleep_for(1ms);
    throw std::runtime_error("nobody cares");
}

/* How often `text` is in `all`. */
static size_t count(const char *all, const char *text) {
    size_t n = 0;
    for (const char *at = all; (at = strstr(at, text)) != NULL; at++) n++;
    return n;
}
static Child child;
/* f in a child, which ends by itself, or by `signal`; its stderr is in `child`. */
static void in_child(void (*f)(), int signal) {
    run_child([](void *g) { reinterpret_cast<void (*)()>(g)(); }, reinterpret_cast<void *>(f), &child);
    if (child.signal == signal && (signal != 0 || child.status == 0)) return;
    fprintf(stderr, "signal %d, status %d, having written:\n%s", child.signal, child.status, child.text);
    _exit(1);
}
static void expect(const char *text, size_t times) {
    if (count(child.text, text) == times) return;
    fprintf(stderr, "\"%s\" is not %zu times in:\n%s", text, times, child.text);
    _exit(1);
}
static void goes_on() { CHECK_EQ(goroutine::spawn([] { return 5; }).get(), 5); }

/* ---- on stderr ---- */

static void of_go() {
    goroutine::runtime runtime(2);
    goroutine::go([] {
        fprintf(stderr, "it is %" PRIu64 ".\n", goroutine::this_goroutine::id());
        fails();
    });
    runtime.wait();
    goroutine::go([] { throw Special{1}; });
    goroutine::go([] { throw "text"; });
    goroutine::go(goroutine::options{}, [] { throw goroutine::error(GOROUTINE_EPIPE); });
    runtime.wait();
    goes_on();
}
/* Dropped before it ends, after it ended, and at any moment: reported once. */
static void of_futures() {
    goroutine::runtime runtime(2);
    (void)goroutine::spawn(fails_later);
    runtime.wait();
    {
        auto over = goroutine::spawn(fails);
        over.wait();
    }
    for (int i = 0; i < 500; i++) {
        auto dropped = goroutine::spawn([i] {
            for (int turn = 0; turn < i % 3; turn++) goroutine_yield();
            throw std::runtime_error("at any moment");
        });
        for (int turn = 0; turn < i % 4; turn++) goroutine_yield();
    }
    runtime.wait();
    goes_on();
}
static void of_futures_in_goroutines() {
    goroutine::runtime runtime(1);
    goroutine::spawn(of_futures).wait_for(0s);
    goroutine::spawn([] {
        for (int i = 0; i < 500; i++) {
            auto dropped = goroutine::spawn([i] {
                for (int turn = 0; turn < i % 3; turn++) goroutine_yield();
                throw std::runtime_error("at any moment");
            });
            for (int turn = 0; turn < i % 4; turn++) goroutine_yield();
        }
    }).get();
    runtime.wait();
}
/* Somebody got it, or asked for it. */
static void of_nobody() {
    goroutine::runtime runtime(2);
    try {
        goroutine::spawn(fails).get();
        CHECK(!"it throws");
    } catch (const std::runtime_error &) {
    }
    {
        auto cancelled = goroutine::spawn([] { goroutine::this_goroutine::sleep_for(1h); });
        CHECK(!cancelled.wait_for(1ms));
        cancelled.cancel();
    }
    runtime.wait();
    goroutine::go([] { goroutine::this_goroutine::sleep_for(1h); }); /* the shutdown cancels it */
    auto left = goroutine::spawn([] { goroutine::this_goroutine::sleep_for(1h); });
    CHECK(!left.wait_for(1ms));
}
/* It outlives the runtime. */
static void of_leftover() {
    goroutine::future<void> left;
    goroutine::runtime runtime(1);
    left = goroutine::spawn(fails);
    runtime.wait();
    stop();
    left = goroutine::future<void>();
    OK(goroutine_runtime_start(NULL));
}

/* ---- to the callback ---- */

static std::atomic<int> handled, foreign;
static void on_unhandled(const Goroutine *g, GoroutineStatus status, void *reason, void *arg) {
    CHECK_EQ(U(arg), 0x77);
    CHECK_EQ(status, GOROUTINE_EREJECTED);
    if (std::exception_ptr exception = goroutine::unhandled_exception(reason)) {
        try {
            std::rethrow_exception(exception);
        } catch (const std::runtime_error &e) {
            CHECK(strcmp(e.what(), "nobody cares") == 0);
            handled += g != NULL ? 1 : 100;
        }
    } else {
        CHECK_EQ(U(reason), 0x1234);
        foreign++;
    }
}
static void *rejects(void *) { goroutine_exit(GOROUTINE_EREJECTED, P(0x1234)); }
static void to_callback() {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.unhandled = on_unhandled;
    config.unhandled_arg = P(0x77);
    goroutine::runtime runtime(config);
    goroutine::go(fails);
    OK(goroutine_go(rejects, NULL));
    runtime.wait();
    CHECK_EQ(handled.load(), 1);
    CHECK_EQ(foreign.load(), 1);
    auto future = goroutine::spawn(fails);
    future.wait();
    future = {};
    CHECK_EQ(handled.load(), 101);
}

/* ---- what ends the process ---- */

static void *c_function(void *) {
    goroutine_yield();
    throw std::runtime_error("from a C function");
}
static void out_of_c() {
    GoroutineSpawn spawn;
    goroutine_spawn_init(&spawn);
    spawn.fn = reinterpret_cast<void *>(c_function);
    spawn.name = "thrower";
    OK(goroutine_spawn_with(&spawn, NULL));
    thread_sleep(50 * SECOND);
}
static void out_of_plain() {
    OK(goroutine_go(c_function, NULL));
    thread_sleep(50 * SECOND);
}
static void out_of_timer() {
    CHECK(goroutine_timer_start(1, 0, c_function, NULL) > 0);
    thread_sleep(50 * SECOND);
}
static void *exits_thread(void *) { pthread_exit(NULL); }
static void forced() {
    OK(goroutine_go(exits_thread, NULL));
    thread_sleep(50 * SECOND);
}
static void forced_in_cxx() {
    goroutine::go([] { pthread_exit(NULL); });
    thread_sleep(50 * SECOND);
}
static void on_goroutine() {
    auto bad = goroutine::spawn([] { goroutine::runtime inside; });
    bad.wait();
}

int main() {
    in_child(of_go, 0);
    {
        uint64_t id = 0;
        char line[100];
        CHECK(sscanf(strstr(child.text, "it is "), "it is %" SCNu64, &id) == 1);
        snprintf(line, sizeof line, "goroutine: unhandled: goroutine %" PRIu64 " ended with std::runtime_error: nobody cares, spawned at 0x", id);
        expect(line, 1);
    }
    expect("unhandled: ", 4);
    expect(" ended with Special, spawned at 0x", 1);
    expect(" ended with char const*, spawned at 0x", 1);
    expect(" ended with goroutine::error: GOROUTINE_EPIPE: The channel is closed., spawned at 0x", 1);
    in_child(of_futures, 0);
    expect("nobody cares", 2); // one of them is over when its future goes
    expect("at any moment", 500);
    expect("unhandled: ", 502);
    in_child(of_futures_in_goroutines, 0);
    expect("at any moment", 500);
    in_child(of_nobody, 0);
    expect("unhandled: ", 0);
    in_child(of_leftover, 0);
    expect("nobody cares\n", 1);
    expect("unhandled: ", 1);
    in_child(to_callback, 0);
    expect("unhandled: ", 0);

    in_child(out_of_plain, SIGABRT);
    expect("goroutine: nothing catches an exception that is about to leave goroutine 1, spawned at 0x", 1);
    expect("from a C function", 1);
    in_child(out_of_c, SIGABRT);
    expect("nothing catches an exception that is about to leave goroutine 1 \"thrower\", spawned at 0x", 1);
    in_child(out_of_timer, SIGABRT);
    expect("nothing catches an exception that is about to leave goroutine 1\n", 1);
#if defined(__SANITIZE_THREAD__)
    (void)forced, (void)forced_in_cxx; /* its own pthread_exit dies on what is not the thread, to it */
#else
    in_child(forced, SIGABRT);
    expect("fatal: pthread_exit, or a cancelled pthread, unwound goroutine 1, spawned at 0x", 1);
    in_child(forced_in_cxx, SIGABRT);
    expect("fatal: pthread_exit, or a cancelled pthread, unwound goroutine 1, spawned at 0x", 1);
#endif
    in_child(on_goroutine, SIGABRT);
    expect("GOROUTINE_EDEADLK", 1);
    return 0;
}

/* timeout: 300 */
/* Parks inside catch blocks and in destructors during unwinding, through the header and through the C functions: each
 * goroutine keeps its own exceptions, on one worker and on several, whichever thread it goes on on. */
#include "check.h"
#include <goroutine.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

static std::atomic<uint64_t> migrations;

/* ---- every way to park ---- */

enum { WAYS = 10 };
static void *identity(void *arg) { return arg; }
static bool ready_now(GoroutineTicket ticket, void *) {
    goroutine_ready(ticket, GOROUTINE_OK);
    return true;
}
static void *resolver(void *promise) {
    goroutine_yield();
    OK(goroutine_promise_resolve(static_cast<GoroutinePromise *>(promise), P(7)));
    return NULL;
}
/* From inside a catch block, so that whoever runs meanwhile is in one, too. */
static void park(unsigned way) {
    const int thread = thread_id();
    GoroutinePromise *promise;
    switch (way % WAYS) {
    case 0: goroutine_yield(); break;
    case 1: goroutine::this_goroutine::yield(); break;
    case 2: OK(goroutine_sleep(20 * US)); break;
    case 3: goroutine::this_goroutine::sleep_for(30us); break;
    case 4: OK(goroutine_park(ready_now, NULL, GOROUTINE_FOREVER)); break;
    case 5:
        CHECK((promise = goroutine_promise_new()) != NULL);
        OK(goroutine_go(resolver, promise));
        OK(goroutine_promise_await_take(promise, GOROUTINE_FOREVER, NULL));
        break;
    case 6: CHECK_EQ(goroutine::spawn([way] { return way; }).get(), way); break;
    case 7: CHECK_EQ(U(goroutine_ffi_call_blocking(CODE(identity), P(3))), 3); break;
    case 8: CHECK_EQ(goroutine_park(ready_now, NULL, 1000), GOROUTINE_OK); break;
    default:
        try { /* an exception of its own meanwhile, which the next one on this thread must not see */
            throw static_cast<long>(way);
        } catch (long own) {
            goroutine_yield();
            CHECK_EQ(own, way);
        }
    }
    if (thread != thread_id()) migrations.fetch_add(1);
}

/* ---- throw; ---- */

static std::string name_of(unsigned n) { return "exception " + std::to_string(n); }
static void own_exception(unsigned n, unsigned rounds) {
    for (unsigned i = 0; i < rounds; i++) {
        const std::string mine = name_of(n * 1000 + i);
        unsigned seen = 0;
        try {
            try {
                throw std::runtime_error(mine);
            } catch (const std::exception &e) {
                park(n + i);
                CHECK(mine == e.what());
                CHECK_EQ(std::uncaught_exceptions(), 0);
                park(n + i + 1);
                throw; /* the innermost that this goroutine handles */
            }
        } catch (const std::runtime_error &e) {
            seen++;
            CHECK(mine == e.what());
            park(n + 2 * i);
            CHECK(std::current_exception() != nullptr);
        }
        CHECK_EQ(seen, 1);
        CHECK(std::current_exception() == nullptr);
    }
}
/* Five deep, each level with a park, and out again. */
static void nested(unsigned n, unsigned depth) {
    const std::string mine = name_of(n * 10 + depth);
    try {
        throw std::logic_error(mine);
    } catch (...) {
        park(n + depth);
        if (depth > 0) nested(n, depth - 1);
        park(n * depth);
        try {
            throw;
        } catch (const std::logic_error &e) {
            CHECK(mine == e.what());
        }
    }
}
static void wrapped(unsigned n) {
    try {
        try {
            throw std::runtime_error(name_of(n));
        } catch (...) {
            park(n);
            std::throw_with_nested(std::logic_error("outer " + name_of(n)));
        }
    } catch (const std::logic_error &outer) {
        park(n + 1);
        CHECK("outer " + name_of(n) == outer.what());
        try {
            std::rethrow_if_nested(outer);
            CHECK(!"it has one inside");
        } catch (const std::runtime_error &inner) {
            park(n + 2);
            CHECK(name_of(n) == inner.what());
        }
    }
}

/* ---- during unwinding ---- */

struct Parker {
    unsigned n;
    int expected;
    ~Parker() {
        for (unsigned i = 0; i < 4; i++) {
            CHECK_EQ(std::uncaught_exceptions(), expected);
            park(n + i);
            CHECK_EQ(std::uncaught_exceptions(), expected);
        }
        if (expected > 2) return;
        try { /* and another one while this one is under way */
            Parker deeper{n + 1, expected + 1};
            throw 5;
        } catch (int five) {
            CHECK_EQ(five, 5);
            park(n);
        }
        CHECK_EQ(std::uncaught_exceptions(), expected);
    }
};
static void unwinding(unsigned n) {
    try {
        Parker parker{n, 1};
        throw std::runtime_error(name_of(n));
    } catch (const std::runtime_error &e) {
        CHECK(name_of(n) == e.what());
        CHECK_EQ(std::uncaught_exceptions(), 0);
    }
}

static void everything(unsigned n) {
    own_exception(n, 6);
    nested(n, 5);
    wrapped(n);
    unwinding(n);
}
/* Threads outside: their exceptions are the thread's. */
static void plain_thread(std::atomic<bool> *over) {
    for (unsigned n = 0; !over->load(); n++) {
        try {
            throw std::runtime_error(name_of(n));
        } catch (...) {
            goroutine_sleep(100 * US);
            goroutine_yield();
            CHECK_EQ(goroutine::spawn([n] { return n; }).get(), n);
            try {
                throw;
            } catch (const std::runtime_error &e) {
                CHECK(name_of(n) == e.what());
            }
        }
    }
}
static void interleaved(uint32_t workers, bool migrates) {
    goroutine::runtime runtime(workers);
    const uint64_t end = now_ns() + 100 * SECOND;
    std::atomic<bool> over{false};
    std::thread outside(plain_thread, &over);
    unsigned rounds = 0;
    migrations = 0;
    do {
        std::vector<goroutine::future<void>> all;
        for (unsigned n = 0; n < (is_slow() ? 12 : 60); n++) all.push_back(goroutine::spawn(everything, n));
        for (auto &one : all) one.get();
        rounds++;
    } while (migrates && migrations.load() < 20 && now_ns() < end);
    over = true;
    outside.join();
    fprintf(stderr, "%u workers: %u rounds, moved to another thread inside a catch block %llu times\n", workers, rounds,
            static_cast<unsigned long long>(migrations.load()));
    CHECK(!migrates || migrations.load() >= 20);
}

/* Two on one worker, step by step. */
static std::string order;
static void step_by_step(char name) {
    try {
        throw std::string(1, name);
    } catch (const std::string &) {
        goroutine_yield();
        try {
            throw;
        } catch (const std::string &again) {
            order += again;
            goroutine_yield();
            order += *&again;
        }
    }
}
static void *steps(void *name) {
    step_by_step(static_cast<char>(U(name)));
    return NULL;
}
static void two_on_one(void) {
    goroutine::runtime runtime(1);
    goroutine::spawn([] { /* neither runs before both are queued */
        OK(goroutine_go(steps, P('a')));
        OK(goroutine_go(steps, P('b')));
    }).get();
    runtime.wait();
    CHECK(order == "abab" || order == "baba");
}

/* goroutine_exit in a catch block and during unwinding: the next goroutine with that stack starts afresh. (What they
 * handled is lost: kept here, so that the leak checker knows.) */
static std::vector<std::exception_ptr> &abandoned = *new std::vector<std::exception_ptr>; // never destroyed: it looks last
static int always = 1; /* as far as the compiler knows, the destructor may come back */
struct Exits {
    ~Exits() {
        if (GET(always)) goroutine_exit(GOROUTINE_OK, NULL);
    }
};
static void *exits(void *arg) {
    try {
        throw std::runtime_error("abandoned");
    } catch (...) {
        abandoned.push_back(std::current_exception());
        if (U(arg) % 2 == 0) goroutine_exit(GOROUTINE_OK, NULL);
        try {
            Exits on_the_way;
            throw;
        } catch (...) {
            CHECK(!"it gets so far");
        }
    }
    return NULL;
}
static void *is_fresh(void *) {
    CHECK(std::current_exception() == nullptr);
    CHECK_EQ(std::uncaught_exceptions(), 0);
    return NULL;
}
static void after_exit(void) {
    goroutine::runtime runtime(1);
    goroutine::spawn([] { /* what a worker spawns gets the stack that it used last */
        for (uintptr_t i = 0; i < 100; i++) {
            run_goroutine(exits, P(i));
            run_goroutine(is_fresh, NULL);
        }
    }).get();
}

int main() {
    CHECK(goroutine::exceptions_are_kept());
    two_on_one();
    interleaved(1, false);
    interleaved(2, true);
    interleaved(8, true);
    after_exit();
    return 0;
}

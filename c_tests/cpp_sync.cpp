/* Locks with the standard guards, channels of any type that moves, select: between goroutines and plain threads. */
#include "check.h"
#include <goroutine.hpp>

#include <atomic>
#include <iterator>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using goroutine::channel;
using goroutine::future;
using goroutine::spawn;

template <class F> static GoroutineStatus status_of(F f) {
    try {
        f();
    } catch (const goroutine::error &e) {
        return e.status();
    }
    return GOROUTINE_OK;
}

/* ---- locks ---- */

template <class Mutex> static void counting() {
    Mutex mutex, other;
    uint64_t count = 0;
    const uint64_t each = scaled(2000, 20);
    auto work = [&](unsigned n) {
        for (uint64_t i = 0; i < each; i++) {
            switch ((n + i) % 5) {
            case 0: {
                std::lock_guard<Mutex> guard(mutex);
                count++;
                if (i % 7 == 0) goroutine_yield();
                break;
            }
            case 1: {
                std::unique_lock<Mutex> guard(mutex, std::defer_lock);
                CHECK(!guard.owns_lock());
                guard.lock();
                count++;
                guard.unlock();
                break;
            }
            case 2: {
                std::scoped_lock both(n % 2 == 0 ? mutex : other, n % 2 == 0 ? other : mutex);
                count++;
                if (i % 9 == 0) goroutine_yield();
                break;
            }
            case 3: {
                std::unique_lock<Mutex> guard(mutex, std::try_to_lock);
                while (!guard.owns_lock()) {
                    goroutine_yield();
                    CHECK(!guard.try_lock_for(0s) || guard.owns_lock());
                }
                count++;
                break;
            }
            default:
                try { /* a guard unlocks when an exception passes */
                    std::lock_guard<Mutex> guard(mutex);
                    count++;
                    throw 1;
                } catch (int) {
                }
            }
        }
    };
    std::vector<future<void>> all;
    for (unsigned n = 0; n < 16; n++) all.push_back(spawn(work, n));
    std::thread thread(work, 16u);
    for (auto &one : all) one.get();
    thread.join();
    CHECK_EQ(count, 17 * each);

    std::unique_lock<Mutex> held(mutex);
    spawn([&] {
        CHECK(!mutex.try_lock());
        CHECK(!mutex.try_lock_for(1ms));
        CHECK(!mutex.try_lock_for(0s));
        CHECK(!mutex.try_lock_until(std::chrono::steady_clock::now() + 1ms));
        CHECK_EQ(status_of([&] { mutex.unlock(); }), GOROUTINE_EPERM);
    }).get();
    auto waits = spawn([&] { CHECK_EQ(status_of([&] { mutex.lock(); }), GOROUTINE_ECANCELED); });
    CHECK(!waits.wait_for(1ms));
    waits.cancel();
    waits.get();
    held.unlock();
    /* Its owner is gone: told once, and then it can be locked. */
    spawn([&] {
        mutex.lock();
        goroutine_exit(GOROUTINE_OK, NULL);
    }).wait();
    try {
        mutex.lock();
        CHECK(false);
    } catch (const goroutine::error &e) {
        CHECK_EQ(e.status(), GOROUTINE_EOWNERDEAD);
        CHECK(strstr(e.what(), "it was unlocked again") != NULL && strstr(e.what(), "is the caller's") == NULL);
    }
    mutex.lock();
    mutex.unlock();
    CHECK(mutex.native_handle() != NULL);
}
static void locks() {
    counting<goroutine::mutex>();
    counting<goroutine::recursive_mutex>();
    goroutine::recursive_mutex recursive;
    goroutine::mutex plain;
    spawn([&] {
        std::lock_guard one(recursive);
        std::lock_guard two(recursive);
        CHECK(recursive.try_lock());
        recursive.unlock();
        std::lock_guard three(plain);
        CHECK_EQ(status_of([&] { plain.lock(); }), GOROUTINE_EDEADLK);
    }).get();
}

/* A queue of one, the old way. */
template <class Mutex> static void conditions() {
    Mutex mutex;
    goroutine::condition_variable changed;
    uint64_t value = 0, sum = 0;
    const uint64_t each = scaled(500, 10);
    std::vector<future<void>> producers;
    for (unsigned n = 0; n < 4; n++) {
        producers.push_back(spawn([&] {
            for (uint64_t i = 1; i <= each; i++) {
                std::unique_lock lock(mutex);
                changed.wait(lock, [&] { return value == 0; });
                value = i;
                changed.notify_all();
            }
        }));
    }
    for (uint64_t i = 0; i < 4 * each; i++) {
        std::unique_lock lock(mutex);
        CHECK(changed.wait_for(lock, 60s, [&] { return value != 0; }));
        sum += std::exchange(value, 0);
        changed.notify_all();
    }
    CHECK_EQ(sum, 4 * (each * (each + 1) / 2));
    for (auto &one : producers) one.get();
    std::unique_lock lock(mutex);
    CHECK(!changed.wait_for(lock, 0s, [&] { return value != 0; }));
    CHECK(!changed.wait_for(lock, 1ms, [&] { return value != 0; }));
    CHECK(!changed.wait_until(lock, std::chrono::system_clock::now() + 1ms, [&] { return value != 0; }));
    CHECK(changed.wait_for(lock, std::chrono::hours::max(), [&] { return value == 0; }));
    CHECK(!changed.wait_for(lock, 1ms));
    CHECK(lock.owns_lock());
    lock.unlock();
    CHECK_EQ(status_of([&] { changed.wait(lock); }), GOROUTINE_EPERM);
    std::unique_lock<Mutex> none;
    CHECK_EQ(status_of([&] { changed.wait(none); }), GOROUTINE_EPERM);
    auto waits = spawn([&] {
        std::unique_lock own(mutex);
        CHECK_EQ(status_of([&] { changed.wait(own, [] { return false; }); }), GOROUTINE_ECANCELED);
        CHECK(own.owns_lock());
        value = 9;
    });
    CHECK(!waits.wait_for(1ms));
    waits.cancel();
    waits.get();
    CHECK_EQ(value, 9);
}
static void groups() {
    goroutine::wait_group group;
    std::atomic<int> done{0};
    group.wait();
    for (int round = 0; round < 20; round++) {
        done = 0;
        group.add(10);
        for (int n = 0; n < 10; n++) {
            goroutine::go([&, n] {
                for (int turn = 0; turn < n; turn++) goroutine_yield();
                done++;
                group.done();
            });
        }
        group.wait();
        CHECK_EQ(done.load(), 10);
    }
    group.add();
    CHECK(!group.wait_for(0s));
    CHECK(!group.wait_for(1ms));
    group.done();
    CHECK(group.wait_for(0s));
    CHECK_EQ(status_of([&] { group.done(); }), GOROUTINE_EINVAL);
    CHECK(group.native_handle() != NULL);
}

/* ---- channels ---- */

struct Counted {
    static std::atomic<int> alive;
    uint64_t value = 0;
    explicit Counted(uint64_t n) : value(n) { alive++; }
    Counted(Counted &&other) noexcept : value(std::exchange(other.value, 0)) { alive++; }
    Counted &operator=(Counted &&other) noexcept {
        value = std::exchange(other.value, 0);
        return *this;
    }
    ~Counted() { alive--; }
};
std::atomic<int> Counted::alive{0};
struct alignas(32) Plain {
    uint64_t value;
    char more[40];
    explicit Plain(uint64_t n) : value(n), more{} { more[39] = static_cast<char>(n); }
};
static_assert(std::is_trivially_copyable_v<Plain>);

template <class T> struct make {
    static T from(uint64_t n) { return T(n); }
    static uint64_t value(const T &t) { return t.value; }
};
template <> struct make<uint64_t> {
    static uint64_t from(uint64_t n) { return n; }
    static uint64_t value(uint64_t n) { return n; }
};
template <> struct make<std::unique_ptr<uint64_t>> {
    static std::unique_ptr<uint64_t> from(uint64_t n) { return std::make_unique<uint64_t>(n); }
    static uint64_t value(const std::unique_ptr<uint64_t> &p) { return *p; }
};
template <> struct make<std::string> {
    static std::string from(uint64_t n) { return "a text that is too long for the string itself: " + std::to_string(n); }
    static uint64_t value(const std::string &s) { return std::stoull(s.substr(s.rfind(' '))); }
};
#if __cplusplus >= 202002L
static_assert(std::input_iterator<channel<int>::iterator>);
static_assert(std::input_iterator<channel<std::unique_ptr<int>>::iterator>);
#endif
static void iterators() {
    channel<std::string> texts(3);
    for (const char *text : {"first", "second", "third"}) texts.send(text);
    texts.close();
    const auto at = texts.begin(); /* one that is const points to something that is not */
    CHECK(*at == "first" && at->size() == 5);
    at->clear();
    CHECK(at->empty());
    CHECK(std::vector<std::string>(texts.begin(), texts.end()) == (std::vector<std::string>{"second", "third"}));
    CHECK(texts.begin() == texts.end());
}
/* Everything that is sent arrives once, in each sender's order. */
template <class T> static void pipeline(size_t capacity) {
    channel<T> values(capacity);
    enum { SENDERS = 4, RECEIVERS = 3 };
    const uint64_t each = scaled(1500, 20);
    std::vector<future<void>> senders;
    std::vector<future<uint64_t>> receivers;
    for (uint64_t n = 0; n < SENDERS; n++) {
        senders.push_back(spawn([&values, each, n] {
            for (uint64_t i = 0; i < each; i++) values.send(make<T>::from(n << 32 | i));
        }));
    }
    for (int n = 0; n < RECEIVERS; n++) {
        receivers.push_back(spawn([&values] {
            uint64_t sum = 0, next[SENDERS + 1] = {};
            for (T &value : values) {
                const uint64_t got = make<T>::value(value);
                CHECK((got & 0xFFFFFFFF) >= next[got >> 32]);
                next[got >> 32] = (got & 0xFFFFFFFF) + 1;
                sum += got & 0xFFFFFFFF;
            }
            return sum;
        }));
    }
    std::thread thread([&] { /* a plain thread sends and receives, too */
        for (uint64_t i = 0; i < 10; i++) values.send(make<T>::from(uint64_t{SENDERS} << 32 | i), 60s);
    });
    for (auto &one : senders) one.get();
    thread.join();
    CHECK(values.close());
    uint64_t sum = 0;
    for (auto &one : receivers) sum += one.get();
    CHECK_EQ(sum, SENDERS * (each * (each - 1) / 2) + 45);
    CHECK(!values.close());
    CHECK(!values.receive().has_value());
    CHECK_EQ(status_of([&] { values.send(make<T>::from(1)); }), GOROUTINE_EPIPE);
}
/* Who could not send still has the value. */
static void kept() {
    channel<std::unique_ptr<int>> one(1);
    auto value = std::make_unique<int>(7);
    one.send(std::make_unique<int>(6));
    CHECK(!one.try_send(std::move(value)));
    CHECK(value != nullptr && *value == 7);
    CHECK_EQ(status_of([&] { one.send(std::move(value), 1ms); }), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(status_of([&] { one.send(std::move(value), 0s); }), GOROUTINE_EAGAIN);
    CHECK(value != nullptr && *value == 7);
    CHECK_EQ(*one.receive().value(), 6);
    CHECK(one.try_send(std::move(value)));
    CHECK(value == nullptr);
    CHECK_EQ(*one.try_receive().value(), 7);
    CHECK(!one.try_receive().has_value());
    CHECK_EQ(status_of([&] { (void)one.receive(1ms); }), GOROUTINE_ETIMEDOUT);
    CHECK_EQ(status_of([&] { (void)one.receive(0ms); }), GOROUTINE_EAGAIN);
    CHECK(one.close());
    value = std::make_unique<int>(8);
    CHECK_EQ(status_of([&] { one.send(std::move(value)); }), GOROUTINE_EPIPE);
    CHECK_EQ(*value, 8);
    CHECK(!one.try_receive().has_value());
    {
        channel<Counted> left(10); /* what nobody received */
        for (uint64_t i = 0; i < 10; i++) left.send(Counted(i));
        CHECK_EQ(Counted::alive.load(), 10);
        CHECK_EQ(left.receive().value().value, 0);
    }
    CHECK_EQ(Counted::alive.load(), 0);
    channel<int> never;
    auto waits = spawn([&] { CHECK_EQ(status_of([&] { (void)never.receive(); }), GOROUTINE_ECANCELED); });
    CHECK(!waits.wait_for(1ms));
    waits.cancel();
    waits.get();
}
static void exceptions_through_channels() {
#if defined(__SANITIZE_THREAD__)
    return; /* libstdc++ counts the owners of an exception where ThreadSanitizer does not see it: two std::threads are reported, too */
#endif
    channel<std::exception_ptr> failures;
    auto sender = spawn([&] {
        try {
            throw std::runtime_error("by channel");
        } catch (...) {
            failures.send(std::current_exception()); /* parks inside the catch block */
            try {
                throw;
            } catch (const std::runtime_error &e) {
                CHECK(strcmp(e.what(), "by channel") == 0);
            }
        }
    });
    try {
        std::rethrow_exception(failures.receive().value());
    } catch (const std::runtime_error &e) {
        CHECK(strcmp(e.what(), "by channel") == 0);
    }
    sender.get();
}

/* ---- select ---- */

static void selecting() {
    channel<std::unique_ptr<int>> in(1), out(1);
    channel<std::string> words;
    int got = 0;
    CHECK_EQ(status_of([&] { goroutine::select(0s, goroutine::on_receive(in, [](auto) { CHECK(!"nothing is there"); })); }), GOROUTINE_EAGAIN);
    CHECK_EQ(status_of([&] { goroutine::select(1ms, goroutine::on_receive(in, [](auto) { CHECK(!"nothing is there"); })); }), GOROUTINE_ETIMEDOUT);
    in.send(std::make_unique<int>(3));
    CHECK_EQ(goroutine::select(goroutine::on_receive(words, [](auto) { CHECK(!"nothing is there"); }),
                               goroutine::on_receive(in, [&](std::optional<std::unique_ptr<int>> value) { got = *value.value(); })),
             1);
    CHECK_EQ(got, 3);
    auto value = std::make_unique<int>(4);
    CHECK_EQ(goroutine::select(60s, goroutine::on_send(out, value, [&] { got = 40; }),
                               goroutine::on_receive(in, [](auto) { CHECK(!"nothing is there"); })),
             0);
    CHECK(value == nullptr && got == 40);
    value = std::make_unique<int>(5); /* `out` is full */
    auto slow = spawn([] {
        goroutine::this_goroutine::sleep_for(2ms);
        return 6;
    });
    CHECK_EQ(goroutine::select(goroutine::on_send(out, value, [] { CHECK(!"it is full"); }),
                               goroutine::on_ready(slow, [&] { got = slow.get(); })),
             1);
    CHECK_EQ(got, 6);
    CHECK(value != nullptr && *value == 5);
    in.close();
    bool closed = false;
    goroutine::select(goroutine::on_receive(in, [&](auto end) { closed = !end.has_value(); }));
    CHECK(closed);
    CHECK_EQ(status_of([&] { goroutine::select(goroutine::on_send(in, value, [] {})); }), GOROUTINE_EPIPE);
    CHECK_EQ(*value, 5);

    /* Many on both sides; each value arrives once. */
    channel<uint64_t> left, right(3);
    std::vector<future<void>> senders;
    const uint64_t each = scaled(1000, 10);
    for (uint64_t n = 0; n < 4; n++) {
        senders.push_back(spawn([&, n] {
            for (uint64_t i = 0; i < each; i++) {
                uint64_t a = i, b = i;
                if ((n + i) % 2 == 0) left.send(i);
                else goroutine::select(goroutine::on_send(left, a, [] {}), goroutine::on_send(right, b, [] {}));
            }
        }));
    }
    uint64_t sum = 0, count = 0;
    while (count < 4 * each) {
        auto take = [&](std::optional<uint64_t> n) {
            sum += n.value();
            count++;
        };
        goroutine::select(goroutine::on_receive(left, take), goroutine::on_receive(right, take));
    }
    CHECK_EQ(sum, 4 * (each * (each - 1) / 2));
    for (auto &one : senders) one.get();
}

int main() {
    for (uint32_t workers : {1u, 2u, 8u}) {
        goroutine::runtime runtime(workers);
        locks();
        conditions<goroutine::mutex>();
        conditions<goroutine::recursive_mutex>();
        groups();
        for (size_t capacity : {size_t{0}, size_t{1}, size_t{64}}) {
            pipeline<uint64_t>(capacity);
            pipeline<Plain>(capacity);
            pipeline<std::unique_ptr<uint64_t>>(capacity);
            pipeline<std::string>(capacity);
            pipeline<Counted>(capacity);
        }
        CHECK_EQ(Counted::alive.load(), 0);
        iterators();
        kept();
        exceptions_through_channels();
        selecting();
        spawn(kept).get();
        spawn(conditions<goroutine::mutex>).get();
        spawn(groups).get();
        spawn(exceptions_through_channels).get();
        spawn(selecting).get();
    }
    return 0;
}

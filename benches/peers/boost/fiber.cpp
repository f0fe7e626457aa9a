// Boost.Fiber: stackful fibers, one round-robin scheduler with one worker and
// work stealing among more. It has no timer apart from its sleeps, so that the
// timer rows are unsupported.
#include "peer.hpp"

#include <atomic>
#include <boost/fiber/all.hpp>
#include <condition_variable>
#include <malloc.h>
#include <memory>
#include <mutex>
#include <thread>

namespace fibers = boost::fibers;
namespace this_fiber = boost::this_fiber;
using peer::Clock;
using peer::nanoseconds;
using peer::Took;

static constexpr uint64_t batch = 100; // fibers spawned before they are awaited
static constexpr int parked = 10000;   // fibers in the two lateness rows

// The threads beside the main one. A scheduler serves its fibers only while
// its thread's own fiber waits, and spins while it finds none: so that an idle
// peer takes no time from others, the threads wait natively between rows.
class Helpers {
    std::mutex native;
    std::condition_variable native_changed;
    fibers::mutex mutex;
    fibers::condition_variable changed;
    bool active = false; // written with both mutexes held
    bool quit = false;
    std::vector<std::thread> threads;

    void set(bool on) {
        {
            std::lock_guard<std::mutex> a(native);
            std::lock_guard<fibers::mutex> b(mutex);
            active = on;
        }
        native_changed.notify_all();
        changed.notify_all();
    }

    void help(uint32_t workers) {
        fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers);
        for (;;) {
            {
                std::unique_lock<std::mutex> lock(native);
                native_changed.wait(lock, [&] { return active || quit; });
                if (quit)
                    return;
            }
            std::unique_lock<fibers::mutex> lock(mutex);
            changed.wait(lock, [&] { return !active; });
        }
    }

  public:
    explicit Helpers(uint32_t workers) {
        if (workers == 1)
            return; // the default: round robin
        for (uint32_t i = 1; i < workers; i++)
            threads.emplace_back([=] { help(workers); });
        // Returns when all the threads have come to their schedulers.
        fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers);
    }
    ~Helpers() {
        {
            std::lock_guard<std::mutex> lock(native);
            quit = true;
        }
        native_changed.notify_all();
        for (std::thread &t : threads)
            t.join();
    }

    // Runs f with all the threads at work.
    template <typename F> auto with(F f) {
        if (!threads.empty())
            set(true);
        auto result = f();
        if (!threads.empty())
            set(false);
        return result;
    }
};

// A pool of stacks is what makes a spawn fast, but Boost's may not be used by
// two threads. Without it a stack is a malloc, which has to keep the memory of
// freed stacks: left as it is, it returns it to the kernel after each batch.
struct Stacks {
    bool pool;
    fibers::pooled_fixedsize_stack pooled{};
    fibers::fixedsize_stack plain{};

    explicit Stacks(bool pool) : pool(pool) {
        if (!pool) {
            mallopt(M_MMAP_THRESHOLD, 1 << 30);
            mallopt(M_TRIM_THRESHOLD, 1 << 30);
        }
    }

    template <typename F> fibers::fiber fiber(F f) {
        if (pool)
            return fibers::fiber(std::allocator_arg, pooled, std::move(f));
        return fibers::fiber(std::allocator_arg, plain, std::move(f));
    }
    template <typename F> auto async(F f) {
        if (pool)
            return fibers::async(fibers::launch::post, std::allocator_arg, pooled, std::move(f));
        return fibers::async(fibers::launch::post, std::allocator_arg, plain, std::move(f));
    }
};

// Each fiber waits at a gate, yielding, until all run: the last one to come
// starts the clock and the last one to leave stops it, so that no spawn is in
// the time.
static Took yields(Stacks &stacks, unsigned k, uint64_t n) {
    uint64_t each = (n + k - 1) / k;
    std::atomic<unsigned> passed{0};
    Clock::time_point start, end;
    std::vector<fibers::fiber> all;
    for (unsigned i = 0; i < k; i++)
        all.push_back(stacks.fiber([&] {
            if (++passed == k) {
                start = Clock::now();
                ++passed;
            }
            while (passed <= k)
                this_fiber::yield();
            for (uint64_t j = 0; j < each; j++)
                this_fiber::yield();
            if (++passed == 2 * k + 1)
                end = Clock::now();
        }));
    for (fibers::fiber &f : all)
        f.join();
    return {end - start, each * k};
}

static Took spawn_batch(Stacks &stacks, uint64_t n) {
    uint64_t batches = (n + batch - 1) / batch, sum = 0;
    uint64_t out[batch];
    std::vector<fibers::fiber> all;
    all.reserve(batch);
    auto start = Clock::now();
    for (uint64_t b = 0; b < batches; b++) {
        for (uint64_t i = 0; i < batch; i++)
            all.push_back(stacks.fiber([&out, i, b] { out[i] = b; }));
        for (fibers::fiber &f : all)
            f.join();
        all.clear();
        for (uint64_t v : out)
            sum += v;
    }
    auto time = Clock::now() - start;
    peer::check(sum == batch * (batches * (batches - 1) / 2));
    return {time, batches * batch};
}

static Took spawn_await(Stacks &stacks, uint64_t n) {
    uint64_t sum = 0;
    auto start = Clock::now();
    for (uint64_t i = 0; i < n; i++)
        sum += stacks.async([i] { return i; }).get();
    auto time = Clock::now() - start;
    peer::check(sum == n * (n - 1) / 2);
    return {time, n};
}

// Sleeps and says by how many ns more it took.
static uint32_t lateness(nanoseconds nap) {
    auto before = Clock::now();
    this_fiber::sleep_for(nap);
    nanoseconds late = Clock::now() - before - nap;
    return std::clamp<int64_t>(late.count(), 0, UINT32_MAX);
}

static std::vector<uint32_t> sleep_lateness(Stacks &stacks, nanoseconds time) {
    std::vector<std::vector<uint32_t>> late(parked);
    for (auto &l : late)
        l.reserve(time / std::chrono::milliseconds(10) + 2);
    std::vector<fibers::fiber> all;
    auto start = Clock::now();
    for (int i = 0; i < parked; i++) {
        while (Clock::now() - start < std::chrono::microseconds(i))
            this_fiber::yield();
        all.push_back(stacks.fiber([&late, start, time, i] {
            while (Clock::now() - start < time)
                late[i].push_back(lateness(std::chrono::milliseconds(10)));
        }));
    }
    for (fibers::fiber &f : all)
        f.join();
    std::vector<uint32_t> flat;
    for (auto &l : late)
        flat.insert(flat.end(), l.begin(), l.end());
    return flat;
}

static std::vector<uint32_t> lone_sleeper(Stacks &stacks) {
    fibers::promise<void> gate;
    fibers::shared_future<void> open(gate.get_future());
    std::vector<fibers::fiber> all;
    for (int i = 0; i < parked; i++)
        all.push_back(stacks.fiber([open] { open.wait(); }));
    std::vector<uint32_t> late(1000);
    fibers::fiber sleeper = stacks.fiber([&late] {
        for (uint32_t &l : late)
            l = lateness(std::chrono::milliseconds(1));
    });
    sleeper.join();
    gate.set_value();
    for (fibers::fiber &f : all)
        f.join();
    return late;
}

int main(int argc, char **argv) {
    int workers = argc > 1 ? std::atoi(argv[1]) : 1;
    if (workers < 1) {
        std::fputs("usage: peer-boost-fiber [workers]\n", stderr);
        return 2;
    }
    Stacks stacks(workers == 1);
    Helpers helpers(workers);
    auto row = [&](auto f) {
        return [&, f](uint64_t n) { return helpers.with([&] { return f(n); }); };
    };
    auto late_row = [&](auto f) {
        return [&, f](nanoseconds t) { return helpers.with([&] { return f(t); }); };
    };
    peer::serve("boost-fiber",
                {
                    {"yield_2", row([&](uint64_t n) { return yields(stacks, 2, n); })},
                    {"yield_1000", row([&](uint64_t n) { return yields(stacks, 1000, n); })},
                    {"spawn_batch", row([&](uint64_t n) { return spawn_batch(stacks, n); })},
                    {"spawn_await", row([&](uint64_t n) { return spawn_await(stacks, n); })},
                },
                {
                    {"sleep_lateness",
                     late_row([&](nanoseconds t) { return sleep_lateness(stacks, t); })},
                    {"lone_sleeper", late_row([&](nanoseconds) { return lone_sleeper(stacks); })},
                });
}

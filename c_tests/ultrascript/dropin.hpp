// What the rest of a C++ runtime sees of its goroutines, over ultrascript_runtime.h: tasks that are std::functions, a current
// goroutine with parent and children, keep-alive counters, locks, timers. A runtime with its own `class Goroutine` moves over
// by taking these for its own; its compiler goes on calling by name.
#pragma once
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <ultrascript_runtime.h>
#include <utility>
#include <vector>

extern "C" int32_t goroutine_tls_offset(void); // goroutine.h; and from there: offset of user[0] in the current goroutine
enum { USER_WORD = 40 };

enum class AsyncOpType : int64_t { Timer, HttpRequest, FileIo, PromiseAll, Custom };

class Goroutine : public std::enable_shared_from_this<Goroutine> {
public:
    using Task = std::function<void()>;
    static std::shared_ptr<Goroutine> spawn(Task task) {
        std::shared_ptr<Goroutine> g(new Goroutine(std::move(task)));
        if (g->parent_) g->parent_->children_++;
        auto *own = new std::shared_ptr<Goroutine>(g); // the running goroutine's
        g->handle_ = __goroutine_spawn_func_ptr(reinterpret_cast<void *>(run), own);
        return g;
    }
    // The one that runs; null outside. Not to be kept across a park, as what it is read from: hence not inlined.
    __attribute__((noinline)) static Goroutine *current() { return *word(); }
    static int active() { return active_; }

    int64_t id() const { return id_; }
    std::shared_ptr<Goroutine> parent() const { return parent_; }
    int child_count() const { return children_; }
    void join() {
        __promise_await(handle_);
        if (failure_) std::rethrow_exception(failure_);
    }
    static void join_all(const std::vector<std::shared_ptr<Goroutine>> &goroutines) {
        std::vector<void *> promises;
        for (const auto &g : goroutines) promises.push_back(g->handle_);
        void *all = __promise_all(promises.data(), static_cast<int64_t>(promises.size()));
        __promise_await(all);
        __promise_release(all);
    }
    ~Goroutine() { __promise_release(handle_); }

private:
    explicit Goroutine(Task task) : task_(std::move(task)), parent_(current() ? current()->shared_from_this() : nullptr) { active_++; }
    static Goroutine **word() {
        char *header;
        __asm__ volatile("movq %%fs:(%1), %0" : "=r"(header) : "r"(static_cast<int64_t>(goroutine_tls_offset())));
        return reinterpret_cast<Goroutine **>(header + USER_WORD);
    }
    static void *run(void *own) {
        std::unique_ptr<std::shared_ptr<Goroutine>> self(static_cast<std::shared_ptr<Goroutine> *>(own));
        Goroutine &g = **self;
        *word() = &g;
        g.id_ = __runtime_go_current_id();
        try {
            g.task_();
        } catch (...) {
            g.failure_ = std::current_exception();
        }
        g.task_ = nullptr; // what it had captured
        if (g.parent_) g.parent_->children_--;
        active_--;
        return nullptr;
    }
    Task task_;
    std::shared_ptr<Goroutine> parent_;
    std::exception_ptr failure_;
    std::atomic<int64_t> id_{0};
    std::atomic<int> children_{0};
    void *handle_ = nullptr;
    static inline std::atomic<int> active_{0};
};

// The program goes on while there is one; any thread may end it.
class KeepAlive {
public:
    explicit KeepAlive(AsyncOpType type, void *data = nullptr) : id_(__gots_add_async_handle(static_cast<int64_t>(type), data)) {}
    KeepAlive(KeepAlive &&other) noexcept : id_(std::exchange(other.id_, 0)) {}
    ~KeepAlive() { __gots_complete_async_handle(id_); }
private:
    int64_t id_;
};

class Lock { // for std::lock_guard and std::unique_lock
public:
    void lock() { __runtime_lock_lock(lock_); }
    bool try_lock() { return __runtime_lock_try_lock(lock_); }
    void unlock() { __runtime_lock_unlock(lock_); }
    ~Lock() { __runtime_lock_destroy(lock_); }
private:
    void *lock_ = __runtime_lock_create();
};

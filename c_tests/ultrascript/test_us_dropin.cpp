/* A C++ runtime with its own `class Goroutine` on UltraScript's names: dropin.hpp, of at most 100 lines, and what uses it. Nothing leaks,
 * as the address sanitizer's run sees. */
#include "dropin.hpp"
#include "us.h" /* and goroutine.h with it: its names get along with the class */
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

static std::atomic<int> ran, beats, timed_out;
static int64_t interval;

static void *beat(void *unused) {
    CHECK(Goroutine::current() == nullptr); /* a goroutine of the library's, but none of the class */
    if (++beats == 3) CHECK(__gots_clear_interval(interval));
    return unused;
}
static void *time_out(void *unused) {
    timed_out++;
    return unused;
}
static void parents_and_children() {
    Goroutine *me = Goroutine::current();
    std::vector<std::shared_ptr<Goroutine>> children;
    auto captured = std::make_shared<std::string>("captured by a task, and freed with it");
    CHECK(me != nullptr && me->id() == __runtime_go_current_id() && me->id() > 0);
    for (int i = 0; i < 100; i++) {
        children.push_back(Goroutine::spawn([captured, me, i] {
            std::shared_ptr<Goroutine> parent = Goroutine::current()->parent();
            CHECK(parent.get() == me && !captured->empty());
            __runtime_time_sleep_nanos(i * 1000);
            CHECK(Goroutine::current()->parent() == parent); /* on whatever thread it is now */
            ran++;
        }));
    }
    CHECK(me->child_count() <= 100);
    Goroutine::join_all(children);
    CHECK_EQ(me->child_count(), 0);
    CHECK_EQ(captured.use_count(), 1);
    CHECK(Goroutine::current() == me);
}
static void failures() {
    std::shared_ptr<Goroutine> fails = Goroutine::spawn([] {
        __runtime_time_sleep_millis(1);
        throw std::runtime_error("of the task");
    });
    std::string what;
    try {
        fails->join();
    } catch (const std::runtime_error &e) {
        what = e.what();
    }
    CHECK(what == "of the task");
}
static void locks() {
    auto lock = std::make_shared<Lock>();
    auto total = std::make_shared<int>(0);
    std::vector<std::shared_ptr<Goroutine>> all;
    for (int i = 0; i < 50; i++) {
        all.push_back(Goroutine::spawn([lock, total] {
            std::lock_guard<Lock> outer(*lock);
            std::unique_lock<Lock> inner(*lock, std::try_to_lock); /* recursive */
            int before = *total;
            CHECK(inner.owns_lock());
            __runtime_time_sleep_nanos(0);
            *total = before + 1;
        }));
    }
    Goroutine::join_all(all);
    CHECK_EQ(*total, 50);
}
static std::thread worker;
static void program() {
    parents_and_children();
    failures();
    locks();
    interval = __gots_set_interval(reinterpret_cast<void *>(beat), 1);
    CHECK(__gots_set_timeout(reinterpret_cast<void *>(time_out), 2) > 0);
    /* Nobody joins it, and its parent is over before it. */
    Goroutine::spawn([] {
        __runtime_time_sleep_millis(5);
        CHECK_EQ(Goroutine::current()->parent()->child_count(), 1);
        ran++;
    });
    /* A thread of the host's own, which ends what keeps the program alive. */
    worker = std::thread([alive = KeepAlive(AsyncOpType::HttpRequest)] {
        thread_sleep(10 * MS);
        ran++;
    });
}
static void is_short(const char *name) {
    std::string path = __FILE__;
    FILE *file = fopen((path.substr(0, path.rfind('/') + 1) + name).c_str(), "r");
    char line[512];
    int lines = 0;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) lines++;
    fclose(file);
    CHECK(lines > 50 && lines <= 100);
}
int main() {
    is_short("dropin.hpp");
    us_random = random_seed(environment_number("GOROUTINE_TEST_SEED", 1), 0);
    for (uint64_t round = environment_number("GOROUTINE_TEST_ROUNDS", 3); round > 0; round--) {
        ran = beats = timed_out = 0;
        us_start();
        CHECK(Goroutine::current() == nullptr);
        Goroutine::spawn(program);
        __runtime_wait_for_main_goroutine();
        CHECK_EQ(ran, 102);
        CHECK(beats >= 3);
        CHECK_EQ(timed_out, 1);
        CHECK_EQ(Goroutine::active(), 0);
        worker.join();
        us_stop();
    }
    return 0;
}

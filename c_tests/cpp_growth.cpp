/* C++ on linked segments: exceptions that pass links, destructors that grow again on the way, and unwinders that see every frame. */
#include "check.h"
#include <goroutine.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <unwind.h>

static uint64_t segment_bytes() {
    void *low = nullptr, *high = nullptr;
    OK(goroutine_stack_bounds(&low, &high));
    const uint64_t here = U(__builtin_frame_address(0));
    CHECK(here > U(low) && here < U(high));
    return U(high) - U(low);
}
static uint64_t limit() { return *(volatile uint64_t *)((char *)goroutine_current() + GOROUTINE_OFFSET_STACK_LIMIT); }

struct Dive {
    int links;
    int unwound = 0;
    bool grows = false;
    std::string what = "from below";
};
static void *shallow(void *arg) {
    CHECK(segment_bytes() != 0);
    return arg;
}
/* On the way out each frame runs on the segment that it was made on, and has its limit. */
struct Frame {
    Dive &of;
    uint64_t bytes = segment_bytes(), its_limit = limit();
    ~Frame() {
        of.unwound++;
        CHECK_EQ(segment_bytes(), bytes);
        CHECK_EQ(limit(), its_limit);
        if (of.grows) CHECK(goroutine_more_stack(shallow, &of) == &of);
    }
};
static void *thrower(void *arg) {
    Dive &of = *static_cast<Dive *>(arg);
    Frame frame{of};
    if (of.links-- == 0) throw std::runtime_error(of.what);
    return goroutine_more_stack(thrower, arg);
}
static void throws_and_catches(int links, bool grows) {
    Dive of{links, 0, grows};
    const uint64_t bytes = segment_bytes(), before = limit();
    std::string caught;
    try {
        goroutine_more_stack(thrower, &of);
    } catch (const std::runtime_error &e) {
        CHECK_EQ(limit(), before);
        caught = e.what();
    }
    CHECK(caught == of.what);
    CHECK_EQ(of.unwound, links + 1);
    CHECK_EQ(segment_bytes(), bytes);
    CHECK_EQ(limit(), before);
    CHECK_EQ(std::uncaught_exceptions(), 0);
}
/* Caught in the middle: the deeper segments are off, the others stay. */
static void *catches_in_the_middle(void *arg) {
    const uint64_t bytes = segment_bytes();
    throws_and_catches(2, false);
    CHECK_EQ(segment_bytes(), bytes);
    throws_and_catches(0, true);
    return arg;
}

struct Seen {
    const void *functions[3];
    int at;
};
static _Unwind_Reason_Code look(_Unwind_Context *context, void *arg) {
    Seen &seen = *static_cast<Seen *>(arg);
    if (seen.at < 3 && _Unwind_FindEnclosingFunction(P(_Unwind_GetIP(context))) == seen.functions[seen.at]) seen.at++;
    return _URC_NO_REASON;
}
static void *inner(void *arg);
static void *middle(void *arg);
static void *outer(void *arg);
__attribute__((noinline)) static void *inner(void *arg) {
    Seen seen = {{CODE(inner), CODE(middle), CODE(outer)}, 0};
    CHECK_EQ(_Unwind_Backtrace(look, &seen), _URC_END_OF_STACK);
    CHECK_EQ(seen.at, 3);
    goroutine_yield();
    return arg;
}
__attribute__((noinline)) static void *middle(void *arg) {
    void *result = goroutine_more_stack(inner, arg);
    CHECK(segment_bytes() != 0);
    return result;
}
__attribute__((noinline)) static void *outer(void *arg) {
    void *result = goroutine_more_stack(middle, arg);
    CHECK(segment_bytes() != 0);
    return result;
}

static void *all(void *arg) {
    CHECK(outer(arg) == arg);
    for (int links = 0; links < 5; links++) {
        throws_and_catches(links, false);
        throws_and_catches(links, true);
    }
    CHECK(goroutine_more_stack(catches_in_the_middle, arg) == arg);
    return arg;
}
/* Nobody catches it inside: the promise has it. */
static void to_the_promise() {
    std::string caught;
    goroutine::future<void> future = goroutine::spawn([] {
        Dive of{3};
        goroutine_more_stack(thrower, &of);
    });
    try {
        future.get();
    } catch (const std::runtime_error &e) {
        caught = e.what();
    }
    CHECK(caught == "from below");
}

int main() {
    start_workers(2);
    for (int i = 0; i < 50; i++) goroutine_go(all, P(i));
    CHECK(run_goroutine(all, P(7)) == P(7));
    to_the_promise();
    OK(goroutine_runtime_wait(60 * SECOND));
    GoroutineStats stats;
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    CHECK(stats.segments != 0);
    CHECK_EQ(stats.segments, stats.segments_free);
    stop();
    return 0;
}

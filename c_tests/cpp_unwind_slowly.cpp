/* An exception takes the segment that it was thrown from off the chain, and the unwinder goes on there for seconds: its memory stays. */
#include "check.h"
#include <goroutine.h>

#include <atomic>
#include <stdexcept>
#include <unwind.h>

static std::atomic<int> unwinding, passed;

static GoroutineStats stats() {
    GoroutineStats stats;
    goroutine_stats_init(&stats);
    OK(goroutine_runtime_stats(&stats));
    return stats;
}
static uint64_t trimmed() { return stats().segments_trimmed; }
/* The personality of `slow_frame`: an unwinder takes its time here, until the memory of segments that were left after it had begun has gone. */
extern "C" _Unwind_Reason_Code slowly(int, _Unwind_Action actions, _Unwind_Exception_Class, _Unwind_Exception *, _Unwind_Context *) {
    if (actions & _UA_CLEANUP_PHASE) {
        const uint64_t before = trimmed(), until = now_ns() + 60 * SECOND;
        unwinding = 1;
        while (trimmed() == before) CHECK(now_ns() < until);
        passed++;
    }
    return _URC_CONTINUE_UNWIND;
}
/* (The page of a segment's header never goes.) */
static void *thrower(void *) {
    volatile char room[16384];
    room[0] = 1;
    throw std::runtime_error(room[0] ? "from a segment" : "");
}
extern "C" void *slow_frame(void *(*f)(void *), void *arg);
asm(R"(
    .text
    .globl  slow_frame
    .type   slow_frame, @function
slow_frame:
    .cfi_startproc
    .cfi_personality 0x1b, slowly
    sub     $8, %rsp
    .cfi_def_cfa_offset 16
    call    goroutine_more_stack@PLT
    add     $8, %rsp
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
    .size   slow_frame, . - slow_frame
)");

static void *throws(void *arg) {
    try {
        slow_frame(thrower, nullptr);
    } catch (const std::runtime_error &) {
        return arg;
    }
    return nullptr;
}
static void *shallow(void *arg) { return arg; }
static void *crosses(void *arg) { return goroutine_more_stack(shallow, arg); }
/* Leaves a segment while the other one unwinds: that one's memory goes. */
static void *leaves(void *arg) {
    while (!unwinding) OK(goroutine_sleep(MS));
    CHECK(crosses(arg) == arg);
    while (!passed) OK(goroutine_sleep(MS));
    return arg;
}

int main() {
    start_workers(2);
    /* Those that are new go first. */
    CHECK(run_goroutine(crosses, P(3)) == P(3));
    const uint64_t until = now_ns() + 60 * SECOND;
    while (trimmed() < stats().segments) CHECK(now_ns() < until);
    goroutine_go(leaves, P(1));
    CHECK(run_goroutine(throws, P(2)) == P(2));
    CHECK_EQ(passed.load(), 1);
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
    return 0;
}

/* For tools/cxx_links.sh: two goroutines on one worker that park inside catch blocks. As a program (-DMAIN) or a
 * plugin; with goroutine.hpp (-DHPP) or the C header alone. Prints "kept": each rethrew its own exception. "mixed":
 * another's. "refused": goroutine.hpp saw that they would not be kept. */
#ifdef HPP
#include <goroutine.hpp>
#else
#include <goroutine.h>
#endif
#include <stdint.h>
#include <stdio.h>

static int inside, own; /* one worker */

static void *catches(void *name) {
    const int mine = static_cast<int>(reinterpret_cast<intptr_t>(name));
    try {
        throw mine;
    } catch (int) {
        const bool first = inside++ == 0;
        while (inside < 2) goroutine_yield();
        if (!first) goroutine_yield(); /* the first one rethrows first, which no stack of exceptions gets right */
        try {
            throw;
        } catch (int again) {
            own += again == mine;
        }
    }
    return nullptr;
}

extern "C" __attribute__((visibility("default"))) const char *run_code() {
    GoroutineConfig config;
    GoroutinePromise *promises[2];
    goroutine_config_init(&config);
    config.workers = 1;
    if (goroutine_runtime_start(&config) != GOROUTINE_OK) return "not started";
#ifdef HPP
    try {
        if (goroutine::spawn([] { return 5; }).get() != 5) return "no 5";
        if (!goroutine::exceptions_are_kept()) return "inconsistent";
    } catch (const goroutine::error &e) {
        return e.status() == GOROUTINE_ENOSYS && !goroutine::exceptions_are_kept() ? "refused" : e.what();
    }
#endif
    for (intptr_t i = 0; i < 2; i++) promises[i] = goroutine_spawn(catches, reinterpret_cast<void *>(i + 1));
    for (auto *promise : promises) goroutine_promise_await_take(promise, GOROUTINE_FOREVER, nullptr);
    goroutine_runtime_shutdown(GOROUTINE_FOREVER);
    return own == 2 ? "kept" : "mixed";
}

#ifdef MAIN
int main() {
    return puts(run_code()) < 0;
}
#endif

/* Where goroutine.hpp's goroutines were spawned: in the function that says so, not in a template of the header's, also without optimization. */
#include "check.h"
#include <goroutine.hpp>

#include <string>

/* No inlining but what the header asks for. */
#define PLAINLY __attribute__((noinline, optimize("O0")))
#if defined(__clang__)
#undef PLAINLY
#define PLAINLY __attribute__((noinline))
#endif

static std::string dump() {
    const int fd = memfd_create("dump", 0);
    CHECK(fd >= 0);
    OK(goroutine_dump(fd));
    std::string text(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
    CHECK(pread(fd, &text[0], text.size(), 0) == static_cast<ssize_t>(text.size()));
    close(fd);
    return text;
}
static GoroutineTicket ticket;
static uint64_t parked;
static void parks() {
    OK(goroutine_park(
        [](GoroutineTicket t, void *) {
            ticket = t;
            SET(parked, 1);
            return true;
        },
        nullptr, 60 * SECOND));
}
/* The site of the goroutine that parks, which then ends. */
static uint64_t site() {
    while (GET(parked) == 0) thread_sleep(100 * US);
    const std::string text = dump();
    const size_t at = text.find("waits for its ticket"), spawned = text.find("\n    spawned at ", at);
    CHECK(at != std::string::npos && spawned != std::string::npos && spawned < text.find("\n\n", at));
    SET(parked, 0);
    goroutine_ready(ticket, GOROUTINE_OK);
    return std::stoull(text.substr(spawned + 16), nullptr, 16);
}

extern "C" {
PLAINLY void goes() { goroutine::go(parks); }
PLAINLY void goes_with_options() { goroutine::go(goroutine::options{}, parks); }
PLAINLY void spawns() { (void)goroutine::spawn(parks); }
PLAINLY void spawns_with_options() { (void)goroutine::spawn(goroutine::options{}, parks); }
PLAINLY void runs() { goroutine::run(parks); }
}

int main() {
    void (*const ALL[])() = {goes, goes_with_options, spawns, spawns_with_options, runs};
    goroutine::runtime runtime(2u);
    for (void (*f)() : ALL) {
        pthread_t thread;
        CHECK(pthread_create(
                  &thread, nullptr,
                  [](void *g) -> void * {
                      reinterpret_cast<void (*)()>(g)();
                      return nullptr;
                  },
                  reinterpret_cast<void *>(f)) == 0);
        const uint64_t is = site(), start = U(CODE(f));
        if (is <= start || is >= start + 2048) fprintf(stderr, "%#" PRIx64 " is not in %#" PRIx64 "\n", is, start);
        CHECK(is > start && is < start + 2048);
        CHECK(pthread_join(thread, nullptr) == 0);
        runtime.wait();
    }
    return 0;
}

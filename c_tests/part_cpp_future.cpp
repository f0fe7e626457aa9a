/* A second file of one program includes the header, and futures go from one to the other. */
#include "part_cpp_future.hpp"
#include "check.h"
#include <goroutine.hpp>

#include <stdexcept>

static goroutine::future<int> fails() {
    return goroutine::spawn([]() -> int { throw std::range_error("elsewhere"); });
}
void all_of_it_elsewhere() {
    CHECK(goroutine::exceptions_are_kept());
    CHECK_EQ(goroutine::spawn([] { return 3; }).get(), 3);
    try {
        fails().get();
        CHECK(!"it throws");
    } catch (const std::range_error &e) {
        CHECK(strcmp(e.what(), "elsewhere") == 0);
    }
}

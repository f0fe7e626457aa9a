// What the Boost peers share: the protocol, the size of a round and the
// percentiles. benches/peers/README.md has the protocol.
#pragma once

#include <algorithm>
#include <boost/version.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace peer {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

// How long so many operations took.
struct Took {
    nanoseconds time;
    uint64_t ops;
};
// Runs at least n operations.
using Row = std::function<Took(uint64_t n)>;
// Says how late sleepers woke, in ns; only sleep_lateness looks at the time.
using LateRow = std::function<std::vector<uint32_t>(nanoseconds time)>;

constexpr nanoseconds round_time = std::chrono::milliseconds(80);

// Results go through here: the process must not be able to drop them, and a
// wrong one must not become a figure.
inline void check(bool ok) {
    if (!ok) {
        std::fputs("peer: a result is wrong\n", stderr);
        std::abort();
    }
}

// Runs a row once; its first call (size 0) warms the row up and finds how many
// operations fill round_time.
inline double round(const Row &row, uint64_t &size) {
    for (uint64_t n = 1000; size == 0; n *= 4) {
        Took t = row(n);
        if (t.time >= round_time / 4)
            size = std::max(1.0, double(t.ops) * round_time.count() / t.time.count());
    }
    Took t = row(size);
    return double(t.time.count()) / double(t.ops);
}

// Answers requests until `quit` or the end of stdin.
inline void serve(const char *name, const std::map<std::string, Row> &rows,
                  const std::map<std::string, LateRow> &late_rows = {}) {
    std::printf("ready %s %d.%d.%d\n", name, BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000,
                BOOST_VERSION % 100);
    std::fflush(stdout);
    std::map<std::string, uint64_t> sizes;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string name;
        double seconds;
        if (!(words >> name))
            continue;
        if (name == "quit")
            return;
        if (!(words >> seconds) || seconds <= 0)
            seconds = 3;
        if (auto row = rows.find(name); row != rows.end()) {
            std::printf("%s %.2f\n", name.c_str(), round(row->second, sizes[name]));
        } else if (auto row = late_rows.find(name); row != late_rows.end()) {
            std::vector<uint32_t> late = row->second(nanoseconds(int64_t(seconds * 1e9)));
            std::sort(late.begin(), late.end());
            auto us = [&](size_t p) { return late.at(late.size() * p / 100) / 1e3; };
            std::printf("%s %.2f %.2f\n", name.c_str(), us(50), us(99));
        } else {
            std::printf("%s unsupported\n", name.c_str());
        }
        std::fflush(stdout);
    }
}

} // namespace peer

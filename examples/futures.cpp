/* The program of docs/cpp.md: goroutines that read from a channel, futures with types, an exception that travels. */
#include <goroutine.hpp>
#include <cstdio>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

static std::size_t count_words(const std::string &line) {
    if (line.empty()) throw std::invalid_argument("an empty line");
    std::size_t words = 1;
    for (char c : line) words += c == ' ';
    return words;
}

static std::size_t words_of(goroutine::channel<std::unique_ptr<std::string>> &lines, goroutine::mutex &mutex, std::size_t &bytes) {
    std::size_t words = 0;
    for (auto &line : lines) { // until it is closed
        words += count_words(*line);
        std::lock_guard lock(mutex);
        bytes += line->size();
    }
    return words;
}

int main() {
    goroutine::runtime runtime; // shuts down at the end of main
    goroutine::channel<std::unique_ptr<std::string>> lines(16);
    goroutine::mutex mutex;
    std::size_t bytes = 0, words = 0;
    std::vector<goroutine::future<std::size_t>> counters;
    for (int i = 0; i < 4; i++) counters.push_back(goroutine::spawn(words_of, std::ref(lines), std::ref(mutex), std::ref(bytes)));
    for (int i = 0; i < 1000; i++) lines.send(std::make_unique<std::string>("a line of six words each"));
    lines.close();
    for (auto &counter : counters) words += counter.get();
    std::printf("%zu words, %zu bytes\n", words, bytes);
    try {
        goroutine::spawn(count_words, std::string()).get(1s);
    } catch (const std::invalid_argument &e) {
        std::printf("%s\n", e.what());
    }
}

/* Prints:
6000 words, 24000 bytes
an empty line
*/

// What an exception through emitted code costs, and what registering that code costs: goroutine_code_register beside __register_frame for each function.
//
// throws WAY N: WAY is "batch", "single" (goroutine_code_register, at once or one by one) or "own". Writes ns per throw through one emitted frame,
// ns per function to register, bytes per function (of all memory, resident), ns per function to unregister.
#include "../../c_tests/code.h"

extern "C" void __register_frame(void *);
extern "C" void __deregister_frame(void *);

static const size_t EACH = 32, TABLE = 24 + 28;

static void *throws(void *arg) { throw arg; }

static double resident() {
    long all = 0, here = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != nullptr && fscanf(file, "%ld %ld", &all, &here) == 2);
    fclose(file);
    return 4096.0 * (double)here;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    bool own = strcmp(argv[1], "own") == 0, single = strcmp(argv[1], "single") == 0;
    size_t n = strtoul(argv[2], nullptr, 10), used = 0;
    size_t code_bytes = (n * EACH + 4095) / 4096 * 4096;
    Emit e = emit_begin(code_bytes + n * (TABLE + 4));
    uint8_t *tables = e.code + code_bytes;
    GoroutineCode *codes = (GoroutineCode *)calloc(n, sizeof *codes);
    uint64_t *ids = (uint64_t *)calloc(n, sizeof *ids);
    CHECK(codes != nullptr && ids != nullptr);
    memset(ids, 1, n * sizeof *ids);
    e.size = code_bytes;
    for (size_t i = 0; i < n; i++) {
        e.used = i * EACH;
        size_t bytes = emit_unframed(&e, CODE(throws));
        codes[i] = code_of("a function", e.code + i * EACH, bytes, 0);
        codes[i].eh_frame = tables + used;
        codes[i].eh_frame_bytes = frames_of_unframed(tables + used, e.code + i * EACH, bytes);
        used += TABLE + (own || single ? 4 : 0); // its end
    }
    if (!own && !single) {
        for (size_t i = 0; i < n; i++) {
            codes[i].eh_frame = tables;
            codes[i].eh_frame_bytes = used;
        }
    }
    emit_end(&e);

    double before = resident();
    uint64_t start = now_ns();
    if (own) {
        for (size_t i = n; i-- != 0;) __register_frame(const_cast<void *>(codes[i].eh_frame));
    } else {
        for (size_t i = 0; i < n; i += single ? 1 : n) OK(goroutine_code_register(codes + i, single ? 1 : n, ids + i));
    }
    double registering = (double)(now_ns() - start) / (double)n;

    static int token;
    auto throw_through = [&](size_t i) {
        try {
            FN(e.code + i * EACH)(&token);
        } catch (void *caught) {
            CHECK(caught == &token);
        }
    };
    throw_through(0); // who sorts, sorts now
    double memory = (resident() - before) / (double)n;
    size_t times = 0;
    start = now_ns();
    do {
        for (int k = 0; k < 10; k++) throw_through(times++ * 7919 % n);
    } while (now_ns() - start < 200000000);
    double throwing = (double)(now_ns() - start) / (double)times;

    start = now_ns();
    size_t some = n < 1000 ? n : 1000; // all of 100,000 would take a list minutes
    for (size_t k = 0; k < some; k++) {
        size_t i = k * (n / some);
        if (own) __deregister_frame(const_cast<void *>(codes[i].eh_frame));
        else OK(goroutine_code_unregister(ids[i], SECOND));
    }
    printf("%.0f %.0f %.0f %.0f\n", throwing, registering, memory, (double)(now_ns() - start) / (double)some);
    return 0;
}

/* timeout: 240 */
/* sanitizer: fast_unwind_on_malloc=1 */
/* Exceptions through many registered functions, which lie side by side, as they come and go: the unwinder finds each at every instant. */
#include "check.h"
#include "code.h"
#include <stdexcept>
#include <vector>

extern "C" void __register_frame(void *);
extern "C" void __deregister_frame(void *);

enum { EACH = 32, TABLE = 24 + 28, PAGE = 4096, THREADS = 4 };

static void *throws(void *arg) { throw arg; }
static void throw_through(const uint8_t *code) {
    static int token;
    try {
        FN(code)(&token);
        CHECK(false);
    } catch (void *caught) {
        CHECK(caught == &token);
    }
}

/* Places for functions, one after the other, and for their tables. */
struct Places {
    Emit e;
    uint8_t *tables;
    size_t n;
    std::vector<uint64_t> ids;

    explicit Places(size_t places) : n(places), ids(places) {
        size_t code = (n * EACH + PAGE - 1) / PAGE * PAGE;
        e = emit_begin(code + n * TABLE);
        e.size = code;
        tables = e.code + code;
    }
    ~Places() { munmap(e.code, e.size + n * TABLE); }
    const uint8_t *at(size_t i) const { return e.code + i * EACH; }

    /* Emits functions at these places, which are `wide` in so many of them, and registers them at once, with one table. */
    void add(const std::vector<size_t> &which, unsigned frame = 40, size_t wide = 1) {
        std::vector<GoroutineCode> codes;
        std::vector<uint64_t> got(which.size());
        CHECK(mprotect(e.code, e.size, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
        size_t used = 0;
        uint8_t *table = tables;
        for (size_t i : which) {
            e.used = i * EACH + (wide - 1) * EACH / 2; /* in the middle of what was here */
            const uint8_t *code = e.code + e.used;
            size_t bytes = emit_with_frame(&e, CODE(throws), frame);
            used += frames_of(table + used, code, bytes, frame);
            codes.push_back(code_of("of many", code, bytes, 0));
        }
        for (auto &code : codes) {
            code.eh_frame = table;
            code.eh_frame_bytes = used;
        }
        OK(goroutine_code_register(codes.data(), codes.size(), got.data()));
        for (size_t k = 0; k < which.size(); k++) ids[which[k]] = got[k];
    }
    void remove(size_t i) {
        OK(goroutine_code_unregister(ids[i], 30 * SECOND));
        ids[i] = 0;
    }
    void throw_all(size_t step) const {
        for (size_t i = 0; i < n; i += step) {
            if (ids[i] != 0) throw_through(at(i));
        }
    }
};

static std::vector<size_t> from_to(size_t from, size_t to, size_t step = 1) {
    std::vector<size_t> all;
    for (; from < to; from += step) all.push_back(from);
    return all;
}

/* Some in the middle go, and others are where they were. */
static void one_batch(size_t n) {
    Places p(n);
    const size_t middle = n / 2, some = 400; /* less than half of a table */
    p.add(from_to(0, n));
    throw_through(p.at(0));
    throw_through(p.at(middle));
    throw_through(p.at(n - 1));
    /* Each third, then others there, with other frames. */
    for (size_t i : from_to(middle, middle + some, 3)) p.remove(i);
    p.throw_all(7);
    p.add(from_to(middle, middle + some, 3), 72);
    for (size_t i = middle - 2; i < middle + some + 2; i++) throw_through(p.at(i));
    /* Two of each four, then one in the middle of the two. */
    for (size_t i : from_to(middle, middle + some, 4)) {
        p.remove(i);
        p.remove(i + 1);
    }
    p.add(from_to(middle, middle + some, 4), 56 + 32, 2);
    for (size_t i : from_to(middle, middle + some, 4)) {
        throw_through(p.at(i) + EACH / 2);
        throw_through(p.at(i + 2));
        throw_through(p.at(i + 3));
    }
    /* All of the middle, one after the other: below and above they are found. */
    for (size_t i = middle; i < middle + some; i++) {
        if (p.ids[i] != 0) p.remove(i);
        throw_through(p.at(middle - 1));
        throw_through(p.at(middle + some));
    }
    /* A page is somebody else's now, who tells the unwinder himself. */
    size_t other = (U(p.at(middle) + PAGE - 1) / PAGE * PAGE - U(p.e.code)) / EACH;
    uint8_t *table = p.tables; /* they were copied */
    memset(table, 0, TABLE + 4);
    CHECK(mprotect(p.e.code, p.e.size, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    p.e.used = other * EACH;
    frames_of_unframed(table, p.at(other), emit_unframed(&p.e, CODE(throws)));
    __register_frame(table);
    throw_through(p.at(other));
    p.throw_all(97);
    throw_through(p.at(middle + some));
    __deregister_frame(table);
    p.throw_all(97);
    for (size_t i = 0; i < n; i++) {
        if (p.ids[i] != 0) p.remove(i);
    }
}

/* As a compiler registers them that compiles each when it is called first. */
static void one_by_one(size_t n, size_t step) {
    Places p(n);
    CHECK(n % step != 0 || step == 1);
    for (size_t k = 0; k < n; k++) {
        size_t i = k * step % n;
        p.add({i});
        throw_through(p.at(i));
        throw_through(p.at(0));
    }
    p.throw_all(1);
    for (size_t k = 0; k < n; k++) p.remove(k * step % n);
}

/* ---- while neighbours come and go ---- */

static uint64_t over, thrown[THREADS];

struct Thrower {
    const Places *places;
    uint64_t *thrown;
    size_t first;
};
enum { KEPT = 64 };
static void *throw_through_kept(void *arg) {
    Thrower *t = (Thrower *)arg;
    for (size_t i = t->first; !GET(over); i = (i + KEPT) % t->places->n) {
        throw_through(t->places->at(i));
        ADD(*t->thrown, 1);
    }
    return arg;
}
static uint64_t least_thrown() {
    uint64_t least = GET(thrown[0]);
    for (auto &each : thrown) least = GET(each) < least ? GET(each) : least;
    return least;
}

static void come_and_go(size_t n) {
    Places p(n);
    std::vector<std::vector<size_t>> batches(8);
    uint64_t random = 1;
    pthread_t threads[THREADS];
    Thrower throwers[THREADS];
    p.add(from_to(0, n));
    CHECK(mprotect(p.e.code, p.e.size, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    for (size_t i = 0; i < n; i++) {
        if (i % KEPT != 0) batches[i / KEPT % batches.size()].push_back(i);
    }
    for (size_t i = 0; i < THREADS; i++) {
        throwers[i] = {&p, &thrown[i], i * (n / KEPT / THREADS) * KEPT};
        CHECK(pthread_create(&threads[i], nullptr, throw_through_kept, &throwers[i]) == 0);
    }
    while (least_thrown() < scaled(environment_number("GOROUTINE_TEST_THROWS", 40000), 50)) {
        random = random * 6364136223846793005 + 1442695040888963407;
        auto &batch = batches[(random >> 33) % batches.size()];
        if (p.ids[batch[0]] != 0) {
            for (size_t i : batch) p.remove(i);
        } else if (random >> 63 != 0) {
            p.add(batch);
        } else {
            for (size_t i : batch) p.add({i});
        }
    }
    SET(over, 1);
    for (auto &thread : threads) CHECK(pthread_join(thread, nullptr) == 0);
    p.throw_all(1);
    for (size_t i = 0; i < n; i++) {
        if (p.ids[i] != 0) p.remove(i);
    }
}

int main() {
    come_and_go(8 * 1024);
    one_by_one(scaled(100000, 20), 1);
    one_by_one(scaled(20000, 20) + 1, 7919);
    one_batch(scaled(100000, 20));
    return 0;
}

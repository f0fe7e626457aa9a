/* timeout: 240 */
/* Exceptions through emitted code, and dumps of it, while other threads register code and take it back: the tables of what stays are there all the time. */
#include "check.h"
#include "code.h"
#include <stdexcept>

static uint64_t over, thrown;
static void *throws(void *arg) { throw std::runtime_error(arg == nullptr ? "none" : "some"); }

struct Emitted {
    GoroutineFn f;
    uint64_t id;
};
static Emitted emit_throwing() {
    Emit e = emit_beside_table();
    Emitted emitted;
    size_t bytes = emit_unframed(&e, CODE(throws));
    GoroutineCode code = code_of("throwing", e.code, bytes, 0);
    code.eh_frame = table_beside(&e);
    code.eh_frame_bytes = frames_of_unframed(table_beside(&e), e.code, bytes);
    emitted.f = FN(e.code);
    emit_end(&e);
    OK(goroutine_code_register(&code, 1, &emitted.id));
    return emitted;
}
static void *registers(void *arg) {
    while (!GET(over)) {
        Emitted some[5];
        for (auto &one : some) one = emit_throwing();
        for (auto &one : some) OK(goroutine_code_unregister(one.id, 30 * SECOND));
    }
    return arg;
}
static GoroutineFn kept;
static void *catches(void *arg) {
    while (!GET(over)) {
        try {
            kept(arg);
            CHECK(false);
        } catch (const std::runtime_error &) {
            ADD(thrown, 1);
        }
        if (GET(thrown) % 8 == 0) OK(goroutine_sleep(US)); /* parked, so that it is seen to be out of what leaves */
    }
    return arg;
}

int main() {
    GoroutinePromise *all[3];
    pthread_t thread;
    void *value;
    Emitted emitted = emit_throwing();
    kept = emitted.f;
    start_workers(2);
    CHECK(pthread_create(&thread, nullptr, registers, nullptr) == 0);
    for (auto &one : all) CHECK((one = goroutine_spawn(catches, nullptr)) != nullptr);
    while (GET(thrown) < scaled(environment_number("GOROUTINE_TEST_THROWS", 300000), 50)) thread_sleep(MS);
    SET(over, 1);
    for (auto &one : all) OK(goroutine_promise_await_take(one, 60 * SECOND, &value));
    CHECK(pthread_join(thread, nullptr) == 0);
    OK(goroutine_code_unregister(emitted.id, 30 * SECOND));
    stop();
    return 0;
}

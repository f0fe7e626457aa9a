/* Two workers that never run dry: who got many goroutines that go on and on gives some to who got few. */
#include "check.h"

#define MANY 400

static uint32_t quit, spawned, kept, elsewhere;

/* Keeps its worker until all are spawned on the other one, then yields alone: that worker has something to run, always. */
static void *keeps_a_worker(void *arg) {
    SET(kept, thread_id());
    while (!GET(spawned)) {
    }
    while (!GET(quit)) goroutine_yield();
    return arg;
}

static void *goes_on(void *arg) {
    bool seen = false;
    while (!GET(quit)) {
        if (!seen && GET(spawned) && (uint32_t)thread_id() == GET(kept)) {
            seen = true;
            ADD(elsewhere, 1);
        }
        goroutine_yield();
    }
    return arg;
}

/* Ends with the runner's time-out if the others stay where they are. */
static void *spawns(void *arg) {
    GoroutinePromise *busy = goroutine_spawn(keeps_a_worker, NULL), *many[MANY];
    int i;
    while (GET(kept) == 0) goroutine_yield();
    CHECK(GET(kept) != (uint32_t)thread_id());
    for (i = 0; i < MANY; i++) many[i] = goroutine_spawn(goes_on, NULL);
    SET(spawned, 1);
    while (GET(elsewhere) < MANY / 4) goroutine_yield();
    SET(quit, 1);
    for (i = 0; i < MANY; i++) OK(goroutine_promise_await_take(many[i], 60 * SECOND, NULL));
    OK(goroutine_promise_await_take(busy, 60 * SECOND, NULL));
    return arg;
}

int main(void) {
    start_workers(2);
    run_goroutine(spawns, NULL);
    stop();
    return 0;
}

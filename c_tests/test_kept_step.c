/* timeout: 120 */
/* A close, when no call on the descriptor is under way or will be, is over when goroutine_close returns. The victim, whose last call was on
 * ends[0], makes one on another descriptor, and is stopped in it before each instruction; the rival closes ends[0]. */
#include "check.h"
#include "net.h"
#include "step.h"
static int ends[2], others[2], ready, go;
static void *victim(void *arg) {
    CHECK_EQ(goroutine_write(ends[0], "a", 1), 1);
    CHECK_EQ(goroutine_write(others[0], "a", 1), 1); /* pages */
    CHECK_EQ(goroutine_write(ends[0], "a", 1), 1);
    SET(ready, 1);
    while (!GET(go)) {
    }
    step_begin();
    goroutine_write(others[0], "a", 1);
    step_end();
    return arg;
}
int main(void) {
    uint32_t at = 1;
    bool stopped = true;
    int late = 0, first = 0, waits = 0;
    step_init();
    start_workers(2);
    while (stopped) {
        GoroutinePromise *p;
        bool open;
        step_reset(at);
        SET(ready, 0), SET(go, 0);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, others) == 0);
        p = goroutine_spawn(victim, NULL);
        while (!GET(ready)) sched_yield();
        SET(go, 1);
        while (GET(step_stopped) == 0 && GET(step_over) == 0) sched_yield();
        stopped = GET(step_stopped) != 0;
        CHECK_EQ(goroutine_close(ends[0]), 0);
        open = fcntl(ends[0], F_GETFD) >= 0;
        if (stopped && GET(step_impatient) != 0) waits++; /* the victim was inside the gate: the close waited for it */
        if (open) {
            if (late++ == 0) first = (int)at;
        }
        SET(step_goes_on, 1u);
        OK(goroutine_promise_await_take(p, 60 * SECOND, NULL));
        CHECK_EQ(goroutine_close(others[0]), 0);
        CHECK(close(ends[1]) == 0 && close(others[1]) == 0);
        at++;
    }
    fprintf(stderr, "%u instructions; at %d of them (first: %d) the number was still open after its close; at %d the close waited\n", at, late, first, waits);
    CHECK_EQ(late, 0);
    stop();
    return 0;
}

/* Timers: once, periodic, stopped; an await that times out, a sleep that is cancelled. */
#include <goroutine.h>
#include <stdio.h>

#define MS 1000000u

static int64_t periodic;
static int ticks;

/* Runs in a goroutine of its own, so it may park; runs of one timer never overlap. */
static void *tick(void *unused) {
    (void)unused;
    printf("tick %d\n", ++ticks);
    if (ticks == 3) goroutine_timer_stop(periodic);
    return NULL;
}

static void *say(void *text) {
    printf("%s\n", (const char *)text);
    return NULL;
}

static void *sleeper(void *unused) {
    (void)unused;
    return (void *)goroutine_status_name(goroutine_sleep(3600000ull * MS));
}

static void *program(void *unused) {
    (void)unused;
    int64_t once = goroutine_timer_start(500 * MS, 0, say, "500 ms have passed");
    int64_t never = goroutine_timer_start(3600000ull * MS, 0, say, "an hour has passed");
    periodic = goroutine_timer_start(10 * MS, 10 * MS, tick, NULL);
    if (once < 0 || never < 0 || periodic < 0) return NULL; /* a negative id is a status */
    goroutine_sleep(1000 * MS);
    printf("stopped: %s\n", goroutine_timer_stop(never) ? "it had not fired" : "too late");

    GoroutinePromise *promise = goroutine_spawn(sleeper, NULL);
    void *value = NULL;
    GoroutineStatus status = goroutine_promise_await(promise, 5 * MS, &value);
    printf("await: %s\n", goroutine_status_name(status));
    goroutine_cancel(promise);
    status = goroutine_promise_await_take(promise, GOROUTINE_FOREVER, &value);
    printf("await: %s, its sleep: %s\n", goroutine_status_name(status), (const char *)value);
    return NULL;
}

int main(void) {
    /* Gives back control once no goroutine and no timer is left. */
    return goroutine_runtime_run(program, NULL, NULL) != GOROUTINE_OK;
}

/* Prints:
tick 1
tick 2
tick 3
500 ms have passed
stopped: it had not fired
await: GOROUTINE_ETIMEDOUT
await: GOROUTINE_OK, its sleep: GOROUTINE_ECANCELED
*/

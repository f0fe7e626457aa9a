/* errno belongs to the goroutine: kept across every park, yield and migration, and 0 at its start. */
#include "check.h"

static uint64_t migrations;

/* Read where the thread's errno is now: a compiler may keep errno's address across a call, and we may have moved. */
static __attribute__((noinline)) int get_errno(void) { return errno; }
static __attribute__((noinline)) void set_errno(int value) { errno = value; }

static bool spoil_and_ready(GoroutineTicket ticket, void *arg) {
    set_errno(9999); /* the thread's, while it runs the commit */
    goroutine_ready(ticket, 0);
    return arg == NULL;
}
static void *keep(void *arg) {
    static const int WIDE[] = {0, 1, 133, 4095, 65534, 65535, 65536, 1 << 20, -1, INT32_MIN, INT32_MAX};
    uint64_t random = random_seed(5, U(arg));
    int thread = thread_id(), i, n = (int)scaled(2000, 20);
    CHECK_EQ(get_errno(), 0);
    for (i = 0; i < n; i++) {
        int value = i % 10 == 0 ? WIDE[random_next(&random) % 11] : i % 3 == 0 ? (int)U(arg) : (int)(random_next(&random) % 200);
        set_errno(value);
        switch (random_next(&random) % 32) {
        case 0: goroutine_sleep(random_next(&random) % (20 * US)); break;
        case 1: goroutine_park(spoil_and_ready, NULL, GOROUTINE_FOREVER); break;
        case 2: goroutine_park(spoil_and_ready, P(1), SECOND); break;
        case 3: goroutine_safepoint_full(); break;
        default: goroutine_yield();
        }
        CHECK_EQ(get_errno(), value);
        if (thread_id() != thread) {
            thread = thread_id();
            ADD(migrations, 1);
        }
    }
    set_errno(77); /* and the next one on this stack starts with 0 */
    return NULL;
}
int main(void) {
    uint32_t workers;
    for (workers = 1; workers <= 4; workers *= 2) {
        uint64_t i;
        migrations = 0;
        start_workers(workers);
        set_errno(55);
        for (i = 0; i < 100; i++) OK(goroutine_go(keep, P(i)));
        OK(goroutine_runtime_wait(60 * SECOND));
        fprintf(stderr, "%u workers: %" PRIu64 " migrations\n", workers, migrations);
        stop();
    }
    return 0;
}

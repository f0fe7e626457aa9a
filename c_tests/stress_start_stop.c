/* timeout: 600 */
/* A runtime that is stopped while its workers are about to sleep for the first time: 20,000 times, each in a process of its own, from 0 to 400 us after the start. (A stop
 * that woke a worker before it took it out of the set of sleepers let that one wait for ever, one time in 10,000.) */
#include "check.h"

static void starts_and_stops(uint64_t after) {
    uint64_t until;
    OK(goroutine_runtime_start(NULL));
    for (until = now_ns() + after; now_ns() < until;) {
    }
    OK(goroutine_runtime_shutdown(10 * SECOND));
}

int main(void) {
    uint64_t i;
    for (i = 0; i < scaled(20000, 50); i++) {
        int status;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            starts_and_stops(i % 400 * US);
            _exit(0);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
    }
    return 0;
}

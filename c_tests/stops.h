/* As step.h, for several threads, each of which is stopped at moments of its own: before an instruction (by count) or before a system call (by number). */
#ifndef STOPS_H
#define STOPS_H

#include "step.h"
#include <fcntl.h>
#include <sys/socket.h>

enum { STOPS = 2 };
typedef struct Stop {
    long call;      /* a system call's number, -1: any; -2: by count */
    uint32_t count; /* the so manieth instruction since the role began */
} Stop;
typedef struct Role {
    Stop stops[STOPS];
    uint32_t n, now, seen, goes_on, over;
    uint32_t count;
} Role;

static __thread Role *volatile role;

static void stops_trap(int signal, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    Role *r = role;
    const int saved = errno;
    bool hit;
    const Stop *stop;
    (void)signal;
    (void)info;
    if (r == NULL || GET(r->over) != 0 || r->now >= r->n) {
        registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
        errno = saved;
        return;
    }
    r->count++;
    stop = &r->stops[r->now];
    hit = stop->call == -2 ? r->count >= stop->count
                           : step_is_call((uint64_t)registers[REG_RIP]) && (stop->call == -1 || stop->call == (long)registers[REG_RAX]);
    if (hit) {
        r->now++;
        SET(r->seen, r->now);
        while (GET(r->goes_on) < r->now) sched_yield();
        if (r->now >= r->n) registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    }
    errno = saved;
}
static inline void stops_init(void) { trap_with(stops_trap); }
static inline void stops_begin(Role *r) {
    role = r;
    trap_on();
}
static inline void stops_end(Role *r) {
    SET(r->over, 1u);
    trap_off();
    role = NULL;
}
/* Until it has come to its n-th stop, or is over, or `patience` is. True: it stands there. */
static inline bool stops_await(Role *r, uint32_t n, uint64_t patience) {
    const uint64_t end = now_ns() + patience;
    while (GET(r->seen) < n && GET(r->over) == 0 && now_ns() < end) sched_yield();
    return GET(r->seen) >= n;
}
static inline void stops_go(Role *r, uint32_t n) { SET(r->goes_on, n); }
static inline void stops_never(Role *r) { SET(r->goes_on, 1000u); }

/* ---- the victim: its descriptor is biased to its worker, and it makes a call on it ---- */

enum { EARNED = 600 }; /* calls in a row: more than enough */
static char some[EARNED + 1];
static int fd, ready, go;
static Role victim_role;
static int64_t victim_got;

static inline void *victim(void *arg) {
    int i;
    char c;
    for (i = 0; i < EARNED; i++) CHECK_EQ(goroutine_read(fd, &c, 1), 1);
    SET(ready, 1);
    while (!GET(go)) {
    }
    stops_begin(&victim_role);
    victim_got = goroutine_read(fd, &c, 1);
    stops_end(&victim_role);
    return arg;
}
/* `bytes` lie in `ends[0]`, EARNED or one more. It stands before its system call. */
static inline GoroutinePromise *victim_in_a_call(int ends[2], size_t bytes) {
    GoroutinePromise *promise;
    victim_role.stops[0].call = -1;
    SET(ready, 0), SET(go, 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK_EQ(write(ends[1], some, bytes), (ssize_t)bytes);
    fd = ends[0];
    promise = spawn_as("victim", victim, NULL, GOROUTINE_SPAWN_PINNED);
    while (!GET(ready)) sched_yield();
    SET(go, 1);
    CHECK(stops_await(&victim_role, 1, 5 * SECOND));
    return promise;
}

#endif

/* Several threads, each of which is stopped at moments of its own: before an instruction (by count) or before a system call (by number). */
#ifndef STOPS_H
#define STOPS_H

#include "check.h"
#include <fcntl.h>
#include <sched.h>

enum { TRAP_BIT = 0x100, STOPS = 3 };
typedef struct Stop {
    long call;      /* a system call's number, -1: any; -2: by count */
    uint32_t count; /* the so manieth instruction since the role began */
} Stop;
typedef struct Role {
    Stop stops[STOPS];
    uint32_t n, now, seen, goes_on, over;
    uint32_t count;
    uint64_t ip[STOPS];
} Role;

static __thread Role *volatile role;

static void stops_trap(int signal, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    Role *r = role;
    const int saved = errno;
    const unsigned char *ip = (const unsigned char *)(uintptr_t)registers[REG_RIP];
    bool hit;
    const Stop *stop;
    (void)signal;
    (void)info;
    if (r == NULL || GET(r->over) != 0 || r->now >= r->n) {
        registers[REG_EFL] &= ~(greg_t)TRAP_BIT;
        errno = saved;
        return;
    }
    r->count++;
    stop = &r->stops[r->now];
    hit = stop->call == -2 ? r->count >= stop->count
                           : ip[0] == 0x0f && ip[1] == 0x05 && (stop->call == -1 || stop->call == (long)registers[REG_RAX]);
    if (hit) {
        r->ip[r->now] = (uint64_t)registers[REG_RIP];
        r->now++;
        SET(r->seen, r->now);
        while (GET(r->goes_on) < r->now) sched_yield();
        if (r->now >= r->n) registers[REG_EFL] &= ~(greg_t)TRAP_BIT;
    }
    errno = saved;
}
static inline void stops_init(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = stops_trap;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
}
static inline void stops_begin(Role *r) {
    role = r;
    __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
}
static inline void stops_end(Role *r) {
    SET(r->over, 1u);
    __asm__ volatile("pushfq\n\tandq $-0x101, (%%rsp)\n\tpopfq" ::: "memory", "cc");
    role = NULL;
}
/* Until it has come to its n-th stop, or is over, or 2 s have passed. True: it stands there. */
static inline bool stops_await(Role *r, uint32_t n, uint64_t patience) {
    const uint64_t end = now_ns() + patience;
    while (GET(r->seen) < n && GET(r->over) == 0 && now_ns() < end) sched_yield();
    return GET(r->seen) >= n;
}
static inline void stops_go(Role *r, uint32_t n) { SET(r->goes_on, n); }
static inline void stops_never(Role *r) { SET(r->goes_on, 1000u); }

#endif

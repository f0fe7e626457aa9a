/* Interleavings, one by one. A thread (the victim) does something instruction by instruction, by the processor's trap flag, and is
 * stopped before the k-th instruction, until another one (the rival) has done what it had to do, or waits for the victim; then the
 * same with k + 1, until the victim is over earlier, or waits. What is stopped may hold a lock: so it goes on after a while. */
#ifndef STEP_H
#define STEP_H

#include "check.h"
#include <malloc.h>
#include <sched.h>

enum { TRAP_FLAG = 0x100 };
#define STEP_PATIENCE (10 * MS)

static uint32_t step_count, step_at, step_stopped, step_goes_on, step_over, step_impatient;
static uint64_t step_ip; /* of the instruction that it stands before */
#define STEP_AT_CALL UINT32_MAX /* as `step_at`: before its first system call */

static inline bool step_is_call(uint64_t ip) { return memcmp(P(ip), "\x0f\x05", 2) == 0; }
static inline void step_trap(int signal, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs, *flags = &registers[REG_EFL];
    const int saved = errno;
    (void)signal;
    (void)info;
    if (GET(step_over) != 0) {
        *flags &= ~(greg_t)TRAP_FLAG;
    } else if (step_at == STEP_AT_CALL ? step_is_call((uint64_t)registers[REG_RIP]) : ADD(step_count, 1) >= step_at) {
        const uint64_t end = now_ns() + STEP_PATIENCE;
        *flags &= ~(greg_t)TRAP_FLAG;
        SET(step_ip, (uint64_t)registers[REG_RIP]);
        SET(step_stopped, 1u);
        while (GET(step_goes_on) == 0 && now_ns() < end) sched_yield();
        if (GET(step_goes_on) == 0) SET(step_impatient, 1u); /* the rival may be anywhere */
    }
    errno = saved;
}
static inline void trap_with(void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
}
static inline void trap_on(void) { __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc"); }
static inline void trap_off(void) { __asm__ volatile("pushfq\n\tandq $-0x101, (%%rsp)\n\tpopfq" ::: "memory", "cc"); }
static inline void step_init(void) { trap_with(step_trap); }
static inline void step_reset(uint32_t at) {
    SET(step_count, 0u);
    SET(step_at, at);
    SET(step_stopped, 0u);
    SET(step_goes_on, 0u);
    SET(step_over, 0u);
    SET(step_impatient, 0u);
}
/* The victim's, before and after. (A goroutine may begin on one thread and end on another: the handler ends it there.) */
static inline void step_begin(void) { trap_on(); }
static inline void step_end(void) {
    SET(step_over, 1u);
    trap_off();
}

/* Memory that was freed, filled with a pattern: who writes to it is seen, and who waits for a lock in it waits for ever. */
typedef struct Ashes {
    unsigned char *at;
    size_t bytes;
} Ashes;
static inline Ashes ashes_of(void *object) {
    Ashes ashes;
    ashes.at = (unsigned char *)object;
    ashes.bytes = malloc_usable_size(object);
    return ashes;
}
/* Right after the free, by the thread that called it: malloc gives it the same memory again. */
static inline void ashes_scatter(const Ashes *ashes) {
    void *others[16];
    int i, n = 0;
    while (n < 16 && (others[n] = malloc(ashes->bytes)) != ashes->at) n++;
    CHECK(n < 16);
    for (i = 0; i < n; i++) free(others[i]);
    memset(ashes->at, 0xEE, ashes->bytes);
}
static inline bool ashes_are_quiet(const Ashes *ashes) {
    size_t i;
    for (i = 0; i < ashes->bytes; i++) {
        if (ashes->at[i] != 0xEE) return false;
    }
    return true;
}

#endif

/* Emitted code keeps data below rsp, beyond the red zone, and calls nothing meanwhile: no signal handler may write there. Signals
 * come all the time, handled on the stack of the thread that they interrupt. */
#include "us.h"
#include <sys/time.h>

enum { SPINNERS = 6, WORDS = 400 }; /* 3,200 bytes below rsp */
static uint64_t signals, ended, torn;

static void on_signal(int signal) {
    volatile char scratch[2000];
    scratch[0] = scratch[sizeof scratch - 1] = (char)signal;
    ADD(signals, 1);
}
/* void *f(void *rounds): fills WORDS words below rsp, spins, looks at them. */
static void *emit_spinner(void) {
    Function f = us_begin(1);
    size_t round, spin, same[WORDS / 8];
    unsigned i;
    us_set(&f, 0, RDI);
    round = f.e.used;
    us_get(&f, RDX, 0);
    for (i = 0; i < WORDS; i += 8) emit_store(&f.e, RDX, RSP, -8 * (int32_t)(i + 1));
    us_constant(&f, RCX, 20000);
    spin = f.e.used;
    us_op_constant(&f, 5, RCX, 1);
    emit_jump_back_if(&f.e, NOT_EQUAL, spin);
    for (i = 0; i < WORDS; i += 8) {
        emit_compare(&f.e, RDX, RSP, -8 * (int32_t)(i + 1));
        same[i / 8] = emit_jump_if(&f.e, EQUAL);
        us_constant(&f, RCX, U(&torn));
        EMIT(&f.e, "\xF0\x48\xFF\x01"); /* lock inc qword [rcx] */
        emit_land(&f.e, same[i / 8]);
    }
    us_op_constant(&f, 5, RDX, 1);
    us_set(&f, 0, RDX);
    emit_jump_back_if(&f.e, NOT_EQUAL, round);
    us_count(&f, &ended);
    return us_end(&f);
}
static void *spinner;
static void *emit_main(void) {
    Function f;
    size_t loop;
    spinner = emit_spinner();
    f = us_begin(1);
    loop = us_loop(&f, 0);
    us_constant(&f, RDI, U(spinner));
    us_constant(&f, RSI, scaled(300, 10));
    US_CALL(&f, __goroutine_spawn_func_ptr);
    us_again(&f, 0, SPINNERS, loop);
    return us_end(&f);
}
static void before(void) { ended = torn = 0; }
static void check(void) {
    CHECK_EQ(ended, SPINNERS);
    CHECK_EQ(torn, 0);
}
int main(void) {
    static const Program program = {emit_main, before, check};
    struct sigaction action;
    struct itimerval every;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal; /* without SA_ONSTACK */
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGPROF, &action, NULL) == 0);
    every.it_value.tv_sec = every.it_interval.tv_sec = 0;
    every.it_value.tv_usec = every.it_interval.tv_usec = 200;
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0 && setitimer(ITIMER_PROF, &every, NULL) == 0);
    us_run(&program);
    CHECK(GET(signals) > 0);
    return 0;
}

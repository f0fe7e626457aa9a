/* setTimeout with integers and with raw doubles, setInterval that clears itself, clear: each fires as often as it should and never
 * early; with one worker in the order of their deadlines. */
#include "us.h"

enum { TIMEOUTS = 12, BEATS = 5, FAR_AWAY = 3600 * 1000 };
static struct Timeout {
    uint64_t bits; /* as emitted code passes it */
    uint64_t ns;   /* what that means */
} timeouts[TIMEOUTS];
static uint64_t started, all_set, fired[TIMEOUTS], order[TIMEOUTS], order_count, beats, first_beat, never;
static int64_t interval, cleared[4];
static void *code_of_timeout[TIMEOUTS], *code_of_beat, *code_of_never;

HOST void begin(void) { started = now_ns(); }
HOST void end(void) { all_set = now_ns(); }
HOST void fire(uint64_t i) {
    CHECK(now_ns() >= started + timeouts[i].ns);
    ADD(fired[i], 1);
    order[ADD(order_count, 1) - 1] = i;
}
HOST void beat(void) {
    if (ADD(beats, 1) == 1) first_beat = now_ns();
    CHECK(GET(beats) <= BEATS);
}
HOST void was(uint64_t i, int64_t is) { cleared[i] = is; }

static void *emit_timeout(uint64_t i) {
    Function f = us_begin(0);
    us_constant(&f, RDI, i);
    US_CALL(&f, fire);
    return us_end(&f);
}
/* An interval that ends itself after some beats; its id is where the setter put it. */
static void *emit_beat(void) {
    Function f = us_begin(0);
    size_t more;
    US_CALL(&f, beat);
    us_constant(&f, RCX, U(&beats));
    emit_load(&f.e, RCX, RCX, 0);
    us_op_constant(&f, 7, RCX, BEATS);
    more = emit_jump_if(&f.e, LESS);
    us_constant(&f, RDI, U(&interval));
    emit_load(&f.e, RDI, RDI, 0);
    US_CALL(&f, __gots_clear_interval);
    us_constant(&f, RDI, 2);
    EMIT(&f.e, "\x0F\xB6\xF0"); /* movzx esi, al */
    US_CALL(&f, was);
    emit_land(&f.e, more);
    return us_end(&f);
}
static void *emit_never(void) {
    Function f = us_begin(0);
    us_count(&f, &never);
    return us_end(&f);
}
static void *emit_main(void) {
    static const double AS_DOUBLE[6] = {2.5, 0.0, 11.0, 1e-300, 6.25, -3.0};
    static const int64_t AS_INTEGER[6] = {0, 1, 20, 7, -5, 12};
    Function f;
    unsigned i;
    code_of_beat = emit_beat();
    code_of_never = emit_never();
    for (i = 0; i < TIMEOUTS; i++) {
        double ms = i % 2 == 0 ? AS_DOUBLE[i / 2] : (double)AS_INTEGER[i / 2];
        memcpy(&timeouts[i].bits, &ms, 8);
        if (i % 2 != 0) timeouts[i].bits = (uint64_t)AS_INTEGER[i / 2];
        timeouts[i].ns = ms <= 0 ? 0 : (uint64_t)(ms * 1e6);
        code_of_timeout[i] = emit_timeout(i);
    }
    f = us_begin(1);
    US_CALL(&f, begin);
    us_constant(&f, RDI, U(code_of_beat));
    us_constant(&f, RSI, 2);
    us_call(&f, us_below(2) ? CODE(__gots_set_interval) : CODE(__gots_set_interval_v2));
    us_constant(&f, RCX, U(&interval));
    emit_store(&f.e, RAX, RCX, 0);
    for (i = 0; i < TIMEOUTS; i++) {
        us_constant(&f, RDI, U(code_of_timeout[i]));
        us_constant(&f, RSI, timeouts[i].bits);
        us_call(&f, us_below(2) ? CODE(__gots_set_timeout) : CODE(__gots_set_timeout_v2));
    }
    for (i = 0; i < 2; i++) {
        us_constant(&f, RDI, U(code_of_never));
        us_constant(&f, RSI, FAR_AWAY);
        us_call(&f, i == 0 ? CODE(__gots_set_timeout) : CODE(__gots_set_interval));
        us_set(&f, 0, RAX);
        us_move(&f, RDI, RAX);
        us_call(&f, i == 0 ? CODE(__gots_clear_timeout) : CODE(__gots_clear_interval_v2));
        us_constant(&f, RDI, i);
        EMIT(&f.e, "\x0F\xB6\xF0");
        US_CALL(&f, was);
        us_get(&f, RDI, 0); /* it is gone */
        US_CALL(&f, __gots_clear_timeout_v2);
        us_constant(&f, RDI, 3);
        EMIT(&f.e, "\x0F\xB6\xF0");
        US_CALL(&f, was);
    }
    US_CALL(&f, end);
    return us_end(&f);
}
static void before(void) {
    order_count = beats = never = 0;
    interval = 0;
    memset(fired, 0, sizeof fired);
    cleared[0] = cleared[1] = cleared[2] = cleared[3] = -1;
}
/* Ids are of one kind: what goroutine_timer_start began, for its argument, is cleared as any other, and the other way round. */
static void mixed(void) {
    int64_t id = goroutine_timer_start(FAR_AWAY * MS, 0, FN(code_of_never), P(1));
    CHECK(id > 0 && __gots_clear_timeout(id) && !goroutine_timer_stop(id));
    id = goroutine_timer_start(FAR_AWAY * MS, MS, FN(code_of_never), P(1));
    CHECK(id > 0 && __gots_clear_interval(id) && !__gots_clear_timeout(id));
    id = __gots_set_interval(code_of_never, FAR_AWAY);
    CHECK(id > 0 && goroutine_timer_stop(id) && !__gots_clear_interval(id));
}
static void check(void) {
    unsigned i;
    for (i = 0; i < TIMEOUTS; i++) CHECK_EQ(fired[i], 1);
    CHECK_EQ(beats, BEATS);
    CHECK(first_beat >= started + 2 * MS);
    CHECK(now_ns() >= started + 2 * MS * BEATS); /* the grid: no beat comes early */
    CHECK_EQ(never, 0);
    CHECK(cleared[0] == 1 && cleared[1] == 1 && cleared[2] == 1 && cleared[3] == 0);
    CHECK(!__gots_clear_interval(interval));
    mixed();
    if (us_stats().workers != 1) return;
    /* They were not all set at the same moment: the order is certain where their delays differ by more than that. */
    for (i = 1; i < TIMEOUTS; i++) CHECK(timeouts[order[i - 1]].ns <= timeouts[order[i]].ns + (all_set - started) + MS);
}
int main(void) {
    static const Program program = {emit_main, before, check};
    return us_run(&program);
}

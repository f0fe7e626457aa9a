/* A recursive lock that 1,000 goroutines want, some by trying, some for a while only: who has it is alone, also across a park and a
 * sleep, until it has unlocked as often as it locked. Plain threads want it, too. */
#include "us.h"

enum { GOROUTINES = 1000, TURNS = 4, THREADS = 2, THREAD_TURNS = 50 };
static void *lock;
static uint64_t total, inside, most_inside, ended, not_mine, still_mine, refused;

HOST void enter(void) {
    uint64_t now = ADD(inside, 1);
    if (now > most_inside) most_inside = now;
}
HOST void leave(void) { ADD(inside, (uint64_t)-1); }

/* `if (!rax) again`: tries until it has the lock. */
static void us_take(Function *f, unsigned way) {
    size_t again = f->e.used;
    us_constant(f, RDI, U(&lock));
    emit_load(&f->e, RDI, RDI, 0);
    switch (way) {
    case 0: US_CALL(f, __runtime_lock_lock); return;
    case 1: US_CALL(f, __runtime_lock_try_lock); break;
    default:
        us_constant(f, RSI, 1 + us_below(3));
        US_CALL(f, __runtime_lock_try_lock_for);
    }
    EMIT(&f->e, "\x84\xC0"); /* test al, al */
    {
        size_t taken = emit_jump_if(&f->e, NOT_EQUAL);
        us_count(f, &refused);
        us_constant(f, RDI, 1000);
        US_CALL(f, __runtime_time_sleep_nanos);
        EMIT(&f->e, "\xE9");
        emit_u32(&f->e, (uint32_t)(int32_t)((int64_t)again - (int64_t)(f->e.used + 4)));
        emit_land(&f->e, taken);
    }
}
/* lock.is_locked_by_current() must be `expected`, or `*wrong` counts. */
static void us_check_owner(Function *f, bool expected, uint64_t *wrong) {
    size_t right;
    us_constant(f, RDI, U(&lock));
    emit_load(&f->e, RDI, RDI, 0);
    US_CALL(f, __runtime_lock_is_locked_by_current);
    EMIT(&f->e, "\x84\xC0");
    right = emit_jump_if(&f->e, expected ? NOT_EQUAL : EQUAL);
    us_count(f, wrong);
    emit_land(&f->e, right);
}
static void us_unlock(Function *f) {
    us_constant(f, RDI, U(&lock));
    emit_load(&f->e, RDI, RDI, 0);
    US_CALL(f, __runtime_lock_unlock);
}
/* total = total + 1, with all the world between the load and the store. */
static void us_add_slowly(Function *f, unsigned local) {
    us_constant(f, RCX, U(&total));
    emit_load(&f->e, RAX, RCX, 0);
    us_op_constant(f, 0, RAX, 1);
    us_set(f, local, RAX);
    us_constant(f, RDI, 0);
    US_CALL(f, __runtime_time_sleep_nanos); /* others run */
    us_get(f, RAX, local);
    us_constant(f, RCX, U(&total));
    emit_store(&f->e, RAX, RCX, 0);
}
static void *emit_contender(unsigned way) {
    Function f = us_begin(2);
    size_t loop = us_loop(&f, 0);
    us_take(&f, way);
    US_CALL(&f, enter);
    us_add_slowly(&f, 1);
    us_take(&f, us_below(3) == 0 ? 1 : 0); /* again: at once */
    us_add_slowly(&f, 1);
    us_unlock(&f);
    us_check_owner(&f, true, &not_mine); /* still */
    us_add_slowly(&f, 1);
    US_CALL(&f, leave);
    us_unlock(&f);
    us_check_owner(&f, false, &still_mine);
    us_again(&f, 0, TURNS, loop);
    us_count(&f, &ended);
    return us_end(&f);
}
static void *emit_main(void) {
    void *contenders[4];
    Function f;
    size_t loop;
    unsigned i;
    for (i = 0; i < 4; i++) contenders[i] = emit_contender(i % 3);
    f = us_begin(1);
    US_CALL(&f, __runtime_lock_create);
    us_constant(&f, RCX, U(&lock));
    emit_store(&f.e, RAX, RCX, 0);
    loop = us_loop(&f, 0);
    for (i = 0; i < 4; i++) {
        us_constant(&f, RDI, U(contenders[i]));
        US_CALL(&f, __runtime_spawn_goroutine);
    }
    us_again(&f, 0, GOROUTINES / 4, loop);
    return us_end(&f);
}
static pthread_t threads[THREADS];
static void *thread_contender(void *unused) {
    uint64_t i;
    void *its;
    while ((its = __atomic_load_n(&lock, __ATOMIC_SEQ_CST)) == NULL) thread_sleep(20 * US);
    for (i = 0; i < THREAD_TURNS; i++) {
        __runtime_lock_lock(its);
        enter();
        CHECK(__runtime_lock_try_lock(its) && __runtime_lock_is_locked_by_current(its));
        total++;
        __runtime_lock_unlock(its);
        total++;
        leave();
        __runtime_lock_unlock(its);
        CHECK(!__runtime_lock_is_locked_by_current(its));
    }
    return unused;
}
static void before(void) {
    unsigned i;
    lock = NULL;
    total = inside = most_inside = ended = not_mine = still_mine = refused = 0;
    for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, thread_contender, NULL) == 0);
}
static void check(void) {
    unsigned i;
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(ended, GOROUTINES);
    CHECK_EQ(total, GOROUTINES * TURNS * 3 + THREADS * THREAD_TURNS * 2);
    CHECK(inside == 0 && most_inside == 1);
    CHECK(not_mine == 0 && still_mine == 0);
    __runtime_lock_destroy(lock);
}
/* One that ends with the lock in its hands, cancelled in the middle: the next one gets it, at once. */
static void *ends_with_it(void *unused) {
    __runtime_lock_lock(lock);
    __runtime_time_sleep_millis(3600 * 1000);
    CHECK(false); /* a cancelled sleep does not come back */
    return unused;
}
static void abandoned(void) {
    void *handle;
    us_start();
    lock = __runtime_lock_create();
    handle = __goroutine_spawn_func_ptr(CODE(ends_with_it), NULL);
    while (__runtime_lock_try_lock(lock)) {
        __runtime_lock_unlock(lock);
        thread_sleep(100 * US);
    }
    OK(goroutine_cancel((GoroutinePromise *)handle));
    CHECK(__runtime_lock_try_lock_for(lock, 30000));
    CHECK_EQ(goroutine_promise_await((GoroutinePromise *)handle, 30 * SECOND, NULL), GOROUTINE_ECANCELED);
    __runtime_lock_unlock(lock);
    __runtime_lock_destroy(lock);
    us_stop();
}
int main(void) {
    static const Program program = {emit_main, before, check};
    us_run(&program);
    abandoned();
    return 0;
}

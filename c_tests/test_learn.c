/* GOROUTINE_CONFIG_LEARN_STACKS: the stack that a function's goroutines use is there before the next one runs; not that of a function which
 * uses little; nothing without the flag; and what is learned follows what they do. */
#include "check.h"
#include <linux/perf_event.h>

enum { PAGE = 4096, MOST = 40, BATCH = 400 };

static void start_with(uint32_t flags) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.flags = flags;
    config.workers = 1; /* so all of them run on one thread, and `faults` counts them all */
    OK(goroutine_runtime_start(&config));
}

/* Page faults of the thread that opened it. getrusage would count the pages of a MADV_POPULATE_WRITE, too. */
static int faults_of_thread = -1;
static uint64_t faults(void) {
    uint64_t n = 0;
    if (faults_of_thread >= 0) CHECK_EQ(read(faults_of_thread, &n, sizeof n), sizeof n);
    return n;
}
static void *opens_faults(void *unused) {
    struct perf_event_attr attributes;
    (void)unused;
    memset(&attributes, 0, sizeof attributes);
    attributes.size = sizeof attributes;
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_PAGE_FAULTS;
    attributes.exclude_kernel = 1;
    faults_of_thread = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
    if (faults_of_thread < 0) fprintf(stderr, "no perf_event_open: page faults are not counted\n");
    if (faults_of_thread >= 0 && THREADS_SANITIZED) { /* its shadow has three for one */
        close(faults_of_thread);
        faults_of_thread = -1;
    }
    return NULL;
}

/* What a batch saw: how many pages below its first frame each goroutine found there, and the faults of all. */
static uint64_t found[BATCH], faulted, began;
static GoroutineSemaphore *gate;

/* Uses so many pages, from the top down as frames do. */
static __attribute__((noinline)) void use(unsigned pages) {
    volatile char *room = (volatile char *)__builtin_alloca((size_t)pages * PAGE + 1);
    unsigned i;
    for (i = pages; i-- > 0;) room[i * PAGE] = 1;
}
static void visit(unsigned pages) {
    char here, *page = (char *)((uintptr_t)&here & ~(uintptr_t)(PAGE - 1));
    unsigned char there[MOST];
    uint64_t n, before;
    CHECK_EQ(mincore(page - MOST * PAGE, MOST * PAGE, there), 0);
    for (n = 0; n < MOST && (there[MOST - 1 - n] & 1) != 0; n++) {
    }
    before = faults();
    use(pages);
    ADD(faulted, faults() - before);
    found[ADD(began, 1) - 1] = n;
    OK(goroutine_semaphore_acquire(gate, 1, GOROUTINE_FOREVER)); /* so that each has a stack of its own */
}
static void *deep(void *unused) {
    visit(25);
    return unused;
}
static void *shallow(void *unused) {
    visit(0);
    return unused;
}
static void *changes(void *pages) {
    visit((unsigned)U(pages));
    return NULL;
}
static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* All at once, on stacks of so many bytes. A class of stacks that was not used before has none that anybody touched. */
static void batch(void *(*f)(void *), unsigned arg, uint64_t bytes) {
    GoroutinePromise *p[BATCH], *all;
    uint64_t i, n = BATCH;
    GoroutineSpawn spawn;
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(f);
    spawn.int_args[0] = arg;
    spawn.stack_bytes = bytes;
    began = faulted = 0;
    for (i = 0; i < n; i++) OK(goroutine_spawn_with(&spawn, &p[i]));
    while (GET(began) < n) OK(goroutine_sleep(MS));
    OK(goroutine_semaphore_release(gate, n));
    CHECK((all = goroutine_promise_all(p, n)) != NULL);
    OK(goroutine_promise_await(all, GOROUTINE_FOREVER, NULL));
    goroutine_promise_release(all);
    for (i = 0; i < n; i++) goroutine_promise_release(p[i]);
    qsort(found, n, sizeof *found, ascending);
    fprintf(stderr, "%" PRIu64 " goroutines: found %" PRIu64 " to %" PRIu64 " pages, median %" PRIu64 "; %.2f faults each\n", n, found[0],
            found[n - 1], found[n / 2], (double)faulted / (double)n);
}

static uint64_t median(void) { return found[BATCH / 2]; }

static void *without_the_flag(void *unused) {
    opens_faults(NULL);
    batch(deep, 0, 256 << 10);
    CHECK(found[BATCH - 1] <= 1);
    batch(deep, 0, 1 << 20);
    CHECK(found[BATCH - 1] <= 1); /* nothing was learned */
    if (faults_of_thread >= 0) CHECK(faulted >= 25 * BATCH);
    close(faults_of_thread);
    return unused;
}

static void *with_it(void *unused) {
    uint64_t at_first, few = 0;
    opens_faults(NULL);
    batch(deep, 0, 512 << 10);
    CHECK(found[BATCH - 1] <= 1); /* nothing is known before the first of them ends */
    at_first = faulted;
    batch(deep, 0, 2 << 20);
    while (few < BATCH && found[few] < 24) few++;
    CHECK(few <= BATCH / 16); /* samples: one in 64 */
    CHECK(few > 0);           /* there are samples: the dice are the same every time */
    CHECK(found[BATCH - 1] <= 27);
    if (faults_of_thread >= 0) {
        CHECK(at_first >= 25 * BATCH);
        CHECK(faulted <= 2 * BATCH);
    }

    /* Little is used: nothing comes, however often. */
    batch(shallow, 0, 4 << 20);
    batch(shallow, 0, 8 << 20);
    CHECK(found[BATCH - 1] <= 1);

    /* They used much, and do not any more. */
    batch(changes, 25, 256 << 10);
    batch(changes, 25, 16 << 20);
    CHECK(median() >= 24);
    batch(changes, 0, 256 << 10);
    batch(changes, 0, 256 << 10);
    batch(changes, 0, 32 << 20);
    CHECK(found[BATCH - 1] <= 1);
    close(faults_of_thread);
    return unused;
}

/* Goroutines that end on threads of their own are samples, too. Of a smaller stack comes no more than it has. */
static void *identity(void *arg) { return arg; }
static void *deep_and_bound(void *pages) {
    use((unsigned)U(pages));
    return execute_ffi_call(NULL, CODE(identity), pages);
}
static uint64_t there_before;
static void *looks(void *pages) {
    char here, *page = (char *)((uintptr_t)&here & ~(uintptr_t)(PAGE - 1));
    unsigned char there[10];
    unsigned i;
    CHECK_EQ(mincore(page - 10 * PAGE, 10 * PAGE, there), 0);
    for (i = 0; i < 10; i++) there_before += there[i] & 1;
    return deep_and_bound(pages);
}
static void *bound_ones(void *unused) {
    GoroutineSpawn spawn;
    GoroutinePromise *promise;
    unsigned i;
    goroutine_spawn_init(&spawn);
    spawn.fn = CODE(looks);
    spawn.stack_bytes = 64 << 20;
    spawn.int_args[0] = 500;
    for (i = 0; i < 200; i++) {
        OK(goroutine_spawn_with(&spawn, &promise));
        OK(goroutine_promise_await_take(promise, GOROUTINE_FOREVER, NULL));
    }
    spawn.stack_bytes = 128 << 10; /* 15 pages, of a class that was not used yet */
    spawn.int_args[0] = 10;
    there_before = 0;
    OK(goroutine_spawn_with(&spawn, &promise));
    OK(goroutine_promise_await_take(promise, GOROUTINE_FOREVER, NULL));
    CHECK_EQ(there_before, 10);
    return unused;
}

int main(void) {
    CHECK((gate = goroutine_semaphore_new(0)) != NULL);
    start_with(0);
    run_goroutine(without_the_flag, NULL);
    stop();
    start_with(GOROUTINE_CONFIG_LEARN_STACKS);
    run_goroutine(with_it, NULL);
    run_goroutine(bound_ones, NULL);
    stop();
    OK(goroutine_semaphore_free(gate));
    return 0;
}

/* Bad input: every function of the header with NULL, numbers out of range, in the wrong place and once too often. Each gives
 * the documented status or report. At the end the names that were tried are compared with include/goroutine.symbols. */
#include "check.h"
#include <sys/socket.h>
#include <sys/uio.h>

#include <netdb.h>
#include <stdint.h>
#include <sys/stat.h>

static const char *covered[300];
static size_t covered_count;

static void cover(const char *name) {
    size_t i;
    for (i = 0; i < covered_count; i++) {
        if (strcmp(covered[i], name) == 0) return;
    }
    CHECK(covered_count < 300);
    covered[covered_count++] = name;
}
static void row(int line, const char *name, const char *call, long long is, long long shall) {
    cover(name);
    if (is == shall) return;
    fprintf(stderr, "%s:%d: %s%s gives %lld, not %lld\n", __FILE__, line, name, call, is, shall);
    _exit(1);
}
/* ROW(function, (arguments), what it shall give) */
#define ROW(function, arguments, shall) \
    row(__LINE__, #function, #arguments, (long long)(function arguments), (long long)(shall))
/* For functions that give nothing: that they come back is all. */
#define CALL(function, arguments) \
    do { \
        cover(#function); \
        function arguments; \
    } while (0)

static const int64_t STRANGE_IDS[] = {0, -1, 1, INT64_MIN, INT64_MAX, 1ll << 53, 0x123456789, -4096};
enum { STRANGE = sizeof STRANGE_IDS / sizeof *STRANGE_IDS };

static void *same(void *arg) { return arg; }
static void *sleep_long(void *arg) {
    goroutine_sleep(GOROUTINE_FOREVER);
    return arg;
}
static void nothing_then(void *arg, GoroutineStatus status, void *value) {
    (void)arg;
    (void)status;
    (void)value;
}
static bool never(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    (void)arg;
    CHECK(!"commit is not called");
    return true;
}
static void never_range(void *arg, const Goroutine *g, const GoroutineContext *registers, const void *low, const void *high) {
    (void)arg, (void)g, (void)registers, (void)low, (void)high;
    CHECK(!"the world runs");
}
static void never_root(void *arg, void **slot) {
    (void)arg, (void)slot;
    CHECK(!"the world runs");
}
static GoroutineTicket made_up(uint64_t goroutine, uint64_t sequence) {
    GoroutineTicket ticket;
    ticket.goroutine = goroutine;
    ticket.sequence = sequence;
    return ticket;
}

static void files_and_names(void) {
    const int numbers[] = {-1, INT32_MIN, INT32_MAX, 8388607, 8388608};
    static struct stat stat_of;
    struct addrinfo *list = NULL;
    char byte = 0;
    size_t i;
    ROW(goroutine_open, (NULL, 0, 0), GOROUTINE_EINVAL);
    ROW(goroutine_open, ("", 0, 0), -ENOENT);
    ROW(goroutine_stat, (NULL, &stat_of), GOROUTINE_EINVAL);
    ROW(goroutine_stat, ("/", NULL), GOROUTINE_EINVAL);
    ROW(goroutine_fstat, (0, NULL), GOROUTINE_EINVAL);
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        ROW(goroutine_fstat, (numbers[i], &stat_of), GOROUTINE_EBADF);
        ROW(goroutine_pread, (numbers[i], &byte, 1, 0), GOROUTINE_EBADF);
        ROW(goroutine_pread, (numbers[i], &byte, 1, -1), GOROUTINE_EINVAL);
        ROW(goroutine_pwrite, (numbers[i], &byte, 1, 0), GOROUTINE_EBADF);
        ROW(goroutine_pwrite, (numbers[i], &byte, 1, INT64_MIN), GOROUTINE_EINVAL);
        ROW(goroutine_fsync, (numbers[i]), GOROUTINE_EBADF);
    }
    ROW(goroutine_getaddrinfo, ("127.0.0.1", "80", NULL, NULL, SECOND), GOROUTINE_EINVAL);
    ROW(goroutine_getaddrinfo, ("127.0.0.1", "80", NULL, &list, 0), GOROUTINE_ETIMEDOUT);
    CHECK(list == NULL);
}

/* ---- Tools ---- */
static GoroutineCode strange_code(void) {
    static uint8_t memory[64];
    GoroutineCode c;
    memset(&c, 0, sizeof c);
    c.size = sizeof c;
    c.name = "strange";
    c.code = memory;
    c.code_bytes = sizeof memory;
    return c;
}
#define NOT_REGISTERED(change) \
    do { \
        GoroutineCode c = strange_code(); \
        change; \
        ROW(goroutine_code_register, (&c, 1, &id), GOROUTINE_EINVAL); \
        CHECK_EQ(id, 7); \
    } while (0)
static void tools(void) {
    static const uint8_t damaged[3][12] = {{1, 2, 3}, {8, 0, 0, 0, 0, 0, 0, 0, 9}, {0xFF, 0xFF, 0xFF, 0xFF, 1}};
    GoroutineCode twice[2];
    uint64_t id = 7;
    int i;
    ROW(goroutine_code_register, (NULL, 0, NULL), GOROUTINE_OK);
    ROW(goroutine_code_register, (NULL, 1, &id), GOROUTINE_EINVAL);
    NOT_REGISTERED(c.size = 63);
    NOT_REGISTERED(c.size = 0);
    NOT_REGISTERED(c.flags = 2);
    NOT_REGISTERED(c.name = NULL);
    NOT_REGISTERED(c.name = "");
    NOT_REGISTERED(c.code = NULL);
    NOT_REGISTERED(c.code_bytes = 0);
    NOT_REGISTERED(c.code_bytes = UINT64_MAX);
    NOT_REGISTERED(c.code = (const void *)UINTPTR_MAX);
    NOT_REGISTERED(c.eh_frame = damaged);
    NOT_REGISTERED(c.eh_frame_bytes = 1);
    NOT_REGISTERED(c.symfile = damaged);
    NOT_REGISTERED(c.symfile_bytes = 1);
    for (i = 0; i < 3; i++) NOT_REGISTERED((c.eh_frame = damaged[i], c.eh_frame_bytes = 12));
    twice[0] = twice[1] = strange_code();
    ROW(goroutine_code_register, (twice, 2, &id), GOROUTINE_EINVAL);
    CHECK_EQ(id, 7);
    for (i = 0; i < STRANGE; i++) ROW(goroutine_code_unregister, ((uint64_t)STRANGE_IDS[i] | 1ull << 62, 0), GOROUTINE_EINVAL);
    ROW(goroutine_code_unregister, (0, GOROUTINE_FOREVER), GOROUTINE_EINVAL);
    ROW(goroutine_dump, (-1), GOROUTINE_EBADF);
    ROW(goroutine_dump, (INT32_MAX), GOROUTINE_EBADF);
    cover("goroutine_debug_layout"); /* data: tools/gdb_test.sh */
}

/* ---- What needs no runtime: the same before start, inside goroutines and after the shutdown. ---- */
static void anywhere(void) {
    static GoroutineConfig config;
    static GoroutineSpawn spawn;
    static GoroutineStats stats;
    static uint8_t stack[4096];
    static uint8_t contexts[2 * sizeof(GoroutineContext)] __attribute__((aligned(16)));
    GoroutineContext *context = (GoroutineContext *)(void *)contexts;
    int32_t i;

    ROW(goroutine_abi_version, (), GOROUTINE_ABI_VERSION);
    ROW(*goroutine_version, (), '0');
    cover("goroutine_version");
    ROW(goroutine_trace_start, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_trace_stop, (), GOROUTINE_EALREADY);
    for (i = -5000; i <= 5000; i++) {
        const char *name = goroutine_status_name(i);
        CHECK(name != NULL && (strncmp(name, "GOROUTINE_", 10) == 0 || (i < 0 && i > -134 && *name == 'E')));
        CHECK(goroutine_status_message(i) != NULL && *goroutine_status_message(i) != 0);
    }
    cover("goroutine_status_name");
    cover("goroutine_status_message");
    CHECK(strcmp(goroutine_status_name(GOROUTINE_OK), "GOROUTINE_OK") == 0);
    CHECK(strcmp(goroutine_status_name(GOROUTINE_EFFITHREADS), "GOROUTINE_EFFITHREADS") == 0);
    CHECK(strcmp(goroutine_status_name(-ECONNRESET), "ECONNRESET") == 0);
    CHECK(strcmp(goroutine_status_name(-ENOENT), "ENOENT") == 0);
    CHECK(strcmp(goroutine_status_message(-ECONNREFUSED), "Connection refused.") == 0);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
    for (i = 1; i < 134; i++) { /* all that there are, with our prefix or without */
        const char *of_system = strerrorname_np(i), *name = goroutine_status_name(-i);
        if (of_system == NULL) of_system = "GOROUTINE_UNKNOWN";
        CHECK(strcmp(strncmp(name, "GOROUTINE_E", 11) == 0 ? name + 10 : name, of_system) == 0);
    }
#endif
    CHECK(strcmp(goroutine_status_name(ECONNRESET), "GOROUTINE_UNKNOWN") == 0);
    CHECK(strcmp(goroutine_status_name(1), "GOROUTINE_UNKNOWN") == 0);
    CHECK(strcmp(goroutine_status_name(INT32_MIN), "GOROUTINE_UNKNOWN") == 0);
    CHECK(strcmp(goroutine_status_name(-4999), "GOROUTINE_UNKNOWN") == 0);
    ROW(goroutine_tls_offset, (), goroutine_tls_offset());

    CALL(goroutine_config_init_sized, (NULL, sizeof config));
    CALL(goroutine_spawn_init_sized, (NULL, sizeof spawn));
    CALL(goroutine_stats_init_sized, (NULL, sizeof stats));
    /* Not a byte past the size that the caller knows. */
    memset(&config, 0xAB, sizeof config);
    goroutine_config_init_sized(&config, 40);
    CHECK_EQ(config.size, 40);
    CHECK_EQ(((uint8_t *)&config)[40], 0xAB);
    memset(&spawn, 0xAB, sizeof spawn);
    goroutine_spawn_init_sized(&spawn, 64);
    CHECK_EQ(spawn.size, 64);
    CHECK_EQ(((uint8_t *)&spawn)[64], 0xAB);
    memset(&stats, 0xAB, sizeof stats);
    goroutine_stats_init_sized(&stats, 16);
    CHECK_EQ(stats.size, 16);
    CHECK_EQ(((uint8_t *)&stats)[16], 0xAB);
    memset(&config, 0xAB, sizeof config);
    goroutine_config_init_sized(&config, 0);
    goroutine_config_init_sized(&config, 3);
    CHECK_EQ(((uint8_t *)&config)[0], 0xAB);

    tools();
    ROW(goroutine_runtime_stats, (NULL), GOROUTINE_EINVAL);
    stats.size = 0;
    ROW(goroutine_runtime_stats, (&stats), GOROUTINE_EINVAL);
    stats.size = 7;
    ROW(goroutine_runtime_stats, (&stats), GOROUTINE_EINVAL);
    memset(&stats, 0xAB, sizeof stats);
    stats.size = 16;
    ROW(goroutine_runtime_stats, (&stats), GOROUTINE_OK);
    CHECK_EQ(((uint8_t *)&stats)[16], 0xAB);

    ROW(goroutine_context_init, (NULL, stack, sizeof stack, same, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_context_init, (context, NULL, sizeof stack, same, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_context_init, (context, stack, 1023, same, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_context_init, (context, stack, 0, same, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_context_init, (context, stack, sizeof stack, NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_context_init, ((GoroutineContext *)(void *)(contexts + 8), stack, sizeof stack, same, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_context_init, (context, stack, sizeof stack, same, NULL), GOROUTINE_OK);

    ROW(goroutine_id, (NULL), 0);
    ROW(goroutine_spawn, (NULL, P(1)), NULL);
    ROW(goroutine_go, (NULL, P(1)), GOROUTINE_EINVAL);
    ROW(goroutine_spawn_with, (NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_cancel, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_timer_start, (1, 1, NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_timer_start_with, (1, 1, NULL, NULL, 0), GOROUTINE_EINVAL);
    ROW(goroutine_runtime_run, (NULL, NULL, NULL), GOROUTINE_EINVAL);
    files_and_names();
    for (i = 0; i < STRANGE; i++) {
        int64_t id = STRANGE_IDS[i];
        ROW(goroutine_timer_stop, (id), false);
        ROW(goroutine_async_complete, (id, NULL), GOROUTINE_EINVAL);
        ROW(goroutine_async_cancel, (id), GOROUTINE_EINVAL);
        ROW(goroutine_async_await, (id, 0, NULL), GOROUTINE_EINVAL);
        ROW(goroutine_async_await, (id, GOROUTINE_FOREVER, NULL), GOROUTINE_EINVAL);
        CALL(goroutine_ready, (made_up((uint64_t)id, (uint64_t)id), -1));
        CALL(goroutine_ready, (made_up(U(stack), (uint64_t)id), -1));
    }
    ROW(goroutine_async_begin, (5, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_async_begin, (UINT32_MAX, NULL), GOROUTINE_EINVAL);
}

static void promises(void) {
    GoroutinePromise *resolved = goroutine_promise_new();
    GoroutinePromise *rejected = goroutine_promise_new_with(NULL);
    GoroutinePromise *list[3];
    void *value = P(5);
    cover("goroutine_promise_new");
    cover("goroutine_promise_new_with");
    CHECK(resolved != NULL && rejected != NULL);

    CALL(goroutine_promise_retain, (NULL));
    CALL(goroutine_promise_release, (NULL));
    ROW(goroutine_promise_resolve, (NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_promise_reject, (NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_promise_await, (NULL, 0, &value), GOROUTINE_EINVAL);
    ROW(goroutine_promise_await, (NULL, GOROUTINE_FOREVER, &value), GOROUTINE_EINVAL);
    ROW(goroutine_promise_await_take, (NULL, 0, &value), GOROUTINE_EINVAL);
    ROW(goroutine_promise_then, (NULL, nothing_then, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_promise_then, (resolved, NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_cancel, (resolved), GOROUTINE_EINVAL); /* a promise without a goroutine */
    ROW(goroutine_promise_await, (resolved, 0, &value), GOROUTINE_EAGAIN);
    ROW(goroutine_promise_await, (resolved, 1, &value), GOROUTINE_ETIMEDOUT);
    ROW(goroutine_promise_resolve, (resolved, P(1)), GOROUTINE_OK);
    ROW(goroutine_promise_resolve, (resolved, P(2)), GOROUTINE_EALREADY);
    ROW(goroutine_promise_reject, (resolved, P(2)), GOROUTINE_EALREADY);
    ROW(goroutine_promise_reject, (rejected, P(3)), GOROUTINE_OK);
    ROW(goroutine_promise_resolve, (rejected, P(4)), GOROUTINE_EALREADY);
    CHECK_EQ(U(value), 5); /* nothing was written so far */
    ROW(goroutine_promise_await, (resolved, 0, NULL), GOROUTINE_OK);
    ROW(goroutine_promise_await, (rejected, 0, NULL), GOROUTINE_EREJECTED);
    ROW(goroutine_promise_await, (rejected, GOROUTINE_FOREVER, &value), GOROUTINE_EREJECTED);
    CHECK_EQ(U(value), 3);
    ROW(goroutine_promise_await, (resolved, GOROUTINE_FOREVER, &value), GOROUTINE_OK);
    CHECK_EQ(U(value), 1);

    list[0] = resolved;
    list[1] = NULL;
    list[2] = rejected;
#define COMBINE(function) \
    ROW(function, (NULL, 1), NULL); \
    ROW(function, (NULL, SIZE_MAX), NULL); \
    ROW(function, (list, 3), NULL); \
    goroutine_promise_release(function(NULL, 0)); \
    goroutine_promise_release(function(list, 1))
    COMBINE(goroutine_promise_all);
    COMBINE(goroutine_promise_all_settled);
    COMBINE(goroutine_promise_race);
    ROW(goroutine_promise_any, (NULL, 1), NULL);
    ROW(goroutine_promise_any, (list, 3), NULL);
    goroutine_promise_release(goroutine_promise_any(list, 1));
    goroutine_promise_release(resolved);
    goroutine_promise_release(rejected);
}

/* ---- Requests with something wrong in them. ---- */
static void requests(bool can_spawn) {
    GoroutineSpawn good, s;
    GoroutinePromise *out = (GoroutinePromise *)P(5);
    uint64_t words[1] = {0};
    int64_t id;
    goroutine_spawn_init(&good);
    good.fn = CODE(same);
#define REFUSED(change, status) \
    s = good; \
    change; \
    ROW(goroutine_spawn_with, (&s, &out), status); \
    CHECK_EQ(U(out), 5)
    REFUSED(s.size = 0, GOROUTINE_EINVAL);
    REFUSED(s.size = 63, GOROUTINE_EINVAL);
    REFUSED(s.size = 65, GOROUTINE_EINVAL);
    REFUSED(s.size = 239, GOROUTINE_EINVAL);
    REFUSED(s.fn = NULL, GOROUTINE_EINVAL);
    REFUSED(s.flags = 16, GOROUTINE_EINVAL);
    REFUSED(s.flags = UINT32_MAX, GOROUTINE_EINVAL);
    REFUSED(s.stack_args_count = 1, GOROUTINE_EINVAL);
    REFUSED((s.stack_args = words, s.stack_args_count = 65537), GOROUTINE_EINVAL);
    REFUSED((s.stack_args = words, s.stack_args_count = UINT64_MAX), GOROUTINE_EINVAL);
    if (can_spawn) {
        REFUSED(s.stack_bytes = (1ull << 30) + 1, GOROUTINE_EINVAL);
        REFUSED(s.stack_bytes = UINT64_MAX, GOROUTINE_EINVAL);
        /* 65,536 arguments are 512 KiB: too many for the default stack. */
        REFUSED((s.stack_args = words, s.stack_args_count = 65536), GOROUTINE_EINVAL);
    }
#define TIMER_REFUSED(change, timer_flags) \
    s = good; \
    change; \
    ROW(goroutine_timer_start_with, (1, 0, &s, NULL, timer_flags), GOROUTINE_EINVAL)
    TIMER_REFUSED(s.size = 0, 0);
    TIMER_REFUSED(s.size = 63, 0);
    TIMER_REFUSED(s.fn = NULL, 0);
    TIMER_REFUSED((void)0, 2);
    TIMER_REFUSED((void)0, UINT32_MAX);
    TIMER_REFUSED(s.stack_bytes = UINT64_MAX, 0);
    TIMER_REFUSED(s.flags = 16, 0);
    TIMER_REFUSED(s.stack_bytes = (1ull << 30) + 1, 0);
    if (!can_spawn) return;

    /* Good ones still work. */
    ROW(goroutine_spawn_with, (&good, NULL), GOROUTINE_OK);
    ROW(goroutine_spawn_with, (&good, &out), GOROUTINE_OK);
    ROW(goroutine_promise_resolve, (out, NULL), GOROUTINE_EPERM); /* a goroutine's promise */
    ROW(goroutine_promise_reject, (out, NULL), GOROUTINE_EPERM);
    ROW(goroutine_promise_await_take, (out, 10 * SECOND, NULL), GOROUTINE_OK);
    id = goroutine_async_begin(GOROUTINE_ASYNC_CUSTOM, NULL);
    CHECK(id > 0);
    ROW(goroutine_async_await, (id, 0, NULL), GOROUTINE_EAGAIN);
    ROW(goroutine_async_await, (id, 1, NULL), GOROUTINE_ETIMEDOUT);
    ROW(goroutine_async_complete, (id, P(4)), GOROUTINE_OK);
    ROW(goroutine_async_complete, (id, P(5)), GOROUTINE_EALREADY);
    ROW(goroutine_async_cancel, (id), GOROUTINE_EALREADY);
    ROW(goroutine_async_await, (id, 0, NULL), GOROUTINE_OK);
    ROW(goroutine_async_await, (id, 0, NULL), GOROUTINE_EALREADY);
    ROW(goroutine_async_complete, (id, P(5)), GOROUTINE_EALREADY);
    ROW(goroutine_async_complete, (id + (1ll << 40), NULL), GOROUTINE_EINVAL);
    id = goroutine_timer_start(GOROUTINE_FOREVER, 0, same, NULL);
    CHECK(id > 0);
    ROW(goroutine_timer_stop, (id), true);
    ROW(goroutine_timer_stop, (id), false);
    id = goroutine_timer_start(GOROUTINE_FOREVER - 1, GOROUTINE_FOREVER, same, NULL);
    CHECK(id > 0);
    ROW(goroutine_timer_stop, (id), true);
}

/* Lanes that are not there, or have nothing to do, from anywhere. */
static void wake_nobody(void *arg) {
    (void)arg;
    CHECK(!"nobody is woken");
}
static void lanes(void) {
    GoroutineFfiLane *lane = (GoroutineFfiLane *)P(7);
    void *result = P(8);
    ROW(goroutine_ffi_lane_new, (NULL, &lane), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_lane_new, ("lane", NULL), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_lane_host, (NULL, wake_nobody, NULL, &lane), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_lane_host, ("lane", NULL, NULL, &lane), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_lane_host, ("lane", wake_nobody, NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_lane_release, (NULL), GOROUTINE_OK);
    ROW(goroutine_ffi_lane_call, (NULL, CODE(same), NULL, &result), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_lane_drain, (NULL, 0), 0);
    CHECK_EQ(lane, P(7));
    ROW(goroutine_ffi_lane_host, ("lane", wake_nobody, NULL, &lane), GOROUTINE_OK);
    ROW(goroutine_ffi_lane_call, (lane, NULL, NULL, &result), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_lane_drain, (lane, 0), 0);
    ROW(goroutine_ffi_lane_drain, (lane, SIZE_MAX), 0);
    ROW(goroutine_ffi_lane_release, (lane), GOROUTINE_OK);
    CHECK_EQ(result, P(8));
}

/* Synchronization objects: NULL, unknown flags, and what is not the caller's, from anywhere. */
static void mutexes(void) {
    GoroutineMutex *mutex = goroutine_mutex_new(0);
    ROW(goroutine_mutex_new, (2), NULL);
    ROW(goroutine_mutex_new, (UINT32_MAX), NULL);
    ROW(goroutine_mutex_lock, (NULL, GOROUTINE_FOREVER), GOROUTINE_EINVAL);
    ROW(goroutine_mutex_try_lock, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_mutex_unlock, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_mutex_is_owned, (NULL), false);
    ROW(goroutine_mutex_free, (NULL), GOROUTINE_OK);
    ROW(goroutine_mutex_unlock, (mutex), GOROUTINE_EPERM);
    ROW(goroutine_mutex_is_owned, (mutex), false);
    ROW(goroutine_mutex_lock, (mutex, 0), GOROUTINE_OK);
    ROW(goroutine_mutex_lock, (mutex, GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    ROW(goroutine_mutex_try_lock, (mutex), GOROUTINE_EDEADLK);
    ROW(goroutine_mutex_free, (mutex), GOROUTINE_EBUSY);
    ROW(goroutine_mutex_unlock, (mutex), GOROUTINE_OK);
    ROW(goroutine_mutex_unlock, (mutex), GOROUTINE_EPERM);
    ROW(goroutine_mutex_free, (mutex), GOROUTINE_OK);
}

/* Descriptors that are none, directions that are none, NULL where the kernel or we want something. */
static void io(void) {
    static const int none[] = {-1, -4096, INT32_MIN, INT32_MAX, 8388607, 8388608};
    int ends[2];
    char c = 0;
    uint32_t ready = 0;
    size_t i;
    struct iovec v;
    struct msghdr m;
    memset(&m, 0, sizeof m);
    v.iov_base = &c;
    v.iov_len = 1;
    for (i = 0; i < sizeof none / sizeof *none; i++) {
        int fd = none[i];
        ROW(goroutine_read, (fd, &c, 1), -EBADF);
        ROW(goroutine_write, (fd, &c, 1), -EBADF);
        ROW(goroutine_readv, (fd, &v, 1), -EBADF);
        ROW(goroutine_writev, (fd, &v, 1), -EBADF);
        ROW(goroutine_recvmsg, (fd, &m, 0), -EBADF);
        ROW(goroutine_sendmsg, (fd, &m, 0), -EBADF);
        ROW(goroutine_accept, (fd, NULL, NULL), -EBADF);
        ROW(goroutine_connect, (fd, NULL, 0), -EBADF);
        ROW(goroutine_fd_wait, (fd, 1, 0, &ready), GOROUTINE_EBADF);
        ROW(goroutine_close, (fd), -EBADF);
        ROW(goroutine_set_deadline, (fd, 1, 0), GOROUTINE_EBADF);
        ROW(goroutine_fd_release, (fd), GOROUTINE_EBADF);
    }
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    ROW(goroutine_read, (ends[0], NULL, 0), 0);
    ROW(goroutine_write, (ends[1], "x", 1), 1);
    ROW(goroutine_read, (ends[0], NULL, 1), -EFAULT);
    ROW(goroutine_readv, (ends[0], NULL, 1), GOROUTINE_EINVAL);
    ROW(goroutine_readv, (ends[0], &v, -1), GOROUTINE_EINVAL);
    ROW(goroutine_writev, (ends[0], NULL, 1), GOROUTINE_EINVAL);
    ROW(goroutine_writev, (ends[0], &v, 1 << 20), GOROUTINE_EINVAL);
    ROW(goroutine_recvmsg, (ends[0], NULL, 0), GOROUTINE_EINVAL);
    ROW(goroutine_sendmsg, (ends[0], NULL, 0), GOROUTINE_EINVAL);
    ROW(goroutine_accept, (ends[0], NULL, NULL), -EINVAL);
    ROW(goroutine_connect, (ends[0], NULL, 0), -EINVAL);
    ROW(goroutine_fd_wait, (ends[0], 1, 0, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_fd_wait, (ends[0], 0x80000000u, 0, &ready), GOROUTINE_EINVAL);
    ROW(goroutine_fd_wait, (ends[1], 1, 0, &ready), GOROUTINE_EAGAIN);
    ROW(goroutine_set_deadline, (ends[0], 0, 0), GOROUTINE_EINVAL);
    ROW(goroutine_set_deadline, (ends[0], 0x80000001u, 0), GOROUTINE_EINVAL);
    ROW(goroutine_fd_release, (ends[0]), GOROUTINE_OK);
    ROW(goroutine_close, (ends[0]), 0);
    ROW(goroutine_close, (ends[0]), -EBADF);
    ROW(goroutine_set_deadline, (ends[0], 1, 0), GOROUTINE_EBADF);
    ROW(goroutine_fd_release, (ends[0]), GOROUTINE_EBADF);
    ROW(goroutine_close, (ends[1]), 0);
}

static void synchronization(void) {
    GoroutineSemaphore *semaphore = goroutine_semaphore_new(UINT32_MAX);
    GoroutineWaitGroup *count = goroutine_wait_group_new();
    GoroutineRwLock *lock = goroutine_rwlock_new();
    GoroutineCondition *condition = goroutine_condition_new();
    GoroutineMutex *mutex = goroutine_mutex_new(0);
    GoroutineOnce *once = goroutine_once_new();
    GoroutineGroup *group = goroutine_group_new(0);
    GoroutineChannel *channel = goroutine_channel_new(8, 1);
    GoroutineSelectCase cases[2];
    uint64_t value = 1;
    uint32_t key = 9;
    void *out = P(7);
    size_t chosen = 9;
    ROW(goroutine_semaphore_acquire, (NULL, 1, 0), GOROUTINE_EINVAL);
    ROW(goroutine_semaphore_release, (NULL, 1), GOROUTINE_EINVAL);
    ROW(goroutine_semaphore_release, (semaphore, 1), GOROUTINE_EINVAL);
    ROW(goroutine_semaphore_release, (semaphore, 0), GOROUTINE_OK);
    ROW(goroutine_semaphore_acquire, (semaphore, UINT32_MAX, 0), GOROUTINE_OK);
    ROW(goroutine_semaphore_acquire, (semaphore, 1, 0), GOROUTINE_EAGAIN);
    ROW(goroutine_semaphore_free, (NULL), GOROUTINE_OK);
    ROW(goroutine_semaphore_free, (semaphore), GOROUTINE_OK);
    cover("goroutine_semaphore_new");
    ROW(goroutine_wait_group_add, (NULL, 1), GOROUTINE_EINVAL);
    ROW(goroutine_wait_group_done, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_wait_group_wait, (NULL, 0), GOROUTINE_EINVAL);
    ROW(goroutine_wait_group_done, (count), GOROUTINE_EINVAL);
    ROW(goroutine_wait_group_add, (count, INT32_MIN), GOROUTINE_EINVAL);
    ROW(goroutine_wait_group_wait, (count, 0), GOROUTINE_OK);
    ROW(goroutine_wait_group_free, (NULL), GOROUTINE_OK);
    ROW(goroutine_wait_group_free, (count), GOROUTINE_OK);
    cover("goroutine_wait_group_new");
    ROW(goroutine_rwlock_read_lock, (NULL, 0), GOROUTINE_EINVAL);
    ROW(goroutine_rwlock_read_unlock, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_rwlock_write_lock, (NULL, 0), GOROUTINE_EINVAL);
    ROW(goroutine_rwlock_write_unlock, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_rwlock_read_unlock, (lock), GOROUTINE_EPERM);
    ROW(goroutine_rwlock_write_unlock, (lock), GOROUTINE_EPERM);
    ROW(goroutine_rwlock_read_lock, (lock, 0), GOROUTINE_OK);
    ROW(goroutine_rwlock_write_unlock, (lock), GOROUTINE_EPERM);
    ROW(goroutine_rwlock_free, (lock), GOROUTINE_EBUSY);
    ROW(goroutine_rwlock_read_unlock, (lock), GOROUTINE_OK);
    ROW(goroutine_rwlock_free, (NULL), GOROUTINE_OK);
    ROW(goroutine_rwlock_free, (lock), GOROUTINE_OK);
    cover("goroutine_rwlock_new");
    ROW(goroutine_condition_wait, (NULL, mutex, 0), GOROUTINE_EINVAL);
    ROW(goroutine_condition_wait, (condition, NULL, 0), GOROUTINE_EINVAL);
    ROW(goroutine_condition_wait, (condition, mutex, GOROUTINE_FOREVER), GOROUTINE_EPERM);
    ROW(goroutine_condition_signal, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_condition_broadcast, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_condition_signal, (condition), GOROUTINE_OK);
    ROW(goroutine_condition_broadcast, (condition), GOROUTINE_OK);
    ROW(goroutine_condition_free, (NULL), GOROUTINE_OK);
    ROW(goroutine_condition_free, (condition), GOROUTINE_OK);
    ROW(goroutine_mutex_free, (mutex), GOROUTINE_OK);
    cover("goroutine_condition_new");
    ROW(goroutine_once_run, (NULL, same, NULL, 0, &out), GOROUTINE_EINVAL);
    ROW(goroutine_once_run, (once, NULL, NULL, 0, &out), GOROUTINE_EINVAL);
    CHECK_EQ(out, P(7));
    ROW(goroutine_once_run, (once, same, P(5), 0, NULL), GOROUTINE_OK);
    ROW(goroutine_once_free, (NULL), GOROUTINE_OK);
    ROW(goroutine_once_free, (once), GOROUTINE_OK);
    cover("goroutine_once_new");
    ROW(goroutine_group_new, (2), NULL);
    ROW(goroutine_group_spawn, (NULL, same, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_group_spawn, (group, NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_group_wait, (NULL, 0, &out), GOROUTINE_EINVAL);
    ROW(goroutine_group_wait, (group, 0, &out), GOROUTINE_OK);
    ROW(goroutine_group_cancel, (NULL), GOROUTINE_EINVAL);
    ROW(goroutine_group_cancel, (group), GOROUTINE_OK);
    ROW(goroutine_group_spawn, (group, same, NULL), GOROUTINE_ECANCELED);
    ROW(goroutine_group_free, (NULL), GOROUTINE_OK);
    ROW(goroutine_group_free, (group), GOROUTINE_OK);
    ROW(goroutine_local_key, (NULL, NULL), GOROUTINE_EINVAL);
    CHECK_EQ(key, 9);
    CALL(goroutine_local_set, (0, P(1)));
    CALL(goroutine_local_set, (UINT32_MAX, P(1)));
    ROW(goroutine_local_get, (0), NULL);
    ROW(goroutine_local_get, (UINT32_MAX), NULL);
    ROW(goroutine_channel_new, (SIZE_MAX, 2), NULL);
    ROW(goroutine_channel_send, (NULL, &value, 0), GOROUTINE_EINVAL);
    ROW(goroutine_channel_send, (channel, NULL, 0), GOROUTINE_EINVAL);
    ROW(goroutine_channel_receive, (NULL, &value, 0), GOROUTINE_EINVAL);
    ROW(goroutine_channel_receive, (channel, NULL, 0), GOROUTINE_EAGAIN);
    ROW(goroutine_channel_close, (NULL), GOROUTINE_EINVAL);
    memset(cases, 0, sizeof cases);
    cases[0].op = 3;
    ROW(goroutine_select, (cases, 2, 0, &chosen), GOROUTINE_EINVAL);
    cases[0].op = UINT32_MAX;
    ROW(goroutine_select, (cases, 2, GOROUTINE_FOREVER, &chosen), GOROUTINE_EINVAL);
    cases[0].op = GOROUTINE_SELECT_SEND;
    ROW(goroutine_select, (cases, 2, 0, &chosen), GOROUTINE_EAGAIN);
    cases[0].object = channel;
    ROW(goroutine_select, (cases, 2, 0, &chosen), GOROUTINE_EINVAL); /* nothing to send */
    ROW(goroutine_select, (cases, 2, 0, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_select, (NULL, 2, 0, &chosen), GOROUTINE_EINVAL);
    ROW(goroutine_select, (cases, SIZE_MAX, 0, &chosen), GOROUTINE_EINVAL);
    CHECK_EQ(chosen, 9);
    ROW(goroutine_channel_close, (channel), GOROUTINE_OK);
    ROW(goroutine_channel_close, (channel), GOROUTINE_EALREADY);
    ROW(goroutine_channel_send, (channel, &value, GOROUTINE_FOREVER), GOROUTINE_EPIPE);
    ROW(goroutine_channel_free, (NULL), GOROUTINE_OK);
    ROW(goroutine_channel_free, (channel), GOROUTINE_OK);
}

/* Loads of nothing, and a library that is not there. */
static void never_done(void *arg, void *result) {
    (void)arg;
    (void)result;
    CHECK(!"done is not called");
}
static void loads(GoroutineStatus missing) {
    void *out = P(9);
    ROW(goroutine_ffi_load, ("libm.so.6", 0, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_symbol, (NULL, NULL, &out), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_symbol, (NULL, "main", NULL), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_call_async, (NULL, NULL, never_done, NULL), GOROUTINE_EINVAL);
    if (missing == GOROUTINE_OK) return; /* a load would start the runtime */
    ROW(goroutine_ffi_load, ("/nowhere/there is no such library.so", 0, &out), missing);
    ROW(goroutine_ffi_symbol, (NULL, "there is no such symbol", &out), GOROUTINE_EFFILOAD);
    CHECK_EQ(out, P(9));
    cover("goroutine_ffi_error");
    CHECK(strstr(goroutine_ffi_error(), "there is no such symbol") != NULL);
    if (missing == GOROUTINE_ESHUTDOWN) ROW(goroutine_ffi_call_async, (CODE(same), NULL, never_done, NULL), missing);
}

/* ---- On a plain thread. ---- */
/* Foreign calls of nothing, from anywhere. */
static void foreign_calls(void) {
    void *result = P(7);
    ROW(execute_ffi_call, (NULL, NULL, P(1)), NULL);
    ROW(migrate_to_ffi_thread, (NULL, NULL, P(1)), NULL);
    ROW(call_c_function_safely, (NULL, P(1)), NULL);
    ROW(goroutine_ffi_call_leaf, (NULL, P(1)), NULL);
    ROW(goroutine_ffi_call_blocking, (NULL, P(1)), NULL);
    ROW(goroutine_callback_run, (NULL, P(1)), NULL);
    ROW(goroutine_more_stack, (NULL, P(1)), NULL);
    ROW(goroutine_ffi_call, (GOROUTINE_FFI_BOUND, NULL, NULL, &result), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_call, (GOROUTINE_FFI_LEAF, NULL, NULL, &result), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_call, (GOROUTINE_FFI_BLOCKING, NULL, NULL, &result), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_call, (3, CODE(same), NULL, &result), GOROUTINE_EINVAL);
    ROW(goroutine_ffi_call, (UINT32_MAX, CODE(same), NULL, &result), GOROUTINE_EINVAL);
    CHECK_EQ(result, P(7));
    ROW(goroutine_ffi_call, (GOROUTINE_FFI_LEAF, CODE(same), P(2), NULL), GOROUTINE_OK);
    ROW(is_goroutine_ffi_bound, (NULL), false);
    ROW(is_goroutine_ffi_bound, (goroutine_current()), false); /* nothing of that binds */
    CALL(goroutine_ffi_landed, ());
    lanes();
    mutexes();
    synchronization();
    io();
}

static void on_plain_thread(void) {
    void *low = P(5), *high = P(6);
    foreign_calls();
    ROW(goroutine_ffi_bind, (), GOROUTINE_ENOTGOROUTINE);
    ROW(goroutine_ffi_unbind, (), GOROUTINE_ENOTGOROUTINE);
    ROW(goroutine_ffi_prepare, (), GOROUTINE_ENOTGOROUTINE);
    CALL(goroutine_more_stack_prologue, ());
    ROW(goroutine_current, (), NULL);
    ROW(goroutine_stack_bounds, (NULL, &high), GOROUTINE_EINVAL);
    ROW(goroutine_stack_bounds, (&low, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_stack_bounds, (&low, &high), GOROUTINE_ENOTGOROUTINE);
    CHECK(U(low) == 5 && U(high) == 6);
    ROW(goroutine_park, (NULL, NULL, 1), GOROUTINE_EINVAL);
    ROW(goroutine_park, (never, NULL, 1), GOROUTINE_ENOTGOROUTINE);
    ROW(goroutine_park, (never, NULL, GOROUTINE_FOREVER), GOROUTINE_ENOTGOROUTINE);
    CALL(goroutine_yield, ());
    ROW(goroutine_sleep, (0), GOROUTINE_OK);
    ROW(goroutine_sleep, (1), GOROUTINE_OK);
    CALL(goroutine_safepoint, ());
    CALL(goroutine_safepoint_full, ());
    CALL(goroutine_cancel_disable, ());
    CALL(goroutine_cancel_enable, ());
    CALL(goroutine_cancel_enable, ()); /* "Nothing outside": not even one too many */
    /* In a world that runs they do nothing; so they do without a function. */
    CALL(goroutine_world_start, ());
    CALL(goroutine_world_for_each, (never_range, NULL));
    CALL(goroutine_world_for_each_root, (never_root, NULL));
    ROW(goroutine_world_stop, (GOROUTINE_FOREVER), GOROUTINE_OK);
    ROW(goroutine_world_stop, (0), GOROUTINE_EDEADLK);
    ROW(goroutine_world_stop, (GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    CALL(goroutine_world_for_each, (NULL, NULL));
    CALL(goroutine_world_for_each_root, (NULL, NULL));
    CALL(goroutine_world_start, ());
    CALL(goroutine_world_start, ());
}

/* ---- Inside a goroutine. ---- */
static void *on_goroutine(void *arg) {
    void *low = NULL, *high = NULL;
    CHECK(goroutine_current() != NULL);
    CHECK(goroutine_id(goroutine_current()) != 0);
    foreign_calls();
    ROW(goroutine_runtime_run, (same, NULL, NULL), GOROUTINE_EDEADLK);
    ROW(goroutine_runtime_wait, (0), GOROUTINE_EDEADLK);
    ROW(goroutine_runtime_wait, (GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    ROW(goroutine_runtime_shutdown, (0), GOROUTINE_EDEADLK);
    ROW(goroutine_runtime_shutdown, (GOROUTINE_FOREVER), GOROUTINE_EDEADLK);
    ROW(goroutine_runtime_release, (0), GOROUTINE_EDEADLK);
    ROW(goroutine_runtime_start, (NULL), GOROUTINE_EALREADY);
    ROW(goroutine_trace_start, ("/nowhere/at/all"), -2);
    ROW(goroutine_stack_bounds, (NULL, NULL), GOROUTINE_EINVAL);
    ROW(goroutine_stack_bounds, (&low, &high), GOROUTINE_OK);
    CHECK((char *)low < (char *)&low && (char *)&low < (char *)high);
    ROW(goroutine_park, (NULL, NULL, GOROUTINE_FOREVER), GOROUTINE_EINVAL);
    ROW(goroutine_park, (never, NULL, 0), GOROUTINE_EAGAIN);
    anywhere();
    promises();
    requests(true);
    loads(GOROUTINE_EFFILOAD);
    return arg;
}

/* ---- Configurations with something wrong in them. ---- */
static void overflow_callback(Goroutine *g, void *address, GoroutineContext *at, void *arg) {
    (void)g;
    (void)address;
    (void)at;
    (void)arg;
}
static void configurations(void) {
    GoroutineConfig good, c;
    goroutine_config_init(&good);
    good.workers = 1;
#define NOT_STARTED(change, status) \
    c = good; \
    change; \
    ROW(goroutine_runtime_start, (&c), status)
    NOT_STARTED(c.size = 0, GOROUTINE_EINVAL);
    NOT_STARTED(c.size = 8, GOROUTINE_EINVAL);
    NOT_STARTED(c.flags = 64, GOROUTINE_EINVAL);
    NOT_STARTED(c.flags = UINT32_MAX, GOROUTINE_EINVAL);
    NOT_STARTED(c.workers = 257, GOROUTINE_EINVAL);
    NOT_STARTED(c.workers = UINT32_MAX, GOROUTINE_EINVAL);
    NOT_STARTED(c.reserved = 1, GOROUTINE_EINVAL);
    NOT_STARTED(c.ffi_exhausted = 3, GOROUTINE_EINVAL);
    NOT_STARTED(c.ffi_release = 2, GOROUTINE_EINVAL);
    NOT_STARTED(c.stack_bytes = UINT64_MAX, GOROUTINE_EINVAL);
    NOT_STARTED(c.stack_bytes_max = UINT64_MAX, GOROUTINE_EINVAL);
    NOT_STARTED((c.stack_bytes = 1 << 20, c.stack_bytes_max = 1 << 19), GOROUTINE_EINVAL);
    NOT_STARTED(c.stack_overflow = overflow_callback; c.flags = GOROUTINE_CONFIG_NO_SIGNAL_HANDLERS, GOROUTINE_EINVAL);
    NOT_STARTED(c.ffi_threads_prestart = 1001, GOROUTINE_EINVAL);
    NOT_STARTED(c.thread_stack_bytes = UINT64_MAX, GOROUTINE_EINVAL);
    NOT_STARTED(c.ffi_cpus_spread = 2, GOROUTINE_EINVAL);
    NOT_STARTED(c.reserved_too = 1, GOROUTINE_EINVAL);
    NOT_STARTED(c.ffi_cpus[15] = 1ull << 63, GOROUTINE_EINVAL); /* CPU 1023 */
    /* An older program's, shorter struct. */
    c = good;
    c.size = offsetof(GoroutineConfig, unhandled);
    ROW(goroutine_runtime_start, (&c), GOROUTINE_OK);
    ROW(goroutine_runtime_start, (&good), GOROUTINE_EALREADY);
}

/* ---- After a shutdown. ---- */
static void after_shutdown(void) {
    GoroutineSpawn s;
    GoroutinePromise *promise = goroutine_promise_new();
    goroutine_spawn_init(&s);
    s.fn = CODE(same);
    ROW(goroutine_runtime_shutdown, (0), GOROUTINE_OK);
    ROW(goroutine_runtime_wait, (0), GOROUTINE_OK);
    ROW(goroutine_runtime_wait, (GOROUTINE_FOREVER), GOROUTINE_OK);
    ROW(goroutine_runtime_release, (0), GOROUTINE_EPERM);
    ROW(goroutine_go, (same, NULL), GOROUTINE_ESHUTDOWN);
    ROW(goroutine_spawn, (same, NULL), NULL);
    ROW(goroutine_spawn_with, (&s, NULL), GOROUTINE_ESHUTDOWN);
    ROW(goroutine_timer_start, (0, 0, same, NULL), GOROUTINE_ESHUTDOWN);
    ROW(goroutine_timer_start_with, (0, 0, &s, NULL, 0), GOROUTINE_ESHUTDOWN);
    ROW(goroutine_async_begin, (0, NULL), GOROUTINE_ESHUTDOWN);
    ROW(goroutine_runtime_run, (same, NULL, NULL), GOROUTINE_ESHUTDOWN);
    ROW(goroutine_promise_then, (promise, nothing_then, NULL), GOROUTINE_ESHUTDOWN);
    ROW(goroutine_trace_start, ("/nowhere/at/all"), GOROUTINE_ESHUTDOWN);
    goroutine_promise_release(promise);
    CALL(goroutine_external_begin, ());
    CALL(goroutine_external_end, ());
    anywhere();
    promises();
    requests(false);
    on_plain_thread();
    loads(GOROUTINE_ESHUTDOWN);
}

/* ---- What is fatal: one line on stderr, the callback, abort. In forked children. ---- */
static void *exit_positive(void *arg) { goroutine_exit((GoroutineStatus)(intptr_t)arg, NULL); }
static void *enable_once_too_often(void *arg) {
    goroutine_cancel_disable();
    goroutine_cancel_enable();
    goroutine_cancel_enable();
    return arg;
}
static bool exit_in_commit(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    goroutine_exit(GOROUTINE_OK, arg);
}
static void *park_to_exit(void *arg) {
    goroutine_park(exit_in_commit, NULL, GOROUTINE_FOREVER);
    return arg;
}
static void fatal_exit_outside(void *arg) { goroutine_exit(GOROUTINE_OK, arg); }
static void fatal_exit_positive(void *arg) { goroutine_runtime_run(exit_positive, P(1), (void **)arg); }
static void fatal_exit_in_commit(void *arg) { goroutine_runtime_run(park_to_exit, arg, NULL); }
static void fatal_enable(void *arg) { goroutine_runtime_run(enable_once_too_often, arg, NULL); }
static void fatal_release(void *arg) {
    GoroutinePromise *promise = goroutine_promise_new();
    (void)arg;
    goroutine_promise_release(promise);
    goroutine_promise_release(promise);
}
static void fatal_retain(void *arg) {
    GoroutinePromise *promise = goroutine_promise_new();
    (void)arg;
    goroutine_promise_release(promise);
    goroutine_promise_retain(promise);
}
static void fatal_take(void *arg) {
    GoroutinePromise *promise = goroutine_spawn(same, arg);
    goroutine_promise_await_take(promise, GOROUTINE_FOREVER, NULL);
    goroutine_runtime_wait(GOROUTINE_FOREVER);
    goroutine_promise_release(promise);
}
static void fatal_external(void *arg) {
    (void)arg;
    goroutine_external_begin();
    goroutine_external_end();
    goroutine_external_end();
}
static void fatal_context(void *arg) {
    static GoroutineContext from, to;
    static uint8_t stack[65536];
    (void)arg;
    OK(goroutine_context_init(&to, stack, sizeof stack, same, NULL));
    switch_context(&from, &to);
}
static void fatal_callback(const char *message, void *arg) {
    CHECK_EQ(U(arg), 42);
    fprintf(stderr, "callback saw: %s\n", message);
}
static void fatal_with_callback(void *arg) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.fatal = fatal_callback;
    config.fatal_arg = P(42);
    OK(goroutine_runtime_start(&config));
    fatal_release(arg);
}
static void fatal_things(void) {
    static const struct {
        const char *function;
        void (*body)(void *arg);
        const char *line;
    } THINGS[] = {
        {"goroutine_exit", fatal_exit_outside, "goroutine: fatal: goroutine_exit outside a goroutine"},
        {"goroutine_exit", fatal_exit_positive, "goroutine: fatal: goroutine_exit with a positive status"},
        {"goroutine_exit", fatal_exit_in_commit, "goroutine: fatal: goroutine_exit outside a goroutine"},
        {"goroutine_cancel_enable", fatal_enable, "goroutine: fatal: goroutine_cancel_enable without"},
        {"goroutine_promise_release", fatal_release, "goroutine: fatal: goroutine_promise_release of a promise that has no"},
        {"goroutine_promise_retain", fatal_retain, "goroutine: fatal: goroutine_promise_retain of a promise that has no"},
        {"goroutine_promise_release", fatal_take, "goroutine: fatal: goroutine_promise_release of a promise that has no"},
        {"goroutine_external_end", fatal_external, "goroutine: fatal: goroutine_external_end without"},
        {"switch_context", fatal_context, "goroutine: fatal: the function of a goroutine_context_init context returned"},
        {"goroutine_promise_release", fatal_with_callback, "callback saw: goroutine: fatal: goroutine_promise_release"},
    };
    size_t i;
    for (i = 0; i < sizeof THINGS / sizeof *THINGS; i++) {
        cover(THINGS[i].function);
        expect_child(THINGS[i].line, THINGS[i].body, NULL, SIGABRT, 0, THINGS[i].line);
    }
}

/* ---- For languages' runtimes. The words of a goroutine and of each thread are their own. ---- */
#ifdef __cplusplus
extern "C" {
#endif
void *__cxa_get_globals(void);
void *__cxa_get_globals_fast(void);
#ifdef __cplusplus
}
#endif
static void *exceptions_here(void *arg) {
    (void)arg;
    return goroutine_cxx_exceptions();
}
static void languages(bool runs) {
    void *here = goroutine_cxx_exceptions(), *there = NULL;
    pthread_t thread;
    CHECK(here != NULL && U(here) % 8 == 0);
    ROW(goroutine_cxx_exceptions, (), here);
    ROW(__cxa_get_globals, (), here);
    ROW(__cxa_get_globals_fast, (), here);
    CHECK(pthread_create(&thread, NULL, exceptions_here, NULL) == 0);
    CHECK(pthread_join(thread, &there) == 0);
    CHECK(there != here);
    if (runs) CHECK(run_goroutine(exceptions_here, NULL) != here);
}
static void reported(void *arg) {
    if (arg != NULL) OK(goroutine_runtime_start(NULL));
    CALL(goroutine_report_unhandled, (0, GOROUTINE_EREJECTED, NULL, "a text"));
    CALL(goroutine_report_unhandled, (17, GOROUTINE_EREJECTED, NULL, "a text"));
    CALL(goroutine_report_unhandled, (18, 1, P(0x1234), NULL));
    CALL(goroutine_report_unhandled, (UINT64_MAX, INT32_MIN, NULL, NULL));
}

/* A failure that nobody looks at is reported, on stderr or to the callback. */
static void *fail(void *arg) { goroutine_exit((GoroutineStatus)(intptr_t)arg, P(0x1234)); }
enum { OF_A_PROMISE, OF_A_GOROUTINE, OF_A_NAMED_ONE, OF_A_NAMED_BOUND_ONE, WITHOUT_A_RUNTIME, AFTER_ONE };
static void unhandled_on_stderr(void *arg) {
    if (U(arg) == OF_A_GOROUTINE) {
        OK(goroutine_go(fail, P((intptr_t)GOROUTINE_EREJECTED)));
    } else if (U(arg) == OF_A_NAMED_ONE || U(arg) == OF_A_NAMED_BOUND_ONE) {
        GoroutineSpawn s;
        goroutine_spawn_init(&s);
        s.fn = CODE(fail);
        s.int_args[0] = (uint64_t)(int64_t)GOROUTINE_EREJECTED;
        s.flags = U(arg) == OF_A_NAMED_BOUND_ONE ? GOROUTINE_SPAWN_BOUND : 0;
        s.name = "fails";
        OK(goroutine_spawn_with(&s, NULL));
    } else {
        GoroutinePromise *promise = goroutine_promise_new();
        if (U(arg) != WITHOUT_A_RUNTIME) OK(goroutine_runtime_start(NULL));
        if (U(arg) == AFTER_ONE) stop();
        goroutine_promise_reject(promise, P(0x1234));
        goroutine_promise_release(promise);
    }
    OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
}
/* What a shutdown cancelled is no news, also when its promise is released later. */
static void *until_cancelled(void *arg) {
    CHECK_EQ(goroutine_sleep(3600 * SECOND), GOROUTINE_ECANCELED);
    goroutine_exit(GOROUTINE_ECANCELED, arg);
}
static void released_late(void *arg) {
    GoroutinePromise *promise;
    start_workers(1);
    promise = goroutine_spawn(until_cancelled, arg);
    stop();
    goroutine_promise_release(promise);
}
static void quiet_when_cancelled(void) {
    static Child child;
    run_child(released_late, NULL, &child);
    CHECK(child.signal == 0 && child.status == 0);
    CHECK(strcmp(child.text, "") == 0);
}

/* A start or a spawn that is refused says which field is to blame. */
static void wrong_fields(void *arg) {
    GoroutineConfig config;
    GoroutineSpawn s;
    goroutine_config_init(&config);
    goroutine_spawn_init(&s);
    config.workers = 257;
    if (U(arg) == 1) memset(&config, 0, sizeof config);
    if (U(arg) < 2) CHECK_EQ(goroutine_runtime_start(&config), GOROUTINE_EINVAL);
    else CHECK_EQ(goroutine_spawn_with(&s, NULL), GOROUTINE_EINVAL);
}
static void unhandled(const Goroutine *g, GoroutineStatus status, void *reason, void *arg) {
    fprintf(stderr, "unhandled of %s: %d %#llx %#llx\n", g != NULL ? "a goroutine" : "nobody", status,
            (unsigned long long)U(reason), (unsigned long long)U(arg));
}
static void unhandled_to_callback(void *arg) {
    GoroutineConfig config;
    GoroutinePromise *promise;
    goroutine_config_init(&config);
    config.unhandled = unhandled;
    config.unhandled_arg = P(0x99);
    OK(goroutine_runtime_start(&config));
    if (arg != NULL) {
        OK(goroutine_go(fail, P((intptr_t)GOROUTINE_EPIPE)));
    } else {
        promise = goroutine_spawn(fail, P((intptr_t)GOROUTINE_EREJECTED));
        goroutine_promise_release(promise);
    }
    OK(goroutine_runtime_wait(GOROUTINE_FOREVER));
    stop();
}

/* ---- Valid use of what takes no NULL: context switching. ---- */
static void contexts_in_passing(void) {
    static GoroutineContext here, there;
    static uint64_t visits;
    visits = 0;
    CALL(save_context, (&here));
    if (ADD(visits, 1) == 1) CALL(restore_context, (&here));
    CHECK_EQ(visits, 2);
    SET(visits, 10);
    CALL(save_context, (&there));
    if (ADD(visits, 1) == 11) CALL(switch_context, (&here, &there));
    if (GET(visits) == 12) CALL(switch_goroutine_context, (&here, &there));
    if (GET(visits) == 13) CALL(signal_safe_context_switch, (&here, &there));
    CHECK_EQ(visits, 14);
    cover("restore_context");
    cover("switch_context");
    cover("switch_goroutine_context");
    cover("signal_safe_context_switch");
}

static void all_are_covered(void) {
    char path[4096] = "";
    char line[256];
    const char *given = getenv("GOROUTINE_SYMBOLS");
    const char *slash = strrchr(__FILE__, '/');
    int missing = 0;
    FILE *file;
    snprintf(path, sizeof path, "%.*s/../include/goroutine.symbols", slash != NULL ? (int)(slash - __FILE__) : 1,
             slash != NULL ? __FILE__ : ".");
    file = fopen(given != NULL ? given : path, "r");
    if (file == NULL) {
        fprintf(stderr, "skipped: the comparison with goroutine.symbols (%s: not found)\n", given != NULL ? given : path);
        return;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        size_t i;
        line[strcspn(line, "\r\n")] = 0;
        for (i = 0; i < covered_count && strcmp(covered[i], line) != 0; i++) {
        }
        if (*line != 0 && i == covered_count) {
            fprintf(stderr, "not covered: %s\n", line);
            missing++;
        }
    }
    fclose(file);
    CHECK_EQ(missing, 0);
}

int main(void) {
    fatal_things();
    expect_child("reported", reported, NULL, 0, 0, "goroutine: unhandled: a promise was released that had been rejected with a text\n");
    expect_child("reported", reported, P(1), 0, 0, "goroutine: unhandled: goroutine 17 ended with a text\n");
    expect_child("reported", reported, P(1), 0, 0, "goroutine: unhandled: goroutine 18 ended with status 1, reason 0x1234\n");
    cover("goroutine_report_unhandled");
    expect_child("unhandled", unhandled_on_stderr, NULL, 0, 0, "GOROUTINE_EREJECTED, reason 0x1234");
    expect_child("unhandled", unhandled_on_stderr, P(OF_A_GOROUTINE), 0, 0, " ended with GOROUTINE_EREJECTED, reason 0x1234");
    expect_child("named", unhandled_on_stderr, P(OF_A_NAMED_ONE), 0, 0, " \"fails\" ended with GOROUTINE_EREJECTED, reason 0x1234");
    expect_child("bound", unhandled_on_stderr, P(OF_A_NAMED_BOUND_ONE), 0, 0, " \"fails\" ended with GOROUTINE_EREJECTED, reason 0x1234");
    expect_child("no runtime", unhandled_on_stderr, P(WITHOUT_A_RUNTIME), 0, 0, "released that had been rejected with GOROUTINE_EREJECTED, reason 0x1234");
    expect_child("no more runtime", unhandled_on_stderr, P(AFTER_ONE), 0, 0, "released that had been rejected with GOROUTINE_EREJECTED, reason 0x1234");
    quiet_when_cancelled();
    expect_child("field", wrong_fields, P(0), 0, 0, "goroutine: GOROUTINE_EINVAL: workers is out of range\n");
    expect_child("field", wrong_fields, P(1), 0, 0, "goroutine: GOROUTINE_EINVAL: size is not that of a GoroutineConfig: see goroutine_config_init\n");
    expect_child("field", wrong_fields, P(2), 0, 0, "goroutine: GOROUTINE_EINVAL: fn is NULL\n");
    expect_child("unhandled", unhandled_to_callback, P(1), 0, 0, "unhandled of a goroutine: -32 0x1234 0x99");
    expect_child("unhandled", unhandled_to_callback, NULL, 0, 0, "-4096 0x1234 0x99");

    /* Before start. Bad arguments start nothing. */
    anywhere();
    on_plain_thread();
    contexts_in_passing();
    languages(false);
    promises();
    requests(false);
    loads(GOROUTINE_OK);
    configurations();

    /* Running. */
    anywhere();
    on_plain_thread();
    promises();
    requests(true);
    loads(GOROUTINE_EFFILOAD);
    languages(true);
    run_goroutine(on_goroutine, NULL);
    CALL(goroutine_runtime_retain, ());
    CALL(goroutine_runtime_retain, ());
    ROW(goroutine_runtime_release, (SECOND), GOROUTINE_OK);
    goroutine_promise_release(goroutine_spawn(sleep_long, NULL));
    ROW(goroutine_runtime_wait, (0), GOROUTINE_EAGAIN);
    ROW(goroutine_runtime_wait, (1), GOROUTINE_ETIMEDOUT);
    ROW(goroutine_runtime_release, (10 * SECOND), GOROUTINE_OK);
    after_shutdown();
    all_are_covered();
    return 0;
}

/* timeout: 300 */
/* Files: the same results as from the system calls, errors included, whether io_uring or a thread makes the call, from goroutines,
 * bound goroutines and plain threads; many goroutines on one file; cancels, closes, forks and shutdowns in between. */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { BLOCK = 4096, FILE_THREADS = 16 };

static char directory[128];
static bool with_ring; /* what the runtime is told */
static uint32_t workers = 2;
static bool kernel_has_ring;

static const char *path_of(const char *name) {
    static __thread char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}
static int make_file(const char *name, size_t bytes) {
    size_t i;
    char *content = (char *)malloc(bytes + 1);
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && content != NULL);
    for (i = 0; i < bytes; i++) content[i] = (char)(i * 7 + i / 251);
    CHECK_EQ(pwrite(fd, content, bytes, 0), bytes);
    free(content);
    return fd;
}
/* Nothing of it is in memory afterwards, if the file system lets go of it. */
static void drop_cache(int fd) {
    CHECK(fsync(fd) == 0);
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
}
static int rings_open(void) {
    int n = 0;
    struct dirent *entry;
    DIR *all = opendir("/proc/self/fd");
    CHECK(all != NULL);
    while ((entry = readdir(all)) != NULL) {
        char link[300], to[100];
        ssize_t length;
        snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
        length = readlink(link, to, sizeof to - 1);
        if (length > 0) {
            to[length] = 0;
            n += strstr(to, "io_uring") != NULL;
        }
    }
    closedir(all);
    return n;
}
static void start(void) {
    GoroutineConfig config;
    goroutine_config_init(&config);
    config.workers = workers;
    if (!with_ring) config.flags |= GOROUTINE_CONFIG_NO_IO_URING;
    OK(goroutine_runtime_start(&config));
}
/* ---- the same as the system calls ---- */
static int64_t or_errno(int64_t result) { return result < 0 ? -errno : result; }
/* errno's address may be another thread's after a park: all uses are in or_errno's callers, which do not park between. */

static void same_open(const char *path, int flags) {
    int64_t is = goroutine_open(path, flags, 0600), shall;
    if (is >= 0) CHECK_EQ(goroutine_close((int)is), 0);
    if (flags & O_CREAT && !(flags & O_EXCL)) unlink(path);
    shall = or_errno(open(path, flags, 0600));
    if (shall >= 0) close((int)shall);
    if ((is >= 0) != (shall >= 0) || (is < 0 && is != shall)) {
        fprintf(stderr, "open(%s, %#x): %" PRId64 ", not %" PRId64 "\n", path, (unsigned)flags, is, shall);
        _exit(1);
    }
}
static void same_stat_of(const struct stat *a, const struct stat *b) {
#define SAME(field) CHECK_EQ(a->field, b->field)
    SAME(st_dev), SAME(st_ino), SAME(st_nlink), SAME(st_mode), SAME(st_uid), SAME(st_gid), SAME(st_rdev), SAME(st_size);
    SAME(st_blksize), SAME(st_blocks), SAME(st_atim.tv_sec), SAME(st_atim.tv_nsec), SAME(st_mtim.tv_sec);
    SAME(st_mtim.tv_nsec), SAME(st_ctim.tv_sec), SAME(st_ctim.tv_nsec);
#undef SAME
}
static void same_stat(const char *path) {
    struct stat a, b;
    int64_t is, shall;
    memset(&a, 0xAB, sizeof a);
    memset(&b, 0xAB, sizeof b);
    is = goroutine_stat(path, &a);
    shall = or_errno(stat(path, &b));
    CHECK_EQ(is, shall);
    if (is == 0) same_stat_of(&a, &b);
    else CHECK_EQ(a.st_size, b.st_size); /* not written */
}
static void same_fstat(int fd) {
    struct stat a, b;
    int64_t is, shall;
    memset(&a, 0xAB, sizeof a);
    memset(&b, 0xAB, sizeof b);
    is = goroutine_fstat(fd, &a);
    shall = or_errno(fstat(fd, &b));
    CHECK_EQ(is, shall);
    if (is == 0) same_stat_of(&a, &b);
}
static void same_pread(int line, int fd, size_t n, off_t offset) {
    static char a[64 << 10], b[64 << 10]; /* one battery at a time */
    int64_t is, shall;
    memset(a, 1, sizeof a);
    memset(b, 1, sizeof b);
    CHECK(n <= sizeof a);
    is = goroutine_pread(fd, a, n, offset);
    shall = or_errno(pread(fd, b, n, offset));
    check_equal(__FILE__, line, "goroutine_pread", is, shall);
    CHECK(memcmp(a, b, sizeof a) == 0);
}
#define SAME_PREAD(fd, n, offset) same_pread(__LINE__, fd, n, offset)
static void same_pwrite(int line, int fd, const void *bytes, size_t n, off_t offset) {
    int64_t is = goroutine_pwrite(fd, bytes, n, offset);
    int64_t shall = or_errno(pwrite(fd, bytes, n, offset));
    check_equal(__FILE__, line, "goroutine_pwrite", is, shall);
}
#define SAME_PWRITE(fd, bytes, n, offset) same_pwrite(__LINE__, fd, bytes, n, offset)
static void same_fsync(int fd) {
    int64_t is = goroutine_fsync(fd), shall = or_errno(fsync(fd));
    CHECK_EQ(is, shall);
}

static void *battery(void *arg) {
    const bool wild = !is_slow() || THREADS_SANITIZED; /* valgrind and AddressSanitizer report pointers that the kernel is given to refuse */
    enum { SIZE = 100000 };
    char long_name[5000], *huge;
    int file = make_file("battery", SIZE), readable, writable, appended, ends[2], pair[2], dir, full, closed, i;
    const size_t beyond = (4ull << 30) + 10;
    volatile size_t most = SIZE_MAX;
    if (arg != NULL) OK(goroutine_ffi_bind());

    /* names */
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    same_open(path_of("absent"), O_RDONLY);
    same_open(path_of("absent/file"), O_RDONLY);
    same_open(path_of("battery/file"), O_RDONLY);
    same_open(directory, O_RDONLY);
    same_open(directory, O_WRONLY);
    same_open(path_of("battery"), O_RDWR | O_CREAT | O_EXCL);
    same_open(path_of("battery"), O_RDONLY | O_DIRECTORY);
    same_open(path_of("new"), O_RDWR | O_CREAT);
    same_open(path_of("link"), O_RDONLY | O_NOFOLLOW);
    same_open(path_of("link"), O_RDONLY);
    same_open(path_of("loop"), O_RDONLY);
    same_open(directory, O_TMPFILE | O_RDWR);
    same_open(directory, O_TMPFILE); /* wants to write: EINVAL */
    same_open(long_name, O_RDONLY);
    same_open("", O_RDONLY);
    if (wild) same_open((const char *)8, O_RDONLY); /* EFAULT */
    same_stat(path_of("battery"));
    same_stat(path_of("link"));
    same_stat(path_of("loop"));
    same_stat(path_of("absent"));
    same_stat(directory);
    same_stat("/dev/null");
    same_stat("/proc/self/maps");
    same_stat("");
    same_stat(long_name);
    if (wild) same_stat((const char *)8);

    /* descriptors */
    CHECK(pipe(ends) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    readable = open(path_of("battery"), O_RDONLY | O_CLOEXEC);
    writable = open(path_of("battery"), O_WRONLY | O_CLOEXEC);
    appended = open(path_of("battery"), O_WRONLY | O_APPEND | O_CLOEXEC);
    dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    full = open("/dev/full", O_RDWR | O_CLOEXEC);
    closed = dup(file);
    CHECK(readable >= 0 && writable >= 0 && appended >= 0 && dir >= 0 && full >= 0 && closed >= 0);
    CHECK_EQ(goroutine_close(closed), 0);
    same_fstat(file);
    same_fstat(dir);
    same_fstat(ends[0]);
    same_fstat(pair[0]);
    same_fstat(full);
    same_fstat(closed);
    same_fstat(-1);
    for (i = 0; i < 2; i++) {
        drop_cache(file); /* once more with something in memory, and something not */
        if (i == 1) CHECK_EQ(pread(file, long_name, 100, 2 * BLOCK), 100);
        SAME_PREAD(file, 100, 50);
        SAME_PREAD(file, 64 << 10, 0);
        SAME_PREAD(file, 64 << 10, 1);
        SAME_PREAD(file, 64 << 10, SIZE - 5000); /* short: the end */
        SAME_PREAD(file, 0, 0);
        SAME_PREAD(file, 100, SIZE);
        SAME_PREAD(file, 100, SIZE + 1000000);
        SAME_PREAD(readable, 3 * BLOCK, 2 * BLOCK);
    }
    SAME_PREAD(file, 100, -1);
    SAME_PREAD(file, 100, INT64_MIN);
    SAME_PREAD(file, 100, INT64_MAX - 10);
    SAME_PREAD(file, 0, INT64_MAX);
    SAME_PREAD(writable, 100, 0);
    SAME_PREAD(dir, 100, 0);
    SAME_PREAD(ends[0], 100, 0);
    SAME_PREAD(ends[1], 100, 0);
    SAME_PREAD(pair[0], 100, 0);
    SAME_PREAD(full, 100, 0);
    SAME_PREAD(closed, 100, 0);
    SAME_PREAD(-1, 100, 0);
    SAME_PREAD(1 << 20, 100, 0);
    huge = (char *)mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(huge != MAP_FAILED);
    if (wild) {
        CHECK_EQ(goroutine_pread(file, (void *)8, 100, 0), -EFAULT);
        drop_cache(file);
        CHECK_EQ(goroutine_pread(file, (void *)8, 100, 0), -EFAULT);
        /* More than a call can give, and more than 32 bits hold; the buffer's end is not there. */
        CHECK_EQ(goroutine_pread(file, huge, beyond, 0), SIZE);
        drop_cache(file);
        CHECK_EQ(goroutine_pread(file, huge, beyond, 10), SIZE - 10);
        CHECK_EQ(goroutine_pread(file, huge, most, 0), or_errno(pread(file, huge, most, 0)));
        CHECK_EQ(goroutine_pwrite(file, huge, most, 0), or_errno(pwrite(file, huge, most, 0)));
    }

    SAME_PWRITE(file, "abc", 3, 10);
    SAME_PWRITE(file, huge, 100000, SIZE - 1000);
    SAME_PWRITE(file, huge, 0, 0);
    SAME_PWRITE(writable, "abc", 3, 10);
    SAME_PWRITE(appended, "abc", 3, 10);
    SAME_PWRITE(readable, "abc", 3, 10);
    SAME_PWRITE(readable, "abc", 0, 10);
    SAME_PWRITE(dir, "abc", 3, 10);
    SAME_PWRITE(ends[1], "abc", 3, 0);
    SAME_PWRITE(ends[0], "abc", 3, 0);
    SAME_PWRITE(pair[0], "abc", 3, 0);
    SAME_PWRITE(full, "abc", 3, 0);
    SAME_PWRITE(closed, "abc", 3, 0);
    SAME_PWRITE(-1, "abc", 3, 0);
    SAME_PWRITE(file, "abc", 3, -1);
    SAME_PWRITE(file, "abc", 3, INT64_MAX - 1);
    if (wild) SAME_PWRITE(file, (void *)8, 3, 0);
    SAME_PREAD(file, 64 << 10, SIZE - 2000);
    same_fsync(file);
    same_fsync(readable);
    same_fsync(dir);
    same_fsync(ends[0]);
    same_fsync(pair[0]);
    same_fsync(full);
    same_fsync(closed);
    same_fsync(-1);
    /* Nothing was written into the pipe by the way. */
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && read(ends[0], huge, 1) < 0);

    munmap(huge, 1 << 20);
    for (i = 0; i < 2; i++) goroutine_close(ends[i]), goroutine_close(pair[i]);
    goroutine_close(readable), goroutine_close(writable), goroutine_close(appended), goroutine_close(dir);
    goroutine_close(full), goroutine_close(file);
    return NULL;
}

/* ---- the file's own position: goroutine_read and its like ---- */
static void *in_order(void *arg) {
    enum { SIZE = 300000 };
    static char all[SIZE + 1000], is[SIZE + 1000];
    int file = make_file("order", SIZE), copy = open(path_of("copy"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), i;
    int64_t n, sum = 0;
    CHECK(copy >= 0);
    (void)arg;
    CHECK_EQ(pread(file, all, sizeof all, 0), SIZE);
    for (i = 0; i < 3; i++) {
        if (i > 0) drop_cache(file);
        if (i == 2) CHECK_EQ(pread(file, is, BLOCK, 0), BLOCK); /* the beginning is in memory */
        memset(is, 0, sizeof is);
        CHECK(lseek(file, 0, SEEK_SET) == 0);
        CHECK_EQ(goroutine_read(file, is, sizeof is), SIZE);
        CHECK(memcmp(is, all, SIZE) == 0);
        CHECK_EQ(goroutine_read(file, is, sizeof is), 0);
    }
    for (i = 0; i < 3; i++) {
        struct iovec parts[4];
        if (i > 0) drop_cache(file);
        if (i == 2) CHECK_EQ(pread(file, is, BLOCK, 0), BLOCK);
        memset(is, 0, sizeof is);
        parts[0].iov_base = is, parts[0].iov_len = 3 * BLOCK + 5;
        parts[1].iov_base = is + 3 * BLOCK + 5, parts[1].iov_len = 0;
        parts[2].iov_base = is + 3 * BLOCK + 5, parts[2].iov_len = 100;
        parts[3].iov_base = is + 3 * BLOCK + 105, parts[3].iov_len = SIZE;
        CHECK(lseek(file, 0, SEEK_SET) == 0);
        CHECK_EQ(goroutine_readv(file, parts, 4), SIZE);
        CHECK(memcmp(is, all, SIZE) == 0);
    }
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    while ((n = goroutine_read(file, is, 7001)) > 0) {
        CHECK_EQ(goroutine_write(copy, is, (size_t)n), n);
        sum += n;
    }
    CHECK(n == 0 && sum == SIZE);
    CHECK_EQ(pread(copy, is, sizeof is, 0), SIZE);
    CHECK(memcmp(is, all, SIZE) == 0);
    CHECK_EQ(goroutine_close(file), 0);
    CHECK_EQ(goroutine_close(copy), 0);
    return NULL;
}

/* ---- many goroutines on one file ---- */
typedef struct Many {
    int fd;
    uint64_t failed;
} Many;
typedef struct One {
    Many *many;
    uint64_t index;
} One;
static void *one_of_many(void *arg) {
    One *one = (One *)arg;
    uint64_t state = random_seed(11, one->index), mine[BLOCK / 8], is[BLOCK / 8], round;
    off_t at = (off_t)one->index * BLOCK;
    size_t i;
    for (round = 0; round < 4; round++) {
        for (i = 0; i < BLOCK / 8; i++) mine[i] = random_next(&state);
        CHECK_EQ(goroutine_pwrite(one->many->fd, mine, BLOCK, at), BLOCK);
        if (one->index % 50 == 0) CHECK_EQ(goroutine_fsync(one->many->fd), 0);
        if (one->index % 7 == 0) posix_fadvise(one->many->fd, at, BLOCK, POSIX_FADV_DONTNEED);
        memset(is, 0, sizeof is);
        CHECK_EQ(goroutine_pread(one->many->fd, is, BLOCK, at), BLOCK);
        if (memcmp(is, mine, BLOCK) != 0) ADD(one->many->failed, 1);
    }
    return NULL;
}
static void many_on_one_file(void) {
    enum { MANY = 1000 };
    static One ones[MANY];
    static GoroutinePromise *promises[MANY];
    Many many;
    uint64_t i, n = scaled(MANY, 5);
    many.fd = open(path_of("many"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    many.failed = 0;
    CHECK(many.fd >= 0);
    for (i = 0; i < n; i++) {
        ones[i].many = &many;
        ones[i].index = i;
        promises[i] = goroutine_spawn(one_of_many, &ones[i]);
        CHECK(promises[i] != NULL);
    }
    for (i = 0; i < n; i++) OK(goroutine_promise_await_take(promises[i], 120 * SECOND, NULL));
    CHECK_EQ(many.failed, 0);
    CHECK_EQ(goroutine_close(many.fd), 0);
}

/* ---- calls that take long: opening files that somebody has a lease of; cancels, closes and other lanes meanwhile ---- */
typedef struct Fifo {
    char path[200];
    int flags;
    int64_t result;
} Fifo;
static void *open_fifo(void *arg) {
    Fifo *fifo = (Fifo *)arg;
    fifo->result = goroutine_open(fifo->path, fifo->flags, 0);
    return NULL;
}
typedef struct Queued {
    int fd;
    uint64_t begun;
    int64_t result;
    char byte;
} Queued;
static void *queued_read(void *arg) {
    Queued *q = (Queued *)arg;
    SET(q->begun, 1);
    q->result = goroutine_pread(q->fd, &q->byte, 1, 5 * BLOCK);
    return NULL;
}
static void *queued_sync(void *arg) {
    Queued *q = (Queued *)arg;
    SET(q->begun, 1);
    q->result = goroutine_fsync(q->fd);
    return NULL;
}
static void *release_it(void *arg) {
    OK(goroutine_fd_release(((Queued *)arg)->fd)); /* waits for the call */
    return NULL;
}
static void *close_it(void *arg) {
    CHECK_EQ(goroutine_close(((Queued *)arg)->fd), 0);
    return NULL;
}
static void *resolve_number(void *arg) {
    struct addrinfo *list = NULL;
    (void)arg;
    CHECK_EQ(goroutine_getaddrinfo("127.0.0.1", "80", NULL, &list, GOROUTINE_FOREVER), 0);
    CHECK(list != NULL);
    freeaddrinfo(list);
    return NULL;
}
static void *read_cached(void *arg) {
    Queued *q = (Queued *)arg;
    CHECK_EQ(goroutine_pread(q->fd, &q->byte, 1, 0), 1);
    return NULL;
}
static void all_threads_taken(void) {
    static Fifo fifos[FILE_THREADS];
    GoroutinePromise *openers[FILE_THREADS], *reader, *syncer;
    GoroutinePromise *released = NULL, *releaser = NULL;
    Queued read_q, sync_q, cached_q, released_q;
    const bool ring = with_ring && kernel_has_ring;
    int i, n = ring ? FILE_THREADS / 2 : FILE_THREADS, ends[FILE_THREADS]; /* the kernel's threads are of some number, too */
    memset(&read_q, 0, sizeof read_q);
    memset(&sync_q, 0, sizeof sync_q);
    memset(&cached_q, 0, sizeof cached_q);
    read_q.fd = make_file("queued", 10 * BLOCK);
    sync_q.fd = dup(read_q.fd);
    cached_q.fd = make_file("cached", BLOCK);
    drop_cache(read_q.fd);
    CHECK(signal(SIGIO, SIG_IGN) != SIG_ERR); /* what a lease's owner gets */
    for (i = 0; i < n; i++) {
        snprintf(fifos[i].path, sizeof fifos[i].path, "%s/leased%d", directory, i);
        ends[i] = open(fifos[i].path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK(ends[i] >= 0 && close(ends[i]) == 0);
        ends[i] = open(fifos[i].path, O_RDONLY | O_CLOEXEC);
        CHECK(ends[i] >= 0 && fcntl(ends[i], F_SETLEASE, F_RDLCK) == 0);
        fifos[i].flags = O_WRONLY;
        fifos[i].result = 1;
        openers[i] = goroutine_spawn(open_fifo, &fifos[i]);
        CHECK(openers[i] != NULL);
    }
    if (!ring) {
        wait_for_bound(FILE_THREADS);
        reader = goroutine_spawn(queued_read, &read_q);
        syncer = goroutine_spawn(queued_sync, &sync_q);
        CHECK(reader != NULL && syncer != NULL);
        /* One worker: what is spawned later comes when those before have parked. What has not begun is cancelled at once. */
        run_goroutine(resolve_number, NULL);
        CHECK(GET(sync_q.begun) && GET(read_q.begun));
        OK(goroutine_cancel(syncer));
        OK(goroutine_promise_await_take(syncer, 60 * SECOND, NULL));
        CHECK_EQ(sync_q.result, GOROUTINE_ECANCELED);
        /* Who waits for a queued call to end keeps nobody from that. */
        memset(&released_q, 0, sizeof released_q);
        released_q.fd = dup(read_q.fd);
        released = goroutine_spawn(queued_sync, &released_q);
        releaser = goroutine_spawn(release_it, &released_q);
        CHECK(released != NULL && releaser != NULL);
        /* A close lets what is queued end first. */
        run_goroutine(close_it, &read_q);
        CHECK(fcntl(read_q.fd, F_GETFD) >= 0);
    } else {
        reader = goroutine_spawn(queued_read, &read_q);
        CHECK(reader != NULL);
        OK(goroutine_promise_await(reader, 60 * SECOND, NULL)); /* the ring has threads for all */
        CHECK_EQ(goroutine_close(read_q.fd), 0);
    }
    /* What needs no thread goes on, and names have threads of their own. */
    run_goroutine(read_cached, &cached_q);
    run_goroutine(resolve_number, NULL);
    /* What has begun is not cancelled. (Of the ring nobody can tell from outside what has; all but certainly it has by now.) */
    thread_sleep(20 * MS);
    for (i = 0; i < n; i++) {
        GoroutineStatus status = goroutine_cancel(openers[i]);
        CHECK(status == GOROUTINE_OK);
    }
    thread_sleep(5 * MS);
    for (i = 0; i < n; i++) CHECK(fcntl(ends[i], F_SETLEASE, F_UNLCK) == 0);
    for (i = 0; i < n; i++) {
        OK(goroutine_promise_await_take(openers[i], 60 * SECOND, NULL));
        if (fifos[i].result == GOROUTINE_ECANCELED) {
            CHECK(ring); /* it had not begun */
        } else {
            CHECK(fifos[i].result >= 0);
            CHECK_EQ(goroutine_close((int)fifos[i].result), 0);
        }
        close(ends[i]);
    }
    if (!ring) {
        OK(goroutine_promise_await_take(released, 60 * SECOND, NULL));
        OK(goroutine_promise_await_take(releaser, 60 * SECOND, NULL));
        CHECK_EQ(released_q.result, 0);
        CHECK(close(released_q.fd) == 0);
    }
    OK(goroutine_promise_await_take(reader, 60 * SECOND, NULL));
    CHECK_EQ(read_q.result, 1);
    CHECK_EQ((unsigned char)read_q.byte, (unsigned char)(5 * BLOCK * 7 + 5 * BLOCK / 251));
    CHECK(fcntl(read_q.fd, F_GETFD) < 0);
    CHECK_EQ(goroutine_close(sync_q.fd), 0);
    CHECK_EQ(goroutine_close(cached_q.fd), 0);
    wait_for_bound(0);
}

/* ---- FIFOs whose other ends the program opens itself, later: more than there are threads for files, which go on meanwhile ---- */
static void fifos_wait_for_each_other(void) {
    enum { N = 40 };
    static Fifo fifos[2 * N];
    static GoroutinePromise *openers[2 * N];
    Queued read_q;
    int i;
    memset(&read_q, 0, sizeof read_q);
    read_q.fd = make_file("beside", 10 * BLOCK);
    for (i = 0; i < 2 * N; i++) {
        Fifo *fifo = &fifos[i];
        snprintf(fifo->path, sizeof fifo->path, "%s/%s%d", directory, i % 4 < 2 ? "fifo" : "link_to_fifo", i % N);
        if (i < N) {
            char name[200];
            snprintf(name, sizeof name, "%s/fifo%d", directory, i);
            unlink(name);
            CHECK(mkfifo(name, 0600) == 0);
            if (strcmp(name, fifo->path) != 0) {
                unlink(fifo->path);
                CHECK(symlink(name, fifo->path) == 0);
            }
        }
        fifo->flags = (i < N ? O_RDONLY : O_WRONLY) | O_CLOEXEC;
        fifo->result = 1;
        openers[i] = goroutine_spawn(open_fifo, fifo);
        CHECK(openers[i] != NULL);
        if (i == N - 1) {
            wait_for_bound(N);
            drop_cache(read_q.fd);
            run_goroutine(queued_read, &read_q);
            CHECK_EQ(read_q.result, 1);
            run_goroutine(queued_sync, &read_q);
            CHECK_EQ(read_q.result, 0);
        }
    }
    for (i = 0; i < 2 * N; i++) OK(goroutine_promise_await_take(openers[i], 60 * SECOND, NULL));
    for (i = 0; i < N; i++) {
        char c = 0;
        CHECK(fifos[i].result >= 0 && fifos[i + N].result >= 0);
        CHECK_EQ(goroutine_write((int)fifos[i + N].result, "f", 1), 1);
        CHECK(goroutine_read((int)fifos[i].result, &c, 1) == 1 && c == 'f');
        CHECK_EQ(goroutine_close((int)fifos[i].result), 0);
        CHECK_EQ(goroutine_close((int)fifos[i + N].result), 0);
    }
    CHECK_EQ(goroutine_close(read_q.fd), 0);
    wait_for_bound(0);
}

/* ---- cancels at any moment: what is written is whole, or not there ---- */
typedef struct Cancelled {
    int fd;
    uint64_t index, written, stopped;
} Cancelled;
static void *write_until_cancelled(void *arg) {
    Cancelled *c = (Cancelled *)arg;
    uint64_t block[BLOCK / 8], i;
    for (i = 0; i < BLOCK / 8; i++) block[i] = c->index + 1;
    for (;;) {
        int64_t n = goroutine_pwrite(c->fd, block, BLOCK, (off_t)(c->index * BLOCK));
        if (n == GOROUTINE_ECANCELED) break;
        CHECK_EQ(n, BLOCK);
        c->written++;
        n = goroutine_fsync(c->fd);
        if (n == GOROUTINE_ECANCELED) break;
        CHECK_EQ(n, 0);
    }
    memset(block, 0xEE, sizeof block); /* nobody uses it any more: or it shows below */
    SET(c->stopped, 1);
    return NULL;
}
static void cancelled_in_flight(void) {
    enum { MANY = 64 };
    static Cancelled all[MANY];
    GoroutinePromise *promises[MANY];
    uint64_t i, j, state = random_seed(3, 3), block[BLOCK / 8];
    int fd = open(path_of("cancelled"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    for (i = 0; i < MANY; i++) {
        memset(&all[i], 0, sizeof all[i]);
        all[i].fd = fd;
        all[i].index = i;
        promises[i] = goroutine_spawn(write_until_cancelled, &all[i]);
        CHECK(promises[i] != NULL);
    }
    for (i = 0; i < MANY; i++) {
        if (random_next(&state) % 4 == 0) thread_sleep(random_next(&state) % (2 * MS));
        OK(goroutine_cancel(promises[i]));
    }
    for (i = 0; i < MANY; i++) {
        OK(goroutine_promise_await_take(promises[i], 60 * SECOND, NULL));
        CHECK(all[i].stopped);
        memset(block, 0, sizeof block);
        CHECK(pread(fd, block, BLOCK, (off_t)(i * BLOCK)) >= 0);
        for (j = 0; j < BLOCK / 8; j++) CHECK(block[j] == (all[i].written ? i + 1 : block[0]));
        CHECK(block[0] == 0 || block[0] == i + 1);
    }
    CHECK_EQ(goroutine_close(fd), 0);
}

/* ---- fork ---- */
static void *some_calls(void *arg) {
    char byte = 0;
    int64_t fd = goroutine_open(path_of("battery"), O_RDWR, 0);
    (void)arg;
    CHECK(fd >= 0);
    drop_cache((int)fd);
    CHECK_EQ(goroutine_pread((int)fd, &byte, 1, 3 * BLOCK), 1);
    CHECK_EQ(goroutine_fsync((int)fd), 0);
    CHECK_EQ(goroutine_close((int)fd), 0);
    return NULL;
}
static void in_child(void *arg) {
    (void)arg;
    CHECK_EQ(rings_open(), 0);
    start();
    run_goroutine(some_calls, NULL);
    CHECK_EQ(rings_open(), with_ring && kernel_has_ring);
    stop();
    CHECK_EQ(rings_open(), 0);
}
static void forked(void) {
    expect_child("a child of fork", in_child, NULL, 0, 0, NULL);
    run_goroutine(some_calls, NULL);
}

/* ---- a shutdown with calls under way ---- */
static void *until_the_end(void *arg) {
    Cancelled *c = (Cancelled *)arg;
    return write_until_cancelled(c);
}
static void stop_with_calls_under_way(void) {
    enum { MANY = 40 };
    static Cancelled all[MANY];
    uint64_t i;
    int fd = open(path_of("stopped"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    for (i = 0; i < MANY; i++) {
        memset(&all[i], 0, sizeof all[i]);
        all[i].fd = fd;
        all[i].index = i;
        OK(goroutine_go(until_the_end, &all[i]));
    }
    thread_sleep(5 * MS);
    stop();
    for (i = 0; i < MANY; i++) CHECK(all[i].stopped || !all[i].written);
    close(fd);
}

/* ---- a full file system ---- */
/* The ring lets go of a file a little after its close. */
static void wait_for_room(void) {
    struct statvfs now;
    uint64_t until = now_ns() + 30 * SECOND;
    do CHECK(statvfs(path_of("small"), &now) == 0 && now_ns() < until);
    while (now.f_bfree != now.f_blocks);
}
static void *fill(void *arg) {
    enum { PIECE = 30000 };
    static char piece[PIECE];
    int64_t is[8], shall[8];
    int i, by_us, by_call;
    (void)arg;
    by_call = open(path_of("small/file"), O_RDWR | O_CREAT, 0600);
    CHECK(by_call >= 0);
    for (i = 0; i < 8; i++) shall[i] = or_errno(pwrite(by_call, piece, PIECE, i * PIECE));
    close(by_call);
    CHECK(unlink(path_of("small/file")) == 0);
    by_us = (int)goroutine_open(path_of("small/file"), O_RDWR | O_CREAT, 0600);
    CHECK(by_us >= 0);
    for (i = 0; i < 8; i++) is[i] = goroutine_pwrite(by_us, piece, PIECE, i * PIECE);
    CHECK_EQ(goroutine_close(by_us), 0);
    for (i = 0; i < 8; i++) CHECK_EQ(is[i], shall[i]);
    CHECK_EQ(is[7], -ENOSPC);
    /* The same at the file's own place: a part goes in, then nothing. */
    CHECK(unlink(path_of("small/file")) == 0);
    wait_for_room();
    by_call = open(path_of("small/file"), O_RDWR | O_CREAT, 0600);
    CHECK(by_call >= 0);
    for (i = 0; i < 8; i++) shall[i] = or_errno(write(by_call, piece, PIECE));
    close(by_call);
    CHECK(unlink(path_of("small/file")) == 0);
    by_us = (int)goroutine_open(path_of("small/file"), O_RDWR | O_CREAT, 0600);
    CHECK(by_us >= 0);
    for (i = 0; i < 8; i++) is[i] = goroutine_write(by_us, piece, PIECE);
    CHECK_EQ(goroutine_close(by_us), 0);
    for (i = 0; i < 8; i++) CHECK_EQ(is[i], shall[i]);
    CHECK_EQ(is[7], -ENOSPC);
    return NULL;
}
static void in_small(void *arg) {
    (void)arg;
    if ((geteuid() != 0 && unshare(CLONE_NEWUSER) != 0) || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("small", path_of("small"), "tmpfs", 0, "size=128k") != 0) {
        fprintf(stderr, "not permitted\n");
        return;
    }
    start();
    run_goroutine(fill, NULL);
    stop();
}
static void full_file_system(void) {
    static Child child;
    mkdir(path_of("small"), 0700);
    run_child(in_small, NULL, &child);
    if (strstr(child.text, "not permitted") != NULL) fprintf(stderr, "skipped: a full file system (no mount permitted)\n");
    else if (child.signal != 0 || child.status != 0) {
        fprintf(stderr, "a full file system: %s", child.text);
        _exit(1);
    }
}

static void *on_thread(void *arg) {
    (void)arg;
    return battery(NULL);
}
static void whole(void) {
    pthread_t thread;
    full_file_system();
    start();
    run_goroutine(battery, NULL);
    CHECK_EQ(rings_open(), with_ring && kernel_has_ring);
    run_goroutine(battery, P(1)); /* bound */
    CHECK(pthread_create(&thread, NULL, on_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    run_goroutine(in_order, NULL);
    many_on_one_file();
    stop();
    workers = 1;
    start();
    all_threads_taken();
    fifos_wait_for_each_other();
    stop();
    workers = 2;
    start();
    cancelled_in_flight();
    forked();
    stop_with_calls_under_way();
    CHECK_EQ(rings_open(), 0);
}

static void remove_all(void) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    CHECK(system(command) == 0);
}
int main(void) {
    const char *base = getenv("TMPDIR");
    char params[120];
    int ring;
    memset(params, 0, sizeof params);
    ring = (int)syscall(SYS_io_uring_setup, 1, params);
    kernel_has_ring = ring >= 0;
    if (ring >= 0) close(ring);
    if (environment_number("GOROUTINE_IO_URING", 1) == 0) kernel_has_ring = false;
    if (!kernel_has_ring) fprintf(stderr, "skipped: io_uring (not allowed here)\n");
    snprintf(directory, sizeof directory, "%s/test_file.XXXXXX", base != NULL && strlen(base) < 80 ? base : "/tmp");
    CHECK(mkdtemp(directory) != NULL);
    CHECK(symlink("battery", path_of("link")) == 0);
    CHECK(symlink("loop", path_of("loop")) == 0);
    with_ring = true;
    whole();
    with_ring = false;
    whole();
    with_ring = true;
    start();
    run_goroutine(some_calls, NULL);
    stop();
    remove_all();
    return 0;
}

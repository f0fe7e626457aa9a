/* Many goroutines that wait for few descriptors: shared_goroutine GOROUTINES PER_DESCRIPTOR ACTIVE IDLE_MS MS ROUNDS
 *
 * Each reads messages of 8 bytes, which say when they were sent. A plain thread on another CPU sends them to descriptors at random, ACTIVE at a time.
 * Prints one line: memory and page tables in bytes per goroutine, CPU time (ns) and context switches of IDLE_MS, and then for each round: reads, CPU
 * time of all threads but the sender (ns), latency's median and 99 of 100 (ns). */
#define _GNU_SOURCE
#include <goroutine.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 1 << 22 };
static int (*ends)[2];
static long goroutines, descriptors, begun, done, samples;
static uint32_t *latency; /* ns; written by the one worker */

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static void *reads(void *arg) {
    int fd = ends[(long)(intptr_t)arg % descriptors][0];
    uint64_t sent;
    begun++;
    while (goroutine_read(fd, &sent, sizeof sent) == sizeof sent) {
        uint64_t took = clock_ns(CLOCK_MONOTONIC) - sent;
        if (samples < SAMPLES) latency[samples++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
        __atomic_store_n(&done, done + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}
static void *spawns(void *arg) {
    long i;
    for (i = 0; i < goroutines; i++) {
        if (goroutine_go(reads, (void *)(intptr_t)i) != GOROUTINE_OK) exit(1);
    }
    while (begun != goroutines) goroutine_yield();
    return arg;
}
/* The sum of a file's lines that begin so. */
static uint64_t sum_of(const char *path, const char *key) {
    char line[256];
    uint64_t sum = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) exit(1);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) sum += strtoull(line + strlen(key), NULL, 10);
    }
    fclose(file);
    return sum;
}
static uint64_t private_bytes(void) {
    return 1024 * (sum_of("/proc/self/smaps_rollup", "Private_Clean:") + sum_of("/proc/self/smaps_rollup", "Private_Dirty:"));
}
static uint64_t page_tables(void) { return 1024 * sum_of("/proc/self/status", "VmPTE:"); }
static uint64_t switches(void) {
    struct rusage all;
    getrusage(RUSAGE_SELF, &all);
    return (uint64_t)(all.ru_nvcsw + all.ru_nivcsw);
}
static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set); /* on a machine with one CPU they share it */
}
static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}
static uint64_t others_cpu(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - clock_ns(CLOCK_THREAD_CPUTIME_ID); }

int main(int argc, char **argv) {
    struct rlimit limit;
    GoroutineConfig config;
    GoroutinePromise *all;
    long i, active, sent = 0;
    uint64_t memory, tables, cpu, before, idle_ms, ms, random = 88172645463325252u;
    int rounds;
    if (argc != 7) return fprintf(stderr, "%s GOROUTINES PER_DESCRIPTOR ACTIVE IDLE_MS MS ROUNDS\n", argv[0]), 2;
    goroutines = atol(argv[1]);
    descriptors = goroutines / atol(argv[2]);
    active = atol(argv[3]);
    idle_ms = strtoull(argv[4], NULL, 10);
    ms = strtoull(argv[5], NULL, 10);
    rounds = atoi(argv[6]);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    ends = malloc((size_t)descriptors * sizeof *ends);
    latency = malloc(SAMPLES * sizeof *latency);
    if (ends == NULL || latency == NULL) return 1;
    memset(latency, 1, SAMPLES * sizeof *latency);
    for (i = 0; i < descriptors; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends[i]) != 0) return perror("socketpair"), 1;
    }
    pin(0);
    goroutine_config_init(&config);
    config.workers = 1;
    memory = private_bytes();
    tables = page_tables();
    if (goroutine_runtime_start(&config) != GOROUTINE_OK) return 1;
    all = goroutine_spawn(spawns, NULL);
    if (goroutine_promise_await_take(all, 60 * 1000000000ull, NULL) != GOROUTINE_OK) return 1;
    pin(1); /* the worker stays where it was made */
    sleep(1);
    printf("shared %f %f", (double)(private_bytes() - memory) / (double)goroutines, (double)(page_tables() - tables) / (double)goroutines);
    cpu = others_cpu();
    before = switches();
    usleep((useconds_t)(idle_ms * 1000));
    printf(" %llu %llu", (unsigned long long)(others_cpu() - cpu), (unsigned long long)(switches() - before - 1));
    while (rounds-- > 0) {
        uint64_t end = clock_ns(CLOCK_MONOTONIC) + ms * 1000000, now;
        long first = sent;
        samples = 0;
        cpu = others_cpu();
        while ((now = clock_ns(CLOCK_MONOTONIC)) < end) {
            if (sent - __atomic_load_n(&done, __ATOMIC_ACQUIRE) >= active) {
                sched_yield();
                continue;
            }
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if (write(ends[random % (uint64_t)descriptors][1], &now, sizeof now) != sizeof now) return perror("write"), 1;
            sent++;
        }
        while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) != sent) sched_yield();
        qsort(latency, (size_t)samples, sizeof *latency, ascending);
        printf(" %ld %llu %u %u", sent - first, (unsigned long long)(others_cpu() - cpu), latency[samples / 2], latency[samples * 99 / 100]);
    }
    printf("\n");
    fflush(stdout);
    for (i = 0; i < descriptors; i++) {
        goroutine_close(ends[i][0]);
        close(ends[i][1]);
    }
    return goroutine_runtime_shutdown(30 * 1000000000ull) != GOROUTINE_OK;
}

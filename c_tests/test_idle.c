/* Idle is idle: with 10,000 parked and 10,000 long sleeping goroutines no thread is scheduled and no CPU time passes. */
#include "check.h"
#include <dirent.h>

enum { THREADS_MAX = 64 };
typedef struct Switches {
    int thread;
    char name[32];
    uint64_t voluntary, involuntary;
} Switches;

static uint64_t begun;
static bool stay(GoroutineTicket ticket, void *arg) {
    (void)ticket;
    (void)arg;
    return true;
}
static void *park(void *arg) {
    ADD(begun, 1);
    goroutine_park(stay, NULL, GOROUTINE_FOREVER);
    return arg;
}
static void *sleep_an_hour(void *arg) {
    ADD(begun, 1);
    goroutine_sleep(3600 * SECOND);
    return arg;
}

static size_t read_switches(Switches *all) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    size_t n = 0;
    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        char path[400], line[256];
        FILE *file;
        if (entry->d_name[0] == '.') continue;
        CHECK(n < THREADS_MAX);
        memset(&all[n], 0, sizeof all[n]);
        all[n].thread = atoi(entry->d_name);
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        file = fopen(path, "r");
        if (file == NULL) continue; /* it just ended */
        while (fgets(line, sizeof line, file) != NULL) {
            sscanf(line, "Name: %31s", all[n].name);
            sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &all[n].voluntary);
            sscanf(line, "nonvoluntary_ctxt_switches: %" SCNu64, &all[n].involuntary);
        }
        fclose(file);
        n++;
    }
    closedir(tasks);
    return n;
}
static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

int main(void) {
    static Switches before[THREADS_MAX], after[THREADS_MAX];
    size_t n, m, i, k;
    uint64_t count = scaled(10000, 10), cpu;
    int busy = 0;
    if (is_slow()) {
        fprintf(stderr, "skipped: CPU time is not ours under an instrument\n");
        return 77;
    }
    OK(goroutine_runtime_start(NULL));
    for (i = 0; i < count; i++) {
        OK(goroutine_go(park, NULL));
        OK(goroutine_go(sleep_an_hour, NULL));
    }
    while (GET(begun) != 2 * count) thread_sleep(1 * MS);
    thread_sleep(1 * SECOND); /* it settles */
    n = read_switches(before);
    cpu = cpu_ns();
    thread_sleep(5 * SECOND);
    cpu = cpu_ns() - cpu;
    m = read_switches(after);
    CHECK_EQ(m, n);
    for (i = 0; i < n; i++) {
        for (k = 0; k < m && after[k].thread != before[i].thread; k++) {
        }
        CHECK(k < m);
        if (before[i].thread == getpid()) continue; /* ourselves: we slept */
        if (after[k].voluntary - before[i].voluntary > 5 || after[k].involuntary - before[i].involuntary > 5) {
            fprintf(stderr, "thread %s: %" PRIu64 " voluntary, %" PRIu64 " involuntary switches in 5 s\n", after[k].name,
                    after[k].voluntary - before[i].voluntary, after[k].involuntary - before[i].involuntary);
            busy++;
        }
    }
    fprintf(stderr, "%" PRIu64 " us of CPU time in 5 s\n", cpu / 1000);
    CHECK_EQ(busy, 0);
    CHECK(cpu < 10 * MS);
    stop();
    return 0;
}

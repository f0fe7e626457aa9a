/* What the process uses: threads' context switches, CPU time, memory. Include check.h first. */
#ifndef PROC_H
#define PROC_H

#include <dirent.h>

enum { THREADS_MAX = 1100 };
typedef struct Switches {
    int thread;
    char name[32];
    uint64_t voluntary, involuntary;
} Switches;

static inline size_t read_switches(Switches *all) {
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
/* How many threads there are whose names begin so. */
static inline uint64_t threads_named(const char *prefix) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    uint64_t n = 0;
    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        char path[400], name[32] = "";
        FILE *file;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "r");
        if (file == NULL) continue; /* it just ended */
        if (fgets(name, sizeof name, file) != NULL) n += strncmp(name, prefix, strlen(prefix)) == 0;
        fclose(file);
    }
    closedir(tasks);
    return n;
}
static inline uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* How many threads but the caller were scheduled more than 5 times between two looks. Under ThreadSanitizer, which has one of its own, threads of the library. */
static inline int busy_threads(const Switches *before, size_t n, const Switches *after, size_t m) {
    int busy = 0;
    size_t i, k;
    for (i = 0; i < n; i++) {
        for (k = 0; k < m && after[k].thread != before[i].thread; k++) {
        }
        CHECK(k < m);
        if (before[i].thread == getpid()) continue; /* ourselves: we slept */
        if (THREADS_SANITIZED && strncmp(after[k].name, "gr-", 3) != 0) continue;
        if (after[k].voluntary - before[i].voluntary > 5 || after[k].involuntary - before[i].involuntary > 5) {
            fprintf(stderr, "thread %s: %" PRIu64 " voluntary, %" PRIu64 " involuntary switches\n", after[k].name,
                    after[k].voluntary - before[i].voluntary, after[k].involuntary - before[i].involuntary);
            busy++;
        }
    }
    return busy;
}
/* Resident pages and page tables. */
static inline uint64_t memory_bytes(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    uint64_t kib, sum = 0;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1 || sscanf(line, "VmPTE: %" SCNu64, &kib) == 1) sum += kib * 1024;
    }
    fclose(file);
    return sum;
}

#endif

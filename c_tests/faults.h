/* Page faults of the thread that opened it. getrusage would count the pages of a MADV_POPULATE_WRITE, too. */
#ifndef FAULTS_H
#define FAULTS_H
#include "check.h"
#include <linux/perf_event.h>

static int faults_of_thread = -1;
static inline uint64_t faults(void) {
    uint64_t n = 0;
    if (faults_of_thread >= 0) CHECK_EQ(read(faults_of_thread, &n, sizeof n), sizeof n);
    return n;
}
static inline void close_faults(void) {
    if (faults_of_thread >= 0) close(faults_of_thread);
    faults_of_thread = -1;
}
static inline void open_faults(void) {
    struct perf_event_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.size = sizeof attributes;
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_PAGE_FAULTS;
    attributes.exclude_kernel = 1;
    faults_of_thread = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
    if (faults_of_thread < 0) fprintf(stderr, "no perf_event_open: page faults are not counted\n");
    if (faults_of_thread >= 0 && THREADS_SANITIZED) close_faults(); /* its shadow has three for one */
}
#endif

/* A caller of a host lane has its result, and releases the lane ("GOROUTINE_EBUSY: a call is in it": none is). The host's thread
 * is preempted inside goroutine_ffi_lane_drain, between waking the caller and its last look at the lane, and goes on with freed
 * memory. The preemption is made here by a slow syscall(), which the library calls for futexes. */
#include "check.h"
#include <stdarg.h>

#ifdef __cplusplus
int main(void) { return 77; }
#else
static GoroutineFfiLane *lane;
static uint64_t ready, host_done;
static __thread bool is_host;
long syscall(long number, ...) {
    long a[6], result;
    va_list list;
    int i;
    register long r10 __asm__("r10");
    register long r8 __asm__("r8");
    register long r9 __asm__("r9");
    va_start(list, number);
    for (i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    r10 = a[3], r8 = a[4], r9 = a[5];
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    if (is_host && number == SYS_futex) thread_sleep(50 * MS); /* preempted here */
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
static void wake(void *arg) { (void)arg; }
static void *nothing(void *arg) { return arg; }
static void *host(void *arg) {
    while (!GET(ready)) thread_sleep(MS);
    is_host = true;
    while (goroutine_ffi_lane_drain(lane, 1) == 0) {
    }
    SET(host_done, 1);
    return arg;
}
static void child(void *arg) {
    pthread_t thread;
    (void)arg;
    start_workers(1);
    OK(goroutine_ffi_lane_host("host", wake, NULL, &lane));
    CHECK_EQ(pthread_create(&thread, NULL, host, NULL), 0);
    SET(ready, 1);
    OK(goroutine_ffi_lane_call(lane, CODE(nothing), NULL, NULL));
    OK(goroutine_ffi_lane_release(lane));
    {
        void *volatile next = malloc(128); /* what the lane was is somebody else's now */
        memset(next, 0xFF, 128);
    }
    pthread_join(thread, NULL);
    stop();
}
int main(void) {
    expect_child("released while the host's thread leaves the drain", child, NULL, 0, 0, NULL);
    return 0;
}
#endif

/* A library that does to the process what Go's libraries do when they are loaded: see test_ffi_load.c. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct kernel_action {
    void *handler;
    unsigned long flags;
    void *restorer;
    unsigned long mask;
};

static unsigned long blocked, blocked_in_its_thread;
static size_t stack_bytes;
static long loader, nested = -1;

static void other_handler(int signal) { (void)signal; }
static void *its_thread(void *arg) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    memcpy(&blocked_in_its_thread, &mask, sizeof blocked_in_its_thread);
    return arg;
}

static void add_onstack(int number) {
    struct kernel_action action;
    if (syscall(SYS_rt_sigaction, number, NULL, &action, 8) != 0 || (size_t)action.handler < 2) return;
    action.flags |= SA_ONSTACK;
    syscall(SYS_rt_sigaction, number, &action, NULL, 8);
}

__attribute__((constructor)) static void loaded(void) {
    int number;
    sigset_t mask;
    pthread_t thread;
    pthread_attr_t attributes;
    void *base;
    const char *next = getenv("PLUGIN_NEXT");
    for (number = 1; number <= 64; number++) add_onstack(number);
    signal(SIGUSR2, other_handler); /* a library may want a signal for itself */
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    memcpy(&blocked, &mask, sizeof blocked);
    if (pthread_create(&thread, NULL, its_thread, NULL) == 0) pthread_join(thread, NULL);
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &base, &stack_bytes);
    pthread_attr_destroy(&attributes);
    loader = syscall(SYS_gettid);
    if (next != NULL) { /* "LOAD PATH": loads another one with goroutine_ffi_load */
        char path[4096];
        unsigned long load;
        void *handle;
        if (sscanf(next, "%lx %4095s", &load, path) == 2)
            nested = ((int (*)(const char *, int, void **))load)(path, 0, &handle);
    }
}

void *loud_blocked(void *arg) { return (void)arg, (void *)blocked; }
void *loud_blocked_in_its_thread(void *arg) { return (void)arg, (void *)blocked_in_its_thread; }
void *loud_stack_bytes(void *arg) { return (void)arg, (void *)stack_bytes; }
void *loud_loader(void *arg) { return (void)arg, (void *)loader; }
void *loud_nested(void *arg) { return (void)arg, (void *)nested; }

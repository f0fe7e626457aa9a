/* C that Go calls back: each adds up what it is given. */
#include <stdatomic.h>
#include <stdint.h>

static atomic_uint_least64_t calls;

void *suite_c_count(void *arg) {
    atomic_fetch_add(&calls, 1);
    return (void *)((uintptr_t)arg * 2);
}
void *suite_c_calls(void *arg) {
    (void)arg;
    return (void *)(uintptr_t)atomic_load(&calls);
}

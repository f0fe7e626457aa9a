/* The program of goroutine.h: a hundred goroutines, and one that awaits them all. */
#include <goroutine.h>
#include <stdio.h>

static void *square(void *n) {
    goroutine_sleep(1000000); /* 1 ms, in which the thread runs other goroutines */
    return (void *)((intptr_t)n * (intptr_t)n);
}

static void *sum_of_squares(void *count) {
    GoroutinePromise *promises[100];
    intptr_t sum = 0, n = (intptr_t)count;
    for (intptr_t i = 0; i < n; i++) promises[i] = goroutine_spawn(square, (void *)i);
    for (intptr_t i = 0; i < n; i++) {
        void *value = NULL;
        goroutine_promise_await_take(promises[i], GOROUTINE_FOREVER, &value);
        sum += (intptr_t)value;
    }
    return (void *)sum;
}

int main(void) {
    void *sum = NULL;
    if (goroutine_runtime_run(sum_of_squares, (void *)100, &sum) != GOROUTINE_OK) return 1;
    return printf("%d\n", (int)(intptr_t)sum) < 0;
}

/* Prints:
328350
*/

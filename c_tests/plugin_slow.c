/* A library whose constructor takes its time: with PLUGIN_GATE="OUT IN" it writes a byte to OUT and waits for one from IN. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

__attribute__((constructor)) static void loaded(void) {
    struct timespec t = {0, 1000000};
    const char *gate = getenv("PLUGIN_GATE");
    int out, in;
    char byte = 1;
    nanosleep(&t, NULL);
    if (gate == NULL || sscanf(gate, "%d %d", &out, &in) != 2) return;
    if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1) abort();
}
void *slow_twice(void *arg) { return (void *)((size_t)arg * 2); }

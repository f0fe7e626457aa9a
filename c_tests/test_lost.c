/* stress_lost with a count for every day. */
#define GOROUTINES 300000
#include "stress_lost.c"

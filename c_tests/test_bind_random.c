/* stress_bind with a count for every day. */
#define GOROUTINES 20000
#include "stress_bind.c"

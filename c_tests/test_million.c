/* stress_million, with 100,000 for every day. */
#define GOROUTINES 100000
#define ROUNDS 2
#include "stress_million.c"

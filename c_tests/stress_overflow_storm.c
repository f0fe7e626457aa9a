/* timeout: 900 */
/* The long run of test_overflow_storm.c: each a hundred times. */
#define ROUNDS 100
#include "test_overflow_storm.c"

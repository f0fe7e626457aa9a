/* timeout: 900 */
/* The long run of test_deadlock_none.c: thousands of programs. */
#define PROGRAMS 6000
#include "test_deadlock_none.c"

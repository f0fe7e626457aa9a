/* stress_channel with a count for every day. */
#define MESSAGES 200000
#include "stress_channel.c"

/* timeout: 1200 */
/* test_connections with 1,000,000 of them. */
#define CONNECTIONS 1000000
#include "test_connections.c"

/* Tests the test runner: this program runs first and must be reported as failed. */
#include <goroutine.h>
#include <stdio.h>

int main(void) {
    /* The call proves that the library was found, too. */
    fprintf(stderr, "fail_always: ABI %u\n", (unsigned)goroutine_abi_version());
    return 1;
}

/* timeout: 30 */
/* The runtime is over, its threads are gone, and the program enters a sandbox without membarrier. Closing what was used before needs no fence (nobody is
 * there), and where membarrier is refused after it had been registered there is another way: it does not end the process. */
#include "check.h"
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { EARNED = 600 };
static int ends[2];
static void *user(void *arg) {
    int i;
    char c;
    for (i = 0; i < EARNED; i++) CHECK_EQ(goroutine_read(ends[0], &c, 1), 1);
    return arg;
}
int main(void) {
    static char some[EARNED];
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter;
    filter.len = 4;
    filter.filter = code;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK_EQ(write(ends[1], some, sizeof some), (ssize_t)sizeof some);
    start_workers(1);
    run_goroutine(user, NULL);
    stop();
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    CHECK_EQ(goroutine_close(ends[0]), 0);
    CHECK(fcntl(ends[0], F_GETFD) < 0);
    return 0;
}

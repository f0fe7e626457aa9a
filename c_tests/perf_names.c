/* Run under perf by tools/gdb_test.sh: emitted code that computes on goroutines. */
#include "code.h"

int main(void) {
    Emit e = emit_begin(4096);
    GoroutineCode code;
    size_t loop;
    int i;
    EMIT(&e, "\xB8\x00\x00\x00\x10"); /* mov eax, 1 << 28 */
    loop = e.used;
    EMIT(&e, "\xFF\xC8");             /* dec eax */
    emit_jump_back_if(&e, NOT_EQUAL, loop);
    emit_return(&e);
    code = code_of("emitted_hot_loop", e.code, e.used, 0);
    emit_end(&e);
    OK(goroutine_code_register(&code, 1, NULL));
    start_workers(2);
    for (i = 0; i < 4; i++) OK(goroutine_go(FN(e.code), NULL));
    OK(goroutine_runtime_wait(60 * SECOND));
    stop();
    return 0;
}

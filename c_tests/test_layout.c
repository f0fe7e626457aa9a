/* The layouts that emitted code holds as literals, as C and C++ see them. Rust asserts the same beside each struct. */
#include <goroutine.h>
#include <stddef.h>

#ifdef __cplusplus
#define CHECK(condition) static_assert(condition, #condition)
#define ALIGN_OF alignof
#else
#define CHECK(condition) _Static_assert(condition, #condition)
#define ALIGN_OF _Alignof
#endif
#define AT(type, field, offset) CHECK(offsetof(type, field) == (offset))

CHECK(sizeof(GoroutineContext) == 688 && GOROUTINE_CONTEXT_BYTES == 688);
CHECK(ALIGN_OF(GoroutineContext) == 16);
#define CONTEXT_AT(field, NAME, offset) \
    AT(GoroutineContext, field, offset); \
    CHECK(GOROUTINE_CONTEXT_OFFSET_##NAME == (offset))
CONTEXT_AT(rax, RAX, 0);
CONTEXT_AT(rbx, RBX, 8);
CONTEXT_AT(rcx, RCX, 16);
CONTEXT_AT(rdx, RDX, 24);
CONTEXT_AT(rsi, RSI, 32);
CONTEXT_AT(rdi, RDI, 40);
CONTEXT_AT(rbp, RBP, 48);
CONTEXT_AT(r8, R8, 56);
CONTEXT_AT(r9, R9, 64);
CONTEXT_AT(r10, R10, 72);
CONTEXT_AT(r11, R11, 80);
CONTEXT_AT(r12, R12, 88);
CONTEXT_AT(r13, R13, 96);
CONTEXT_AT(r14, R14, 104);
CONTEXT_AT(r15, R15, 112);
CONTEXT_AT(rsp, RSP, 120);
CONTEXT_AT(rip, RIP, 128);
CONTEXT_AT(rflags, RFLAGS, 136);
CONTEXT_AT(xmm_state, XMM_STATE, 144);
CONTEXT_AT(stack_base, STACK_BASE, 656);
CONTEXT_AT(stack_top, STACK_TOP, 664);
CONTEXT_AT(stack_size, STACK_SIZE, 672);
CONTEXT_AT(guard_page, GUARD_PAGE, 680);

CHECK(GOROUTINE_OFFSET_STACK_LIMIT == 0);
CHECK(GOROUTINE_OFFSET_ID == 8);
CHECK(GOROUTINE_OFFSET_PREEMPT == 16);
CHECK(GOROUTINE_OFFSET_FLAGS == 20);
CHECK(GOROUTINE_OFFSET_NATIVE_STACK == 24);
CHECK(GOROUTINE_OFFSET_CONTEXT == 32);
CHECK(GOROUTINE_OFFSET_USER == 40);
CHECK(GOROUTINE_OFFSET_FOREIGN_SP == 64);
CHECK(GOROUTINE_HEADER_BYTES == 128);
CHECK(GOROUTINE_STACK_RESERVE == 4096);
CHECK(GOROUTINE_PROMISE_OFFSET_STATE == 0);
CHECK(GOROUTINE_PROMISE_OFFSET_VALUE == 8);

CHECK(sizeof(GoroutineSelectCase) == 24 && GOROUTINE_SELECT_CASE_BYTES == 24);
AT(GoroutineSelectCase, op, GOROUTINE_SELECT_CASE_OFFSET_OP);
AT(GoroutineSelectCase, status, GOROUTINE_SELECT_CASE_OFFSET_STATUS);
AT(GoroutineSelectCase, object, GOROUTINE_SELECT_CASE_OFFSET_OBJECT);
AT(GoroutineSelectCase, value, GOROUTINE_SELECT_CASE_OFFSET_VALUE);
CHECK(GOROUTINE_SELECT_CASE_OFFSET_OP == 0 && GOROUTINE_SELECT_CASE_OFFSET_STATUS == 4);
CHECK(GOROUTINE_SELECT_CASE_OFFSET_OBJECT == 8 && GOROUTINE_SELECT_CASE_OFFSET_VALUE == 16);
CHECK(sizeof(GoroutineSpawn) == 240 && GOROUTINE_SPAWN_BYTES == 240);
AT(GoroutineSpawn, size, 0);
AT(GoroutineSpawn, flags, 4);
AT(GoroutineSpawn, fn, 8);
AT(GoroutineSpawn, int_args, 16);
AT(GoroutineSpawn, stack_args, 64);
AT(GoroutineSpawn, stack_args_count, 72);
AT(GoroutineSpawn, rbx, 80);
AT(GoroutineSpawn, rbp, 88);
AT(GoroutineSpawn, r12, 96);
AT(GoroutineSpawn, r13, 104);
AT(GoroutineSpawn, r14, 112);
AT(GoroutineSpawn, r15, 120);
AT(GoroutineSpawn, user, 128);
AT(GoroutineSpawn, stack_bytes, 152);
AT(GoroutineSpawn, name, 160);
AT(GoroutineSpawn, context, 168);
AT(GoroutineSpawn, fp_args, 176);

CHECK(sizeof(GoroutineTicket) == 16);
CHECK(sizeof(GoroutineSettled) == 16);
AT(GoroutineConfig, size, 0);
AT(GoroutineConfig, flags, 4);
AT(GoroutineStats, size, 0);

CHECK(GOROUTINE_OK == 0 && GOROUTINE_EPERM == -1 && GOROUTINE_EBADF == -9 && GOROUTINE_EAGAIN == -11);
CHECK(GOROUTINE_ENOMEM == -12 && GOROUTINE_EBUSY == -16 && GOROUTINE_EINVAL == -22 && GOROUTINE_EPIPE == -32);
CHECK(GOROUTINE_EDEADLK == -35 && GOROUTINE_ENOSYS == -38 && GOROUTINE_ETIMEDOUT == -110);
CHECK(GOROUTINE_EALREADY == -114 && GOROUTINE_ECANCELED == -125 && GOROUTINE_EREJECTED == -4096);
CHECK(GOROUTINE_ENOTGOROUTINE == -4097 && GOROUTINE_ESHUTDOWN == -4098);
CHECK(GOROUTINE_ESTACKOVERFLOW == -4099 && GOROUTINE_EFFITHREADS == -4100);
CHECK(GOROUTINE_FOREVER == UINT64_MAX);

int main(void) {
    return goroutine_abi_version() == GOROUTINE_ABI_VERSION ? 0 : 1;
}

# The C++ runtime's exceptions of whoever runs: a goroutine's lie in its control block, a thread's here. Intel syntax.
#
# libstdc++ and libc++abi ask __cxa_get_globals for them at every throw, catch and std::uncaught_exceptions, and keep no pointer
# to them across anything that could park. So a switch need not know of exceptions at all (src/capi/cxx.rs).

    .text

# Exceptions *goroutine_asm_exceptions(void)
    function goroutine_asm_exceptions
    mov     rax, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[rax + {TLS_CURRENT}]
    cmp     qword ptr [rax + {G_ID}], 0
    je      1f                              # the dummy: not a goroutine
    cmp     qword ptr [rip + goroutine_asan_unpoison], 0
    jne     2f
    cmp     qword ptr [rax + {G_RESERVE}], 0
    jne     3f
    add     rax, {G_EXCEPTIONS}
    ret
2:  push    rbp                             # a program with AddressSanitizer
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    and     rsp, -16
    mov     rdi, rax
    mov     rsi, rbp
    call    {on_exceptions_sanitized}       # gives the same
    leave
    .cfi_def_cfa rsp, 8
    .cfi_restore rbp
    ret
3:  push    rbp                             # its stack had overflowed, and somebody throws, or has caught that
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    .cfi_offset rbx, -24
    and     rsp, -16
    mov     rbx, rax
    mov     rdi, rax
    mov     rsi, rbp
    call    {on_exceptions_with_reserve}
    lea     rax, [rbx + {G_EXCEPTIONS}]
    mov     rbx, [rbp - 8]
    .cfi_restore rbx
    leave
    .cfi_def_cfa rsp, 8
    .cfi_restore rbp
    ret
1:  mov     rax, fs:[0]
    add     rax, [rip + goroutine_exceptions_of_thread@GOTTPOFF]
    ret
    end_function goroutine_asm_exceptions

    .section .tbss, "awT", @nobits
    .balign 8
    .hidden goroutine_exceptions_of_thread
    .globl  goroutine_exceptions_of_thread
    .type   goroutine_exceptions_of_thread, @object
goroutine_exceptions_of_thread:
    .zero   16
    .size   goroutine_exceptions_of_thread, . - goroutine_exceptions_of_thread

    .text
    .globl  goroutine_asm_end               # x86_64_sysv.S
    .hidden goroutine_asm_end
goroutine_asm_end:

# Linked segments for x86-64, System V ABI, ELF: a function whose prologue check failed goes on on another piece of stack.
# Assembled before x86_64_sysv_foreign.S, which has a place for `links`.
#
# What is here
#   goroutine_asm_more_stack_prologue  called first by emitted functions
#   goroutine_asm_more_stack           the same for a function and its argument
#   goroutine_asm_overflow             where a goroutine goes on that has no stack left
#   .Llink, .Llink_paired               from where it goes on, and where it returns to
#
# F is the address after the call of goroutine_more_stack_prologue, A where the function itself returns to:
#
#      the stack before                           the segment (src/stack/segment.rs)
#      +---------------------------+ high         +---------------------------+ high
#      | frames                    |      +---------- sp, prev, limit_before  | header, 128 B
#      | stack arguments           |      |       +---------------------------+
#      | A                         | <----+       | stack arguments, a copy   |
#      | F                         |              | link: our stub            | <- rsp when it goes on at F
#      +---------------------------+ low          | its frame ...             |
#
# The header is found from rsp alone, in the stub and by unwinders: it ends at a multiple of 64 KiB, less than that above.
#
# Returns. The predictor's stack holds A and F when we are called. We go on at F with a `call`, so the function's `ret` is predicted to come
# to the stub, which then jumps to A: right, too, but A and F stay on the predictor's stack, and the next returns are predicted wrongly until it
# is empty. Where the instruction at F is a `ret`, the function goes on behind it, and the stub goes to A through it: then all returns are
# paired (gcc's split stacks do that, always). Measured, over a call that does not cross: 3.9 ns in a loop of either form; a Fibonacci recursion
# that crosses all the time 3.3 us per run more in the second form, 7 in the first. (To go on at F with a `ret`, and to have the function's own one
# predicted wrongly: 14.3 ns, and the same 7 us.)

    .text

# DWARF: the CFA is [(rsp & -65536) + 65536 - 128] + 8: the return address A lies at the header's sp. (DW_CFA_def_cfa_expression;
# DW_OP_breg7 0, const4s -65536, and, plus_uconst 65408, deref, plus_uconst 8; valgrind's reader knows no DW_OP_or.) No frame of ours:
# whoever is here has left the function.
    .macro cfi_in_link
    .cfi_escape 0x0f, 15, 0x77, 0, 0x0d, 0, 0, 0xff, 0xff, 0x1a, 0x23, 0x80, 0xff, 3, 0x06, 0x23, 8
    .cfi_offset rip, -8
    .endm

# ---------------------------------------------------------------------------------------------------------------------
# goroutine_more_stack_prologue: r10 = frame bytes, r11 = bytes of stack arguments. Clobbers those and the flags.
#
# The short way, without arguments: 31 instructions, 9 stores, no atomic instruction. Lines: the TLS block, the goroutine's 1st and 5th, the
# header's first, two of the stacks.
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_more_stack_prologue
    push    rax
    .cfi_def_cfa_offset 16
    push    rcx
    .cfi_def_cfa_offset 24
    add     r10, r11                        # r10 = what it needs
1:  mov     rax, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[rax + {TLS_CURRENT}]   # rax = the goroutine, or the dummy, which has no spare
    mov     rcx, [rax + {G_SPARE}]          # rcx = the segment
    test    rcx, rcx
    jz      4f
    cmp     r10, [rcx + {S_ROOM}]
    ja      4f
    cmp     qword ptr [rax + {G_FOREIGN_SP}], 0
    jne     4f                              # C calls emitted code on the native stack
    mov     dword ptr [rcx + {S_STATE}], {SEGMENT_BUSY} # first this ...
    cmp     dword ptr [rcx + {S_CLAIMED}], 0 # ... and only then look whether its memory is about to go
    jne     4f
    mov     r10, rcx                        # r10 = where rsp will be at the return
    test    r11, r11
    jnz     3f
2:  mov     r11, [rax + {G_STACK_LIMIT}]
    mov     [rcx + {S_LIMIT_BEFORE}], r11
    mov     r11, [rax + {G_SEGMENT}]
    mov     [rcx + {S_PREV}], r11
    mov     r11, [rcx + {S_LIMIT}]
    mov     [rax + {G_STACK_LIMIT}], r11
    mov     r11, [rcx + {S_BELOW}]
    mov     [rax + {G_SPARE}], r11
    mov     [rax + {G_SEGMENT}], rcx
    lea     r11, [rsp + 24]
    mov     [rcx + {S_SP}], r11
    mov     r11, [rsp + 16]                 # r11 = F
    pop     rcx
    .cfi_def_cfa_offset 16
    pop     rax
    .cfi_def_cfa_offset 8
    mov     rsp, r10
    cfi_in_link
    cmp     byte ptr [r11], 0xC3
    je      .Llink_paired
    jmp     .Llink
    .cfi_endproc

    .cfi_startproc
    .cfi_def_cfa_offset 24
3:  # Stack arguments, the last one first: r11 = their bytes, from [rsp + 32] on.
    push    rdx
    .cfi_def_cfa_offset 32
    add     r11, 7
    and     r11, -8
    mov     rdx, rcx
    sub     rdx, r11
    and     rdx, -16                        # rdx = where they go
5:  mov     r10, [rsp + r11 + 32]
    mov     [rdx + r11 - 8], r10
    sub     r11, 8
    jnz     5b
    mov     r10, rdx
    pop     rdx
    .cfi_def_cfa_offset 24
    jmp     2b

4:  # The long way. r10 = what it needs, r11 = bytes of stack arguments; rax and rcx are on the stack. It runs on the thread's own stack.
    cmp     qword ptr [rax + {G_ID}], 0
    je      12f                             # the dummy: a plain thread
    cmp     qword ptr [rax + {G_FOREIGN_SP}], 0
    jne     12f                             # that is the stack we are on
    push    rbp
    .cfi_def_cfa_offset 32
    .cfi_offset rbp, -32
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    .cfi_offset rbx, -40
    push    rdx
    push    rsi
    push    rdi
    push    r8
    push    r9
    push    r10
    push    r11
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rsp, fs:[r8 + {TLS_SCHED_SP}]
    mov     ebx, [rip + goroutine_xsave_bytes]
    test    ebx, ebx
    jnz     6f
    mov     ebx, 512                        # no XSAVE: the FXSAVE image is all there is
6:  sub     rsp, rbx
    and     rsp, -64
    cmp     dword ptr [rip + goroutine_xsave_bytes], 0
    je      7f
    xor     ecx, ecx                        # the header must be zero before the first XSAVE
    mov     [rsp + 512], rcx
    mov     [rsp + 520], rcx
    mov     [rsp + 528], rcx
    mov     [rsp + 536], rcx
    mov     [rsp + 544], rcx
    mov     [rsp + 552], rcx
    mov     [rsp + 560], rcx
    mov     [rsp + 568], rcx
    mov     eax, [rip + goroutine_xsave_mask]
    xor     edx, edx
    xsave64 [rsp]
    jmp     8f
7:  fxsave64 [rsp]
8:  mov     rdi, r10
    mov     rsi, r11
    mov     rdx, rbp
    call    {on_more_stack}
    mov     rcx, rax                        # rcx = what to do
    cmp     dword ptr [rip + goroutine_xsave_bytes], 0
    je      9f
    mov     eax, [rip + goroutine_xsave_mask]
    xor     edx, edx
    xrstor64 [rsp]
    jmp     14f
9:  fxrstor64 [rsp]
14: lea     rsp, [rbp - 64]
    pop     r11
    pop     r10
    pop     r9
    pop     r8
    pop     rdi
    pop     rsi
    pop     rdx
    pop     rbx
    .cfi_restore rbx
    pop     rbp
    .cfi_def_cfa rsp, 24
    .cfi_restore rbp
    cmp     rcx, {MORE_STACK_STAY}
    jb      1b
    je      12f
    mov     r11, rcx                        # r11 = an address in the guard: there is no more
    pop     rcx
    .cfi_def_cfa_offset 16
    pop     rax
    .cfi_def_cfa_offset 8
    .globl  goroutine_asm_no_more_stack
    .hidden goroutine_asm_no_more_stack
goroutine_asm_no_more_stack:
    mov     byte ptr [r11], 0               # an overflow, as src/stack/overflow.rs knows it. [rsp] = F
    jmp     goroutine_asm_no_more_stack
12: pop     rcx
    .cfi_def_cfa_offset 16
    pop     rax
    .cfi_def_cfa_offset 8
    mov     r11, [rsp]
    cmp     byte ptr [r11], 0xC3
    je      13f
    ret
13: inc     r11
    add     rsp, 8
    .cfi_def_cfa_offset 0
    .cfi_register rip, r11
    jmp     r11
    .cfi_endproc
    .size   goroutine_asm_more_stack_prologue, . - goroutine_asm_more_stack_prologue

# ---------------------------------------------------------------------------------------------------------------------
# Goes on with a function that crosses, and gets its return: rsp = the copies of its arguments, or the header. rax, rdx, xmm0, xmm1 are its results;
# callee-saved registers are as it left them.
#
# The stub's frame lies between two stacks whose addresses are in any order, so it is a part of `__morestack`: it is placed there.
# An exception that passes it takes the segment off the chain (the personality).
# ---------------------------------------------------------------------------------------------------------------------
# r11 = F, rsp = the copies of the arguments, or the header.
    .macro link_returns
    mov     rcx, rsp
    or      rcx, 0xffff
    sub     rcx, 127                        # rcx = the header
    mov     r8, [rcx + {S_G}]               # not through fs, for we may be a child of fork by now
    cmp     qword ptr [r8 + {G_SPARE}], 0
    jne     73f
72: mov     r9, [rcx + {S_LIMIT_BEFORE}]
    mov     r10, [rcx + {S_PREV}]
    mov     [r8 + {G_STACK_LIMIT}], r9
    mov     [r8 + {G_SEGMENT}], r10
    mov     [r8 + {G_SPARE}], rcx
    mov     qword ptr [rcx + {S_BELOW}], 0
    mov     rsp, [rcx + {S_SP}]
    .cfi_remember_state
    .cfi_def_cfa rsp, 8
    mov     dword ptr [rcx + {S_STATE}], {SEGMENT_USED} # the segment is left: its memory may go
    .endm

    .macro link_has_surplus
    .cfi_restore_state
73: mov     rsi, rsp                        # it has a spare already, a larger one: that one goes
    sub     rsp, 56
    and     rsp, -16
    mov     [rsp], rax
    mov     [rsp + 8], rdx
    mov     [rsp + 40], rsi
    movups  [rsp + 16], xmm0
    sub     rsp, 16
    movups  [rsp], xmm1
    mov     rdi, r8
    call    {on_surplus}
    movups  xmm1, [rsp]
    movups  xmm0, [rsp + 32]
    mov     rax, [rsp + 16]
    mov     rdx, [rsp + 24]
    mov     rsp, [rsp + 56]
    mov     rcx, rsp
    or      rcx, 0xffff
    sub     rcx, 127
    mov     r8, [rcx + {S_G}]
    jmp     72b
    .endm

    .macro links
    .balign 64
    .cfi_startproc
    .cfi_personality 0x1b, {on_unwind_through_link} # 0x1b: relative to here, 4 bytes
    cfi_in_link
.Llink:
    call    r11
    frame_is_last
    link_returns
    mov     rcx, [rsp]
    add     rsp, 8
    .cfi_def_cfa_offset 0
    .cfi_register rip, rcx
    jmp     rcx
    link_has_surplus
    .cfi_endproc

    .balign 64
    .cfi_startproc
    .cfi_personality 0x1b, {on_unwind_through_link}
    cfi_in_link
.Llink_paired:
    inc     r11
    call    r11
    frame_is_last
    link_returns
    sub     rsp, 8                          # F is still there: a `ret`
    .cfi_def_cfa_offset 16
    ret
    link_has_surplus
    .cfi_endproc
    .endm

# ---------------------------------------------------------------------------------------------------------------------
# void *goroutine_more_stack(void *(*function)(void *), void *argument)
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_more_stack
    xor     eax, eax
    test    rdi, rdi
    jz      1f
    mov     r10d, {MORE_STACK_LEAST}
    xor     r11d, r11d
    call    goroutine_asm_more_stack_prologue
    ret                                     # the stub comes back through it
    test    spl, 8
    jnz     goroutine_asm_call              # which keeps the callee-saved registers for our caller
    push    rbp                             # not on a segment, and emitted code called with rsp at 8 mod 16
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    and     rsp, -16
    call    goroutine_asm_call
    frame_is_last
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
1:  ret
    end_function goroutine_asm_more_stack

# ---------------------------------------------------------------------------------------------------------------------
# Where the signal handler lets a thread go on whose goroutine's stack overflowed (src/stack/event.rs): rsp = the event, on the reserve. To
# unwinders this is the frame of a signal, called by the instruction that faulted, with all registers as they were there.
# ---------------------------------------------------------------------------------------------------------------------
# DWARF: "register \reg was saved at [rsp + \off]" (DW_CFA_expression, DW_OP_breg7, sleb128 of 2 bytes)
    .macro cfi_at_rsp reg, off
    .cfi_escape 0x10, \reg, 3, 0x77, ((\off) & 0x7f) | 0x80, ((\off) >> 7) & 0x7f
    .endm

    .balign 64
    .globl  goroutine_asm_overflow
    .hidden goroutine_asm_overflow
    .type   goroutine_asm_overflow, @function
    .cfi_startproc
    .cfi_signal_frame
    # The CFA is [rsp + C_RSP] (DW_CFA_def_cfa_expression, DW_OP_breg7, DW_OP_deref).
    .cfi_escape 0x0f, 4, 0x77, (({E_AT} + {C_RSP}) & 0x7f) | 0x80, (({E_AT} + {C_RSP}) >> 7) & 0x7f, 0x06
    cfi_at_rsp 0, {E_AT} + {C_RAX}
    cfi_at_rsp 1, {E_AT} + {C_RDX}
    cfi_at_rsp 2, {E_AT} + {C_RCX}
    cfi_at_rsp 3, {E_AT} + {C_RBX}
    cfi_at_rsp 4, {E_AT} + {C_RSI}
    cfi_at_rsp 5, {E_AT} + {C_RDI}
    cfi_at_rsp 6, {E_AT} + {C_RBP}
    cfi_at_rsp 8, {E_AT} + {C_R8}
    cfi_at_rsp 9, {E_AT} + {C_R9}
    cfi_at_rsp 10, {E_AT} + {C_R10}
    cfi_at_rsp 11, {E_AT} + {C_R11}
    cfi_at_rsp 12, {E_AT} + {C_R12}
    cfi_at_rsp 13, {E_AT} + {C_R13}
    cfi_at_rsp 14, {E_AT} + {C_R14}
    cfi_at_rsp 15, {E_AT} + {C_R15}
    cfi_at_rsp 16, {E_AT} + {C_RIP}
    nop                                     # unwinders of our callee look up the byte before a return address
goroutine_asm_overflow:
    mov     rdi, [rsp + {E_G}]
    mov     rsi, [rsp + {E_ADDRESS}]
    lea     rdx, [rsp + {E_AT}]
    mov     rcx, [rsp + {E_CALLBACK_ARG}]
    call    [rsp + {E_CALLBACK}]
    mov     rdi, rsp                        # only rsp is sure to be what it was
    call    {on_overflow_return}
    ud2
    .cfi_endproc
    .size   goroutine_asm_overflow, . - goroutine_asm_overflow

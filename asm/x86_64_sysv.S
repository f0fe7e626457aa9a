# Context switching for x86-64, System V ABI, ELF. Intel syntax.
#
# What is here
#   goroutine_asm_yield        put the current goroutine at the end of its worker's queue, run the next one
#   goroutine_asm_park         leave the goroutine's stack for the thread's, call a scheduler function there
#   goroutine_asm_leave        the same for a goroutine that ends: nothing is saved
#   goroutine_asm_thread_run   enter scheduling on a thread; returns when the scheduler gives no goroutine
#   goroutine_asm_entry*       the first instructions of a goroutine
#   goroutine_asm_*_context    the explicit register-file functions
#   goroutine_asm_safepoint, goroutine_asm_safepoint_full
#
# Names in braces are constants that Rust computes from its structs: no offset is typed here.
#
# How a stopped goroutine looks
#
#      control block (top of the stack)           its stack
#      +-----------------------------+            +---------------------------+  high
#      | header (128 B)              |            | entry frame (end of CFI)  |
#      |                             |            | frames of user code       |
#      | rsp  ----------------------------------> | return address            |
#      | rbx rbp r12 r13 r14 r15     |            +---------------------------+  low
#      | mxcsr fcw errno             |
#      +-----------------------------+
#
# A switch stores these words (one cache line), loads the other goroutine's, pops its return address and JUMPS there. A
# `ret` would be predicted to return to the leaving goroutine's call site, and a wrong prediction costs more than all the
# saving. What bounds a switch is the number of its stores (one per cycle leaves the core), so nothing is stored that
# can be compared instead: errno is nearly always what it was, and so are the control words. Of MXCSR only the control bits
# are compared: the six status flags belong to no call (the ABI says so), a goroutine that rounded once has one set for ever,
# and `ldmxcsr` costs 10 times the rest of a switch on some CPUs.
#
# Registers in every switch: rax = the goroutine that leaves, r11 = the goroutine that comes, rdx = worker,
# r8 = TLS offset of our thread block. All are caller-saved: user code expects none back.
#
# Unwinding: at every instruction one of these holds, and the CFI says which.
#   1. the return address is at [rsp], the callee-saved registers are unchanged (ordinary call frame)
#   2. the same with rsp of the next goroutine, whose callee-saved registers are in its control block at r11 (also those
#      that are loaded already: the memory stays valid)
#   3. as 2, with the return address popped into rsi



# DWARF: "register \reg was saved at [r11 + \off]" (DW_CFA_expression, DW_OP_breg11, sleb128 of 2 bytes)
    .macro cfi_at_r11 reg, off
    .cfi_escape 0x10, \reg, 3, 0x7b, ((\off) & 0x7f) | 0x80, ((\off) >> 7) & 0x7f
    .endm

# rbx rbp r12-r15 are found in the control block at r11; DWARF numbers 3, 6, 12-15.
    .macro cfi_saved_at_r11
    .cfi_def_cfa rsp, 8
    .cfi_offset rip, -8
    cfi_at_r11 3, {G_RBX}
    cfi_at_r11 6, {G_RBP}
    cfi_at_r11 12, {G_R12}
    cfi_at_r11 13, {G_R13}
    cfi_at_r11 14, {G_R14}
    cfi_at_r11 15, {G_R15}
    .endm

# On the thread's stack we are inside goroutine_asm_thread_run, as far as unwinders know.
    .macro cfi_thread_frame
    .cfi_def_cfa rsp, 80
    .cfi_offset rip, -8
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    .cfi_offset r12, -32
    .cfi_offset r13, -40
    .cfi_offset r14, -48
    .cfi_offset r15, -56
    .endm

# At the start of a function: six pushes, and where unwinders find them.
    .macro push_callee_saved
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    push    rbx
    .cfi_def_cfa_offset 24
    .cfi_offset rbx, -24
    push    r12
    .cfi_def_cfa_offset 32
    .cfi_offset r12, -32
    push    r13
    .cfi_def_cfa_offset 40
    .cfi_offset r13, -40
    push    r14
    .cfi_def_cfa_offset 48
    .cfi_offset r14, -48
    push    r15
    .cfi_def_cfa_offset 56
    .cfi_offset r15, -56
    .endm

    .macro function name
    .balign 64
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    .cfi_startproc
    .endm

# A function that nobody calls, but whose first instruction (NAME_first) lies as a return address on a new stack. Unwinders
# look up the byte before a return address, so there is one that belongs to the function. The stack ends here, and an
# exception that gets here says so.
    .macro first_instruction name
    .balign 64
    .globl \name
    .hidden \name
    .type \name, @function
    .globl \name\()_first
    .hidden \name\()_first
\name:
    .cfi_startproc
    .cfi_personality 0x1b, {on_exception_at_base} # 0x1b: relative to here, 4 bytes
    .cfi_undefined rip
    nop
\name\()_first:
    .endm

    .macro end_function name
    .cfi_endproc
    .size \name, . - \name
    .endm

# Behind calls during which a goroutine may leave its stack: says to `sched::registers`, which looks at return addresses, that the frame is the
# library's; and `last`, that its caller is not, unless that has a mark, too.
    .macro frame_is_inside
    nop     dword ptr [rax + {MARK_INSIDE}]
    .endm
    .macro frame_is_last
    nop     dword ptr [rax + {MARK_LAST}]
    .endm

# Saves everything a switch keeps of the goroutine in rax, but for errno and the control words.
    .macro save_registers
    mov     [rax + {G_RSP}], rsp
    mov     [rax + {G_RBX}], rbx
    mov     [rax + {G_RBP}], rbp
    mov     [rax + {G_R12}], r12
    mov     [rax + {G_R13}], r13
    mov     [rax + {G_R14}], r14
    mov     [rax + {G_R15}], r15
    .endm

    .macro save_control_words
    stmxcsr [rax + {G_MXCSR}]
    fnstcw  [rax + {G_FCW}]
    .endm

# errno of the leaving goroutine (rax) into its control block. Clobbers esi, edi. errno lies at fs:[rdi] on every thread.
    .macro save_errno
    mov     rdi, [rip + goroutine_errno_offset]
    mov     esi, fs:[rdi]
    mov     word ptr [rax + {G_ERRNO}], si
    cmp     esi, {ERRNO_WIDE}
    jb      77f
    mov     word ptr [rax + {G_ERRNO}], {ERRNO_WIDE}
    mov     [rax + {G_ERRNO_WIDE}], esi
77:
    .endm

# errno of the coming goroutine (r11) to where its thread's errno is. Clobbers esi, edi.
    .macro load_errno
    mov     rdi, [rip + goroutine_errno_offset]
    movzx   esi, word ptr [r11 + {G_ERRNO}]
    cmp     esi, {ERRNO_WIDE}
    jne     78f
    mov     esi, [r11 + {G_ERRNO_WIDE}]
78: mov     fs:[rdi], esi
    .endm

# rsp and the callee-saved registers of r11, then to where it stopped.
    .macro load_registers
    mov     rsp, [r11 + {G_RSP}]
    cfi_saved_at_r11
    mov     rbx, [r11 + {G_RBX}]
    mov     rbp, [r11 + {G_RBP}]
    mov     r12, [r11 + {G_R12}]
    mov     r13, [r11 + {G_R13}]
    mov     r14, [r11 + {G_R14}]
    mov     r15, [r11 + {G_R15}]
    .endm

    .macro jump_to_goroutine
    pop     rsi
    .cfi_def_cfa_offset 0
    .cfi_register rip, rsi
    jmp     rsi
    .endm

    .text
    .globl  goroutine_asm_begin             # up to goroutine_asm_end: what switches, and what leads there (src/inspect/asked.rs)
    .hidden goroutine_asm_begin
goroutine_asm_begin:

# ---------------------------------------------------------------------------------------------------------------------
# void goroutine_asm_yield(void)
#
# The fast path: 55 instructions, 17 stores with the caller's `call`, no atomic instruction. It touches the TLS block, the
# worker's queue words, one queue slot (1 line each), one line of each control block, one line of each stack.
# Branches, all predicted the same way unless something is up: worker, dummy, poll, empty, turns, errno three times, two
# control words.
#
# It is the run queue's owner side written out (src/sched/run_queue.rs): busy = 1, look at poll, work, busy = 0.
# The gate opens only after the leaving goroutine's stack has been left, so a thief never sees it earlier.
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_yield
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rdx, fs:[r8 + {TLS_WORKER}]
    mov     rax, fs:[r8 + {TLS_CURRENT}]
    lea     rdi, [rip + goroutine_dummy]
    test    rdx, rdx
    jz      goroutine_asm_yield_slow        # a plain thread
    cmp     rax, rdi
    je      goroutine_asm_yield_slow        # a callback on a worker's own stack
    save_control_words                      # early: they are slow to arrive
    mov     dword ptr [rdx + {W_BUSY}], 1   # enter the gate ...
    cmp     dword ptr [rdx + {W_POLL}], 0   # ... and only then look whether somebody wants it
    jne     2f
    mov     ecx, [rdx + {W_HEAD}]           # not before: a visitor may have been inside until that look
    mov     esi, [rdx + {W_TAIL}]
    mov     r10d, [rdx + {W_MASK}]
    mov     r9, [rdx + {W_SLOTS}]
    cmp     esi, ecx
    je      3f                              # nobody else is runnable here
    mov     edi, ecx
    and     edi, r10d
    mov     r11, [r9 + rdi*8]               # r11 = the next goroutine
    inc     ecx
    test    cl, {HEAD_TURNS_MASK}
    jz      2f                              # every so many turns: the clock and the other queues
    mov     [rdx + {W_HEAD}], ecx
    and     ecx, r10d
    mov     rdi, [r9 + rcx*8]               # the one after it: its line will be wanted next
    and     r10d, esi
    inc     esi
    mov     [r9 + r10*8], rax               # ourselves at the end: one was popped first, so there is room
    mov     [rdx + {W_TAIL}], esi
    prefetcht0 [rdi + {G_LINE_SAVED}]
    save_registers
    mov     fs:[r8 + {TLS_CURRENT}], r11
    mov     rdi, [rip + goroutine_errno_offset]
    mov     esi, fs:[rdi]                   # errno stays what it is if it is what both have saved
    cmp     esi, {ERRNO_WIDE}
    jae     4f
    movzx   edi, word ptr [rax + {G_ERRNO}]
    cmp     esi, edi
    jne     4f
    movzx   edi, word ptr [r11 + {G_ERRNO}]
    cmp     esi, edi
    jne     4f
5:  mov     esi, [rax + {G_MXCSR}]
    movzx   edi, word ptr [rax + {G_FCW}]
    xor     esi, [r11 + {G_MXCSR}]
    test    esi, {MXCSR_CONTROL}
    jnz     6f
    cmp     di, [r11 + {G_FCW}]
    jne     8f
7:  load_registers
    mov     dword ptr [rdx + {W_BUSY}], 0   # the old stack is left: open the gate
    jump_to_goroutine
    .cfi_endproc
    .cfi_startproc
4:  save_errno
    load_errno
    jmp     5b
6:  ldmxcsr [r11 + {G_MXCSR}]
    cmp     di, [r11 + {G_FCW}]
    je      7b
8:  fnclex                                  # what the other one raised must not trap under this one's mask
    fldcw   [r11 + {G_FCW}]
    jmp     7b
2:  # Somebody wants something of the worker: let go of the gate, then the long way.
    mov     dword ptr [rdx + {W_BUSY}], 0
    jmp     goroutine_asm_yield_slow
3:  mov     dword ptr [rdx + {W_BUSY}], 0
    dec     dword ptr [rdx + {W_LONE_TURNS}]
    js      goroutine_asm_yield_slow        # a lone goroutine that yields for ever must not hide the other queues
    ret
    .cfi_endproc
    .size goroutine_asm_yield, . - goroutine_asm_yield

# The long way of a yield: through the scheduler. On a plain thread: sched_yield(2).
    function goroutine_asm_yield_slow
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[r8 + {TLS_CURRENT}]
    lea     rdi, [rip + {on_yield}]
    cmp     qword ptr [rax + {G_ID}], 0     # the dummy: not a goroutine
    jne     goroutine_asm_park
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    and     rsp, -16                        # we may have been called with rsp at 0 or 8 mod 16
    call    {plain_yield}
    leave
    .cfi_def_cfa rsp, 8
    ret
    end_function goroutine_asm_yield_slow

# ---------------------------------------------------------------------------------------------------------------------
# void goroutine_asm_park(next: extern "C" fn(*Goroutine, *void) -> *Goroutine, arg: *void)
#
# Saves the current goroutine, then calls next(goroutine, arg) on the thread's own stack. What it gives back runs next,
# which may be the same goroutine; then this call has returned. The thread's stack holds no state of ours:
# next() starts from the same place every time, so nothing nests, however long the thread schedules.
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_park
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[r8 + {TLS_CURRENT}]
    mov     rdx, rdi                        # rdx = next
    mov     r10, rsi                        # r10 = arg
    cmp     qword ptr [rax + {G_FOREIGN_SP}], 0
    jne     goroutine_asm_park_in_c         # C asks for it, on the stack that we are about to use
    save_control_words
    save_registers
    save_errno
    lea     r9, [rip + goroutine_dummy]
    mov     fs:[r8 + {TLS_CURRENT}], r9     # nobody runs here for a while
    mov     rsp, fs:[r8 + {TLS_SCHED_SP}]
    cfi_thread_frame
    mov     r9d, [rax + {G_MXCSR}]          # the scheduler leaves them alone: goroutine_asm_run need not read them
    mov     [rsp], r9d
    movzx   r9d, word ptr [rax + {G_FCW}]   # (one load of both would wait for both stores to leave the core)
    mov     [rsp + 4], r9d
    mov     rdi, rax
    mov     rsi, r10
    call    rdx
    jmp     goroutine_asm_run
    end_function goroutine_asm_park

# _Noreturn void goroutine_asm_leave(next, arg): as park, for a goroutine that is over.
    function goroutine_asm_leave
    .cfi_undefined rip
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[r8 + {TLS_CURRENT}]
    mov     rdx, rdi
    lea     r9, [rip + goroutine_dummy]
    mov     fs:[r8 + {TLS_CURRENT}], r9
    mov     rsp, fs:[r8 + {TLS_SCHED_SP}]
    cfi_thread_frame
    stmxcsr [rsp]
    fnstcw  [rsp + 4]
    mov     rdi, rax
    call    rdx
    jmp     goroutine_asm_run
    end_function goroutine_asm_leave

# ---------------------------------------------------------------------------------------------------------------------
# void goroutine_asm_thread_run(next, arg)
#
# The thread's frame under all scheduling. Calls next(NULL, arg), runs what it gives, and returns to its caller once
# some next() gives NULL.
#
#      caller's frame | return address | rbp rbx r12 r13 r14 r15 | control words at entry | record | control words now |
#                                                                                          TLS sched_sp -^
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_thread_run
    push_callee_saved
    sub     rsp, 24
    .cfi_def_cfa_offset 80
    stmxcsr [rsp + 16]
    fnstcw  [rsp + 20]
    mov     rax, [rsp + 16]
    mov     [rsp], rax
    mov     qword ptr [rsp + 8], 0          # no callback is live
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     fs:[r8 + {TLS_SCHED_SP}], rsp
    mov     fs:[r8 + {TLS_BASE_SP}], rsp
    mov     rax, rdi
    xor     edi, edi
    call    rax
    jmp     goroutine_asm_run
    end_function goroutine_asm_thread_run

# Continues the goroutine in rax, or returns from goroutine_asm_thread_run. On the thread's stack, whose first 8 bytes
# hold the control words as they are now.
#
# Here a `ret` is right, unlike in a yield: goroutines that wait have called goroutine_asm_park from the same few places of
# the library, with some of its frames above. Calls and returns since then were paired, so the predictor's stack has that
# very address on top, and the returns through our frames after it are predicted, too. A first start is a jump.
    .balign 64
    .hidden goroutine_asm_run
    .type goroutine_asm_run, @function
goroutine_asm_run:
    .cfi_startproc
    cfi_thread_frame
    test    rax, rax
    jz      1f
    mov     r11, rax
    cmp     dword ptr [rip + goroutine_tracing], 0
    jne     6f
7:  mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     fs:[r8 + {TLS_CURRENT}], r11
    load_errno
    mov     esi, [rsp]
    movzx   edi, word ptr [rsp + 4]
    xor     esi, [r11 + {G_MXCSR}]
    test    esi, {MXCSR_CONTROL}
    jnz     2f
    cmp     di, [r11 + {G_FCW}]
    jne     4f
3:  load_registers
    lea     rsi, [rip + goroutine_asm_entry_first]
    cmp     rsi, [rsp]
    je      5f
    ret
5:  jump_to_goroutine
    .cfi_endproc
    .cfi_startproc
    cfi_thread_frame
2:  ldmxcsr [r11 + {G_MXCSR}]
    cmp     di, [r11 + {G_FCW}]
    je      3b
4:  fnclex
    fldcw   [r11 + {G_FCW}]
    jmp     3b
6:  mov     rbx, r11                        # r11 outlives the call here: the goroutine's rbx is loaded later
    mov     rdi, r11
    call    {on_traced_run}
    mov     r11, rbx
    jmp     7b
1:  ldmxcsr [rsp + 16]
    fnclex
    fldcw   [rsp + 20]
    add     rsp, 24
    .cfi_def_cfa_offset 56
    pop     r15
    .cfi_def_cfa_offset 48
    .cfi_restore r15
    pop     r14
    .cfi_def_cfa_offset 40
    .cfi_restore r14
    pop     r13
    .cfi_def_cfa_offset 32
    .cfi_restore r13
    pop     r12
    .cfi_def_cfa_offset 24
    .cfi_restore r12
    pop     rbx
    .cfi_def_cfa_offset 16
    .cfi_restore rbx
    pop     rbp
    .cfi_def_cfa_offset 8
    .cfi_restore rbp
    ret
    .cfi_endproc
    .size goroutine_asm_run, . - goroutine_asm_run

# ---------------------------------------------------------------------------------------------------------------------
# A goroutine's first instructions. r11 = its control block, its argument is at [rsp], mxcsr and fcw are set.
# No frame above: `rip` undefined is how unwinders and GDB know that the stack ends here.
# What the function leaves in rbx, rbp, r12-r15 does not matter: only rsp and rax are used after it returns.
# ---------------------------------------------------------------------------------------------------------------------
    first_instruction goroutine_asm_entry
    pop     rdi
    call    [r11 + {G_FN}]
    .globl  goroutine_asm_return
    .hidden goroutine_asm_return
goroutine_asm_return:
    frame_is_inside                         # and nobody is outside: the function was one of the library's
    mov     rsi, rax
    lea     rdi, [rip + {on_finish}]
    jmp     goroutine_asm_leave
    end_function goroutine_asm_entry

# The same with every argument register: the stack holds six integers, eight doubles, then the stack arguments.
    first_instruction goroutine_asm_entry_full
    pop     rdi
    pop     rsi
    pop     rdx
    pop     rcx
    pop     r8
    pop     r9
    movsd   xmm0, [rsp]
    movsd   xmm1, [rsp + 8]
    movsd   xmm2, [rsp + 16]
    movsd   xmm3, [rsp + 24]
    movsd   xmm4, [rsp + 32]
    movsd   xmm5, [rsp + 40]
    movsd   xmm6, [rsp + 48]
    movsd   xmm7, [rsp + 56]
    add     rsp, 64                         # the stack arguments are next, where the callee looks for them
    mov     eax, 8                          # a variadic callee reads al: how many vector registers are used
    call    [r11 + {G_FN}]
    frame_is_inside
    mov     rsi, rax
    lea     rdi, [rip + {on_finish}]
    jmp     goroutine_asm_leave
    end_function goroutine_asm_entry_full

# uintptr_t goroutine_asm_call(function, a, b, c): calls function(a, b, c), which may come back with any callee-saved register
# clobbered. For callbacks that emitted code may provide and that run above frames of ours.
    function goroutine_asm_call
    push_callee_saved
    sub     rsp, 8
    .cfi_def_cfa_offset 64
    mov     rax, rdi
    mov     rdi, rsi
    mov     rsi, rdx
    mov     rdx, rcx
    call    rax
    frame_is_inside
    add     rsp, 8
    .cfi_def_cfa_offset 56
    pop     r15
    .cfi_def_cfa_offset 48
    pop     r14
    .cfi_def_cfa_offset 40
    pop     r13
    .cfi_def_cfa_offset 32
    pop     r12
    .cfi_def_cfa_offset 24
    pop     rbx
    .cfi_def_cfa_offset 16
    pop     rbp
    .cfi_def_cfa_offset 8
    ret
    end_function goroutine_asm_call

# The same from a register file, of which the goroutine's argument is a copy.
    first_instruction goroutine_asm_entry_context
    mov     rdi, [r11 + {G_ARG}]
    jmp     goroutine_asm_restore_context
    end_function goroutine_asm_entry_context

# ---------------------------------------------------------------------------------------------------------------------
# The explicit register-file functions. rdi (and rsi) = GoroutineContext *, 16-aligned.
# rsp in a context is the value AFTER the call returned, rip is where it returns to.
# ---------------------------------------------------------------------------------------------------------------------
    .macro save_register_file               # into rdi; clobbers rax, r11
    mov     [rdi + {C_RAX}], rax
    mov     [rdi + {C_RBX}], rbx
    mov     [rdi + {C_RCX}], rcx
    mov     [rdi + {C_RDX}], rdx
    mov     [rdi + {C_RSI}], rsi
    mov     [rdi + {C_RDI}], rdi
    mov     [rdi + {C_RBP}], rbp
    mov     [rdi + {C_R8}], r8
    mov     [rdi + {C_R9}], r9
    mov     [rdi + {C_R10}], r10
    mov     [rdi + {C_R11}], r11
    mov     [rdi + {C_R12}], r12
    mov     [rdi + {C_R13}], r13
    mov     [rdi + {C_R14}], r14
    mov     [rdi + {C_R15}], r15
    pushfq
    .cfi_adjust_cfa_offset 8
    pop     [rdi + {C_RFLAGS}]
    .cfi_adjust_cfa_offset -8
    mov     rax, [rsp]
    mov     [rdi + {C_RIP}], rax
    lea     r11, [rsp + 8]
    mov     [rdi + {C_RSP}], r11
    fxsave64 [rdi + {C_XMM}]
    .endm

# Loads everything from rdi and goes there. The return address and the flags are staged below the red zone of the
# target, and `ret 128` steps over it: a context that was stopped in a leaf function keeps its red zone.
    .macro load_register_file
    .cfi_undefined rip
    fxrstor64 [rdi + {C_XMM}]
    mov     rsp, [rdi + {C_RSP}]
    sub     rsp, 136
    mov     rax, [rdi + {C_RIP}]
    mov     [rsp], rax
    push    [rdi + {C_RFLAGS}]
    mov     rax, [rdi + {C_RAX}]
    mov     rbx, [rdi + {C_RBX}]
    mov     rcx, [rdi + {C_RCX}]
    mov     rdx, [rdi + {C_RDX}]
    mov     rsi, [rdi + {C_RSI}]
    mov     rbp, [rdi + {C_RBP}]
    mov     r8, [rdi + {C_R8}]
    mov     r9, [rdi + {C_R9}]
    mov     r10, [rdi + {C_R10}]
    mov     r11, [rdi + {C_R11}]
    mov     r12, [rdi + {C_R12}]
    mov     r13, [rdi + {C_R13}]
    mov     r14, [rdi + {C_R14}]
    mov     r15, [rdi + {C_R15}]
    mov     rdi, [rdi + {C_RDI}]
    popfq
    ret     128
    .endm

    function goroutine_asm_save_context
    save_register_file
    ret
    end_function goroutine_asm_save_context

    function goroutine_asm_restore_context
    load_register_file
    end_function goroutine_asm_restore_context

    function goroutine_asm_switch_context
    save_register_file
    mov     rdi, rsi
    load_register_file
    end_function goroutine_asm_switch_context

# The same with all signals blocked from before the first register is saved until rsp is the target's.
# The caller's mask is in rbx across the switch; both sides run with it afterwards.
    function goroutine_asm_signal_safe_switch
    push    rbx
    .cfi_adjust_cfa_offset 8
    .cfi_offset rbx, -16
    push    rdi
    .cfi_adjust_cfa_offset 8
    push    rsi
    .cfi_adjust_cfa_offset 8
    push    -1                              # the set: every signal
    .cfi_adjust_cfa_offset 8
    sub     rsp, 8                          # the old set
    .cfi_adjust_cfa_offset 8
    mov     eax, {SYS_RT_SIGPROCMASK}
    mov     edi, {SIG_BLOCK}
    lea     rsi, [rsp + 8]
    mov     rdx, rsp
    mov     r10d, 8
    syscall
    pop     r9                              # r9 = the caller's mask
    .cfi_adjust_cfa_offset -8
    add     rsp, 8
    .cfi_adjust_cfa_offset -8
    pop     rsi
    .cfi_adjust_cfa_offset -8
    pop     rdi
    .cfi_adjust_cfa_offset -8
    pop     rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    save_register_file
    .cfi_undefined rip
    mov     rbx, rsi                        # rbx = target, saved by the kernel's calling convention
    mov     rsp, [rbx + {C_RSP}]
    sub     rsp, 144                        # below its red zone
    mov     [rsp], r9
    mov     eax, {SYS_RT_SIGPROCMASK}
    mov     edi, {SIG_SETMASK}
    mov     rsi, rsp
    xor     edx, edx
    mov     r10d, 8
    syscall
    mov     rdi, rbx
    load_register_file
    end_function goroutine_asm_signal_safe_switch

# First instruction of a context made by goroutine_context_init: rbx = function, r12 = argument.
    function goroutine_asm_context_entry
    .cfi_undefined rip
    mov     rdi, r12
    call    rbx
    call    {on_context_end}                # the function returned: there is nowhere to go
    ud2
    end_function goroutine_asm_context_entry

# ---------------------------------------------------------------------------------------------------------------------
# void goroutine_safepoint_full(void): every register, the flags and the vector state survive.
#
# Frame, from high to low:  return address | rbp | rflags, gap | GoroutineContext (16-aligned) | XSAVE area (64-aligned)
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_safepoint_full
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    pushfq
    push    rbx                             # where unwinders find the three that are used below
    .cfi_offset rbx, -32
    push    r12
    .cfi_offset r12, -40
    push    r13
    .cfi_offset r13, -48
    sub     rsp, {C_BYTES} + 8
    and     rsp, -64
    mov     [rsp + {C_RAX}], rax
    mov     [rsp + {C_RBX}], rbx
    mov     [rsp + {C_RCX}], rcx
    mov     [rsp + {C_RDX}], rdx
    mov     [rsp + {C_RSI}], rsi
    mov     [rsp + {C_RDI}], rdi
    mov     [rsp + {C_R8}], r8
    mov     [rsp + {C_R9}], r9
    mov     [rsp + {C_R10}], r10
    mov     [rsp + {C_R11}], r11
    mov     [rsp + {C_R12}], r12
    mov     [rsp + {C_R13}], r13
    mov     [rsp + {C_R14}], r14
    mov     [rsp + {C_R15}], r15
    mov     rax, [rbp]
    mov     [rsp + {C_RBP}], rax
    mov     rax, [rbp + 8]
    mov     [rsp + {C_RIP}], rax
    lea     rax, [rbp + 16]
    mov     [rsp + {C_RSP}], rax
    mov     rax, [rbp - 8]
    mov     [rsp + {C_RFLAGS}], rax
    fxsave64 [rsp + {C_XMM}]
    mov     rbx, rsp                        # rbx = the context
    mov     r12d, [rip + goroutine_xsave_bytes]
    mov     r13d, [rip + goroutine_xsave_mask]
    test    r12d, r12d
    jz      1f                              # no XSAVE: the FXSAVE image is all there is
    sub     rsp, r12
    and     rsp, -64
    xor     ecx, ecx                        # the header must be zero before the first XSAVE
    mov     [rsp + 512], rcx
    mov     [rsp + 520], rcx
    mov     [rsp + 528], rcx
    mov     [rsp + 536], rcx
    mov     [rsp + 544], rcx
    mov     [rsp + 552], rcx
    mov     [rsp + 560], rcx
    mov     [rsp + 568], rcx
    mov     eax, r13d
    xor     edx, edx
    xsave64 [rsp]
1:  cld
    mov     rdi, rbx
    call    {on_safepoint_full}
    test    r12d, r12d
    jz      2f
    mov     eax, r13d
    xor     edx, edx
    xrstor64 [rsp]
    jmp     3f
2:  fxrstor64 [rbx + {C_XMM}]
3:  mov     rsp, rbx
    mov     rax, [rsp + {C_RAX}]
    mov     rcx, [rsp + {C_RCX}]
    mov     rdx, [rsp + {C_RDX}]
    mov     rsi, [rsp + {C_RSI}]
    mov     rdi, [rsp + {C_RDI}]
    mov     r8, [rsp + {C_R8}]
    mov     r9, [rsp + {C_R9}]
    mov     r10, [rsp + {C_R10}]
    mov     r11, [rsp + {C_R11}]
    mov     r12, [rsp + {C_R12}]
    mov     r13, [rsp + {C_R13}]
    mov     r14, [rsp + {C_R14}]
    mov     r15, [rsp + {C_R15}]
    mov     rbx, [rsp + {C_RBX}]
    lea     rsp, [rbp - 8]
    popfq
    pop     rbp
    .cfi_def_cfa rsp, 8
    .cfi_restore rbp
    .cfi_restore rbx
    .cfi_restore r12
    .cfi_restore r13
    ret
    end_function goroutine_asm_safepoint_full

# ---------------------------------------------------------------------------------------------------------------------
# void goroutine_safepoint(void): as any call, but a collector finds the caller's registers in the context.
#
# Frame, from high to low:  return address | rbp | gap | GoroutineContext (16-aligned)
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_safepoint
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[r8 + {TLS_CURRENT}]
    cmp     dword ptr [rax + {G_PREEMPT}], 0
    jne     1f
    ret
1:  push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    sub     rsp, {C_BYTES}
    and     rsp, -16
    mov     rdi, rsp
    mov     ecx, {C_XMM} / 8                # what is not kept across a call is 0
    xor     eax, eax
    rep stosq
    mov     [rsp + {C_RBX}], rbx
    mov     [rsp + {C_R12}], r12
    mov     [rsp + {C_R13}], r13
    mov     [rsp + {C_R14}], r14
    mov     [rsp + {C_R15}], r15
    mov     rax, [rbp]
    mov     [rsp + {C_RBP}], rax
    mov     rax, [rbp + 8]
    mov     [rsp + {C_RIP}], rax
    lea     rax, [rbp + 16]
    mov     [rsp + {C_RSP}], rax
    fxsave64 [rsp + {C_XMM}]
    mov     rdi, rsp
    call    {on_safepoint_full}
    leave
    .cfi_def_cfa rsp, 8
    .cfi_restore rbp
    ret
    end_function goroutine_asm_safepoint

# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------
# The thread block. `current` is never NULL, from before the runtime's start: emitted code may read through it anywhere.
    .section .tdata, "awT", @progbits
    .balign 8
    .hidden goroutine_tls
    .globl  goroutine_tls
    .type   goroutine_tls, @object
goroutine_tls:
    .quad   goroutine_dummy                 # TLS_CURRENT
    .quad   0                               # TLS_WORKER
    .quad   0                               # TLS_SCHED_SP
    .quad   0                               # TLS_THREAD
    .quad   0                               # TLS_BASE_SP
    .quad   0                               # TLS_NUMBER
    .quad   0                               # TLS_RANDOM
    .quad   0                               # TLS_ENDING
    .quad   0                               # TLS_TRACE_RING
    .quad   0                               # TLS_TRACE_NUMBER
    .quad   0                               # TLS_STAND
    .size   goroutine_tls, . - goroutine_tls

    .section .bss, "aw", @nobits
    .balign 64
    .hidden goroutine_dummy
    .globl  goroutine_dummy
    .type   goroutine_dummy, @object
goroutine_dummy:
    .zero   {G_BYTES}
    .size   goroutine_dummy, . - goroutine_dummy

    .balign 8
    .hidden goroutine_errno_offset
    .globl  goroutine_errno_offset
goroutine_errno_offset:                     # &errno - fs, the same on every thread; set before the first goroutine
    .zero   8
    .hidden goroutine_tracing
    .globl  goroutine_tracing
goroutine_tracing:                          # the trace that runs, and whether there is a sanitizer; 0: neither. In the line of the
                                            # word above, which every switch reads
    .zero   4
    .hidden goroutine_xsave_bytes
    .globl  goroutine_xsave_bytes
goroutine_xsave_bytes:
    .zero   4
    .hidden goroutine_xsave_mask
    .globl  goroutine_xsave_mask
goroutine_xsave_mask:
    .zero   4

# AddressSanitizer's way to take back what frames have marked; NULL in a program without it.
    .weak   __asan_unpoison_memory_region
    .section .data.rel.ro, "aw", @progbits
    .balign 8
    .hidden goroutine_asan_unpoison
    .globl  goroutine_asan_unpoison
goroutine_asan_unpoison:
    .quad   __asan_unpoison_memory_region

# What the sanitizers want to be told (src/sanitize.rs), NULL in a program without them.
    .weak   __sanitizer_start_switch_fiber
    .weak   __sanitizer_finish_switch_fiber
    .weak   __tsan_get_current_fiber
    .weak   __tsan_create_fiber
    .weak   __tsan_destroy_fiber
    .weak   __tsan_switch_to_fiber
    .weak   __tsan_set_fiber_name
    .weak   __tsan_acquire
    .weak   __tsan_release
    .weak   __tsan_ignore_thread_begin
    .weak   __tsan_ignore_thread_end
    .weak   AnnotateBenignRaceSized
    .hidden goroutine_sanitizer
    .globl  goroutine_sanitizer
goroutine_sanitizer:
    .quad   __sanitizer_start_switch_fiber
    .quad   __sanitizer_finish_switch_fiber
    .quad   __tsan_get_current_fiber
    .quad   __tsan_create_fiber
    .quad   __tsan_destroy_fiber
    .quad   __tsan_switch_to_fiber
    .quad   __tsan_set_fiber_name
    .quad   __tsan_acquire
    .quad   __tsan_release
    .quad   __tsan_ignore_thread_begin
    .quad   __tsan_ignore_thread_end
    .quad   AnnotateBenignRaceSized

    .section .note.GNU-stack, "", @progbits
    .text

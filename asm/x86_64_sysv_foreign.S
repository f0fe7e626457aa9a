# Foreign calls for x86-64, System V ABI, ELF: C runs on the thread's native stack, language code on the goroutine's.
# Assembled together with x86_64_sysv.S, whose macros it uses.
#
# What is here
#   goroutine_asm_native_call  the call itself, for execute_ffi_call and goroutine_ffi_call_leaf
#   goroutine_asm_traced_call  the same while a trace runs, or with a sanitizer
#   goroutine_asm_ffi_*_slow   the same when something has to be done first
#   goroutine_asm_blocking_call  the same, having let go of the worker, for goroutine_ffi_call_blocking
#   goroutine_asm_ffi_blocking and when something has to be done first
#   goroutine_asm_ffi_checked  goroutine_ffi_call: any of the three, with a status
#   goroutine_asm_callback_run C calls language code
#   goroutine_asm_ffi_landed   after a jump over C frames
#
# How the two stacks interleave: a goroutine G that called C (f), which called G's language back (cb), which called C (g)
#
#      G's stack                                  its thread's native stack
#      +---------------------------+ high         +---------------------------+ high
#      | language frames           |              | scheduler's frame         | <- base_sp; [rsp] = control words
#      | foreign call's frame      |              | frames of f               |
#      | record of the callback ---------+        +---------------------------+
#      | frames of cb              |     +------> | callback's frame          | <- sched_sp = native_stack
#      | foreign call's frame      |              | frames of g               |
#      +---------------------------+ low          +---------------------------+ low
#        ^ foreign_sp, while g runs
#
# Invariants, of a goroutine that runs
#   N1. native_stack is 0 or the thread's sched_sp: 16-aligned, below every C frame that is live.
#   N2. foreign_sp is not 0 while C runs, and is then where the goroutine's live stack begins.
#   N3. a callback's frame has the layout of goroutine_asm_thread_run's: a park inside the callback schedules from there, and
#       unwinders walk from there into the C frames. Only its control words at entry are not used: in their place lies
#       the sched_sp before.
#   N4. sched_sp differs from base_sp exactly while a callback is live. From base_sp on, [frame + 8] is the record of the
#       callback that was made out of this frame's C code, or 0, and [record] is that callback's frame: a list from the outermost
#       one inwards, so that after a jump the part of it that is live can be read, whatever has become of the rest.
#
# Calls and returns are paired on both stacks, so the predictor's stack stays right. Nothing of a call is loaded after a
# store of another size to the same place, so every load that finds a store under way gets its value from there.

    .text

# Calls C: rax = the goroutine, rsi = function, rdx = its argument; on the goroutine's stack, native_stack is set.
# Unwinders find the caller through rbp, whichever stack rsp is on.
    .macro native_call polls
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    .if \polls
# A foreign call's frame and a callback's lie between two stacks whose addresses are in any order. GDB takes a frame below that
# of its callee for the sign of a broken stack, but in a function of this very name, which it knows from gcc's split stacks.
    .type   __morestack, @function
__morestack:
    .endif
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    .cfi_offset rbx, -24
    push    r12                             # for collectors, which cannot look into the registers of C that runs
    push    r13
    push    r14
    push    r15
    mov     rbx, rax
    mov     rdi, rdx
    inc     dword ptr [rbx + {G_CALLS}]
    mov     [rbx + {G_FOREIGN_SP}], rsp
    mov     rsp, [rbx + {G_NATIVE_STACK}]
    call    rsi
    cmp     rsp, [rbx + {G_NATIVE_STACK}]
    jne     71f                             # C jumped over callbacks: their frames are still counted
72: mov     qword ptr [rbx + {G_FOREIGN_SP}], 0
    lea     rsp, [rbp - 8]
    .if \polls
    cmp     dword ptr [rbx + {G_PREEMPT}], 0
    jne     73f
    .endif
    pop     rbx
    .cfi_remember_state
    .cfi_restore rbx
    pop     rbp
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_restore_state
71: mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     fs:[r8 + {TLS_SCHED_SP}], rsp
    mov     [rbx + {G_NATIVE_STACK}], rsp
    mov     qword ptr [rsp + 8], 0
    or      dword ptr [rbx + {G_SPAWN_FLAGS}], {FOREIGN_DISCARDED}
    mov     dword ptr [rbx + {G_PREEMPT}], 1
    jmp     72b
    .if \polls
73: mov     rbx, rax                        # rbx = the result
    and     rsp, -16
    call    {on_ffi_return}
    frame_is_last
    mov     rax, rbx
    mov     rbx, [rbp - 8]
    .cfi_restore rbx
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    .endif
    .endm

# Behind execute_ffi_call and goroutine_ffi_call_leaf (src/capi/ffi.rs), which come here with all looked at: 10 instructions there, 24
# here, the second call and return among them; 10 stores, no atomic instruction; 7 branches that are predicted the same way. Lines:
# the TLS block, the goroutine's 1st, 2nd and 4th, that of goroutine_tracing, one of each stack.
    function goroutine_asm_native_call
    cmp     dword ptr [rip + goroutine_tracing], 0
    jne     goroutine_asm_traced_call
.Lnative_call:
    native_call 1
    .cfi_endproc

    .balign 16
    .cfi_startproc
.Lnative_call_quiet:
    native_call 0
    .cfi_endproc

# Behind goroutine_ffi_call_blocking (src/capi/ffi.rs). rdi = function, rsi = argument, rax = the goroutine, which has no native
# stack yet, r8 = TLS offset, r9 = its worker. The way there and back if the call is short and nothing happens: 57 instructions
# over a direct call, with those in front of this; 18 stores, no atomic instruction; 10 branches that are predicted the
# same way. Lines: the TLS block, the goroutine's 1st, 2nd and 4th, the worker's call word, one of each stack.
#
# The steps are those of src/sched/call_word.rs. (The symbol ends at once: what follows belongs to __morestack.)
    .balign 64
    .globl  goroutine_asm_blocking_call
    .hidden goroutine_asm_blocking_call
    .type   goroutine_asm_blocking_call, @function
goroutine_asm_blocking_call:
    .cfi_startproc
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    .size   goroutine_asm_blocking_call, . - goroutine_asm_blocking_call
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    .cfi_offset rbx, -24
    push    r12                             # as in native_call
    push    r13
    push    r14
    push    r15
    mov     rbx, rax                        # rbx = the goroutine
    mov     r10, fs:[r8 + {TLS_SCHED_SP}]   # r10 = its native stack
    mov     rcx, [r9 + {W_CALL_NUMBER}]
    add     rcx, {CALL_STEP}                # rcx = the call
    lea     rdx, [rbx + {G_LENT_CALL}]
    mov     qword ptr fs:[r8 + {TLS_WORKER}], 0
    mov     [rbx + {G_LENT}], r9
    mov     [rdx], rcx
    mov     [r9 + {W_CALL_BORROWER}], rdx
    mov     [rbx + {G_NATIVE_STACK}], r10
    mov     [rbx + {G_FOREIGN_SP}], rsp
    mov     [r9 + {W_CALL_NUMBER}], rcx     # step 1: from here on the worker may be taken away
    mov     rax, rdi
    mov     rdi, rsi
    mov     rsp, r10
    call    rax
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    cmp     rsp, [rbx + {G_NATIVE_STACK}]
    jne     3f                              # C jumped over callbacks: their frames are still counted
    mov     r9, [rbx + {G_LENT}]            # not what they were if there was a callback
    mov     rcx, [rbx + {G_LENT_CALL}]
    mov     qword ptr [rbx + {G_FOREIGN_SP}], 0
    lea     rsp, [rbp - 8]
    cmp     rbx, fs:[r8 + {TLS_CURRENT}]
    jne     2f                              # a child of fork
    test    rcx, rcx
    jz      2f                              # a callback parked: the goroutine is bound
    mov     qword ptr [rbx + {G_LENT_CALL}], 0 # step 3
    cmp     [r9 + {W_CALL_CLAIM}], rcx      # step 4: not before
    jae     1f
    mov     fs:[r8 + {TLS_WORKER}], r9
    mov     qword ptr [rbx + {G_NATIVE_STACK}], 0
    cmp     dword ptr [rbx + {G_PREEMPT}], 0
    jne     2f
    pop     rbx
    .cfi_remember_state
    .cfi_restore rbx
    pop     rbp
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_restore_state
1:  mov     [rbx + {G_LENT_CALL}], rcx      # claimed: as if we had not been here yet
2:  mov     rdi, rbx
    mov     rbx, rax                        # rbx = the result
    and     rsp, -16
    call    {on_blocking_exit}
    frame_is_last
    mov     rax, rbx
    mov     rbx, [rbp - 8]
    .cfi_remember_state
    .cfi_restore rbx
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_restore_state
3:  mov     fs:[r8 + {TLS_SCHED_SP}], rsp
    mov     [rbx + {G_NATIVE_STACK}], rsp
    mov     qword ptr [rsp + 8], 0
    or      dword ptr [rbx + {G_SPAWN_FLAGS}], {FOREIGN_DISCARDED}
    mov     dword ptr [rbx + {G_PREEMPT}], 1
    mov     qword ptr [rbx + {G_FOREIGN_SP}], 0
    lea     rsp, [rbp - 8]
    jmp     2b
    .cfi_endproc

# DWARF: the CFA is [rsp + 0] + 80 (DW_CFA_def_cfa_expression; DW_OP_breg7 0, DW_OP_deref, DW_OP_plus_uconst 80)
    .macro cfi_cfa_in_record
    .cfi_escape 0x0f, 5, 0x77, 0, 0x06, 0x23, 80
    .endm

# The body of a callback: calls rax(rdi, rsi) on the stack of the goroutine in rcx, from foreign_sp down. On the native stack,
# rsp at 8 mod 16, r8 = TLS offset. What it calls may clobber any register but rsp.
#
# The record, on the goroutine's stack: 0 the callback's frame, 8 the goroutine, 16 foreign_sp before.
    .balign 64
    .cfi_startproc
.Lcallback:
    push_callee_saved
    sub     rsp, 24
    .cfi_def_cfa_offset 80
    mov     r9, [rcx + {G_FOREIGN_SP}]
    mov     r10, fs:[r8 + {TLS_SCHED_SP}]
    lea     r11, [r9 - 32]
    and     r11, -16                        # r11 = the record
    mov     [r11], rsp
    mov     [r11 + 8], rcx
    mov     [r11 + 16], r9
    mov     qword ptr [rsp + 8], 0
    mov     [rsp + 16], r10
    mov     [r10 + 8], r11
    mov     fs:[r8 + {TLS_SCHED_SP}], rsp
    mov     [rcx + {G_NATIVE_STACK}], rsp
    mov     qword ptr [rcx + {G_FOREIGN_SP}], 0
    mov     rsp, r11
    cfi_cfa_in_record
    cmp     dword ptr [rcx + {G_PREEMPT}], 0
    jne     3f                              # the world may be stopped: C counted as standing, language code does not
4:  call    rax
    frame_is_last
    mov     rcx, [rsp + 8]                  # the goroutine: not through fs, for we may be a child of fork by now
    test    dword ptr [rcx + {G_SPAWN_FLAGS}], {ON_THE_SPOT}
    jnz     2f
1:  mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     r9, [rsp + 16]
    mov     rsp, [rsp]
    .cfi_def_cfa rsp, 80
    mov     r10, [rsp + 16]
    mov     qword ptr [r10 + 8], 0
    mov     [rcx + {G_FOREIGN_SP}], r9
    mov     [rcx + {G_NATIVE_STACK}], r10
    mov     fs:[r8 + {TLS_SCHED_SP}], r10
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
    .cfi_startproc
    cfi_cfa_in_record
    .cfi_offset rip, -8
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    .cfi_offset r12, -32
    .cfi_offset r13, -40
    .cfi_offset r14, -48
    .cfi_offset r15, -56
2:  mov     dword ptr [rcx + {G_PREEMPT}], 1 # it parked: the caller's poll gives the thread back, once no C frame is left
    jmp     1b
3:  mov     rbx, rax                        # in registers whose values are C's, and saved
    mov     rbp, rdi
    mov     r12, rsi
    mov     r13, rdx
    call    {on_callback_asked}
    frame_is_last
    mov     rax, rbx
    mov     rdi, rbp
    mov     rsi, r12
    mov     rdx, r13
    jmp     4b
    .cfi_endproc
    links                                   # x86_64_sysv_growth.S
    .size   __morestack, . - __morestack

# goroutine_asm_native_call while a trace runs, or with a sanitizer: the call and the return are recorded. (Not among the above: GDB looks no further than one
# symbol back for __morestack.)
    function goroutine_asm_traced_call
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    .cfi_offset rbx, -24
    push    r12
    .cfi_offset r12, -32
    push    r13
    .cfi_offset r13, -40
    and     rsp, -16
    mov     rbx, rax                        # rbx = the goroutine
    mov     r12, rsi                        # r12 = function
    mov     r13, rdx                        # r13 = argument
    mov     rdi, rax
    call    {on_traced_call}
    mov     rax, rbx
    mov     rsi, r12
    mov     rdx, r13
    call    .Lnative_call
    frame_is_last
    mov     r12, rax                        # r12 = the result
    mov     rdi, rbx
    call    {on_traced_return}
    mov     rax, r12
    mov     r13, [rbp - 24]
    .cfi_restore r13
    mov     r12, [rbp - 16]
    .cfi_restore r12
    mov     rbx, [rbp - 8]
    .cfi_restore rbx
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    end_function goroutine_asm_traced_call

# ---------------------------------------------------------------------------------------------------------------------
# The slow ways of both. rdi = current or NULL, rsi = function, rdx = argument.
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_ffi_leaf_slow
    xor     edi, edi
    mov     ecx, {KIND_LEAF}
    jmp     goroutine_asm_ffi_slow
    end_function goroutine_asm_ffi_leaf_slow

    function goroutine_asm_ffi_bound_slow
    mov     ecx, {KIND_BOUND}
    jmp     goroutine_asm_ffi_slow
    end_function goroutine_asm_ffi_bound_slow

# The same with ecx = kind: on_ffi_slow makes ready and says what to do. It is not left on the stack meanwhile, so that
# C++ exceptions have no frame of ours to pass but this one.
    function goroutine_asm_ffi_slow
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    .cfi_offset rbx, -24
    push    r12
    .cfi_offset r12, -32
    and     rsp, -16
    mov     rbx, rsi                        # rbx = function
    mov     r12, rdx                        # r12 = argument
    call    {on_ffi_slow}
    frame_is_last
    mov     ecx, eax                        # ecx = how
    call    goroutine_asm_ffi_how
    frame_is_last
    mov     r12, [rbp - 16]
    .cfi_restore r12
    mov     rbx, [rbp - 8]
    .cfi_restore rbx
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    end_function goroutine_asm_ffi_slow

# ecx = HOW_*, rbx = function, r12 = argument; rsp at 8 mod 16.
    function goroutine_asm_ffi_how
    mov     rsi, rbx
    mov     rdx, r12
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[r8 + {TLS_CURRENT}]
    cmp     ecx, {HOW_NATIVE}
    je      goroutine_asm_native_call
    cmp     ecx, {HOW_BLOCKING}
    je      .Lblocking
    xor     eax, eax
    mov     rdi, r12
    cmp     ecx, {HOW_DIRECT}
    jne     1f
    jmp     rbx
1:  ret
    end_function goroutine_asm_ffi_how

# ---------------------------------------------------------------------------------------------------------------------
# GoroutineStatus goroutine_ffi_call(uint32_t kind, void *(*function)(void *), void *argument, void **result)
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_ffi_checked
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    .cfi_offset rbx, -24
    push    r12
    .cfi_offset r12, -32
    push    r13
    .cfi_offset r13, -40
    and     rsp, -16
    mov     rbx, rsi
    mov     r12, rdx
    mov     r13, rcx                        # r13 = result
    call    {on_ffi_checked}                # a status, or HOW_*
    frame_is_last
    test    eax, eax
    js      1f
    mov     ecx, eax
    call    goroutine_asm_ffi_how
    frame_is_last
    test    r13, r13
    jz      2f
    mov     [r13], rax
2:  xor     eax, eax
1:  mov     r13, [rbp - 24]
    .cfi_restore r13
    mov     r12, [rbp - 16]
    .cfi_restore r12
    mov     rbx, [rbp - 8]
    .cfi_restore rbx
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    end_function goroutine_asm_ffi_checked

# ---------------------------------------------------------------------------------------------------------------------
# void *goroutine_ffi_call_blocking(void *(*function)(void *), void *argument)
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_ffi_blocking
    mov     rdx, rsi
    mov     rsi, rdi
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[r8 + {TLS_CURRENT}]
    test    rsi, rsi
    jz      1f
    test    byte ptr [rax + {G_FLAGS}], {FLAG_BOUND}
    jnz     1f                              # it has no worker to let go of
    cmp     qword ptr [rax + {G_ID}], 0
    je      1f                              # a plain thread
    cmp     qword ptr [rax + {G_FOREIGN_SP}], 0
    je      .Lblocking
1:  mov     ecx, {KIND_BLOCKING}
    xor     edi, edi
    jmp     goroutine_asm_ffi_slow
.Lblocking:                                 # rsi = function, rdx = argument
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rbx
    .cfi_offset rbx, -24
    push    r12
    .cfi_offset r12, -32
    and     rsp, -16
    mov     rbx, rsi
    mov     r12, rdx
    mov     rdi, rax
    call    {on_blocking_enter}             # (the goroutine, function) gives the goroutine back
    frame_is_last
    mov     rsi, rbx
    mov     rdx, r12
    mov     r12, rax                        # r12 = the goroutine
    call    .Lnative_call_quiet
    frame_is_last
    mov     rdi, r12
    mov     rbx, rax                        # rbx = the result
    call    {on_blocking_exit}
    frame_is_last
    mov     rax, rbx
    mov     r12, [rbp - 16]
    .cfi_restore r12
    mov     rbx, [rbp - 8]
    .cfi_restore rbx
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    end_function goroutine_asm_ffi_blocking

# ---------------------------------------------------------------------------------------------------------------------
# void *goroutine_callback_run(void *(*function)(void *), void *argument)
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_callback_run
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rcx, fs:[r8 + {TLS_CURRENT}]
    mov     rax, rdi
    mov     rdi, rsi                        # rax(rdi)
    test    rax, rax
    jz      3f
    cmp     qword ptr [rcx + {G_FOREIGN_SP}], 0
    jne     goroutine_asm_callback          # from C on the native stack
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    and     rsp, -16
    cmp     qword ptr [rcx + {G_ID}], 0
    je      1f
    mov     rsi, rdi                        # from the language itself: a call
    mov     rdi, rax
    call    goroutine_asm_call
    frame_is_last
    jmp     2f
1:  mov     rsi, rdi                        # a thread without a goroutine
    mov     rdi, rax
    mov     rdx, [rbp + 8]                  # who calls
    call    {on_callback_of_thread}
    frame_is_last
2:  leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
3:  ret
    end_function goroutine_asm_callback_run

# rax(rdi, rsi) on the stack of the goroutine in rcx, whose C called us. r8 = TLS offset.
    function goroutine_asm_callback
    cmp     dword ptr [rip + goroutine_tracing], 0
    jne     2f
    cmp     qword ptr [rcx + {G_LENT_CALL}], 0
    je      1f
    mov     rdx, rax
    lea     rax, [rip + {on_callback_in_blocking}] # gets a worker again first: (argument, argument, function)
1:  test    spl, 8
    jnz     .Lcallback
    push    rbp                             # rsp at 0 mod 16: emitted code called it
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    and     rsp, -16
    call    .Lcallback
    frame_is_last
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
2:  mov     rdx, rax
    lea     rax, [rip + {on_callback_watched}] # a sanitizer may want to know: (argument, argument, function)
    jmp     1b
    end_function goroutine_asm_callback

# A park that C itself asked for, on the native stack: as a callback that parks. rax = the goroutine, r8 = TLS offset,
# goroutine_asm_park's arguments in their registers.
    function goroutine_asm_park_in_c
    mov     rcx, rax
    lea     rax, [rip + goroutine_asm_park]
    jmp     goroutine_asm_callback
    end_function goroutine_asm_park_in_c

# ---------------------------------------------------------------------------------------------------------------------
# void goroutine_ffi_landed(void): a longjmp or a throw went over C frames, and landed here.
#
# On the goroutine's stack the callbacks whose records lie below rsp are over, on the native stack those whose frames do.
# What lies below may be overwritten by now, but for the outermost dead record when it is the native stack (N4).
# ---------------------------------------------------------------------------------------------------------------------
    function goroutine_asm_ffi_landed
    mov     r8, [rip + goroutine_tls@GOTTPOFF]
    mov     rax, fs:[r8 + {TLS_CURRENT}]
    cmp     qword ptr [rax + {G_ID}], 0
    je      9f
    mov     rcx, [rax + {G_SEGMENT}]
    or      rcx, [rax + {G_RESERVE}]
    jnz     8f                              # addresses do not say what is deeper
    mov     r9, fs:[r8 + {TLS_BASE_SP}]     # r9 = a frame that is live
    mov     r11, [rax + {G_FOREIGN_SP}]
    movzx   ecx, byte ptr [rax + {G_CLASS}]
    mov     rdx, rax
    sub     rdx, rsp
    shr     rdx, cl                         # rdx = 0: on the goroutine's stack
    xor     edi, edi                        # edi = whether C frames were jumped over
    test    rdx, rdx
    jnz     1f
    test    r11, r11
    setne   dil
    xor     r11d, r11d                      # no C runs now
1:  mov     r10, [r9 + 8]                   # r10 = the record of the next callback inwards
    test    r10, r10
    jz      4f
    test    rdx, rdx
    jnz     2f
    cmp     r10, rsp
    jb      3f                              # dead
    mov     r9, [r10]
    jmp     1b
2:  mov     rcx, [r10]
    cmp     rcx, rsp
    jb      5f                              # dead
    mov     r9, rcx
    jmp     1b
5:  mov     r11, [r10 + 16]                 # foreign_sp as it was in the C code that called it back
3:  mov     edi, 1
    mov     qword ptr [r9 + 8], 0
4:  test    edi, edi
    jz      9f
    mov     fs:[r8 + {TLS_SCHED_SP}], r9
    mov     [rax + {G_FOREIGN_SP}], r11
    mov     [rax + {G_NATIVE_STACK}], r9
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    mov     rsi, r11                        # rsi = below what the goroutine's stack is dead
    test    r11, r11
    cmovz   rsi, rsp
    and     rsp, -16
    mov     rdi, rax
    call    {on_landed}
    frame_is_last
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
9:  ret
8:  push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    lea     rsi, [rsp + 8]
    and     rsp, -16
    mov     rdi, rax
    call    {on_landed_among_segments}
    frame_is_last
    leave
    .cfi_restore rbp
    .cfi_def_cfa rsp, 8
    ret
    end_function goroutine_asm_ffi_landed

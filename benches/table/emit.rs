//! Machine code as a JIT compiler emits it: loops that call C, in the ways that docs/jit.md describes.

use goroutine::abi::*;
use goroutine::capi::goroutine::goroutine_safepoint;
use goroutine::capi::runtime::goroutine_tls_offset;
use std::ffi::c_void;
use std::sync::OnceLock;

/// Calls `function(argument)` so many times; `entry` is the function of the library that it goes through, if it goes through one.
pub type Loop =
    unsafe extern "C" fn(times: u64, function: *const c_void, argument: *mut c_void, entry: *const c_void);

/// How a loop calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `call rax`.
    Direct,
    /// entry(function, argument).
    Two,
    /// entry(current, function, argument).
    Three,
    /// The inline sequence, for a goroutine that is bound.
    InlineBound,
    /// The inline sequence of a leaf call, for one that has a native stack.
    InlineLeaf,
    /// Not at all.
    Empty,
    /// Not at all, but it polls.
    Polls,
}

const LOOPS: usize = 7;
const PAGE: usize = 4096;

/// The loop. It is made once, and stays until the process ends.
pub fn emitted(way: Way) -> Loop {
    static MADE: [OnceLock<Loop>; LOOPS] = [const { OnceLock::new() }; LOOPS];
    *MADE[way as usize].get_or_init(|| emit(way))
}

/// Registers: rbx the current goroutine, rbp entry, r12 function, r13 rsp across an inline call, r14 times left, r15 argument.
fn emit(way: Way) -> Loop {
    let mut code: Vec<u8> = Vec::new();
    let mut to_trap: Vec<usize> = Vec::new();
    let mut put = |bytes: &[u8]| {
        code.extend_from_slice(bytes);
        code.len()
    };
    put(b"\x55\x53\x41\x54\x41\x55\x41\x56\x41\x57"); // push rbp, rbx, r12, r13, r14, r15
    put(b"\x48\x83\xEC\x08"); // sub rsp, 8: rsp is 0 mod 16
    put(b"\x49\x89\xFE\x49\x89\xF4\x49\x89\xD7\x48\x89\xCD"); // mov r14, rdi; mov r12, rsi; mov r15, rdx; mov rbp, rcx
    put(b"\x64\x48\x8B\x1C\x25"); // mov rbx, fs:[current]
    // SAFETY: callable anywhere.
    let offset = unsafe { goroutine_tls_offset() };
    let prologue = put(&offset.to_le_bytes());
    let top = put(&vec![0x90; prologue.next_multiple_of(64) - prologue]); // as compilers align loops
    match way {
        Way::Direct => {
            put(b"\x4C\x89\xFF\x4C\x89\xE0\xFF\xD0"); // mov rdi, r15; mov rax, r12; call rax
        }
        Way::Two => {
            put(b"\x4C\x89\xE7\x4C\x89\xFE\xFF\xD5"); // mov rdi, r12; mov rsi, r15; call rbp
        }
        Way::Three => {
            put(b"\x48\x89\xDF\x4C\x89\xE6\x4C\x89\xFA\xFF\xD5"); // mov rdi, rbx; mov rsi, r12; mov rdx, r15; call rbp
        }
        Way::InlineBound | Way::InlineLeaf => {
            put(b"\x4C\x89\xFF\x4C\x89\xE0"); // mov rdi, r15; mov rax, r12
            if way == Way::InlineBound {
                put(&[0xF6, 0x43, GOROUTINE_OFFSET_FLAGS as u8, 1]); // test byte [rbx + 20], 1
            } else {
                put(&[0x48, 0x83, 0x7B, GOROUTINE_OFFSET_NATIVE_STACK as u8, 0]); // cmp qword [rbx + 24], 0
            }
            to_trap.push(put(b"\x0F\x84\0\0\0\0")); // je slow
            put(b"\x49\x89\xE5"); // mov r13, rsp
            put(&[0x48, 0x89, 0x63, GOROUTINE_OFFSET_FOREIGN_SP as u8]); // mov [rbx + 64], rsp
            put(&[0x48, 0x8B, 0x63, GOROUTINE_OFFSET_NATIVE_STACK as u8]); // mov rsp, [rbx + 24]
            put(b"\xFF\xD0\x4C\x89\xEC"); // call rax; mov rsp, r13
            put(&[0x48, 0xC7, 0x43, GOROUTINE_OFFSET_FOREIGN_SP as u8, 0, 0, 0, 0]); // mov qword [rbx + 64], 0
            put(&[0x83, 0x7B, GOROUTINE_OFFSET_PREEMPT as u8, 0]); // cmp dword [rbx + 16], 0
            to_trap.push(put(b"\x0F\x85\0\0\0\0")); // jne safepoint
        }
        Way::Empty => {}
        Way::Polls => {
            put(&[0x83, 0x7B, GOROUTINE_OFFSET_PREEMPT as u8, 0]); // cmp dword [rbx + 16], 0
            to_trap.push(put(b"\x0F\x85\0\0\0\0")); // jne safepoint
        }
    }
    put(b"\x49\xFF\xCE"); // dec r14
    let back = put(b"\x0F\x85\0\0\0\0"); // jne top
    put(b"\x48\x83\xC4\x08"); // add rsp, 8
    let trap = put(b"\x41\x5F\x41\x5E\x41\x5D\x41\x5C\x5B\x5D\xC3"); // pop r15, r14, r13, r12, rbx, rbp; ret
    put(b"\x0F\x0B"); // ud2: the slow ways. Here the goroutine is bound before, and nobody asks it to stop.
    for (from, to) in to_trap.into_iter().map(|from| (from, trap)).chain([(back, top)]) {
        code[from - 4..from].copy_from_slice(&(to as i32 - from as i32).to_le_bytes());
    }
    // SAFETY: code of this type.
    unsafe { std::mem::transmute::<*mut c_void, Loop>(map(&code, way as usize)) }
}

/// A goroutine's function: a loop without an end that polls, until the byte at its argument is not 0.
pub fn polls_until() -> GoroutineFn {
    static LOOP: OnceLock<usize> = OnceLock::new();
    let code = *LOOP.get_or_init(|| {
        let mut code = b"\x53\x41\x54\x48\x83\xEC\x08\x49\x89\xFC".to_vec(); // push rbx, r12; sub rsp, 8; mov r12, rdi
        code.extend(b"\x64\x48\x8B\x1C\x25"); // mov rbx, fs:[current]
        // SAFETY: callable anywhere.
        code.extend(unsafe { goroutine_tls_offset() }.to_le_bytes());
        code.resize(64, 0x90);
        code.extend(b"\x41\x80\x3C\x24\x00\x75\x14"); // 0: cmp byte [r12], 0; jne 27
        code.extend([0x83, 0x7B, GOROUTINE_OFFSET_PREEMPT as u8, 0]); // 7: cmp dword [rbx + 16], 0
        code.extend(b"\x74\xF3\x48\xB8"); // 11: je 0; mov rax, goroutine_safepoint
        code.extend((goroutine_safepoint as *const () as u64).to_le_bytes());
        code.extend(b"\xFF\xD0\xEB\xE5"); // 23: call rax; jmp 0
        code.extend(b"\x31\xC0\x48\x83\xC4\x08\x41\x5C\x5B\xC3"); // 27: xor eax, eax; add rsp, 8; pop r12, rbx; ret
        map(&code, LOOPS) as usize
    });
    // SAFETY: code of this type.
    Some(unsafe { std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void) -> *mut c_void>(code) })
}

/// The code in a page of its own, near the program.
fn map(code: &[u8], number: usize) -> *mut c_void {
    assert!(code.len() <= PAGE);
    // SAFETY: a fresh page, written before it becomes code, and never unmapped.
    unsafe {
        let (write, execute) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::PROT_READ | libc::PROT_EXEC,
        );
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // Near the library, as a JIT's code is near a shared object. (A branch to more than 4 GiB away takes two cycles more on
        // some CPUs, which would hide a part of what is measured.)
        let here = (emit as fn(Way) -> Loop as usize) & !(PAGE - 1);
        let near = here - (64 << 20) - number * PAGE;
        let page = libc::mmap(near as *mut c_void, PAGE, write, anonymous, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        assert!(
            (page as usize).abs_diff(near) < 1 << 31,
            "no room near the program"
        );
        page.cast::<u8>().copy_from(code.as_ptr(), code.len());
        assert_eq!(libc::mprotect(page, PAGE, execute), 0);
        page
    }
}

//! What a prologue check costs, and what it is for: the same emitted code with and without.

use super::{median, run, spawn_on};
use goroutine::capi::growth::goroutine_more_stack_prologue;
use goroutine::capi::runtime::goroutine_tls_offset;
use std::ffi::c_void;
use std::time::Instant;

const SLICES: usize = 201;

/// Whether that is a row of this file.
pub fn is_one(row: &str) -> bool {
    row.starts_with("growth_")
}

type Code = unsafe extern "C" fn(n: u64) -> u64;

/// The ns of one call without, and with.
pub fn round(row: &str) -> Option<String> {
    const CALLS_OF_FIB_15: u64 = 1973;
    const LOOP: u64 = 2000;
    const DEEP: u64 = 100_000;
    let (codes, n, calls, stack_bytes) = match row {
        "growth_check" => ([fib(None), fib(Some(false))], 15, CALLS_OF_FIB_15, 0),
        "growth_cross" => ([crossing(None), crossing(Some(false))], LOOP, LOOP, 0),
        "growth_cross_paired" => ([crossing(None), crossing(Some(true))], LOOP, LOOP, 0),
        "growth_deep" => ([deep(None), deep(Some(true))], DEEP, DEEP, 1 << 26),
        _ => return None,
    };
    // Without a check on one stack that is large enough, with one on the default one, which grows. The spare is warm after the first.
    let of = |code: Code, stack_bytes: u64| {
        let slices = move || {
            let slice = |_| {
                let start = Instant::now();
                // SAFETY: emitted below, for a goroutine.
                std::hint::black_box(unsafe { code(n) });
                start.elapsed().as_nanos() as f64 / calls as f64
            };
            median((0..if calls == DEEP { 9 } else { SLICES }).map(slice).collect())
        };
        if stack_bytes == 0 {
            run(slices)
        } else {
            spawn_on(stack_bytes, slices)
        }
    };
    Some(format!("{:.3} {:.3}", of(codes[0], stack_bytes), of(codes[1], 0)))
}

/// `mov rax, fs:[current]; cmp rsp, [rax]; jb`, to where `paired` or not the function goes on with more stack; nothing for None.
fn check(code: &mut Vec<u8>, paired: Option<bool>) -> Option<usize> {
    paired?;
    code.extend(b"\x64\x48\x8B\x04\x25");
    // SAFETY: callable anywhere.
    code.extend(unsafe { goroutine_tls_offset() }.to_le_bytes());
    code.extend(b"\x48\x3B\x20\x0F\x82\0\0\0\0");
    Some(code.len())
}

fn more(code: &mut Vec<u8>, jump: Option<usize>, paired: Option<bool>) {
    let Some(jump) = jump else { return };
    let here = code.len();
    code[jump - 4..jump].copy_from_slice(&((here - jump) as i32).to_le_bytes());
    call_prologue(code, paired == Some(true));
    code.push(0xE9); // jmp body
    let distance = jump as i32 - (code.len() as i32 + 4);
    code.extend(distance.to_le_bytes());
}

fn call_prologue(code: &mut Vec<u8>, paired: bool) {
    code.extend(b"\x41\xBA\x40\0\0\0\x45\x31\xDB\x48\xB8"); // mov r10d, 64; xor r11d, r11d; mov rax, ...
    code.extend((goroutine_more_stack_prologue as *const c_void as u64).to_le_bytes());
    code.extend(b"\xFF\xD0"); // call rax
    if paired {
        code.push(0xC3);
    }
}

fn call_start(code: &mut Vec<u8>) {
    code.push(0xE8);
    let distance = -(code.len() as i32 + 4);
    code.extend(distance.to_le_bytes());
}

fn fib(paired: Option<bool>) -> Code {
    let mut code = Vec::new();
    let jump = check(&mut code, paired);
    code.extend(b"\x53\x55\x48\x83\xEC\x08\x48\x89\xFB\x48\x89\xF8"); // push rbx, rbp; sub rsp, 8; mov rbx, rdi; mov rax, rdi
    code.extend(b"\x48\x83\xFF\x02\x0F\x82\x18\0\0\0\x48\x8D\x7B\xFF"); // cmp rdi, 2; jb +24; lea rdi, [rbx - 1]
    call_start(&mut code);
    code.extend(b"\x48\x89\xC5\x48\x8D\x7B\xFE"); // mov rbp, rax; lea rdi, [rbx - 2]
    call_start(&mut code);
    code.extend(b"\x48\x01\xE8"); // add rax, rbp
    code.extend(b"\x48\x83\xC4\x08\x5D\x5B\xC3"); // add rsp, 8; pop rbp, rbx; ret
    more(&mut code, jump, paired);
    finish(code)
}

/// Calls a function n times that returns at once; with a link, on a segment.
fn crossing(paired: Option<bool>) -> Code {
    let mut code = Vec::new();
    code.extend(b"\x53\x48\x89\xFB"); // push rbx; mov rbx, rdi
    let top = code.len();
    code.extend(b"\xE8\x07\0\0\0\x48\xFF\xCB\x75\xF6\x5B\xC3"); // call f; dec rbx; jne top; pop rbx; ret; f:
    assert_eq!(code.len(), top + 12);
    if let Some(paired) = paired {
        call_prologue(&mut code, paired);
    }
    code.extend(b"\x48\x89\xF8\xC3"); // mov rax, rdi; ret
    finish(code)
}

/// Calls itself n deep, in frames of 128 bytes.
fn deep(paired: Option<bool>) -> Code {
    let mut code = Vec::new();
    let jump = check(&mut code, paired);
    code.extend(b"\x48\x83\xEC\x78\x48\x89\x3C\x24\x48\xFF\xCF\x74\x05"); // sub rsp, 120; mov [rsp], rdi; dec rdi; je +5
    call_start(&mut code);
    code.extend(b"\x48\x8B\x04\x24\x48\x83\xC4\x78\xC3"); // mov rax, [rsp]; add rsp, 120; ret
    more(&mut code, jump, paired);
    finish(code)
}

fn finish(code: Vec<u8>) -> Code {
    const PAGE: usize = 4096;
    assert!(code.len() <= PAGE);
    // SAFETY: a fresh page, written before it becomes code, and never unmapped.
    unsafe {
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let write = libc::PROT_READ | libc::PROT_WRITE;
        let page = libc::mmap(std::ptr::null_mut(), PAGE, write, anonymous, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        page.cast::<u8>().copy_from(code.as_ptr(), code.len());
        assert_eq!(libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_EXEC), 0);
        std::mem::transmute::<*mut c_void, Code>(page)
    }
}

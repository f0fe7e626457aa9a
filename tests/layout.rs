//! The frozen layouts, field by field, from the outside: what the C header says in literals.

use goroutine::abi::*;
use memoffset::{offset_of, span_of};
use std::mem::{align_of, size_of};

#[test]
fn context_is_688_bytes_in_the_order_of_the_contract() {
    assert_eq!(
        (size_of::<GoroutineContext>(), align_of::<GoroutineContext>()),
        (688, 16)
    );
    let general = [
        span_of!(GoroutineContext, rax),
        span_of!(GoroutineContext, rbx),
        span_of!(GoroutineContext, rcx),
        span_of!(GoroutineContext, rdx),
        span_of!(GoroutineContext, rsi),
        span_of!(GoroutineContext, rdi),
        span_of!(GoroutineContext, rbp),
        span_of!(GoroutineContext, r8),
        span_of!(GoroutineContext, r9),
        span_of!(GoroutineContext, r10),
        span_of!(GoroutineContext, r11),
        span_of!(GoroutineContext, r12),
        span_of!(GoroutineContext, r13),
        span_of!(GoroutineContext, r14),
        span_of!(GoroutineContext, r15),
        span_of!(GoroutineContext, rsp),
        span_of!(GoroutineContext, rip),
        span_of!(GoroutineContext, rflags),
    ];
    for (i, span) in general.into_iter().enumerate() {
        assert_eq!(span, 8 * i..8 * i + 8);
    }
    assert_eq!(span_of!(GoroutineContext, xmm_state), 144..656);
    assert_eq!(span_of!(GoroutineContext, stack_base), 656..664);
    assert_eq!(span_of!(GoroutineContext, stack_top), 664..672);
    assert_eq!(span_of!(GoroutineContext, stack_size), 672..680);
    assert_eq!(span_of!(GoroutineContext, guard_page), 680..688);
}

#[test]
fn spawn_is_240_bytes_and_its_short_form_64() {
    assert_eq!(size_of::<GoroutineSpawn>(), 240);
    assert_eq!(span_of!(GoroutineSpawn, size), 0..4);
    assert_eq!(span_of!(GoroutineSpawn, flags), 4..8);
    assert_eq!(span_of!(GoroutineSpawn, r#fn), 8..16);
    assert_eq!(span_of!(GoroutineSpawn, int_args), 16..64);
    assert_eq!(span_of!(GoroutineSpawn, stack_args), 64..72);
    assert_eq!(span_of!(GoroutineSpawn, stack_args_count), 72..80);
    assert_eq!(span_of!(GoroutineSpawn, rbx..=r15), 80..128);
    assert_eq!(offset_of!(GoroutineSpawn, rbp), 88);
    assert_eq!(offset_of!(GoroutineSpawn, r12), 96);
    assert_eq!(span_of!(GoroutineSpawn, user), 128..152);
    assert_eq!(span_of!(GoroutineSpawn, stack_bytes), 152..160);
    assert_eq!(span_of!(GoroutineSpawn, name), 160..168);
    assert_eq!(span_of!(GoroutineSpawn, context), 168..176);
    assert_eq!(span_of!(GoroutineSpawn, fp_args), 176..240);
}

#[test]
fn config_and_stats_start_with_their_size() {
    assert_eq!(span_of!(GoroutineConfig, size), 0..4);
    assert_eq!(span_of!(GoroutineStats, size), 0..4);
    assert_eq!(span_of!(GoroutineTicket, goroutine), 0..8);
    assert_eq!(span_of!(GoroutineTicket, sequence), 8..16);
    assert_eq!(span_of!(GoroutineSettled, value), 8..16);
}

#[test]
fn select_case_is_24_bytes() {
    assert_eq!(size_of::<GoroutineSelectCase>(), 24);
    assert_eq!(span_of!(GoroutineSelectCase, op), 0..4);
    assert_eq!(span_of!(GoroutineSelectCase, status), 4..8);
    assert_eq!(span_of!(GoroutineSelectCase, object), 8..16);
    assert_eq!(span_of!(GoroutineSelectCase, value), 16..24);
}

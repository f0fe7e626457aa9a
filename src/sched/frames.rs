//! x
use crate::abi::GoroutineContext;
use crate::goroutine::Goroutine;

/// x
pub struct Frames;

impl Frames {
    /// x
    pub fn new() -> Self {
        Self
    }
    /// The registers of the innermost frame outside the library of a goroutine that stands.
    ///
    /// # Safety
    /// `g` stands, and was left by goroutine_asm_park or a yield.
    pub unsafe fn outside(&mut self, g: *const Goroutine, at: &mut GoroutineContext) {
        // SAFETY: the caller's promise.
        unsafe {
            let g = &*g;
            (at.rbx, at.rbp, at.r12, at.r13, at.r14, at.r15) = (g.rbx, g.rbp, g.r12, g.r13, g.r14, g.r15);
            at.rip = *(g.rsp as *const u64);
            at.rsp = g.rsp + 8;
        }
    }
}

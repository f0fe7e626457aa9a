//! What the library says on stderr, and the last line it ever says. No allocation, no lock: also from signal handlers.

use crate::abi::{GOROUTINE_EINVAL, GoroutineFatalFn, GoroutineStatus};
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// A line under construction, cut at its capacity.
pub struct Line {
    bytes: [u8; 1024],
    used: usize,
}

impl Line {
    /// Starts with `goroutine: `.
    pub fn new() -> Self {
        let mut line = Self {
            bytes: [0; 1024],
            used: 0,
        };
        line.text("goroutine: ");
        line
    }
    /// Adds text.
    pub fn text(&mut self, s: &str) -> &mut Self {
        self.raw(s.as_bytes())
    }
    /// Adds bytes.
    pub fn raw(&mut self, s: &[u8]) -> &mut Self {
        let n = s.len().min(self.bytes.len() - 2 - self.used);
        self.bytes[self.used..self.used + n].copy_from_slice(&s[..n]);
        self.used += n;
        self
    }
    /// Adds a goroutine's name, if it has one.
    ///
    /// # Safety
    /// `name` is null or a string.
    pub unsafe fn name(&mut self, name: *const c_char) -> &mut Self {
        if name.is_null() {
            return self;
        }
        // SAFETY: the caller's promise.
        match unsafe { CStr::from_ptr(name) }.to_bytes() {
            [] => self,
            name => self.text(" \"").raw(name).text("\""),
        }
    }
    /// Adds `array[index]`.
    pub fn element(&mut self, array: &str, index: usize) -> &mut Self {
        self.text(array).text("[").dec(index as u64).text("]")
    }
    /// Adds a decimal number.
    pub fn dec(&mut self, mut n: u64) -> &mut Self {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.raw(&digits[at..])
    }
    /// Adds an address.
    pub fn hex(&mut self, n: u64) -> &mut Self {
        let mut digits = [0u8; 18];
        digits[0] = b'0';
        digits[1] = b'x';
        for i in 0..16 {
            digits[2 + i] = b"0123456789abcdef"[(n >> (60 - 4 * i) & 15) as usize];
        }
        let lead = (n.leading_zeros() as usize / 4).min(15);
        self.raw(&digits[..2]);
        self.raw(&digits[2 + lead..])
    }
    /// Writes the line to stderr.
    pub fn emit(&mut self) {
        self.bytes[self.used] = b'\n';
        // SAFETY: the bytes are ours. A short or failed write is nothing we could report anywhere.
        unsafe { libc::write(2, self.bytes.as_ptr().cast(), self.used + 1) };
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

static FATAL_FN: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static FATAL_ARG: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// A start or a spawn is refused: says which field of the struct it was given is to blame, and gives GOROUTINE_EINVAL.
#[cold]
pub fn wrong_field(field: &str, why: &str) -> GoroutineStatus {
    Line::new()
        .text("GOROUTINE_EINVAL: ")
        .text(field)
        .text(" ")
        .text(why)
        .emit();
    GOROUTINE_EINVAL
}

/// The same for a struct of an array that the caller gave.
#[cold]
pub fn wrong_element(array: &str, index: usize, field: &str, why: &str) -> GoroutineStatus {
    Line::new()
        .text("GOROUTINE_EINVAL: ")
        .element(array, index)
        .text(".")
        .text(field)
        .text(" ")
        .text(why)
        .emit();
    GOROUTINE_EINVAL
}

/// [`wrong_field`], in most cases.
#[cold]
pub fn out_of_range(field: &str) -> GoroutineStatus {
    wrong_field(field, "is out of range")
}

/// The program's callback for fatal reports; null for none.
pub fn set_fatal(f: GoroutineFatalFn, arg: *mut c_void) {
    FATAL_ARG.store(arg, Ordering::Release);
    FATAL_FN.store(
        f.map_or(std::ptr::null_mut(), |f| f as *mut c_void),
        Ordering::Release,
    );
}

/// One line that says what and why, the program's callback, then abort.
pub fn fatal_line(line: &mut Line) -> ! {
    line.emit();
    let f = FATAL_FN.swap(std::ptr::null_mut(), Ordering::AcqRel); // a callback that fails is not called again
    if !f.is_null() {
        line.bytes[line.used] = 0;
        // SAFETY: set_fatal stored a function of this type, or null.
        let f: unsafe extern "C" fn(*const c_char, *mut c_void) = unsafe { std::mem::transmute(f) };
        // SAFETY: the program gave the function and its argument together.
        unsafe { f(line.bytes.as_ptr().cast(), FATAL_ARG.load(Ordering::Acquire)) };
    }
    // SAFETY: always callable.
    unsafe { libc::abort() }
}

/// [`fatal_line`] for a plain message.
#[cold]
pub fn fatal(message: &str) -> ! {
    fatal_line(Line::new().text("fatal: ").text(message))
}

//! Whose code an address is: the language's own, or that of a library.
//!
//! An overflow can be an event only where the language itself ran: a C function that is cut off in the middle may hold a lock for ever. Own is
//! what the program has registered, and if it says that all code on its goroutines' stacks is its own (GOROUTINE_CONFIG_OWN_CODE), the program
//! itself and all memory that no loaded object maps, which is a JIT compiler's. The C library, this one, and every other shared object are not;
//! in a program that is linked statically they cannot be told from it.
//!
//! Asked in a signal handler: glibc's `_dl_find_object` takes no lock. Where it is missing (before glibc 2.35) /proc/self/maps says the same,
//! read with plain system calls.

use crate::code;
use crate::sys::library;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// GOROUTINE_CONFIG_OWN_CODE.
static ALL: AtomicBool = AtomicBool::new(false);
/// `_dl_find_object`, or 0.
static FIND_OBJECT: AtomicUsize = AtomicUsize::new(0);
/// Somewhere in the program itself, for /proc/self/maps.
static PROGRAM: AtomicUsize = AtomicUsize::new(0);

/// At a start.
pub fn init(all: bool) {
    // SAFETY: asks the dynamic linker for a symbol, and the kernel's auxiliary vector.
    unsafe {
        FIND_OBJECT.store(
            libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) as usize,
            Ordering::Relaxed,
        );
        PROGRAM.store(libc::getauxval(libc::AT_PHDR) as usize, Ordering::Relaxed);
    }
    ALL.store(all, Ordering::Release);
}

/// Whether the code at `address` is the language's own. Async-signal-safe.
pub fn is_own_code(address: usize) -> bool {
    if code::is_own_code(address) {
        return true;
    }
    ALL.load(Ordering::Acquire) && is_programs(address)
}

/// Whose code is not own.
pub enum Owner {
    /// The program, or a JIT compiler: it would be own with GOROUTINE_CONFIG_OWN_CODE.
    Program,
    /// A shared object.
    Library,
    /// The library itself, where it is a shared object.
    Us,
}

/// Of the code at `address`, which is not own. In a signal handler that reports, as far as a crash allows: it may take the loader's lock (`code::place`).
pub fn owner(address: usize) -> Owner {
    if is_programs(address) {
        Owner::Program
    } else if library::code().contains(&(address as u64)) {
        Owner::Us
    } else {
        Owner::Library
    }
}

/// Whether no shared object has it.
fn is_programs(address: usize) -> bool {
    match FIND_OBJECT.load(Ordering::Relaxed) {
        0 => is_own_by_maps(address),
        find => is_own_by_linker(find, address),
    }
}

/// glibc's `struct dl_find_object`.
#[repr(C)]
struct Found {
    flags: u64,
    start: usize,
    end: usize,
    link_map: *const LinkMap,
    eh_frame: *const c_void,
    reserved: [u64; 7],
}
/// The beginning of `struct link_map`.
#[repr(C)]
struct LinkMap {
    load_address: usize,
    name: *const c_char,
}

fn is_own_by_linker(find: usize, address: usize) -> bool {
    // SAFETY: the dynamic linker's function of that name, and what its manual says of it: 0 when the address is in an object. The
    // program's own name is empty.
    unsafe {
        let find: unsafe extern "C" fn(*const c_void, *mut Found) -> c_int = std::mem::transmute(find);
        let mut found: Found = std::mem::zeroed();
        find(address as *const c_void, &mut found) != 0 || {
            let name = (*found.link_map).name;
            name.is_null() || *name == 0
        }
    }
}

/// Of a line of /proc/self/maps: the range, and the device and inode of the file, "00:00 0" for none.
struct Line<'a> {
    start: usize,
    end: usize,
    file: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    let hex = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0usize, |n, &d| Some(n << 4 | (d as char).to_digit(16)? as usize))
    };
    let mut words = line.splitn(6, |&b| b == b' ');
    let mut range = words.next()?.splitn(2, |&b| b == b'-');
    let (start, end) = (hex(range.next()?)?, hex(range.next()?)?);
    let skipped: usize = (0..2).filter_map(|_| words.next()).map(|w| w.len() + 1).sum();
    let used = line.iter().position(|&b| b == b' ')? + 1 + skipped;
    let rest = line.get(used..)?;
    let device = rest.iter().position(|&b| b == b' ')?;
    let inode = rest[device + 1..]
        .iter()
        .position(|&b| b == b' ')
        .map_or(rest.len(), |n| device + 1 + n);
    Some(Line {
        start,
        end,
        file: &rest[..inode],
    })
}

/// The files of up to two addresses, as [`Line::file`].
fn is_own_by_maps(address: usize) -> bool {
    const FILE_MAX: usize = 64;
    let mut files = [([0u8; FILE_MAX], 0usize); 2];
    let addresses = [address, PROGRAM.load(Ordering::Relaxed)];
    let mut buffer = [0u8; 4096];
    let mut used = 0;
    // SAFETY: opens, reads and closes a descriptor of its own.
    unsafe {
        let fd = libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        loop {
            let n = libc::read(fd, buffer[used..].as_mut_ptr().cast(), buffer.len() - used);
            if n <= 0 {
                break;
            }
            used += n as usize;
            let mut from = 0;
            while let Some(n) = buffer[from..used].iter().position(|&b| b == b'\n') {
                if let Some(line) = parse(&buffer[from..from + n]) {
                    for (&address, file) in addresses.iter().zip(&mut files) {
                        if (line.start..line.end).contains(&address) {
                            file.1 = line.file.len().min(FILE_MAX);
                            file.0[..file.1].copy_from_slice(&line.file[..file.1]);
                        }
                    }
                }
                from += n + 1;
            }
            buffer.copy_within(from..used, 0);
            used -= from;
            if used == buffer.len() {
                used = 0; // a line of that length names no file of ours
            }
        }
        libc::close(fd);
    }
    let [(of_address, n), (of_program, m)] = &files;
    let (of_address, of_program) = (&of_address[..*n], &of_program[..*m]);
    !of_address.is_empty() && (of_address == of_program || of_address == b"00:00 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_is_the_program_and_what_no_file_maps() {
        init(true);
        let page = crate::sys::mem::reserve(4096, 4096).expect("a page") as usize;
        let find = FIND_OBJECT.load(Ordering::Relaxed);
        let mut ways: Vec<Box<dyn Fn(usize) -> bool>> = vec![Box::new(is_own_by_maps)];
        if find != 0 {
            ways.push(Box::new(move |address| is_own_by_linker(find, address)));
        }
        for own in ways {
            assert!(own(own_is_the_program_and_what_no_file_maps as *const () as usize));
            assert!(own(page));
            assert!(!own(libc::dlsym as *const () as usize));
            assert!(!own(libc::qsort as *const () as usize));
        }
        init(false);
        assert!(!is_own_code(page));
    }

    #[test]
    fn a_line_is_taken_apart() {
        let line =
            parse(b"7f00-7f10 r-xp 00001000 fd:01 42                        /usr/lib/x y.so").expect("fine");
        assert_eq!(
            (line.start, line.end, line.file),
            (0x7f00, 0x7f10, &b"fd:01 42"[..])
        );
        assert_eq!(
            parse(b"7f00-7f10 rwxp 00000000 00:00 0 ").expect("fine").file,
            b"00:00 0"
        );
        assert_eq!(
            parse(b"7f00-7f10 rwxp 00000000 00:00 0").expect("fine").file,
            b"00:00 0"
        );
        assert!(parse(b"nonsense").is_none());
    }
}

//! Code that a compiler emitted and told us about: whose an address is, and everybody who wants to know.
//!
//! | file | who |
//! |---|---|
//! | `mod` | ourselves: dumps, and reports from signal handlers |
//! | `unwinder`, `tables` | the unwinder of C++ and Rust |
//! | `gdb`, `elf` | debuggers |
//! | `perf` | perf |
//! | `place` | people who read a report |
//! | `cfi` | unwind tables: read and written |
//!
//! Functions lie in chunks, sorted by address. A chunk never changes: another one takes its place. It has one ELF image
//! for all its functions, because debuggers walk a list of what they were given. Small chunks are merged with their
//! like, as in a binary counter, so each function is copied a few times in all, however they come; none is merged beyond CHUNK_MAX. A function
//! that was unregistered is marked, and leaves its chunk when a quarter of it is so marked, or when its addresses are registered anew: until
//! then debuggers still name it. Unwind tables are not the chunks': they must be there at every instant (`tables`).
//!
//! I1. Chunks, and the map of them, are made and replaced under the lock.
//! I2. Who looks something up is counted; who replaces the map waits, after that, until it has seen nobody, and only then frees what the
//!     old one held (`sync::published`). A look-up takes no lock and does not wait, so a signal handler may do it, also one that interrupted who waits.
//!     The unwinder's tables are held the same way: they are taken from it, then one waits, then they are freed.
//! I3. No two registered functions overlap.

pub mod cfi;
mod elf;
mod gdb;
mod perf;
pub mod place;
mod tables;
mod unwinder;

use crate::abi::*;
use crate::sync::published::Published;
use crate::sys::mutex::Mutex;
use crate::sys::report::{Line, wrong_element};
use cfi::{Fde, Table};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Most functions in a chunk.
const CHUNK_MAX: usize = 256;
/// Bytes of a name that are kept.
const NAME_MAX: usize = 255;

/// An entry of an unwind table, copied.
pub struct Frame {
    fde: Fde<'static>,
    initial: Box<[u8]>,
    program: Box<[u8]>,
}

impl Frame {
    fn new(fde: &Fde) -> Self {
        Self {
            initial: fde.initial.into(),
            program: fde.program.into(),
            fde: Fde {
                initial: &[],
                program: &[],
                ..*fde
            },
        }
    }

    fn view(&self) -> Fde<'_> {
        Fde {
            initial: &self.initial,
            program: &self.program,
            ..self.fde
        }
    }
}

/// A registered function.
pub struct Function {
    id: u64,
    /// First address.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// GOROUTINE_CODE_*.
    pub flags: u32,
    /// For people.
    pub name: CString,
    frames: Vec<Frame>,
    /// The compiler's own; else the chunk's image has it.
    symfile: Option<Box<[u8]>>,
    /// It was unregistered. Written under the lock.
    gone: AtomicBool,
}

impl Function {
    /// For the unwinder. None: it has no table.
    fn piece(&self) -> Option<tables::Piece> {
        let mut table = Table::default();
        for frame in &self.frames {
            table.add(&frame.view(), true);
        }
        tables::Piece::new(self.start, self.end, &table.finish())
    }
}

struct Chunk {
    /// In the order of their addresses.
    functions: Box<[Arc<Function>]>,
    low: usize,
    high: usize,
    /// How many of them are gone. Under the lock.
    gone: AtomicU32,
    /// For debuggers: while it is in the map.
    _image: Option<gdb::Image>,
}

impl Chunk {
    /// # Safety
    /// Under the lock; the functions are sorted, and at least one.
    unsafe fn new(functions: Vec<Arc<Function>>) -> *const Self {
        let nameless: Vec<&Function> = functions
            .iter()
            .filter(|f| f.symfile.is_none())
            .map(|f| &**f)
            .collect();
        // SAFETY: the caller's promise.
        let image = (!nameless.is_empty()).then(|| unsafe { gdb::Image::new(elf::image(&nameless).into()) });
        Box::into_raw(Box::new(Self {
            low: functions[0].start,
            high: functions[functions.len() - 1].end,
            functions: functions.into(),
            gone: AtomicU32::new(0),
            _image: image,
        }))
    }

    /// Those that are registered.
    fn rest(&self) -> Vec<Arc<Function>> {
        let here = |f: &&Arc<Function>| !f.gone.load(Ordering::Relaxed);
        self.functions.iter().filter(here).cloned().collect()
    }

    fn find(&self, address: usize) -> Option<&Function> {
        if !(self.low..self.high).contains(&address) {
            return None;
        }
        let after = self.functions.partition_point(|f| f.start <= address);
        let f = &**self.functions.get(after.checked_sub(1)?)?;
        (address < f.end && !f.gone.load(Ordering::Relaxed)).then_some(f)
    }
}

type Map = Vec<*const Chunk>;

/// What is looked up, and who does (I2). The readers are reset in a child of fork.
static MAP: Published<Map> = Published::new();

/// Everything that is registered.
pub struct Registry {
    functions: BTreeMap<u64, Owned>,
    /// For the overlap check: by first address.
    by_start: BTreeMap<usize, u64>,
    next_id: u64,
    perf: perf::Map,
    unwinder: unwinder::Unwinder,
}

struct Owned {
    function: Arc<Function>,
    /// Its own image, for debuggers.
    _symfile: Option<gdb::Image>,
    /// Somebody waits for its last frame.
    leaving: bool,
}

// SAFETY: what the pointers in the map point to is only freed under the lock, by I2.
unsafe impl Send for Registry {}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    functions: BTreeMap::new(),
    by_start: BTreeMap::new(),
    next_id: 1,
    perf: perf::Map::new(),
    unwinder: unwinder::Unwinder::Unknown,
});

/// The lock, to be held across fork.
pub fn registry() -> &'static Mutex<Registry> {
    &REGISTRY
}

/// In a child of fork, whose parent may have been in the middle of a look-up.
pub fn forget_readers() {
    MAP.forget_readers();
}

// ---- look-ups ----

/// Calls `f`, which must be short: what is registered meanwhile, tables for the unwinder included, stays in memory (I2). Async-signal-safe if `f` is.
pub fn hold<R>(f: impl FnOnce() -> R) -> R {
    MAP.hold(f)
}

/// Calls `f` with the function at `address`. None: none is registered there. Async-signal-safe if `f` is.
pub fn with<R>(address: usize, f: impl FnOnce(&Function) -> R) -> Option<R> {
    MAP.with(|map| {
        // SAFETY: I2: the map's chunks are as good as the map.
        map?.iter()
            .find_map(|&chunk| unsafe { &*chunk }.find(address))
            .map(f)
    })
}

/// Whether an instruction there is the language's own. Async-signal-safe.
pub fn is_own_code(rip: usize) -> bool {
    with(rip, |_| ()).is_some()
}

/// The name of the function at `address`, cut to what `name` holds, and how far into it the address is. Async-signal-safe.
pub fn describe(address: usize, name: &mut [u8; NAME_MAX]) -> Option<(usize, usize)> {
    with(address, |f| {
        let bytes = f.name.as_bytes();
        name[..bytes.len()].copy_from_slice(bytes);
        (bytes.len(), address - f.start)
    })
}

/// Room for what [`describe`] gives.
pub const NAME_BUFFER: [u8; NAME_MAX] = [0; NAME_MAX];

/// Publishes a map, and frees what is not in it any more, once nobody looks at it.
///
/// # Safety
/// Under the lock; `gone` is in the old map and not in the new one.
unsafe fn publish(map: Map, gone: Vec<*const Chunk>) {
    // SAFETY: I1, I2; made by `Chunk::new` and by us.
    unsafe {
        let old = MAP.replace(Box::into_raw(Box::new(map)));
        for chunk in gone {
            drop(Box::from_raw(chunk.cast_mut()));
        }
        if !old.is_null() {
            drop(Box::from_raw(old));
        }
    }
}

fn map() -> Map {
    // SAFETY: under the lock nobody frees it.
    unsafe { MAP.now() }.cloned().unwrap_or_default()
}

// ---- registering ----

/// Err: which field is to blame, and why.
///
/// # Safety
/// What it points to is readable.
unsafe fn check(code: &GoroutineCode) -> Result<Function, (&'static str, &'static str)> {
    const RANGE: &str = "is out of range";
    let start = code.code as usize;
    let bytes = usize::try_from(code.code_bytes).map_err(|_| ("code_bytes", RANGE))?;
    // SAFETY: the caller's promise.
    let name = unsafe { (!code.name.is_null()).then(|| CStr::from_ptr(code.name).to_bytes()) };
    let name = name.ok_or(("name", "is NULL"))?;
    let end = start.checked_add(bytes).filter(|&end| end < 1 << 47);
    let end = end.ok_or(("code_bytes", RANGE))?;
    match code {
        _ if code.flags & !GOROUTINE_CODE_FRAME_POINTER != 0 => return Err(("flags", RANGE)),
        _ if name.is_empty() => return Err(("name", "is empty")),
        _ if start == 0 => return Err(("code", "is NULL")),
        _ if bytes == 0 => return Err(("code_bytes", "is 0")),
        _ => {}
    }
    part("eh_frame", "eh_frame_bytes", code.eh_frame, code.eh_frame_bytes)?;
    let symfile = part("symfile", "symfile_bytes", code.symfile, code.symfile_bytes)?;
    // SAFETY: the caller's promise.
    let symfile = symfile.map(|(image, bytes)| unsafe { std::slice::from_raw_parts(image, bytes) }.into());
    Ok(Function {
        id: 0,
        start,
        end,
        flags: code.flags,
        name: CString::new(&name[..name.len().min(NAME_MAX)]).map_err(|_| ("name", RANGE))?,
        frames: Vec::new(),
        symfile,
        gone: AtomicBool::new(false),
    })
}

/// A pointer and its bytes: both, or neither.
fn part(
    pointer: &'static str,
    size: &'static str,
    at: *const std::ffi::c_void,
    bytes: u64,
) -> Result<Option<(*const u8, usize)>, (&'static str, &'static str)> {
    match (at.is_null(), bytes) {
        (true, 0) => Ok(None),
        (true, _) => Err((pointer, "is NULL, and has a size")),
        (false, 0) => Err((size, "is 0, and there is one")),
        (false, _) => Ok(Some((at.cast(), bytes as usize))),
    }
}

/// Takes the unwind tables apart, each once, and gives each function its entries. Err: whose is to blame, and why.
///
/// # Safety
/// What `codes` point to is readable. `functions` are sorted.
unsafe fn attach_frames(
    codes: &[GoroutineCode],
    functions: &mut [Function],
) -> Result<(), (usize, &'static str)> {
    let tables: BTreeMap<usize, (u64, usize)> = (codes.iter().enumerate())
        .filter(|(_, c)| !c.eh_frame.is_null())
        .map(|(i, c)| (c.eh_frame as usize, (c.eh_frame_bytes, i)))
        .collect();
    for (&table, &(bytes, index)) in &tables {
        let mut speaks_of_these = true;
        // SAFETY: the caller's promise.
        let is_read = unsafe {
            let table = std::slice::from_raw_parts(table as *const u8, bytes as usize);
            cfi::walk(table, |fde| {
                speaks_of_these = attach_frame(&fde, functions);
                speaks_of_these
            })
        };
        match (is_read, speaks_of_these) {
            (true, _) => {}
            (_, true) => return Err((index, "is damaged, or of a kind that is not known")),
            (_, false) => return Err((index, "speaks of code that is not in this call")),
        }
    }
    Ok(())
}

/// False: it is of none of these functions, or of more than one.
fn attach_frame(fde: &Fde, functions: &mut [Function]) -> bool {
    let after = functions.partition_point(|f| f.start as u64 <= fde.pc);
    let Some(f) = after.checked_sub(1).map(|i| &mut functions[i]) else {
        return false;
    };
    let end = fde.pc.checked_add(fde.bytes);
    let inside = fde.bytes != 0 && end.is_some_and(|end| end <= f.end as u64);
    if inside {
        f.frames.push(Frame::new(fde));
    }
    inside
}

/// Says which two functions overlap; `known`: the name of a registered one, or the number of one of this call.
#[cold]
fn overlapping(status: GoroutineStatus, index: usize, known: Result<&Function, usize>) -> GoroutineStatus {
    let mut line = Line::new();
    line.text(if status == GOROUTINE_EINVAL {
        "GOROUTINE_EINVAL: "
    } else {
        "GOROUTINE_EALREADY: "
    });
    line.element("codes", index).text(" overlaps ");
    match known {
        // SAFETY: a string.
        Ok(f) => unsafe { line.text("the registered function").name(f.name.as_ptr()) },
        Err(other) => line.element("codes", other),
    };
    line.emit();
    status
}

/// `goroutine_code_register`.
///
/// # Safety
/// What `codes` point to is readable, and stays while it is registered. `ids` is null or has room for as many.
pub unsafe fn register(codes: &[GoroutineCode], ids: *mut u64) -> GoroutineStatus {
    let mut order: Vec<(usize, Function)> = Vec::with_capacity(codes.len());
    for (i, code) in codes.iter().enumerate() {
        // SAFETY: the caller's promise.
        match unsafe { check(code) } {
            Ok(f) => order.push((i, f)),
            Err((field, why)) => return wrong_element("codes", i, field, why),
        }
    }
    order.sort_unstable_by_key(|(_, f)| f.start);
    if let Some(two) = order.windows(2).find(|two| two[0].1.end > two[1].1.start) {
        return overlapping(GOROUTINE_EINVAL, two[1].0, Err(two[0].0));
    }
    let (places, mut functions): (Vec<usize>, Vec<Function>) = order.into_iter().unzip();
    // SAFETY: the caller's promise.
    if let Err((i, why)) = unsafe { attach_frames(codes, &mut functions) } {
        return wrong_element("codes", i, "eh_frame", why);
    }
    let mut registry = REGISTRY.lock();
    let met = (functions.iter().zip(&places)).find_map(|(f, &place)| Some((place, registry.overlapped(f)?)));
    if let Some((place, known)) = met {
        return overlapping(GOROUTINE_EALREADY, place, Ok(known)); // I3
    }
    let first_id = registry.next_id;
    registry.next_id += codes.len() as u64;
    for (f, place) in functions.iter_mut().zip(places) {
        f.id = first_id + place as u64;
    }
    // SAFETY: the caller's promise; sorted, and checked.
    unsafe {
        if !ids.is_null() {
            for i in 0..codes.len() {
                ids.add(i).write(first_id + i as u64);
            }
        }
        registry.add(functions);
    }
    GOROUTINE_OK
}

impl Registry {
    /// A registered function that this one overlaps.
    fn overlapped(&self, f: &Function) -> Option<&Function> {
        let (_, id) = self.by_start.range(..f.end).next_back()?;
        let last = &self.functions[id].function;
        (last.end > f.start).then_some(last)
    }

    /// # Safety
    /// Sorted, and checked.
    unsafe fn add(&mut self, functions: Vec<Function>) {
        if self.perf.is_fresh() {
            self.perf
                .add(self.functions.values().map(|owned| &*owned.function));
        }
        self.perf.add(functions.iter());
        let mut map = map();
        let mut old = Vec::new();
        self.make_room(&functions, &mut map, &mut old);
        let mut all = Vec::with_capacity(functions.len());
        self.unwinder.add(functions.iter().filter_map(Function::piece));
        for f in functions {
            let function = Arc::new(f);
            all.push(function.clone());
            self.by_start.insert(function.start, function.id);
            // SAFETY: under the lock.
            let symfile = (function.symfile.as_ref()).map(|image| unsafe { gdb::Image::new(image.clone()) });
            self.functions.insert(
                function.id,
                Owned {
                    function,
                    _symfile: symfile,
                    leaving: false,
                },
            );
        }
        // SAFETY: under the lock. (A chunk that was made a moment ago may be merged with the next, and was never in the map.)
        unsafe {
            for part in all.chunks(CHUNK_MAX) {
                let mut part = part.to_vec();
                while let Some(last) = map.last().map(|&last| &*last)
                    && last.functions.len() <= part.len()
                    && last.functions.len() + part.len() <= CHUNK_MAX
                {
                    part.extend(last.rest());
                    old.extend(map.pop());
                }
                part.sort_unstable_by_key(|f| f.start);
                map.push(Chunk::new(part));
            }
            publish(map, old);
        }
    }

    /// Nobody knows what was unregistered where these will be. Sorted.
    fn make_room(&self, functions: &[Function], map: &mut Map, old: &mut Vec<*const Chunk>) {
        let meets = |gone: &Function| {
            let after = functions.partition_point(|f| f.start < gone.end);
            after != 0 && functions[after - 1].end > gone.start
        };
        for i in (0..map.len()).rev() {
            // SAFETY: in the map, and under the lock.
            let chunk = unsafe { &*map[i] };
            let stale = |f: &Arc<Function>| f.gone.load(Ordering::Relaxed) && meets(f);
            if chunk.gone.load(Ordering::Relaxed) != 0 && chunk.functions.iter().any(stale) {
                old.extend(self.rebuild(map, i));
            }
        }
    }

    /// Chunk `i` without those that are gone. Gives the old one.
    fn rebuild(&self, map: &mut Map, i: usize) -> Option<*const Chunk> {
        let old = map[i];
        // SAFETY: in the map, and under the lock.
        let rest = unsafe { &*old }.rest();
        if rest.is_empty() {
            map.remove(i);
        } else {
            // SAFETY: under the lock; sorted as they were.
            map[i] = unsafe { Chunk::new(rest) };
        }
        Some(old)
    }

    fn remove(&mut self, id: u64) {
        let Some(Owned { function, .. }) = self.functions.remove(&id) else {
            return;
        };
        self.by_start.remove(&function.start);
        self.unwinder.remove(function.start);
        let mut map = map();
        let is_in = |&chunk: &*const Chunk| {
            // SAFETY: in the map, and under the lock.
            let found = unsafe { &*chunk }.find(function.start);
            found.is_some_and(|f| std::ptr::eq(f, &*function))
        };
        let i = map.iter().position(is_in).expect("registered, so in a chunk");
        // SAFETY: as above.
        let chunk = unsafe { &*map[i] };
        function.gone.store(true, Ordering::SeqCst);
        let gone = chunk.gone.fetch_add(1, Ordering::Relaxed) as usize + 1;
        if gone * 4 >= chunk.functions.len() {
            let old = self.rebuild(&mut map, i);
            // SAFETY: under the lock; the old one is not in the new map.
            unsafe { publish(map, old.into_iter().collect()) };
        }
    }
}

// ---- unregistering ----

/// Somebody will unregister it: the range where no frame may be. Err: GOROUTINE_EINVAL, GOROUTINE_EALREADY (another one is about to).
pub fn leave(id: u64) -> Result<std::ops::Range<usize>, GoroutineStatus> {
    let mut registry = REGISTRY.lock();
    let owned = registry.functions.get_mut(&id).ok_or(GOROUTINE_EINVAL)?;
    if std::mem::replace(&mut owned.leaving, true) {
        return Err(GOROUTINE_EALREADY);
    }
    Ok(owned.function.start..owned.function.end)
}

/// It stays after all.
pub fn stay(id: u64) {
    if let Some(owned) = REGISTRY.lock().functions.get_mut(&id) {
        owned.leaving = false;
    }
}

/// It is gone: nobody knows it any more when this returns.
pub fn forget(id: u64) {
    REGISTRY.lock().remove(id);
}

//! Which functions share a table of the unwinder's, where it keeps its tables in a list: libgcc before version 13.
//!
//! That libgcc looks at the last table that begins at or below an address, and at no other of those that it has sorted; then at those
//! that it has not sorted yet. It finds the former by walking a list of all tables, so they must be few. And it must find a registered function at every instant,
//! also while tables are replaced: somebody may be throwing.
//!
//! So functions that are neighbours share a table of up to [`SHARE_MAX`]. A table never changes but for entries that come to cover nothing; others take its
//! place, with the same entries at the same addresses (`put` takes pointers to them), so who has found an entry may read on.
//!
//! ```text
//!   function by function:   |1|1|  ->  |  2  |     |  2  |1|1|  ->  |  2  |  2  |  ->  |    4    |       as a binary counter, up to SHARE_MAX
//!   where one is gone:      |    4    |  ->  | a x b c |   x covers nothing, until half of the table is gone, or a page
//!   one in its place:       | a x b c | + |y|  ->  | a y b c |
//! ```
//!
//! I1. The spans of tables are disjoint. A span begins with the first entry, covering something or not, and ends with the last that covers something.
//! I2. Tables that take the place of others are there before the first of those goes, and those go from the lowest to the highest. For an address of theirs:
//!     as long as its old table is there, that one or the new one begins last below it, as each set is disjoint. When it is not, no old table below it
//!     is there either, and the new one does.
//! I3. An entry's bytes stay until its function is gone, and each table it was in.
//! I4. Between two neighbours in a table, and from the page that its span begins in to its first function that is not gone, there is no whole page. Whoever
//!     else tells the unwinder of code (another compiler in the process) has it in mappings of its own, so never within a span.
//! I5. An entry that covers nothing keeps its address: the unwinder bisects by it.
//!
//! Rejected: a table for each function, which is 22 ms per throw with 100,000 of them. One for each call of goroutine_code_register, taken back and put anew when
//! one of its functions goes: in between, the others are not found. One for everything: each change would write it anew.

use crate::sys::mem::PAGE;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most functions in a table. To replace one takes tens of ns for each of its functions, and a throw about one ns for each table and frame.
pub const SHARE_MAX: usize = if cfg!(test) { 8 } else { 1024 };

/// Where tables are put.
pub trait List {
    /// One that is there.
    type Table;
    /// Adds a table of these.
    ///
    /// # Safety
    /// Entries with their ends, which stay until the table is taken back.
    unsafe fn put(&mut self, entries: &mut dyn Iterator<Item = *const u64>) -> Self::Table;
    /// Takes it back. `is_over`: its functions are gone. Else others have its place, and somebody may be on the way from it to an entry.
    fn take(&mut self, table: Self::Table, is_over: bool);
    /// Sorts what is new, so that no throw has to. `pc`: in the first table that was put since.
    fn sort(&mut self, pc: usize);
}

/// The entries of a function.
pub struct Piece {
    start: usize,
    end: usize,
    /// Atomic, as the unwinder may be reading a word that we write: how much an entry covers. Nothing is published by it.
    words: Box<[AtomicU64]>,
    /// Until the function is gone.
    covers: bool,
}

/// Which word of an entry says how much it covers.
const EXTENT: usize = 2;

impl Piece {
    /// From a table with absolute addresses and its end (`cfi::Table`), of code in this range. None: there is nothing in it.
    pub fn new(start: usize, end: usize, table: &[u8]) -> Option<Self> {
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            AtomicU64::new(u64::from_ne_bytes(word))
        };
        (!table.is_empty()).then(|| Self {
            start,
            end,
            words: table.chunks(8).map(word).collect(),
            covers: true,
        })
    }

    /// The function's first address.
    pub fn start(&self) -> usize {
        self.start
    }

    /// For the unwinder.
    pub fn entries(&self) -> *const u64 {
        self.words.as_ptr().cast()
    }

    /// Where each entry begins.
    fn each_entry(&self) -> impl Iterator<Item = usize> {
        let mut next = 0;
        // Each begins with how many bytes it has after these four, then how far back its unit is; for a unit, 0.
        let all = std::iter::from_fn(move || {
            let (at, head) = (next, self.words[next].load(Ordering::Relaxed));
            next += (head as u32 as usize + 4) / 8;
            (head as u32 != 0).then_some((at, head >> 32 != 0))
        });
        all.filter(|&(_, is_entry)| is_entry).map(|(at, _)| at)
    }

    /// Whether this is one of its entries.
    pub fn has(&self, entry: *const u8) -> bool {
        self.each_entry()
            .any(|at| self.words[at].as_ptr().cast_const().cast() == entry)
    }

    /// Each entry covers so many bytes from its address on.
    pub fn cover(&self, bytes: u64) {
        for at in self.each_entry() {
            self.words[at + EXTENT].store(bytes, Ordering::Relaxed);
        }
    }
}

/// Whether the two are neighbours: no whole page is between them (I4).
fn are_near(end: usize, start: usize) -> bool {
    start < end.next_multiple_of(PAGE) + PAGE
}

/// How many come into a table, one table after the other: neighbours (I4), and about as many in each.
fn lengths(pieces: &[Piece]) -> Vec<usize> {
    let mut lengths = Vec::new();
    for run in pieces.chunk_by(|a, b| are_near(a.end, b.start)) {
        let tables = run.len().div_ceil(SHARE_MAX);
        lengths.extend((0..tables).map(|i| run.len() * (i + 1) / tables - run.len() * i / tables));
    }
    lengths
}

struct Shared<T> {
    /// In the order of their addresses.
    pieces: Vec<Piece>,
    /// How many cover something; at least one.
    here: usize,
    /// Where the span ends.
    end: usize,
    table: T,
}

/// All tables of a list.
pub struct Tables<L: List> {
    list: L,
    /// By where their spans begin.
    by_start: BTreeMap<usize, Shared<L::Table>>,
}

/// Tables whose place others are about to take.
struct Replaced<T> {
    /// By where their spans began.
    tables: BTreeMap<usize, T>,
    /// What was in them and not gone.
    pieces: Vec<Piece>,
    gone: Vec<Piece>,
}

impl<L: List> Tables<L> {
    /// None.
    pub const fn new(list: L) -> Self {
        Self {
            list,
            by_start: BTreeMap::new(),
        }
    }

    /// Adds functions, in the order of their addresses; they overlap nothing that is there. Gives what is gone: who reads it now may read on.
    #[must_use]
    pub fn add(&mut self, pieces: impl Iterator<Item = Piece>) -> Vec<Piece> {
        let (mut gone, mut run, mut pieces) = (Vec::new(), Vec::<Piece>::new(), pieces.peekable());
        while let Some(piece) = pieces.next() {
            let end = piece.end;
            run.push(piece);
            if pieces.peek().is_none_or(|next| !are_near(end, next.start)) {
                gone.extend(self.add_run(std::mem::take(&mut run)));
            }
        }
        gone
    }

    /// Neighbours.
    fn add_run(&mut self, run: Vec<Piece>) -> Vec<Piece> {
        let (start, end) = (run[0].start, run[run.len() - 1].end);
        let mut replaced = Replaced {
            tables: BTreeMap::new(),
            pieces: run,
            gone: Vec::new(),
        };
        // I1: those whose spans they meet. Spans are disjoint, so these are the last that begin below the end.
        while let Some((&at, met)) = self.by_start.range(..end).next_back()
            && met.end > start
        {
            self.replace(at, &mut replaced);
        }
        self.settle(replaced)
    }

    /// Takes a function out; nothing happens if it has no entries. Gives what is gone, as [`Self::add`].
    #[must_use]
    pub fn remove(&mut self, start: usize) -> Vec<Piece> {
        let Some((&at, shared)) = self.by_start.range_mut(..=start).next_back() else {
            return Vec::new();
        };
        let Ok(i) = shared.pieces.binary_search_by_key(&start, |p| p.start) else {
            return Vec::new();
        };
        if !shared.pieces[i].covers {
            return Vec::new(); // another one was here, and had entries
        }
        shared.pieces[i].covers = false;
        shared.pieces[i].cover(0);
        shared.here -= 1;
        if shared.here == 0 {
            let over = self.by_start.remove(&at).expect("found");
            self.list.take(over.table, true);
            return over.pieces;
        }
        let before = shared.pieces[..i].iter().rev().find(|p| p.covers);
        let after = shared.pieces[i..].iter().find(|p| p.covers);
        let end_before = before.map_or(at & !(PAGE - 1), |p| p.end);
        let has_hole = match after {
            Some(after) => !are_near(end_before, after.start), // I4
            None => {
                shared.end = end_before;
                false
            }
        };
        if !has_hole && shared.here * 2 > shared.pieces.len() {
            return Vec::new();
        }
        let mut replaced = Replaced {
            tables: BTreeMap::new(),
            pieces: Vec::new(),
            gone: Vec::new(),
        };
        self.replace(at, &mut replaced);
        self.settle(replaced)
    }

    /// The table whose span begins there is going to be replaced.
    fn replace(&mut self, at: usize, replaced: &mut Replaced<L::Table>) {
        let shared = self.by_start.remove(&at).expect("found");
        replaced.tables.insert(at, shared.table);
        for piece in shared.pieces {
            let to = if piece.covers {
                &mut replaced.pieces
            } else {
                &mut replaced.gone
            };
            to.push(piece);
        }
        replaced.pieces.sort_unstable_by_key(|p| p.start);
    }

    /// A neighbour that has no more functions than these, and room for them.
    fn partner(&self, pieces: &[Piece]) -> Option<usize> {
        let (start, end) = (pieces[0].start, pieces[pieces.len() - 1].end);
        let fits = |s: &Shared<L::Table>| s.here <= pieces.len() && s.here + pieces.len() <= SHARE_MAX;
        let below = self.by_start.range(..start).next_back();
        let below = below.filter(|(_, s)| are_near(s.end, start) && fits(s));
        let above = self.by_start.range(end..).next();
        let above = above.filter(|(at, s)| are_near(end, **at) && fits(s));
        below.or(above).map(|(&at, _)| at)
    }

    /// Puts the tables that take the place of others, and takes those back (I2).
    fn settle(&mut self, mut replaced: Replaced<L::Table>) -> Vec<Piece> {
        while let Some(at) = self.partner(&replaced.pieces) {
            self.replace(at, &mut replaced);
        }
        let Replaced { tables, pieces, gone } = replaced;
        let first = pieces[0].start;
        let lengths = lengths(&pieces);
        let mut pieces = pieces.into_iter();
        for n in lengths {
            let shared: Vec<Piece> = pieces.by_ref().take(n).collect();
            self.by_start.insert(
                shared[0].start,
                Shared {
                    // SAFETY: I3: what is gone is given to the caller, after the table was taken back.
                    table: unsafe { self.list.put(&mut shared.iter().map(Piece::entries)) },
                    here: n,
                    end: shared[n - 1].end,
                    pieces: shared,
                },
            );
        }
        for table in tables.into_values() {
            self.list.take(table, false);
        }
        self.list.sort(first);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::super::cfi::{Fde, Table};
    use super::*;
    use std::collections::BTreeSet;

    struct Random(u64);
    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 33) as usize % n
        }
    }

    fn piece(start: usize, end: usize) -> Piece {
        let mut table = Table::default();
        table.add(&Fde::called(start as u64, (end - start) as u64, &[]), false);
        Piece::new(start, end, &table.finish()).expect("an entry")
    }

    /// Addresses of entries, which are read where they are.
    #[derive(Clone)]
    struct Object {
        id: usize,
        entries: Vec<*const u64>,
    }

    /// Where the entry after the only unit is; its first address; its end.
    fn read(entries: *const u64) -> (*const u64, usize, usize) {
        // SAFETY: of a piece that is there, as `is_all_there` sees.
        unsafe {
            let entry = entries.add((*entries as u32 as usize + 4) / 8);
            let start = *entry.add(1) as usize;
            (entry, start, start + *entry.add(EXTENT) as usize)
        }
    }

    impl Object {
        fn begin(&self) -> usize {
            read(self.entries[0]).1
        }
        fn search(&self, pc: usize) -> Option<*const u64> {
            let (mut low, mut high) = (0, self.entries.len());
            while low < high {
                let middle = (low + high) / 2;
                let (entry, start, end) = read(self.entries[middle]);
                if pc < start {
                    high = middle;
                } else if pc >= end {
                    low = middle + 1;
                } else {
                    return Some(entry);
                }
            }
            None
        }
    }

    /// The list as libgcc 12 has it (`unwind-dw2-fde.c`), and at each step of ours a look-up of all that must be found.
    struct Model {
        sorted: Vec<Object>,
        new: Vec<Object>,
        random: Random,
        next: usize,
        /// By first address: end, and entry.
        must: BTreeMap<usize, (usize, *const u64)>,
    }

    impl Model {
        fn new(seed: u64) -> Self {
            Self {
                sorted: Vec::new(),
                new: Vec::new(),
                random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                next: 0,
                must: BTreeMap::new(),
            }
        }

        fn find(&self, pc: usize) -> Option<*const u64> {
            let last_below = self.sorted.iter().find(|o| o.begin() <= pc);
            (last_below.and_then(|o| o.search(pc)))
                .or_else(|| self.new.iter().rev().find_map(|o| o.search(pc)))
        }

        /// What a look-up of `pc` leaves.
        fn look(&mut self, pc: usize) {
            let last_below = self.sorted.iter().find(|o| o.begin() <= pc);
            let mut found = last_below.is_some_and(|o| o.search(pc).is_some());
            while !found && let Some(object) = self.new.pop() {
                found = object.search(pc).is_some();
                let at = self.sorted.partition_point(|o| o.begin() >= object.begin());
                self.sorted.insert(at, object);
            }
        }

        fn check(&mut self) {
            for (start, (end, entry)) in &self.must {
                assert_eq!(self.find(*start), Some(*entry), "{start:#x}");
                assert_eq!(self.find(end - 1), Some(*entry), "{start:#x}");
            }
            if self.random.below(3) == 0 {
                let pc = self.random.below(END);
                self.look(pc);
            }
        }
    }

    impl List for Model {
        type Table = usize;
        unsafe fn put(&mut self, entries: &mut dyn Iterator<Item = *const u64>) -> usize {
            self.next += 1;
            self.new.push(Object {
                id: self.next,
                entries: entries.collect(),
            });
            self.check();
            self.next
        }
        fn take(&mut self, table: usize, _: bool) {
            let all = self.sorted.len() + self.new.len();
            self.sorted.retain(|o| o.id != table);
            self.new.retain(|o| o.id != table);
            assert_eq!(self.sorted.len() + self.new.len(), all - 1);
            self.check();
        }
        fn sort(&mut self, pc: usize) {
            if self.random.below(2) == 0 {
                self.look(pc);
                self.check();
            }
        }
    }

    const PAGES: usize = 12;
    const END: usize = (PAGES + 1) * PAGE;

    /// Functions of the library's user, and code of others in pages where no function is.
    struct World {
        tables: Tables<Model>,
        others: BTreeMap<usize, (Piece, usize)>,
    }

    impl World {
        fn is_free(&self, start: usize, end: usize) -> bool {
            let functions = &self.tables.list.must;
            let last = functions.range(..end).next_back();
            end <= END
                && last.is_none_or(|(_, (last, _))| *last <= start)
                && (start / PAGE..=(end - 1) / PAGE).all(|page| !self.others.contains_key(&(page * PAGE)))
        }

        fn add(&mut self, how_many: usize) {
            let mut pieces = BTreeMap::new();
            for _ in 0..how_many {
                let random = &mut self.tables.list.random;
                let bytes = [64, 64, 64, 700, 4096, 9000][random.below(6)];
                let start = PAGE + random.below(PAGES * 64) * 64;
                let last = pieces.range(..start + bytes).next_back();
                let meets = last.is_some_and(|(_, p): (_, &Piece)| p.end > start);
                if !meets && self.is_free(start, start + bytes) {
                    pieces.insert(start, piece(start, start + bytes));
                }
            }
            let entry = |p: &Piece| (p.start, (p.end, read(p.entries()).0));
            let new: Vec<_> = pieces.values().map(entry).collect();
            let gone = self.tables.add(pieces.into_values());
            self.is_all_there();
            drop(gone);
            self.tables.list.must.extend(new);
            self.tables.list.check();
        }

        fn remove(&mut self) {
            let list = &mut self.tables.list;
            let ours: Vec<usize> = (list.must.keys().copied())
                .filter(|start| !self.others.contains_key(start))
                .collect();
            if ours.is_empty() {
                return;
            }
            let start = ours[list.random.below(ours.len())];
            list.must.remove(&start);
            let gone = self.tables.remove(start);
            self.is_all_there();
            drop(gone);
            assert_eq!(self.tables.list.find(start), None);
        }

        /// Somebody else has a mapping of his own, or gives it up.
        fn other(&mut self) {
            let start = (1 + self.tables.list.random.below(PAGES)) * PAGE;
            if let Some((_, table)) = self.others.remove(&start) {
                self.tables.list.must.remove(&start);
                self.tables.list.take(table, true);
            } else if self.is_free(start, start + PAGE) {
                let piece = piece(start, start + PAGE);
                // SAFETY: it stays until the table is taken.
                let table = unsafe { self.tables.list.put(&mut [piece.entries()].into_iter()) };
                let entry = read(piece.entries()).0;
                self.tables.list.must.insert(start, (start + PAGE, entry));
                self.others.insert(start, (piece, table));
                self.tables.list.check();
            }
        }

        /// What is in the list is in memory.
        fn is_all_there(&self) {
            let pieces = (self.tables.by_start.values()).flat_map(|shared| &shared.pieces);
            let others = self.others.values().map(|(piece, _)| piece);
            let there: BTreeSet<_> = pieces.chain(others).map(Piece::entries).collect();
            let list = &self.tables.list;
            for object in list.sorted.iter().chain(&list.new) {
                assert!(object.entries.iter().all(|entries| there.contains(entries)));
            }
        }
    }

    #[test]
    fn functions_are_found_at_every_step() {
        for seed in 1..=40 {
            let mut world = World {
                tables: Tables::new(Model::new(seed)),
                others: BTreeMap::new(),
            };
            for _ in 0..300 {
                match world.tables.list.random.below(10) {
                    0 => world.add(12),
                    1..4 => world.add(1),
                    4..8 => world.remove(),
                    _ => world.other(),
                }
            }
            while world.tables.list.must.len() > world.others.len() {
                world.remove();
            }
            assert!(world.tables.by_start.is_empty());
            assert_eq!(
                world.tables.list.sorted.len() + world.tables.list.new.len(),
                world.others.len()
            );
        }
    }

    #[test]
    fn neighbours_share_tables() {
        const N: usize = 1000;
        const EACH: usize = 32;
        let at = |i: usize| piece(PAGE + i * EACH, PAGE + (i + 1) * EACH);
        let mut ways: Vec<(&str, Vec<Vec<Piece>>)> = vec![
            ("at once", vec![(0..N).map(at).collect()]),
            ("up", (0..N).map(|i| vec![at(i)]).collect()),
            ("down", (0..N).rev().map(|i| vec![at(i)]).collect()),
            ("mixed", (0..N).map(|i| vec![at(i * 619 % N)]).collect()),
        ];
        for (way, calls) in &mut ways {
            let mut tables = Tables::new(Model::new(1));
            for call in std::mem::take(calls) {
                drop(tables.add(call.into_iter()));
            }
            let few = N.div_ceil(SHARE_MAX);
            assert!(
                tables.by_start.len() <= 2 * few,
                "{way}: {}",
                tables.by_start.len()
            );
        }
    }
}

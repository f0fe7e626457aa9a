//! What a parked goroutine waits for: a kind and an object, in one word, for those who look from outside.
//!
//! The word is `next` of the control block: a goroutine that is parked is in no list. It is written before the park, while
//! the goroutine is its own, and published by the park word; whoever has read it looks at the park word again (`inspect::stopped`, I1).

const KIND_SHIFT: u32 = 56;
/// It will be over by itself: a time-out is set.
const TIMED: u64 = 1 << 63;

/// Of what kind.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the objects are named after
pub enum Kind {
    /// `goroutine_park`; the object is the commit function.
    Ticket,
    /// The object is the deadline.
    Sleep,
    Mutex,
    /// To write.
    RwLock,
    Semaphore,
    WaitGroup,
    Condition,
    /// A channel.
    Send,
    /// A channel.
    Receive,
    /// The object is the cases.
    Select,
    Promise,
    /// The object is the library's record of it.
    Descriptor,
    File,
    Lane,
    /// A thread to bind to.
    Thread,
    /// A worker, after a long blocking call. (Never in the word: it is in a queue by then.)
    Worker,
    /// The next callback: it stands for a thread that the library did not make. (Never in the word.)
    Callback,
    /// A readers-writer lock, to read.
    ReadLock,
    /// The object is the mutex of a once.
    Once,
}

const KINDS: [Kind; 19] = [
    Kind::Ticket,
    Kind::Sleep,
    Kind::Mutex,
    Kind::RwLock,
    Kind::Semaphore,
    Kind::WaitGroup,
    Kind::Condition,
    Kind::Send,
    Kind::Receive,
    Kind::Select,
    Kind::Promise,
    Kind::Descriptor,
    Kind::File,
    Kind::Lane,
    Kind::Thread,
    Kind::Worker,
    Kind::Callback,
    Kind::ReadLock,
    Kind::Once,
];

impl Kind {
    /// Of its number.
    pub fn from(number: u64) -> Option<Self> {
        KINDS.get(usize::try_from(number).ok()?).copied()
    }

    /// In a word or two, for traces.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ticket => "park",
            Self::Sleep => "sleep",
            Self::Mutex => "mutex",
            Self::RwLock => "rwlock",
            Self::Semaphore => "semaphore",
            Self::WaitGroup => "wait group",
            Self::Condition => "condition",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Select => "select",
            Self::Promise => "promise",
            Self::Descriptor => "descriptor",
            Self::File => "file",
            Self::Lane => "lane",
            Self::Thread => "a thread",
            Self::Worker => "a worker",
            Self::Callback => "the next callback",
            Self::ReadLock => "read lock",
            Self::Once => "once",
        }
    }
}

/// The word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waits(pub u64);

impl Waits {
    /// For this object.
    #[inline(always)]
    pub fn on<T>(kind: Kind, object: *const T) -> Self {
        Self(object as u64 | (kind as u64) << KIND_SHIFT)
    }

    /// For something that has no address.
    #[inline(always)]
    pub fn number(kind: Kind, number: u64) -> Self {
        Self(number & ((1 << KIND_SHIFT) - 1) | (kind as u64) << KIND_SHIFT)
    }

    /// What it is.
    pub fn kind(self) -> Option<Kind> {
        Kind::from((self.0 & !TIMED) >> KIND_SHIFT)
    }

    /// The same, with a time-out.
    pub fn timed(self) -> Self {
        Self(self.0 | TIMED)
    }

    /// Whether it has one.
    pub fn is_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    /// Its address, or number.
    pub fn object(self) -> u64 {
        self.0 & ((1 << KIND_SHIFT) - 1)
    }
}

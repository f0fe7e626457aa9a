//! What is recorded: 32 bytes, written by the thread that it happens on.

use super::ring;
use crate::goroutine::waits;

/// One event, or 32 bytes of a name that belongs to the NAME before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Record {
    /// When: the cycle counter, or nanoseconds where there is none that can be used (`sys::clock`).
    pub ticks: u64,
    /// The kind in the lowest 8 bits, above them `detail`.
    word: u64,
    /// Whom it is about: a goroutine's id mostly.
    pub subject: u64,
    /// As the kind says.
    pub more: u64,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// What happened. Beside it: subject, detail, more; a goroutine unless it says otherwise.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $value,)*
        }
        impl Kind {
            fn from(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// It runs here from now on. More: its function.
    Run = 1,
    /// It waits. Detail: a `waits::Kind`.
    Park = 2,
    /// It lets others run.
    Yield = 3,
    /// It is over. Detail: its status, as u32.
    End = 4,
    /// Who runs here spawned it. Detail: where, 0: unknown; more: its function.
    Spawn = 5,
    /// It may run again. Detail: a `Cause`.
    Ready = 6,
    /// Its name: `detail` bytes, in the records that follow.
    Name = 7,
    /// It has this thread for itself.
    Bind = 8,
    /// It has not any more.
    Unbind = 9,
    /// It calls C. Detail: GOROUTINE_FFI_*; more: the function.
    Call = 10,
    /// C has returned.
    Return = 11,
    /// This thread holds a worker. Subject: its number.
    Take = 12,
    /// A worker goes to another thread. Subject: its number; detail 1: the monitor takes it from a long blocking call.
    HandOff = 13,
    /// A timer was started. Subject: its id; more: when it falls due, ns from now.
    TimerStart = 14,
    /// And stopped. Subject: its id.
    TimerStop = 15,
    /// It fires. Subject: the goroutine that runs for it; more: its function.
    TimerFire = 16,
    /// Subject: how many events are missing here.
    Lost = 17,
}

impl Record {
    /// Detail: 56 bits.
    #[inline(always)]
    pub fn new(ticks: u64, kind: Kind, detail: u64, subject: u64, more: u64) -> Self {
        Self {
            ticks,
            word: detail << 8 | kind as u64,
            subject,
            more,
        }
    }

    /// Its kind. None: not an event (a part of a name that lost its beginning, which cannot be: `ring`, I4).
    pub fn kind(&self) -> Option<Kind> {
        Kind::from(self.word as u8)
    }

    /// See `Kind`.
    pub fn detail(&self) -> u64 {
        self.word >> 8
    }

    /// 32 bytes of a name.
    pub fn text(bytes: [u8; 32]) -> Self {
        let word = |i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("8 bytes"));
        Self {
            ticks: word(0),
            word: word(1),
            subject: word(2),
            more: word(3),
        }
    }

    /// The other way round.
    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, word) in bytes
            .chunks_mut(8)
            .zip([self.ticks, self.word, self.subject, self.more])
        {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl ring::Event for Record {
    fn lost(count: u32, next: &Self) -> Self {
        Self::new(next.ticks, Kind::Lost, 0, u64::from(count), 0)
    }
}

/// Why a goroutine is runnable again, if not because somebody who runs here said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cause {
    /// Whoever runs on this thread.
    Somebody = 0,
    /// Its sleep or time-out is over.
    Time = 1,
    /// Its descriptor is ready.
    Descriptor = 2,
    /// It gave its thread back, and needs a worker.
    Worker = 3,
}

/// Why a goroutine parks, in words.
pub fn why(kind: u64) -> &'static str {
    waits::Kind::from(kind).map_or("?", waits::Kind::word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_what_went_in() {
        let record = Record::new(7, Kind::Spawn, (1 << 56) - 1, 8, 9);
        assert_eq!(
            (record.kind(), record.detail()),
            (Some(Kind::Spawn), (1 << 56) - 1)
        );
        let text: [u8; 32] = std::array::from_fn(|i| i as u8);
        assert_eq!(Record::text(text).bytes(), text);
        assert_eq!(why(waits::Kind::Callback as u64), "the next callback");
        assert_eq!(why(99), "?");
    }
}

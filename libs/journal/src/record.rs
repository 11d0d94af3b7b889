//! What is written and read back: records and the words they are made of.

use std::fmt;
use std::time::Duration;

/// Longest payload of a record, in bytes: 1 MiB.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// Microseconds since 1970-01-01T00:00:00Z. This crate has no clock: times are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// How long ago `earlier` was; `None` where it is later, because a clock was set back.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        u64::try_from(self.0.checked_sub(earlier.0)?).ok().map(Duration::from_micros)
    }

    /// Whether `age` is over since `start`. A start in the future counts as over: then the clock was set back.
    pub(crate) fn is_past(self, start: Self, age: Duration) -> bool {
        self.since(start).is_none_or(|elapsed| elapsed >= age)
    }
}

/// Names one journal: 16 random bytes, drawn by the caller when it begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub [u8; 16]);

/// SHA-256 over the hash before and everything in a record that matters: proves all records up to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller's bytes.
    Data,
    /// A [`Checkpoint`](crate::Checkpoint).
    Checkpoint,
}

impl Kind {
    /// The byte in a frame and under the hash.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Checkpoint => 2,
        }
    }

    /// The kind whose byte this is.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::Checkpoint),
            _ => None,
        }
    }
}

/// A record to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it happened.
    pub time: Time,
    /// What the payload is.
    pub kind: Kind,
    /// At most [`PAYLOAD_MAX`] bytes.
    pub payload: &'a [u8],
}

/// A record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the journal; the first is 1, and none is left out.
    pub sequence: u64,
    /// When it happened, by the caller's clock.
    pub time: Time,
    /// What the payload is.
    pub kind: Kind,
    /// The caller's bytes.
    pub payload: &'a [u8],
    /// The chain up to and with this record.
    pub hash: Hash,
}

/// Where a record that was appended stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its sequence.
    pub sequence: u64,
    /// The chain up to and with it.
    pub hash: Hash,
}

/// A record of a journal that somebody remembers outside: a known end, or where a reader stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose record.
    pub journal: JournalId,
    /// Which record; 0 stands for the beginning, before the first.
    pub sequence: u64,
    /// The chain up to and with it.
    pub hash: Hash,
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

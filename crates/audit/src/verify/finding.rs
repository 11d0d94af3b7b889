//! What a verification says of a journal: what it proves, what it leaves open, and the first bad thing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use journal::{Counts, Fault, Head, JournalId, Stretch};
use model::Now;

use super::Signatures;

/// What the verification of one journal found.
#[derive(Debug)]
pub struct Checked {
    /// The journal; `None` where nothing says which it is.
    pub journal: Option<JournalId>,
    /// Where its records are.
    pub source: Source,
    /// How many records, checkpoints and known heads are proved.
    pub counts: Counts,
    /// The record before the first that is proved.
    pub start: Option<Head>,
    /// The last record that is proved.
    pub end: Option<Head>,
    /// What the verification leaves open.
    pub notes: Vec<Note>,
    /// The records that the shipper set aside.
    pub set_aside: Vec<SetAside>,
    /// What no signature covers, and counts as a finding unless the operator allows it.
    pub unvouched: Vec<Unvouched>,
    /// The first bad thing.
    pub finding: Option<Finding>,
}

impl Checked {
    /// A journal of which nothing is checked yet.
    pub(super) fn new(journal: Option<JournalId>, source: Source) -> Self {
        Self {
            journal,
            source,
            counts: Counts::default(),
            start: None,
            end: None,
            notes: Vec::new(),
            set_aside: Vec::new(),
            unvouched: Vec::new(),
            finding: None,
        }
    }

    /// Whether nothing is wrong, and everything is covered by a signature, as far as `signatures` asks for
    /// it.
    pub fn is_right(&self, signatures: &Signatures) -> bool {
        self.finding.is_none() && (self.unvouched.is_empty() || !signatures.are_required())
    }

    /// Notes the records that no checkpoint covers: as unvouched for where they are too many, or reach over
    /// too long a time, for a writer that signs; else as a note, because the last ones are not signed yet.
    pub(super) fn cover(&mut self, unsigned: &[Stretch], signatures: &Signatures) {
        if !signatures.are_checked() {
            return self.notes.push(Note::NothingVouched);
        }
        let has_none = self.counts.checkpoints == 0;
        for stretch in unsigned {
            let is_over = self.end.is_none_or(|end| stretch.to < end.sequence);
            let unvouched = Unvouched::Records(Unsigned::of(stretch));
            if has_none || is_over || is_too_much(stretch) {
                self.unvouched.push(unvouched);
            } else {
                self.notes.push(Note::NotSignedYet(Unsigned::of(stretch)));
            }
        }
    }

    /// A journal that `source` does not have at all, though a head of it is known.
    pub(super) fn missing(head: Head, source: Source) -> Self {
        let finding = Some(Finding::Missing { sequence: head.sequence });
        Self { finding, ..Self::new(Some(head.journal), source) }
    }
}

/// Where the records of a journal are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the segments of this directory.
    Directory(PathBuf),
    /// In the database, shipped by the node of this name.
    Node(String),
    /// Not in the database.
    Database,
    /// Not in the files: only a head is known.
    Elsewhere,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Node(node) => write!(f, "database, node {node}"),
            Self::Database => f.write_str("database"),
            Self::Elsewhere => f.write_str("known from elsewhere"),
        }
    }
}

/// The longest time that records of a working journal stay without a checkpoint, which comes every minute;
/// and their greatest number, since a checkpoint comes after every 8192 records, and a queue holds as many.
const UNSIGNED_TIME: Duration = Duration::from_mins(2);
const UNSIGNED_RECORDS: u64 = 20_000;

fn is_too_much(stretch: &Stretch) -> bool {
    let time = stretch.latest.since(stretch.earliest);
    let records = stretch.to.saturating_sub(stretch.from).saturating_add(1);
    time.is_none_or(|time| time > UNSIGNED_TIME) || records > UNSIGNED_RECORDS
}

/// Records without a signature: the first and the last of them, and their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The sequence of the first of them.
    pub from: u64,
    /// The sequence of the last of them.
    pub to: u64,
    /// The earliest of their times.
    pub earliest: Now,
    /// The latest of their times.
    pub latest: Now,
}

impl Unsigned {
    fn of(stretch: &Stretch) -> Self {
        let [earliest, latest] = [stretch.earliest, stretch.latest].map(|time| Now::from_micros(time.0));
        Self { from: stretch.from, to: stretch.to, earliest, latest }
    }
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, earliest, latest } = self;
        write!(f, "records {from} to {to}, from {earliest} to {latest}")
    }
}

/// What no signature covers though one should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unvouched {
    /// No checkpoint covers these records.
    Records(Unsigned),
    /// The rows up to this sequence are not there, and no signed statement says that retention removed them.
    Kept(u64),
    /// A dead letter says that these records could not be read, and no node has signed it.
    DeadLetter {
        /// The sequence of the first of them.
        from: u64,
        /// The sequence of the last of them.
        to: u64,
    },
}

impl fmt::Display for Unvouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(records) => {
                write!(f, "not vouched for: {records}: no signed checkpoint covers them")
            }
            Self::Kept(sequence) => write!(
                f,
                "not vouched for: records up to {sequence} are not there, and no signed statement says that \
                 retention removed them"
            ),
            Self::DeadLetter { from, to } => write!(
                f,
                "not vouched for: records {from} to {to} are not there, and the dead letter that says so is \
                 not signed"
            ),
        }
    }
}

/// What a verification leaves open, though it is no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A crash, or a writer at work, left so many bytes of a record.
    Torn {
        /// How many.
        bytes: u64,
    },
    /// The oldest segments are not there any more.
    SegmentsRemoved,
    /// The oldest rows are not there any more.
    RowsRemoved,
    /// The files were not compared with the database.
    NotCompared,
    /// There is no record in the directory.
    Empty,
    /// There is no key to check signatures with: the chain proves only that it is consistent in itself.
    NothingVouched,
    /// The last records, which the next checkpoint will cover.
    NotSignedYet(Unsigned),
    /// A shipper found other files than those that it had shipped from: put back from a copy, or short of
    /// their end.
    FilesChanged {
        /// The last record that it had shipped.
        shipped: u64,
        /// What it found.
        reason: String,
    },
    /// A known head is behind the last record that the database was told of.
    Behind {
        /// That last record.
        last: u64,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { bytes } => write!(f, "{bytes} bytes of a record that is not whole are at the end"),
            Self::SegmentsRemoved => {
                f.write_str("older segments were removed, and what they held is not proved")
            }
            Self::RowsRemoved => f.write_str("older records were removed, and what they held is not proved"),
            Self::NotCompared => f.write_str("the database was not asked what it knows"),
            Self::Empty => f.write_str("there is no record in it"),
            Self::NothingVouched => f.write_str(
                "nothing is vouched for: without a key, only the chain was checked, which can be \
                 written anew",
            ),

            Self::NotSignedYet(records) => {
                write!(f, "not vouched for yet: {records}: they are not signed until the next checkpoint")
            }
            Self::FilesChanged { shipped, reason } => {
                write!(f, "after record {shipped} the files were other ones: {reason}")
            }
            Self::Behind { last } => {
                write!(f, "it was told of {last} records: what is behind them was cut off, ")?;
                f.write_str("or has not come from the node yet")
            }
        }
    }
}

/// Records that are not there as the others are, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
    /// Why the shipper set them aside.
    pub reason: String,
    /// Whether their bytes are there and fit the chain; else they are lost.
    pub proved: bool,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, reason, proved } = self;
        if *proved {
            return write!(f, "record {from} was set aside, and its bytes are proved: {reason}");
        }
        write!(f, "records {from} to {to} could not be read and are lost, ")?;
        write!(f, "and the next one is taken as it is: {reason}")
    }
}

/// The first bad thing of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// In its files.
    Segment {
        /// What and where.
        finding: journal::Finding,
        /// The file of the segment.
        file: PathBuf,
    },
    /// In its rows.
    Row {
        /// The sequence of the first record that cannot be proved.
        sequence: i64,
        /// The time of the row, where one stands there.
        at: Option<Now>,
        /// What it is.
        fault: RowFault,
    },
    /// A record is known, and nothing of its journal is there.
    Missing {
        /// The sequence of the known record.
        sequence: u64,
    },
    /// Another journal states that this record is there, and it is not, or it is another one.
    Stated {
        /// The sequence of the stated record.
        sequence: u64,
        /// The journal that states it.
        by: JournalId,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { finding, file } => write!(f, "{finding} ({})", file.display()),
            Self::Row { sequence, at: Some(at), fault } => {
                write!(f, "record {sequence} (the row of {at}): {fault}")
            }
            Self::Row { sequence, at: None, fault } => write!(f, "record {sequence}: {fault}"),
            Self::Missing { sequence } => {
                write!(f, "record {sequence}: it is known, and nothing of its journal is there")
            }
            Self::Stated { sequence, by } => {
                write!(
                    f,
                    "record {sequence}: a signed checkpoint of journal {by} says that it was there, and it \
                     is "
                )?;
                f.write_str("not there or another one")
            }
        }
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowFault {
    /// The record does not fit the chain.
    Chain(Fault),
    /// The dead letter of the record does not fit the chain.
    SetAside(Fault),
    /// The row of the signed head does not say what its checkpoint says, or the signature is wrong.
    SignedHead,
    /// A journal has no record of such a sequence, or of such a kind.
    NoRecord,
    /// The columns do not say what the payload says.
    Columns,
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(fault) => fault.fmt(f),
            Self::SetAside(fault) => {
                write!(f, "it was set aside, but not as it stood in the journal: {fault}")
            }
            Self::SignedHead => f.write_str("the signed head of it was changed, or its signature is wrong"),
            Self::NoRecord => f.write_str("it is no record of a journal"),
            Self::Columns => f.write_str("its columns do not say what its payload says"),
        }
    }
}

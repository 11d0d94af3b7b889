//! What a verification says of a journal: what it proves, what it leaves open, and the first bad thing.

use std::fmt;
use std::path::PathBuf;

use journal::{Counts, Fault, Head, JournalId};
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

/// Records that the process which signed did not write, or that no process has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The sequence of the first of them.
    pub from: u64,
    /// The sequence of the last of them.
    pub to: u64,
    /// The time of the signed checkpoint before them; `None` where there is none.
    pub since: Option<Now>,
    /// The time of the signed checkpoint behind them, or else of the verification.
    pub until: Now,
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, since, until } = self;
        write!(f, "records {from} to {to}, ")?;
        match since {
            Some(since) => write!(f, "between the checkpoint of {since} and {until}"),
            None => write!(f, "until {until}, without a checkpoint before them"),
        }
    }
}

/// What no signature covers though one should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unvouched {
    /// No checkpoint covers these records.
    Records(Unsigned),
    /// A checkpoint covers these records, which were there when the process that signed it began.
    Adopted(Unsigned),
    /// The journal began in a realm that is not new, and no records of before were there.
    Past,
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
        const PAST: &str = "not vouched for: the trail began when the realm was not new, and the records of \
                            before were gone";

        match self {
            Self::Records(records) => {
                write!(f, "not vouched for: {records}: no signed checkpoint covers them")
            }
            Self::Adopted(records) => write!(
                f,
                "not vouched for: {records}: a process that was killed wrote them, or they were forged; the \
                 next one signed them as it found them"
            ),
            Self::Past => f.write_str(PAST),
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
    /// A signed checkpoint states a journal that is not in the files, and the database was not asked.
    StatesAnother {
        /// That journal.
        journal: JournalId,
    },
    /// There is no record in the directory.
    Empty,
    /// There is no key to check signatures with: the chain proves only that it is consistent in itself.
    NothingVouched,
    /// The last records, which the next checkpoint will cover.
    NotSignedYet(Unsigned),
    /// Records that were there when the process that signed them began, as many as one that is killed leaves.
    Adopted(Unsigned),
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
            Self::StatesAnother { journal } => write!(
                f,
                "it states journal {journal}, which is not in the files; the database was not asked whether \
                 it is another node's"
            ),
            Self::Empty => f.write_str("there is no record in it"),
            Self::NothingVouched => f.write_str(
                "nothing is vouched for: without a key, only the chain was checked, which can be \
                 written anew",
            ),

            Self::NotSignedYet(records) => {
                write!(f, "not vouched for yet: {records}: they are not signed until the next checkpoint")
            }
            Self::Adopted(records) => {
                write!(f, "written before a crash, and signed at the next start: not vouched for: {records}")
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
    /// There is no record, though other files or rows say that there was one.
    Empty,
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
            Self::Empty => {
                f.write_str("there is no record in it, and what is beside it says that there was one")
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

//! What a verification says of a journal: what it proves, what it leaves open, and the first bad thing.

use std::fmt;
use std::path::PathBuf;

use journal::{Counts, Fault, Head, JournalId};
use model::Now;

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
            finding: None,
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

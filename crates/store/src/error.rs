//! Errors of the store. Their texts are internal: no client sees them.

use std::fmt;

/// Why the store failed.
#[derive(Debug)]
pub enum Error {
    /// The database cannot be reached, is full, read-only, shutting down or slower than its deadline: 503.
    Unavailable(String),
    /// The connection was lost while COMMIT was under way: the change may or may not be there. Never retried.
    OutcomeUnknown,
    /// PostgreSQL asked for the transaction to run again (SQLSTATE 40001 or 40P01); `transact` does.
    Serialization,
    /// The closure of a transaction awaited something other than its own statements.
    Slow,
    /// An earlier statement of this transaction failed, so nothing of it can be committed.
    Poisoned,
    /// A statement follows the last one of a transaction.
    Finished,
    /// A stored value does not fit its column.
    Corrupt(String),
    /// Any other error of the database: a bug in Gatewright.
    Database(String),
    /// The database belongs to another program or another version; the text says what to do.
    Refused(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the database is unavailable: {why}"),
            Self::OutcomeUnknown => {
                f.write_str("the connection was lost during COMMIT; the outcome is unknown")
            }
            Self::Serialization => {
                f.write_str("the transaction conflicts with another one and may run again")
            }
            Self::Slow => f.write_str("a transaction waited for something that is not a statement"),
            Self::Poisoned => f.write_str("a statement of this transaction failed before"),
            Self::Finished => f.write_str("the last statements of this transaction were sent already"),
            Self::Corrupt(what) => write!(f, "stored data is damaged: {what}"),
            Self::Database(what) => write!(f, "the database refused a statement: {what}"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Whether a retry may help: the caller answers 503 rather than 500.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::OutcomeUnknown | Self::Serialization)
    }
}

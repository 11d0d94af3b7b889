//! Errors of the store. Their texts are internal: no client sees them.

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached, is full, read-only, shutting down or slower than its deadline: 503.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// No server of PostgreSQL was reached; the text names each of them, and says what to do next.
    #[error("the database is unavailable: {why}")]
    Unreached {
        /// Host, port, user, database and reason, for each server.
        why: String,
        /// Whether the same attempt may succeed in a moment: the server starts, or its host is not known yet.
        may_come: bool,
        /// Whether a server or role has as many connections as it may have (53300).
        is_full: bool,
    },
    /// The connection was lost while COMMIT was under way: the change may or may not be there. Never retried.
    #[error("the connection was lost during COMMIT; the outcome is unknown")]
    OutcomeUnknown,
    /// PostgreSQL asked for the transaction to run again (SQLSTATE 40001 or 40P01); `transact` does.
    #[error("the transaction conflicts with another one and may run again")]
    Serialization,
    /// A constraint or a trigger refused a row, however often the transaction ran. Every statement checks
    /// Gatewright's own constraints beforehand, and it has no triggers, so it is one that was added to the
    /// database: 503, and an error in the log.
    #[error("a constraint or trigger of the database that is not Gatewright's refused a row: {0}")]
    Conflict(String),
    /// The closure of a transaction awaited something other than its own statements.
    #[error("a transaction waited for something that is not a statement")]
    Slow,
    /// An earlier statement of this transaction failed, so nothing of it can be committed.
    #[error("a statement of this transaction failed before")]
    Poisoned,
    /// A statement follows the last one of a transaction.
    #[error("the last statements of this transaction were sent already")]
    Finished,
    /// A stored value does not fit its column.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// Any other error of the database: a bug in Gatewright.
    #[error("the database refused a statement: {0}")]
    Database(String),
    /// The database belongs to another program or another version; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Names the statement that the database refused.
    pub(crate) fn of(self, statement: &str) -> Self {
        match self {
            Self::Database(why) => Self::Database(format!("{statement}: {why}")),
            Self::Corrupt(why) => Self::Corrupt(format!("{statement}: {why}")),
            Self::Conflict(why) => Self::Conflict(format!("{statement}: {why}")),
            other => other,
        }
    }

    /// Whether a retry may help: the caller answers 503 rather than 500.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::Unreached { .. }
                | Self::OutcomeUnknown
                | Self::Serialization
                | Self::Conflict(_)
        )
    }
}

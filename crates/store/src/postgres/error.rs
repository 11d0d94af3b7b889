//! Classification of the driver's errors by SQLSTATE.

use tokio_postgres::error::{Severity, SqlState};

use super::address::chain;
use crate::Error;

fn state(error: &tokio_postgres::Error) -> Option<&str> {
    error.code().map(SqlState::code)
}

/// Whether the SQLSTATE asks for a retry of the whole transaction. A unique violation does: every statement
/// checks for conflicts beforehand, so it has lost a race that the next run sees.
pub(super) fn wants_retry(error: &tokio_postgres::Error) -> bool {
    matches!(state(error), Some("40001" | "40P01" | "23505"))
}

/// Maps an error of the driver. Classes 08, 28, 3D, 53, 57 and 58, a read-only server, a schema or table that
/// is not there, a sequence at its end, a missing privilege and a lost connection mean that the database is
/// unavailable, a constraint or trigger that refuses a row a conflict; anything else is a bug in Gatewright.
pub(crate) fn sort(error: &tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        return Error::Unavailable(chain(error));
    };
    let state = db.code().code();
    let text = format!("{state}: {}", db.message());
    if matches!(state.get(..2), Some("09" | "23" | "27" | "38" | "39" | "44" | "P0")) {
        Error::Conflict(text)
    } else if wants_retry(error) {
        Error::Serialization
    } else if state == "40003" {
        Error::OutcomeUnknown
    } else if is_stale(error)
        || matches!(state.get(..2), Some("53" | "57" | "3D" | "28"))
        || matches!(state, "55P03" | "42501" | "42P01" | "42703" | "3F000" | "42P05" | "2200H")
    {
        Error::Unavailable(text)
    } else if db.where_().is_some_and(|place| place.contains("PL/")) {
        // Gatewright has no function in a procedural language, so it is a trigger's.
        Error::Conflict(text)
    } else {
        Error::Database(text)
    }
}

/// Whether the server ended the connection with this error.
pub(super) fn is_fatal(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().and_then(tokio_postgres::error::DbError::parsed_severity);
    matches!(severity, Some(Severity::Fatal | Severity::Panic))
}

/// Whether a connection with this error is unusable: it is lost or closing, leads to a server that has become
/// read-only, or its prepared statements no longer match the server's.
pub(super) fn is_stale(error: &tokio_postgres::Error) -> bool {
    let Some(state) = state(error) else { return true };
    is_fatal(error)
        || matches!(state.get(..2), Some("08" | "58"))
        || matches!(state, "25006" | "26000" | "42P05" | "0A000" | "57P01" | "57P02" | "57P03")
}

/// Whether a pooler that loses prepared statements causes this error: the statement is unknown, is there
/// already, or is another client's with other parameters. Such a statement was not run.
pub(super) fn loses_statements(error: &tokio_postgres::Error) -> bool {
    !is_fatal(error) && matches!(state(error), Some("26000" | "42P05" | "08P01"))
}

/// Whether a default of the server, database or role stopped a statement that stated nothing: its isolation
/// level or one of its time-outs.
pub(super) fn is_of_defaults(error: &tokio_postgres::Error) -> bool {
    !is_fatal(error) && matches!(state(error), Some("40001" | "55P03" | "57014"))
}

//! What processes left behind that were killed: whether it happened is found out, or said to be unknown.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use journal::{ReadError, Reader};
use model::{Event, EventKind, Intent, Now};
use serde::Deserialize;
use store::queries::{session, user};

use super::{Auditor, UnresolvedIntent};
use crate::OpContext;
use crate::session::rotated_at;

/// Most that the clocks of two nodes may be apart for one's change to be told from another's.
const SKEW: Duration = Duration::from_mins(1);

/// How something that was announced outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// It was done, and nobody said so.
    Done(Event),
    /// There is no trace of it, and there would be one.
    RolledBack,
    /// It left no trace, or somebody else may have left the same.
    Unknown,
}

/// Why something is not settled yet.
#[derive(Debug)]
pub enum ReconcileError {
    /// The journal of events cannot be read.
    Journal(ReadError),
    /// The database did not answer.
    Store(store::Error),
}

impl From<ReadError> for ReconcileError {
    fn from(error: ReadError) -> Self {
        Self::Journal(error)
    }
}

impl From<store::Error> for ReconcileError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for ReconcileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReconcileError {}

/// Settles what is left of processes that were killed. An intent whose event is in the journal, at `directory`, has
/// ended; of every other one the database is asked. What was done is noted as it would have been, at the time at which
/// it was announced; of what left no trace [`Event::OutcomeUnknown`] is noted, and of what surely did not happen
/// nothing. Returns how many are left: a transaction may outlive its process for a while, and until then that there is
/// no trace says nothing.
///
/// # Errors
/// [`ReconcileError`]; what is not settled then is left.
pub async fn settle(
    ctx: &mut OpContext<'_>,
    auditor: &Auditor,
    directory: &Path,
) -> Result<usize, ReconcileError> {
    if auditor.left().is_empty() {
        return Ok(0);
    }
    // Once is enough: what those processes have written, they have written.
    if !auditor.has_looked() {
        let left = auditor.left();
        let noted = noted(directory, &left)?;
        left.iter().filter(|left| noted.contains(&left.number)).for_each(|left| auditor.found(left));
        auditor.looked();
    }
    let left = auditor.left();
    let outlives = ctx.lease.outlives();
    let mut remaining = 0;
    let (mut done, mut unknown) = (0_usize, 0_usize);
    for one in &left {
        match ask(ctx, one).await? {
            Outcome::Done(event) => {
                done += 1;
                auditor.settle(one, &event);
            }
            Outcome::RolledBack if ctx.now.since(one.at) < outlives => remaining += 1,
            Outcome::RolledBack => auditor.rolled_back(one),
            Outcome::Unknown => {
                unknown += 1;
                auditor.settle(one, &one.intent.unknown());
            }
        }
    }
    if done + unknown > 0 {
        tracing::warn!(done, unknown, "what a killed process had not noted was found out");
    }
    Ok(remaining)
}

/// Those of `left` whose event is in the journal, by their numbers.
fn noted(directory: &Path, left: &[UnresolvedIntent]) -> Result<BTreeSet<u64>, ReadError> {
    /// All that matters of a record.
    #[derive(Deserialize)]
    struct Ends {
        intent: Option<u64>,
    }

    let mut wanted: BTreeSet<u64> = left.iter().map(|left| left.number).collect();
    let behind = left.iter().map(|left| left.behind).min().unwrap_or_default();
    let mut reader = Reader::near(directory, behind);
    let mut found = BTreeSet::new();
    while !wanted.is_empty() {
        let record = match reader.read() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            // What is damaged ends no intent: that is then found out once more.
            Err(ReadError::Damaged(_)) => match reader.skip()? {
                Some(_) => continue,
                None => break,
            },
            Err(error) => return Err(error),
        };
        let ends = serde_json::from_slice::<Ends>(record.payload).ok().and_then(|ends| ends.intent);
        found.extend(ends.filter(|number| wanted.remove(number)));
    }
    Ok(found)
}

/// Asks the database. A row that the cleanup removes is there for as long as an access token lives, at least: until
/// then its absence proves something.
async fn ask(ctx: &mut OpContext<'_>, left: &UnresolvedIntent) -> Result<Outcome, store::Error> {
    let Intent { kind, user, session, .. } = left.intent;
    let is_fresh = ctx.now.since(left.at) < ctx.services.settings.access_ttl;
    let outcome = match (kind, user, session) {
        (EventKind::UserRegistered, Some(uuid), session) => {
            let found = ctx.lease.read().await?.one(user::trace(uuid)).await?;
            // A user's row is never removed.
            found
                .map_or(Outcome::RolledBack, |_| Outcome::Done(Event::UserRegistered { user: uuid, session }))
        }
        (EventKind::ProfileChanged | EventKind::RoleChanged | EventKind::UserActivated, Some(uuid), _) => {
            let found = ctx.lease.read().await?.one(user::trace(uuid)).await?;
            found.map_or(Outcome::Unknown, |(role, changed)| {
                outcome_by_stamp(left.intent.stamp, changed, || match kind {
                    EventKind::RoleChanged => Event::RoleChanged { user: uuid, role },
                    EventKind::UserActivated => Event::UserActivated { user: uuid },
                    _ => Event::ProfileChanged { user: uuid },
                })
            })
        }
        (
            EventKind::LoginSucceeded
            | EventKind::SessionRefreshed
            | EventKind::SessionRevoked
            | EventKind::RefreshStolen,
            _,
            Some(id),
        ) => match ctx.lease.read().await?.one(session::trace(id)).await? {
            Some(found) => outcome_of_session(&left.intent, &found),
            None if kind == EventKind::LoginSucceeded && is_fresh => Outcome::RolledBack,
            None => Outcome::Unknown,
        },
        _ => Outcome::Unknown,
    };
    ctx.lease.park();
    Ok(outcome)
}

/// By the time that a change writes into the row: an older one says that it was not made, a newer one nothing.
fn outcome_by_stamp(stamp: Option<Now>, found: Now, event: impl FnOnce() -> Event) -> Outcome {
    match stamp {
        Some(stamp) if found == stamp => Outcome::Done(event()),
        Some(stamp) if found < stamp.minus(SKEW) => Outcome::RolledBack,
        _ => Outcome::Unknown,
    }
}

/// How it outcome, by the row of its session.
fn outcome_of_session(intent: &Intent, found: &session::Trace) -> Outcome {
    let (user, generation) = (found.user, intent.generation.unwrap_or_default());
    let Some(id) = intent.session else { return Outcome::Unknown };
    match intent.kind {
        EventKind::LoginSucceeded => Outcome::Done(Event::LoginSucceeded { user, session: id }),
        EventKind::SessionRefreshed if found.generation < generation => Outcome::RolledBack,
        // Another request may have done the same with the same token, also on another node: each writes its time.
        EventKind::SessionRefreshed => match (rotated_at(found, generation), intent.stamp) {
            (Some(rotated_at), Some(stamp)) if rotated_at == stamp => {
                Outcome::Done(Event::SessionRefreshed { user, session: id, generation })
            }
            (Some(_), Some(_)) => Outcome::RolledBack,
            _ => Outcome::Unknown,
        },
        EventKind::SessionRevoked | EventKind::RefreshStolen if !found.revoked => Outcome::RolledBack,
        EventKind::SessionRevoked if intent.stamp == Some(found.expires_at) => {
            Outcome::Done(Event::SessionRevoked { user, session: id })
        }
        EventKind::RefreshStolen if intent.stamp == Some(found.expires_at) => {
            Outcome::Done(Event::RefreshStolen { user, session: id, generation })
        }
        // A session is ended once, and this one by somebody else.
        EventKind::SessionRevoked | EventKind::RefreshStolen => Outcome::RolledBack,
        _ => Outcome::Unknown,
    }
}

//! What processes left behind that were killed: whether it happened is found out, or said to be unknown.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use journal::{ReadError, Reader};
use model::{Event, Intent, Kind, Now};
use serde::Deserialize;
use store::noun::{session, user};

use super::{Auditor, Left};
use crate::Visit;
use crate::session::reached;

/// Most that the clocks of two nodes may be apart for one's change to be told from another's.
const SKEW: Duration = Duration::from_mins(1);

/// How something that was announced went.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Went {
    /// It was done, and nobody said so.
    Done(Event),
    /// There is no trace of it, and there would be one.
    Nothing,
    /// It left no trace, or somebody else may have left the same.
    Unknown,
}

/// Why something is not settled yet.
#[derive(Debug)]
pub enum SettleError {
    /// The journal of events cannot be read.
    Journal(ReadError),
    /// The database did not answer.
    Store(store::Error),
}

impl From<ReadError> for SettleError {
    fn from(error: ReadError) -> Self {
        Self::Journal(error)
    }
}

impl From<store::Error> for SettleError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SettleError {}

/// Settles what is left of processes that were killed. An intent whose event is in the journal, at `directory`, has
/// ended; of every other one the database is asked. What was done is noted as it would have been, at the time at which
/// it was announced; of what left no trace [`Event::OutcomeUnknown`] is noted, and of what surely did not happen
/// nothing. Returns how many are left: a transaction may outlive its process for a while, and until then that there is
/// no trace says nothing.
///
/// # Errors
/// [`SettleError`]; what is not settled then is left.
pub async fn settle(
    visit: &mut Visit<'_>,
    auditor: &Auditor,
    directory: &Path,
) -> Result<usize, SettleError> {
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
    let outlives = visit.lease.outlives();
    let mut remaining = 0;
    let (mut done, mut unknown) = (0_usize, 0_usize);
    for one in &left {
        match ask(visit, one).await? {
            Went::Done(event) => {
                done += 1;
                auditor.settle(one, &event);
            }
            Went::Nothing if visit.now.since(one.at) < outlives => remaining += 1,
            Went::Nothing => auditor.came_to_nothing(one),
            Went::Unknown => {
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
fn noted(directory: &Path, left: &[Left]) -> Result<BTreeSet<u64>, ReadError> {
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
async fn ask(visit: &mut Visit<'_>, left: &Left) -> Result<Went, store::Error> {
    let Intent { kind, user, session, .. } = left.intent;
    let is_fresh = visit.now.since(left.at) < visit.rooms.settings.access_ttl;
    let went = match (kind, user, session) {
        (Kind::UserRegistered, Some(uuid), session) => {
            let found = visit.lease.read().await?.one(user::trace(uuid)).await?;
            // A user's row is never removed.
            found.map_or(Went::Nothing, |_| Went::Done(Event::UserRegistered { user: uuid, session }))
        }
        (Kind::ProfileChanged | Kind::RoleChanged | Kind::UserActivated, Some(uuid), _) => {
            let found = visit.lease.read().await?.one(user::trace(uuid)).await?;
            found.map_or(Went::Unknown, |(role, changed)| {
                went_by(left.intent.stamp, changed, || match kind {
                    Kind::RoleChanged => Event::RoleChanged { user: uuid, role },
                    Kind::UserActivated => Event::UserActivated { user: uuid },
                    _ => Event::ProfileChanged { user: uuid },
                })
            })
        }
        (
            Kind::LoginSucceeded | Kind::SessionRefreshed | Kind::SessionRevoked | Kind::RefreshStolen,
            _,
            Some(id),
        ) => match visit.lease.read().await?.one(session::trace(id)).await? {
            Some(found) => of_session(&left.intent, &found),
            None if kind == Kind::LoginSucceeded && is_fresh => Went::Nothing,
            None => Went::Unknown,
        },
        _ => Went::Unknown,
    };
    visit.lease.park();
    Ok(went)
}

/// By the time that a change writes into the row: an older one says that it was not made, a newer one nothing.
fn went_by(stamp: Option<Now>, found: Now, event: impl FnOnce() -> Event) -> Went {
    match stamp {
        Some(stamp) if found == stamp => Went::Done(event()),
        Some(stamp) if found < stamp.minus(SKEW) => Went::Nothing,
        _ => Went::Unknown,
    }
}

/// How it went, by the row of its session.
fn of_session(intent: &Intent, found: &session::Trace) -> Went {
    let (user, generation) = (found.user, intent.generation.unwrap_or_default());
    let Some(id) = intent.session else { return Went::Unknown };
    match intent.kind {
        Kind::LoginSucceeded => Went::Done(Event::LoginSucceeded { user, session: id }),
        Kind::SessionRefreshed if found.generation < generation => Went::Nothing,
        // Another request may have done the same with the same token, also on another node: each writes its time.
        Kind::SessionRefreshed => match (reached(found, generation), intent.stamp) {
            (Some(reached), Some(stamp)) if reached == stamp => {
                Went::Done(Event::SessionRefreshed { user, session: id, generation })
            }
            (Some(_), Some(_)) => Went::Nothing,
            _ => Went::Unknown,
        },
        Kind::SessionRevoked | Kind::RefreshStolen if !found.revoked => Went::Nothing,
        Kind::SessionRevoked if intent.stamp == Some(found.expires_at) => {
            Went::Done(Event::SessionRevoked { user, session: id })
        }
        Kind::RefreshStolen if intent.stamp == Some(found.expires_at) => {
            Went::Done(Event::RefreshStolen { user, session: id, generation })
        }
        // A session is ended once, and this one by somebody else.
        Kind::SessionRevoked | Kind::RefreshStolen => Went::Nothing,
        _ => Went::Unknown,
    }
}

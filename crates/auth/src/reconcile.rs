//! What became of an intent that a killed process left: the database is asked for its trace.

use std::time::Duration;

use model::{Event, EventKind, Intent, Now, UnresolvedIntent};
use store::queries::{session, user};

use crate::OpContext;
use crate::session::rotated_at;

/// Most that the clocks of two nodes may be apart for one's change to be told from another's.
const SKEW: Duration = Duration::from_mins(1);

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was committed, and this event was not recorded.
    Committed(Event),
    /// There is no trace of it, and there would be one.
    RolledBack,
    /// It left no trace, or another change may have left the same.
    Unknown,
}

/// Asks the database. A row that the cleanup removes is there for as long as an access token lives, at least: until
/// then its absence proves something.
pub async fn outcome_of(
    ctx: &mut OpContext<'_>,
    unresolved: &UnresolvedIntent,
) -> Result<Outcome, store::Error> {
    let Intent { kind, user, session, .. } = unresolved.intent;
    let is_fresh = ctx.now.since(unresolved.at) < ctx.services.settings.access_ttl;
    let outcome = match (kind, user, session) {
        (EventKind::UserRegistered, Some(uuid), session) => {
            let found = ctx.lease.read().await?.one(user::trace(uuid)).await?;
            // A user's row is never removed.
            found.map_or(Outcome::RolledBack, |_| {
                Outcome::Committed(Event::UserRegistered { user: uuid, session })
            })
        }
        (EventKind::ProfileChanged | EventKind::RoleChanged | EventKind::UserActivated, Some(uuid), _) => {
            let found = ctx.lease.read().await?.one(user::trace(uuid)).await?;
            found.map_or(Outcome::Unknown, |(role, changed)| {
                outcome_by_stamp(unresolved.intent.stamp, changed, || match kind {
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
            Some(found) => outcome_of_session(&unresolved.intent, &found),
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
        Some(stamp) if found == stamp => Outcome::Committed(event()),
        Some(stamp) if found < stamp.minus(SKEW) => Outcome::RolledBack,
        _ => Outcome::Unknown,
    }
}

/// How it outcome, by the row of its session.
fn outcome_of_session(intent: &Intent, found: &session::Trace) -> Outcome {
    let (user, generation) = (found.user, intent.generation.unwrap_or_default());
    let Some(id) = intent.session else { return Outcome::Unknown };
    match intent.kind {
        EventKind::LoginSucceeded => Outcome::Committed(Event::LoginSucceeded { user, session: id }),
        EventKind::SessionRefreshed if found.generation < generation => Outcome::RolledBack,
        // Another request may have done the same with the same token, also on another node: each writes its time.
        EventKind::SessionRefreshed => match (rotated_at(found, generation), intent.stamp) {
            (Some(rotated_at), Some(stamp)) if rotated_at == stamp => {
                Outcome::Committed(Event::SessionRefreshed { user, session: id, generation })
            }
            (Some(_), Some(_)) => Outcome::RolledBack,
            _ => Outcome::Unknown,
        },
        EventKind::SessionRevoked | EventKind::RefreshStolen if !found.revoked => Outcome::RolledBack,
        EventKind::SessionRevoked if intent.stamp == Some(found.expires_at) => {
            Outcome::Committed(Event::SessionRevoked { user, session: id })
        }
        EventKind::RefreshStolen if intent.stamp == Some(found.expires_at) => {
            Outcome::Committed(Event::RefreshStolen { user, session: id, generation })
        }
        // A session is ended once, and this one by somebody else.
        EventKind::SessionRevoked | EventKind::RefreshStolen => Outcome::RolledBack,
        _ => Outcome::Unknown,
    }
}

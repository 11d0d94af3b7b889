//! Determines the outcome of an intent that a killed process left, from the rows in the database.

use std::time::Duration;

use model::event::{self, LoginMethod};
use model::intent::TracedIntent;
use model::{Event, Intent, SessionId, UnresolvedIntent, UserUuid};
use store::queries::{session, user};

use crate::OpContext;
use crate::session::rotated_at;

/// Largest clock difference between two nodes for which their changes can be told apart.
const SKEW: Duration = Duration::from_mins(1);

/// The outcome of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was committed, and this event was not recorded.
    Committed(Event),
    /// The database has no trace of it, although a commit would leave one.
    RolledBack,
    /// A commit leaves no trace, or another change may have left the same one.
    Unknown,
}

/// Determines the outcome of an intent by the rows that it would change. The cleanup keeps a row at least for
/// the lifetime of an access token: until then its absence proves that nothing was committed.
///
/// # Errors
/// When the database did not answer.
pub async fn outcome_of(
    ctx: &mut OpContext<'_>,
    unresolved: &UnresolvedIntent,
) -> Result<Outcome, store::Error> {
    let intent = &unresolved.intent;
    let Some(kind) = intent.kind.traced() else { return Ok(Outcome::Unknown) };

    let outcome = match kind {
        TracedIntent::UserRegistered => registration(ctx, intent).await?,
        TracedIntent::ProfileChanged => {
            change_of_user(ctx, intent, |user, _| event::ProfileChanged { user }.into()).await?
        }
        TracedIntent::RoleChanged => {
            change_of_user(ctx, intent, |user, role| event::RoleChanged { user, role }.into()).await?
        }
        TracedIntent::UserActivated => {
            change_of_user(ctx, intent, |user, _| event::UserActivated { user }.into()).await?
        }
        TracedIntent::LoginSucceeded => login(ctx, unresolved).await?,
        TracedIntent::SessionRefreshed => refresh(ctx, intent).await?,
        TracedIntent::SessionRevoked => {
            end_of_session(ctx, intent, |user, session, _| {
                event::SessionRevoked { user: Some(user), session }.into()
            })
            .await?
        }
        TracedIntent::RefreshStolen => {
            let stolen =
                |user, session, generation| event::RefreshStolen { user, session, generation }.into();
            end_of_session(ctx, intent, stolen).await?
        }
    };

    ctx.lease.park();
    Ok(outcome)
}

async fn registration(ctx: &mut OpContext<'_>, intent: &Intent) -> Result<Outcome, store::Error> {
    let Some(user) = intent.user else { return Ok(Outcome::Unknown) };
    let found = ctx.lease.read().await?.one(user::trace(user)).await?;
    // A user's row is never removed.
    Ok(found.map_or(Outcome::RolledBack, |(number, role, _)| {
        Outcome::Committed(Event::UserRegistered { user, number, role, session: intent.session })
    }))
}

/// Decides by the time in the user's row; `event` is given the user and the role.
async fn change_of_user(
    ctx: &mut OpContext<'_>,
    intent: &Intent,
    event: impl FnOnce(UserUuid, String) -> Event,
) -> Result<Outcome, store::Error> {
    let (Some(user), Some(stamp)) = (intent.user, intent.stamp) else { return Ok(Outcome::Unknown) };
    let Some((_, role, changed)) = ctx.lease.read().await?.one(user::trace(user)).await? else {
        return Ok(Outcome::Unknown);
    };

    // The change writes its time into the row: an older time shows that it was not committed, a newer one
    // shows nothing.
    Ok(if changed == stamp {
        Outcome::Committed(event(user, role))
    } else if changed < stamp.minus(SKEW) {
        Outcome::RolledBack
    } else {
        Outcome::Unknown
    })
}

/// The session of an intent and its row, if there is one.
async fn session_of(
    ctx: &mut OpContext<'_>,
    intent: &Intent,
) -> Result<Option<(SessionId, Option<session::Trace>)>, store::Error> {
    let Some(id) = intent.session else { return Ok(None) };
    Ok(Some((id, ctx.lease.read().await?.one(session::trace(id)).await?)))
}

async fn login(ctx: &mut OpContext<'_>, unresolved: &UnresolvedIntent) -> Result<Outcome, store::Error> {
    let is_fresh = ctx.now.since(unresolved.at) < ctx.services.settings.access_ttl;
    Ok(match session_of(ctx, &unresolved.intent).await? {
        Some((session, Some(found))) => Outcome::Committed(Event::LoginSucceeded {
            user: found.user,
            session,
            method: LoginMethod::Password,
        }),
        Some((_, None)) if is_fresh => Outcome::RolledBack,
        Some((_, None)) | None => Outcome::Unknown,
    })
}

/// Decides by the end of the session; `event` is given the user, the session and the generation. A session
/// ends once: by this change or by another one.
async fn end_of_session(
    ctx: &mut OpContext<'_>,
    intent: &Intent,
    event: impl FnOnce(UserUuid, SessionId, i64) -> Event,
) -> Result<Outcome, store::Error> {
    let Some((session, Some(found))) = session_of(ctx, intent).await? else { return Ok(Outcome::Unknown) };
    let is_this = intent.stamp.is_some() && intent.stamp == found.revoked_at;
    Ok(if is_this {
        Outcome::Committed(event(found.user, session, intent.generation.unwrap_or_default()))
    } else {
        Outcome::RolledBack
    })
}

/// Decides by the session's refresh token generation. Another request, even on another node, may have rotated
/// the same token: each writes its time.
async fn refresh(ctx: &mut OpContext<'_>, intent: &Intent) -> Result<Outcome, store::Error> {
    let Some((session, Some(found))) = session_of(ctx, intent).await? else { return Ok(Outcome::Unknown) };
    let (user, generation) = (found.user, intent.generation.unwrap_or_default());
    if found.generation < generation {
        return Ok(Outcome::RolledBack);
    }
    Ok(match (rotated_at(&found, generation), intent.stamp) {
        (Some(rotated_at), Some(stamp)) if rotated_at == stamp => {
            Outcome::Committed(Event::SessionRefreshed { user, session, generation })
        }
        (Some(_), Some(_)) => Outcome::RolledBack,
        (None, _) | (_, None) => Outcome::Unknown,
    })
}

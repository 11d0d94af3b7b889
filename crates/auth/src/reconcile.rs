//! Determines the outcome of an intent that a killed process left, from the rows in the database.

use std::time::Duration;

use model::event::LoginMethod;
use model::{Event, EventKind, Intent, SessionId, UnresolvedIntent, UserUuid};
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
    let Intent { kind, user, session, .. } = unresolved.intent;
    let outcome = match kind {
        EventKind::UserRegistered => registration(ctx, user, session).await?,
        EventKind::ProfileChanged | EventKind::RoleChanged | EventKind::UserActivated => {
            change_of_user(ctx, &unresolved.intent).await?
        }
        EventKind::LoginSucceeded
        | EventKind::SessionRefreshed
        | EventKind::SessionRevoked
        | EventKind::RefreshStolen => change_of_session(ctx, unresolved).await?,

        // No row distinguishes one of these from another of its kind.
        EventKind::RealmOpened
        | EventKind::RefreshReplayedLate
        | EventKind::SessionsRevoked
        | EventKind::PasswordChanged
        | EventKind::PasswordRehashed
        | EventKind::UserErased
        | EventKind::UserDeactivated
        | EventKind::UsersImported
        | EventKind::ClientAdded
        | EventKind::ClientRotated
        | EventKind::ClientRemoved
        | EventKind::KeyCreated
        | EventKind::KeyActivated
        | EventKind::KeyRetired
        | EventKind::KeyRemoved
        | EventKind::PepperCreated
        | EventKind::PepperRemoved
        | EventKind::PasswordsSealed
        | EventKind::KeysResealed
        | EventKind::RowsCleaned
        // These change no row, so no transaction announces them.
        | EventKind::ServerStarted
        | EventKind::ServerStopped
        | EventKind::ConfigurationReloaded
        | EventKind::ConfigurationRefused
        | EventKind::RegistrationRefused
        | EventKind::LoginFailed
        | EventKind::RefreshReplayed
        | EventKind::RefreshFailed
        | EventKind::PasswordRefused
        | EventKind::UserShown
        | EventKind::UsersListed
        | EventKind::UsersExported
        | EventKind::ClientAuthenticated
        | EventKind::ClientRefused
        | EventKind::OutcomeUnknown => Outcome::Unknown,
    };
    ctx.lease.park();
    Ok(outcome)
}

async fn registration(
    ctx: &mut OpContext<'_>,
    user: Option<UserUuid>,
    session: Option<SessionId>,
) -> Result<Outcome, store::Error> {
    let Some(user) = user else { return Ok(Outcome::Unknown) };
    let found = ctx.lease.read().await?.one(user::trace(user)).await?;
    // A user's row is never removed.
    Ok(found.map_or(Outcome::RolledBack, |(role, _)| {
        Outcome::Committed(Event::UserRegistered { user, role, session })
    }))
}

async fn change_of_user(ctx: &mut OpContext<'_>, intent: &Intent) -> Result<Outcome, store::Error> {
    let Some(user) = intent.user else { return Ok(Outcome::Unknown) };
    let Some((role, changed)) = ctx.lease.read().await?.one(user::trace(user)).await? else {
        return Ok(Outcome::Unknown);
    };

    // The change writes its time into the row: an older time shows that it was not committed, a newer one
    // shows nothing.
    Ok(match intent.stamp {
        Some(stamp) if changed == stamp && intent.kind == EventKind::RoleChanged => {
            Outcome::Committed(Event::RoleChanged { user, role })
        }
        Some(stamp) if changed == stamp && intent.kind == EventKind::UserActivated => {
            Outcome::Committed(Event::UserActivated { user })
        }
        Some(stamp) if changed == stamp => Outcome::Committed(Event::ProfileChanged { user }),
        Some(stamp) if changed < stamp.minus(SKEW) => Outcome::RolledBack,
        Some(_) | None => Outcome::Unknown,
    })
}

async fn change_of_session(
    ctx: &mut OpContext<'_>,
    unresolved: &UnresolvedIntent,
) -> Result<Outcome, store::Error> {
    let Some(id) = unresolved.intent.session else { return Ok(Outcome::Unknown) };
    let is_fresh = ctx.now.since(unresolved.at) < ctx.services.settings.access_ttl;
    Ok(match ctx.lease.read().await?.one(session::trace(id)).await? {
        Some(found) => by_session(&unresolved.intent, id, &found),
        None if unresolved.intent.kind == EventKind::LoginSucceeded && is_fresh => Outcome::RolledBack,
        None => Outcome::Unknown,
    })
}

/// Decides by the row of the session.
fn by_session(intent: &Intent, session: SessionId, found: &session::Trace) -> Outcome {
    let user = found.user;
    let generation = intent.generation.unwrap_or_default();
    if intent.kind == EventKind::LoginSucceeded {
        return Outcome::Committed(Event::LoginSucceeded { user, session, method: LoginMethod::Password });
    }
    if intent.kind == EventKind::SessionRefreshed {
        return by_generation(intent, session, found);
    }

    // A session ends once: by this change or by another one.
    let is_this = found.revoked && intent.stamp == Some(found.expires_at);
    if !is_this {
        Outcome::RolledBack
    } else if intent.kind == EventKind::RefreshStolen {
        Outcome::Committed(Event::RefreshStolen { user, session, generation })
    } else {
        Outcome::Committed(Event::SessionRevoked { user, session })
    }
}

/// Decides by the session's refresh token generation. Another request, even on another node, may have rotated
/// the same token: each writes its time.
fn by_generation(intent: &Intent, session: SessionId, found: &session::Trace) -> Outcome {
    let user = found.user;
    let generation = intent.generation.unwrap_or_default();
    if found.generation < generation {
        return Outcome::RolledBack;
    }
    match (rotated_at(found, generation), intent.stamp) {
        (Some(rotated_at), Some(stamp)) if rotated_at == stamp => {
            Outcome::Committed(Event::SessionRefreshed { user, session, generation })
        }
        (Some(_), Some(_)) => Outcome::RolledBack,
        (None, _) | (_, None) => Outcome::Unknown,
    }
}

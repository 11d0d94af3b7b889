//! Who calls: an access token, checked against the keys and the view of revocations.

use std::time::Duration;

use model::{SessionId, UserId, UserUuid};
use protocol::access_token::{AccessClaims, LEEWAY, TYP};
use protocol::jwt::{self, Invalid};
use store::noun::session;
use store::noun::user::State;

use crate::Visit;
use crate::session::view::FRESH;

/// Whoever showed a valid access token. His role is not here: it is read from the user where it matters.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// His other name.
    pub user_uuid: UserUuid,
    /// The session of the token.
    pub session: SessionId,
    /// The token's claims.
    pub claims: AccessClaims,
}

/// Why a token does not say who calls.
#[derive(Debug)]
pub enum CallerError {
    /// It is not a valid access token of this server.
    Invalid(Invalid),
    /// Its session has ended.
    Revoked,
    /// The view of revocations is too old and the database does not answer.
    Stale(store::Error),
}

/// Checks an access token: signature, type, times, issuer, audience, and that its session has not ended.
///
/// The database is asked only when the view of revocations is older than a second.
///
/// # Errors
/// [`CallerError`].
pub async fn authenticate(visit: &mut Visit<'_>, token: &str) -> Result<Caller, CallerError> {
    let claims = read(visit, token)?;
    let settings = &visit.rooms.settings;
    claims
        .check(visit.now, &settings.issuer, settings.audience.as_deref(), LEEWAY)
        .map_err(CallerError::Invalid)?;
    let caller = caller(visit, claims).await?;
    if visit.rooms.revocations.has(caller.session) {
        return Err(CallerError::Revoked);
    }
    let age = visit.rooms.revocations.age();
    if age.is_none_or(|age| age > FRESH) {
        ask(visit, &caller, age).await?;
    }
    Ok(caller)
}

/// As [`authenticate`], but an expired token, or one of a session that has ended, will do: it only says which
/// session to end.
///
/// # Errors
/// [`CallerError::Invalid`].
pub async fn authenticate_even_if_expired(visit: &mut Visit<'_>, token: &str) -> Result<Caller, CallerError> {
    let claims = read(visit, token)?;
    let settings = &visit.rooms.settings;
    claims
        .check_even_if_expired(visit.now, &settings.issuer, settings.audience.as_deref(), LEEWAY)
        .map_err(CallerError::Invalid)?;
    caller(visit, claims).await
}

fn read(visit: &Visit<'_>, token: &str) -> Result<AccessClaims, CallerError> {
    let keys = visit.rooms.keys();
    jwt::verify(token, TYP, |kid| keys.verifying.get(kid).cloned()).map_err(CallerError::Invalid)
}

async fn caller(visit: &mut Visit<'_>, claims: AccessClaims) -> Result<Caller, CallerError> {
    let user = if visit.rooms.settings.subject_is_uuid {
        number(visit, &claims).await?
    } else {
        UserId(claims.sub.parse().map_err(|_| CallerError::Invalid(Invalid::Claims))?)
    };
    Ok(Caller { user, user_uuid: claims.uuid, session: claims.sid, claims })
}

/// The number of a user whose tokens name his uuid only: from memory, or else from the session's row.
async fn number(visit: &mut Visit<'_>, claims: &AccessClaims) -> Result<UserId, CallerError> {
    if let Some(known) = visit.rooms.memory.number_of(claims.uuid) {
        return Ok(known);
    }
    let asked = async { visit.lease.read().await?.one(session::find(claims.sid)).await }.await;
    visit.rooms.outage.note(&asked);
    match asked {
        Ok(Some(found)) if found.user_uuid == claims.uuid => {
            visit.rooms.memory.number(claims.uuid, found.user);
            Ok(found.user)
        }
        Ok(_) => Err(CallerError::Revoked),
        Err(error) => Err(CallerError::Stale(error)),
    }
}

async fn ask(visit: &mut Visit<'_>, caller: &Caller, age: Option<Duration>) -> Result<(), CallerError> {
    let found = if visit.rooms.outage.is_on() {
        Err(store::Error::Unavailable("it failed less than a second ago".into()))
    } else {
        let asked = async { visit.lease.read().await?.one(session::find(caller.session)).await }.await;
        visit.rooms.outage.note(&asked);
        asked
    };
    match found {
        Ok(Some(found)) if !found.revoked && found.state == State::Active => Ok(()),
        Ok(_) => Err(CallerError::Revoked),
        Err(_) if age.is_some_and(|age| age <= visit.rooms.settings.revocation_max_stale) => Ok(()),
        Err(error) => Err(CallerError::Stale(error)),
    }
}

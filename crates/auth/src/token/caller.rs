//! Authenticates a caller: checks an access token against the keys and the revocation cache.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::event::TokenRefusal;
use model::{Actor, Event, SessionId, UserId, UserKey, UserUuid};
use protocol::wire::access_token::{AccessClaims, LEEWAY, TYPS};
use protocol::wire::jwt::{self, Invalid};
use store::queries::revocation;
use store::queries::session::{self, Session};
use store::queries::user::State;

use crate::OpContext;
use crate::session::revocation_cache::FRESH;

/// The authenticated caller. The role is not included: it is read from the user where needed.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user, by number and uuid: a number may belong to another user after a restore.
    pub user: UserKey,
    /// The session of the token.
    pub session: SessionId,
    /// The token's claims.
    pub claims: AccessClaims,
}

/// Why a token does not authenticate.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// It is not a valid access token of this server.
    #[error("the access token is not valid: {0}")]
    Invalid(Invalid),
    /// Its session has ended, or the database was recovered from an older state since it was issued.
    #[error("the session of the access token has ended")]
    Revoked,
    /// The revocation cache is too old, and the database does not answer.
    #[error(transparent)]
    Stale(store::Error),
}

/// Checks an access token: signature, type, times, issuer, audience, and that its session has not ended.
///
/// The database is asked only when the revocation cache is older than a second.
///
/// # Errors
/// [`CallerError`].
pub async fn authenticate(ctx: &mut OpContext<'_>, token: &str) -> Result<Caller, CallerError> {
    let claims = read(ctx, token)?;
    let named = (claims.uuid, claims.sid);
    accept(ctx, claims).await.inspect_err(|why| note_refused(ctx, Some(named), why))
}

async fn accept(ctx: &mut OpContext<'_>, claims: AccessClaims) -> Result<Caller, CallerError> {
    let settings = &ctx.services.settings;
    claims
        .check(ctx.now, &settings.issuer, settings.audience.as_deref(), LEEWAY)
        .map_err(CallerError::Invalid)?;
    let caller = caller(ctx, claims).await?;
    let services = ctx.services;
    if services.revocations.has(caller.session) || !services.epoch.accepts(caller.claims.epoch) {
        return Err(CallerError::Revoked);
    }
    let age = ctx.services.revocations.age();
    if age.is_none_or(|age| age > FRESH) {
        ask(ctx, &caller, age).await?;
    }
    Ok(caller)
}

/// Like [`authenticate`], but accepts an expired token or one of an ended session, because it is used only to
/// select the session to end.
///
/// # Errors
/// [`CallerError::Invalid`].
pub async fn authenticate_even_if_expired(
    ctx: &mut OpContext<'_>,
    token: &str,
) -> Result<Caller, CallerError> {
    let claims = read(ctx, token)?;
    let (named, settings) = ((claims.uuid, claims.sid), &ctx.services.settings);
    let checked =
        claims.check_even_if_expired(ctx.now, &settings.issuer, settings.audience.as_deref(), LEEWAY);
    let accepted = match checked {
        Ok(()) => caller(ctx, claims).await,
        Err(why) => Err(CallerError::Invalid(why)),
    };
    accepted.inspect_err(|why| note_refused(ctx, Some(named), why))
}

/// How many bearer tokens this node has refused, by reason.
#[derive(Debug, Default)]
pub struct RefusedTokens([AtomicU64; TokenRefusal::ALL.len()]);

impl RefusedTokens {
    /// Those of one reason.
    pub fn of(&self, reason: TokenRefusal) -> u64 {
        self.0.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn count(&self, reason: TokenRefusal) {
        if let Some(count) = self.0.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts and records a refused token. Only one with a valid signature names a user and a session.
fn note_refused(ctx: &OpContext<'_>, named: Option<(UserUuid, SessionId)>, why: &CallerError) {
    let reason = match why {
        CallerError::Invalid(why) => match why {
            Invalid::TooLong | Invalid::Malformed | Invalid::Type => TokenRefusal::Malformed,
            Invalid::Algorithm | Invalid::UnknownKey => TokenRefusal::UnknownKey,
            Invalid::Signature => TokenRefusal::Signature,
            Invalid::Claims | Invalid::NotYetValid | Invalid::Issuer | Invalid::Audience => {
                TokenRefusal::Claims
            }
            Invalid::Expired => TokenRefusal::Expired,
        },
        CallerError::Revoked => TokenRefusal::Revoked,
        // The token may be valid.
        CallerError::Stale(_) => return,
    };
    ctx.services.refused_tokens.count(reason);
    let (user, session) = named.unzip();
    ctx.audit.note(Event::TokenRefused { user, session, reason });
}

fn read(ctx: &OpContext<'_>, token: &str) -> Result<AccessClaims, CallerError> {
    let keys = ctx.services.keys();
    jwt::verify(token, &TYPS, |kid| keys.verifying.get(kid).cloned())
        .map_err(CallerError::Invalid)
        .inspect_err(|why| note_refused(ctx, None, why))
}

async fn caller(ctx: &mut OpContext<'_>, claims: AccessClaims) -> Result<Caller, CallerError> {
    let id = if ctx.services.settings.subject_is_uuid {
        number(ctx, &claims).await?
    } else {
        UserId(claims.sub.parse().map_err(|_| CallerError::Invalid(Invalid::Claims))?)
    };
    ctx.audit.identify(Actor::User { user: claims.uuid });
    let user = UserKey { id, uuid: claims.uuid };
    Ok(Caller { user, session: claims.sid, claims })
}

/// The id of a user whose tokens contain only the public identifier: from the cache, or else from the
/// session's row.
async fn number(ctx: &mut OpContext<'_>, claims: &AccessClaims) -> Result<UserId, CallerError> {
    if let Some(known) = ctx.services.user_cache.number_of(claims.uuid) {
        return Ok(known);
    }
    let asked = async { ctx.lease.read().await?.one(session::find(claims.sid)).await }.await;
    ctx.services.outage.note(&asked);
    match asked {
        Ok(Some(found)) if found.user.uuid == claims.uuid => {
            ctx.services.user_cache.number(found.user);
            Ok(found.user.id)
        }
        Ok(_) => Err(CallerError::Revoked),
        Err(error) => Err(CallerError::Stale(error)),
    }
}

/// Finds a session, and keeps the epoch that the database has now.
pub(super) async fn find_with_epoch(
    ctx: &mut OpContext<'_>,
    session: SessionId,
) -> Result<Option<Session>, store::Error> {
    let calls = (session::find(session), revocation::epoch());
    let (found, epoch) = ctx.lease.read().await?.batch(calls).await?;
    ctx.services.epoch.set(epoch.first().copied().unwrap_or(0));
    Ok(found.into_iter().next())
}

async fn ask(ctx: &mut OpContext<'_>, caller: &Caller, age: Option<Duration>) -> Result<(), CallerError> {
    let found = if ctx.services.outage.is_on() {
        Err(store::Error::Unavailable("it failed less than a second ago".into()))
    } else {
        let asked = find_with_epoch(ctx, caller.session).await;
        ctx.services.outage.note(&asked);
        asked
    };
    match found {
        Ok(Some(found))
            if found.user == caller.user
                && !found.revoked
                && found.state == State::Active
                && ctx.services.epoch.accepts(caller.claims.epoch) =>
        {
            Ok(())
        }
        Ok(_) => Err(CallerError::Revoked),
        Err(_) if age.is_some_and(|age| age <= ctx.services.settings.revocation_max_stale) => Ok(()),
        Err(error) => Err(CallerError::Stale(error)),
    }
}

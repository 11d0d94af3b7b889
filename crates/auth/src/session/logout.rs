//! Logout: ends one session or all, by token or by id.

use model::{Actor, Event, Secret, SessionId, UserKey, event, intent};
use protocol::wire::refresh_token::RefreshToken;
use store::queries::session::Ended;
use store::queries::{revocation, session, user};

use crate::OpContext;
use crate::account::note_unknown;
use crate::token::{Caller, CallerError, authenticate_even_if_expired};

/// Why a session could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// The user has no such session.
    #[error("the user has no such session")]
    Unknown,
    /// The database does not have the user.
    #[error("the user does not exist")]
    Gone,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Ends the session of a refresh token of any generation. An invalid token, or one of an ended session, is
/// not an error: the token is already unusable (RFC 7009 §2.2). The end of a session without a row is
/// recorded all the same: access tokens of it may live.
///
/// # Errors
/// [`LogoutError::Store`]: the session may still be active.
pub async fn logout_with_refresh_token(
    ctx: &mut OpContext<'_>,
    token: &Secret<String>,
) -> Result<(), LogoutError> {
    let Ok(token) = RefreshToken::decode(token.expose(), &ctx.services.macs) else {
        return Ok(());
    };
    let found = ctx.lease.read().await?.one(session::find(token.session)).await?;
    match found {
        Some(found) => {
            // The MAC proves that the token was issued for this session.
            ctx.audit.identify(Actor::User { user: found.user.uuid });
            idempotent(end(ctx, found.id, found.user, Missing::Ignored).await)
        }
        None => record_unknown(ctx, token.session).await,
    }
}

/// Ends the session of an access token, even of an expired one, or of a refresh token of any generation (RFC
/// 7009). A token of no session is not an error (RFC 7009 §2.2).
///
/// # Errors
/// [`LogoutError::Store`]: the session may still be active.
pub async fn logout_with_token(ctx: &mut OpContext<'_>, token: &Secret<String>) -> Result<(), LogoutError> {
    if RefreshToken::decode(token.expose(), &ctx.services.macs).is_ok() {
        return logout_with_refresh_token(ctx, token).await;
    }
    match authenticate_even_if_expired(ctx, token.expose()).await {
        Ok(caller) => match logout(ctx, &caller).await {
            // No node accepts a token of a user that the database does not have.
            Err(LogoutError::Gone) => Ok(()),
            ended => ended,
        },
        Err(CallerError::Invalid(_) | CallerError::Revoked) => Ok(()),
        Err(CallerError::Stale(error)) => Err(error.into()),
    }
}

/// Ends the caller's session.
///
/// # Errors
/// [`LogoutError::Gone`]; [`LogoutError::Store`]: the session may still be active.
pub async fn logout(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<(), LogoutError> {
    let ended = end(ctx, caller.session, caller.user, Missing::Recorded).await;
    idempotent(known(ctx, caller, ended).await)
}

/// Ends one of the caller's sessions.
///
/// # Errors
/// [`LogoutError::Unknown`] when the session is not the caller's, or has ended.
pub async fn logout_one(ctx: &mut OpContext<'_>, caller: &Caller, id: SessionId) -> Result<(), LogoutError> {
    let ended = end(ctx, id, caller.user, Missing::Ignored).await;
    if matches!(ended, Err(LogoutError::Unknown)) {
        ctx.audit.note(Event::SessionNotFound { user: caller.user.uuid, session: id });
    }
    known(ctx, caller, ended).await
}

/// Ends every session of the caller.
///
/// # Errors
/// [`LogoutError::Store`]: the sessions may still be active.
pub async fn logout_all(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<(), LogoutError> {
    let (user, own) = (caller.user, caller.session);
    let uuid = user.uuid;
    let ending = ctx.ending();
    let intent = intent::SessionsRevoked { user: uuid, stamp: ending.at };

    let ended = ctx
        .lease
        .transact(intent, async move |tx| {
            let calls = (
                revocation::bump(),
                session::revoke_of_user(user, None, ending),
                revocation::record(user, ending.at),
                revocation::record_missing(Some(own), user, ending),
                user::find(user),
            );
            let (_, mut ended, _, missing, known) = tx.commit_with(calls).await?;
            known.first().ok_or(LogoutError::Gone)?;
            let sessions = ended.len() as u64;
            ended.extend(missing.first().map(|_| Ended { session: own, expires_at: ending.keep }));
            Ok::<_, LogoutError>((event::SessionsRevoked { user: uuid, sessions }, ended))
        })
        .await;

    let ended = known(ctx, caller, ended).await?;
    ctx.services.revocations.add(&ended, &ctx.services.clock, ctx.now);
    Ok(())
}

/// What happens when the session to end has no row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Its end is recorded: a genuine access token of it may live.
    Recorded,
    /// Nothing.
    Ignored,
}

async fn end(
    ctx: &mut OpContext<'_>,
    id: SessionId,
    user: UserKey,
    missing: Missing,
) -> Result<(), LogoutError> {
    let ending = ctx.ending();
    let named = (missing == Missing::Recorded && !ctx.services.revocations.has(id)).then_some(id);
    let uuid = Some(user.uuid);
    let intent = intent::SessionRevoked { user: uuid, session: id, stamp: ending.at };

    let ended = ctx
        .lease
        .transact(intent, async move |tx| {
            let calls = (
                revocation::bump(),
                session::revoke(id, user, ending),
                revocation::record(user, ending.at),
                revocation::record_missing(named, user, ending),
                user::find(user),
            );
            let (_, revoked, _, recorded, known) = tx.commit_with(calls).await?;
            known.first().ok_or(LogoutError::Gone)?;
            let recorded = recorded.first().map(|_| Ended { session: id, expires_at: ending.keep });
            let ended = revoked.into_iter().next().or(recorded).ok_or(LogoutError::Unknown)?;
            Ok::<_, LogoutError>((event::SessionRevoked { user: uuid, session: id }, ended))
        })
        .await?;

    ctx.services.revocations.add(&[ended], &ctx.services.clock, ctx.now);
    Ok(())
}

/// Records the end of a session without a row, whose user is not known. The MAC of the refresh token proves
/// that the session was here: an older database has replaced the one that had it.
async fn record_unknown(ctx: &mut OpContext<'_>, id: SessionId) -> Result<(), LogoutError> {
    if ctx.services.revocations.has(id) {
        return Ok(());
    }
    let ending = ctx.ending();
    let intent = intent::SessionRevoked { user: None, session: id, stamp: ending.at };
    let recorded = ctx
        .lease
        .transact(intent, async move |tx| {
            let calls = (revocation::bump(), revocation::record_unknown(id, ending));
            tx.commit_with(calls).await?.1.first().ok_or(LogoutError::Unknown)?;
            Ok((event::SessionRevoked { user: None, session: id }, ()))
        })
        .await;
    if recorded.is_ok() {
        let ended = Ended { session: id, expires_at: ending.keep };
        ctx.services.revocations.add(&[ended], &ctx.services.clock, ctx.now);
    }
    idempotent(recorded)
}

/// Passes an outcome on, and reports a database that does not have the caller.
async fn known<T>(
    ctx: &mut OpContext<'_>,
    caller: &Caller,
    outcome: Result<T, LogoutError>,
) -> Result<T, LogoutError> {
    if matches!(outcome, Err(LogoutError::Gone)) {
        note_unknown(ctx, caller).await?;
    }
    outcome
}

fn idempotent(ended: Result<(), LogoutError>) -> Result<(), LogoutError> {
    match ended {
        Err(LogoutError::Unknown) => Ok(()),
        other => other,
    }
}

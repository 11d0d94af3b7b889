//! Logout: ends one session or all, by token or by id.

use model::{Actor, Secret, SessionId, UserId, UserUuid, event, intent};
use protocol::wire::refresh_token::RefreshToken;
use store::queries::{revocation, session};

use super::revoke_all;
use crate::OpContext;
use crate::token::Caller;

/// Why a session could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// The user has no such session.
    #[error("the user has no such session")]
    Unknown,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Ends the session of a refresh token of any generation. An invalid token, or one of an ended session, is
/// not an error: the token is already unusable (RFC 7009 §2.2).
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
            ctx.audit.identify(Actor::User { user: found.user_uuid });
            idempotent(end(ctx, found.id, found.user, found.user_uuid).await)
        }
        None => Ok(()),
    }
}

/// Ends the caller's session.
///
/// # Errors
/// [`LogoutError::Store`]: the session may still be active.
pub async fn logout(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<(), LogoutError> {
    idempotent(end(ctx, caller.session, caller.user, caller.user_uuid).await)
}

/// Ends one of the caller's sessions.
///
/// # Errors
/// [`LogoutError::Unknown`] when the session is not the caller's, or has ended.
pub async fn logout_one(ctx: &mut OpContext<'_>, caller: &Caller, id: SessionId) -> Result<(), LogoutError> {
    end(ctx, id, caller.user, caller.user_uuid).await
}

/// Ends every session of the caller.
///
/// # Errors
/// [`LogoutError::Store`]: the sessions may still be active.
pub async fn logout_all(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<(), LogoutError> {
    let user = caller.user;
    let uuid = caller.user_uuid;
    let keep = ctx.services.keep_until(ctx.now);
    let intent = intent::SessionsRevoked { user: uuid, stamp: keep };
    let ended = ctx
        .lease
        .transact(intent, async move |tx| {
            let ended = revoke_all(tx, user, None, keep).await?;
            let sessions = ended.len() as u64;
            Ok::<_, LogoutError>((event::SessionsRevoked { user: uuid, sessions }, ended))
        })
        .await?;
    ctx.services.revocations.add(&ended, keep);
    Ok(())
}

async fn end(
    ctx: &mut OpContext<'_>,
    id: SessionId,
    user: UserId,
    uuid: UserUuid,
) -> Result<(), LogoutError> {
    let keep = ctx.services.keep_until(ctx.now);
    let intent = intent::SessionRevoked { user: uuid, session: id, stamp: keep };
    ctx.lease
        .transact(intent, async move |tx| {
            let calls = (revocation::bump(), session::revoke(id, user, keep), revocation::record(user, keep));
            let (_, revoked, _) = tx.commit_with(calls).await?;
            revoked.first().ok_or(LogoutError::Unknown)?;
            Ok::<_, LogoutError>((event::SessionRevoked { user: uuid, session: id }, ()))
        })
        .await?;
    ctx.services.revocations.add(&[id], keep);
    Ok(())
}

fn idempotent(ended: Result<(), LogoutError>) -> Result<(), LogoutError> {
    match ended {
        Err(LogoutError::Unknown) => Ok(()),
        other => other,
    }
}

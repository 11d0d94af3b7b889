//! Lists the caller's sessions.

use model::{Now, SessionId};
use store::queries::session;

use super::lifetime::latest_creation;
use crate::OpContext;
use crate::account::note_unknown;
use crate::token::Caller;

/// One session, as shown to its user.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// Time of the login.
    pub created_at: Now,
    /// Time of the last refresh.
    pub last_seen_at: Now,
    /// Time when it ends, regardless of use.
    pub ends_at: Now,
    /// Client address of the last refresh.
    pub address: Option<String>,
    /// User agent of the last refresh.
    pub user_agent: Option<String>,
    /// Whether one client has used a refresh token of it twice after the grace time: processes that share it.
    pub shared: bool,
    /// Whether it is the session of the request.
    pub current: bool,
}

/// Why the sessions cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The session of the request has ended, or the database does not have it.
    #[error("the caller's session has ended")]
    Ended,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The caller's active sessions, newest first.
///
/// # Errors
/// [`ListError`].
pub async fn list(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<Vec<SessionInfo>, ListError> {
    let idle_since = ctx.now.minus(ctx.services.settings.refresh_ttl);
    let rows = ctx
        .lease
        .read()
        .await?
        .all(session::of_user(caller.user, ctx.now, idle_since, latest_creation(ctx.now)))
        .await?;
    if !rows.iter().any(|row| row.id == caller.session) {
        note_unknown(ctx, caller).await?;
        return Err(ListError::Ended);
    }
    let info = |row: session::Session| SessionInfo {
        id: row.id,
        created_at: row.created_at,
        last_seen_at: row.rotated_at,
        ends_at: row.ends_at,
        address: row.address,
        user_agent: row.user_agent,
        shared: row.shared_generation > 0,
        current: row.id == caller.session,
    };
    Ok(rows.into_iter().map(info).collect())
}

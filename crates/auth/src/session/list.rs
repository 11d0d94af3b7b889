//! The caller's sessions.

use model::{Now, SessionId};
use store::queries::session;

use crate::OpContext;
use crate::token::Caller;

/// One session as its owner sees it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// When it began.
    pub created_at: Now,
    /// When it was last refreshed.
    pub last_seen_at: Now,
    /// When it ends, however much it is used.
    pub ends_at: Now,
    /// The address it was last refreshed from.
    pub address: Option<String>,
    /// The program it was last refreshed with.
    pub user_agent: Option<String>,
    /// Whether this is the session that asks.
    pub current: bool,
}

/// The caller's live sessions, newest first.
///
/// # Errors
/// When the database did not answer.
pub async fn list(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<Vec<SessionInfo>, store::Error> {
    let idle_since = ctx.now.minus(ctx.services.settings.refresh_ttl);
    let rows = ctx.lease.read().await?.all(session::of_user(caller.user, ctx.now, idle_since)).await?;
    let info = |row: session::Session| SessionInfo {
        id: row.id,
        created_at: row.created_at,
        last_seen_at: row.rotated_at,
        ends_at: row.ends_at,
        address: row.address,
        user_agent: row.user_agent,
        current: row.id == caller.session,
    };
    Ok(rows.into_iter().map(info).collect())
}

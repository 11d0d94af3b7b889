//! Active sessions: the proof that tokens may be issued.

use model::{Now, SessionId, UserKey};
use protocol::wire::refresh_token::RefreshToken;
use protocol::wire::scope::Scope;
use store::queries::session::{NewSession, OpenedSession, Session};
use store::queries::user::{State, User};

use super::client::RequestClient;
use super::lifetime::{latest_creation, session_end, tokens_end};
use crate::{OpContext, Settings};

/// An active session of an active user; required to mint any token. It is made only from a row that the
/// statement which proves it has returned.
#[derive(Clone, Debug)]
pub struct ActiveSession {
    pub(crate) session: SessionId,
    pub(crate) user: UserKey,
    pub(crate) role: String,
    pub(crate) scope: Scope,
    pub(crate) auth_time: Now,
    /// When the session ends; no token of it lives longer.
    pub(crate) ends: Now,
    _proof: (),
}

impl ActiveSession {
    /// From a session that was just inserted, which succeeds only for an active user. `user` is as the
    /// transaction that inserted it has read it: its role, and the scope that the role allows, are granted.
    pub(crate) fn opened(
        pending: &PendingSession,
        opened: OpenedSession,
        user: &User,
        settings: &Settings,
    ) -> Self {
        Self {
            session: pending.row.id,
            user: UserKey { id: opened.user, uuid: user.uuid },
            role: user.role.clone(),
            scope: settings.granted(&user.role, &pending.scope),
            auth_time: pending.row.at,
            ends: session_end(pending.row.ends_at, pending.row.at, settings),
            _proof: (),
        }
    }

    /// From a stored session, if it and its user are active now. Its scope is reduced to what the user's role
    /// allows now.
    pub(crate) fn of(session: &Session, now: Now, settings: &Settings) -> Option<Self> {
        let ends = session_end(session.ends_at, session.rotated_at, settings);
        let is_within = session.created_at <= latest_creation(now) && ends > now;
        let live = !session.revoked && session.state == State::Active && is_within;
        live.then(|| Self {
            session: session.id,
            user: session.user,
            role: session.role.clone(),
            scope: settings.granted(&session.role, &Scope::parse(&session.scope).unwrap_or_default()),
            auth_time: session.created_at,
            ends,
            _proof: (),
        })
    }

    /// The same session with a smaller scope.
    pub(super) fn narrowed(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }
}

/// A session to be inserted, with its first refresh token.
#[derive(Clone, Debug)]
pub(crate) struct PendingSession {
    pub(crate) row: NewSession,
    pub(crate) scope: Scope,
    pub(crate) token: RefreshToken,
}

impl PendingSession {
    /// A new session of this request and its client, with the given scope.
    pub(crate) fn new(ctx: &OpContext<'_>, client: &RequestClient, scope: Scope) -> Self {
        let settings = &ctx.services.settings;
        let id = SessionId::generate(ctx.now, &ctx.services.rng);
        let token = RefreshToken::first(id, &ctx.services.rng);
        let ends_at = ctx.now.plus(settings.session_ttl);
        let origin = ctx.audit.origin();
        let row = NewSession {
            id,
            scope: scope.to_string(),
            address: origin.address.map(|address| address.to_string()),
            user_agent: origin.user_agent.clone(),
            at: ctx.now,
            ends_at,
            expires_at: ends_at.min(end_of_day(ctx.now.plus(settings.refresh_ttl))),
            secret_hash: token.secret_hash(),
            client: client.stored(),
            tokens_end: tokens_end(session_end(ends_at, ctx.now, settings), ctx.now, settings),
        };
        Self { row, scope, token }
    }
}

/// The end of the UTC day of `at`: an index over it changes at most once a day.
pub(super) fn end_of_day(at: Now) -> Now {
    const DAY: i64 = 86_400;
    Now::from_seconds((at.seconds().div_euclid(DAY) + 1).saturating_mul(DAY))
}

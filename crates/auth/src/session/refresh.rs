//! Refresh: one write per rotation. What the reuse of a token means is in `reuse/`.

use model::event::Reason;
use model::{Event, Now, Secret, SessionId, UserUuid, event, intent};
use protocol::wire::refresh_successor::SuccessorEntry;
use protocol::wire::refresh_token::RefreshToken;
use protocol::wire::scope::Scope;
use store::queries::session::{self, Rotation, Session};

use super::active::{ActiveSession, end_of_day};
use super::client::RequestClient;
use super::lifetime::{latest_creation, tokens_end};
use super::replay::replay;
use crate::limits::{Checked, Limit, Subject, refusal};
use crate::token::{MintError, Tokens, mint};
use crate::{OpContext, Services};

/// Why a session cannot be refreshed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token is unknown, expired, revoked or stolen: one error for all.
    #[error("the refresh token is unknown, expired, revoked or stolen")]
    Refused,
    /// The client itself has used the successor of the token; the session lives.
    #[error("the client has used the successor of the refresh token")]
    Superseded,
    /// The session, or the network of an unknown token, was refreshed too often.
    #[error("too many refreshes")]
    Limited(Checked),
    /// The requested scope exceeds the session's.
    #[error("the requested scope exceeds that of the session")]
    Scope,
    /// No token could be signed.
    #[error(transparent)]
    Mint(MintError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Generations of which a session keeps the successor and the client.
const KEPT_ENTRIES: usize = 8;

/// Exchanges a refresh token for its successor and a new access token.
///
/// # Errors
/// [`RefreshError`]. The session of a stolen token has been ended when this returns.
pub async fn refresh(
    ctx: &mut OpContext<'_>,
    sent: &Secret<String>,
    scope: Option<&str>,
) -> Result<Tokens, RefreshError> {
    let Ok(token) = RefreshToken::decode(sent.expose(), &ctx.services.macs) else {
        if let Some(address) = ctx.audit.origin().address {
            admit(ctx.services, Subject::Network(address)).await?;
        }
        ctx.audit.note(Event::RefreshFailed { user: None, session: None, reason: Reason::UnknownToken });
        return Err(RefreshError::Refused);
    };
    admit(ctx.services, Subject::Session(token.session)).await?;

    let scope = scope.filter(|scope| !scope.is_empty());
    if let Some(asked) = scope {
        // This read is rare: it prevents that a refused scope uses up the token.
        check_scope(ctx, &token, asked).await?;
    }

    let successor = token.successor(&ctx.services.rng);
    let step = rotation(ctx, &token, &successor);

    // The intent does not name the user, who is known only after the session is loaded.
    let intent = intent::SessionRefreshed {
        session: token.session,
        generation: token.generation.saturating_add(1),
        stamp: ctx.now,
    };

    let loaded = ctx
        .lease
        .transact(intent, async move |tx| {
            let (rotated, loaded) =
                tx.commit_with((session::rotate(&step), session::find(step.session))).await?;
            match (rotated.first(), loaded.into_iter().next()) {
                (Some(_), Some(session)) => {
                    let event = event::SessionRefreshed {
                        user: session.user.uuid,
                        session: session.id,
                        generation: session.generation,
                    };
                    Ok((event, session))
                }
                (_, session) => Err(Unrotated::Used(Box::new(session))),
            }
        })
        .await;

    let (session, token) = match loaded {
        Ok(session) => (session, successor),
        Err(Unrotated::Used(session)) => replay(ctx, sent, &token, *session).await?,
        Err(Unrotated::Store(error)) => return Err(error.into()),
    };

    let Some(live) = ActiveSession::of(&session, ctx.now, &ctx.services.settings) else {
        return Err(refused(ctx, session.id, Some(session.user.uuid), Reason::Expired));
    };
    let (id, user) = (session.id, session.user.uuid);
    let live = narrow(live, scope).ok_or_else(|| out_of_scope(ctx, id, Some(user)))?;
    let tokens = mint(ctx, &live, &token);
    tokens.map_err(RefreshError::Mint)
}

async fn admit(services: &Services, subject: Subject) -> Result<(), RefreshError> {
    let checked = services.limits.check(&[Limit::Refresh], subject).await;
    refusal(&checked).map_or(Ok(()), |refused| Err(RefreshError::Limited(refused)))
}

#[derive(Debug, thiserror::Error)]
enum Unrotated {
    #[error("the token is not the newest of its session")]
    Used(Box<Option<Session>>),
    #[error(transparent)]
    Store(#[from] store::Error),
}

pub(super) fn rotation(ctx: &OpContext<'_>, token: &RefreshToken, successor: &RefreshToken) -> Rotation {
    let settings = &ctx.services.settings;
    let origin = ctx.audit.origin();
    let client = RequestClient::of(ctx);
    // The session ends later, if ever, than this: its absolute end is in the row.
    let end = ctx.now.plus(settings.refresh_ttl);
    let entry = SuccessorEntry::seal(token, successor, ctx.now, client.mark(), &ctx.services.rng);
    Rotation {
        session: token.session,
        generation: token.generation,
        secret_hash: token.secret_hash(),
        successor_hash: successor.secret_hash(),
        successor: entry.encode(),
        at: ctx.now,
        idle_since: ctx.now.minus(settings.refresh_ttl),
        created_by: latest_creation(ctx.now),
        kept_chars: i64::try_from((KEPT_ENTRIES - 1) * SuccessorEntry::CHARS).unwrap_or(0),
        expires_at: end_of_day(ctx.now.plus(settings.refresh_ttl)),
        address: origin.address.map(|address| address.to_string()),
        user_agent: origin.user_agent.clone(),
        client: client.stored(),
        tokens_end: tokens_end(end, ctx.now, settings),
    }
}

/// Whether the session has all of the requested scope; a session that is not active is refused later.
async fn check_scope(ctx: &mut OpContext<'_>, token: &RefreshToken, asked: &str) -> Result<(), RefreshError> {
    let found = ctx.lease.read().await?.one(session::find(token.session)).await?;
    let user = found.as_ref().map(|found| found.user.uuid);
    let live = found.and_then(|found| ActiveSession::of(&found, ctx.now, &ctx.services.settings));
    match Scope::parse(asked) {
        Ok(asked) if live.is_none_or(|live| asked.is_subset(&live.scope)) => Ok(()),
        _ => Err(out_of_scope(ctx, token.session, user)),
    }
}

fn narrow(live: ActiveSession, asked: Option<&str>) -> Option<ActiveSession> {
    match asked {
        None => Some(live),
        Some(asked) => {
            let asked = Scope::parse(asked).ok().filter(|asked| asked.is_subset(&live.scope))?;
            Some(live.narrowed(asked))
        }
    }
}

fn out_of_scope(ctx: &OpContext<'_>, session: SessionId, user: Option<UserUuid>) -> RefreshError {
    ctx.audit.note(Event::RefreshFailed { user, session: Some(session), reason: Reason::Scope });
    RefreshError::Scope
}

/// Records a refusal. When the session is known, its user is named, so that the details are encrypted with
/// the user's key.
pub(super) fn refused(
    ctx: &OpContext<'_>,
    session: SessionId,
    user: Option<UserUuid>,
    reason: Reason,
) -> RefreshError {
    ctx.audit.note(Event::RefreshFailed { user, session: Some(session), reason });
    RefreshError::Refused
}

/// The time of the rotation to a generation, if the row still has it.
pub(crate) fn rotated_at(session: &session::Trace, generation: i64) -> Option<Now> {
    if session.generation == generation {
        return Some(session.rotated_at);
    }
    SuccessorEntry::find(&session.successors, generation.checked_sub(1)?).map(|entry| entry.rotated_at)
}

//! Refresh: one write per rotation. A lost response does not log the user out.
//!
//! A used token returns the same successor again within the grace time, and later as long as that successor
//! is unused. Three late generations in a row, or a token whose successor was used, count as theft.

use model::event::Reason;
use model::{Event, Now, Secret, SessionId, UserUuid, event, intent};
use protocol::wire::refresh_successor::SuccessorEntry;
use protocol::wire::refresh_token::RefreshToken;
use protocol::wire::scope::Scope;
use store::queries::session::{self, Rotation, Session};
use store::queries::{revocation, user};

use super::active::{ActiveSession, end_of_day};
use crate::OpContext;
use crate::token::{MintError, Tokens, mint};

/// Why a session cannot be refreshed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token is unknown, expired, revoked or stolen: one error for all.
    #[error("the refresh token is unknown, expired, revoked or stolen")]
    Refused,
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

/// Consecutive late replays that count as theft.
const LATE_REPLAYS: i64 = 3;
/// Previous successors that are kept for the grace time.
const KEPT_ENTRIES: usize = 3;

/// Exchanges a refresh token for its successor and a new access token.
///
/// # Errors
/// [`RefreshError`]. The session of a stolen token has been ended when this returns.
pub async fn refresh(
    ctx: &mut OpContext<'_>,
    token: &Secret<String>,
    scope: Option<&str>,
) -> Result<Tokens, RefreshError> {
    let Ok(token) = RefreshToken::decode(token.expose(), &ctx.services.macs) else {
        ctx.audit.note(Event::RefreshFailed { user: None, session: None, reason: Reason::UnknownToken });
        return Err(RefreshError::Refused);
    };

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
        Err(Unrotated::Used(session)) => replay(ctx, &token, *session).await?,
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

#[derive(Debug, thiserror::Error)]
enum Unrotated {
    #[error("the token is not the newest of its session")]
    Used(Box<Option<Session>>),
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn rotation(ctx: &OpContext<'_>, token: &RefreshToken, successor: &RefreshToken) -> Rotation {
    let settings = &ctx.services.settings;
    let origin = ctx.audit.origin();
    Rotation {
        session: token.session,
        generation: token.generation,
        secret_hash: token.secret_hash(),
        successor_hash: successor.secret_hash(),
        successor: SuccessorEntry::seal(token, successor, ctx.now, &ctx.services.rng).encode(),
        at: ctx.now,
        idle_since: ctx.now.minus(settings.refresh_ttl),
        grace_since: ctx.now.minus(settings.refresh_grace),
        kept_chars: i64::try_from(KEPT_ENTRIES * SuccessorEntry::CHARS).unwrap_or(0),
        expires_at: end_of_day(ctx.now.plus(settings.refresh_ttl)),
        address: origin.address.map(|address| address.to_string()),
        user_agent: origin.user_agent.clone(),
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
fn refused(ctx: &OpContext<'_>, session: SessionId, user: Option<UserUuid>, reason: Reason) -> RefreshError {
    ctx.audit.note(Event::RefreshFailed { user, session: Some(session), reason });
    RefreshError::Refused
}

/// Handles a token that is not the newest of its session.
async fn replay(
    ctx: &mut OpContext<'_>,
    token: &RefreshToken,
    session: Option<Session>,
) -> Result<(Session, RefreshToken), RefreshError> {
    let settings = &ctx.services.settings;
    let Some(session) = session else {
        return Err(refused(ctx, token.session, None, Reason::UnknownToken));
    };
    if ActiveSession::of(&session, ctx.now, settings).is_none() {
        let reason = match (session.revoked, session.state) {
            (true, _) => Reason::Revoked,
            (false, user::State::Active) => Reason::Expired,
            (false, _) => Reason::Inactive,
        };
        return Err(refused(ctx, session.id, Some(session.user.uuid), reason));
    }

    if token.generation >= session.generation {
        // The MAC is genuine, but the database does not know the token: a backup was restored, or the key has
        // leaked.
        return Err(refused(ctx, session.id, Some(session.user.uuid), Reason::UnknownToken));
    }

    let unused = token.generation == session.generation - 1;
    let entry = SuccessorEntry::find(&session.successors, token.generation);
    let in_grace = entry.as_ref().is_some_and(|e| e.rotated_at > ctx.now.minus(settings.refresh_grace));
    let successor = entry.and_then(|entry| token.open_successor(&entry.sealed).ok());
    let Some(successor) = successor.filter(|_| in_grace || (unused && settings.refresh_late_replay)) else {
        return Err(stolen(ctx, &session, token.generation).await);
    };
    let user = session.user.uuid;
    let id = session.id;
    let generation = token.generation;
    if in_grace {
        ctx.audit.note(Event::RefreshReplayed { user, session: id, generation });
        return Ok((session, successor));
    }

    let replays = match generation - session.late_generation {
        0 => session.late_replays,
        1 => session.late_replays + 1,
        _ => 1,
    };

    if replays >= LATE_REPLAYS {
        return Err(stolen(ctx, &session, generation).await);
    }
    let newest = session.generation;
    let intent = intent::RefreshReplayedLate { user, session: id, generation };
    let noted: Result<(), Unrotated> = ctx
        .lease
        .transact(intent, async move |tx| {
            let call = session::replayed_late(id, newest, generation, replays);
            tx.commit_with((call,)).await?.0.first().ok_or(Unrotated::Used(Box::new(None)))?;
            Ok((event::RefreshReplayedLate { user, session: id, generation }, ()))
        })
        .await;

    match noted {
        Ok(()) => Ok((session, successor)),
        // Between the two statements the successor was used, or the session ended.
        Err(Unrotated::Used(_)) => Err(refused(ctx, id, Some(user), Reason::Revoked)),
        Err(Unrotated::Store(error)) => Err(error.into()),
    }
}

/// Ends the session of a token that two parties have used.
async fn stolen(ctx: &mut OpContext<'_>, session: &Session, generation: i64) -> RefreshError {
    let id = session.id;
    let owner = session.user;
    let user = owner.uuid;
    let keep = ctx.services.keep_until(ctx.now);

    let intent = intent::RefreshStolen { user, session: id, generation, stamp: keep };
    let ended: Result<(), Unrotated> = ctx
        .lease
        .transact(intent, async move |tx| {
            let calls =
                (revocation::bump(), session::revoke(id, owner, keep), revocation::record(owner, keep));
            let (_, revoked, _) = tx.commit_with(calls).await?;
            revoked.first().ok_or(Unrotated::Used(Box::new(None)))?;
            Ok((event::RefreshStolen { user, session: id, generation }, ()))
        })
        .await;
    match ended {
        Ok(()) => {
            ctx.services.revocations.add(&[id], keep);
            RefreshError::Refused
        }
        Err(Unrotated::Used(_)) => refused(ctx, id, Some(user), Reason::Revoked),
        Err(Unrotated::Store(error)) => error.into(),
    }
}

/// The time of the rotation to a generation, if the row still has it.
pub(crate) fn rotated_at(session: &session::Trace, generation: i64) -> Option<Now> {
    if session.generation == generation {
        return Some(session.rotated_at);
    }
    SuccessorEntry::find(&session.successors, generation.checked_sub(1)?).map(|entry| entry.rotated_at)
}

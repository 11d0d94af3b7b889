//! Carries out what `reuse/` decides about a refresh token that is not the newest of its session.

use model::event::Reason;
use model::{Event, Secret, event, intent};
use protocol::wire::refresh_successor::SuccessorEntry;
use protocol::wire::refresh_token::RefreshToken;
use store::queries::session::{self, Session};
use store::queries::{revocation, user};

use super::active::ActiveSession;
use super::client::RequestClient;
use super::lifetime::{latest_creation, tokens_end};
use super::refresh::{RefreshError, refused, rotation};
use super::reuse::{Decision, RefreshReuse, Repeated, Reuse, decide};
use crate::OpContext;

/// How many times a decision is tried while other requests of the session change it.
const TRIES: usize = 5;

/// Why a decision was not carried out.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error("another request has changed the session")]
    Moved,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Handles a token that is not the newest of its session: returns the session and the successor of the token.
pub(super) async fn replay(
    ctx: &mut OpContext<'_>,
    sent: &Secret<String>,
    token: &RefreshToken,
    session: Option<Session>,
) -> Result<(Session, RefreshToken), RefreshError> {
    let mut session = session;
    for _ in 0..TRIES {
        let found = active(ctx, token, session)?;
        let done = if token.generation >= found.generation {
            adopt(ctx, sent, token, &found).await?
        } else {
            try_replay(ctx, token, &found).await?.map(|successor| (found, successor))
        };
        match done {
            Some(done) => return Ok(done),
            None => session = ctx.lease.read().await?.one(session::find(token.session)).await?,
        }
    }
    Err(RefreshError::Store(store::Error::Serialization))
}

/// The session, if it is active and has issued the token.
fn active(
    ctx: &OpContext<'_>,
    token: &RefreshToken,
    session: Option<Session>,
) -> Result<Session, RefreshError> {
    let Some(session) = session else {
        return Err(refused(ctx, token.session, None, Reason::UnknownToken));
    };

    let refuse = |reason| Err(refused(ctx, session.id, Some(session.user.uuid), reason));
    if ActiveSession::of(&session, ctx.now, &ctx.services.settings).is_none() {
        let is_ended = session.revoked || session.state != user::State::Active;
        if !is_ended && !ctx.believes_time() {
            // A client that is refused drops a token that is good again once the clock is right.
            let why = "the clock is doubted, and the session would have ended by it".to_owned();
            return Err(RefreshError::Store(store::Error::Unavailable(why)));
        }
        return refuse(match (session.revoked, session.state) {
            (true, _) => Reason::Revoked,
            (false, user::State::Active) if session.created_at > latest_creation(ctx.now) => {
                Reason::InTheFuture
            }
            (false, user::State::Active) => Reason::Expired,
            (false, user::State::Inactive | user::State::Erased) => Reason::Inactive,
        });
    }
    Ok(session)
}

/// Handles a genuine token that the database does not know: a backup was restored, or the key has leaked.
/// After a recovery the session goes on from a higher generation, once; a second one is another client's.
/// Returns the session and the successor of the token; None when another request has changed the session
/// meanwhile.
async fn adopt(
    ctx: &mut OpContext<'_>,
    sent: &Secret<String>,
    token: &RefreshToken,
    session: &Session,
) -> Result<Option<(Session, RefreshToken)>, RefreshError> {
    // A master key line that was replaced may have leaked with the lost database.
    let first_line = ctx.services.macs.get(..1).unwrap_or_default();
    let is_current = RefreshToken::decode(sent.expose(), first_line).is_ok();
    let epoch = ctx.services.epoch.adopting(ctx.now).filter(|_| is_current);
    if epoch.is_some_and(|epoch| session.adopted >= epoch) {
        return Err(stolen(ctx, session, token.generation).await);
    }
    let Some(epoch) = epoch.filter(|_| token.generation > session.generation) else {
        return Err(refused(ctx, session.id, Some(session.user.uuid), Reason::UnknownToken));
    };

    let successor = token.successor(&ctx.services.rng);
    let step = rotation(ctx, token, &successor);
    let (user, generation) = (session.user.uuid, token.generation.saturating_add(1));
    let intent = intent::SessionRefreshed { session: session.id, generation, stamp: ctx.now };
    let adopted = ctx
        .lease
        .transact(intent, async move |tx| {
            let calls = (session::adopt(&step, epoch), session::find(step.session));
            let (adopted, found) = tx.commit_with(calls).await?;
            adopted.first().ok_or(Undone::Moved)?;
            let found = found.into_iter().next().ok_or(Undone::Moved)?;
            Ok((event::SessionRefreshed { user, session: found.id, generation }, found))
        })
        .await;
    match adopted {
        Ok(session) => Ok(Some((session, successor))),
        Err(Undone::Moved) => Ok(None),
        Err(Undone::Store(error)) => Err(error.into()),
    }
}

/// The successor of the token; None when another request has changed the session meanwhile.
async fn try_replay(
    ctx: &mut OpContext<'_>,
    token: &RefreshToken,
    session: &Session,
) -> Result<Option<RefreshToken>, RefreshError> {
    let client = RequestClient::of(ctx);
    // After a recovery the session knows only what followed the token from which it goes on: an older one of
    // the lost state was used before that one, by the same client or by another one.
    let is_adopted = ctx.services.epoch.adopting(ctx.now).is_some_and(|epoch| session.adopted >= epoch);
    let oldest = SuccessorEntry::oldest(&session.successors).filter(|_| is_adopted);
    if let Some(oldest) = oldest.filter(|oldest| token.generation < oldest.generation)
        && ctx.services.settings.refresh_reuse == RefreshReuse::RevokeOtherClients
        && client.is_same(&oldest.client)
    {
        return supersede(ctx, session, token.generation, &client).await;
    }

    let entry = SuccessorEntry::find(&session.successors, token.generation);
    let successor = entry.as_ref().and_then(|entry| token.open_successor(&entry.sealed).ok());
    if entry.is_some() && successor.is_none() {
        // The MAC is genuine, and another token of this generation was used: that of a lost database.
        return Err(refused(ctx, session.id, Some(session.user.uuid), Reason::UnknownToken));
    }

    let repeated = entry.map(|entry| Repeated {
        rotated_at: entry.rotated_at,
        is_same_client: client.is_same(&entry.client),
        is_same_agent: client.has_agent_of(&entry.client),
    });
    let reuse = Reuse {
        generation: token.generation,
        newest: session.generation,
        repeated,
        late_generation: session.late_generation,
        late_replays: session.late_replays,
        shared_generation: session.shared_generation,
        now: ctx.now,
    };

    let settings = &ctx.services.settings;
    let (user, id, generation) = (session.user.uuid, session.id, token.generation);
    let done = match decide(&reuse, settings.refresh_reuse, settings.refresh_grace) {
        Decision::Again => {
            ctx.audit.note(Event::RefreshReplayed { user, session: id, generation });
            Ok(())
        }
        Decision::Shared { is_first } => share(ctx, session, generation, is_first).await,
        Decision::Counted { replays } => count(ctx, session, generation, replays).await,
        Decision::Superseded => return supersede(ctx, session, generation, &client).await,
        Decision::Theft => return Err(stolen(ctx, session, generation).await),
    };

    match done {
        Ok(()) => Ok(successor),
        Err(Undone::Moved) => Ok(None),
        Err(Undone::Store(error)) => Err(error.into()),
    }
}

/// Until when an access token of the session that is issued now may be accepted.
fn end_of_tokens(ctx: &OpContext<'_>, session: &Session) -> model::Now {
    let settings = &ctx.services.settings;
    let end = super::lifetime::session_end(session.ends_at, session.rotated_at, settings);
    tokens_end(end, ctx.now, settings)
}

/// Notes that the client used this generation again; the first time leaves an event.
async fn share(
    ctx: &mut OpContext<'_>,
    session: &Session,
    generation: i64,
    is_first: bool,
) -> Result<(), Undone> {
    let (user, id, newest) = (session.user.uuid, session.id, session.generation);
    let end = end_of_tokens(ctx, session);
    if !is_first {
        let moved = ctx.lease.share_session(id, newest, generation, end).await?;
        return if moved { Ok(()) } else { Err(Undone::Moved) };
    }

    let intent = intent::RefreshShared { user, session: id, generation };
    ctx.lease
        .transact(intent, async move |tx| {
            let call = session::shared(id, newest, generation, end);
            tx.commit_with((call,)).await?.0.first().ok_or(Undone::Moved)?;
            Ok((event::RefreshShared { user, session: id, generation }, ()))
        })
        .await
}

/// Notes that perhaps another client used this generation, as the `replays`-th in a row.
async fn count(
    ctx: &mut OpContext<'_>,
    session: &Session,
    generation: i64,
    replays: i64,
) -> Result<(), Undone> {
    let (user, id, newest) = (session.user.uuid, session.id, session.generation);
    let end = end_of_tokens(ctx, session);
    let intent = intent::RefreshReplayedLate { user, session: id, generation };
    ctx.lease
        .transact(intent, async move |tx| {
            let call = session::replayed_late(id, newest, generation, replays, end);
            tx.commit_with((call,)).await?.0.first().ok_or(Undone::Moved)?;
            Ok((event::RefreshReplayedLate { user, session: id, generation }, ()))
        })
        .await
}

/// Refuses the token of a client that has used its successor. The session lives; the client's next login ends
/// it, which needs the client's mark in the row.
async fn supersede(
    ctx: &mut OpContext<'_>,
    session: &Session,
    generation: i64,
    client: &RequestClient,
) -> Result<Option<RefreshToken>, RefreshError> {
    let (user, id) = (session.user.uuid, session.id);
    let mark = client.stored().filter(|mark| session.superseded.as_ref() != Some(mark));
    let Some(mark) = mark else {
        ctx.audit.note(Event::RefreshSuperseded { user, session: id, generation });
        return Err(RefreshError::Superseded);
    };

    let intent = intent::RefreshSuperseded { user, session: id, generation };
    let noted = ctx
        .lease
        .transact(intent, async move |tx| {
            tx.commit_with((session::superseded(id, &mark),)).await?.0.first().ok_or(Undone::Moved)?;
            Ok((event::RefreshSuperseded { user, session: id, generation }, ()))
        })
        .await;
    match noted {
        Ok(()) => Err(RefreshError::Superseded),
        Err(Undone::Moved) => Ok(None),
        Err(Undone::Store(error)) => Err(error.into()),
    }
}

/// Ends the session of a token that two clients have used.
async fn stolen(ctx: &mut OpContext<'_>, session: &Session, generation: i64) -> RefreshError {
    let (id, owner) = (session.id, session.user);
    let user = owner.uuid;
    let ending = ctx.ending();

    let intent = intent::RefreshStolen { user, session: id, generation, stamp: ending.at };
    let ended = ctx
        .lease
        .transact(intent, async move |tx| {
            let calls = (
                revocation::bump(),
                session::revoke(id, owner, ending),
                revocation::record(owner, ending.at),
            );
            let (_, revoked, _) = tx.commit_with(calls).await?;
            let ended = revoked.into_iter().next().ok_or(Undone::Moved)?;
            Ok((event::RefreshStolen { user, session: id, generation }, ended))
        })
        .await;

    match ended {
        Ok(ended) => {
            ctx.services.revocations.add(&[ended], &ctx.services.clock, ctx.now);
            RefreshError::Refused
        }
        Err(Undone::Moved) => refused(ctx, id, Some(user), Reason::Revoked),
        Err(Undone::Store(error)) => error.into(),
    }
}

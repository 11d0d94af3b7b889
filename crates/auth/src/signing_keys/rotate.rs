//! Rotates signing keys: by schedule, by command, and at once after a compromise.

use std::time::Duration;

use model::{KeyId, Now, event, intent};
use protocol::sealed::purpose::Purpose;
use protocol::wire::algorithm::Algorithm;
use store::queries::realm;
use store::queries::signing_key::{self, Key, State};

use super::{PUBLISHED_AHEAD, SigningKeyError, list, make};
use crate::OpContext;
use crate::password::pepper;

/// How far the time of a key may lie ahead of this node's clock.
const AHEAD: Duration = Duration::from_hours(1);

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// Nothing was to be done.
    Nothing,
    /// A key was created and signs now.
    Activated(KeyId),
    /// A key was created that will sign in a day.
    Published(KeyId),
    /// A key was removed after its last token expired.
    Removed(KeyId),
}

/// Runs one step of the schedule; to be repeated until it returns [`Rotated::Nothing`].
///
/// # Errors
/// [`SigningKeyError`].
pub async fn step(ctx: &mut OpContext<'_>) -> Result<Rotated, SigningKeyError> {
    let settings = &ctx.services.settings;
    if settings.algorithm == Algorithm::Hs256 {
        return Ok(Rotated::Nothing);
    }
    let (now, rotation) = (ctx.now, settings.key_rotation);
    let gone = now.minus(settings.access_ttl).minus(protocol::wire::access_token::LEEWAY * 2);
    let keys = believable(ctx).await?;
    let (active, next) = current(&keys, ctx.services.settings.algorithm);
    let Some(active) = active else {
        return activate(ctx, None, next).await;
    };
    if !ctx.services.clock_watch.is_believed() {
        return Ok(Rotated::Nothing);
    }

    if let Some(next) = next {
        let due = active.changed_at <= now.minus(rotation) && next.created_at <= now.minus(PUBLISHED_AHEAD);
        if due {
            return activate(ctx, Some(active), Some(next)).await;
        }
    } else if active.changed_at <= now.minus(rotation.saturating_sub(PUBLISHED_AHEAD)) {
        let new = make(ctx, State::Next)?;
        let id = new.id.clone();
        insert(ctx, new).await?;
        return Ok(Rotated::Published(id));
    }

    // A key of another algorithm stays active until the configured one has signed; then it retires like any
    // other.
    if let Some(other) = keys.iter().find(|key| key.state == State::Active && key.id != active.id) {
        retire(ctx, &other.id).await?;
        return Ok(Rotated::Activated(active.id.clone()));
    }

    match keys.iter().find(|key| key.state == State::Retiring && key.changed_at <= gone) {
        Some(old) => {
            remove(ctx, &old.id, false).await?;
            Ok(Rotated::Removed(old.id.clone()))
        }
        None => Ok(Rotated::Nothing),
    }
}

/// Every key. Times that a wrong clock has stored far ahead would stop the schedule until then: once this
/// node's clock is believed, they count as now.
async fn believable(ctx: &mut OpContext<'_>) -> Result<Vec<Key>, SigningKeyError> {
    let keys = list(ctx).await?;
    let limit = ctx.now.plus(AHEAD);
    let is_ahead = keys.iter().any(|key| key.created_at > limit || key.changed_at > limit);
    if !is_ahead || !ctx.services.clock_watch.is_believed() {
        return Ok(keys);
    }
    ctx.lease.correct_times_of_keys(ctx.now).await?;
    list(ctx).await
}

/// Rotates now: the next key, or a new one, signs at once; the old one verifies until its tokens have
/// expired.
///
/// # Errors
/// [`SigningKeyError`].
pub async fn rotate_now(ctx: &mut OpContext<'_>) -> Result<KeyId, SigningKeyError> {
    let keys = list(ctx).await?;
    let (active, next) = current(&keys, ctx.services.settings.algorithm);
    match activate(ctx, active, next).await? {
        Rotated::Activated(key) => Ok(key),
        _ => Err(SigningKeyError::Unknown),
    }
}

/// Removes every key that has signed: their tokens are refused at once, and a new key signs.
///
/// # Errors
/// [`SigningKeyError`].
pub async fn remove_compromised(ctx: &mut OpContext<'_>) -> Result<KeyId, SigningKeyError> {
    let old = list(ctx).await?;
    let new = make(ctx, State::Active)?;
    let id = new.id.clone();
    insert(ctx, new).await?;
    for key in &old {
        remove(ctx, &key.id, true).await?;
    }
    Ok(id)
}

/// Seals every key and every pepper again with the first master key, and records that key in the realm.
///
/// # Errors
/// [`SigningKeyError::NoneUsable`] when a key cannot be opened with any key of the keyring; nothing is
/// changed then.
pub async fn reseal(ctx: &mut OpContext<'_>) -> Result<u64, SigningKeyError> {
    let keyring = &ctx.services.keyring;
    let mut sealed = Vec::new();
    for row in list(ctx).await? {
        let private = keyring
            .open(Purpose::SigningKey, row.id.0.as_bytes(), &row.sealed)
            .map_err(|_| SigningKeyError::NoneUsable)?;
        let anew =
            keyring.seal(Purpose::SigningKey, row.id.0.as_bytes(), private.expose(), &ctx.services.rng);
        sealed.push((row.id, anew));
    }

    let peppers = pepper::sealed_anew(ctx).await?.ok_or(SigningKeyError::NoneUsable)?;
    let master = keyring.first_key_id().to_owned();
    ctx.lease
        .transact(intent::KeysResealed {}, async move |tx| {
            for (id, anew) in &sealed {
                tx.one(signing_key::set_sealed(id, anew.clone())).await?;
            }
            for (version, anew) in &peppers {
                tx.one(store::queries::pepper::set_sealed(*version, anew.clone())).await?;
            }
            tx.commit_with((realm::reseal(&master), signing_key::bump())).await?;
            let keys = (sealed.len() + peppers.len()) as u64;
            Ok((event::KeysResealed { keys }, keys))
        })
        .await
}

fn current(keys: &[Key], algorithm: Algorithm) -> (Option<&Key>, Option<&Key>) {
    let of = |state| keys.iter().rfind(|key| key.state == state && key.algorithm == algorithm.as_str());
    (of(State::Active), of(State::Next))
}

async fn activate(
    ctx: &mut OpContext<'_>,
    active: Option<&Key>,
    next: Option<&Key>,
) -> Result<Rotated, SigningKeyError> {
    let new = if next.is_some() { None } else { Some(make(ctx, State::Active)?) };
    let Some(id) = new.as_ref().or(next).map(|key| key.id.clone()) else {
        return Err(SigningKeyError::Unknown);
    };
    let (old, now) = (active.map(|key| key.id.clone()), ctx.now);
    let signs = id.clone();

    ctx.lease
        .transact(intent::KeyActivated {}, async move |tx| {
            if let Some(old) = &old {
                // Another node came first: it has retired this key and activated its own.
                let call = signing_key::set_state(old, State::Active, State::Retiring, now);
                tx.one(call).await?.ok_or(SigningKeyError::Unknown)?;
            }
            match &new {
                Some(new) => tx.one(signing_key::insert(new)).await?,
                None => tx.one(signing_key::set_state(&signs, State::Next, State::Active, now)).await?,
            }
            .ok_or(SigningKeyError::Unknown)?;
            tx.commit_with((signing_key::bump(),)).await?;
            Ok::<_, SigningKeyError>((event::KeyActivated { key: signs.clone() }, ()))
        })
        .await?;

    Ok(Rotated::Activated(id))
}

async fn insert(ctx: &mut OpContext<'_>, new: Key) -> Result<(), SigningKeyError> {
    ctx.lease
        .transact(intent::KeyCreated {}, async move |tx| {
            let event = event::KeyCreated { key: new.id.clone(), algorithm: new.algorithm.clone() };
            tx.one(signing_key::insert(&new)).await?.ok_or(SigningKeyError::Unknown)?;
            tx.commit_with((signing_key::bump(),)).await?;
            Ok((event, ()))
        })
        .await
}

async fn retire(ctx: &mut OpContext<'_>, id: &KeyId) -> Result<(), SigningKeyError> {
    let (id, now): (KeyId, Now) = (id.clone(), ctx.now);
    ctx.lease
        .transact(intent::KeyRetired {}, async move |tx| {
            let call = signing_key::set_state(&id, State::Active, State::Retiring, now);
            tx.one(call).await?.ok_or(SigningKeyError::Unknown)?;
            tx.commit_with((signing_key::bump(),)).await?;
            Ok((event::KeyRetired { key: id.clone() }, ()))
        })
        .await
}

async fn remove(ctx: &mut OpContext<'_>, id: &KeyId, compromised: bool) -> Result<(), SigningKeyError> {
    let id = id.clone();
    ctx.lease
        .transact(intent::KeyRemoved {}, async move |tx| {
            tx.one(signing_key::remove(&id)).await?.ok_or(SigningKeyError::Unknown)?;
            tx.commit_with((signing_key::bump(),)).await?;
            Ok((event::KeyRemoved { key: id.clone(), compromised }, ()))
        })
        .await
}

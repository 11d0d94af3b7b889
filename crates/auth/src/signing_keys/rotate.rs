//! Rotates signing keys: by schedule, by command, and at once after a compromise.

use std::time::Duration;

use model::{KeyId, Now, event, intent};
use protocol::sealed::detail::stored;
use protocol::sealed::keyring::SealError;
use protocol::sealed::purpose::Purpose;
use protocol::wire::algorithm::Algorithm;
use store::queries::signing_key::{self, Key, State};
use store::queries::{audit_key, master_key, realm};

use super::{PUBLISHED_AHEAD, PUBLISHED_BEFORE_ROTATION, SigningKeyError, list, make};
use crate::password::pepper;
use crate::{OpContext, master_keys};

/// Detail keys in one transaction.
const DETAIL_KEYS: i64 = 500;

/// How far the time of a key may lie ahead of this node's clock.
const AHEAD: Duration = Duration::from_hours(1);

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// Nothing was to be done.
    Nothing,
    /// A key was created or was due, and signs now.
    Activated(KeyId),
    /// A key was created that will sign later.
    Published(KeyId),
    /// A key was removed after its last token expired.
    Removed(KeyId),
}

/// A key that `keys rotate` has published, or activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// The key.
    pub key: KeyId,
    /// From when on it signs.
    pub signs_at: Now,
}

/// What was sealed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// Signing keys and peppers.
    pub keys: u64,
    /// Detail keys of the audit trail.
    pub detail_keys: u64,
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
    if !ctx.believes_time() {
        return Ok(Rotated::Nothing);
    }

    if let Some(next) = next {
        if signs_at(next) <= now {
            return activate(ctx, Some(active), Some(next)).await;
        }
    } else if active.changed_at <= now.minus(rotation.saturating_sub(PUBLISHED_AHEAD)) {
        let signs_at = active.changed_at.plus(rotation).max(now.plus(PUBLISHED_AHEAD));
        let new = Key { signs_at: Some(signs_at), ..make(ctx, State::Next)? };
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
            remove(ctx, &old.id).await?;
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
    let times = |key: &Key| key.created_at.max(key.changed_at).max(key.signs_at.unwrap_or(key.created_at));
    let is_ahead = keys.iter().any(|key| times(key) > limit);
    if !is_ahead || !ctx.believes_time() {
        return Ok(keys);
    }
    ctx.lease.correct_times_of_keys(ctx.now, limit).await?;
    list(ctx).await
}

/// Publishes the next key now, so that it signs once no cached key set lacks it:
/// [`PUBLISHED_BEFORE_ROTATION`] after it was published. The schedule's step, in the running server,
/// activates it.
///
/// # Errors
/// [`SigningKeyError`].
pub async fn rotate(ctx: &mut OpContext<'_>) -> Result<Scheduled, SigningKeyError> {
    let keys = list(ctx).await?;
    let (active, next) = current(&keys, ctx.services.settings.algorithm);
    if active.is_none() {
        // No key has signed, so that no token can be refused.
        return Ok(Scheduled { key: rotate_now(ctx).await?, signs_at: ctx.now });
    }
    let Some(next) = next else {
        let signs_at = ctx.now.plus(PUBLISHED_BEFORE_ROTATION);
        let new = Key { signs_at: Some(signs_at), ..make(ctx, State::Next)? };
        let key = new.id.clone();
        insert(ctx, new).await?;
        return Ok(Scheduled { key, signs_at });
    };

    let earliest = next.created_at.plus(PUBLISHED_BEFORE_ROTATION).max(ctx.now);
    let signs_at = signs_at(next).min(earliest);
    let key = next.id.clone();
    let id = key.clone();
    ctx.lease
        .transact(intent::KeyScheduled {}, async move |tx| {
            tx.one(signing_key::sign_from(&id, signs_at)).await?.ok_or(SigningKeyError::Unknown)?;
            tx.commit_with((signing_key::bump(),)).await?;
            Ok::<_, SigningKeyError>((event::KeyScheduled { key: id.clone(), signs_at }, ()))
        })
        .await?;
    Ok(Scheduled { key, signs_at })
}

/// Rotates now: the next key, or a new one, signs at once, and verifiers with a cached key set refuse its
/// tokens until they fetch the set again; the old one verifies until its tokens have expired.
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

/// Replaces every key by a new one that signs, in one transaction: all tokens of before are refused at once.
/// A key that another node has removed meanwhile is no error.
///
/// # Errors
/// [`SigningKeyError`].
pub async fn remove_compromised(ctx: &mut OpContext<'_>) -> Result<KeyId, SigningKeyError> {
    let new = make(ctx, State::Active)?;
    let id = new.id.clone();
    ctx.lease
        .transact(intent::KeysReplaced {}, async move |tx| {
            let key = new.id.clone();
            tx.one(signing_key::insert(&new)).await?.ok_or(SigningKeyError::Unknown)?;
            let removed = tx.all(signing_key::remove_others(&key)).await?;
            tx.commit_with((signing_key::bump(),)).await?;
            Ok::<_, SigningKeyError>((event::KeysReplaced { key, removed }, ()))
        })
        .await?;
    Ok(id)
}

/// Seals everything in the database that hangs on another line of the master key file again under the first
/// one, and records that key in the realm. Files of detail keys are sealed again by their node when it
/// starts.
///
/// # Errors
/// [`SigningKeyError::Sealed`] when something cannot be opened with any line; what was sealed again before
/// stays so.
pub async fn reseal(ctx: &mut OpContext<'_>) -> Result<Resealed, SigningKeyError> {
    master_keys::register(ctx).await?;
    let detail_keys = reseal_detail_keys(ctx).await?;
    let keyring = &ctx.services.keyring;
    let mut sealed = Vec::new();
    for row in list(ctx).await? {
        let private = keyring.open(Purpose::SigningKey, row.id.0.as_bytes(), &row.sealed)?;
        let anew =
            keyring.seal(Purpose::SigningKey, row.id.0.as_bytes(), private.expose(), &ctx.services.rng);
        sealed.push((row.id, anew));
    }

    let peppers = pepper::sealed_anew(ctx).await?;
    let realm_key = ctx.services.realm_key()?.seal(keyring, &ctx.services.rng);
    let (master, now) = (keyring.first_key_id().to_owned(), ctx.now);
    ctx.lease
        .transact(intent::KeysResealed {}, async move |tx| {
            for (id, anew) in &sealed {
                tx.one(signing_key::set_sealed(id, anew.clone())).await?;
            }
            for (version, anew) in &peppers {
                tx.one(store::queries::pepper::set_sealed(*version, anew.clone())).await?;
            }
            tx.batch((master_key::leave_others(&master, now), master_key::return_to(&master))).await?;
            tx.commit_with((realm::reseal(&master, realm_key.clone()), signing_key::bump())).await?;
            let keys = (sealed.len() + peppers.len()) as u64;
            let event = event::KeysResealed { keys, detail_keys, master_key: master.clone() };
            Ok((event, Resealed { keys, detail_keys }))
        })
        .await
}

/// Seals the detail keys of the audit trail again, some at a time; returns how many.
async fn reseal_detail_keys(ctx: &mut OpContext<'_>) -> Result<u64, SigningKeyError> {
    let services = ctx.services;
    let first = services.keyring.first_key_id();
    let (mut after, mut resealed) = (Vec::new(), 0);
    loop {
        let page = audit_key::sealed_by_others(first, &after, DETAIL_KEYS);
        let page = ctx.lease.read().await?.all(page).await?;
        let Some(last) = page.last() else { return Ok(resealed) };
        after.clone_from(&last.id);

        let mut anew = Vec::with_capacity(page.len());
        for key in page {
            let id = key.id.as_slice().try_into().map_err(|_| SealError::Malformed)?;
            let open = stored::open(&services.keyring, id, key.user, &key.sealed)?;
            let sealed = stored::seal(&services.keyring, key.user, &open, &services.rng);
            anew.push((key.id, sealed.into_bytes()));
        }
        resealed += ctx.lease.reseal_audit_keys(anew, first).await? as u64;
    }
}

fn signs_at(next: &Key) -> Now {
    next.signs_at.unwrap_or_else(|| next.created_at.plus(PUBLISHED_AHEAD))
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

async fn remove(ctx: &mut OpContext<'_>, id: &KeyId) -> Result<(), SigningKeyError> {
    let id = id.clone();
    ctx.lease
        .transact(intent::KeyRemoved {}, async move |tx| {
            tx.one(signing_key::remove(&id)).await?.ok_or(SigningKeyError::Unknown)?;
            tx.commit_with((signing_key::bump(),)).await?;
            Ok((event::KeyRemoved { key: id.clone() }, ()))
        })
        .await
}

//! How keys move on: by schedule, by command, and at once when one is compromised.

use model::{Event, Intent, KeyId, Kind, Now};
use protocol::jwt::Algorithm;
use store::noun::key::{self, Key, State};
use store::noun::realm;

use super::{KeyRoomError, PUBLISHED_AHEAD, PURPOSE, list, make};
use crate::Visit;
use crate::password::pepper;

/// What a step has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// Everything is as it should be.
    Nothing,
    /// A key was made, and signs.
    Activated(KeyId),
    /// A key was made that will sign in a day.
    Published(KeyId),
    /// A key whose last token has expired was removed.
    Removed(KeyId),
}

/// One step of the schedule; run until it has nothing to do.
///
/// # Errors
/// [`KeyRoomError`].
pub async fn step(visit: &mut Visit<'_>) -> Result<Rotated, KeyRoomError> {
    let settings = &visit.rooms.settings;
    if settings.algorithm == Algorithm::Hs256 {
        return Ok(Rotated::Nothing);
    }
    let (now, rotation) = (visit.now, settings.key_rotation);
    let gone = now.minus(settings.access_ttl).minus(protocol::access_token::LEEWAY * 2);
    let keys = list(visit).await?;
    let (active, next) = current(&keys, visit.rooms.settings.algorithm);
    let Some(active) = active else {
        return activate(visit, None, next).await;
    };
    if let Some(next) = next {
        let due = active.changed_at <= now.minus(rotation) && next.created_at <= now.minus(PUBLISHED_AHEAD);
        if due {
            return activate(visit, Some(active), Some(next)).await;
        }
    } else if active.changed_at <= now.minus(rotation.saturating_sub(PUBLISHED_AHEAD)) {
        let new = make(visit, State::Next)?;
        let id = new.id.clone();
        insert(visit, new).await?;
        return Ok(Rotated::Published(id));
    }
    // A key of another algorithm stays active until the configured one has signed; then it retires like any other.
    if let Some(other) = keys.iter().find(|key| key.state == State::Active && key.id != active.id) {
        retire(visit, &other.id).await?;
        return Ok(Rotated::Activated(active.id.clone()));
    }
    match keys.iter().find(|key| key.state == State::Retiring && key.changed_at <= gone) {
        Some(old) => {
            remove(visit, &old.id, false).await?;
            Ok(Rotated::Removed(old.id.clone()))
        }
        None => Ok(Rotated::Nothing),
    }
}

/// Rotates now: the next key, or a new one, signs at once; the old one verifies until its tokens have expired.
///
/// # Errors
/// [`KeyRoomError`].
pub async fn rotate_now(visit: &mut Visit<'_>) -> Result<KeyId, KeyRoomError> {
    let keys = list(visit).await?;
    let (active, next) = current(&keys, visit.rooms.settings.algorithm);
    match activate(visit, active, next).await? {
        Rotated::Activated(key) => Ok(key),
        _ => Err(KeyRoomError::Unknown),
    }
}

/// Removes every key that has signed, at once: their tokens are refused from now on, and a new key signs.
///
/// # Errors
/// [`KeyRoomError`].
pub async fn remove_compromised(visit: &mut Visit<'_>) -> Result<KeyId, KeyRoomError> {
    let old = list(visit).await?;
    let new = make(visit, State::Active)?;
    let id = new.id.clone();
    insert(visit, new).await?;
    for key in &old {
        remove(visit, &key.id, true).await?;
    }
    Ok(id)
}

/// Seals every key and every pepper anew under the first master key, and notes it in the realm.
///
/// # Errors
/// [`KeyRoomError::NoneUsable`] when a key cannot be opened with any of the keyring; nothing is changed then.
pub async fn reseal(visit: &mut Visit<'_>) -> Result<u64, KeyRoomError> {
    let keyring = &visit.rooms.keyring;
    let mut sealed = Vec::new();
    for row in list(visit).await? {
        let private =
            keyring.open(PURPOSE, row.id.0.as_bytes(), &row.sealed).map_err(|_| KeyRoomError::NoneUsable)?;
        let anew = keyring.seal(PURPOSE, row.id.0.as_bytes(), private.expose(), &visit.rooms.rng);
        sealed.push((row.id, anew));
    }
    let peppers = pepper::sealed_anew(visit).await?.ok_or(KeyRoomError::NoneUsable)?;
    let master = keyring.first_key_id().to_owned();
    visit
        .lease
        .transact(Intent::to(Kind::KeysResealed), async move |tx| {
            for (id, anew) in &sealed {
                tx.one(key::set_sealed(id, anew.clone())).await?;
            }
            for (version, anew) in &peppers {
                tx.one(store::noun::pepper::set_sealed(*version, anew.clone())).await?;
            }
            tx.last((realm::reseal(&master), key::bump())).await?;
            let keys = (sealed.len() + peppers.len()) as u64;
            Ok((Event::KeysResealed { keys }, keys))
        })
        .await
}

fn current(keys: &[Key], algorithm: Algorithm) -> (Option<&Key>, Option<&Key>) {
    let of = |state| keys.iter().rfind(|key| key.state == state && key.algorithm == algorithm.as_str());
    (of(State::Active), of(State::Next))
}

async fn activate(
    visit: &mut Visit<'_>,
    active: Option<&Key>,
    next: Option<&Key>,
) -> Result<Rotated, KeyRoomError> {
    let new = if next.is_some() { None } else { Some(make(visit, State::Active)?) };
    let Some(id) = new.as_ref().or(next).map(|key| key.id.clone()) else {
        return Err(KeyRoomError::Unknown);
    };
    let (old, now, event) =
        (active.map(|key| key.id.clone()), visit.now, Event::KeyActivated { key: id.clone() });
    let signs = id.clone();
    visit
        .lease
        .transact(Intent::to(Kind::KeyActivated), async move |tx| {
            if let Some(old) = &old {
                // Another node was faster: it has retired this key and activated one of its own.
                let call = key::set_state(old, State::Active, State::Retiring, now);
                tx.one(call).await?.ok_or(KeyRoomError::Unknown)?;
            }
            match &new {
                Some(new) => tx.one(key::insert(new)).await?,
                None => tx.one(key::set_state(&signs, State::Next, State::Active, now)).await?,
            }
            .ok_or(KeyRoomError::Unknown)?;
            tx.last((key::bump(),)).await?;
            Ok::<_, KeyRoomError>((event.clone(), ()))
        })
        .await?;
    Ok(Rotated::Activated(id))
}

async fn insert(visit: &mut Visit<'_>, new: Key) -> Result<(), KeyRoomError> {
    visit
        .lease
        .transact(Intent::to(Kind::KeyCreated), async move |tx| {
            let event = Event::KeyCreated { key: new.id.clone(), algorithm: new.algorithm.clone() };
            tx.one(key::insert(&new)).await?.ok_or(KeyRoomError::Unknown)?;
            tx.last((key::bump(),)).await?;
            Ok((event, ()))
        })
        .await
}

async fn retire(visit: &mut Visit<'_>, id: &KeyId) -> Result<(), KeyRoomError> {
    let (id, now): (KeyId, Now) = (id.clone(), visit.now);
    visit
        .lease
        .transact(Intent::to(Kind::KeyRetired), async move |tx| {
            let call = key::set_state(&id, State::Active, State::Retiring, now);
            tx.one(call).await?.ok_or(KeyRoomError::Unknown)?;
            tx.last((key::bump(),)).await?;
            Ok((Event::KeyRetired { key: id.clone() }, ()))
        })
        .await
}

async fn remove(visit: &mut Visit<'_>, id: &KeyId, compromised: bool) -> Result<(), KeyRoomError> {
    let id = id.clone();
    visit
        .lease
        .transact(Intent::to(Kind::KeyRemoved), async move |tx| {
            tx.one(key::remove(&id)).await?.ok_or(KeyRoomError::Unknown)?;
            tx.last((key::bump(),)).await?;
            Ok((Event::KeyRemoved { key: id.clone(), compromised }, ()))
        })
        .await
}

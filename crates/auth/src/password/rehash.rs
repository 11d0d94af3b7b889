//! Rehashes correct passwords whose hashes are outdated, and tells the engine which kinds of hashes are
//! stored.

use hashing::{RehashTicket, Rehashed, normalise};
use model::{Secret, UserId, event, intent};
use store::Tx;
use store::queries::credential;

use crate::{OpContext, Services};

/// Number of sampled positions in the table, and hashes that are read at each.
const PLACES: i64 = 32;
const EACH: i64 = 32;

/// Samples about a thousand stored hashes, evenly spread and the same ones on every node, so that dummy
/// hashes for unknown users have the same mix. Unusable hashes are left out.
///
/// # Errors
/// When the database did not answer; the known mix stays.
pub async fn learn_kinds(ctx: &mut OpContext<'_>) -> Result<(), store::Error> {
    let mut read = ctx.lease.read().await?;
    let mut sample = Vec::new();
    if let Some(last) = read.one(credential::last()).await? {
        for (from, before) in places(last) {
            let page = read.all(credential::sample(from, before, EACH)).await?;
            sample.extend(page.iter().filter_map(|(uuid, text)| ctx.services.peppers.open(*uuid, text).ok()));
        }
    }
    ctx.services.hasher.resemble(sample);
    Ok(())
}

/// Parts of the numbers of users up to `last`, each from one number (inclusive) to another (exclusive).
fn places(last: UserId) -> impl Iterator<Item = (UserId, UserId)> {
    let step = last.0 / PLACES + 1;
    (0..PLACES).map(move |place| {
        let from = place.saturating_mul(step);
        (UserId(from), UserId(from.saturating_add(step)))
    })
}

/// Rehashes a correct password in the background when its hash is outdated; when only the pepper is missing
/// or outdated, stores the same hash again.
pub(crate) fn rehash_if_outdated(ctx: &OpContext<'_>, login: &credential::Login, password: &Secret<String>) {
    let Services { hasher, peppers, .. } = ctx.services;
    let Some(text) = &login.hash else { return };
    let ticket = || RehashTicket {
        user: login.user.id,
        uuid: login.user.uuid,
        version: login.version,
        old: text.clone(),
    };

    match peppers.open(login.user.uuid, text) {
        Ok(stored) if hasher.should_rehash(&stored, password.expose()) => {
            hasher.rehash(ticket(), normalise(password.expose()));
        }
        Ok(stored) if peppers.is_outdated(text) => hasher.keep(ticket(), &stored),
        Ok(_) | Err(_) => {}
    }
}

/// Stores a better hash of a correct password, if the old one is still stored.
///
/// # Errors
/// When the database did not answer; the next login tries again.
pub async fn keep_rehashed(ctx: &mut OpContext<'_>, rehashed: Rehashed) -> Result<(), store::Error> {
    let now = ctx.now;
    let new = ctx.services.peppers.store(rehashed.ticket.uuid, &rehashed.new);
    let Rehashed { ticket: RehashTicket { user: id, uuid, version, old }, is_same, .. } = rehashed;
    let write = async move |tx: &mut Tx| {
        let (kept,) = tx.commit_with((credential::rehash(id, version, &old, &new),)).await?;
        kept.first().map(|_| new.pepper()).ok_or(Moved::On)
    };

    let kept = if is_same {
        let sealed = async move |tx: &mut Tx| {
            Ok((event::PasswordsSealed { pepper: write(tx).await?, passwords: 1 }, ()))
        };
        ctx.lease.transact(intent::PasswordsSealed { user: Some(uuid) }, sealed).await
    } else {
        let rehashed = async move |tx: &mut Tx| {
            write(tx).await?;
            Ok((event::PasswordRehashed { user: uuid }, ()))
        };
        ctx.lease.transact(intent::PasswordRehashed { user: uuid, stamp: now }, rehashed).await
    };
    match kept {
        Ok(()) | Err(Moved::On) => Ok(()),
        Err(Moved::Failed(error)) => Err(error),
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Moved {
    #[error("a concurrent change came first")]
    On,
    #[error(transparent)]
    Failed(#[from] store::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_a_sample_cover_every_number_up_to_the_highest_possible_one() {
        for last in [1, 31, 32, 33, 1_000_000, i64::MAX - 1] {
            let places: Vec<_> = places(UserId(last)).collect();

            assert_eq!(places.first().map(|(from, _)| from.0), Some(0));
            assert!(places.last().is_some_and(|(_, before)| before.0 > last), "{last}");
            assert!(places.windows(2).all(|pair| pair[0].1 == pair[1].0 && pair[0].0 < pair[0].1), "{last}");
        }
    }
}

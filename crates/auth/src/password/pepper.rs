//! The pepper service: loads the versions, seals and opens stored hashes, and moves them to the newest
//! version.
//!
//! Every stored hash is sealed by [`PepperService::store`] and opened by [`open_stored`] or
//! [`PepperService::open`]; the store handles only the sealed text.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use model::{Rng, UserId, UserUuid, event, intent};
use protocol::sealed::pepper::{Pepper, PepperError, Peppers, StoredText};
use protocol::wire::password_hash::{StoredHash, Unusable};
use store::queries::credential::{self, Owned};
use store::queries::pepper::{self, Pepper as Row};

use super::PasswordSettings;
use super::rehash::Moved;
use crate::signing_keys::SigningKeyError;
use crate::{OpContext, Services};

/// Hashes that are sealed in one transaction.
const BATCH: i64 = 100;
/// Minimum time for which a replaced version is kept; within it, every node learns of its successor.
const KEPT: Duration = Duration::from_hours(1);

/// The loaded versions of the pepper.
#[derive(Debug)]
pub struct PepperService {
    /// Whether new hashes are sealed.
    seals: bool,
    rng: Rng,
    peppers: RwLock<Arc<Peppers>>,
    /// Versions that were requested and not found since the last load.
    missing: Mutex<BTreeSet<i64>>,
}

/// Why the pepper cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PepperServiceError {
    /// New hashes must be sealed, and no version can be opened.
    #[error("no pepper can be opened with the master key")]
    NoneUsable,
    /// The setting is off, so there is nothing to rotate.
    #[error("passwords.pepper is off")]
    Off,
    /// The setting is on, so hashes stay sealed.
    #[error("passwords.pepper is on; turn it off on every node first")]
    On,
    /// Another process created the same version at the same time.
    #[error("another process has just created a pepper")]
    Raced,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Why a stored hash cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The sealed text cannot be opened.
    #[error(transparent)]
    Sealed(PepperError),
    /// It is not a hash that can be verified.
    #[error(transparent)]
    Hash(Unusable),
}

impl PepperService {
    /// A service without versions: [`open`] loads them.
    pub(crate) fn new(settings: &PasswordSettings, rng: &Rng) -> Self {
        let (peppers, missing) = (RwLock::default(), Mutex::default());
        Self { seals: settings.pepper, rng: rng.clone(), peppers, missing }
    }

    /// The text to store for the user's password hash: sealed, if the configuration requires it.
    pub fn store(&self, user: UserUuid, hash: &str) -> StoredText {
        self.peppers().store(user, hash, &self.rng)
    }

    /// Opens the stored text of the user's password hash, with the loaded versions.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn open(&self, user: UserUuid, stored: &StoredText) -> Result<StoredHash, Unreadable> {
        let text = self.peppers().open(user, stored).map_err(Unreadable::Sealed)?;
        StoredHash::parse(&text).map_err(Unreadable::Hash)
    }

    /// Whether a stored text must be sealed, or sealed again with a newer version.
    pub(crate) fn is_outdated(&self, stored: &StoredText) -> bool {
        self.seals && stored.pepper() < self.peppers().sealing()
    }

    fn peppers(&self) -> Arc<Peppers> {
        Arc::clone(&self.peppers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn missing(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the stored text of the user's password hash. A version that this node does not know may be new: the
/// versions are loaded again when it is first seen.
///
/// # Errors
/// When the versions had to be loaded and the database did not answer.
pub(crate) async fn open_stored(
    ctx: &mut OpContext<'_>,
    user: UserUuid,
    stored: &StoredText,
) -> Result<Result<StoredHash, Unreadable>, PepperServiceError> {
    let service = &ctx.services.peppers;
    let opened = service.open(user, stored);
    let Err(Unreadable::Sealed(PepperError::Unknown(version))) = opened else { return Ok(opened) };
    if service.missing().contains(&version) {
        return Ok(opened);
    }
    load(ctx).await?;
    let opened = service.open(user, stored);
    if matches!(opened, Err(Unreadable::Sealed(PepperError::Unknown(_)))) {
        service.missing().insert(version);
    }
    Ok(opened)
}

/// Loads the versions into memory. A version that cannot be opened is left out and logged.
///
/// # Errors
/// [`PepperServiceError::NoneUsable`] when new hashes must be sealed and no version can be opened; the
/// versions in memory stay unchanged.
pub async fn load(ctx: &mut OpContext<'_>) -> Result<(), PepperServiceError> {
    let rows = list(ctx).await?;
    let mut sealing = None;
    let mut all = Vec::new();
    for row in &rows {
        match Pepper::open(&ctx.services.keyring, row.version, &row.sealed) {
            Ok(pepper) => {
                all.push(pepper);
                sealing = Some(row.version).filter(|_| row.is_active).or(sealing);
            }
            Err(why) => {
                tracing::error!(
                    version = row.version, %why, "a pepper cannot be used; passwords sealed with it fail"
                );
            }
        }
    }

    let service = &ctx.services.peppers;
    if service.seals && sealing.is_none() {
        return Err(PepperServiceError::NoneUsable);
    }
    let peppers = Peppers::new(all, sealing.filter(|_| service.seals));
    *service.peppers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(peppers);
    service.missing().clear();
    Ok(())
}

/// Loads the versions; creates the first one when hashes must be sealed and there is none.
///
/// # Errors
/// [`PepperServiceError::NoneUsable`], [`PepperServiceError::Store`].
pub async fn open(ctx: &mut OpContext<'_>) -> Result<(), PepperServiceError> {
    if ctx.services.peppers.seals && list(ctx).await?.is_empty() {
        match make(ctx, 1).await {
            // Another process created the version at the same time; its pepper is used.
            Ok(()) | Err(PepperServiceError::Raced) => {}
            Err(error) => return Err(error),
        }
    }
    load(ctx).await
}

/// Every version, oldest first.
///
/// # Errors
/// When the database did not answer.
pub async fn list(ctx: &mut OpContext<'_>) -> Result<Vec<Row>, store::Error> {
    ctx.lease.read().await?.all(pepper::all()).await
}

/// Creates a new version, which seals from now on; stored hashes are sealed again in the background.
///
/// # Errors
/// [`PepperServiceError`].
pub async fn rotate(ctx: &mut OpContext<'_>) -> Result<i64, PepperServiceError> {
    if !ctx.services.peppers.seals {
        return Err(PepperServiceError::Off);
    }
    let version = list(ctx).await?.last().map_or(1, |last| last.version + 1);
    make(ctx, version).await?;
    load(ctx).await?;
    Ok(version)
}

async fn make(ctx: &mut OpContext<'_>, version: i64) -> Result<(), PepperServiceError> {
    let Services { keyring, rng, .. } = ctx.services;
    let (sealed, now) = (Pepper::generate(version, rng).seal(keyring, rng), ctx.now);
    ctx.lease
        .transact(intent::PepperCreated {}, async move |tx| {
            tx.one(pepper::insert(version, sealed.clone(), now)).await?.ok_or(PepperServiceError::Raced)?;
            tx.commit_with((pepper::retire_older(version, now), store::queries::signing_key::bump())).await?;
            Ok((event::PepperCreated { version }, ()))
        })
        .await
}

/// Every version sealed again with the first master key.
///
/// # Errors
/// [`SigningKeyError::Sealed`] when one of them cannot be opened.
pub(crate) async fn sealed_anew(ctx: &mut OpContext<'_>) -> Result<Vec<(i64, Vec<u8>)>, SigningKeyError> {
    let rows = list(ctx).await?;
    let Services { keyring, rng, .. } = ctx.services;
    let anew =
        |row: &Row| Ok((row.version, Pepper::open(keyring, row.version, &row.sealed)?.seal(keyring, rng)));
    rows.iter().map(anew).collect()
}

/// Position of a walk over the stored hashes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    plain: UserId,
    sealed: (i64, UserId),
}

impl Default for Place {
    fn default() -> Self {
        Self { plain: UserId(i64::MIN), sealed: (0, UserId(i64::MIN)) }
    }
}

/// Seals some of the hashes that are not sealed with the newest pepper; at the end removes unused versions. A
/// hash that cannot be opened stays as it is. Returns the next position, or `None` at the end.
///
/// # Errors
/// When the database did not answer.
pub async fn step(ctx: &mut OpContext<'_>, mut place: Place) -> Result<Option<Place>, PepperServiceError> {
    let service = &ctx.services.peppers;
    let Some(version) = service.peppers().sealing() else { return Ok(None) };
    let mut read = ctx.lease.read().await?;
    let mut page = read.all(credential::plain(place.plain, BATCH)).await?;
    if let Some(last) = page.last() {
        place.plain = last.user;
    } else {
        page = read.all(credential::sealed_before(version, place.sealed, BATCH)).await?;
        let Some(last) = page.last() else { return clear(ctx).await.map(|()| None) };
        place.sealed = (last.hash.pepper().unwrap_or_default(), last.user);
    }
    move_page(ctx, page).await?;
    Ok(Some(place))
}

/// Unseals some of the stored hashes, when the setting is off. Returns the next position, or None at the end.
///
/// # Errors
/// [`PepperServiceError::On`], [`PepperServiceError::Store`].
pub async fn unseal(ctx: &mut OpContext<'_>, mut place: Place) -> Result<Option<Place>, PepperServiceError> {
    if ctx.services.peppers.seals {
        return Err(PepperServiceError::On);
    }
    let call = credential::sealed_before(i64::MAX, place.sealed, BATCH);
    let page = ctx.lease.read().await?.all(call).await?;
    let Some(last) = page.last() else { return Ok(None) };
    place.sealed = (last.hash.pepper().unwrap_or_default(), last.user);
    move_page(ctx, page).await?;
    Ok(Some(place))
}

/// Stores hashes in the current form.
async fn move_page(ctx: &mut OpContext<'_>, page: Vec<Owned>) -> Result<(), PepperServiceError> {
    let service = &ctx.services.peppers;
    // One set of versions for the whole page, even when they are reloaded meanwhile.
    let peppers = service.peppers();
    let mut moved = Vec::with_capacity(page.len());
    for Owned { user, uuid, hash } in page {
        match peppers.open(uuid, &hash) {
            Ok(text) => moved.push((user, peppers.store(uuid, &text, &service.rng), hash)),
            Err(why) => tracing::warn!(user = %uuid, %why, "a stored password hash stays as it is"),
        }
    }

    if moved.is_empty() {
        return Ok(());
    }
    let pepper = peppers.sealing();
    let done = ctx
        .lease
        .transact(intent::PasswordsSealed { user: None }, async move |tx| {
            let hashes = moved.iter().map(|(user, new, old)| (*user, old, new));
            let (sealed,) = tx.commit_with((credential::seal(pepper, hashes),)).await?;
            let passwords = sealed.len() as u64;
            if passwords == 0 {
                Err(Moved::On)
            } else {
                Ok((event::PasswordsSealed { pepper, passwords }, ()))
            }
        })
        .await;

    match done {
        Ok(()) | Err(Moved::On) => Ok(()),
        Err(Moved::Failed(error)) => Err(error.into()),
    }
}

/// Removes versions that were replaced long ago and that no hash uses.
async fn clear(ctx: &mut OpContext<'_>) -> Result<(), PepperServiceError> {
    if !ctx.believes_time() {
        return Ok(());
    }
    let before = ctx.now.minus(KEPT);
    let rows = list(ctx).await?;
    for row in rows.iter().filter(|row| !row.is_active && row.changed_at <= before) {
        let version = row.version;
        let removed = ctx
            .lease
            .transact(intent::PepperRemoved {}, async move |tx| {
                tx.one(pepper::remove_unused(version)).await?.ok_or(Moved::On)?;
                tx.commit_with((store::queries::signing_key::bump(),)).await?;
                Ok((event::PepperRemoved { version }, ()))
            })
            .await;
        match removed {
            Ok(()) | Err(Moved::On) => {}
            Err(Moved::Failed(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

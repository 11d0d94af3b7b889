//! Signing keys: next, active, retiring, removed; sealed in the database, open in memory.

mod rotate;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::KeyId;
use protocol::sealed::keyring::SealError;
use protocol::sealed::purpose::Purpose;
use protocol::wire::algorithm::Algorithm;
use protocol::wire::jwk::JwkSet;
use protocol::wire::jwt::{SigningKey, VerifyingKey};
use store::queries::signing_key::{self, Key, State};

use crate::{OpContext, Services};

pub use rotate::{Resealed, Rotated, Scheduled, remove_compromised, reseal, rotate, rotate_now, step};

/// How long the schedule publishes a key before it signs.
pub const PUBLISHED_AHEAD: Duration = Duration::from_hours(24);

/// How long clients may cache the published key set: the `max-age` of its answer.
pub const KEY_SET_MAX_AGE: Duration = Duration::from_mins(5);

/// How long a key is published before it signs, when an operator rotates: until no cache lacks it, and a
/// minute for answers under way and clocks that differ.
pub const PUBLISHED_BEFORE_ROTATION: Duration = Duration::from_mins(6);

/// The loaded keys.
#[derive(Debug, Default)]
pub struct KeySet {
    /// The key that signs now.
    pub signing: Option<Arc<SigningKey>>,
    /// The keys that verify, by `kid`.
    pub verifying: HashMap<String, Arc<VerifyingKey>>,
    /// The published key set.
    pub jwks: JwkSet,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// No active key could be opened.
    #[error("no signing key can be opened with the master key")]
    NoneUsable,
    /// A secret cannot be opened, and nothing of its kind was sealed again.
    #[error("a secret cannot be opened: {0}")]
    Sealed(#[from] SealError),
    /// A key could not be created.
    #[error("a signing key could not be created: {0}")]
    Make(protocol::wire::jwt::KeyError),
    /// There is no such key.
    #[error("there is no such key")]
    Unknown,
    /// The secret of HS256 comes from a file and cannot be rotated here.
    #[error("with tokens.algorithm = HS256 the key is tokens.hs256_secret_file; change that file")]
    SharedSecret,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Loads the keys into memory. A key that cannot be opened is left out and logged.
///
/// # Errors
/// [`SigningKeyError::NoneUsable`] when no key can sign; the keys in memory stay unchanged.
pub async fn load(ctx: &mut OpContext<'_>) -> Result<(), SigningKeyError> {
    let rows = ctx.lease.read().await?.all(signing_key::all()).await?;
    let mut set = KeySet::default();
    let mut jwks = Vec::new();
    for row in &rows {
        let Some(signer) = open(ctx.services, row) else { continue };
        let verifier = Arc::new(signer.verifying_key());
        jwks.extend(verifier.jwk());
        set.verifying.insert(signer.kid().to_owned(), verifier);
        if row.state == State::Active && signer.algorithm() == ctx.services.settings.algorithm {
            set.signing = Some(Arc::new(signer));
        }
    }
    if set.signing.is_none() {
        return Err(SigningKeyError::NoneUsable);
    }
    set.jwks = jwks.into_iter().collect();
    ctx.services.set_keys(set);
    Ok(())
}

/// Uses one secret that is shared with applications (HS256): no key is stored in the database or published.
///
/// # Errors
/// [`SigningKeyError::Make`] for a secret under 32 bytes.
pub fn use_shared_secret(services: &Services, secret: &[u8]) -> Result<(), SigningKeyError> {
    let signer = SigningKey::from_private(Algorithm::Hs256, secret).map_err(SigningKeyError::Make)?;
    let verifier = Arc::new(signer.verifying_key());
    let verifying = HashMap::from([(signer.kid().to_owned(), verifier)]);
    services.set_keys(KeySet { signing: Some(Arc::new(signer)), verifying, jwks: JwkSet::default() });
    Ok(())
}

/// Whether a secret can be used for HS256.
///
/// # Errors
/// [`SigningKeyError::Make`] for a secret under 32 bytes.
pub fn check_shared_secret(secret: &[u8]) -> Result<(), SigningKeyError> {
    SigningKey::from_private(Algorithm::Hs256, secret).map(drop).map_err(SigningKeyError::Make)
}

/// Every key, oldest first.
///
/// # Errors
/// When the database did not answer.
pub async fn list(ctx: &mut OpContext<'_>) -> Result<Vec<Key>, SigningKeyError> {
    Ok(ctx.lease.read().await?.all(signing_key::all()).await?)
}

fn open(services: &Services, row: &Key) -> Option<SigningKey> {
    let usable =
        Algorithm::parse(&row.algorithm).ok_or_else(|| format!("unknown algorithm {}", row.algorithm));
    let signer = usable.and_then(|algorithm| {
        let private = services
            .keyring
            .open(Purpose::SigningKey, row.id.0.as_bytes(), &row.sealed)
            .map_err(|e| e.to_string())?;
        SigningKey::from_private(algorithm, private.expose()).map_err(|e| e.to_string())
    });
    match signer {
        Ok(signer) if signer.kid() == row.id.0 => Some(signer),
        Ok(_) => {
            tracing::error!(key = %row.id, "a signing key does not match its row; it is left out");
            None
        }
        Err(why) => {
            tracing::error!(key = %row.id, %why, "a signing key cannot be used; it is left out");
            None
        }
    }
}

/// A new key and its row.
fn make(ctx: &OpContext<'_>, state: State) -> Result<Key, SigningKeyError> {
    let algorithm = ctx.services.settings.algorithm;
    if algorithm == Algorithm::Hs256 {
        return Err(SigningKeyError::SharedSecret);
    }
    let (signer, private) =
        SigningKey::generate(algorithm, &ctx.services.rng).map_err(SigningKeyError::Make)?;
    let id = KeyId(signer.kid().to_owned());
    let sealed =
        ctx.services.keyring.seal(Purpose::SigningKey, id.0.as_bytes(), private.expose(), &ctx.services.rng);
    Ok(Key {
        id,
        algorithm: algorithm.as_str().to_owned(),
        state,
        sealed,
        created_at: ctx.now,
        changed_at: ctx.now,
        signs_at: None,
    })
}

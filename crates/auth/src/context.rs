//! What every room shares, and how a verb is entered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use model::{Now, Rng, hex};
use protocol::sealed::keyring::Keyring;
use protocol::wire::algorithm::Algorithm;
use protocol::wire::refresh_token::MacKey;
use protocol::wire::scope::Scope;
use runtime::AuditContext;
use store::Lease;
use tokio::time::Instant;

use crate::account::ProfileSchema;
use crate::account::user_cache::UserCache;
use crate::client::RecentClients;
use crate::password::{PasswordSettings, PepperService};
use crate::session::revocation_cache::RevocationCache;
use crate::signing_keys::KeySet;
use hashing::{PasswordHasher, Requester};

/// What the configuration says about accounts, sessions and tokens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `iss` of every token.
    pub issuer: String,
    /// `aud` of every token; none leaves it out.
    pub audience: Option<String>,
    /// Whether `sub` is the uuid instead of the number.
    pub subject_is_uuid: bool,
    /// What signs access tokens.
    pub algorithm: Algorithm,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// A session that is not refreshed for so long is over.
    pub refresh_ttl: Duration,
    /// A session is over after so long, however much it is used.
    pub session_ttl: Duration,
    /// How long a used refresh token still gets its successor.
    pub refresh_grace: Duration,
    /// Whether it does after that, while the successor is unused.
    pub refresh_late_replay: bool,
    /// How old the view of revocations may be while the database cannot be asked.
    pub revocation_max_stale: Duration,
    /// How long a key signs.
    pub key_rotation: Duration,
    /// Passwords.
    pub passwords: PasswordSettings,
    /// What each role may be granted.
    pub scopes: BTreeMap<String, Scope>,
    /// Which further profile attributes there are.
    pub attributes: ProfileSchema,
}

impl Settings {
    /// What of a scope a role may have.
    pub(crate) fn granted(&self, role: &str, scope: &Scope) -> Scope {
        self.scopes.get(role).map(|allowed| scope.intersection(allowed)).unwrap_or_default()
    }
}

/// Everything that outlives a request.
pub struct Services {
    /// What the configuration says.
    pub settings: Settings,
    /// Where passwords are hashed.
    pub hasher: PasswordHasher,
    /// What seals the hashes that are stored.
    pub peppers: PepperService,
    /// Randomness.
    pub rng: Rng,
    /// The master keys.
    pub keyring: Keyring,
    /// Which sessions have ended.
    pub revocations: RevocationCache,
    /// Clients whose authentication was recorded lately.
    pub(crate) recent_clients: RecentClients,
    /// Users seen before, for a short database outage.
    pub(crate) user_cache: UserCache,
    /// Whether the database has just failed.
    pub outage: Outage,
    pub(crate) macs: Vec<MacKey>,
    identifiers: hmac::Key,
    keys: RwLock<Arc<KeySet>>,
}

impl Services {
    /// Furnishes the rooms. The keys are loaded by [`crate::signing_keys::load`].
    pub fn new(settings: Settings, keyring: Keyring, rng: Rng) -> Self {
        let macs: Vec<_> = keyring.derive("refresh-token mac").iter().map(MacKey::new).collect();
        let digest = keyring.derive("identifier digest").into_iter().next().unwrap_or_default();
        Self {
            hasher: PasswordHasher::start(&settings.passwords.hashing, &rng),
            peppers: PepperService::new(&settings.passwords, &rng),
            settings,
            rng,
            revocations: RevocationCache::default(),
            recent_clients: RecentClients::default(),
            user_cache: UserCache::default(),
            outage: Outage::default(),
            macs,
            identifiers: hmac::Key::new(hmac::HMAC_SHA256, &digest),
            keys: RwLock::default(),
            keyring,
        }
    }

    /// The signing keys as they stand.
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_keys(&self, keys: KeySet) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// A keyed hash of what somebody typed as email or username: it tells equal ones apart without keeping them.
    pub fn identifier_digest(&self, identifier: &str) -> String {
        let tag = hmac::sign(&self.identifiers, identifier.as_bytes());
        hex::encode(tag.as_ref().get(..12).unwrap_or_default())
    }

    /// Until when a revoked session's row and revocation are kept: its last access token is over by then.
    pub(crate) fn keep_until(&self, now: Now) -> Now {
        now.plus(self.settings.access_ttl).plus(protocol::wire::access_token::LEEWAY * 2)
    }
}

/// One request's, job's or command's way through the rooms.
pub struct OpContext<'a> {
    /// What every room shares.
    pub services: &'a Services,
    /// The one connection.
    pub lease: &'a mut Lease,
    /// Where it says what happened.
    pub audit: &'a AuditContext,
    /// When it began.
    pub now: Now,
}

impl OpContext<'_> {
    /// Who asks for a hash, for turns to be fair: the client's address, and what stands for the account.
    pub(crate) fn requester(&self, account: impl Into<Option<String>>) -> Requester {
        Requester { address: self.audit.origin().address, account: account.into() }
    }
}

/// Remembers for a second that the database has failed, so that not everyone waits to find out.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Option<Instant>>);

const OUTAGE_MEMORY: Duration = Duration::from_secs(1);

impl Outage {
    /// Notes how a call to the database ended.
    pub fn note<T>(&self, outcome: &Result<T, store::Error>) {
        let failed = matches!(outcome, Err(error) if error.is_unavailable());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failed.then(Instant::now);
    }

    /// Whether the last call failed less than a second ago.
    pub fn is_on(&self) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|at| at.elapsed() < OUTAGE_MEMORY)
    }
}

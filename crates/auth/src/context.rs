//! The services that all operations share, and the context of one operation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use model::{Clock, Now, ReservedNames, Rng, hex};
use protocol::sealed::keyring::Keyring;
use protocol::sealed::purpose::Purpose;
use protocol::sealed::realm_key::RealmKey;
use protocol::wire::access_token::LEEWAY;
use protocol::wire::algorithm::Algorithm;
use protocol::wire::client_mark::MarkKey;
use protocol::wire::refresh_token::MacKey;
use protocol::wire::scope::Scope;
use runtime::AuditContext;
use store::Lease;
use store::queries::session::Ending;
use tokio::time::Instant;

use crate::account::user_cache::UserCache;
use crate::account::{Outdated, ProfileSchema};
use crate::client::RecentClients;
use crate::clock_watch::ClockWatch;
use crate::epoch::Epoch;
use crate::limits::{LimitSettings, Limits};
use crate::password::{PasswordSettings, PepperService};
use crate::session::RefreshReuse;
use crate::session::feed::FeedSignal;
use crate::session::revocation_cache::RevocationCache;
use crate::signing_keys::KeySet;
use crate::token::RefusedTokens;
use hashing::{PasswordHasher, Requester};

/// Settings of accounts, sessions and tokens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `iss` of every token.
    pub issuer: String,
    /// The `aud` of every token; none omits the claim.
    pub audience: Option<String>,
    /// Whether `sub` is the user's public identifier instead of the id.
    pub subject_is_uuid: bool,
    /// Whether the `typ` of access tokens is `JWT` instead of `at+jwt`.
    pub plain_typ: bool,
    /// How long before they are issued tokens say that they were, for verifiers whose clock is behind.
    pub backdate: Duration,
    /// The algorithm that signs access tokens.
    pub algorithm: Algorithm,
    /// Lifetime of an access token.
    pub access_ttl: Duration,
    /// Idle lifetime of a session: it ends when it is not refreshed for this time.
    pub refresh_ttl: Duration,
    /// Absolute lifetime of a session, however often it is refreshed.
    pub session_ttl: Duration,
    /// How long a used refresh token returns its successor again.
    pub refresh_grace: Duration,
    /// What a reuse after that time means.
    pub refresh_reuse: RefreshReuse,
    /// Maximum age of the revocation cache while the database cannot be reached.
    pub revocation_max_stale: Duration,
    /// How long a key signs before it is replaced.
    pub key_rotation: Duration,
    /// Settings of passwords.
    pub passwords: PasswordSettings,
    /// Limits at the start; [`Limits::set`] replaces them.
    pub limits: LimitSettings,
    /// The scopes that users of each role can be granted.
    pub scopes: BTreeMap<String, Scope>,
    /// The additional profile attributes.
    pub attributes: ProfileSchema,
    /// Whether users register by themselves.
    pub registration_enabled: bool,
    /// Usernames that no new account gets.
    pub reserved_usernames: ReservedNames,
}

impl Default for Settings {
    fn default() -> Self {
        Self::for_issuer("http://127.0.0.1:8080")
    }
}

impl Settings {
    /// The default settings, for tokens of this issuer: a URL.
    pub fn for_issuer(issuer: &str) -> Self {
        let day = Duration::from_hours(24);
        Self {
            issuer: issuer.to_owned(),
            audience: Some(issuer.to_owned()),
            subject_is_uuid: false,
            plain_typ: false,
            backdate: Duration::from_secs(5),
            algorithm: Algorithm::Es256,
            access_ttl: Duration::from_mins(30),
            refresh_ttl: 30 * day,
            session_ttl: 90 * day,
            refresh_grace: Duration::from_secs(10),
            refresh_reuse: RefreshReuse::RevokeOtherClients,
            revocation_max_stale: Duration::from_mins(5),
            key_rotation: 90 * day,
            passwords: PasswordSettings::for_issuer(issuer),
            limits: LimitSettings::default(),
            scopes: BTreeMap::new(),
            attributes: ProfileSchema::default(),
            registration_enabled: true,
            reserved_usernames: ReservedNames::new(ReservedNames::USUAL).unwrap_or_default(),
        }
    }

    /// The part of a scope that a role may have.
    pub(crate) fn granted(&self, role: &str, scope: &Scope) -> Scope {
        self.scopes.get(role).map(|allowed| scope.intersection(allowed)).unwrap_or_default()
    }
}

/// The state that outlives a request.
pub struct Services {
    /// The settings.
    pub settings: Settings,
    /// Hashes passwords.
    pub hasher: PasswordHasher,
    /// Seals stored password hashes.
    pub peppers: PepperService,
    /// The random number generator.
    pub rng: Rng,
    /// The clock, for what is measured by monotonic time.
    pub clock: Clock,
    /// Whether the clock is believed.
    pub clock_watch: ClockWatch,
    /// The master keys.
    pub keyring: Keyring,
    /// The sessions that have ended.
    pub revocations: RevocationCache,
    /// Wakes the readers of the feed of revocations.
    pub feed: FeedSignal,
    /// Clients whose authentication was recorded recently.
    pub(crate) recent_clients: RecentClients,
    /// Cached users, for a short database outage.
    pub(crate) user_cache: UserCache,
    /// The realm's epoch.
    pub epoch: Epoch,
    /// Bearer tokens that were refused.
    pub refused_tokens: RefusedTokens,
    /// Whether the database was found to be older than what was issued from it.
    pub outdated: Outdated,
    /// Whether the database has just failed.
    pub outage: Outage,
    /// Limits of requests and of failed logins.
    pub limits: Limits,
    pub(crate) macs: Vec<MacKey>,
    pub(crate) marks: Vec<MarkKey>,
    identifiers: hmac::Key,
    keys: RwLock<Arc<KeySet>>,
    realm_key: OnceLock<RealmKey>,
}

impl Services {
    /// Builds the services from the settings and the master keys. [`crate::signing_keys::load`] loads the
    /// signing keys.
    pub fn new(settings: Settings, keyring: Keyring, rng: Rng, clock: Clock) -> Self {
        let macs: Vec<_> = keyring.derive(Purpose::RefreshTokenMac).iter().map(MacKey::new).collect();
        let marks = keyring.derive(Purpose::SessionClientMark).iter().map(MarkKey::new).collect();
        let digest = keyring.derive_first(Purpose::IdentifierDigest);
        let limits = Limits::new(settings.limits.clone(), clock.clone());

        Self {
            hasher: PasswordHasher::start(&settings.passwords.hashing, &rng),
            peppers: PepperService::new(&settings.passwords, &rng),
            settings,
            rng,
            clock,
            clock_watch: ClockWatch::default(),
            revocations: RevocationCache::default(),
            feed: FeedSignal::default(),
            recent_clients: RecentClients::default(),
            user_cache: UserCache::default(),
            epoch: Epoch::default(),
            refused_tokens: RefusedTokens::default(),
            outdated: Outdated::default(),
            outage: Outage::default(),
            limits,
            macs,
            marks,
            identifiers: hmac::Key::new(hmac::HMAC_SHA256, &digest),
            keys: RwLock::default(),
            realm_key: OnceLock::new(),
            keyring,
        }
    }

    /// The key of the names that are used in Redis; all nodes of a realm have the same.
    pub fn redis_names(&self) -> [u8; 32] {
        self.keyring.derive_first(Purpose::RedisName)
    }

    /// The current signing keys.
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The realm's own key.
    ///
    /// # Errors
    /// When the realm was not opened before.
    pub(crate) fn realm_key(&self) -> Result<&RealmKey, store::Error> {
        self.realm_key.get().ok_or_else(|| store::Error::Corrupt("the realm has not been opened".to_owned()))
    }

    pub(crate) fn use_realm_key(&self, key: RealmKey) {
        // A realm keeps its key: one that is there is the same.
        let _ = self.realm_key.set(key);
    }

    pub(crate) fn set_keys(&self, keys: KeySet) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// A keyed hash of a submitted email or username, which distinguishes identifiers without storing them.
    pub fn identifier_digest(&self, identifier: &str) -> String {
        let tag = hmac::sign(&self.identifiers, identifier.as_bytes());
        hex::encode(tag.as_ref().get(..12).unwrap_or_default())
    }

    /// A keyed hash of an identifier, for one network or for all of them, as a number.
    pub(crate) fn identifier_number(&self, identifier: &str, network: Option<&[u8]>) -> u128 {
        let scope = [u8::from(network.is_some())];
        let parts = [&scope, network.unwrap_or_default(), identifier.as_bytes()].concat();
        let tag = hmac::sign(&self.identifiers, &parts);
        tag.as_ref().first_chunk().copied().map_or(0, u128::from_be_bytes)
    }
}

/// The context of one operation of a request, job or command.
pub struct OpContext<'a> {
    /// The shared services.
    pub services: &'a Services,
    /// The only database lease.
    pub lease: &'a mut Lease,
    /// Records audit events.
    pub audit: &'a AuditContext,
    /// Time when the operation began.
    pub now: Now,
}

impl OpContext<'_> {
    /// The end of sessions by this operation. Their rows and revocations are kept until no access token of
    /// the session is accepted, and at least for the lifetime of one, so that the row shows what became of
    /// the operation.
    pub(crate) fn ending(&self) -> Ending {
        let keep = self.now.plus(self.services.settings.access_ttl).plus(LEEWAY * 2);
        Ending { at: self.now, keep }
    }

    /// The requester used for fair queueing of hashes: client address and account.
    pub(crate) fn requester(&self, account: impl Into<Option<String>>) -> Requester {
        Requester { address: self.audit.origin().address, account: account.into() }
    }
}

/// Remembers for a second that the database has failed, so that further requests do not wait for the same
/// failure.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Option<Instant>>);

const OUTAGE_MEMORY: Duration = Duration::from_secs(1);

impl Outage {
    /// Records the outcome of a database call.
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

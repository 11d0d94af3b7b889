//! Passwords that are tried for one account.
//!
//! Without a limit by account, an attacker with many addresses tries as many passwords as it has addresses.
//! With one that is shared by all, a stranger who tries wrong passwords locks the user out. So a network from
//! which the user has logged in, and a session, have a budget of their own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::bounds::FAILURES_OF_STRANGERS;
use model::{Now, SessionId, UserKey};
use rate_limit::Key;
use store::queries::credential;
use store::queries::known_network::SeenNetwork;

use super::{Limits, Subject};

/// The number under which this limit counts, behind those of [`super::Limit`].
const NUMBER: u8 = 16;
/// Most users whose failures, and most networks that wait to be stored.
const WAITING: usize = 10_000;

/// In which budget a try counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// The one for all networks from which the user has never logged in.
    Strangers { account: u128 },
    /// The one of a network from which the user has logged in.
    KnownNetwork { account_and_network: u128 },
    /// The one of a session of the user.
    Session(SessionId),
}

/// A try for which the budget had room. It counts as failed until it is known to have succeeded, so that
/// parallel tries do not pass together.
#[derive(Debug)]
#[must_use = "the outcome decides what is counted"]
pub(crate) struct Attempt {
    key: Key,
    is_of_stranger: bool,
}

impl Limits {
    /// Counts a try in its budget.
    ///
    /// # Errors
    /// How long to wait when there were too many.
    pub(crate) async fn attempt(&self, budget: Budget) -> Result<Attempt, Duration> {
        let (subject, is_of_stranger) = match budget {
            Budget::Strangers { account } => (Subject::Account(account), true),
            Budget::KnownNetwork { account_and_network } => (Subject::Account(account_and_network), false),
            Budget::Session(session) => (Subject::Session(session), false),
        };
        let backoff = self.read(super::LimitSettings::backoff);
        let window = backoff.map_or(Duration::ZERO, |backoff| backoff.forget);
        let key = subject.key(NUMBER, window);
        if let Some(backoff) = backoff {
            let here = || self.local.attempt(&backoff, key, subject.shared(NUMBER, window), self.now());
            match self.shared.get() {
                Some(shared) => match shared.attempt(&backoff, key).await {
                    // It counts here too, for the time when Redis is away.
                    Ok(answer) => {
                        answer?;
                        let _ = here();
                    }
                    Err(_) => here()?,
                },
                None => here()?,
            }
        }
        Ok(Attempt { key, is_of_stranger })
    }

    /// The password was right: earlier failures of the budget are forgotten.
    pub(crate) async fn succeeded(&self, attempt: &Attempt) {
        self.local.succeeded(attempt.key);
        if let Some(shared) = self.shared.get() {
            // While Redis is away, the wait of the account lasts for its time.
            let _ = shared.succeeded(attempt.key).await;
        }
    }

    /// The password was wrong for this user, if there is one.
    pub(crate) fn failed(&self, attempt: &Attempt, user: Option<UserKey>) {
        if let Some(user) = user.filter(|_| attempt.is_of_stranger) {
            self.unstored.failed(user);
        }
    }

    /// The password was not checked.
    pub(crate) async fn undecided(&self, attempt: &Attempt) {
        self.local.refund(attempt.key);
        if let Some(shared) = self.shared.get() {
            let _ = shared.refund(attempt.key).await;
        }
    }

    /// Whether strangers have failed so often that the password works only from networks and sessions that
    /// are known, until it is reset (NIST SP 800-63B-4 §3.2.2).
    pub(crate) fn is_closed(&self, attempt: &Attempt, login: &credential::Login) -> bool {
        let is_on = self.read(|settings| settings.account_login.is_some());
        let failed = || login.failures.saturating_add(self.unstored.failures_of(login.user.key()));
        is_on && attempt.is_of_stranger && failed() >= FAILURES_OF_STRANGERS
    }
}

/// What logins have left and is not stored yet: failures of strangers, and networks from which users have
/// logged in. A job stores it, so that a login costs no write for it, and one that fails costs none whether
/// or not the user exists.
#[derive(Debug, Default)]
pub struct UnstoredLogins(Mutex<Unstored>);

#[derive(Debug, Default)]
struct Unstored {
    failures: HashMap<UserKey, i64>,
    networks: HashMap<(UserKey, [u8; 8]), Now>,
}

impl UnstoredLogins {
    fn lock(&self) -> MutexGuard<'_, Unstored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, user: UserKey) {
        let mut unstored = self.lock();
        if unstored.failures.len() < WAITING || unstored.failures.contains_key(&user) {
            *unstored.failures.entry(user).or_default() += 1;
        }
    }

    fn failures_of(&self, user: UserKey) -> i64 {
        self.lock().failures.get(&user).copied().unwrap_or(0)
    }

    /// The user has logged in, from a network that is to be recorded where there is one.
    pub(crate) fn succeeded(&self, user: UserKey, network: Option<[u8; 8]>, now: Now) {
        let mut unstored = self.lock();
        unstored.failures.remove(&user);
        if let Some(network) = network.filter(|_| unstored.networks.len() < WAITING) {
            unstored.networks.insert((user, network), now);
        }
    }

    /// Whether the user has logged in from this network a moment ago.
    pub(crate) fn has_network(&self, user: UserKey, network: [u8; 8]) -> bool {
        self.lock().networks.contains_key(&(user, network))
    }

    /// Some of what waits: at most `most` of either kind.
    pub fn some(&self, most: usize) -> (Vec<(UserKey, i64)>, Vec<SeenNetwork>) {
        let unstored = self.lock();
        let failures = unstored.failures.iter().take(most).map(|(user, number)| (*user, *number));
        let seen = |((user, network), at): (&(UserKey, [u8; 8]), &Now)| SeenNetwork {
            user: *user,
            network: *network,
            at: *at,
        };
        (failures.collect(), unstored.networks.iter().take(most).map(seen).collect())
    }

    /// Removes what was stored.
    pub fn stored(&self, failures: &[(UserKey, i64)], networks: &[SeenNetwork]) {
        let mut unstored = self.lock();
        for (user, stored) in failures {
            if let Some(number) = unstored.failures.get_mut(user) {
                *number -= stored;
                if *number <= 0 {
                    unstored.failures.remove(user);
                }
            }
        }
        for seen in networks {
            unstored.networks.remove(&(seen.user, seen.network));
        }
    }
}

//! Passwords that are tried for one account.
//!
//! Without a limit by account, an attacker with many addresses tries as many passwords as it has addresses.
//! With one that is shared by all, a stranger who tries wrong passwords locks the user out. So a network from
//! which the user has logged in, and a session, have a budget of their own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::bounds::FAILURES_OF_STRANGERS;
use model::{SessionId, UserId};
use rate_limit::Key;
use store::queries::credential;

use super::{Limits, Subject};

/// The number under which this limit counts, behind those of [`super::Limit`].
const NUMBER: u8 = 16;
/// Most users whose failures wait to be stored.
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
        let key = subject.key(NUMBER);
        if let Some(backoff) = self.read(super::LimitSettings::backoff) {
            let here = || self.local.attempt(&backoff, key, subject.shared(NUMBER), self.now());
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
    pub(crate) fn failed(&self, attempt: &Attempt, user: Option<UserId>) {
        if let Some(user) = user.filter(|_| attempt.is_of_stranger) {
            self.failures.add(user);
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
        let failed = || login.failures.saturating_add(self.failures.of(login.user.id));
        is_on && attempt.is_of_stranger && failed() >= FAILURES_OF_STRANGERS
    }
}

/// Failed logins of strangers that are not stored yet, by user. A job stores them, so that a login that fails
/// costs no write, whether or not the user exists.
#[derive(Debug, Default)]
pub struct AccountFailures(Mutex<HashMap<UserId, i64>>);

impl AccountFailures {
    fn add(&self, user: UserId) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING || waiting.contains_key(&user) {
            *waiting.entry(user).or_default() += 1;
        }
    }

    fn of(&self, user: UserId) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&user).copied().unwrap_or(0)
    }

    /// Forgets what waits for this user, who has logged in.
    pub(crate) fn forget(&self, user: UserId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&user);
    }

    /// Some of those that wait, at most `most` users.
    pub fn some(&self, most: usize) -> Vec<(UserId, i64)> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().take(most).map(|(user, failures)| (*user, *failures)).collect()
    }

    /// Removes those that were stored.
    pub fn stored(&self, some: &[(UserId, i64)]) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (user, stored) in some {
            if let Some(failures) = waiting.get_mut(user) {
                *failures -= stored;
                if *failures <= 0 {
                    waiting.remove(user);
                }
            }
        }
    }
}

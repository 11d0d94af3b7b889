//! Notices attacks on many accounts, which no limit by network or account sees: credential stuffing (pairs of
//! names and passwords that were stolen elsewhere) and password spraying (one password for many accounts).
//!
//! It counts the failed logins of the last few minutes. Of a password it keeps 16 bits of a hash under a key
//! of this process, which tell nothing about one password and show that many are the same.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::event::LoginAttack;
use model::{Event, Now};

/// The length of a window.
const WINDOW: Duration = Duration::from_mins(5);
/// Accounts with a failed login in a window that are suspicious, when most logins fail.
const STUFFED_ACCOUNTS: usize = 100;
/// Accounts for which the same password was tried in a window that are suspicious.
const SPRAYED_ACCOUNTS: u32 = 20;
/// Most accounts, networks and pairs that are told apart.
const MOST: usize = 10_000;

/// The failed logins of a node.
#[derive(Debug)]
pub struct AttackWatch {
    window: Mutex<Window>,
    hasher: RandomState,
    suspicious: [AtomicU64; LoginAttack::ALL.len()],
}

#[derive(Debug, Default)]
struct Window {
    /// Monotonic time.
    since: Option<Duration>,
    began: Option<Now>,
    succeeded: u64,
    failed: u64,
    accounts: HashSet<u64>,
    networks: HashSet<u64>,
    /// Accounts and passwords.
    pairs: HashSet<u64>,
    /// Accounts of each password.
    passwords: Vec<u32>,
    most_accounts_of_a_password: u32,
    reported: [bool; LoginAttack::ALL.len()],
}

impl Default for AttackWatch {
    fn default() -> Self {
        Self { window: Mutex::default(), hasher: RandomState::new(), suspicious: Default::default() }
    }
}

impl AttackWatch {
    /// A login succeeded.
    pub(crate) fn succeeded(&self) {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).succeeded += 1;
    }

    /// A login failed, of an account that may not exist, from a network; `at` is monotonic time.
    pub(crate) fn failed(&self, account: &str, network: &[u8], password: &str, at: Duration, now: Now) {
        let [account, network] = [account.as_bytes(), network].map(|bytes| self.hasher.hash_one(bytes));
        let password = usize::from(u16::try_from(self.hasher.hash_one(password) >> 48).unwrap_or(0));
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.begin(at, now);

        window.failed += 1;
        add(&mut window.accounts, account);
        add(&mut window.networks, network);
        if add(&mut window.pairs, account ^ self.hasher.hash_one(password)) {
            window.passwords.resize(1 << 16, 0);
            if let Some(accounts) = window.passwords.get_mut(password) {
                *accounts += 1;
                let accounts = *accounts;
                window.most_accounts_of_a_password = window.most_accounts_of_a_password.max(accounts);
            }
        }
        for kind in LoginAttack::ALL {
            if let Some(count) = self.suspicious.get(kind as usize).filter(|_| window.shows(kind)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The attacks that are going on and were not reported in this window.
    pub fn reports(&self) -> Vec<Event> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for kind in LoginAttack::ALL.into_iter().filter(|kind| window.shows(*kind)).collect::<Vec<_>>() {
            let Some(reported) = window.reported.get_mut(kind as usize).filter(|reported| !**reported) else {
                continue;
            };
            *reported = true;
            found.push(Event::LoginAttackSuspected {
                attack: kind,
                failed: window.failed,
                succeeded: window.succeeded,
                accounts: window.accounts.len() as u64,
                networks: window.networks.len() as u64,
                since: window.began.unwrap_or(Now::from_micros(0)),
            });
        }
        found
    }

    /// Failed logins that were part of a suspected attack.
    pub fn suspicious(&self, kind: LoginAttack) -> u64 {
        self.suspicious.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// Adds one if there is room; whether it was new.
fn add(set: &mut HashSet<u64>, one: u64) -> bool {
    set.len() < MOST && set.insert(one)
}

impl Window {
    fn begin(&mut self, at: Duration, now: Now) {
        if self.since.is_none_or(|since| at.saturating_sub(since) >= WINDOW) {
            *self = Self { since: Some(at), began: Some(now), ..Self::default() };
        }
    }

    fn shows(&self, kind: LoginAttack) -> bool {
        match kind {
            LoginAttack::CredentialStuffing => {
                self.accounts.len() >= STUFFED_ACCOUNTS && self.failed > self.succeeded
            }
            LoginAttack::PasswordSpraying => self.most_accounts_of_a_password >= SPRAYED_ACCOUNTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now::from_seconds(1_000);

    fn kinds(watch: &AttackWatch) -> Vec<LoginAttack> {
        let kind = |event| match event {
            Event::LoginAttackSuspected { attack, .. } => attack,
            other => panic!("{other:?}"),
        };
        watch.reports().into_iter().map(kind).collect()
    }

    #[test]
    fn one_password_for_many_accounts_is_reported_once() {
        let watch = AttackWatch::default();
        for n in 0..5_000 {
            watch.failed(&format!("a{n}"), b"net", "Summer2026!", Duration::ZERO, START);
        }
        assert_eq!(kinds(&watch), [LoginAttack::CredentialStuffing, LoginAttack::PasswordSpraying]);
        assert!(watch.reports().is_empty());
        assert!(watch.suspicious(LoginAttack::PasswordSpraying) >= 4_980);
        watch.failed("a", b"net", "x", WINDOW, START);
        assert!(watch.reports().is_empty(), "another window");
    }

    #[test]
    fn many_pairs_are_stuffing_and_no_spraying() {
        let watch = AttackWatch::default();
        for n in 0..10_000 {
            watch.failed(&format!("a{n}"), &[1, 2], &format!("p{n}"), Duration::ZERO, START);
        }
        assert_eq!(kinds(&watch), [LoginAttack::CredentialStuffing]);
    }

    #[test]
    fn users_who_mistype_are_no_attack() {
        let watch = AttackWatch::default();
        for n in 0..5_000 {
            watch.succeeded();
            if n % 10 == 0 {
                watch.failed(&format!("a{n}"), &[3], &format!("p{n}"), Duration::ZERO, START);
                watch.failed(&format!("a{n}"), &[3], "123456", Duration::from_secs(n), START);
            }
        }
        assert_eq!(watch.reports().len(), 1, "one password of very many users is suspicious");
        let one = AttackWatch::default();
        for _ in 0..5_000 {
            one.failed("alice", b"net", "wrong", Duration::ZERO, START);
        }
        assert!(one.reports().is_empty(), "one account is protected by its own limit");
    }
}

//! Caches users, so that `/me` keeps answering during a short database outage.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{UserId, UserKey, UserUuid};
use store::queries::user::User;

/// Largest number of cached users; when it is reached, the cache is cleared.
const USERS: usize = 10_000;

/// A bounded cache of users.
#[derive(Debug, Default)]
pub(crate) struct UserCache(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    users: HashMap<UserKey, User>,
    numbers: HashMap<UserUuid, UserId>,
}

impl UserCache {
    pub(crate) fn user(&self, user: UserKey) -> Option<User> {
        self.seen().users.get(&user).cloned()
    }

    pub(crate) fn keep(&self, user: &User) {
        let mut seen = self.seen();
        if seen.users.len() >= USERS {
            seen.users.clear();
        }
        seen.users.insert(user.key(), user.clone());
    }

    pub(crate) fn forget(&self, user: UserKey) {
        self.seen().users.remove(&user);
    }

    pub(crate) fn number_of(&self, uuid: UserUuid) -> Option<UserId> {
        self.seen().numbers.get(&uuid).copied()
    }

    pub(crate) fn number(&self, user: UserKey) {
        let mut seen = self.seen();
        if seen.numbers.len() >= USERS {
            seen.numbers.clear();
        }
        seen.numbers.insert(user.uuid, user.id);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

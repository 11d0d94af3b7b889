//! Caches users, so that `/me` keeps answering during a short database outage.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{UserId, UserUuid};
use store::queries::user::User;

/// Largest number of cached users; when it is reached, the cache is cleared.
const USERS: usize = 10_000;

/// A bounded cache of users.
#[derive(Debug, Default)]
pub(crate) struct UserCache(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    users: HashMap<UserId, User>,
    numbers: HashMap<UserUuid, UserId>,
}

impl UserCache {
    pub(crate) fn user(&self, id: UserId) -> Option<User> {
        self.seen().users.get(&id).cloned()
    }

    pub(crate) fn keep(&self, user: &User) {
        let mut seen = self.seen();
        if seen.users.len() >= USERS {
            seen.users.clear();
        }
        seen.users.insert(user.id, user.clone());
    }

    pub(crate) fn forget(&self, id: UserId) {
        self.seen().users.remove(&id);
    }

    pub(crate) fn number_of(&self, uuid: UserUuid) -> Option<UserId> {
        self.seen().numbers.get(&uuid).copied()
    }

    pub(crate) fn number(&self, uuid: UserUuid, id: UserId) {
        let mut seen = self.seen();
        if seen.numbers.len() >= USERS {
            seen.numbers.clear();
        }
        seen.numbers.insert(uuid, id);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

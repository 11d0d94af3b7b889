//! What the journals of all nodes say about changes that a database restored to an older state may lack.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ClientId, KeyId, Now, SessionId, UserId, UserUuid};

/// Changes that journals name, the newest of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journaled {
    /// Sessions that were ended one by one.
    pub sessions: BTreeSet<SessionId>,
    /// Changes of users.
    pub users: BTreeMap<UserUuid, JournaledUser>,
    /// Signing keys that were removed.
    pub keys: BTreeSet<KeyId>,
    /// Changes of clients.
    pub clients: BTreeMap<ClientId, JournaledClient>,
    /// The highest number of a user.
    pub highest: Option<UserId>,
    /// The highest epoch that a recovery has begun.
    pub epoch: i64,
    /// The highest epoch that a recovery has begun by ending every session; 0 for none.
    pub ended_every_session: i64,
}

/// The newest changes of one client. One that was removed may have been added again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournaledClient {
    /// When it was removed.
    pub removed: Option<Now>,
    /// When it got its secret.
    pub secret: Option<Now>,
}

/// The newest changes of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournaledUser {
    /// Every session that began until then has ended.
    pub ended: Option<Now>,
    /// When the password was changed: the time that the change has written into the credential.
    pub password: Option<Now>,
    /// When the user was activated (true) or deactivated.
    pub active: Option<(Now, bool)>,
    /// When the role was changed, and to which.
    pub role: Option<(Now, String)>,
    /// Whether the account was erased.
    pub erased: bool,
}

impl Journaled {
    /// The changes of this user.
    pub fn user(&mut self, user: UserUuid) -> &mut JournaledUser {
        self.users.entry(user).or_default()
    }

    /// Adds what another journal names; of two changes of one kind the newer one stays.
    pub fn add(&mut self, other: Self) {
        self.sessions.extend(other.sessions);
        self.keys.extend(other.keys);
        self.highest = self.highest.max(other.highest);
        self.epoch = self.epoch.max(other.epoch);
        self.ended_every_session = self.ended_every_session.max(other.ended_every_session);
        for (id, changes) in other.clients {
            let known = self.clients.entry(id).or_default();
            known.removed = known.removed.max(changes.removed);
            known.secret = known.secret.max(changes.secret);
        }
        for (uuid, changes) in other.users {
            let known = self.user(uuid);
            known.ended = known.ended.max(changes.ended);
            known.password = known.password.max(changes.password);
            known.active = known.active.max(changes.active);
            known.role = known.role.take().max(changes.role);
            known.erased |= changes.erased;
        }
    }
}

//! What the journals of all nodes say about changes that a database restored to an older state may lack.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{ClientId, ClientRights, KeyId, Now, SessionId, UserId, UserUuid};

/// Changes that one journal names. Of two changes of one kind in it, the one with the higher sequence is the
/// later one, whatever their times say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journaled {
    /// Sessions that began.
    pub begun: BTreeMap<SessionId, Place>,
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
    /// The highest epoch that a recovery of this realm has begun by ending every session; 0 for none.
    pub ended_every_session: i64,
    /// Other realms that were opened through this journal: some of its records may be theirs.
    pub other_realms: BTreeSet<Uuid>,
    /// Where the clock went back.
    pub set_back: SetBack,
}

/// Where and when a change was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The sequence of the record in its journal.
    pub sequence: u64,
    /// The time of the change, by the clock of then.
    pub at: Now,
}

/// The changes of one client. A client is the one with the time at which it was added: one that was removed
/// may have been added again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournaledClient {
    /// When those that were removed had been added.
    pub removed: BTreeSet<Now>,
    /// The times at which it got its secrets, in the order of the journal.
    pub secrets: Vec<Now>,
    /// Its rights, and when it got them, in the order of the journal.
    pub rights: Vec<(Now, ClientRights)>,
}

/// The latest changes of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournaledUser {
    /// Every session that began until then has ended.
    pub ended: Option<Place>,
    /// The changes of the password in the order of the journal; their times are those that the changes have
    /// written into the credential.
    pub passwords: Vec<Place>,
    /// When the user was activated (true) or deactivated.
    pub active: Option<(Place, bool)>,
    /// When the role was changed, and to which.
    pub role: Option<(Place, String)>,
    /// Whether the account was erased.
    pub erased: bool,
}

impl Journaled {
    /// The changes of this user.
    pub fn user(&mut self, user: UserUuid) -> &mut JournaledUser {
        self.users.entry(user).or_default()
    }
}

/// Where the clock of a journal went back: what was recorded before such a record happened before its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetBack {
    newest: Option<Now>,
    /// Both sequences and times ascend.
    places: Vec<Place>,
}

impl SetBack {
    /// Notes the next record.
    pub fn note(&mut self, record: Place) {
        if Some(record.at) >= self.newest {
            self.newest = Some(record.at);
            return;
        }
        while self.places.last().is_some_and(|last| last.at >= record.at) {
            self.places.pop();
        }
        self.places.push(record);
    }

    /// The time until which a change had happened, at the latest.
    pub fn latest(&self, change: Place) -> Now {
        let later = self.places.iter().find(|place| place.sequence > change.sequence);
        later.map_or(change.at, |place| place.at.min(change.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_before_the_clock_went_back_happened_before_that_time() {
        // Given a clock that is ahead for two records, and a little later for one.
        let place = |sequence: u64, second: i64| Place { sequence, at: Now::from_seconds(second) };
        let records = [place(1, 10), place(2, 900), place(3, 901), place(4, 12), place(5, 50), place(6, 13)];
        let mut set_back = SetBack::default();
        for record in &records {
            set_back.note(*record);
        }

        // Then no change is taken for later than a record behind it.
        let latest: Vec<_> = records.iter().map(|record| set_back.latest(*record).seconds()).collect();
        assert_eq!(latest, [10, 12, 12, 12, 13, 13]);
    }
}

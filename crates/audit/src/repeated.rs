//! Counts events that repeat, so that requests which cost a client nothing neither fill the disk nor hide
//! another client's.
//!
//! In each minute the first events of a network are recorded singly, within a budget in total of which a part
//! is kept for networks that were quiet in the minute before. The others are counted in groups, and a group
//! is recorded as one event when its minute is over.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use model::event::Repetition;
use model::{Actor, Event, Now, Origin};
use protocol::wire::forwarded::client_network;
use runtime::audit::Entry;

const MINUTE: i64 = 60_000_000;
/// Events of one network that are recorded singly in a minute.
const SINGLE: u32 = 10;
/// Events of all networks that are recorded singly in a minute.
const SINGLE_IN_TOTAL: u32 = 600;
/// Logins that could not be decided, which are recorded singly in a minute.
const UNDECIDED: u32 = 600;
/// Groups of a minute. Events beyond them are counted by kind and reason only.
const GROUPS: usize = 1_000;
/// Networks of a minute that are told apart.
const NETWORKS: usize = 10_000;
/// Identifiers of a group that are told apart.
const IDENTIFIERS: usize = 1_000;
/// Identifiers of all groups that are told apart.
const IDENTIFIERS_IN_TOTAL: usize = 20_000;

/// Decides which events are recorded singly, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct RepeatedEvents(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    /// Events of each network so far.
    networks: HashMap<Option<IpAddr>, u32>,
    /// The networks of the minute before.
    before: HashMap<Option<IpAddr>, u32>,
    single: u32,
    undecided: u32,
    identifiers: usize,
    groups: HashMap<Key, Group>,
}

/// What the events of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: &'static str,
    reason: &'static str,
    identifier: Option<String>,
    /// `None` where it is not known, and where networks are not told apart.
    network: Option<IpAddr>,
}

#[derive(Debug)]
struct Group {
    origin: Origin,
    count: u64,
    first: Now,
    last: Now,
    identifiers: HashSet<String>,
}

impl RepeatedEvents {
    /// What to write for this event: the groups whose minute is over, and the event itself unless it is only
    /// counted.
    pub(crate) fn admit(&self, entry: Entry) -> (Vec<Entry>, Option<Entry>) {
        let repetition = entry.event.repetition();
        let (reason, identifier) = match repetition {
            Repetition::Recorded => return (Vec::new(), Some(entry)),
            Repetition::OfNetwork { reason, identifier } => (reason, identifier),
            Repetition::OfIdentifier { reason, identifier }
            | Repetition::Undecided { reason, identifier } => (reason, Some(identifier)),
        };
        let network = entry.origin.address.map(client_network);

        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = minute.turn(entry.at);
        let is_single = match repetition {
            Repetition::Undecided { .. } => {
                minute.undecided += 1;
                minute.undecided <= UNDECIDED
            }
            _ => minute.is_single(network),
        };
        if is_single {
            return (over, Some(entry));
        }

        let is_grouped = matches!(repetition, Repetition::OfIdentifier { .. });
        let key = Key {
            kind: entry.event.kind(),
            reason,
            identifier: identifier.filter(|_| is_grouped).map(str::to_owned),
            network,
        };
        minute.count(key, identifier, &entry);
        (over, None)
    }

    /// The groups whose minute is over at `now`.
    pub(crate) fn over(&self, now: Now) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).turn(now)
    }

    /// All groups, at the end of the process.
    pub(crate) fn all(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Minute {
    /// Begins the minute of `at`, unless it has begun, and returns the groups of the one before.
    fn turn(&mut self, at: Now) -> Vec<Entry> {
        let number = at.micros().div_euclid(MINUTE);
        if number == self.number {
            return Vec::new();
        }
        let over = self.take();
        self.before = std::mem::take(&mut self.networks);
        (self.number, self.single, self.undecided, self.identifiers) = (number, 0, 0, 0);
        over
    }

    fn take(&mut self) -> Vec<Entry> {
        self.groups.drain().map(|(key, group)| group.record(key)).collect()
    }

    /// Whether one more event of the network is recorded singly. A quarter of the total is kept for networks
    /// that were quiet in the minute before.
    fn is_single(&mut self, network: Option<IpAddr>) -> bool {
        let is_new = !self.before.contains_key(&network);
        if self.networks.len() >= NETWORKS && !self.networks.contains_key(&network) {
            return false;
        }
        let events = self.networks.entry(network).or_default();
        *events = events.saturating_add(1);
        let total = if is_new { SINGLE_IN_TOTAL } else { SINGLE_IN_TOTAL / 4 * 3 };
        let is_single = *events <= SINGLE && self.single < total;
        self.single += u32::from(is_single);
        is_single
    }

    fn count(&mut self, mut key: Key, identifier: Option<&str>, entry: &Entry) {
        let is_new = !self.before.contains_key(&key.network);
        let most = if is_new { GROUPS } else { GROUPS / 4 * 3 };
        if self.groups.len() >= most && !self.groups.contains_key(&key) {
            (key.identifier, key.network) = (None, None);
        }
        let new = || Group {
            origin: origin(entry, &key),
            count: 0,
            first: entry.at,
            last: entry.at,
            identifiers: HashSet::new(),
        };
        let group = self.groups.entry(key.clone()).or_insert_with(new);
        group.count += 1;
        group.last = group.last.max(entry.at);
        let has_room = group.identifiers.len() < IDENTIFIERS && self.identifiers < IDENTIFIERS_IN_TOTAL;
        if let Some(identifier) = identifier.filter(|_| has_room) {
            self.identifiers += usize::from(group.identifiers.insert(identifier.to_owned()));
        }
    }
}

/// The origin of a group: that of its first event, without what only that one had.
fn origin(entry: &Entry, key: &Key) -> Origin {
    let address = entry.origin.address.filter(|_| key.network.is_some());
    Origin { channel: entry.origin.channel, actor: Actor::Anonymous, address, ..Origin::default() }
}

impl Group {
    fn record(self, key: Key) -> Entry {
        let event = Event::EventsRepeated {
            of: key.kind,
            reason: key.reason,
            identifier: key.identifier,
            count: self.count,
            identifiers: self.identifiers.len() as u64,
            first: self.first,
            last: self.last,
        };
        Entry { at: self.last, event, origin: self.origin, intent: None }
    }
}

#[cfg(test)]
mod tests {
    use model::event::{LoginMethod, Reason};

    use super::*;

    fn failed(at: i64, address: &str, name: &str, reason: Reason) -> Entry {
        let event = Event::LoginFailed {
            user: None,
            identifier: name.to_owned(),
            reason,
            method: LoginMethod::Password,
        };
        let origin = Origin { address: Some(address.parse().unwrap()), ..Origin::http() };
        Entry { at: Now::from_seconds(at), event, origin, intent: None }
    }

    fn repeated(entry: &Entry) -> (u64, u64, Option<&str>) {
        match &entry.event {
            Event::EventsRepeated { count, identifiers, identifier, .. } => {
                (*count, *identifiers, identifier.as_deref())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ten_of_a_network_are_recorded_in_a_minute_and_the_others_are_counted() {
        let events = RepeatedEvents::default();
        let singles = (0..1_000).filter(|n| {
            let entry = failed(60, "192.0.2.1", &format!("n{}", n % 7), Reason::UnknownUser);
            events.admit(entry).1.is_some()
        });
        assert_eq!(singles.count(), 10);
        assert!(
            events.admit(failed(119, "192.0.2.2", "a", Reason::UnknownUser)).1.is_some(),
            "another network"
        );

        let (over, _) = events.admit(failed(120, "192.0.2.1", "a", Reason::UnknownUser));
        assert_eq!(over.len(), 1);
        assert_eq!(repeated(&over[0]), (990, 7, None));
        assert_eq!(over[0].origin.address, Some("192.0.2.1".parse().unwrap()));
        assert!(events.over(Now::from_seconds(180)).is_empty());
    }

    #[test]
    fn refusals_by_a_limit_are_counted_by_identifier() {
        let events = RepeatedEvents::default();
        for n in 0..30 {
            events.admit(failed(60, "192.0.2.1", if n % 2 == 0 { "a" } else { "b" }, Reason::Limited));
        }
        let mut over: Vec<_> = events.all();
        over.sort_by_key(|entry| repeated(entry).2.map(str::to_owned));
        assert_eq!(over.iter().map(repeated).collect::<Vec<_>>(), [(10, 1, Some("a")), (10, 1, Some("b"))]);
    }

    #[test]
    fn a_flood_from_many_networks_leaves_room_for_new_ones() {
        let events = RepeatedEvents::default();
        let mut written = 0;
        for minute in 1..=3 {
            for n in 0..200_000_u32 {
                let address = format!("10.0.{}.{}", n % 8_000 / 250, n % 250);
                let (over, single) = events.admit(failed(minute * 60, &address, "a", Reason::UnknownUser));
                written += over.len() + usize::from(single.is_some());
            }
        }
        assert!(written <= 3 * (600 + 1_002), "{written}");
        let probe = events.admit(failed(180, "192.0.2.1", "victim", Reason::UnknownUser)).1;
        assert!(probe.is_some(), "a network that was quiet is seen");
    }

    #[test]
    fn what_happened_to_a_user_is_never_counted_only() {
        let events = RepeatedEvents::default();
        for _ in 0..5_000 {
            let mut entry = failed(60, "192.0.2.1", "a", Reason::WrongPassword);
            if let Event::LoginFailed { user, .. } = &mut entry.event {
                *user = Some(model::UserUuid(uuid::Uuid::from_u128(1)));
            }
            assert!(events.admit(entry).1.is_some());
        }
        let undecided =
            (0..5_000).filter(|_| events.admit(failed(60, "192.0.2.1", "a", Reason::Overloaded)).1.is_some());
        assert_eq!(undecided.count(), 600);
    }
}

//! The queue of passwords to hash.
//!
//! Jobs are served by priority: logins, then registrations, then background work. Within a priority they are
//! served first come, first served, with a one-second penalty for each job that the same requester already
//! has waiting. A requester with many jobs therefore waits for their own, and a single login from another
//! address overtakes most of them. Only waiting jobs count, never served ones, which also bounds the memory.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use protocol::wire::forwarded::network;

/// Why a password is hashed, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// A login waits for it.
    Login,
    /// A registration waits for it.
    Registration,
    /// No caller waits for it.
    Background,
}

/// The requester used for fair queueing: client address and account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The client's address, where there is a client.
    pub address: Option<IpAddr>,
    /// A stable identifier of the account, the same for each attempt.
    pub account: Option<String>,
}

/// The penalty for each waiting job of the same requester.
const STEP: Duration = Duration::from_secs(1);
/// Most penalties for waiting jobs of the same account: an attacker who tries an account must not lock out
/// its owner, who comes from another address.
const ACCOUNT_STEPS: u32 = 2;
/// This many jobs of one IPv6 site (a /48 with 65,536 networks) count as one penalty of the requester's own
/// network.
pub(crate) const SITE_SHARE: u32 = 16;

/// A position in the queue; the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    purpose: Priority,
    at: Duration,
    sequence: u64,
}

/// The number of waiting jobs per key.
#[derive(Debug)]
struct Tally<K>(HashMap<K, u32>);

impl<K: Clone + Eq + Hash> Tally<K> {
    /// Adds a job and returns how many waited before it.
    fn add(&mut self, key: &K) -> u32 {
        let count = self.0.entry(key.clone()).or_insert(0);
        *count += 1;
        *count - 1
    }

    fn take_away(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

/// Jobs by class (the unit of batching) and position.
#[derive(Debug)]
pub(crate) struct Queue<C, J> {
    classes: HashMap<C, BTreeMap<Turn, Entry<J>>>,
    networks: Tally<IpAddr>,
    /// The latest position of each network with waiting jobs.
    last: HashMap<IpAddr, Duration>,
    sites: Tally<IpAddr>,
    accounts: Tally<String>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<J> {
    job: J,
    requester: Requester,
}

impl<C: Clone + Eq + Hash, J> Queue<C, J> {
    pub(crate) fn new() -> Self {
        let networks = Tally(HashMap::new());
        let sites = Tally(HashMap::new());
        let accounts = Tally(HashMap::new());
        let last = HashMap::new();
        Self { classes: HashMap::new(), networks, last, sites, accounts, sequence: 0 }
    }

    /// The number of waiting jobs.
    pub(crate) fn len(&self) -> usize {
        self.classes.values().map(BTreeMap::len).sum()
    }

    /// The number of waiting jobs of each class.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&C, usize)> {
        self.classes.iter().map(|(class, jobs)| (class, jobs.len()))
    }

    /// Inserts a job at its position; `now` is the time since the queue was created.
    pub(crate) fn push(
        &mut self,
        now: Duration,
        purpose: Priority,
        requester: Requester,
        class: C,
        job: J,
    ) -> Turn {
        let mut penalty = Duration::ZERO;
        if let Some(address) = requester.address {
            penalty += STEP * self.networks.add(&network(address, 64));
            if address.to_canonical().is_ipv6() {
                penalty += STEP * self.sites.add(&network(address, 48)) / SITE_SHARE;
            }
        }
        if let Some(account) = &requester.account {
            penalty += STEP * self.accounts.add(account).min(ACCOUNT_STEPS);
        }

        self.sequence += 1;
        let mut at = now + penalty;
        if let Some(address) = requester.address {
            // Jobs of one network are served in the order in which they arrived.
            let last = self.last.entry(network(address, 64)).or_insert(at);
            at = at.max(*last);
            *last = at;
        }

        let turn = Turn { purpose, at, sequence: self.sequence };
        self.classes.entry(class).or_default().insert(turn, Entry { job, requester });
        turn
    }

    /// Removes a job if it still waits.
    pub(crate) fn remove(&mut self, class: &C, turn: Turn) -> Option<J> {
        let jobs = self.classes.get_mut(class)?;
        let entry = jobs.remove(&turn)?;
        if jobs.is_empty() {
            self.classes.remove(class);
        }
        Some(self.leave(entry))
    }

    fn leave(&mut self, entry: Entry<J>) -> J {
        if let Some(address) = entry.requester.address {
            let own = network(address, 64);
            self.networks.take_away(&own);
            if !self.networks.0.contains_key(&own) {
                self.last.remove(&own);
            }
            if address.to_canonical().is_ipv6() {
                self.sites.take_away(&network(address, 48));
            }
        }
        if let Some(account) = &entry.requester.account {
            self.accounts.take_away(account);
        }
        entry.job
    }

    /// Removes the job that would be served last.
    pub(crate) fn pop_last(&mut self) -> Option<(C, Turn, J)> {
        let lasts = self.classes.iter().filter_map(|(class, jobs)| Some((*jobs.keys().next_back()?, class)));
        let (turn, class) = lasts.max_by_key(|(turn, _)| *turn)?;
        let class = class.clone();
        let job = self.remove(&class, turn)?;
        Some((class, turn, job))
    }

    /// Takes the next job together with the following ones of its class: at most `most(class, waiting)` jobs.
    pub(crate) fn take(&mut self, most: impl FnOnce(&C, usize) -> usize) -> Option<(C, Vec<J>)> {
        let firsts = self.classes.iter().filter_map(|(class, jobs)| Some((*jobs.keys().next()?, class)));
        let (_, class) = firsts.min_by_key(|(turn, _)| *turn)?;
        let class = class.clone();
        let jobs = self.classes.get_mut(&class)?;
        let most = most(&class, jobs.len()).max(1);
        let mut taken = Vec::with_capacity(most.min(jobs.len()));
        while taken.len() < most
            && let Some((_, entry)) = jobs.pop_first()
        {
            taken.push(entry);
        }
        if jobs.is_empty() {
            self.classes.remove(&class);
        }
        Some((class, taken.into_iter().map(|entry| self.leave(entry)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const NOON: Duration = Duration::from_hours(12);

    fn from(address: u8, account: &str) -> Requester {
        Requester { address: Some([192, 0, 2, address].into()), account: Some(account.to_owned()) }
    }

    fn all(queue: &mut Queue<&'static str, String>, most: usize) -> Vec<String> {
        let mut order = Vec::new();
        while let Some((_, jobs)) = queue.take(|_, _| most) {
            order.push(jobs.join(" "));
        }
        order
    }

    #[test]
    fn one_login_of_another_address_overtakes_most_of_500() {
        let mut queue = Queue::new();
        for number in 0..500 {
            let requester = from(1, &format!("account {number}"));
            queue.push(NOON, Priority::Login, requester, "bcrypt", format!("a{number}"));
        }
        // One batch has started when the other login arrives.
        assert_eq!(queue.take(|_, _| 4).unwrap().1, ["a0", "a1", "a2", "a3"]);
        queue.push(NOON, Priority::Login, from(2, "other"), "bcrypt", "other".to_owned());
        let (_, next) = queue.take(|_, _| 4).unwrap();
        assert!(next.contains(&"other".to_owned()), "{next:?}");
    }

    #[test]
    fn an_attack_on_an_account_from_one_address_does_not_delay_its_owner() {
        let mut queue = Queue::new();
        for number in 0..500 {
            queue.push(NOON, Priority::Login, from(1, "victim"), "bcrypt", format!("a{number}"));
        }
        queue.take(|_, _| 4).unwrap();
        for login in 0..5 {
            queue.push(NOON, Priority::Login, from(2, "victim"), "bcrypt", format!("owner {login}"));
            let (_, next) = queue.take(|_, _| 4).unwrap();
            assert!(next.contains(&format!("owner {login}")), "{next:?}");
        }
    }

    #[test]
    fn an_account_that_500_addresses_try_does_not_delay_another() {
        let mut queue = Queue::new();
        for number in 0..250_u8 {
            queue.push(NOON, Priority::Login, from(number, "victim"), "bcrypt", format!("v{number}"));
        }
        queue.take(|_, _| 1).unwrap();
        queue.push(NOON, Priority::Login, from(251, "other"), "bcrypt", "other".to_owned());
        assert_eq!(queue.take(|_, _| 1).unwrap().1, ["other"]);
    }

    #[test]
    fn an_ipv6_client_is_identified_by_its_64_network() {
        let network = |address: &str| network(address.parse().unwrap(), 64);
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:0:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
    }

    #[test]
    fn logins_come_before_registrations_before_rehashes() {
        let mut queue = Queue::new();
        for (purpose, name) in [
            (Priority::Background, "rehash"),
            (Priority::Registration, "register"),
            (Priority::Login, "login"),
        ] {
            queue.push(NOON, purpose, Requester::default(), "argon2", name.to_owned());
        }
        assert_eq!(queue.pop_last().unwrap().2, "rehash");
        queue.push(NOON, Priority::Background, Requester::default(), "argon2", "rehash".to_owned());
        assert_eq!(all(&mut queue, 1), ["login", "register", "rehash"]);
    }

    #[test]
    fn jobs_of_one_class_are_taken_together_and_do_not_delay_other_classes() {
        let mut queue = Queue::new();
        for (class, name) in
            [("bcrypt", "b1"), ("argon2", "a1"), ("bcrypt", "b2"), ("argon2", "a2"), ("bcrypt", "b3")]
        {
            queue.push(NOON, Priority::Login, Requester::default(), class, name.to_owned());
        }
        assert_eq!(queue.len(), 5);
        assert_eq!(all(&mut queue, 2), ["b1 b2", "a1 a2", "b3"]);
        assert_eq!((queue.len(), queue.waiting().count()), (0, 0));
    }

    #[test]
    fn a_removed_job_is_not_served() {
        let mut queue = Queue::new();
        let turn = queue.push(NOON, Priority::Login, from(1, "x"), "bcrypt", "one".to_owned());
        assert_eq!(queue.remove(&"bcrypt", turn).as_deref(), Some("one"));
        assert_eq!(queue.remove(&"bcrypt", turn), None);
        assert!(queue.take(|_, _| 1).is_none() && queue.pop_last().is_none());
    }

    /// 64 clients of one address, each of which returns as soon as it is served.
    #[test]
    fn clients_of_one_address_are_served_in_the_order_of_their_arrival() {
        let mut queue = Queue::new();
        let mut number = 0_u32;
        let mut arrive = |queue: &mut Queue<&str, u32>, now| {
            number += 1;
            queue.push(now, Priority::Login, from(1, &number.to_string()), "bcrypt", number);
        };
        for _ in 0..64 {
            arrive(&mut queue, NOON);
        }
        let mut served = Vec::new();
        for batch in 0..60_u32 {
            let (_, jobs) = queue.take(|_, _| 6).unwrap();
            served.extend(jobs);
            for _ in 0..6 {
                arrive(&mut queue, NOON + batch * Duration::from_millis(130));
            }
        }
        assert!(served.is_sorted(), "{served:?}");
    }

    #[test]
    fn requesters_without_waiting_jobs_leave_no_state() {
        let mut queue = Queue::new();
        for number in 0..5000_u32 {
            let address = Some(Ipv6Addr::from_bits(u128::from(number) << 64).into());
            let account = Some(format!("account {number}"));
            let turn = queue.push(NOON, Priority::Login, Requester { address, account }, "argon2", number);
            if number % 2 == 0 {
                queue.remove(&"argon2", turn).unwrap();
            }
        }
        while queue.take(|_, _| 7).is_some() {}
        assert_eq!((queue.networks.0.len(), queue.sites.0.len(), queue.accounts.0.len()), (0, 0, 0));
        assert!(queue.last.is_empty());
    }

    /// Slightly more work than capacity, each job from a different address, and one address with a login per
    /// second.
    #[test]
    fn a_returning_address_is_served_beside_many_new_ones() {
        let (capacity, deadline) = (100, Duration::from_secs(5));
        let mut queue = Queue::new();
        let (mut served, mut next) = (0, 0_u32);
        for tick in 0..60_u64 {
            let now = Duration::from_secs(tick);
            for arrival in 0..capacity + 10 {
                next += 1;
                let address = Some(std::net::Ipv4Addr::from(next).into());
                queue.push(now, Priority::Login, Requester { address, account: None }, "argon2", false);
                // At a different position each time.
                if arrival == usize::try_from(tick * 37).unwrap() % capacity {
                    let office = Requester { address: Some([203, 0, 113, 1].into()), account: None };
                    queue.push(now, Priority::Login, office, "argon2", true);
                }
            }
            while queue.len() > capacity * usize::try_from(deadline.as_secs()).unwrap() {
                queue.pop_last();
            }
            for _ in 0..capacity {
                served += usize::from(queue.take(|_, _| 1).is_some_and(|(_, jobs)| jobs[0]));
            }
        }
        assert!(served > 30, "{served} of 60");
    }

    #[test]
    fn many_networks_of_one_ipv6_site_share_penalties() {
        let mut queue = Queue::new();
        let site = |number: u128| Requester {
            address: Some(Ipv6Addr::from_bits((0x2001_0db8_0001_u128 << 80) | (number << 64)).into()),
            account: None,
        };
        for number in 0..400 {
            queue.push(NOON, Priority::Login, site(number), "bcrypt", "site".to_owned());
        }
        queue.take(|_, _| 16).unwrap();
        let later = NOON + Duration::from_secs(1);
        queue.push(later, Priority::Login, from(2, "other"), "bcrypt", "other".to_owned());
        let (_, next) = queue.take(|_, _| 8).unwrap();
        assert!(next.contains(&"other".to_owned()), "{next:?}");
    }
}

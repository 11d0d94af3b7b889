//! What waits to be hashed, and who is next.
//!
//! Purposes come one after the other: logins before registrations before rehashes. Within a purpose the order is
//! that of start-time fair queueing (Goyal, Vin and Cheng, 1996), over two kinds of flows at once: a job begins, in
//! virtual time, when both its client's address and its account have had what they asked for before. So whoever asks
//! for much waits for himself, and one login of somebody else goes ahead of the rest of his.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

/// Why a password is hashed, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Somebody with an account waits for it.
    Login,
    /// Somebody who wants an account waits for it.
    Registration,
    /// Nobody waits for it.
    Background,
}

/// Who asks: what turns are fair between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// The client's address, where there is a client.
    pub address: Option<IpAddr>,
    /// What stands for the account: the same for each attempt at it.
    pub account: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Flow {
    Address(IpAddr),
    Account(String),
}

impl Asker {
    /// Its flows. An IPv6 address counts by its /64, as in the rate limits: whoever has one has all of it.
    fn flows(self) -> impl Iterator<Item = Flow> {
        let address = self.address.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            v4 @ IpAddr::V4(_) => v4,
        });
        address.map(Flow::Address).into_iter().chain(self.account.map(Flow::Account))
    }
}

/// A place in the queue. The smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    purpose: Purpose,
    /// Virtual time, in microseconds of hashing.
    start: u64,
    sequence: u64,
}

/// Virtual time of one purpose, and until when it has been given to each flow.
#[derive(Debug, Default)]
struct Fairness {
    now: u64,
    given: HashMap<Flow, u64>,
}

impl Fairness {
    /// Flows that are remembered before those whose time has passed are forgotten.
    const FLOWS: usize = 4096;

    fn start(&mut self, flows: &[Flow], micros: u64) -> u64 {
        if self.given.len() > Self::FLOWS {
            self.given.retain(|_, until| *until > self.now);
        }
        let given = flows.iter().filter_map(|flow| self.given.get(flow).copied());
        let start = given.max().unwrap_or(0).max(self.now);
        self.given.extend(flows.iter().map(|flow| (flow.clone(), start.saturating_add(micros))));
        start
    }

    /// Time that was given and not used.
    fn give_back(&mut self, flows: &[Flow], micros: u64) {
        for flow in flows {
            if let Some(until) = self.given.get_mut(flow) {
                *until = until.saturating_sub(micros);
            }
        }
    }
}

/// Jobs by class (what is computed together) and turn.
#[derive(Debug)]
pub(super) struct Queue<C, J> {
    classes: HashMap<C, BTreeMap<Turn, Place<J>>>,
    logins: Fairness,
    registrations: Fairness,
    background: Fairness,
    sequence: u64,
}

#[derive(Debug)]
struct Place<J> {
    job: J,
    flows: Vec<Flow>,
    micros: u64,
}

impl<C: Clone + Eq + Hash, J> Queue<C, J> {
    pub(super) fn new() -> Self {
        let fair = Fairness::default;
        Self {
            classes: HashMap::new(),
            logins: fair(),
            registrations: fair(),
            background: fair(),
            sequence: 0,
        }
    }

    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        self.classes.values().map(BTreeMap::len).sum()
    }

    /// How many jobs of each class wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&C, usize)> {
        self.classes.iter().map(|(class, jobs)| (class, jobs.len()))
    }

    /// Puts a job in its place; `micros` is what it will take, in microseconds of a thread.
    pub(super) fn push(&mut self, purpose: Purpose, asker: Asker, class: C, micros: u64, job: J) -> Turn {
        let flows: Vec<_> = asker.flows().collect();
        self.sequence += 1;
        let start = self.fairness(purpose).start(&flows, micros);
        let turn = Turn { purpose, start, sequence: self.sequence };
        self.classes.entry(class).or_default().insert(turn, Place { job, flows, micros });
        turn
    }

    /// Takes a job out of the queue, if it still waits; its time is given back to whoever asked for it.
    pub(super) fn remove(&mut self, class: &C, turn: Turn) -> Option<J> {
        let jobs = self.classes.get_mut(class)?;
        let place = jobs.remove(&turn)?;
        if jobs.is_empty() {
            self.classes.remove(class);
        }
        self.fairness(turn.purpose).give_back(&place.flows, place.micros);
        Some(place.job)
    }

    fn fairness(&mut self, purpose: Purpose) -> &mut Fairness {
        match purpose {
            Purpose::Login => &mut self.logins,
            Purpose::Registration => &mut self.registrations,
            Purpose::Background => &mut self.background,
        }
    }

    /// Takes out whichever job would be served last.
    pub(super) fn pop_last(&mut self) -> Option<(Turn, J)> {
        let lasts = self.classes.iter().filter_map(|(class, jobs)| Some((*jobs.keys().next_back()?, class)));
        let (turn, class) = lasts.max_by_key(|(turn, _)| *turn)?;
        let class = class.clone();
        Some((turn, self.remove(&class, turn)?))
    }

    /// Takes the next job and, with it, the next ones of its class: as many as `most` says of a class and of how many
    /// of it wait.
    pub(super) fn take(&mut self, most: impl FnOnce(&C, usize) -> usize) -> Option<(C, Vec<J>)> {
        let firsts = self.classes.iter().filter_map(|(class, jobs)| Some((*jobs.keys().next()?, class)));
        let (first, class) = firsts.min_by_key(|(turn, _)| *turn)?;
        let class = class.clone();
        let jobs = self.classes.get_mut(&class)?;
        let most = most(&class, jobs.len()).max(1);
        let mut taken = Vec::with_capacity(most.min(jobs.len()));
        while taken.len() < most
            && let Some((_, place)) = jobs.pop_first()
        {
            taken.push(place.job);
        }
        if jobs.is_empty() {
            self.classes.remove(&class);
        }
        let fairness = self.fairness(first.purpose);
        fairness.now = fairness.now.max(first.start);
        Some((class, taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: u8, account: &str) -> Asker {
        Asker { address: Some([192, 0, 2, address].into()), account: Some(account.to_owned()) }
    }

    fn all(queue: &mut Queue<&'static str, String>, most: usize) -> Vec<String> {
        let mut order = Vec::new();
        while let Some((_, jobs)) = queue.take(|_, _| most) {
            order.push(jobs.join(" "));
        }
        order
    }

    #[test]
    fn one_login_of_another_address_goes_ahead_of_the_rest_of_500() {
        let mut queue = Queue::new();
        for number in 0..500 {
            let asker = from(1, &format!("account {number}"));
            queue.push(Purpose::Login, asker, "bcrypt", 1000, format!("a{number}"));
        }
        // One batch is under way when the other comes.
        assert_eq!(queue.take(|_, _| 4).unwrap().1, ["a0", "a1", "a2", "a3"]);
        queue.push(Purpose::Login, from(2, "mine"), "bcrypt", 1000, "mine".to_owned());
        let (_, next) = queue.take(|_, _| 4).unwrap();
        assert!(next.contains(&"mine".to_owned()), "{next:?}");
    }

    #[test]
    fn an_account_that_500_addresses_try_does_not_delay_another() {
        let mut queue = Queue::new();
        for number in 0..250_u8 {
            queue.push(Purpose::Login, from(number, "victim"), "bcrypt", 1000, format!("v{number}"));
        }
        queue.take(|_, _| 1).unwrap();
        queue.push(Purpose::Login, from(251, "other"), "bcrypt", 1000, "other".to_owned());
        assert_eq!(queue.take(|_, _| 1).unwrap().1, ["other"]);
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        let asker = |address: &str| Asker { address: address.parse().ok(), account: None };
        let flow = |address| asker(address).flows().next().unwrap();
        assert_eq!(flow("2001:db8::1"), flow("2001:db8::ffff:0:0:2"));
        assert_ne!(flow("2001:db8::1"), flow("2001:db8:0:1::1"));
        assert_eq!(flow("::ffff:192.0.2.7"), flow("192.0.2.7"));
        assert_eq!(Asker::default().flows().count(), 0);
    }

    #[test]
    fn logins_come_before_registrations_before_rehashes() {
        let mut queue = Queue::new();
        for (purpose, name) in
            [(Purpose::Background, "rehash"), (Purpose::Registration, "register"), (Purpose::Login, "login")]
        {
            queue.push(purpose, Asker::default(), "argon2", 1, name.to_owned());
        }
        assert_eq!(queue.pop_last().unwrap().1, "rehash");
        queue.push(Purpose::Background, Asker::default(), "argon2", 1, "rehash".to_owned());
        assert_eq!(all(&mut queue, 1), ["login", "register", "rehash"]);
    }

    #[test]
    fn one_class_is_taken_together_and_none_waits_for_it() {
        let mut queue = Queue::new();
        for (class, name) in
            [("bcrypt", "b1"), ("argon2", "a1"), ("bcrypt", "b2"), ("argon2", "a2"), ("bcrypt", "b3")]
        {
            queue.push(Purpose::Login, Asker::default(), class, 1, name.to_owned());
        }
        assert_eq!(queue.len(), 5);
        assert_eq!(all(&mut queue, 2), ["b1 b2", "a1 a2", "b3"]);
        assert_eq!((queue.len(), queue.waiting().count()), (0, 0));
    }

    #[test]
    fn time_that_was_not_used_is_given_back() {
        let mut queue = Queue::new();
        let turns: Vec<_> = (0..100)
            .map(|n| queue.push(Purpose::Login, from(1, "x"), "bcrypt", 1000, format!("first {n}")))
            .collect();
        for turn in turns {
            queue.remove(&"bcrypt", turn).unwrap();
        }
        queue.push(Purpose::Login, from(1, "x"), "bcrypt", 1000, "again".to_owned());
        queue.push(Purpose::Login, from(2, "y"), "bcrypt", 1000, "other".to_owned());
        assert_eq!(all(&mut queue, 1), ["again", "other"]);
    }

    #[test]
    fn whoever_leaves_is_out_of_the_queue() {
        let mut queue = Queue::new();
        let turn = queue.push(Purpose::Login, from(1, "x"), "bcrypt", 1, "one".to_owned());
        assert_eq!(queue.remove(&"bcrypt", turn).as_deref(), Some("one"));
        assert_eq!(queue.remove(&"bcrypt", turn), None);
        assert!(queue.take(|_, _| 1).is_none() && queue.pop_last().is_none());
    }

    #[test]
    fn the_memory_of_flows_is_bounded() {
        let mut queue = Queue::new();
        for number in 0..20_000_u32 {
            let asker = Asker { address: Some(std::net::Ipv4Addr::from(number).into()), account: None };
            queue.push(Purpose::Login, asker, "argon2", 1, number);
            queue.take(|_, _| 1).unwrap();
        }
        // All of these begin at one time, so each but the last has had its turn once time moves on.
        queue.push(Purpose::Login, from(1, "x"), "argon2", 1, 0);
        queue.push(Purpose::Login, from(1, "x"), "argon2", 1, 1);
        queue.take(|_, _| 1).unwrap();
        queue.take(|_, _| 1).unwrap();
        queue.push(Purpose::Login, from(1, "x"), "argon2", 1, 2);
        assert!(queue.logins.given.len() <= Fairness::FLOWS, "{}", queue.logins.given.len());
    }
}

//! What waits to be hashed, and who is next.
//!
//! Purposes come one after the other: logins before registrations before what nobody waits for. Within a purpose
//! everybody has his turn by when he came, put back by a second for each job of his own that waits already. So whoever
//! asks for much waits for himself, one login from another address goes ahead of the rest of his, and nobody is put
//! back for what he was given before: only what waits counts, which bounds the memory as well.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Why a password is hashed, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody with an account waits for it.
    Login,
    /// Somebody who wants an account waits for it.
    Registration,
    /// Nobody waits for it.
    Background,
}

/// Who asks: what turns are fair between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The client's address, where there is a client.
    pub address: Option<IpAddr>,
    /// What stands for the account: the same for each attempt at it.
    pub account: Option<String>,
}

/// How far each job of one's own that waits puts one back.
const STEP: Duration = Duration::from_secs(1);
/// Jobs for the same account put one back by so many steps at most: a stranger who tries an account must not keep its
/// owner, who comes from elsewhere, out.
const ACCOUNT_STEPS: u32 = 2;
/// So many jobs of one IPv6 site (a /48, which has 65,536 networks) put one back as far as one of the own network.
const SITE_SHARE: u32 = 16;

/// An IPv4 address, or an IPv6 network of this many bits: whoever has an address there has all of it.
fn network(address: IpAddr, bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> (128 - bits) << (128 - bits)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A place in the queue. The smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    purpose: Priority,
    at: Duration,
    sequence: u64,
}

/// How many jobs of each asker wait.
#[derive(Debug)]
struct Tally<K>(HashMap<K, u32>);

impl<K: Clone + Eq + Hash> Tally<K> {
    /// Those that waited before this one.
    fn add(&mut self, who: &K) -> u32 {
        let count = self.0.entry(who.clone()).or_insert(0);
        *count += 1;
        *count - 1
    }

    fn take_away(&mut self, who: &K) {
        if let Some(count) = self.0.get_mut(who) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(who);
            }
        }
    }
}

/// Jobs by class (what is computed together) and turn.
#[derive(Debug)]
pub(crate) struct Queue<C, J> {
    classes: HashMap<C, BTreeMap<Turn, Place<J>>>,
    networks: Tally<IpAddr>,
    /// The last turn of each network that waits.
    last: HashMap<IpAddr, Duration>,
    sites: Tally<IpAddr>,
    accounts: Tally<String>,
    sequence: u64,
}

#[derive(Debug)]
struct Place<J> {
    job: J,
    requester: Requester,
}

impl<C: Clone + Eq + Hash, J> Queue<C, J> {
    pub(crate) fn new() -> Self {
        let (networks, sites, accounts) =
            (Tally(HashMap::new()), Tally(HashMap::new()), Tally(HashMap::new()));
        let last = HashMap::new();
        Self { classes: HashMap::new(), networks, last, sites, accounts, sequence: 0 }
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.classes.values().map(BTreeMap::len).sum()
    }

    /// How many jobs of each class wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&C, usize)> {
        self.classes.iter().map(|(class, jobs)| (class, jobs.len()))
    }

    /// Puts a job in its place; `now` is the time since the queue was made.
    pub(crate) fn push(
        &mut self,
        now: Duration,
        purpose: Priority,
        requester: Requester,
        class: C,
        job: J,
    ) -> Turn {
        let mut back = Duration::ZERO;
        if let Some(address) = requester.address {
            back += STEP * self.networks.add(&network(address, 64));
            if address.to_canonical().is_ipv6() {
                back += STEP * self.sites.add(&network(address, 48)) / SITE_SHARE;
            }
        }
        if let Some(account) = &requester.account {
            back += STEP * self.accounts.add(account).min(ACCOUNT_STEPS);
        }
        self.sequence += 1;
        let mut at = now + back;
        if let Some(address) = requester.address {
            // Nobody overtakes those of his own network who came before him.
            let last = self.last.entry(network(address, 64)).or_insert(at);
            at = at.max(*last);
            *last = at;
        }
        let turn = Turn { purpose, at, sequence: self.sequence };
        self.classes.entry(class).or_default().insert(turn, Place { job, requester });
        turn
    }

    /// Takes a job out of the queue, if it still waits.
    pub(crate) fn remove(&mut self, class: &C, turn: Turn) -> Option<J> {
        let jobs = self.classes.get_mut(class)?;
        let place = jobs.remove(&turn)?;
        if jobs.is_empty() {
            self.classes.remove(class);
        }
        Some(self.leave(place))
    }

    fn leave(&mut self, place: Place<J>) -> J {
        if let Some(address) = place.requester.address {
            let own = network(address, 64);
            self.networks.take_away(&own);
            if !self.networks.0.contains_key(&own) {
                self.last.remove(&own);
            }
            if address.to_canonical().is_ipv6() {
                self.sites.take_away(&network(address, 48));
            }
        }
        if let Some(account) = &place.requester.account {
            self.accounts.take_away(account);
        }
        place.job
    }

    /// Takes out whichever job would be served last.
    pub(crate) fn pop_last(&mut self) -> Option<(C, Turn, J)> {
        let lasts = self.classes.iter().filter_map(|(class, jobs)| Some((*jobs.keys().next_back()?, class)));
        let (turn, class) = lasts.max_by_key(|(turn, _)| *turn)?;
        let class = class.clone();
        let job = self.remove(&class, turn)?;
        Some((class, turn, job))
    }

    /// Takes the next job and, with it, the next ones of its class: as many as `most` says of a class and of how many
    /// of it wait.
    pub(crate) fn take(&mut self, most: impl FnOnce(&C, usize) -> usize) -> Option<(C, Vec<J>)> {
        let firsts = self.classes.iter().filter_map(|(class, jobs)| Some((*jobs.keys().next()?, class)));
        let (_, class) = firsts.min_by_key(|(turn, _)| *turn)?;
        let class = class.clone();
        let jobs = self.classes.get_mut(&class)?;
        let most = most(&class, jobs.len()).max(1);
        let mut taken = Vec::with_capacity(most.min(jobs.len()));
        while taken.len() < most
            && let Some((_, place)) = jobs.pop_first()
        {
            taken.push(place);
        }
        if jobs.is_empty() {
            self.classes.remove(&class);
        }
        Some((class, taken.into_iter().map(|place| self.leave(place)).collect()))
    }
}

#[cfg(test)]
mod tests {
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
    fn one_login_of_another_address_goes_ahead_of_the_rest_of_500() {
        let mut queue = Queue::new();
        for number in 0..500 {
            let requester = from(1, &format!("account {number}"));
            queue.push(NOON, Priority::Login, requester, "bcrypt", format!("a{number}"));
        }
        // One batch is under way when the other comes.
        assert_eq!(queue.take(|_, _| 4).unwrap().1, ["a0", "a1", "a2", "a3"]);
        queue.push(NOON, Priority::Login, from(2, "mine"), "bcrypt", "mine".to_owned());
        let (_, next) = queue.take(|_, _| 4).unwrap();
        assert!(next.contains(&"mine".to_owned()), "{next:?}");
    }

    #[test]
    fn whoever_is_attacked_from_one_address_is_not_delayed_at_his_own() {
        let mut queue = Queue::new();
        for number in 0..500 {
            queue.push(NOON, Priority::Login, from(1, "victim"), "bcrypt", format!("a{number}"));
        }
        queue.take(|_, _| 4).unwrap();
        for login in 0..5 {
            queue.push(NOON, Priority::Login, from(2, "victim"), "bcrypt", format!("mine {login}"));
            let (_, next) = queue.take(|_, _| 4).unwrap();
            assert!(next.contains(&format!("mine {login}")), "{next:?}");
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
    fn an_ipv6_client_is_its_64() {
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
    fn one_class_is_taken_together_and_none_waits_for_it() {
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
    fn whoever_leaves_is_out_of_the_queue() {
        let mut queue = Queue::new();
        let turn = queue.push(NOON, Priority::Login, from(1, "x"), "bcrypt", "one".to_owned());
        assert_eq!(queue.remove(&"bcrypt", turn).as_deref(), Some("one"));
        assert_eq!(queue.remove(&"bcrypt", turn), None);
        assert!(queue.take(|_, _| 1).is_none() && queue.pop_last().is_none());
    }

    /// 64 clients of one address, each of which comes again as soon as it was served.
    #[test]
    fn those_of_one_address_are_served_in_the_order_in_which_they_came() {
        let mut queue = Queue::new();
        let mut number = 0_u32;
        let mut come = |queue: &mut Queue<&str, u32>, now| {
            number += 1;
            queue.push(now, Priority::Login, from(1, &number.to_string()), "bcrypt", number);
        };
        for _ in 0..64 {
            come(&mut queue, NOON);
        }
        let mut served = Vec::new();
        for batch in 0..60_u32 {
            let (_, jobs) = queue.take(|_, _| 6).unwrap();
            served.extend(jobs);
            for _ in 0..6 {
                come(&mut queue, NOON + batch * Duration::from_millis(130));
            }
        }
        assert!(served.is_sorted(), "{served:?}");
    }

    #[test]
    fn nothing_is_remembered_of_those_who_do_not_wait() {
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

    /// A little more work than can be done, each from an address of its own, and one address with a login a second.
    #[test]
    fn an_address_that_comes_again_is_served_beside_a_spray_of_new_ones() {
        let (capacity, deadline) = (100, Duration::from_secs(5));
        let mut queue = Queue::new();
        let (mut served, mut next) = (0, 0_u32);
        for tick in 0..60_u64 {
            let now = Duration::from_secs(tick);
            for arrival in 0..capacity + 10 {
                next += 1;
                let address = Some(std::net::Ipv4Addr::from(next).into());
                queue.push(now, Priority::Login, Requester { address, account: None }, "argon2", false);
                // Somewhere among them.
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
    fn many_networks_of_one_ipv6_site_wait_for_each_other() {
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
        queue.push(later, Priority::Login, from(2, "mine"), "bcrypt", "mine".to_owned());
        let (_, next) = queue.take(|_, _| 8).unwrap();
        assert!(next.contains(&"mine".to_owned()), "{next:?}");
    }
}

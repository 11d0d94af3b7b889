//! What waits to be hashed, and who is next.
//!
//! Purposes come one after the other: logins before registrations before what nobody waits for. Within a purpose,
//! turns go round: a round serves one job of each client address, and within a round those come first whose account
//! has been tried least. So whoever asks for much waits for himself: one login from another address goes ahead of the
//! rest of his, and one of another account ahead of many addresses that try the same one. (The rounds are the virtual
//! time of start-time fair queueing: Goyal, Vin and Cheng, 1996.)

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

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

/// The address that turns are fair between: an IPv6 client counts by its /64, as in the rate limits, since whoever
/// has one has all of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A place in the queue. The smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    purpose: Purpose,
    of_address: u64,
    of_account: u64,
    sequence: u64,
}

/// The round that is being served, and the next one of each who has a turn in it or later.
#[derive(Debug)]
struct Rounds<K> {
    now: u64,
    next: HashMap<K, u64>,
}

impl<K: Clone + Eq + Hash> Rounds<K> {
    /// Those who are remembered before all are forgotten whose turn has come.
    const REMEMBERED: usize = 4096;

    fn new() -> Self {
        Self { now: 0, next: HashMap::new() }
    }

    /// The round of the next turn; whoever is nobody in particular has his in the one being served.
    fn take(&mut self, who: Option<&K>) -> u64 {
        let Some(who) = who else { return self.now };
        if self.next.len() > Self::REMEMBERED {
            self.next.retain(|_, next| *next > self.now);
        }
        let next = self.next.entry(who.clone()).or_insert(0);
        let round = self.now.max(*next);
        *next = round + 1;
        round
    }

    /// A turn was not used.
    fn give_back(&mut self, who: Option<&K>) {
        if let Some(next) = who.and_then(|who| self.next.get_mut(who)) {
            *next = next.saturating_sub(1);
        }
    }
}

/// The rounds of one purpose.
#[derive(Debug)]
struct Fairness {
    addresses: Rounds<IpAddr>,
    accounts: Rounds<String>,
}

impl Fairness {
    fn new() -> Self {
        Self { addresses: Rounds::new(), accounts: Rounds::new() }
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
    asker: Asker,
}

impl<C: Clone + Eq + Hash, J> Queue<C, J> {
    pub(super) fn new() -> Self {
        let fair = Fairness::new;
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

    /// Puts a job in its place.
    pub(super) fn push(&mut self, purpose: Purpose, mut asker: Asker, class: C, job: J) -> Turn {
        asker.address = asker.address.map(network);
        self.sequence += 1;
        let sequence = self.sequence;
        let fairness = self.fairness(purpose);
        let of_address = fairness.addresses.take(asker.address.as_ref());
        let of_account = fairness.accounts.take(asker.account.as_ref());
        let turn = Turn { purpose, of_address, of_account, sequence };
        self.classes.entry(class).or_default().insert(turn, Place { job, asker });
        turn
    }

    /// Takes a job out of the queue, if it still waits; its turn is given back to whoever asked for it.
    pub(super) fn remove(&mut self, class: &C, turn: Turn) -> Option<J> {
        let jobs = self.classes.get_mut(class)?;
        let place = jobs.remove(&turn)?;
        if jobs.is_empty() {
            self.classes.remove(class);
        }
        let fairness = self.fairness(turn.purpose);
        fairness.addresses.give_back(place.asker.address.as_ref());
        fairness.accounts.give_back(place.asker.account.as_ref());
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
        fairness.addresses.now = fairness.addresses.now.max(first.of_address);
        fairness.accounts.now = fairness.accounts.now.max(first.of_account);
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
            queue.push(Purpose::Login, asker, "bcrypt", format!("a{number}"));
        }
        // One batch is under way when the other comes.
        assert_eq!(queue.take(|_, _| 4).unwrap().1, ["a0", "a1", "a2", "a3"]);
        queue.push(Purpose::Login, from(2, "mine"), "bcrypt", "mine".to_owned());
        let (_, next) = queue.take(|_, _| 4).unwrap();
        assert!(next.contains(&"mine".to_owned()), "{next:?}");
    }

    #[test]
    fn whoever_is_attacked_from_one_address_is_not_delayed_at_his_own() {
        let mut queue = Queue::new();
        for number in 0..500 {
            queue.push(Purpose::Login, from(1, "victim"), "bcrypt", format!("a{number}"));
        }
        queue.take(|_, _| 4).unwrap();
        for login in 0..5 {
            queue.push(Purpose::Login, from(2, "victim"), "bcrypt", format!("mine {login}"));
            let (_, next) = queue.take(|_, _| 4).unwrap();
            assert!(next.contains(&format!("mine {login}")), "{next:?}");
        }
    }

    #[test]
    fn an_account_that_500_addresses_try_does_not_delay_another() {
        let mut queue = Queue::new();
        for number in 0..250_u8 {
            queue.push(Purpose::Login, from(number, "victim"), "bcrypt", format!("v{number}"));
        }
        queue.take(|_, _| 1).unwrap();
        queue.push(Purpose::Login, from(251, "other"), "bcrypt", "other".to_owned());
        assert_eq!(queue.take(|_, _| 1).unwrap().1, ["other"]);
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        let network = |address: &str| network(address.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:0:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
    }

    #[test]
    fn logins_come_before_registrations_before_rehashes() {
        let mut queue = Queue::new();
        for (purpose, name) in
            [(Purpose::Background, "rehash"), (Purpose::Registration, "register"), (Purpose::Login, "login")]
        {
            queue.push(purpose, Asker::default(), "argon2", name.to_owned());
        }
        assert_eq!(queue.pop_last().unwrap().1, "rehash");
        queue.push(Purpose::Background, Asker::default(), "argon2", "rehash".to_owned());
        assert_eq!(all(&mut queue, 1), ["login", "register", "rehash"]);
    }

    #[test]
    fn one_class_is_taken_together_and_none_waits_for_it() {
        let mut queue = Queue::new();
        for (class, name) in
            [("bcrypt", "b1"), ("argon2", "a1"), ("bcrypt", "b2"), ("argon2", "a2"), ("bcrypt", "b3")]
        {
            queue.push(Purpose::Login, Asker::default(), class, name.to_owned());
        }
        assert_eq!(queue.len(), 5);
        assert_eq!(all(&mut queue, 2), ["b1 b2", "a1 a2", "b3"]);
        assert_eq!((queue.len(), queue.waiting().count()), (0, 0));
    }

    #[test]
    fn time_that_was_not_used_is_given_back() {
        let mut queue = Queue::new();
        let turns: Vec<_> = (0..100)
            .map(|n| queue.push(Purpose::Login, from(1, "x"), "bcrypt", format!("first {n}")))
            .collect();
        for turn in turns {
            queue.remove(&"bcrypt", turn).unwrap();
        }
        queue.push(Purpose::Login, from(1, "x"), "bcrypt", "again".to_owned());
        queue.push(Purpose::Login, from(2, "y"), "bcrypt", "other".to_owned());
        assert_eq!(all(&mut queue, 1), ["again", "other"]);
    }

    #[test]
    fn whoever_leaves_is_out_of_the_queue() {
        let mut queue = Queue::new();
        let turn = queue.push(Purpose::Login, from(1, "x"), "bcrypt", "one".to_owned());
        assert_eq!(queue.remove(&"bcrypt", turn).as_deref(), Some("one"));
        assert_eq!(queue.remove(&"bcrypt", turn), None);
        assert!(queue.take(|_, _| 1).is_none() && queue.pop_last().is_none());
    }

    #[test]
    fn the_memory_of_askers_is_bounded() {
        let mut queue = Queue::new();
        for number in 0..20_000_u32 {
            let address = Some(std::net::Ipv4Addr::from(number).into());
            for _ in 0..2 {
                queue.push(Purpose::Login, Asker { address, account: None }, "argon2", number);
            }
            queue.take(|_, _| 2).unwrap();
        }
        // The last round of those is not over for whoever had a turn in it.
        for number in 0..4 {
            queue.push(Purpose::Login, from(1, "x"), "argon2", number);
        }
        queue.take(|_, _| 3).unwrap();
        queue.take(|_, _| 1).unwrap();
        queue.push(Purpose::Login, from(1, "x"), "argon2", 4);
        let remembered = queue.logins.addresses.next.len();
        assert!(remembered <= Rounds::<IpAddr>::REMEMBERED, "{remembered}");
    }
}

//! Limits of requests, and of passwords that are tried for one account.
//!
//! A request is counted by the client's network, an account or a session. How a limit decides is in the
//! library `rate-limit`.

mod account;
mod attack_watch;
mod subject;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use model::Clock;
use rate_limit::{Backoff, Capacity, Decision, Limiter, Millis};
use store::redis;

pub(crate) use account::Budget;
pub use account::UnstoredLogins;
pub use attack_watch::AttackWatch;
pub use rate_limit::{LONGEST, Rule};
pub use subject::Subject;

/// A limit of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Registrations, by network.
    Register,
    /// Calls that take a password, by network.
    Login,
    /// Refreshes, by session; refresh tokens that were never issued here, by network.
    Refresh,
    /// All requests of a network, except those that are excepted by name.
    Global,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 4] = [Self::Register, Self::Login, Self::Refresh, Self::Global];

    const fn number(self) -> u8 {
        match self {
            Self::Register => 0,
            Self::Login => 1,
            Self::Refresh => 2,
            Self::Global => 3,
        }
    }

    /// The name in settings, header fields and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Login => "login",
            Self::Refresh => "refresh",
            Self::Global => "global",
        }
    }
}

/// Settings of limits; `None` is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// [`Limit::Register`]
    pub register: Option<Rule>,
    /// [`Limit::Login`]
    pub login: Option<Rule>,
    /// [`Limit::Refresh`]
    pub refresh: Option<Rule>,
    /// [`Limit::Global`]
    pub global: Option<Rule>,
    /// Failed logins of one account: as many are free within the time, further ones wait.
    pub account_login: Option<Rule>,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let minute = |most| Some(Rule { most, window: Duration::from_mins(1) });
        Self {
            register: minute(5),
            login: minute(10),
            refresh: minute(20),
            global: minute(200),
            account_login: Some(Rule { most: 5, window: Duration::from_mins(15) }),
        }
    }
}

impl LimitSettings {
    /// No limit at all.
    pub const OFF: Self =
        Self { register: None, login: None, refresh: None, global: None, account_login: None };

    fn rule(&self, limit: Limit) -> Option<Rule> {
        match limit {
            Limit::Register => self.register,
            Limit::Login => self.login,
            Limit::Refresh => self.refresh,
            Limit::Global => self.global,
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let Rule { most, window } = self.account_login?;
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(30));
        Some(Backoff { free: most, first, most: longest, forget: window })
    }
}

/// How many keys a node counts at once.
const KEYS: usize = 1_000_000;

/// Counts requests, and decides.
pub struct Limits {
    settings: RwLock<LimitSettings>,
    local: Limiter,
    /// The limits that nodes share, where there is a Redis.
    shared: OnceLock<redis::Limits>,
    clock: Clock,
    /// What logins have left and is not stored yet.
    pub unstored: UnstoredLogins,
    /// Failed logins of all accounts.
    pub attacks: AttackWatch,
    /// Refused and admitted requests of each limit.
    decisions: [[AtomicU64; 2]; Limit::ALL.len()],
}

/// The decision that refuses the request, if one does.
pub fn refusal(checked: &[Checked]) -> Option<Checked> {
    checked.iter().find(|one| !one.decision.admitted).copied()
}

/// What a limit decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The limit.
    pub limit: Limit,
    /// Its rule.
    pub rule: Rule,
    /// Its decision.
    pub decision: Decision,
}

impl Limits {
    /// Limits of this node, by the monotonic time of `clock`.
    pub fn new(settings: LimitSettings, clock: Clock) -> Self {
        let local = Limiter::new(Capacity::of_keys(KEYS));
        Self {
            settings: RwLock::new(settings),
            local,
            shared: OnceLock::new(),
            clock,
            unstored: UnstoredLogins::default(),
            attacks: AttackWatch::default(),
            decisions: Default::default(),
        }
    }

    /// Replaces the settings. What was counted stays counted, unless a limit has another window.
    pub fn set(&self, settings: LimitSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Shares the limits with the other nodes; once.
    pub fn share(&self, redis: redis::Limits) {
        let _ = self.shared.set(redis);
    }

    /// Whether the nodes' shared limits work; `None` where they have none.
    pub fn is_shared(&self) -> Option<bool> {
        self.shared.get().map(redis::Limits::is_up)
    }

    /// Counts a request in these limits, as far as they are on, up to the first that refuses it. With Redis
    /// it counts in all of them, in one round trip.
    pub async fn check(&self, limits: &[Limit], subject: Subject) -> Vec<Checked> {
        let rule = |limit: &Limit| Some((*limit, self.read(|settings| settings.rule(*limit))?));
        let mut rules: Vec<_> = limits.iter().filter_map(rule).collect();
        let mut checked = Vec::with_capacity(rules.len());
        let answers = match self.shared.get().filter(|_| !rules.is_empty()) {
            Some(shared) => {
                let call = |(limit, rule): &(Limit, Rule)| (*rule, subject.key(limit.number(), rule.window));
                // What is known to be refused by one limit does not count in the others.
                if let Some(refused) = rules.iter().position(|rule| shared.refuses(call(rule).1)) {
                    rules = vec![rules.swap_remove(refused)];
                }
                shared.acquire(&rules.iter().map(call).collect::<Vec<_>>()).await.ok()
            }
            None => None,
        };

        for (at, (limit, rule)) in rules.into_iter().enumerate() {
            let answer = answers.as_ref().and_then(|answers| answers.get(at).copied());
            // What Redis admits counts here too, for the time when Redis is away.
            let here = || {
                let (number, window) = (limit.number(), rule.window);
                let (key, shared) = (subject.key(number, window), subject.shared(number, window));
                self.local.acquire(&rule, key, shared, self.now())
            };
            let decision = match answer {
                Some(refused) if !refused.admitted => refused,
                Some(admitted) => {
                    here();
                    admitted
                }
                None => here(),
            };
            if let Some(count) = self.count(limit, decision.admitted) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            checked.push(Checked { limit, rule, decision });
            if !decision.admitted {
                break;
            }
        }
        checked
    }

    /// How many requests the limit has admitted, or refused.
    pub fn decisions(&self, limit: Limit, admitted: bool) -> u64 {
        self.count(limit, admitted).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Keys that are counted, their bytes, and how often a key had to share one with its neighbours.
    pub fn memory(&self) -> (usize, usize, u64) {
        (self.local.keys(), self.local.bytes(), self.local.overflows())
    }

    fn count(&self, limit: Limit, admitted: bool) -> Option<&AtomicU64> {
        self.decisions.get(usize::from(limit.number()))?.get(usize::from(admitted))
    }

    fn read<T>(&self, get: impl Fn(&LimitSettings) -> T) -> T {
        get(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX))
    }
}

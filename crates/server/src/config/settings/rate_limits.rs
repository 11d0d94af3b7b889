//! `[rate_limits]`

use auth::limits::{LimitSettings, Rule};

use super::section;

/// The default limits of `auth`.
fn defaults() -> LimitSettings {
    LimitSettings::default()
}

section! {
    /// Limits of requests: at most so many in any time of this length. A request above a limit is answered
    /// 429. An IPv6 client counts by its /64.
    pub struct RateLimitsConfig in "rate_limits." {
        /// Registrations of a client's network.
        register: Option<Rule> = defaults().register, example: "10/minute", reload;
        /// Calls of a client's network that take a password.
        login: Option<Rule> = defaults().login, example: "30/minute", reload;
        /// Refreshes of a session; also refreshes of a client's network with tokens that were never issued.
        refresh: Option<Rule> = defaults().refresh, example: "60/minute", reload;
        /// All requests of a client's network. Health checks, the key set, preflight requests, refreshes and
        /// calls with a client's credentials do not count.
        global: Option<Rule> = defaults().global, example: "1000/minute", reload;
        /// Passwords that may be tried for one account, from networks where its user has never logged in, or
        /// from one network or session that is known. Then each waits, for 1 s at first and up to 30 s, until
        /// none was tried for the time given. After 100 failures the password works only from known networks
        /// and sessions, until it is reset.
        account_login: Option<Rule> = defaults().account_login, example: "10/15m", reload;
    }
}

impl RateLimitsConfig {
    /// The settings of `auth`.
    pub fn settings(&self) -> LimitSettings {
        let Self { register, login, refresh, global, account_login } = self.clone();
        LimitSettings { register, login, refresh, global, account_login }
    }
}

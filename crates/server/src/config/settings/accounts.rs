//! `[accounts]`, `[rate_limits]` and `[legacy]`

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;

use super::section;
use crate::config::value::{Rate, RoleScopes};

section! {
    /// Accounts.
    pub struct AccountsConfig in "accounts." {
        /// The file of a JSON Schema for profile attributes beside `country`, `annual_income` and `timezone`.
        attributes_schema_file: Option<PathBuf> = None, example: "/etc/gatewright/attributes.schema.json";
        /// The scopes that each role may be granted.
        scopes: RoleScopes = RoleScopes::default(),
            example: "admin=users:read users:write,basic_user=profile";
    }
}

section! {
    /// Rate limits: at most so many in any span of the given length.
    pub struct RateLimitsConfig in "rate_limits." {
        /// Registrations from one client address.
        register: Rate = Rate::per_minute(5), example: "5/minute";
        /// Logins from one client address.
        login: Rate = Rate::per_minute(10), example: "10/minute";
        /// Refreshes of one session; unknown tokens count by client address.
        refresh: Rate = Rate::per_minute(20), example: "20/minute";
        /// Requests of every kind from one client address.
        global: Rate = Rate::per_minute(200), example: "200/minute";
        /// Failed logins for one account before each further try must wait, at first 1 s, doubling to 30 s.
        account_login: Rate = Rate::Limit { count: 5, per: Duration::from_hours(1) },
            example: "5/hour";
    }
}

section! {
    /// Old names of routes that clients in the field still call.
    pub struct LegacyConfig in "legacy." {
        /// Whether the old names work; when not, they answer 410.
        enabled: bool = true, example: "false";
        /// The day from which the old names may be gone, told to clients in `Sunset`.
        sunset: Option<Date> = None, example: "2027-06-30";
    }
}

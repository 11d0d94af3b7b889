//! `[accounts]` and `[legacy]`

use std::path::PathBuf;

use jiff::civil::Date;

use super::section;
use crate::config::value::RoleScopes;

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
    /// Old names of routes that clients in the field still call.
    pub struct LegacyConfig in "legacy." {
        /// Whether the old names work; when not, they answer 410.
        enabled: bool = true, example: "false";
        /// The day from which the old names may be gone, told to clients in `Sunset`.
        sunset: Option<Date> = None, example: "2027-06-30";
    }
}

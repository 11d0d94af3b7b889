//! `[accounts]` and `[legacy]`

use std::path::PathBuf;

use jiff::civil::Date;

use super::section;
use crate::config::value::RoleScopes;

section! {
    /// Accounts.
    pub struct AccountsConfig in "accounts." {
        /// The file of a JSON Schema for profile attributes in addition to `country`, `annual_income` and
        /// `timezone`.
        attributes_schema_file: Option<PathBuf> = None, example: "/etc/gatewright/attributes.schema.json";
        /// The scopes that users of each role can be granted.
        scopes: RoleScopes = RoleScopes::default(),
            example: "admin=users:read users:write,basic_user=profile";
    }
}

section! {
    /// Legacy routes that existing clients still call.
    pub struct LegacyConfig in "legacy." {
        /// Whether the legacy routes are served; otherwise they answer 410.
        enabled: bool = true, example: "false";
        /// The day after which the legacy routes may be removed, announced to clients in `Sunset`.
        sunset: Option<Date> = None, example: "2027-06-30";
    }
}

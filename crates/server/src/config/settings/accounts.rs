//! `[accounts]`

use std::path::PathBuf;

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

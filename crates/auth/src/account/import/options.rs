//! How rows are imported.

use std::collections::BTreeMap;

use model::Secret;
use protocol::wire::password_hash::FirebaseProject;

/// How rows are imported. By default nothing beyond what a row says is assumed.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command, independent of the others"
)]
pub struct ImportOptions {
    /// The project whose Firebase hashes are accepted.
    pub firebase: Option<FirebaseProject>,
    /// The secret that the origin appended to each password before bcrypt (Devise's `pepper`).
    pub pepper: Option<Secret<Vec<u8>>>,
    /// Validates every row and writes nothing.
    pub dry_run: bool,
    /// Sets what existing accounts lack, and takes hashes that the origin has changed.
    pub update: bool,
    /// Leaves out an optional member that is invalid, with a warning, instead of refusing the row.
    pub lenient: bool,
    /// Accepts hashes of broken kinds, which the first login replaces.
    pub allow_weak: bool,
    /// Imports people again whose account was erased here.
    pub restore_erased: bool,
    /// The roles of the origin, and what they are here.
    pub roles: BTreeMap<String, String>,
    /// Whether a role that is not among them means the ordinary one, instead of refusing the row.
    pub has_foreign_roles: bool,
    /// Names of profile attributes that may be lost; `profile` for all of them.
    pub ignored_attributes: Vec<String>,
}

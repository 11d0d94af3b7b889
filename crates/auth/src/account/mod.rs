//! Accounts: creation, changes and erasure, by the user or by an operator.

mod admin;
mod erase;
mod export;
mod import;
mod password;
mod profile;
mod profile_schema;
mod register;
pub(crate) mod user_cache;
mod user_numbers;

pub use admin::{
    AdminError, add, begin_list, delete, ensure_free, external_id, find, find_with, list, set_password,
    set_role, set_state, showing,
};
pub(crate) use erase::Traces;
pub use erase::{EraseError, erase};
pub use export::{EXPORT_HASH_MEMBERS, EXPORT_MEMBERS, begin_export, export_members, export_page};
pub use import::{
    AccountOutline, CheckError, IMPORT_BATCH, ImportOptions, Importer, Label, MEMBERS as IMPORT_MEMBERS,
    Outcome, Survey, Suspicion, Verdict, check_import, folded as folded_name, suspicion, systems,
};
use password::note_unchecked;
pub use password::{PasswordError, change_password};
pub use profile::{MeError, PatchError, me, patch};
pub use profile_schema::ProfileSchema;
pub use register::{Candidate, RegisterError, Registered, register};
pub(crate) use user_numbers::note_unknown;
pub use user_numbers::{OUTDATED, Outdated, raise_numbers};

/// The role of users who register themselves.
pub const BASIC_USER: &str = "basic_user";
/// The role of operators.
pub const ADMIN: &str = "admin";
/// Every role.
pub const ROLES: [&str; 2] = [BASIC_USER, ADMIN];

//! The queries: one module per table or task, with its statements and row types.

pub mod audit_key;
pub mod client;
pub mod credential;
pub mod job;
pub mod pepper;
pub mod realm;
pub mod revocation;
pub mod session;
pub mod signing_key;
pub mod transfer;
pub mod user;

use crate::statement::Stmt;

/// The statements of every module.
static STATEMENTS: &[&[&Stmt]] = &[
    audit_key::STATEMENTS,
    client::STATEMENTS,
    credential::STATEMENTS,
    job::STATEMENTS,
    signing_key::STATEMENTS,
    pepper::STATEMENTS,
    realm::STATEMENTS,
    revocation::STATEMENTS,
    session::STATEMENTS,
    transfer::STATEMENTS,
    user::STATEMENTS,
];

/// Every registered statement.
pub fn registry() -> impl Iterator<Item = &'static Stmt> {
    STATEMENTS.iter().flat_map(|module| module.iter().copied())
}

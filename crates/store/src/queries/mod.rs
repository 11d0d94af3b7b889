//! The queries: one module per table or task, with its statements and row types.

use crate::statement::Stmt;

/// Declares the modules, and collects their statements.
macro_rules! modules {
    ($($name:ident)+) => {
        $(pub mod $name;)+

        static STATEMENTS: &[&[&Stmt]] = &[$($name::STATEMENTS),+];
    };
}

modules! {
    audit_key client credential erased_email health job known_network master_key pepper realm
    revocation second_factor session
    signing_key transfer user
}

/// Every registered statement.
pub fn registry() -> impl Iterator<Item = &'static Stmt> {
    STATEMENTS.iter().flat_map(|module| module.iter().copied())
}

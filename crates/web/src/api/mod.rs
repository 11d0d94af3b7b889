//! The handlers: each runs one operation of `auth` and returns its result.

pub(crate) mod body;
pub(crate) mod compat;
pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod v1;
pub(crate) mod well_known;

//! The handlers: one verb of the rooms each, and its answer.

pub(crate) mod account;
pub(crate) mod body;
pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod introspect;
pub(crate) mod s1;
pub(crate) mod session;
pub(crate) mod well_known;

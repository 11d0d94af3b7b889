//! `/api/v1`

pub(crate) mod account;
pub(crate) mod introspect;
pub(crate) mod session;

//! `/api/v1`

mod account;
mod introspect;
mod revocations;
mod session;

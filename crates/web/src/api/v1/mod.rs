//! The v1 API. Its paths under `/api/auth` serve the FastAPI dialect too, except for registration and login.

pub(crate) mod account;
pub(crate) mod introspect;
pub(crate) mod revocations;
pub(crate) mod session;

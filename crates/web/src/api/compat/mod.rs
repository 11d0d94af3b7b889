//! Dialects of earlier servers, for their clients.

pub(crate) mod fastapi;

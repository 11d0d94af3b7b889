//! Dialects that clients of earlier servers speak.

pub(crate) mod fastapi;

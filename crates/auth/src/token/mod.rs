//! Tokens: minting, authentication, introspection.

mod caller;
mod introspect;
mod mint;

pub use caller::{Caller, CallerError, RefusedTokens, authenticate, authenticate_even_if_expired};
pub use introspect::{Introspection, introspect};
pub use mint::{MintError, Tokens};

pub(crate) use mint::mint;

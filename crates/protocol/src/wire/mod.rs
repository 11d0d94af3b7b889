//! Wire formats: data that clients, applications and this server exchange, and that other systems store.
//!
//! | module | format |
//! |---|---|
//! | [`jwt`], [`algorithm`] | signed tokens (RFC 7515, RFC 7518) |
//! | [`jwk`] | public keys (RFC 7517) |
//! | [`access_token`] | claims (RFC 9068) |
//! | [`refresh_token`], [`refresh_successor`] | opaque refresh tokens and their successors |
//! | [`password_hash`] | stored password hashes |
//! | [`authorization`], [`scope`], [`oauth`] | parts of RFC 6749, 6750 and 7617 |
//! | [`forwarded`] | the client's address behind trusted proxies (RFC 7239) |
//! | [`strict_json`] | JSON without duplicate members (RFC 8259 §4) |

pub mod access_token;
pub mod algorithm;
pub mod authorization;
pub mod client_mark;
pub mod forwarded;
pub mod jwk;
pub mod jwt;
pub mod media_type;
pub mod oauth;
pub mod password_hash;
pub mod refresh_successor;
pub mod refresh_token;
pub mod scope;
pub mod strict_json;

//! Wire formats: what travels between clients, applications and this server, and what other systems store.
//!
//! | module | what it reads and writes |
//! |---|---|
//! | [`jwt`], [`jwk`], [`algorithm`], [`access_token`] | signed tokens (RFC 7515), public keys (RFC 7517), claims (RFC 9068) |
//! | [`refresh_token`], [`refresh_successor`] | the opaque refresh token, and the sealed ones that follow it |
//! | [`password_hash`] | stored password hashes |
//! | [`authorization`], [`scope`], [`oauth`] | the words of RFC 6749, 6750 and 7617 |
//! | [`forwarded`] | the client's address behind trusted proxies (RFC 7239) |
//! | [`strict_json`] | JSON without duplicate members (RFC 8259 §4) |

pub mod access_token;
pub mod algorithm;
pub mod authorization;
pub mod forwarded;
pub mod jwk;
pub mod jwt;
pub mod oauth;
pub mod password_hash;
pub mod refresh_successor;
pub mod refresh_token;
pub mod scope;
pub mod strict_json;

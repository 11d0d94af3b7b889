//! Wire formats: tokens, keys, OAuth messages, password-hash strings and proxy headers.
//!
//! Promise of this crate: it converts bytes to types and back. No I/O, no clock, no waiting, no storage;
//! randomness and time are parameters (except for key pairs, which the cryptographic library generates). No
//! parser panics on any input, each bounds the input that it parses, and refusals are small enums that
//! contain no secrets.
//!
//! | module | what it parses and writes |
//! |---|---|
//! | [`jwt`], [`jwk`], [`access_token`] | signed tokens (RFC 7515), JWKs (RFC 7517), claims (RFC 9068) |
//! | [`refresh_token`] | the opaque refresh token and its sealed successor |
//! | [`seal`] | the master keyring and the envelopes it seals |
//! | [`password_hash`] | stored password hashes |
//! | [`pepper`] | the keys that seal stored hashes, and the sealed text |
//! | [`authorization`], [`scope`], [`oauth`] | the formats of RFC 6749, 6750 and 7617 |
//! | [`forwarded`] | the client's address behind trusted proxies (RFC 7239) |

pub mod access_token;
pub mod authorization;
pub mod checkpoint;
pub mod detail;
pub mod forwarded;
pub mod jwk;
pub mod jwt;
pub mod oauth;
pub mod password_hash;
pub mod pepper;
pub mod refresh_token;
pub mod scope;
pub mod seal;

mod aead;
pub mod strict_json;
pub mod webhook;

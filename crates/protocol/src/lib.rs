//! The wire grammar: tokens, keys, OAuth messages, password-hash strings and proxy headers.
//!
//! Promise of this crate: bytes to types and back, and nothing else. No I/O, no clock, no waiting, no
//! storage; randomness and time are parameters (but for key pairs, which the cryptographic library draws
//! itself). No parser here panics on any input, each has a bound on what it looks at, and what it refuses it
//! refuses with a small enum that repeats nothing secret.
//!
//! | module | what it reads and writes |
//! |---|---|
//! | [`jwt`], [`jwk`], [`access_token`] | signed tokens (RFC 7515), public keys (RFC 7517), claims (RFC 9068) |
//! | [`refresh_token`] | the opaque refresh token and its sealed successor |
//! | [`seal`] | the master keyring and the envelopes it seals |
//! | [`password_hash`] | stored password hashes |
//! | [`pepper`] | the keys that seal them, and the sealed text |
//! | [`authorization`], [`scope`], [`oauth`] | the words of RFC 6749, 6750 and 7617 |
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

//! Sealed values: what is encrypted or signed under the master key.
//!
//! | module | what it seals or signs |
//! |---|---|
//! | [`keyring`] | the master keys, and the envelopes that they seal |
//! | [`pepper`] | the keys that seal stored password hashes, and the sealed text |
//! | [`detail`] | what an audit record says of a person |
//! | [`checkpoint`] | the heads of a journal |
//! | [`purpose`] | the registry of what keys are derived for |

pub(crate) mod aead;
pub mod checkpoint;
pub mod detail;
pub mod keyring;
pub mod pepper;
pub mod purpose;
pub mod realm_key;

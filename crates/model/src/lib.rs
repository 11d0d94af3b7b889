//! The value types of Gatewright: ids, time, randomness, secrets, events and the parsed fields of an account.
//!
//! Promise of this crate: no I/O and nothing asynchronous. All types are values, and input is parsed into
//! types that cannot hold what the rules refuse.

pub mod actor;
pub mod bounds;
pub mod client_rights;
pub mod clock;
pub mod email;
pub mod event;
pub mod foreign_time;
pub mod hex;
pub mod id;
pub mod journaled;

pub mod origin;
pub mod profile;
pub mod rng;
pub mod secret;
pub mod username;

pub use actor::Actor;
pub use client_rights::{ClientRight, ClientRights};
pub use clock::{Clock, Now};
pub use email::Email;
pub use event::intent::{self, Intent, UnresolvedIntent};
pub use event::{Event, EventKind};
pub use id::{ClientId, KeyId, RequestId, SessionId, UserId, UserKey, UserUuid};
pub use journaled::{Journaled, JournaledClient, JournaledUser, Place, SetBack};
pub use origin::{Channel, Origin};
pub use rng::Rng;
pub use secret::Secret;
pub use username::{ReservedNames, Username, UsernameError};

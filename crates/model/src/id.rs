//! Typed ids: one type for each kind, so that a session id can never be passed where a user id is meant.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Now, Rng};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new UUIDv7 (RFC 9562 §5.7): ordered by `now`, 74 random bits from `rng`.
            pub fn generate(now: Now, rng: &Rng) -> Self {
                Self(uuid_v7(now, rng))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

uuid_id!(
    /// A login session: what `sid` names in an access token.
    SessionId
);
uuid_id!(
    /// The public, unguessable identifier of a user, for events and for applications of more than one
    /// instance.
    UserUuid
);

/// A user's number: what `sub` names in an access token. Never assigned to another user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

impl UserId {
    /// The largest number that is imported, or taken over from a journal: 2^52. JSON readers represent
    /// integers up to 2^53 - 1 exactly (RFC 8259 §6), and new accounts get numbers above the largest one:
    /// this leaves as many for them.
    pub const LARGEST: Self = Self(1 << 52);
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({})", self.0)
    }
}

/// A user, named by number and uuid together: what every statement for a caller takes.
///
/// A database that was restored from a backup gives the numbers of lost users again. The uuid is random, so a
/// token of a lost user never names the user who has the number now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UserKey {
    /// The number.
    pub id: UserId,
    /// The public identifier.
    pub uuid: UserUuid,
}

/// Texts that are parsed once, where they come in: from then on they need no check.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident: 1 to $most:literal of $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses an id; `None` for a text that cannot be one.
            pub fn parse(text: impl Into<String>) -> Option<Self> {
                let (text, allowed): (String, fn(u8) -> bool) = (text.into(), $allowed);
                (!text.is_empty() && text.len() <= $most && text.bytes().all(allowed)).then_some(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(text).ok_or("not a valid id")
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id!(
    /// A client with credentials of its own (RFC 6749 §2.2), such as an API that introspects tokens: letters,
    /// digits, `.`, `_` and `-`.
    ClientId: 1 to 64 of |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
);
/// The `kid` of a signing key (RFC 7517 §4.5).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_id!(
    /// The name of one HTTP request, in the answer, the log, the trace and the audit trail: visible ASCII.
    RequestId: 1 to 128 of |byte| byte.is_ascii_graphic()
);

/// A UUIDv7 (RFC 9562 §5.7) made of the given time and 74 bits of the given randomness.
pub fn uuid_v7(now: Now, rng: &Rng) -> Uuid {
    let millis = u64::try_from(now.micros() / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &rng.bytes::<10>()).into_uuid()
}

impl RequestId {
    /// A new name: a UUIDv7.
    pub fn new(now: Now, rng: &Rng) -> Self {
        Self(uuid_v7(now, rng).to_string())
    }
}

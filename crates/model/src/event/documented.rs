//! Declares every event in one place: the enum, its names, and the source of its documentation.

use std::fmt;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::{ClientId, EventKind, KeyId, Now, SessionId, UserId, UserUuid};

/// Whether an event reports success, a refusal, an alarm or an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was requested and not done.
    Refused,
    /// An operator should investigate it.
    Alarm,
    /// Whether it was done cannot be determined.
    Unknown,
}

impl Outcome {
    /// The name of the class in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Alarm => "alarm",
            Self::Unknown => "unknown",
        }
    }

    /// The meaning of the class, as a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "It was done.",
            Self::Refused => "It was asked for and not done.",
            Self::Alarm => "An operator should investigate it.",
            Self::Unknown => "Whether it was done cannot be determined.",
        }
    }

    /// Every class.
    pub const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Alarm, Self::Unknown];
}

/// The documentation of one kind of event.
#[derive(Clone, Copy, Debug)]
pub struct Documented {
    /// The stable name, the value of `kind`.
    pub kind: &'static str,
    /// What it reports.
    pub about: &'static str,
    /// Whether it reports success, a refusal, an alarm or an unknown outcome.
    pub outcome: Outcome,
    /// Its members in order, without those of every record.
    pub fields: &'static [Member],
}

impl Documented {
    /// Whether the event names a user.
    pub fn names_user(&self) -> bool {
        self.fields.iter().any(|field| field.names_user)
    }
}

/// The documentation of one member of an event.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// What it contains.
    pub about: &'static str,
    /// Its type in JSON, in words.
    pub shape: &'static str,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether it names a user.
    pub names_user: bool,
    /// The allowed words, each with its meaning; empty if the set is not closed.
    pub words: &'static [(&'static str, &'static str)],
}

/// The JSON type of a member. A type without this cannot be a member of an event.
pub trait Shown {
    /// The JSON type, in words.
    const SHAPE: &'static str;
    /// Whether it may be null.
    const NULLABLE: bool = false;
    /// Whether it names a user.
    const NAMES_USER: bool = false;
    /// The words of a closed set, each with its meaning.
    const WORDS: &'static [(&'static str, &'static str)] = &[];

    /// The user that it names.
    fn user(&self) -> Option<UserUuid> {
        None
    }
}

macro_rules! shown {
    ($($shape:literal: $($type:ty),+;)+) => {
        $($(impl Shown for $type {
            const SHAPE: &'static str = $shape;
        })+)+
    };
}

shown! {
    "UUID": Uuid, SessionId;
    "text": String, &'static str, ClientId, KeyId;
    "number": u64, i64, UserId;
    "true or false": bool;
    "time (RFC 3339)": Now;
    "list of texts": Vec<&'static str>, Vec<KeyId>;
    "kind of event": EventKind;
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Shown for UserUuid {
    const SHAPE: &'static str = "UUID";
    const NAMES_USER: bool = true;

    fn user(&self) -> Option<UserUuid> {
        Some(*self)
    }
}

impl<T: Shown> Shown for Option<T> {
    const SHAPE: &'static str = T::SHAPE;
    const NULLABLE: bool = true;
    const NAMES_USER: bool = T::NAMES_USER;
    const WORDS: &'static [(&'static str, &'static str)] = T::WORDS;

    fn user(&self) -> Option<UserUuid> {
        self.as_ref().and_then(T::user)
    }
}

/// Declares a closed set of words: the text of each in a record, and its meaning.
macro_rules! words {
    (
        $(#[doc = $about:literal])+
        $name:ident { $($(#[doc = $says:literal])+ $word:ident = $text:literal,)+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        pub enum $name {
            $($(#[doc = $says])+ #[serde(rename = $text)] $word,)+
        }

        impl $name {
            /// The word in a record.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }
        }

        impl $crate::event::Shown for $name {
            const SHAPE: &'static str = "word";
            const WORDS: &'static [(&'static str, &'static str)] =
                &[$(($text, concat!($($says),+).trim_ascii_start())),+];
        }
    };
}
pub(crate) use words;

/// The event of a committed transaction.
pub trait CommittedEvent: Into<crate::Event> + Send + 'static {}

/// Declares kinds of events: `Name("kind", Outcome) { members }`. Documentation lines are part of the syntax,
/// so every kind and member has one. `Event / EventKind` also declares an enum of the kinds alone, and a
/// struct for each kind.
macro_rules! events {
    (
        $(#[doc = $whole:literal])+
        $enum:ident / $kinds:ident {
            $(
                $(#[doc = $about:literal])+
                $name:ident($kind:literal, $outcome:ident) {
                    $($(#[doc = $says:literal])+ $field:ident: $type:ty,)*
                }
            )+
        }
    ) => {
        $crate::event::events! {
            $(#[doc = $whole])+
            $enum {
                $($(#[doc = $about])+ $name($kind, $outcome) {
                    $($(#[doc = $says])+ $field: $type,)*
                })+
            }
        }

        $(
            $(#[doc = $about])+
            #[derive(Clone, Debug)]
            pub struct $name {
                $($(#[doc = $says])+ pub $field: $type,)*
            }

            impl From<$name> for $enum {
                fn from($name { $($field),* }: $name) -> Self {
                    Self::$name { $($field),* }
                }
            }

            impl $crate::event::CommittedEvent for $name {}
        )+

        #[doc = concat!("The kind of an [`", stringify!($enum), "`]: its stable name.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kinds {
            $(#[doc = concat!("`", $kind, "`")] $name,)+
        }

        impl $kinds {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word, the value of `kind`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $kind,)+
                }
            }

            /// The kind of this word.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($kind => Some(Self::$name),)+
                    _ => None,
                }
            }
        }

        impl $enum {
            /// Its kind.
            pub fn what(&self) -> $kinds {
                match self {
                    $(Self::$name { .. } => $kinds::$name,)+
                }
            }
        }
    };
    (
        $(#[doc = $whole:literal])+
        $enum:ident {
            $(
                $(#[doc = $about:literal])+
                $name:ident($kind:literal, $outcome:ident) {
                    $($(#[doc = $says:literal])+ $field:ident: $type:ty,)*
                }
            )+
        }
    ) => {
        $(#[doc = $whole])+
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        #[serde(tag = "kind")]
        pub enum $enum {
            $(
                $(#[doc = $about])+
                #[serde(rename = $kind)]
                $name { $($(#[doc = $says])+ $field: $type,)* },
            )+
        }

        impl $enum {
            /// The documentation of every kind.
            pub const DOCUMENTED: &'static [$crate::event::Documented] = &[$(
                $crate::event::Documented {
                    kind: $kind,
                    about: concat!($($about),+).trim_ascii_start(),
                    outcome: $crate::event::Outcome::$outcome,
                    fields: &[$($crate::event::Member {
                        name: stringify!($field),
                        about: concat!($($says),+).trim_ascii_start(),
                        shape: <$type as $crate::event::Shown>::SHAPE,
                        nullable: <$type as $crate::event::Shown>::NULLABLE,
                        names_user: <$type as $crate::event::Shown>::NAMES_USER,
                        words: <$type as $crate::event::Shown>::WORDS,
                    }),*],
                }
            ),+];

            /// The event's stable name, the value of `kind`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $kind,)+
                }
            }

            /// Whether it reports success, a refusal, an alarm or an unknown outcome.
            pub fn outcome(&self) -> $crate::event::Outcome {
                match self {
                    $(Self::$name { .. } => $crate::event::Outcome::$outcome,)+
                }
            }

            /// The user that the event concerns, if any.
            pub fn user(&self) -> Option<$crate::UserUuid> {
                match self {
                    $(Self::$name { $($field),* } => None$(.or($crate::event::Shown::user($field)))*,)+
                }
            }
        }

        #[cfg(test)]
        impl $crate::event::tests::Sampled for $enum {
            fn samples() -> Vec<(&'static str, Self)> {
                vec![$((
                    stringify!($name),
                    Self::$name { $($field: <$type as $crate::event::tests::Sample>::sample()),* },
                )),+]
            }
        }
    };
}
pub(crate) use events;

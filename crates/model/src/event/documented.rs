//! What is said of every event in one place: the enum, its names, and what its documentation is made of.

use std::fmt;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::{ClientId, EventKind, KeyId, Now, SessionId, UserUuid};

/// How what an event tells ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was asked for and not done.
    Refused,
    /// Somebody should look at it.
    Alarm,
    /// Nobody knows.
    Unknown,
}

impl Outcome {
    /// The class as it is called in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Alarm => "alarm",
            Self::Unknown => "unknown",
        }
    }

    /// What the class means, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "It was done.",
            Self::Refused => "It was asked for and not done.",
            Self::Alarm => "Somebody should look at it.",
            Self::Unknown => "Nobody knows whether it was done.",
        }
    }

    /// Every class.
    pub const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Alarm, Self::Unknown];
}

/// One kind of event, as it is documented.
#[derive(Clone, Copy, Debug)]
pub struct Documented {
    /// The stable name, as it stands in `kind`.
    pub kind: &'static str,
    /// What it says.
    pub about: &'static str,
    /// How what it tells ended.
    pub outcome: Outcome,
    /// Its members besides those of every record, in their order.
    pub fields: &'static [Member],
}

impl Documented {
    /// Whether the event names a user.
    pub fn names_user(&self) -> bool {
        self.fields.iter().any(|field| field.names_user)
    }
}

/// One member of an event, as it is documented.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// What it is in JSON.
    pub shape: &'static str,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether it names a user.
    pub names_user: bool,
    /// The words that it may be, each with its meaning; empty where it is not one of a closed set.
    pub words: &'static [(&'static str, &'static str)],
}

/// What a type of a member is in JSON. A type without this cannot be a member of an event.
pub trait Shown {
    /// The shape, in words.
    const SHAPE: &'static str;
    /// Whether it may be null.
    const NULLABLE: bool = false;
    /// Whether it names a user.
    const NAMES_USER: bool = false;
    /// The words of a closed set, each with its meaning.
    const WORDS: &'static [(&'static str, &'static str)] = &[];

    /// The user whom it names.
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
    "number": u64, i64;
    "true or false": bool;
    "time (RFC 3339)": Now;
    "list of texts": Vec<&'static str>;
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

/// Declares a closed set of words: what each is called in a record, and what it means.
macro_rules! words {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $says:literal])+ $word:ident = $text:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        pub enum $name {
            $($(#[doc = $says])+ #[serde(rename = $text)] $word,)+
        }

        impl $crate::event::Shown for $name {
            const SHAPE: &'static str = "word";
            const WORDS: &'static [(&'static str, &'static str)] =
                &[$(($text, concat!($($says),+).trim_ascii_start())),+];
        }
    };
}
pub(crate) use words;

/// Declares kinds of events: `Name("kind", Outcome) { members }`. Nothing of it can be left undocumented: a line of
/// documentation is part of the syntax. `Event / EventKind` makes an enum of the kinds alone besides.
macro_rules! events {
    (
        $(#[doc = $whole:literal])+
        $enum:ident / $kinds:ident {
            $(
                $(#[doc = $about:literal])+
                $name:ident($kind:literal, $outcome:ident) { $($fields:tt)* }
            )+
        }
    ) => {
        $crate::event::events! {
            $(#[doc = $whole])+
            $enum {
                $($(#[doc = $about])+ $name($kind, $outcome) { $($fields)* })+
            }
        }

        #[doc = concat!("What an [`", stringify!($enum), "`] says happened, without to whom: its stable name.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kinds {
            $(#[doc = concat!("`", $kind, "`")] $name,)+
        }

        impl $kinds {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word, as it stands in `kind`.
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
            /// Every kind, with what is documented of it.
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

            /// The event's stable name, as it stands in `kind`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $kind,)+
                }
            }

            /// How what it tells ended.
            pub fn outcome(&self) -> $crate::event::Outcome {
                match self {
                    $(Self::$name { .. } => $crate::event::Outcome::$outcome,)+
                }
            }

            /// The user whom the event is about, where there is one.
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

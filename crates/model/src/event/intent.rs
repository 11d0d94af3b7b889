//! The intent of a transaction, written before it can be committed, so that its effect can be found
//! afterwards.
//!
//! Each kind of intent is a type of its own, and determines the event that its transaction records.

use super::CommittedEvent;
use crate::{Actor, Channel, Event, Now, RequestId, SessionId, UserUuid};

pub use super::announced::*;

/// The intent to run a transaction that records an event of one kind.
pub trait Announced {
    /// The event of the committed transaction.
    type Event: CommittedEvent;

    /// The intent as it is written.
    fn intent(&self) -> Intent;
}

/// Declares the kinds of events that transactions record, with the members by which a commit is found
/// afterwards: `traced` ones by a row, `untraced` ones not at all.
macro_rules! intents {
    (
        traced { $($traced:ident { $($traced_member:ident: $traced_type:ty),* })+ }
        untraced { $($untraced:ident { $($untraced_member:ident: $untraced_type:ty),* })+ }
    ) => {
        $crate::event::intent::intents! {
            $($traced { $($traced_member: $traced_type),* })+
            $($untraced { $($untraced_member: $untraced_type),* })+
        }

        /// The kind of an intent whose effect shows in a row.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TracedIntent {
            $(#[doc = concat!("To record [`crate::Event::", stringify!($traced), "`].")] $traced,)+
        }

        impl IntentKind {
            /// The kind, if a row shows whether the transaction was committed.
            pub const fn traced(self) -> Option<TracedIntent> {
                match self {
                    $(Self::$traced => Some(TracedIntent::$traced),)+
                    $(Self::$untraced)|+ => None,
                }
            }
        }
    };
    ($($name:ident { $($member:ident: $type:ty),* })+) => {
        use $crate::event::intent::{Announced, Intent};

        /// The kind of an intent: the kind of the event that follows its commit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum IntentKind {
            $(#[doc = concat!("To record [`crate::Event::", stringify!($name), "`].")] $name,)+
        }

        impl IntentKind {
            /// The kind of this word.
            pub fn parse(word: &str) -> Option<Self> {
                [$(Self::$name),+].into_iter().find(|kind| EventKind::from(*kind).as_str() == word)
            }
        }

        impl From<IntentKind> for EventKind {
            fn from(kind: IntentKind) -> Self {
                match kind {
                    $(IntentKind::$name => Self::$name,)+
                }
            }
        }

        $(
            #[doc = concat!("The intent to record [`crate::Event::", stringify!($name), "`].")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name {
                $(#[doc = concat!("See [`Intent::", stringify!($member), "`].")] pub $member: $type,)*
            }

            impl Announced for $name {
                type Event = super::$name;

                fn intent(&self) -> Intent {
                    Intent { $($member: self.$member.into(),)* ..Intent::to(IntentKind::$name) }
                }
            }
        )+
    };
}
pub(crate) use intents;

/// What a transaction does if it is committed, as it is written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The kind of the event that will follow.
    pub kind: IntentKind,
    /// The user that it concerns.
    pub user: Option<UserUuid>,
    /// The session that it opens, refreshes or ends.
    pub session: Option<SessionId>,
    /// The generation of the refresh token that it concerns.
    pub generation: Option<i64>,
    /// The time that it writes into its row, which distinguishes its change from the same change by another
    /// transaction.
    pub stamp: Option<Now>,
}

impl Intent {
    pub(crate) const fn to(kind: IntentKind) -> Self {
        Self { kind, user: None, session: None, generation: None, stamp: None }
    }

    /// The event for an outcome that cannot be determined.
    pub fn unknown(&self) -> Event {
        Event::OutcomeUnknown { intended: self.kind.into(), user: self.user, session: self.session }
    }
}

/// An intent of a process that has ended, whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnresolvedIntent {
    /// Its number.
    pub number: u64,
    /// When it was announced.
    pub at: Now,
    /// The event, if there is one, follows the record of this sequence in the journal of events.
    pub behind: u64,
    /// What was about to be done.
    pub intent: Intent,
    /// The way in which it came.
    pub channel: Channel,
    /// Who was about to do it.
    pub actor: Actor,
    /// The request that it belonged to.
    pub request_id: Option<RequestId>,
}

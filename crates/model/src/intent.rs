//! The intent of a transaction, written before it can be committed, so that its effect can be found
//! afterwards.
//!
//! Each kind of intent is a type of its own, and determines the event that its transaction records.

use crate::event::{self, CommittedEvent};
use crate::{Actor, Channel, Event, EventKind, Now, RequestId, SessionId, UserUuid};

/// The intent to run a transaction that records an event of one kind.
pub trait Announced {
    /// The event of the committed transaction.
    type Event: CommittedEvent;

    /// The intent as it is written.
    fn intent(&self) -> Intent;
}

/// Declares the kinds of events that transactions record, with the members by which a commit is found
/// afterwards.
macro_rules! intents {
    ($($(#[doc = $says:literal])* $name:ident { $($member:ident: $type:ty),* })+) => {
        /// The kind of an intent: the kind of the event that follows its commit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum IntentKind {
            $(#[doc = concat!("To record [`Event::", stringify!($name), "`].")] $name,)+
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
            #[doc = concat!("The intent to record [`Event::", stringify!($name), "`].")]
            $(#[doc = $says])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name {
                $(#[doc = concat!("See [`Intent::", stringify!($member), "`].")] pub $member: $type,)*
            }

            impl Announced for $name {
                type Event = event::$name;

                fn intent(&self) -> Intent {
                    Intent { $($member: self.$member.into(),)* ..Intent::to(IntentKind::$name) }
                }
            }
        )+
    };
}

intents! {
    UserRegistered { user: UserUuid, session: Option<SessionId> }
    ProfileChanged { user: UserUuid, stamp: Now }
    RoleChanged { user: UserUuid, stamp: Now }
    UserActivated { user: UserUuid, stamp: Now }
    UserDeactivated { user: UserUuid, stamp: Now }
    UserErased { user: UserUuid, stamp: Now }
    PasswordChanged { user: UserUuid, stamp: Now }
    PasswordRehashed { user: UserUuid, stamp: Now }
    LoginSucceeded { user: UserUuid, session: SessionId }
    SessionRefreshed { session: SessionId, generation: i64, stamp: Now }
    RefreshReplayedLate { user: UserUuid, session: SessionId, generation: i64 }
    RefreshStolen { user: UserUuid, session: SessionId, generation: i64, stamp: Now }
    SessionRevoked { user: UserUuid, session: SessionId, stamp: Now }
    SessionsRevoked { user: UserUuid, stamp: Now }
    RealmOpened {}
    UsersImported {}
    ClientAdded {}
    ClientRotated {}
    ClientRemoved {}
    KeyCreated {}
    KeyActivated {}
    KeyRetired {}
    KeyRemoved {}
    PepperCreated {}
    PepperRemoved {}
    /// The user, when it is the password of one.
    PasswordsSealed { user: Option<UserUuid> }
    KeysResealed {}
    RowsCleaned {}
}

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
    const fn to(kind: IntentKind) -> Self {
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

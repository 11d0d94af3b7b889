//! The intent of a transaction, written before it can be committed, so that its effect can be found
//! afterwards.

use crate::{Actor, Channel, Event, EventKind, Now, RequestId, SessionId, UserUuid};

/// What a transaction does if it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The kind of the event that will follow.
    pub kind: EventKind,
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
    /// The intent to do what an event of this kind reports.
    pub const fn to(kind: EventKind) -> Self {
        Self { kind, user: None, session: None, generation: None, stamp: None }
    }

    /// The same, for this user.
    #[must_use]
    pub const fn user(self, user: UserUuid) -> Self {
        Self { user: Some(user), ..self }
    }

    /// The same, for this session.
    #[must_use]
    pub const fn session(self, session: SessionId) -> Self {
        Self { session: Some(session), ..self }
    }

    /// The same, for this generation of the session.
    #[must_use]
    pub const fn generation(self, generation: i64) -> Self {
        Self { generation: Some(generation), ..self }
    }

    /// The same, writing this time into the row that it changes.
    #[must_use]
    pub const fn stamp(self, at: Now) -> Self {
        Self { stamp: Some(at), ..self }
    }

    /// Whether this event is of the intended kind.
    pub fn is_of(&self, event: &Event) -> bool {
        self.kind == event.what()
    }

    /// The event for an outcome that cannot be determined.
    pub fn unknown(&self) -> Event {
        Event::OutcomeUnknown { intended: self.kind, user: self.user, session: self.session }
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

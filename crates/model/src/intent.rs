//! The intent of a transaction, written before it can be committed, so that its effect can be found
//! afterwards.

use crate::{Event, EventKind, Now, SessionId, UserUuid};

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

//! What a transaction leaves in the audit trail.

use std::time::Duration;

use model::Event;
use model::event::CommittedEvent;

/// Longest wait of a transaction for its intent to reach the journal: a slow disk delays it by no more than
/// this.
pub(crate) const ANNOUNCED_WITHIN: Duration = Duration::from_millis(50);

/// Why a transaction leaves no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unaudited {
    /// A job lease is bookkeeping; the writes of the job leave events.
    JobLease,
    /// A time that other nodes compare with, or the correction of one that a wrong clock has stored.
    Clock,
    /// The reuse of a refresh token, of which the first of its generation has left an event.
    SharedSession,
    /// The health probe changes no value.
    HealthProbe,
    /// Numbers of failed logins and networks of successful ones, each of which has left an event.
    Logins,
    /// The detail keys belong to the audit trail itself; an event counts those that were sealed again.
    DetailKeys,
    /// Public keys of checkpoints, with which the audit trail itself is verified, and which line is the
    /// first: events name new lines and what was sealed again.
    CheckpointKeys,
}

/// What a committed transaction adds to the audit trail.
pub(crate) trait Trace: Send + 'static {
    /// The event; `None` for an unaudited write.
    fn into_event(self) -> Option<Event>;
}

impl<E: CommittedEvent> Trace for E {
    fn into_event(self) -> Option<Event> {
        Some(self.into())
    }
}

impl Trace for Unaudited {
    fn into_event(self) -> Option<Event> {
        match self {
            Self::JobLease
            | Self::Clock
            | Self::SharedSession
            | Self::Logins
            | Self::DetailKeys
            | Self::CheckpointKeys
            | Self::HealthProbe => None,
        }
    }
}

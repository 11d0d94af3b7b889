//! Which events are counted when they repeat: those that a client causes at no cost, and that say nothing
//! about what happened to a user.

use super::{Event, Reason};
use crate::ClientId;

/// How an event is recorded that repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition<'a> {
    /// Singly, always.
    Recorded,
    /// By kind, reason and network: an attempt that names no user. What it names instead is counted.
    OfNetwork {
        /// Why it was refused.
        reason: &'static str,
        /// What the client named.
        identifier: Option<&'a str>,
    },
    /// By identifier and network: a limit refused a password for it.
    OfIdentifier {
        /// Why it was refused.
        reason: &'static str,
        /// What the client named.
        identifier: &'a str,
    },
    /// As [`Repetition::OfNetwork`], after very many: a login that could not be decided.
    Undecided {
        /// Why not.
        reason: &'static str,
        /// What the client named.
        identifier: &'a str,
    },
}

impl Event {
    /// How it is recorded when it repeats.
    pub fn repetition(&self) -> Repetition<'_> {
        match self {
            Self::LoginFailed { identifier, reason: reason @ Reason::Limited, .. } => {
                Repetition::OfIdentifier { reason: reason.as_str(), identifier }
            }
            Self::LoginFailed {
                identifier,
                reason: reason @ (Reason::Unavailable | Reason::Overloaded),
                ..
            } => Repetition::Undecided { reason: reason.as_str(), identifier },

            Self::LoginFailed { user: None, identifier, reason, .. } => {
                Repetition::OfNetwork { reason: reason.as_str(), identifier: Some(identifier) }
            }
            Self::RefreshFailed { user: None, reason, .. } => {
                Repetition::OfNetwork { reason: reason.as_str(), identifier: None }
            }
            // Both may name a user, who is not seen to do them: an ended session costs nothing to name.
            Self::TokenRefused { reason, .. } => {
                Repetition::OfNetwork { reason: reason.as_str(), identifier: None }
            }
            Self::SessionNotFound { .. } => {
                Repetition::OfNetwork { reason: "session_not_found", identifier: None }
            }
            Self::ClientRefused { client, reason } => Repetition::OfNetwork {
                reason: reason.as_str(),
                identifier: client.as_ref().map(ClientId::as_str),
            },
            Self::RegistrationRefused { reason } => {
                Repetition::OfNetwork { reason: reason.as_str(), identifier: None }
            }
            Self::RequestLimited { limit } => Repetition::OfNetwork { reason: limit, identifier: None },
            _ => Repetition::Recorded,
        }
    }
}

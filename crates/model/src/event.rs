//! What can happen, as a closed list. An event names users by uuid and holds no secret, no password and no token.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{ClientId, KeyId, SessionId, UserUuid};

/// Why a login, a refresh or a password check did not succeed. Clients see one answer for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No account has this email or username.
    UnknownUser,
    /// The password is not the account's.
    WrongPassword,
    /// The account is deactivated or erased.
    Inactive,
    /// The account or its password changed while the password was being checked.
    Changed,
    /// The stored password hash cannot be read or costs more than is allowed.
    UnusableHash,
    /// The account has no password.
    NoPassword,
    /// The token was never issued here.
    UnknownToken,
    /// The token or its session is past its end.
    Expired,
    /// The session was ended.
    Revoked,
    /// The scope asked for is not granted.
    Scope,
}

/// One thing that happened.
#[expect(missing_docs, reason = "the fields are the ids that their names say")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// An empty database became the realm of this instance.
    RealmOpened { realm: uuid::Uuid },
    /// An account was made, by its owner or by an operator.
    UserRegistered { user: UserUuid, session: Option<SessionId> },
    /// A registration named an email or username that is taken.
    RegistrationRefused { taken: &'static str },
    /// A login succeeded and a session began.
    LoginSucceeded { user: UserUuid, session: SessionId },
    /// A login did not succeed. `identifier` is a keyed hash: people type passwords there.
    LoginFailed { user: Option<UserUuid>, identifier: String, reason: Reason },
    /// A refresh token was exchanged for its successor.
    SessionRefreshed { user: UserUuid, session: SessionId, generation: i64 },
    /// A used refresh token came again within its grace and got the same successor.
    RefreshReplayed { user: UserUuid, session: SessionId, generation: i64 },
    /// A used refresh token came again after its grace, before its successor was used.
    RefreshReplayedLate { user: UserUuid, session: SessionId, generation: i64 },
    /// A refresh token was used by two parties; the session was ended.
    RefreshStolen { user: UserUuid, session: SessionId, generation: i64 },
    /// A refresh did not succeed.
    RefreshFailed { session: Option<SessionId>, reason: Reason },
    /// One session was ended, by logout or from the list of sessions.
    SessionRevoked { user: UserUuid, session: SessionId },
    /// Every session of a user was ended.
    SessionsRevoked { user: UserUuid, sessions: u64 },
    /// The password was changed; other sessions were ended.
    PasswordChanged { user: UserUuid, sessions: u64 },
    /// A password that was right got a hash of the configured kind.
    PasswordRehashed { user: UserUuid },
    /// A change or an erasure was refused because the current password was wrong.
    PasswordRefused { user: UserUuid, reason: Reason },
    /// Username or profile attributes changed.
    ProfileChanged { user: UserUuid },
    /// The account was erased; a tombstone is left.
    UserErased { user: UserUuid, sessions: u64 },
    /// An operator changed a role.
    RoleChanged { user: UserUuid, role: String },
    /// An operator activated an account.
    UserActivated { user: UserUuid },
    /// An operator deactivated an account; its sessions were ended.
    UserDeactivated { user: UserUuid, sessions: u64 },
    /// An operator imported accounts: one batch of them, in one transaction.
    UsersImported { users: u64, admins: u64, tombstones: u64 },
    /// An operator began to export all accounts, with their password hashes or without.
    UsersExported { hashes: bool },
    /// A client was added.
    ClientAdded { client: ClientId },
    /// A client got a new secret.
    ClientRotated { client: ClientId },
    /// A client was removed.
    ClientRemoved { client: ClientId },
    /// A client could not authenticate.
    ClientRefused { client: Option<ClientId> },
    /// A signing key was made.
    KeyCreated { key: KeyId, algorithm: String },
    /// A signing key began to sign.
    KeyActivated { key: KeyId },
    /// A signing key stopped signing and is published until its tokens have ended.
    KeyRetired { key: KeyId },
    /// A signing key was removed; its tokens are refused from now on.
    KeyRemoved { key: KeyId, compromised: bool },
    /// A pepper was made, and seals stored password hashes from now on.
    PepperCreated { version: i64 },
    /// A pepper that sealed no stored hash any more was removed.
    PepperRemoved { version: i64 },
    /// Stored password hashes were sealed with this pepper, or their seals were taken off.
    PasswordsSealed { pepper: Option<i64>, passwords: u64 },
    /// Sealed secrets were sealed again under the first master key.
    KeysResealed { keys: u64 },
    /// A cleanup step removed rows.
    RowsCleaned { sessions: u64, revocations: u64 },
    /// Something was begun, and nobody knows whether it was done: the answer to COMMIT was lost, or the server was
    /// killed before it came.
    OutcomeUnknown { intended: Kind, user: Option<UserUuid>, session: Option<SessionId> },
}

impl Event {
    /// The user whom the event is about, where there is one.
    pub fn user(&self) -> Option<UserUuid> {
        match self {
            Self::UserRegistered { user, .. }
            | Self::LoginSucceeded { user, .. }
            | Self::SessionRefreshed { user, .. }
            | Self::RefreshReplayed { user, .. }
            | Self::RefreshReplayedLate { user, .. }
            | Self::RefreshStolen { user, .. }
            | Self::SessionRevoked { user, .. }
            | Self::SessionsRevoked { user, .. }
            | Self::PasswordChanged { user, .. }
            | Self::PasswordRehashed { user }
            | Self::PasswordRefused { user, .. }
            | Self::ProfileChanged { user }
            | Self::UserErased { user, .. }
            | Self::RoleChanged { user, .. }
            | Self::UserActivated { user }
            | Self::UserDeactivated { user, .. } => Some(*user),
            Self::LoginFailed { user, .. } | Self::OutcomeUnknown { user, .. } => *user,
            Self::RealmOpened { .. }
            | Self::RegistrationRefused { .. }
            | Self::RefreshFailed { .. }
            | Self::ClientAdded { .. }
            | Self::ClientRotated { .. }
            | Self::ClientRemoved { .. }
            | Self::ClientRefused { .. }
            | Self::KeyCreated { .. }
            | Self::KeyActivated { .. }
            | Self::PepperCreated { .. }
            | Self::PepperRemoved { .. }
            | Self::PasswordsSealed { .. }
            | Self::KeyRetired { .. }
            | Self::KeyRemoved { .. }
            | Self::KeysResealed { .. }
            | Self::UsersImported { .. }
            | Self::UsersExported { .. }
            | Self::RowsCleaned { .. } => None,
        }
    }

    /// The event's stable name, as it stands in `kind`.
    pub fn kind(&self) -> &'static str {
        self.what().as_str()
    }
}

/// Makes [`Kind`] and [`Event::what`] of one list: a kind that no event has does not compile, nor one left out.
macro_rules! kinds {
    ($($name:ident = $word:literal,)*) => {
        /// What an event says happened, without to whom: its stable name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", $word, "`")] $name,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word, as it stands in `kind`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The kind of this word.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        impl Event {
            /// Its kind.
            pub fn what(&self) -> Kind {
                match self {
                    $(Self::$name { .. } => Kind::$name,)*
                }
            }
        }
    };
}

kinds! {
    RealmOpened = "realm_opened",
    UserRegistered = "user_registered",
    RegistrationRefused = "registration_refused",
    LoginSucceeded = "login_succeeded",
    LoginFailed = "login_failed",
    SessionRefreshed = "session_refreshed",
    RefreshReplayed = "refresh_replayed",
    RefreshReplayedLate = "refresh_replayed_late",
    RefreshStolen = "refresh_stolen",
    RefreshFailed = "refresh_failed",
    SessionRevoked = "session_revoked",
    SessionsRevoked = "sessions_revoked",
    PasswordChanged = "password_changed",
    PasswordRehashed = "password_rehashed",
    PasswordRefused = "password_refused",
    ProfileChanged = "profile_changed",
    UserErased = "user_erased",
    RoleChanged = "role_changed",
    UserActivated = "user_activated",
    UserDeactivated = "user_deactivated",
    UsersImported = "users_imported",
    UsersExported = "users_exported",
    ClientAdded = "client_added",
    ClientRotated = "client_rotated",
    ClientRemoved = "client_removed",
    ClientRefused = "client_refused",
    KeyCreated = "key_created",
    KeyActivated = "key_activated",
    KeyRetired = "key_retired",
    KeyRemoved = "key_removed",
    PepperCreated = "pepper_created",
    PepperRemoved = "pepper_removed",
    PasswordsSealed = "passwords_sealed",
    KeysResealed = "keys_resealed",
    RowsCleaned = "rows_cleaned",
    OutcomeUnknown = "outcome_unknown",
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_name_of_its_event_and_is_read_back() {
        for &kind in Kind::ALL {
            let name = format!("{kind:?}");
            let snake = name.chars().fold(String::new(), |text, c| {
                let between = if c.is_uppercase() && !text.is_empty() { "_" } else { "" };
                format!("{text}{between}{}", c.to_ascii_lowercase())
            });
            assert_eq!(kind.as_str(), snake);
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("made_up"), None);
    }

    #[test]
    fn what_is_written_names_the_kind() {
        let event = Event::OutcomeUnknown { intended: Kind::LoginSucceeded, user: None, session: None };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(
            (json["kind"].as_str(), json["intended"].as_str()),
            (Some(event.kind()), Some("login_succeeded"))
        );
    }
}

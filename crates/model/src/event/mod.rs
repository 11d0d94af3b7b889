//! What can happen, as a closed list. An event names users by uuid and holds no secret, no password and no token.
//!
//! The list is the documentation too: `docs/events.md` is made of it.

mod documented;
#[cfg(test)]
mod tests;

use uuid::Uuid;

use crate::{ClientId, KeyId, Now, SessionId, UserUuid};

pub use documented::{Documented, Member, Outcome, Shown};
use documented::{events, words};

words! {
    /// Why a login, a refresh or a password check did not succeed. Clients see one answer for all of them.
    Reason {
        /// No account has this email or username.
        UnknownUser = "unknown_user",
        /// The password is not the account's.
        WrongPassword = "wrong_password",
        /// The account is deactivated or erased.
        Inactive = "inactive",
        /// The account or its password changed while the password was being checked.
        Changed = "changed",
        /// The stored password hash cannot be read or costs more than is allowed.
        UnusableHash = "unusable_hash",
        /// The account has no password.
        NoPassword = "no_password",
        /// The token was never issued here.
        UnknownToken = "unknown_token",
        /// The token or its session is past its end.
        Expired = "expired",
        /// The session was ended.
        Revoked = "revoked",
        /// The scope asked for is not granted.
        Scope = "scope",
    }
}

words! {
    /// By which proof a login was asked for.
    LoginMethod {
        /// A password.
        Password = "password",
    }
}

words! {
    /// Why no account was made.
    Obstacle {
        /// Somebody has this email.
        EmailTaken = "email_taken",
        /// Somebody has this username.
        UsernameTaken = "username_taken",
        /// Email, username, password or an attribute is not one that is taken: the answer said which.
        Invalid = "invalid",
    }
}

events! {
    /// One thing that happened.
    Event / EventKind {
        /// The server has come up, and serves from now on.
        ServerStarted("server_started", Done) {
            /// The version that runs.
            version: &'static str,
            /// The machine's name.
            node: String,
        }
        /// The server has ended in order. What has a start and no end was killed.
        ServerStopped("server_stopped", Done) {
            /// The version that ran.
            version: &'static str,
            /// The machine's name.
            node: String,
        }
        /// The configuration was read again while the server ran, and what can be was applied.
        ConfigurationReloaded("configuration_reloaded", Done) {
            /// The version that runs.
            version: &'static str,
            /// The machine's name.
            node: String,
            /// Settings that have another value now.
            applied: Vec<&'static str>,
            /// Settings that will have another value after a restart.
            need_restart: Vec<&'static str>,
        }
        /// The configuration was read again while the server ran, and stays as it is because the new one is bad.
        ConfigurationRefused("configuration_refused", Refused) {
            /// The version that runs.
            version: &'static str,
            /// The machine's name.
            node: String,
            /// How many mistakes it has; the log names them.
            mistakes: u64,
        }
        /// An empty database became the realm of this instance.
        RealmOpened("realm_opened", Done) {
            /// The realm's id.
            realm: Uuid,
        }
        /// An account was made, by its owner or by an operator.
        UserRegistered("user_registered", Done) {
            /// The new user.
            user: UserUuid,
            /// The role of the account.
            role: String,
            /// His first session, where the registration logged him in.
            session: Option<SessionId>,
        }
        /// A registration did not make an account.
        RegistrationRefused("registration_refused", Refused) {
            /// What was in the way.
            reason: Obstacle,
        }
        /// A login succeeded and a session began.
        LoginSucceeded("login_succeeded", Done) {
            /// Who logged in.
            user: UserUuid,
            /// The new session.
            session: SessionId,
            /// By which proof.
            method: LoginMethod,
        }
        /// A login did not succeed.
        LoginFailed("login_failed", Refused) {
            /// Whose account it was, where there is one.
            user: Option<UserUuid>,
            /// A keyed hash of what was typed as email or username: people type passwords there.
            identifier: String,
            /// Why.
            reason: Reason,
            /// By which proof.
            method: LoginMethod,
        }
        /// A refresh token was exchanged for its successor.
        SessionRefreshed("session_refreshed", Done) {
            /// Whose session it is.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The successor's number in the session.
            generation: i64,
        }
        /// A used refresh token came again within its grace and got the same successor.
        RefreshReplayed("refresh_replayed", Done) {
            /// Whose session it is.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The number of the token that came again.
            generation: i64,
        }
        /// A used refresh token came again after its grace, before its successor was used.
        RefreshReplayedLate("refresh_replayed_late", Alarm) {
            /// Whose session it is.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The number of the token that came again.
            generation: i64,
        }
        /// A refresh token was used by two parties; the session was ended.
        RefreshStolen("refresh_stolen", Alarm) {
            /// Whose session it was.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The number of the token that two parties had.
            generation: i64,
        }
        /// A refresh did not succeed.
        RefreshFailed("refresh_failed", Refused) {
            /// Whose session it is, where it is known.
            user: Option<UserUuid>,
            /// The session that the token names, where it is one of ours.
            session: Option<SessionId>,
            /// Why.
            reason: Reason,
        }
        /// One session was ended, by logout or from the list of sessions.
        SessionRevoked("session_revoked", Done) {
            /// Whose session it was.
            user: UserUuid,
            /// The session.
            session: SessionId,
        }
        /// Every session of a user was ended.
        SessionsRevoked("sessions_revoked", Done) {
            /// Whose sessions they were.
            user: UserUuid,
            /// How many there were.
            sessions: u64,
        }
        /// The password was changed; other sessions were ended.
        PasswordChanged("password_changed", Done) {
            /// Whose password it is.
            user: UserUuid,
            /// How many sessions were ended.
            sessions: u64,
        }
        /// A password that was right got a hash of the configured kind.
        PasswordRehashed("password_rehashed", Done) {
            /// Whose password it is.
            user: UserUuid,
        }
        /// A change or an erasure was refused because the current password was wrong.
        PasswordRefused("password_refused", Refused) {
            /// Whose account it is.
            user: UserUuid,
            /// Why.
            reason: Reason,
        }
        /// Username or profile attributes changed.
        ProfileChanged("profile_changed", Done) {
            /// Whose account it is.
            user: UserUuid,
        }
        /// The account was erased; a tombstone is left.
        UserErased("user_erased", Done) {
            /// Whose account it was.
            user: UserUuid,
            /// How many sessions were ended.
            sessions: u64,
        }
        /// An operator changed a role.
        RoleChanged("role_changed", Done) {
            /// Whose role it is.
            user: UserUuid,
            /// The role that he has now.
            role: String,
        }
        /// An operator activated an account.
        UserActivated("user_activated", Done) {
            /// Whose account it is.
            user: UserUuid,
        }
        /// An operator deactivated an account; its sessions were ended.
        UserDeactivated("user_deactivated", Done) {
            /// Whose account it is.
            user: UserUuid,
            /// How many sessions were ended.
            sessions: u64,
        }
        /// An operator looked at one account.
        UserShown("user_shown", Done) {
            /// Whose account it is.
            user: UserUuid,
        }
        /// An operator began to list accounts.
        UsersListed("users_listed", Done) {}
        /// An operator imported accounts: one batch of them, in one transaction.
        UsersImported("users_imported", Done) {
            /// How many accounts were made.
            users: u64,
            /// How many of them are administrators.
            admins: u64,
            /// How many numbers of erased accounts were taken.
            tombstones: u64,
        }
        /// An operator began to export all accounts.
        UsersExported("users_exported", Done) {
            /// Whether with their password hashes.
            hashes: bool,
        }
        /// A client was added.
        ClientAdded("client_added", Done) {
            /// The client.
            client: ClientId,
        }
        /// A client got a new secret.
        ClientRotated("client_rotated", Done) {
            /// The client.
            client: ClientId,
        }
        /// A client was removed.
        ClientRemoved("client_removed", Done) {
            /// The client.
            client: ClientId,
        }
        /// A client authenticated. It is recorded once an hour for each client and address on a node.
        ClientAuthenticated("client_authenticated", Done) {
            /// The client.
            client: ClientId,
        }
        /// A client could not authenticate.
        ClientRefused("client_refused", Refused) {
            /// The client, where there is one of that name.
            client: Option<ClientId>,
        }
        /// A signing key was made.
        KeyCreated("key_created", Done) {
            /// The key.
            key: KeyId,
            /// What it signs with.
            algorithm: String,
        }
        /// A signing key began to sign.
        KeyActivated("key_activated", Done) {
            /// The key.
            key: KeyId,
        }
        /// A signing key stopped signing and is published until its tokens have ended.
        KeyRetired("key_retired", Done) {
            /// The key.
            key: KeyId,
        }
        /// A signing key was removed; its tokens are refused from now on.
        KeyRemoved("key_removed", Done) {
            /// The key.
            key: KeyId,
            /// Whether an operator removed it because somebody else may have it.
            compromised: bool,
        }
        /// A pepper was made, and seals stored password hashes from now on.
        PepperCreated("pepper_created", Done) {
            /// Its version.
            version: i64,
        }
        /// A pepper that sealed no stored hash any more was removed.
        PepperRemoved("pepper_removed", Done) {
            /// Its version.
            version: i64,
        }
        /// Stored password hashes were sealed with a pepper, or their seals were taken off.
        PasswordsSealed("passwords_sealed", Done) {
            /// The pepper's version; null where seals were taken off.
            pepper: Option<i64>,
            /// How many there were.
            passwords: u64,
        }
        /// Sealed secrets were sealed again under the first master key.
        KeysResealed("keys_resealed", Done) {
            /// How many there were.
            keys: u64,
        }
        /// A cleanup step removed rows.
        RowsCleaned("rows_cleaned", Done) {
            /// How many sessions that had ended.
            sessions: u64,
            /// How many revocations that nobody needs any more.
            revocations: u64,
        }
        /// Something was begun, and nobody knows whether it was done: the answer to COMMIT was lost, or the server was
        /// killed before it came.
        OutcomeUnknown("outcome_unknown", Unknown) {
            /// What was begun: the kind of event that would have followed.
            intended: EventKind,
            /// To whom, where that is known.
            user: Option<UserUuid>,
            /// To which session, where it is about one.
            session: Option<SessionId>,
        }
    }
}

impl Event {
    /// The user whose identity this event itself proves: by a password or a token that only the user has.
    pub fn proven_user(&self) -> Option<UserUuid> {
        match self {
            Self::LoginSucceeded { user, .. }
            | Self::SessionRefreshed { user, .. }
            | Self::RefreshReplayed { user, .. } => Some(*user),
            Self::ServerStarted { .. }
            | Self::ServerStopped { .. }
            | Self::ConfigurationReloaded { .. }
            | Self::ConfigurationRefused { .. }
            | Self::RealmOpened { .. }
            | Self::UserRegistered { .. }
            | Self::RegistrationRefused { .. }
            | Self::LoginFailed { .. }
            | Self::RefreshReplayedLate { .. }
            | Self::RefreshStolen { .. }
            | Self::RefreshFailed { .. }
            | Self::SessionRevoked { .. }
            | Self::SessionsRevoked { .. }
            | Self::PasswordChanged { .. }
            | Self::PasswordRehashed { .. }
            | Self::PasswordRefused { .. }
            | Self::ProfileChanged { .. }
            | Self::UserErased { .. }
            | Self::RoleChanged { .. }
            | Self::UserActivated { .. }
            | Self::UserDeactivated { .. }
            | Self::UserShown { .. }
            | Self::UsersListed { .. }
            | Self::UsersImported { .. }
            | Self::UsersExported { .. }
            | Self::ClientAdded { .. }
            | Self::ClientRotated { .. }
            | Self::ClientRemoved { .. }
            | Self::ClientRefused { .. }
            | Self::ClientAuthenticated { .. }
            | Self::KeyCreated { .. }
            | Self::KeyActivated { .. }
            | Self::KeyRetired { .. }
            | Self::KeyRemoved { .. }
            | Self::PepperCreated { .. }
            | Self::PepperRemoved { .. }
            | Self::PasswordsSealed { .. }
            | Self::KeysResealed { .. }
            | Self::RowsCleaned { .. }
            | Self::OutcomeUnknown { .. } => None,
        }
    }
}

events! {
    /// What the audit journal says of itself.
    Notice {
        /// Events could not be written, and are not in the journal.
        AuditGap("audit_gap", Alarm) {
            /// How many.
            records: u64,
            /// When the first of them was noted.
            first: Now,
            /// When the last of them was noted.
            last: Now,
        }
        /// Records were written, and the disk did not confirm that they stay: a power failure may have taken them.
        AuditUnsynced("audit_unsynced", Alarm) {
            /// The sequence of the first of them.
            from: u64,
            /// The sequence of the last of them.
            to: u64,
        }
    }
}

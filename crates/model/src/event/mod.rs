//! Audit events, as a closed list. An event names users by uuid and contains no secret, no password and no
//! token.
//!
//! The list is also the source of the documentation: `docs/generated/events.md` is generated from it.

mod documented;
pub mod intent;
mod repetition;
#[cfg(test)]
mod tests;

use uuid::Uuid;

use crate::{ClientId, ClientRights, KeyId, Now, SessionId, UserId, UserUuid};

pub use documented::{CommittedEvent, Documented, Member, Outcome, Shown};
use documented::{events, words};
pub use repetition::Repetition;

words! {
    /// Why a login, a refresh or a password check did not succeed. Clients get the same response for all of
    /// them.
    Reason {
        /// No account has this email or username.
        UnknownUser = "unknown_user",
        /// The password does not match.
        WrongPassword = "wrong_password",
        /// The account is deactivated or erased.
        Inactive = "inactive",
        /// The account or its password changed while the password was being checked.
        Changed = "changed",
        /// The stored password hash cannot be read or costs more than is allowed.
        UnusableHash = "unusable_hash",
        /// The account has no password.
        NoPassword = "no_password",
        /// No client has this id.
        UnknownClient = "unknown_client",
        /// The secret of the client does not match.
        WrongSecret = "wrong_secret",
        /// The client does not have the right that the call needs.
        NoRight = "no_right",
        /// The token was never issued here.
        UnknownToken = "unknown_token",
        /// The token or its session has expired.
        Expired = "expired",
        /// The session was created more than 7 days ahead of the present clock: a wrong clock did it.
        InTheFuture = "in_the_future",
        /// The session was ended.
        Revoked = "revoked",
        /// The requested scope is not granted.
        Scope = "scope",
        /// Too many passwords were tried for the account; this one was not checked.
        Limited = "limited",
        /// The password matches, but after 100 failures it works only from networks and sessions that are
        /// known, until it is reset.
        Closed = "closed",
        /// The server had too much to do; the password was not checked.
        Overloaded = "overloaded",
        /// The database did not answer.
        Unavailable = "unavailable",
    }
}

words! {
    /// Why a bearer token was refused.
    TokenRefusal {
        /// It does not have the form of an access token.
        Malformed = "malformed",
        /// No key of this server has its `kid`, or the key has another algorithm.
        UnknownKey = "unknown_key",
        /// Its signature does not verify.
        Signature = "signature",
        /// It is of another issuer or audience, is not valid yet, or lacks a claim.
        Claims = "claims",
        /// It has expired.
        Expired = "expired",
        /// Its session has ended, or the database was recovered since it was issued.
        Revoked = "revoked",
    }
}

impl TokenRefusal {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Malformed, Self::UnknownKey, Self::Signature, Self::Claims, Self::Expired, Self::Revoked];
}

words! {
    /// By which proof a login was asked for.
    LoginMethod {
        /// A password.
        Password = "password",
    }
}

words! {
    /// What many failed logins look like.
    LoginAttack {
        /// Pairs of names and passwords that were stolen elsewhere are tried: many accounts, few successes.
        CredentialStuffing = "credential_stuffing",
        /// One password is tried for many accounts.
        PasswordSpraying = "password_spraying",
    }
}

impl LoginAttack {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::CredentialStuffing, Self::PasswordSpraying];
}

words! {
    /// Why a registration created no account.
    Obstacle {
        /// Another account has this email.
        EmailTaken = "email_taken",
        /// Another account has this username.
        UsernameTaken = "username_taken",
        /// Email, username, password or an attribute is invalid; the response named it.
        Invalid = "invalid",
        /// Users do not register by themselves here.
        Closed = "closed",
    }
}

events! {
    /// One audit event.
    Event / EventKind {
        /// The server started and serves requests.
        ServerStarted("server_started", Done) {
            /// The version that runs.
            version: &'static str,
            /// The host name of the node.
            node: String,
        }
        /// The server shut down gracefully. A start without this event means that the process was killed.
        ServerStopped("server_stopped", Done) {
            /// The version that ran.
            version: &'static str,
            /// The host name of the node.
            node: String,
        }
        /// The running server reloaded the configuration and applied what can change without a restart.
        ConfigurationReloaded("configuration_reloaded", Done) {
            /// The version that runs.
            version: &'static str,
            /// The host name of the node.
            node: String,
            /// Settings whose value changed.
            applied: Vec<&'static str>,
            /// Settings whose value will change after a restart.
            need_restart: Vec<&'static str>,
        }
        /// The running server read a new configuration with errors, and keeps the old one.
        ConfigurationRefused("configuration_refused", Refused) {
            /// The version that runs.
            version: &'static str,
            /// The host name of the node.
            node: String,
            /// Number of errors in it; the log names them.
            mistakes: u64,
        }
        /// An empty database became the realm of this instance, or a realm of an older release got its own
        /// key.
        RealmOpened("realm_opened", Done) {
            /// The realm's id.
            realm: Uuid,
        }
        /// An account was created, by a registration or by an operator.
        UserRegistered("user_registered", Done) {
            /// The new user.
            user: UserUuid,
            /// The user's number.
            number: UserId,
            /// The role of the account.
            role: String,
            /// The user's first session, if the registration also logged in.
            session: Option<SessionId>,
        }
        /// A registration was refused.
        RegistrationRefused("registration_refused", Refused) {
            /// Why it was refused.
            reason: Obstacle,
        }
        /// A login succeeded and a session began.
        LoginSucceeded("login_succeeded", Done) {
            /// The user.
            user: UserUuid,
            /// The new session.
            session: SessionId,
            /// By which proof.
            method: LoginMethod,
        }
        /// A login did not succeed.
        LoginFailed("login_failed", Refused) {
            /// The user, if the account exists.
            user: Option<UserUuid>,
            /// A keyed hash of the email or username in the request, because users type passwords into that
            /// field.
            identifier: String,
            /// Why.
            reason: Reason,
            /// By which proof.
            method: LoginMethod,
        }
        /// A refresh token was exchanged for its successor.
        SessionRefreshed("session_refreshed", Done) {
            /// The user.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The generation of the successor in the session.
            generation: i64,
        }
        /// A used refresh token was sent again within the grace time and got the same successor.
        RefreshReplayed("refresh_replayed", Done) {
            /// The user.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The generation of that token.
            generation: i64,
        }
        /// A used refresh token was sent again after the grace time by the client that had used it, before
        /// its successor was used: an answer was lost, or processes share the token. Recorded once a
        /// generation.
        RefreshShared("refresh_shared", Done) {
            /// The user.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The generation of that token.
            generation: i64,
        }
        /// A used refresh token was sent again after the grace time by the client that had used it, after its
        /// successor was used. It was refused, and the session lives.
        RefreshSuperseded("refresh_superseded", Refused) {
            /// The user.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The generation of that token.
            generation: i64,
        }
        /// A used refresh token was sent again before its successor was used, by another client or with
        /// another user agent.
        RefreshReplayedLate("refresh_replayed_late", Alarm) {
            /// The user.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The generation of that token.
            generation: i64,
        }
        /// A refresh token was used by two clients; the session was ended.
        RefreshStolen("refresh_stolen", Alarm) {
            /// The user.
            user: UserUuid,
            /// The session.
            session: SessionId,
            /// The generation of the token that two clients used.
            generation: i64,
        }
        /// A refresh did not succeed.
        RefreshFailed("refresh_failed", Refused) {
            /// The user, if the session is known.
            user: Option<UserUuid>,
            /// The session that the token names, if this server issued the token.
            session: Option<SessionId>,
            /// Why.
            reason: Reason,
        }
        /// A bearer token was refused.
        TokenRefused("token_refused", Refused) {
            /// The user that the token names, if its signature is valid.
            user: Option<UserUuid>,
            /// The session that the token names, if its signature is valid.
            session: Option<SessionId>,
            /// Why.
            reason: TokenRefusal,
        }
        /// A user named a session that is not one of theirs, or has ended.
        SessionNotFound("session_not_found", Refused) {
            /// The user.
            user: UserUuid,
            /// The session that they named.
            session: SessionId,
        }
        /// One session was ended, by logout or from the list of sessions.
        SessionRevoked("session_revoked", Done) {
            /// The user; null if the database does not have the session of the refresh token.
            user: Option<UserUuid>,
            /// The session.
            session: SessionId,
        }
        /// Every session of a user was ended.
        SessionsRevoked("sessions_revoked", Done) {
            /// The user.
            user: UserUuid,
            /// Number of sessions ended.
            sessions: u64,
        }
        /// The password was changed; other sessions were ended.
        PasswordChanged("password_changed", Done) {
            /// The user.
            user: UserUuid,
            /// Number of sessions ended.
            sessions: u64,
            /// When: the time in the credential's row.
            changed_at: Now,
        }
        /// A verified password was hashed again with the configured algorithm and cost.
        PasswordRehashed("password_rehashed", Done) {
            /// The user.
            user: UserUuid,
        }
        /// A change or an erasure was refused because the current password was wrong.
        PasswordRefused("password_refused", Refused) {
            /// The user.
            user: UserUuid,
            /// Why.
            reason: Reason,
        }
        /// Username or profile attributes changed.
        ProfileChanged("profile_changed", Done) {
            /// The user.
            user: UserUuid,
        }
        /// The account was erased; a tombstone is left.
        UserErased("user_erased", Done) {
            /// The user.
            user: UserUuid,
            /// Number of sessions ended.
            sessions: u64,
        }
        /// An operator changed the role of a user.
        RoleChanged("role_changed", Done) {
            /// The user.
            user: UserUuid,
            /// The new role.
            role: String,
        }
        /// An operator activated an account.
        UserActivated("user_activated", Done) {
            /// The user.
            user: UserUuid,
        }
        /// An operator deactivated an account; its sessions were ended.
        UserDeactivated("user_deactivated", Done) {
            /// The user.
            user: UserUuid,
            /// Number of sessions ended.
            sessions: u64,
        }
        /// An operator viewed one account.
        UserShown("user_shown", Done) {
            /// The user.
            user: UserUuid,
        }
        /// An operator began to list accounts.
        UsersListed("users_listed", Done) {}
        /// An operator listed clients.
        ClientsListed("clients_listed", Done) {}
        /// An operator listed signing keys, peppers or master keys; the list has none of their secrets.
        KeysListed("keys_listed", Done) {}
        /// An operator imported accounts: one batch of them, in one transaction.
        UsersImported("users_imported", Done) {
            /// Number of accounts created.
            users: u64,
            /// The highest user number among them.
            highest: UserId,
            /// Number of administrators among them.
            admins: u64,
            /// Number of tombstones of erased accounts imported.
            tombstones: u64,
        }
        /// An operator began to export all accounts.
        UsersExported("users_exported", Done) {
            /// Whether the export includes password hashes.
            hashes: bool,
        }
        /// A client was added.
        ClientAdded("client_added", Done) {
            /// The client.
            client: ClientId,
            /// What it may do: `introspect` tokens, read the `feed` of revocations.
            rights: ClientRights,
            /// When the client was added.
            changed_at: Now,
        }
        /// A client got a new secret.
        ClientRotated("client_rotated", Done) {
            /// The client.
            client: ClientId,
            /// When the secret was changed.
            changed_at: Now,
        }
        /// A client got other rights.
        ClientRightsChanged("client_rights_changed", Done) {
            /// The client.
            client: ClientId,
            /// What it may do from now on.
            rights: ClientRights,
            /// When they were changed.
            changed_at: Now,
        }
        /// A client was removed.
        ClientRemoved("client_removed", Done) {
            /// The client.
            client: ClientId,
            /// When the client had been added.
            added_at: Now,
        }
        /// A client authenticated. It is recorded once an hour for each client and address on a node.
        ClientAuthenticated("client_authenticated", Done) {
            /// The client.
            client: ClientId,
        }
        /// A client could not authenticate, or does not have the right that its call needs.
        ClientRefused("client_refused", Refused) {
            /// The client, if its name is registered.
            client: Option<ClientId>,
            /// Why it was refused.
            reason: Reason,
        }
        /// A signing key was created.
        KeyCreated("key_created", Done) {
            /// The key.
            key: KeyId,
            /// Its signature algorithm.
            algorithm: String,
        }
        /// A signing key became active and signs new tokens.
        KeyActivated("key_activated", Done) {
            /// The key.
            key: KeyId,
        }
        /// A signing key stopped signing; it is published until its tokens have expired.
        KeyRetired("key_retired", Done) {
            /// The key.
            key: KeyId,
        }
        /// A signing key was removed; its tokens are refused from now on.
        KeyRemoved("key_removed", Done) {
            /// The key.
            key: KeyId,
        }
        /// An operator set the time from which a published signing key signs.
        KeyScheduled("key_scheduled", Done) {
            /// The key.
            key: KeyId,
            /// From when on it signs.
            signs_at: Now,
        }
        /// An operator replaced every signing key, because one may be compromised: all tokens of before are
        /// refused.
        KeysReplaced("keys_replaced", Alarm) {
            /// The key that signs from now on.
            key: KeyId,
            /// The removed keys.
            removed: Vec<KeyId>,
        }
        /// A line of the master key file was used for the first time.
        MasterKeyAdded("master_key_added", Done) {
            /// The id of the master key.
            master_key: String,
        }
        /// A pepper was created, and seals stored password hashes from now on.
        PepperCreated("pepper_created", Done) {
            /// Its version.
            version: i64,
        }
        /// A pepper that no stored hash needs was removed.
        PepperRemoved("pepper_removed", Done) {
            /// Its version.
            version: i64,
        }
        /// Stored password hashes were sealed with a pepper, or their seals were taken off.
        PasswordsSealed("passwords_sealed", Done) {
            /// The pepper's version; null where seals were taken off.
            pepper: Option<i64>,
            /// Number of stored hashes.
            passwords: u64,
        }
        /// Sealed secrets were sealed again under the first line of the master key file.
        KeysResealed("keys_resealed", Done) {
            /// Number of signing keys and peppers sealed again.
            keys: u64,
            /// Number of detail keys of the audit trail sealed again.
            detail_keys: u64,
            /// The id of the master key of that line.
            master_key: String,
        }
        /// An operator began to read the audit trail with its decrypted details: addresses, user agents and
        /// request ids of clients.
        AuditRead("audit_read", Done) {
            /// Only events about this user; null where there was no such limit.
            user: Option<UserUuid>,
            /// Only events of this kind; null where there was no such limit.
            only: Option<String>,
            /// Whether new events are printed as they arrive.
            follow: bool,
        }
        /// The failed logins of a node within five minutes look like an attack on many accounts. Recorded
        /// once in that time for each kind.
        LoginAttackSuspected("login_attack_suspected", Alarm) {
            /// What they look like.
            attack: LoginAttack,
            /// Failed logins so far.
            failed: u64,
            /// Successful logins so far.
            succeeded: u64,
            /// Accounts of the failed logins, existing or not; no more than 10,000 are counted.
            accounts: u64,
            /// Networks of the failed logins; no more than 10,000 are counted.
            networks: u64,
            /// When the first of them happened.
            since: Now,
        }
        /// A limit refused a request of a network.
        RequestLimited("request_limited", Refused) {
            /// The limit: `register`, `login`, `refresh` or `global`.
            limit: &'static str,
        }
        /// Events that are not in the journal one by one, because one network or identifier caused too many
        /// of them. The first ones of each minute are.
        EventsRepeated("events_repeated", Refused) {
            /// The kind of these events.
            of: &'static str,
            /// Their reason, or their limit.
            reason: &'static str,
            /// The keyed hash of the identifier that each of them names; null where they name several.
            identifier: Option<String>,
            /// How many there were.
            count: u64,
            /// How many identifiers they named, at least; no more than 1,000 are counted.
            identifiers: u64,
            /// When the first of them happened.
            first: Now,
            /// When the last of them happened.
            last: Now,
        }
        /// A cleanup step removed rows.
        RowsCleaned("rows_cleaned", Done) {
            /// Number of ended sessions removed.
            sessions: u64,
            /// Number of revocations removed that are no longer needed.
            revocations: u64,
            /// Number of networks removed from which the user has not logged in for long.
            networks: u64,
        }
        /// The database is older than a token or than this node's journal: it was restored from a backup, or
        /// failed over; or its sequence of user numbers was behind them. No other user gets a number up to
        /// this.
        DatabaseOutdated("database_outdated", Alarm) {
            /// The highest user number of the token, the journal or the table.
            highest: UserId,
        }
        /// An operator applied what the journals name to a database that was restored to an older state.
        /// Access tokens of before are refused.
        DatabaseRecovered("database_recovered", Done) {
            /// The realm's id.
            realm: Uuid,
            /// The realm's new epoch: the time of the recovery, in seconds since 1970.
            epoch: i64,
            /// Number of sessions ended.
            sessions: u64,
            /// Number of passwords that need a reset.
            passwords: u64,
            /// Number of users activated.
            activated: u64,
            /// Number of users deactivated.
            deactivated: u64,
            /// Number of roles changed.
            roles: u64,
            /// Number of accounts erased.
            erased: u64,
            /// Number of signing keys removed.
            keys: u64,
            /// Number of clients removed.
            clients: u64,
            /// Number of clients that lost rights.
            client_rights: u64,
            /// The highest user number in the journals: no other user gets one up to this.
            highest: Option<UserId>,
            /// Whether every session was ended, because a journal was missing: in this recovery, or in an
            /// earlier one that the database did not know.
            without_journal: bool,
        }
        /// The server began a journal in a realm that is not new, and the database has no journal of any
        /// node: the records of before are gone. `audit verify` reports it until a later head is vouched for.
        AuditPastMissing("audit_past_missing", Alarm) {}
        /// A change was begun and its outcome cannot be determined: the answer to COMMIT was lost, or the
        /// server was killed before the answer arrived.
        OutcomeUnknown("outcome_unknown", Unknown) {
            /// The kind of event that would have followed.
            intended: EventKind,
            /// The user, if known.
            user: Option<UserUuid>,
            /// The session, if the change concerns one.
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
            | Self::RefreshShared { .. }
            | Self::RefreshSuperseded { .. }
            | Self::RefreshReplayedLate { .. }
            | Self::RefreshStolen { .. }
            | Self::RefreshFailed { .. }
            | Self::TokenRefused { .. }
            | Self::SessionNotFound { .. }
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
            | Self::ClientsListed { .. }
            | Self::KeysListed { .. }
            | Self::UsersImported { .. }
            | Self::UsersExported { .. }
            | Self::ClientAdded { .. }
            | Self::ClientRotated { .. }
            | Self::ClientRightsChanged { .. }
            | Self::ClientRemoved { .. }
            | Self::ClientRefused { .. }
            | Self::ClientAuthenticated { .. }
            | Self::KeyCreated { .. }
            | Self::KeyActivated { .. }
            | Self::KeyRetired { .. }
            | Self::KeyRemoved { .. }
            | Self::KeyScheduled { .. }
            | Self::KeysReplaced { .. }
            | Self::MasterKeyAdded { .. }
            | Self::AuditRead { .. }
            | Self::PepperCreated { .. }
            | Self::PepperRemoved { .. }
            | Self::PasswordsSealed { .. }
            | Self::KeysResealed { .. }
            | Self::RowsCleaned { .. }
            | Self::RequestLimited { .. }
            | Self::LoginAttackSuspected { .. }
            | Self::EventsRepeated { .. }
            | Self::DatabaseOutdated { .. }
            | Self::AuditPastMissing { .. }
            | Self::DatabaseRecovered { .. }
            | Self::OutcomeUnknown { .. } => None,
        }
    }
}

events! {
    /// Notices of the audit journal about itself.
    Notice {
        /// Events could not be written, and are not in the journal.
        AuditGap("audit_gap", Alarm) {
            /// Number of events.
            records: u64,
            /// When the first of them was recorded.
            first: Now,
            /// When the last of them was recorded.
            last: Now,
        }
        /// Records were written, and the disk did not confirm the sync: a power failure may have lost them.
        AuditUnsynced("audit_unsynced", Alarm) {
            /// The sequence of the first of them.
            from: u64,
            /// The sequence of the last of them.
            to: u64,
        }
        /// Files with records were removed or cut while they were in use. The database has those that were
        /// shipped before.
        AuditRecordsLost("audit_records_lost", Alarm) {
            /// The sequence of the first of them.
            from: u64,
            /// The sequence of the last of them.
            to: u64,
        }
        /// Records were in the files that no checkpoint covered, when the server or a command began to write:
        /// an earlier process was killed, or they were forged. The next checkpoint covers them.
        AuditEndAdopted("audit_end_adopted", Alarm) {
            /// The sequence of the first of them.
            from: u64,
            /// The sequence of the last of them.
            to: u64,
        }
    }
}

/// Intents of transactions: what is written before a commit, so that a killed process leaves no doubt.
pub mod announced {
    use super::EventKind;
    use crate::{Now, SessionId, UserUuid};

    super::intent::intents! {
        traced {
            UserRegistered { user: UserUuid, session: Option<SessionId> }
            ProfileChanged { user: UserUuid, stamp: Now }
            RoleChanged { user: UserUuid, stamp: Now }
            UserActivated { user: UserUuid, stamp: Now }
            LoginSucceeded { user: UserUuid, session: SessionId }
            SessionRefreshed { session: SessionId, generation: i64, stamp: Now }
            RefreshStolen { user: UserUuid, session: SessionId, generation: i64, stamp: Now }
            SessionRevoked { user: Option<UserUuid>, session: SessionId, stamp: Now }
        }
        // No row distinguishes one of these from another of its kind.
        untraced {
            UserDeactivated { user: UserUuid, stamp: Now }
            UserErased { user: UserUuid, stamp: Now }
            PasswordChanged { user: UserUuid, stamp: Now }
            PasswordRehashed { user: UserUuid, stamp: Now }
            RefreshShared { user: UserUuid, session: SessionId, generation: i64 }
            RefreshSuperseded { user: UserUuid, session: SessionId, generation: i64 }
            RefreshReplayedLate { user: UserUuid, session: SessionId, generation: i64 }
            SessionsRevoked { user: UserUuid, stamp: Now }
            RealmOpened {}
            UsersImported {}
            ClientAdded {}
            ClientRotated {}
            ClientRightsChanged {}
            ClientRemoved {}
            KeyCreated {}
            KeyActivated {}
            KeyRetired {}
            KeyRemoved {}
            KeyScheduled {}
            KeysReplaced {}
            MasterKeyAdded {}
            PepperCreated {}
            PepperRemoved {}
            PasswordsSealed { user: Option<UserUuid> }
            KeysResealed {}
            RowsCleaned {}
            DatabaseOutdated {}
            DatabaseRecovered {}
        }
    }
}

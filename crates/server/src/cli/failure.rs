//! Failures of commands: one sentence and an exit status.

use std::fmt;
use std::io;
use std::process::ExitCode;

use audit::verify::VerifyError;
use auth::account::{AdminError, RegisterError};
use auth::client::ClientError;
use auth::password::pepper::PepperServiceError;
use auth::signing_keys::SigningKeyError;
use hashing::Refusal;
use model::profile::FieldError;

use crate::app::master_key::MasterKeyError;
use crate::app::start_error::StartError;
use crate::config::ConfigErrors;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    /// The operation failed (exit status 1).
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self { status: 1, text: text.into() }
    }

    /// The arguments or the configuration are wrong (exit status 2).
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { status: 2, text: text.into() }
    }

    /// A signal ended the command; `status` says which.
    pub(super) fn interrupted(status: u8) -> Self {
        Self { status, text: "a signal ended the command; its records are written and signed".to_owned() }
    }

    /// The failure of a command that a signal has ended.
    pub(super) fn by_signal(self, status: u8) -> Self {
        Self { status, ..self }
    }

    /// With what else the operator should know.
    pub(super) fn and(self, more: &str) -> Self {
        Self { text: format!("{}; {more}", self.text), ..self }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
    pub(super) fn configuration(errors: ConfigErrors) -> Self {
        Self::usage(errors.to_string().trim_end())
    }

    /// The reasons for which fields of an account were refused.
    pub(super) fn fields(errors: &[FieldError]) -> Self {
        let lines: Vec<_> = errors.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
        Self::failed(lines.join("; "))
    }

    /// Prints the sentence on standard error; returns the exit status.
    pub(super) fn tell(self, mut standard_error: impl io::Write) -> ExitCode {
        if !self.text.is_empty() {
            // A failure to print has no other place to be reported.
            let _ = standard_error.write_all(format!("gatewright: {}\n", self.text).as_bytes());
        }
        ExitCode::from(self.status)
    }

    fn hash(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy(_) | Refusal::Gone => Self::failed("the password could not be hashed in time"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let status = if error.is_configuration() { 2 } else { 1 };
        Self { status, text: error.to_string() }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<MasterKeyError> for Failure {
    fn from(error: MasterKeyError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<SigningKeyError> for Failure {
    fn from(error: SigningKeyError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<PepperServiceError> for Failure {
    fn from(error: PepperServiceError) -> Self {
        match error {
            PepperServiceError::Off | PepperServiceError::On => Self::usage(error.to_string()),
            other => Self::failed(other.to_string()),
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Unknown => Self::failed("there is no such user"),
            AdminError::Ambiguous => Self::usage(
                "the name means more than one user: write `number:`, `uuid:`, `email:` or `username:` \
                 before it",
            ),
            AdminError::Role => Self::usage("there is no such role"),
            AdminError::Invalid(error) => Self::fields(&[error]),
            AdminError::Hash(refusal) => Self::hash(refusal),
            AdminError::Register(error) => error.into(),
            AdminError::Store(error) => error.into(),
        }
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::EmailTaken => Self::failed("the email is taken"),
            RegisterError::UsernameTaken => Self::failed("the username is taken"),
            RegisterError::Invalid(error) => Self::fields(&[error]),
            RegisterError::Hash(refusal) => Self::hash(refusal),
            RegisterError::Mint(_) => Self::failed("no token could be signed"),
            RegisterError::Store(error) => error.into(),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Taken => Self::failed("a client with this id exists already"),
            ClientError::Unknown | ClientError::Refused | ClientError::NotAllowed => {
                Self::failed("there is no such client")
            }
            ClientError::BadId => Self::usage("a client's id is 1 to 64 letters, digits, `.`, `_` or `-`"),
            ClientError::Store(error) => error.into(),
        }
    }
}

/// A write of the output failed: because the reader has closed the pipe, which is not a failure of the
/// command, or for another reason such as a full disk.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { status: 0, text: String::new() },
            _ => Self::failed(format!("the output cannot be written: {error}")),
        }
    }
}

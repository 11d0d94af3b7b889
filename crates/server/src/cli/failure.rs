//! Failures of commands: one sentence and an exit status; with `--json`, one line of JSON on standard error:
//! `code`, `message`, `exit_status`, and `errors` where there are several.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use audit::verify::VerifyError;
use auth::account::{AdminError, RegisterError};
use auth::client::ClientError;
use auth::password::pepper::PepperServiceError;
use auth::signing_keys::SigningKeyError;
use hashing::Refusal;
use model::profile::FieldError;
use serde_json::{Value, json};

use crate::app::master_key::MasterKeyError;
use crate::app::start_error::StartError;
use crate::config::{ConfigError, ConfigErrors};

/// Declares the codes of failures: the word of each, and its meaning.
macro_rules! codes {
    ($($(#[doc = $about:literal])+ $name:ident = $word:literal,)+) => {
        /// What a failure is, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code {
            $($(#[doc = $about])+ $name,)+
        }

        impl Code {
            /// Every code with its meaning, in the order of the documentation.
            pub(super) const DOCUMENTED: &[(Self, &str)] =
                &[$((Self::$name, concat!($($about),+).trim_ascii_start()),)+];

            /// The word.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

codes! {
    /// The arguments are wrong.
    Usage = "usage",
    /// The configuration is wrong; `errors` has each mistake.
    Configuration = "configuration_invalid",
    /// A signal ended the command.
    Interrupted = "interrupted",
    /// The data belong to another user of this machine: run the command as that user.
    OtherOwner = "other_owner",
    /// A file or directory cannot be read, written or created.
    File = "file",
    /// The output cannot be written.
    Output = "output",
    /// There is no embedded database.
    DatabaseMissing = "database_missing",
    /// The database cannot be reached, or does not answer.
    DatabaseUnavailable = "database_unavailable",
    /// The database cannot be used as it is: the sentence says what to change.
    DatabaseRefused = "database_refused",
    /// The master key is missing, unreadable, or not the one that sealed the database.
    MasterKey = "master_key",
    /// The audit trail cannot be written, so that nothing was done.
    Audit = "audit",
    /// A verification of the audit trail found something wrong.
    AuditFinding = "audit_finding",
    /// There is no such user.
    UserUnknown = "user_unknown",
    /// The name means more than one user.
    UserAmbiguous = "user_ambiguous",
    /// Another account has the email.
    EmailTaken = "email_taken",
    /// Another account has the username.
    UsernameTaken = "username_taken",
    /// An email, a username, a password or an attribute is not acceptable.
    Invalid = "invalid",
    /// Rows of an import were refused.
    RowsRefused = "rows_refused",
    /// There is no such client.
    ClientUnknown = "client_unknown",
    /// Another client has the id.
    ClientTaken = "client_taken",
    /// The command was not confirmed.
    NotConfirmed = "not_confirmed",
    /// The command failed for another reason.
    Failed = "failed",
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    status: u8,
    code: Code,
    text: String,
    errors: Vec<Value>,
}

impl Failure {
    /// The operation failed (exit status 1).
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self { status: 1, code: Code::Failed, text: text.into(), errors: Vec::new() }
    }

    /// The arguments or the configuration are wrong (exit status 2).
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { status: 2, code: Code::Usage, ..Self::failed(text) }
    }

    /// Whether it is one of this code.
    pub(super) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    /// With its code.
    pub(super) fn code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// A file that the operator named cannot be read.
    pub(super) fn unreadable(name: impl fmt::Display, why: &dyn fmt::Display) -> Self {
        Self::failed(format!("{name} cannot be read: {why}")).code(Code::File)
    }

    /// A file that the operator named cannot be written.
    pub(super) fn unwritable(path: &Path, why: &dyn fmt::Display) -> Self {
        Self::failed(format!("{} cannot be written: {why}", path.display())).code(Code::File)
    }

    /// A signal ended the command; `status` says which.
    pub(super) fn interrupted(status: u8) -> Self {
        let text = "a signal ended the command; its records are written and signed";
        Self { status, ..Self::failed(text).code(Code::Interrupted) }
    }

    /// The failure of a command that a signal has ended.
    pub(super) fn by_signal(self, status: u8) -> Self {
        Self { status, ..self.code(Code::Interrupted) }
    }

    /// With what else the operator should know.
    pub(super) fn and(self, more: &str) -> Self {
        Self { text: format!("{}; {more}", self.text), ..self }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
    pub(super) fn configuration(errors: ConfigErrors) -> Self {
        let one = |error: &ConfigError| {
            json!({
                "key": error.key,
                "source": error.source.to_string(),
                "message": error.to_string(),
            })
        };
        let listed = errors.all().iter().map(one).collect();
        let text = errors.to_string().trim_end().to_owned();
        Self { errors: listed, ..Self::usage(text).code(Code::Configuration) }
    }

    /// The reasons for which fields of an account were refused.
    pub(super) fn fields(errors: &[FieldError]) -> Self {
        let lines: Vec<_> =
            errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        let listed = errors.iter().map(|error| json!({ "key": error.field, "message": error.message }));
        let listed = listed.collect();
        Self { errors: listed, ..Self::failed(lines.join("; ")).code(Code::Invalid) }
    }

    /// Prints the sentence on standard error, for programs as one line of JSON; returns the exit status.
    pub(super) fn tell(self, json: bool, mut standard_error: impl io::Write) -> ExitCode {
        let Self { status, code, text, errors } = self;
        let line = match (text.is_empty(), json) {
            (true, _) => String::new(),
            (false, false) => format!("gatewright: {text}\n"),
            (false, true) => {
                let mut object = json!({ "code": code.as_str(), "message": text, "exit_status": status });
                if let (Some(members), false) = (object.as_object_mut(), errors.is_empty()) {
                    members.insert("errors".to_owned(), Value::Array(errors));
                }
                format!("{object}\n")
            }
        };
        // A failure to print has no other place to be reported.
        let _ = standard_error.write_all(line.as_bytes());
        ExitCode::from(status)
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
        let code = match &error {
            StartError::Store(error) => of_store(error),
            StartError::Setting { .. } | StartError::Tls(_) => Code::Configuration,
            StartError::OtherOwner { .. } => Code::OtherOwner,
            StartError::DataDir(..) | StartError::Unreadable(..) => Code::File,
            StartError::NoDatabase(_) => Code::DatabaseMissing,
            StartError::MasterKey(_)
            | StartError::MasterKeyLost { .. }
            | StartError::Realm(_)
            | StartError::MasterKeys(_)
            | StartError::DetailKeys(..) => Code::MasterKey,
            StartError::Audit(..) => Code::Audit,
            StartError::Bind { .. }
            | StartError::OpenFiles { .. }
            | StartError::Keys(_)
            | StartError::Pepper(_)
            | StartError::Job(_) => Code::Failed,
        };
        let text = error.to_string();
        let failure = if error.is_configuration() { Self::usage(text) } else { Self::failed(text) };
        failure.code(code)
    }
}

fn of_store(error: &store::Error) -> Code {
    if error.is_unavailable() {
        Code::DatabaseUnavailable
    } else if matches!(error, store::Error::Refused(_)) {
        Code::DatabaseRefused
    } else {
        Code::Failed
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::failed(error.to_string()).code(of_store(&error))
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<MasterKeyError> for Failure {
    fn from(error: MasterKeyError) -> Self {
        Self::failed(error.to_string()).code(Code::MasterKey)
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
            AdminError::Unknown => Self::failed("there is no such user").code(Code::UserUnknown),
            AdminError::Ambiguous => Self::usage(
                "the name means more than one user: write `id:` (or `number:`), `uuid:`, `email:` or \
                 `username:` before it",
            )
            .code(Code::UserAmbiguous),
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
            RegisterError::EmailTaken => Self::failed("the email is taken").code(Code::EmailTaken),
            RegisterError::UsernameTaken => Self::failed("the username is taken").code(Code::UsernameTaken),
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
            ClientError::Taken => {
                Self::failed("a client with this id exists already").code(Code::ClientTaken)
            }
            ClientError::Unknown | ClientError::Refused | ClientError::NotAllowed => {
                Self::failed("there is no such client").code(Code::ClientUnknown)
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
            io::ErrorKind::BrokenPipe => Self { status: 0, ..Self::failed("") },
            _ => Self::failed(format!("the output cannot be written: {error}")).code(Code::Output),
        }
    }
}

//! Why the server or a command cannot start.

use std::io;
use std::path::PathBuf;

use auth::master_keys::MasterKeysError;
use auth::password::pepper::PepperServiceError;
use auth::realm::RealmError;
use auth::signing_keys::SigningKeyError;
use listener::TlsError;

use crate::app::file_owner::{Explained, Owner};
use crate::app::master_key::MasterKeyError;
use crate::config::{ListenAddress, SettingError};

/// The error, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error("{key}: {why}")]
    Setting {
        /// Its name.
        key: &'static str,
        /// The reason.
        why: String,
    },
    /// The data directory cannot be created.
    #[error("data_dir: {} cannot be created or made private: {}", .0.display(), Explained(.0, .1))]
    DataDir(PathBuf, io::Error),
    /// The data belong to another user than this process.
    #[error(
        "{} belongs to the user {owner}, and files that root makes there would lock that user out: run this \
         as that user (`{sudo} gatewright …`)", place.display()
    )]
    OtherOwner {
        /// What shows the user.
        place: PathBuf,
        /// The user.
        owner: Owner,
        /// How a shell runs a command as that user.
        sudo: String,
    },
    /// It cannot be told whether a file is there.
    #[error("{} cannot be read: {}", .0.display(), Explained(.0, .1))]
    Unreadable(PathBuf, io::Error),
    /// An address cannot be bound.
    #[error("{key}: {}", unbound(address, why))]
    Bind {
        /// The setting of the address.
        key: &'static str,
        /// The address.
        address: ListenAddress,
        /// The error of the system.
        why: io::Error,
    },
    /// The process may open too few files.
    #[error(
        "the process may open {limit} files, and needs at least {needed}: raise the limit (`ulimit -n`, \
         `LimitNOFILE` of systemd), or lower database.pool_max"
    )]
    OpenFiles {
        /// The limit.
        limit: u64,
        /// The fewest that suffice.
        needed: u64,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(TlsError),
    /// The embedded database does not exist.
    #[error("there is no database at {0}; `gatewright serve` creates one, or set data_dir to its directory")]
    NoDatabase(PathBuf),
    /// The master key file cannot be used.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The database was sealed by a master key whose file is not there.
    #[error(
        "the database was sealed with the master key {wanted:?}, and there is no key file at {file}; \
         restore it, or set master_key_file to its path"
    )]
    MasterKeyLost {
        /// The expected path of the file.
        file: PathBuf,
        /// The key that the database names.
        wanted: String,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The database belongs to another master key.
    #[error(transparent)]
    Realm(RealmError),
    /// A line of the master key file that is needed is missing or retired.
    #[error(transparent)]
    MasterKeys(MasterKeysError),
    /// Detail keys of this node are sealed by a line that cannot open them.
    #[error(
        "{0} audit detail keys in {1} are sealed by a master key that is not in the key file, or is \
         `retired` there, and are nowhere else: put its line back without `retired` and start once, or \
         remove the file and lose those details"
    )]
    DetailKeys(usize, PathBuf),
    /// The audit journal cannot be written.
    #[error("the audit journal in {0} cannot be opened: {1}")]
    Audit(PathBuf, String),
    /// No signing key can be used.
    #[error(transparent)]
    Keys(SigningKeyError),
    /// Password hashes could not be sealed.
    #[error("passwords.pepper: {0}")]
    Pepper(PepperServiceError),
    /// The revocation cache could not be filled.
    #[error(transparent)]
    Job(jobs::JobError),
}

impl StartError {
    /// Whether the configuration must change before another try.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Setting { .. } | Self::Tls(_))
    }
}

fn unbound(address: &ListenAddress, why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is taken by another process; stop it, or set another address")
        }
        _ => format!("cannot listen on {address}: {why}"),
    }
}

impl From<SettingError> for StartError {
    fn from(error: SettingError) -> Self {
        Self::Setting { key: error.key, why: error.why }
    }
}

impl From<RealmError> for StartError {
    fn from(error: RealmError) -> Self {
        match error {
            RealmError::Store(error) => Self::Store(error),
            wrong @ (RealmError::WrongMasterKey { .. } | RealmError::Retired(_) | RealmError::Sealed(_)) => {
                Self::Realm(wrong)
            }
        }
    }
}

impl From<MasterKeysError> for StartError {
    fn from(error: MasterKeysError) -> Self {
        match error {
            MasterKeysError::Store(error) => Self::Store(error),
            needed @ MasterKeysError::Needed(_) => Self::MasterKeys(needed),
        }
    }
}

impl From<SigningKeyError> for StartError {
    fn from(error: SigningKeyError) -> Self {
        match error {
            SigningKeyError::Store(error) => Self::Store(error),
            other => Self::Keys(other),
        }
    }
}

impl From<PepperServiceError> for StartError {
    fn from(error: PepperServiceError) -> Self {
        match error {
            PepperServiceError::Store(error) => Self::Store(error),
            other => Self::Pepper(other),
        }
    }
}

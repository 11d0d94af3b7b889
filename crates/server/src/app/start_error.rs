//! Why the server or a command cannot start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use auth::password::pepper::PepperServiceError;
use auth::realm::RealmError;
use auth::signing_keys::SigningKeyError;
use listener::TlsError;

use crate::app::master_key::MasterKeyError;
use crate::config::SettingError;

/// The error, in words for the operator.
#[derive(Debug)]
pub enum StartError {
    /// A setting cannot be used.
    Setting {
        /// Its name.
        key: &'static str,
        /// The reason.
        why: String,
    },
    /// The data directory cannot be created.
    DataDir(PathBuf, io::Error),
    /// An address cannot be bound.
    Bind {
        /// The setting of the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        why: io::Error,
    },
    /// The certificate cannot be used.
    Tls(TlsError),
    /// The embedded database does not exist.
    NoDatabase(PathBuf),
    /// The master key file cannot be used.
    MasterKey(MasterKeyError),
    /// The database was sealed by a master key whose file is not there.
    MasterKeyLost {
        /// The expected path of the file.
        file: PathBuf,
        /// The key that the database names.
        wanted: String,
    },
    /// The database cannot be used.
    Store(store::Error),
    /// The database belongs to another master key.
    Realm(RealmError),
    /// The audit journal cannot be written.
    Audit(PathBuf, String),
    /// No signing key can be used.
    Keys(SigningKeyError),
    /// Password hashes could not be sealed.
    Pepper(PepperServiceError),
    /// The revocation cache could not be filled.
    Job(jobs::JobError),
}

impl StartError {
    /// Whether the configuration must change before another try.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Setting { .. } | Self::Tls(_))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { key, why } => write!(f, "{key}: {why}"),
            Self::DataDir(path, why) => {
                write!(f, "data_dir: {} cannot be created or made private: {why}", path.display())
            }
            Self::Bind { key, address, why } if why.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{key}: {address} is taken by another process; stop it, or set another address")
            }
            Self::Bind { key, address, why } => write!(f, "{key}: cannot listen on {address}: {why}"),
            Self::Tls(why) => why.fmt(f),
            Self::NoDatabase(path) => write!(
                f,
                "there is no database at {}; `gatewright serve` creates one, or set data_dir to its \
                 directory",
                path.display()
            ),
            Self::MasterKey(why) => why.fmt(f),
            Self::MasterKeyLost { file, wanted } => write!(
                f,
                "the database was sealed with the master key {wanted:?}, and there is no key file at {}; \
                 restore it, or set master_key_file to its path",
                file.display()
            ),
            Self::Store(why) => why.fmt(f),
            Self::Realm(why) => why.fmt(f),
            Self::Audit(place, why) => {
                write!(f, "the audit journal in {} cannot be opened: {why}", place.display())
            }

            Self::Keys(why) => why.fmt(f),
            Self::Pepper(why) => write!(f, "passwords.pepper: {why}"),
            Self::Job(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<SettingError> for StartError {
    fn from(error: SettingError) -> Self {
        Self::Setting { key: error.key, why: error.why }
    }
}

impl From<store::Error> for StartError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<MasterKeyError> for StartError {
    fn from(error: MasterKeyError) -> Self {
        Self::MasterKey(error)
    }
}

impl From<RealmError> for StartError {
    fn from(error: RealmError) -> Self {
        match error {
            RealmError::Store(error) => Self::Store(error),
            wrong @ RealmError::WrongMasterKey { .. } => Self::Realm(wrong),
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

//! `[passwords]`

use std::path::PathBuf;
use std::time::Duration;

use auth::password::{self, Breaches, PasswordSettings};
use hashing::Scheme;
use protocol::wire::password_hash::{ARGON2_MAX_ITERATIONS, ARGON2_MAX_MEMORY, ARGON2_MAX_WORK, BCRYPT_COST};

use super::error::SettingError;
use super::section;
use crate::config::check::Report;
use crate::config::value::{ByteSize, Value, words};

words! {
    /// How new passwords are hashed.
    pub enum PasswordAlgorithm, "`argon2id` or `bcrypt`" {
        /// Argon2id (RFC 9106).
        Argon2id = "argon2id",
        /// bcrypt, `$2b$`.
        Bcrypt = "bcrypt",
    }
}

/// Common passwords that are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocklist {
    /// The built-in list.
    Common,
    /// None.
    Off,
    /// A file with one password a line.
    File(PathBuf),
}

impl Value for Blocklist {
    const EXPECTED: &'static str = "`common`, `off`, or the path of a file with one password a line";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("empty; `off` means no list".to_owned()),
            "common" => Ok(Self::Common),
            "off" | "false" => Ok(Self::Off),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Common => "common".to_owned(),
            Self::Off => "off".to_owned(),
            Self::File(path) => path.text(),
        }
    }
}

/// The default settings of `auth`, of any issuer.
fn defaults() -> PasswordSettings {
    auth::Settings::default().passwords
}

/// The costs of bcrypt. A hash above them, or above the limits of Argon2, could be created but never
/// verified.
fn bcrypt_costs() -> (u32, u32) {
    (u32::from(*BCRYPT_COST.start()), u32::from(*BCRYPT_COST.end()))
}

/// A size in KiB.
fn kib(kib: u32) -> ByteSize {
    ByteSize(u64::from(kib) << 10)
}

section! {
    /// Passwords and hashing.
    pub struct PasswordsConfig in "passwords." {
        /// The algorithm of new password hashes; hashes of other algorithms are still verified, and replaced
        /// at the next login.
        algorithm: PasswordAlgorithm = PasswordAlgorithm::Argon2id, example: "bcrypt";
        /// The cost of new bcrypt hashes: each step doubles the work.
        bcrypt_cost: u32 = Scheme::BCRYPT_COST, within: bcrypt_costs().0 => bcrypt_costs().1,
            example: "12";
        /// The memory of one new Argon2id hash.
        argon2_memory: ByteSize = kib(Scheme::ARGON2_MEMORY_KIB), within: kib(8) => kib(ARGON2_MAX_MEMORY),
            example: "64MiB";
        /// The number of passes of Argon2id over its memory.
        argon2_iterations: u32 = Scheme::ARGON2_ITERATIONS, within: 1 => ARGON2_MAX_ITERATIONS,
            example: "3";
        /// The number of hashing threads.
        hash_threads: Option<usize> = None, shown: "the cores, or the CPU quota", example: "4";
        /// How long a password may wait to be hashed; when the expected wait is longer, the request is
        /// answered 503 at once.
        queue_deadline: Duration = defaults().hashing.queue_deadline,
            within: Duration::from_millis(100) => Duration::from_mins(1), example: "5s";
        /// The minimum length of a new password, in code points.
        min_length: usize = defaults().min_length, within: 1 => 1024, example: "15";
        /// Common passwords that are refused.
        blocklist: Blocklist = Blocklist::Common, example: "/etc/gatewright/passwords.txt";
        /// The filter file of passwords that appeared in breaches, made by `gatewright passwords filter`:
        /// those passwords are refused. While the file cannot be read, every new password is refused.
        breach_filter: Option<PathBuf> = None, example: "/var/lib/gatewright/breached.filter";
        /// Whether stored hashes are encrypted with a key that the master key seals. When it is turned on,
        /// existing hashes are encrypted in the background; when it is turned off, they stay encrypted and
        /// continue to work.
        pepper: bool = defaults().pepper, example: "true";
    }
}

impl From<&PasswordsConfig> for hashing::Settings {
    fn from(config: &PasswordsConfig) -> Self {
        let defaults = Self::default();
        let scheme = match config.algorithm {
            PasswordAlgorithm::Argon2id => Scheme::Argon2id {
                memory_kib: u32::try_from(config.argon2_memory.0 / 1024).unwrap_or(u32::MAX),
                iterations: config.argon2_iterations,
            },
            PasswordAlgorithm::Bcrypt => Scheme::Bcrypt { cost: config.bcrypt_cost },
        };
        let threads = config.hash_threads.unwrap_or(defaults.threads);
        Self { scheme, threads, queue_deadline: config.queue_deadline, ..defaults }
    }
}

impl PasswordsConfig {
    pub(super) fn apply_to(&self, settings: &mut PasswordSettings) -> Result<(), SettingError> {
        settings.hashing = self.into();
        settings.min_length = self.min_length;
        settings.pepper = self.pepper;

        settings.blocklist = match &self.blocklist {
            Blocklist::Common => password::Blocklist::Common,
            Blocklist::Off => password::Blocklist::Off,
            Blocklist::File(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|why| SettingError::unreadable("passwords.blocklist", path, &why))?;
                password::Blocklist::from_lines(&text)
            }
        };

        if let Some(path) = &self.breach_filter {
            let filter = Breaches::open(path);
            let filter = filter.map_err(|why| SettingError::file("passwords.breach_filter", path, why))?;
            settings.breaches = Some(filter);
        }
        Ok(())
    }

    pub(crate) fn check(&self, report: &mut Report<'_>) {
        let work = (self.argon2_memory.0 >> 10).saturating_mul(self.argon2_iterations.into());
        if work > ARGON2_MAX_WORK {
            let most = ByteSize(ARGON2_MAX_WORK << 10).text();
            let problem = format!("multiplied by passwords.argon2_iterations it is more than {most}");
            report.error("passwords.argon2_memory", problem);
        }
        if let Some(threads) = &self.hash_threads {
            report.within("passwords.hash_threads", threads, &1, &1024);
        }

        if self.min_length < 8 {
            report.warn("passwords.min_length is below 8, the minimum of NIST SP 800-63B-4");
        }
        if self.bcrypt_cost < 10 {
            report.warn(
                "passwords.bcrypt_cost is below 10: a password can be guessed quickly from a stolen hash",
            );
        }
    }
}

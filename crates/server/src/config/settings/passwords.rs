//! `[passwords]`

use std::path::PathBuf;
use std::time::Duration;

use super::section;
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

/// Passwords that are refused because everybody knows them.
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

section! {
    /// Passwords and hashing.
    pub struct PasswordsConfig in "passwords." {
        /// How new passwords are hashed; other kinds are still verified, and replaced at the next login.
        algorithm: PasswordAlgorithm = PasswordAlgorithm::Argon2id, example: "bcrypt";
        /// The cost of new bcrypt hashes: each step doubles the work.
        bcrypt_cost: u32 = 12, example: "12";
        /// The memory of one new Argon2id hash.
        argon2_memory: ByteSize = ByteSize(19 << 20), example: "64MiB";
        /// How often Argon2id goes over its memory.
        argon2_iterations: u32 = 2, example: "3";
        /// How many threads hash.
        hash_threads: Option<u32> = None, shown: "the cores, or the CPU quota", example: "4";
        /// How long a password may wait to be hashed; when the wait would be longer the answer is 503 at
        /// once.
        queue_deadline: Duration = Duration::from_secs(5), example: "5s";
        /// The fewest code points of a new password.
        min_length: u32 = 8, example: "15";
        /// Passwords that are refused because everybody knows them.
        blocklist: Blocklist = Blocklist::Common, example: "/etc/gatewright/passwords.txt";
        /// Passwords that appeared in breaches are refused: a file that `gatewright passwords filter` has made.
        /// While it cannot be read, no new password is taken.
        breach_filter: Option<PathBuf> = None, example: "/var/lib/gatewright/breached.filter";
        /// Whether stored hashes are encrypted with a key that the master key seals. Turned on, those that are
        /// there are encrypted in the background; turned off, they stay so and go on working.
        pepper: bool = false, example: "true";
    }
}

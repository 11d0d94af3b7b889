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

section! {
    /// Passwords and hashing.
    pub struct PasswordsConfig in "passwords." {
        /// The algorithm of new password hashes; hashes of other algorithms are still verified, and replaced
        /// at the next login.
        algorithm: PasswordAlgorithm = PasswordAlgorithm::Argon2id, example: "bcrypt";
        /// The cost of new bcrypt hashes: each step doubles the work.
        bcrypt_cost: u32 = 12, example: "12";
        /// The memory of one new Argon2id hash.
        argon2_memory: ByteSize = ByteSize(19 << 20), example: "64MiB";
        /// The number of passes of Argon2id over its memory.
        argon2_iterations: u32 = 2, example: "3";
        /// The number of hashing threads.
        hash_threads: Option<u32> = None, shown: "the cores, or the CPU quota", example: "4";
        /// How long a password may wait to be hashed; when the expected wait is longer, the request is
        /// answered 503 at once.
        queue_deadline: Duration = Duration::from_secs(5), example: "5s";
        /// The minimum length of a new password, in code points.
        min_length: u32 = 8, example: "15";
        /// Common passwords that are refused.
        blocklist: Blocklist = Blocklist::Common, example: "/etc/gatewright/passwords.txt";
        /// The filter file of passwords that appeared in breaches, made by `gatewright passwords filter`:
        /// those passwords are refused. While the file cannot be read, every new password is refused.
        breach_filter: Option<PathBuf> = None, example: "/var/lib/gatewright/breached.filter";
        /// Whether stored hashes are encrypted with a key that the master key seals. When it is turned on,
        /// existing hashes are encrypted in the background; when it is turned off, they stay encrypted and
        /// continue to work.
        pepper: bool = false, example: "true";
    }
}

//! Passwords as bcrypt accepts them, and the treatment of those that do not fit.

use core::fmt;

/// The treatment of a password of more than 72 bytes. bcrypt ignores the bytes after the 72nd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// It is an error. A password of exactly 72 bytes passes: all of it counts.
    Refuse,
    /// The bytes after the 72nd are ignored, as older implementations did silently. The first 72 bytes then
    /// suffice to log in; use this only for hashes that were created so.
    Allow,
}

/// The treatment of a password with a NUL byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nul {
    /// It is an error.
    Refuse,
    /// The password ends before the first one, as in the reference implementations (OpenBSD, Openwall) for
    /// all of `2a`, `2b` and `2y`, which take a C string.
    Terminate,
    /// It is a byte like any other, as in Rust's `bcrypt` crate and in Go.
    ///
    /// bcrypt appends one NUL and then repeats the whole up to 72 bytes, so passwords that differ in their
    /// number of NULs alone can still have the same hash.
    Keep,
}

/// The treatment of passwords that bcrypt cannot use completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// More than 72 bytes.
    pub long: Truncation,
    /// A NUL byte.
    pub nul: Nul,
}

impl Rules {
    /// Refuses passwords that bcrypt would not use completely. For new passwords.
    pub const STRICT: Self = Self { long: Truncation::Refuse, nul: Nul::Refuse };
    /// As `crypt(3)` of OpenBSD and Openwall, and so PHP. For hashes from there.
    pub const CRYPT: Self = Self { long: Truncation::Allow, nul: Nul::Terminate };
    /// As `verify` of Rust's `bcrypt` crate. For hashes from there.
    pub const BYTES: Self = Self { long: Truncation::Allow, nul: Nul::Keep };
}

/// A password as bcrypt uses it: at most 72 bytes, borrowed.
#[derive(Clone, Copy, Default)]
pub struct Password<'a>(&'a [u8]);

impl<'a> Password<'a> {
    /// The number of significant bytes.
    pub const MAX_BYTES: usize = 72;

    /// Applies the rules.
    pub fn new(bytes: &'a [u8], rules: Rules) -> Result<Self, PasswordError> {
        let nul = bytes.iter().position(|&byte| byte == 0);
        let whole = match (rules.nul, nul) {
            (Nul::Refuse, Some(at)) => return Err(PasswordError::Nul { at }),
            (Nul::Terminate, Some(at)) => bytes.get(..at).unwrap_or(bytes),
            _ => bytes,
        };
        match (rules.long, whole.get(..Self::MAX_BYTES)) {
            (Truncation::Refuse, Some(kept)) if kept.len() < whole.len() => {
                Err(PasswordError::TooLong { bytes: whole.len() })
            }
            (_, Some(kept)) => Ok(Self(kept)),
            (_, None) => Ok(Self(whole)),
        }
    }

    /// The significant bytes, and the terminating NUL.
    pub(crate) fn key(self) -> impl Iterator<Item = u8> + Clone {
        self.0.iter().copied().chain([0])
    }
}

impl fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Why a password was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It has more than 72 bytes.
    #[error("the password has {bytes} bytes; bcrypt takes 72")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// There is a NUL byte in it.
    #[error("the password has a NUL byte at {at}")]
    Nul {
        /// The offset of the byte.
        at: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::{Password, PasswordError, Rules};

    #[test]
    fn seventy_two_bytes_are_not_too_long() {
        let password = [b'x'; 73];
        assert!(Password::new(&password[..72], Rules::STRICT).is_ok());
        let refused = Password::new(&password, Rules::STRICT).map(|_| ());
        assert_eq!(refused, Err(PasswordError::TooLong { bytes: 73 }));
        let cut = Password::new(&password, Rules::CRYPT).expect("truncation is allowed");
        assert_eq!(cut.0.len(), 72);
    }

    #[test]
    fn a_nul_is_refused_or_ends_the_password_or_is_kept() {
        let password = b"ab\0cd";
        let refused = Password::new(password, Rules::STRICT).map(|_| ());
        assert_eq!(refused, Err(PasswordError::Nul { at: 2 }));
        assert_eq!(Password::new(password, Rules::CRYPT).expect("ends there").0, b"ab");
        assert_eq!(Password::new(password, Rules::BYTES).expect("kept").0, password);
    }

    #[test]
    fn bytes_after_a_nul_do_not_count_towards_the_length() {
        let mut password = [b'x'; 100];
        password[10] = 0;
        let rules = Rules { long: super::Truncation::Refuse, ..Rules::CRYPT };
        assert_eq!(Password::new(&password, rules).expect("ten bytes").0, [b'x'; 10]);
    }

    #[test]
    fn debug_does_not_show_the_password() {
        let password = Password::new(b"secret", Rules::STRICT).expect("short");
        assert_eq!(format!("{password:?}"), "Password(..)");
    }
}

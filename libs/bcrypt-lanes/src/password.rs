//! What bcrypt takes for a password, and what becomes of those that do not fit.

use core::fmt;

/// What becomes of a password of more than 72 bytes. bcrypt never sees the bytes after the 72nd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// It is an error. A password of exactly 72 bytes passes: all of it counts.
    Refuse,
    /// The bytes after the 72nd are left out, as every implementation of old did without a word. Whoever knows the
    /// first 72 bytes then knows the password; keep this for hashes that were made so.
    Allow,
}

/// What becomes of a password with a NUL byte in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nul {
    /// It is an error.
    Refuse,
    /// The password ends before the first one. So do the reference implementations (OpenBSD, Openwall), in all of
    /// `2a`, `2b` and `2y`: they take a C string.
    Terminate,
    /// It is a byte like any other, as in Rust's `bcrypt` crate and in Go.
    ///
    /// bcrypt appends one NUL and then repeats the whole up to 72 bytes, so passwords that differ in their number of
    /// NULs alone can still have the same hash.
    Keep,
}

/// What is done about passwords that bcrypt cannot take whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// More than 72 bytes.
    pub long: Truncation,
    /// A NUL byte.
    pub nul: Nul,
}

impl Rules {
    /// Refuses whatever bcrypt would not take whole. For new passwords.
    pub const STRICT: Self = Self { long: Truncation::Refuse, nul: Nul::Refuse };
    /// As `crypt(3)` of OpenBSD and Openwall, and so PHP, does it. For hashes that came from there.
    pub const CRYPT: Self = Self { long: Truncation::Allow, nul: Nul::Terminate };
    /// As `verify` of Rust's `bcrypt` crate does it. For hashes that came from there.
    pub const BYTES: Self = Self { long: Truncation::Allow, nul: Nul::Keep };
}

/// A password as bcrypt takes it: at most 72 bytes, borrowed.
#[derive(Clone, Copy, Default)]
pub struct Password<'a>(&'a [u8]);

impl<'a> Password<'a> {
    /// The most bytes that count.
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

    /// The bytes that count, and the NUL that ends them.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// It has more than 72 bytes.
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// There is a NUL byte in it.
    Nul {
        /// Where.
        at: usize,
    },
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "the password has {bytes} bytes; bcrypt takes 72"),
            Self::Nul { at } => write!(f, "the password has a NUL byte at {at}"),
        }
    }
}

impl core::error::Error for PasswordError {}

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
    fn what_comes_after_a_nul_is_not_too_long() {
        let mut password = [b'x'; 100];
        password[10] = 0;
        let rules = Rules { long: super::Truncation::Refuse, ..Rules::CRYPT };
        assert_eq!(Password::new(&password, rules).expect("ten bytes").0, [b'x'; 10]);
    }

    #[test]
    fn it_does_not_show_itself() {
        let password = Password::new(b"secret", Rules::STRICT).expect("short");
        assert_eq!(format!("{password:?}"), "Password(..)");
    }
}

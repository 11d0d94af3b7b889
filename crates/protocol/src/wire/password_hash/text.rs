//! The small grammars that the formats of stored hashes share. All of them are strict: one value has one
//! text.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::Unusable;

/// Accepted lengths of a salt, in bytes, unless the origin has narrower bounds.
pub const SALT_BYTES: RangeInclusive<usize> = 0..=128;
/// Accepted lengths of a tag, in bytes: a shorter one could match another password by chance.
pub const TAG_BYTES: RangeInclusive<usize> = 12..=128;

/// RFC 4648 Base64 without padding, as in PHC strings.
pub(super) fn unpadded(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).ok()
}

/// RFC 4648 Base64 with its padding.
pub(super) fn padded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// passlib's `ab64`: Base64 without padding, and with `.` for `+`.
pub(super) fn ab64(text: &str) -> Option<Vec<u8>> {
    if text.contains('+') { None } else { unpadded(&text.replace('.', "+")) }
}

/// A number: digits without leading zeros.
pub(super) fn decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

/// A number from 1 up to a cap. More than 32 bits are malformed: no program writes them.
pub(super) fn parameter(name: &'static str, text: Option<&str>, most: u32) -> Result<u32, Unusable> {
    match text.and_then(decimal).ok_or(Unusable::Malformed(name))? {
        0 => Err(Unusable::Malformed(name)),
        value if value > most => Err(Unusable::TooExpensive(name)),
        value => Ok(value),
    }
}

/// Bytes of an allowed length.
pub(super) fn bounded(
    name: &'static str,
    bytes: Option<Vec<u8>>,
    lengths: &RangeInclusive<usize>,
) -> Result<Vec<u8>, Unusable> {
    bytes.filter(|bytes| lengths.contains(&bytes.len())).ok_or(Unusable::Malformed(name))
}

/// The parts of a text between separators: exactly `N`.
pub(super) fn parts<const N: usize>(text: &str, separator: char) -> Result<[&str; N], Unusable> {
    let mut parts = text.split(separator);
    let mut found = [""; N];
    for slot in &mut found {
        *slot = parts.next().ok_or(Unusable::Malformed("parts"))?;
    }
    if parts.next().is_some() { Err(Unusable::Malformed("parts")) } else { Ok(found) }
}

//! SHA-crypt (U. Drepper, "Unix crypt using SHA-256 and SHA-512"): `$5$` and `$6$`, with `rounds=`, by
//! default 5000.

use super::text::decimal;
use super::{CostClass, Unusable};

/// Accepted rounds of SHA-crypt. The specification allows 1000 to 999,999,999, with a default of 5000. At the
/// upper bound the longest password stays within two seconds of one core.
pub const SHA_CRYPT_ROUNDS: std::ops::RangeInclusive<u32> = 1000..=500_000;
/// Longest password for SHA-crypt, in bytes: libxcrypt refuses longer ones, whose rounds take longer.
pub const SHA_CRYPT_PASSWORD_BYTES: usize = 511;
/// Rounds if the text names none.
const DEFAULT_ROUNDS: u32 = 5000;
/// Most characters of a salt; libraries truncate longer ones before they write them.
const SALT_CHARS: usize = 16;
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The tag of a SHA-crypt hash, by its digest.
#[derive(Clone, PartialEq, Eq)]
pub enum ShaCryptTag {
    /// `$5$`.
    Sha256([u8; 32]),
    /// `$6$`.
    Sha512([u8; 64]),
}

/// A SHA-crypt hash.
#[derive(Clone, PartialEq, Eq)]
pub struct ShaCryptHash {
    /// Rounds.
    pub rounds: u32,
    /// The salt, as it is written.
    pub salt: String,
    /// The tag to compare with.
    pub tag: ShaCryptTag,
}

impl ShaCryptHash {
    /// Parses what follows `$5$`.
    pub(super) fn read_sha256(text: &str) -> Result<Self, Unusable> {
        let (rounds, salt, tag) = divide(text)?;
        let order = Order { at: [0, 10, 20], turn: |[a, b, c]| [c + 1, a + 1, b + 1], last: &[30, 31] };
        Ok(Self { rounds, salt, tag: ShaCryptTag::Sha256(order.decode(tag)?) })
    }

    /// Parses what follows `$6$`.
    pub(super) fn read_sha512(text: &str) -> Result<Self, Unusable> {
        let (rounds, salt, tag) = divide(text)?;
        let order = Order { at: [0, 21, 42], turn: |[a, b, c]| [b + 1, c + 1, a + 1], last: &[63] };
        Ok(Self { rounds, salt, tag: ShaCryptTag::Sha512(order.decode(tag)?) })
    }

    /// Its name in metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self.tag {
            ShaCryptTag::Sha256(_) => "sha256-crypt",
            ShaCryptTag::Sha512(_) => "sha512-crypt",
        }
    }

    /// The cost of one check.
    pub fn cost_class(&self) -> CostClass {
        let wide = matches!(self.tag, ShaCryptTag::Sha512(_));
        CostClass::ShaCrypt { wide, rounds: self.rounds }
    }
}

/// Rounds, salt and tag.
fn divide(text: &str) -> Result<(u32, String, &str), Unusable> {
    let (rounds, rest) = match text.strip_prefix("rounds=") {
        None => (DEFAULT_ROUNDS, text),
        Some(text) => {
            let (rounds, rest) = text.split_once('$').ok_or(Unusable::Malformed("rounds"))?;
            (decimal(rounds).ok_or(Unusable::Malformed("rounds"))?, rest)
        }
    };
    if rounds < *SHA_CRYPT_ROUNDS.start() {
        return Err(Unusable::Malformed("rounds"));
    }
    if rounds > *SHA_CRYPT_ROUNDS.end() {
        return Err(Unusable::TooExpensive("rounds"));
    }
    let (salt, tag) = rest.split_once('$').ok_or(Unusable::Malformed("parts"))?;
    let is_salt = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    if salt.len() > SALT_CHARS || !salt.bytes().all(is_salt) {
        return Err(Unusable::Malformed("salt"));
    }
    Ok((rounds, salt.to_owned(), tag))
}

/// The order in which the bytes of a digest are written: groups of three, each derived from the one before,
/// and a remainder.
struct Order {
    at: [usize; 3],
    turn: fn([usize; 3]) -> [usize; 3],
    /// The last bytes, the lowest bits first.
    last: &'static [usize],
}

impl Order {
    fn decode<const N: usize>(mut self, text: &str) -> Result<[u8; N], Unusable> {
        let mut digest = [0; N];
        let mut put = |at: usize, byte: u32| {
            let slot = digest.get_mut(at).ok_or(Unusable::Malformed("tag"))?;
            *slot = u8::try_from(byte).map_err(|_| Unusable::Malformed("tag"))?;
            Ok(())
        };
        let mut letters = text.bytes();
        for _ in 0..N / 3 {
            let group = number(&mut letters, 4)?;
            for (at, shift) in self.at.into_iter().zip([16, 8, 0]) {
                put(at, group >> shift & 0xFF)?;
            }
            self.at = (self.turn)(self.at);
        }
        // One byte takes two letters, two take three; the bits that are left over are zero.
        let mut rest = number(&mut letters, self.last.len() + 1)?;
        for &at in self.last {
            put(at, rest & 0xFF)?;
            rest >>= 8;
        }
        if rest == 0 && letters.next().is_none() { Ok(digest) } else { Err(Unusable::Malformed("tag")) }
    }
}

/// The given number of letters, the lowest six bits first.
fn number(letters: &mut impl Iterator<Item = u8>, count: usize) -> Result<u32, Unusable> {
    let mut number = 0;
    for (_, shift) in (0..count).zip((0..).step_by(6)) {
        let letter = letters.next();
        let value = letter.and_then(|letter| (0_u32..).zip(LETTERS).find(|(_, known)| **known == letter));
        number |= value.ok_or(Unusable::Malformed("tag"))?.0 << shift;
    }
    Ok(number)
}

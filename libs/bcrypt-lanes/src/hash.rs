//! The text form, `$2b$12$` and 53 letters. The parser panics on no input.

use core::fmt;
use core::str::FromStr;

use subtle::ConstantTimeEq;

/// The letters of bcrypt's own base 64.
const LETTERS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The logarithm of the number of rounds: 4 to 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u8);

impl Cost {
    /// The least cost of the format.
    pub const MIN: Self = Self(4);
    /// The highest cost: a day and a half.
    pub const MAX: Self = Self(31);

    /// 4 to 31. Compare untrusted costs with a cap of your own.
    pub const fn new(cost: u8) -> Option<Self> {
        if cost >= Self::MIN.0 && cost <= Self::MAX.0 { Some(Self(cost)) } else { None }
    }

    /// The number in the text.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number of expansions of the key, and of the salt.
    pub(crate) const fn rounds(self) -> u32 {
        1 << self.0
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (Self::MIN.0..=Self::MAX.0).map(Self)
    }
}

/// The version in the text. All three are computed alike: each was introduced to name a version without a
/// flaw that another implementation had. (`2x`, which names such a flaw, is refused.)
///
/// The flaw of OpenBSD's `2a` until 2014 is not imitated: it counted the length in one byte, which matters
/// from 255 bytes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `2a`: OpenBSD before 5.5, and most libraries.
    A,
    /// `2b`: OpenBSD since 5.5. The version for new hashes.
    B,
    /// `2y`: Openwall's corrected one, and so PHP's.
    Y,
}

impl Version {
    const fn letter(self) -> u8 {
        match self {
            Self::A => b'a',
            Self::B => b'b',
            Self::Y => b'y',
        }
    }
}

/// A bcrypt hash: version, cost, salt and digest.
///
/// Comparison takes constant time.
#[derive(Clone, Copy)]
pub struct Hash {
    version: Version,
    cost: Cost,
    salt: [u8; 16],
    digest: [u8; 23],
}

impl Hash {
    /// The number of bytes in the text form.
    pub const TEXT_BYTES: usize = 60;

    pub(crate) const fn new(version: Version, cost: Cost, salt: [u8; 16], digest: [u8; 23]) -> Self {
        Self { version, cost, salt, digest }
    }

    /// The version in the text.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The logarithm of the number of rounds.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// The salt.
    pub const fn salt(&self) -> [u8; 16] {
        self.salt
    }

    /// The digest. bcrypt discards its 24th byte.
    pub const fn digest(&self) -> [u8; 23] {
        self.digest
    }

    /// Compares the digest in constant time.
    pub(crate) fn has_digest(&self, digest: &[u8; 23]) -> bool {
        bool::from(self.digest.ct_eq(digest))
    }

    /// Parses the text form from any bytes: `$2b$12$`, 22 letters of salt, 31 of digest.
    ///
    /// Unused bits of the last letters must be zero: no implementation writes others, and one hash must not
    /// have two texts.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let text: &[u8; Self::TEXT_BYTES] =
            text.try_into().map_err(|_| ParseError::Length { bytes: text.len() })?;
        let [b'$', b'2', version, b'$', tens, units, b'$', letters @ ..] = text else {
            return Err(ParseError::Prefix);
        };
        let version = match version {
            b'a' => Version::A,
            b'b' => Version::B,
            b'y' => Version::Y,
            _ => return Err(ParseError::Prefix),
        };
        if !tens.is_ascii_digit() || !units.is_ascii_digit() {
            return Err(ParseError::Cost);
        }
        let cost = Cost::new((tens - b'0') * 10 + (units - b'0')).ok_or(ParseError::Cost)?;
        let (salt, digest) = letters.split_at(22);
        Ok(Self { version, cost, salt: decode(salt)?, digest: decode(digest)? })
    }

    /// Writes the text form, which is ASCII.
    pub fn to_bytes(&self) -> [u8; Self::TEXT_BYTES] {
        let mut text = [0; Self::TEXT_BYTES];
        let (tens, units) = (b'0' + self.cost.0 / 10, b'0' + self.cost.0 % 10);
        let prefix = [b'$', b'2', self.version.letter(), b'$', tens, units, b'$'];
        let letters = prefix.into_iter().chain(encode(&self.salt)).chain(encode(&self.digest));
        for (to, letter) in text.iter_mut().zip(letters) {
            *to = letter;
        }
        text
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        let settings = (self.version, self.cost) == (other.version, other.cost);
        settings & bool::from(self.salt.ct_eq(&other.salt)) & self.has_digest(&other.digest)
    }
}

impl Eq for Hash {}

impl FromStr for Hash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.to_bytes()).unwrap_or_default())
    }
}

/// `Debug` shows neither salt nor digest, so that logs do not contain them.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash($2{}${:02}$..)", char::from(self.version.letter()), self.cost.0)
    }
}

/// Six bits per letter, the highest first; a last letter may carry fewer.
fn encode(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.chunks(3).flat_map(|chunk| {
        let word = (0..3).fold(0, |word, i| (word << 8) | u32::from(chunk.get(i).copied().unwrap_or(0)));
        [18, 12, 6, 0].into_iter().take(chunk.len() + 1).map(move |shift| letter(word >> shift))
    })
}

#[expect(clippy::indexing_slicing, reason = "masked to the length of the table")]
fn letter(bits: u32) -> u8 {
    LETTERS[bits as usize & 63]
}

/// The six bits of a letter.
const fn value(letter: u8) -> Option<u32> {
    Some(match letter {
        b'.' => 0,
        b'/' => 1,
        b'A'..=b'Z' => (letter - b'A') as u32 + 2,
        b'a'..=b'z' => (letter - b'a') as u32 + 28,
        b'0'..=b'9' => (letter - b'0') as u32 + 54,
        _ => return None,
    })
}

/// Decodes the requested number of bytes.
fn decode<const N: usize>(letters: &[u8]) -> Result<[u8; N], ParseError> {
    let mut bytes = [0; N];
    let mut out = bytes.iter_mut();
    let (mut word, mut bits) = (0, 0);
    for &letter in letters {
        word = (word << 6) | value(letter).ok_or(ParseError::Letter)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            if let (Some(byte), Ok(high)) = (out.next(), u8::try_from(word >> bits)) {
                *byte = high;
            }
            word &= (1 << bits) - 1;
        }
    }
    if word == 0 { Ok(bytes) } else { Err(ParseError::SpareBits) }
}

/// Why a text is not a supported bcrypt hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not have 60 bytes.
    #[error("a bcrypt hash has 60 bytes, not {bytes}")]
    Length {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It does not begin with `$2a$`, `$2b$` or `$2y$`, or there is no `$` after the cost.
    #[error("a bcrypt hash begins with $2a$, $2b$ or $2y$, and its cost ends with $")]
    Prefix,
    /// The cost is not two digits from 04 to 31.
    #[error("a bcrypt cost is two digits from 04 to 31")]
    Cost,
    /// A letter is not in bcrypt's base 64 alphabet.
    #[error("a bcrypt hash is written in the letters ./A-Za-z0-9")]
    Letter,
    /// A last letter has unused bits that are not zero.
    #[error("the last letter of a bcrypt salt or digest has bits that mean nothing")]
    SpareBits,
}

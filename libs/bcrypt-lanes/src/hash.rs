//! The text form, `$2b$12$` and 53 letters, of which no input makes the parser panic.

use core::fmt;
use core::str::FromStr;

use subtle::ConstantTimeEq;

/// The letters of bcrypt's own base 64.
const LETTERS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The logarithm of the number of rounds: 4 to 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u8);

impl Cost {
    /// The least that the format knows.
    pub const MIN: Self = Self(4);
    /// The most: a day and a half.
    pub const MAX: Self = Self(31);

    /// 4 to 31. What comes from outside may be too high for you: compare it with a cap of yours.
    pub const fn new(cost: u8) -> Option<Self> {
        if cost >= Self::MIN.0 && cost <= Self::MAX.0 { Some(Self(cost)) } else { None }
    }

    /// The number in the text.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// How often the key and the salt are each expanded.
    pub(crate) const fn rounds(self) -> u32 {
        1 << self.0
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (Self::MIN.0..=Self::MAX.0).map(Self)
    }
}

/// The version in the text. All three are computed alike: each began as the name of a version without a flaw that
/// another implementation had. (`2x`, which names such a flaw, is refused.)
///
/// Not imitated is what OpenBSD's `2a` did to passwords of 255 bytes and more until 2014: it counted them in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `2a`: OpenBSD before 5.5, and most libraries.
    A,
    /// `2b`: OpenBSD since 5.5. The one for new hashes.
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
/// Comparing two takes the same time wherever they differ.
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

    /// Which of `2a`, `2b` and `2y` it says it is.
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

    /// The digest. bcrypt throws its 24th byte away.
    pub const fn digest(&self) -> [u8; 23] {
        self.digest
    }

    /// Whether the digest is this one, in a time that does not depend on where they differ.
    pub(crate) fn has_digest(&self, digest: &[u8; 23]) -> bool {
        bool::from(self.digest.ct_eq(digest))
    }

    /// Reads the text form, of whatever bytes: `$2b$12$`, 22 letters of salt, 31 of digest.
    ///
    /// Bits of the last letters that carry nothing must be zero: no implementation writes others, and two texts
    /// of one hash are one too many.
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

/// Without salt and digest, so that a log does not have them.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash($2{}${:02}$..)", char::from(self.version.letter()), self.cost.0)
    }
}

/// Six bits a letter, the highest first; a last letter may carry fewer.
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

/// As many bytes as wanted from as many letters as they need.
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

/// Why a text is not a bcrypt hash of a kind known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It does not have 60 bytes.
    Length {
        /// How many it has.
        bytes: usize,
    },
    /// It does not begin with `$2a$`, `$2b$` or `$2y$`, or there is no `$` after the cost.
    Prefix,
    /// The cost is not two digits from 04 to 31.
    Cost,
    /// Something among the letters is none of bcrypt's base 64.
    Letter,
    /// A last letter carries bits that belong to nothing.
    SpareBits,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => write!(f, "a bcrypt hash has 60 bytes, not {bytes}"),
            Self::Prefix => {
                f.write_str("a bcrypt hash begins with $2a$, $2b$ or $2y$, and its cost ends with $")
            }
            Self::Cost => f.write_str("a bcrypt cost is two digits from 04 to 31"),
            Self::Letter => f.write_str("a bcrypt hash is written in the letters ./A-Za-z0-9"),
            Self::SpareBits => {
                f.write_str("the last letter of a bcrypt salt or digest has bits that mean nothing")
            }
        }
    }
}

impl core::error::Error for ParseError {}

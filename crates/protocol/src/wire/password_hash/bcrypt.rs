//! bcrypt, as a modular crypt string: `$2{a,b,y}$NN$` and 53 letters; and two variants with SHA-256 before
//! it.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::BCRYPT as BCRYPT_ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD_NO_PAD};

use super::text::{bounded, decimal, unpadded};
use super::{CostClass, Unusable};

/// Accepted costs of bcrypt, as powers of two.
pub const BCRYPT_COST: std::ops::RangeInclusive<u8> = 4..=16;
/// Accepted lengths of an application's pepper, in bytes.
const PEPPER_BYTES: std::ops::RangeInclusive<usize> = 1..=256;
/// Letters of a bcrypt salt.
const SALT_LETTERS: usize = 22;
/// Letters of salt and tag together.
const LETTERS: usize = 53;

const RADIX64: GeneralPurpose =
    GeneralPurpose::new(&BCRYPT_ALPHABET, NO_PAD.with_decode_allow_trailing_bits(true));

/// A version marker of bcrypt. All three are computed by the one correct rule; they differ in bugs of the
/// programs that first wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BcryptVariant {
    /// `$2a$`.
    A,
    /// `$2b$`.
    B,
    /// `$2y$`.
    Y,
}

impl BcryptVariant {
    /// The variant of `2a`, `2b` or `2y`.
    pub(super) fn read(name: &str) -> Option<Self> {
        match name {
            "2a" => Some(Self::A),
            "2b" => Some(Self::B),
            "2y" => Some(Self::Y),
            _ => None,
        }
    }
}

/// A bcrypt hash. Its 22 characters of salt hold 4 bits more than 16 bytes, and its 31 of tag 2 bits more
/// than 23; some libraries leave noise there. It is ignored but kept, so that `Display` writes the text that
/// was parsed.
#[derive(Clone, PartialEq, Eq)]
pub struct BcryptHash {
    /// The marker that it was stored with.
    pub variant: BcryptVariant,
    /// The cost, as a power of two.
    pub cost: u8,
    /// The salt.
    pub salt: [u8; 16],
    /// The tag to compare with: 184 of the ciphertext's 192 bits.
    pub tag: [u8; 23],
    /// Salt and tag as they were written.
    encoded: String,
}

impl BcryptHash {
    /// A new hash, with the marker `$2b$`. The caller keeps the cost within [`BCRYPT_COST`].
    pub fn new(cost: u8, salt: [u8; 16], tag: [u8; 23]) -> Self {
        let encoded = RADIX64.encode(salt) + &RADIX64.encode(tag);
        Self { variant: BcryptVariant::B, cost, salt, tag, encoded }
    }

    /// Parses what follows the variant: cost and letters.
    pub(super) fn read(variant: BcryptVariant, text: &str) -> Result<Self, Unusable> {
        let (cost, letters) = text.split_once('$').ok_or(Unusable::Malformed("cost"))?;
        let two_digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost = cost.parse().ok().filter(|_| two_digits).ok_or(Unusable::Malformed("cost"))?;
        Self::from_letters(variant, cost, letters)
    }

    /// Parses a whole `$2b$12$…`.
    fn read_whole(text: &str) -> Result<Self, Unusable> {
        let (name, rest) = text
            .strip_prefix('$')
            .and_then(|text| text.split_once('$'))
            .ok_or(Unusable::Malformed("bcrypt"))?;
        Self::read(BcryptVariant::read(name).ok_or(Unusable::Malformed("bcrypt"))?, rest)
    }

    fn from_letters(variant: BcryptVariant, cost: u8, letters: &str) -> Result<Self, Unusable> {
        if cost < *BCRYPT_COST.start() {
            return Err(Unusable::Malformed("cost"));
        }
        if cost > *BCRYPT_COST.end() {
            return Err(Unusable::TooExpensive("cost"));
        }
        let (salt, tag) = letters
            .split_at_checked(SALT_LETTERS)
            .filter(|_| letters.len() == LETTERS)
            .ok_or(Unusable::Malformed("length"))?;
        let salt = radix64(salt).ok_or(Unusable::Malformed("salt"))?;
        let tag = radix64(tag).ok_or(Unusable::Malformed("tag"))?;
        Ok(Self { variant, cost, salt, tag, encoded: letters.to_owned() })
    }

    /// The salt as text.
    pub fn salt_letters(&self) -> &str {
        self.encoded.get(..SALT_LETTERS).unwrap_or_default()
    }

    /// The cost of one check.
    pub fn cost_class(&self) -> CostClass {
        CostClass::Bcrypt { cost: self.cost }
    }
}

fn radix64<const N: usize>(text: &str) -> Option<[u8; N]> {
    RADIX64.decode(text).ok()?.try_into().ok()
}

impl fmt::Display for BcryptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self.variant {
            BcryptVariant::A => "2a",
            BcryptVariant::B => "2b",
            BcryptVariant::Y => "2y",
        };
        write!(f, "${variant}${:02}${}", self.cost, self.encoded)
    }
}

/// The input of bcrypt in place of the password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Prehash {
    /// The Base64 of the HMAC-SHA384 of the trimmed password under a constant: WordPress since 6.8.
    WordPress,
    /// The password, and behind it a secret of the application: Devise's `pepper`.
    Peppered(Vec<u8>),
    /// The 64 hexadecimal digits of the password's SHA-256: Django's `bcrypt_sha256`.
    Hex,
    /// The padded Base64 of the password's SHA-256: passlib's `bcrypt_sha256`, version 1.
    Base64,
    /// The padded Base64 of the password's HMAC-SHA256 under the 22 letters of the salt: version 2.
    KeyedBase64,
}

/// The text of a bcrypt hash whose origin appended `pepper` to each password:
/// `$bcrypt-pepper$pepper$2a$12$…`.
///
/// # Errors
/// [`Unusable`], when `text` is no bcrypt hash.
pub fn peppered(text: &str, pepper: &[u8]) -> Result<String, Unusable> {
    BcryptHash::read_whole(text)?;
    Ok(format!("$bcrypt-pepper${}{text}", STANDARD_NO_PAD.encode(pepper)))
}

/// bcrypt over SHA-256 of the password, or over another input that is made of it.
#[derive(Clone, PartialEq, Eq)]
pub struct BcryptSha256Hash {
    /// The input of bcrypt.
    pub prehash: Prehash,
    /// The bcrypt hash.
    pub bcrypt: BcryptHash,
}

impl BcryptSha256Hash {
    /// Parses what follows passlib's `$bcrypt-sha256$`: `v=2,t=2b,r=12$salt$tag` or `2b,12$salt$tag`.
    pub(super) fn read_passlib(text: &str) -> Result<Self, Unusable> {
        let [settings, salt, tag] = super::text::parts(text, '$')?;
        let (prehash, variant, cost) = if let Some(settings) = settings.strip_prefix("v=2,t=2b,r=") {
            (Prehash::KeyedBase64, BcryptVariant::B, settings)
        } else {
            let (name, cost) = settings.split_once(',').ok_or(Unusable::Malformed("parameters"))?;
            let variant = BcryptVariant::read(name).filter(|variant| *variant != BcryptVariant::Y);
            (Prehash::Base64, variant.ok_or(Unusable::Malformed("parameters"))?, cost)
        };
        let cost = decimal(cost).filter(|_| cost.len() <= 2).and_then(|cost| u8::try_from(cost).ok());
        let cost = cost.ok_or(Unusable::Malformed("cost"))?;
        if salt.len() != SALT_LETTERS {
            return Err(Unusable::Malformed("salt"));
        }
        let bcrypt = BcryptHash::from_letters(variant, cost, &format!("{salt}{tag}"))?;
        // The letters are the key of version 2, so noise in them would matter; passlib refuses it too.
        if prehash == Prehash::KeyedBase64 && RADIX64.encode(bcrypt.salt) != salt {
            return Err(Unusable::Malformed("salt"));
        }
        Ok(Self { prehash, bcrypt })
    }

    /// Parses what follows WordPress's `$wp$`: a bcrypt hash without its first dollar sign.
    pub(super) fn read_wordpress(text: &str) -> Result<Self, Unusable> {
        Ok(Self { prehash: Prehash::WordPress, bcrypt: BcryptHash::read_whole(&format!("${text}"))? })
    }

    /// Parses what follows `$bcrypt-pepper$`: the pepper in Base64, and a bcrypt hash.
    pub(super) fn read_peppered(text: &str) -> Result<Self, Unusable> {
        let (pepper, rest) = text.split_once('$').ok_or(Unusable::Malformed("parts"))?;
        let pepper = bounded("pepper", unpadded(pepper), &PEPPER_BYTES)?;
        Ok(Self { prehash: Prehash::Peppered(pepper), bcrypt: BcryptHash::read_whole(&format!("${rest}"))? })
    }

    /// Its name in metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self.prehash {
            Prehash::WordPress => "bcrypt-wordpress",
            Prehash::Peppered(_) => "bcrypt-peppered",
            Prehash::Hex | Prehash::Base64 | Prehash::KeyedBase64 => "bcrypt-sha256",
        }
    }

    /// Parses what follows Django's `bcrypt_sha256$`: a whole bcrypt hash.
    pub(super) fn read_django(text: &str) -> Result<Self, Unusable> {
        Ok(Self { prehash: Prehash::Hex, bcrypt: BcryptHash::read_whole(text)? })
    }
}

/// Parses what follows Django's `bcrypt$`: a whole bcrypt hash.
pub(super) fn read_django(text: &str) -> Result<BcryptHash, Unusable> {
    BcryptHash::read_whole(text)
}

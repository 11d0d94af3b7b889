//! Stored password hashes, as their makers write them: PHC strings for Argon2 (RFC 9106; the `m`, `t`, `p`
//! form of the PHC string format) and modular crypt strings for bcrypt.
//!
//! Reading is strict and bounded: what is stored may come from an import, so it is as foreign as a request.
//! A hash that would cost more than the caps is refused before anything is spent on it.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::BCRYPT as BCRYPT_ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD_NO_PAD};

/// Longest stored text that is looked at, in bytes.
pub const STORED_BYTES: usize = 512;
/// Most memory of one Argon2 hash, in KiB: 1 GiB.
pub const ARGON2_MAX_MEMORY: u32 = 1 << 20;
/// Most passes of one Argon2 hash.
pub const ARGON2_MAX_ITERATIONS: u32 = 64;
/// Most lanes of one Argon2 hash.
pub const ARGON2_MAX_PARALLELISM: u32 = 16;
/// Lengths of an Argon2 salt that are read, in bytes (RFC 9106 §3.1 begins at 8).
pub const ARGON2_SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Lengths of an Argon2 tag that are read, in bytes. RFC 9106 §3.1 begins at 4, which any password may match.
pub const ARGON2_TAG_BYTES: std::ops::RangeInclusive<usize> = 12..=64;
/// Costs of bcrypt that are read, as powers of two.
pub const BCRYPT_COST: std::ops::RangeInclusive<u8> = 4..=16;

/// A stored password hash, understood. `Display` writes the very text that was read.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredHash {
    /// Argon2, version 1.3.
    Argon2(Argon2Hash),
    /// bcrypt.
    Bcrypt(BcryptHash),
}

/// Why a stored hash cannot be verified. Members name the part, never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unusable {
    /// Not a format that is known here.
    Unknown,
    /// A known format, with this part wrong.
    Malformed(&'static str),
    /// A known format, with this parameter above its cap.
    TooExpensive(&'static str),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("not a known password-hash format"),
            Self::Malformed(part) => write!(f, "malformed password hash: {part}"),
            Self::TooExpensive(part) => write!(f, "password hash costs more than is allowed: {part}"),
        }
    }
}

impl std::error::Error for Unusable {}

/// A kind of Argon2 (RFC 9106 §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Argon2Kind {
    /// Data-dependent memory access.
    D,
    /// Data-independent memory access.
    I,
    /// Both, the one for passwords.
    Id,
}

impl Argon2Kind {
    /// The identifier in a PHC string.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::D => "argon2d",
            Self::I => "argon2i",
            Self::Id => "argon2id",
        }
    }
}

/// An Argon2 hash with its parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct Argon2Hash {
    /// Which Argon2.
    pub kind: Argon2Kind,
    /// Memory, in KiB.
    pub memory: u32,
    /// Passes.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// The tag to compare with.
    pub tag: Vec<u8>,
}

/// A marker of bcrypt. All three are verified by one rule, the correct one; they differ in the bugs of the
/// programs that once wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BcryptVariant {
    /// `$2a$`.
    A,
    /// `$2b$`.
    B,
    /// `$2y$`.
    Y,
}

/// A bcrypt hash. Its 22 characters of salt hold 4 bits more than 16 bytes, and its 31 of tag 2 bits more
/// than 23; some makers left noise there. It is not looked at, but kept, so that `Display` writes what was
/// read.
#[derive(Clone, PartialEq, Eq)]
pub struct BcryptHash {
    /// The marker that it was stored with.
    pub variant: BcryptVariant,
    /// The cost, as a power of two.
    pub cost: u8,
    /// The salt.
    pub salt: [u8; 16],
    /// The tag to compare with: 184 of the cipher text's 192 bits.
    pub tag: [u8; 23],
    /// Salt and tag as they were written.
    encoded: String,
}

impl BcryptHash {
    /// A new hash, with the marker `$2b$`. The cost is the caller's to keep within [`BCRYPT_COST`].
    pub fn new(cost: u8, salt: [u8; 16], tag: [u8; 23]) -> Self {
        let encoded = RADIX64.encode(salt) + &RADIX64.encode(tag);
        Self { variant: BcryptVariant::B, cost, salt, tag, encoded }
    }
}

impl StoredHash {
    /// Reads a stored hash: Argon2 `$argon2{d,i,id}$v=19$m=…,t=…,p=…$salt$tag`, bcrypt `$2{a,b,y}$NN$…`.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        if text.len() > STORED_BYTES {
            return Err(Unusable::Malformed("length"));
        }
        let (name, rest) =
            text.strip_prefix('$').and_then(|text| text.split_once('$')).ok_or(Unusable::Unknown)?;
        match name {
            "argon2d" => argon2(Argon2Kind::D, rest).map(Self::Argon2),
            "argon2i" => argon2(Argon2Kind::I, rest).map(Self::Argon2),
            "argon2id" => argon2(Argon2Kind::Id, rest).map(Self::Argon2),
            "2a" => bcrypt(BcryptVariant::A, rest).map(Self::Bcrypt),
            "2b" => bcrypt(BcryptVariant::B, rest).map(Self::Bcrypt),
            "2y" => bcrypt(BcryptVariant::Y, rest).map(Self::Bcrypt),
            _ => Err(Unusable::Unknown),
        }
    }

    /// The kind of hash, for metrics and for choosing a dummy: parameters left out.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Argon2(hash) => hash.kind.as_str(),
            Self::Bcrypt(_) => "bcrypt",
        }
    }
}

fn argon2(kind: Argon2Kind, text: &str) -> Result<Argon2Hash, Unusable> {
    let mut parts = text.split('$');
    let mut part = |name| parts.next().ok_or(Unusable::Malformed(name));
    if part("version")? != "v=19" {
        return Err(Unusable::Malformed("version"));
    }
    let parameters = part("parameters")?;
    let salt = standard(part("salt")?).ok_or(Unusable::Malformed("salt"))?;
    let tag = standard(part("tag")?).ok_or(Unusable::Malformed("tag"))?;
    if parts.next().is_some() {
        return Err(Unusable::Malformed("parts"));
    }

    let mut parameters = parameters.split(',');
    let mut parameter = |name: &'static str, prefix, most| {
        let value = parameters.next().and_then(|parameter| parameter.strip_prefix(prefix)).and_then(decimal);
        match value.ok_or(Unusable::Malformed(name))? {
            0 => Err(Unusable::Malformed(name)),
            value if value > most => Err(Unusable::TooExpensive(name)),
            value => Ok(value),
        }
    };
    let memory = parameter("memory", "m=", ARGON2_MAX_MEMORY)?;
    let iterations = parameter("iterations", "t=", ARGON2_MAX_ITERATIONS)?;
    let parallelism = parameter("parallelism", "p=", ARGON2_MAX_PARALLELISM)?;
    if parameters.next().is_some() {
        return Err(Unusable::Malformed("parameters"));
    }
    // RFC 9106 §3.1: at least eight blocks of 1 KiB a lane.
    if memory < 8 * parallelism {
        return Err(Unusable::Malformed("memory"));
    }
    if !ARGON2_SALT_BYTES.contains(&salt.len()) {
        return Err(Unusable::Malformed("salt"));
    }
    if !ARGON2_TAG_BYTES.contains(&tag.len()) {
        return Err(Unusable::Malformed("tag"));
    }
    Ok(Argon2Hash { kind, memory, iterations, parallelism, salt, tag })
}

fn bcrypt(variant: BcryptVariant, text: &str) -> Result<BcryptHash, Unusable> {
    let (cost, rest) = text.split_once('$').ok_or(Unusable::Malformed("cost"))?;
    let two_digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    let cost: u8 = cost.parse().ok().filter(|_| two_digits).ok_or(Unusable::Malformed("cost"))?;
    if cost < *BCRYPT_COST.start() {
        return Err(Unusable::Malformed("cost"));
    }
    if cost > *BCRYPT_COST.end() {
        return Err(Unusable::TooExpensive("cost"));
    }
    // 22 characters of salt and 31 of tag.
    let (salt, tag) =
        rest.split_at_checked(22).filter(|_| rest.len() == 53).ok_or(Unusable::Malformed("length"))?;
    let salt = radix64(salt).ok_or(Unusable::Malformed("salt"))?;
    let tag = radix64(tag).ok_or(Unusable::Malformed("tag"))?;
    Ok(BcryptHash { variant, cost, salt, tag, encoded: rest.to_owned() })
}

const RADIX64: GeneralPurpose =
    GeneralPurpose::new(&BCRYPT_ALPHABET, NO_PAD.with_decode_allow_trailing_bits(true));

fn radix64<const N: usize>(text: &str) -> Option<[u8; N]> {
    RADIX64.decode(text).ok()?.try_into().ok()
}

fn standard(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).ok()
}

/// A number as PHC strings write it: digits without leading zeros.
fn decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

impl fmt::Display for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2(hash) => fmt::Display::fmt(hash, f),
            Self::Bcrypt(hash) => fmt::Display::fmt(hash, f),
        }
    }
}

impl fmt::Display for Argon2Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, m, t, p) = (self.kind.as_str(), self.memory, self.iterations, self.parallelism);
        let (salt, tag) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(&self.tag));
        write!(f, "${kind}$v=19$m={m},t={t},p={p}${salt}${tag}")
    }
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

/// A hash can be guessed at: a debug text shows its kind and cost only.
impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2(hash) => fmt::Debug::fmt(hash, f),
            Self::Bcrypt(hash) => fmt::Debug::fmt(hash, f),
        }
    }
}

/// As that of [`StoredHash`].
impl fmt::Debug for Argon2Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, m, t, p) = (self.kind.as_str(), self.memory, self.iterations, self.parallelism);
        write!(f, "{kind}(m {m}, t {t}, p {p})")
    }
}

/// As that of [`StoredHash`].
impl fmt::Debug for BcryptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bcrypt(cost {})", self.cost)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    const ARGON2: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
                          bWFkZS11cC10YWctb2YtMzItYnl0ZXMtbG9uZy4uLi4";
    const BCRYPT: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";

    #[test]
    fn reads_and_writes_the_same_text() {
        let others = [
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$bWFkZS11cC10YWdz",
            "$argon2d$v=19$m=1048576,t=64,p=16$c29tZXNhbHQ$bWFkZS11cC10YWdz",
            "$2a$04$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
            "$2y$16$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
            "$2b$12$EixZaYVK1fsbw1ZfbX3OXfPaWxn96p36WQoeG6Lruj3vjPGga31lX",
        ];
        for text in [ARGON2, BCRYPT].into_iter().chain(others) {
            let hash = StoredHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(hash.to_string(), text);
            assert!(!format!("{hash:?}").contains('$'));
        }
        let Ok(StoredHash::Argon2(hash)) = StoredHash::parse(ARGON2) else { panic!("argon2") };
        assert_eq!((hash.memory, hash.iterations, hash.parallelism), (19456, 2, 1));
        assert_eq!(hash.salt, b"somesaltsomesalt");
        let hash = StoredHash::parse(BCRYPT).unwrap();
        assert_eq!(hash.kind(), "bcrypt");
        let StoredHash::Bcrypt(BcryptHash { cost, salt, tag, .. }) = hash else { panic!("bcrypt") };
        assert_eq!(BcryptHash::new(cost, salt, tag).to_string(), BCRYPT);
    }

    #[test]
    fn a_37_odd_hashes_are_refused_with_the_part() {
        use Unusable::{Malformed, TooExpensive, Unknown};
        let with = |from: &str, to: &str| ARGON2.replacen(from, to, 1);
        let blow = |from: &str, to: &str| BCRYPT.replacen(from, to, 1);
        let cases = [
            (String::new(), Unknown),
            ("$".to_owned(), Unknown),
            ("$$$$".to_owned(), Unknown),
            ("plain text".to_owned(), Unknown),
            ("5f4dcc3b5aa765d61d8327deb882cf99".to_owned(), Unknown),
            (ARGON2.replacen('$', "", 1), Unknown),
            (with("argon2id", "Argon2id"), Unknown),
            (with("v=19", "v=16"), Malformed("version")),
            (with("$v=19", ""), Malformed("version")),
            (with("m=19456", "m=019456"), Malformed("memory")),
            (with("m=19456", "m=+19456"), Malformed("memory")),
            (with("m=19456", "m="), Malformed("memory")),
            (with("m=19456", "m=7"), Malformed("memory")),
            (with("m=19456", "m=99999999999"), Malformed("memory")),
            (with("m=19456", "m=1048577"), TooExpensive("memory")),
            (with("t=2", "t=0"), Malformed("iterations")),
            (with("t=2", "t=65"), TooExpensive("iterations")),
            (with("p=1", "p=17"), TooExpensive("parallelism")),
            (with("m=19456,t=2", "t=2,m=19456"), Malformed("memory")),
            (with("p=1", "p=1,data=AA"), Malformed("parameters")),
            (with("c29tZXNhbHRzb21lc2FsdA", "c29tZXNhbHRzb21lc2FsdA=="), Malformed("salt")),
            (with("c29tZXNhbHRzb21lc2FsdA", "c29tZXNhbHRzb21lc2FsdB"), Malformed("salt")),
            (with("c29tZXNhbHRzb21lc2FsdA", "c2Fs"), Malformed("salt")),
            (with("c29tZXNhbHRzb21lc2FsdA", "cä"), Malformed("salt")),
            (format!("{ARGON2}$AA"), Malformed("parts")),
            (format!("{ARGON2}\n"), Malformed("tag")),
            (ARGON2.rsplit_once('$').unwrap().0.to_owned(), Malformed("tag")),
            (blow("$2b$", "$2$"), Unknown),
            (blow("$2b$", "$2x$"), Unknown),
            (blow("12", "1"), Malformed("cost")),
            (blow("12", "+4"), Malformed("cost")),
            (blow("12", "03"), Malformed("cost")),
            (blow("12", "17"), TooExpensive("cost")),
            (blow("12", "99"), TooExpensive("cost")),
            (blow("12", "１２"), Malformed("cost")),
            (blow("lW", "l"), Malformed("length")),
            (blow("lW", "lWW"), Malformed("length")),
            (blow("lW", "ü"), Malformed("tag")),
            (blow("XePaW", "XePaé"), Malformed("length")),
            (blow("Eix", "üx"), Malformed("salt")),
            (blow("Eix", "E+x"), Malformed("salt")),
            (blow("Eix", "E\0x"), Malformed("salt")),
            ("$2b$".to_owned(), Malformed("cost")),
            ("$2b$12$".to_owned(), Malformed("length")),
            (format!("$2b$12${}", "a".repeat(1 << 20)), Malformed("length")),
        ];
        for (text, error) in cases {
            assert_eq!(StoredHash::parse(&text), Err(error), "{text:.80}");
        }
    }

    proptest! {
        #[test]
        fn a_37_parse_never_panics_and_is_exact(
            text in any::<String>(), rest in any::<String>(), index in 0_usize..120, c in any::<char>(),
        ) {
            let mut texts = vec![text, format!("$2b$12${rest}"), format!("$argon2id$v=19${rest}")];
            for known in [ARGON2, BCRYPT] {
                let mut chars: Vec<char> = known.chars().collect();
                if let Some(slot) = chars.get_mut(index) {
                    *slot = c;
                }
                texts.push(chars.into_iter().collect());
            }
            for text in texts {
                if let Ok(hash) = StoredHash::parse(&text) {
                    prop_assert_eq!(hash.to_string(), text);
                }
            }
        }
    }
}

//! Stored password hashes, our own and those of other systems, each in the format of its origin.
//!
//! | text | made by | module |
//! |---|---|---|
//! | `$argon2{d,i,id}$v=19$…`, Django's `argon2$…` | Argon2 libraries (PHC strings) | [`Argon2Hash`] |
//! | `$2{a,b,y}$…`, Django's `bcrypt$…` | bcrypt libraries | [`BcryptHash`] |
//! | `$bcrypt-sha256$…`, `bcrypt_sha256$…` | passlib, Django | [`BcryptSha256Hash`] |
//! | `$pbkdf2…$`, `pbkdf2_…$`, `pbkdf2:…` | passlib, Django, Werkzeug; [`keycloak`] | [`Pbkdf2Hash`] |
//! | `$scrypt$…`, `scrypt$…`, `scrypt:…` | PHC strings, Django, Werkzeug | [`ScryptHash`] |
//! | `$firebase-scrypt$…` | [`FirebaseProject`] | [`FirebaseHash`] |
//! | `$5$…`, `$6$…` | crypt(3) | [`ShaCryptHash`] |
//! | `$wp$2y$…`, `$bcrypt-pepper$…` | WordPress; Devise with a pepper, see [`peppered`] |
//! [`BcryptSha256Hash`] |
//! | `{SSHA}…`, `$P$…`, `$1$…`, `md5$…` | directories, PHP, Unix, Django | [`DigestHash`] |
//!
//! [`from_export`] converts the spellings that other systems' exports have besides.
//!
//! The prefixes `{CRYPT}`, `{ARGON2}`, `{BCRYPT}` and similar ones of directories are skipped.
//!
//! Parsing is strict and bounded: a stored hash may come from an import, so it is as untrusted as a request.
//! A hash whose cost exceeds the caps is refused before anything is computed. The caps keep one check
//! within 1 GiB, and within about two seconds of a core of 2025; `docs/password-hashes.md` lists them.

mod argon2;
mod bcrypt;
mod cost;
mod digests;
mod exported;
mod other_systems;
mod pbkdf2;
mod scrypt;
mod sha_crypt;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

pub use argon2::{
    ARGON2_MAX_ITERATIONS, ARGON2_MAX_MEMORY, ARGON2_MAX_PARALLELISM, ARGON2_MAX_WORK, ARGON2_SALT_BYTES,
    ARGON2_TAG_BYTES, Argon2Hash, Argon2Kind,
};
pub use bcrypt::{BCRYPT_COST, BcryptHash, BcryptSha256Hash, BcryptVariant, Prehash, peppered};
pub use digests::{DigestHash, DigestRule, PlainDigest};
pub use exported::from_export;
pub use other_systems::{FirebaseProject, keycloak};
pub use pbkdf2::{Digest, PBKDF2_MAX_ITERATIONS, Pbkdf2Hash};
pub use scrypt::{
    FIREBASE_TAG_BYTES, FirebaseHash, SCRYPT_MAX_BYTES, SCRYPT_MAX_FACTOR, ScryptCost, ScryptHash,
};
pub use sha_crypt::{SHA_CRYPT_PASSWORD_BYTES, SHA_CRYPT_ROUNDS, ShaCryptHash, ShaCryptTag};
pub use text::{SALT_BYTES, TAG_BYTES};

/// Longest text of a hash that is parsed, in bytes, without the import marker.
pub const STORED_BYTES: usize = 512;
/// The prefix of an imported hash in storage: the import marker.
const IMPORTED: &str = "import:";

/// A parsed password hash. `Display` writes exactly the text that was parsed.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash {
    /// As stored, with the import marker.
    text: String,
    rules: Rules,
    format: Format,
}

/// Which bytes of a password are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rules {
    /// Ours: UTF-8 in NFC, never truncated.
    Ours,
    /// Those of another system: UTF-8 as received, with its format's treatment of long passwords and of NUL.
    Imported,
}

impl Rules {
    /// Their name in imports and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "gatewright",
            Self::Imported => "imported",
        }
    }

    /// The rules of this name.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Ours, Self::Imported].into_iter().find(|rules| rules.as_str() == word)
    }
}

/// The format and parameters of a hash.
#[derive(Clone, PartialEq, Eq)]
pub enum Format {
    /// Argon2, version 1.3.
    Argon2(Argon2Hash),
    /// bcrypt.
    Bcrypt(BcryptHash),
    /// bcrypt over SHA-256.
    BcryptSha256(BcryptSha256Hash),
    /// PBKDF2.
    Pbkdf2(Pbkdf2Hash),
    /// scrypt.
    Scrypt(ScryptHash),
    /// Firebase's scrypt.
    Firebase(FirebaseHash),
    /// SHA-crypt.
    ShaCrypt(ShaCryptHash),
    /// A digest, salted or iterated.
    Digest(DigestHash),
}

/// The cost class of a hash: the algorithm with its parameters. Hashes of one class take the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CostClass {
    /// Argon2.
    Argon2 {
        /// Which Argon2.
        kind: Argon2Kind,
        /// Memory, in KiB.
        memory: u32,
        /// Passes.
        iterations: u32,
        /// Lanes.
        parallelism: u32,
    },
    /// bcrypt, with SHA-256 before it or without.
    Bcrypt {
        /// The cost, as a power of two.
        cost: u8,
    },
    /// PBKDF2.
    Pbkdf2 {
        /// The hash function.
        digest: Digest,
        /// Iterations of each block.
        iterations: u32,
        /// Blocks.
        blocks: usize,
    },
    /// scrypt, Firebase's too.
    Scrypt(ScryptCost),
    /// SHA-crypt.
    ShaCrypt {
        /// Whether it is SHA-512 and not SHA-256.
        wide: bool,
        /// Rounds.
        rounds: u32,
    },
    /// A digest.
    Digest {
        /// How often it is computed.
        rounds: u32,
    },
}

/// Why a stored hash cannot be verified. Members name the part, never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unusable {
    /// The format is not supported.
    #[error("not a known password-hash format")]
    Unknown,
    /// A known format, with this part wrong.
    #[error("malformed password hash: {0}")]
    Malformed(&'static str),
    /// A known format, with this parameter above its cap.
    #[error("password hash costs more than is allowed: {0}")]
    TooExpensive(&'static str),
}

impl StoredHash {
    /// Parses a stored hash. A text with the import marker, or in a format that is never written here, has
    /// the rules of its origin; any other has ours.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn parse(stored: &str) -> Result<Self, Unusable> {
        let (bare, marked) = match stored.strip_prefix(IMPORTED) {
            Some(bare) => (bare, true),
            None => (stored, false),
        };
        let format = Format::read(bare)?;
        let rules = if marked || !format.may_be_ours(bare) { Rules::Imported } else { Rules::Ours };
        Ok(Self { text: stored.to_owned(), rules, format })
    }

    /// Parses a hash in the format of its origin, and adds the import marker if `rules` say so.
    ///
    /// # Errors
    /// [`Unusable`]; a format that is never written here cannot have our rules.
    pub fn from_origin(text: &str, rules: Rules) -> Result<Self, Unusable> {
        let format = Format::read(text)?;
        let text = match rules {
            Rules::Imported => format!("{IMPORTED}{text}"),
            Rules::Ours if format.may_be_ours(text) => text.to_owned(),
            Rules::Ours => return Err(Unusable::Malformed("rules")),
        };
        Ok(Self { text, rules, format })
    }

    /// Which bytes of a password are hashed.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Its format and parameters.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The text as its origin wrote it: without the import marker.
    pub fn origin_text(&self) -> &str {
        self.text.strip_prefix(IMPORTED).unwrap_or(&self.text)
    }

    /// The kind of hash, for metrics and for choosing a dummy: parameters left out.
    pub fn kind(&self) -> &'static str {
        self.format.kind()
    }

    /// Whether the kind is broken: an import accepts it only when it is told to.
    pub fn is_weak(&self) -> bool {
        matches!(&self.format, Format::Digest(hash) if hash.is_weak())
    }

    /// The cost of one check.
    pub fn cost_class(&self) -> CostClass {
        self.format.cost_class()
    }
}

impl Format {
    fn read(text: &str) -> Result<Self, Unusable> {
        if text.len() > STORED_BYTES {
            return Err(Unusable::Malformed("length"));
        }
        // No origin writes them, and PostgreSQL cannot store all of them.
        if text.contains(|char: char| char.is_control()) {
            return Err(Unusable::Malformed("control character"));
        }
        let scheme = text.strip_prefix('{').and_then(|text| text.split_once('}'));
        let digest =
            scheme.and_then(|(scheme, rest)| DigestHash::read_scheme(&scheme.to_ascii_uppercase(), rest));
        if let Some(hash) = digest {
            return hash.map(Self::Digest);
        }
        let text = over_scheme(text)?;
        match text.strip_prefix('$') {
            Some(text) => Self::read_crypt(text),
            None => Self::read_framework(text),
        }
    }

    /// Modular crypt and PHC strings: `$name$…`.
    fn read_crypt(text: &str) -> Result<Self, Unusable> {
        let (name, rest) = text.split_once('$').ok_or(Unusable::Unknown)?;
        if let Some(variant) = BcryptVariant::read(name) {
            return BcryptHash::read(variant, rest).map(Self::Bcrypt);
        }

        match name {
            "argon2d" => Argon2Hash::read(Argon2Kind::D, rest).map(Self::Argon2),
            "argon2i" => Argon2Hash::read(Argon2Kind::I, rest).map(Self::Argon2),
            "argon2id" => Argon2Hash::read(Argon2Kind::Id, rest).map(Self::Argon2),
            "bcrypt-sha256" => BcryptSha256Hash::read_passlib(rest).map(Self::BcryptSha256),
            "pbkdf2" => Pbkdf2Hash::read_passlib(Digest::Sha1, rest).map(Self::Pbkdf2),
            "pbkdf2-sha256" => Pbkdf2Hash::read_passlib(Digest::Sha256, rest).map(Self::Pbkdf2),
            "pbkdf2-sha512" => Pbkdf2Hash::read_passlib(Digest::Sha512, rest).map(Self::Pbkdf2),
            "bcrypt-pepper" => BcryptSha256Hash::read_peppered(rest).map(Self::BcryptSha256),
            "wp" => BcryptSha256Hash::read_wordpress(rest).map(Self::BcryptSha256),
            "scrypt" => ScryptHash::read_phc(rest).map(Self::Scrypt),
            "scrypt-nfkc" => ScryptHash::read_nfkc(rest).map(Self::Scrypt),
            "P" | "H" => DigestHash::read_phpass(rest).map(Self::Digest),
            "1" => DigestHash::read_md5_crypt(false, rest).map(Self::Digest),
            "apr1" => DigestHash::read_md5_crypt(true, rest).map(Self::Digest),
            "firebase-scrypt" => FirebaseHash::read(rest).map(Self::Firebase),
            "5" => ShaCryptHash::read_sha256(rest).map(Self::ShaCrypt),
            "6" => ShaCryptHash::read_sha512(rest).map(Self::ShaCrypt),
            _ => Err(Unusable::Unknown),
        }
    }

    /// The formats of web frameworks: `name$…` (Django) and `name:…` (Werkzeug).
    fn read_framework(text: &str) -> Result<Self, Unusable> {
        let (name, rest) = text.split_at(text.find(['$', ':']).ok_or(Unusable::Unknown)?);
        let (separator, rest) = rest.split_at_checked(1).ok_or(Unusable::Unknown)?;
        match (name, separator) {
            ("argon2", "$") => match rest.split_once('$') {
                Some(("argon2d", rest)) => Argon2Hash::read(Argon2Kind::D, rest).map(Self::Argon2),
                Some(("argon2i", rest)) => Argon2Hash::read(Argon2Kind::I, rest).map(Self::Argon2),
                Some(("argon2id", rest)) => Argon2Hash::read(Argon2Kind::Id, rest).map(Self::Argon2),
                _ => Err(Unusable::Malformed("argon2")),
            },
            ("bcrypt", "$") => bcrypt::read_django(rest).map(Self::Bcrypt),
            ("bcrypt_sha256", "$") => BcryptSha256Hash::read_django(rest).map(Self::BcryptSha256),
            ("pbkdf2_sha1", "$") => Pbkdf2Hash::read_django(Digest::Sha1, rest).map(Self::Pbkdf2),
            ("pbkdf2_sha256", "$") => Pbkdf2Hash::read_django(Digest::Sha256, rest).map(Self::Pbkdf2),
            ("scrypt", "$") => ScryptHash::read_django(rest).map(Self::Scrypt),
            ("pbkdf2", ":") => Pbkdf2Hash::read_werkzeug(rest).map(Self::Pbkdf2),
            ("md5", "$") => DigestHash::read_django(PlainDigest::Md5, rest).map(Self::Digest),
            ("sha1", "$") => DigestHash::read_django(PlainDigest::Sha1, rest).map(Self::Digest),
            ("scrypt", ":") => ScryptHash::read_werkzeug(rest).map(Self::Scrypt),
            _ => Err(Unusable::Unknown),
        }
    }

    /// Whether a text in this format may have been written here.
    fn may_be_ours(&self, text: &str) -> bool {
        text.starts_with('$') && matches!(self, Self::Argon2(_) | Self::Bcrypt(_))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Argon2(hash) => hash.kind.as_str(),
            Self::Bcrypt(_) => "bcrypt",
            Self::BcryptSha256(hash) => hash.kind(),
            Self::Pbkdf2(hash) => hash.kind(),
            Self::Scrypt(_) => "scrypt",
            Self::Firebase(_) => "firebase-scrypt",
            Self::ShaCrypt(hash) => hash.kind(),
            Self::Digest(hash) => hash.kind(),
        }
    }

    fn cost_class(&self) -> CostClass {
        match self {
            Self::Argon2(hash) => hash.cost_class(),
            Self::Bcrypt(hash) => hash.cost_class(),
            Self::BcryptSha256(hash) => hash.bcrypt.cost_class(),
            Self::Pbkdf2(hash) => hash.cost_class(),
            Self::Scrypt(hash) => hash.cost.into(),
            Self::Firebase(hash) => hash.cost.into(),
            Self::ShaCrypt(hash) => hash.cost_class(),
            Self::Digest(hash) => hash.cost_class(),
        }
    }
}

/// The text after the scheme of RFC 2307, if there is one: `{CRYPT}` and the schemes that name a crypt
/// format.
fn over_scheme(text: &str) -> Result<&str, Unusable> {
    let Some((scheme, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return Ok(text);
    };
    let known =
        ["CRYPT", "ARGON2", "ARGON2I", "ARGON2ID", "BCRYPT", "BLF-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT"];
    let known = known.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    if known && rest.starts_with('$') { Ok(rest) } else { Err(Unusable::Unknown) }
}

impl fmt::Display for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A hash allows guesses at the password: `Debug` shows only its kind, its rules and its cost.
impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {:?})", self.kind(), self.rules, self.cost_class())
    }
}

/// Kind and cost only, as for [`StoredHash`].
macro_rules! debug {
    ($($type:ty: $kind:literal, $hash:ident => $what:expr;)*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $hash = self;
                write!(f, concat!($kind, "({:?})"), $what)
            }
        }
    )*};
}

debug! {
    Format: "format", format => format.cost_class();
    Argon2Hash: "argon2", hash => hash.cost_class();
    BcryptHash: "bcrypt", hash => hash.cost_class();
    BcryptSha256Hash: "bcrypt-sha256", hash => hash.bcrypt.cost_class();
    Pbkdf2Hash: "pbkdf2", hash => hash.cost_class();
    ScryptHash: "scrypt", hash => hash.cost;
    FirebaseHash: "firebase-scrypt", hash => hash.cost;
    ShaCryptHash: "sha-crypt", hash => hash.cost_class();
    DigestHash: "digest", hash => hash.cost_class();
}

//! `[tokens]`

use std::path::PathBuf;
use std::time::Duration;

use super::section;
use crate::config::url::WebUrl;
use crate::config::value::{Value, words};

words! {
    /// How access tokens are signed (RFC 7518 §3.1, RFC 8037).
    pub enum SigningAlgorithm, "`ES256`, `EdDSA`, `RS256` or `HS256`" {
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// RSA PKCS #1 v1.5 with SHA-256, 3072 bits.
        Rs256 = "RS256",
        /// HMAC with SHA-256 and a secret that is shared with the applications.
        Hs256 = "HS256",
    }
}

words! {
    /// What the `sub` claim contains.
    pub enum Subject, "`id` or `uuid`" {
        /// The user's id, as text.
        Id = "id",
        /// The user's public identifier.
        Uuid = "uuid",
    }
}

/// The `aud` claim (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The issuer's URL.
    Issuer,
    /// No `aud` at all, for libraries that refuse one they do not expect.
    Omitted,
    /// This text.
    Named(String),
}

impl Value for Audience {
    const EXPECTED: &'static str = "a name or URL, `issuer` for the issuer's URL, or empty for none";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "" => Self::Omitted,
            "issuer" => Self::Issuer,
            name => Self::Named(name.to_owned()),
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Issuer => "issuer".to_owned(),
            Self::Omitted => String::new(),
            Self::Named(name) => name.clone(),
        }
    }
}

const DAY: u64 = 24 * 60 * 60;

section! {
    /// Tokens and sessions.
    pub struct TokensConfig in "tokens." {
        /// How access tokens are signed.
        algorithm: SigningAlgorithm = SigningAlgorithm::Es256, example: "EdDSA";
        /// The `iss` of access tokens.
        issuer: Option<WebUrl> = None, shown: "`server.public_url`", example: "https://auth.example.org";
        /// The `aud` of access tokens.
        audience: Audience = Audience::Issuer, example: "https://api.example.org";
        /// What the `sub` of access tokens contains.
        subject: Subject = Subject::Id, example: "uuid";
        /// How long an access token is valid.
        access_ttl: Duration = Duration::from_mins(30), example: "30m";
        /// How long a session may be idle: a refresh token that is not used for this time expires.
        refresh_ttl: Duration = Duration::from_secs(30 * DAY), example: "30d";
        /// How long a session may last, however often it is refreshed.
        session_ttl: Duration = Duration::from_secs(90 * DAY), example: "90d";
        /// How long a refresh token that was just used returns the same answer again.
        refresh_grace: Duration = Duration::from_secs(10), example: "10s";
        /// Whether a refresh token whose answer was lost still works after that time, until its successor has
        /// been used.
        refresh_late_replay: bool = true, example: "off";
        /// The maximum age of a node's list of revocations while the database cannot be reached.
        revocation_max_stale: Duration = Duration::from_mins(5), example: "5m";
        /// How often a new signing key replaces the current one.
        key_rotation: Duration = Duration::from_secs(90 * DAY), example: "90d";
        /// The file of the secret that `HS256` signs with; at least 32 bytes.
        hs256_secret_file: Option<PathBuf> = None, example: "/etc/gatewright/hs256.secret";
    }
}

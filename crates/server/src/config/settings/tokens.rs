//! `[tokens]`

use std::path::PathBuf;
use std::time::Duration;

use auth::session::RefreshReuse;
use model::Secret;
use protocol::wire::algorithm::Algorithm;

use super::error::SettingError;
use super::section;
use crate::config::check::Report;
use crate::config::secret_file;
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
    /// The `typ` of access tokens.
    pub enum TokenType, "`at+jwt` or `JWT`" {
        /// RFC 9068.
        AtJwt = "at+jwt",
        /// RFC 7519.
        Jwt = "JWT",
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

words! {
    /// What the reuse of a refresh token means.
    pub enum Reuse, "`revoke_other_clients` or `revoke`" {
        /// Reuse by another client, by network and user agent, ends the session.
        RevokeOtherClients = "revoke_other_clients",
        /// Every reuse ends the session.
        Revoke = "revoke",
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

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(24 * 366);

/// The default settings of `auth`.
fn defaults() -> auth::Settings {
    auth::Settings::default()
}

section! {
    /// Tokens and sessions.
    pub struct TokensConfig in "tokens." {
        /// How access tokens are signed.
        algorithm: SigningAlgorithm = SigningAlgorithm::Es256, example: "EdDSA";
        /// The `typ` of access tokens. Some verifiers, of Java and Spring among them, refuse the one of RFC
        /// 9068. Both are accepted here, so that a change signs no user out.
        typ: TokenType = TokenType::AtJwt, example: "JWT";
        /// How far in the past `iat` and `auth_time` of access tokens lie, so that verifiers whose clock is
        /// behind accept a new one. `exp` counts from now.
        backdate: Duration = defaults().backdate, within: Duration::ZERO => MINUTE, example: "5s";
        /// The `iss` of access tokens.
        issuer: Option<WebUrl> = None, shown: "`server.public_url`", example: "https://auth.example.org";
        /// The `aud` of access tokens.
        audience: Audience = Audience::Issuer, example: "https://api.example.org";
        /// What the `sub` of access tokens contains.
        subject: Subject = Subject::Id, example: "uuid";
        /// How long an access token is valid.
        access_ttl: Duration = defaults().access_ttl, within: MINUTE => DAY, example: "30m";
        /// How long a session may be idle: a refresh token that is not used for this time expires.
        refresh_ttl: Duration = defaults().refresh_ttl, within: MINUTE => 2 * YEAR, example: "30d";
        /// How long a session may last, however often it is refreshed.
        session_ttl: Duration = defaults().session_ttl, within: MINUTE => 2 * YEAR, example: "90d";
        /// How long a refresh token that was just used returns the same answer again.
        refresh_grace: Duration = defaults().refresh_grace, within: Duration::ZERO => 5 * MINUTE,
            example: "10s";
        /// What the use of a refresh token again after that time means. `revoke_other_clients` signs no
        /// client out that lost an answer or shares its store between processes, and deviates from RFC 9700
        /// §4.14.2 and ASVS 10.4.5; `revoke` makes each of them theft, as both say.
        refresh_reuse: Reuse = Reuse::RevokeOtherClients, example: "revoke";
        /// The maximum age of a node's list of revocations while the database cannot be reached.
        revocation_max_stale: Duration = defaults().revocation_max_stale, within: SECOND => DAY,
            example: "5m";
        /// How often a new signing key replaces the current one.
        key_rotation: Duration = defaults().key_rotation, within: 2 * DAY => 10 * YEAR, example: "90d";
        /// The file of the secret that `HS256` signs with; at least 32 bytes.
        hs256_secret_file: Option<PathBuf> = None, example: "/etc/gatewright/hs256.secret";
    }
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Es256 => Self::Es256,
            SigningAlgorithm::EdDsa => Self::EdDsa,
            SigningAlgorithm::Rs256 => Self::Rs256,
            SigningAlgorithm::Hs256 => Self::Hs256,
        }
    }
}

impl From<Reuse> for RefreshReuse {
    fn from(reuse: Reuse) -> Self {
        match reuse {
            Reuse::RevokeOtherClients => Self::RevokeOtherClients,
            Reuse::Revoke => Self::Revoke,
        }
    }
}

impl TokensConfig {
    /// The issuer of `settings` is set already.
    pub(super) fn apply_to(&self, settings: &mut auth::Settings) {
        match &self.audience {
            Audience::Issuer => settings.audience = Some(settings.issuer.clone()),
            Audience::Omitted => settings.audience = None,
            Audience::Named(name) => settings.audience = Some(name.clone()),
        }
        settings.subject_is_uuid = self.subject == Subject::Uuid;
        settings.plain_typ = self.typ == TokenType::Jwt;
        settings.backdate = self.backdate;
        settings.algorithm = self.algorithm.into();
        settings.access_ttl = self.access_ttl;
        settings.refresh_ttl = self.refresh_ttl;
        settings.session_ttl = self.session_ttl;
        settings.refresh_grace = self.refresh_grace;
        settings.refresh_reuse = self.refresh_reuse.into();
        settings.revocation_max_stale = self.revocation_max_stale;
        settings.key_rotation = self.key_rotation;
    }

    /// The secret of HS256, if that algorithm is configured.
    ///
    /// # Errors
    /// [`SettingError`] when its file cannot be read.
    pub fn shared_secret(&self) -> Result<Option<Secret<Vec<u8>>>, SettingError> {
        const KEY: &str = "tokens.hs256_secret_file";
        let path = self.hs256_secret_file.as_ref();
        let Some(path) = path.filter(|_| self.algorithm == SigningAlgorithm::Hs256) else {
            return Ok(None);
        };
        let mut secret = secret_file::read(path).map_err(|why| SettingError::file(KEY, path, why))?;
        // Removes the final newline that editors add; the applications that share the secret do so as well.
        if secret.expose().ends_with(b"\n") {
            let end = if secret.expose().ends_with(b"\r\n") { 2 } else { 1 };
            let kept = secret.expose().len().saturating_sub(end);
            secret = Secret::new(secret.expose().get(..kept).unwrap_or_default().to_vec());
        }
        Ok(Some(secret))
    }

    pub(crate) fn check(&self, report: &mut Report<'_>) {
        let [access, refresh, session] = [
            ("tokens.access_ttl", &self.access_ttl),
            ("tokens.refresh_ttl", &self.refresh_ttl),
            ("tokens.session_ttl", &self.session_ttl),
        ];
        report.at_most(access, refresh);
        report.at_most(refresh, session);

        match (self.algorithm, &self.hs256_secret_file) {
            (SigningAlgorithm::Hs256, None) => {
                report.error("tokens.hs256_secret_file", "required when tokens.algorithm is HS256");
            }
            (SigningAlgorithm::Es256 | SigningAlgorithm::EdDsa | SigningAlgorithm::Rs256, Some(_)) => {
                report.error("tokens.hs256_secret_file", "allowed only when tokens.algorithm is HS256");
            }
            _ => {}
        }
        if let Audience::Named(name) = &self.audience
            && name.chars().any(char::is_control)
        {
            report.error("tokens.audience", "it has control characters");
        }
    }
}

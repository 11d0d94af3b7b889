//! Hashes whose origin stores several members, converted to one text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde::Deserialize;

use super::text::padded;
use super::{Argon2Hash, Argon2Kind, FIREBASE_TAG_BYTES, STORED_BYTES, Unusable};

/// Longest JSON text of a credential that is parsed, in bytes.
const JSON_BYTES: usize = 4096;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeycloakCredential {
    hash_iterations: u32,
    algorithm: String,
    #[serde(default)]
    additional_parameters: KeycloakParameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeycloakParameters {
    r#type: Vec<String>,
    version: Vec<String>,
    memory: Vec<String>,
    parallelism: Vec<String>,
}

#[derive(Deserialize)]
struct KeycloakSecret {
    value: String,
    salt: String,
}

/// The text of a Keycloak password credential, from the two JSON texts that Keycloak stores and exports.
///
/// PBKDF2 becomes passlib's format, because it is the same function: `$pbkdf2-sha256$27500$salt$tag`, salt
/// and tag in Base64 without padding and with `.` for `+`. Argon2 becomes a PHC string.
///
/// # Errors
/// [`Unusable`]. Caps are checked when the text is parsed.
pub fn keycloak(credential_data: &str, secret_data: &str) -> Result<String, Unusable> {
    let credential: KeycloakCredential = json("credentialData", credential_data)?;
    let secret: KeycloakSecret = json("secretData", secret_data)?;
    let salt = padded(&secret.salt).ok_or(Unusable::Malformed("salt"))?;
    let tag = padded(&secret.value).ok_or(Unusable::Malformed("value"))?;
    let name = match credential.algorithm.as_str() {
        "pbkdf2" => "pbkdf2",
        "pbkdf2-sha256" => "pbkdf2-sha256",
        "pbkdf2-sha512" => "pbkdf2-sha512",
        "argon2" => {
            return keycloak_argon2(credential.hash_iterations, &credential.additional_parameters, salt, tag);
        }
        _ => return Err(Unusable::Unknown),
    };
    let ab64 = |bytes| STANDARD_NO_PAD.encode(bytes).replace('+', ".");
    Ok(format!("${name}${}${}${}", credential.hash_iterations, ab64(salt), ab64(tag)))
}

fn keycloak_argon2(
    iterations: u32,
    parameters: &KeycloakParameters,
    salt: Vec<u8>,
    tag: Vec<u8>,
) -> Result<String, Unusable> {
    let one = |name, values: &[String]| match values {
        [value] => Ok(value.clone()),
        _ => Err(Unusable::Malformed(name)),
    };
    let number = |name, values| one(name, values)?.parse().map_err(|_| Unusable::Malformed(name));
    let kind = match one("type", &parameters.r#type)?.as_str() {
        "id" => Argon2Kind::Id,
        "i" => Argon2Kind::I,
        "d" => Argon2Kind::D,
        _ => return Err(Unusable::Malformed("type")),
    };
    if one("version", &parameters.version)? != "1.3" {
        return Err(Unusable::Malformed("version"));
    }
    let memory = number("memory", &parameters.memory)?;
    let parallelism = number("parallelism", &parameters.parallelism)?;
    Ok(Argon2Hash { kind, memory, iterations, parallelism, salt, tag }.to_string())
}

fn json<T: serde::de::DeserializeOwned>(part: &'static str, text: &str) -> Result<T, Unusable> {
    let short = Some(text).filter(|text| text.len() <= JSON_BYTES);
    short.and_then(|text| serde_json::from_str(text).ok()).ok_or(Unusable::Malformed(part))
}

/// The hash parameters of a Firebase project, as its console shows them. The signer key is a secret of the
/// project.
#[derive(Clone, Deserialize)]
pub struct FirebaseProject {
    /// The signer key, in Base64.
    base64_signer_key: String,
    /// The separator after every salt, in Base64.
    base64_salt_separator: String,
    /// scrypt's block size.
    rounds: u32,
    /// scrypt's N, as a power of two.
    mem_cost: u32,
}

impl FirebaseProject {
    /// The project of a JSON object `{"base64_signer_key", "base64_salt_separator", "rounds", "mem_cost"}`.
    ///
    /// # Errors
    /// [`Unusable`], naming the part.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let project: Self = json("project", text)?;
        project.signer_key()?;
        base64("base64_salt_separator", &project.base64_salt_separator)?;
        Ok(project)
    }

    /// The project with these parameters.
    ///
    /// # Errors
    /// [`Unusable`], naming the part.
    pub(super) fn new(signer: &str, separator: &str, rounds: u32, mem_cost: u32) -> Result<Self, Unusable> {
        let (base64_signer_key, base64_salt_separator) = (signer.to_owned(), separator.to_owned());
        let project = Self { base64_signer_key, base64_salt_separator, rounds, mem_cost };
        project.signer_key()?;
        Ok(project)
    }

    fn signer_key(&self) -> Result<Vec<u8>, Unusable> {
        let key = base64("base64_signer_key", &self.base64_signer_key)?;
        Some(key)
            .filter(|key| FIREBASE_TAG_BYTES.contains(&key.len()))
            .ok_or(Unusable::Malformed("base64_signer_key"))
    }

    /// The text of a user's hash, from the members `passwordHash` and `salt` of a user export.
    ///
    /// Firebase's hash is the signer key, encrypted with a key stream that comes from the password. The text
    /// keeps the key stream, `$firebase-scrypt$ln=14,r=8,p=1$salt$key stream`, so the signer key is not
    /// stored.
    ///
    /// # Errors
    /// [`Unusable`]. Caps are checked when the text is parsed.
    pub fn text(&self, password_hash: &str, salt: &str) -> Result<String, Unusable> {
        let key = self.signer_key()?;
        let hash = base64("passwordHash", password_hash)?;
        if hash.len() != key.len() {
            return Err(Unusable::Malformed("passwordHash"));
        }
        let mut salt = base64("salt", salt)?;
        salt.extend(base64("base64_salt_separator", &self.base64_salt_separator)?);
        let stream: Vec<u8> = hash.iter().zip(&key).map(|(hash, key)| hash ^ key).collect();
        let (log_n, r) = (self.mem_cost, self.rounds);
        let (salt, stream) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(stream));
        Ok(format!("$firebase-scrypt$ln={log_n},r={r},p=1${salt}${stream}"))
    }
}

/// The signer key is a secret.
impl fmt::Debug for FirebaseProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirebaseProject(ln {}, r {})", self.mem_cost, self.rounds)
    }
}

/// Padded Base64 of either alphabet: Firebase's tools have written both.
fn base64(part: &'static str, text: &str) -> Result<Vec<u8>, Unusable> {
    let short = Some(text).filter(|text| text.len() <= STORED_BYTES).ok_or(Unusable::Malformed(part))?;
    let standard = STANDARD.decode(short).or_else(|_| STANDARD_NO_PAD.decode(short));
    standard.or_else(|_| URL_SAFE.decode(short)).map_err(|_| Unusable::Malformed(part))
}

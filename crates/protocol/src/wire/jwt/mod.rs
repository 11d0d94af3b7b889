//! JSON Web Signatures in compact form (RFC 7515), as JSON Web Tokens (RFC 7519) use them, by the rules of
//! RFC 8725: the key decides the algorithm, a token has exactly the required type, keys come from our own map
//! only, and no claim is read before the signature has been verified.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::wire::algorithm::Algorithm;
use crate::wire::strict_json;

mod key;

pub use key::{HS256_SECRET_BYTES, KeyError, SigningKey, VerifyingKey};

/// Longest token that is parsed, in bytes.
pub const TOKEN_BYTES: usize = model::bounds::TOKEN_BYTES;

/// Header members that are always refused: keys and key URLs in the token (RFC 8725 §3.10), extensions and
/// encodings that change what was signed, encryption, and nesting.
const REFUSED: [&str; 9] = ["crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "cty"];

/// Why a token is refused. For logs and metrics: a client gets `invalid_token` for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum Invalid {
    /// Longer than [`TOKEN_BYTES`].
    TooLong,
    /// Not three parts of base64url with a JSON object as header, or a header member that is refused.
    Malformed,
    /// `alg` is not the algorithm of the key.
    Algorithm,
    /// `typ` is missing or different: a token of another kind.
    Type,
    /// `kid` is missing or names an unknown key.
    UnknownKey,
    /// The signature does not verify under the key.
    Signature,
    /// A claim is missing, has another type, or is duplicated.
    Claims,
    /// Past `exp`.
    Expired,
    /// Before `nbf`, or `iat` lies in the future.
    NotYetValid,
    /// Another issuer.
    Issuer,
    /// Another audience, or none although one is required.
    Audience,
}

impl Invalid {
    /// A stable word, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
        }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: Algorithm,
    kid: &'a str,
}

/// `header.payload`, what is signed (RFC 7515 §5.1).
fn signing_input(header: &Header<'_>, claims: &impl Serialize) -> Result<String, KeyError> {
    let mut text = String::with_capacity(1024);
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(header).map_err(|_| KeyError::Failed)?, &mut text);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims).map_err(|_| KeyError::Failed)?, &mut text);
    Ok(text)
}

/// Verifies a token of one of the types `typs` and returns its claims. `find` looks our keys up by exact
/// `kid` and has no side effects, because a `kid` is untrusted text. Times, issuer and audience are checked
/// by the claims' own method.
///
/// # Errors
/// The first [`Invalid`] found; claims are parsed last.
pub fn verify<C: DeserializeOwned>(
    token: &str,
    typs: &[&str],
    find: impl FnOnce(&str) -> Option<Arc<VerifyingKey>>,
) -> Result<C, Invalid> {
    if token.len() > TOKEN_BYTES {
        return Err(Invalid::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Invalid::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Invalid::Malformed)?;
    // An excess dot is now in the payload, where base64url refuses it.
    let header = object(&decode(header)?)?;
    let payload = decode(payload)?;
    let signature = decode(signature)?;

    if REFUSED.iter().any(|name| header.contains_key(*name)) {
        return Err(Invalid::Malformed);
    }
    let text = |name| header.get(name).and_then(Value::as_str);
    let algorithm = text("alg").and_then(Algorithm::parse).ok_or(Invalid::Algorithm)?;
    if !text("typ").is_some_and(|found| typs.iter().any(|typ| same_type(found, typ))) {
        return Err(Invalid::Type);
    }
    let kid = text("kid").ok_or(Invalid::UnknownKey)?;
    let key = find(kid).filter(|key| key.kid() == kid).ok_or(Invalid::UnknownKey)?;
    if key.algorithm() != algorithm {
        return Err(Invalid::Algorithm);
    }
    if !key.is_signature(signed.as_bytes(), &signature) {
        return Err(Invalid::Signature);
    }
    let claims = strict_json::parse(&payload).filter(Value::is_object).ok_or(Invalid::Claims)?;
    C::deserialize(claims).map_err(|_| Invalid::Claims)
}

/// Base64url without padding, white space or left-over bits (RFC 7515 §2); one text for each value.
fn decode(part: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid::Malformed)
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, Invalid> {
    match strict_json::parse(bytes) {
        Some(Value::Object(members)) => Ok(members),
        _ => Err(Invalid::Malformed),
    }
}

/// Whether two values of `typ` name one media type: case does not count, nor does `application/` in front of
/// a name without another slash (RFC 7515 §4.1.9).
fn same_type(found: &str, wanted: &str) -> bool {
    fn name(typ: &str) -> &str {
        const PREFIX: &str = "application/";
        match typ.split_at_checked(PREFIX.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
            _ => typ,
        }
    }
    name(found).eq_ignore_ascii_case(name(wanted))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

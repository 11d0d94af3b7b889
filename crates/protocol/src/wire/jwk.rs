//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2), public members only: these types cannot hold a
//! private member, so none can be published or parsed.

use serde::{Deserialize, Serialize};

use crate::wire::algorithm::Algorithm;

/// One public key as `GET /.well-known/jwks.json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// The key's parameters, with `kty`.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// The only algorithm of the key (RFC 7517 §4.4).
    pub alg: Algorithm,
    /// `sig` (RFC 7517 §4.2).
    #[serde(rename = "use")]
    pub usage: Usage,
    /// The key's id: its RFC 7638 thumbprint.
    pub kid: String,
}

/// What a published key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// Verifying signatures.
    Sig,
}

/// The members that make the key, each in base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum Parameters {
    /// A point on an elliptic curve (RFC 7518 §6.2); `crv` is `P-256`.
    #[serde(rename = "EC")]
    Ec {
        /// The curve.
        crv: String,
        /// The x coordinate, 32 bytes.
        x: String,
        /// The y coordinate, 32 bytes.
        y: String,
    },
    /// An octet key pair (RFC 8037 §2); `crv` is `Ed25519`.
    #[serde(rename = "OKP")]
    Okp {
        /// The curve.
        crv: String,
        /// The public key, 32 bytes.
        x: String,
    },
    /// An RSA key (RFC 7518 §6.3).
    #[serde(rename = "RSA")]
    Rsa {
        /// The modulus, big endian without leading zeros.
        n: String,
        /// The exponent, likewise.
        e: String,
    },
}

impl Parameters {
    /// What RFC 7638 §3.2 hashes: the required members in lexical order, without white space.
    pub(crate) fn thumbprint_input(&self) -> String {
        match self {
            Self::Ec { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        }
    }
}

/// The keys of an issuer (RFC 7517 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys, in no particular order.
    pub keys: Vec<Jwk>,
}

impl FromIterator<Jwk> for JwkSet {
    fn from_iter<I: IntoIterator<Item = Jwk>>(keys: I) -> Self {
        Self { keys: keys.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_members_of_rfc_7517() {
        let parameters = Parameters::Okp { crv: "Ed25519".to_owned(), x: "AA".to_owned() };
        let jwk = Jwk { parameters, alg: Algorithm::EdDsa, usage: Usage::Sig, kid: "k".to_owned() };
        let set: JwkSet = [jwk].into_iter().collect();
        let text = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","alg":"EdDSA","use":"sig","kid":"k"}]}"#;
        assert_eq!(serde_json::to_string(&set).unwrap(), text);
        assert_eq!(serde_json::from_str::<JwkSet>(text).unwrap(), set);
    }
}

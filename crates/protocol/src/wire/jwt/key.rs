//! The keys that sign and verify tokens. A key has one algorithm, which a token cannot change.

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Rng, Secret};
use serde::Serialize;

use super::{Algorithm, Header, signing_input};
use crate::sealed::purpose::Purpose;
use crate::wire::jwk::{Jwk, Parameters, Usage};

/// Shortest HS256 secret, in bytes (RFC 7518 §3.2).
pub const HS256_SECRET_BYTES: usize = 32;
/// Lengths of an RSA modulus: at least what RFC 7518 §3.3 asks for, at most what the cryptographic library
/// verifies with. New keys have 3072 bits.
const RSA_MODULUS_BITS: RangeInclusive<usize> = 2048..=8192;
/// Lengths of an RSA exponent: 3 or more, because with 1 a padded hash is its own signature, and at most what
/// the library verifies with.
const RSA_EXPONENT_BITS: RangeInclusive<usize> = 2..=33;

/// Why a key cannot be generated, parsed or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not a key of the algorithm.
    #[error("not a key of this algorithm")]
    Malformed,
    /// An HS256 secret under 32 bytes, or an RSA key under 2048 bits.
    #[error("the key is too short: HS256 takes 32 bytes or more, RS256 2048 bits or more")]
    TooShort,
    /// The claims have no JSON form, or the cryptographic library could not generate or sign.
    #[error("the key could not be generated or used")]
    Failed,
}

/// A key that signs tokens.
pub struct SigningKey {
    pair: Pair,
    public: VerifyingKey,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    Mac(Box<hmac::Key>),
}

impl SigningKey {
    /// A new key, and the bytes that [`SigningKey::from_private`] reads: PKCS#8 (RFC 5208), for HS256 the 32
    /// bytes of the secret. Key pairs draw from the cryptographic library's own generator, the HS256 secret
    /// from `rng`. An RSA key has 3072 bits and takes a noticeable part of a second.
    ///
    /// # Errors
    /// [`KeyError::Failed`] if the library cannot generate it.
    pub fn generate(algorithm: Algorithm, rng: &Rng) -> Result<(Self, Secret<Vec<u8>>), KeyError> {
        let system = SystemRandom::new();
        let private = match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &system)
                .map(|document| document.as_ref().to_vec()),
            Algorithm::EdDsa => {
                Ed25519KeyPair::generate_pkcs8v1(&system).map(|document| document.as_ref().to_vec())
            }
            Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa3072)
                .and_then(|pair| pair.as_der())
                .map(|der: Pkcs8V1Der<'_>| der.as_ref().to_vec()),
            Algorithm::Hs256 => Ok(rng.bytes::<HS256_SECRET_BYTES>().to_vec()),
        };
        let private = Secret::new(private.map_err(|_| KeyError::Failed)?);
        Ok((Self::from_private(algorithm, private.expose())?, private))
    }

    /// Parses PKCS#8, or for HS256 the raw secret of at least 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] or [`KeyError::TooShort`].
    pub fn from_private(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed;

        match algorithm {
            Algorithm::Es256 => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).map_err(malformed)?;
                let point = pair.public_key().as_ref();
                let (x, y) =
                    point.strip_prefix(&[4]).and_then(|xy| xy.split_at_checked(32)).unwrap_or_default();
                let parameters = Parameters::Ec { crv: P256.to_owned(), x: encode(x), y: encode(y) };
                Ok(Self { public: VerifyingKey::public(algorithm, parameters, None)?, pair: Pair::Ec(pair) })
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(malformed)?;
                let x = encode(pair.public_key().as_ref());
                let parameters = Parameters::Okp { crv: CURVE25519.to_owned(), x };
                Ok(Self { public: VerifyingKey::public(algorithm, parameters, None)?, pair: Pair::Ed(pair) })
            }
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(bytes).map_err(malformed)?;
                let n = encode(pair.public_key().modulus().big_endian_without_leading_zero());
                let e = encode(pair.public_key().exponent().big_endian_without_leading_zero());
                let public = VerifyingKey::public(algorithm, Parameters::Rsa { n, e }, None)?;
                Ok(Self { public, pair: Pair::Rsa(pair) })
            }
            Algorithm::Hs256 => {
                let public = VerifyingKey::from_secret(bytes)?;
                Ok(Self { public, pair: Pair::Mac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))) })
            }
        }
    }

    /// The key's id: the `kid` of every token that it signs.
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// The only algorithm of the key.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The key that verifies what this one signs.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public.clone()
    }

    /// A signed token of type `typ` (RFC 7515 §4.1.9), such as `at+jwt`.
    ///
    /// # Errors
    /// [`KeyError::Failed`] if the claims have no JSON form or the library cannot sign.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, KeyError> {
        let mut token = signing_input(&Header { typ, alg: self.algorithm(), kid: self.kid() }, claims)?;
        let signature = self.signature(token.as_bytes()).ok_or(KeyError::Failed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    pub(super) fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Ec(pair) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
            Pair::Ed(pair) => Some(pair.try_sign(message).ok()?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Mac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}

/// Shows algorithm and id only.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm(), self.kid())
    }
}

const P256: &str = "P-256";
const CURVE25519: &str = "Ed25519";

/// A key that verifies tokens of one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: String,
    check: Check,
}

#[derive(Clone)]
enum Check {
    Public { key: ParsedPublicKey, parameters: Parameters },
    Mac(Box<hmac::Key>),
}

impl VerifyingKey {
    /// The public half of private bytes, as [`SigningKey::from_private`] reads them.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] or [`KeyError::TooShort`].
    pub fn from_private(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        SigningKey::from_private(algorithm, bytes).map(|key| key.public)
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The only algorithm of the key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The published JWK; `None` for HS256, whose key is a secret.
    pub fn jwk(&self) -> Option<Jwk> {
        match &self.check {
            Check::Public { parameters, .. } => Some(Jwk {
                parameters: parameters.clone(),
                alg: self.algorithm,
                usage: Usage::Sig,
                kid: self.kid.clone(),
            }),
            Check::Mac(_) => None,
        }
    }

    /// Whether `signature` is this key's signature of `message`. ES256 takes `r || s` of 64 bytes only
    /// (RFC 7518 §3.4); HS256 is compared in constant time.
    pub(super) fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.check {
            Check::Public { key, .. } => key.verify_sig(message, signature).is_ok(),
            Check::Mac(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }

    pub(super) fn public(
        algorithm: Algorithm,
        parameters: Parameters,
        kid: Option<String>,
    ) -> Result<Self, KeyError> {
        let parsed = match (algorithm, &parameters) {
            (Algorithm::Es256, Parameters::Ec { crv, x, y }) if crv == P256 => {
                let point = [&[4], coordinate(x)?.as_slice(), coordinate(y)?.as_slice()].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            }
            (Algorithm::EdDsa, Parameters::Okp { crv, x }) if crv == CURVE25519 => {
                ParsedPublicKey::new(&ED25519, coordinate(x)?)
            }
            (Algorithm::Rs256, Parameters::Rsa { n, e }) => {
                rsa(n, e)?.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            }
            _ => return Err(KeyError::Malformed),
        };

        let key = parsed.map_err(|_| KeyError::Malformed)?;
        let kid = kid.unwrap_or_else(|| encode(&sha256(parameters.thumbprint_input().as_bytes())));
        Ok(Self { algorithm, kid, check: Check::Public { key, parameters } })
    }

    fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < HS256_SECRET_BYTES {
            return Err(KeyError::TooShort);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let hash = sha256(hmac::sign(&key, Purpose::SharedSecretName.label()).as_ref());
        let kid = encode(hash.get(..16).unwrap_or_default());
        Ok(Self { algorithm: Algorithm::Hs256, kid, check: Check::Mac(Box::new(key)) })
    }
}

/// Shows algorithm and id only.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({} {})", self.algorithm, self.kid)
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Malformed)
}

/// A modulus and an exponent that can verify. The library parses others too, and refuses their signatures.
fn rsa(n: &str, e: &str) -> Result<RsaPublicKeyComponents<Vec<u8>>, KeyError> {
    let (n, e) = (decode(n)?, decode(e)?);
    if n.first() == Some(&0) || e.first() == Some(&0) {
        return Err(KeyError::Malformed);
    }
    if bits(&n) < *RSA_MODULUS_BITS.start() {
        return Err(KeyError::TooShort);
    }

    let is_right = RSA_MODULUS_BITS.contains(&bits(&n))
        && RSA_EXPONENT_BITS.contains(&bits(&e))
        && is_odd(&n)
        && is_odd(&e);
    if is_right { Ok(RsaPublicKeyComponents { n, e }) } else { Err(KeyError::Malformed) }
}

/// The length of a big endian number.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last & 1 == 1)
}

fn coordinate(text: &str) -> Result<[u8; 32], KeyError> {
    decode(text)?.try_into().map_err(|_| KeyError::Malformed)
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

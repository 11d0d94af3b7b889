//! Conformance of the verifier: the tokens that the RFCs publish, and malformed and forged tokens of the
//! kinds that Project Wycheproof collects. The keys of the RFCs sign them too, so no run has other keys.
//!
//! Here: the tokens of RFC 7515 (A.1 to A.4), RFC 7520 (§4.1 to §4.4), RFC 7797 (§4.1) and RFC 8037 (A.4).
//! Those of our algorithms verify where signatures are verified; [`verify`] refuses each, because none is an
//! access token.
//!
//! [`signatures`]: every changed bit, shorter and longer signatures, signatures of another text, by another
//! key and by another algorithm, `none`, a public key as HS256 secret, ECDSA in DER and with numbers out of
//! range, the second form of an ECDSA and an EdDSA signature, RSA lengths, PSS and other paddings, weak keys.
//!
//! [`forms`]: base64url, the number of parts, other serializations, size and depth of the header, its members
//! in escaped spelling, nested tokens, text that is almost JSON, duplicate claims, dates that are not whole
//! numbers.
//!
//! The tests of `jwt` itself have the first cases of these kinds: `crit`, `b64`, embedded keys and key URLs,
//! an untrusted `kid`, `typ`, duplicate header members, the short HS256 secret.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::wire::access_token::{AccessClaims, TYP};
use crate::wire::jwk::Parameters;

mod forms;
mod signatures;

/// A published token.
#[derive(Deserialize)]
struct Published {
    source: String,
    /// A JWK; private, if the RFC publishes the private key.
    key: Value,
    token: String,
    /// Why [`verify`] refuses it, the word of an [`Invalid`].
    refused: String,
}

impl Published {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("published.json")).unwrap()
    }

    fn of(source: &str) -> Self {
        Self::all().into_iter().find(|published| published.source == source).unwrap()
    }

    /// `None` for an algorithm that Gatewright does not have.
    fn algorithm(&self) -> Option<Algorithm> {
        let header = self.token.split('.').next().unwrap();
        let header: Value = serde_json::from_slice(&bytes(header)).unwrap();
        Algorithm::parse(header["alg"].as_str().unwrap())
    }

    fn verifying_key(&self, algorithm: Algorithm) -> Result<VerifyingKey, KeyError> {
        if algorithm == Algorithm::Hs256 {
            return VerifyingKey::from_private(algorithm, &self.member("k"));
        }
        VerifyingKey::public(algorithm, Parameters::deserialize(&self.key).unwrap(), None)
    }

    fn member(&self, name: &str) -> Vec<u8> {
        bytes(self.key[name].as_str().unwrap())
    }
}

/// The published private key of each algorithm, as [`SigningKey::from_private`] reads it.
fn private(algorithm: Algorithm) -> Vec<u8> {
    match algorithm {
        Algorithm::Hs256 => Published::of("RFC 7515 A.1").member("k"),

        Algorithm::Rs256 => {
            let key = Published::of("RFC 7515 A.2");
            let components = KeyPairComponents {
                public_key: PublicKeyComponents { n: key.member("n"), e: key.member("e") },
                d: key.member("d"),
                p: key.member("p"),
                q: key.member("q"),
                dP: key.member("dp"),
                dQ: key.member("dq"),
                qInv: key.member("qi"),
            };
            let der: Pkcs8V1Der<'_> = RsaKeyPair::from_components(&components).unwrap().as_der().unwrap();
            der.as_ref().to_vec()
        }

        Algorithm::Es256 => {
            let key = Published::of("RFC 7515 A.3");
            let point = [&[4][..], &key.member("x"), &key.member("y")].concat();
            let pair = EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                &key.member("d"),
                &point,
            );
            pair.unwrap().to_pkcs8v1().unwrap().as_ref().to_vec()
        }

        Algorithm::EdDsa => {
            let key = Published::of("RFC 8037 A.4");
            let pair = Ed25519KeyPair::from_seed_and_public_key(&key.member("d"), &key.member("x"));
            pair.unwrap().to_pkcs8v1().unwrap().as_ref().to_vec()
        }
    }
}

/// A signer of each algorithm.
fn signers() -> &'static [SigningKey] {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let make = |algorithm| SigningKey::from_private(algorithm, &private(algorithm)).unwrap();
        Algorithm::ALL.into_iter().map(make).collect()
    })
}

fn signer(algorithm: Algorithm) -> &'static SigningKey {
    signers().iter().find(|key| key.algorithm() == algorithm).unwrap()
}

/// Verifies under the keys of [`signers`].
fn read<C: DeserializeOwned>(token: &str) -> Result<C, Invalid> {
    verify(token, &[TYP], |kid| {
        signers().iter().find(|key| key.kid() == kid).map(|key| Arc::new(key.verifying_key()))
    })
}

/// The reason of a refusal; fails if the token is accepted.
fn refusal(token: &str) -> Invalid {
    match read::<Value>(token) {
        Err(invalid) => invalid,
        Ok(claims) => panic!("accepted with {claims}: {token}"),
    }
}

fn bytes(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn part(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A header of the key, with more members.
fn header(key: &SigningKey, more: &str) -> String {
    format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{}"{more}}}"#, key.algorithm(), key.kid())
}

/// A correctly signed token of any header and payload.
fn token(key: &SigningKey, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    signed(key, &format!("{}.{}", part(header), part(payload)))
}

/// The text with its correct signature.
fn signed(key: &SigningKey, text: &str) -> String {
    with_signature(text, key.signature(text.as_bytes()).unwrap())
}

fn with_signature(text: &str, signature: impl AsRef<[u8]>) -> String {
    format!("{text}.{}", part(signature))
}

/// What is signed, and the signature.
fn split(token: &str) -> (&str, Vec<u8>) {
    let (text, signature) = token.rsplit_once('.').unwrap();
    (text, bytes(signature))
}

#[test]
fn the_signatures_of_the_rfcs_verify_under_their_keys() {
    let mut verified = Vec::new();

    for published in Published::all() {
        let Some(algorithm) = published.algorithm() else { continue };
        let key = published.verifying_key(algorithm).unwrap();
        let (text, mut signature) = split(&published.token);

        assert!(key.is_signature(text.as_bytes(), &signature), "{}", published.source);
        signature[0] ^= 1;
        assert!(!key.is_signature(text.as_bytes(), &signature), "{}", published.source);

        verified.push(published.source);
    }

    let expected =
        ["RFC 7515 A.1", "RFC 7515 A.2", "RFC 7515 A.3", "RFC 7520 4.1", "RFC 7520 4.4", "RFC 8037 A.4"];
    assert_eq!(verified, expected);
}

/// ECDSA is left out: its signatures contain a random number.
#[test]
fn the_signer_makes_the_signatures_of_the_rfcs() {
    for source in ["RFC 7515 A.1", "RFC 7515 A.2", "RFC 8037 A.4"] {
        let published = Published::of(source);
        let key = signer(published.algorithm().unwrap());
        let (text, _) = split(&published.token);

        assert_eq!(signed(key, text), published.token, "{source}");
    }
}

#[test]
fn the_tokens_of_the_rfcs_are_refused_as_access_tokens() {
    for published in Published::all() {
        // They lack our `typ` or have another algorithm, so no key is looked up.
        let result = verify::<Value>(&published.token, &[TYP], |kid| unreachable!("{kid}"));

        assert_eq!(result.map_err(Invalid::as_str), Err(&*published.refused), "{}", published.source);
    }
}

#[test]
fn a_published_token_of_the_required_type_is_refused_without_a_kid() {
    let published = Published::of("RFC 7515 A.1");

    let result = verify::<Value>(&published.token, &["JWT"], |kid| unreachable!("{kid}"));

    assert_eq!(result, Err(Invalid::UnknownKey));
}

#[test]
fn published_claims_are_not_those_of_an_access_token() {
    let published = Published::of("RFC 7515 A.3");
    let payload = published.token.split('.').nth(1).unwrap();
    let key = signer(Algorithm::Es256);

    let token = signed(key, &format!("{}.{payload}", part(header(key, ""))));

    let claims = json!({"iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true});
    assert_eq!(read::<Value>(&token), Ok(claims));
    assert_eq!(read::<AccessClaims>(&token), Err(Invalid::Claims));
}

/// P-521 (RFC 7515 A.4, RFC 7520 §4.3): neither the key nor the token.
#[test]
fn published_keys_of_another_curve_are_refused() {
    for source in ["RFC 7515 A.4", "RFC 7520 4.3"] {
        let published = Published::of(source);

        assert_eq!(published.algorithm(), None);
        assert_eq!(published.verifying_key(Algorithm::Es256).unwrap_err(), KeyError::Malformed);
    }
}

/// RFC 7797 §4.1 signs the payload as it is, which a verifier without `b64` would read as another payload.
#[test]
fn a_published_token_with_an_unencoded_payload_is_refused() {
    let key = signer(Algorithm::Hs256).verifying_key();
    let header = part(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#);
    let signature = "A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY";

    assert!(key.is_signature(format!("{header}.$.02").as_bytes(), &bytes(signature)));

    assert_eq!(refusal(&format!("{header}..{signature}")), Invalid::Malformed);
    assert_eq!(refusal(&format!("{header}.$.02.{signature}")), Invalid::Malformed);
}

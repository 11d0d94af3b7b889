use std::collections::BTreeMap;
use std::sync::OnceLock;

use model::Rng;
use proptest::prelude::{any, prop_assert, proptest};
use serde_json::json;

use super::*;
use crate::wire::jwk::Jwk;

type Keys = BTreeMap<String, Arc<VerifyingKey>>;

const TYP: &str = "at+jwt";

/// One key of each algorithm; RSA keys are slow to generate, so all tests share them.
fn signers() -> &'static [SigningKey] {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let make = |algorithm| SigningKey::generate(algorithm, &Rng::seeded(5)).unwrap().0;
        Algorithm::ALL.into_iter().map(make).collect()
    })
}

fn signer(algorithm: Algorithm) -> &'static SigningKey {
    signers().iter().find(|key| key.algorithm() == algorithm).unwrap()
}

fn keys() -> Keys {
    signers().iter().map(|key| (key.kid().to_owned(), Arc::new(key.verifying_key()))).collect()
}

fn read(token: &str) -> Result<Value, Invalid> {
    let keys = keys();
    verify(token, &[TYP], |kid| keys.get(kid).cloned())
}

fn part(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token whose header is the given text, correctly signed by the HS256 key.
fn with_header(header: impl AsRef<[u8]>) -> String {
    signed(&part(header), &part("{}"))
}

/// A token of any header and payload, with a correct signature.
fn signed(header: &str, payload: &str) -> String {
    use aws_lc_rs::hmac;
    let secret = Rng::seeded(5).bytes::<32>();
    let input = format!("{header}.{payload}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
    format!("{input}.{}", part(tag))
}

fn header(more: &str) -> String {
    format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{}"{more}}}"#, signer(Algorithm::Hs256).kid())
}

#[test]
fn every_algorithm_reads_what_it_signed() {
    for key in signers() {
        let token = key.sign(TYP, &json!({"sub": "1"})).unwrap();
        assert_eq!(read(&token), Ok(json!({"sub": "1"})), "{key:?}");
        let (rest, _) = token.rsplit_once('.').unwrap();
        assert_eq!(read(&format!("{rest}.{}", part([0; 64]))), Err(Invalid::Signature), "{key:?}");
        let other = token.replacen("ey", "eyA", 1);
        assert!(read(&other).is_err());
    }
    assert_eq!(read(&with_header(header(""))), Ok(json!({})));
}

#[test]
fn keys_survive_their_bytes_and_their_jwk() {
    for algorithm in Algorithm::ALL {
        let (key, bytes) = SigningKey::generate(algorithm, &Rng::seeded(6)).unwrap();
        let again = SigningKey::from_private(algorithm, bytes.expose()).unwrap();
        assert_eq!(again.kid(), key.kid());
        assert_eq!(
            VerifyingKey::from_private(algorithm, bytes.expose()).unwrap().jwk(),
            again.verifying_key().jwk()
        );

        let token = again.sign(TYP, &json!({})).unwrap();
        let Some(jwk) = key.verifying_key().jwk() else {
            assert_eq!(algorithm, Algorithm::Hs256);
            continue;
        };

        let text = serde_json::to_string(&jwk).unwrap();
        assert!(!text.contains("\"d\"") && !text.contains("\"p\""));
        let read: Jwk = serde_json::from_str(&text).unwrap();
        let public = of_jwk(&read).unwrap();
        assert!(verify::<Value>(&token, &[TYP], |_| Some(Arc::new(public))).is_ok());

        for wrong in
            Algorithm::ALL.into_iter().filter(|wrong| *wrong != algorithm && *wrong != Algorithm::Hs256)
        {
            assert_eq!(SigningKey::from_private(wrong, bytes.expose()).unwrap_err(), KeyError::Malformed);
        }
    }
}

/// RFC 8037 appendix A.3 and RFC 7638 §3.1.
#[test]
fn key_ids_are_rfc_7638_thumbprints() {
    let okp: Jwk = serde_json::from_value(json!({
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }))
    .unwrap();
    let rsa: Jwk = serde_json::from_value(json!({
        "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPeb\
              WKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368Q\
              QMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2\
              NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    }))
    .unwrap();

    for (jwk, thumbprint) in [
        (okp, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
    ] {
        let hash = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            jwk.parameters.thumbprint_input().as_bytes(),
        );
        assert_eq!(part(hash), thumbprint);
        assert!(of_jwk(&jwk).is_ok());
    }
}

#[test]
fn hs256_takes_32_bytes_or_more() {
    assert_eq!(SigningKey::from_private(Algorithm::Hs256, &[7; 31]).unwrap_err(), KeyError::TooShort);
    let key = SigningKey::from_private(Algorithm::Hs256, &[7; 33]).unwrap();
    assert_eq!(key.kid().len(), 22);
    assert!(!format!("{key:?} {:?}", key.verifying_key()).contains("7, 7"));
}

#[test]
fn spellings_of_alg_none_are_refused() {
    let kid = signer(Algorithm::Es256).kid();
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "noNe",
        "none ",
        " none",
        "",
        "null",
        "HS256\\u0000",
        "es256",
        "Es256",
    ] {
        let header = part(format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":"{kid}"}}"#));
        for signature in ["", "AA", &part([0; 64])] {
            let token = format!("{header}.{}.{signature}", part("{}"));
            assert_eq!(read(&token), Err(Invalid::Algorithm), "{alg}");
        }
    }

    for alg in ["null", "[]", "[\"none\"]", "{}", "0", "true"] {
        assert!(read(&with_header(format!(r#"{{"typ":"at+jwt","alg":{alg},"kid":"{kid}"}}"#))).is_err());
    }

    for key in signers() {
        let token = key.sign(TYP, &json!({})).unwrap();
        let (rest, _) = token.rsplit_once('.').unwrap();
        assert_eq!(read(&format!("{rest}.")), Err(Invalid::Signature));
        assert_eq!(read(rest), Err(Invalid::Malformed));
    }
}

#[test]
fn a_public_key_is_not_accepted_as_an_hmac_secret() {
    use aws_lc_rs::hmac;
    for key in signers() {
        let Some(jwk) = key.verifying_key().jwk() else { continue };
        let text = serde_json::to_string(&jwk).unwrap();
        let encodings = [
            text.clone().into_bytes(),
            serde_json::to_vec_pretty(&jwk).unwrap(),
            jwk.parameters.thumbprint_input().into_bytes(),
            format!("{text}\n").into_bytes(),
            jwk.kid.clone().into_bytes(),
            vec![],
        ];
        for secret in encodings {
            let header = part(format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{}"}}"#, jwk.kid));
            let input = format!("{header}.{}", part("{}"));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
            assert_eq!(read(&format!("{input}.{}", part(tag))), Err(Invalid::Algorithm));
        }
    }
}

#[test]
fn a_kid_matches_only_exactly() {
    let kid = signer(Algorithm::Hs256).kid();
    let upper = kid.to_uppercase();
    let spaced = format!("{kid} ");
    for other in ["../../dev/null", "' OR 1=1 --", "", "\\u0000", &upper, &spaced, &"k".repeat(5000)] {
        let token = with_header(format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{other}"}}"#));
        assert_eq!(read(&token), Err(Invalid::UnknownKey), "{other}");
    }
    for other in ["null", "1", "{}", &format!("[\"{kid}\"]")] {
        let token = with_header(format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":{other}}}"#));
        assert_eq!(read(&token), Err(Invalid::UnknownKey), "{other}");
    }
    assert_eq!(read(&with_header(r#"{"typ":"at+jwt","alg":"HS256"}"#)), Err(Invalid::UnknownKey));
    // A look-up that returns another key than the requested one is refused.
    let any_key = Arc::new(signer(Algorithm::Hs256).verifying_key());
    let token = with_header(r#"{"typ":"at+jwt","alg":"HS256","kid":"x"}"#);
    assert_eq!(verify::<Value>(&token, &[TYP], |_| Some(any_key)), Err(Invalid::UnknownKey));
}

#[test]
fn header_members_that_bring_a_key_are_refused() {
    let jwk = serde_json::to_string(&signer(Algorithm::Es256).verifying_key().jwk().unwrap()).unwrap();
    let members = [
        format!(r#","jwk":{jwk}"#),
        r#","jku":"https://example.com/jwks.json""#.to_owned(),
        r#","x5u":"https://example.com/cert""#.to_owned(),
        r#","x5c":["AA"]"#.to_owned(),
        r#","jwk":null"#.to_owned(),
    ];
    for member in members {
        let token = with_header(header(&member));
        let called = std::cell::Cell::new(false);
        let result = verify::<Value>(&token, &[TYP], |_| {
            called.set(true);
            None
        });
        assert_eq!(result, Err(Invalid::Malformed), "{member}");
        assert!(!called.get());
    }
}

#[test]
fn a_token_of_another_type_is_refused() {
    let key = signer(Algorithm::Hs256);
    for typ in [
        "JWT",
        "jwt",
        "",
        "id+jwt",
        "logout+jwt",
        "dpop+jwt",
        "reset+jwt",
        "at+jwt ",
        "x/at+jwt",
        "application/x/at+jwt",
        "at+jwt\0",
    ] {
        assert_eq!(read(&key.sign(typ, &json!({})).unwrap()), Err(Invalid::Type), "{typ}");
    }
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        assert!(read(&key.sign(typ, &json!({})).unwrap()).is_ok(), "{typ}");
    }
    let kid = key.kid();
    assert_eq!(read(&with_header(format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#))), Err(Invalid::Type));
    // Neither is a refresh token.
    assert!(read("gwr_AAAA.AAAA.AAAA").is_err());
}

#[test]
fn irregular_jws_headers_are_refused() {
    let kid = signer(Algorithm::Hs256).kid();
    for member in [
        r#","crit":["exp"]"#,
        r#","crit":[]"#,
        r#","b64":false"#,
        r#","b64":true"#,
        r#","zip":"DEF""#,
        r#","enc":"A256GCM""#,
        r#","cty":"JWT""#,
        r#","alg":"HS256""#,
        r#","\u0061lg":"HS256""#,
        &format!(r#","kid":"{kid}""#),
    ] {
        assert_eq!(read(&with_header(header(member))), Err(Invalid::Malformed), "{member}");
    }
    for text in ["", "[]", "null", "\"x\"", "{", "{}{}", "\u{feff}{}"] {
        assert_eq!(read(&with_header(text)), Err(Invalid::Malformed), "{text}");
    }
    assert_eq!(read(&with_header(b"{\"a\":\"\xff\"}")), Err(Invalid::Malformed));
}

#[test]
fn irregular_payloads_are_refused_despite_a_valid_signature() {
    let header = part(header(""));
    for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, "[]", "null", "", "{} {}", "1"] {
        assert_eq!(read(&signed(&header, &part(text))), Err(Invalid::Claims), "{text}");
    }
}

#[test]
fn irregular_encodings_of_a_token_are_refused() {
    let good = with_header(header(""));
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let (head, payload) = rest.split_once('.').unwrap();
    let json = format!(
        r#"{{"payload":"{payload}","signatures":[{{"protected":"{head}","signature":"{signature}"}}]}}"#
    );

    for bad in [
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}."),
        format!(".{good}"),
        format!("{head}.{payload}\n.{signature}"),
        format!("{head}..{payload}.{signature}"),
        format!("{head}.{payload}.{signature}.{head}.{payload}"),
        format!("{head}.{payload}="),
        format!("{head}==.{payload}.{signature}"),
        signed(&head.replace('e', "+"), payload),
        signed(head, "e30="),
        signed(head, "e31"),
        signed(head, " e30"),
        json,
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
    ] {
        assert_eq!(read(&bad), Err(Invalid::Malformed), "{bad}");
    }

    let long = key_of_length(TOKEN_BYTES + 1);
    assert_eq!(read(&long), Err(Invalid::TooLong));
    assert_eq!(read(&"a".repeat(8 << 20)), Err(Invalid::TooLong));
}

fn key_of_length(length: usize) -> String {
    format!("{}.AA.AA", "A".repeat(length - 6))
}

/// An ECDSA signature in DER, or with r and s of zero, is not a JWS signature.
#[test]
fn es256_signatures_have_64_bytes() {
    let key = signer(Algorithm::Es256);
    let token = key.sign(TYP, &json!({})).unwrap();
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(bytes.len(), 64);
    let (r, s) = bytes.split_at(32);
    let der = [&[0x30, 0x44, 2, 32], r, &[2, 32], s].concat();
    for bad in [der, vec![0; 64], bytes[..63].to_vec(), [&bytes[..], &[0]].concat(), vec![]] {
        assert_eq!(read(&format!("{rest}.{}", part(bad))), Err(Invalid::Signature));
    }
}

proptest! {
    #[test]
    fn verifying_any_text_never_panics(text in any::<String>(), parts in "[A-Za-z0-9_.=-]{0,60}") {
        prop_assert!(read(&text).is_err());
        prop_assert!(read(&parts).is_err());
    }

    #[test]
    fn verifying_signed_bytes_never_panics(
        head in any::<String>(), payload in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        prop_assert!(read(&with_header(&head)).is_err());
        let result = read(&signed(&part(header("")), &part(&payload)));
        prop_assert!(result.is_ok() || result == Err(Invalid::Claims));
    }
}

/// The key of a published JWK, as a client parses it.
fn of_jwk(jwk: &Jwk) -> Result<VerifyingKey, KeyError> {
    VerifyingKey::public(jwk.alg, jwk.parameters.clone(), Some(jwk.kid.clone()))
}

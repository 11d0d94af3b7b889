//! Forged signatures, and weak keys. Ed25519 public keys of small order are not among them: each verifying
//! key is made from a private key of ours, which has no such public key.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use base64::engine::general_purpose::STANDARD;

use super::*;

/// The order of P-256.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of the base point of Ed25519, big endian.
const ED25519_ORDER: [u8; 32] = [
    0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x14,
    0xde, 0xf9, 0xde, 0xa2, 0xf7, 0x9c, 0xd6, 0x58, 0x12, 0x63, 0x1a, 0x5c, 0xf5, 0xd3, 0xed,
];

/// A good token of the key.
fn good(key: &SigningKey) -> String {
    token(key, header(key, ""), r#"{"sub":"1","jti":"j"}"#)
}

/// `a + b` of two big endian numbers of one length, or `None` if it is longer.
fn plus(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let mut carry = 0;
    let mut sum: Vec<u8> = Vec::new();
    for (a, b) in a.iter().zip(b).rev() {
        let digit = u16::from(*a) + u16::from(*b) + carry;
        sum.insert(0, digit.to_le_bytes()[0]);
        carry = digit >> 8;
    }
    (carry == 0).then_some(sum)
}

/// `a - b` of two big endian numbers of one length, `a` not below `b`.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let complement: Vec<u8> = a.iter().map(|byte| !byte).collect();
    plus(&complement, b).unwrap().iter().map(|byte| !byte).collect()
}

#[test]
fn a_token_with_one_other_character_is_refused() {
    for key in signers() {
        let good = good(key);

        for at in 0..good.len() {
            for other in ["A", "_", ".", "="] {
                let mut changed = good.clone();
                changed.replace_range(at..=at, other);

                if changed != good {
                    refusal(&changed);
                }
            }
        }
    }
}

#[test]
fn a_token_with_one_other_bit_is_refused() {
    for key in signers() {
        let good = good(key);
        let parts: Vec<Vec<u8>> = good.split('.').map(bytes).collect();

        for (which, part_bytes) in parts.iter().enumerate() {
            for bit in 0..part_bytes.len() * 8 {
                let mut changed = parts.clone();
                changed[which][bit / 8] ^= 1 << (bit % 8);
                let changed: Vec<String> = changed.iter().map(part).collect();

                let invalid = refusal(&changed.join("."));
                assert!(which == 0 || invalid == Invalid::Signature, "{key:?} part {which} bit {bit}");
            }
        }
    }
}

#[test]
fn shorter_and_longer_signatures_are_refused() {
    for key in signers() {
        let good = good(key);
        let (text, signature) = split(&good);

        for length in 0..signature.len() {
            assert_eq!(refusal(&with_signature(text, &signature[..length])), Invalid::Signature);
            assert_eq!(refusal(&with_signature(text, &signature[length + 1..])), Invalid::Signature);
        }

        for longer in [
            [&signature[..], &[0]].concat(),
            [&[0], &signature[..]].concat(),
            [&signature[..], &[0xff]].concat(),
            [&signature[..], &signature[..]].concat(),
        ] {
            assert_eq!(refusal(&with_signature(text, longer)), Invalid::Signature, "{key:?}");
        }
        for byte in [0, 0xff] {
            assert_eq!(refusal(&with_signature(text, vec![byte; signature.len()])), Invalid::Signature);
        }
    }
}

#[test]
fn a_token_that_ends_early_is_refused() {
    for key in signers() {
        let good = good(key);

        for length in 0..good.len() {
            refusal(&good[..length]);
            refusal(&good[length + 1..]);
        }
    }
}

#[test]
fn the_signature_of_another_text_is_refused() {
    for key in signers() {
        let good = good(key);
        let (text, _) = split(&good);
        let (head, payload) = text.split_once('.').unwrap();

        for other in [
            "",
            head,
            payload,
            &format!("{head}."),
            &format!(".{payload}"),
            &format!("{head}{payload}"),
            &format!("{payload}.{head}"),
            &format!("{text}."),
            &format!("{text}\n"),
            &format!("{}.{}", header(key, ""), r#"{"sub":"1","jti":"j"}"#),
        ] {
            let signature = key.signature(other.as_bytes()).unwrap();
            assert_eq!(refusal(&with_signature(text, signature)), Invalid::Signature, "{key:?} {other}");
        }
    }
}

#[test]
fn a_signature_by_another_key_is_refused() {
    // Given a token that names our key, signed by a new key of the same algorithm.
    for key in signers().iter().filter(|key| key.algorithm() != Algorithm::Rs256) {
        let (attacker, _) = SigningKey::generate(key.algorithm(), &model::Rng::seeded(9)).unwrap();
        assert_eq!(refusal(&token(&attacker, header(key, ""), "{}")), Invalid::Signature, "{key:?}");
    }

    // Given a token that names one of our keys, signed by another one, by either algorithm's name.
    for (named, signer) in pairs() {
        let forged = token(signer, header(named, ""), "{}");
        assert_eq!(refusal(&forged), Invalid::Signature, "{named:?} {signer:?}");

        let head = format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{}"}}"#, signer.algorithm(), named.kid());
        assert_eq!(refusal(&token(signer, &head, "{}")), Invalid::Algorithm, "{named:?} {signer:?}");
        assert_eq!(refusal(&token(named, &head, "{}")), Invalid::Algorithm, "{named:?} {signer:?}");
    }
}

fn pairs() -> impl Iterator<Item = (&'static SigningKey, &'static SigningKey)> {
    let all = signers().iter().flat_map(|one| signers().iter().map(move |other| (one, other)));
    all.filter(|(one, other)| one.kid() != other.kid())
}

/// A correct signature does not help: the name decides. `Ed25519` is the newer name of what we call `EdDSA`
/// (RFC 9864); one key has one name.
#[test]
fn algorithms_with_another_name_are_refused() {
    for key in signers() {
        for alg in [
            "HS384",
            "HS512",
            "RS384",
            "RS512",
            "RS1",
            "PS256",
            "PS384",
            "PS512",
            "ES384",
            "ES512",
            "ES256K",
            "Ed25519",
            "Ed448",
            "ESB256",
            "EDDSA",
            "Hs256",
            "hs256",
            "rs256",
            "RS256 ",
            "RSA1_5",
            "dir",
            "A256GCM",
            "SHA256",
            "-7",
            "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        ] {
            let head = format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":"{}"}}"#, key.kid());
            assert_eq!(refusal(&token(key, head, "{}")), Invalid::Algorithm, "{key:?} {alg}");
        }

        let head = format!(r#"{{"typ":"at+jwt","kid":"{}"}}"#, key.kid());
        assert_eq!(refusal(&token(key, head, "{}")), Invalid::Algorithm, "{key:?}");
    }
}

#[test]
fn alg_none_is_refused_in_every_case_of_its_letters() {
    for key in signers() {
        for upper in 0..16_u8 {
            let letter = |(at, letter): (usize, char)| {
                if upper & (1 << at) == 0 { letter } else { letter.to_ascii_uppercase() }
            };
            let none: String = "none".chars().enumerate().map(letter).collect();
            let head = format!(r#"{{"typ":"at+jwt","alg":"{none}","kid":"{}"}}"#, key.kid());

            assert_eq!(refusal(&format!("{}.{}.", part(&head), part("{}"))), Invalid::Algorithm, "{none}");
            assert_eq!(refusal(&token(key, &head, "{}")), Invalid::Algorithm, "{none}");
        }
    }
}

/// The encodings in which servers keep and publish public keys.
#[test]
fn a_public_key_in_der_or_pem_is_not_accepted_as_an_hmac_secret() {
    let rsa = RsaKeyPair::from_pkcs8(&private(Algorithm::Rs256)).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private(Algorithm::Es256)).unwrap();
    let ed = Ed25519KeyPair::from_pkcs8(&private(Algorithm::EdDsa)).unwrap();
    let rsa_der: PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
    let ec_der: PublicKeyX509Der<'_> = ec.public_key().as_der().unwrap();
    let ed_der: PublicKeyX509Der<'_> = ed.public_key().as_der().unwrap();

    for (algorithm, raw, der) in [
        (Algorithm::Rs256, rsa.public_key().as_ref(), rsa_der.as_ref()),
        (Algorithm::Es256, ec.public_key().as_ref(), ec_der.as_ref()),
        (Algorithm::EdDsa, ed.public_key().as_ref(), ed_der.as_ref()),
    ] {
        let text = STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let kid = signer(algorithm).kid();
        let head = part(format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"}}"#));
        let input = format!("{head}.{}", part("{}"));

        for secret in [raw, der, text.as_bytes(), pem.as_bytes(), pem.trim_end().as_bytes()] {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
            assert_eq!(refusal(&with_signature(&input, tag)), Invalid::Algorithm);
        }
    }
}

#[test]
fn es256_signatures_in_der_are_refused() {
    let key = signer(Algorithm::Es256);
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &private(Algorithm::Es256)).unwrap();
    let good = good(key);
    let (text, _) = split(&good);

    let der = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();

    assert_eq!(refusal(&with_signature(text, der)), Invalid::Signature);
}

#[test]
fn es256_signatures_with_numbers_out_of_range_are_refused() {
    let good = good(signer(Algorithm::Es256));
    let (text, signature) = split(&good);
    let (r, s) = signature.split_at(32);
    let mut one = [0; 32];
    one[31] = 1;
    let above = plus(&P256_ORDER, &one).unwrap();
    let bad: [&[u8]; 5] = [&[0; 32], &P256_ORDER, &above, &[0xff; 32], &one];

    for number in bad {
        for pair in [[number, s], [r, number]] {
            assert_eq!(refusal(&with_signature(text, pair.concat())), Invalid::Signature);
        }
        for other in bad {
            assert_eq!(refusal(&with_signature(text, [number, other].concat())), Invalid::Signature);
        }
    }

    for other in [[s, r].concat(), [r, r].concat(), [&[0; 16], r, &[0; 16], s].concat()] {
        assert_eq!(refusal(&with_signature(text, other)), Invalid::Signature);
    }
}

/// ECDSA has two signatures of one text, and RFC 7518 §3.4 allows both. The second form of a token has the
/// same header and claims, so it opens nothing new: what ends a token is its session (`sid`) or its time, and
/// no part of Gatewright knows a token by its text.
#[test]
fn the_second_form_of_an_es256_signature_gives_the_same_claims() {
    let good = good(signer(Algorithm::Es256));
    let (text, signature) = split(&good);
    let (r, s) = signature.split_at(32);

    let second = with_signature(text, [r, &minus(&P256_ORDER, s)].concat());

    assert_ne!(second, good);
    assert_eq!(read::<Value>(&second), read::<Value>(&good));
    assert!(read::<Value>(&second).is_ok());
}

/// RFC 8032 §5.1.7: the number is below the order, so each signature has one form.
#[test]
fn the_second_form_of_an_eddsa_signature_is_refused() {
    let good = good(signer(Algorithm::EdDsa));
    let (text, signature) = split(&good);
    let (point, number) = signature.split_at(32);
    let number: Vec<u8> = number.iter().rev().copied().collect();

    let mut second = plus(&number, &ED25519_ORDER).unwrap();
    second.reverse();

    assert_eq!(refusal(&with_signature(text, [point, &second].concat())), Invalid::Signature);
    for other in [[[0; 32], [0; 32]], [[0xff; 32], [0xff; 32]]] {
        assert_eq!(refusal(&with_signature(text, other.concat())), Invalid::Signature);
    }
    assert_eq!(refusal(&with_signature(text, [point, &[0; 32]].concat())), Invalid::Signature);
}

#[test]
fn an_rs256_signature_has_the_length_of_the_modulus() {
    let key = signer(Algorithm::Rs256);

    // Given a token whose signature begins with a zero byte: one of 256 does.
    let with_zero = (0..10_000)
        .map(|number| token(key, header(key, ""), format!(r#"{{"jti":"{number}"}}"#)))
        .find(|token| split(token).1[0] == 0)
        .unwrap();
    let (text, signature) = split(&with_zero);
    assert!(read::<Value>(&with_zero).is_ok());

    for other in [signature[1..].to_vec(), [&[0], &signature[..]].concat(), [&signature[1..], &[0]].concat()]
    {
        assert_eq!(refusal(&with_signature(text, other)), Invalid::Signature);
    }
}

/// The number is below the modulus, so each signature has one form.
#[test]
fn an_rs256_signature_above_the_modulus_is_refused() {
    let key = signer(Algorithm::Rs256);
    let modulus = Published::of("RFC 7515 A.2").member("n");

    // Given a token whose signature still has its length after the modulus is added.
    let (good, second) = (0..100)
        .map(|number| token(key, header(key, ""), format!(r#"{{"jti":"{number}"}}"#)))
        .find_map(|token| plus(&split(&token).1, &modulus).map(|sum| (token, sum)))
        .unwrap();
    let (text, _) = split(&good);

    assert_eq!(refusal(&with_signature(text, second)), Invalid::Signature);
    assert_eq!(refusal(&with_signature(text, modulus)), Invalid::Signature);
}

#[test]
fn rsa_signatures_with_pss_or_another_hash_are_refused_as_rs256() {
    let pair = RsaKeyPair::from_pkcs8(&private(Algorithm::Rs256)).unwrap();
    let good = good(signer(Algorithm::Rs256));
    let (text, expected) = split(&good);
    let sign = |encoding: &'static dyn RsaEncoding| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        signature
    };
    assert_eq!(sign(&RSA_PKCS1_SHA256), expected);

    let others: [&'static dyn RsaEncoding; 5] =
        [&RSA_PSS_SHA256, &RSA_PSS_SHA384, &RSA_PSS_SHA512, &RSA_PKCS1_SHA384, &RSA_PKCS1_SHA512];
    for other in others {
        assert_eq!(refusal(&with_signature(text, sign(other))), Invalid::Signature, "{other:?}");
    }
}

/// Signatures of one text by the published key (RFC 7515 A.2), each with another encoding of the hash
/// (RFC 8017 §9.2). The library does not offer raw RSA, so they were computed elsewhere, as `padded^d mod n`.
#[test]
fn rsa_signatures_with_an_irregular_padding_are_refused() {
    #[derive(Deserialize)]
    struct Paddings {
        message: String,
        correct: String,
        variants: std::collections::BTreeMap<String, String>,
    }

    let paddings: Paddings = serde_json::from_str(include_str!("rsa_padding.json")).unwrap();
    let key = signer(Algorithm::Rs256).verifying_key();
    assert!(key.is_signature(paddings.message.as_bytes(), &bytes(&paddings.correct)));
    assert_eq!(paddings.variants.len(), 12);

    for (name, signature) in paddings.variants {
        assert!(!key.is_signature(paddings.message.as_bytes(), &bytes(&signature)), "{name}");
    }
}

#[test]
fn elliptic_keys_that_are_not_points_are_refused() {
    let good = Published::of("RFC 7515 A.3");
    let (x, y) = (good.member("x"), good.member("y"));
    let es256 = |crv: &str, x: &[u8], y: &[u8]| {
        let parameters = Parameters::Ec { crv: crv.to_owned(), x: part(x), y: part(y) };
        VerifyingKey::public(Algorithm::Es256, parameters, None)
    };
    assert!(es256("P-256", &x, &y).is_ok());

    let zero = [0; 32];
    let mut beside = y.clone();
    beside[31] ^= 1;
    for (crv, x, y) in [
        ("P-256", &x[..], &beside[..]),
        ("P-256", &y, &x),
        ("P-256", &zero, &zero),
        ("P-256", &x, &zero),
        ("P-256", &[0xff; 32], &y),
        ("P-256", &x[1..], &y),
        ("P-256", &[&[0], &x[..]].concat(), &y),
        ("P-256", &x, &[]),
        ("P-256", &[], &[]),
        ("P-384", &x, &y),
        ("secp256k1", &x, &y),
        ("p-256", &x, &y),
        ("", &x, &y),
    ] {
        assert_eq!(es256(crv, x, y).unwrap_err(), KeyError::Malformed, "{crv} {x:?} {y:?}");
    }

    let okp = |crv: &str, x: &[u8]| {
        let parameters = Parameters::Okp { crv: crv.to_owned(), x: part(x) };
        VerifyingKey::public(Algorithm::EdDsa, parameters, None)
    };
    for (crv, x) in [("X25519", &x[..]), ("Ed448", &[7; 57]), ("Ed25519", &x[1..]), ("Ed25519", &[])] {
        assert_eq!(okp(crv, x).unwrap_err(), KeyError::Malformed, "{crv}");
    }
}

#[test]
fn weak_rsa_keys_are_refused() {
    let good = Published::of("RFC 7515 A.2");
    let (n, e) = (good.member("n"), good.member("e"));
    let rs256 = |n: &[u8], e: &[u8]| {
        let parameters = Parameters::Rsa { n: part(n), e: part(e) };
        VerifyingKey::public(Algorithm::Rs256, parameters, None)
    };
    assert!(rs256(&n, &e).is_ok());
    assert!(rs256(&n, &[3]).is_ok());
    assert!(rs256(&n.repeat(4), &e).is_ok());

    let mut bits_2047 = n.clone();
    bits_2047[0] = 0x7f;
    let mut even = n.clone();
    even[255] &= 0xfe;
    for (name, n, e, expected) in [
        ("1024 bits", &n[..128], &e[..], KeyError::TooShort),
        ("2040 bits", &n[1..], &e, KeyError::TooShort),
        ("no modulus", &[], &e, KeyError::TooShort),
        ("2047 bits", &bits_2047, &e, KeyError::TooShort),
        ("8193 bits", &[vec![1], n.repeat(4)].concat(), &e, KeyError::Malformed),
        ("modulus with a leading zero", &[&[0], &n[..]].concat(), &e, KeyError::Malformed),
        ("even modulus", &even, &e, KeyError::Malformed),
        ("no exponent", &n, &[], KeyError::Malformed),
        ("exponent 0", &n, &[0], KeyError::Malformed),
        ("exponent 1", &n, &[1], KeyError::Malformed),
        ("exponent 2", &n, &[2], KeyError::Malformed),
        ("even exponent", &n, &[1, 0, 0], KeyError::Malformed),
        ("exponent of 34 bits", &n, &[2, 0, 0, 0, 1], KeyError::Malformed),
        ("exponent with a leading zero", &n, &[0, 1, 0, 1], KeyError::Malformed),
        ("exponent of the modulus's length", &n, &n, KeyError::Malformed),
    ] {
        assert_eq!(rs256(n, e).map(drop), Err(expected), "{name}");
    }
}

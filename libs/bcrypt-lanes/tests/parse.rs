//! Malformed texts are refused, part by part.

use bcrypt_lanes::{Cost, Hash, ParseError, Version};

const TEXT: &str = "$2b$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq";

fn refusal(text: &str) -> Option<ParseError> {
    text.parse::<Hash>().err()
}

#[test]
fn a_hash_has_its_parts() {
    let hash: Hash = TEXT.parse().expect("a hash");
    assert_eq!(hash.version(), Version::B);
    assert_eq!(Some(hash.cost()), Cost::new(5));
    assert_eq!(hash, TEXT.parse().expect("a hash"));
    assert_ne!(hash, TEXT.replace("$2b$", "$2y$").parse().expect("a hash"));
}

#[test]
fn another_length_is_refused() {
    assert_eq!(refusal(""), Some(ParseError::Length { bytes: 0 }));
    assert_eq!(refusal(&TEXT[..59]), Some(ParseError::Length { bytes: 59 }));
    assert_eq!(refusal(&format!("{TEXT}.")), Some(ParseError::Length { bytes: 61 }));
}

#[test]
fn another_version_is_refused() {
    for prefix in ["$2$", "$2x$", "$2c$", "$1b$", "a2b$", "$2bb", "$2B$"] {
        let text = format!("{prefix}{}", &TEXT[prefix.len()..]);
        assert_eq!(refusal(&text), Some(ParseError::Prefix), "{text}");
    }
    assert_eq!(refusal(&TEXT.replace("$05$", "$05.")), Some(ParseError::Prefix));
}

#[test]
fn a_cost_is_two_digits_from_04_to_31() {
    for cost in ["00", "03", "32", "99", "+5", " 5", "5 ", "-4", "0x", "a1"] {
        assert_eq!(refusal(&TEXT.replace("$05$", &format!("${cost}$"))), Some(ParseError::Cost), "{cost}");
    }
    for cost in ["04", "31"] {
        assert_eq!(refusal(&TEXT.replace("$05$", &format!("${cost}$"))), None);
    }
    assert!(Cost::new(3).is_none() && Cost::new(32).is_none() && Cost::new(255).is_none());
}

#[test]
fn letters_are_the_64() {
    for wrong in ['$', '+', '=', ' ', '\0', '_', '-', '\x7f'] {
        let text = TEXT.replace("OK.", &format!("OK{wrong}"));
        assert_eq!(refusal(&text), Some(ParseError::Letter), "{wrong:?}");
    }
}

#[test]
fn letters_outside_ascii_are_refused_without_panic() {
    // RUSTSEC-2026-0199: sixty bytes, and a letter of two across the end of the salt
    let text = "$2b$04$aaaaaaaaaaaaaaaaaaaaa£aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_eq!((text.len(), refusal(text)), (60, Some(ParseError::Letter)));
    for at in 0..59 {
        let text = format!("{}£{}", &TEXT[..at], &TEXT[at + 2..]);
        assert!(refusal(&text).is_some(), "{text}");
    }
    assert!(Hash::parse(&[0xff; 60]).is_err());
}

#[test]
fn unused_bits_that_are_set_are_refused() {
    assert_eq!(refusal(&TEXT.replace("F.Sa", "F/Sa")), Some(ParseError::SpareBits), "the salt's");
    assert_eq!(refusal(&TEXT.replace("lCq", "lCr")), Some(ParseError::SpareBits), "the digest's");
}

#[test]
fn debug_does_not_show_the_digest() {
    let hash: Hash = TEXT.parse().expect("a hash");
    assert_eq!(format!("{hash:?}"), "Hash($2b$05$..)");
}

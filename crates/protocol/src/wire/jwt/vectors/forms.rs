//! Irregular text, header members and claims under a correct signature.

use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::*;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The other texts that a lenient decoder reads as the same bytes: left-over bits of the last character that
/// are not zero.
fn left_over_bits(part: &str) -> Vec<String> {
    let unused = match part.len() % 4 {
        2 => 4,
        3 => 2,
        _ => 0,
    };
    let last = part.bytes().last().and_then(|last| ALPHABET.iter().position(|letter| *letter == last));
    let others = (1..1_usize << unused).map(|bits| char::from(ALPHABET[last.unwrap_or_default() | bits]));
    others.map(|other| format!("{}{other}", &part[..part.len() - 1])).collect()
}

#[test]
fn each_part_has_one_text() {
    let mut tried = 0;

    for key in signers() {
        // Given a header and a payload whose last characters have unused bits.
        let good = token(key, header(key, r#","x":1"#), r#"{"a":12}"#);
        let parts: Vec<&str> = good.split('.').collect();
        assert!(read::<Value>(&good).is_ok());

        for other in left_over_bits(parts[0]) {
            assert_eq!(refusal(&signed(key, &format!("{other}.{}", parts[1]))), Invalid::Malformed);
            tried += 1;
        }
        for other in left_over_bits(parts[1]) {
            assert_eq!(refusal(&signed(key, &format!("{}.{other}", parts[0]))), Invalid::Malformed);
            tried += 1;
        }
        for other in left_over_bits(parts[2]) {
            assert_eq!(refusal(&format!("{}.{}.{other}", parts[0], parts[1])), Invalid::Malformed);
            tried += 1;
        }
        for padding in ["==", "===", "%3D"] {
            assert_eq!(refusal(&format!("{good}{padding}")), Invalid::Malformed);
        }
    }

    assert!(tried > 50, "{tried}");
}

#[test]
fn signatures_in_the_other_base64_alphabet_are_refused() {
    let key = signer(Algorithm::Hs256);
    let with_both = (0..1000)
        .map(|number| token(key, header(key, ""), format!(r#"{{"jti":"{number}"}}"#)))
        .find(|token| token.rsplit('.').next().unwrap().contains(['-', '_']))
        .unwrap();
    let (text, signature) = split(&with_both);

    let other = format!("{text}.{}", STANDARD_NO_PAD.encode(signature));

    assert!(read::<Value>(&with_both).is_ok());
    assert_eq!(refusal(&other), Invalid::Malformed);
}

#[test]
fn characters_outside_base64url_are_refused_anywhere() {
    let key = signer(Algorithm::Hs256);
    let head = part(header(key, ""));
    let payload = part(r#"{"sub":"1"}"#);

    for odd in [" ", "\n", "\r\n", "\t", "\0", "=", "+", "/", "~", "%20", "\u{a0}", "\u{200b}", "\u{ff21}"] {
        for at in 0..=head.len() {
            let (left, right) = head.split_at(at);
            let text = format!("{left}{odd}{right}.{payload}");
            assert_eq!(refusal(&signed(key, &text)), Invalid::Malformed, "{text}");
        }
        for at in 0..=payload.len() {
            let (left, right) = payload.split_at(at);
            let text = format!("{head}.{left}{odd}{right}");
            assert_eq!(refusal(&signed(key, &text)), Invalid::Malformed, "{text}");
        }
    }
}

#[test]
fn other_forms_of_a_jws_are_refused() {
    let key = signer(Algorithm::Hs256);
    let good = token(key, header(key, ""), r#"{"sub":"1"}"#);
    let parts: Vec<&str> = good.split('.').collect();
    let (head, payload, signature) = (parts[0], parts[1], parts[2]);
    let flattened = json!({"payload": payload, "protected": head, "signature": signature}).to_string();

    for other in [
        format!(".{payload}.{signature}"),
        format!("{head}.{signature}"),
        format!("{payload}.{signature}"),
        format!("{head}.{payload}.{signature}.{signature}"),
        format!("{head}.{payload}..{signature}"),
        format!("{head}.{payload}.{signature}..."),
        format!("{head}%2E{payload}%2E{signature}"),
        format!("Bearer {good}"),
        format!("\"{good}\""),
        format!("{good},{good}"),
        format!("{good}~"),
        json!([good]).to_string(),
        part(&flattened),
        flattened,
    ] {
        assert_eq!(refusal(&other), Invalid::Malformed, "{other}");
    }

    // Detached content (RFC 7515 appendix F).
    assert_eq!(refusal(&format!("{head}..{signature}")), Invalid::Signature);
}

#[test]
fn the_longest_token_is_verified_and_one_byte_more_is_refused() {
    let key = signer(Algorithm::Hs256);
    let of_header = |length| token(key, header(key, &format!(r#","x":"{}""#, "a".repeat(length))), "{}");
    let of_claims = |length| token(key, header(key, ""), format!(r#"{{"x":"{}"}}"#, "a".repeat(length)));

    for make in [&of_header as &dyn Fn(usize) -> String, &of_claims] {
        // Base64url has no text of some lengths, so the longest token may be one byte shorter.
        let longest = (0..TOKEN_BYTES).rev().find(|length| make(*length).len() <= TOKEN_BYTES).unwrap();

        assert!(make(longest).len() >= TOKEN_BYTES - 1);
        assert!(read::<Value>(&make(longest)).is_ok());
        assert_eq!(refusal(&make(longest + 1)), Invalid::TooLong);
    }
}

#[test]
fn a_header_of_too_many_levels_is_refused() {
    let key = signer(Algorithm::Hs256);
    let nested = |levels: usize| format!(r#","x":{}{}"#, "[".repeat(levels), "]".repeat(levels));

    assert!(read::<Value>(&token(key, header(key, &nested(100)), "{}")).is_ok());
    assert_eq!(refusal(&token(key, header(key, &nested(1000)), "{}")), Invalid::Malformed);
    assert_eq!(refusal(&token(key, "[".repeat(1000), "{}")), Invalid::Malformed);
    assert_eq!(refusal(&token(key, header(key, ""), "[".repeat(1000))), Invalid::Claims);
}

#[test]
fn refused_header_members_are_refused_in_escaped_spelling_too() {
    let key = signer(Algorithm::Hs256);
    let escape = |letter: u8| format!("\\u{letter:04x}").into_bytes();

    for name in REFUSED {
        let escaped = String::from_utf8(name.bytes().flat_map(escape).collect()).unwrap();

        for name in [name, &escaped] {
            for value in ["null", "false", "true", "0", "\"\"", "\"JWT\"", "[]", "{}", "[\"exp\"]"] {
                let head = header(key, &format!(r#","{name}":{value}"#));
                assert_eq!(refusal(&token(key, &head, "{}")), Invalid::Malformed, "{head}");
            }
        }
    }
}

/// RFC 7515 §4: a member that is not understood is ignored. None of these brings a key, and names count by
/// case.
#[test]
fn unknown_header_members_are_ignored() {
    let key = signer(Algorithm::Hs256);

    for name in
        ["x5t", "x5t#S256", "epk", "iss", "exp", "JWK", "Jku", "CRIT", "B64", "kid ", "Alg", "\\u0000"]
    {
        let head = header(key, &format!(r#","{name}":"none""#));
        assert_eq!(read::<Value>(&token(key, &head, "{}")), Ok(json!({})), "{head}");
    }
}

#[test]
fn a_type_that_is_not_text_is_refused() {
    let key = signer(Algorithm::Hs256);

    for typ in
        ["null", "true", "1", "{}", "[\"at+jwt\"]", "{\"at+jwt\":1}", "\"at+jwt\\u0000\"", "\"at+jwt;\""]
    {
        let head = format!(r#"{{"typ":{typ},"alg":"HS256","kid":"{}"}}"#, key.kid());
        assert_eq!(refusal(&token(key, &head, "{}")), Invalid::Type, "{head}");
    }
}

#[test]
fn a_token_inside_a_token_is_refused() {
    let key = signer(Algorithm::Hs256);
    let inner = token(key, header(key, ""), r#"{"sub":"1"}"#);

    for payload in [inner.clone(), format!("\"{inner}\""), part(&inner)] {
        assert_eq!(refusal(&token(key, header(key, ""), payload)), Invalid::Claims);
    }
}

#[test]
fn payloads_that_are_almost_json_are_refused() {
    let key = signer(Algorithm::Hs256);

    for text in [
        r#"{"sub":"1","\u0073ub":"2"}"#,
        r#"{"sub":"1",}"#,
        r#"{"sub":"1"}}"#,
        r#"{"sub":"1"} /* */"#,
        r#"{/* */"sub":"1"}"#,
        r"{'sub':'1'}",
        r#"{sub:"1"}"#,
        r#"{"sub":"\ud800"}"#,
        r#"{"sub":"\x41"}"#,
        "{\"sub\":\"a\nb\"}",
        "{\"sub\":\"1\"}\0",
        "\u{feff}{\"sub\":\"1\"}",
        "{\u{a0}\"sub\":\"1\"}",
        r#"{"exp":NaN}"#,
        r#"{"exp":Infinity}"#,
        r#"{"exp":1e999}"#,
        r#"{"exp":01}"#,
        r#"{"exp":+1}"#,
        r#"{"exp":0x10}"#,
        r#"{"exp":1.}"#,
        r#"{"exp":.5}"#,
        r#"{"exp":1_000}"#,
    ] {
        assert_eq!(refusal(&token(key, header(key, ""), text)), Invalid::Claims, "{text}");
    }

    for invalid in [
        &b"{\"sub\":\"\xff\"}"[..],
        b"{\"sub\":\"\xc0\xaf\"}",
        b"{\"sub\":\"\xed\xa0\x80\"}",
        b"\xff\xfe{\0}\0",
    ] {
        assert_eq!(refusal(&token(key, header(key, ""), invalid)), Invalid::Claims, "{invalid:?}");
    }
}

#[test]
fn dates_that_are_not_whole_numbers_are_refused() {
    let key = signer(Algorithm::Hs256);
    let read_with = |exp: &str, more: &str| {
        let nil = uuid::Uuid::nil();
        let claims = format!(
            r#"{{"iss":"i","sub":"1","uuid":"{nil}","client_id":"c","exp":{exp},"iat":1,"auth_time":1,
                "jti":"j","sid":"{nil}","role":"r","scope":"read"{more}}}"#
        );
        read::<AccessClaims>(&token(key, header(key, ""), claims)).map(|claims| claims.exp)
    };
    assert_eq!(read_with("3000", ""), Ok(3000));

    for exp in [
        "3e3",
        "3E3",
        "3000e0",
        "30000e-1",
        "3000.0",
        "3000.000",
        "-0",
        "-3000",
        "-1e3",
        "\"3000\"",
        "\"3e3\"",
        "\"\"",
        "true",
        "null",
        "[3000]",
        "{\"$date\":3000}",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "1e18",
        "1e19",
        "1e308",
        "4294967296000",
    ] {
        assert_eq!(read_with(exp, ""), Err(Invalid::Claims), "{exp}");
        assert_eq!(read_with("3000", &format!(r#","nbf":{exp}"#)), Err(Invalid::Claims), "{exp}");
    }
    assert_eq!(read_with("3000", r#","exp":4000"#), Err(Invalid::Claims));
    assert_eq!(read_with("3000", r#","\u0065xp":4000"#), Err(Invalid::Claims));
}

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::json;

use super::*;

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => panic!("not an object"),
    }
}

fn parse(value: Value) -> Result<Profile, Vec<FieldError>> {
    Profile::parse(members(value))
}

fn income(value: &Value) -> Result<String, &'static str> {
    Income::read(value).map(|income| income.text).map_err(|error| error.kind)
}

#[test]
fn country_codes_are_249_and_in_order() {
    assert!(COUNTRIES.is_sorted_by(|a, b| a < b));
    assert!(
        COUNTRIES.iter().all(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
    );
    assert_eq!(Country::parse("de").unwrap().as_str(), "DE");
    for bad in ["", "D", "DEU", "XX", "UK", "EU", "ZZ", " DE", "ẞ", "d\0"] {
        assert_eq!(Country::parse(bad).unwrap_err().field, "country", "{bad}");
    }
}

#[test]
fn time_zones_have_the_case_of_the_database() {
    for (given, kept) in
        [("europe/berlin", "Europe/Berlin"), ("UTC", "UTC"), ("AMERICA/NEW_YORK", "America/New_York")]
    {
        assert_eq!(Timezone::parse(given).unwrap().as_str(), kept);
    }
    let long = "a".repeat(1 << 16);
    for bad in
        ["", "Europe", "Europe/Berlin ", "Mars/Base", "../etc/passwd", "+01:00", "Europe/Berlin\0", &long]
    {
        assert_eq!(Timezone::parse(bad).unwrap_err().field, "timezone", "{bad:.20}");
    }
}

#[test]
fn income_is_exact_decimal_text() {
    for (given, kept) in [
        (json!(50000), "50000"),
        (json!(0), "0"),
        (json!(0.1), "0.1"),
        (json!(75000.5), "75000.5"),
        (json!(1e5), "100000"),
        (json!(999_999_999_999_999_999_u64), "999999999999999999"),
        (json!("75000.50"), "75000.50"),
        (json!("999999999999999999.999999"), "999999999999999999.999999"),
        (json!(123_456_789.123_456), "123456789.123456"),
    ] {
        assert_eq!(income(&given).as_deref(), Ok(kept));
    }

    for (given, kind) in [
        (json!(-1), "decimal_parsing"),
        (json!(-0.0), "decimal_parsing"),
        (json!("-1"), "decimal_parsing"),
        (json!("+1"), "decimal_parsing"),
        (json!("1e5"), "decimal_parsing"),
        (json!("1,000"), "decimal_parsing"),
        (json!(""), "decimal_parsing"),
        (json!("."), "decimal_parsing"),
        (json!(".5"), "decimal_parsing"),
        (json!("5."), "decimal_parsing"),
        (json!("1.2.3"), "decimal_parsing"),
        (json!("007"), "decimal_parsing"),
        (json!(" 1"), "decimal_parsing"),
        (json!("NaN"), "decimal_parsing"),
        (json!("١"), "decimal_parsing"),
        (json!(1_000_000_000_000_000_000_u64), "decimal_max_digits"),
        (json!("1.0000001"), "decimal_max_digits"),
        (json!(0.000_000_1), "decimal_max_digits"),
        (json!(1e300), "decimal_max_digits"),
        (json!(1_234_567_890_123.456_7), "decimal_max_digits"),
        (json!([1]), "decimal_type"),
        (json!(true), "decimal_type"),
    ] {
        assert_eq!(income(&given), Err(kind), "{given}");
    }
}

#[test]
fn a_profile_is_written_as_it_was_read() {
    let given = json!({
        "country": "DE", "annual_income": 75000.5, "timezone": "Europe/Berlin",
        "newsletter": true, "tags": ["a", {"b": null}],
    });
    let profile = parse(given.clone()).unwrap();
    assert_eq!(serde_json::to_value(&profile).unwrap(), given);
    assert_eq!(serde_json::from_value::<Profile>(given).unwrap(), profile);
    for value in [json!(50000), json!("50000"), json!("1.50"), json!(0.1), json!(999_999_999_999_999_999_u64)]
    {
        let given = json!({"annual_income": value});
        assert_eq!(serde_json::to_value(parse(given.clone()).unwrap()).unwrap(), given);
    }
    assert_eq!(serde_json::to_string(&Profile::default()).unwrap(), "{}");
}

#[test]
fn merging_sets_and_removes() {
    let profile = parse(json!({"country": "de", "timezone": "UTC", "a": 1, "b": {"c": 1}})).unwrap();
    let merged = profile
        .merge(members(json!({"country": null, "timezone": "europe/berlin", "a": null, "b": {"d": 2}})));
    let expected = json!({"timezone": "Europe/Berlin", "b": {"d": 2}});
    assert_eq!(serde_json::to_value(merged.unwrap()).unwrap(), expected);
}

#[test]
fn reserved_members_never_take_effect() {
    let sent = RESERVED.iter().map(|name| ((*name).to_owned(), json!("admin"))).collect();
    assert_eq!(Profile::parse(sent).unwrap(), Profile::default());
}

#[test]
fn all_errors_come_at_once() {
    let errors = parse(json!({"country": 1, "annual_income": "x", "timezone": "x", "a": "\0"})).unwrap_err();
    let mut found: Vec<_> = errors.iter().map(|error| (error.field, error.kind)).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("annual_income", "decimal_parsing"),
            ("country", "string_type"),
            ("profile", "value_error"),
            ("timezone", "value_error")
        ]
    );
    let large = parse(json!({"a": "x".repeat(PROFILE_BYTES)})).unwrap_err();
    assert_eq!((large[0].field, large[0].kind), ("profile", "too_long"));
    assert!(
        serde_json::from_value::<Profile>(json!({"country": "XX"}))
            .unwrap_err()
            .to_string()
            .contains("country")
    );
    assert_eq!(FieldError::from(EmailError::At).field, "email");
    assert_eq!(FieldError::from(UsernameError::At).field, "username");
}

proptest! {
    #[test]
    fn parsing_a_profile_never_panics(
        text in any::<String>(), float in any::<f64>(), digits in "[0-9.]{0,30}",
    ) {
        let _ = Timezone::parse(&text);
        let _ = Country::parse(&text);
        let _ = income(&json!(float));
        if let Ok(income) = Income::parse(&digits) {
            prop_assert_eq!(income.as_str(), &digits);
        }
        let _ = Income::parse(&text);
    }

    /// What has at most 15 digits comes through a JSON number unchanged.
    #[test]
    fn numbers_keep_fifteen_digits(whole in 0_u64..1_000_000_000, fraction in 1_u32..1_000_000) {
        let text = format!("{whole}.{fraction:06}");
        let text = text.trim_end_matches('0');
        let value: Value = serde_json::from_str(text).unwrap();
        prop_assert_eq!(income(&value), Ok(text.to_owned()));
        let out = serde_json::to_string(&Income::read(&value).unwrap()).unwrap();
        prop_assert!(out == text);
    }
}

//! Usernames, by the PRECIS profile UsernameCaseMapped (RFC 8265 §3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation as _;
use serde::{Serialize, Serializer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_security::{RestrictionLevel, RestrictionLevelDetection as _};

use crate::bounds::USERNAME_CHARS;

/// A username: to show, and with a key to compare by. It never holds `@`, so it is never taken for an email
/// address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Username {
    name: String,
    key: String,
}

/// Why a text is not accepted as a username.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UsernameError {
    /// Not 3 to 64 characters.
    #[error("a username has 3 to 64 characters")]
    Length,
    /// Has an `@`.
    #[error("a username has no @")]
    At,
    /// Has a space, a symbol that PRECIS does not allow, or an invisible character, or mixes writing
    /// directions.
    #[error("a username has letters, digits and visible ASCII symbols only, no spaces")]
    Characters,
    /// Has digits only; refused for new names.
    #[error("a username is not a number")]
    Digits,
    /// Is reserved; refused for new names.
    #[error("this username is reserved")]
    Reserved,
    /// Mixes scripts whose letters look alike (UTS #39 §5.2, Highly Restrictive); refused for new names.
    #[error("a username has letters of one script, or of Latin beside Chinese, Japanese or Korean")]
    Scripts,
}

/// Names that no account gets, by their keys, in every spelling that has the same key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservedNames(BTreeSet<String>);

impl ReservedNames {
    /// The names that people take for those of an installation's operators.
    pub const USUAL: [&str; 16] = [
        "abuse",
        "admin",
        "administrator",
        "gatewright",
        "help",
        "hostmaster",
        "info",
        "moderator",
        "postmaster",
        "root",
        "security",
        "staff",
        "support",
        "system",
        "sysadmin",
        "webmaster",
    ];

    /// The list of these names.
    ///
    /// # Errors
    /// The first one that is no username, and why.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, (&'a str, UsernameError)> {
        let key = |name| Username::parse(name).map(|name| name.key).map_err(|why| (name, why));
        names.into_iter().map(key).collect::<Result<_, _>>().map(Self)
    }
}

impl Username {
    /// Parses a username, without the white space around it (Unicode's property White_Space).
    ///
    /// # Errors
    /// [`UsernameError`]. The length is that of the name and of its key.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let text = text.trim();
        // Counted first: nothing else is done with a text of any length. NFC makes one character of four at
        // the very most, so nothing that would fit is refused.
        if text.chars().count() > USERNAME_CHARS.end() * 8 {
            return Err(UsernameError::Length);
        }
        let name: String = text.nfc().collect();
        if !USERNAME_CHARS.contains(&name.chars().count()) {
            return Err(UsernameError::Length);
        }
        if name.contains('@') {
            return Err(UsernameError::At);
        }
        let key = enforce(&name).ok_or(UsernameError::Characters)?;
        if key.contains('@') {
            return Err(UsernameError::At);
        }
        if !USERNAME_CHARS.contains(&key.chars().count()) {
            return Err(UsernameError::Length);
        }
        Ok(Self { name, key })
    }

    /// Parses a name that is given to an account now. Names of before, and imported ones, may look like a
    /// user's number, be reserved or mix scripts.
    ///
    /// # Errors
    /// [`UsernameError`].
    pub fn parse_new(text: &str, reserved: &ReservedNames) -> Result<Self, UsernameError> {
        let name = Self::parse(text)?;
        if name.key.chars().all(char::is_numeric) {
            return Err(UsernameError::Digits);
        }
        if reserved.0.contains(&name.key) {
            return Err(UsernameError::Reserved);
        }
        // ASCII symbols belong to every script; PRECIS has checked them.
        let letters: String = name.key.chars().filter(|c| !c.is_ascii_punctuation()).collect();
        if !letters.as_str().check_restriction_level(RestrictionLevel::HighlyRestrictive) {
            return Err(UsernameError::Scripts);
        }
        Ok(name)
    }

    /// The name to show: as given, in NFC.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name in its case-mapped form: equal for all spellings of one account's name.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// The profile's rules until nothing changes (RFC 8264 §7: some texts need more than one pass); `None` when a
/// rule refuses or the text does not settle.
fn enforce(name: &str) -> Option<String> {
    let mut text = name.to_owned();
    for _ in 0..4 {
        let enforced = UsernameCaseMapped::enforce(text.as_str()).ok()?.into_owned();
        if enforced == text {
            return Some(text);
        }
        text = enforced;
    }
    None
}

impl FromStr for Username {
    type Err = UsernameError;

    fn from_str(text: &str) -> Result<Self, UsernameError> {
        Self::parse(text)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Names are personal data: a debug text does not show them.
impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Username(…)")
    }
}

impl Serialize for Username {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn key(text: &str) -> String {
        Username::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).key
    }

    fn new(text: &str) -> Result<Username, UsernameError> {
        Username::parse_new(text, &ReservedNames::new(ReservedNames::USUAL).unwrap())
    }

    #[test]
    fn a_new_name_is_not_a_number() {
        for number in ["100", "0001", "１００", "१२३"] {
            assert_eq!(new(number), Err(UsernameError::Digits), "{number}");
            assert!(Username::parse(number).is_ok(), "{number} may exist");
        }
        assert!(new("100a").is_ok());
    }

    #[test]
    fn a_new_name_is_not_reserved_in_any_spelling() {
        for name in ["admin", "Admin", "ＡＤＭＩＮ", " root ", "SUPPORT"] {
            assert_eq!(new(name), Err(UsernameError::Reserved), "{name}");
            assert!(Username::parse(name).is_ok(), "{name} may exist");
        }
        assert!(new("admin1").is_ok());
    }

    #[test]
    fn a_new_name_does_not_mix_scripts_that_look_alike() {
        for name in ["pаypal", "аdmin", "αdmin", "Ивan", "adminا"] {
            assert!(new(name).is_err(), "{name}");
        }
        assert_eq!(new("pаypal"), Err(UsernameError::Scripts));
        assert!(Username::parse("pаypal").is_ok(), "it may exist");
        for name in ["Jane+Doe_1", "Иван-1", "éva", "田中tanaka", "たなか", "김민수kim", "αλφα"]
        {
            assert!(new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_username_keeps_its_spelling_and_maps_its_key() {
        let name = Username::parse("Jane_Doe-1").unwrap();
        assert_eq!((name.name(), name.key()), ("Jane_Doe-1", "jane_doe-1"));
        assert_eq!(Username::parse("E\u{301}va").unwrap().name(), "Éva");
        assert!(Username::parse(&"é".repeat(64)).is_ok());
        assert!(Username::parse(&"e\u{301}".repeat(64)).is_ok());
    }

    #[test]
    fn an_invalid_username_is_refused_with_a_reason() {
        let long = "a".repeat(65);
        let huge = "a".repeat(1 << 20);
        for (text, error) in [
            ("", UsernameError::Length),
            ("ab", UsernameError::Length),
            (&long, UsernameError::Length),
            (&huge, UsernameError::Length),
            ("e\u{301}a", UsernameError::Length),
            ("a@b", UsernameError::At),
            ("a＠b", UsernameError::At),
            ("a b", UsernameError::Characters),
            ("a\0b", UsernameError::Characters),
            ("a\u{200b}b", UsernameError::Characters),
            ("a\u{200d}b", UsernameError::Characters),
            ("a\u{202e}b", UsernameError::Characters),
            ("a\u{ad}b", UsernameError::Characters),
            ("eﬃe", UsernameError::Characters),
            ("a♥b", UsernameError::Characters),
            ("abcא", UsernameError::Characters),
        ] {
            assert_eq!(Username::parse(text), Err(error), "{text:.20}");
        }
    }

    #[test]
    fn spellings_of_one_username_have_one_key() {
        for (one, other) in [
            ("JANE", "jane"),
            ("\u{212a}arl", "karl"),
            ("Ｊａｎｅ", "jane"),
            ("E\u{301}VA", "éva"),
            ("İnci", "i\u{307}nci"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        assert_ne!(key("mıke"), key("mike"));
    }

    #[test]
    fn username_keys_of_planes_0_and_1_are_idempotent() {
        for c in (0..0x2_0000).filter_map(char::from_u32) {
            let Ok(name) = Username::parse(&format!("a{c}b")) else { continue };
            assert_eq!(key(&name.key), name.key, "{c:?}");
            assert_eq!(key(&name.name), name.key, "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn username_keys_are_idempotent(
            text in any::<String>(), words in "[a-zA-ZßẞıİΣςσé\u{301}\u{308}\u{345}ｊ]{1,12}",
        ) {
            for text in [text, words] {
                if let Ok(name) = Username::parse(&text) {
                    prop_assert_eq!(&key(&name.key), &name.key);
                    prop_assert_eq!(&key(&name.name), &name.key);
                }
            }
        }
    }
}

//! Email addresses, parsed by the grammar of RFC 5321 §4.1.2 and RFC 6531 §3.3.
//!
//! Accepted: a dot-atom local part, `@`, and a domain name of two labels or more, in ASCII or
//! internationalised (UTS 46, non-transitional). Not accepted, although the standards define them: quoted
//! local parts (`"a b"@example.com`), address literals (`a@[192.0.2.1]`), comments, and names without a dot.
//!
//! Outside ASCII a character must be a letter, a digit or a mark of the PRECIS IdentifierClass (RFC 8264 §9).
//! So there are no controls, white space, invisible or direction-changing characters, and no compatibility
//! forms (`ﬃ`, full-width letters) that look like other text.

use std::fmt;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use precis_profiles::precis_core::{DerivedPropertyValue, IdentifierClass, StringClass as _};
use serde::{Serialize, Serializer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::bounds::EMAIL_CHARS;

/// Longest local part, in bytes (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_BYTES: usize = 64;

/// An email address: to write to, and with a key to compare by.
///
/// Two addresses are one account's when their keys are equal. The key is the local part in Unicode full case
/// folding (lower case of upper case of lower case, NFC; the dotless `ı`, which folding leaves alone, stays)
/// and the domain in ASCII. A `+tag` stays distinct, and so do dots: only the receiving host knows what they
/// mean.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email {
    address: String,
    key: String,
    local_bytes: usize,
}

/// Why a text is not accepted as an email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EmailError {
    /// The text is empty.
    #[error("an email address is required")]
    Empty,
    /// Over 254 characters, or over 64 bytes before the `@`.
    #[error("an email address has at most 254 characters, and 64 bytes before the @")]
    TooLong,
    /// Not exactly one `@`.
    #[error("an email address has one @")]
    At,
    /// The local part is empty, has an invalid character, or, of a new account, has a dot at an end or beside
    /// another dot.
    #[error("the part before the @ is not one that an email address can have")]
    LocalPart,
    /// The part after the `@` is not a domain name.
    #[error("the part after the @ is not a domain name such as example.com")]
    Domain,
}

impl Email {
    /// Parses the address of a new account: dots stand between other characters (RFC 5322 §3.2.3).
    ///
    /// # Errors
    /// [`EmailError`].
    pub fn parse_new(text: &str) -> Result<Self, EmailError> {
        let email = Self::parse(text)?;
        let has_stray_dot = email.local_part().split('.').any(str::is_empty);
        if has_stray_dot { Err(EmailError::LocalPart) } else { Ok(email) }
    }

    /// Parses an address, without the white space around it (Unicode's property White_Space). Dots may stand
    /// at the ends of the local part and beside each other: some mail providers gave out such addresses
    /// (`a..b@docomo.ne.jp`), and accounts that are imported have them.
    ///
    /// # Errors
    /// [`EmailError`]. The limits hold for the address and for its key.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        if text.chars().count() > EMAIL_CHARS {
            return Err(EmailError::TooLong);
        }

        let (local, domain) = text.split_once('@').ok_or(EmailError::At)?;
        if domain.contains('@') {
            return Err(EmailError::At);
        }
        let local: String = local.nfc().collect();
        if !is_dotted(&local) {
            return Err(EmailError::LocalPart);
        }

        let (shown, ascii) = domain_name(domain).ok_or(EmailError::Domain)?;
        let folded = case_fold(&local).filter(|folded| is_dotted(folded)).ok_or(EmailError::LocalPart)?;
        if local.len().max(folded.len()) > LOCAL_PART_BYTES {
            return Err(EmailError::TooLong);
        }

        let email = Self {
            address: format!("{local}@{shown}"),
            key: format!("{folded}@{ascii}"),
            local_bytes: local.len(),
        };
        if email.address.chars().count().max(email.key.chars().count()) > EMAIL_CHARS {
            return Err(EmailError::TooLong);
        }
        Ok(email)
    }

    /// The address to show and to write to: as given, in NFC, with the domain in lower case.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The canonical key: equal for all spellings of one account's address, and an address itself.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The local part, as in [`Email::address`].
    pub fn local_part(&self) -> &str {
        self.address.get(..self.local_bytes).unwrap_or_default()
    }

    /// The domain in ASCII (A-labels), as mail servers are looked up.
    pub fn domain(&self) -> &str {
        self.key.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// RFC 5322 §3.2.3 with dots anywhere, and the characters that RFC 6532 §3.2 adds narrowed as the module
/// says.
fn is_dotted(local: &str) -> bool {
    local.split('.').any(|atom| !atom.is_empty())
        && local.split('.').all(|atom| {
            !atom.starts_with(is_combining_mark) && atom.chars().all(|c| is_atext(c) || is_letter(c))
        })
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// A character outside ASCII that an address may hold on either side.
fn is_letter(c: char) -> bool {
    !c.is_ascii() && IdentifierClass::default().get_value_from_char(c) == DerivedPropertyValue::PValid
}

/// The domain as shown and in ASCII.
fn domain_name(domain: &str) -> Option<(String, String)> {
    let domain: String = domain.nfc().collect();
    if !domain.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.') || is_letter(c)) {
        return None;
    }
    let uts46 = Uts46::new();
    let ascii = uts46
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .ok()?
        .into_owned();
    // The last label of a name is never a number; an IPv4 address's always is (RFC 3696 §2).
    let (_, last) = ascii.rsplit_once('.')?;
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if domain.is_ascii() {
        return Some((ascii.clone(), ascii));
    }
    let (shown, valid) = uts46.to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    valid.ok()?;
    Some((shown.into_owned(), ascii))
}

/// Full case folding (Unicode §3.13, D144 to D147) until nothing changes; twice is enough for every
/// character, and a text that does not settle is refused rather than given two keys.
fn case_fold(local: &str) -> Option<String> {
    let mut text = local.to_owned();
    for _ in 0..4 {
        let folded: String = text.nfd().flat_map(fold_char).nfc().collect();
        if folded == text {
            return Some(text);
        }
        text = folded;
    }
    None
}

fn fold_char(c: char) -> impl Iterator<Item = char> {
    let dotless = (c == 'ı').then_some(c);
    let folded = c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    dotless.into_iter().chain(folded.filter(move |_| dotless.is_none()))
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        Self::parse(text)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// Addresses are personal data: a debug text shows the domain only.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email(…@{})", self.domain())
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.address)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn parts(text: &str) -> (String, String) {
        let email = Email::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (email.address, email.key)
    }

    fn key(text: &str) -> String {
        parts(text).1
    }

    #[test]
    fn addresses_follow_the_grammar() {
        let local = "a".repeat(64);
        let label = "b".repeat(63);
        let longest = format!("{local}@{label}.{label}.{}", "c".repeat(61));
        assert_eq!(longest.len(), 254);
        for good in ["a@b.co", "a.b+c@x-y.example", "!#$%&'*+-/=?^_`{|}~@example.com", "1@2.3d", &longest] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }

        let long_local = format!("a{local}@example.com");
        let long_bytes = format!("{}@example.com", "é".repeat(33));
        let long = format!("{longest}c");
        for (bad, error) in [
            ("", EmailError::Empty),
            ("a", EmailError::At),
            ("a@b@c.de", EmailError::At),
            ("@example.com", EmailError::LocalPart),
            (".@example.com", EmailError::LocalPart),
            ("a b@example.com", EmailError::LocalPart),
            ("\"a b\"@example.com", EmailError::LocalPart),
            ("a(comment)@example.com", EmailError::LocalPart),
            ("a\0@example.com", EmailError::LocalPart),
            ("a\r\nBcc: x@example.com", EmailError::LocalPart),
            ("a b@example.com", EmailError::LocalPart),
            ("<a@example.com", EmailError::LocalPart),
            ("a@exam ple.com", EmailError::Domain),
            ("a@", EmailError::Domain),
            ("a@localhost", EmailError::Domain),
            ("a@[192.0.2.1]", EmailError::Domain),
            ("a@192.0.2.1", EmailError::Domain),
            ("a@example.com.", EmailError::Domain),
            ("a@.example.com", EmailError::Domain),
            ("a@example..com", EmailError::Domain),
            ("a@-example.com", EmailError::Domain),
            ("a@example-.com", EmailError::Domain),
            ("a@exa_mple.com", EmailError::Domain),
            ("a@example.com\0", EmailError::Domain),
            ("a@xn--a.com", EmailError::Domain),
            (&long_local, EmailError::TooLong),
            (&long_bytes, EmailError::TooLong),
            (&long, EmailError::TooLong),
        ] {
            assert_eq!(Email::parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn dots_anywhere_are_read_and_not_given_to_new_accounts() {
        for text in ["a..b@docomo.ne.jp", "a.@docomo.ne.jp", ".a@ezweb.ne.jp", "..A@example.com"] {
            assert_eq!(key(text), text.to_lowercase());
            assert_eq!(Email::parse_new(text), Err(EmailError::LocalPart), "{text}");
        }
        assert!(Email::parse_new("a.b@example.com").is_ok());
    }

    #[test]
    fn addresses_ignore_case_and_keep_plus_tags() {
        assert_eq!(
            parts("Jane.Doe+News@EXAMPLE.Com"),
            ("Jane.Doe+News@example.com".to_owned(), "jane.doe+news@example.com".to_owned())
        );
        assert_ne!(key("a+b@example.com"), key("a@example.com"));
        assert_ne!(key("a.b@example.com"), key("ab@example.com"));
        let email = Email::parse("Ä+x@Bücher.example").unwrap();
        assert_eq!((email.local_part(), email.domain()), ("Ä+x", "xn--bcher-kva.example"));
        assert_eq!(format!("{email:?}"), "Email(…@xn--bcher-kva.example)");
    }

    #[test]
    fn spellings_of_one_address_have_one_key() {
        for (one, other) in [
            ("É@example.com", "e\u{301}@example.com"),
            ("\u{212a}elvin@example.com", "kelvin@example.com"),
            ("\u{212b}@example.com", "å@example.com"),
            ("STRASSE@example.com", "straße@example.com"),
            ("STRAẞE@example.com", "straße@example.com"),
            ("ΣΑΣ@example.com", "σας@example.com"),
            ("ΣΑΣ@example.com", "σασ@example.com"),
            ("İ@example.com", "i\u{307}@example.com"),
            ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
            ("a@bu\u{308}cher.example", "a@XN--BCHER-KVA.example"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in [
            ("mıke@example.com", "mike@example.com"),
            ("MİKE@example.com", "mike@example.com"),
            ("а@example.com", "a@example.com"),
            ("a@straße.example", "a@strasse.example"),
        ] {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
    }

    #[test]
    fn invisible_and_compatibility_characters_are_refused() {
        let hidden = "\u{0}\u{7f}\u{85}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}\u{200c}\u{200d}\
                      \u{200e}\u{200f}\u{202a}\u{202e}\u{2028}\u{2060}\u{2066}\u{2069}\
                      \u{2800}\u{3000}\u{3164}\u{fe0f}\
                      \u{feff}\u{ffa0}\u{fffd}\u{e0001}\u{e0100}\u{f8ff}\u{10ffff}ﬃａ＠．";
        for c in hidden.chars() {
            assert!(Email::parse(&format!("a{c}b@example.com")).is_err(), "{c:?}");
            assert!(Email::parse(&format!("a@exam{c}ple.com")).is_err(), "{c:?}");
        }
        assert!(Email::parse("\u{301}a@example.com").is_err());
    }

    /// Every character that case folding, normalisation or UTS 46 may touch: its key is its own key.
    #[test]
    fn email_keys_of_all_characters_are_idempotent() {
        let touched = |c: &char| {
            let text = c.to_string();
            is_combining_mark(*c)
                || text.to_lowercase() != text
                || text.to_uppercase() != text
                || !text.nfd().eq([*c])
        };
        for c in (0..0x2_0000).filter_map(char::from_u32).filter(touched) {
            for text in [format!("a{c}\u{345}b@example.com"), format!("{c}@a{c}.com")] {
                let Ok(email) = Email::parse(&text) else { continue };
                assert_eq!(key(&email.key), email.key, "{text}");
                assert_eq!(key(&email.address), email.key, "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn email_keys_are_idempotent(
            local in "\\PC{1,12}", more in "[a-zA-ZßẞıİſςΣéÉ\u{301}\u{308}\u{345}.+]{1,20}",
            domain in "[a-zA-Z0-9éßüЖж.-]{1,20}", any in any::<String>(),
        ) {
            let (both, plain) = (format!("{more}@{domain}.com"), format!("{more}@x.com"));
            for text in [format!("{local}@{domain}"), both, plain, any] {
                if let Ok(email) = Email::parse(&text) {
                    prop_assert_eq!(&key(&email.key), &email.key);
                    prop_assert_eq!(&parts(&email.address), &(email.address.clone(), email.key.clone()));
                }
            }
        }
    }
}

//! Scopes (RFC 6749 §3.3): an unordered set of case-sensitive words, written with one space between them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest scope text that is accepted, in bytes.
pub const SCOPE_BYTES: usize = 4096;

/// A set of scope tokens, kept in the order of their bytes so that one set has one text. May be empty,
/// although RFC 6749 does not define that: it is written as the empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(BTreeSet<String>);

/// The text is not a scope: another separator than one space, a character outside `%x21 / %x23-5B / %x5D-7E`,
/// or longer than [`SCOPE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of scope words with one space between them")]
pub struct BadScope;

impl Scope {
    /// Parses a scope. A duplicate word counts once; the empty text is the empty scope.
    ///
    /// # Errors
    /// [`BadScope`].
    pub fn parse(text: &str) -> Result<Self, BadScope> {
        if text.len() > SCOPE_BYTES {
            return Err(BadScope);
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(' ')
            .map(|word| is_token(word).then(|| word.to_owned()).ok_or(BadScope))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether every word is also in `other`: a refresh may narrow the scope and never widen it (RFC 6749
    /// §6).
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The words that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// Whether `word` is in it.
    pub fn contains(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn is_token(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        Self::parse(text)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn reads_words_and_refuses_the_rest() {
        let scope = Scope::parse("write read read").unwrap();
        assert_eq!(scope.to_string(), "read write");
        assert!(scope.contains("read") && !scope.contains("Read"));
        assert!(Scope::parse("").unwrap().is_empty());
        for bad in [" ", "a  b", " a", "a ", "a\tb", "a\nb", "a\"b", "a\\b", "ä", "a\0", &"a".repeat(4097)] {
            assert_eq!(Scope::parse(bad), Err(BadScope), "{bad:?}");
        }
    }

    #[test]
    fn a_narrower_scope_is_a_subset() {
        let (wide, narrow) = (Scope::parse("a b c").unwrap(), Scope::parse("c a").unwrap());
        assert!(narrow.is_subset(&wide) && !wide.is_subset(&narrow));
        assert!(Scope::default().is_subset(&narrow));
        assert_eq!(wide.intersection(&Scope::parse("c d").unwrap()).to_string(), "c");
    }

    proptest! {
        #[test]
        fn a_scope_is_read_back_as_written(text in any::<String>(), words in "[ab!~ ]{0,20}") {
            for text in [text, words] {
                if let Ok(scope) = Scope::parse(&text) {
                    prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
                }
            }
        }
    }
}

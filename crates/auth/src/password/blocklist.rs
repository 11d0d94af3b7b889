//! The blocklist of common passwords.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest;
use breach_filter::Filter;

/// The common passwords, as a filter of hashes: see `data/README.md`.
static COMMON: &[u8] = include_bytes!("../../data/common-passwords.bin");
/// Kind of the filter: its hashes are prefixes of the SHA-256 of the lower-case password in NFC.
const KIND: u8 = 1;

/// Passwords that are refused, compared as a whole and without regard to case.
#[derive(Clone, Debug)]
pub enum Blocklist {
    /// The built-in list.
    Common,
    /// No list; for migrations.
    Off,
    /// The operator's list, one password a line, in addition to the built-in one.
    File(Arc<HashSet<String>>),
}

impl Blocklist {
    /// The operator's list: one password a line.
    pub fn from_lines(text: &str) -> Self {
        Self::File(Arc::new(text.lines().map(|line| line.trim_end_matches('\r').to_lowercase()).collect()))
    }

    /// Whether the lower-case password is on the list.
    pub(crate) fn contains(&self, folded: &str) -> bool {
        match self {
            Self::Off => false,
            Self::Common => is_common(folded),
            Self::File(own) => own.contains(folded) || is_common(folded),
        }
    }
}

/// Takes microseconds and allocates nothing. The built-in list cannot be damaged: a test opens it.
fn is_common(folded: &str) -> bool {
    let hash = hash(folded);
    Filter::open(COMMON, KIND).is_ok_and(|common| common.contains(hash).unwrap_or(false))
}

fn hash(folded: &str) -> u64 {
    let digest = digest::digest(&digest::SHA256, folded.as_bytes());
    digest.as_ref().first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_common_and_a_phrase_is_not() {
        assert!(Blocklist::Common.contains("password123"));
        assert!(!Blocklist::Common.contains("testpass123!"));
        assert!(!Blocklist::Common.contains("correct horse battery staple"));
        assert!(!Blocklist::Off.contains("password123"));
    }

    #[test]
    fn an_own_list_adds_to_the_common_one() {
        let list = Blocklist::from_lines("Hunter2Hunter2\r\nother\n");
        assert!(list.contains("hunter2hunter2") && list.contains("password123"));
    }

    /// Samples of every source of the list, common and less common.
    #[test]
    fn a_sample_of_every_source_is_on_the_list() {
        let words = [
            "fountain",
            "guillaume",
            "123456789e",
            "account1",
            "amsterdam1",
            "bigboy12",
            "airplane1",
            "freefree",
            "wildwood",
            "p5415420",
            "01011986",
            "viktoria",
            "whiteboy",
            "anakonda",
            "radiance",
            "qweasdzxc1",
            "gladston",
            "xxxxxxx1",
            "magpies1",
            "matrix01",
            "mudslide",
            "gamemaster",
            "love4eve",
            "america1",
            "austin31",
            "21071983",
            "43046721",
            "iskander",
            "michaelc",
            "vbitymrf",
            "hxxrvwcy",
            "dunwoody",
            "greatwhi",
            "bananaman",
            "cowboys3",
            "president",
            "17081989",
            "saab9000",
            "geraldine",
            "18121962",
            "08091970",
            "presidente",
            "04111997",
            "ilovepie",
            "dragon27",
        ];

        for word in words {
            assert!(Blocklist::Common.contains(word), "{word}");
        }
        assert!(!Blocklist::Common.contains("Password"), "compared in lower case");
    }

    #[test]
    fn the_list_has_100_000_passwords_and_few_false_positives() {
        let common = Filter::open(COMMON, KIND).unwrap();
        assert!(common.count() > 100_000);
        // The false positive rate is one in 70 million.
        let accidents = (0..200_000).filter(|n| is_common(&format!("an uncommon password {n}"))).count();
        assert_eq!(accidents, 0);
    }

    #[test]
    fn every_block_of_the_list_is_whole() {
        let common = Filter::open(COMMON, KIND).unwrap();
        assert!((0..=u8::MAX).all(|first| common.contains(u64::from(first) << 56).is_ok()));
    }
}

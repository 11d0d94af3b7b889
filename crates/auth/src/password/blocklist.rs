//! The list of passwords that everybody tries first.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest;

/// The common passwords, as sorted truncated hashes: see `data/README.md`.
static COMMON: &[u8] = include_bytes!("../../data/common-passwords.bin");
/// Bytes of SHA-256 that are kept of each: with 20,000 entries one password in 55 million is refused by accident.
const HASH_BYTES: usize = 5;

/// Passwords that are refused, compared whole, without regard to case.
#[derive(Clone, Debug)]
pub enum Blocklist {
    /// The built-in list.
    Common,
    /// None, for a migration.
    Off,
    /// An operator's own, one a line, besides the built-in one.
    File(Arc<HashSet<String>>),
}

impl Blocklist {
    /// A list of an operator's own: one password a line.
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

fn is_common(folded: &str) -> bool {
    let digest = digest::digest(&digest::SHA256, folded.as_bytes());
    let Some(wanted) = digest.as_ref().get(..HASH_BYTES) else { return false };
    let (entries, _) = COMMON.as_chunks::<HASH_BYTES>();
    entries.binary_search_by(|entry| entry.as_slice().cmp(wanted)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_example_is_common_and_a_phrase_is_not() {
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

    #[test]
    fn the_list_is_sorted() {
        let (entries, rest) = COMMON.as_chunks::<HASH_BYTES>();
        assert!(rest.is_empty() && entries.len() > 10_000);
        assert!(entries.is_sorted());
    }
}

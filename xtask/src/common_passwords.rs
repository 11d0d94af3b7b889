//! Builds the list of common passwords from text files.

use std::collections::BTreeSet;
use std::io::{self, Cursor};
use std::path::Path;

use breach_filter::Writer;
use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;

/// The filter's kind that `auth::password` expects: prefixes of the SHA-256 of the lower-case password, in
/// NFC.
const KIND: u8 = 1;
/// Bits kept of each hash: with 100,000 passwords, one in about 70 million others is refused by accident.
const BITS: u8 = 43;
/// The lengths in characters that are included.
const CHARS: std::ops::RangeInclusive<usize> = 4..=64;

/// Reads one password per line and writes the filter of all of them.
pub(crate) fn run(root: &Path, lists: &[&str]) -> io::Result<()> {
    let mut words = BTreeSet::new();
    for list in lists {
        let text = std::fs::read_to_string(list)
            .map_err(|why| io::Error::new(why.kind(), format!("{list}: {why}")))?;
        let before = words.len();
        words.extend(passwords(&text));
        println!("{list}: {} that were not there yet", words.len() - before);
    }
    let filter = filter(&words)?;
    println!("{} passwords, {} bytes", words.len(), filter.len());
    std::fs::write(root.join("crates/auth/data/common-passwords.bin"), filter)
}

/// The passwords of a list, in the form that is compared.
fn passwords(text: &str) -> impl Iterator<Item = String> {
    let folded = text.lines().map(|line| line.trim().nfc().collect::<String>().to_lowercase());
    folded.filter(|word| CHARS.contains(&word.chars().count()))
}

fn filter(words: &BTreeSet<String>) -> io::Result<Vec<u8>> {
    let hashes: BTreeSet<u64> = words.iter().map(|word| hash(word)).collect();
    let mut writer = Writer::new(Cursor::new(Vec::new()), KIND, BITS).map_err(io::Error::other)?;
    hashes.into_iter().try_for_each(|hash| writer.push(hash)).map_err(io::Error::other)?;
    let (_, written) = writer.finish().map_err(io::Error::other)?;
    Ok(written.into_inner())
}

fn hash(word: &str) -> u64 {
    let digest = Sha256::digest(word.as_bytes());
    digest.first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use breach_filter::Filter;

    use super::*;

    #[test]
    fn spellings_count_once_and_passwords_of_other_lengths_are_left_out() {
        let words: BTreeSet<String> =
            passwords("Password\npassword\r\n\nletmein\nabc\ncafe\u{301}\n").collect();
        assert_eq!(
            words.iter().map(String::as_str).collect::<Vec<_>>(),
            ["caf\u{e9}", "letmein", "password"]
        );
        let written = filter(&words).unwrap();
        let filter = Filter::open(written.as_slice(), KIND).unwrap();
        assert_eq!(filter.count(), 3);
        assert!(words.iter().all(|word| filter.contains(hash(word)).unwrap()));
        // The SHA-256 of `password` begins with this.
        assert_eq!(hash("password"), 0x5e88_4898_da28_0471);
        assert!(!filter.contains(hash("Password")).unwrap());
    }
}

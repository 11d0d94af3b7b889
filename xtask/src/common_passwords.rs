//! Makes the built-in list of common passwords out of a text file.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use aws_lc_rs::digest;

/// Bytes of SHA-256 that are kept of each password; `auth::password` looks for as many.
const HASH_BYTES: usize = 5;

/// Reads one password a line and writes the sorted truncated hashes of their lower-case forms.
pub(crate) fn run(root: &Path, list: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(list)?;
    let hashes = hashes(&text);
    println!("{} passwords", hashes.len());
    std::fs::write(root.join("crates/auth/data/common-passwords.bin"), hashes.concat())
}

fn hashes(text: &str) -> Vec<Vec<u8>> {
    let words: BTreeSet<String> =
        text.lines().map(|line| line.trim().to_lowercase()).filter(|word| !word.is_empty()).collect();
    let hash = |word: &String| {
        let digest = digest::digest(&digest::SHA256, word.as_bytes());
        digest.as_ref().iter().take(HASH_BYTES).copied().collect::<Vec<u8>>()
    };
    words.iter().map(hash).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_count_once_and_the_order_is_that_of_a_search() {
        let hashes = hashes("Password\npassword\r\n\nletmein\n");
        assert_eq!(hashes.len(), 2);
        assert!(hashes.is_sorted() && hashes.iter().all(|hash| hash.len() == HASH_BYTES));
        let known = [0x5e, 0x88, 0x48, 0x98, 0xda];
        assert!(hashes.iter().any(|hash| hash == &known), "SHA-256 of password begins 5e884898da");
    }
}

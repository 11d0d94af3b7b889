//! The breach filter: passwords that appeared in breaches, up to hundreds of millions, looked up on the disk.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use breach_filter::{Filter, OpenError};
use model::Secret;
use runtime::Parked;

/// Kind of the filter: its hashes are prefixes of the SHA-1 of the whole password in UTF-8, without
/// normalisation.
pub const BREACH_KIND: u8 = 2;
/// Bits that are kept of each hash: with a billion passwords, one in 67 million others is refused by
/// accident.
pub const BREACH_BITS: u8 = 56;

/// A filter of passwords that appeared in breaches.
#[derive(Clone, Debug)]
pub struct Breaches(Arc<Filter<File>>);

impl Breaches {
    /// Opens a filter that `gatewright passwords filter` has made.
    ///
    /// # Errors
    /// When the file is missing, damaged, or not a breach filter.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(OpenError::Io)?;
        Ok(Self(Arc::new(Filter::open(file, BREACH_KIND)?)))
    }

    /// Number of passwords in the filter.
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// Whether a password is in the filter. The lookup runs on a thread that may wait for the disk; None when
    /// it fails.
    pub(crate) async fn has(&self, _: &Parked<'_>, password: &Secret<Vec<u8>>) -> Option<bool> {
        let (filter, hash) = (Arc::clone(&self.0), hash(password.expose()));
        let asked = tokio::task::spawn_blocking(move || filter.contains(hash)).await;
        let failed: &dyn std::fmt::Display = match &asked {
            Ok(Ok(found)) => return Some(*found),
            Ok(Err(error)) => error,
            Err(error) => error,
        };
        tracing::error!(%failed, "passwords.breach_filter cannot be read; every new password is refused");
        None
    }
}

/// The prefix of a password's SHA-1, as in public lists of breached passwords.
pub fn hash(password: &[u8]) -> u64 {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password);
    digest.as_ref().first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_that_of_the_public_lists() {
        // 5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8
        assert_eq!(super::hash(b"password"), 0x5BAA_61E4_C9B9_3F3F);
    }
}

//! The successors of refresh tokens that a session keeps, each sealed under the token that it follows.
//!
//! ```text
//! base64url( generation (8 bytes, big endian) | rotated at (8 bytes, microseconds) | client (16)
//!            | sealed secret )
//! entries have a fixed width
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Now, Rng};

use super::client_mark::{ClientMark, MARK_BYTES};
use super::refresh_token::{RefreshToken, SEALED_BYTES};

/// Bytes of one entry.
const BYTES: usize = 8 + 8 + MARK_BYTES + SEALED_BYTES;

/// One successor.
#[derive(Debug)]
pub struct SuccessorEntry {
    /// The generation of the token that it follows.
    pub generation: i64,
    /// When that token was exchanged.
    pub rotated_at: Now,
    /// The client that exchanged it.
    pub client: ClientMark,
    /// The successor's secret, which only that token opens.
    pub sealed: Vec<u8>,
}

impl SuccessorEntry {
    /// Characters of one entry.
    pub const CHARS: usize = (BYTES * 8).div_ceil(6);

    /// The entry of `successor`, for which `client` has exchanged `token` at `at`.
    pub fn seal(
        token: &RefreshToken,
        successor: &RefreshToken,
        at: Now,
        client: ClientMark,
        rng: &Rng,
    ) -> Self {
        Self {
            generation: token.generation,
            rotated_at: at,
            client,
            sealed: token.seal_successor(successor.secret.expose(), rng),
        }
    }

    /// The entry as it is stored: [`Self::CHARS`] characters.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.rotated_at.micros().to_be_bytes());
        bytes.extend_from_slice(&self.client.to_bytes());
        bytes.extend_from_slice(&self.sealed);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The entry that follows the token of `generation`, if `successors` still has it.
    pub fn find(successors: &str, generation: i64) -> Option<Self> {
        let mut entries = successors.as_bytes().chunks(Self::CHARS).filter_map(Self::decode);
        entries.find(|entry| entry.generation == generation)
    }

    /// The entry of the lowest generation that `successors` has.
    pub fn oldest(successors: &str) -> Option<Self> {
        let entries = successors.as_bytes().chunks(Self::CHARS).filter_map(Self::decode);
        entries.min_by_key(|entry| entry.generation)
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (generation, rest) = bytes.split_first_chunk::<8>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (client, sealed) = rest.split_at_checked(MARK_BYTES)?;
        Some(Self {
            generation: i64::from_be_bytes(*generation),
            rotated_at: Now::from_micros(i64::from_be_bytes(*at)),
            client: ClientMark::from_bytes(client)?,
            sealed: sealed.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_fixed_width_and_is_found_again() {
        let entry = SuccessorEntry {
            generation: 1,
            rotated_at: Now::from_micros(2),
            client: ClientMark::from_bytes(&[3; MARK_BYTES]).unwrap(),
            sealed: vec![7; SEALED_BYTES],
        };
        let text = entry.encode();
        assert_eq!(text.len(), SuccessorEntry::CHARS);

        let other = SuccessorEntry { generation: 2, ..SuccessorEntry::decode(text.as_bytes()).unwrap() };
        let list = other.encode() + &text;
        let found = SuccessorEntry::find(&list, 1).unwrap();
        assert_eq!(found.rotated_at, Now::from_micros(2));
        assert_eq!((found.client, found.sealed), (entry.client, entry.sealed));
        assert!(SuccessorEntry::find(&list, 3).is_none());
        assert_eq!(SuccessorEntry::oldest(&list).unwrap().generation, 1);
        assert!(SuccessorEntry::find("garbage", 1).is_none());
    }
}

//! Added hashes are found, others are not, and damage causes an error only.

use std::io::Cursor;

use crate::{BLOCK, Filter, MOST_BITS, OpenError, WriteError, Writer};

const KIND: u8 = 7;

/// A fixed sequence of numbers that look like hashes.
struct Hashes(u64);

impl Iterator for Hashes {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let one = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let two = (one ^ (one >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(two ^ (two >> 31))
    }
}

fn sorted(count: usize) -> Vec<u64> {
    let mut hashes: Vec<u64> = Hashes(1).take(count).collect();
    hashes.sort_unstable();
    hashes
}

fn written(hashes: &[u64], bits: u8) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()), KIND, bits).unwrap();
    for hash in hashes {
        writer.push(*hash).unwrap();
    }
    writer.finish().unwrap().1.into_inner()
}

#[test]
fn a_million_members_are_found_and_false_positives_are_rare() {
    let members = sorted(1_000_000);
    let bytes = written(&members, 44);
    let filter = Filter::open(bytes.as_slice(), KIND).unwrap();
    assert_eq!(filter.count(), 1_000_000);
    assert!(members.iter().step_by(7).all(|hash| filter.contains(*hash).unwrap()));
    // The false positive rate is 1 in 2^24: 300,000 others rarely give one.
    let strangers = Hashes(u64::MAX / 3).take(300_000);
    let accidents = strangers.filter(|hash| filter.contains(*hash).unwrap()).count();
    assert!(accidents <= 2, "{accidents}");
    // 44 - log2(1,000,000) + 1.6 bits, and the heads of the blocks.
    let thousandths = bytes.len() * 8 / 1000;
    assert!((25_000..26_200).contains(&thousandths), "{thousandths} thousandths of a bit each");
}

#[test]
fn false_positives_are_as_frequent_as_documented() {
    let bytes = written(&sorted(50_000), 24);
    let filter = Filter::open(bytes.as_slice(), KIND).unwrap();
    let strangers = Hashes(u64::MAX / 3).take(200_000);
    let accidents = strangers.filter(|hash| filter.contains(*hash).unwrap()).count();
    // 200,000 times 50,000 / 2^24.
    assert!((500..700).contains(&accidents), "{accidents}");
}

#[test]
fn members_of_empty_small_dense_and_uneven_sets_are_found() {
    let dense: Vec<u64> = (0..60_000).map(|n| n << 8).collect();
    let heaps: Vec<u64> = (0..60_000_u64).map(|n| (n / 20_000) << 62 | n << 12).collect();
    for members in [vec![], vec![0], vec![u64::MAX], vec![5 << 30, 5 << 30], vec![0, u64::MAX], dense, heaps]
    {
        let bytes = written(&members, MOST_BITS);
        let filter = Filter::open(bytes.as_slice(), KIND).unwrap();
        for member in &members {
            assert!(filter.contains(*member).unwrap(), "{member} of {}", members.len());
        }
        for stranger in Hashes(9).take(1000).chain([1 << 50, 3 << 61]) {
            let near = members.iter().any(|member| member >> 8 == stranger >> 8);
            assert_eq!(filter.contains(stranger).unwrap(), near);
        }
    }
}

#[test]
fn a_file_answers_as_memory_does() {
    let members = sorted(20_000);
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &written(&members, 40)).unwrap();
    let filter = Filter::open(file, KIND).unwrap();
    assert!(members.iter().all(|hash| filter.contains(*hash).unwrap()));
    assert!(Hashes(77).take(2000).all(|hash| !filter.contains(hash).unwrap()));
}

#[test]
fn unsorted_and_too_wide_input_is_refused() {
    let mut writer = Writer::new(Cursor::new(Vec::new()), KIND, 40).unwrap();
    writer.push(u64::MAX).unwrap();
    assert!(matches!(writer.push(1), Err(WriteError::Order)));
    for bits in [7, 57, 64] {
        assert!(matches!(Writer::new(Cursor::new(Vec::new()), KIND, bits), Err(WriteError::Bits)));
    }
}

#[test]
fn other_versions_other_kinds_and_damage_have_different_errors() {
    let bytes = written(&sorted(5000), 40);
    let opened = |bytes: &[u8]| Filter::open(bytes, KIND).map(|_| ());
    assert!(opened(&bytes).is_ok());
    assert!(matches!(opened(&bytes[..bytes.len() - 1]), Err(OpenError::Damaged("its length"))));
    assert!(matches!(opened(&bytes[..20]), Err(OpenError::NotOne)));
    assert!(matches!(opened(b""), Err(OpenError::NotOne)));
    assert!(matches!(opened(&[0; BLOCK]), Err(OpenError::NotOne)));
    assert!(matches!(Filter::open(bytes.as_slice(), 8), Err(OpenError::Kind(7))));
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        bytes
    };
    assert!(matches!(opened(&changed(0, b'X')), Err(OpenError::NotOne)));
    assert!(matches!(opened(&changed(8, 2)), Err(OpenError::Version(2))));
    for (at, byte) in bytes.iter().enumerate().take(64).skip(12) {
        assert!(matches!(opened(&changed(at, byte ^ 1)), Err(OpenError::Damaged(_))), "{at}");
    }
}

/// Any content of a block with a valid checksum gives a result or an error.
#[test]
fn a_damaged_block_is_an_error_and_a_forged_one_no_panic() {
    let members = sorted(3000);
    let bytes = written(&members, 40);
    let mut noise = Hashes(5);
    for round in 0..400 {
        let mut damaged = bytes.clone();
        let at = BLOCK + usize::try_from(noise.next().unwrap()).unwrap() % BLOCK;
        damaged[at] ^= 1 << (round % 8);
        let filter = Filter::open(damaged.as_slice(), KIND).unwrap();
        assert!(filter.contains(members[0]).is_err());
        let begin = BLOCK + 4;
        for byte in &mut damaged[begin..begin + 40] {
            *byte = noise.next().unwrap().to_le_bytes()[0];
        }
        let checksum = crate::crc::of(&damaged[BLOCK + 4..2 * BLOCK]);
        damaged[BLOCK..BLOCK + 4].copy_from_slice(&checksum.to_le_bytes());
        let filter = Filter::open(damaged.as_slice(), KIND).unwrap();
        for hash in members.iter().take(50).copied().chain((&mut noise).take(50)) {
            let _ = filter.contains(hash);
        }
    }
}

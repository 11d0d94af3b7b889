//! Batches, syncs, rollovers and crashes in any order.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use journal::{Entry, Head, Journal, Kind, Options, Reader, Time, verify};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::desk::{ID, calm};

#[derive(Clone, Debug)]
enum Deed {
    Append(Vec<Vec<u8>>),
    Sync,
    /// The last segment keeps its synced bytes, and this share of the rest.
    Crash(u8),
    Reopen,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => vec(vec(any::<u8>(), 0..120), 1..6).prop_map(Deed::Append),
        2 => Just(Deed::Sync),
        2 => any::<u8>().prop_map(Deed::Crash),
        1 => Just(Deed::Reopen),
    ]
}

/// The lengths of all files.
fn lengths(directory: &Path) -> BTreeMap<std::path::PathBuf, u64> {
    let files = fs::read_dir(directory).expect("reads").map(|entry| entry.expect("reads").path());
    let segments = files.filter(|path| path.extension().is_some_and(|it| it == "journal"));
    segments.map(|path| (path.clone(), path.metadata().expect("is there").len())).collect()
}

/// Files as a power failure might leave them: the synced bytes, and a part of the rest.
fn crash(directory: &Path, synced: &BTreeMap<std::path::PathBuf, u64>, share: u8) {
    let all = lengths(directory);
    let Some((path, length)) = all.last_key_value() else { return };
    // earlier segments are synced when the last one begins
    let kept = synced.get(path).copied().unwrap_or(0);
    let length = kept + (length - kept) * u64::from(share) / 255;
    if length == 0 && share.is_multiple_of(2) {
        fs::remove_file(path).expect("removes");
    } else {
        fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(length)).expect("cuts");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_synced_record_is_lost(deeds in vec(deed(), 1..40), segment_bytes in 200..2000_u64) {
        let folder = TempDir::new().expect("a temporary folder");
        let options = Options { segment_bytes, ..calm() };
        let open = || Journal::open(folder.path(), options, ID).expect("opens");
        let mut journal = Some(open().0);
        let mut payloads: Vec<Vec<u8>> = Vec::new();
        let mut heads: Vec<Head> = Vec::new();
        let mut durable = lengths(folder.path());

        for deed in deeds {
            let open_journal = journal.as_mut().expect("is open");
            match deed {
                Deed::Append(batch) => {
                    let entries: Vec<_> = batch
                        .iter()
                        .map(|payload| Entry { time: Time(0), kind: Kind::Data, payload })
                        .collect();
                    let appended = open_journal.append(Time(0), &entries);
                    prop_assert!(appended.failure.is_none());
                    let written = appended.written.iter();
                    heads.extend(
                        written.map(|it| Head { journal: ID, sequence: it.sequence, hash: it.hash }),
                    );
                    payloads.extend(batch);
                }
                Deed::Sync => {
                    open_journal.sync().expect("syncs");
                    durable = lengths(folder.path());
                }
                Deed::Reopen => {
                    drop(journal.take());
                    let (again, recovery) = open();
                    prop_assert!(recovery.cut.is_none() && recovery.damage.is_none());
                    prop_assert_eq!(again.head().sequence, heads.len() as u64);
                    journal = Some(again);
                    durable = lengths(folder.path());
                }
                Deed::Crash(share) => {
                    let synced = usize::try_from(open_journal.synced()).expect("few");
                    drop(journal.take());
                    crash(folder.path(), &durable, share);
                    let (again, recovery) = open();
                    prop_assert!(recovery.damage.is_none());
                    let left = usize::try_from(again.head().sequence).expect("few");
                    let most = heads.len();
                    prop_assert!(synced <= left && left <= most, "{} {} {}", synced, left, most);
                    heads.truncate(left);
                    payloads.truncate(left);
                    prop_assert_eq!(again.head().sequence, heads.last().map_or(0, |head| head.sequence));
                    journal = Some(again);
                    durable = lengths(folder.path());
                }
            }
            let report = verify(folder.path(), None, &heads, |_| true, |_| {}).expect("reads");
            prop_assert_eq!((report.finding, report.torn), (None, None));
            prop_assert_eq!(report.counts.heads, heads.len() as u64);
        }

        let mut reader = Reader::open(folder.path());
        let mut read = Vec::new();
        while let Some(record) = reader.read().expect("reads") {
            read.push(record.payload.to_vec());
        }
        prop_assert_eq!(read, payloads);
    }
}

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use auth::password::{BREACH_KIND, breach_hash};
use breach_filter::Filter;
use testkit::Server;
use testkit::process::Signal;

use super::{PHRASE, Place};

const PASSWORD: &str = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";

fn opened(path: &Path) -> Filter<File> {
    Filter::open(File::open(path).unwrap(), BREACH_KIND).unwrap()
}

/// Numbers that look like hashes, the same for each seed.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |n: u64| {
        let one = (seed + n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let two = (one ^ (one >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (two ^ (two >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB)
    })
}

fn list(hashes: &[u64]) -> String {
    hashes.iter().enumerate().fold(String::new(), |mut text, (at, hash)| {
        writeln!(text, "{hash:016X}{at:024X}:{at}").unwrap();
        text
    })
}

#[test]
fn a_million_hashes_become_a_filter_that_has_them_and_no_others() {
    let place = Place::new();
    let hashes: Vec<u64> = noise(0).take(1_000_000).collect();
    let mut sorted = hashes.clone();
    sorted.sort_unstable();
    let (odd, even): (Vec<u64>, Vec<u64>) = sorted.iter().partition(|hash| *hash % 2 == 1);
    for (name, hashes) in [("any", &hashes), ("odd", &odd), ("even", &even)] {
        std::fs::write(place.path().join(name), list(hashes)).unwrap();
    }
    // Unsorted input through the sorter, sorted input merged, and standard input: one and the same file.
    let any = place.json(&["passwords", "filter", "--out", "one", "any"], "");
    assert_eq!((&any["passwords"], &any["lines"]), (&1_000_000.into(), &1_000_000.into()));
    place.good(&["passwords", "filter", "--out", "two", "odd", "even"], "");
    let read = |name| std::fs::read(place.path().join(name)).unwrap();
    assert!(read("one") == read("two"));
    let left = place.path().read_dir().unwrap().count();
    assert_eq!(left, 5, "three lists and two filters");

    let filter = opened(&place.path().join("one"));
    for hash in hashes.iter().step_by(11) {
        assert!(filter.contains(*hash).unwrap(), "{hash:x}");
    }
    // The false positive rate is one in 2^36.
    assert!(noise(1 << 40).take(100_000).all(|hash| !filter.contains(hash).unwrap()));
}

#[test]
fn plain_words_and_standard_input_are_accepted() {
    let place = Place::new();
    let words = "correct horse\r\nbattery staple\ncorrect horse\n";
    let made = place.json(&["passwords", "filter", "--words", "--out", "words", "-"], words);
    assert_eq!((&made["passwords"], &made["lines"]), (&2.into(), &3.into()));
    let filter = opened(&place.path().join("words"));
    assert!(filter.contains(breach_hash(b"battery staple")).unwrap());
    assert!(!filter.contains(breach_hash(b"battery")).unwrap());
    let unsorted = format!("{PASSWORD}:3\n{}\n", PASSWORD.replace('5', "0"));
    assert_eq!(place.json(&["passwords", "filter", "--out", "words", "-"], &unsorted)["passwords"], 2);
    let filter = opened(&place.path().join("words"));
    assert!(filter.contains(breach_hash(b"password")).unwrap(), "the new one is in its place");
}

#[test]
fn an_invalid_list_is_refused_and_leaves_no_file() {
    let place = Place::new();
    std::fs::write(place.path().join("list"), format!("{PASSWORD}\nhunter2\n")).unwrap();
    let sentence = place.bad(1, &["passwords", "filter", "--out", "out", "list"], "");
    assert!(sentence.contains("list: line 2") && !sentence.contains("hunter2"), "{sentence}");
    assert!(place.bad(1, &["passwords", "filter", "--out", "out", "none"], "").contains("cannot be read"));
    let sentence = place.bad(1, &["passwords", "filter", "--out", "no/out", "list"], "");
    assert!(sentence.contains("cannot be written"), "{sentence}");
    assert_eq!(place.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_filter_is_checked_at_the_start_and_keeps_breached_passwords_out() {
    let place = Place::new();
    place.good(&["passwords", "filter", "--words", "--out", "breached", "-"], PHRASE);
    let set = ["--set", "passwords.breach_filter=breached"];
    place.good(&[&["config", "check"], &set[..]].concat(), "");
    let add = [&["user", "add", "a@example.org", "--password-file", "-"], &set[..]].concat();
    let sentence = place.bad(1, &add, PHRASE);
    assert!(sentence.contains("password: has appeared in a data breach"), "{sentence}");
    place.good(&add, "another one of these");

    let whole = std::fs::read(place.path().join("breached")).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        bytes
    };
    for (bytes, says) in [
        (Some(changed(0, b'x')), "not a filter"),
        (Some(changed(8, 9)), "version 9"),
        (Some(changed(12, 1)), "damaged"),
        (Some(changed(20, 1)), "damaged"),
        (Some(whole[..whole.len() - 1].to_vec()), "damaged"),
        (Some(PHRASE.into()), "not a filter"),
        (None, "cannot be read"),
    ] {
        match bytes {
            Some(bytes) => std::fs::write(place.path().join("breached"), bytes).unwrap(),
            None => std::fs::remove_file(place.path().join("breached")).unwrap(),
        }
        for command in [&["config", "check"][..], &["serve"], &add[..5]] {
            let sentence = place.bad(2, &[command, &set[..]].concat(), PHRASE);
            assert!(sentence.contains("passwords.breach_filter") && sentence.contains(says), "{sentence}");
        }
    }
}

#[test]
fn a_signal_leaves_no_half_written_filter() {
    let place = Place::new();
    let pipe = place.path().join("words");
    assert!(Server::builder("mkfifo").arg(&pipe).run("").status.success());
    let args = ["passwords", "filter", "--words", "--out", "breached", "words"];
    let mut filter = place.builder(&args).start();
    let mut words = File::options().write(true).open(&pipe).unwrap();
    std::io::Write::write_all(&mut words, PHRASE.as_bytes()).unwrap();
    while !place.path().join("breached.part").exists() {}

    filter.signal(Signal::INT);
    assert_eq!(filter.wait().code(), Some(130), "{}", filter.stderr());
    assert!(!place.path().join("breached.part").exists() && !place.path().join("breached").exists());
}

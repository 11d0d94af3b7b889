//! Stored hashes of an import: a parsed hash is written back identically. Run with
//! `cargo +nightly fuzz run password_hash`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::wire::password_hash::StoredHash;

fuzz_target!(|text: &str| {
    if let Ok(hash) = StoredHash::parse(text) {
        assert_eq!(hash.to_string(), text);
    }
});

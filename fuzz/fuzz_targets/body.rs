//! Request bodies: unambiguous JSON and the profile attributes in it. Run with
//! `cargo +nightly fuzz run body`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::profile::Profile;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Some(value) = protocol::wire::strict_json::parse(bytes) else { return };
    let text = value.to_string();
    let again = protocol::wire::strict_json::parse(text.as_bytes());
    assert!(again.is_some(), "parsed JSON is written as JSON");
        && let Ok(profile) = Profile::parse(members)
    {
        let text = serde_json::to_string(&profile).expect("a profile is JSON");
        serde_json::from_str::<Profile>(&text).expect("a stored profile is read back");
    }
});

//! Emails and usernames as entered: a key is its own key. Run with `cargo +nightly fuzz run email`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Email, Username};

fuzz_target!(|text: &str| {
    if let Ok(email) = Email::parse(text) {
        let again = Email::parse(email.key()).expect("a key is an address");
        assert_eq!(again.key(), email.key());
        assert_eq!(Email::parse(email.address()).expect("an address is one").key(), email.key());
    }
    if let Ok(name) = Username::parse(text) {
        assert_eq!(Username::parse(name.key()).expect("a key is a name").key(), name.key());
    }
});

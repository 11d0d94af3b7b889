//! Untrusted tokens: a JWT, a refresh token and a sealed successor. Run with
//! `cargo +nightly fuzz run token`.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use model::Rng;
use protocol::wire::algorithm::Algorithm;
use protocol::wire::jwt::{Invalid, SigningKey, TOKEN_BYTES, verify};
use protocol::wire::refresh_token::{MacKey, RefreshToken};
use serde_json::Value;

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_private(Algorithm::Hs256, &[7; 32]).expect("32 bytes are a secret"));

fn read(token: &str) -> Result<Value, Invalid> {
    verify(token, "at+jwt", |_| Some(Arc::new(KEY.verifying_key())))
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(read(text).is_err(), "nobody guesses a signature");

    // With a right signature the payload is reached.
    if let Ok(claims) = serde_json::from_str::<Value>(text) {
        let token = KEY.sign("at+jwt", &claims).expect("JSON is signed");
        match read(&token) {
            Ok(_) => assert!(claims.is_object()),
            Err(Invalid::TooLong) => assert!(token.len() > TOKEN_BYTES),
            Err(error) => assert!(error == Invalid::Claims && !claims.is_object(), "{error}"),
        }
    }

    let key = MacKey::new(&[7; 32]);
    if let Ok(token) = RefreshToken::decode(text, std::slice::from_ref(&key)) {
        assert_eq!(token.encode(&key).expose(), text);
    }
    let session = model::SessionId::generate(model::Now::from_seconds(0), &Rng::seeded(1));
    let _ = RefreshToken::first(session, &Rng::seeded(1)).open_successor(data);
});

//! Signatures of webhooks (Standard Webhooks 1.0.0).
//!
//! A secret is `whsec_` and 24 to 64 bytes in Base64. HMAC-SHA256 signs `ID.TIMESTAMP.BODY`, and the
//! signature is `v1,` and Base64. While a secret is being replaced there are two, and two signatures
//! separated by a space.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
/// Fewest and most bytes of a secret.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets of one receiver.
pub struct WebhookSecrets(Vec<hmac::Key>);

/// Why a text is not a list of secrets. Lines count from 1; the error contains no part of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSecretError {
    /// No line has one.
    #[error("there is no secret in it")]
    Empty,
    /// The line is not `whsec_` and 24 to 64 bytes in Base64.
    #[error("line {0} is not `{PREFIX}` and 24 to 64 bytes in Base64")]
    Line(usize),
}

impl WebhookSecrets {
    /// Parses secrets, one per line; `#` begins a comment.
    ///
    /// # Errors
    /// The first [`WebhookSecretError`].
    pub fn parse(text: &str) -> Result<Self, WebhookSecretError> {
        let mut keys = Vec::new();
        for (line, words) in (1..).zip(text.lines()) {
            let word = words.split('#').next().unwrap_or_default().trim();
            if word.is_empty() {
                continue;
            }
            let bytes =
                word.strip_prefix(PREFIX).and_then(|word| STANDARD.decode(word).ok()).map(Zeroizing::new);
            let bytes = bytes.filter(|bytes| BYTES.contains(&bytes.len()));
            let bytes = bytes.ok_or(WebhookSecretError::Line(line))?;
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        }
        if keys.is_empty() { Err(WebhookSecretError::Empty) } else { Ok(Self(keys)) }
    }

    /// The header `webhook-signature` of a message: its id, when it was sent in seconds since 1970, and its
    /// body.
    pub fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let before = format!("{id}.{timestamp}.");
        let sign = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(before.as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookSecrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own libraries.
    #[test]
    fn a_signature_equals_the_example_of_the_standard() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secrets = WebhookSecrets::parse(&format!("# ours\n{secret}\n")).unwrap();
        let signed =
            secrets.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = WebhookSecrets::parse(&format!("whsec_{}\n{secret}", "A".repeat(32))).unwrap();
        let both = two.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(&signed) && !format!("{two:?}").contains("AAAA"));
    }

    #[test]
    fn an_invalid_secret_is_refused_with_its_line() {
        for (text, error) in [
            ("", WebhookSecretError::Empty),
            ("# none\n\n", WebhookSecretError::Empty),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", WebhookSecretError::Line(1)),
            ("\nwhsec_MfKQ9r8G", WebhookSecretError::Line(2)),
            ("whsec_not base64", WebhookSecretError::Line(1)),
        ] {
            assert_eq!(WebhookSecrets::parse(text).err(), Some(error), "{text}");
        }
    }
}

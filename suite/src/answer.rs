//! What a request got.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A member of the body that is a string.
    pub fn string(&self, member: &str) -> String {
        let json = self.json();
        let value = json.get(member).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no {member} in {} {}", self.status, self.text)).to_owned()
    }

    /// A header field; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }

    /// Panics with the body unless the status is this.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Panics unless the answer is this problem.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        let this = self.expect(status);
        assert_eq!(this.header("content-type"), "application/problem+json", "{}", this.text);
        let json = this.json();
        assert_eq!(json.get("code").and_then(Value::as_str), Some(code), "{}", this.text);
        assert_eq!(json.get("status").and_then(Value::as_u64), Some(u64::from(status)), "{}", this.text);
        assert_eq!(
            json.get("instance").and_then(Value::as_str),
            Some(this.header("x-request-id")),
            "{}",
            this.text
        );
        this
    }
}

//! Fixed limits of input. Limits that an operator may set are in the configuration.

/// Declares the limits, and lists them for the documentation.
macro_rules! bounds {
    ($($(#[doc = $about:literal])+ $name:ident: $type:ty = $value:expr;)+) => {
        $($(#[doc = $about])+ pub const $name: $type = $value;)+

        /// Every limit: what it bounds, and its value.
        pub fn all() -> Vec<(&'static str, String)> {
            vec![$((concat!($($about),+).trim_ascii(), format!("{:?}", $name))),+]
        }
    };
}

bounds! {
    /// Longest email address, in characters (RFC 5321 §4.5.3.1.3 leaves 254 between the angle brackets).
    EMAIL_CHARS: usize = 254;
    /// Shortest and longest username, in characters.
    USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=64;
    /// Longest password, in code points.
    PASSWORD_CHARS: usize = 1024;
    /// Largest request body, in bytes.
    BODY_BYTES: usize = 64 * 1024;
    /// Largest request header block, in bytes.
    HEADER_BYTES: usize = 16 * 1024;
    /// Largest bearer token that is parsed, in bytes.
    TOKEN_BYTES: usize = 8 * 1024;
    /// Most live sessions a user may have; the oldest ends.
    SESSIONS_PER_USER: i64 = 100;
    /// Consecutive failed logins of strangers after which a password works only from known networks and
    /// sessions.
    FAILURES_OF_STRANGERS: i64 = 100;
    /// Longest user agent that is kept, in characters.
    USER_AGENT_CHARS: usize = 256;
    /// Largest JSON text of a user's profile attributes, in bytes.
    PROFILE_BYTES: usize = 16 * 1024;
}

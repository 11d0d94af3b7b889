//! Fixed limits of input. Limits that an operator may set are in the configuration.

/// Longest email address, in characters (RFC 5321 §4.5.3.1.3 leaves 254 between the angle brackets).
pub const EMAIL_CHARS: usize = 254;
/// Shortest and longest username, in characters.
pub const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=64;
/// Longest password, in code points.
pub const PASSWORD_CHARS: usize = 1024;
/// Largest request body, in bytes.
pub const BODY_BYTES: usize = 64 * 1024;
/// Largest request header block, in bytes.
pub const HEADER_BYTES: usize = 16 * 1024;
/// Largest bearer token that is parsed, in bytes.
pub const TOKEN_BYTES: usize = 8 * 1024;
/// Most live sessions a user may have; the oldest ends.
pub const SESSIONS_PER_USER: i64 = 100;
/// Longest user agent that is kept, in characters.
pub const USER_AGENT_CHARS: usize = 256;
/// Largest JSON text of a user's profile attributes, in bytes.
pub const PROFILE_BYTES: usize = 16 * 1024;

//! Usernames.
/// A username.
pub struct Username;

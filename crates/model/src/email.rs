//! Email addresses.
/// An email address.
pub struct Email;

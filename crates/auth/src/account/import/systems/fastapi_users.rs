//! fastapi-users: the table `user` as CSV or JSON.

use super::{Is, System};

pub(super) struct FastApiUsers;

impl System for FastApiUsers {
    fn name(&self) -> &'static str {
        "fastapi-users"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("email", Is::Member("email")),
            ("username", Is::Member("username")),
            ("hashed_password", Is::Member("password_hash")),
            ("is_active", Is::Member("is_active")),
            ("is_superuser", Is::Role("superuser")),
            ("is_verified", Is::Member("email_verified")),
            ("created_at", Is::Member("created_at")),
            ("updated_at", Is::Member("updated_at")),
        ]
    }
}

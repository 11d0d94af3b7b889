//! Laravel: the table `users` as CSV or JSON. Its second factors are encrypted with the application's key.

use super::{Is, System};

pub(super) struct Laravel;

impl System for Laravel {
    fn name(&self) -> &'static str {
        "laravel"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("email", Is::Member("email")),
            ("username", Is::Member("username")),
            ("password", Is::Member("password_hash")),
            ("email_verified_at", Is::Member("email_verified_at")),
            ("deleted_at", Is::Member("inactive_since")),
            ("created_at", Is::Member("created_at")),
            ("updated_at", Is::Member("updated_at")),
            ("role", Is::Roles),
            ("roles", Is::Roles),
            ("is_admin", Is::Role("admin")),
            ("remember_token", Is::Nothing),
        ]
    }
}

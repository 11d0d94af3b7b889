//! Numbered, forward-only migrations, each in one transaction.

use aws_lc_rs::digest;
use model::{Now, hex};

use crate::Error;

/// One migration, with its text for each engine.
pub(crate) struct Migration {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
}

/// Every migration, in order; listed by the build script from the folders of `migrations/`.
pub(crate) static MIGRATIONS: &[Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// A row of the table of applied migrations.
pub(crate) struct Applied {
    pub(crate) number: i64,
    pub(crate) checksum: String,
}

/// A migration that was or would be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub number: i64,
    /// Its name, which begins with the number.
    pub name: &'static str,
}

impl Migration {
    /// The text for PostgreSQL, with every table in `schema`, which is already quoted.
    pub(crate) fn postgres(&self, schema: &str) -> String {
        self.postgres.replace("gw.", &format!("{schema}."))
    }

    /// The text for SQLite.
    pub(crate) fn sqlite(&self) -> &'static str {
        self.sqlite
    }

    /// A checksum of both texts, which detects an edited migration.
    pub(crate) fn checksum(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.postgres.as_bytes());
        context.update(self.sqlite.as_bytes());
        hex::encode(context.finish().as_ref().get(..16).unwrap_or_default())
    }

    pub(crate) fn step(&self) -> Step {
        Step { number: self.number, name: self.name }
    }

    pub(crate) fn record(&self, now: Now) -> String {
        format!(
            "INSERT INTO gw.migrations (number, name, checksum, applied_at) VALUES ({}, '{}', '{}', {})",
            self.number,
            self.name,
            self.checksum(),
            now.micros()
        )
    }
}

/// Creates the table of applied migrations on both engines, where `TEXT` and `BIGINT` mean the same.
pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS gw.migrations \
     (number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/// The migrations that are not applied yet.
///
/// # Errors
/// [`Error::Refused`] when the database has a migration that this version does not know, or one with another
/// checksum.
pub(crate) fn pending(applied: &[Applied]) -> Result<Vec<&'static Migration>, Error> {
    for row in applied {
        let Some(known) = MIGRATIONS.iter().find(|step| step.number == row.number) else {
            return Err(Error::Refused(format!(
                "the database has migration {} of a newer version of Gatewright; run that version",
                row.number
            )));
        };
        if known.checksum() != row.checksum {
            return Err(Error::Refused(format!(
                "migration {} in the database differs from the one of this version; restore a backup or run \
                 the version that applied it",
                known.name
            )));
        }
    }
    Ok(MIGRATIONS.iter().filter(|step| applied.iter().all(|row| row.number != step.number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_and_names_begin_with_them() {
        let numbers: Vec<_> = MIGRATIONS.iter().map(|step| step.number).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        for step in MIGRATIONS {
            assert!(step.name.starts_with(&format!("{:04}_", step.number)), "{}", step.name);
        }
    }

    #[test]
    fn an_edited_or_unknown_step_is_refused() {
        let edited = [Applied { number: 1, checksum: "0".into() }];
        assert!(matches!(pending(&edited), Err(Error::Refused(why)) if why.contains("differs")));
        let newer = [Applied { number: 9999, checksum: String::new() }];
        assert!(matches!(pending(&newer), Err(Error::Refused(why)) if why.contains("newer")));
    }
}

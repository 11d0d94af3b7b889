//! Numbered, forward-only migrations, each in one transaction. Each states the lowest version of the program
//! that may run on it, so that the release before may, or may not.

use aws_lc_rs::digest;
use model::{Now, hex};

use crate::Error;

/// One migration, with its text for each engine.
pub(crate) struct Migration {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    /// The lowest version of the program that may run on the schema with this migration.
    lowest: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
}

/// Every migration, in order; listed by the build script from the folders of `migrations/`.
pub(crate) static MIGRATIONS: &[Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// A row of the table of applied migrations.
pub(crate) struct Applied {
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) checksum: String,
    pub(crate) lowest: String,
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
            "INSERT INTO gw.migrations (number, name, checksum, lowest_version, applied_at) \
             VALUES ({}, '{}', '{}', '{}', {})",
            self.number,
            self.name,
            self.checksum(),
            self.lowest,
            now.micros()
        )
    }
}

/// Creates the table of applied migrations on both engines, where `TEXT` and `BIGINT` mean the same.
/// `lowest_version` is the lowest version of the program that may run on the schema with the migration: a
/// program that does not know the migration goes by it.
pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS gw.migrations \
     (number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, lowest_version TEXT NOT NULL, \
     applied_at BIGINT NOT NULL)";
/// The columns of [`Applied`], and one more that another program's table may lack.
pub(crate) const APPLIED: &str =
    "SELECT number, name, checksum, lowest_version, applied_at FROM gw.migrations ORDER BY number";

/// The migrations that are not applied yet.
///
/// # Errors
/// [`Error::Refused`] when the database has a migration on which this version may not run, or one with
/// another checksum.
pub(crate) fn pending(applied: &[Applied]) -> Result<Vec<&'static Migration>, Error> {
    pending_for(applied, env!("CARGO_PKG_VERSION"))
}

/// [`pending`], for a program of the version `own`.
fn pending_for(applied: &[Applied], own: &str) -> Result<Vec<&'static Migration>, Error> {
    let known = |number: i64| MIGRATIONS.iter().find(|step| step.number == number);
    for row in applied {
        match known(row.number) {
            Some(step) if step.checksum() != row.checksum => {
                return Err(Error::Refused(format!(
                    "migration {} in the database differs from the one of this version; restore a backup or \
                     run the version that applied it",
                    step.name
                )));
            }
            Some(_) => {}
            None if Version::parse(&row.lowest).is_some_and(|lowest| Version::parse(own) >= Some(lowest)) => {
            }
            None => {
                return Err(Error::Refused(format!(
                    "the database has the migration {}, on which Gatewright {} and later run, and this is \
                     {own}: run such a version, or restore the backup that was made before the migration",
                    row.name, row.lowest
                )));
            }
        }
    }

    let newest = applied.iter().map(|row| row.number).max().unwrap_or(0);
    let pending: Vec<_> =
        MIGRATIONS.iter().filter(|step| applied.iter().all(|row| row.number != step.number)).collect();
    match pending.first() {
        // Two lines of development; none of their orders was tried.
        Some(step) if step.number < newest => Err(Error::Refused(format!(
            "the database lacks the migration {}, and has a later one: run the version that applied that",
            step.name
        ))),
        _ => Ok(pending),
    }
}

/// The migrations of newer versions, on which this one may run.
pub(crate) fn newer(applied: &[Applied]) -> Vec<String> {
    let is_known = |row: &&Applied| MIGRATIONS.iter().all(|step| step.number != row.number);
    applied.iter().filter(is_known).map(|row| row.name.clone()).collect()
}

/// Says that a newer version has changed the schema.
pub(crate) fn tell_newer(newer: &[String]) {
    if !newer.is_empty() {
        tracing::info!(
            migrations = newer.join(", "),
            "the schema is of a newer version, and this one may run on it"
        );
    }
}

/// A version of the program, as Semantic Versioning orders them.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: [u64; 3],
    /// A version with a word such as `rc.1` comes before the one without.
    is_released: bool,
    word: String,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let text = text.split_once('+').map_or(text, |(text, _)| text);
        let (numbers, word) = text.split_once('-').unwrap_or((text, ""));
        let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then(|| Self { numbers, is_released: word.is_empty(), word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Applied> {
        let row = |step: &Migration| Applied {
            number: step.number,
            name: step.name.to_owned(),
            checksum: step.checksum(),
            lowest: step.lowest.to_owned(),
        };
        MIGRATIONS.iter().map(row).collect()
    }

    fn with(number: i64, lowest: &str) -> Vec<Applied> {
        let (name, lowest) = (format!("{number}_later"), lowest.to_owned());
        let later = Applied { number, name, checksum: String::new(), lowest };
        all().into_iter().chain([later]).collect()
    }

    #[test]
    fn numbers_grow_names_begin_with_them_and_this_version_may_run() {
        let numbers: Vec<_> = MIGRATIONS.iter().map(|step| step.number).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        for step in MIGRATIONS {
            assert!(step.name.starts_with(&format!("{:04}_", step.number)), "{}", step.name);
            assert!(
                Version::parse(step.lowest) <= Version::parse(env!("CARGO_PKG_VERSION")),
                "{}",
                step.name
            );
        }
        let lowest: Vec<_> = MIGRATIONS.iter().map(|step| Version::parse(step.lowest)).collect();
        assert!(lowest.is_sorted(), "a later step never runs with an older program than one before");
    }

    #[test]
    fn an_edited_step_is_refused() {
        let mut edited = all();
        edited[0].checksum = "0".into();
        assert!(matches!(pending(&edited), Err(Error::Refused(why)) if why.contains("differs")));
    }

    #[test]
    fn a_newer_schema_is_used_from_its_lowest_version_on() {
        for (lowest, own, runs) in [
            ("1.4.0", "1.4.0", true),
            ("1.4.0", "1.10.0", true),
            ("1.4.0", "2.0.0-rc.1", true),
            ("1.4.0", "1.3.9", false),
            ("1.4.0", "1.4.0-rc.1", false),
            ("not a version", "1.4.0", false),
            ("", "1.4.0", false),
        ] {
            match pending_for(&with(9999, lowest), own) {
                Ok(pending) => assert!(runs && pending.is_empty(), "{lowest} {own}"),
                Err(why) => {
                    let why = why.to_string();
                    assert!(
                        !runs && why.contains("9999_later") && why.contains(own),
                        "{lowest} {own}: {why}"
                    );
                    assert!(why.contains(lowest) && why.contains("backup"), "{why}");
                }
            }
        }

        assert_eq!(newer(&with(9999, "0.1.0")), ["9999_later"]);
        assert!(newer(&all()).is_empty());
    }

    #[test]
    fn every_newer_step_counts_and_a_gap_is_refused() {
        let mut two = with(9998, "9.9.9");
        two.extend(with(9999, "0.0.1").pop());
        assert!(pending_for(&two, "1.0.0").is_err(), "a later step does not lift what an earlier one says");
        let mut gap = with(9999, "0.0.1");
        gap.remove(2);
        assert!(matches!(pending_for(&gap, "1.0.0"), Err(Error::Refused(why)) if why.contains("lacks")));
        assert_eq!(pending(&all()[..2]).unwrap().len(), MIGRATIONS.len() - 2);
    }
}

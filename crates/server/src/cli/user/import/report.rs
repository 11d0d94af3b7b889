//! The results of an import: counts, the first refused rows, and a file with every row.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use auth::account::{AccountOutline, Importer, Outcome, Verdict};
use serde_json::{Value, json};
use store::queries::user::State;

use super::super::super::{Failure, Output};
use crate::app::file_owner::as_operator;

/// Refused rows that are printed one by one, and rows of a dry run that are shown.
const SHOWN: usize = 20;
const COLUMNS: [&str; 8] = ["line", "email", "username", "old_id", "state", "role", "password", "outcome"];

/// The results of all rows.
#[derive(Default)]
pub(super) struct Tally {
    imported: u64,
    updated: u64,
    unchanged: u64,
    pub(super) refused: u64,
    warned: u64,
    inactive: u64,
    without_password: u64,
    without_email: u64,
    factors_kept: u64,
    pub(super) factors_lost: u64,
    /// Kinds of password hashes.
    kinds: BTreeMap<&'static str, u64>,
    /// The first refused rows.
    shown: Vec<(u64, String)>,
    /// The first rows of a dry run.
    table: Vec<Value>,
}

impl Tally {
    pub(super) fn rows(&self) -> u64 {
        self.imported + self.updated + self.unchanged + self.refused
    }

    pub(super) fn count(&mut self, outcome: Outcome) {
        if self.table.len() < SHOWN {
            self.table.push(table_row(&outcome));
        }
        self.warned += u64::from(!outcome.warnings.is_empty());

        let is_new = match outcome.verdict {
            Verdict::Imported(_) => {
                self.imported += 1;
                true
            }
            Verdict::Updated(_) => {
                self.updated += 1;
                false
            }
            Verdict::Unchanged(_) => {
                self.unchanged += 1;
                false
            }
            Verdict::Refused(reason) => {
                self.refused += 1;
                if self.shown.len() < SHOWN {
                    self.shown.push((outcome.line, reason));
                }
                false
            }
        };
        if let Some(account) = outcome.account.filter(|account| is_new && account.state != State::Erased) {
            self.count_account(&account);
        }
    }

    fn count_account(&mut self, account: &AccountOutline) {
        self.inactive += u64::from(account.state == State::Inactive);
        self.without_email += u64::from(!account.has_email);
        self.factors_kept += account.second_factors as u64;
        match account.password {
            Some(kind) => *self.kinds.entry(kind).or_default() += 1,
            None => self.without_password += 1,
        }
    }

    /// Prints the counts, the first refused rows and what was ignored.
    pub(super) fn tell(
        &self,
        importer: &Importer,
        roles: &BTreeMap<String, u64>,
        dry_run: bool,
        out: &mut Output,
    ) -> io::Result<()> {
        if dry_run && !out.is_json() && !self.table.is_empty() {
            out.table(&COLUMNS, &self.table)?;
            let more = self.rows().saturating_sub(self.table.len() as u64);
            out.line(&if more > 0 { format!("and {more} rows more\n") } else { String::new() })?;
        }
        for (line, reason) in &self.shown {
            out.line(&format!("line {line}: {reason}"))?;
        }
        let more = self.refused.saturating_sub(self.shown.len() as u64);
        if more > 0 {
            out.line(&format!("and {more} more; --report FILE lists them all"))?;
        }

        let kinds: Vec<String> = self.kinds.iter().map(|(kind, number)| format!("{kind} {number}")).collect();
        let names: Vec<String> = roles.iter().map(|(role, number)| format!("{role} {number}")).collect();
        let ignored: Vec<&str> = importer.ignored().collect();
        for (what, list) in [("passwords", kinds.join(", ")), ("roles", names.join(", "))] {
            if !list.is_empty() {
                out.line(&format!("{what}: {list}"))?;
            }
        }
        for (number, what) in self.remarks() {
            if number > 0 {
                out.line(&format!("{what}: {number}"))?;
            }
        }
        if !ignored.is_empty() {
            out.line(&format!("ignored: {}", ignored.join(", ")))?;
        }
        out.tell(&self.sentence(dry_run), &self.value(dry_run, &ignored, roles))
    }

    fn remarks(&self) -> [(u64, &'static str); 6] {
        [
            (self.inactive, "accounts that cannot log in"),
            (self.without_password, "accounts without a password"),
            (self.without_email, "accounts without an email"),
            (self.factors_kept, "second factors kept"),
            (self.factors_lost, "accounts whose second factor is lost"),
            (self.warned, "rows with warnings"),
        ]
    }

    fn sentence(&self, dry_run: bool) -> String {
        let Self { imported, updated, unchanged, refused, .. } = self;
        let verb = if dry_run { "would be imported" } else { "imported" };
        let updated = if *updated > 0 { format!("{updated} updated, ") } else { String::new() };
        format!("{imported} {verb}, {updated}{unchanged} unchanged, {refused} refused")
    }

    fn value(&self, dry_run: bool, ignored: &[&str], roles: &BTreeMap<String, u64>) -> Value {
        json!({
            "dry_run": dry_run,
            "imported": self.imported,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "refused": self.refused,
            "inactive": self.inactive,
            "without_password": self.without_password,
            "without_email": self.without_email,
            "second_factors_kept": self.factors_kept,
            "second_factors_lost": self.factors_lost,
            "with_warnings": self.warned,
            "passwords": self.kinds,
            "roles": roles,
            "ignored": ignored,
            "first_refused": self.shown.iter()
                .map(|(line, reason)| json!({"line": line, "reason": reason})).collect::<Vec<Value>>(),
        })
    }
}

/// A row of the table that a dry run prints.
fn table_row(outcome: &Outcome) -> Value {
    let account = outcome.account.as_ref();
    let word = match &outcome.verdict {
        Verdict::Imported(_) => "imported",
        Verdict::Updated(_) => "updated",
        Verdict::Unchanged(_) => "unchanged",
        Verdict::Refused(_) => "refused",
    };
    json!({
        "line": outcome.line,
        "email": outcome.label.email,
        "username": outcome.label.username,
        "old_id": outcome.label.old_id,
        "state": account.map(|account| account.state.as_str()),
        "role": account.map(|account| account.role.as_str()),
        "password": account.map(|account| account.password.unwrap_or("none")),
        "outcome": word,
    })
}

/// The results of all rows, in a file. Every batch is written before the next one is imported.
pub(super) struct Report {
    to: File,
    path: PathBuf,
}

impl Report {
    /// Creates a new file; an existing one is refused, because it may be the import's own input.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = as_operator(|| File::create_new(path)).map_err(|why| match why.kind() {
            io::ErrorKind::AlreadyExists => Failure::failed(format!(
                "{} exists already: remove it, or choose another file for the report",
                path.display()
            )),
            _ => unwritable(path, &why),
        })?;
        Ok(Self { to: file, path: path.to_owned() })
    }

    /// Writes a batch of rows.
    pub(super) fn write(&mut self, outcomes: &[Outcome]) -> Result<(), Failure> {
        let rows: Vec<String> = outcomes.iter().map(|outcome| format!("{}\n", report_row(outcome))).collect();
        self.to.write_all(rows.concat().as_bytes()).map_err(|why| unwritable(&self.path, &why))
    }
}

fn report_row(outcome: &Outcome) -> Value {
    let (word, id, reason) = match &outcome.verdict {
        Verdict::Imported(id) => ("imported", *id, None),
        Verdict::Updated(id) => ("updated", Some(*id), None),
        Verdict::Unchanged(id) => ("unchanged", Some(*id), None),
        Verdict::Refused(reason) => ("refused", None, Some(reason)),
    };
    let mut row = json!({"line": outcome.line, "outcome": word});
    let label = &outcome.label;
    let members = [
        ("id", id.map(|id| json!(id))),
        ("old_id", label.old_id.as_ref().map(|text| json!(text))),
        ("email", label.email.as_ref().map(|text| json!(text))),
        ("username", label.username.as_ref().map(|text| json!(text))),
        ("reason", reason.map(|text| json!(text))),
        ("warnings", Some(json!(outcome.warnings)).filter(|_| !outcome.warnings.is_empty())),
    ];
    if let Value::Object(object) = &mut row {
        object.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    row
}

fn unwritable(path: &Path, why: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {why}", path.display()))
}

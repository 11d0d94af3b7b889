//! `--check` and `--pepper-file`: secrets, and one known password before anything is imported.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use auth::OpContext;
use auth::account::{CheckError, ImportOptions, check_import};
use model::{Email, Secret};
use serde_json::{Map, Value};

use super::super::super::secret::first_line;
use super::super::super::{Failure, Output};
use crate::app::file_owner::as_operator;

/// Longest file of a pepper that is read, in bytes.
const PEPPER_BYTES: u64 = 4096;

/// The secret in the first line of a file.
pub(super) fn pepper(path: &Path) -> Result<Secret<Vec<u8>>, Failure> {
    let name = path.display().to_string();
    let file = as_operator(|| File::open(path))
        .map_err(|why| Failure::failed(format!("{name} cannot be read: {why}")))?;
    let line = first_line(BufReader::new(file.take(PEPPER_BYTES)), &name)?;
    Ok(Secret::new(line.expose().as_bytes().to_vec()))
}

/// Whether a row is of the person with this email or username.
pub(super) fn is_of(row: &Map<String, Value>, name: &str) -> bool {
    let key = |text: &str| {
        Email::parse(text).map_or_else(|_| text.trim().to_lowercase(), |email| email.key().to_owned())
    };
    let text = |member: &str| row.get(member).and_then(Value::as_str).map(key);
    let wanted = Some(key(name));
    text("email") == wanted || text("username") == wanted
}

/// Checks a known password against the hash of a row.
pub(super) async fn check(
    (ctx, out): (&mut OpContext<'_>, &mut Output),
    row: Map<String, Value>,
    options: &ImportOptions,
    (name, password): (&str, &Secret<String>),
) -> Result<(), Failure> {
    match check_import(ctx, row, options, password).await {
        Ok(kind) => Ok(out.line(&format!("the password of {name} matches the {kind} hash in the file"))?),
        Err(why @ CheckError::Refused(_)) => Err(Failure::failed(why.to_string())),
        Err(why) => Err(Failure::failed(format!("--check {name}: {why}; nothing was imported"))),
    }
}

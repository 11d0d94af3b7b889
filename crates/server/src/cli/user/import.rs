//! `gatewright user import`

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use auth::OpContext;
use auth::account::{Importer, Verdict};
use clap::Args;
use protocol::wire::password_hash::FirebaseProject;
use serde_json::{Value, json};

use super::super::command_context::CommandContext;
use super::super::progress::Progress;
use super::super::{Failure, Global, Output};
use super::rows::{Format, Rows};
use crate::app::bootstrap::IfMissing;
use crate::app::file_owner::as_operator;
use crate::config::Config;

/// Refused rows that are printed one by one.
const SHOWN: usize = 20;
/// Longest file of Firebase hash parameters that is read, in bytes.
const PROJECT_BYTES: u64 = 4096;

#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The format; without it, the extension of the file's name decides
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Validates every row and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Writes the result of each row into this new file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The JSON file with the hash parameters of a Firebase project, for hashes from there
    ///
    /// Its members are those that the Firebase console shows: `base64_signer_key`, `base64_salt_separator`,
    /// `rounds` and `mem_cost`. The signer key is not stored.
    #[arg(long, value_name = "FILE")]
    firebase_project: Option<PathBuf>,
}

/// The results of all rows.
#[derive(Default)]
struct Tally {
    imported: u64,
    unchanged: u64,
    refused: u64,
    /// The first refused rows, with their lines.
    shown: Vec<(u64, String)>,
}

impl Import {
    pub(in crate::cli) async fn run(
        self,
        global: &Global,
        config: Config,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let format = Format::of(self.format, &self.file).ok_or_else(|| {
            Failure::usage("the file's name does not show the format: give --format jsonl or csv")
        })?;
        let firebase = self.firebase_project.as_deref().map(project).transpose()?;
        let (from, size) = self.open()?;
        let name = self.file.display();
        let mut rows = Rows::open(from, format)
            .map_err(|why| Failure::failed(format!("{name} cannot be read: {why}")))?;
        let missing = if self.dry_run { IfMissing::Fail } else { IfMissing::Create };
        let command = CommandContext::open(global, config, missing).await?;
        if !self.dry_run {
            command.ensure_auditable().await?;
        }
        let mut report = self.report.as_deref().map(Report::create).transpose()?;
        let mut lease = command.lease();
        let ctx = &mut command.op_context(&mut lease);

        let mut importer = Importer::new(firebase, self.dry_run);
        let mut tally = Tally::default();
        let progress = Progress::begin(size);
        // When the file cannot be read to its end, the rows before that are still imported.
        let mut ended = Ok(());
        loop {
            if let Err(stopped) = global.interrupt.check() {
                ended = Err(stopped.and("run the import again, and it goes on with the other rows"));
                break;
            }
            let row = match rows.next() {
                Ok(row) => row,
                Err(why) => {
                    ended = Err(Failure::failed(format!("{name} cannot be read any further: {why}")));
                    None
                }
            };
            let more = row.is_some();
            let full = row.is_some_and(|(line, row)| importer.add(ctx, line, row));
            if full || !more {
                // Clears the progress line before the log writes to standard error.
                progress.hide();
                batch(&mut importer, ctx, &mut tally, report.as_mut()).await?;
                progress.show(rows.bytes, format!("{} rows", tally.rows()));
            }
            if !more {
                break;
            }
        }
        drop(progress);
        if let Some(report) = report {
            report.finish()?;
        }
        tally.tell(&importer, self.dry_run, out)?;
        ended?;
        match tally.refused {
            0 => Ok(()),
            refused => Err(Failure::failed(format!("{refused} of {} rows were refused", tally.rows()))),
        }
    }

    /// The file and, where it is known, its size.
    fn open(&self) -> Result<(Box<dyn BufRead>, Option<u64>), Failure> {
        if self.file == Path::new("-") {
            return Ok((Box::new(BufReader::new(io::stdin())), None));
        }
        let file = as_operator(|| File::open(&self.file)).map_err(|why| unreadable(&self.file, &why))?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
        Ok((Box::new(BufReader::with_capacity(64 * 1024, file)), size))
    }
}

/// Imports a batch of rows, and reports their results.
async fn batch(
    importer: &mut Importer,
    ctx: &mut OpContext<'_>,
    tally: &mut Tally,
    mut report: Option<&mut Report>,
) -> Result<(), Failure> {
    for (line, verdict) in importer.flush(ctx).await? {
        if let Some(report) = &mut report {
            report.write(line, &verdict)?;
        }
        tally.count(line, verdict);
    }
    Ok(())
}

fn unreadable(path: &Path, why: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be read: {why}", path.display()))
}

fn project(path: &Path) -> Result<FirebaseProject, Failure> {
    let mut text = String::new();
    let read =
        as_operator(|| File::open(path)).and_then(|file| file.take(PROJECT_BYTES).read_to_string(&mut text));
    read.map_err(|why| unreadable(path, &why))?;
    FirebaseProject::parse(&text).map_err(|why| Failure::failed(format!("{}: {why}", path.display())))
}

impl Tally {
    fn rows(&self) -> u64 {
        self.imported + self.unchanged + self.refused
    }

    fn count(&mut self, line: u64, verdict: Verdict) {
        match verdict {
            Verdict::Imported(_) => self.imported += 1,
            Verdict::Unchanged(_) => self.unchanged += 1,
            Verdict::Refused(reason) => {
                self.refused += 1;
                if self.shown.len() < SHOWN {
                    self.shown.push((line, reason));
                }
            }
        }
    }

    fn tell(&self, importer: &Importer, dry_run: bool, out: &mut Output) -> io::Result<()> {
        for (line, reason) in &self.shown {
            out.line(&format!("line {line}: {reason}"))?;
        }
        let more = self.refused.saturating_sub(self.shown.len() as u64);
        if more > 0 {
            out.line(&format!("and {more} more; --report FILE lists them all"))?;
        }

        let ignored: Vec<&str> = importer.ignored().collect();
        if !ignored.is_empty() {
            out.line(&format!("ignored: {}", ignored.join(", ")))?;
        }
        let Self { imported, unchanged, refused, .. } = self;
        let verb = if dry_run { "would be imported" } else { "imported" };

        out.tell(
            &format!("{imported} {verb}, {unchanged} unchanged, {refused} refused"),
            &json!({
                "dry_run": dry_run,
                "imported": imported,
                "unchanged": unchanged,
                "refused": refused,
                "ignored": ignored,
                "first_refused": self.shown.iter()
                    .map(|(line, reason)| json!({"line": line, "reason": reason})).collect::<Vec<Value>>(),
            }),
        )
    }
}

/// The results of all rows, in a file.
struct Report {
    to: BufWriter<File>,
    path: PathBuf,
}

impl Report {
    /// Creates a new file; an existing one is refused, because it may be the import's own input.
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = as_operator(|| File::create_new(path)).map_err(|why| match why.kind() {
            io::ErrorKind::AlreadyExists => Failure::failed(format!(
                "{} exists already: remove it, or choose another file for the report",
                path.display()
            )),
            _ => unwritable(path, &why),
        })?;
        Ok(Self { to: BufWriter::new(file), path: path.to_owned() })
    }

    fn write(&mut self, line: u64, verdict: &Verdict) -> Result<(), Failure> {
        let row = match verdict {
            Verdict::Imported(id) => json!({"line": line, "outcome": "imported", "id": id}),
            Verdict::Unchanged(id) => json!({"line": line, "outcome": "unchanged", "id": id}),
            Verdict::Refused(reason) => json!({"line": line, "outcome": "refused", "reason": reason}),
        };
        writeln!(self.to, "{row}").map_err(|why| unwritable(&self.path, &why))
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.to.flush().map_err(|why| unwritable(&self.path, &why))
    }
}

fn unwritable(path: &Path, why: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {why}", path.display()))
}

//! `gatewright user export`

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use auth::OpContext;
use auth::account::{self, EXPORT_HASH_MEMBERS, EXPORT_MEMBERS};
use clap::Args;
use model::UserId;
use serde_json::{Value, json};

use super::super::interrupt::Interrupt;
use super::super::progress::Progress;
use super::super::{Failure, Output};
use super::PAGE;
use super::rows::{Format, table_row};
use crate::app::file_owner::as_operator;

#[derive(Args, Debug)]
pub(in crate::cli) struct Export {
    /// The file to create, readable only by its owner, or `-` for standard output
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// The format; without it, the extension of the file's name decides, and standard output gets JSON Lines
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Includes the password hashes
    ///
    /// They are for a move to another instance or system: an attacker who obtains the file can guess the
    /// passwords of all users offline. Erase the file after the move.
    #[arg(long)]
    with_hashes: bool,
}

impl Export {
    pub(in crate::cli) async fn run(
        self,
        interrupt: &Interrupt,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let to_output = self.file == Path::new("-");
        let format =
            Format::of(self.format, &self.file).or(to_output.then_some(Format::Jsonl)).ok_or_else(|| {
                Failure::usage("the file's name does not show the format: give --format jsonl or csv")
            })?;

        if to_output {
            let mut to = BufWriter::new(io::stdout().lock());
            self.write((interrupt, ctx), format, &mut to, Failure::from).await?;
            return Ok(());
        }

        let unwritable = |why: io::Error| Failure::unwritable(&self.file, &why);
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file);
        let mut to = BufWriter::new(as_operator(create).map_err(unwritable)?);
        let _unfinished = interrupt.unfinished(&self.file);
        match self.write((interrupt, ctx), format, &mut to, unwritable).await {
            Ok(users) => {
                to.get_ref().sync_all().map_err(unwritable)?;
                let file = self.file.display().to_string();
                Ok(out.tell(
                    &format!("{users} users were exported to {file}"),
                    &json!({"users": users, "file": file}),
                )?)
            }
            Err(why) => {
                // Removes the partial export. An error here is ignored: the write error is reported.
                let _ = as_operator(|| std::fs::remove_file(&self.file));
                Err(why)
            }
        }
    }

    /// Writes every account; returns their count.
    async fn write(
        &self,
        (interrupt, ctx): (&Interrupt, &mut OpContext<'_>),
        format: Format,
        to: &mut impl Write,
        failed: impl Fn(io::Error) -> Failure,
    ) -> Result<u64, Failure> {
        let hashes: &[&str] = if self.with_hashes { &EXPORT_HASH_MEMBERS } else { &[] };
        let columns: Vec<&str> = EXPORT_MEMBERS.iter().chain(hashes).copied().collect();
        account::begin_export(ctx, self.with_hashes);
        if format == Format::Csv {
            to.write_all(table_row(columns.iter().copied()).as_bytes()).map_err(&failed)?;
        }
        let progress = Progress::begin(None);
        let (mut after, mut users) = (UserId(0), 0);

        loop {
            interrupt.check()?;
            let page = account::export_page(ctx, after, PAGE).await?;
            // Returns the connection to the pool while the page is written, which may be slow.
            ctx.lease.park();
            let Some(last) = page.last() else { break };
            after = last.id;
            for user in &page {
                let members = account::export_members(ctx.services, user, self.with_hashes);
                let row = match format {
                    Format::Jsonl => Value::Object(members).to_string() + "\n",
                    Format::Csv => {
                        let cells: Vec<String> =
                            columns.iter().map(|name| cell(members.get(*name))).collect();
                        table_row(cells.iter().map(String::as_str))
                    }
                };
                to.write_all(row.as_bytes()).map_err(&failed)?;
                users += 1;
            }
            progress.show(users, format!("{users} users"));
        }

        to.flush().map_err(failed)?;
        Ok(users)
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

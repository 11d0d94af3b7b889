//! `gatewright audit export`

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use journal::{Hash, JournalId};
use serde_json::{Map, Value, json};
use store::audit_db::{Cursor, Record};

use super::super::looking::Looking;
use super::super::progress::Progress;
use super::super::user::rows::{Format, table_row};
use super::tail::short_actor;
use super::{Failure, Global, Output, PAGE, Selected, Which};
use crate::app::file_owner::as_operator;
use crate::config::Config;

/// Columns of a table; `event` is the whole event as JSON.
const COLUMNS: [&str; 8] = ["at", "journal", "sequence", "kind", "user", "actor", "request_id", "event"];
/// Further columns with `--proof`.
const PROOF: [&str; 4] = ["time", "record_kind", "payload", "hash"];

#[derive(Args, Debug)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    which: Which,
    /// The file to create, readable only by its owner, or `-` for standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// The format; without it, the extension of the file's name decides, and standard output gets JSON Lines
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Adds what proves each record: its exact time and payload (Base64), and the hash of the chain
    ///
    /// The hash of a record is SHA-256 over the previous hash, its sequence, time, kind and payload. With
    /// every record of a journal, checkpoints included, the chain can be verified without this server; with
    /// `--user` or `--kind` records are missing.
    #[arg(long)]
    proof: bool,
}

impl Export {
    pub(super) async fn run(self, given: (&Global, &Config), out: &mut Output) -> Result<(), Failure> {
        let to_output = self.out == Path::new("-");
        let format = Format::of(self.format, &self.out).or(to_output.then_some(Format::Jsonl));
        let format = format.ok_or_else(|| {
            Failure::usage("the file's name does not show the format: give --format jsonl or csv")
        })?;

        let trail = Looking::begin(given.1).await?;
        // A chain has no gaps.
        let checkpoints = self.which.checkpoints || self.proof;
        let which = Which { checkpoints, ..self.which.clone() };
        let mut selected = which.open(given, &trail, false).await?;
        if to_output {
            let mut to = BufWriter::new(io::stdout().lock());
            self.write(&trail, &mut selected, format, &mut to, Failure::from).await?;
            return Ok(());
        }

        let unwritable = |why: io::Error| Failure::unwritable(&self.out, &why);
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.out);
        let mut to = BufWriter::new(as_operator(create).map_err(unwritable)?);
        let _unfinished = given.0.interrupt.unfinished(&self.out);
        match self.write(&trail, &mut selected, format, &mut to, unwritable).await {
            Ok(events) => {
                to.get_ref().sync_all().map_err(unwritable)?;
                let file = self.out.display().to_string();
                let text = format!("{events} events were exported to {file}");
                Ok(out.tell(&text, &json!({"events": events, "file": file}))?)
            }
            Err(why) => {
                // Removes the partial export. An error here is ignored: the write error is reported.
                let _ = as_operator(|| std::fs::remove_file(&self.out));
                Err(why)
            }
        }
    }

    /// Writes every event; returns their count.
    async fn write(
        &self,
        trail: &Looking,
        Selected { filter, details }: &mut Selected,
        format: Format,
        to: &mut impl Write,
        failed: impl Fn(io::Error) -> Failure,
    ) -> Result<u64, Failure> {
        let proof: &[&str] = if self.proof { &PROOF } else { &[] };
        let columns: Vec<&str> = COLUMNS.iter().chain(proof).copied().collect();
        if format == Format::Csv {
            to.write_all(table_row(columns.iter().copied()).as_bytes()).map_err(&failed)?;
        }

        let progress = Progress::begin(None);
        let (mut after, mut events) = (Cursor::before(filter.from), 0);

        loop {
            let page = trail.audit.page(filter, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.cursor();
            for record in &page {
                let event = details.event(record).await?;
                let row = match format {
                    Format::Jsonl => self.line(record, event),
                    Format::Csv => {
                        let cells: Vec<String> =
                            columns.iter().map(|name| cell(name, record, &event)).collect();
                        table_row(cells.iter().map(String::as_str))
                    }
                };
                to.write_all(row.as_bytes()).map_err(&failed)?;
                events += 1;
            }
            progress.show(events, format!("{events} events"));
        }

        to.flush().map_err(failed)?;
        Ok(events)
    }

    fn line(&self, record: &Record, mut event: Map<String, Value>) -> String {
        if self.proof {
            let proof = json!({
                "time": record.at.micros(),
                "record_kind": record.record_kind,
                "payload": STANDARD.encode(&record.payload),
                "hash": Hash(record.hash).to_string(),
            });
            event.insert("proof".to_owned(), proof);
        }
        Value::Object(event).to_string() + "\n"
    }
}

fn cell(name: &str, record: &Record, event: &Map<String, Value>) -> String {
    match name {
        "journal" => JournalId(record.journal).to_string(),
        "sequence" => record.sequence.to_string(),
        "kind" => record.kind.clone(),
        "actor" => event.get("actor").map(short_actor).unwrap_or_default(),
        "event" => Value::Object(event.clone()).to_string(),
        "time" => record.at.micros().to_string(),
        "record_kind" => record.record_kind.to_string(),
        "payload" => STANDARD.encode(&record.payload),
        "hash" => Hash(record.hash).to_string(),
        other => match event.get(other) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        },
    }
}

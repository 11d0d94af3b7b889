//! `gatewright audit verify`

use std::path::PathBuf;

use audit::verify::{Checked, DeadLetters, Finding, Known, KnownHead, Signatures, database, files, heads};
use clap::Args;
use journal::Head;
use model::Now;
use serde_json::{Value, json};

use super::super::failure::Code;
use super::super::looking::Looking;
use super::super::progress::Progress;
use super::{Failure, Output};
use crate::app::audit_setup::{JournalOwner, audit_dir, kept_successions, node_name};
use crate::app::file_owner::{AsOperator, as_operator};
use crate::app::master_key::{self, MasterKeyError};
use crate::config::Config;

#[derive(Args, Debug)]
pub(in crate::cli) struct Verify {
    /// The directory of a journal; without it, those of this data directory
    #[arg(long, value_name = "DIR", conflicts_with = "database")]
    journal: Option<PathBuf>,
    /// Verifies what is in the database instead of files
    #[arg(long)]
    database: bool,
    /// A record that is known from elsewhere, such as the end that an earlier verification told; vouches for
    /// those before it; may be repeated
    #[arg(long, value_name = "JOURNAL:SEQUENCE:HASH")]
    head: Vec<KnownHead>,
    /// What a sink has kept, as JSON Lines: its checkpoints and last records have to be there; may be
    /// repeated
    #[arg(long, value_name = "FILE")]
    heads: Vec<PathBuf>,
    /// Dead letters of another node, which tell what its shipper has set aside; may be repeated
    ///
    /// A record that the database refused stands there whole, as `audit_set_aside`. What could not be read at
    /// all, or was set aside by an older version, only the node's `dead-letter.jsonl` tells; those of this
    /// data directory are read anyway.
    #[arg(long = "dead-letters", value_name = "FILE", requires = "database")]
    dead_letters: Vec<PathBuf>,
    /// Accepts records, dead letters and removals that no signature covers, where signatures can be checked;
    /// wrong signatures stay findings
    #[arg(long)]
    allow_unsigned: bool,
    /// Does not ask the database what it knows of the files' journal
    #[arg(long, conflicts_with = "database")]
    offline: bool,
}

impl Verify {
    pub(super) async fn run(self, config: &Config, out: &mut Output) -> Result<(), Failure> {
        let keyring = match master_key::read(&config.master_key_file) {
            Ok(keyring) => Some(keyring),
            Err(MasterKeyError::Missing(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let trail = if self.offline { None } else { Some(Looking::begin(config).await) };
        let trail = match trail {
            Some(Err(why)) if !self.database => {
                out.line(&format!("what the database knows was not compared: {why}"))?;
                None
            }
            trail => trail.transpose()?,
        };

        let mut signatures = Signatures::of(keyring.as_ref()).allow_unsigned(self.allow_unsigned);
        signatures.accept(&kept_successions(&config.data_dir)?);
        if let Some(trail) = &trail {
            signatures.accept(&trail.successions().await?);
        }
        let mut kept = Vec::new();
        for path in &self.heads {
            kept.extend(as_operator(|| heads::read(path, &signatures))?);
        }
        let named = self.head.iter().map(|known| known.0).collect();
        let known = Known { named, kept, signatures, now: now() };

        let checked = match &trail {
            Some(trail) if self.database => self.rows(config, trail, &known).await?,
            trail => self.files(config, trail.as_ref(), &known).await?,
        };
        if checked.iter().all(|one| one.journal.is_none() && one.finding.is_none()) {
            let place = if self.database { "the database".into() } else { config.data_dir.to_string_lossy() };
            return Err(Failure::failed(format!("there is no journal in {place}")).code(Code::AuditFinding));
        }
        tell(out, &checked, self.database, &known.signatures)?;
        let required = known.signatures.are_required();
        let bad: Vec<String> = checked.iter().flat_map(|one| complaints(one, required)).collect();
        if bad.is_empty() { Ok(()) } else { Err(Failure::failed(bad.join("\n")).code(Code::AuditFinding)) }
    }

    async fn rows(&self, config: &Config, trail: &Looking, known: &Known) -> Result<Vec<Checked>, Failure> {
        let ours = audit_dirs(config).map(|place| place.join("dead-letter.jsonl"));
        let paths: Vec<PathBuf> = ours.into_iter().chain(self.dead_letters.iter().cloned()).collect();
        let letters = as_operator(|| DeadLetters::read(&paths))?;
        let local = audit_dirs(config).map(|place| place.join("journal"));
        let mut bar = Bar::default();
        let mut progress = |done, total| bar.show(done, total, format!("{done} records"));
        Ok(database::verify(&trail.audit, known, &letters, &local, &mut progress).await?)
    }

    async fn files(
        &self,
        config: &Config,
        trail: Option<&Looking>,
        known: &Known,
    ) -> Result<Vec<Checked>, Failure> {
        let directories: Vec<PathBuf> = match &self.journal {
            Some(directory) => vec![directory.clone()],
            None => audit_dirs(config).map(|place| place.join("journal")).to_vec(),
        };

        let audit = trail.map(|trail| &trail.audit);
        let _operator = self.journal.is_some().then(AsOperator::begin);
        let mut bar = Bar::default();
        let mut progress = |done, total| bar.show(done, total, format!("{} MiB", done >> 20));
        Ok(files::verify(&directories, &node_name(), audit, known, &mut progress).await?)
    }
}

/// The directories of both journals of this node.
fn audit_dirs(config: &Config) -> [PathBuf; 2] {
    [JournalOwner::Server, JournalOwner::Command].map(|writes| audit_dir(&config.data_dir, writes))
}

/// One bar for each journal, which differ in their totals.
#[derive(Default)]
struct Bar(Option<(u64, Progress)>);

impl Bar {
    fn show(&mut self, done: u64, total: u64, text: String) {
        // The line of the bar before goes first.
        self.0.take_if(|(known, _)| *known != total);
        let (_, bar) = self.0.get_or_insert_with(|| (total, Progress::begin(Some(total))));
        bar.show(done, text);
    }
}

fn tell(out: &mut Output, checked: &[Checked], database: bool, known: &Signatures) -> Result<(), Failure> {
    let signatures = if known.are_checked() { "checked" } else { "not checked: there is no master key file" };
    out.value(&json!({
        "ok": checked.iter().all(|one| one.is_right(known)),
        "source": if database { "database" } else { "files" },
        "at": now(),
        "signatures": signatures,
        "journals": checked.iter().map(value).collect::<Vec<_>>(),
    }))?;

    for one in checked {
        let name = one.journal.map_or_else(|| "no journal".to_owned(), |id| format!("journal {id}"));
        out.line(&format!("{name} ({})", one.source))?;
        let counts = one.counts;
        out.line(&format!(
            "  {} records and {} checkpoints are proved, {} known heads were met; signatures {signatures}",
            counts.records, counts.checkpoints, counts.heads
        ))?;
        let asides = one.set_aside.iter().map(ToString::to_string);
        let unvouched = one.unvouched.iter().map(ToString::to_string);
        for note in one.notes.iter().map(ToString::to_string).chain(asides).chain(unvouched) {
            out.line(&format!("  {note}"))?;
        }
        if let Some(end) = one.end {
            out.line(&format!("  the end: {}", KnownHead(end)))?;
        }
    }
    Ok(())
}

/// What is wrong with a journal, in one line each.
fn complaints(checked: &Checked, required: bool) -> Vec<String> {
    let journal = checked.journal.map_or_else(|| "a journal".to_owned(), |id| format!("journal {id}"));
    let unvouched = checked.unvouched.iter().filter(|_| required).map(ToString::to_string);
    let finding = checked.finding.iter().map(ToString::to_string);
    finding.chain(unvouched).map(|what| format!("{journal}, {what}")).collect()
}

/// A journal for programs.
fn value(checked: &Checked) -> Value {
    let head = |head: Head| json!({"sequence": head.sequence, "hash": head.hash.to_string()});
    let asides = checked
        .set_aside
        .iter()
        .map(|one| json!({"from": one.from, "to": one.to, "reason": one.reason, "proved": one.proved}));
    json!({
        "journal": checked.journal.map(|id| id.to_string()),
        "source": checked.source.to_string(),
        "records": checked.counts.records,
        "checkpoints": checked.counts.checkpoints,
        "heads": checked.counts.heads,
        "heads_before": checked.counts.heads_before,
        "start": checked.start.map(head),
        "end": checked.end.map(head),
        "notes": checked.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "set_aside": asides.collect::<Vec<_>>(),
        "unvouched": checked.unvouched.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "finding": checked.finding.as_ref().map(place),
    })
}

/// A finding for programs.
fn place(finding: &Finding) -> Value {
    match finding {
        Finding::Segment { finding, .. } => json!({
            "segment": finding.segment,
            "offset": finding.offset,
            "sequence": finding.sequence,
            "what": finding.fault.to_string(),
        }),
        Finding::Row { sequence, at, fault } => {
            json!({"sequence": sequence, "at": at, "what": fault.to_string()})
        }
        Finding::Missing { sequence } => {
            json!({"sequence": sequence, "what": "nothing of the journal is there"})
        }
        Finding::Empty => json!({"what": finding.to_string()}),
        Finding::Stated { sequence, .. } => json!({"sequence": sequence, "what": finding.to_string()}),
    }
}

fn now() -> Now {
    model::Clock::system().now()
}

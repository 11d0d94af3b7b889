//! `gatewright audit verify`

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use journal::{Checkpoint, Hash, Head, JournalId, Report};
use model::{Now, hex};
use protocol::sealed::checkpoint::CheckpointKey;
use serde_json::{Value, json};

use super::super::progress::Progress;
use super::dead_letters::Letters;
use super::heads;
use super::verify_database::{self, Checked, SetAside};
use super::{Failure, Output, Trail};
use crate::app::audit_setup::{JournalOwner, audit_dir, node_name};
use crate::app::master_key;
use crate::config::Config;

#[derive(Args, Debug)]
pub(in crate::cli) struct Verify {
    /// The directory of a journal; without it, those of this data directory
    #[arg(long, value_name = "DIR", conflicts_with = "database")]
    journal: Option<PathBuf>,
    /// Verifies what is in the database instead of files
    #[arg(long)]
    database: bool,
    /// A record that is known from elsewhere, such as the end that an earlier verification told; may be repeated
    #[arg(long, value_name = "JOURNAL:SEQUENCE:HASH")]
    head: Vec<KnownHead>,
    /// What a sink has kept, as JSON Lines: its checkpoints and last records have to be there; may be repeated
    #[arg(long, value_name = "FILE")]
    heads: Vec<PathBuf>,
    /// Dead letters of another node, which tell what its shipper has set aside; may be repeated
    ///
    /// A record that the database refused stands there whole, as `audit_set_aside`. What could not be read at all, or
    /// was set aside by an older version, only the node's `dead-letter.jsonl` tells; those of this data directory are
    /// read anyway.
    #[arg(long = "dead-letters", value_name = "FILE", requires = "database")]
    dead_letters: Vec<PathBuf>,
    /// Does not ask the database what it knows of the files' journal
    #[arg(long, conflicts_with = "database")]
    offline: bool,
}

/// A head as a word.
#[derive(Clone, Copy, Debug)]
struct KnownHead(Head);

impl FromStr for KnownHead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (journal, rest) = text.split_once(':')?;
            let (sequence, hash) = rest.split_once(':')?;
            Some(Head {
                journal: JournalId(hex::decode_array(&journal.replace('-', ""))?),
                sequence: sequence.parse().ok()?,
                hash: Hash(hex::decode_array(hash)?),
            })
        };
        parse().map(Self).ok_or("a head is JOURNAL:SEQUENCE:HASH: 32 digits, a number, 64 digits")
    }
}

/// Believes the checkpoints that this realm's keys have signed.
pub(super) struct Signatures(pub(super) Option<Vec<CheckpointKey>>);

impl Signatures {
    fn of(config: &Config) -> Self {
        Self(master_key::read(&config.master_key_file).ok().map(|keyring| CheckpointKey::all(&keyring)))
    }

    /// Whether the signature is right; true where there is no key to tell.
    pub(super) fn are_right(&self, checkpoint: &Checkpoint) -> bool {
        let (id, signature) = (&checkpoint.key_id, &checkpoint.signature);
        let confirms = |keys: &Vec<_>| CheckpointKey::confirms(keys, id, &checkpoint.message(), signature);
        self.0.as_ref().is_none_or(confirms)
    }
}

impl Verify {
    pub(super) async fn run(self, config: &Config, out: &mut Output) -> Result<(), Failure> {
        let signatures = Signatures::of(config);
        let mut kept = Vec::new();
        for path in &self.heads {
            kept.extend(heads::read(path, &signatures)?);
        }
        let heads: Vec<Head> = self.head.iter().map(|known| known.0).collect();
        let checked = if self.database {
            let trail = Trail::open(config).await?;
            let ours = [JournalOwner::Server, JournalOwner::Command]
                .map(|writes| audit_dir(&config.data_dir, writes));
            let ours = ours.iter().map(|place| place.join("dead-letter.jsonl"));
            let letters = Letters::read(&ours.chain(self.dead_letters.clone()).collect::<Vec<_>>())?;
            let heads = [heads, kept].concat();
            verify_database::all(&trail.audit, &heads, &signatures, &letters).await?
        } else {
            self.files(config, &heads, &kept, &signatures, out).await?
        };
        tell(out, &checked, self.database, signatures.0.is_some())?;
        let bad: Vec<String> = checked.iter().filter_map(Checked::complaint).collect();
        if bad.is_empty() { Ok(()) } else { Err(Failure::failed(bad.join("\n"))) }
    }

    async fn files(
        &self,
        config: &Config,
        heads: &[Head],
        kept: &[Head],
        signatures: &Signatures,
        out: &mut Output,
    ) -> Result<Vec<Checked>, Failure> {
        let directories = match &self.journal {
            Some(directory) => vec![directory.clone()],
            None => [JournalOwner::Server, JournalOwner::Command]
                .map(|writes| audit_dir(&config.data_dir, writes).join("journal"))
                .into_iter()
                .filter(|directory| directory.exists())
                .collect(),
        };
        if directories.is_empty() {
            return Err(Failure::failed(format!("there is no journal in {}", config.data_dir.display())));
        }
        let trail = if self.offline { None } else { Some(Trail::open(config).await) };
        let trail = match trail {
            Some(Err(why)) => {
                out.line(&format!("what the database knows was not compared: {why}"))?;
                None
            }
            Some(Ok(trail)) => Some(trail),
            None => None,
        };
        let mut met = vec![false; heads.len()];
        let mut all = Vec::new();
        for directory in &directories {
            let Some(journal) = identity(directory)? else {
                all.push(nothing(directory, signatures)?);
                continue;
            };
            // A sink has heads of every node.
            let mut known: Vec<Head> = kept.iter().filter(|head| head.journal == journal).copied().collect();
            for (head, met) in heads.iter().zip(&mut met).filter(|(head, _)| head.journal == journal) {
                known.push(*head);
                *met = true;
            }
            let compared = match &trail {
                Some(trail) => Some(verify_database::heads(&trail.audit, journal, signatures).await?),
                None => None,
            };
            known.extend(compared.iter().flatten());
            all.push(file(directory, &known, signatures, compared.is_some())?);
        }
        for (head, _) in heads.iter().zip(met).filter(|(_, met)| !met) {
            all.push(Checked::missing(*head));
        }
        if let (Some(trail), true) = (&trail, all.iter().all(|one| one.journal.is_none())) {
            // Where nothing is left, nothing says whose it was: the database knows what this node has shipped.
            let known = trail.audit.journals().await?;
            let ours = known.iter().filter(|known| known.node == node_name());
            all.extend(ours.map(|known| {
                Checked::missing(Head {
                    journal: JournalId(known.id),
                    sequence: known.shipped.sequence.unsigned_abs(),
                    hash: Hash(known.shipped.hash),
                })
            }));
        }
        Ok(all)
    }
}

/// The journal of a directory; `None` where it has none.
fn identity(directory: &Path) -> Result<Option<JournalId>, Failure> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::failed(format!("the journal in {} cannot be read: {why}", directory.display()))
    };
    let mut reader = journal::Reader::open(directory);
    reader.read_up_to(0).map_err(|why| unreadable(&why))?;
    Ok(reader.position().map(|head| head.journal))
}

/// A directory whose first segment does not say whose it is: empty, or damaged.
fn nothing(directory: &Path, signatures: &Signatures) -> Result<Checked, Failure> {
    let mut checked = file(directory, &[], signatures, true)?;
    if checked.bad.is_none() {
        checked.notes.push("there is no record in it".to_owned());
    }
    Ok(checked)
}

fn file(
    directory: &Path,
    known: &[Head],
    signatures: &Signatures,
    compared: bool,
) -> Result<Checked, Failure> {
    let mut progress: Option<Progress> = None;
    let told = |at: journal::Progress| {
        let shown = progress.get_or_insert_with(|| Progress::begin(Some(at.total)));
        shown.show(at.done, &format!("{} MiB", at.done >> 20));
    };
    let report = journal::verify(directory, None, known, |checkpoint| signatures.are_right(checkpoint), told);
    let report = report.map_err(|why| Failure::failed(format!("{}: {why}", directory.display())))?;
    drop(progress);
    Ok(Checked::of_files(directory, &report, compared))
}

impl Checked {
    fn of_files(directory: &Path, report: &Report, compared: bool) -> Self {
        let mut notes = Vec::new();
        if let Some(torn) = &report.torn {
            notes.push(format!("{} bytes of a record that is not whole are at the end", torn.bytes));
        }
        if report.start.is_some_and(|start| start.sequence > 0) {
            notes.push("older segments were removed, and what they held is not proved".to_owned());
        }
        if !compared {
            notes.push("the database was not asked what it knows".to_owned());
        }
        let bad = report.finding.as_ref().map(|finding| {
            let place = json!({
                "segment": finding.segment,
                "offset": finding.offset,
                "sequence": finding.sequence,
                "what": finding.fault.to_string(),
            });
            let text = format!("{finding} ({})", segment(directory, finding.segment).display());
            (text, place)
        });
        Self {
            journal: report.journal,
            source: directory.display().to_string(),
            counts: report.counts,
            start: report.start,
            end: report.end,
            notes,
            set_aside: Vec::new(),
            bad,
        }
    }

    /// A known head of a journal that is not there at all.
    fn missing(head: Head) -> Self {
        let text = format!("record {}: it is known, and nothing of its journal is there", head.sequence);
        let place = json!({"sequence": head.sequence, "what": "nothing of the journal is there"});
        Self::empty(Some(head.journal), "known from elsewhere".to_owned(), Vec::new(), Some((text, place)))
    }
}

/// The file of a segment.
fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}.journal"))
}

fn tell(out: &mut Output, checked: &[Checked], database: bool, signed: bool) -> Result<(), Failure> {
    let signatures = if signed { "checked" } else { "not checked: there is no master key file" };
    let journals: Vec<Value> = checked.iter().map(Checked::value).collect();
    out.value(&json!({
        "ok": checked.iter().all(|one| one.bad.is_none()),
        "source": if database { "database" } else { "files" },
        "at": now(),
        "signatures": signatures,
        "journals": journals,
    }))?;
    for one in checked {
        let name = one.journal.map_or_else(|| "no journal".to_owned(), |id| format!("journal {id}"));
        out.line(&format!("{name} ({})", one.source))?;
        let counts = one.counts;
        out.line(&format!(
            "  {} records and {} checkpoints are proved, {} known heads were met; signatures {signatures}",
            counts.records, counts.checkpoints, counts.heads
        ))?;
        for note in one.notes.iter().cloned().chain(one.set_aside.iter().map(SetAside::line)) {
            out.line(&format!("  {note}"))?;
        }
        if let Some(end) = one.end {
            out.line(&format!("  the end: {}:{}:{}", end.journal, end.sequence, end.hash))?;
        }
    }
    if checked.is_empty() {
        out.line("there is no journal")?;
    }
    Ok(())
}

fn now() -> Now {
    model::Clock::system().now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_told() {
        let head = Head { journal: JournalId([0xab; 16]), sequence: 7, hash: Hash([0x01; 32]) };
        let text = format!("{}:{}:{}", head.journal, head.sequence, head.hash);
        assert_eq!(text.parse::<KnownHead>().unwrap().0, head);
        for bad in ["", "a:1:b", &text.replace("07", "x"), &text[1..], &format!("{text}0")] {
            assert!(bad == text || bad.parse::<KnownHead>().is_err(), "{bad}");
        }
    }
}

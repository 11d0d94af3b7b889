//! What signed checkpoints state of other journals.

use std::collections::HashMap;
use std::path::Path;

use journal::{Checkpoint, Head, JournalId};
use model::Now;
use store::audit_db::{self, Audit};

use super::finding::{Checked, Finding, Note, Source};
use super::{Signatures, VerifyError};
use crate::record::row::signed;
use crate::statement::{Statement, latest_checkpoint};

/// The furthest record of each journal that signed checkpoints state, with the journal that states it.
#[derive(Default)]
pub(super) struct Stated(HashMap<JournalId, (Head, JournalId)>);

impl Stated {
    /// Takes what a checkpoint with a right signature says: the furthest record of each journal counts.
    pub(super) fn take(&mut self, checkpoint: &Checkpoint) {
        for head in Statement::parse(&checkpoint.statement).unwrap_or_default().journals {
            let furthest = self.0.entry(head.journal).or_insert((head, checkpoint.head.journal));
            if furthest.0.sequence < head.sequence {
                *furthest = (head, checkpoint.head.journal);
            }
        }
    }

    /// Takes what the latest checkpoint in a directory says.
    pub(super) fn read(&mut self, directory: &Path, signatures: &Signatures) -> Result<(), VerifyError> {
        let latest = latest_checkpoint(directory);
        let latest = latest.map_err(|why| VerifyError::Directory(directory.to_owned(), why))?;
        if let Some(checkpoint) = latest.filter(|latest| signatures.are_right(latest)) {
            self.take(&checkpoint);
        }
        Ok(())
    }

    /// Compares it with the rows.
    pub(super) async fn compare(
        &self,
        audit: &Audit,
        journals: &[audit_db::Journal],
        all: &mut Vec<Checked>,
    ) -> Result<(), VerifyError> {
        for (id, (stated, by)) in &self.0 {
            let known = journals.iter().find(|journal| journal.id == id.0);
            let sequence = signed(stated.sequence);
            let is_there = match known {
                // Retention has removed it, as a signed statement says.
                Some(journal) if sequence <= journal.kept.sequence => true,
                Some(journal) if sequence > journal.shipped.sequence => false,
                Some(_) => {
                    let before = (sequence.saturating_sub(1), Now::from_micros(i64::MAX));
                    let found = audit.chain(id.0, before, 1).await?;
                    // A row that is missing is a finding of its own, or was set aside.
                    found.first().is_none_or(|row| row.sequence != sequence || row.hash == stated.hash.0)
                }
                None => false,
            };
            if is_there {
                continue;
            }

            let finding = Finding::Stated { sequence: stated.sequence, by: *by };
            if let Some(checked) = all.iter_mut().find(|checked| checked.journal == Some(*id)) {
                checked.finding.get_or_insert(finding);
            } else {
                all.push(missing(*id, Source::Database, finding));
            }
        }
        Ok(())
    }

    /// What is stated of a journal.
    pub(super) fn of(&self, journal: JournalId) -> Option<Head> {
        self.0.get(&journal).map(|(head, _)| *head)
    }

    /// Compares it with the files of a node, which `all` has: a journal that is not among them is another
    /// node's, or an earlier one of this node, and the database has it.
    pub(super) async fn compare_files(
        &self,
        audit: Option<&Audit>,
        all: &mut Vec<Checked>,
    ) -> Result<(), VerifyError> {
        for (id, (stated, by)) in &self.0 {
            if all.iter().any(|checked| checked.journal == Some(*id)) {
                continue;
            }

            let finding = Finding::Stated { sequence: stated.sequence, by: *by };
            match audit {
                Some(audit) => {
                    let known = audit.journal(id.0).await?;
                    if known.is_none_or(|known| known.shipped.sequence < signed(stated.sequence)) {
                        all.push(missing(*id, Source::Elsewhere, finding));
                    }
                }
                None => {
                    if let Some(by) = all.iter_mut().find(|checked| checked.journal == Some(*by)) {
                        by.notes.push(Note::StatesAnother { journal: *id });
                    }
                }
            }
        }
        Ok(())
    }
}

fn missing(journal: JournalId, source: Source, finding: Finding) -> Checked {
    Checked { finding: Some(finding), ..Checked::new(Some(journal), source) }
}

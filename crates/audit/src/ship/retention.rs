//! Retention: how long events stay in the sink (`audit.retention`), and shipped records in the journal
//! (`audit.journal_keep`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use journal::{ReadError, Reader};
use model::Now;

use super::{Open, ShipError, Shipper, ShipperState};
use crate::blocking;
use crate::sinks::Sink;

/// How often the sink is tidied and old segments are looked for.
const TIDY: Duration = Duration::from_hours(1);
/// The rest after a tidying that could not be finished.
const TIDY_AGAIN: Duration = Duration::from_mins(1);
/// Most records that one look goes over.
const LOOK: usize = 100_000;

impl<S: Sink> Shipper<S> {
    /// Makes room: in the sink what is past its retention, in the journal what is shipped and old.
    pub(super) async fn tidy(&self, state: &mut ShipperState, now: Now) -> Result<(), ShipError> {
        state.tidy_at = Some(now.plus(TIDY_AGAIN));
        let mut more = self.sink.tidy(now, now.minus(self.settings.retention)).await?;
        if let (Some(forget), Some(Open { known: Some(known), .. })) = (&self.settings.forget, &state.open) {
            let (directory, shipped) = (self.settings.journal.clone(), known.sequence.unsigned_abs());
            let before = now.minus(self.settings.journal_keep);
            let (mut old, forget) = (std::mem::take(&mut state.forgetting), Arc::clone(forget));
            let (old, finished) = blocking(move || {
                let finished = old.look(&directory, shipped, before);
                let forgotten = old.kept_from().is_none_or(|sequence| forget(sequence));
                (old, finished && forgotten)
            })
            .await?;
            state.forgetting = old;
            more |= !finished;
        }
        if !more {
            state.tidy_at = Some(now.plus(TIDY));
        }
        Ok(())
    }
}

/// Follows, far behind, the record from which on the journal is to be kept.
#[derive(Default)]
pub(super) struct RetentionCursor {
    reader: Option<Reader>,
    /// The oldest record that is to be kept, and its time: it was read, and was too young.
    next: Option<(u64, i64)>,
    kept_from: Option<u64>,
}

impl RetentionCursor {
    /// The sequence of the oldest record that is to be kept, where that is known.
    pub(super) fn kept_from(&self) -> Option<u64> {
        self.kept_from
    }

    /// Goes on over records that are shipped and from before a time; false where it is not through yet.
    pub(super) fn look(&mut self, directory: &Path, shipped: u64, before: Now) -> bool {
        let reader = self.reader.get_or_insert_with(|| Reader::open(directory));
        for _ in 0..LOOK {
            let (sequence, time) = match self.next.take() {
                Some(next) => next,
                None => match reader.read_up_to(shipped) {
                    Ok(Some(record)) => (record.sequence, record.time.0),
                    Ok(None) => return true,
                    Err(ReadError::Damaged(_)) => match reader.skip() {
                        Ok(Some(_)) => continue,
                        _ => return true,
                    },
                    Err(_) => {
                        *self = Self::default();
                        return true;
                    }
                },
            };
            if time >= before.micros() {
                self.next = Some((sequence, time));
                self.kept_from = Some(sequence);
                return true;
            }
            self.kept_from = Some(sequence.saturating_add(1));
        }
        false
    }
}

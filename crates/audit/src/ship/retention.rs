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

/// Interval of the sink's maintenance and of the search for old segments.
const MAINTENANCE_INTERVAL: Duration = Duration::from_hours(1);
/// The delay after maintenance that was not completed.
const MAINTENANCE_RETRY: Duration = Duration::from_mins(1);
/// Most records that one search for old ones reads.
const LOOK: usize = 100_000;

/// Whether maintenance at `at` is due. A time further ahead than any is planned was set by a wrong clock.
pub(super) fn is_due(at: Now, now: Now) -> bool {
    now >= at || at > now.plus(MAINTENANCE_INTERVAL)
}

impl<S: Sink> Shipper<S> {
    /// Maintenance: removes from the sink what is past its retention, and from the journal what is shipped
    /// and old. Unless `may_remove`, nothing is removed.
    pub(super) async fn maintain(
        &self,
        state: &mut ShipperState,
        now: Now,
        may_remove: bool,
    ) -> Result<(), ShipError> {
        state.maintain_at = Some(now.plus(MAINTENANCE_RETRY));
        let before = if may_remove { now.minus(self.settings.retention) } else { Now::from_micros(0) };
        let mut more = self.sink.maintain(now, before).await?;
        more |= !may_remove;

        let forget = self.settings.forget.as_ref().filter(|_| may_remove);
        if let (Some(forget), Some(Open { known: Some(known), .. })) = (forget, &state.open) {
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
            state.maintain_at = Some(now.plus(MAINTENANCE_INTERVAL));
        }
        Ok(())
    }
}

/// Follows, far behind, the oldest record that the journal must keep.
#[derive(Default)]
pub(super) struct RetentionCursor {
    reader: Option<Reader>,
    /// The oldest record to keep, and its time: it was read and was too young.
    next: Option<(u64, i64)>,
    kept_from: Option<u64>,
}

impl RetentionCursor {
    /// The sequence of the oldest record to keep, where that is known.
    pub(super) fn kept_from(&self) -> Option<u64> {
        self.kept_from
    }

    /// Advances over records that are shipped and older than `before`; false where it has not finished.
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

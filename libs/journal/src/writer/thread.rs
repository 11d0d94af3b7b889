//! The writer thread: takes the records that queued during the last write, writes them at once, syncs and
//! signs.

use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::queue::{Activity, Event, Failing, Item, Queue};
use super::ticket::Outcome;
use super::{Notice, NoticeMaker, Signer};
use crate::checkpoint::Checkpoint;
use crate::error::{AppendError, Unsynced};
use crate::journal::Journal;
use crate::record::{Entry, Gap, Kind, PAYLOAD_MAX, Time};

/// The longest interval between retries of a failing sync.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Thread {
    pub(super) journal: Journal,
    pub(super) queue: Arc<Queue>,
    pub(super) notice: NoticeMaker,
    pub(super) signer: Option<Signer>,
    pub(super) checkpoint_every: Duration,
    pub(super) checkpoint_records: u64,
    pub(super) retry: Duration,
    /// Records taken from the queue and not written yet.
    pub(super) batch: Vec<Event>,
    /// The time of the last failed write of the batch; it is retried after an interval.
    pub(super) refused: Option<Time>,
    /// The time of the last checkpoint of this thread, or of the last try.
    pub(super) checked: Option<Time>,
    /// The number of records that follow it.
    pub(super) unchecked: u64,
    /// After a failed sync: its time, and the interval until the retry.
    pub(super) pause: Option<(Time, Duration)>,
    /// Records in doubt that no notice has reported.
    pub(super) doubt: Option<RangeInclusive<u64>>,
    /// Records that an earlier process did not write before its end, and the number of dropped ones that a
    /// record covers.
    pub(super) before: u64,
    pub(super) told: u64,
    /// The number of queued records that were submitted while the disk failed, and whose loss would be a gap.
    pub(super) delayed: usize,
}

/// Why the thread woke.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    Work,
    /// A record was submitted that cannot be written now.
    Refused,
    /// A retry, a sync or a checkpoint is due.
    Time,
    Stop,
}

/// Resolves all tickets when the thread ends, including by a panic.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        let mut inside = self.0.lock();
        let promises = inside.abandon();
        drop(inside);
        self.0.ended.notify_all();
        // waiters continue at once: not under the lock
        drop(promises);
    }
}

impl Thread {
    pub(super) fn run(mut self) {
        let _end = End(Arc::clone(&self.queue));
        let mut group = Vec::new();

        loop {
            let wake = self.wait(&mut group);
            if wake == Wake::Refused {
                self.answer();
                continue;
            }
            self.unpack(&mut group);
            self.write();
            let is_last = wake == Wake::Stop && (!self.batch.is_empty() || self.queue.lock().is_empty());
            self.look();
            let is_wanted = self.queue.lock().asked.sign;
            if self.batch.is_empty() && (is_last || is_wanted || self.is_checkpoint_due()) {
                self.checkpoint();
            }
            if is_last
                || is_wanted
                || (wake == Wake::Time && self.pause_left().is_none())
                || self.is_sync_due()
            {
                self.sync();
            }
            if is_wanted {
                self.queue.lock().asked.sign = false;
                self.queue.ended.notify_all();
            }
            // a notice of a failed sync
            if is_last && !self.batch.is_empty() {
                self.write();
                self.sync();
            }
            self.remove();
            if is_last {
                self.note_unwritten();
                // before the end is reported, so that the journal can be opened again
                let Self { journal, queue, .. } = self;
                drop(journal);
                queue.lock().finished = true;
                return;
            }
        }
    }

    /// Waits for work, and takes it.
    fn wait(&mut self, group: &mut Vec<Item>) -> Wake {
        let now = (self.queue.clock)();
        let sync = self.journal.sync_in(now).map(|time| time.max(self.pause_left().unwrap_or_default()));
        let due = [self.retry_in(), sync, self.checkpoint_in(now)].into_iter().flatten().min();
        let queue = Arc::clone(&self.queue);
        let mut inside = queue.lock();

        loop {
            let is_empty = self.batch.is_empty() && inside.is_empty();
            if self.refused.is_none() && !is_empty {
                inside.group(group);
                return if inside.stopping { Wake::Stop } else { Wake::Work };
            }
            if inside.stopping {
                return Wake::Stop;
            }
            if inside.keep_from.is_some() || inside.asked.sign || inside.asked.look {
                return Wake::Work;
            }
            // otherwise continuous submissions would postpone the next try forever
            if self.retry_in().is_some_and(|left| left.is_zero()) {
                return Wake::Time;
            }
            // while writing fails, new records are counted, and wait for the next try
            if inside.untold > 0 {
                return Wake::Refused;
            }
            inside.idle = true;
            inside = match due {
                None => queue.work.wait(inside).unwrap_or_else(PoisonError::into_inner),
                Some(time) => {
                    let waited = queue.work.wait_timeout(inside, time);
                    let (mut inside, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                    inside.idle = false;
                    if waited.timed_out() && (self.refused.is_some() || inside.is_empty()) {
                        return Wake::Time;
                    }
                    inside
                }
            };
            inside.idle = false;
        }
    }

    fn retry_in(&self) -> Option<Duration> {
        let elapsed = (self.queue.clock)().since(self.refused?).unwrap_or(self.retry);
        Some(self.retry.saturating_sub(elapsed))
    }

    fn pause_left(&self) -> Option<Duration> {
        let (start, length) = self.pause?;
        let elapsed = (self.queue.clock)().since(start)?;
        length.checked_sub(elapsed).filter(|left| !left.is_zero())
    }

    fn checkpoint_in(&self, now: Time) -> Option<Duration> {
        let is_wanted = self.unchecked > 0 && self.signer.is_some() && self.batch.is_empty();
        let elapsed = self.checked.filter(|_| self.unchecked < self.checkpoint_records);
        let elapsed = elapsed.and_then(|checked| now.since(checked)).unwrap_or(self.checkpoint_every);
        is_wanted.then(|| self.checkpoint_every.saturating_sub(elapsed))
    }

    fn is_checkpoint_due(&self) -> bool {
        self.checkpoint_in((self.queue.clock)()).is_some_and(|time| time.is_zero())
    }

    fn is_sync_due(&self) -> bool {
        self.pause_left().is_none() && self.journal.sync_due((self.queue.clock)())
    }

    fn unpack(&mut self, group: &mut Vec<Item>) {
        for item in group.drain(..) {
            let event = match item {
                Item::Event(event) => event,
                Item::Gap(gap) => {
                    Event { gap: gap.count, ..note(&mut self.notice, Notice::Gap(gap), gap.last) }
                }
            };
            self.batch.push(event);
        }
    }

    /// Writes the batch; records that cannot be written stay in it.
    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let now = self.begin(Activity::Write);
        let entries: Vec<_> = self.batch.iter().map(Event::entry).collect();
        let appended = self.journal.append(now, &entries);
        let whole = appended.written.len();
        let failure = appended.failure.as_ref().map(AppendError::kind);
        let unsynced = appended.unsynced;
        let mut promises = Vec::new();
        let mut bytes = 0;
        let mut counted = 0;
        let mut counted_bytes = 0;
        let mut vouched = 0;

        for (mut event, written) in self.batch.drain(..whole).zip(appended.written) {
            bytes += event.payload.len();
            self.told += event.gap;
            if event.is_counted {
                counted += 1;
                counted_bytes += event.payload.len();
                vouched += usize::from(event.is_vouched);
            }
            promises.extend(event.promise.take().map(|promise| (promise, *written)));
        }

        self.unchecked = self.unchecked.saturating_add(whole as u64);
        self.refused = failure.is_some().then_some(now);
        let head = self.journal.head();
        let mut inside = self.queue.lock();
        inside.vouched = inside.vouched.saturating_sub(vouched);
        let unvouched = inside.state.queued.saturating_sub(counted).saturating_sub(inside.vouched);
        inside.taken = self.batch.iter().find(|event| event.is_counted).map(|event| event.time);
        let state = &mut inside.state;
        state.busy = None;
        state.head = head;
        state.synced = self.journal.synced();
        state.written += whole as u64;
        state.bytes += bytes as u64;
        state.queued = state.queued.saturating_sub(counted);
        let is_delayed = failure.is_some() || state.write_failing.is_some();
        self.delayed = if is_delayed { unvouched } else { self.delayed.saturating_sub(counted - vouched) };
        state.queued_bytes = state.queued_bytes.saturating_sub(counted_bytes);
        state.write_failing = failing(state.write_failing, failure, now);
        drop(inside);
        self.answer();
        for (promise, written) in promises {
            promise.resolve(Outcome::Written(written));
        }
        if let Some(unsynced) = unsynced {
            self.doubted(&unsynced, now);
        }
    }

    /// Stores the count of records that cannot be written now, and only then resolves their tickets.
    fn answer(&mut self) {
        let mut inside = self.queue.lock();
        let kind = inside.state.write_failing.map(|failing| failing.kind);
        let mut refused = inside.refused(kind);
        drop(inside);
        if let Some(kind) = kind {
            let batch = self.batch.iter_mut().filter_map(|event| event.promise.take());
            refused.extend(batch.map(|promise| (promise, Outcome::Delayed(kind))));
        }
        self.note_unwritten();
        for (promise, outcome) in refused {
            promise.resolve(outcome);
        }
    }

    /// Stores how many records would be missing if the process ended now, from the first failure of the disk
    /// until all refused records are written. Later records are not delayed: the note is not stored for them.
    fn note_unwritten(&mut self) {
        let noted = self.journal.unwritten();
        if self.refused.is_none() && noted.is_none() {
            return;
        }
        let inside = self.queue.lock();
        let (state, vouched) = (inside.state, inside.vouched_dropped);
        if self.refused.is_some() {
            self.delayed = state.queued.saturating_sub(inside.vouched);
        }
        drop(inside);
        let now = (self.queue.clock)();
        let lost =
            self.before.saturating_add(state.dropped).saturating_sub(self.told).saturating_sub(vouched);
        let count = lost.saturating_add(self.delayed as u64);
        let first = noted.map_or(state.write_failing.map_or(now, |failing| failing.since), |gap| gap.first);
        let is_news = noted.is_none_or(|gap| gap.count != count);
        if is_news {
            self.journal.note_unwritten((count > 0).then_some(Gap { count, first, last: now }));
        }
    }

    /// Looks whether the files are in place, if that is wanted.
    fn look(&mut self) {
        if !std::mem::take(&mut self.queue.lock().asked.look) {
            return;
        }
        let now = self.begin(Activity::Write);
        let failure = self.journal.stay_in_place().err().map(|error| error.kind());
        let mut inside = self.queue.lock();
        inside.state.busy = None;
        inside.state.place_failing = failing(inside.state.place_failing, failure, now);
        drop(inside);
        self.tell_lost(now);
    }

    /// Notes records whose files are gone, as a record.
    fn tell_lost(&mut self, now: Time) {
        self.queue.lock().state.rewritten = self.journal.rewritten();
        if let Some(lost) = self.journal.take_lost() {
            self.batch.push(note(&mut self.notice, Notice::Lost(lost), now));
        }
    }

    fn sync(&mut self) {
        if self.journal.synced() == self.journal.head().sequence {
            return;
        }
        let now = self.begin(Activity::Sync);
        let result = self.journal.sync();
        self.tell_lost(now);
        let mut inside = self.queue.lock();
        inside.state.busy = None;
        inside.state.synced = self.journal.synced();
        if let Err(unsynced) = result {
            drop(inside);
            self.doubted(&unsynced, now);
        } else if self.journal.synced() == self.journal.head().sequence {
            inside.state.sync_failing = None;
            drop(inside);
            self.pause = None;
            if let Some(doubt) = self.doubt.take() {
                self.batch.push(note(&mut self.notice, Notice::Unsynced(doubt), now));
            }
        }
    }

    /// A sync failed: the journal continues in a new segment, which begins with a notice. All failures until
    /// the next successful sync are reported by one more notice then.
    fn doubted(&mut self, unsynced: &Unsynced, now: Time) {
        let (first, last) = (*unsynced.sequences.start(), *unsynced.sequences.end());
        let mut inside = self.queue.lock();
        let state = &mut inside.state;
        let is_first = state.sync_failing.is_none();
        state.sync_failing = failing(state.sync_failing, Some(unsynced.error.kind()), now);
        state.doubtful += (last + 1).saturating_sub(first);
        drop(inside);
        let longer = self.pause.map_or(self.retry, |(_, pause)| pause.saturating_mul(2));
        self.pause = Some((now, longer.min(LONGEST_PAUSE)));
        if is_first {
            self.batch.push(note(&mut self.notice, Notice::Unsynced(first..=last), now));
        } else {
            let first = self.doubt.as_ref().map_or(first, |doubt| *doubt.start());
            self.doubt = Some(first..=last);
        }
    }

    fn checkpoint(&mut self) {
        let Some(signer) = self.signer.as_mut().filter(|_| self.unchecked > 0) else { return };
        let now = (self.queue.clock)();
        self.checked = Some(now);
        let checkpoint = Checkpoint {
            head: self.journal.head(),
            previous: self.journal.last_checkpoint(),
            time: now,
            statement: (signer.statement)(),
            key_id: signer.key_id.clone(),
            signature: Vec::new(),
        };
        let checkpoint = checkpoint.signed(&mut signer.sign);

        let Some(checkpoint) = checkpoint else {
            self.unchecked = 1;
            self.queue.lock().state.unsigned += 1;
            return;
        };

        let payload = checkpoint.format();
        let entry = Entry { time: now, kind: Kind::Checkpoint, payload: &payload };
        self.begin(Activity::Write);
        let appended = self.journal.append(now, &[entry]);
        let failure = appended.failure.as_ref().map(AppendError::kind);
        let unsynced = appended.unsynced;
        // what failed is tried again after the interval, however many records there are
        self.unchecked = u64::from(failure.is_some());
        let head = self.journal.head();
        let mut inside = self.queue.lock();
        let state = &mut inside.state;
        state.busy = None;
        state.head = head;
        state.write_failing = failing(state.write_failing, failure, now);

        if failure.is_none() {
            state.written += 1;
            state.bytes += payload.len() as u64;
            state.checkpoints += 1;
        }

        drop(inside);
        if let Some(unsynced) = unsynced {
            self.doubted(&unsynced, now);
        }
    }

    fn remove(&mut self) {
        let Some(sequence) = self.queue.lock().keep_from.take() else { return };
        let now = self.begin(Activity::Remove);
        let failure = self.journal.remove_before(sequence).err().map(|error| error.kind());
        let mut inside = self.queue.lock();
        inside.state.busy = None;
        inside.state.remove_failing = failing(inside.state.remove_failing, failure, now);
    }

    /// Publishes the next activity, so that a hanging one is visible.
    fn begin(&self, activity: Activity) -> Time {
        let now = (self.queue.clock)();
        self.queue.lock().state.busy = Some((activity, now));
        now
    }
}

impl Event {
    fn entry(&self) -> Entry<'_> {
        Entry { time: self.time, kind: Kind::Data, payload: &self.payload }
    }
}

pub(super) fn note(notice: &mut NoticeMaker, what: Notice, time: Time) -> Event {
    let mut payload = notice(what);
    payload.truncate(PAYLOAD_MAX);
    Event { time, payload, promise: None, is_counted: false, is_vouched: false, gap: 0 }
}

fn failing(before: Option<Failing>, failure: Option<ErrorKind>, now: Time) -> Option<Failing> {
    let kind = failure?;
    Some(Failing { since: before.map_or(now, |failing| failing.since), kind })
}

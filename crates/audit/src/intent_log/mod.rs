//! The intent log: what transactions are about to do, in a separate journal beside that of the events.
//!
//! An intent is written before its transaction may be committed, and ends with the event of its outcome. So a
//! killed process leaves only the few intents that have neither an end here nor an event there, and each of
//! them has the ids by which its trace can be found in the database.
//!
//! An end has no record of its own: the next intent carries the ends before it. Ends that a crash loses are
//! recovered, because an event names the intent that it ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::{
    Hooks, Journal, Limits, Notice, Options, Outcome, ReadError, Reader, State, Ticket, Time, Writer,
};
use model::intent::IntentKind;
use model::{
    Actor, Channel, Clock, EventKind, Intent, Now, Origin, RequestId, SessionId, UnresolvedIntent, UserUuid,
};
use serde::{Deserialize, Serialize};

/// While an intent older than this is not written, requests do not wait for further ones.
const SOON: Duration = Duration::from_millis(50);
/// Most open intents; above that, no further intent is announced.
const OPEN: usize = 16_384;
/// Most ends in one record.
const ENDS: usize = 4096;
/// Number of intents between two searches for old segments.
const LOOK: u64 = 1024;
/// An open intent that is followed by this many records is written again, so that its segment can be removed.
const FAR: u64 = 8 * LOOK;
/// Most intents that are written again at once.
const AGAIN: usize = 256;

/// Options of the intent journal: a segment is removed as soon as all of its intents have ended.
pub const SEGMENTS: Options = Options {
    segment_bytes: 1 << 20,
    segment_age: Duration::from_hours(24),
    sync_bytes: 8 << 20,
    sync_age: Duration::from_secs(1),
};

/// A record, for writing.
#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    #[serde(flatten)]
    begun: Option<Begun<'a>>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    ended: &'a [u64],
}

#[derive(Clone, Copy, Serialize)]
struct Begun<'a> {
    intent: u64,
    /// Microseconds since 1970, like all times here.
    at: i64,
    /// The event, if there is one, is after this record of the events' journal.
    behind: u64,
    kind: EventKind,
    #[serde(rename = "via")]
    channel: Channel,
    actor: &'a Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserUuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stamp: Option<i64>,
}

/// A record, for reading.
#[derive(Deserialize)]
struct Read {
    intent: Option<u64>,
    at: Option<i64>,
    #[serde(default)]
    behind: u64,
    kind: Option<String>,
    #[serde(rename = "via")]
    channel: Option<Channel>,
    actor: Option<Actor>,
    request_id: Option<RequestId>,
    user: Option<UserUuid>,
    session: Option<SessionId>,
    generation: Option<i64>,
    stamp: Option<i64>,
    #[serde(default)]
    ended: Vec<u64>,
}

impl Read {
    fn left(self) -> Option<UnresolvedIntent> {
        Some(UnresolvedIntent {
            number: self.intent?,
            at: Now::from_micros(self.at?),
            behind: self.behind,
            intent: Intent {
                kind: IntentKind::parse(&self.kind?)?,
                user: self.user,
                session: self.session,
                generation: self.generation,
                stamp: self.stamp.map(Now::from_micros),
            },
            channel: self.channel?,
            actor: self.actor?,
            request_id: self.request_id,
        })
    }
}

/// Intents of earlier processes, by number, and whether the event of their outcome is queued.
type Leftovers = BTreeMap<u64, (UnresolvedIntent, bool)>;

/// The intent journal and the open intents.
pub struct IntentLog {
    writer: Writer,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// Intents without an end, by number.
    intents: BTreeMap<u64, Pending>,
    /// Intents whose event is queued, in the order of the events.
    noted: VecDeque<(u64, Ticket)>,
    /// Those of `noted` whose event waits for a failing disk; it comes before every later event.
    delayed: Vec<u64>,
    /// Ends that the next record carries.
    ended: Vec<u64>,
    left: Leftovers,
}

struct Pending {
    begun: Ticket,
    /// The sequence of its record.
    place: Option<u64>,
    /// The record without ends, for writing it again.
    line: Vec<u8>,
}

impl IntentLog {
    /// Reads the intents that an opened journal still contains, and continues it.
    ///
    /// # Errors
    /// When it cannot be read, or its thread cannot be started.
    pub fn start(journal: Journal, directory: &Path, clock: &Clock) -> io::Result<Self> {
        let (left, last) = read(directory)?;
        let hooks = Hooks {
            clock: Box::new({
                let clock = clock.clone();
                move || Time(clock.now().micros())
            }),
            notice: Box::new(|told| notice(&told)),
            signer: None,
            begin: Box::new(crate::step_aside),
        };
        // Numbers increase even when the directory was wiped: an earlier event must not end a current intent.
        let next = u64::try_from(clock.now().micros()).unwrap_or_default().max(last.saturating_add(1));
        let writer = Writer::start(journal, Limits::default(), hooks)?;
        let open = Open { next, left, ..Open::default() };
        Ok(Self { writer, open: Mutex::new(open) })
    }

    /// The state of the journal's thread.
    pub(crate) fn state(&self) -> State {
        self.writer.state()
    }

    /// Queues an intent, which is written at the next [`hurry`](Self::hurry). Returns its number, and a
    /// ticket that completes when it is written, unless that would take too long; None while one of the
    /// journals cannot be written. `events` is the state of the events' journal.
    pub(crate) fn begin(
        &self,
        at: Now,
        intent: &Intent,
        origin: &Origin,
        actor: &Actor,
        events: &State,
    ) -> Option<(u64, Option<Ticket>)> {
        let state = self.state();
        if !works(events) || !works(&state) {
            return None;
        }
        let is_late = |since: Time| Time(at.micros()).since(since).is_some_and(|waited| waited > SOON);
        let is_slow = state.oldest_pending.is_some_and(is_late);
        let mut open = self.open();
        open.sweep(events);
        if open.intents.len() + open.left.len() >= OPEN {
            return None;
        }

        let number = open.next;
        open.next += 1;
        let begun = Begun {
            intent: number,
            at: at.micros(),
            behind: events.synced,
            kind: intent.kind.into(),
            channel: origin.channel,
            actor,
            request_id: origin.request_id.as_ref(),
            user: intent.user,
            session: intent.session,
            generation: intent.generation,
            stamp: intent.stamp.map(Now::micros),
        };

        let line = json(Some(begun), &[]);
        let ends = open.ends();
        let record = if ends.is_empty() { line.clone() } else { json(Some(begun), &ends) };

        // A waiter flushes the batch, which includes this record. On a slow disk requests do not wait, so the
        // record is submitted directly.
        let ticket = if is_slow { self.writer.submit(record) } else { self.writer.submit_lazily(record) };
        open.intents.insert(number, Pending { begun: ticket.clone(), place: None, line });
        if number.is_multiple_of(LOOK) {
            self.remove_segments(&mut open);
        }
        Some((number, Some(ticket).filter(|_| !is_slow)))
    }

    /// Has the files looked at, see [`journal::Writer::look`].
    pub(crate) fn look(&self) {
        self.writer.look();
    }

    /// Flushes the queued intents.
    pub(crate) fn hurry(&self) {
        self.writer.hurry();
    }

    /// Submits the event that ends this intent, under the lock, so that both journals have the same order.
    /// `submit` is told whether the intent is written: then a lost event can be recovered from it.
    pub(crate) fn note(&self, number: u64, submit: impl FnOnce(bool) -> Ticket) -> Ticket {
        let mut open = self.open();
        let event = submit(open.is_written(number));
        open.noted.push_back((number, event.clone()));
        if let Some((_, is_noted)) = open.left.get_mut(&number) {
            *is_noted = true;
        }
        event
    }

    /// Ends an intent that was rolled back.
    pub(crate) fn withdraw(&self, number: u64) {
        let mut open = self.open();
        open.end(number);
        // An intent without an event is ended only by this record.
        let ends = open.ends();
        self.writer.submit(json(None, &ends));
    }

    /// Intents of earlier processes whose outcome is not determined yet, oldest first.
    pub(crate) fn left(&self) -> Vec<UnresolvedIntent> {
        let open = self.open();
        open.left.values().filter(|(_, is_noted)| !is_noted).map(|(left, _)| left.clone()).collect()
    }

    /// Marks an intent whose event is in the journal.
    pub(crate) fn found(&self, number: u64) {
        self.open().end(number);
    }

    /// Writes the last ends, and stops within `most`. The events' journal has stopped before.
    pub(crate) fn stop(&self, events: &State, most: Duration) -> bool {
        let mut open = self.open();
        open.sweep(events);
        while !open.ended.is_empty() {
            let ends = open.ends();
            self.writer.submit(json(None, &ends));
        }
        drop(open);
        self.writer.stop(most).finished
    }

    /// Removes segments whose intents have all ended, and writes the few old intents that have not ended
    /// again.
    fn remove_segments(&self, open: &mut Open) {
        // Intents that are not written yet come after this record.
        let head = self.state().head.sequence;
        let (mut oldest, mut again) = (head, 0);
        for pending in open.intents.values_mut() {
            if let Some(Outcome::Written(written)) = pending.begun.outcome() {
                pending.place = Some(written.sequence);
            }
            let Some(place) = pending.place else { continue };
            oldest = oldest.min(place);
            if head.saturating_sub(place) > FAR && again < AGAIN {
                again += 1;
                pending.begun = self.writer.submit(pending.line.clone());
            }
        }
        // Intents of earlier processes are reconciled soon.
        if open.left.is_empty() {
            self.writer.remove_before(oldest);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn is_written(&self, number: u64) -> bool {
        let is_written = |pending: &Pending| {
            pending.place.is_some() || matches!(pending.begun.outcome(), Some(Outcome::Written(_)))
        };
        self.left.contains_key(&number) || self.intents.get(&number).is_some_and(is_written)
    }

    fn end(&mut self, number: u64) {
        self.intents.remove(&number);
        self.left.remove(&number);
        self.ended.push(number);
    }

    /// Ends intents whose event is synced: an event that a power failure removes still has its intent.
    fn sweep(&mut self, events: &State) {
        while let Some((number, event)) = self.noted.front() {
            let number = *number;
            match event.outcome() {
                None => break,
                Some(Outcome::Written(written)) if written.sequence > events.synced => break,
                Some(Outcome::Written(_)) => {
                    for earlier in std::mem::take(&mut self.delayed) {
                        self.end(earlier);
                    }
                    self.end(number);
                }
                Some(Outcome::Delayed(_)) => self.delayed.push(number),
                Some(Outcome::Dropped(_)) => self.lose(number),
            }
            self.noted.pop_front();
        }
    }

    /// The event is lost: its outcome is determined as if the process had been killed.
    fn lose(&mut self, number: u64) {
        if let Some((_, is_noted)) = self.left.get_mut(&number) {
            *is_noted = false;
        } else if let Some(pending) = self.intents.remove(&number)
            && let Some(left) = serde_json::from_slice::<Read>(&pending.line).ok().and_then(Read::left)
        {
            self.left.insert(number, (left, false));
        }
    }

    /// Takes some of the ends that are not written yet.
    fn ends(&mut self) -> Vec<u64> {
        let rest = self.ended.split_off(self.ended.len().min(ENDS));
        std::mem::replace(&mut self.ended, rest)
    }
}

fn works(state: &State) -> bool {
    state.running && state.write_failing.is_none()
}

fn json(begun: Option<Begun<'_>>, ended: &[u64]) -> Vec<u8> {
    // A struct of words and numbers always serialises.
    serde_json::to_vec(&Line { v: 1, begun, ended }).unwrap_or_default()
}

/// The journal's own notices are not intents; they keep the sequences of dropped records.
fn notice(notice: &Notice) -> Vec<u8> {
    let dropped = match notice {
        Notice::Gap(gap) => gap.count,
        Notice::Unsynced(_) | Notice::Adopted(_) | Notice::Lost(_) => 0,
    };
    format!("{{\"v\":1,\"dropped\":{dropped}}}").into_bytes()
}

/// The intents without an end, and the highest number.
fn read(directory: &Path) -> io::Result<(Leftovers, u64)> {
    let mut reader = Reader::open(directory);
    let mut left = Leftovers::new();
    let mut last = 0;

    loop {
        let record = match reader.read() {
            Ok(Some(record)) => record,
            Ok(None) => return Ok((left, last)),
            Err(ReadError::Damaged(finding)) => {
                tracing::error!(%finding, "the journal of intents is damaged; what it said there is lost");
                match reader.skip() {
                    Ok(Some(_)) => continue,
                    Ok(None) => return Ok((left, last)),
                    Err(error) => return Err(io::Error::other(error)),
                }
            }
            Err(ReadError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        };

        let Ok(mut line) = serde_json::from_slice::<Read>(record.payload) else { continue };
        for number in std::mem::take(&mut line.ended) {
            left.remove(&number);
        }
        if let Some(found) = line.left() {
            last = last.max(found.number);
            left.insert(found.number, (found, false));
        }
    }
}

/// The intents without an end in a journal of intents, oldest first.
pub(crate) fn unfinished(directory: &Path) -> io::Result<Vec<UnresolvedIntent>> {
    Ok(read(directory)?.0.into_values().map(|(left, _)| left).collect())
}

/// The numbers of those of `left` whose event is in the journal.
pub(crate) fn recorded(directory: &Path, left: &[UnresolvedIntent]) -> Result<BTreeSet<u64>, ReadError> {
    /// The relevant part of a record.
    #[derive(Deserialize)]
    struct Ends {
        intent: Option<u64>,
    }

    let mut wanted: BTreeSet<u64> = left.iter().map(|left| left.number).collect();
    let behind = left.iter().map(|left| left.behind).min().unwrap_or_default();
    let mut reader = Reader::near(directory, behind);
    let mut found = BTreeSet::new();
    while !wanted.is_empty() {
        let record = match reader.read() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            // A damaged record ends no intent: the outcome is then determined again.
            Err(ReadError::Damaged(_)) => match reader.skip()? {
                Some(_) => continue,
                None => break,
            },
            Err(error) => return Err(error),
        };
        let ends = serde_json::from_slice::<Ends>(record.payload).ok().and_then(|ends| ends.intent);
        found.extend(ends.filter(|number| wanted.remove(number)));
    }
    Ok(found)
}

impl std::fmt::Debug for IntentLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntentLog").field("writer", &self.writer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

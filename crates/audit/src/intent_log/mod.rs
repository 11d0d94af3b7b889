//! What transactions are about to do, in a journal of its own beside that of the events.
//!
//! An intent is written before its transaction may be committed and ends with the event that says what became of it.
//! So what a process leaves behind when it is killed are the few intents that have neither an end here nor an event
//! there, and each of them has the ids by which its trace can be found in the database.
//!
//! An end is no record of its own: the next intent carries those that came before it. What is lost so by a crash is
//! found again, since an event names the intent that it ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::{
    Hooks, Journal, Limits, Notice, Options, Outcome, ReadError, Reader, State, Ticket, Time, Writer,
};
use model::{
    Actor, Channel, Clock, EventKind, Intent, Now, Origin, RequestId, SessionId, UnresolvedIntent, UserUuid,
};
use serde::{Deserialize, Serialize};

/// While an intent that is older than this is not written, nobody waits for another one.
const SOON: Duration = Duration::from_millis(50);
/// Most intents that are open at once; while there are more, nothing is announced.
const OPEN: usize = 16_384;
/// Most ends that one record carries.
const ENDS: usize = 4096;
/// Old segments are looked for after so many intents.
const LOOK: u64 = 1024;
/// An open intent that so many records follow is written once more, so that its segment may go.
const FAR: u64 = 8 * LOOK;
/// Most of those at once.
const AGAIN: usize = 256;

/// How the journal of intents is cut: its segments go as soon as all of their intents have ended.
pub const SEGMENTS: Options = Options {
    segment_bytes: 1 << 20,
    segment_age: Duration::from_hours(24),
    sync_bytes: 8 << 20,
    sync_age: Duration::from_secs(1),
};

/// One record.
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
    /// Microseconds since 1970, as all times here: nobody reads this but its writer.
    at: i64,
    /// The event, if there is one, is behind this record of the events' journal.
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

/// One record, as it is read.
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
                kind: EventKind::parse(&self.kind?)?,
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

/// Those of processes that are gone, by number, and whether the event is on its way that says how it went.
type Leftovers = BTreeMap<u64, (UnresolvedIntent, bool)>;

/// The journal of intents, and which of them are open.
pub struct IntentLog {
    writer: Writer,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// Those that have no end yet, by number.
    intents: BTreeMap<u64, Pending>,
    /// Those whose event is on its way, in the order of the events.
    noted: VecDeque<(u64, Ticket)>,
    /// Those of `noted` whose event waits for a disk that refuses; it comes before every later one.
    delayed: Vec<u64>,
    /// Ends that the next record carries.
    ended: Vec<u64>,
    left: Leftovers,
}

struct Pending {
    begun: Ticket,
    /// Where it is written.
    place: Option<u64>,
    /// The record without ends, to be written once more.
    line: Vec<u8>,
}

impl IntentLog {
    /// Reads what a journal that is open for appending was left with, and goes on in it.
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
        // Numbers go on, also where the directory was wiped: an event of before must not end an intent of today.
        let next = u64::try_from(clock.now().micros()).unwrap_or_default().max(last.saturating_add(1));
        let writer = Writer::start(journal, Limits::default(), hooks)?;
        let open = Open { next, left, ..Open::default() };
        Ok(Self { writer, open: Mutex::new(open) })
    }

    /// How the journal's thread is.
    pub(crate) fn state(&self) -> State {
        self.writer.state()
    }

    /// Writes down, when somebody [hurries](Self::hurry), what is about to happen; the number, and what says that it
    /// is written, unless that is known to take too long. None while one of the journals cannot be written. `events` is
    /// how the events' journal is.
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
            kind: intent.kind,
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
        // Whoever waits for it is in a hurry, and speaks for all that are there by then; nobody waits where it is slow.
        let ticket = if is_slow { self.writer.submit(record) } else { self.writer.submit_lazily(record) };
        open.intents.insert(number, Pending { begun: ticket.clone(), place: None, line });
        if number.is_multiple_of(LOOK) {
            self.tidy(&mut open);
        }
        Some((number, Some(ticket).filter(|_| !is_slow)))
    }

    /// Has the intents written that were begun.
    pub(crate) fn hurry(&self) {
        self.writer.hurry();
    }

    /// Hands over, by `submit`, the event that ends this intent. One after the other, so that both keep their order.
    /// `submit` is told whether the intent is written: then the event is found out again where it is lost.
    pub(crate) fn note(&self, number: u64, submit: impl FnOnce(bool) -> Ticket) -> Ticket {
        let mut open = self.open();
        let event = submit(open.is_written(number));
        open.noted.push_back((number, event.clone()));
        if let Some((_, is_noted)) = open.left.get_mut(&number) {
            *is_noted = true;
        }
        event
    }

    /// An intent surely came to nothing.
    pub(crate) fn withdraw(&self, number: u64) {
        let mut open = self.open();
        open.end(number);
        // Of what leaves no event there is nothing that says so but this.
        let ends = open.ends();
        self.writer.submit(json(None, &ends));
    }

    /// Those of processes that are gone and of which it is still to be found out how they went, oldest first.
    pub(crate) fn left(&self) -> Vec<UnresolvedIntent> {
        let open = self.open();
        open.left.values().filter(|(_, is_noted)| !is_noted).map(|(left, _)| left.clone()).collect()
    }

    /// The event of this one is in the journal.
    pub(crate) fn found(&self, number: u64) {
        self.open().end(number);
    }

    /// Writes the last ends, and ends within `most`. The events' journal has ended before.
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

    /// Has segments removed whose intents have all ended, and writes once more the few old ones that have not.
    fn tidy(&self, open: &mut Open) {
        // What is not written yet comes behind this.
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
        // What others have left is settled soon.
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

    /// Ends those whose event is certainly on disk: what a power failure takes back of the events is still here then.
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

    /// There is no event, and there will be none: it is found out as if the process had been killed.
    fn lose(&mut self, number: u64) {
        if let Some((_, is_noted)) = self.left.get_mut(&number) {
            *is_noted = false;
        } else if let Some(pending) = self.intents.remove(&number)
            && let Some(left) = serde_json::from_slice::<Read>(&pending.line).ok().and_then(Read::left)
        {
            self.left.insert(number, (left, false));
        }
    }

    /// Some of the ends that are still to be written.
    fn ends(&mut self) -> Vec<u64> {
        let rest = self.ended.split_off(self.ended.len().min(ENDS));
        std::mem::replace(&mut self.ended, rest)
    }
}

fn works(state: &State) -> bool {
    state.running && state.write_failing.is_none()
}

fn json(begun: Option<Begun<'_>>, ended: &[u64]) -> Vec<u8> {
    // A struct of words and numbers is always JSON.
    serde_json::to_vec(&Line { v: 1, begun, ended }).unwrap_or_default()
}

/// What the journal says of itself is no intent; it keeps the place of those that were dropped.
fn notice(notice: &Notice) -> Vec<u8> {
    let dropped = match notice {
        Notice::Gap(gap) => gap.count,
        Notice::Unsynced(_) => 0,
    };
    format!("{{\"v\":1,\"dropped\":{dropped}}}").into_bytes()
}

/// The intents that have no end, and the highest number that there was.
fn read(directory: &Path) -> io::Result<(Leftovers, u64)> {
    let mut reader = Reader::open(directory);
    let (mut left, mut last) = (Leftovers::new(), 0);
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

/// The numbers of those of `left` whose event is in the journal.
pub(crate) fn recorded(directory: &Path, left: &[UnresolvedIntent]) -> Result<BTreeSet<u64>, ReadError> {
    /// All that matters of a record.
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
            // What is damaged ends no intent: that is then found out once more.
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

//! Records events in the journal.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Gap, Hooks, Journal, Limits, Notice, ReadError, Signer, State, Stopped, Ticket, Time, Writer};
use model::{Actor, Channel, Clock, Event, Intent, Now, Origin, Rng, UnresolvedIntent, UserUuid, hex};
use protocol::sealed::checkpoint::CheckpointKey;
use protocol::sealed::keyring::Keyring;
use runtime::audit::{Entry, IntentReceipt, Receipt, Recorder};
use serde::Serialize;
use uuid::Uuid;

use crate::record::{Detail, Line, Plain, VERSION};
use crate::repeated::RepeatedEvents;
use crate::ship::ShipStats;
use crate::statement::Voucher;
use crate::{DetailKeyFile, IntentLog, intent_log, step_aside};

/// A record that waits longer than this makes the condition `Failing`.
const LATE: Duration = Duration::from_secs(1);

/// Receives events and submits them to the journal's thread.
pub struct Auditor {
    writer: Writer,
    intents: Arc<IntentLog>,
    detail_keys: DetailKeyFile,
    rng: Rng,
    clock: Clock,
    kinds: Mutex<BTreeMap<&'static str, u64>>,
    looked: AtomicBool,
    shipping: Arc<ShipStats>,
    voucher: Arc<Voucher>,
    sinks: Mutex<Vec<(&'static str, Arc<ShipStats>)>>,
    repeated: RepeatedEvents,
}

/// Whether the trail works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Events are written.
    Well,
    /// Events wait too long, are refused by the disk, or are not durable.
    Failing,
}

impl Auditor {
    /// Starts recording into an open journal.
    ///
    /// # Errors
    /// When the journal's thread cannot be started.
    pub fn start(
        journal: Journal,
        intents: IntentLog,
        detail_keys: DetailKeyFile,
        keyring: &Keyring,
        clock: Clock,
        rng: Rng,
    ) -> io::Result<Self> {
        let (times, said) = (clock.clone(), clock.clone());
        let voucher = Arc::new(Voucher::new(CheckpointKey::first(keyring)));
        voucher.found(journal.head().sequence);
        let states = Arc::clone(&voucher);
        let signer = CheckpointKey::first(keyring).map(|key| Signer {
            key_id: key.public().id().to_vec(),
            statement: Box::new(move || states.statement()),
            sign: Box::new(move |message| Some(key.attest(message))),
        });

        let hooks = Hooks {
            clock: Box::new(move || Time(times.now().micros())),
            notice: Box::new(move |notice| notice_line(&notice, &said)),
            signer,
            begin: Box::new(step_aside),
        };

        let writer = Writer::start(journal, Limits::default(), hooks)?;
        Ok(Self {
            writer,
            intents: Arc::new(intents),
            detail_keys,
            rng,
            clock,
            kinds: Mutex::default(),
            looked: AtomicBool::new(false),
            shipping: Arc::default(),
            voucher,
            sinks: Mutex::default(),
            repeated: RepeatedEvents::default(),
        })
    }

    /// The state of the journal's thread.
    pub fn state(&self) -> State {
        self.writer.state()
    }

    /// The state of the intent journal's thread.
    pub fn intents(&self) -> State {
        self.intents.state()
    }

    /// Whether events and intents are written.
    pub fn condition(&self) -> Condition {
        let failing = self.is_failing(&self.state()) || self.is_failing(&self.intents());
        if failing { Condition::Failing } else { Condition::Well }
    }

    fn is_failing(&self, state: &State) -> bool {
        let now = Time(self.clock.now().micros());
        let late = |since: Option<Time>| {
            since.and_then(|since| now.since(since)).is_some_and(|waited| waited > LATE)
        };
        !state.running
            || state.write_failing.is_some()
            || state.sync_failing.is_some()
            || state.place_failing.is_some()
            || late(state.oldest_pending)
            || late(state.busy.map(|(_, since)| since))
    }

    /// Intents of earlier processes whose outcome is not known.
    pub fn unresolved(&self) -> Vec<UnresolvedIntent> {
        self.intents.left()
    }

    /// Ends every unresolved intent whose event is in the journal of events, at `directory`. The journal is
    /// read once, because those processes write no more.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn end_recorded_intents(&self, directory: &Path) -> Result<(), ReadError> {
        if self.looked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let unresolved = self.unresolved();
        for number in intent_log::recorded(directory, &unresolved)? {
            self.intents.found(number);
        }
        self.looked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Ends an unresolved intent with the event of its outcome, at the time of the intent.
    pub fn resolve(&self, unresolved: &UnresolvedIntent, event: &Event) {
        self.count(event);
        let line = Line {
            v: VERSION,
            at: unresolved.at,
            event,
            channel: unresolved.channel,
            actor: &unresolved.actor,
            request_id: unresolved.request_id.as_ref(),
            trace_id: None,
            detail: None,
            intent: Some(unresolved.number),
            settled: true,
        };
        let line = serde_json::to_vec(&line).unwrap_or_default();
        self.intents.note(unresolved.number, |announced| self.submit(line, announced));
    }

    /// Ends an unresolved intent that was rolled back.
    pub fn discard(&self, unresolved: &UnresolvedIntent) {
        self.intents.withdraw(unresolved.number);
    }

    /// An announced event that is lost is recovered from its intent, so it does not count as missing.
    fn submit(&self, line: Vec<u8>, announced: bool) -> Ticket {
        if announced { self.writer.submit_vouched(line) } else { self.writer.submit(line) }
    }

    fn count(&self, event: &Event) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        *kinds.entry(event.kind()).or_default() += 1;
    }

    /// The number of events of each kind.
    pub fn kinds(&self) -> Vec<(&'static str, u64)> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    /// Statistics of shipping the journal; the shipper updates them.
    pub fn shipping(&self) -> &Arc<ShipStats> {
        &self.shipping
    }

    /// Signs what this node states about the trail.
    pub fn voucher(&self) -> &Arc<Voucher> {
        &self.voucher
    }

    /// Adds a sink other than the database, and returns its statistics, which its shippers update.
    pub fn add_sink(&self, name: &'static str) -> Arc<ShipStats> {
        let shipping = Arc::<ShipStats>::default();
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.push((name, Arc::clone(&shipping)));
        shipping
    }

    /// The other sinks, by name.
    pub fn sinks(&self) -> Vec<(&'static str, Arc<ShipStats>)> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The detail keys of users.
    pub fn detail_keys(&self) -> &DetailKeyFile {
        &self.detail_keys
    }

    /// Removes whole segments that contain only records before this sequence.
    pub fn remove_before(&self, sequence: u64) {
        self.writer.remove_before(sequence);
    }

    /// Records the repeated events whose minute is over at `now`.
    pub fn record_repeated(&self, now: Now) {
        for entry in self.repeated.over(now) {
            drop(self.write(&entry));
        }
    }

    /// Has the files looked at: what was removed or moved away is written again, and a record names what is
    /// lost.
    pub fn look(&self) {
        self.writer.look();
        self.intents.look();
        self.detail_keys.look();
    }

    /// Signs and syncs what is written, within `most`.
    pub fn sign_now(&self, most: Duration) {
        self.writer.sign_now(most);
    }

    /// Writes the queued keys and events and stops, within `most` for each.
    pub fn stop(&self, most: Duration) -> Stopped {
        for entry in self.repeated.all() {
            drop(self.write(&entry));
        }
        // The keys first: the next holder of the journal may write them too.
        if !self.detail_keys.settle(most) {
            tracing::error!("keys of the audit trail may not be written, or not destroyed");
        }
        let stopped = self.writer.stop(most);
        let ended = self.intents.stop(&stopped.state, most);
        Stopped { finished: stopped.finished && ended, ..stopped }
    }

    fn detail(&self, entry: &Entry) -> (Option<Detail>, Option<tokio::sync::oneshot::Receiver<()>>) {
        // The record of an erasure has no detail, because the user's key is being destroyed.
        if matches!(entry.event, Event::UserErased { .. }) {
            return (None, None);
        }
        let user = entry.event.user().unwrap_or(UserUuid(Uuid::nil()));
        let given = Plain::of(entry).and_then(|plain| {
            let plain = serde_json::to_vec(&plain).ok()?;
            Some((self.detail_keys.key_of(user)?, plain))
        });
        let Some((given, plain)) = given else { return (None, None) };
        let sealed = STANDARD.encode(given.key.seal(user, &plain, &self.rng));
        (Some(Detail { key: hex::encode(&given.key.id()), sealed }), given.kept)
    }

    fn write(&self, entry: &Entry) -> Receipt {
        let (detail, kept) = self.detail(entry);

        // The next checkpoint states the highest number of a user.
        if let Event::UserRegistered { number, .. } | Event::UsersImported { highest: number, .. } =
            &entry.event
        {
            self.voucher.user(number.0);
        }

        // Failed logins of unknown users share one existing key. The first failed login of a known user would
        // wait for a new key, and the response time would reveal that the account exists.
        let kept = kept.filter(|_| !matches!(entry.event, Event::LoginFailed { .. }));
        let line = Line {
            v: VERSION,
            at: entry.at,
            event: &entry.event,
            channel: entry.origin.channel,
            actor: &entry.origin.actor,
            request_id: entry.origin.request_id.as_ref(),
            trace_id: entry.origin.trace_id.as_deref(),
            detail,
            intent: entry.intent,
            settled: false,
        };

        // A struct of words and numbers always serialises.
        let line = serde_json::to_vec(&line).unwrap_or_default();
        let ticket = match entry.intent {
            Some(number) => self.intents.note(number, |announced| self.submit(line, announced)),
            None => self.submit(line, false),
        };

        if let Event::UserErased { user, .. } = entry.event {
            self.detail_keys.forget(user);
        }
        Box::pin(async move {
            if let Some(kept) = kept {
                // A key that could not be written loses a detail, not an event.
                let _ = kept.await;
            }
            ticket.await;
        })
    }
}

impl Recorder for Auditor {
    fn record(&self, entry: Entry) -> Option<Receipt> {
        self.count(&entry.event);
        let (over, entry) = self.repeated.admit(entry);
        for entry in over {
            drop(self.write(&entry));
        }
        entry.map(|entry| self.write(&entry))
    }

    fn announce(&self, at: Now, intent: &Intent, origin: &Origin, actor: &Actor) -> Option<IntentReceipt> {
        let (number, ticket) = self.intents.begin(at, intent, origin, actor, &self.state())?;
        let written = ticket.map(|ticket| -> Receipt {
            let intents = Arc::clone(&self.intents);
            Box::pin(async move {
                intents.hurry();
                ticket.await;
            })
        });
        Some(IntentReceipt { number, written })
    }

    fn withdraw(&self, number: u64) {
        self.intents.withdraw(number);
    }

    fn can_record(&self) -> bool {
        self.condition() == Condition::Well
    }
}

/// The record of a notice of the journal about itself.
#[derive(Serialize)]
struct OwnLine {
    v: u8,
    at: Now,
    #[serde(flatten)]
    notice: model::event::Notice,
    #[serde(rename = "via")]
    channel: Channel,
    actor: Actor,
}

fn notice_line(notice: &Notice, clock: &Clock) -> Vec<u8> {
    let notice = match notice {
        Notice::Gap(Gap { count, first, last }) => model::event::Notice::AuditGap {
            records: *count,
            first: Now::from_micros(first.0),
            last: Now::from_micros(last.0),
        },
        Notice::Unsynced(range) => {
            model::event::Notice::AuditUnsynced { from: *range.start(), to: *range.end() }
        }
        Notice::Lost(range) => {
            model::event::Notice::AuditRecordsLost { from: *range.start(), to: *range.end() }
        }
        Notice::Adopted(range) => {
            model::event::Notice::AuditEndAdopted { from: *range.start(), to: *range.end() }
        }
    };
    let (channel, actor) = (Channel::Journal, Actor::Server);
    let line = OwnLine { v: VERSION, at: clock.now(), notice, channel, actor };
    serde_json::to_vec(&line).unwrap_or_default()
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditor").field("writer", &self.writer).finish_non_exhaustive()
    }
}

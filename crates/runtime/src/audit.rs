//! The audit context: how a request, a job or a command records events.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use model::{Actor, Clock, Event, Intent, Now, Origin};
use serde::Serialize;

/// One record of the audit trail.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Time of the event.
    pub at: Now,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// The origin of the event.
    #[serde(flatten)]
    pub origin: Origin,
    /// The number of its intent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<u64>,
}

/// Accepts audit entries. Recording cannot fail for the caller and must not block.
pub trait Recorder: Send + Sync {
    /// Records one entry. The receipt, if there is one, completes when the entry is written or can no longer
    /// be written. An entry with an intent resolves the intent once it is written.
    fn record(&self, entry: Entry) -> Option<Receipt>;

    /// Records an intent before its transaction; `None` where intents are not kept, or cannot be written now.
    fn announce(
        &self,
        _at: Now,
        _intent: &Intent,
        _origin: &Origin,
        _actor: &Actor,
    ) -> Option<IntentReceipt> {
        None
    }

    /// Withdraws an intent whose transaction was certainly not committed.
    fn withdraw(&self, _number: u64) {}

    /// Whether entries can be written now.
    fn can_record(&self) -> bool {
        true
    }
}

/// A recorder that discards everything: for code that changes nothing, or runs before there is a journal.
#[derive(Clone, Copy, Debug)]
pub struct NoopRecorder;

impl Recorder for NoopRecorder {
    fn record(&self, _: Entry) -> Option<Receipt> {
        None
    }
}

/// An intent that is being written.
pub struct IntentReceipt {
    /// The number of the intent, until it is resolved.
    pub number: u64,
    /// Completes when it is written or can no longer be written; `None` where that would take too long.
    pub written: Option<Receipt>,
}

/// Completes when an entry is written, or can no longer be written.
pub type Receipt = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The receipts of one request, collected for the layer that sends its response. Clones share them.
#[derive(Clone, Default)]
pub struct Receipts(Arc<Mutex<Vec<Receipt>>>);

impl Receipts {
    fn add(&self, receipt: Receipt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
    }

    /// The receipts collected since the last call.
    pub fn take(&self) -> Vec<Receipt> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipts")
    }
}

/// Records audit events; recording is infallible for the caller.
#[derive(Clone)]
pub struct AuditContext {
    recorder: Arc<dyn Recorder>,
    clock: Clock,
    origin: Arc<Origin>,
    /// The proven actor. Clones share it, including the lease's clone.
    identified: Arc<OnceLock<Actor>>,
    receipts: Option<Receipts>,
}

impl AuditContext {
    /// A context that records into `recorder`, with times of `clock`, for `origin`.
    pub fn new(recorder: Arc<dyn Recorder>, clock: Clock, origin: Origin) -> Self {
        Self { recorder, clock, origin: Arc::new(origin), identified: Arc::default(), receipts: None }
    }

    /// The same context for another origin.
    #[must_use]
    pub fn of(&self, origin: Origin) -> Self {
        Self { origin: Arc::new(origin), identified: Arc::default(), receipts: None, ..self.clone() }
    }

    /// The same context, collecting its receipts.
    #[must_use]
    pub fn gathering(self, receipts: Receipts) -> Self {
        Self { receipts: Some(receipts), ..self }
    }

    /// Sets the actor once it is proven; the first proof holds for the rest of the request.
    pub fn identify(&self, actor: Actor) {
        let _ = self.identified.set(actor);
    }

    /// The actor, as far as it is proven.
    pub fn actor(&self) -> &Actor {
        self.identified.get().unwrap_or(&self.origin.actor)
    }

    /// Records an event. `transact` records the events of committed changes itself.
    pub fn note(&self, event: Event) {
        self.enter(event, None);
    }

    /// Announces a transaction. It may be committed once [`PendingAudit::written`] completes.
    pub fn announce(&self, intent: Intent) -> PendingAudit {
        let promise = self.recorder.announce(self.clock.now(), &intent, &self.origin, self.actor());
        let number = promise.as_ref().map(|promise| promise.number);
        let written = promise.and_then(|promise| promise.written);
        PendingAudit { audit: self.clone(), intent, number, written, state: TransactionState::NotSent }
    }

    fn enter(&self, event: Event, intent: Option<u64>) {
        let actor = match (self.actor(), event.proven_user()) {
            (Actor::Anonymous, Some(user)) => Actor::User { user },
            (known, _) => known.clone(),
        };
        let origin = Origin { actor, ..(*self.origin).clone() };
        let entry = Entry { at: self.clock.now(), event, origin, intent };
        if let (Some(receipt), Some(receipts)) = (self.recorder.record(entry), &self.receipts) {
            receipts.add(receipt);
        }
    }

    /// Whether events can be written now. Otherwise they are counted, and buffered while there is memory.
    pub fn can_record(&self) -> bool {
        self.recorder.can_record()
    }

    /// The origin of this context's events.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Debug for AuditContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditContext").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// An announced transaction and its state. Dropping it reports the outcome to the audit trail: committed,
/// rolled back, or unknown.
#[must_use]
pub struct PendingAudit {
    audit: AuditContext,
    intent: Intent,
    number: Option<u64>,
    written: Option<Receipt>,
    state: TransactionState,
}

/// The state of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TransactionState {
    /// It was not sent, so none of it is committed.
    NotSent,
    /// It may be committed or not.
    Sent,
    /// It is committed.
    Committed(Event),
}

impl PendingAudit {
    /// Completes when the announcement is written: nothing is committed before that, or before the
    /// committer's maximum wait. `None` the second time, and where writing would take too long.
    pub fn written(&mut self) -> Option<Receipt> {
        self.written.take()
    }

    /// From now on it may be committed without the program learning of it.
    pub fn sent(&mut self) {
        self.state = TransactionState::Sent;
    }

    /// None of it is committed: it was not sent, or it was refused.
    pub fn rolled_back(&mut self) {
        self.state = TransactionState::NotSent;
    }

    /// It is committed; `event` is its effect.
    pub fn committed(&mut self, event: Event) {
        self.state = TransactionState::Committed(event);
    }
}

impl fmt::Debug for PendingAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAudit")
            .field("intent", &self.intent)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Drop for PendingAudit {
    fn drop(&mut self) {
        match (std::mem::replace(&mut self.state, TransactionState::NotSent), self.number) {
            (TransactionState::Committed(event), number) => self.audit.enter(event, number),
            (TransactionState::Sent, number) => self.audit.enter(self.intent.unknown(), number),
            (TransactionState::NotSent, Some(number)) => self.audit.recorder.withdraw(number),
            (TransactionState::NotSent, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::UserUuid;
    use model::intent::{self, Announced as _};

    const USER: UserUuid = UserUuid(uuid::Uuid::from_u128(1));

    /// Records the calls it receives.
    #[derive(Default)]
    struct CallLog(Mutex<Vec<String>>);

    impl Recorder for CallLog {
        fn record(&self, entry: Entry) -> Option<Receipt> {
            self.0.lock().unwrap().push(format!("{} {:?}", entry.event.kind(), entry.intent));
            None
        }

        fn announce(&self, _: Now, intent: &Intent, _: &Origin, _: &Actor) -> Option<IntentReceipt> {
            self.0.lock().unwrap().push(format!("announced {}", model::EventKind::from(intent.kind)));
            Some(IntentReceipt { number: 7, written: Some(Box::pin(std::future::ready(()))) })
        }

        fn withdraw(&self, number: u64) {
            self.0.lock().unwrap().push(format!("withdrawn {number}"));
        }
    }

    fn log(go: impl FnOnce(&mut PendingAudit)) -> Vec<String> {
        let log = Arc::<CallLog>::default();
        let audit = AuditContext::new(log.clone(), Clock::test(Now::from_seconds(1)), Origin::default());
        let mut announced =
            audit.announce(intent::ProfileChanged { user: USER, stamp: Now::from_seconds(1) }.intent());
        assert!(announced.written().is_some() && announced.written().is_none());
        go(&mut announced);
        drop(announced);
        let mut log = log.0.lock().unwrap();
        assert_eq!(log.remove(0), "announced profile_changed");
        std::mem::take(&mut *log)
    }

    #[test]
    fn dropping_a_pending_audit_reports_its_outcome() {
        assert_eq!(log(|_| {}), ["withdrawn 7"]);
        assert_eq!(log(PendingAudit::sent), ["outcome_unknown Some(7)"]);
        let refused = |announced: &mut PendingAudit| {
            announced.sent();
            announced.rolled_back();
        };
        assert_eq!(log(refused), ["withdrawn 7"]);
        let committed = |announced: &mut PendingAudit| {
            announced.sent();
            announced.committed(Event::ProfileChanged { user: USER });
        };
        assert_eq!(log(committed), ["profile_changed Some(7)"]);
    }
}

//! The audit context: how a request, a job or a command records what happened.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use model::{Actor, Clock, Event, Intent, Now, Origin};
use serde::Serialize;

/// One line of the audit trail.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When it was noted.
    pub at: Now,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// Where it came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The number under which it was announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<u64>,
}

/// Takes entries. Recording cannot fail for the caller and must not block.
pub trait Recorder: Send + Sync {
    /// Takes one entry. The receipt, where there is one, is ready once the entry is written or never will be. An
    /// entry that was announced ends its intent once it is written.
    fn record(&self, entry: Entry) -> Option<Receipt>;

    /// Takes what is about to happen; `None` where that is not kept, or cannot be written now.
    fn announce(
        &self,
        _at: Now,
        _intent: &Intent,
        _origin: &Origin,
        _actor: &Actor,
    ) -> Option<IntentReceipt> {
        None
    }

    /// What was announced under this number surely did not happen.
    fn withdraw(&self, _number: u64) {}

    /// Whether entries are written now.
    fn can_record(&self) -> bool {
        true
    }
}

/// A recorder that keeps nothing: for what changes nothing, or runs before there is a journal.
#[derive(Clone, Copy, Debug)]
pub struct NoopRecorder;

impl Recorder for NoopRecorder {
    fn record(&self, _: Entry) -> Option<Receipt> {
        None
    }
}

/// An intent on its way to the disk.
pub struct IntentReceipt {
    /// The number under which it is kept until it is settled.
    pub number: u64,
    /// Ready once it is written or never will be; `None` where that is known to take too long.
    pub written: Option<Receipt>,
}

/// Ready once an entry is written, or never will be.
pub type Receipt = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The receipts of one request, gathered for whoever sends its answer. Clones share them.
#[derive(Clone, Default)]
pub struct Receipts(Arc<Mutex<Vec<Receipt>>>);

impl Receipts {
    fn add(&self, receipt: Receipt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
    }

    /// Those that were gathered since the last time.
    pub fn take(&self) -> Vec<Receipt> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipts")
    }
}

/// The way to the audit trail: infallible for whoever notes something.
#[derive(Clone)]
pub struct AuditContext {
    recorder: Arc<dyn Recorder>,
    clock: Clock,
    origin: Arc<Origin>,
    /// Who it turned out to be. Clones share it, the lease's too.
    identified: Arc<OnceLock<Actor>>,
    receipts: Option<Receipts>,
}

impl AuditContext {
    /// A trail into `recorder`, with times of `clock`, for what `origin` does.
    pub fn new(recorder: Arc<dyn Recorder>, clock: Clock, origin: Origin) -> Self {
        Self { recorder, clock, origin: Arc::new(origin), identified: Arc::default(), receipts: None }
    }

    /// The same trail for another origin.
    #[must_use]
    pub fn of(&self, origin: Origin) -> Self {
        Self { origin: Arc::new(origin), identified: Arc::default(), receipts: None, ..self.clone() }
    }

    /// The same trail, whose receipts are gathered.
    #[must_use]
    pub fn gathering(self, receipts: Receipts) -> Self {
        Self { receipts: Some(receipts), ..self }
    }

    /// Says who acts, once that is proven; the first proof holds for everything that follows in this request.
    pub fn identify(&self, actor: Actor) {
        let _ = self.identified.set(actor);
    }

    /// Who acts, as far as it is proven.
    pub fn actor(&self) -> &Actor {
        self.identified.get().unwrap_or(&self.origin.actor)
    }

    /// Says that `event` happened. Events of committed changes come here by themselves, from `transact`.
    pub fn note(&self, event: Event) {
        self.enter(event, None);
    }

    /// Says what a transaction is about to do. It may be committed once that is [`PendingAudit::written`].
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

    /// Whether events are written now. Where they are not, they are counted, and kept as far as there is memory.
    pub fn can_record(&self) -> bool {
        self.recorder.can_record()
    }

    /// Where this trail's events come from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Debug for AuditContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditContext").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A transaction that was announced, and how far it is. Wherever this is dropped, the trail is told how it went: that
/// it happened, that it did not, or that nobody knows.
#[must_use]
pub struct PendingAudit {
    audit: AuditContext,
    intent: Intent,
    number: Option<u64>,
    written: Option<Receipt>,
    state: TransactionState,
}

/// How far a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TransactionState {
    /// Nothing of it stands.
    NotSent,
    /// It may stand or not.
    Sent,
    /// It stands.
    Committed(Event),
}

impl PendingAudit {
    /// What says that the announcement is written: nothing is committed before that, or before as long as whoever
    /// commits will wait. Nothing the second time, and where it is known to take too long.
    pub fn written(&mut self) -> Option<Receipt> {
        self.written.take()
    }

    /// From now on it may be committed without anybody hearing of it.
    pub fn sent(&mut self) {
        self.state = TransactionState::Sent;
    }

    /// Nothing of it stands: it was not sent, or it was refused.
    pub fn rolled_back(&mut self) {
        self.state = TransactionState::NotSent;
    }

    /// It is committed; `event` is what it did.
    pub fn committed(&mut self, event: Event) {
        self.state = TransactionState::Committed(event);
    }

    /// Finds out, in tests, a transaction that does something else than was announced.
    pub fn check(&self, event: &Event) {
        debug_assert!(self.intent.is_of(event), "announced was {:?}, done is {event:?}", self.intent);
    }
}

impl fmt::Debug for PendingAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announced")
            .field("intent", &self.intent)
            .field("fate", &self.state)
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
    use model::{EventKind, UserUuid};

    const USER: UserUuid = UserUuid(uuid::Uuid::from_u128(1));

    /// Tells what it was told.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Recorder for Told {
        fn record(&self, entry: Entry) -> Option<Receipt> {
            self.0.lock().unwrap().push(format!("{} {:?}", entry.event.kind(), entry.intent));
            None
        }

        fn announce(&self, _: Now, intent: &Intent, _: &Origin, _: &Actor) -> Option<IntentReceipt> {
            self.0.lock().unwrap().push(format!("announced {}", intent.kind));
            Some(IntentReceipt { number: 7, written: Some(Box::pin(std::future::ready(()))) })
        }

        fn withdraw(&self, number: u64) {
            self.0.lock().unwrap().push(format!("withdrawn {number}"));
        }
    }

    fn told(go: impl FnOnce(&mut PendingAudit)) -> Vec<String> {
        let told = Arc::<Told>::default();
        let audit = AuditContext::new(told.clone(), Clock::test(Now::from_seconds(1)), Origin::default());
        let mut announced = audit.announce(Intent::to(EventKind::ProfileChanged).user(USER));
        assert!(announced.written().is_some() && announced.written().is_none());
        go(&mut announced);
        drop(announced);
        let mut told = told.0.lock().unwrap();
        assert_eq!(told.remove(0), "announced profile_changed");
        std::mem::take(&mut *told)
    }

    #[test]
    fn wherever_it_is_dropped_the_trail_is_told_how_it_went() {
        assert_eq!(told(|_| {}), ["withdrawn 7"]);
        assert_eq!(told(PendingAudit::sent), ["outcome_unknown Some(7)"]);
        let refused = |announced: &mut PendingAudit| {
            announced.sent();
            announced.rolled_back();
        };
        assert_eq!(told(refused), ["withdrawn 7"]);
        let committed = |announced: &mut PendingAudit| {
            announced.sent();
            announced.committed(Event::ProfileChanged { user: USER });
        };
        assert_eq!(told(committed), ["profile_changed Some(7)"]);
    }
}

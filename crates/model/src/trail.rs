//! The trail: where a request, a job or a command says what happened.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::{Clock, Event, Now, RequestId};

/// Where something came from: part of every entry.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Origin {
    /// `http`, `cli` or the name of a job.
    pub via: &'static str,
    /// The request's id, where there is a request.
    pub request_id: Option<RequestId>,
    /// The id that the client itself gave the request: its word, not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
    /// The trace that the request belongs to (W3C Trace Context).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The client's address after trusted proxies.
    pub address: Option<IpAddr>,
    /// The client's `User-Agent`, cut to 256 characters, control characters replaced.
    pub user_agent: Option<String>,
}

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
}

/// Takes entries. Recording cannot fail for the caller and must not block.
pub trait Recorder: Send + Sync {
    /// Takes one entry. The receipt, where there is one, is ready once the entry is written or never will be.
    fn record(&self, entry: Entry) -> Option<Receipt>;
}

/// Ready once an entry is written, or never will be.
pub type Receipt = Pin<Box<dyn Future<Output = ()> + Send>>;

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
pub struct Trail {
    recorder: Arc<dyn Recorder>,
    clock: Clock,
    origin: Arc<Origin>,
    receipts: Option<Receipts>,
}

impl Trail {
    /// A trail into `recorder`, with times of `clock`, for what `origin` does.
    pub fn new(recorder: Arc<dyn Recorder>, clock: Clock, origin: Origin) -> Self {
        Self { recorder, clock, origin: Arc::new(origin), receipts: None }
    }

    /// The same trail for another origin.
    #[must_use]
    pub fn of(&self, origin: Origin) -> Self {
        Self { origin: Arc::new(origin), receipts: None, ..self.clone() }
    }

    /// The same trail, whose receipts are gathered.
    #[must_use]
    pub fn gathering(self, receipts: Receipts) -> Self {
        Self { receipts: Some(receipts), ..self }
    }

    /// Says that `event` happened. Events of committed changes come here by themselves, from `transact`.
    pub fn note(&self, event: Event) {
        let entry = Entry { at: self.clock.now(), event, origin: (*self.origin).clone() };
        if let (Some(receipt), Some(receipts)) = (self.recorder.record(entry), &self.receipts) {
            receipts.add(receipt);
        }
    }

    /// Where this trail's events come from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").field("origin", &self.origin).finish_non_exhaustive()
    }
}

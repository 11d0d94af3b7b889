//! Records what a connection does and since when, and computes its next deadline from that.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::Limits;
use super::flood::Frames;

/// The first bytes of every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The limit that a connection exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The connection had no request for too long.
    Idle,
    /// The headers of a request took too long, or the peer keeps a closing connection open.
    Header,
    /// The peer does not read what is written.
    Write,
}

/// The state of one connection. Its socket, its requests and its responses update it. Clones share it.
#[derive(Clone)]
pub(super) struct Watch(Arc<Mutex<State>>);

struct State {
    limits: Limits,
    /// How many bytes of the HTTP/2 preface have come. `None` once it is complete, or other bytes have come.
    preface: Option<usize>,
    /// The frames of HTTP/2. `None` until the preface is complete.
    frames: Option<Frames>,
    /// The number of requests whose response has not ended.
    requests: usize,
    /// While there is no request: since when, and whether the first bytes of the next one have come.
    quiet: (Instant, bool),
    /// When the connection was asked to close.
    closing: Option<Instant>,
    /// Since when a write is blocked.
    writing: Option<Instant>,
    /// When each open response last made progress.
    responses: BTreeMap<u64, Instant>,
    /// The number of the newest request.
    newest: u64,
    /// Whether the peer may still be sending a body that the service does not read.
    unread: bool,
}

impl Watch {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(State {
            limits,
            preface: Some(0),
            frames: None,
            requests: 0,
            quiet: (Instant::now(), true),
            closing: None,
            writing: None,
            responses: BTreeMap::new(),
            newest: 0,
            unread: false,
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records that `bytes` came from the peer. An error, for a flood of frames, ends the connection.
    pub(super) fn read(&self, bytes: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        self.with(|state| {
            let rest = state.past_preface(bytes, now);
            if let Some(frames) = &mut state.frames {
                return frames.read(rest, now).map_err(|flood| io::Error::other(flood.to_string()));
            }
            if state.requests == 0 && !state.quiet.1 && !bytes.is_empty() {
                state.quiet = (now, true);
            }
            Ok(())
        })
    }

    /// Records whether a write or flush is blocked.
    pub(super) fn write(&self, blocked: bool) {
        self.with(|state| match (blocked, state.writing) {
            (true, None) => state.writing = Some(Instant::now()),
            (true, Some(_)) => {}
            (false, _) => state.writing = None,
        });
    }

    /// Records that the headers of a request have ended. The request is open until the result is dropped.
    pub(super) fn request(&self) -> Served {
        self.with(|state| {
            state.requests += 1;
            state.newest += 1;
            state.unread = false;
            Served { watch: self.clone(), id: state.newest }
        })
    }

    /// Records that the connection was asked to close.
    pub(super) fn close(&self) {
        self.with(|state| state.closing = Some(Instant::now()));
    }

    /// Records that a response begins before the whole body of its request was read.
    pub(super) fn left_unread(&self) {
        self.with(|state| state.unread = true);
    }

    /// Whether the peer may still be sending. If so, closing the socket at once could reset the connection
    /// before the peer has read the response.
    pub(super) fn may_be_sending(&self) -> bool {
        self.with(|state| state.frames.is_none() && (state.unread || (state.requests == 0 && state.quiet.1)))
    }

    /// Returns the next limit that the connection will exceed, and when.
    pub(super) fn deadline(&self) -> Option<(Instant, Overdue)> {
        self.with(|state| state.deadline())
    }

    /// Returns the limits of the connection.
    pub(super) fn limits(&self) -> Limits {
        self.with(|state| state.limits)
    }
}

impl State {
    /// Returns the part of `bytes` after the preface of HTTP/2.
    fn past_preface<'a>(&mut self, bytes: &'a [u8], now: Instant) -> &'a [u8] {
        let Some(have) = self.preface else { return bytes };
        let wanted = PREFACE.get(have..).unwrap_or_default();
        let common = bytes.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        if common == wanted.len() {
            self.preface = None;
            self.frames = Some(Frames::new(now));
            self.quiet = (now, false);
        } else {
            self.preface = (common == bytes.len()).then_some(have + common);
        }
        bytes.get(common..).unwrap_or_default()
    }

    fn deadline(&self) -> Option<(Instant, Overdue)> {
        let limits = &self.limits;
        let responses = self.responses.values().min();
        let write = self.writing.iter().chain(responses).min();
        let write = write.map(|since| (*since + limits.write_timeout, Overdue::Write));
        let quiet = (self.requests == 0).then_some(match (self.closing, self.quiet) {
            (Some(closing), (since, _)) => (closing.max(since) + limits.header_timeout, Overdue::Header),
            (None, (since, true)) => (since + limits.header_timeout, Overdue::Header),
            (None, (since, false)) => (since + limits.idle_timeout, Overdue::Idle),
        });
        [write, quiet].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// An open request and its response. Dropping it ends the request.
pub(super) struct Served {
    watch: Watch,
    id: u64,
}

impl Served {
    /// Records that the response begins or makes progress.
    pub(super) fn progressed(&self) {
        self.watch.with(|state| state.responses.insert(self.id, Instant::now()));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.watch.with(|state| {
            state.responses.remove(&self.id);
            state.requests = state.requests.saturating_sub(1);
            if state.requests == 0 {
                state.quiet = (Instant::now(), false);
            }
        });
    }
}

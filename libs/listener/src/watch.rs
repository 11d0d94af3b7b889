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
    /// While there is no request: since when, and what of the next one has come.
    quiet: (Instant, Next),
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
    /// Whether the place of the connection was given to another one.
    retired: bool,
}

/// What has come of the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing, and it is the first one of the connection.
    First,
    /// Nothing, and there was one before, or the peer speaks HTTP/2.
    Later,
    /// Its first bytes.
    Begun,
}

impl Watch {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(State {
            limits,
            preface: Some(0),
            frames: None,
            requests: 0,
            quiet: (Instant::now(), Next::First),
            closing: None,
            writing: None,
            responses: BTreeMap::new(),
            newest: 0,
            unread: false,
            retired: false,
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
            if state.requests == 0 && !bytes.is_empty() {
                state.quiet = match state.quiet {
                    (since, Next::First) => (since, Next::Begun),
                    (_, Next::Later) => (now, Next::Begun),
                    begun @ (_, Next::Begun) => begun,
                };
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

    /// Records that the connection begins to wait for its first request: what came before it is over.
    pub(super) fn begin(&self) {
        self.with(|state| state.quiet = (Instant::now(), Next::First));
    }

    /// Since when the connection has had no request, not even the first byte of one, and nothing to write.
    /// `None` while it has, and once it is closing.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.with(|state| state.idle_since())
    }

    /// Records that the place of the connection is given to another one, if it is idle. Returns whether it
    /// is.
    pub(super) fn retire(&self) -> bool {
        self.with(|state| {
            let is_idle = state.idle_since().is_some();
            state.retired |= is_idle;
            is_idle
        })
    }

    /// Records that a response begins before the whole body of its request was read.
    pub(super) fn left_unread(&self) {
        self.with(|state| state.unread = true);
    }

    /// Whether the peer may still be sending. If so, closing the socket at once could reset the connection
    /// before the peer has read the response.
    pub(super) fn may_be_sending(&self) -> bool {
        self.with(|state| {
            state.frames.is_none() && (state.unread || (state.requests == 0 && state.quiet.1 != Next::Later))
        })
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
    fn is_busy(&self) -> bool {
        self.requests > 0 || self.quiet.1 == Next::Begun || self.writing.is_some()
    }

    fn idle_since(&self) -> Option<Instant> {
        let is_open = self.closing.is_none() && !self.retired;
        (is_open && !self.is_busy()).then_some(self.quiet.0)
    }

    /// Returns the part of `bytes` after the preface of HTTP/2.
    fn past_preface<'a>(&mut self, bytes: &'a [u8], now: Instant) -> &'a [u8] {
        let Some(have) = self.preface else { return bytes };
        let wanted = PREFACE.get(have..).unwrap_or_default();
        let common = bytes.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        if common == wanted.len() {
            self.preface = None;
            self.frames = Some(Frames::new(now));
            self.quiet = (now, Next::Later);
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
            (None, (since, Next::First | Next::Begun)) => (since + limits.header_timeout, Overdue::Header),
            (None, (since, Next::Later)) => (since + limits.idle_timeout, Overdue::Idle),
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
                state.quiet = (Instant::now(), Next::Later);
            }
        });
    }
}

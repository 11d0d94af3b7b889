//! What a connection is doing and since when, and which deadline follows from that.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::Limits;
use super::flood::Frames;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Which limit a connection went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request for too long.
    Idle,
    /// A request's headers take too long, or the peer does not let the connection end.
    Header,
    /// Nobody reads what is written.
    Write,
}

/// One connection, as seen by its socket, its requests and its answers. Clones see the same.
#[derive(Clone)]
pub(super) struct Watch(Arc<Mutex<State>>);

struct State {
    limits: Limits,
    /// How much of the HTTP/2 preface has come; `None` once something else has.
    preface: Option<usize>,
    /// The frames of HTTP/2, once the whole preface has come.
    frames: Option<Frames>,
    /// Requests that have begun and whose answer has not ended.
    requests: usize,
    /// While there is no request: since when, and whether the next one has begun.
    quiet: (Instant, bool),
    closing: Option<Instant>,
    writing: Option<Instant>,
    /// Answers under way: when each last moved.
    answers: BTreeMap<u64, Instant>,
    answer: u64,
    /// Whether the peer may still be sending something that nobody will read.
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
            answers: BTreeMap::new(),
            answer: 0,
            unread: false,
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes came from the peer. An error ends the connection.
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

    /// A write (or flush) went on, or is stuck.
    pub(super) fn write(&self, stuck: bool) {
        self.with(|state| match (stuck, state.writing) {
            (true, None) => state.writing = Some(Instant::now()),
            (true, Some(_)) => {}
            (false, _) => state.writing = None,
        });
    }

    /// A request's headers have ended; it goes on until the result is dropped.
    pub(super) fn request(&self) -> Served {
        self.with(|state| {
            state.requests += 1;
            state.answer += 1;
            state.unread = false;
            Served { watch: self.clone(), id: state.answer }
        })
    }

    /// The connection was asked to end.
    pub(super) fn close(&self) {
        self.with(|state| state.closing = Some(Instant::now()));
    }

    /// A request was answered before its body had come.
    pub(super) fn left_unread(&self) {
        self.with(|state| state.unread = true);
    }

    /// Whether the peer may still be sending, so that closing the socket at once could take the answer from
    /// it.
    pub(super) fn may_be_sending(&self) -> bool {
        self.with(|state| state.frames.is_none() && (state.unread || (state.requests == 0 && state.quiet.1)))
    }

    /// When the connection will have gone over a limit, and which.
    pub(super) fn deadline(&self) -> Option<(Instant, Overdue)> {
        self.with(|state| state.deadline())
    }

    /// The limits.
    pub(super) fn limits(&self) -> Limits {
        self.with(|state| state.limits)
    }
}

impl State {
    /// What of `bytes` comes after the preface of HTTP/2.
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
        let answers = self.answers.values().min();
        let write = self.writing.iter().chain(answers).min();
        let write = write.map(|since| (*since + limits.write_timeout, Overdue::Write));
        let quiet = (self.requests == 0).then_some(match (self.closing, self.quiet) {
            (Some(closing), (since, _)) => (closing.max(since) + limits.header_timeout, Overdue::Header),
            (None, (since, true)) => (since + limits.header_timeout, Overdue::Header),
            (None, (since, false)) => (since + limits.idle_timeout, Overdue::Idle),
        });
        [write, quiet].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// A request and its answer; ends when dropped.
pub(super) struct Served {
    watch: Watch,
    id: u64,
}

impl Served {
    /// The answer begins, or goes on.
    pub(super) fn answering(&self) {
        self.watch.with(|state| state.answers.insert(self.id, Instant::now()));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.watch.with(|state| {
            state.answers.remove(&self.id);
            state.requests = state.requests.saturating_sub(1);
            if state.requests == 0 {
                state.quiet = (Instant::now(), false);
            }
        });
    }
}

//! Bodies: of requests with a deadline, of answers with an eye on their progress.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Answer;
use super::watch::Served;

/// Why a request's body could not be read to its end.
#[derive(Debug)]
pub enum BodyError {
    /// It took too long; the connection is answering 408 already.
    TooSlow,
    /// The connection or the stream ended, or was not HTTP.
    Broken(hyper::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSlow => f.write_str("the body did not come in time"),
            Self::Broken(why) => write!(f, "the body broke off: {why}"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooSlow => None,
            Self::Broken(why) => Some(why),
        }
    }
}

/// A request's body; reading it fails once its time is over.
pub struct RequestBody {
    inner: Incoming,
    sleep: Pin<Box<Sleep>>,
    late: bool,
    done: Done,
}

/// Whether a body has come to its end, or nobody wants the rest; shared with the connection.
#[derive(Clone, Default)]
pub(super) struct Done(Arc<(AtomicBool, AtomicBool)>);

impl Done {
    /// Whether the body need not be waited for.
    pub(super) fn is_set(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Whether the whole body has been read.
    pub(super) fn is_whole(&self) -> bool {
        self.0.1.load(Ordering::Acquire)
    }

    fn set(&self, whole: bool) {
        self.0.0.store(true, Ordering::Release);
        if whole {
            self.0.1.store(true, Ordering::Release);
        }
    }
}

impl RequestBody {
    /// The body of a request, and what tells whether it is still awaited.
    pub(super) fn new(inner: Incoming, deadline: Instant) -> (Self, Done) {
        let done = Done::default();
        if inner.is_end_stream() {
            done.set(true);
        }
        (Self { inner, sleep: Box::pin(sleep_until(deadline)), late: false, done: done.clone() }, done)
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("late", &self.late).finish_non_exhaustive()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.late {
            self.done.set(false);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                if frame.is_none() || self.inner.is_end_stream() {
                    self.done.set(true);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)))
            }
            Poll::Pending if self.sleep.as_mut().poll(cx).is_ready() => {
                self.late = true;
                Poll::Ready(Some(Err(BodyError::TooSlow)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Size of the pieces in which an answer is handed over: while the peer takes none, the body is not asked for
/// the next, and so the answer shows as standing still.
const PIECE: usize = 16 * 1024;

/// An answer's body; while it exists, its request has not ended.
pub(super) struct AnswerBody<B> {
    inner: Pin<Box<B>>,
    rest: Bytes,
    served: Served,
}

impl<B: Answer> AnswerBody<B> {
    pub(super) fn new(inner: B, served: Served) -> Self {
        served.answering();
        Self { inner: Box::pin(inner), rest: Bytes::new(), served }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE)))
    }
}

impl<B: Answer> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.served.answering();
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        match ready!(self.inner.as_mut().poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                self.rest = data;
                Poll::Ready(Some(Ok(self.piece())))
            }
            Some(Ok(Err(other))) => Poll::Ready(Some(Ok(other))),
            Some(Err(why)) => Poll::Ready(Some(Err(why))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

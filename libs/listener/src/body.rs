//! The bodies of requests, which have a deadline, and of responses, whose progress is watched.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::ResponseBody;
use super::watch::Served;

/// The body of a request. Reading it fails with [`io::ErrorKind::TimedOut`] after its deadline, when the
/// connection responds with 408 by itself, and with [`io::ErrorKind::InvalidData`] where the connection or
/// the stream ended, or what it carried was not HTTP.
pub struct RequestBody {
    inner: Incoming,
    sleep: Pin<Box<Sleep>>,
    late: bool,
    done: Done,
}

/// Whether a body has come to its end, or its reader has dropped it. The connection shares it.
#[derive(Clone, Default)]
pub(super) struct Done(Arc<(AtomicBool, AtomicBool)>);

impl Done {
    /// Whether the body has ended or was dropped, so that its deadline no longer counts.
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
    /// Wraps the body of a request. The second value tells whether the body is still being read.
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
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                if frame.is_none() || self.inner.is_end_stream() {
                    self.done.set(true);
                }
                Poll::Ready(
                    frame.map(|frame| {
                        frame.map_err(|broken| io::Error::new(io::ErrorKind::InvalidData, broken))
                    }),
                )
            }
            Poll::Pending if self.sleep.as_mut().poll(cx).is_ready() => {
                self.late = true;
                let late = io::Error::new(io::ErrorKind::TimedOut, "the body did not come in time");
                Poll::Ready(Some(Err(late)))
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

/// The most bytes of a response that hyper gets at once. While the peer reads nothing, hyper does not poll
/// for the next piece, so that the response visibly makes no progress.
const PIECE: usize = 16 * 1024;

/// The body of a response. Its request counts as open until the body is dropped.
pub(super) struct WatchedBody<B> {
    inner: Pin<Box<B>>,
    rest: Bytes,
    served: Served,
}

impl<B: ResponseBody> WatchedBody<B> {
    pub(super) fn new(inner: B, served: Served) -> Self {
        served.progressed();
        Self { inner: Box::pin(inner), rest: Bytes::new(), served }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE)))
    }
}

impl<B: ResponseBody> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.served.progressed();
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

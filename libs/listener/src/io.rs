//! Reports what happens on a socket to the watch of its connection.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Stream;
use super::watch::Watch;

/// For how long, and for how many bytes, the listener reads on after the last response when the peer is still
/// sending. Closing the socket earlier could reset the connection before the peer has read the response.
const LINGER: (Duration, usize) = (Duration::from_secs(2), 256 * 1024);

/// A stream that reports reads and writes to a [`Watch`].
pub(super) struct Io<T> {
    inner: T,
    watch: Watch,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<T: Stream> Io<T> {
    pub(super) fn new(inner: T, watch: Watch) -> Self {
        Self { inner, watch, linger: None }
    }

    fn written<R>(&self, polled: Poll<R>) -> Poll<R> {
        self.watch.write(polled.is_pending());
        polled
    }

    /// Reads and discards until the peer has closed its side, at most as much as [`LINGER`] says.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (until, left) =
            self.linger.get_or_insert_with(|| (Box::pin(tokio::time::sleep(LINGER.0)), LINGER.1));
        let mut space = [0; 4096];
        while *left > 0 && until.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *left = left.saturating_sub(buffer.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: Stream> AsyncRead for Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(pin!(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(self.watch.read(buf.filled().get(before..).unwrap_or_default()))
    }
}

impl<T: Stream> AsyncWrite for Io<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = pin!(&mut self.inner).poll_write(cx, buf);
        self.written(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = pin!(&mut self.inner).poll_flush(cx);
        self.written(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let polled = pin!(&mut self.inner).poll_shutdown(cx);
            ready!(self.written(polled))?;
        }
        if self.linger.is_some() || self.watch.may_be_sending() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = pin!(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

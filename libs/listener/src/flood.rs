//! Detects floods of HTTP/2 frames, which end the connection.
//!
//! The HTTP/2 library bounds what it stores, but not how many control frames it processes. This module parses
//! the frame headers (RFC 9113 §4.1) beside the library, and each frame that causes work without being a
//! request takes a token from a bucket that is refilled slowly.

use std::time::Duration;

use tokio::time::Instant;

const DATA: u8 = 0;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// The flag of the last DATA frame of a stream.
const END_STREAM: u8 = 1;

/// A token bucket: at most `most` tokens, and one more in each interval `every`.
struct Bucket {
    left: u32,
    most: u32,
    every: Duration,
    filled: Instant,
}

impl Bucket {
    fn new(most: u32, every: Duration, now: Instant) -> Self {
        Self { left: most, most, every, filled: now }
    }

    /// Takes a token. Returns whether there was one.
    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled).as_nanos();
        let more = u32::try_from(since / self.every.as_nanos().max(1)).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(self.most);
            self.filled = now;
        }
        let has = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has
    }
}

/// The kind of frame of which there were too many.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a flood of HTTP/2 {0} frames")]
pub(super) struct Flood(&'static str);

/// Parses the frame headers of one connection and counts the frames.
pub(super) struct Frames {
    /// The bytes of a header that has not come whole.
    header: Vec<u8>,
    /// How many bytes of the current payload are still to come.
    skip: usize,
    resets: Bucket,
    control: Bucket,
    windows: Bucket,
}

impl Frames {
    pub(super) fn new(now: Instant) -> Self {
        let millis = Duration::from_millis;
        Self {
            header: Vec::with_capacity(9),
            skip: 0,
            resets: Bucket::new(200, millis(10), now),
            control: Bucket::new(500, millis(20), now),
            windows: Bucket::new(5000, millis(1), now),
        }
    }

    /// Parses bytes from the peer, which may begin and end anywhere in a frame.
    pub(super) fn read(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        while let [first, rest @ ..] = bytes {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            self.header.push(*first);
            bytes = rest;
            if let [a, b, c, kind, flags, ..] = *self.header.as_slice()
                && self.header.len() == 9
            {
                self.header.clear();
                let length = u32::from_be_bytes([0, a, b, c]);
                self.skip = length as usize;
                self.frame(kind, flags, length, now)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, kind: u8, flags: u8, length: u32, now: Instant) -> Result<(), Flood> {
        let (bucket, name) = match kind {
            RST_STREAM => (&mut self.resets, "RST_STREAM"),
            PING => (&mut self.control, "PING"),
            SETTINGS => (&mut self.control, "SETTINGS"),
            PRIORITY => (&mut self.control, "PRIORITY"),
            CONTINUATION => (&mut self.control, "CONTINUATION"),
            DATA if length == 0 && flags & END_STREAM == 0 => (&mut self.control, "empty DATA"),
            WINDOW_UPDATE => (&mut self.windows, "WINDOW_UPDATE"),
            _ => return Ok(()),
        };
        if bucket.take(now) { Ok(()) } else { Err(Flood(name)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 0], &vec![0xff; payload]].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_parsed_from_pieces_of_any_size() {
        let wire = [frame(1, 300), frame(PING, 8), frame(DATA, 16_384)].concat().repeat(400);
        for piece in [1, 7, 4096] {
            let mut frames = Frames::new(Instant::now());
            wire.chunks(piece).try_for_each(|bytes| frames.read(bytes, Instant::now())).unwrap();
            assert!(frames.header.is_empty() && frames.skip == 0 && frames.control.left == 100);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_flood_is_named_and_a_steady_rate_is_no_flood() {
        for (kind, payload, name) in [
            (PING, 8, "PING"),
            (SETTINGS, 0, "SETTINGS"),
            (PRIORITY, 5, "PRIORITY"),
            (DATA, 0, "empty DATA"),
            (CONTINUATION, 1, "CONTINUATION"),
            (RST_STREAM, 4, "RST_STREAM"),
            (WINDOW_UPDATE, 4, "WINDOW_UPDATE"),
        ] {
            let mut frames = Frames::new(Instant::now());
            let flood = frames.read(&frame(kind, payload).repeat(5001), Instant::now());
            assert_eq!(flood, Err(Flood(name)));

            let mut frames = Frames::new(Instant::now());
            for _ in 0..2000 {
                frames.read(&frame(kind, payload), Instant::now()).unwrap();
                tokio::time::advance(Duration::from_millis(20)).await;
            }
        }
    }
}

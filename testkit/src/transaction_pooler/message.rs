//! Messages of PostgreSQL's protocol (version 3.0): a tag, the length with its own four bytes, a body.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A message with its tag; the first ones of a client have none.
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) body: Bytes,
}

impl Message {
    pub(super) fn new(tag: u8, body: impl Into<Bytes>) -> Self {
        Self { tag, body: body.into() }
    }

    /// An error that ends the connection.
    pub(super) fn fatal(why: &str) -> Self {
        Self::new(b'E', format!("SFATAL\0VFATAL\0C08006\0M{why}\0\0").into_bytes())
    }

    pub(super) fn bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.body.len() + 5);
        bytes.put_u8(self.tag);
        bytes.put_u32(u32::try_from(self.body.len() + 4).expect("a message is short"));
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }
}

/// Takes a text that ends with a zero byte, without it.
pub(super) fn take_text(from: &mut Bytes) -> io::Result<Bytes> {
    let end = from.iter().position(|byte| *byte == 0).ok_or(io::ErrorKind::InvalidData)?;
    let text = from.split_to(end);
    from.advance(1);
    Ok(text)
}

/// Texts, each with a zero byte behind it.
pub(super) fn texts(all: &[&[u8]]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for text in all {
        bytes.extend_from_slice(text);
        bytes.put_u8(0);
    }
    bytes
}

/// One end of a connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    read: BytesMut,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: BytesMut::new() })
    }

    /// The next message. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self) -> io::Result<Message> {
        let mut whole = self.take(1).await?;
        let tag = whole.get_u8();
        whole.advance(4);
        Ok(Message { tag, body: whole })
    }

    /// The body of the next message, which has no tag.
    pub(super) async fn untagged(&mut self) -> io::Result<Bytes> {
        let mut whole = self.take(0).await?;
        whole.advance(4);
        Ok(whole)
    }

    /// The next message with its length, which stands after so many bytes.
    async fn take(&mut self, before: usize) -> io::Result<Bytes> {
        loop {
            if let Some(length) = self.read.get(before..before + 4) {
                let length = length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)) + before;
                if self.read.len() >= length {
                    return Ok(self.read.split_to(length).freeze());
                }
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(super) async fn send(&mut self, message: &Message) -> io::Result<()> {
        self.stream.write_all(&message.bytes()).await
    }
}

//! A client, and the server connection that it has during a transaction.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::message::{Message, Peer, take_text, texts};
use super::server::{Link, Server, cancel, welcome};
use super::{Key, Pool};

const CANCEL: &[u8] = &80_877_102_u32.to_be_bytes();
const TLS: &[u8] = &80_877_103_u32.to_be_bytes();
const GSS: &[u8] = &80_877_104_u32.to_be_bytes();

/// Serves a connection until either end closes it.
pub(super) async fn serve(client: TcpStream, pool: Arc<Pool>) -> io::Result<()> {
    let mut client = Peer::new(client)?;
    loop {
        let mut first = client.untagged().await?;
        match first.split_to(4.min(first.len())).as_ref() {
            TLS | GSS => client.stream.write_all(b"N").await?,
            CANCEL => return cancel(&pool, &first).await,
            _ => break,
        }
    }

    let told = match welcome(&pool).await {
        Ok(told) => told,
        Err(error) => return client.send(&Message::fatal(&error.to_string())).await,
    };
    let key = pool.new_key();
    client.send(&Message::new(b'R', vec![0; 4])).await?;
    client.stream.write_all(&told).await?;
    client.send(&Message::new(b'K', key.clone())).await?;
    client.send(&Message::new(b'Z', "I")).await?;

    let statements = HashMap::new();
    let mut session =
        Session { client, key, pool, statements, link: None, due: VecDeque::new(), failed: false };
    session.run().await
}

/// What is due to the client, in order.
enum Due {
    /// An answer that the server sends.
    Answer,
    /// The answer to a Parse; hidden from the client if it sent none.
    Parsed { name: Bytes, hidden: bool },
    /// The answer to a Close that the client did not send.
    Closed { name: Bytes },
    /// An answer that the pooler makes, because the server has nothing to do.
    Made(u8),
    /// The end of a simple query, or the answer to a Sync.
    Ready,
}

/// A Close or a Describe of a statement.
fn statement(tag: u8, name: &[u8]) -> Message {
    Message::new(tag, texts(&[&[b"S", name].concat()]))
}

struct Session {
    client: Peer,
    key: Key,
    pool: Arc<Pool>,
    /// The text of each statement, with the types of its parameters, by the client's name.
    statements: HashMap<Bytes, Bytes>,
    link: Option<Link>,
    due: VecDeque<Due>,
    /// Whether the server ignores everything until a Sync.
    failed: bool,
}

impl Session {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let message = match self.link.as_mut().and_then(|link| link.server.as_mut()) {
                None => Ok(self.client.next().await?),
                Some(server) => tokio::select! {
                    message = self.client.next() => Ok(message?),
                    message = server.peer.next() => Err(message),
                },
            };
            match message {
                Ok(message) if message.tag == b'X' => return Ok(()),
                Ok(message) => self.of_client(message).await?,
                Err(Ok(message)) => self.of_server(message).await?,
                Err(Err(_)) => {
                    return self.client.send(&Message::fatal("the server connection was lost")).await;
                }
            }
            while let Some(Due::Made(tag)) = self.due.front() {
                self.client.send(&Message::new(*tag, "")).await?;
                self.due.pop_front();
            }
        }
    }

    async fn of_client(&mut self, message: Message) -> io::Result<()> {
        if self.failed && message.tag != b'S' {
            return Ok(());
        }
        self.failed = false;
        if self.link.is_none() {
            match Link::take(&self.pool, &self.key).await {
                Ok(link) => self.link = Some(link),
                Err(error) => return self.client.send(&Message::fatal(&error.to_string())).await,
            }
        }

        let (sent, due) = match message.tag {
            b'P' => (self.parse(message).await?, Some(Due::Answer)),
            b'B' => (Some(self.bind(message).await?), Some(Due::Answer)),
            b'C' | b'D' => (self.close_or_describe(message).await?, Some(Due::Answer)),
            b'E' => (Some(message), Some(Due::Answer)),
            b'Q' | b'S' => (Some(message), Some(Due::Ready)),
            b'H' => (Some(message), None),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let Some(sent) = sent else { return Ok(()) };
        self.due.extend(due);
        self.server()?.peer.send(&sent).await
    }

    /// The message to send; None if nothing is left to do for it.
    async fn parse(&mut self, message: Message) -> io::Result<Option<Message>> {
        let mut text = message.body.clone();
        let name = take_text(&mut text)?;
        if name.is_empty() {
            return Ok(Some(message));
        }
        self.statements.insert(name, text.clone());
        if !self.prepare(&text, false).await? {
            self.due.push_back(Due::Made(b'1'));
        }
        Ok(None)
    }

    async fn bind(&mut self, message: Message) -> io::Result<Message> {
        let mut rest = message.body;
        let (portal, name) = (take_text(&mut rest)?, take_text(&mut rest)?);
        let mut body = texts(&[&portal, &self.known(name).await?]);
        body.extend_from_slice(&rest);
        Ok(Message::new(b'B', body))
    }

    /// The message to send; None for the Close of a statement, which stays prepared on the server.
    async fn close_or_describe(&mut self, message: Message) -> io::Result<Option<Message>> {
        let mut name = message.body.clone();
        let is_statement = name.split_to(1).as_ref() == b"S";
        let name = take_text(&mut name)?;
        if !is_statement || name.is_empty() {
            return Ok(Some(message));
        }
        if message.tag == b'C' {
            self.statements.remove(&name);
            self.due.push_back(Due::Made(b'3'));
            return Ok(None);
        }
        Ok(Some(statement(b'D', &self.known(name).await?)))
    }

    fn server(&mut self) -> io::Result<&mut Server> {
        self.link.as_mut().and_then(|link| link.server.as_mut()).ok_or(io::ErrorKind::NotConnected.into())
    }

    /// The pooler's name of a statement, which is prepared now if the server connection does not know it. The
    /// server refuses a name that the client has not prepared.
    async fn known(&mut self, name: Bytes) -> io::Result<Bytes> {
        let Some(text) = self.statements.get(&name).cloned() else { return Ok(name) };
        self.prepare(&text, true).await?;
        Ok(self.pool.name(&text))
    }

    /// Prepares a statement; false if the server connection knows it.
    async fn prepare(&mut self, text: &Bytes, hidden: bool) -> io::Result<bool> {
        let (name, most) = (self.pool.name(text), self.pool.settings.statements);
        let server = self.server()?;
        if server.uses(&name) {
            return Ok(false);
        }
        if server.statements.len() >= most {
            let oldest = server.statements.remove(0);
            server.peer.send(&statement(b'C', &oldest)).await?;
            self.due.push_back(Due::Closed { name: oldest });
        }
        let server = self.server()?;
        server.statements.push(name.clone());
        let mut body = texts(&[&name]);
        body.put_slice(text);
        server.peer.send(&Message::new(b'P', body.freeze())).await?;
        self.due.push_back(Due::Parsed { name, hidden });
        Ok(true)
    }

    async fn of_server(&mut self, message: Message) -> io::Result<()> {
        let in_batch = !matches!(self.due.front(), Some(Due::Ready));
        let hidden = match message.tag {
            b'E' if in_batch => {
                self.give_up()?;
                self.failed = self.due.is_empty();
                false
            }
            b'Z' => {
                self.give_up()?;
                self.due.pop_front();
                false
            }
            // ParseComplete, BindComplete, CloseComplete, NoData, RowDescription, and the ends of an Execute.
            b'1' | b'2' | b'3' | b'n' | b'T' | b'C' | b'I' | b's' if in_batch => {
                matches!(self.due.pop_front(), Some(Due::Parsed { hidden: true, .. } | Due::Closed { .. }))
            }
            _ => false,
        };

        if message.tag == b'C'
            && [&b"DEALLOCATE ALL\0"[..], b"DISCARD ALL\0"].contains(&message.body.as_ref())
        {
            self.statements.clear();
            self.server()?.statements.clear();
        }
        if !hidden {
            self.client.send(&message).await?;
        }
        if message.tag == b'Z' && message.body.as_ref() == b"I" && self.due.is_empty() {
            self.link.take().into_iter().for_each(Link::give_back);
        }
        Ok(())
    }

    /// Removes what the server no longer answers, up to the next ReadyForQuery, and what it has not done.
    fn give_up(&mut self) -> io::Result<()> {
        while !matches!(self.due.front(), None | Some(Due::Ready)) {
            match self.due.pop_front() {
                Some(Due::Parsed { name, .. }) => drop(self.server()?.forget(&name)),
                Some(Due::Closed { name }) => self.server()?.statements.push(name),
                Some(Due::Answer | Due::Made(_) | Due::Ready) | None => {}
            }
        }
        Ok(())
    }
}

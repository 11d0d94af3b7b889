//! One proxied connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Counts, Cut, Direction, Rules};

const PIECE: usize = 16 * 1024;
const PIECES_UNDER_WAY: usize = 64;
/// A slow connection is served in intervals of this length, so that a new rule applies soon.
const SLICE: Duration = Duration::from_millis(50);

/// Why a connection ends at once.
struct Reset;

/// Bytes and the moment they are due.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

pub(super) async fn serve(
    mut client: TcpStream,
    upstream: Arc<str>,
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) {
    let closings = rules.borrow().closings;
    if rules.borrow().refuse {
        return reset(&client);
    }
    // Otherwise small answers delay each other by 40 ms.
    drop(client.set_nodelay(true));

    let server = tokio::select! {
        server = connect(&upstream, rules.clone()) => server,
        () = closed(rules.clone(), closings) => None,
    };

    let Some(mut server) = server else { return reset(&client) };
    let deaf = AtomicBool::new(false);
    let ended = {
        let (client_out, client_in) = client.split();
        let (server_out, server_in) = server.split();
        let pump = |direction| Pump { direction, rules: rules.clone(), counts: &counts, deaf: &deaf };
        let (up, down) = (pump(Direction::Up), pump(Direction::Down));
        tokio::select! {
            ended = async {
                tokio::try_join!(up.run(client_out, server_in), down.run(server_out, client_in))
            } => ended,
            () = closed(rules.clone(), closings) => Err(Reset),
        }
    };

    if ended.is_err() {
        reset(&client);
        reset(&server);
    }
}

/// In a black hole there is no connection upstream: the client's connection stays open.
async fn connect(upstream: &str, mut rules: watch::Receiver<Rules>) -> Option<TcpStream> {
    rules.wait_for(|rules| !rules.black_hole).await.ok()?;
    let server = TcpStream::connect(upstream).await.ok()?;
    server.set_nodelay(true).ok()?;
    Some(server)
}

async fn closed(mut rules: watch::Receiver<Rules>, closings: u64) {
    // An error means that the proxy ends.
    drop(rules.wait_for(|rules| rules.closings != closings).await);
}

fn reset(stream: &TcpStream) {
    // The socket may be closed already; then there is nothing to reset.
    drop(stream.set_zero_linger());
}

/// Carries one direction.
struct Pump<'a> {
    direction: Direction,
    rules: watch::Receiver<Rules>,
    counts: &'a Counts,
    deaf: &'a AtomicBool,
}

impl Pump<'_> {
    async fn run(self, from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) -> Result<(), Reset> {
        let (pieces, under_way) = mpsc::channel(PIECES_UNDER_WAY);
        let (direction, rules) = (self.direction, self.rules.clone());
        tokio::try_join!(take(from, pieces, direction, rules), self.deliver(to, under_way)).map(|_| ())
    }

    async fn deliver(
        mut self,
        mut to: impl AsyncWrite + Unpin,
        mut under_way: mpsc::Receiver<Piece>,
    ) -> Result<(), Reset> {
        let mut allowance = Allowance::default();
        while let Some(Piece { due, bytes }) = under_way.recv().await {
            sleep_until(due).await;
            let mut left = bytes.as_slice();
            while !left.is_empty() {
                let rules = self.rules.wait_for(|rules| !rules.paused).await.map_err(|_| Reset)?.clone();
                if rules.black_hole || self.deaf.load(Ordering::SeqCst) {
                    self.deaf.store(true, Ordering::SeqCst);
                    break;
                }
                let allowed = allowance.under(rules.cut, self.direction);
                let most = slice(&rules).min(usize::try_from(allowed).unwrap_or(usize::MAX));
                let (now, later) = left.split_at(most.min(left.len()));
                // Counted first: received bytes are always counted.
                let forwarded = u64::try_from(now.len()).unwrap_or(u64::MAX);
                self.counts.bytes(self.direction).fetch_add(forwarded, Ordering::SeqCst);
                to.write_all(now).await.map_err(|_| Reset)?;
                left = later;
                allowance.spend(now.len());
                if forwarded == allowed {
                    return Err(Reset);
                }
                if let Some(rate) = rules.bytes_per_second {
                    sleep(Duration::from_secs(forwarded) / u32::try_from(rate).unwrap_or(u32::MAX)).await;
                }
            }
        }

        // A half-closed connection stays half closed.
        to.shutdown().await.map_err(|_| Reset)
    }
}

async fn take(
    mut from: impl AsyncRead + Unpin,
    pieces: mpsc::Sender<Piece>,
    direction: Direction,
    rules: watch::Receiver<Rules>,
) -> Result<(), Reset> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| Reset)?;
        let bytes = buffer.get(..read).unwrap_or_default().to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        let due = Instant::now() + rules.borrow().latency(direction);
        pieces.send(Piece { due, bytes }).await.map_err(|_| Reset)?;
    }
}

/// The number of bytes sent before the rules are read again.
fn slice(rules: &Rules) -> usize {
    let Some(rate) = rules.bytes_per_second else { return PIECE };
    let slices = u64::try_from(Duration::from_secs(1).as_millis() / SLICE.as_millis()).unwrap_or(1);
    usize::try_from(rate / slices).unwrap_or(PIECE).clamp(1, PIECE)
}

/// The bytes that the current cut still allows.
#[derive(Default)]
struct Allowance {
    cut: u64,
    spent: u64,
}

impl Allowance {
    fn under(&mut self, cut: Option<Cut>, direction: Direction) -> u64 {
        let Some(cut) = cut.filter(|cut| cut.direction == direction) else { return u64::MAX };
        if cut.number != self.cut {
            *self = Self { cut: cut.number, spent: 0 };
        }
        cut.bytes.saturating_sub(self.spent)
    }

    fn spend(&mut self, bytes: usize) {
        self.spent = self.spent.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_cut_counts_from_its_own_beginning() {
        let cut = |number, bytes| Some(Cut { number, direction: Direction::Up, bytes });
        let mut allowance = Allowance::default();
        assert_eq!(allowance.under(None, Direction::Up), u64::MAX);
        allowance.spend(1000);
        assert_eq!(allowance.under(cut(1, 10), Direction::Up), 10);
        allowance.spend(7);
        assert_eq!(allowance.under(cut(1, 10), Direction::Up), 3);
        assert_eq!(allowance.under(cut(1, 10), Direction::Down), u64::MAX);
        assert_eq!(allowance.under(cut(2, 10), Direction::Up), 10);
    }
}

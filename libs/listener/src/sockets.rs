//! Several listening sockets as one source of connections.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};
use tokio_util::either::Either;

use super::{Accept, Peer};

/// One listening socket.
#[derive(Debug)]
pub enum Socket {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixFile),
}

/// A listening Unix socket and its file, which is removed when this is dropped.
#[derive(Debug)]
pub struct UnixFile {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: another process may have replaced it.
    file: (u64, u64),
}

impl UnixFile {
    /// Listens at `path`, with `backlog` connections waiting at most. The file gets `mode`, such as `0o660`,
    /// before a client can connect. A file that a process left behind is replaced.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`] when a process listens there, [`ErrorKind::AlreadyExists`] when the file is
    /// not a socket; else what the system says.
    pub fn bind(path: &Path, mode: u32, backlog: u32) -> Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(Error::new(ErrorKind::AlreadyExists, "there is a file that is not a socket"));
            }
            Ok(_) => match Probe::connect(path) {
                Err(why) if why.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                Err(why) => return Err(why),
                Ok(_) => return Err(Error::new(ErrorKind::AddrInUse, "another process listens there")),
            },
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }

        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        let there = fs::symlink_metadata(path)?;
        let listener = socket.listen(backlog)?;
        Ok(Self { listener, path: path.to_owned(), file: (there.dev(), there.ino()) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == self.file) {
            // A file that remains is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Several listening sockets. Their connections share the limits of one listener.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<Socket>,
    /// How many turns there were: each begins with another socket.
    turn: usize,
}

impl Sockets {
    /// The sockets as one source.
    pub fn new(sockets: Vec<Socket>) -> Self {
        Self { sockets, turn: 0 }
    }

    /// The sockets.
    pub fn all(&self) -> &[Socket] {
        &self.sockets
    }
}

impl Accept for Sockets {
    type Io = Either<TcpStream, UnixStream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Self::Io, Peer)>> {
        self.turn = self.turn.wrapping_add(1);
        let begin = self.turn.checked_rem(self.sockets.len()).unwrap_or(0);
        let (before, after) = self.sockets.split_at_mut(begin);
        for socket in after.iter_mut().chain(before) {
            let polled = match socket {
                Socket::Tcp(listener) => Accept::poll_accept(listener, cx)
                    .map(|accepted| accepted.map(|(stream, peer)| (Either::Left(stream), peer))),
                Socket::Unix(file) => file
                    .listener
                    .poll_accept(cx)
                    .map(|accepted| accepted.map(|(stream, _)| (Either::Right(stream), Peer::UnixSocket))),
            };
            if polled.is_ready() {
                return polled;
            }
        }
        Poll::Pending
    }
}

//! The proof that a request holds no connection.

use std::marker::PhantomData;

use tokio_util::sync::CancellationToken;

/// What may hold a database connection and can give it back. `cargo xtask tidy` lists the implementors.
pub trait ReleasesConnection {
    /// Gives the connection back, if one is held.
    fn release(&mut self);

    /// Cancelled when the client has disconnected.
    fn gone(&self) -> &CancellationToken;
}

/// The proof that a request holds no connection, for as long as it exists. Everything slow takes one: hashing, mail,
/// outbound HTTP, waiting.
#[derive(Debug)]
pub struct Parked<'holder> {
    gone: &'holder CancellationToken,
    // The borrow of the holder, without its contents: a proof may be shared between threads.
    holder: PhantomData<&'holder mut ()>,
}

impl<'holder> Parked<'holder> {
    /// Releases the holder's connection, and borrows the holder so that it takes none meanwhile.
    pub fn new(holder: &'holder mut impl ReleasesConnection) -> Self {
        holder.release();
        Self { gone: holder.gone(), holder: PhantomData }
    }

    /// Cancelled when the client has disconnected: slow work gives up then.
    pub fn gone(&self) -> &CancellationToken {
        self.gone
    }
}

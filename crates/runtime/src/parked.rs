//! The proof that a request holds no connection.

use std::marker::PhantomData;

use tokio_util::sync::CancellationToken;

/// A holder of a database connection that can return it. `cargo xtask tidy` lists the implementors.
pub trait ReleasesConnection {
    /// Returns the connection, if one is held.
    fn release(&mut self);

    /// Cancelled when the client has disconnected.
    fn gone(&self) -> &CancellationToken;
}

/// The proof that a request holds no connection, as long as it exists. Every slow operation takes one:
/// hashing, mail, outbound HTTP, waiting.
#[derive(Debug)]
pub struct Parked<'holder> {
    gone: &'holder CancellationToken,
    // Borrows the holder without its contents, so that a proof can be shared between threads.
    holder: PhantomData<&'holder mut ()>,
}

impl<'holder> Parked<'holder> {
    /// Releases the holder's connection, and borrows the holder so that it cannot take one meanwhile.
    pub fn new(holder: &'holder mut impl ReleasesConnection) -> Self {
        holder.release();
        Self { gone: holder.gone(), holder: PhantomData }
    }

    /// Cancelled when the client has disconnected; slow work stops then.
    pub fn gone(&self) -> &CancellationToken {
        self.gone
    }
}

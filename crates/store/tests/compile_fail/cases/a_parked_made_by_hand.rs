//! Only `park` makes the proof.

use runtime::Parked;

fn handler(gone: &tokio_util::sync::CancellationToken) -> Parked<'_> {
    Parked { gone, holder: std::marker::PhantomData }
}

fn main() {}

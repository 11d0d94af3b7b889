//! Two leases would be two connections.

use store::Lease;

fn handler(lease: &Lease) -> Lease {
    lease.clone()
}

fn main() {}

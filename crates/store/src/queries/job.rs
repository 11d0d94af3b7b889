//! Job leases: which node runs a job. [`crate::Lease::claim_job`] and [`crate::Lease::release_job`] run them.

use std::time::Duration;

use model::Now;
use uuid::Uuid;

use crate::statement::{Call, Stmt, statements};

statements! {
    CLAIM = Stmt::new(
        "job.claim",
        "INSERT INTO gw.jobs (name, holder, lease_until) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until \
         WHERE jobs.lease_until <= $4 OR jobs.lease_until > $5 OR jobs.holder = excluded.holder \
         RETURNING name",
    );
    RELEASE = Stmt::new(
        "job.release",
        "UPDATE gw.jobs SET lease_until = 0 WHERE name = $1 AND holder = $2 RETURNING name",
    );
}

/// How far the clocks of two nodes may differ.
const SKEW: Duration = Duration::from_mins(1);

/// Claims a job for `holder` until `until`; returns no row while another node holds it. A lease that is
/// further ahead than any can be was made by a wrong clock and is not believed.
pub(crate) fn claim(name: &str, holder: Uuid, until: Now, now: Now) -> Call<String> {
    let params = [name.into(), holder.into(), until.into(), now.into(), until.plus(SKEW).into()];
    Call::new(&CLAIM, params, |mut row| row.next())
}

/// Ends the lease of `holder`.
pub(crate) fn release(name: &str, holder: Uuid) -> Call<String> {
    Call::new(&RELEASE, [name.into(), holder.into()], |mut row| row.next())
}

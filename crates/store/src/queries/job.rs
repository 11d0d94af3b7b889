//! Job leases: which node runs a job. [`crate::Lease::claim_job`] and [`crate::Lease::release_job`] run them.

use model::Now;
use uuid::Uuid;

use crate::statement::{Call, Stmt, statements};

statements! {
    CLAIM = Stmt::new(
        "job.claim",
        "INSERT INTO gw.jobs (name, holder, lease_until) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until \
         WHERE jobs.lease_until <= $4 OR jobs.holder = excluded.holder RETURNING name",
    );
    RELEASE = Stmt::new(
        "job.release",
        "UPDATE gw.jobs SET lease_until = $3 WHERE name = $1 AND holder = $2 RETURNING name",
    );
}

/// Claims a job for `holder` until `until`; returns no row while another node holds it.
pub(crate) fn claim(name: &str, holder: Uuid, until: Now, now: Now) -> Call<String> {
    Call::new(&CLAIM, [name.into(), holder.into(), until.into(), now.into()], |mut row| row.next())
}

/// Ends the lease of `holder` at `now`.
pub(crate) fn release(name: &str, holder: Uuid, now: Now) -> Call<String> {
    Call::new(&RELEASE, [name.into(), holder.into(), now.into()], |mut row| row.next())
}

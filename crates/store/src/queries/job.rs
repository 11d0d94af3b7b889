//! Job leases: which node runs a job now.

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

/// Claims a job for `holder` until `until`; no row while another node has it.
pub fn claim(name: &str, holder: Uuid, until: Now, now: Now) -> Call<String> {
    Call::new(&CLAIM, [name.into(), holder.into(), until.into(), now.into()], |mut row| row.next())
}

/// Gives a job back at `now`.
pub fn release(name: &str, holder: Uuid, now: Now) -> Call<String> {
    Call::new(&RELEASE, [name.into(), holder.into(), now.into()], |mut row| row.next())
}

//! Job leases: which node runs a job.

use model::Now;
use uuid::Uuid;

use crate::lease::Unaudited;
use crate::statement::{Call, Stmt, statements};
use crate::{Error, Lease};

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

/// Claims a job for `holder` until `until`; false while another node holds it.
///
/// # Errors
/// [`Error::Unavailable`] as for [`Lease::transact`].
pub async fn claim_lease(
    lease: &mut Lease,
    name: &'static str,
    holder: Uuid,
    until: Now,
    now: Now,
) -> Result<bool, Error> {
    // Owned: with a borrowed name, even a static one, the compiler does not see that the future is `Send`.
    let name = name.to_owned();
    lease
        .write_unaudited(async move |tx| {
            let (claimed,) = tx.commit_with((claim(&name, holder, until, now),)).await?;
            Ok::<_, Error>((Unaudited::JobLease, !claimed.is_empty()))
        })
        .await
}

/// Releases a job at `now`, if `holder` has it.
///
/// # Errors
/// [`Error::Unavailable`] as for [`Lease::transact`].
pub async fn release_lease(
    lease: &mut Lease,
    name: &'static str,
    holder: Uuid,
    now: Now,
) -> Result<(), Error> {
    let name = name.to_owned();
    lease
        .write_unaudited(async move |tx| {
            tx.commit_with((release(&name, holder, now),)).await?;
            Ok::<_, Error>((Unaudited::JobLease, ()))
        })
        .await
}

/// Returns no row while another node holds the job.
fn claim(name: &str, holder: Uuid, until: Now, now: Now) -> Call<String> {
    Call::new(&CLAIM, [name.into(), holder.into(), until.into(), now.into()], |mut row| row.next())
}

fn release(name: &str, holder: Uuid, now: Now) -> Call<String> {
    Call::new(&RELEASE, [name.into(), holder.into(), now.into()], |mut row| row.next())
}

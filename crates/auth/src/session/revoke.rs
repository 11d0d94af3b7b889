//! Ends sessions, as the last statements of a transaction.

use model::bounds::SESSIONS_PER_USER;
use model::{Now, SessionId, UserKey};
use store::Tx;
use store::queries::{revocation, session};

/// Ends the oldest sessions of a user above the maximum per user.
pub(crate) async fn revoke_oldest(
    tx: &mut Tx,
    user: UserKey,
    keep: Now,
) -> Result<Vec<SessionId>, store::Error> {
    let calls = (
        revocation::bump(),
        session::revoke_oldest(user, SESSIONS_PER_USER, keep),
        revocation::record(user, keep),
    );
    let (_, ended, _) = tx.commit_with(calls).await?;
    Ok(ended)
}

/// Ends every session of a user except one, as the last statements of a transaction.
pub(crate) async fn revoke_all(
    tx: &mut Tx,
    user: UserKey,
    except: Option<SessionId>,
    keep: Now,
) -> Result<Vec<SessionId>, store::Error> {
    let calls =
        (revocation::bump(), session::revoke_of_user(user, except, keep), revocation::record(user, keep));
    let (_, ended, _) = tx.commit_with(calls).await?;
    Ok(ended)
}

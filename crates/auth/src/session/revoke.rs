//! Ends sessions, as the last statements of a transaction.

use model::{SessionId, UserKey};
use store::Tx;
use store::queries::session::{Ended, Ending};
use store::queries::{revocation, session};

/// Ends every session of a user except one, as the last statements of a transaction.
pub(crate) async fn revoke_all(
    tx: &mut Tx,
    user: UserKey,
    except: Option<SessionId>,
    ending: Ending,
) -> Result<Vec<Ended>, store::Error> {
    let calls = (
        revocation::bump(),
        session::revoke_of_user(user, except, ending),
        revocation::record(user, ending.at),
    );
    let (_, ended, _) = tx.commit_with(calls).await?;
    Ok(ended)
}

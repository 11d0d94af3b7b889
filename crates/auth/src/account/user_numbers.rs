//! User numbers of a database that is older than what was issued from it: after a restore from a backup, or a
//! failover to a replica that was behind.
//!
//! A user is never deleted: erasure leaves a tombstone. So a genuine token of a user that the database does
//! not have, or a registration in the journal above every number, shows that the database is older.

use std::sync::atomic::{AtomicI64, Ordering};

use model::{UserId, event, intent};
use store::queries::{transfer, user};

use crate::OpContext;
use crate::token::Caller;

/// The name of the component in readiness.
pub const OUTDATED: &str = "outdated_database";

/// The highest number that the database was found not to have, since the process started; 0 for none.
#[derive(Debug, Default)]
pub struct Outdated(AtomicI64);

impl Outdated {
    /// Whether the database was found to be older than a token or the journal.
    pub fn is_found(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Whether `number` is higher than every one before, which it then replaces.
    fn is_news(&self, number: UserId) -> bool {
        self.0.fetch_max(number.0.max(1), Ordering::Relaxed) < number.0.max(1)
    }
}

/// Why the sequence was not moved.
#[derive(Debug, thiserror::Error)]
enum Unmoved {
    #[error("the next number is higher already")]
    Higher,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Handles a genuine token of a user that the database does not have.
///
/// # Errors
/// When the database did not answer.
pub(crate) async fn note_unknown(ctx: &mut OpContext<'_>, caller: &Caller) -> Result<(), store::Error> {
    if !ctx.services.outdated.is_news(caller.user.id) {
        return Ok(());
    }
    tracing::error!(
        user = %caller.user.uuid,
        number = %caller.user.id,
        "the database does not have the user of a genuine access token: it is older than the token"
    );
    raise(ctx, caller.user.id).await.map(|_| ())
}

/// Moves the sequence of user numbers past `highest`, the highest number in this node's journal, so that no
/// other user gets a number of a lost one.
///
/// # Errors
/// When the database did not answer.
pub async fn raise_numbers(ctx: &mut OpContext<'_>, highest: UserId) -> Result<(), store::Error> {
    if raise(ctx, highest).await? && ctx.services.outdated.is_news(highest) {
        tracing::error!(
            %highest,
            "the database is older than this node's journal, which names users that it does not have"
        );
    }
    Ok(())
}

/// Moves the sequence past every number of a user, after it gave one that is taken: it was set back, or the
/// table was filled without it.
///
/// # Errors
/// When the database did not answer, or the role may not move the sequence.
pub(super) async fn pass_taken_numbers(ctx: &mut OpContext<'_>) -> Result<(), store::Error> {
    let highest = ctx.lease.read().await?.one(user::highest()).await?.flatten();
    let Some(highest) = highest.map(UserId) else { return Ok(()) };
    if raise(ctx, highest).await? {
        tracing::error!(
            %highest,
            "the sequence of users.id gave a number that is taken, and was moved past the highest one: it \
             was set back, or rows were written without it"
        );
    }
    Ok(())
}

/// Moves the sequence past `highest`; false if it was there already, or if `highest` is no number that is
/// issued.
async fn raise(ctx: &mut OpContext<'_>, highest: UserId) -> Result<bool, store::Error> {
    if highest > UserId::LARGEST {
        tracing::error!(
            %highest,
            largest = %UserId::LARGEST,
            "a user number above the largest one is ignored: the sequence of users.id was set too far; set \
             it back to the highest number that a user has"
        );
        return Ok(false);
    }
    let raised = ctx
        .lease
        .transact(intent::DatabaseOutdated {}, async move |tx| {
            let (_, raised) = tx.commit_with((transfer::begin_numbers(), transfer::raise(highest))).await?;
            raised.first().ok_or(Unmoved::Higher)?;
            Ok((event::DatabaseOutdated { highest }, ()))
        })
        .await;
    match raised {
        Ok(()) => Ok(true),
        Err(Unmoved::Higher) => Ok(false),
        Err(Unmoved::Store(error)) => Err(error),
    }
}

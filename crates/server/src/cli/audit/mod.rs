//! `gatewright audit …`

mod details;
mod export;
mod tail;
mod verify;

use audit::details::DetailReader;
use audit::{CHECKPOINT, SET_ASIDE};
use clap::{Args, Subcommand};
use model::event::Notice;
use model::{Event, Now, UserUuid};
use store::audit_db::Filter;

use self::export::Export;
use self::tail::Tail;
use self::verify::Verify;
use super::command_context::{CommandContext, configure};
use super::failure::Code;
use super::looking::Looking;
use super::{Failure, Global, Output, time_arg};
use crate::app::bootstrap::IfMissing;
use crate::app::file_owner::is_there;
use crate::config::Config;

/// Records read from the database at once.
const PAGE: i64 = 500;
/// Kinds that are suggested for one that there is not.
const MOST_SUGGESTED: usize = 5;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Shows the last events
    ///
    /// Reads the database, which has the events of every node. A server ships its own events within about a
    /// second. Decrypting the details is itself an event, `audit_read`.
    Tail(Tail),
    /// Writes events to a file; decrypting the details is itself an event, `audit_read`
    Export(Export),
    /// Recomputes the hash chain, and reports the first record that was changed, removed or reordered
    ///
    /// A chain that was rewritten from some record on, or truncated, is found only by comparison with a head
    /// that was kept elsewhere: pass the heads that a sink has kept with `--heads`, or single ones with
    /// `--head`. Signatures are verified with the keys of the master key file.
    Verify(Verify),
}

/// Selects events.
#[derive(Args, Clone, Debug)]
struct Which {
    /// Only events about this user: id, uuid, email or username; `id:100`, `username:100` and the like say
    /// which is meant
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only events of this kind, such as `login_failed`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<String>,
    /// Only events from this time on: `2026-01-31` or `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    from: Option<Now>,
    /// Only events before this time
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    to: Option<Now>,
    /// Includes checkpoints: signatures of the trail, which are no events
    #[arg(long)]
    checkpoints: bool,
    /// Leaves details encrypted, and records no event
    #[arg(long)]
    sealed: bool,
}

/// A kind of records that there is.
fn kind(word: &str) -> Result<String, String> {
    let own = [Event::DOCUMENTED, Notice::DOCUMENTED].into_iter().flatten().map(|documented| documented.kind);
    let known: Vec<&str> = own.chain([CHECKPOINT, SET_ASIDE]).collect();
    if known.contains(&word) {
        return Ok(word.to_owned());
    }
    let near = known.iter().map(|kind| (strsim::damerau_levenshtein(kind, word), *kind)).min();
    let about = known.iter().copied().filter(|kind| !word.is_empty() && kind.contains(word));
    let meant: Vec<_> = match near {
        Some((distance, kind)) if distance <= (word.chars().count() / 3).max(2) => vec![kind],
        _ => about.take(MOST_SUGGESTED).collect(),
    };
    let meant = meant.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
    let pointed = match meant.as_str() {
        "" => "docs/generated/events.md has all of them".to_owned(),
        _ => format!("did you mean {meant}?"),
    };
    Err(format!("there is no such kind of event; {pointed}"))
}

/// What was selected, after the user was found.
struct Selected {
    filter: Filter,
    details: DetailReader,
}

impl Which {
    /// Opens what reads the details, after the event that they are read: nothing is shown that is not
    /// recorded. With `--sealed`, or without a master key, details stay encrypted and there is no event.
    async fn open(
        &self,
        (global, config): (&Global, &Config),
        trail: &Looking,
        follow: bool,
    ) -> Result<Selected, Failure> {
        let filter = self.filter(trail).await?;
        if self.sealed || !is_there(&config.master_key_file)? {
            return Ok(Selected { filter, details: details::sealed(trail) });
        }
        // The commands' journal is closed again before anything is read: other commands wait for their turn.
        let command = CommandContext::open(global, config.clone(), IfMissing::Fail).await?;
        command.ensure_auditable().await?;
        command.note(Event::AuditRead { user: filter.user, only: self.kind.clone(), follow });
        drop(command);
        Ok(Selected { filter, details: details::open(config, trail)? })
    }

    async fn filter(&self, trail: &Looking) -> Result<Filter, Failure> {
        let all = Filter::default();
        let user = match &self.user {
            Some(name) => Some(user_of(trail, name).await?),
            None => None,
        };
        Ok(Filter {
            from: self.from.unwrap_or(all.from),
            to: self.to.unwrap_or(all.to),
            user,
            kind: self.kind.clone(),
            without: (!self.checkpoints && self.kind.is_none()).then_some(CHECKPOINT),
        })
    }
}

/// The public identifier of a user. The trail may have events about a uuid that the database does not know.
async fn user_of(trail: &Looking, name: &str) -> Result<UserUuid, Failure> {
    let found = super::user::find(&mut trail.lease(), name).await;
    let uuid = name.trim().strip_prefix("uuid:").unwrap_or(name.trim()).parse::<uuid::Uuid>();
    match (found, uuid) {
        (Ok(user), _) => Ok(user.uuid),
        (Err(why), Ok(uuid)) if why.is(Code::UserUnknown) => Ok(UserUuid(uuid)),
        (Err(why), _) => Err(why),
    }
}

impl AuditCommand {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        let config = configure(global)?;
        match self {
            Self::Tail(tail) => tail.run((global, &config), out).await,
            Self::Export(export) => export.run((global, &config), out).await,
            Self::Verify(verify) => verify.run(&config, out).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_is_refused_with_those_that_may_be_meant() {
        assert_eq!(kind("login_failed").unwrap(), "login_failed");
        assert_eq!(kind("audit_checkpoint").unwrap(), CHECKPOINT);
        assert!(kind("audit_gap").is_ok() && kind("audit_set_aside").is_ok());
        assert!(kind("login_faild").unwrap_err().ends_with("did you mean `login_failed`?"));
        assert!(kind("refresh").unwrap_err().contains("`refresh_replayed`"));
        assert!(kind("nothing-like-it").unwrap_err().contains("events.md"));
        assert!(kind("").unwrap_err().contains("events.md"));
    }
}

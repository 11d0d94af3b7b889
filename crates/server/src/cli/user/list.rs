//! `gatewright user list`

use auth::OpContext;
use auth::account::{self, ADMIN, BASIC_USER};
use clap::{Args, ValueEnum};
use model::{Now, UserId};
use store::queries::user::{Listed, State};

use super::super::interrupt::Interrupt;
use super::super::time_arg;
use super::super::{Failure, Output};
use super::{PAGE, value};

const COLUMNS: [&str; 6] = ["id", "email", "username", "role", "state", "created_at"];
/// Accounts that people are shown at once.
const LINES: u32 = 100;

#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    /// Lists at most this many; without it 100, and with `--json` all
    #[arg(long, value_name = "COUNT")]
    limit: Option<u32>,
    /// Lists accounts with ids greater than this: the last one of the page before
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// Only accounts whose email or username contains this text, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only accounts in this state; without it, active and inactive ones
    #[arg(long, value_enum)]
    state: Option<Which>,
    /// Only accounts with this role
    #[arg(long, value_parser = [BASIC_USER, ADMIN])]
    role: Option<String>,
    /// Only accounts that were created at this time or later: `2026-01-31` or `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    created_from: Option<Now>,
    /// Only accounts that were created before this time
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    created_before: Option<Now>,
    /// Only accounts that have no password, such as imported ones
    #[arg(long)]
    without_password: bool,
    /// Only accounts whose email address is not verified
    #[arg(long)]
    unverified: bool,
}

/// The states that can be asked for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// May log in
    Active,
    /// Deactivated by an operator
    Inactive,
    /// Erased: the id and the uuid are left
    Erased,
    /// All of them
    Any,
}

impl List {
    fn listed(&self) -> Listed {
        let all = Listed::default();
        Listed {
            state: match self.state {
                Some(Which::Active) => Some(State::Active),
                Some(Which::Inactive) => Some(State::Inactive),
                Some(Which::Erased) => Some(State::Erased),
                Some(Which::Any) | None => None,
            },
            with_erased: matches!(self.state, Some(Which::Any)),
            role: self.role.clone(),
            created_from: self.created_from.unwrap_or(all.created_from),
            created_before: self.created_before.unwrap_or(all.created_before),
            search: self.search.clone(),
            without_password: self.without_password,
            unverified: self.unverified,
        }
    }

    pub(super) async fn run(
        self,
        interrupt: &Interrupt,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        account::begin_list(ctx);
        let listed = self.listed();
        let most = self.limit.or((!out.is_json()).then_some(LINES)).map_or(i64::MAX, i64::from);
        let (mut left, mut after) = (most, UserId(self.after));
        let mut users = Vec::new();
        let mut has_more = false;
        while left > 0 {
            interrupt.check()?;
            let wanted = left.min(PAGE);
            // One more, to know whether there are others.
            let mut page = account::list(ctx, &listed, after, wanted.saturating_add(1)).await?;
            has_more = i64::try_from(page.len()).is_ok_and(|read| read > wanted);
            page.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            left = left.saturating_sub(wanted);
            after = page.last().map_or(after, |user| user.id);
            users.extend(page.iter().map(value));
            if !has_more {
                break;
            }
        }

        out.table(&COLUMNS, &users)?;
        if has_more {
            out.line(&format!("There are more: go on with `--after {after}`."))?;
        }
        Ok(())
    }
}

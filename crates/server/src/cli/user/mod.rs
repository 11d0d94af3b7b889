//! `gatewright user …`

mod export;
mod import;
pub(super) mod rows;

use auth::OpContext;
use auth::account::{self, ADMIN, AdminError, BASIC_USER, Candidate};
use clap::{Args, Subcommand};
use model::UserId;
use serde_json::{Map, Value, json};
use store::queries::user::{State, User};

use self::export::Export;
use self::import::Import;
use super::command_context::{CommandContext, configure};
use super::interrupt::Interrupt;
use super::secret::{PasswordArgs, confirm};
use super::{Failure, Global, Output};
use crate::app::bootstrap::IfMissing;

/// Users read from the database at once.
const PAGE: i64 = 500;
const COLUMNS: [&str; 6] = ["id", "email", "username", "role", "state", "created_at"];

const FIELDS: [&str; 9] =
    ["id", "uuid", "email", "username", "role", "state", "profile", "created_at", "updated_at"];

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Creates an account; asks for its password
    Add(Add),
    /// Lists accounts, ordered by id
    List(List),
    /// Shows one account
    Show(Who),
    /// Changes the role of an account
    SetRole(SetRole),
    /// Gives an account a new password and ends its sessions
    SetPassword(SetPassword),
    /// Lets a deactivated account log in again
    Activate(Who),
    /// Deactivates an account: ends its sessions, and refuses further logins
    Deactivate(Who),
    /// Erases an account: its data are deleted, and its id is never used again
    Delete(Delete),
    /// Imports accounts from another system or another instance
    ///
    /// Each row is an account: `email` and, if present, `id`, `uuid`, `username`, `password_hash`, `role`,
    /// `state` or `is_active`, `profile`, `email_verified_at`, `created_at`, `updated_at`. A row that cannot
    /// be imported is refused with its reason, the other rows are imported, and the exit status is 1.
    /// Existing accounts stay as they are, so that an interrupted import can simply be run again.
    Import(Import),
    /// Exports all accounts, in the format that `import` reads
    ///
    /// Includes tombstones of erased accounts, so that their ids are not used again where the file is
    /// imported.
    Export(Export),
}

/// Selects an account.
#[derive(Args, Debug)]
pub(super) struct Who {
    /// Its number, uuid, email or username; `username:100` and the like say which is meant
    #[arg(value_name = "USER")]
    user: String,
}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// The email address
    email: String,
    /// The username; optional
    #[arg(long)]
    username: Option<String>,
    /// The role
    #[arg(long, default_value = BASIC_USER, value_parser = [BASIC_USER, ADMIN])]
    role: String,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// Lists at most this many
    #[arg(long, value_name = "COUNT")]
    limit: Option<u32>,
    /// Lists accounts with ids greater than this
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
}

#[derive(Args, Debug)]
pub(super) struct SetRole {
    #[command(flatten)]
    who: Who,
    /// The role
    #[arg(value_parser = [BASIC_USER, ADMIN])]
    role: String,
}

#[derive(Args, Debug)]
pub(super) struct SetPassword {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Args, Debug)]
pub(super) struct Delete {
    #[command(flatten)]
    who: Who,
    /// Does not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl UserCommand {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        let config = configure(global)?;
        if let Self::Add(add) = self {
            let password = add.password.read(&global.interrupt, &add.email)?;
            let command = CommandContext::open(global, config, IfMissing::Create).await?;
            command.ensure_auditable().await?;
            let mut lease = command.lease();
            let mut ctx = command.op_context(&mut lease);
            let username = add.username.as_deref();
            let candidate = Candidate::parse(&ctx, &add.email, username, &password, Map::new());
            let candidate = candidate.map_err(|errors| Failure::fields(&errors))?;
            let user = account::add(&mut ctx, candidate, &add.role).await?;
            return Ok(out.tell(&format!("user {} was created", name(&user)), &value(&user))?);
        }

        if let Self::Import(import) = self {
            return import.run(global, config, out).await;
        }
        let command = CommandContext::open(global, config, IfMissing::Fail).await?;
        if !matches!(self, Self::List(_) | Self::Show(_)) {
            command.ensure_auditable().await?;
        }

        let mut lease = command.lease();
        let ctx = &mut command.op_context(&mut lease);
        match self {
            Self::Add(_) | Self::Import(_) => Ok(()),
            Self::List(list) => list.run(&global.interrupt, ctx, out).await,
            Self::Show(who) => {
                let user = who.find(ctx).await?;
                account::showing(ctx, &user);
                Ok(out.fields(&FIELDS, &value(&user))?)
            }
            Self::SetRole(set) => set.run(ctx, out).await,
            Self::SetPassword(set) => set.run(&global.interrupt, ctx, out).await,
            Self::Activate(who) => set_state(&who, ctx, out, true).await,
            Self::Deactivate(who) => set_state(&who, ctx, out, false).await,
            Self::Delete(delete) => delete.run(&global.interrupt, ctx, out).await,
            Self::Export(export) => export.run(&global.interrupt, ctx, out).await,
        }
    }
}

impl Who {
    async fn find(&self, ctx: &mut OpContext<'_>) -> Result<User, Failure> {
        account::find(ctx, &self.user).await.map_err(|error| match error {
            AdminError::Unknown => Failure::failed(format!("there is no user {:?}", self.user)),
            other => other.into(),
        })
    }
}

impl List {
    async fn run(
        self,
        interrupt: &Interrupt,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        account::begin_list(ctx);
        let mut left = self.limit.map_or(i64::MAX, i64::from);
        let mut after = UserId(self.after);
        let mut users = Vec::new();
        while left > 0 {
            interrupt.check()?;
            let wanted = left.min(PAGE);
            let page = account::page(ctx, after, wanted).await?;
            let read = i64::try_from(page.len()).unwrap_or(wanted);
            left -= read;
            after = page.last().map_or(after, |user| user.id);
            users.extend(page.iter().map(value));
            if read < wanted {
                break;
            }
        }
        Ok(out.table(&COLUMNS, &users)?)
    }
}

impl SetRole {
    async fn run(self, ctx: &mut OpContext<'_>, out: &mut Output) -> Result<(), Failure> {
        let user = self.who.find(ctx).await?;
        account::set_role(ctx, &user, &self.role).await?;
        tell(ctx, out, &user, &format!("user {} now has the role {}", name(&user), self.role)).await
    }
}

impl SetPassword {
    async fn run(
        self,
        interrupt: &Interrupt,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let user = self.who.find(ctx).await?;
        // Returns the connection to the pool while the operator types.
        ctx.lease.park();
        let password = self.password.read(interrupt, &name(&user))?;
        account::set_password(ctx, &user, &password).await?;
        let text = format!("user {} has a new password; its sessions were ended", name(&user));
        tell(ctx, out, &user, &text).await
    }
}

impl Delete {
    async fn run(
        self,
        interrupt: &Interrupt,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let user = self.who.find(ctx).await?;
        ctx.lease.park();
        confirm(interrupt, self.yes, &format!("User {} will be erased permanently.", name(&user)))?;
        account::delete(ctx, &user).await?;
        tell(ctx, out, &user, &format!("user {} was erased", name(&user))).await
    }
}

async fn set_state(
    who: &Who,
    ctx: &mut OpContext<'_>,
    out: &mut Output,
    active: bool,
) -> Result<(), Failure> {
    let user = who.find(ctx).await?;
    account::set_state(ctx, &user, active).await?;
    let text = if active { "may log in" } else { "is deactivated; its sessions were ended" };
    tell(ctx, out, &user, &format!("user {} {text}", name(&user))).await
}

/// Prints the result; for programs also the account as it is now.
async fn tell(ctx: &mut OpContext<'_>, out: &mut Output, user: &User, text: &str) -> Result<(), Failure> {
    out.line(text)?;
    if out.is_json() {
        let user = account::find(ctx, &format!("uuid:{}", user.uuid)).await?;
        out.value(&value(&user))?;
    }
    Ok(())
}

fn name(user: &User) -> String {
    match user.email.as_ref().or(user.username.as_ref()) {
        Some(name) => format!("{} ({name})", user.id),
        None => user.id.to_string(),
    }
}

fn value(user: &User) -> Value {
    let state = match user.state {
        State::Active => "active",
        State::Inactive => "inactive",
        State::Erased => "erased",
    };
    json!({
        "id": user.id,
        "uuid": user.uuid,
        "email": user.email,
        "username": user.username,
        "role": user.role,
        "state": state,
        "profile": serde_json::from_str::<Value>(&user.profile).unwrap_or_default(),
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    })
}

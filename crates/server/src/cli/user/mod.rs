//! `gatewright user …`

mod export;
mod import;
mod list;
pub(super) mod rows;

use auth::OpContext;
use auth::account::{self, ADMIN, AdminError, BASIC_USER, Candidate};
use clap::{Args, Subcommand};
use model::Secret;
use model::profile::FieldError;
use serde_json::{Map, Value, json};
use store::Lease;
use store::queries::user::{State, User};

use self::export::Export;
use self::import::Import;
use self::list::List;
use super::command_context::{CommandContext, configure};
use super::failure::Code;
use super::looking::Looking;
use super::secret::{PasswordArgs, confirm};
use super::{Failure, Global, Output};
use crate::app::bootstrap::IfMissing;
use crate::app::file_owner::is_there;
use crate::app::start_error::StartError;
use crate::config::{Config, DatabaseUrl};

/// Users read from the database at once.
const PAGE: i64 = 500;
const FIELDS: [&str; 10] = [
    "id",
    "uuid",
    "external_id",
    "email",
    "username",
    "role",
    "state",
    "profile",
    "created_at",
    "updated_at",
];

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Creates an account; asks for its password
    Add(Add),
    /// Lists accounts, ordered by id
    ///
    /// Erased accounts are listed with `--state erased` or `--state any` only.
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
    /// With `--from` it reads the system's own export. Else each row is an account: `email` or `username`
    /// and, if present, `id`, `uuid`, `external_id`, `password_hash`, `role`, `state` or `is_active`,
    /// `profile`,
    /// `email_verified_at`, `created_at`, `updated_at`, `second_factors`.
    ///
    /// The whole file is read before anything is written. What is not understood and looks like a password
    /// hash, the state of an account or a second factor stops the import until `--map` or `--ignore` names
    /// it. A row that cannot be imported is refused with its reason, the other rows are imported, and the
    /// exit status is 1. Existing accounts stay as they are without `--update`, so that an interrupted
    /// import can simply be run again.
    Import(Box<Import>),
    /// Exports all accounts, in the format that `import` reads
    ///
    /// Includes tombstones of erased accounts, so that their ids are not used again where the file is
    /// imported.
    Export(Export),
}

/// Selects an account.
#[derive(Args, Debug)]
pub(super) struct Who {
    /// Its id, uuid, email, username or external id; `id:100`, `username:100` and the like say which is meant
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
        let password = match self {
            Self::Add(add) => return Box::pin(add.run(global, config, out)).await,
            Self::Import(import) => return Box::pin(import.run(global, config, out)).await,
            Self::SetPassword(ref set) => Some(set.password(global, &config).await?),
            Self::Delete(ref delete) => {
                delete.confirm(global, &config).await?;
                None
            }
            _ => None,
        };
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
                let mut shown = value(&user);
                if let Value::Object(members) = &mut shown {
                    let external_id = account::external_id(ctx, &user).await?;
                    members.extend(external_id.map(|text| ("external_id".to_owned(), json!(text))));
                }
                Ok(out.fields(&FIELDS, &shown)?)
            }
            Self::SetRole(set) => set.run(ctx, out).await,
            Self::SetPassword(set) => set.run(password, ctx, out).await,
            Self::Activate(who) => set_state(&who, ctx, out, true).await,
            Self::Deactivate(who) => set_state(&who, ctx, out, false).await,
            Self::Delete(delete) => delete.run(ctx, out).await,
            Self::Export(export) => export.run(&global.interrupt, ctx, out).await,
        }
    }
}

impl Who {
    async fn find(&self, ctx: &mut OpContext<'_>) -> Result<User, Failure> {
        find(ctx.lease, &self.user).await
    }
}

/// Finds the user that an argument means.
pub(super) async fn find(lease: &mut Lease, name: &str) -> Result<User, Failure> {
    account::find_with(lease, name).await.map_err(|error| match error {
        AdminError::Unknown => Failure::failed(format!("there is no user {name:?}")).code(Code::UserUnknown),
        other => other.into(),
    })
}

impl Add {
    async fn run(self, global: &Global, config: Config, out: &mut Output) -> Result<(), Failure> {
        let settings = config.auth(&config.server.public_url()).map_err(StartError::from)?;
        let username = self.username.as_deref();
        let invalid = |errors: Vec<FieldError>| Failure::fields(&errors);
        let (email, parsed) = Candidate::names(&settings, &self.email, username).map_err(invalid)?;
        let is_new = match &config.database.url {
            DatabaseUrl::Sqlite(path) => !is_there(path)?,
            DatabaseUrl::Postgres(_) => false,
        };
        if self.password.is_asked() && !is_new {
            let looking = Looking::before_prompt(&config).await?;
            account::ensure_free(&mut looking.lease(), &email, parsed.as_ref()).await?;
        }
        let password = self.password.read(&global.interrupt, &self.email)?;
        // Before anything is created.
        let checked = Candidate::check(&settings, &self.email, username, &password, Map::new());
        drop(checked.map_err(invalid)?);

        let command = CommandContext::open(global, config, IfMissing::Create).await?;
        command.ensure_auditable().await?;
        let mut lease = command.lease();
        let mut ctx = command.op_context(&mut lease);
        let candidate = Candidate::parse(&ctx, &self.email, username, &password, Map::new());
        let user = account::add(&mut ctx, candidate.map_err(invalid)?, &self.role).await?;
        Ok(out.tell(&format!("user {} was created", name(&user)), &value(&user))?)
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
    /// Reads the password; the user is looked for before it is asked for.
    async fn password(&self, global: &Global, config: &Config) -> Result<Secret<String>, Failure> {
        let mut shown = self.who.user.clone();
        if self.password.is_asked() {
            shown = name(&found_before_prompt(config, &self.who).await?);
        }
        self.password.read(&global.interrupt, &shown)
    }

    async fn run(
        self,
        password: Option<Secret<String>>,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let user = self.who.find(ctx).await?;
        let password = password.ok_or_else(|| Failure::failed("no password was given"))?;
        account::set_password(ctx, &user, &password).await?;
        let text = format!("user {} has a new password; its sessions were ended", name(&user));
        tell(ctx, out, &user, &text).await
    }
}

/// The user of an argument, whose state allows a change.
async fn found_before_prompt(config: &Config, who: &Who) -> Result<User, Failure> {
    let looking = Looking::before_prompt(config).await?;
    let user = find(&mut looking.lease(), &who.user).await?;
    if user.state == State::Erased { Err(AdminError::Unknown.into()) } else { Ok(user) }
}

impl Delete {
    async fn confirm(&self, global: &Global, config: &Config) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let user = found_before_prompt(config, &self.who).await?;
        confirm(&global.interrupt, &format!("User {} will be erased permanently.", name(&user)))
    }

    async fn run(self, ctx: &mut OpContext<'_>, out: &mut Output) -> Result<(), Failure> {
        let user = self.who.find(ctx).await?;
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

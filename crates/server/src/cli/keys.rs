//! `gatewright keys …`

use auth::OpContext;
use auth::password::pepper;
use auth::signing_keys::{Resealed, Scheduled};
use clap::{Args, Subcommand};
use model::Event;
use protocol::sealed::keyring::LineState;
use serde_json::json;

use super::command_context::{CommandContext, configure};
use super::looking::Looking;
use super::secret::confirm;
use super::{Failure, Global, Output};
use crate::app::bootstrap::{IfMissing, RuntimeDeps};
use crate::app::file_owner::make_for_owner;
use crate::app::master_key;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Creates the master key file (setting `master_key_file`) if it does not exist
    ///
    /// The master key seals secrets in the database. If it is lost, those secrets cannot be recovered. Every
    /// node needs the same file. Keep a copy of it, apart from the backups of the database.
    Init,
    /// Lists the keys that sign tokens, the peppers, or the master keys
    List(List),
    /// Publishes a new key, which signs once no cached key set lacks it
    ///
    /// The key is published at once and signs six minutes later, because clients may cache the published key
    /// set for five minutes. The running server activates it. Tokens of the key before are valid until they
    /// expire.
    Rotate(Rotate),
    /// Seals everything in the database again, with the first line of the master key file
    ///
    /// To change the master key: 1. create a key with `keys init` in another file, add its line *behind* the
    /// lines of the file on every node, and restart the nodes one after another (one node alone may begin
    /// with step 2). 2. Make it the first line everywhere, and restart the nodes one after another: each
    /// seals its own files again. 3. Run this command. 4. Put the word `retired` behind the key of the old
    /// line everywhere, and restart: it only verifies refresh tokens now. 5. Remove the old line when `keys
    /// list --master` shows that nothing needs it. A server that lacks a line which something needs does not
    /// start, and says what needs it.
    Reseal,
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// Lists the versions of the pepper (setting `passwords.pepper`)
    #[arg(long, conflicts_with = "master")]
    pepper: bool,
    /// Lists the lines of the master key file that the database has seen, and what needs each
    #[arg(long)]
    master: bool,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Rotate {
    /// Creates a new version of the pepper: it seals new hashes at once. The running server seals the stored
    /// ones again, one after another, and then removes the old version
    #[arg(long, conflicts_with_all = ["compromised", "now"])]
    pepper: bool,
    /// Makes the new key sign at once: clients that cache the published key set refuse new tokens until they
    /// fetch it again, up to five minutes
    #[arg(long, conflicts_with = "compromised")]
    now: bool,
    /// Makes a new key sign at once and removes every other key: each token signed so far is refused, users
    /// need their refresh tokens, and clients that cache the published key set refuse new tokens up to five
    /// minutes
    #[arg(long)]
    compromised: bool,
    /// Does not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl KeysCommand {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        let config = configure(global)?;
        if matches!(self, Self::Init) {
            let (file, rng) = (&config.master_key_file, RuntimeDeps::system().rng);
            let keyring = make_for_owner(&config, file, || master_key::create(file, &rng))?;
            let (id, file) = (keyring.first_key_id(), file.display().to_string());
            let text =
                format!("the master key {id} was created in {file}; keep a copy of it in a safe place");
            return Ok(out.tell(&text, &json!({ "master_key_id": id, "file": file }))?);
        }

        if let Self::Rotate(Rotate { compromised: true, yes: false, .. }) = &self {
            drop(Looking::before_prompt(&config).await?);
            let breaks = "Every access token issued so far will be refused, and clients that cache the key \
                          set refuse new ones for up to five minutes.";
            confirm(&global.interrupt, breaks)?;
        }
        let command = CommandContext::open(global, config, IfMissing::Fail).await?;
        match self {
            Self::List(_) => command.note(Event::KeysListed {}),
            Self::Init | Self::Rotate(_) | Self::Reseal => command.ensure_auditable().await?,
        }

        let mut lease = command.lease();
        let ctx = &mut command.op_context(&mut lease);
        match self {
            Self::Init => Ok(()),
            Self::List(List { pepper: true, .. }) => peppers(ctx, out).await,
            Self::List(List { master: true, .. }) => master_keys(ctx, out).await,
            Self::List(_) => {
                let keys = auth::signing_keys::list(ctx).await?;
                let rows: Vec<_> = keys
                    .iter()
                    .map(|key| {
                        json!({
                            "key_id": key.id,
                            "algorithm": key.algorithm,
                            "state": key.state.as_str(),
                            "created_at": key.created_at,
                            "changed_at": key.changed_at,
                            "signs_at": key.signs_at,
                        })
                    })
                    .collect();
                let columns = ["key_id", "algorithm", "state", "created_at", "changed_at", "signs_at"];
                Ok(out.table(&columns, &rows)?)
            }
            Self::Rotate(Rotate { pepper: true, .. }) => {
                let version = pepper::rotate(ctx).await?;
                let text = format!(
                    "pepper {version} seals new hashes from now on; stored hashes are sealed again in the \
                     background"
                );
                Ok(out.tell(&text, &json!({ "pepper_version": version }))?)
            }
            Self::Rotate(rotate) => rotate.run(ctx, out).await,
            Self::Reseal => {
                let Resealed { keys, detail_keys } = auth::signing_keys::reseal(ctx).await?;
                let master = ctx.services.keyring.first_key_id().to_owned();
                let text = format!(
                    "{keys} keys and {detail_keys} audit detail keys are now sealed by the master key \
                     {master}"
                );
                let value = json!({ "keys": keys, "detail_keys": detail_keys, "master_key_id": master });
                Ok(out.tell(&text, &value)?)
            }
        }
    }
}

impl Rotate {
    /// Rotates the signing key.
    async fn run(&self, ctx: &mut OpContext<'_>, out: &mut Output) -> Result<(), Failure> {
        let (key, signs_at, text) = if self.compromised {
            let key = auth::signing_keys::remove_compromised(ctx).await?;
            let text = format!("{key} signs from now on; every older key was removed");
            (key, ctx.now, text)
        } else if self.now {
            let key = auth::signing_keys::rotate_now(ctx).await?;
            let text = format!(
                "{key} signs from now on; clients that cache the key set refuse its tokens for up to five \
                 minutes, and older tokens are valid until they expire"
            );
            (key, ctx.now, text)
        } else {
            let Scheduled { key, signs_at } = auth::signing_keys::rotate(ctx).await?;
            let text = format!("{key} is published and signs from {signs_at} on, when a server runs");
            (key, signs_at, text)
        };
        let value = json!({ "key_id": key, "signs_at": signs_at, "compromised": self.compromised });
        Ok(out.tell(&text, &value)?)
    }
}

/// Lists the lines of the master key file that the database has seen.
async fn master_keys(ctx: &mut OpContext<'_>, out: &mut Output) -> Result<(), Failure> {
    let row = |line: &auth::master_keys::Line| {
        let needs = &line.needs;
        json!({
            "master_key_id": line.id,
            "state": line.state.map_or("not in the file", LineState::as_str),
            "first_seen": line.first_seen,
            "resealed_at": line.resealed_at,
            "checkpoint_key": line.checkpoint_key,
            "signing_keys": needs.signing_keys,
            "peppers": needs.peppers,
            "detail_keys": needs.detail_keys + needs.unknown_detail_keys,
            "sessions_until": needs.sessions_until,
            "needed_by": needs.to_string(),
        })
    };
    let rows: Vec<_> = auth::master_keys::list(ctx).await?.iter().map(row).collect();
    Ok(out.table(
        &["master_key_id", "state", "first_seen", "resealed_at", "checkpoint_key", "needed_by"],
        &rows,
    )?)
}

/// Lists the versions of the pepper.
async fn peppers(ctx: &mut OpContext<'_>, out: &mut Output) -> Result<(), Failure> {
    let row = |row: &store::queries::pepper::Pepper| {
        json!({
            "pepper_version": row.version,
            "state": if row.is_active { "active" } else { "retiring" },
            "created_at": row.created_at,
            "changed_at": row.changed_at,
        })
    };
    let rows: Vec<_> = pepper::list(ctx).await?.iter().map(row).collect();
    Ok(out.table(&["pepper_version", "state", "created_at", "changed_at"], &rows)?)
}

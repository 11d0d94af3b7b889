//! `gatewright keys …`

use auth::OpContext;
use auth::password::pepper;
use clap::{Args, Subcommand};
use serde_json::json;

use super::command_context::{CommandContext, configure};
use super::secret::confirm;
use super::{Failure, Global, Output};
use crate::app::bootstrap::{IfMissing, RuntimeDeps};
use crate::app::master_key;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Creates the master key file (setting `master_key_file`) if it does not exist
    ///
    /// The master key seals secrets in the database. If it is lost, those secrets cannot be recovered. Every
    /// node needs the same file. Keep a copy of it, apart from the backups of the database.
    Init,
    /// Lists the keys that sign tokens, or the peppers
    List(List),
    /// Makes a new key sign from now on, or a new pepper seal password hashes
    Rotate(Rotate),
    /// Seals every secret in the database again, with the first key of the master key file
    ///
    /// To change the master key: create a key with `keys init` in another file, put its line before the lines
    /// of the old file, give the result to every node and restart them, run this command, and then remove the
    /// old line.
    Reseal,
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// Lists the versions of the pepper (setting `passwords.pepper`)
    #[arg(long)]
    pepper: bool,
}

#[derive(Args, Debug)]
pub(super) struct Rotate {
    /// Creates a new version of the pepper: it seals new hashes at once. The running server seals the stored
    /// ones again, one after another, and then removes the old version
    #[arg(long, conflicts_with = "compromised")]
    pepper: bool,
    /// Removes every earlier key: tokens signed with them are refused at once
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
            let keyring = master_key::create(&config.master_key_file, &RuntimeDeps::system().rng)?;
            let (id, file) = (keyring.first_key_id(), config.master_key_file.display().to_string());
            let text =
                format!("the master key {id} was created in {file}; keep a copy of it in a safe place");
            return Ok(out.tell(&text, &json!({ "master_key_id": id, "file": file }))?);
        }

        if let Self::Rotate(Rotate { compromised: true, yes, .. }) = &self {
            confirm(*yes, "Every access token issued so far will be refused.")?;
        }
        let command = CommandContext::open(config, IfMissing::Fail).await?;
        if !matches!(self, Self::List(_)) {
            command.ensure_auditable().await?;
        }

        let mut lease = command.lease();
        let ctx = &mut command.op_context(&mut lease);
        match self {
            Self::Init => Ok(()),
            Self::List(List { pepper: true }) => peppers(ctx, out).await,
            Self::List(_) => {
                let keys = auth::signing_keys::list(ctx).await?;
                let rows: Vec<_> = keys
                    .iter()
                    .map(|key| {
                        json!({
                            "id": key.id,
                            "algorithm": key.algorithm,
                            "state": key.state.as_str(),
                            "created_at": key.created_at,
                            "changed_at": key.changed_at,
                        })
                    })
                    .collect();
                Ok(out.table(&["id", "algorithm", "state", "created_at", "changed_at"], &rows)?)
            }
            Self::Rotate(Rotate { pepper: true, .. }) => {
                let version = pepper::rotate(ctx).await?;
                let text = format!(
                    "pepper {version} seals new hashes from now on; stored hashes are sealed again in the \
                     background"
                );
                Ok(out.tell(&text, &json!({ "pepper": version }))?)
            }
            Self::Rotate(Rotate { compromised, .. }) => {
                let key = if compromised {
                    auth::signing_keys::remove_compromised(ctx).await?
                } else {
                    auth::signing_keys::rotate_now(ctx).await?
                };
                let text = if compromised {
                    format!("{key} signs from now on; every older key was removed")
                } else {
                    format!("{key} signs from now on; older tokens are valid until they expire")
                };
                Ok(out.tell(&text, &json!({ "key": key, "compromised": compromised }))?)
            }
            Self::Reseal => {
                let keys = auth::signing_keys::reseal(ctx).await?;
                let master = ctx.services.keyring.first_key_id().to_owned();
                let text = format!("{keys} keys are now sealed by the master key {master}");
                Ok(out.tell(&text, &json!({ "keys": keys, "master_key_id": master }))?)
            }
        }
    }
}

/// Lists the versions of the pepper.
async fn peppers(ctx: &mut OpContext<'_>, out: &mut Output) -> Result<(), Failure> {
    let row = |row: &store::queries::pepper::Pepper| {
        json!({
            "version": row.version,
            "state": if row.is_active { "active" } else { "retiring" },
            "created_at": row.created_at,
            "changed_at": row.changed_at,
        })
    };
    let rows: Vec<_> = pepper::list(ctx).await?.iter().map(row).collect();
    Ok(out.table(&["version", "state", "created_at", "changed_at"], &rows)?)
}

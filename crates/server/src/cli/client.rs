//! `gatewright client …`

use auth::client::ClientError;
use clap::{Args, Subcommand};
use model::{ClientId, ClientRight, ClientRights, Secret};
use serde_json::json;

use super::command_context::{CommandContext, configure};
use super::looking::Looking;
use super::secret::confirm;
use super::{Failure, Global, Output};
use crate::app::bootstrap::IfMissing;

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Adds a client and prints its secret once
    Add(Add),
    /// Lists clients
    List,
    /// Gives a client a new secret and prints it once; the old one is refused at once
    Rotate(Which),
    /// Replaces what a client may do, from its next call on
    SetRights(SetRights),
    /// Removes a client
    Remove(Remove),
}

#[derive(Args, Debug)]
pub(super) struct Which {
    /// The client's id
    id: String,
}

#[derive(Args, Debug)]
pub(super) struct Add {
    #[command(flatten)]
    which: Which,
    /// The display name
    #[arg(long)]
    name: String,
    /// What the client may do, with commas between: introspect tokens, read the feed of revocations
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',', value_parser = RIGHTS)]
    #[arg(default_value = "introspect")]
    allow: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct SetRights {
    #[command(flatten)]
    which: Which,
    /// All that the client may do, with commas between: introspect tokens, read the feed of revocations
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',', required = true, value_parser = RIGHTS)]
    allow: Vec<String>,
}

/// The names of rights.
const RIGHTS: [&str; 2] = [ClientRight::Introspect.as_str(), ClientRight::Feed.as_str()];

fn rights(names: &[String]) -> ClientRights {
    names.iter().filter_map(|name| ClientRight::parse(name)).collect()
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    #[command(flatten)]
    which: Which,
    /// Does not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl ClientCommand {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        if let Some(which) = self.which() {
            ClientId::parse(&which.id).ok_or(ClientError::BadId)?;
        }
        let config = configure(global)?;
        let missing = if matches!(self, Self::Add(_)) { IfMissing::Create } else { IfMissing::Fail };
        if let Self::Remove(Remove { which, yes: false }) = &self {
            let looking = Looking::begin(&config).await?;
            auth::client::ensure_known(&mut looking.lease(), &which.id).await?;
            drop(looking);
            let question = format!("Client {} will be refused from now on.", which.id);
            confirm(&global.interrupt, &question)?;
        }
        let command = CommandContext::open(global, config, missing).await?;
        if !matches!(self, Self::List) {
            command.ensure_auditable().await?;
        }

        let mut lease = command.lease();
        let ctx = &mut command.op_context(&mut lease);
        match self {
            Self::Add(Add { which, name, allow }) => {
                let secret = auth::client::add(ctx, &which.id, &name, rights(&allow)).await?;
                show(out, &which.id, &secret)
            }
            Self::Rotate(which) => {
                let secret = auth::client::rotate(ctx, &which.id).await?;
                show(out, &which.id, &secret)
            }
            Self::SetRights(SetRights { which, allow }) => {
                let rights = rights(&allow);
                auth::client::set_rights(ctx, &which.id, rights.clone()).await?;
                let told = format!("client {} has the rights: {}", which.id, allow.join(", "));
                Ok(out.tell(&told, &json!({ "client_id": which.id, "rights": rights }))?)
            }
            Self::Remove(Remove { which, .. }) => {
                auth::client::remove(ctx, &which.id).await?;
                Ok(out.tell(&format!("client {} was removed", which.id), &json!({ "client_id": which.id }))?)
            }
            Self::List => {
                auth::client::begin_list(ctx);
                let clients = auth::client::list(ctx).await?;
                let rows: Vec<_> = clients
                    .iter()
                    .map(|client| {
                        json!({
                            "client_id": client.id,
                            "name": client.name,
                            "rights": client.rights,
                            "created_at": client.created_at,
                            "rotated_at": client.rotated_at,
                        })
                    })
                    .collect();
                Ok(out.table(&["client_id", "name", "rights", "created_at", "rotated_at"], &rows)?)
            }
        }
    }
}

impl ClientCommand {
    /// The client that is named.
    fn which(&self) -> Option<&Which> {
        match self {
            Self::Add(Add { which, .. })
            | Self::SetRights(SetRights { which, .. })
            | Self::Remove(Remove { which, .. })
            | Self::Rotate(which) => Some(which),
            Self::List => None,
        }
    }
}

fn show(out: &mut Output, id: &str, secret: &Secret<String>) -> Result<(), Failure> {
    let value = json!({ "client_id": id, "client_secret": secret.expose() });
    out.fields(&["client_id", "client_secret"], &value)?;
    Ok(out.line("The secret is kept only as a hash and is not shown again.")?)
}

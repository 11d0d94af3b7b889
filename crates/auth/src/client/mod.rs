//! Clients: programs with their own credentials (RFC 6749 §2.3.1).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::event::Reason;
use model::{Actor, ClientId, ClientRight, ClientRights, Event, Now, Secret, event, intent};
use store::Lease;
use store::queries::client::{self, Client};

use crate::OpContext;

/// Why a client operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Unknown client or wrong secret.
    #[error("the client is unknown, or its secret is wrong")]
    Refused,
    /// The client is the one that it says, and does not have the right that the call needs.
    #[error("the client does not have the right that this needs")]
    NotAllowed,
    /// A client with this id exists.
    #[error("a client with this id exists already")]
    Taken,
    /// No client has this id.
    #[error("there is no such client")]
    Unknown,
    /// The id is not 1 to 64 of `A-Z a-z 0-9 . _ -`.
    #[error("a client's id is 1 to 64 letters, digits, `.`, `_` or `-`")]
    BadId,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// How long one audit record covers further authentications of a client from one address.
const RECORDED_FOR: Duration = Duration::from_hours(1);
/// Largest number of clients and addresses that are remembered; when it is reached, the set is cleared.
const REMEMBERED: usize = 4096;

/// Clients whose authentication was recorded recently, so that a client that introspects on each request
/// leaves one audit record per hour.
#[derive(Debug, Default)]
pub(crate) struct RecentClients(Mutex<HashMap<(ClientId, Option<IpAddr>), Now>>);

impl RecentClients {
    /// Whether an authentication at `now` is the first of this client and address within an hour.
    fn is_new(&self, client: &ClientId, address: Option<IpAddr>, now: Now) -> bool {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (client.clone(), address);
        if recorded.get(&key).is_some_and(|at| *at > now.minus(RECORDED_FOR) && *at <= now.plus(RECORDED_FOR))
        {
            return false;
        }
        if recorded.len() >= REMEMBERED {
            recorded.clear();
        }
        recorded.insert(key, now);
        true
    }
}

const SECRET_PREFIX: &str = "gwc_";

/// Verifies a client's id and secret, and that it has the right.
///
/// # Errors
/// [`ClientError::Refused`] both for an unknown id and for a wrong secret, [`ClientError::NotAllowed`].
pub async fn authenticate(
    ctx: &mut OpContext<'_>,
    id: &str,
    secret: &Secret<String>,
    right: ClientRight,
) -> Result<Client, ClientError> {
    let found = match ClientId::parse(id) {
        Some(id) => ctx.lease.read().await?.one(client::find(&id)).await?,
        None => None,
    };

    let given = secret_hash(secret.expose());
    let wanted = found.as_ref().map_or([0; 32], |client| client.secret_hash);
    let same = constant_time::verify_slices_are_equal(&given, &wanted).is_ok();

    match found {
        Some(client) if same => {
            ctx.audit.identify(Actor::Client { client: client.id.clone() });
            if !client.rights.has(right) {
                let reason = Reason::NoRight;
                ctx.audit.note(Event::ClientRefused { client: Some(client.id), reason });
                return Err(ClientError::NotAllowed);
            }
            if ctx.services.recent_clients.is_new(&client.id, ctx.audit.origin().address, ctx.now) {
                ctx.audit.note(Event::ClientAuthenticated { client: client.id.clone() });
            }
            Ok(client)
        }
        found => {
            let reason = if found.is_some() { Reason::WrongSecret } else { Reason::UnknownClient };
            ctx.audit.note(Event::ClientRefused { client: found.map(|client| client.id), reason });
            Err(ClientError::Refused)
        }
    }
}

/// Adds a client and returns its secret, which cannot be read again.
///
/// # Errors
/// [`ClientError::Taken`], [`ClientError::BadId`].
pub async fn add(
    ctx: &mut OpContext<'_>,
    id: &str,
    name: &str,
    rights: ClientRights,
) -> Result<Secret<String>, ClientError> {
    let client = ClientId::parse(id).ok_or(ClientError::BadId)?;
    let secret = new_secret(ctx);
    let name = name.to_owned();
    let hash = secret_hash(secret.expose());
    let now = ctx.now;
    ctx.lease
        .transact(intent::ClientAdded {}, async move |tx| {
            let (added,) = tx.commit_with((client::insert(&client, &name, hash, &rights, now),)).await?;
            let client = added.into_iter().next().ok_or(ClientError::Taken)?;
            Ok::<_, ClientError>((event::ClientAdded { client, rights: rights.clone(), changed_at: now }, ()))
        })
        .await?;
    Ok(secret)
}

/// Every client, ordered by id.
///
/// # Errors
/// [`ClientError::Store`].
pub async fn list(ctx: &mut OpContext<'_>) -> Result<Vec<Client>, ClientError> {
    Ok(ctx.lease.read().await?.all(client::all()).await?)
}

/// Records that an operator lists clients, before they are shown.
pub fn begin_list(ctx: &OpContext<'_>) {
    ctx.audit.note(Event::ClientsListed {});
}

/// Whether a client has this id.
///
/// # Errors
/// [`ClientError::Unknown`].
pub async fn ensure_known(lease: &mut Lease, id: &str) -> Result<(), ClientError> {
    let id = ClientId::parse(id).ok_or(ClientError::Unknown)?;
    lease.read().await?.one(client::find(&id)).await?.map(drop).ok_or(ClientError::Unknown)
}

/// Replaces a client's secret; the old one is refused from now on.
///
/// # Errors
/// [`ClientError::Unknown`].
pub async fn rotate(ctx: &mut OpContext<'_>, id: &str) -> Result<Secret<String>, ClientError> {
    let client = ClientId::parse(id).ok_or(ClientError::Unknown)?;
    let secret = new_secret(ctx);
    let hash = secret_hash(secret.expose());
    let now = ctx.now;
    ctx.lease
        .transact(intent::ClientRotated {}, async move |tx| {
            let (rotated,) = tx.commit_with((client::rotate(&client, hash, now),)).await?;
            let client = rotated.into_iter().next().ok_or(ClientError::Unknown)?;
            Ok::<_, ClientError>((event::ClientRotated { client, changed_at: now }, ()))
        })
        .await?;
    Ok(secret)
}

/// Replaces a client's rights, from its next call on.
///
/// # Errors
/// [`ClientError::Unknown`].
pub async fn set_rights(ctx: &mut OpContext<'_>, id: &str, rights: ClientRights) -> Result<(), ClientError> {
    let client = ClientId::parse(id).ok_or(ClientError::Unknown)?;
    let now = ctx.now;
    ctx.lease
        .transact(intent::ClientRightsChanged {}, async move |tx| {
            let (changed,) = tx.commit_with((client::set_rights(&client, &rights, now),)).await?;
            let client = changed.into_iter().next().ok_or(ClientError::Unknown)?;
            Ok((event::ClientRightsChanged { client, rights: rights.clone(), changed_at: now }, ()))
        })
        .await
}

/// Removes a client.
///
/// # Errors
/// [`ClientError::Unknown`].
pub async fn remove(ctx: &mut OpContext<'_>, id: &str) -> Result<(), ClientError> {
    let client = ClientId::parse(id).ok_or(ClientError::Unknown)?;
    ctx.lease
        .transact(intent::ClientRemoved {}, async move |tx| {
            let (removed,) = tx.commit_with((client::remove(&client),)).await?;
            let Client { id, created_at, .. } = removed.into_iter().next().ok_or(ClientError::Unknown)?;
            Ok((event::ClientRemoved { client: id, added_at: created_at }, ()))
        })
        .await
}

fn new_secret(ctx: &OpContext<'_>) -> Secret<String> {
    Secret::new(format!("{SECRET_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(ctx.services.rng.bytes::<32>())))
}

/// A plain SHA-256: a secret of 256 random bits needs no slow hash.
fn secret_hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    let digest = digest::digest(&digest::SHA256, secret.as_bytes());
    hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

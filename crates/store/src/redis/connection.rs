//! One connection to Redis, whatever its topology.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, ProtocolVersion, PushInfo, RedisError,
    TlsCertificates, TlsMode,
};

use super::address::{Address, Login, Topology};
use super::broadcast::Receiver;
use crate::Error;

/// How many commands may wait for the connection.
const QUEUE: usize = 1_024;
/// How often a node of a Cluster may name another one for a key, before the command fails.
const REDIRECTIONS: u32 = 4;
/// The longest time for one step of connecting. Callers have limits of their own.
const STEP: Duration = Duration::from_secs(1);

/// A connection to a server, the primary of a service or a Cluster. It opens at its first use, is used by
/// many callers at once, and opens again after it was dropped.
pub struct Redis {
    client: RedisClient,
    /// Where messages of channels go.
    receiver: Option<Arc<Receiver>>,
    nodes: String,
    is_cluster: bool,
    current: Mutex<Option<Link>>,
    /// Held while it connects, so that callers that wait share one attempt.
    connecting: tokio::sync::Mutex<()>,
}

enum RedisClient {
    Single(Box<Client>),
    /// Asks the Sentinels for the primary at each connection.
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

/// An open connection.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Describes the connection. With TLS, `authorities` (in PEM) are trusted, or the system's.
    ///
    /// # Errors
    /// [`Error::Refused`] where addresses and authorities do not fit.
    pub fn new(address: Address, authorities: Option<&[u8]>) -> Result<Self, Error> {
        Self::open(address, authorities, None)
    }

    /// Describes a connection that also receives the messages of a [`super::Broadcast`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn receiving(
        address: Address,
        authorities: Option<&[u8]>,
        receiver: Receiver,
    ) -> Result<Self, Error> {
        Self::open(address.with_pushes(), authorities, Some(Arc::new(receiver)))
    }

    fn open(
        address: Address,
        authorities: Option<&[u8]>,
        receiver: Option<Arc<Receiver>>,
    ) -> Result<Self, Error> {
        let nodes: Vec<String> = address.nodes.iter().map(|node| node.addr().to_string()).collect();
        let is_cluster = matches!(address.topology, Topology::Cluster);
        let client =
            client(address, authorities, receiver.clone()).map_err(|why| Error::Refused(why.to_string()))?;
        Ok(Self {
            client,
            receiver,
            nodes: nodes.join(","),
            is_cluster,
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        })
    }

    /// Whether keys are spread over nodes.
    pub(super) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// The open connection.
    pub(super) fn current(&self) -> Option<Link> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The open connection, or a new one.
    pub(super) async fn connected(&self) -> Result<Link, RedisError> {
        let _connecting = self.connecting.lock().await;
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let link = self.connect().await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        Ok(link)
    }

    /// Opens another connection, which replaces the open one.
    pub(super) async fn reconnect(&self) -> Result<(), RedisError> {
        let link = self.connect().await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        Ok(())
    }

    /// Drops the open connection: the next use opens another one.
    pub(super) fn disconnect(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn connect(&self) -> Result<Link, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(STEP))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let config = match self.receiver.clone() {
            Some(receiver) => config.set_push_sender(pushes(receiver)),
            None => config,
        };
        match &self.client {
            RedisClient::Single(client) => {
                client.get_multiplexed_async_connection_with_config(&config).await.map(Link::One)
            }
            RedisClient::Sentinel(client) => {
                client.lock().await.get_async_connection_with_config(&config).await.map(Link::One)
            }
            RedisClient::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
        }
    }
}

impl Link {
    /// Sends one command.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Subscribes to channels, of a connection that receives messages.
    pub(super) async fn subscribe(&mut self, channels: &[&str]) -> Result<(), RedisError> {
        match self {
            Self::One(connection) => connection.subscribe(channels).await,
            Self::Cluster(connection) => connection.subscribe(channels).await,
        }
    }

    /// Sends commands together. In a Cluster their keys are on one node.
    pub(super) async fn ask_all<T: FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, RedisError> {
        match self {
            Self::One(connection) => commands.query_async(connection).await,
            Self::Cluster(connection) => commands.query_async(connection).await,
        }
    }
}

/// Gives what a connection receives to `receiver`.
fn pushes(receiver: Arc<Receiver>) -> impl Fn(PushInfo) -> Result<(), Infallible> {
    move |push| {
        receiver.receive(&push);
        Ok(())
    }
}

fn client(
    address: Address,
    authorities: Option<&[u8]>,
    receiver: Option<Arc<Receiver>>,
) -> Result<RedisClient, RedisError> {
    let is_secure = address.is_secure();
    let certificates = authorities
        .filter(|_| is_secure)
        .map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) });

    Ok(match address.topology {
        Topology::Single => {
            let Some(node) = address.nodes.into_iter().next() else { return Err(no_node()) };
            RedisClient::Single(Box::new(match certificates {
                Some(certificates) => Client::build_with_tls(node, certificates)?,
                None => Client::open(node)?,
            }))
        }
        Topology::Sentinel { service, database, login } => {
            let Some(first) = address.nodes.first() else { return Err(no_node()) };
            let protocol = first.redis_settings().protocol();
            let (user, password) = (first.redis_settings().username(), first.redis_settings().password());
            let data = Login { user: user.map(str::to_owned), password: password.map(str::to_owned) };
            let sentinels = address.nodes.iter().map(|node| node.addr().clone());
            let builder = SentinelClientBuilder::new(sentinels, service, SentinelServerType::Master)?
                .set_client_to_redis_db(database)
                .set_client_to_redis_protocol(protocol);
            let builder = with_logins(builder, data, login);
            let builder =
                if is_secure { builder.set_client_to_redis_tls_mode(TlsMode::Secure) } else { builder };
            let builder = match certificates {
                Some(certificates) => builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates),
                None => builder,
            };
            RedisClient::Sentinel(Box::new(tokio::sync::Mutex::new(builder.build()?)))
        }
        Topology::Cluster => {
            let builder = ClusterClient::builder(address.nodes)
                .connection_timeout(STEP)
                .response_timeout(STEP)
                .retries(REDIRECTIONS);
            let builder = match certificates {
                Some(certificates) => builder.certs(certificates),
                None => builder,
            };
            let builder = match receiver {
                Some(receiver) => builder.use_protocol(ProtocolVersion::RESP3).push_sender(pushes(receiver)),
                None => builder,
            };
            RedisClient::Cluster(Box::new(builder.build()?))
        }
    })
}

fn with_logins(mut builder: SentinelClientBuilder, data: Login, sentinels: Login) -> SentinelClientBuilder {
    if let Some(user) = data.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = data.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = sentinels.user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = sentinels.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    builder
}

fn no_node() -> RedisError {
    RedisError::from((redis::ErrorKind::InvalidClientConfig, "no host is named"))
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

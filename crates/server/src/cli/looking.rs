//! Looks at the database without writing: for what only reads, and for what is checked before a prompt.

use std::sync::Arc;

use model::{Clock, Origin};
use protocol::sealed::checkpoint::Succession;
use runtime::{AuditContext, NoopRecorder};
use store::audit_db::Audit;
use store::{BackgroundPool, Lease, Store};

use super::Failure;
use crate::app::file_owner::is_there;
use crate::app::lifecycle::{Deadlines, Lifecycle, Stage};
use crate::app::master_key::{self, MasterKeyError};
use crate::app::start_error::StartError;
use crate::config::{Config, DatabaseUrl};

/// The database and its audit trail, and the tasks of their connections.
pub(super) struct Looking {
    pub(super) audit: Audit,
    background: BackgroundPool,
    /// Keeps the tasks of connections alive.
    _lifecycle: Lifecycle,
}

impl Looking {
    /// Opens an existing database.
    pub(super) async fn begin(config: &Config) -> Result<Self, Failure> {
        if let DatabaseUrl::Sqlite(path) = &config.database.url
            && !is_there(path)?
        {
            return Err(StartError::NoDatabase(path.clone()).into());
        }
        let settings = store::Settings::from(&config.database);
        let lifecycle = Lifecycle::new(Deadlines::after(std::time::Duration::ZERO));
        let spawner = lifecycle.tasks().spawner(Stage::Working);
        let one = store::Settings { pool_min: 0, pool_max: 1, ..settings };
        let Store { background, .. } = store::open(&one, &spawner).await?;
        let audit = Audit::open(&one, &spawner)?;
        Ok(Self { audit, background, _lifecycle: lifecycle })
    }

    /// Opens what a command will need that asks something first: nothing is asked in vain.
    pub(super) async fn before_prompt(config: &Config) -> Result<Self, Failure> {
        let looking = Self::begin(config).await?;
        match master_key::read(&config.master_key_file) {
            Ok(_) => Ok(looking),
            Err(why @ MasterKeyError::Missing(_)) => {
                Err(looking.sealed_by(config).await?.unwrap_or(why.into()))
            }
            Err(why) => Err(why.into()),
        }
    }

    /// Which key sealed the database, whose key file is not there.
    async fn sealed_by(&self, config: &Config) -> Result<Option<Failure>, Failure> {
        let realm = self.lease().read().await?.one(store::queries::realm::find()).await?;
        let lost = |realm: store::queries::realm::Realm| StartError::MasterKeyLost {
            file: config.master_key_file.clone(),
            wanted: realm.master_key_id,
        };
        Ok(realm.map(|realm| lost(realm).into()))
    }

    /// The statements by which newer checkpoint keys vouch for older ones.
    pub(super) async fn successions(&self) -> Result<Vec<Succession>, Failure> {
        let mut lease = self.lease();
        let lines = lease.read().await?.all(store::queries::master_key::all()).await?;
        Ok(lines.iter().filter_map(|line| Succession::parse(line.succession.as_deref()?)).collect())
    }

    /// A lease on the database, which only reads.
    pub(super) fn lease(&self) -> Lease {
        self.background.lease(AuditContext::new(Arc::new(NoopRecorder), Clock::system(), Origin::default()))
    }
}

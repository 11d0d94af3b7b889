//! How many files the process may open (`RLIMIT_NOFILE`), and how many connections that leaves.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::app::start_error::StartError;
use crate::config::{Config, DatabaseUrl};

/// Journals, locks, outputs, certificates, sinks and the runtime: about 30 with the embedded database, and
/// what jobs open for a moment.
const FILES: u64 = 48;
/// Connections to PostgreSQL outside the pool that requests use.
const OTHER_DATABASE_CONNECTIONS: u64 = 8;
/// The most connections of the operations listener, and how few are enough.
const OPERATIONS: (u64, u64) = (4, 64);

/// The most connections of each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    pub(crate) public: u32,
    pub(crate) operations: u32,
}

/// Raises the soft limit to the hard one, as far as the system allows. Returns the soft limit; none when
/// there is none.
pub(crate) fn raise() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(why) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%why, "the limit of open files cannot be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// Divides the files that may be open among the database, the listeners and everything else.
///
/// # Errors
/// [`StartError::OpenFiles`]: nothing is left for the public listener.
pub(crate) fn divide(config: &Config, open_files: Option<u64>) -> Result<ConnectionLimits, StartError> {
    let wanted = config.server.max_connections;
    let (fewest, most) = OPERATIONS;
    let Some(limit) = open_files else {
        return Ok(ConnectionLimits { public: wanted, operations: u32::try_from(most).unwrap_or(wanted) });
    };

    let database = match &config.database.url {
        DatabaseUrl::Postgres(_) => config.database.pool_max as u64 + OTHER_DATABASE_CONNECTIONS,
        // A reader has the database and its log open. Readers run on the threads of the runtime.
        DatabaseUrl::Sqlite(_) => available_parallelism().map_or(1, NonZeroUsize::get) as u64 * 2,
    };
    let reserved = FILES + database;
    let operations = (limit.saturating_sub(reserved) / 8).clamp(fewest, most);
    let left = limit.saturating_sub(reserved + operations);
    if left == 0 {
        return Err(StartError::OpenFiles { limit, needed: reserved + operations + 1 });
    }

    let public = u32::try_from(left).map_or(wanted, |left| left.min(wanted));
    if public < wanted {
        tracing::warn!(
            "server.max_connections is limited to {public}: the process may open {limit} files, of which \
             {reserved} are kept for files and the database, and {operations} for the operations listener"
        );
    }
    Ok(ConnectionLimits { public, operations: u32::try_from(operations).unwrap_or(public) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LoadArgs;

    fn config(settings: &[(&str, &str)]) -> Config {
        let set = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config::load(&LoadArgs { set, ..LoadArgs::default() }, []).unwrap().config
    }

    #[test]
    fn connections_leave_files_for_the_database_and_the_operations_listener() {
        let postgres = config(&[("database.url", "postgres://db/app"), ("database.pool_max", "20")]);
        let limits = divide(&postgres, Some(1024)).unwrap();
        assert_eq!(limits, ConnectionLimits { public: 1024 - 48 - 28 - 64, operations: 64 });
        let limits = divide(&postgres, Some(1_000_000)).unwrap();
        assert_eq!(limits.public, postgres.server.max_connections);
        assert_eq!(divide(&postgres, None).unwrap(), limits);
    }

    #[test]
    fn a_process_that_may_open_too_few_files_does_not_start() {
        let postgres = config(&[("database.url", "postgres://db/app"), ("database.pool_max", "50")]);
        let refused = divide(&postgres, Some(64)).unwrap_err().to_string();
        assert!(refused.contains("64 files") && refused.contains("at least 111"), "{refused}");
        assert_eq!(divide(&postgres, Some(111)).unwrap(), ConnectionLimits { public: 1, operations: 4 });
    }
}

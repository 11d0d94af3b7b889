//! `[database]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section;
use crate::config::check::Report;
use crate::config::secret_file;
use crate::config::url::DatabaseUrl;
use crate::config::value::{Value, words};

/// The name of a PostgreSQL schema that needs no quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName(String);

impl SchemaName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        Self(store::SCHEMA.to_owned())
    }
}

impl Value for SchemaName {
    const EXPECTED: &'static str = "a name of lower-case letters, digits and `_`, at most 63 long";

    fn parse(text: &str) -> Result<Self, String> {
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let goes_on = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        match text {
            _ if !begins || !goes_on || text.len() > 63 => Err("not a valid schema name".to_owned()),
            "public" | "information_schema" => {
                Err(format!("`{text}` is reserved: Gatewright needs its own schema"))
            }
            _ if text.starts_with("pg_") => Err("PostgreSQL reserves names that begin with `pg_`".to_owned()),
            _ => Ok(Self(text.to_owned())),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

words! {
    /// How statements are sent to PostgreSQL.
    pub enum Preparation, "`auto`, `on` or `off`" {
        /// Prepared, unless a pooler loses prepared statements.
        Auto = "auto",
        /// Prepared.
        On = "on",
        /// With their texts.
        Off = "off",
    }
}

section! {
    /// The database.
    pub struct DatabaseConfig in "database." {
        /// Where the data is: a file of the embedded database, or a PostgreSQL server, as libpq reads its
        /// URLs. A password that the URL does not have is taken from `PGPASSWORD`, or from the file of
        /// `PGPASSFILE`, or from `~/.pgpass`.
        url: DatabaseUrl = DatabaseUrl::embedded(Path::new("./gatewright-data")),
            shown: "`sqlite:` and `gatewright.db` in `data_dir`",
            example: "postgres://gatewright@db.example.org/app";
        /// The PostgreSQL schema that holds every table.
        schema: SchemaName = SchemaName::default(), example: "gatewright";
        /// Whether `serve` migrates PostgreSQL; it always migrates the embedded database.
        auto_migrate: bool = false, example: "true";
        /// How many connections to PostgreSQL are opened at the start, and kept open when idle; others are
        /// closed after 20 s.
        pool_min: usize = store::Settings::default().pool_min, example: "5";
        /// Maximum number of open connections to PostgreSQL for requests. Each node opens up to four more:
        /// two for jobs, one for health checks and one for the audit trail. A command opens its own.
        pool_max: usize = store::Settings::default().pool_max, within: 1 => 10_000, example: "20";
        /// How long `serve` and `migrate` wait at the start for a PostgreSQL server that cannot be reached
        /// yet. A wrong password or an unknown database is not waited for.
        connect_wait: Duration = Duration::from_secs(30), within: Duration::ZERO => Duration::from_hours(1),
            example: "2m";
        /// How long a request waits for a connection before it is answered 503.
        acquire_timeout: Duration = store::Settings::default().acquire_timeout,
            within: Duration::from_millis(10) => Duration::from_mins(1), example: "2s";
        /// How long one statement may take; Gatewright enforces this limit itself.
        statement_timeout: Duration = store::Settings::default().statement_timeout,
            within: Duration::from_millis(10) => Duration::from_mins(1), example: "2s";
        /// How statements are sent to PostgreSQL: prepared, or with their texts. `auto` prepares them
        /// unless a pooler on the way loses prepared statements (PgBouncer before 1.21, in transaction
        /// mode); `on` refuses such a pooler.
        prepared_statements: Preparation = Preparation::Auto, example: "off";
        /// The file of certificates (PEM) of the authorities that may issue PostgreSQL's certificate, as
        /// `sslrootcert` in the URL, which wins. Without `sslmode` in the URL a remote host is verified
        /// (`verify-full`), and a local one only if this is set.
        tls_ca_file: Option<PathBuf> = None, shown: "the system's",
            example: "/etc/gatewright/postgres-ca.pem";
    }
}

impl From<&DatabaseConfig> for store::Settings {
    fn from(config: &DatabaseConfig) -> Self {
        let DatabaseConfig {
            url,
            schema,
            auto_migrate: _,
            connect_wait: _,
            pool_min,
            pool_max,
            acquire_timeout,
            statement_timeout,
            prepared_statements,
            tls_ca_file,
        } = config;
        let location = match url {
            DatabaseUrl::Sqlite(path) => store::Location::Sqlite(path.clone()),
            DatabaseUrl::Postgres(url) => store::Location::Postgres {
                url: url.expose().expose().clone(),
                schema: schema.as_str().to_owned(),
                tls_ca_file: tls_ca_file.clone(),
                environment: url.environment().clone(),
            },
        };

        Self {
            location,
            pool_min: *pool_min,
            pool_max: *pool_max,
            acquire_timeout: *acquire_timeout,
            statement_timeout: *statement_timeout,
            prepared_statements: match prepared_statements {
                Preparation::Auto => store::PreparedStatements::Auto,
                Preparation::On => store::PreparedStatements::On,
                Preparation::Off => store::PreparedStatements::Off,
            },
            ..Self::default()
        }
    }
}

impl DatabaseConfig {
    pub(crate) fn check(&self, report: &mut Report<'_>) {
        let location = store::Settings::from(self).location;
        let key = location.key_file().map(|file| (secret_file::read(&file).err(), file));
        if let Some((Some(why), file)) = key {
            report.error("database.url", format!("sslkey: {}: {why}", file.display()));
        } else if let Err(why) = location.check() {
            report.error("database.url", why);
        }
        report.at_most(("database.pool_min", &self.pool_min), ("database.pool_max", &self.pool_max));
    }
}

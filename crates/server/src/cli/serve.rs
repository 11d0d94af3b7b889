//! `gatewright serve`

use std::io;
use std::sync::Arc;
use std::thread;

use serde_json::json;

use super::{Failure, Global, GlobalOptions, Output};
use crate::app::App;
use crate::app::bootstrap::RuntimeDeps;
use crate::app::file_owner::refuse_data_of_others;
use crate::app::lifecycle::{Cause, Deadlines, Lifecycle, Signal, Signals};
use crate::app::listeners::{Bound, BoundListeners, bound};
use crate::app::logging;
use crate::app::open_files;
use crate::app::reload::Reload;
use crate::app::service_manager;
use crate::config::{Config, DatabaseUrl, ListenAddress, reachable};

pub(super) async fn run(global: &Global) -> Result<(), Failure> {
    let loaded = global.load()?;
    let log = global.standard_error.clone();
    let mut given = RuntimeDeps::system();
    let logging = logging::init(&loaded.config.telemetry, &given.clock, &log);
    given.collectors.push(Arc::new(move |page| log.collect(page)));
    let logging = logging.map_err(|why| Failure::failed(why.to_string()))?;
    given.open_files = open_files::raise();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }

    let config = loaded.config;
    let signals = Signals::system();
    let mut signals =
        signals.map_err(|why| Failure::failed(format!("the signal handlers cannot be installed: {why}")))?;
    refuse_data_of_others(&config)?;
    let ports = BoundListeners::bind(&config)?;
    let lifecycle = Lifecycle::new(Deadlines::after(config.server.shutdown_delay));
    let tasks = lifecycle.tasks();
    let built = tokio::select! {
        built = App::build(&config, ports.address()?, &tasks, given) => built?,
        () = stop(&mut signals) => return Ok(()),
    };

    let greeting = Greeting::of(&config, &built, &ports, global);
    let mut reload = Reload::new(global.args(), config, logging, &built.audit, &built.services);
    built.start(ports);
    service_manager::watch(&tasks);
    service_manager::ready();
    greeting.print(global.options.json)?;
    let reload = move || {
        service_manager::reloading();
        reload.run();
        service_manager::ready();
    };
    let ended = lifecycle.run(signals, reload).await;
    match ended.cause {
        Cause::Signal => {
            tracing::info!("{ended}");
            Ok(())
        }
        Cause::Failed { .. } => Err(Failure::failed(ended.to_string())),
    }
}

/// Waits for a signal to stop during the start.
async fn stop(signals: &mut Signals) {
    while signals.next().await != Signal::Stop {}
}

/// What is printed after the start.
struct Greeting {
    public_url: String,
    listening: Vec<ListenAddress>,
    operations: Vec<ListenAddress>,
    data: String,
    first_admin: Option<String>,
}

impl Greeting {
    fn of(config: &Config, app: &App, ports: &BoundListeners, global: &Global) -> Self {
        let data = match &config.database.url {
            DatabaseUrl::Sqlite(path) => path.display().to_string(),
            DatabaseUrl::Postgres(_) => config.shown("database.url").unwrap_or_default(),
        };
        Self {
            public_url: app.public_url.clone(),
            listening: bound(&ports.public),
            operations: ports.operations.as_ref().map(bound).unwrap_or_default(),
            data,
            first_admin: app.is_empty.then(|| first_admin(&global.options)),
        }
    }

    /// Prints in a thread of its own: standard output may be a pipe that is not read.
    fn print(self, json: bool) -> io::Result<()> {
        let print = move || {
            if let Err(why) = self.write(&mut Output::standard(json)) {
                tracing::warn!(%why, "the URLs cannot be printed");
            }
        };
        thread::Builder::new().name("greeting".to_owned()).spawn(print)?;
        Ok(())
    }

    fn write(&self, out: &mut Output) -> io::Result<()> {
        let docs = format!("{}/docs", self.public_url);
        let operations = self.operations.first().map(|at| match at {
            ListenAddress::Tcp(at) => format!("http://{}", reachable(*at)),
            ListenAddress::Unix(_) => at.to_string(),
        });
        out.value(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "public_url": self.public_url,
            "docs_url": docs,
            "listening": self.listening.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "operations_url": operations,
            "data": self.data,
            "first_admin": self.first_admin,
        }))?;

        out.line(&format!("Gatewright {} is up.", env!("CARGO_PKG_VERSION")))?;
        out.line(&format!("  URL         {}", self.public_url))?;
        out.line(&format!("  docs        {docs}"))?;
        out.line(&format!("  listening   {}", Bound(&self.listening)))?;
        if let Some(url) = &operations {
            out.line(&format!("  operations  {url}"))?;
        }
        out.line(&format!("  data        {}", self.data))?;
        if let Some(command) = &self.first_admin {
            out.line("There are no accounts yet. Create the first admin:")?;
            out.line(&format!("  {command}"))?;
        }
        Ok(())
    }
}

/// The command that creates the first admin of this server.
fn first_admin(options: &GlobalOptions) -> String {
    let mut command = String::from("gatewright user add you@example.org --role admin");
    let config = options.config.iter().map(|path| format!(" --config {}", path.display()));
    let data_dir = options.data_dir.iter().map(|path| format!(" --data-dir {}", path.display()));
    let set =
        options.set.iter().filter(|(key, _)| key.starts_with("database.") || key.contains("master_key"));
    let set = set.map(|(key, value)| format!(" --set {key}={value}"));
    command.extend(config.chain(data_dir).chain(set));
    command
}

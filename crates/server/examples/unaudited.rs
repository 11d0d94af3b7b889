//! The server with a recorder that discards audit events, for a benchmark of the cost of auditing. It is
//! configured by the environment, like `gatewright serve`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use gatewright::App;
use gatewright::app::bootstrap::RuntimeDeps;
use gatewright::app::lifecycle::{Deadlines, Lifecycle, Signals};
use gatewright::app::listeners::BoundListeners;
use gatewright::app::logging;
use gatewright::config::{Config, LoadArgs, environment};
use runtime::NoopRecorder;

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let config = Config::load(&LoadArgs::default(), environment())?.config;
    let given = RuntimeDeps { recorder: Some(Arc::new(|_| Arc::new(NoopRecorder))), ..RuntimeDeps::system() };
    logging::init(&config.telemetry, &given.clock, &logging::standard_error()?)?;
    let ports = BoundListeners::bind(&config)?;
    let lifecycle = Lifecycle::new(Deadlines::after(Duration::ZERO));
    let app = App::build(&config, ports.address()?, &lifecycle.tasks(), given).await?;
    println!("The server without an audit trail is up.");
    app.run(ports, lifecycle, Signals::system()?, || {}).await;
    Ok(())
}

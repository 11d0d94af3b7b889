//! The server with a trail that leads nowhere, so that a benchmark can say what auditing costs. Configured by the
//! environment, as `gatewright serve` is.

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
    let given = RuntimeDeps { recorder: Some(Arc::new(NoopRecorder)), ..RuntimeDeps::system() };
    logging::init(&config.telemetry, &given.clock)?;
    let ports = BoundListeners::bind(&config).await?;
    let lifecycle = Lifecycle::new(Deadlines::after(Duration::ZERO));
    let app = App::build(&config, ports.address()?, &lifecycle.tasks(), given).await?;
    println!("The server without a trail is up.");
    app.run(ports, lifecycle, Signals::system()?, || {}).await;
    Ok(())
}

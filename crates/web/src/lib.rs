//! The doors: HTTP in, verbs of the rooms, HTTP out. The only crate that names axum's router.
//!
//! A request comes through the layers ([`layers`]), becomes a context that owns its one lease (`gate::cx`), and meets
//! a handler of a few lines (`api`). Errors are one closed list ([`problem`]), written in one place.
//!
//! A handler cannot reach a pool, because it cannot name the state that holds one:
//!
//! ```compile_fail,E0603
//! fn handler(_: axum::extract::State<web::gate::App>) {} // the module `gate` is private
//! ```

mod api;
mod gate;
mod layers;
mod metrics;
mod openapi;
pub mod problem;

pub use axum::Router;
pub use gate::{Condition, Doors, Peer, Route, Routers, Settings, routers};
pub use layers::refusal;
pub use openapi::document as openapi_document;

//! The whole application in one process, for tests: seeded randomness, a clock that stands still, and a front pool
//! of one connection in which a second acquire panics.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod answer;
mod app;

pub use answer::Answer;
pub use app::{Engine, Options, START, TestApp, TestDatabase, new_keyring};

/// Runs each test on both engines: `on_both! { async fn name(app) { … } }` makes `name::sqlite` and
/// `name::postgres`.
#[macro_export]
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($app:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[expect(clippy::wildcard_imports, unused_imports, reason = "the body is written outside")]
            use super::*;

            async fn check($app: &$crate::TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let app = $crate::TestApp::start($crate::Engine::Sqlite).await;
                check(&app).await;
                app.close().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let app = $crate::TestApp::start($crate::Engine::Postgres).await;
                check(&app).await;
                app.close().await;
            }
        }
    )*};
}

//! The whole application in one process, for tests: seeded randomness, a clock that stands still, and a front pool
//! of one connection in which a second acquire panics.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    reason = "a test stops at what it did not expect"
)]

mod answer;
mod app;

pub use answer::Answer;
pub use app::{Engine, Options, START, TestApp, TestDatabase, new_keyring};

/// Runs each test on both engines: `on_both! { name, }` makes `both::name::sqlite` and `both::name::postgres` of
/// `async fn name(app: &TestApp)`.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod both {
            $(mod $name {
                use suite::{Engine, TestApp};

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    let app = TestApp::start(Engine::Sqlite).await;
                    super::super::$name(&app).await;
                    app.close().await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    let app = TestApp::start(Engine::Postgres).await;
                    super::super::$name(&app).await;
                    app.close().await;
                }
            })*
        }
    };
}

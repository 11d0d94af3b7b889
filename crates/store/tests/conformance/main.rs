//! One suite for every engine: each promise of the store holds on both.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests: a panic fails them, and their tasks end with their runtime"
)]
#![expect(unreachable_pub, reason = "modules of a test, shared with the other suite")]

/// Generates `sqlite::name` and `postgres::name` for each function that takes a [`TestDb`].
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $name() {
                            crate::fixtures::run(crate::fixtures::TestDb::sqlite(), super::$name).await;
                        }
                    )*
                }
                mod postgres {
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $name() {
                            crate::fixtures::run(crate::fixtures::TestDb::postgres(), super::$name).await;
                        }
                    )*
        }
    };
}

mod accounts;
mod audit;
mod encryption;
mod engines;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod migrations;
mod pending_audit;
mod plans;
mod poolers;
mod queries;
mod readiness;
mod schema;
mod sharing;
mod surroundings;
mod transactions;

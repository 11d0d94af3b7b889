//! Who holds a connection: a check for tests that no task takes a second one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Which tasks hold a connection, and since where: only kept when a second acquire is forbidden.
/// Both doors of a store share it: a task that holds a connection of one must not wait for the other's either.
#[derive(Clone)]
pub(crate) struct SecondAcquireCheck(Option<Arc<Holders>>);

type Holders = Mutex<HashMap<tokio::task::Id, std::backtrace::Backtrace>>;

impl SecondAcquireCheck {
    pub(crate) fn new(forbid_second_acquire: bool) -> Self {
        Self(forbid_second_acquire.then(Arc::default))
    }

    /// Notes that the current task takes a connection.
    #[expect(clippy::panic, reason = "this check exists to stop a test at the second acquire")]
    pub(crate) fn enter(&self) -> Option<Entry> {
        let map = self.0.as_ref()?;
        let task = tokio::task::try_id()?;
        let mut holders = map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = holders.get(&task) {
            let text = format!("a task took a second connection while it holds the one taken here:\n{first}");
            drop(holders);
            panic!("{text}");
        }
        holders.insert(task, std::backtrace::Backtrace::force_capture());
        Some(Entry { map: Arc::clone(map), task })
    }
}

/// One task's entry among the holders, gone when the connection is given back.
pub(crate) struct Entry {
    map: Arc<Holders>,
    task: tokio::task::Id,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.task);
    }
}

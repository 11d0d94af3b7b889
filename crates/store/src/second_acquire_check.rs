//! A check for tests that no task takes a second connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The tasks that hold a connection, with the backtraces of their acquires; empty unless a second acquire is
/// forbidden. Both pools of a store share it: a task that holds a connection of one pool must not wait for
/// the other either.
#[derive(Clone)]
pub(crate) struct SecondAcquireCheck(Option<Arc<Holders>>);

type Holders = Mutex<HashMap<tokio::task::Id, std::backtrace::Backtrace>>;

impl SecondAcquireCheck {
    pub(crate) fn new(forbid_second_acquire: bool) -> Self {
        Self(forbid_second_acquire.then(Arc::default))
    }

    /// Records that the current task takes a connection.
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

/// A task's record, removed when the connection is given back.
pub(crate) struct Entry {
    map: Arc<Holders>,
    task: tokio::task::Id,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.task);
    }
}

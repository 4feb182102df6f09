//! The questions that are asked about tasks, so that whoever answers them need not know who asks.

use async_trait::async_trait;

use super::{LogPage, NodeName, Result, TaskEntry, TaskStatus, Upid};

/// Answers questions about tasks. Every method is a read that may be repeated, except [`stop_task`](Self::stop_task).
#[async_trait]
pub trait TaskSource: Send + Sync {
    /// How one task is doing, exactly and at once.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for a task the server does not know.
    async fn task_status(&self, upid: &Upid) -> Result<TaskStatus>;

    /// Lines of a task's log from `start` (counted from zero), at most `limit` of them, all with 0.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for a task the server does not know, also where the server
    /// answers such a question with a made-up line.
    async fn task_log(&self, upid: &Upid, start: u64, limit: u64) -> Result<LogPage>;

    /// The tasks of a node that run or have ended since a moment (seconds since 1970): one question however many are
    /// followed. What it calls ended has ended; what it calls running may have ended some seconds ago.
    ///
    /// # Errors
    /// As any read.
    async fn tasks_since(&self, node: &NodeName, since: u32, limit: u64) -> Result<Vec<TaskEntry>>;

    /// Comes back when a task has ended, where the source notices by itself; at once for one that it does not watch over.
    /// Without that it never does, and whoever follows the task looks from time to time.
    async fn noticed_end(&self, _upid: &Upid) {
        std::future::pending::<()>().await;
    }

    /// Asks a running task to stop.
    ///
    /// # Errors
    /// As any change; stopping a finished task is no error.
    async fn stop_task(&self, upid: &Upid) -> Result<()>;
}

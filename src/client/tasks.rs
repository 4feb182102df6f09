//! Tasks: lists, status, log, stop. Following one to its end is in [`crate::tasks`].

use async_trait::async_trait;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Client, path::segments};
use crate::model::{
    Call, Error, LogLine, LogPage, Method, NodeName, Params, Result, TaskEntry, TaskSource, TaskStatus, Upid, Vmid,
};

/// The server's made-up log line for a task that it does not know.
const NO_LOG: &str = "unable to open file - No such file or directory";

/// Which list of a node's tasks is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TaskList {
    /// Those that ended.
    #[default]
    Archive,
    /// Those that run.
    Active,
    /// Both.
    All,
}

impl TaskList {
    /// The server's word.
    pub const fn api(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Active => "active",
            Self::All => "all",
        }
    }
}

/// Which tasks of a node are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Ended or running.
    pub list: TaskList,
    /// About this guest.
    pub vmid: Option<Vmid>,
    /// Of this type, `qmstart`.
    pub kind: Option<String>,
    /// Of users with this in their name.
    pub user: Option<String>,
    /// With one of these ends, comma separated: `ok`, `error`, `warning`, `unknown`.
    pub status: Option<String>,
    /// Only those that did not end with `OK`.
    pub errors: bool,
    /// Begun at or after this, seconds since 1970.
    pub since: Option<u64>,
    /// Begun at or before this, seconds since 1970.
    pub until: Option<u64>,
    /// How many to pass over.
    pub start: Option<u64>,
    /// How many at most; 50 unless told otherwise.
    pub limit: Option<u64>,
}

impl TaskFilter {
    fn params(&self) -> Params {
        let params = match self.list {
            TaskList::Archive => Params::new(),
            list => Params::new().with("source", list.api()),
        };
        params
            .with_some("vmid", self.vmid)
            .with_some("typefilter", self.kind.as_ref())
            .with_some("userfilter", self.user.as_ref())
            .with_some("statusfilter", self.status.as_ref())
            .with_flag("errors", self.errors)
            .with_some("since", self.since)
            .with_some("until", self.until)
            .with_some("start", self.start)
            .with_some("limit", self.limit)
    }
}

impl Client {
    /// A node's tasks, newest first, and how many fit the filter altogether.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn node_tasks(&self, node: &NodeName, filter: &TaskFilter) -> Result<(Vec<TaskEntry>, u64)> {
        let path = segments(&["nodes", node.as_str(), "tasks"]);
        let (rows, total) = self.page::<Rows>(&Call::new(Method::Get, path).with_params(filter.params())).await?;
        let Rows(rows) = rows;
        // The server leaves a total of zero out.
        let total = total.unwrap_or(rows.len() as u64);
        Ok((rows, total))
    }

    /// The tasks of the whole cluster: all that run, and of each node the last 25 that ended.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn cluster_tasks(&self) -> Result<Vec<TaskEntry>> {
        let Rows(rows) = self.read(&Call::new(Method::Get, "/cluster/tasks")).await?;
        Ok(rows)
    }
}

/// The rows of a task list, without those that are not understood: a task of a kind that some extension named in its
/// own way must not hide all others.
struct Rows(Vec<TaskEntry>);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let rows = Vec::<Value>::deserialize(deserializer)?;
        let understood = |row| match TaskEntry::deserialize(row) {
            Ok(entry) => Some(entry),
            Err(error) => {
                tracing::debug!(target: "pvectl::http", %error, "a row of the task list is left out");
                None
            }
        };
        Ok(Self(rows.iter().filter_map(understood).collect()))
    }
}

#[async_trait]
impl TaskSource for Client {
    async fn task_status(&self, upid: &Upid) -> Result<TaskStatus> {
        self.read(&about(Method::Get, upid, &["status"])).await
    }

    async fn task_log(&self, upid: &Upid, start: u64, limit: u64) -> Result<LogPage> {
        let params = Params::new().with("start", start).with("limit", limit);
        let (lines, total) = self.page::<Vec<LogLine>>(&about(Method::Get, upid, &["log"]).with_params(params)).await?;
        if matches!(lines.as_slice(), [only] if only.t == NO_LOG) && total.is_none_or(|total| total == 1) {
            return Err(Error::not_found(format!("no such task: {upid}")));
        }
        let total = total.unwrap_or(start + lines.len() as u64);
        Ok(LogPage { lines, total })
    }

    async fn tasks_since(&self, node: &NodeName, since: u32, limit: u64) -> Result<Vec<TaskEntry>> {
        let filter =
            TaskFilter { list: TaskList::All, since: Some(since.into()), limit: Some(limit), ..TaskFilter::default() };
        Ok(self.node_tasks(node, &filter).await?.0)
    }

    async fn stop_task(&self, upid: &Upid) -> Result<()> {
        self.send(&about(Method::Delete, upid, &[])).await.map(drop)
    }
}

fn about(method: Method, upid: &Upid, what: &[&str]) -> Call {
    let name = upid.to_string();
    let base = ["nodes", upid.node.as_str(), "tasks", name.as_str()];
    Call::new(method, segments(&[&base, what].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_row_hides_no_other() {
        let json = r#"[{"upid":"UPID:odd","starttime":1},
            {"upid":"UPID:pve1:000003EC:00041609:6B003243:qmstart:100:root@pam:","starttime":1795174979,"status":"OK"}]"#;
        let Rows(rows) = serde_json::from_str(json).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].upid.kind, "qmstart");
    }
}

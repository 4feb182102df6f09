//! Operations over several guests: how far each of them is, by its part.
//!
//! Plain data over what `query` finds.

use std::collections::HashMap;

use serde::Serialize;

use super::{Details, Filter, Journal, Operation, Status};
use crate::model::{BulkGuest, OperationId, Result, Tally};

/// How one of several guests is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The guest's number.
    pub vmid: u32,
    /// Its name.
    pub name: Option<String>,
    /// Its node.
    pub node: String,
    /// How far it is; `planned` while it was not begun.
    pub status: Status,
    /// Its newest operation; `None` if there is none: it was not begun, was refused, or nothing was to be done.
    pub operation: Option<OperationId>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Part {
    /// Whether it is under way.
    pub fn is_in_flight(&self) -> bool {
        self.operation.is_some() && self.status.is_in_flight()
    }
}

/// How many are how far.
pub fn tally(parts: &[Part]) -> Tally {
    let mut tally = Tally::default();
    for part in parts {
        let count = match part.status {
            _ if part.is_in_flight() => &mut tally.running,
            Status::Ok => &mut tally.ok,
            Status::Warning => &mut tally.warning,
            Status::Failed => &mut tally.failed,
            Status::Unknown => &mut tally.unknown,
            Status::Planned | Status::Sent | Status::Running | Status::Cancelled => &mut tally.left,
        };
        *count += 1;
    }
    tally
}

impl Journal {
    /// The guests of an operation over several, in its order; none for any other operation.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn parts(&self, details: &Details) -> Result<Vec<Part>> {
        let Some(bulk) = &details.bulk else { return Ok(Vec::new()) };
        let parent = Some(details.operation.id);
        // The newest come first, and those count.
        let operations = self.operations(&Filter { parent, ..Filter::default() })?;
        let mut newest: HashMap<u32, &Operation> = HashMap::new();
        for operation in operations.iter().rev() {
            newest.extend(operation.vmid.map(|vmid| (vmid, operation)));
        }
        let part = |guest: &BulkGuest| {
            let found = newest.get(&guest.vmid);
            let unbegun = match (&guest.refused, guest.steps.is_empty()) {
                (Some(_), _) => Status::Failed,
                (None, true) => Status::Ok,
                (None, false) => Status::Planned,
            };
            Part {
                vmid: guest.vmid,
                name: guest.name.clone(),
                node: found.and_then(|found| found.node.clone()).unwrap_or_else(|| guest.node.clone()),
                status: found.map_or(unbegun, |found| found.status),
                operation: found.map(|found| found.id),
                error: found.map_or_else(|| guest.refused.clone(), |found| found.error.clone()),
            }
        };
        Ok(bulk.guests.iter().map(part).collect())
    }
}

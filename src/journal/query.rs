//! Questions to the journal: lists, one operation, what is in flight, configuration backups.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params_from_iter, types::Value as SqlValue};
use serde_json::Value;

use super::{
    Journal,
    chain::hex,
    damaged,
    operation::{ConfigBackup, Details, EventRow, Operation, Status, Step},
    timestamp,
    write::{Planned, parse},
};
use crate::model::{Event, Intent, OperationId, Result, StepId};

/// Which operations. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The guest's number, its name, or the text that was typed as target.
    pub target: Option<String>,
    /// How it is doing.
    pub status: Option<Status>,
    /// The verb.
    pub verb: Option<String>,
    /// The context's name.
    pub context: Option<String>,
    /// Planned at this moment or after it.
    pub since: Option<Timestamp>,
    /// Planned before this moment.
    pub until: Option<Timestamp>,
    /// A part of this operation over several guests.
    pub parent: Option<OperationId>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

impl Journal {
    /// The operations that a filter lets through, newest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn operations(&self, filter: &Filter) -> Result<Vec<Operation>> {
        let (sql, values) = select(filter, "DESC");
        self.read(|transaction| {
            transaction.prepare_cached(&sql)?.query_map(params_from_iter(values), operation)?.collect()
        })
    }

    /// Everything about the operations that a filter lets through, oldest first, one by one; `visit` says whether to go
    /// on. All of it is one state of the file, however long it takes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn walk(&self, filter: &Filter, mut visit: impl FnMut(Details) -> bool) -> Result<()> {
        let (sql, values) = select(filter, "ASC");
        self.read(|transaction| {
            let mut statement = transaction.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let found = details_of(transaction, operation(row)?)?;
                if !visit(found) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Everything about one operation, or `None` if there is none of this number.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn operation(&self, id: OperationId) -> Result<Option<Details>> {
        self.read(|transaction| details(transaction, id))
    }

    /// The operations whose end is not known, oldest first: work of processes that still run, and work that was left
    /// ([`Details::pid`]).
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn in_flight(&self) -> Result<Vec<Details>> {
        self.read(|transaction| {
            let mut ids: Vec<i64> = Vec::new();
            for status in Status::ALL.iter().filter(|status| status.is_in_flight()) {
                let mut statement = transaction.prepare_cached("SELECT id FROM operation WHERE status = ?1")?;
                ids.extend(statement.query_map([status.as_str()], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?);
            }
            ids.sort_unstable();
            ids.into_iter().filter_map(|id| details(transaction, OperationId(id)).transpose()).collect()
        })
    }

    /// The kept configurations of a guest, newest first. A VMID means a guest only within its context.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn config_history(&self, context: &str, vmid: u32) -> Result<Vec<ConfigBackup>> {
        self.read(|transaction| {
            transaction
                .prepare_cached(
                    "SELECT operation.id, started, verb, name, payload -> '$.config_before'
                     FROM operation INDEXED BY operation_vmid
                     JOIN event ON event.operation = operation.id AND event.type = 'planned'
                     WHERE vmid = ?1 AND context = ?2 AND has_config ORDER BY started DESC, operation.id DESC",
                )?
                .query_map((vmid, context), |row| {
                    Ok(ConfigBackup {
                        operation: OperationId(row.get(0)?),
                        time: timestamp(row.get(1)?)?,
                        verb: row.get(2)?,
                        name: row.get(3)?,
                        config: json(&row.get::<_, String>(4)?)?,
                    })
                })?
                .collect()
        })
    }
}

const COLUMNS: &str =
    "id, verb, target, vmid, name, node, context, user, host, upid, status, exit_status, started, ended, error, parent";

fn operation(row: &Row<'_>) -> rusqlite::Result<Operation> {
    Ok(Operation {
        id: OperationId(row.get(0)?),
        verb: row.get(1)?,
        target: row.get(2)?,
        vmid: row.get(3)?,
        name: row.get(4)?,
        node: row.get(5)?,
        context: row.get(6)?,
        user: row.get(7)?,
        host: row.get(8)?,
        upid: row.get::<_, Option<String>>(9)?.map(|upid| upid.parse().map_err(damaged)).transpose()?,
        status: row.get(10)?,
        exit_status: row.get(11)?,
        started: timestamp(row.get(12)?)?,
        ended: row.get::<_, Option<i64>>(13)?.map(timestamp).transpose()?,
        error: row.get(14)?,
        parent: row.get::<_, Option<i64>>(15)?.map(OperationId),
    })
}

/// The statement for a filter, and its values.
///
/// One index is named: the one whose leading column most likely leaves the fewest rows. SQLite, which has no idea how
/// many operations failed, would guess. Each arm reads its index backwards and stops at the limit.
fn select(filter: &Filter, order: &str) -> (String, Vec<SqlValue>) {
    let text = |text: &String| SqlValue::from(text.clone());
    let time = |time: Timestamp| SqlValue::from(time.as_microsecond());
    let tests = [
        ("status =", filter.status.map(|status| SqlValue::from(status.as_str().to_owned()))),
        ("verb =", filter.verb.as_ref().map(text)),
        ("context =", filter.context.as_ref().map(text)),
        ("started >=", filter.since.map(time)),
        ("started <", filter.until.map(time)),
        ("parent =", filter.parent.map(|parent| SqlValue::from(parent.0))),
    ];
    let mut values = Vec::new();
    let mut bind = |value: SqlValue| {
        values.push(value);
        format!("?{}", values.len())
    };
    let limit = bind(SqlValue::from(filter.limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(-1)));
    let mut shared = vec!["true".to_owned()];
    for (test, value) in tests {
        shared.extend(value.map(|value| format!("{test} {}", bind(value))));
    }
    let arms = match &filter.target {
        Some(target) => {
            let typed = bind(text(target));
            let number = target.parse::<u32>().ok().map(|vmid| bind(SqlValue::from(vmid)));
            let number = number.map(|vmid| ("operation_vmid", format!("vmid = {vmid}")));
            let names =
                [("operation_name", format!("name = {typed}")), ("operation_target", format!("target = {typed}"))];
            number.into_iter().chain(names).collect()
        }
        None => vec![(index(filter), "true".to_owned())],
    };
    let order = format!("ORDER BY started {order}, id {order} LIMIT {limit}");
    let shared = shared.join(" AND ");
    let arm = |(index, test)| {
        format!("SELECT * FROM (SELECT {COLUMNS} FROM operation INDEXED BY {index} WHERE {test} AND {shared} {order})")
    };
    let arms: Vec<String> = arms.into_iter().map(arm).collect();
    (format!("{} {order}", arms.join(" UNION ")), values)
}

/// The index to read where no target is named. Most operations are `ok`, so that says less than any other filter.
fn index(filter: &Filter) -> &'static str {
    let choices = [
        (filter.parent.is_some(), "operation_parent"),
        (filter.status.is_some_and(|status| status != Status::Ok), "operation_status"),
        (filter.verb.is_some(), "operation_verb"),
        (filter.context.is_some(), "operation_context"),
        (filter.status.is_some(), "operation_status"),
    ];
    choices.iter().find(|(applies, _)| *applies).map_or("operation_started", |(_, index)| index)
}

fn details(transaction: &Transaction<'_>, id: OperationId) -> rusqlite::Result<Option<Details>> {
    let row = transaction
        .prepare_cached(&format!("SELECT {COLUMNS} FROM operation WHERE id = ?1"))?
        .query_row([id.0], operation)
        .optional()?;
    row.map(|operation| details_of(transaction, operation)).transpose()
}

fn details_of(transaction: &Transaction<'_>, operation: Operation) -> rusqlite::Result<Details> {
    let events = events(transaction, operation.id)?;
    let planned = events.first().ok_or_else(|| damaged("an operation without events"))?;
    let Planned { pid, intent, .. } = parse(planned.payload.clone())?;
    let planned = (1..).zip(intent.steps.iter().cloned()).map(|(step, call)| Step::planned(step, Some(call))).collect();
    let steps = steps(planned, &events[1..])?;
    let Intent { kind, config_before, bulk, request, .. } = intent;
    Ok(Details { operation, kind, pid, steps, config_before, request, bulk, events })
}

fn events(transaction: &Transaction<'_>, id: OperationId) -> rusqlite::Result<Vec<EventRow>> {
    transaction
        .prepare_cached("SELECT id, time, payload, hash FROM event WHERE operation = ?1 ORDER BY id")?
        .query_map([id.0], |row| {
            Ok(EventRow {
                id: row.get(0)?,
                time: timestamp(row.get(1)?)?,
                payload: json(&row.get::<_, String>(2)?)?,
                hash: hex(&row.get::<_, Vec<u8>>(3)?),
            })
        })?
        .collect()
}

/// What became of the steps.
fn steps(mut steps: Vec<Step>, events: &[EventRow]) -> rusqlite::Result<Vec<Step>> {
    for row in events {
        match parse(row.payload.clone())? {
            // Sent again, it starts afresh.
            Event::Sent { step } => {
                let step = at(&mut steps, step);
                *step = Step { sent: Some(row.time), ..Step::planned(step.step, step.call.take()) };
            }
            Event::Upid { step, upid } => at(&mut steps, step).upid = Some(upid),
            Event::Step { step, verdict, exit_status } => {
                let step = at(&mut steps, step);
                (step.ended, step.verdict, step.exit_status) = (Some(row.time), Some(verdict), exit_status);
            }
            Event::Ended { .. } | Event::Target { .. } => {}
        }
    }
    steps.sort_by_key(|step| step.step);
    Ok(steps)
}

/// The step of this number; one that was not planned is added.
fn at(steps: &mut Vec<Step>, number: StepId) -> &mut Step {
    let place = steps.iter().position(|step| step.step == number).unwrap_or_else(|| {
        steps.push(Step::planned(number, None));
        steps.len() - 1
    });
    &mut steps[place]
}

fn json(text: &str) -> rusqlite::Result<Value> {
    serde_json::from_str(text).map_err(damaged)
}

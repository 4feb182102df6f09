//! Tasks: a node's list, the cluster's list, one task's status and log, and its interruption.
//!
//! Their ends are settled in [`world::task`](crate::sandbox::world::task) before anybody gets to look.

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route, index};
use crate::{
    model::Method::{Delete, Get},
    sandbox::world::{
        seconds,
        task::{Task, parse_upid},
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/tasks", list),
    (Get, "/cluster/tasks", cluster),
    (Get, "/nodes/{node}/tasks/{upid}", one),
    (Get, "/nodes/{node}/tasks/{upid}/status", status),
    (Get, "/nodes/{node}/tasks/{upid}/log", log),
    (Delete, "/nodes/{node}/tasks/{upid}", stop),
];

/// How many rows or lines come when nobody says.
const LIMIT: usize = 50;

/// How many finished tasks of each node the cluster's list has.
const NEWEST: usize = 25;

fn base(task: &Task) -> Map<String, Value> {
    let mut row = Map::new();
    let mut set = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    set("upid", task.upid.as_str().into());
    set("node", task.node.as_str().into());
    set("type", task.kind.as_str().into());
    set("id", task.id.as_str().into());
    set("user", task.user().into());
    if let Some(token) = task.token() {
        set("tokenid", token.into());
    }
    set("starttime", seconds(task.start).into());
    set("pid", task.pid.into());
    set("pstart", task.pstart.into());
    row
}

fn may_see(context: &Context<'_>, task: &Task) -> bool {
    context.caller().may_see_task(task.user(), &task.node)
}

/// Newest first.
fn sort(tasks: &mut [&Task]) {
    tasks.sort_by_key(|task| std::cmp::Reverse((task.start, task.pid)));
}

/// The word of `statusfilter` for a task.
fn verdict(task: &Task) -> &'static str {
    match task.exit.as_deref() {
        None => "running",
        Some("OK") => "ok",
        Some(text) if text.starts_with("WARNINGS: ") => "warning",
        Some("unexpected status") => "unknown",
        Some(_) => "error",
    }
}

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let node = context.node()?;
    let source = context.param("source").unwrap_or("archive");
    let running = context.world.running.values().filter(|_| source != "archive");
    let finished = context.world.finished.values().filter(|_| source != "active");
    let states: Option<Vec<&str>> = context.param("statusfilter").map(|list| list.split([',', ';', ' ']).collect());
    let is_wanted = |task: &&Task| {
        let is = |key: &str, have: &str| context.param(key).is_none_or(|want| want == have);
        let errors = context.flag("errors") && !matches!(verdict(task), "error" | "warning" | "unknown");
        task.node == node
            && is("vmid", &task.id)
            && is("typefilter", &task.kind)
            && context.param("userfilter").is_none_or(|want| task.authid.contains(want))
            && context.number("since").is_none_or(|since| seconds(task.start) >= since)
            && context.number("until").is_none_or(|until| seconds(task.start) <= until)
            && states.as_ref().is_none_or(|states| states.contains(&verdict(task)))
            && !errors
            && may_see(context, task)
    };
    let mut tasks: Vec<&Task> = running.chain(finished).filter(is_wanted).collect();
    sort(&mut tasks);
    let total = tasks.len() as u64;
    let start = usize::try_from(context.number("start").unwrap_or(0)).unwrap_or(0);
    let limit = context.number("limit").map_or(LIMIT, |limit| usize::try_from(limit).unwrap_or(LIMIT));
    let rows = tasks.into_iter().skip(start).take(limit).map(|task| {
        let mut row = base(task);
        match &task.exit {
            Some(exit) => {
                row.insert("endtime".into(), seconds(task.end).into());
                row.insert("status".into(), exit.as_str().into());
            }
            None => {
                // A running task is listed by another hand: with the token in the user's name.
                row.remove("tokenid");
                row.insert("user".into(), task.authid.as_str().into());
                row.insert("status".into(), "RUNNING".into());
                row.insert("saved".into(), "0".into());
            }
        }
        Value::from(row)
    });
    Ok(Reply { total: Some(total), ..Reply::data(rows.collect::<Vec<_>>()) })
}

fn cluster(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let online = |task: &&Task| context.world.is_online(&task.node);
    let mut tasks: Vec<&Task> = context.world.running.values().filter(online).collect();
    sort(&mut tasks);
    for node in context.world.nodes.values().filter(|node| node.online).map(|node| &node.name) {
        let mut finished: Vec<&Task> = context.world.finished.values().filter(|task| task.node == *node).collect();
        sort(&mut finished);
        tasks.extend(finished.into_iter().take(NEWEST));
    }
    let rows = tasks.into_iter().filter(|task| may_see(context, task)).map(|task| {
        let mut row = base(task);
        row.remove("pstart");
        if let Some(exit) = &task.exit {
            row.remove("pid");
            row.insert("endtime".into(), seconds(task.end).into());
            row.insert("status".into(), exit.as_str().into());
            row.insert("saved".into(), "1".into());
        }
        Value::from(row)
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// The task in the path, if the text is a UPID of this node.
fn find<'c>(context: &'c Context<'_>) -> Result<Option<&'c Task>, Fault> {
    let text = context.need("upid")?;
    let Some(owner) = parse_upid(text) else {
        return Err(Fault::parameter("upid", "unable to parse worker upid"));
    };
    let node = context.node()?;
    let task = context.world.task(text).filter(|_| owner.as_str() == node);
    if let Some(task) = task
        && !may_see(context, task)
    {
        return Err(Fault::forbidden(&format!("/nodes/{node}"), "Sys.Audit"));
    }
    Ok(task)
}

fn one(context: &mut Context<'_>) -> Result<Reply, Fault> {
    find(context)?;
    Ok(index("name", &["log", "status"]))
}

fn status(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let task = find(context)?.ok_or_else(|| Fault::parameter("upid", "no such task"))?;
    let mut status = base(task);
    match &task.exit {
        None => drop(status.insert("status".into(), "running".into())),
        Some(exit) => {
            status.insert("status".into(), "stopped".into());
            status.insert("exitstatus".into(), exit.as_str().into());
        }
    }
    Ok(Reply::data(Value::from(status)))
}

fn log(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let lines = match find(context)? {
        Some(task) => task.log(context.now),
        // The server answers about a task that it does not know, and this is what it says.
        None => vec!["unable to open file - No such file or directory".to_owned()],
    };
    let total = lines.len() as u64;
    let start = usize::try_from(context.number("start").unwrap_or(0)).unwrap_or(0);
    let limit = match context.number("limit").map(usize::try_from) {
        Some(Ok(0)) => usize::MAX,
        Some(Ok(limit)) => limit,
        _ => LIMIT,
    };
    let page = lines.iter().enumerate().skip(start).take(limit);
    let rows: Vec<Value> = page.map(|(at, text)| json!({"n": at + 1, "t": text})).collect();
    Ok(Reply { total: Some(total), ..Reply::data(rows) })
}

fn stop(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let upid = context.need("upid")?;
    if let Some(task) = find(context)? {
        context.caller().may_stop_task(task.user(), &task.node)?;
    }
    context.world.interrupt(upid, context.now);
    Ok(Reply::null())
}

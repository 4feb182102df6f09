//! `backup-job` and `replication`: what a cluster does by schedule, and doing it now.

use clap::{Arg, ArgMatches};
use serde_json::{Map, Value};

use crate::{
    cli::{
        backup::{VZDUMP, takes},
        cx::{Cx, texts},
        print::fields::{Field, How},
        resource::{View, carry_out, late, verbs},
        session::{Access, Session},
        verb::{Entry, Exit, Kind, Of},
    },
    model::{Error, Hint, Method, Node, Params, Result, Vmid},
    ops::{ResourcePlan, plain, resource},
};

pub(super) const BACKUP_JOB: Kind = Kind {
    noun: "backup-job",
    plural: "backup-jobs",
    aliases: &[],
    about: "Backup jobs: which guests are backed up when, and where to",
    guest: None,
    paths: &["/cluster/backup", "/cluster/backup/{id}"],
    of: Of::Cluster,
    columns: || BACKUPS.headings(),
    verbs: || {
        let mut all = verbs(&BACKUPS);
        all.push(Box::new(RUN_BACKUP));
        all
    },
};

static BACKUPS: View = View {
    resource: resource("backup-job"),
    columns: &[
        Field::text("JOB", "id"),
        Field::new("ENABLED", "enabled", How::FlagOn),
        Field::text("SCHEDULE", "schedule"),
        Field::new("NEXT RUN", "next-run", How::When),
        Field::text("STORAGE", "storage"),
        Field::new("ALL", "all", How::Flag),
        Field::text("GUESTS", "vmid"),
        Field::text("POOL", "pool"),
        Field::text("MODE", "mode").wide(),
        Field::text("KEEPS", "prune-backups").wide(),
        Field::text("NODE", "node").wide(),
        Field::text("COMMENT", "comment").wide(),
    ],
    example: "nightly",
    making: "--schedule 02:30 --storage local --pool prod",
    changing: "--schedule '*/6:00'",
    is_named_by_server: true,
    late: late!(BACKUPS),
};

const RUN_BACKUP: Entry = Entry {
    name: "run",
    about: "Run backup jobs now, on every node that they are about",
    examples: &["pvectl backup-job run nightly", "pvectl backup-job run nightly --dry-run"],
    args: |command| command.arg(jobs_arg()),
    run: |cx, matches| Box::pin(run_backups(cx, matches)),
};

pub(super) const REPLICATION: Kind = Kind {
    noun: "replication",
    plural: "replications",
    aliases: &[],
    about: "Replication jobs: copies of guests' disks on other nodes (ZFS)",
    guest: None,
    paths: &["/cluster/replication", "/cluster/replication/{id}"],
    of: Of::Cluster,
    columns: || REPLICATIONS.headings(),
    verbs: || {
        let mut all = verbs(&REPLICATIONS);
        all.push(Box::new(RUN_REPLICATION));
        all
    },
};

static REPLICATIONS: View = View {
    resource: resource("replication"),
    columns: &[
        Field::text("JOB", "id"),
        Field::new("GUEST", "guest", How::Number),
        Field::text("SOURCE", "source"),
        Field::text("TARGET", "target"),
        Field::text("SCHEDULE", "schedule"),
        Field::new("DISABLED", "disable", How::Flag),
        Field::text("REMOVAL", "remove_job").wide(),
        Field::text("RATE", "rate").wide(),
        Field::text("COMMENT", "comment").wide(),
    ],
    example: "100-0",
    making: "--target pve2 --schedule '*/15'",
    changing: "--schedule hourly",
    is_named_by_server: false,
    late: late!(REPLICATIONS),
};

const RUN_REPLICATION: Entry = Entry {
    name: "run",
    about: "Run replication jobs as soon as the node looks at its schedule again",
    examples: &["pvectl replication run 100-0"],
    args: |command| command.arg(jobs_arg()),
    run: |cx, matches| Box::pin(run_replications(cx, matches)),
};

fn jobs_arg() -> Arg {
    let jobs = Arg::new("targets").value_name("JOB").num_args(1..).required(true);
    jobs.help("What the job is called; several may be given")
}

/// Keys of a job that are about when it runs, and not about the backup.
const SCHEDULE: [&str; 11] =
    ["id", "type", "schedule", "enabled", "next-run", "comment", "repeat-missed", "dow", "starttime", "digest", "node"];

async fn run_backups(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Write).await?;
    let mut plans = Vec::new();
    for name in texts(matches, "targets") {
        plans.extend(backups_of(&session, &name).await?);
    }
    carry_out(cx, &session, plans).await
}

/// A backup on each node that a job is about: what the scheduler does when its time has come.
async fn backups_of(session: &Session, name: &str) -> Result<Vec<ResourcePlan>> {
    let of = BACKUPS.resource;
    let job = session.ops.resource(of, name).await?;
    let nodes = session.ops.backend().nodes().await?;
    let only = job.get("node").and_then(plain);
    let wanted = nodes.iter().filter(|node| only.as_deref().is_none_or(|only| node.node.as_str() == only));
    let up: Vec<_> = wanted.filter(|node| node.status == "online").collect();
    let up = having_some(session, &job, up).await?;
    if up.is_empty() {
        return Err(Error::conflict(format!("no node is up that has guests of backup-job {name}")));
    }
    let params: Params = job
        .iter()
        .filter(|(key, _)| !SCHEDULE.contains(&key.as_str()) && takes(key))
        .filter_map(|(key, value)| Some((key.clone(), plain(value)?)))
        .collect();
    let mut plans = Vec::new();
    for node in up {
        let params = params.clone().with("node", &node.node);
        let target = (Method::Post, VZDUMP);
        let plan = session.ops.plan_resource_call("run", of.noun, name, target, (params, &Params::new())).await?;
        plans.push(plan);
    }
    Ok(plans)
}

/// The nodes that have some of the guests that a job names: the others would say OK and do nothing.
async fn having_some<'n>(session: &Session, job: &Map<String, Value>, nodes: Vec<&'n Node>) -> Result<Vec<&'n Node>> {
    let Some(named) = job.get("vmid").and_then(plain).filter(|named| !named.is_empty()) else { return Ok(nodes) };
    let guests = session.ops.guests().await?;
    let is_named = |vmid: Vmid| named.split(',').any(|word| word.trim() == vmid.to_string());
    let has = |node: &&Node| guests.iter().any(|guest| guest.node == node.node && is_named(guest.vmid));
    Ok(nodes.into_iter().filter(has).collect())
}

async fn run_replications(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Write).await?;
    let of = REPLICATIONS.resource;
    let guests = session.ops.backend().guests().await?;
    let mut plans = Vec::new();
    for name in texts(matches, "targets") {
        let job = session.ops.resource(of, &name).await?;
        let vmid = job.get("guest").and_then(plain);
        let guest = guests.iter().find(|guest| Some(guest.vmid.to_string()) == vmid);
        let guest = guest.ok_or_else(|| {
            Error::not_found(format!("the guest of replication {name} is not there"))
                .with_hint(Hint::Text(format!("remove the job: pvectl replication delete {name} --force")))
        })?;
        let params = Params::new().with("node", &guest.node).with("id", &name);
        let target = (Method::Post, "/nodes/{node}/replication/{id}/schedule_now");
        let plan = session.ops.plan_resource_call("run", of.noun, &name, target, (params, &Params::new())).await?;
        plans.push(plan);
    }
    carry_out(cx, &session, plans).await
}

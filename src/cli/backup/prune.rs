//! `backup prune`: removes what is not to be kept. What that is, is the server's own reckoning, asked before.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::{read::require_names, words};
use crate::{
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, flag, text, texts},
        resource::{carry_out, carry_out_asking},
        session::{Access, Session},
        verb::{Exit, Kind, Verb, switch, value},
    },
    model::{Error, Hint, Method, Params, Result, Vmid},
    ops::{BACKUPS, FoundUse, Place, ResourcePlan, Target, Which, Within, plain},
};

/// How many are kept: the flag, which is also the part of the property, and its help.
const KEEP: &[(&str, &str)] = &[
    ("keep-last", "Keep the last N of each guest"),
    ("keep-hourly", "Keep the last of each of N hours"),
    ("keep-daily", "Keep the last of each of N days"),
    ("keep-weekly", "Keep the last of each of N weeks"),
    ("keep-monthly", "Keep the last of each of N months"),
    ("keep-yearly", "Keep the last of each of N years"),
];

const PRUNE: &str = "/nodes/{node}/storage/{storage}/prunebackups";

pub(super) struct Prune;

#[async_trait(?Send)]
impl Verb for Prune {
    fn name(&self) -> &'static str {
        "prune"
    }

    fn about(&self, _: &Kind) -> String {
        "Remove backups that are not to be kept; those that are protected stay".to_owned()
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let words = words(kind);
        vec![
            format!("pvectl {words} prune 100 --keep-last 3 --dry-run"),
            format!("pvectl {words} prune --storage local --keep-daily 7 --keep-weekly 4 --confirm"),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let guests = Arg::new("guests").value_name("GUEST").num_args(0..);
        let keep = KEEP.iter().map(|(name, help)| value(name, "N", help).value_parser(value_parser!(u32).range(1..)));
        command
            .arg(guests.help("Only those of these guests: VMID, name or list; of all if none is given"))
            .args(keep)
            .arg(switch("all", "Of all guests: said where no guest is named"))
            .arg(value("storage", "STORAGE", "In this storage; the only one that has backups if none is given"))
            .arg(value("node", "NODE", "Only on this node, where the storage is another one on each"))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        require_somebody_to_confirm(cx)?;
        let targets = Target::parse_all(&texts(matches, "guests"))?;
        if targets.is_empty() != flag(matches, "all") {
            let why = if targets.is_empty() { "say whose backups are pruned" } else { "--all names no guests" };
            return Err(Error::usage(why).with_hint(Hint::Text("give guests, or --all for those of all".into())));
        }
        let keep: Vec<String> =
            KEEP.iter().filter_map(|(name, _)| Some(format!("{name}={}", matches.get_one::<u32>(name)?))).collect();
        let session = cx.session(Access::Write).await?;
        let guests = session.ops.guests().await?;
        require_names(&targets, &guests)?;
        let owned = |name| text(matches, name).map(str::to_owned);
        let within = Within { storage: owned("storage"), node: owned("node") };
        let (places, away) = session.ops.storage_places(&[BACKUPS], &within).await?;
        for (node, status) in away.iter() {
            cx.ui.warn(format_args!("node {node} is {status}: what it has stays"));
        }
        let mut storages: Vec<&str> = places.iter().map(|place| place.storage.storage.as_str()).collect();
        storages.sort_unstable();
        storages.dedup();
        if let [first, _, ..] = storages.as_slice() {
            let text = format!("several storages have backups: {}", storages.join(", "));
            return Err(Error::usage(text).with_hint(Hint::Text(format!("say which: --storage {first}"))));
        }
        let vmids: Vec<Option<Vmid>> = if targets.is_empty() {
            vec![None]
        } else {
            let mut vmids = Vec::new();
            for target in &targets {
                match &target.which {
                    Which::Vmid(vmid) => vmids.push(Some(*vmid)),
                    Which::Range(..) => {
                        return Err(Error::usage("ranges are not taken here: name the guests, or give --all"));
                    }
                    Which::Name(name) => {
                        vmids.extend(
                            guests.iter().filter(|guest| guest.name.as_ref() == Some(name)).map(|g| Some(g.vmid)),
                        );
                    }
                }
            }
            vmids
        };
        let mut plans = Vec::new();
        for place in &places {
            for vmid in &vmids {
                plans.push(prune(&session, kind, place, *vmid, &keep).await?);
            }
        }
        if plans.iter().all(|plan| plan.call.is_none()) {
            return carry_out(cx, &session, plans).await;
        }
        plans.retain(|plan| plan.call.is_some());
        let count: usize = plans.iter().map(|plan| plan.uses.len()).sum();
        let what = if count == 1 { "this backup".to_owned() } else { format!("these {count} backups") };
        carry_out_asking(cx, &session, &format!("Delete {what}? This cannot be undone"), plans).await
    }
}

/// What of a place goes, by the server's own reckoning.
async fn prune(
    session: &Session,
    kind: &Kind,
    place: &Place,
    vmid: Option<Vmid>,
    keep: &[String],
) -> Result<ResourcePlan> {
    let storage = &place.storage.storage;
    let params = Params::new()
        .with("node", &place.node)
        .with("storage", storage)
        .with_some("prune-backups", (!keep.is_empty()).then(|| keep.join(",")))
        .with_some("type", kind.guest.map(crate::model::GuestKind::api))
        .with_some("vmid", vmid);
    let rows = session.ops.rows_at(PRUNE, params.clone()).await.map_err(|error| {
        match error.message().contains("no prune-backups options") {
            true => error.with_hint(Hint::Text("say what is kept: --keep-last 3".into())),
            false => error,
        }
    })?;
    let marked = |mark: &str| rows.iter().filter(|row| row["mark"] == mark).collect::<Vec<&Value>>();
    let (gone, kept, protected) = (marked("remove"), marked("keep"), marked("protected"));
    let target = (Method::Delete, PRUNE);
    let name = vmid.map_or_else(|| storage.clone(), |vmid| format!("{storage} of {vmid}"));
    let mut plan = session.ops.plan_resource_call("prune", "storage", &name, target, (params, &Params::new())).await?;
    plan.uses = gone.iter().filter_map(|row| plain(&row["volid"])).map(FoundUse::goes).collect();
    let some = |count: usize, what: &str| if count == 0 { String::new() } else { format!(", {count} {what}") };
    plan.notes.push(format!("{} kept{}", kept.len(), some(protected.len(), "protected")));
    if gone.is_empty() {
        plan.call = None;
        plan.notes.push("nothing to remove".into());
    }
    Ok(plan)
}

//! The table of checks, and what each has to say.

use super::{
    super::{Plan, place::content_of},
    Check, Finding,
    facts::{Fact, Facts},
    moving,
};
use crate::{
    backends::Action,
    model::{Error, Hint, Size, is_disk_key},
};

use Finding::{Note, Refusal, Warning};

/// Storages on which a disk takes its whole size at once.
const THICK: [&str; 1] = ["lvm"];

/// Every check, in the order in which they speak.
pub const CHECKS: &[Check] = &[
    Check {
        name: "memory",
        about: "whether the node has the memory, with what the other guests that run may use",
        actions: &[Action::Start, Action::Configure, Action::ConfigureInTask, Action::Migrate],
        reads: &[Fact::Guests, Fact::Nodes],
        judge: memory,
    },
    Check {
        name: "room",
        about: "whether the storage has the room",
        actions: &[
            Action::Clone,
            Action::ResizeDisk,
            Action::Configure,
            Action::ConfigureInTask,
            Action::Migrate,
            Action::MoveDisk,
            Action::MoveVolume,
            Action::Restore,
        ],
        reads: &[Fact::Storages],
        judge: room,
    },
    Check {
        name: "storage",
        about: "whether the storage is there that a disk goes into, and takes disks",
        actions: &[Action::MoveDisk, Action::MoveVolume],
        reads: &[Fact::Storages],
        judge: storage,
    },
    Check {
        name: "protection",
        about: "whether a disk would be taken from a guest that is protected",
        actions: &[Action::Configure, Action::ConfigureInTask],
        reads: &[],
        judge: protection,
    },
    Check {
        name: "ha",
        about: "whether HA looks after the guest, and would stand in the way",
        actions: &[Action::Destroy, Action::Start, Action::Suspend, Action::Template],
        reads: &[Fact::Guests],
        judge: ha,
    },
    Check {
        name: "migration",
        about: "whether the other node has what a guest needs that moves there, and lets it in",
        actions: &[Action::Migrate],
        reads: &[Fact::Guests, Fact::Storages, Fact::Bridges, Fact::Replication],
        judge: moving::judge,
    },
    Check {
        name: "clones",
        about: "whether linked clones stand on the disks of a template that goes",
        actions: &[Action::Destroy],
        reads: &[Fact::Guests, Fact::Volumes],
        judge: clones,
    },
    Check {
        name: "replication",
        about: "whether a guest that goes is replicated",
        actions: &[Action::Destroy],
        reads: &[Fact::Replication],
        judge: replication,
    },
    Check {
        name: "backup jobs",
        about: "whether backup jobs name a guest that goes",
        actions: &[Action::Destroy],
        reads: &[Fact::Backups],
        judge: backups,
    },
];

fn has(plan: &Plan, action: Action) -> bool {
    plan.steps.iter().any(|step| step.action == action)
}

/// Whether what else knows a guest is told that it goes.
fn purges(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.action == Action::Destroy && step.params.get("purge") == Some("1"))
}

pub(super) fn refuse(message: String, out: impl Into<String>) -> Vec<Finding> {
    vec![Refusal(Error::conflict(message).with_hint(Hint::Text(out.into())))]
}

/// Memory can be shared and taken back, so that only a guest is refused that is larger than its node. What counts of
/// the others is what they may use: what they happen to use now is no measure of what they will.
fn memory(facts: &Facts, index: usize, plan: &Plan) -> Vec<Finding> {
    let node = plan.place();
    let (Some(claim), Some(all)) = (plan.claims.memory, facts.memory_of(node)) else { return Vec::new() };
    if claim.whole > all {
        let text = format!("it may use {} of memory, and node {node} has {} in all", Size(claim.whole), Size(all));
        let out = format!(
            "give it less (pvectl {} update {} --memory …), or leave the check out with --no-checks",
            plan.guest.kind, plan.guest.vmid
        );
        return if has(plan, Action::Start) || has(plan, Action::Migrate) {
            refuse(text, out)
        } else {
            vec![Warning(text)]
        };
    }
    let Some(more) = facts.wanted(index, node) else { return Vec::new() };
    let claimed = facts.claimed(node);
    match claimed.saturating_add(more) > all {
        true => vec![Warning(format!(
            "node {node} has {} of memory: its guests that run may use {}, and this adds {}",
            Size(all),
            Size(claimed),
            Size(more)
        ))],
        false => Vec::new(),
    }
}

/// Most storages take a disk's data as it comes, so that a disk may be larger than what is free now.
fn room(facts: &Facts, index: usize, plan: &Plan) -> Vec<Finding> {
    let node = plan.place();
    let mut findings = Vec::new();
    for (name, size) in &plan.claims.room {
        let Some(storage) = facts.storage(node, name) else { continue };
        // What all nodes see stays where it is when a guest moves.
        let Some(free) = storage.avail.filter(|_| !(storage.shared && has(plan, Action::Migrate))) else { continue };
        if *size > free && THICK.contains(&storage.kind.as_str()) {
            let text = format!("{} wanted on storage `{name}` of {node}, {} free", Size(*size), Size(free));
            findings.extend(refuse(text, "make room, take another storage, or leave the check out with --no-checks"));
        } else if let Some(put) = facts.put(index, node, name).filter(|put| *put > free) {
            findings.push(Warning(format!(
                "storage `{name}` of {node} has {} free, and this may fill {} of it",
                Size(free),
                Size(put)
            )));
        }
    }
    findings
}

fn storage(facts: &Facts, _: usize, plan: &Plan) -> Vec<Finding> {
    let node = plan.place();
    let content = content_of(plan.guest.kind);
    let lacks = |name: &str| match facts.storage(node, name) {
        _ if !facts.knows_storages(node) => None,
        None => Some(Error::not_found(format!("node {node} has no storage `{name}`"))),
        Some(row) if !row.active => Some(Error::conflict(format!("storage `{name}` is not active on node {node}"))),
        Some(row) if !row.holds(content) => {
            Some(Error::conflict(format!("storage `{name}` does not hold `{content}`, only {}", row.content)))
        }
        Some(_) => None,
    };
    let errors = plan.claims.room.iter().filter_map(|(name, _)| lacks(name));
    errors.map(|error| Refusal(error.with_hint(Hint::Text("see what there is: pvectl storage list".into())))).collect()
}

fn protection(_: &Facts, _: usize, plan: &Plan) -> Vec<Finding> {
    let protected = plan.config_before.as_ref().is_some_and(|config| config.is_protected());
    // Under another word it is protected no longer when its disk goes.
    let stays = !plan.changes.iter().any(|change| change.key == "protection");
    let gone = plan.changes.iter().find(|change| change.after.is_none() && is_disk_key(&change.key));
    match gone.filter(|_| protected && stays) {
        Some(change) => refuse(
            format!("it is protected, and {} is a disk of it", change.key),
            format!(
                "take the protection away first: pvectl {} update {} --set protection=0",
                plan.guest.kind, plan.guest.vmid
            ),
        ),
        None => Vec::new(),
    }
}

fn ha(facts: &Facts, _: usize, plan: &Plan) -> Vec<Finding> {
    let Some(state) = facts.ha(&plan.guest) else { return Vec::new() };
    let sid = plan.guest.ha_sid();
    let resource = format!("/cluster/ha/resources/{sid}");
    if has(plan, Action::Destroy) {
        return match purges(plan) {
            true => vec![Note("it is taken out of HA".to_owned())],
            false => refuse(
                format!("HA looks after it ({state})"),
                format!("give --purge, or take it out of HA first: pvectl api delete {resource}"),
            ),
        };
    }
    if has(plan, Action::Start) && state == "error" {
        return refuse(
            "HA has given it up (error), and starts it only when it was disabled in between".to_owned(),
            format!("when the cause is mended: pvectl api put {resource} -p state=disabled, then start it"),
        );
    }
    if state == "ignored" {
        return Vec::new();
    }
    if has(plan, Action::Suspend) {
        return vec![Warning(format!("HA looks after it ({state}) and may start it again"))];
    }
    if has(plan, Action::Template) {
        let text = format!("HA looks after it ({state}), and a template cannot be started: take it out of HA");
        return vec![Warning(text)];
    }
    Vec::new()
}

fn clones(facts: &Facts, _: usize, plan: &Plan) -> Vec<Finding> {
    let clones = facts.clones(&plan.guest);
    match clones.is_empty() {
        true => Vec::new(),
        false => refuse(
            format!("linked clones stand on its disks: {}", clones.join(", ")),
            "delete these first, or copy them whole (pvectl vm clone --full) and delete the linked ones",
        ),
    }
}

fn replication(facts: &Facts, _: usize, plan: &Plan) -> Vec<Finding> {
    let jobs = facts.replications(&plan.guest);
    match jobs.as_slice() {
        [] => Vec::new(),
        jobs if purges(plan) => vec![Note(format!("its replication goes too: {}", jobs.join(", ")))],
        [first, ..] => refuse(
            format!("it is replicated: {}", jobs.join(", ")),
            format!("give --purge, or remove the job first: pvectl api delete /cluster/replication/{first}"),
        ),
    }
}

fn backups(facts: &Facts, _: usize, plan: &Plan) -> Vec<Finding> {
    let jobs = facts.backups(&plan.guest);
    match jobs.is_empty() {
        true => Vec::new(),
        false if purges(plan) => vec![Note(format!("it is taken out of backup jobs: {}", jobs.join(", ")))],
        false => vec![Warning(format!(
            "backup jobs name it, and go on to do so unless --purge is given: {}",
            jobs.join(", ")
        ))],
    }
}

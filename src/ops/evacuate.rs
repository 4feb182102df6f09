//! A node that all guests leave: where each of them goes, and what would not fit.
//!
//! Only plans; each guest's way is that of `migrate`, judged by the same checks. Who cannot go to one node is tried on the
//! next one, so that what stays has been looked at everywhere.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use super::{MigrateRequest, Ops, Plan, Resolved, StorageMap};
use crate::model::{Error, Guest, Hint, NodeName, Params, Result, Size};

/// How many guests are looked at at once.
const PLANNING: usize = 8;

/// How a node is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evacuation {
    /// The node.
    pub node: NodeName,
    /// Where the guests may go; to all others that are online if it is empty.
    pub to: Vec<NodeName>,
    /// Only those that run.
    pub running: bool,
    /// Nodes may promise more memory than they have.
    pub overcommit: bool,
    /// As for one guest.
    pub storages: StorageMap,
    /// As for one guest.
    pub with_local_disks: bool,
    /// As for one guest.
    pub restart: bool,
    /// As for one guest; HA is told none of it.
    pub more: Params,
}

/// A guest on its way, and why some nodes will not do.
struct Seeking {
    place: usize,
    found: Resolved,
    tried: BTreeMap<NodeName, String>,
    hints: Vec<Hint>,
}

impl Seeking {
    /// The memory that it takes of the other node.
    fn wants(&self) -> i64 {
        let memory = self.found.guest.maxmem.filter(|_| self.found.guest.is_powered());
        memory.and_then(|memory| i64::try_from(memory).ok()).unwrap_or(0)
    }

    fn refused(self) -> Error {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, reason) in &self.tried {
            by_reason.entry(reason).or_default().push(node.as_str());
        }
        let reasons: Vec<String> =
            by_reason.iter().map(|(reason, nodes)| format!("{}: {reason}", nodes.join(", "))).collect();
        let guest = &self.found.guest;
        let text = format!("no node for {} ({}): {}", guest.reference(), guest.label(), reasons.join("; "));
        let mut hints: Vec<Hint> = Vec::new();
        for hint in self.hints {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        hints.into_iter().fold(Error::conflict(text), Error::with_hint)
    }
}

impl Evacuation {
    fn request(&self, guest: &Guest, to: &NodeName) -> MigrateRequest {
        // HA takes the node alone, and copies disks by itself.
        let own = !guest.is_under_ha();
        MigrateRequest {
            to: to.clone(),
            storages: if own { self.storages.clone() } else { StorageMap::default() },
            with_local_disks: own && self.with_local_disks,
            restart: self.restart,
            more: if own { self.more.clone() } else { Params::new() },
        }
    }
}

impl Ops {
    /// Plans a place for every guest of a node but templates, with the largest first, each on the node that has the most
    /// memory left then. A guest that can go nowhere has the reasons in place of its plan.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) and [`Class::Unreachable`](crate::model::Class::Unreachable) for
    /// nodes that are not there, [`Class::Conflict`](crate::model::Class::Conflict) where there is no other.
    pub async fn plan_evacuation(&self, request: &Evacuation) -> Result<Vec<(Resolved, Result<Plan>)>> {
        self.require_node(request.node.as_str()).await?;
        for to in &request.to {
            self.require_aim(to).await?;
        }
        let guests = self.guests().await?;
        let mut free = self.free_memory(request, &guests).await?;
        if free.is_empty() {
            return Err(Error::conflict(format!(
                "there is no other node that is online: the guests of {} stay",
                request.node
            )));
        }
        let leaves =
            |guest: &&Guest| guest.node == request.node && !guest.template && (guest.is_powered() || !request.running);
        let mut leaving: Vec<&Guest> = guests.iter().filter(leaves).collect();
        leaving.sort_by_key(|guest| (!guest.is_powered(), std::cmp::Reverse(guest.maxmem), guest.vmid));
        let seeking = leaving.into_iter().enumerate().map(|(place, guest)| {
            let found = Resolved { guest: guest.clone(), target: request.node.to_string() };
            Seeking { place, found, tried: BTreeMap::new(), hints: Vec::new() }
        });
        let mut left: Vec<Seeking> = seeking.collect();
        let mut settled: Vec<(usize, Resolved, Result<Plan>)> = Vec::new();
        while !left.is_empty() {
            let mut round: Vec<(Seeking, NodeName)> = Vec::new();
            for mut seeking in left.drain(..) {
                match choose(&mut seeking, &mut free, request.overcommit) {
                    Some(node) => round.push((seeking, node)),
                    None => {
                        let (place, found) = (seeking.place, seeking.found.clone());
                        settled.push((place, found, Err(seeking.refused())));
                    }
                }
            }
            let planned = self.plan_round(request, round).await;
            for (mut seeking, node, planned) in planned {
                match planned {
                    Ok(plan) => settled.push((seeking.place, seeking.found, Ok(plan))),
                    Err(error) => {
                        *free.entry(node.clone()).or_default() += seeking.wants();
                        seeking.tried.insert(node, reason(&seeking.found, &error));
                        seeking.hints.extend(error.hints().iter().cloned());
                        left.push(seeking);
                    }
                }
            }
        }
        settled.sort_by_key(|(place, ..)| *place);
        Ok(settled.into_iter().map(|(_, found, plan)| (found, plan)).collect())
    }

    /// What the nodes that guests may go to have left beside what their own may use.
    async fn free_memory(&self, request: &Evacuation, guests: &[Guest]) -> Result<BTreeMap<NodeName, i64>> {
        let meant = |name: &NodeName| *name != request.node && (request.to.is_empty() || request.to.contains(name));
        let nodes = self.nodes().await?;
        let nodes = nodes.iter().filter(|node| node.is_online() && meant(&node.node));
        let free = nodes.map(|node| {
            let claimed = Guest::claimed(guests, &node.node);
            // Who may not see a node's memory holds nothing against it.
            let all = node.maxmem.and_then(|all| i64::try_from(all).ok()).unwrap_or(i64::MAX / 2);
            (node.node.clone(), all.saturating_sub(i64::try_from(claimed).unwrap_or(i64::MAX / 2)))
        });
        Ok(free.collect())
    }

    /// Plans the ways of a round and judges them together.
    async fn plan_round(
        &self,
        request: &Evacuation,
        round: Vec<(Seeking, NodeName)>,
    ) -> Vec<(Seeking, NodeName, Result<Plan>)> {
        let plans = round.into_iter().map(async |(seeking, node)| {
            let plan = self.plan_migrate(&seeking.found, &request.request(&seeking.found.guest, &node)).await;
            (seeking, node, plan)
        });
        let planned: Vec<_> = stream::iter(plans).buffered(PLANNING).collect().await;
        let good: Vec<Plan> = planned.iter().filter_map(|(.., plan)| plan.as_ref().ok()).cloned().collect();
        let mut verdicts = self.check(good).await.into_iter().map(|(_, verdict)| verdict);
        let judged = planned.into_iter().map(|(seeking, node, plan)| {
            let plan = plan.and_then(|plan| verdicts.next().unwrap_or(Ok(())).map(|()| plan));
            (seeking, node, plan)
        });
        judged.collect()
    }
}

/// The node with the most memory left that was not tried, if the guest fits.
fn choose(seeking: &mut Seeking, free: &mut BTreeMap<NodeName, i64>, overcommit: bool) -> Option<NodeName> {
    let wants = seeking.wants();
    let open = free.iter().filter(|(node, _)| !seeking.tried.contains_key(*node));
    let (node, has) = open.max_by_key(|(_, free)| **free).map(|(node, free)| (node.clone(), *free))?;
    if wants > has && !overcommit {
        let size = |bytes: i64| Size(u64::try_from(bytes).unwrap_or(0));
        for (node, free) in free.iter() {
            let little = || format!("{} of memory wanted, {} left", size(wants), size(*free));
            seeking.tried.entry(node.clone()).or_insert_with(little);
        }
        let hint = "make room, or give --overcommit to let nodes promise more than they have";
        seeking.hints.push(Hint::Text(hint.into()));
        return None;
    }
    if let Some(left) = free.get_mut(&node) {
        *left -= wants;
    }
    Some(node)
}

/// Why, without what was tried, which is said for all nodes at once.
fn reason(found: &Resolved, error: &Error) -> String {
    let guest = format!("{} ({}): ", found.guest.reference(), found.guest.label());
    error.message().split_once(&guest).map_or(error.message(), |(_, reason)| reason).to_owned()
}

//! Why a node does not answer: the cluster is asked once a call to it failed.
//!
//! It only makes errors say more. Whether a call may be sent again is the transport's to decide, and was decided before.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::Client;
use crate::model::{Class, Error, Hint, Node, closest};

/// How long the cluster may take to say how its nodes are.
const PATIENCE: Duration = Duration::from_secs(3);
/// For how long its answer is good: many calls to one node fail at once.
const FRESH: Duration = Duration::from_secs(5);

/// What the cluster said of its nodes, and when; `None` where it said nothing.
#[derive(Default)]
pub(super) struct Known(Mutex<Option<(Instant, Option<Vec<Node>>)>>);

impl Client {
    /// Says of the failure of a call to a node whether that is down, silent, or none of the cluster's.
    pub(super) async fn explained(&self, error: Error) -> Error {
        let named = error.hints().iter().enumerate().find_map(|(place, hint)| match hint {
            // That one is whoever answers.
            Hint::NodeUnreachable(name) if name != "localhost" => Some((place, name.clone())),
            _ => None,
        });
        let Some((place, name)) = named else { return error };
        let Some(nodes) = self.nodes_known().await else { return error };
        let Some(node) = nodes.iter().find(|node| node.node.as_str() == name) else {
            let names: Vec<String> = nodes.iter().map(|node| node.node.to_string()).collect();
            let error =
                error.without_hint(place).with_class(Class::NotFound).context(format!("no such node: `{name}`"));
            let error = error.did_you_mean(closest(&name, names.iter().cloned()));
            return error.with_hint(Hint::Text(format!("nodes here: {}", names.join(", "))));
        };
        let error = error.without_hint(place);
        match node.is_away() {
            true => error.context(format!("node {name} is {}", node.status)).with_hint(Hint::NodeAway(name)),
            false => error.with_hint(Hint::NodeSilent(name)),
        }
    }

    async fn nodes_known(&self) -> Option<Vec<Node>> {
        let mut known = self.0.nodes.0.lock().await;
        if let Some((_, nodes)) = known.as_ref().filter(|(when, _)| when.elapsed() < FRESH) {
            return nodes.clone();
        }
        // Boxed, since this is a call as well; none of a node's, so it does not come back here.
        let asked = Box::pin(timeout(PATIENCE, self.nodes())).await;
        let nodes = asked.ok().and_then(Result::ok).filter(|nodes| !nodes.is_empty());
        *known = Some((Instant::now(), nodes.clone()));
        nodes
    }
}

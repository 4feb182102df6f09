//! Who uses a thing, or is in it: looked for before one is removed, and shown with it.
//!
//! A table says where to look; what is found there is told apart by what a removal does to it.

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Sort;
use crate::{
    model::{Node, Params, Result},
    ops::Ops,
};

/// What a removal does to what uses a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tie {
    /// It keeps the thing: the server refuses.
    Holds,
    /// It is removed with the thing.
    Goes,
    /// It stays, and what it names is gone.
    Stays,
}

/// Where users of a thing are found.
#[derive(Debug)]
pub struct Use {
    /// What is read for it; empty for the thing itself.
    pub read: (&'static str, &'static [(&'static str, &'static str)]),
    /// What a removal does to them.
    pub tie: Tie,
    /// What to do about those that hold; `{name}` is the thing's.
    pub way_out: &'static str,
    /// Those in an answer, in words.
    pub find: fn(name: &str, answer: &Value) -> Vec<String>,
}

/// Something that uses a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What: `vm/100 (web-1)`.
    pub what: String,
    /// What a removal does to it.
    pub tie: Tie,
    #[serde(skip)]
    pub(super) way_out: &'static str,
}

impl Found {
    /// Something that goes with a removal.
    pub fn goes(what: impl Into<String>) -> Self {
        Self { what: what.into(), tie: Tie::Goes, way_out: "" }
    }
}

impl Ops {
    /// What uses a thing; and what could not be read, in words.
    pub async fn uses_of(
        &self,
        sort: impl Into<Sort>,
        name: &str,
        thing: &Map<String, Value>,
    ) -> (Vec<Found>, Vec<String>) {
        let sort = sort.into();
        let whole = Value::Object(thing.clone());
        // What neighbours in the table look at is read once.
        let looks = sort.of.uses.chunk_by(|one, next| one.read == next.read).map(async |places| {
            let (path, params) = places[0].read;
            let mut params: Params = params.iter().copied().collect();
            // A name in the path is this thing's.
            params.extend(
                sort.named(name).unwrap_or_default().iter().filter(|(key, _)| path.contains(&format!("{{{key}}}"))),
            );
            let answer = match path {
                "" => Ok(whole.clone()),
                path if path.contains("{node}") => self.on_all_nodes(path, &params).await,
                path => self.read_at(path, params).await,
            };
            (places, answer)
        });
        let (mut found, mut notes) = match sort.of.noun {
            "network" => self.stand_on(&sort, name).await,
            _ => self.mentions(&sort, name).await,
        };
        for (places, answer) in join_all(looks).await {
            match answer {
                Ok(answer) => {
                    let told = |place: &Use| {
                        (place.find)(name, &answer)
                            .into_iter()
                            .map(|what| (place.tie, place.way_out, what))
                            .collect::<Vec<_>>()
                    };
                    for (tie, way_out, what) in places.iter().flat_map(told) {
                        let one = Found { what, tie, way_out };
                        // A storage is listed once for each node.
                        if !found.contains(&one) {
                            found.push(one);
                        }
                    }
                }
                Err(error) => notes.push(format!("what uses it is not fully known: {error}")),
            }
        }
        (found, notes)
    }

    /// The rows that the nodes have; one that is off or has nothing of it has none.
    async fn on_all_nodes(&self, path: &str, params: &Params) -> Result<Value> {
        let nodes = self.backend().nodes().await?;
        let read = |node: &Node| self.rows_at(path, params.clone().with("node", &node.node));
        let answers = join_all(nodes.iter().map(read)).await;
        Ok(answers.into_iter().flatten().flatten().collect())
    }
}

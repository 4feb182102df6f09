//! Which rules name an alias, a set or a security group: all the lists in which one may stand are read.

use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::{
    Reach, Scope, Sort, plain,
    table::{resource, word},
    uses::{Found, Tie},
};
use crate::{
    model::{Node, Result},
    ops::Ops,
};

/// How many lists are read at a time.
const ABREAST: usize = 8;

impl Ops {
    /// The rules that name one, and what could not be read. What a guest has its own rules alone can name.
    pub(super) async fn mentions(&self, sort: &Sort, name: &str) -> (Vec<Found>, Vec<String>) {
        let names = match sort.of.noun {
            "firewall-group" => is_group,
            "firewall-ipset" => |rule: &Value, name: &str| names(rule, name, true),
            "firewall-alias" => |rule: &Value, name: &str| names(rule, name, false),
            _ => return (Vec::new(), Vec::new()),
        };
        let places = match sort.scope().reach() {
            Reach::Cluster => self.lists_of_rules().await,
            _ => Ok(vec![sort.scope().clone()]),
        };
        let mut notes = Vec::new();
        let places = places.unwrap_or_else(|error| {
            notes.push(format!("which rules name it is not fully known: {error}"));
            Vec::new()
        });
        let read = async |scope: Scope| {
            let sort = Sort::new(resource("firewall-rule"), scope)?;
            Ok::<_, crate::model::Error>((self.resources(&sort).await?, sort))
        };
        let answers: Vec<_> = stream::iter(places).map(read).buffered(ABREAST).collect().await;
        let mut found = Vec::new();
        for answer in answers {
            match answer {
                Ok((rows, sort)) => {
                    let those = rows.iter().filter(|rule| names(rule, name));
                    let said = |rule: &Value| format!("{} {}", sort.of.noun, sort.full_name_of(rule));
                    found.extend(those.map(|rule| Found { what: said(rule), tie: Tie::Stays, way_out: "" }));
                }
                Err(error) => notes.push(format!("which rules name it is not fully known: {error}")),
            }
        }
        notes.dedup();
        (found, notes)
    }

    /// Whose rules there are: the cluster's, each group's, each node's and each guest's.
    async fn lists_of_rules(&self) -> Result<Vec<Scope>> {
        let groups = self.resources(resource("firewall-group")).await?;
        let nodes = self.backend().nodes().await?;
        let guests = self.backend().guests().await?;
        let groups = groups.iter().map(|group| Scope::group(&word(group, "group")));
        let nodes = nodes.iter().filter(|node| node.is_online()).map(|node: &Node| Scope::node(&node.node));
        let all = std::iter::once(Scope::default()).chain(groups).chain(nodes);
        Ok(all.chain(guests.iter().map(Scope::guest)).collect())
    }
}

/// Whether a rule is that of a group.
fn is_group(rule: &Value, name: &str) -> bool {
    rule["type"] == "group" && word(rule, "action") == name
}

/// Whether one of a rule's ends names a set, `+dc/blocked`, or an alias, `dc/office`.
fn names(rule: &Value, name: &str, is_set: bool) -> bool {
    let ends = ["source", "dest"].into_iter().filter_map(|key| plain(&rule[key]));
    let is_it = |part: &str| {
        let bare = if is_set { part.strip_prefix('+') } else { Some(part) };
        let bare = bare.map(|part| {
            part.split_once('/').filter(|(scope, _)| ["dc", "guest"].contains(scope)).map_or(part, |(_, name)| name)
        });
        bare.is_some_and(|bare| bare.eq_ignore_ascii_case(name))
    };
    ends.into_iter().any(|end| end.split(',').any(|part| is_it(part.trim())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_names_sets_with_a_plus_and_aliases_without() {
        let rule = json!({"type": "in", "source": "+dc/blocked,10.0.0.1", "dest": "Office"});
        assert!(names(&rule, "blocked", true) && !names(&rule, "blocked", false));
        assert!(names(&rule, "office", false) && !names(&rule, "office", true) && !names(&rule, "10.0.0", false));
        assert!(names(&json!({"source": "+guest/a"}), "a", true) && names(&json!({"source": "guest/a"}), "a", false));
        assert!(is_group(&json!({"type": "group", "action": "web"}), "web"));
        assert!(!is_group(&json!({"type": "in", "action": "web"}), "web"));
    }
}

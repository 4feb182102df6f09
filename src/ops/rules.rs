//! Rules of a context: which changes of which guests want the guest's name typed, and which are forbidden.
//!
//! Pure but for the list of guests, which tells what a guest is. Where rules come from is the caller's to know, as is
//! how somebody types a name.

use super::{Choice, Ops, Plan, Target, verbs};
use crate::{
    backends::Action,
    model::{Guest, GuestKind, Result, Tags},
};

/// What a rule wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// That somebody types the name of the guest.
    TypedName,
    /// That it is not done.
    Forbidden,
}

impl Demand {
    /// Each with its word.
    pub const WORDS: [(&str, Self); 2] = [("typed-name", Self::TypedName), ("forbidden", Self::Forbidden)];
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// For which verbs; all if there is none.
    pub verbs: Vec<String>,
    /// For which kind of guest.
    pub kind: Option<GuestKind>,
    /// For guests that are so.
    pub guests: Choice,
    /// For guests of this name, in which `*` stands for anything.
    pub name: Option<String>,
    /// For guests with these numbers; all if there is none.
    pub vmids: Vec<Target>,
    /// What it wants.
    pub demand: Demand,
    /// Why.
    pub why: Option<String>,
    /// Where it is written.
    pub place: String,
}

impl Rule {
    /// Whether it is about this change.
    fn is_about(&self, verb: &str, guest: &Guest) -> bool {
        (self.verbs.is_empty() || self.verbs.iter().any(|of| of == verb))
            && self.kind.is_none_or(|kind| kind == guest.kind)
            && self.guests.takes(guest)
            && self.name.as_ref().is_none_or(|wanted| guest.name.as_ref().is_some_and(|name| fits(wanted, name)))
            && (self.vmids.is_empty() || self.vmids.iter().any(|target| target.matches(guest)))
    }
}

/// The names of the verbs that rules can be for.
pub fn verbs_of_rules() -> Vec<&'static str> {
    verbs::names()
}

/// Whether a name is one of this form.
fn fits(form: &str, name: &str) -> bool {
    let Some((first, rest)) = form.split_once('*') else { return form == name };
    let Some(name) = name.strip_prefix(first) else { return false };
    name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| fits(rest, &name[at..]))
}

impl Ops {
    /// The strictest rule for each plan, if there is one; of equal ones the first.
    ///
    /// # Errors
    /// Where the guests cannot be listed: what they are is not known then.
    pub async fn rules_for<'r>(&self, rules: &'r [Rule], plans: &[Plan]) -> Result<Vec<Option<&'r Rule>>> {
        if rules.is_empty() {
            return Ok(vec![None; plans.len()]);
        }
        let guests = self.recent_guests().await?;
        let strictest = |plan: &Plan| {
            let there = guests.iter().find(|guest| guest.vmid == plan.guest.vmid).cloned();
            let guest = there.unwrap_or_else(|| to_be(plan));
            let about = rules.iter().filter(|rule| rule.is_about(plan.words.name, &guest));
            about.rev().max_by_key(|rule| rule.demand)
        };
        Ok(plans.iter().map(strictest).collect())
    }
}

/// A guest that is not there yet, as its plan says it will be.
fn to_be(plan: &Plan) -> Guest {
    let made = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Create | Action::Clone | Action::ConfigureInTask));
    let said = |key: &str| made.clone().find_map(|step| step.params.get(key));
    Guest {
        name: plan.name.clone(),
        tags: said("tags").map(Tags::parse).unwrap_or_default(),
        pool: said("pool").map(str::to_owned),
        ..Guest::new(plan.guest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(vmid: u32, name: &str, tags: &str) -> Guest {
        let row = serde_json::json!({"vmid": vmid, "name": name, "type": "qemu", "node": "pve1", "tags": tags});
        serde_json::from_value(row).unwrap()
    }

    fn rule() -> Rule {
        Rule {
            verbs: Vec::new(),
            kind: None,
            guests: Choice::default(),
            name: None,
            vmids: Vec::new(),
            demand: Demand::TypedName,
            why: None,
            place: String::new(),
        }
    }

    #[test]
    fn a_rule_is_about_what_is_all_that_it_says() {
        let db = guest(150, "db-1", "app.db;prod");
        let about = |rule: Rule, verb: &str| rule.is_about(verb, &db);
        assert!(about(rule(), "delete"));
        let verbs = || Rule { verbs: vec!["delete".into(), "stop".into()], ..rule() };
        assert!(about(verbs(), "stop") && !about(verbs(), "start"));
        let named = |form: &str| Rule { name: Some(form.into()), ..rule() };
        for (form, fits) in
            [("db-1", true), ("db-*", true), ("*1", true), ("*", true), ("d*-*", true), ("db", false), ("*2", false)]
        {
            assert_eq!(about(named(form), "delete"), fits, "{form}");
        }
        let vmids = |text: &str| Rule { vmids: Target::parse_all(&[text]).unwrap(), ..rule() };
        assert!(
            about(vmids("100-199"), "delete") && about(vmids("7000,150"), "delete") && !about(vmids("200"), "delete")
        );
        let tagged = |tag: &str| Rule { guests: Choice { tag: Some(tag.into()), ..Choice::default() }, ..rule() };
        assert!(about(tagged("prod"), "delete") && !about(tagged("test"), "delete"));
        assert!(!about(Rule { kind: Some(GuestKind::Lxc), ..tagged("prod") }, "delete"));
        let labels = Choice { labels: vec!["app=db".parse().unwrap()], ..Choice::default() };
        assert!(about(Rule { guests: labels, ..verbs() }, "delete"));
    }
}

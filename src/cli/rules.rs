//! The rules of a context at work: read from their files, and who changes a guest is asked for its name.
//!
//! What a rule is about is decided in `ops`.

use std::path::Path;

use super::cx::Cx;
use crate::{
    config::{Resolved, RuleText, RuleValue, read_rules},
    model::{Class, Error, GuestKind, Hint, Result},
    ops::{Choice, Demand, Ops, Plan, Rule, Target, closest, verbs_of_rules},
};

/// Reads all rules that hold.
pub(super) fn load(resolved: &Resolved) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for path in resolved.rules.files() {
        let texts = read_rules(path)?;
        rules.extend(texts.iter().map(|text| rule(path, text)).collect::<Result<Vec<_>>>()?);
    }
    Ok(rules)
}

/// What is written there, and where.
fn at(path: &Path, value: &RuleValue) -> String {
    format!("`{}`, line {}", path.display(), value.referenced.line())
}

fn rule(path: &Path, text: &RuleText) -> Result<Rule> {
    let wrong = |value: &RuleValue, what: &str, known: &[&str]| {
        let error = Error::usage(format!("{}: `{}` is no {what}", at(path, value), value.value));
        let close = closest(&value.value, known.iter().map(|word| (*word).to_owned()));
        match close.is_empty() {
            true => error.with_hint(Hint::Text(format!("there are {}", known.join(", ")))),
            false => error.did_you_mean(close),
        }
    };
    let within = |value: &RuleValue, error: Error| error.context(at(path, value));
    let verbs = verbs_of_rules();
    if let Some(unknown) = text.verbs.iter().find(|verb| !verbs.contains(&verb.value.as_str())) {
        return Err(wrong(unknown, "verb that changes a guest", &verbs));
    }
    let demand = Demand::WORDS.iter().find(|(word, _)| *word == text.needs.value).map(|(_, demand)| *demand);
    let guests = &text.guests;
    let kind = match &guests.kind {
        None => None,
        Some(word) => Some(
            GuestKind::ALL
                .into_iter()
                .find(|kind| kind.noun() == word.value)
                .ok_or_else(|| wrong(word, "kind of guest", &GuestKind::ALL.map(GuestKind::noun)))?,
        ),
    };
    let labels = match &guests.selector {
        None => Vec::new(),
        Some(selector) => vec![selector.value.parse().map_err(|error| within(selector, error))?],
    };
    let vmids = match &guests.vmid {
        None => Vec::new(),
        Some(vmids) => Target::parse_all(&[&vmids.value]).map_err(|error| within(vmids, error))?,
    };
    let owned = |value: &Option<RuleValue>| value.as_ref().map(|value| value.value.clone());
    Ok(Rule {
        verbs: text.verbs.iter().map(|verb| verb.value.clone()).collect(),
        kind,
        guests: Choice {
            node: owned(&guests.node),
            pool: owned(&guests.pool),
            tag: owned(&guests.tag),
            labels,
            ..Choice::default()
        },
        name: owned(&guests.name),
        vmids,
        demand: demand.ok_or_else(|| wrong(&text.needs, "need", &Demand::WORDS.map(|(word, _)| word)))?,
        why: text.why.clone(),
        place: at(path, &text.needs),
    })
}

/// What is typed for a guest: its name, or its number where it has none.
fn to_type(plan: &Plan) -> String {
    plan.name.clone().unwrap_or_else(|| plan.guest.vmid.to_string())
}

fn because(rule: &Rule) -> String {
    match &rule.why {
        Some(why) => format!("{why} ({})", rule.place),
        None => rule.place.clone(),
    }
}

/// Which of the plans want the name of their guest typed. One that is forbidden is an error, and nothing is done.
pub(super) async fn wants_names(cx: &Cx, ops: &Ops, rules: &[Rule], plans: &[Plan]) -> Result<Vec<bool>> {
    let found = ops.rules_for(rules, plans).await?;
    let mut wants = Vec::new();
    for (plan, rule) in plans.iter().zip(found) {
        let rule = rule.filter(|_| !plan.steps.is_empty());
        wants.push(rule.is_some_and(|rule| rule.demand == Demand::TypedName));
        match rule {
            Some(rule) if cx.switches.dry_run => {
                let what = match rule.demand {
                    Demand::TypedName => "its name has to be typed for this",
                    Demand::Forbidden => "this is forbidden",
                };
                cx.ui.say(format_args!("{}: {what}: {}", plan.label(), because(rule)));
            }
            Some(rule) if rule.demand == Demand::Forbidden => {
                let text =
                    format!("cannot {} {}: a rule forbids it: {}", plan.words.act(), plan.label(), because(rule));
                let out = "--dry-run shows what would be done; whoever may change the rule can allow it";
                return Err(Error::new(Class::Forbidden, text).with_hint(Hint::Text(out.to_owned())));
            }
            _ => {}
        }
    }
    Ok(wants)
}

/// Refuses where names are wanted that nobody has given, and nobody is there to type.
pub(super) fn require_names(cx: &Cx, plans: &[&Plan]) -> Result<()> {
    let missing: Vec<String> = plans.iter().map(|plan| to_type(plan)).filter(|name| !is_given(cx, name)).collect();
    if missing.is_empty() || cx.ui.can_ask() {
        return Ok(());
    }
    let text =
        format!("a rule wants the name typed for this ({}), and there is no terminal to ask on", missing.join(", "));
    Err(Error::usage(text).with_hint(Hint::Text(format!(
        "look at it with --dry-run, then give the names: --confirm-name {}",
        missing.join(",")
    ))))
}

fn is_given(cx: &Cx, name: &str) -> bool {
    cx.flags.get("confirm-name").is_some_and(|given| given.split(',').any(|given| given.trim() == name))
}

/// Has the names typed, of those that the command line does not give; `false` where one is another.
pub(super) fn ask_names(cx: &Cx, plans: &[&Plan]) -> Result<bool> {
    for plan in plans {
        let name = to_type(plan);
        if is_given(cx, &name) {
            continue;
        }
        let act = plan.words.act();
        let question = format!("Type `{name}` to {act} {} on {}", plan.guest, plan.guest.node);
        if cx.ui.ask_name(&question)? != name {
            cx.ui.say(format_args!("this is not `{name}`"));
            return Ok(false);
        }
    }
    Ok(true)
}

//! What is no guest, and what its document wants of it: a pool, a storage, a user.

use super::{
    Deed, FieldChange, Stage, View, Work,
    diff::{Difference, Fields, differences},
    effect::Effect,
    existing::drift,
    known::{Known, SECRET},
};
use crate::{
    manifest::{Document, Spec},
    model::{Class, Error, Hint, Method, Params, Result, is_secret_at},
    ops::{Naming, Ops, RESOURCES, Reach, Resource, ResourceRequest, plain, resource::resource_named},
};

/// Sorts that are made with an answer that must not be lost: the secret of a token is told once.
const ANSWERS: [&str; 1] = ["token"];

/// The sorts of things that documents can describe: those of the cluster that have names, and can be made, changed and
/// removed.
pub fn manifest_nouns() -> Vec<&'static str> {
    let fits = |of: &&Resource| {
        of.home == Reach::Cluster
            && of.naming == Naming::Name
            && of.inside.is_none()
            && !ANSWERS.contains(&of.noun)
            && [Method::Post, Method::Put, Method::Delete].iter().all(|method| of.endpoint(*method).is_some())
    };
    RESOURCES.iter().filter(fits).map(|of| of.noun).collect()
}

impl Ops {
    /// Plans what a document wants of a thing that is no guest.
    pub(super) async fn plan_thing(&self, view: &View<'_>, document: &Document) -> Result<Work> {
        let name = &document.metadata.name;
        let of = resource_named(document.noun).ok_or_else(|| Error::usage(format!("there is no {}", document.noun)))?;
        let Spec::Thing(params, secrets) = &document.spec else { return Err(Error::usage("this is a guest")) };
        if let Some((key, _)) = params.iter().find(|(key, _)| is_secret_at(of.one, key)) {
            let error = Error::usage(format!("`{key}` is a secret, which is never written in a document"));
            let way = format!("write {key}: {{ fromFile: PATH }}");
            return Err(document.locate(error.with_hint(Hint::Text(way))));
        }
        let known = Known::of(document, view.known(document.noun, name));
        let mut work = Work::new(document.noun, name, known);
        work.document = Some(document.clone());
        let thing = match self.resource(of, name).await {
            Ok(thing) => Some(thing),
            Err(error) if error.class() == Class::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut wanted = work.known.wanted.clone();
        wanted.retain(|field, _| !field.starts_with("labels."));
        let Some(thing) = thing else {
            let mut set: Params = params.clone();
            for (key, secret) in secrets {
                set.set(key, secret.read()?);
            }
            let request = ResourceRequest { set, ..ResourceRequest::default() };
            let plan =
                self.plan_create_resource(of, Some(name), &request).await.map_err(|error| document.locate(error))?;
            work.changes = wanted.iter().map(|(field, value)| change(field, None, Some(value))).collect();
            work.notes.extend(plan.notes.iter().cloned());
            work.deed = Deed::Create;
            work.stages.push(Stage::Thing(Box::new(plan)));
            return Ok(work);
        };
        let mut live: Fields = thing.iter().filter_map(|(key, value)| Some((key.clone(), plain(value)?))).collect();
        // What a secret is is not told by the server: that it is as it was is all that is known.
        for field in wanted.keys().filter(|field| field.starts_with(SECRET)) {
            let named = work.known.said.iter().rev().find_map(|said| said.get(field));
            live.extend(named.map(|named| (field.clone(), named.clone())));
        }
        let endpoint = of.endpoint(Method::Put);
        let declared = |key: &str| endpoint.and_then(|endpoint| endpoint.parameters.get(key));
        let found = differences(&work.known.said(), &live, &wanted);
        let found: Vec<Difference> = found.into_iter().filter(|one| !is_same(one, declared(&one.field))).collect();
        work.refusals.extend(drift(&work, &found).filter(|_| !view.request.force));
        let mut request = ResourceRequest::default();
        for one in &found {
            match (one.field.strip_prefix(SECRET), &one.after) {
                (Some(key), Some(_)) => {
                    let secret = secrets.get(key).ok_or_else(|| Error::usage(format!("`{key}` has no file")))?;
                    request.set.set(key, secret.read()?);
                }
                (Some(_), None) => {}
                (None, _) if declared(&one.field).is_none() => {
                    let text = format!("`{}` is what a {} is made with, and stays as it is", one.field, of.noun);
                    work.refusals.push(document.locate(Error::usage(text)));
                }
                (None, Some(value)) => request.set.set(&one.field, value),
                (None, None) => request.unset.push(one.field.clone()),
            }
        }
        work.changes = found.iter().map(|one| FieldChange { what: one.clone(), effect: Effect::Live }).collect();
        if work.refusals.is_empty() && !found.is_empty() {
            let plan = self.plan_update_resource(of, name, &request).await.map_err(|error| document.locate(error))?;
            work.notes.extend(plan.risks.iter().cloned());
            if plan.call.is_some() {
                work.deed = Deed::Update;
                work.stages.push(Stage::Thing(Box::new(plan)));
            } else {
                work.changes.clear();
            }
        }
        Ok(work)
    }
}

fn change(field: &str, before: Option<&String>, after: Option<&String>) -> FieldChange {
    let what = Difference { field: field.to_owned(), before: before.cloned(), after: after.cloned(), applied: None };
    FieldChange { what, effect: Effect::Live }
}

/// Whether a difference is one of spelling.
fn is_same(one: &Difference, schema: Option<&crate::contract::Schema>) -> bool {
    match (&one.before, &one.after) {
        (Some(before), Some(after)) => {
            let friendly = crate::ops::resource::friendly(&one.field, after, schema);
            friendly.is_ok_and(|after| crate::ops::resource::same(before, &after, schema))
        }
        _ => false,
    }
}

//! A path as people write it, a template or a concrete one, and the method of the API that it means.
//!
//! Finds, fills and checks; what the parts look like in a URL, and sending them, is the client's.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::{
    Arguments, Contract, Endpoint,
    check::UNKNOWN,
    index::{SLASHED, placeholder, template_segments},
};
use crate::model::{Error, Hint, Method, Params, Result, is_secret_at};

/// Below this a segment of a path is not like another.
const ALIKE: f64 = 0.5;

/// A method of the API with what is known of its path: every name in braces has a value or is still open.
#[derive(Debug, Clone)]
pub struct Route<'c> {
    /// The method.
    pub endpoint: &'c Endpoint,
    values: Vec<(&'c str, Option<String>)>,
}

impl Contract {
    /// Finds the method for a path: concrete (`/nodes/pve1/qemu/100/config`), a template whose names are taken out of
    /// the arguments (`/nodes/{node}/qemu/{vmid}/config`), or something in between. A leading `/api2/json` and a
    /// missing leading slash are fine; `?a=b` becomes arguments of a GET or DELETE.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for a path that the API does not have, with paths that are like
    /// it; for a method that the path does not have, with those that it has.
    pub fn route(&self, method: Method, path: &str, arguments: &mut Arguments) -> Result<Route<'_>> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let typed = segments_of(path);
        let segments: Vec<&str> = typed.iter().map(String::as_str).collect();
        let whole = format!("/{}", segments.join("/"));
        let found = self.find_decoded(method, &whole).ok_or_else(|| self.not_there(method, &segments))?;
        if let Some(query) = query {
            if !matches!(method, Method::Get | Method::Delete) {
                return Err(Error::usage(format!("a {method} has no query: `?{query}` cannot stand in its path")));
            }
            query.split('&').filter(|pair| !pair.is_empty()).for_each(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                arguments.push(decoded(name), decoded(value));
            });
        }
        let mut values = Vec::new();
        for (name, (_, value)) in found.endpoint.path_params().zip(found.path_params.iter()) {
            let value = match placeholder(value) {
                None => Some(value.to_owned()),
                Some(typed) if typed == name => arguments.take(name)?,
                Some(typed) => {
                    return Err(Error::usage(format!(
                        "`{{{typed}}}` is called `{{{name}}}` in {}",
                        found.endpoint.path
                    )));
                }
            };
            if let Some(value) = &value {
                fits_into_a_path(name, value)?;
            }
            values.push((name, value));
        }
        Ok(Route { endpoint: found.endpoint, values })
    }

    /// The paths directly below a path, or all of them, each with its methods, in the order of the alphabet. What was
    /// typed stays in them: below `/nodes/pve1` is `/nodes/pve1/qemu`. A path with nothing below it is itself.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for a path that the API does not have.
    pub fn paths_below(&self, path: &str, deep: bool) -> Result<Vec<(String, Vec<Method>)>> {
        let typed = segments_of(path.split('?').next().unwrap_or_default());
        let segments: Vec<&str> = typed.iter().map(String::as_str).collect();
        let fits = |template: &str| begins(template, &segments);
        let literal = |template: &str| {
            let wanted = template_segments(template).take(typed.len());
            wanted.map(|wanted| placeholder(wanted).is_none()).collect::<Vec<_>>()
        };
        // As the server does: a literal segment is meant before a name.
        let best = self.templates().filter(|(_, template)| fits(template)).map(|(_, template)| literal(template)).max();
        let mut found: BTreeMap<String, Vec<Method>> = BTreeMap::new();
        let mut itself = Vec::new();
        for (method, template) in self.templates() {
            if !fits(template) || best.as_ref() != Some(&literal(template)) {
                continue;
            }
            let mut below = template_segments(template).skip(typed.len()).peekable();
            if below.peek().is_none() {
                itself.push(method);
                continue;
            }
            let (shown, rest): (Vec<&str>, usize) =
                if deep { (below.collect(), 0) } else { (below.next().into_iter().collect(), below.count()) };
            let path: String =
                typed.iter().map(String::as_str).chain(shown).flat_map(|segment| ["/", segment]).collect();
            let methods = found.entry(path).or_default();
            if rest == 0 {
                methods.push(method);
            }
        }
        if found.is_empty() && itself.is_empty() {
            return Err(self.not_there(Method::Get, &segments));
        }
        if found.is_empty() {
            found.insert(format!("/{}", typed.join("/")), itself);
        }
        Ok(found.into_iter().map(|(path, methods)| (path, in_order(&methods))).collect())
    }

    fn not_there(&self, method: Method, segments: &[&str]) -> Error {
        let whole = format!("/{}", segments.join("/"));
        let methods = self.methods_of(segments);
        if !methods.is_empty() {
            return Error::usage(format!("{whole} has no {method}, it has {}", in_words(&methods)));
        }
        let error = Error::usage(format!("the API has no path {whole}"));
        let close = self.like(segments);
        if close.is_empty() {
            // As far as it goes, it is right.
            let is_known = |part: &&[&str]| self.templates().any(|(_, template)| begins(template, part));
            let known = (0..=segments.len()).rev().map(|count| &segments[..count]).find(is_known).unwrap_or_default();
            error.with_hint(Hint::Text(format!("see what there is with `pvectl api ls /{}`", known.join("/"))))
        } else {
            error.did_you_mean(close)
        }
    }

    /// Paths like this one, with what it says in the place of names, the closest first.
    fn like(&self, segments: &[&str]) -> Vec<String> {
        let mut scored: Vec<(f64, String)> = self
            .templates()
            .filter_map(|(_, template)| {
                let wanted: Vec<&str> = template_segments(template).collect();
                if wanted.len() != segments.len() {
                    return None;
                }
                let filled = wanted.iter().zip(segments);
                let filled: Vec<&str> = filled
                    .map(|(wanted, typed)| if placeholder(wanted).is_some() { *typed } else { *wanted })
                    .collect();
                let score = filled.iter().zip(segments).map(|(a, b)| strsim::normalized_damerau_levenshtein(a, b));
                let score = score.fold(1.0, f64::min);
                (score >= ALIKE).then(|| (score, format!("/{}", filled.join("/"))))
            })
            .collect();
        scored.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.cmp(right)));
        scored.dedup_by(|(_, a), (_, b)| a == b);
        scored.into_iter().take(3).map(|(_, path)| path).collect()
    }
}

impl<'c> Route<'c> {
    /// The names in the path that have no value yet.
    pub fn open(&self) -> impl Iterator<Item = &'c str> {
        self.values.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name)
    }

    /// What stands in the path for a name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(have, _)| *have == name)?.1.as_deref()
    }

    /// Puts a value into the path.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for one that would make another path of it.
    pub fn fill(&mut self, name: &str, value: &str) -> Result<()> {
        fits_into_a_path(name, value)?;
        if let Some(entry) = self.values.iter_mut().find(|(have, _)| *have == name) {
            entry.1 = Some(value.to_owned());
        }
        Ok(())
    }

    /// The segments of the whole path, not encoded.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) that names what is still open.
    pub fn segments(&self) -> Result<Vec<&str>> {
        let open: Vec<String> = self.open().map(|name| format!("`{name}`")).collect();
        if !open.is_empty() {
            return Err(Error::usage(format!("{} needs {}", self.endpoint.path, open.join(" and "))));
        }
        let segment = |wanted: &'c str| placeholder(wanted).and_then(|name| self.value(name)).unwrap_or(wanted);
        Ok(template_segments(&self.endpoint.path).map(segment).collect())
    }

    /// Turns the arguments into the texts that go over the wire and checks them, with what is in the path, as the
    /// server would. What is `forced` goes with them unchecked, and in the place of one of the same name. Names that
    /// are still open are not missed.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) that names each wrong parameter and what is expected.
    pub fn params(&self, mut arguments: Arguments, forced: &Params) -> Result<Params> {
        arguments.replace(forced.clone().into());
        // A body may say once more what the path says, as the server allows.
        for (name, value) in &self.values {
            if let Some(value) = value {
                arguments.drop_equal(name, value);
            }
        }
        if let Some((name, value)) = self.values.iter().find(|(name, _)| arguments.has(name)) {
            let value = value.as_deref().unwrap_or_default();
            return Err(Error::usage(format!("`{name}` stands in the path already, as `{value}`")));
        }
        let params = arguments.into_params(self.endpoint)?;
        let mut whole = params.clone();
        whole.extend(self.values.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        let is_forced = |name: &str| forced.get(name).is_some();
        let mut errors: BTreeMap<String, String> = self.endpoint.check(&whole).err().unwrap_or_default();
        errors.retain(|name, _| {
            let name = name.split_once('[').map_or(name.as_str(), |(name, _)| name);
            !is_forced(name) && self.open().all(|open| open != name)
        });
        if errors.is_empty() {
            return Ok(params);
        }
        let error = self.endpoint.refusal("parameter", &whole, &errors);
        let unknown = errors.iter().any(|(_, said)| said == UNKNOWN);
        Err(if unknown { error.with_hint(Hint::UnknownParameter) } else { error })
    }

    /// Whether a parameter's value is a secret here.
    pub fn is_secret(&self, name: &str) -> bool {
        is_secret_at(&self.endpoint.path, name)
    }
}

/// Whether a template's first segments are these.
fn begins(template: &str, segments: &[&str]) -> bool {
    let mut wanted = template_segments(template);
    segments
        .iter()
        .all(|segment| wanted.next().is_some_and(|wanted| wanted == *segment || placeholder(wanted).is_some()))
}

/// A value in a path stays in its place: the server decodes the whole path before it looks for slashes.
fn fits_into_a_path(name: &str, value: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::usage(format!("`{name}` `{value}` cannot stand in a path: {why}")));
    if value.is_empty() {
        return Err(Error::usage(format!("`{name}` is empty")));
    }
    if value.contains('/') && !SLASHED.contains(&name) {
        return wrong("it has a slash in it");
    }
    if value.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("a part of it is empty or made of dots");
    }
    Ok(())
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn in_words(methods: &[Method]) -> String {
    let methods = in_order(methods);
    methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ")
}

/// A path as the server reads it: decoded, without `/api2/json`, a query, and doubled slashes.
pub fn plain_path(path: &str) -> String {
    format!("/{}", segments_of(path.split('?').next().unwrap_or_default()).join("/"))
}

/// The decoded segments of a path below `/api2/json`.
fn segments_of(path: &str) -> Vec<String> {
    let decoded = percent_decode_str(path.trim()).decode_utf8_lossy();
    let mut segments: Vec<String> =
        decoded.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    if segments.len() >= 2 && segments[0] == "api2" && segments[1] == "json" {
        segments.drain(..2);
    }
    segments
}

/// As everybody says them.
fn in_order(methods: &[Method]) -> Vec<Method> {
    Method::ALL.into_iter().filter(|method| methods.contains(method)).collect()
}

#[cfg(test)]
mod tests;

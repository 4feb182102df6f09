//! Tests that walk all methods of the API: a good call for each, and every way in which a parameter can be wrong.

use std::collections::BTreeMap;

use super::*;
use crate::model::Params;

/// A number inside the limits is made one outside of them, with the server's words.
type Mutation = (String, &'static str);

/// Values that a declaration must refuse, each with what must be said.
fn bad_values(schema: &Schema) -> Vec<Mutation> {
    let mut bad: Vec<Mutation> = Vec::new();
    match schema.kind {
        Kind::Boolean => bad.push(("maybe".to_owned(), "type check ('boolean') failed - got 'maybe'")),
        Kind::Integer => bad.push(("1.5".to_owned(), "type check ('integer') failed - got '1.5'")),
        Kind::Number => bad.push(("many".to_owned(), "type check ('number') failed - got 'many'")),
        _ => {}
    }
    if matches!(schema.kind, Kind::Integer | Kind::Number) {
        let outside = |limit: Option<f64>, step: f64| limit.map(|limit| (limit + step).to_string());
        // A format is looked at before the limits.
        let words = |limit| if schema.format.is_some() { "invalid format - " } else { limit };
        bad.extend(outside(schema.maximum, 1.0).map(|value| (value, words("value must have a maximum value of "))));
        bad.extend(outside(schema.minimum, -1.0).map(|value| (value, words("value must have a minimum value of "))));
    }
    if schema.keys().is_some() {
        bad.push(("no-such-key=1".to_owned(), "no-such-key: property is not defined in schema"));
    }
    if !schema.values.is_empty() {
        let (value, words) = match schema.kind {
            Kind::Integer => ("987654321", "value '987654321' does not have a value in the enumeration '"),
            _ if schema.format.is_some() => ("no-such-value", "no-such-value"),
            _ => ("no-such-value", "value 'no-such-value' does not have a value in the enumeration '"),
        };
        bad.push((value.to_owned(), words));
    }
    if let (Some(most), None, None) = (schema.max_length, &schema.format, &schema.pattern) {
        bad.push(("a".repeat(most as usize + 1), "value may only be "));
    }
    // What no format and no pattern of the description has room for.
    let odd = "\u{7} ";
    match &schema.format {
        _ if schema.kind != Kind::String => {}
        Some(Format::Named(name)) if formats::check(name, odd).is_err() => {
            bad.push((odd.to_owned(), "invalid format - "));
        }
        _ if schema.pattern.is_some() => bad.push((odd.to_owned(), "value does not match the regex pattern")),
        _ => {}
    }
    bad
}

fn params_with(base: &Params, name: &str, value: &str) -> Params {
    let mut params = base.clone();
    params.set(name, value);
    params
}

/// Parameters that another one demands beside it.
fn with_required(endpoint: &Endpoint, mut params: Params, schema: &Schema) -> Params {
    if let Some(wanted) = schema.requires.as_deref().filter(|wanted| params.get(wanted).is_none()) {
        let value = endpoint.parameters.get(wanted).and_then(Schema::example).unwrap_or_else(|| "1".to_owned());
        params.push(wanted, value);
    }
    params
}

/// `net[n]` as a call has it.
fn concrete(name: &str) -> String {
    name.replace("[n]", "0")
}

fn applies(endpoint: &Endpoint, schema: &Schema) -> bool {
    let property = schema.type_property.as_ref().and_then(|property| endpoint.parameters.properties.get(property));
    let chosen = property.and_then(|property| property.values.first());
    schema.instance_types.is_empty() || chosen.is_none_or(|chosen| schema.instance_types.contains(chosen))
}

#[test]
fn the_least_call_of_every_method_passes() {
    let mut count = 0;
    for endpoint in embedded().endpoints() {
        let what = format!("{} {}", endpoint.method, endpoint.path);
        let least = endpoint.example().unwrap_or_else(|| panic!("{what}: no call comes to mind"));
        assert_eq!(endpoint.check(&least), Ok(()), "{what} {least:?}");
        count += 1;
    }
    assert_eq!(count, 661);
}

#[test]
fn without_a_parameter_that_must_be_there_no_call_passes() {
    let mut count = 0;
    for endpoint in embedded().endpoints() {
        let least = endpoint.example().unwrap();
        for (name, _) in least.iter().filter(|(name, _)| endpoint.parameters.properties.contains_key(*name)) {
            let mut less = least.clone();
            less.remove(name);
            let errors = endpoint.check(&less).unwrap_err();
            let said = errors.get(name).unwrap_or_else(|| panic!("{} {}: {errors:?}", endpoint.method, endpoint.path));
            assert_eq!(said, "property is missing and it is not optional");
            count += 1;
        }
    }
    assert!(count > 900, "{count}");
}

#[test]
fn every_method_refuses_a_parameter_that_it_does_not_have() {
    let mut open = Vec::new();
    for endpoint in embedded().endpoints() {
        let odd = params_with(&endpoint.example().unwrap(), "no-such-parameter", "1");
        match endpoint.check(&odd) {
            Ok(()) => open.push(format!("{} {}", endpoint.method, endpoint.path)),
            Err(errors) => assert_eq!(
                errors,
                BTreeMap::from([("no-such-parameter".to_owned(), check::UNKNOWN.to_owned())]),
                "{} {}",
                endpoint.method,
                endpoint.path
            ),
        }
    }
    // The description leaves these few open.
    assert!(open.len() < 20, "{open:#?}");
    assert!(
        open.iter().all(|what| embedded()
            .endpoints()
            .any(|e| *what == format!("{} {}", e.method, e.path) && e.parameters.additional)),
        "{open:#?}"
    );
}

#[test]
fn every_parameter_takes_a_good_value_and_refuses_bad_ones() {
    let (mut good, mut bad) = (0, 0);
    for endpoint in embedded().endpoints() {
        let least = endpoint.example().unwrap();
        for (name, schema) in endpoint.parameters.properties.iter().filter(|(_, schema)| applies(endpoint, schema)) {
            let what = format!("{} {} {name}", endpoint.method, endpoint.path);
            let name = concrete(name);
            let base = with_required(endpoint, least.clone(), schema);
            let example = schema.example().unwrap_or_else(|| panic!("{what}: no value comes to mind"));
            assert_eq!(endpoint.check(&params_with(&base, &name, &example)), Ok(()), "{what}={example}");
            good += 1;
            for (value, want) in bad_values(schema) {
                let errors = endpoint.check(&params_with(&base, &name, &value)).expect_err(&what);
                let said = errors.get(&name).unwrap_or_else(|| panic!("{what}={value}: {errors:?}"));
                assert!(said.contains(want), "{what}={value}: {said}");
                bad += 1;
            }
        }
    }
    assert!(good > 3000 && bad > 2800, "{good} {bad}");
}

#[test]
fn a_servers_own_description_says_the_same_after_a_round_trip() {
    let script = embedded().to_apidoc();
    assert!(script.starts_with("const apiSchema = [{"), "{}", &script[..80]);
    // The viewer follows in the same file.
    let read = Contract::from_apidoc(&(script + "Ext.onReady(function() { let x = []; });\n"), embedded()).unwrap();
    assert_eq!(read.templates().count(), 661);
    assert_eq!(embedded().differences(&read), Vec::new());
    let again = Contract::unpacked(&read.packed()).unwrap();
    assert_eq!(read.text(), again.text());
    for bad in ["", "const apiSchema = 1;", "const apiSchema = [{\"path\":", "const apiSchema = [];"] {
        assert!(Contract::from_apidoc(bad, embedded()).is_err(), "{bad:?}");
    }
    assert!(Contract::unpacked(&read.packed()[..1000]).is_err());
}

#[test]
fn differences_name_what_came_went_and_changed() {
    let script = r#"const apiSchema = [{"path":"/version","info":{"GET":{"name":"version","description":"About.\n",
        "parameters":{"additionalProperties":0,"properties":{"verbose":{"type":"boolean","optional":1}}},
        "returns":{"type":"object"}}},"children":[{"path":"/version/next","info":{"GET":{"name":"n","parameters":{},
        "returns":{"type":"null"}}}}]},{"path":"/nodes/{node}/wakeonlan","info":{"POST":{"name":"wakeonlan",
        "parameters":{"properties":{"node":{"type":"string","format":"pve-node","maxLength":9}}},"returns":{}}}}];"#;
    let there = Contract::from_apidoc(script, embedded()).unwrap();
    let found = embedded().differences(&there);
    let by = |method: &str, path: &str| found.iter().find(|d| d.path == path && d.method.as_str() == method);
    assert_eq!(by("GET", "/version/next").unwrap().change, Some(Change::Added));
    assert_eq!(by("GET", "/access").unwrap().change, Some(Change::Removed));
    let version = by("GET", "/version").unwrap();
    assert_eq!((&version.change, version.parameters.len()), (&None, 1));
    assert_eq!(version.parameters[0], ParameterDifference { name: "verbose".into(), change: Change::Added });
    let longer = Change::Changed { what: "maxLength", here: None, there: Some("9".into()) };
    let wake = &by("POST", "/nodes/{node}/wakeonlan").unwrap().parameters;
    assert_eq!(*wake, [ParameterDifference { name: "node".into(), change: longer }]);
    let about = there.endpoint(crate::model::Method::Get, "/version").unwrap().explain().description;
    assert_eq!(about.as_deref(), Some("About."));
}

#[test]
fn keys_are_explained_by_any_of_their_names() {
    use crate::model::GuestKind::{Lxc, Qemu};
    let key = |guest, wanted: &str| embedded().explain_key(guest, wanted);
    let net = key(Qemu, "net0").unwrap();
    assert_eq!(
        (net.parameter.name.as_str(), net.parameter.kind, net.parameter.last_index),
        ("net[n]", "property string", Some(31))
    );
    assert_eq!(key(Qemu, "net").unwrap().parameter, net.parameter);
    assert_eq!(net.parameter.keys[0].name, "model");
    assert!(net.parameter.short_forms.contains(&"MODEL=MACADDR for model=MODEL,macaddr=MACADDR".to_owned()));
    assert_eq!(net.set_by.len(), 3);
    assert_eq!(key(Lxc, "rootfs").unwrap().set_by.len(), 2);
    let tag = key(Qemu, "net0.tag").unwrap().parameter;
    assert_eq!((tag.kind, tag.minimum, tag.maximum), ("integer", Some(1.0), Some(4094.0)));
    let unknown = key(Qemu, "memroy").unwrap_err();
    assert!(format!("{:?}", unknown.hints()).contains("memory"), "{unknown:?}");
    assert!(key(Qemu, "net0.brigde").unwrap_err().message().contains("no part `brigde`"));
    assert!(key(Qemu, "cores.x").is_err());
    assert!(embedded().guest_keys(Qemu).len() > 80 && embedded().guest_keys(Lxc).len() > 35);
}

//! The table of how much of the API is covered, made from the description that the program has built in.

use std::collections::{BTreeMap, BTreeSet};

use pvectl::{
    contract::{Schema, embedded},
    model::Method,
};

use super::{Account, must_be, root};

/// The methods that verbs call, by kind.
fn verbs() -> Vec<(String, Vec<String>)> {
    let said = Account::new().pvectl(&["api-resources", "--backend", "proxmox", "--json", "--quiet"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said.text).expect("rows");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let methods = |row: &serde_json::Value| row["methods"].as_array().expect("methods").iter().map(text).collect();
    rows.iter().map(|row| (text(&row["noun"]), methods(row))).collect()
}

fn coverage() -> String {
    #[derive(Default)]
    struct Area {
        methods: usize,
        reads: usize,
        tasks: usize,
        verbs: usize,
        parameters: usize,
        checked: usize,
    }
    let kinds = verbs();
    let of_verbs: BTreeSet<&str> = kinds.iter().flat_map(|(_, methods)| methods.iter().map(String::as_str)).collect();
    let mut areas: BTreeMap<String, Area> = BTreeMap::new();
    for endpoint in embedded().endpoints() {
        let depth = if endpoint.path.starts_with("/nodes/{node}/") { 3 } else { 2 };
        let area: Vec<&str> = endpoint.path.split('/').skip(1).take(depth).collect();
        let area = areas.entry(format!("/{}", area.join("/"))).or_default();
        area.methods += 1;
        area.reads += usize::from(endpoint.method == Method::Get);
        area.tasks += usize::from(endpoint.tasks.is_some());
        area.verbs += usize::from(of_verbs.contains(format!("{} {}", endpoint.method, endpoint.path).as_str()));
        area.parameters += endpoint.parameters.properties.len();
        area.checked += endpoint.parameters.properties.values().filter(|schema| is_checked(schema)).count();
    }
    let mut text = "\
# How much of the API is covered

Every method of Proxmox VE 9.2 can be called with `pvectl api` and with `client.call`, and is shown by `pvectl explain`.
A test builds the least call of each from the description and mutates its parameters one by one. *Checked* counts the
parameters of which more than the name is checked before anything is sent: type, limits, allowed values, pattern, a
known format, or the keys of a property string. The rest are free texts, or of formats that only the server knows.
*Verbs* counts the methods that a verb of a kind calls (`pvectl vm start`, `pvectl pool create`), which are listed below.
This page is written by a test: see [the design notes](../design/README.md).

| path | methods | reads | start tasks | verbs | parameters | checked |
|---|--:|--:|--:|--:|--:|--:|
"
    .to_owned();
    let mut sum = Area::default();
    for (path, area) in &areas {
        let Area { methods, reads, tasks, verbs, parameters, checked } = area;
        text += &format!("| `{path}` | {methods} | {reads} | {tasks} | {verbs} | {parameters} | {checked} |\n");
        sum.methods += methods;
        sum.reads += reads;
        sum.tasks += tasks;
        sum.verbs += verbs;
        sum.parameters += parameters;
        sum.checked += checked;
    }
    let Area { methods, reads, tasks, verbs, parameters, checked } = sum;
    text += &format!(
        "| **all** | **{methods}** | **{reads}** | **{tasks}** | **{verbs}** | **{parameters}** | **{checked}** |\n"
    );
    text +=
        "\n## Methods that verbs call\n\nAll others are reached by `pvectl api`.\n\n| kind | methods |\n|---|---|\n";
    for (noun, methods) in kinds.iter().filter(|(_, methods)| !methods.is_empty()) {
        let methods = methods.iter().map(|method| format!("`{method}`")).collect::<Vec<_>>().join("<br>");
        text += &format!("| {noun} | {methods} |\n");
    }
    text
}

/// Whether there is a text that the declaration refuses.
fn is_checked(schema: &Schema) -> bool {
    let odd = "\u{7} \u{7}".repeat(5000);
    ["", odd.as_str()].iter().any(|text| !schema.takes(text))
}

#[test]
fn the_table_of_the_api_is_fresh() {
    must_be(&root().join("docs/reference/api-coverage.md"), &coverage());
}

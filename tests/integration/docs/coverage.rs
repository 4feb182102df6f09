//! The table of how much of the API is covered, made from the description that the program has built in.

use std::collections::BTreeMap;

use pvectl::{
    contract::{Schema, embedded},
    model::Method,
};

use super::{must_be, root};

fn coverage() -> String {
    #[derive(Default)]
    struct Area {
        methods: usize,
        reads: usize,
        tasks: usize,
        parameters: usize,
        checked: usize,
    }
    let mut areas: BTreeMap<String, Area> = BTreeMap::new();
    for endpoint in embedded().endpoints() {
        let depth = if endpoint.path.starts_with("/nodes/{node}/") { 3 } else { 2 };
        let area: Vec<&str> = endpoint.path.split('/').skip(1).take(depth).collect();
        let area = areas.entry(format!("/{}", area.join("/"))).or_default();
        area.methods += 1;
        area.reads += usize::from(endpoint.method == Method::Get);
        area.tasks += usize::from(endpoint.tasks.is_some());
        area.parameters += endpoint.parameters.properties.len();
        area.checked += endpoint.parameters.properties.values().filter(|schema| is_checked(schema)).count();
    }
    let mut text = "\
# How much of the API is covered

Every method of Proxmox VE 9.2 can be called with `pvectl api` and with `client.call`, and is shown by `pvectl explain`.
A test builds the least call of each from the description and mutates its parameters one by one. *Checked* counts the
parameters of which more than the name is checked before anything is sent: type, limits, allowed values, pattern, a
known format, or the keys of a property string. The rest are free texts, or of formats that only the server knows.
This page is written by a test: see [the design notes](../design/README.md).

| path | methods | reads | start tasks | parameters | checked |
|---|--:|--:|--:|--:|--:|
"
    .to_owned();
    let mut sum = Area::default();
    for (path, area) in &areas {
        let Area { methods, reads, tasks, parameters, checked } = area;
        text += &format!("| `{path}` | {methods} | {reads} | {tasks} | {parameters} | {checked} |\n");
        sum.methods += methods;
        sum.reads += reads;
        sum.tasks += tasks;
        sum.parameters += parameters;
        sum.checked += checked;
    }
    let Area { methods, reads, tasks, parameters, checked } = sum;
    text + &format!("| **all** | **{methods}** | **{reads}** | **{tasks}** | **{parameters}** | **{checked}** |\n")
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

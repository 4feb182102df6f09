//! Paths as people write them, and what is said about those that are wrong.

use serde_json::json;

use super::*;
use crate::{contract::embedded, model::Class};

/// The filled path and the parameters that are left.
fn filled(method: Method, path: &str, given: serde_json::Value) -> Result<(String, Params)> {
    let mut arguments = Arguments::json(given)?;
    let route = embedded().route(method, path, &mut arguments)?;
    let params = route.params(arguments, &Params::new())?;
    Ok((route.segments()?.join(" "), params))
}

fn message(method: Method, path: &str, given: serde_json::Value) -> String {
    let error = filled(method, path, given).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    let hints = error.hints().iter().map(|hint| format!(" | {hint:?}"));
    format!("{error}{}", hints.collect::<String>())
}

#[test]
fn paths_are_taken_as_people_write_them() {
    let none = json!({});
    for (path, given) in [
        ("/nodes/pve1/qemu/100/config", none.clone()),
        ("nodes/pve1/qemu/100/config/", none.clone()),
        ("/api2/json/nodes/pve1/qemu/100/config", none.clone()),
        ("/nodes/pve%31//qemu/100/config", none),
        ("/nodes/{node}/qemu/{vmid}/config", json!({"node": "pve1", "vmid": 100})),
        ("/nodes/pve1/qemu/{vmid}/config", json!({"vmid": "100"})),
    ] {
        let (segments, params) = filled(Method::Get, path, given).unwrap();
        assert_eq!((segments.as_str(), params), ("nodes pve1 qemu 100 config", Params::new()), "{path}");
    }
    let (segments, params) = filled(Method::Get, "/cluster/resources?type=vm", json!(null)).unwrap();
    assert_eq!((segments.as_str(), params), ("cluster resources", Params::new().with("type", "vm")));
    let volume = "/nodes/pve1/storage/local/content/{volume}";
    let (segments, _) = filled(Method::Get, volume, json!({"volume": "local:iso/x.iso"})).unwrap();
    assert_eq!(segments, "nodes pve1 storage local content local:iso/x.iso");
    let (segments, _) = filled(Method::Delete, "/cluster/firewall/ipset/lan/10.0.0.0/8", json!({})).unwrap();
    assert_eq!(segments, "cluster firewall ipset lan 10.0.0.0/8");
}

#[test]
fn every_method_is_found_by_its_template_and_by_a_path_of_it() {
    for (method, template) in embedded().templates() {
        let arguments = || {
            let names = template_segments(template).filter_map(placeholder);
            Arguments::from(names.map(|name| (name, "x-1")).collect::<Params>())
        };
        let filled = embedded().route(method, template, &mut arguments()).unwrap();
        assert_eq!((filled.endpoint.method, filled.endpoint.path.as_str()), (method, template));
        let path = format!("/{}", filled.segments().unwrap().join("/"));
        let found = embedded().route(method, &path, &mut Arguments::default()).unwrap();
        assert_eq!(found.endpoint.path, template, "{path}");
    }
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let get = |path| message(Method::Get, path, json!({}));
    assert!(get("/nodes/pve1/qemu/100/confg").contains("\"/nodes/pve1/qemu/100/config\""));
    assert!(get("/nodse").contains("\"/nodes\""));
    assert!(get("/no/such/path/at/all").contains("`pvectl api ls /`"));
    assert!(get("/nodes/pve1/qemu/100/much/more").contains("`pvectl api ls /nodes/pve1/qemu/100`"));
    assert_eq!(message(Method::Post, "/version", json!({})), "/version has no POST, it has GET");
    let config = message(Method::Delete, "/nodes/a/qemu/100/config", json!({}));
    assert_eq!(config, "/nodes/a/qemu/100/config has no DELETE, it has GET, POST, PUT");
    assert!(message(Method::Post, "/pools?a=b", json!({})).contains("has no query"));
}

#[test]
fn a_path_is_read_as_the_server_reads_it() {
    for path in ["access/tfa/a", "/access//tfa/a/", "/api2/json/access/tf%61/a?x=1"] {
        assert_eq!(plain_path(path), "/access/tfa/a");
    }
}

#[test]
fn a_value_stays_in_its_place() {
    let config = "/nodes/{node}/qemu/{vmid}/config";
    for (node, why) in [("a/b", "slash"), ("..", "dots"), ("", "is empty")] {
        let said = message(Method::Get, config, json!({"node": node, "vmid": 100}));
        assert!(said.contains(why), "{said}");
    }
    let up = json!({"volume": "local:iso/../x"});
    assert!(message(Method::Get, "/nodes/a/storage/b/content/{volume}", up).contains("dots"));
    assert!(message(Method::Get, config, json!({"node": "a"})).contains("needs `vmid`"));
    assert!(message(Method::Get, "/nodes/{name}/qemu", json!({})).contains("`{name}` is called `{node}`"));
    let twice = message(Method::Get, "/nodes/a/qemu", json!({"node": "b"}));
    assert_eq!(twice, "`node` stands in the path already, as `a`");
}

#[test]
fn parameters_are_refused_in_words_for_people() {
    let put = |given| message(Method::Put, "/nodes/pve1/qemu/100/config", given);
    assert!(put(json!({"memroy": 1})).starts_with("unknown parameter `memroy` | DidYouMean([\"memory\""));
    assert!(put(json!({"memroy": 1})).contains("UnknownParameter"));
    assert!(put(json!({"cores": 0})).contains("minimum value of 1 | Text(\"`cores` takes INTEGER (1 or more)\")"));
    assert!(message(Method::Post, "/nodes/pve1/qemu", json!({})).starts_with("`vmid` is required"));
    let secret = message(Method::Post, "/access/users", json!({"userid": "a@pve", "password": "hunter"}));
    assert!(secret.starts_with("`password`: value must be at least 8") && !secret.contains("hunter"), "{secret}");
}

#[test]
fn what_is_forced_is_not_judged() {
    let forced = Params::new().with("newer", "x").with("cores", "many");
    let arguments = Arguments::json(json!({"cores": 2, "onboot": true})).unwrap();
    let route = embedded().route(Method::Put, "/nodes/a/qemu/100/config", &mut Arguments::default()).unwrap();
    let params = route.params(arguments, &forced).unwrap();
    assert_eq!(params, Params::new().with("onboot", 1).with("newer", "x").with("cores", "many"));
    let wrong = Arguments::json(json!({"cpulimit": "many"})).unwrap();
    assert!(route.params(wrong, &forced).unwrap_err().message().contains("`cpulimit`"));
}

#[test]
fn the_tree_is_walked_by_template_and_by_example() {
    let below = |path: &str, deep| embedded().paths_below(path, deep).unwrap();
    let names = |path: &str| below(path, false).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(names("/"), ["/access", "/cluster", "/nodes", "/pools", "/storage", "/version"]);
    assert!(names("/nodes/pve1/qemu/100").contains(&"/nodes/pve1/qemu/100/config".to_owned()));
    assert_eq!(names("/nodes/{node}/qemu"), ["/nodes/{node}/qemu/{vmid}"]);
    assert_eq!(below("version", false), [("/version".to_owned(), vec![Method::Get])]);
    let all: usize = below("", true).iter().map(|(_, methods)| methods.len()).sum();
    assert_eq!(all, embedded().templates().count());
    // A literal segment is meant before a name.
    assert!(names("/cluster/sdn/fabrics/all").iter().all(|path| path == "/cluster/sdn/fabrics/all"));
    assert!(embedded().paths_below("/nosuch", true).is_err());
}

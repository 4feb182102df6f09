//! The whole description and the recorded complaints of a real server.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::*;
use crate::model::{Method, Params};

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/pve"))
}

fn errors(method: Method, path: &str, params: &[(&str, &str)]) -> BTreeMap<String, String> {
    let call = Call::new(method, path).with_params(params.iter().copied().collect::<Params>());
    match check_call(&call) {
        Ok(_) => BTreeMap::new(),
        Err(Breach::Parameters(errors)) => errors,
        Err(breach) => panic!("{breach}"),
    }
}

fn one(method: Method, path: &str, params: &[(&str, &str)]) -> (String, String) {
    let mut errors = errors(method, path, params);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.pop_first().unwrap()
}

#[test]
fn what_is_built_in_is_what_the_fixtures_say() {
    let want = pack::text(fixtures()).unwrap();
    assert!(index::unpacked() == want, "run: cargo run --no-default-features --example pack_contract");
}

#[test]
fn every_method_can_be_read() {
    let contract = embedded();
    assert_eq!(contract.templates().count(), 661);
    assert_eq!(contract.endpoints().count(), 661);
    assert_eq!(contract.endpoints().filter(|endpoint| !endpoint.allowtoken).count(), 5);
    assert_eq!(contract.endpoints().filter(|endpoint| endpoint.permissions == Permissions::World).count(), 6);
    let declared: Value = serde_json::from_str(&fs::read_to_string(fixtures().join("api-9.2.json")).unwrap()).unwrap();
    for method in declared.as_array().unwrap() {
        let names = method["parameters"]["properties"].as_object();
        let path = method["path"].as_str().unwrap();
        let method: Method = serde_json::from_value(method["method"].clone()).unwrap();
        let endpoint = contract.endpoint(method, path).unwrap();
        assert!(endpoint.parameters.properties.len() >= names.map_or(0, serde_json::Map::len), "{method} {path}");
        assert!(!format!("{:?}", endpoint.permissions).contains("Unknown"), "{method} {path}");
        for name in endpoint.path_params() {
            assert!(endpoint.parameters.get(name).is_some() || endpoint.parameters.additional, "{path} {name}");
        }
    }
}

#[test]
fn tasks_are_known_by_their_type() {
    let start = embedded().endpoint(Method::Post, "/nodes/{node}/qemu/{vmid}/status/start").unwrap();
    assert_eq!(start.tasks.as_deref(), Some(&["hastart".to_owned(), "qmstart".to_owned()][..]));
    assert_eq!(embedded().endpoint(Method::Get, "/version").unwrap().tasks, None);
}

#[test]
fn concrete_paths_find_their_template() {
    let find = |path: &str| {
        let found = embedded().find(Method::Get, path)?;
        Some((
            found.endpoint.path.as_str(),
            found.path_params.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        ))
    };
    let config = Some(("/nodes/{node}/qemu/{vmid}/config", vec!["node=pve1".to_owned(), "vmid=150".to_owned()]));
    assert_eq!(find("/nodes/pve1/qemu/150/config"), config);
    assert_eq!(find("//nodes/pve1//qemu/150/config/"), config);
    assert_eq!(find("/nodes/pve%31/qemu%2F150/config"), config);
    let (template, params) = find("/nodes/pve1/storage/local/content/local%3Aiso/debian.iso").unwrap();
    assert_eq!(template, "/nodes/{node}/storage/{storage}/content/{volume}");
    assert_eq!(params[2], "volume=local:iso/debian.iso");
    assert_eq!(find("/nodes/pve1/qemu/150/status/current").unwrap().0, "/nodes/{node}/qemu/{vmid}/status/current");
    assert_eq!(find("/nosuch/path"), None);
    assert_eq!(find("/nodes/pve1/qemu/150/config/more"), None);
    assert!(embedded().knows_path("/nodes/pve1/qemu/150/status/start"));
    assert!(!embedded().knows_path("/nodes/pve1/qemu/150/status/nap"));
}

#[test]
fn every_recorded_read_finds_its_template_and_passes() {
    let recorded: Value =
        serde_json::from_str(&fs::read_to_string(fixtures().join("recordings/get.json")).unwrap()).unwrap();
    for read in recorded.as_array().unwrap() {
        let (path, template) = (read["path"].as_str().unwrap(), read["template"].as_str().unwrap());
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let found = embedded().find(Method::Get, bare).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(found.endpoint.path, template, "{path}");
        let mut params = found.path_params;
        params.extend(query.split('&').filter_map(|pair| pair.split_once('=')));
        if read["status"] == 200 {
            assert_eq!(found.endpoint.check(&params), Ok(()), "{path}");
        }
    }
}

#[test]
fn complaints_are_word_for_word_the_recorded_ones() {
    let create = "/nodes/pve1/qemu";
    let config = "/nodes/pve1/qemu/151/config";
    assert_eq!(one(Method::Post, create, &[]), ("vmid".into(), "property is missing and it is not optional".into()));
    let three = errors(Method::Post, create, &[("vmid", "5"), ("bogus", "1"), ("memory", "abc")]);
    assert_eq!(three["vmid"], "invalid format - value does not look like a valid VM ID\n");
    assert_eq!(three["bogus"], "property is not defined in schema and the schema does not allow additional properties");
    assert_eq!(
        three["memory"],
        "invalid format - format error\nmemory.current: type check ('integer') failed - got 'abc'\n"
    );
    assert_eq!(
        one(Method::Post, create, &[("vmid", "150"), ("net0", "virtio,bogus=1")]),
        (
            "net0".into(),
            "invalid format - format error\nnet0.bogus: property is not defined in schema and the schema does not \
             allow additional properties\n"
                .into()
        )
    );
    for word in ["true", "yes", "on", "2"] {
        let want = format!("type check ('boolean') failed - got '{word}'");
        assert_eq!(one(Method::Put, config, &[("onboot", word)]), ("onboot".into(), want));
    }
    assert_eq!(
        one(Method::Post, "/access/users", &[("userid", "bob@pve"), ("password", "abc")]).1,
        "value must be at least 8 characters long"
    );
    assert_eq!(
        one(Method::Get, "/cluster/resources", &[("type", "foo")]).1,
        "value 'foo' does not have a value in the enumeration 'vm, storage, node, sdn'"
    );
}

#[test]
fn limits_hold() {
    let config = "/nodes/pve1/qemu/151/config";
    let wrong = |key: &str, value: &str| one(Method::Put, config, &[(key, value)]).1;
    assert_eq!(wrong("cores", "0"), "value must have a minimum value of 1");
    assert_eq!(wrong("cores", "1e0"), "type check ('integer') failed - got '1e0'");
    assert_eq!(wrong("cpulimit", "129"), "value must have a maximum value of 128");
    assert_eq!(wrong("net32", "virtio"), check::UNKNOWN);
    assert_eq!(wrong("net00", "virtio"), check::UNKNOWN);
    assert_eq!(
        wrong("smbios1", "uuid=x"),
        "invalid format - format error\nsmbios1.uuid: value does not match the regex pattern\n"
    );
    assert_eq!(
        wrong("ipconfig0", "gw=10.0.0.1"),
        "invalid format - format error\nipconfig0.ip: missing property - 'gw' requires this property\n"
    );
    let twice = errors(Method::Put, config, &[("cores", "1"), ("cores", "2")]);
    assert_eq!(twice["cores"], "type check ('integer') failed - got ARRAY");
    let required = errors(Method::Put, config, &[("force", "1")]);
    assert_eq!(required["delete"], "missing property - 'force' requires this property");
}

#[test]
fn what_a_server_takes_passes() {
    let config = "/nodes/pve1/qemu/151/config";
    for (key, value) in [
        ("net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=20"),
        ("net31", "virtio,bridge=vmbr0,link_down=yes"),
        ("net0", "model=e1000,macaddr=BC:24:11:00:00:01"),
        ("scsi0", "local-lvm:32,discard=on,iothread=1,ssd=1"),
        ("scsi30", "local-lvm:0,import-from=local:import/disk.qcow2"),
        ("ide2", "none,media=cdrom"),
        ("ide2", "local:cloudinit"),
        ("efidisk0", "local-lvm:1,efitype=4m,pre-enrolled-keys=1"),
        ("cpu", "host,flags=+aes;-pcid"),
        ("cpu", "x86-64-v2-AES"),
        ("agent", "enabled=true,fstrim_cloned_disks=1"),
        ("agent", "1"),
        ("boot", "order=scsi0;net0"),
        ("ipconfig0", "ip=10.0.0.2/24,gw=10.0.0.1"),
        ("tags", "app.web;b"),
        ("startup", "order=1,up=30"),
        ("cpulimit", "1.5"),
        ("memory", "2048"),
        ("description", ""),
        ("delete", "cores,net0"),
        ("hostpci0", "0000:01:00.0,pcie=1"),
        ("serial0", "socket"),
    ] {
        assert_eq!(errors(Method::Put, config, &[(key, value)]), BTreeMap::new(), "{key}={value}");
    }
    let twice = [("delete", "name"), ("delete", "cores")];
    assert_eq!(errors(Method::Put, config, &twice), BTreeMap::new());
    let container = [
        ("vmid", "200"),
        ("ostemplate", "local:vztmpl/debian-13.tar.zst"),
        ("rootfs", "local-lvm:8"),
        ("mp0", "local-lvm:4,mp=/srv,backup=1"),
        ("net0", "name=eth0,bridge=vmbr0,ip=dhcp,ip6=auto"),
        ("features", "nesting=1,mount=nfs;cifs"),
        ("unprivileged", "1"),
    ];
    assert_eq!(errors(Method::Post, "/nodes/pve1/lxc", &container), BTreeMap::new());
    let command = [("command", "ls"), ("command", "-l")];
    assert_eq!(errors(Method::Post, "/nodes/pve1/qemu/100/agent/exec", &command), BTreeMap::new());
}

#[test]
fn variants_have_their_own_parameters() {
    let rules = "/cluster/ha/rules";
    let base = [("rule", "r1"), ("resources", "vm:100")];
    let node = [&base[..], &[("type", "node-affinity"), ("nodes", "pve1")]].concat();
    assert_eq!(errors(Method::Post, rules, &node), BTreeMap::new());
    let mixed = [&base[..], &[("type", "resource-affinity"), ("affinity", "positive"), ("nodes", "pve1")]].concat();
    assert_eq!(one(Method::Post, rules, &mixed).0, "nodes");
    let short = [&base[..], &[("type", "resource-affinity")]].concat();
    assert_eq!(one(Method::Post, rules, &short).0, "affinity");
}

#[test]
fn close_names_are_suggested() {
    let config = embedded().endpoint(Method::Put, "/nodes/{node}/qemu/{vmid}/config").unwrap();
    assert_eq!(config.suggest("memroy").first().map(String::as_str), Some("memory"));
    assert_eq!(config.suggest("nte1").first().map(String::as_str), Some("net1"));
    assert_eq!(config.suggest("quux"), Vec::<String>::new());
}

#[test]
fn what_is_not_there_is_named() {
    let call = Call::new(Method::Post, "/version");
    assert_eq!(check_call(&call).unwrap_err().to_string(), "Method 'POST /version' not implemented");
}

//! `explain`: what is built in, and what a server of another version says of itself.
//!
//! `fixtures/apidoc.js` is a file as servers have it, with our own words in it.

use insta::assert_snapshot;
use serde_json::json;
use tokio::runtime::Runtime;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::harness::{Env, NOBODY};

/// A server of a later version, as far as it describes itself.
pub(crate) struct Later {
    runtime: Runtime,
    server: MockServer,
    pub(crate) env: Env,
}

impl Later {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            let version = json!({"data": {"version": "9.4.1", "release": "9.4", "repoid": "abcdef"}});
            let script = include_str!("../../fixtures/apidoc.js");
            let answers = [
                ("/api2/json/version", ResponseTemplate::new(200).set_body_json(version)),
                (
                    "/pve-docs/api-viewer/apidoc.js",
                    ResponseTemplate::new(200).set_body_raw(script, "application/javascript"),
                ),
            ];
            let none = ResponseTemplate::new(200).set_body_json(json!({"data": []}));
            let node = json!({"data": [{"node": "pve1", "status": "online", "maxcpu": 4, "maxmem": 1_u64 << 36}]});
            Mock::given(method("GET"))
                .and(path("/api2/json/cluster/resources"))
                .respond_with(none)
                .mount(&server)
                .await;
            Mock::given(method("GET"))
                .and(path("/api2/json/nodes"))
                .respond_with(ResponseTemplate::new(200).set_body_json(node))
                .mount(&server)
                .await;
            for (at, answer) in answers {
                Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(&server).await;
            }
            server
        });
        let env = Env::bare()
            .with("PVECTL_ENDPOINT", &server.uri())
            .with("PVECTL_TOKEN", "root@pam!t=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
        Self { runtime, server, env }
    }

    /// The paths that were asked for, and whether credentials went with them.
    pub(crate) fn requests(&self) -> Vec<(String, bool)> {
        let received = self.runtime.block_on(self.server.received_requests()).unwrap_or_default();
        received
            .iter()
            .map(|request| (request.url.path().to_owned(), request.headers.contains_key("authorization")))
            .collect()
    }
}

#[test]
fn keys_parts_and_methods() {
    let env = Env::bare();
    assert_snapshot!(env.run("explain vm.net0.tag"), @"
    exit 0
    --- stdout
    vm.net0.tag
      Type       integer
      Needs      VM.Config.Network on /vms/{vmid}
      Takes      1 to 4094
    Set by
      POST /nodes/{node}/qemu
      PUT /nodes/{node}/qemu/{vmid}/config
      POST /nodes/{node}/qemu/{vmid}/config
    ");
    assert_snapshot!(env.run("explain ct.rootfs"), @"
    exit 0
    --- stdout
    container.rootfs
      Type       property string
      Flag       --rootfs
      Needs      VM.Config.Disk on /vms/{vmid}
      Takes      [volume=]…
    Parts (* must be there; [name=] may be left out)
    NAME          TYPE     DEFAULT  TAKES
    [volume=]*    string   -        pve-lxc-mp-string
    acl           boolean  -        -
    idmap         string   -        -
    mountoptions  string   -        -
    quota         boolean  -        -
    replicate     boolean  1        -
    ro            boolean  -        -
    shared        boolean  0        -
    size          string   -        disk-size
    Set by
      POST /nodes/{node}/lxc
      PUT /nodes/{node}/lxc/{vmid}/config
    ");
    assert_snapshot!(env.run("explain /nodes/{node}/qemu/{vmid}/status/stop post"), @"
    exit 0
    --- stdout
    POST /nodes/{node}/qemu/{vmid}/status/stop
      Name       vm_stop
      Needs      VM.PowerMgmt on /vms/{vmid}
      Task       starts a task (hastop or qmstop)
      Answers    string
    Parameters (* must be there)
    NAME               TYPE     DEFAULT  TAKES
    node*              string   -        pve-node
    vmid*              integer  -        100 to 999999999; pve-vmid
    keepActive         boolean  0        -
    migratedfrom       string   -        pve-node
    overrule-shutdown  boolean  0        -
    skiplock           boolean  -        -
    timeout            integer  -        at least 0
    ");
    assert_snapshot!(env.run("explain nodes/pve1/qemu/100/snapshot -o name"), @"
    exit 0
    --- stdout
    GET /nodes/{node}/qemu/{vmid}/snapshot
    POST /nodes/{node}/qemu/{vmid}/snapshot
    ");
    let data = env.run("explain vm.cpulimit -o json").ok().json();
    assert_eq!(
        (&data["type"], &data["maximum"], &data["privilege"]),
        (&json!("number"), &json!(128), &json!("VM.Config.CPU"))
    );
    let keys = env.run("explain vm -o name").ok().stdout;
    assert!(keys.lines().count() > 80 && keys.contains("vm.net[n]\n"), "{keys}");
}

#[test]
fn what_is_not_there_is_named_with_a_way_out() {
    let env = Env::bare();
    assert_snapshot!(env.run("explain vm.memroy"), @"
    exit 2
    --- stderr
    error: a vm has no configuration key `memroy`
    hint: did you mean `memory`?
    ");
    assert_snapshot!(env.run("explain vm.net0.brigde"), @"
    exit 2
    --- stderr
    error: `net[n]` has no part `brigde`
    hint: it has bridge, firewall, host-tunnel, link_down, macaddr, model, mtu, queues, rate, tag, trunks
    ");
    assert_snapshot!(env.run("explain rootfs"), @"
    exit 2
    --- stderr
    error: there is nothing called `rootfs` to explain
    hint: a kind of guest is expected (vm, container), one of its keys, another kind (storage, user, …), or a path of the API (/nodes)
    hint: did you mean `container.rootfs`?
    ");
    assert_snapshot!(env.run("explain /nodes/pve1/qemo"), @"
    exit 2
    --- stderr
    error: the API has no path /nodes/pve1/qemo
    hint: did you mean `/nodes/pve1/qemu`?
    ");
    assert_snapshot!(env.run("explain /version post"), @"
    exit 2
    --- stderr
    error: /version has no POST, it has GET
    ");
    assert_snapshot!(env.run("explain /version fetch"), @"
    exit 2
    --- stderr
    error: `fetch` is no method: get, post, put or delete is expected
    ");
    assert_snapshot!(env.run("explain vm.cores get"), @"
    exit 2
    --- stderr
    error: `vm.cores` is no path, and only paths have methods
    ");
    let _ = env.run("explain vm.cores --context nosuch").exits(3).says(&["context `nosuch` does not exist"]);
    // As it stands at the head of a request.
    assert_eq!(env.run("explain post /pools --embedded").ok().raw, env.run("explain /pools post --embedded").ok().raw);
}

#[test]
fn a_servers_own_description_is_read_once_and_shown_with_what_differs() {
    let later = Later::start();
    assert_snapshot!(later.env.run("explain vm.net0"), @"
    exit 0
    --- stdout
    vm.net0
      A network card.
      Type       property string
      Flag       --net0 to --net31
      Needs      VM.Config.Network on /vms/{vmid}
      Takes      n from 0 to 31; [model=]…
    Parts (* must be there; [name=] may be left out)
    NAME       TYPE    DEFAULT  TAKES     WHAT
    [model=]*  string  -        virtio    What card it is
    bridge     string  -        -         The bridge it is on
    colour     string  -        red|blue  What colour the cable has
    Set by
      POST /nodes/{node}/qemu
    Otherwise than in 9.2, on this server (9.4.1)
      net[n].bridge: format pve-bridge-id → none
      net[n].colour: only there
      net[n].e1000: not there
      net[n].e1000-82540em: not there
      net[n].e1000-82544gc: not there
      net[n].e1000-82545em: not there
      net[n].e1000e: not there
      net[n].firewall: not there
      net[n].host-tunnel: not there
      net[n].i82551: not there
      net[n].i82557b: not there
      net[n].i82559er: not there
      net[n].link_down: not there
      net[n].macaddr: not there
      net[n].model: does not take e1000, e1000-82540em, e1000-82544gc, e1000-82545em, e1000e, i82551, i82557b, i82559er, ne2k_isa, ne2k_pci, pcnet, rtl8139, vmxnet3
      net[n].mtu: not there
      net[n].ne2k_isa: not there
      net[n].ne2k_pci: not there
      net[n].pcnet: not there
      net[n].queues: not there
      net[n].rate: not there
      net[n].rtl8139: not there
      net[n].tag: not there
      net[n].trunks: not there
      net[n].virtio: not there
      net[n].vmxnet3: not there
    --- stderr
    reading the server's own description, once for version 9.4.1
    ");
    assert_snapshot!(later.env.run("explain vm.warp"), @"
    exit 0
    --- stdout
    vm.warp
      How fast it is.
      Type       integer
      Flag       --set warp=VALUE
      Needs      VM.Config.Options on /vms/{vmid}
      Takes      1 to 9
    Set by
      POST /nodes/{node}/qemu
    Otherwise than in 9.2, on this server (9.4.1)
      warp: only there
    ");
    assert_snapshot!(later.env.run("explain /version"), @"
    exit 0
    --- stdout
    GET /version
      About this server.
      Name       version
      Needs      everybody who is logged in; the method may look closer itself
      Answers    object
    Parameters (* must be there)
    NAME     TYPE     DEFAULT  TAKES  WHAT
    verbose  boolean  -        -      Say more
    Answer
    NAME      TYPE    DEFAULT  TAKES  WHAT
    version*  string  -        -      The version

    POST /version
      Makes the version another one.
      Name       next_version
      Needs      Sys.Modify on /
      Answers    null
    Parameters (* must be there)
    NAME      TYPE    DEFAULT  TAKES
    version*  string  -        -
    Otherwise than in 9.2, on this server (9.4.1)
      verbose: only there
    ");
    let version = ("/api2/json/version".to_owned(), true);
    let script = ("/pve-docs/api-viewer/apidoc.js".to_owned(), false);
    assert_eq!(later.requests(), [version.clone(), script, version.clone(), version]);
    // What it no longer has is explained all the same, by what is built in.
    let _ = later.env.run("explain vm.sockets").ok();
    let embedded = later.env.run("explain vm.cores --embedded -o json").ok().json();
    assert_eq!(embedded.get("server"), None);
    let shown = later.env.run("explain vm.cores -o json").ok().json();
    assert_eq!(
        shown["server"]["differences"],
        json!([{"name": "cores", "change": "changed", "what": "maximum", "here": null, "there": "1024"}])
    );
    let listed = later.env.run("explain --differences -o json").ok().json();
    let about = |path: &str, method: &str| {
        let all = listed.as_array().unwrap();
        all.iter().find(|row| row["path"] == path && row["method"] == method).cloned().unwrap()
    };
    assert_eq!(about("/version", "POST")["change"], json!({"change": "added"}));
    assert_eq!(about("/access", "GET")["change"], json!({"change": "removed"}));
}

#[test]
fn what_only_the_servers_own_description_knows_is_sent_once_that_was_read() {
    let later = Later::start();
    let create = "api post /nodes/pve1/qemu -p vmid=150 -p warp=9 --dry-run -o json";
    let verb = "vm create --vmid 150 --node pve1 --no-checks --set warp=9 --set cores=600 --dry-run -o json";
    for line in [create, verb] {
        let _ = later.env.run(line).exits(2).says(&["`warp`", "--force-param"]);
    }
    let _ = later.env.run("explain vm.warp").ok();
    for (line, warp) in [(create, "/params/warp"), (verb, "/calls/0/params/warp")] {
        let plan = later.env.run(line).ok().json();
        assert_eq!(plan.pointer(warp), Some(&json!("9")), "{plan}");
        // Its own limits hold.
        let _ = later.env.run(&line.replace("warp=9", "warp=10")).exits(2).says(&["maximum value of 9"]);
        // And so does what it does not know.
        let _ = later.env.run(&line.replace("warp=9", "wrap=9")).exits(2).says(&["`wrap`", "did you mean `warp`"]);
    }
    let unknown = "vm create --vmid 150 --node pve1 --no-checks --force-param wrap=1 --dry-run -o json";
    assert_eq!(later.env.run(unknown).ok().json()["calls"][0]["params"]["wrap"], json!("1"));
}

#[test]
fn a_description_that_is_broken_in_the_cache_is_read_again() {
    let later = Later::start();
    let _ = later.env.run("explain vm.cores").ok();
    let kept = later.env.path(".cache/pvectl/api/9.4.1-abcdef.gz");
    assert!(kept.exists());
    std::fs::write(&kept, "nonsense").unwrap();
    let _ = later.env.run("explain vm.cores").ok().says(&["once for version 9.4.1"]);
    let again = later.env.run("explain vm.cores").ok();
    assert_eq!(again.stderr, "");
    let _ = later.env.run("explain vm.cores --refresh").ok().says(&["once for version 9.4.1"]);
}

#[test]
fn without_a_server_what_is_built_in_is_shown() {
    let env = Env::bare()
        .with("PVECTL_ENDPOINT", NOBODY)
        .with("PVECTL_TOKEN", "root@pam!t=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
    let output = env
        .run("explain vm.cores")
        .ok()
        .says(&["this is the description of 9.2 that is built in", "connection refused"]);
    assert!(output.stdout.contains("VM.Config.CPU"), "{output}");
    let _ = env.run("explain --differences").exits(10);
    // A password that nobody gave is not asked for.
    let env = Env::bare().with("PVECTL_ENDPOINT", NOBODY);
    let _ = env.run("explain vm.cores").ok();
}

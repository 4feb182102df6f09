//! `api`: raw calls, checked before they are sent, followed and recorded like every change.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    explain::Later,
    harness::{Env, NOBODY, eventually},
};

const CONFIG: &str = "/nodes/{node}/qemu/{vmid}/config";

/// A server that nobody is: what is refused against it was refused before anything was sent.
pub(crate) fn nowhere() -> Env {
    Env::bare().with("PVECTL_ENDPOINT", NOBODY).with("PVECTL_TOKEN", "root@pam!x=00000000-0000-0000-0000-000000000000")
}

#[test]
fn reads_print_the_servers_data() {
    let env = Env::new();
    assert_snapshot!(env.run("api get /version"), @r#"
    exit 0
    --- stdout
    {
      "release": "9.2",
      "repoid": "14a22df35955d97d",
      "version": "9.2.11"
    }
    "#);
    assert_snapshot!(env.run("api get api2/json/version -o table"), @"
    exit 0
    --- stdout
    KEY      VALUE
    release  9.2
    repoid   14a22df35955d97d
    version  9.2.11
    ");
    let rows = env.json("api get /cluster/resources -p type=vm");
    assert_eq!(rows, env.json("api get /cluster/resources?type=vm"));
    assert_eq!(rows.as_array().unwrap().len(), 7);
    let table = env.run("api get /nodes -o table").ok().stdout;
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    let mut sorted = header.clone();
    sorted.sort_unstable();
    assert!(header == sorted && header.contains(&"NODE"), "{table}");
    // What is set for tables is not meant for raw data.
    assert!(env.with("PVECTL_OUTPUT", "table").run("api get /version").ok().json().is_object());
}

#[test]
fn a_template_is_filled_and_the_node_of_a_guest_is_found() {
    let server = Env::new().serve("");
    let found = server.json(&format!("api get {CONFIG} -p vmid=101"));
    assert_eq!(found["name"], "web-2");
    let paths: Vec<String> = server.requests();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths[0].starts_with("GET /cluster/resources") && paths[1].starts_with("GET /nodes/pve2/qemu/101/config"));
    assert_eq!(server.json(&format!("api get {CONFIG} -p vmid=101 -p node=pve2")), found);
    assert_eq!(server.json("api get /nodes/pve2/qemu/101/config"), found);
    let _ = server.run(&format!("api get {CONFIG} -p vmid=999")).exits(3).says(&["no such vm: `999`"]);
    let _ = server.run(&format!("api get {CONFIG} -p vmid=110")).exits(3).says(&["110 is a container"]);
    let volume = "/nodes/pve1/storage/{storage}/content/{volume} -p storage=local -p volume=local:iso/a.iso";
    let _ = server.run(&format!("api get {volume} --dry-run")).ok();
    assert_eq!(
        server.json(&format!("api get {volume} --dry-run"))["path"],
        "/nodes/pve1/storage/local/content/local:iso%2Fa.iso"
    );
}

#[test]
fn what_is_wrong_is_refused_before_anybody_is_asked() {
    let env = nowhere();
    for (line, said) in [
        ("get /nodes/pve1/qemu/100/confg", "did you mean `/nodes/pve1/qemu/100/config`?"),
        ("get /nosuch", "the API has no path /nosuch"),
        ("post /version", "/version has no POST, it has GET"),
        ("get /nodes/{node}/qemu/{vmid}/config", "needs `vmid`"),
        ("get /nodes/{node}/tasks", "needs `node`"),
        ("get /cluster/resources -p tpye=vm", "did you mean `type`?"),
        ("get /cluster/resources -p tpye=vm", "--force-param"),
        ("get /cluster/resources -p type=foo", "`type` takes vm|storage|node|sdn"),
        ("put /nodes/a/qemu/100/config -p cores=many", "`cores` takes INTEGER (1 or more)"),
        ("put /nodes/a/qemu/100/config -p cores=0", "minimum value of 1"),
        ("put /nodes/a/qemu/100/config -p net0=virtio,brigde=x", "unknown part `brigde`"),
        ("put /nodes/a/qemu/100/config -p cores=1 -p cores=2", "takes one value"),
        ("post /nodes/a/qemu", "`vmid` is required"),
        ("post /nodes/a/qemu?vmid=150", "has no query"),
        ("put /nodes/a/qemu/100/config -p node=b", "`node` stands in the path already, as `a`"),
        ("put /nodes/a/qemu/100/config -p nmae=x", "did you mean `name`"),
        ("get /cluster/firewall/ipset/x", "`name` takes TEXT of 2 to 64 characters, that matches [A-Za-z]"),
        ("get /nodes/{node}/tasks -p node=a/b", "a slash"),
        ("get /version -p x", "`-p` takes KEY=VALUE"),
        ("get /version --paginate", "take `start` and `limit`"),
    ] {
        let _ = env.run(&format!("api {line}")).exits(2).says(&[said]);
    }
    assert!(!env.journal().exists());
}

#[test]
fn what_is_forced_is_sent_as_it_is() {
    let server = Env::new().serve("");
    let line = "api get /cluster/resources --force-param newer=1 --force-param type=odd";
    let _ = server.run(line).exits(7).says(&["newer: property is not defined", "type: value 'odd'"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_the_server_itself_describes_passes() {
    let later = Later::start();
    let post = "api post /nodes/pve1/qemu -p vmid=150 -p warp=9 --dry-run";
    let _ = later.env.run(post).exits(2).says(&["unknown parameter `warp`"]);
    assert_eq!(later.requests(), [], "nothing was kept, so nobody is asked");
    let _ = later.env.run("explain vm.warp").ok();
    assert_eq!(later.env.json(post)["params"]["warp"], "9");
    let _ = later.env.run("api post /nodes/pve1/qemu -p vmid=150 -p warp=10").exits(2).says(&["`warp` takes INTEGER"]);
    assert_eq!(later.env.json("api post /version -p version=10 --dry-run")["path"], "/version");
}

#[test]
fn pages_become_one_list() {
    let server = Env::new().serve("");
    for _ in 0..5 {
        let _ = server.run("vm start 101 --quiet").ok();
        let _ = server.run("vm stop 101 --quiet").ok();
    }
    let whole = server.json("api get /nodes/pve2/tasks");
    assert_eq!(whole.as_array().unwrap().len(), 10);
    let count = || server.count("GET", "/nodes/pve2/tasks");
    let before = count();
    assert_eq!(server.json("api get /nodes/pve2/tasks --paginate -p limit=4"), whole);
    assert_eq!(count() - before, 3);
    assert_eq!(server.json("api get /nodes/pve2/tasks --paginate"), whole);
    let rest = server.json("api get /nodes/pve2/tasks --paginate -p start=7");
    assert_eq!(rest.as_array().unwrap()[..], whole.as_array().unwrap()[7..]);
    assert_eq!(server.json("api get /nodes/pve1/tasks --paginate"), json!([]));
}

#[test]
fn a_body_gives_parameters_as_they_are_meant() {
    let env = Env::new();
    let body = json!({
        "vmid": 150, "name": "body", "cores": 2.0, "onboot": true, "tags": ["a", "b"], "description": null,
        "net0": {"model": "virtio", "bridge": "vmbr0", "firewall": true},
    });
    env.write("vm.json", &body.to_string());
    let dry = env.json("api post /nodes/{node}/qemu -p node=pve1 -f vm.json -p cores=3 --dry-run");
    let want = json!({
        "vmid": "150", "name": "body", "onboot": "1", "tags": "a,b",
        "net0": "model=virtio,bridge=vmbr0,firewall=1", "cores": "3",
    });
    assert_eq!(dry["params"], want);
    let _ = env.run("api post /nodes/pve1/qemu -f vm.json").ok();
    let config = env.json("vm get 150");
    assert_eq!((&config["config"]["cores"], &config["config"]["onboot"]), (&json!(2), &json!(1)));
    let yaml = "cores: 4\nonboot: false\n";
    let _ = env.run_with(&format!("api put {CONFIG} -p vmid=150 -f -"), yaml).ok();
    assert_eq!(env.json("vm get 150")["config"]["cores"], 4);

    let line = "/nodes/pve1/qemu/150/config -p cores=6 --dry-run";
    assert_eq!(env.run(&format!("api set {line}")).ok().raw, env.run(&format!("api put {line}")).ok().raw);
    let _ = env.run("api create /pools -p poolid=ab --dry-run").ok().says(&["nothing was sent"]);
    // A body may say once more what the path says: the server allows it.
    env.write("whole.json", r#"{"node": "pve1", "vmid": 150, "cores": 5}"#);
    let said = env.json("api put /nodes/pve1/qemu/150/config -f whole.json --dry-run");
    assert_eq!(said["params"], json!({"cores": "5"}));

    env.write("list.json", r#"{"cores": [1, 2]}"#);
    let _ = env.run("api put /nodes/pve1/qemu/150/config -f list.json").exits(2).says(&["takes one value, not a list"]);
    env.write("broken.yaml", "cores: [\n");
    let _ = env.run("api put /nodes/pve1/qemu/150/config -f broken.yaml").exits(2).says(&["broken.yaml"]);
    let both = "api put /nodes/pve1/qemu/150/config -f - -p name=-";
    let _ = env.run_with(both, "{}").exits(2).says(&["stdin can be read once"]);
    env.write("name.txt", "from-a-file\n");
    let _ = env.run("api put /nodes/pve1/qemu/150/config -p name=@name.txt -p description=@@x").ok();
    let config = env.json("vm get 150");
    assert_eq!((&config["config"]["name"], &config["config"]["description"]), (&json!("from-a-file"), &json!("@x")));
}

#[test]
fn a_task_is_followed_and_recorded() {
    let env = Env::new();
    assert_snapshot!(env.run("api post /nodes/{node}/qemu/{vmid}/status/start -p vmid=101"), @"
    exit 0
    --- stdout
    UPID:pve2:…:qmstart:101:root@pam!pvectl:
    --- stderr
    POST /nodes/pve2/qemu/101/status/start: task UPID:pve2:…:qmstart:101:root@pam!pvectl:
    ");
    assert_eq!(env.json("vm get 101")["status"], "running");
    // A change that is done at once says nothing, or what the server said.
    assert_snapshot!(env.run("api put /nodes/pve2/qemu/101/config -p onboot=yes"), @"exit 0");
    assert_snapshot!(env.run("api put /nodes/pve2/qemu/101/config -p onboot=no -o json"), @"
    exit 0
    --- stdout
    null
    ");
    let _ = env.run("api post /nodes/pve1/qemu/999/status/start").exits(3);
    assert_snapshot!(env.run("operation list --output table"), @"
    exit 0
    --- stdout
    ID  STARTED  VERB      TARGET                             VMID  NODE  STATUS  TOOK  EXIT STATUS
     4  0s ago   api post  /nodes/pve1/qemu/999/status/start   999  pve1  failed  0s  Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist
     3  0s ago   api put   /nodes/pve2/qemu/101/config         101  pve2  ok      0s  -
     2  0s ago   api put   /nodes/pve2/qemu/101/config         101  pve2  ok      0s  -
     1  0s ago   api post  /nodes/pve2/qemu/101/status/start   101  pve2  ok      0s  OK
    ");
    let shown = env.json("operation show 1");
    assert_eq!(shown["kind"], "qemu");
    assert_eq!(
        shown["steps"][0]["call"],
        json!({"method": "POST", "path": "/nodes/pve2/qemu/101/status/start", "params": {}})
    );
    assert_eq!(env.json("operation list --target 101 --verb 'api post'").as_array().unwrap().len(), 1);
}

#[test]
fn a_task_that_fails_is_the_calls_failure() {
    let env = Env::new();
    let output = env.run("api post /nodes/pve1/qemu/999/status/start");
    assert_snapshot!(output, @"
    exit 3
    --- stdout
    UPID:pve1:…:qmstart:999:root@pam!pvectl:
    --- stderr
    POST /nodes/pve1/qemu/999/status/start: task UPID:pve1:…:qmstart:999:root@pam!pvectl:
    the last lines of the task:
      TASK ERROR: Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist
    error: POST /nodes/pve1/qemu/999/status/start: Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist
    ");
    let row = &env.json("operation list")[0];
    assert_eq!((&row["status"], &row["vmid"]), (&json!("failed"), &json!(999)));
}

#[test]
fn what_is_not_waited_for_is_settled_later() {
    let env = Env::paced("1");
    let upid = env.run("api post /nodes/pve2/qemu/101/status/start --no-wait").ok().raw;
    assert!(upid.starts_with("UPID:pve2:") && upid.lines().count() == 1, "{upid}");
    eventually("the journal has the end", || {
        let row = env.json("operation list")[0].clone();
        (row["status"] == "ok" && row["upid"] == upid.trim()).then_some(())
    });
    let slow = Env::paced("2000");
    let output = slow.run("api post /nodes/pve2/qemu/101/status/start --timeout 1s").exits(8);
    let _ = output.says(&["come back to it with `pvectl task watch UPID:pve2"]);
    assert_eq!(slow.json("operation list")[0]["status"], "running");
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_the_watching_of_a_call_too() {
    let env = Env::paced("3");
    let mut watching = env.spawn("api post /nodes/pve2/qemu/101/status/start");
    watching.until("task UPID");
    watching.interrupt();
    let _ = watching.wait().exits(130).says(&["interrupted: the task goes on", "pvectl task watch UPID:pve2"]);
}

#[test]
fn a_lost_answer_is_unknown_and_never_sent_again() {
    let server = Env::new().serve("--fault 'POST /nodes/*/qemu/*/status/start:reset-before*1'");
    let output = server.run("api post /nodes/pve2/qemu/101/status/start").exits(10);
    let _ = output.says(&["may have been carried out"]);
    assert_eq!(server.changes().len(), 1);
    assert_eq!(server.json("operation list")[0]["status"], "unknown");
}

#[test]
fn a_lost_answer_is_found_by_its_task() {
    let server = Env::new().serve("--fault 'POST /nodes/*/qemu/*/status/start:reset-after*1'");
    let _ = server.run("api post /nodes/pve2/qemu/101/status/start").ok().says(&["its task was found"]);
    assert_eq!(server.changes().len(), 1);
    assert_eq!(server.json("operation list")[0]["status"], "ok");
}

#[test]
fn a_delete_asks() {
    let server = Env::new().serve("");
    let _ = server.run("api delete /nodes/pve3/qemu/103").exits(2).says(&["--confirm"]);
    assert_eq!(server.requests(), [""; 0], "refused before anything is looked at");
    let _ = server.run("api delete /nodes/{node}/qemu/{vmid} -p vmid=103 --confirm").ok();
    let _ = server.run("vm get 103").exits(3);
    assert_eq!(server.json("operation list")[0]["verb"], "api delete");
}

/// The line does what the call would have done, where there is a curl to try it with.
#[cfg(unix)]
#[test]
fn a_secret_is_nowhere_but_at_the_server() {
    const MARK: &str = "hunter2-is-secret";
    let env = Env::new();
    for line in [
        format!("api post /access/users -p userid=ann@pve -p password={MARK}"),
        format!("api post /access/users -p userid=ann@pve --force-param password={MARK}"),
        format!("api get /version?password={MARK}"),
        format!("api post /nodes/pve1/certificates/custom -p key={MARK}"),
        format!("api post nodes/pve1//certificate%73/custom -p key={MARK}"),
        format!("api post /access/users -p userid=ann@pve -p password=@@{MARK}"),
    ] {
        let output = env.run(&line).exits(2);
        assert!(!output.stderr.contains(MARK), "{output}");
        let _ = output.says(&["is a secret and is not taken from the command line", "=@FILE"]);
    }
    env.write("password.txt", &format!("{MARK}\n"));
    let post = "api post /access/users -p userid=ann@pve";
    let shows = |output: &str| {
        assert!(!output.contains(MARK), "{output}");
    };
    let dry = env.run(&format!("{post} -p password=@password.txt --dry-run")).ok();
    assert!(dry.stdout.contains("password=***") && dry.stdout.contains("\"password=$PASSWORD\""), "{dry}");
    let refused = env.run_with(&format!("{post} -p password=- --force-param enable=maybe"), MARK).exits(7);
    let traced = env.run_with(&format!("{post} -p password=- -vvv"), MARK).ok();
    for output in [&dry, &refused, &traced] {
        shows(&output.to_string());
    }
    shows(&env.run("operation show 1 -o json").ok().to_string());
    shows(&env.run("operation show 2 -o json").ok().to_string());
    for entry in std::fs::read_dir(env.journal().parent().unwrap()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        let found = bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
        assert!(!found || !name.starts_with("journal"), "{name}");
    }
}

#[test]
fn a_context_that_only_reads_refuses_changes() {
    let server = Env::new().serve("");
    let env = server.without("PVECTL_ENDPOINT").without("PVECTL_TOKEN");
    env.write("token", &server.token);
    let add = format!("config add-context spare --endpoint {} --token-file token --read-only", server.url);
    let _ = env.run(&add).ok();
    let before = server.requests().len();
    let _ = env.run("api put /nodes/pve1/qemu/100/config -p cores=3").exits(5).says(&["changes are switched off"]);
    assert_eq!(server.requests().len(), before);
    let _ = env.run("api get /version").ok();
    let _ = env.run("api put /nodes/pve1/qemu/100/config -p cores=3 --dry-run").ok();
}

#[test]
fn the_tree_needs_no_server() {
    let env = nowhere();
    assert_snapshot!(env.run("api ls"), @"
    exit 0
    --- stdout
    NAME     METHODS              PATH
    access   GET                  /access
    cluster  GET                  /cluster
    nodes    GET                  /nodes
    pools    GET POST PUT DELETE  /pools
    storage  GET POST             /storage
    version  GET                  /version
    ");
    assert_snapshot!(env.run("api ls /cluster/ha/rules -R -o name"), @"
    exit 0
    --- stdout
    /cluster/ha/rules/{rule}
    ");
    let rows = env.json("api ls /nodes/pve1/qemu/100/snapshot");
    assert_eq!(
        rows,
        json!([{"name": "{snapname}", "path": "/nodes/pve1/qemu/100/snapshot/{snapname}", "methods": ["GET", "DELETE"]}])
    );
    let all = env.json("api ls -R");
    let methods = all.as_array().unwrap().iter().map(|row| row["methods"].as_array().map_or(0, Vec::len));
    assert_eq!(methods.sum::<usize>(), 661);
    let _ = env.run("api ls /nodes/pve1/qmeu").exits(2).says(&["did you mean `/nodes/pve1/qemu`?"]);
    assert_eq!(env.json("api ls /version")[0]["methods"], Value::from(vec!["GET"]));
}

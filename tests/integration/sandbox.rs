//! The built-in cluster: it lasts between commands, is made anew on request, and serves others.

use insta::assert_snapshot;

use crate::harness::Env;

#[test]
fn lasts_between_commands_and_is_made_anew_on_request() {
    let env = Env::bare();
    assert_snapshot!(env.run("sandbox status"), @"
    exit 0
    --- stderr
    there is no sandbox yet; the first command that uses it makes one in ~/.local/state/pvectl/sandbox.db
    ");
    let _ = env.run("vm create --vmid 150 --name kept").ok();
    assert_snapshot!(env.run("vm get 150 -o name"), @"
    exit 0
    --- stdout
    vm/150
    --- stderr
    using the built-in sandbox, a simulated cluster (add your own with `pvectl config add-context`)
    ");
    assert_snapshot!(env.run("sandbox status"), @"
    exit 0
    --- stdout
    path           ~/.local/state/pvectl/sandbox.db
    nodes          3
    guests         8
    running tasks  0
    ");
    assert_snapshot!(env.run("sandbox reset --nodes 5 --guests 10 --pace 0"), @"
    exit 0
    --- stderr
    a new sandbox with 5 nodes lies in ~/.local/state/pvectl/sandbox.db
    ");
    assert_snapshot!(env.run("sandbox status -o yaml"), @"
    exit 0
    --- stdout
    path: ~/.local/state/pvectl/sandbox.db
    nodes: 5
    guests: 17
    running_tasks: 0
    ");
    assert_snapshot!(env.run("node list -o name --quiet"), @"
    exit 0
    --- stdout
    node/pve1
    node/pve2
    node/pve3
    node/pve4
    node/pve5
    ");
    assert_snapshot!(env.run("vm get 150 --quiet"), @"
    exit 3
    --- stderr
    error: no such vm: `150`
    ");
    assert_snapshot!(env.run("sandbox reset --quiet"), @"exit 0");
    assert_eq!(env.json("node list").as_array().unwrap().len(), 3);
}

#[test]
fn a_damaged_file_is_named() {
    let env = Env::bare();
    env.write(".local/state/pvectl/sandbox.db", "this is no database, whatever its name says, and never was one");
    assert_snapshot!(env.run("vm list --quiet"), @"
    exit 1
    --- stderr
    error: ~/.local/state/pvectl/sandbox.db: the sandbox's file cannot be used: file is not a database
      caused by: Error code 26: file is not a database
    hint: move the file away, and a new sandbox is made
    ");
}

#[test]
fn serves_what_this_account_sees() {
    let env = Env::new();
    let server = env.serve("");
    let _ = server.run("vm create --vmid 150 --name shared").ok();
    assert_snapshot!(env.run("vm get shared -o name"), @"
    exit 0
    --- stdout
    vm/150
    ");
    assert_eq!(server.json("vm get 150")["context"], server.url.as_str());
    assert_eq!(env.json("vm get 150")["context"], "sandbox");
    assert_snapshot!(server.run("version --server"), @"
    exit 0
    --- stdout
    pvectl 0.1.0 (API description of Proxmox VE 9.2)
    server 9.2.11 (14a22df35955d97d), context http://127.0.0.1:PORT
    ");
    let taken = server.url.trim_start_matches("http://");
    let _ = env.run(&format!("sandbox serve --listen {taken}")).exits(1).says(&["cannot listen on 127.0.0.1:PORT"]);
}

#[test]
fn a_larger_one_is_listed_whole() {
    let env = Env::new();
    let _ = env.run("sandbox reset --guests 1000 --pace 0").ok();
    let (vms, containers) = (env.json("vm list"), env.json("container list"));
    assert_eq!(vms.as_array().unwrap().len() + containers.as_array().unwrap().len(), 1007);
    let rows = env.json("vm start 10000-10039");
    assert!(rows.as_array().unwrap().iter().all(|row| row["status"] == "ok"), "{rows}");
}

//! `pvectl vm …`: the issue's command lines, on the fresh sandbox.

use insta::assert_snapshot;

use crate::harness::Env;

#[test]
fn creates_starts_and_deletes() {
    let env = Env::new();
    assert_snapshot!(
        env.run("vm create --vmid 150 --name web-server --cores 4 --memory 8192 --start"), @"
    exit 0
    --- stdout
    VMID  NAME        NODE  VERB    STATUS  CHANGED  EXIT STATUS
     150  web-server  pve3  create  ok      yes      OK
    --- stderr
    creating vm/150 (web-server)
      vm/150 (web-server): task UPID:pve3:…:qmcreate:150:root@pam!pvectl:
    starting vm/150 (web-server)
      vm/150 (web-server): task UPID:pve3:…:qmstart:150:root@pam!pvectl:
    ✓ vm/150 (web-server) created (0.0s)
    ");
    let made = env.json("vm get web-server");
    assert_eq!((&made["status"], &made["maxmem"]), (&"running".into(), &(8_u64 << 30).into()));
    assert_eq!((&made["config"]["cores"], &made["config"]["memory"]), (&4.into(), &"8192".into()));
    assert_snapshot!(env.run("vm delete 150 --confirm"), @"
    exit 6
    --- stdout
    VMID  NAME        NODE  VERB    STATUS  CHANGED  EXIT STATUS
     150  web-server  pve3  delete  failed  no       -
    --- stderr
    error: cannot delete vm/150 (web-server): it is running
    hint: stop it first (pvectl vm stop 150), or give --force
    ");
    assert_snapshot!(env.run("vm stop 150"), @"
    exit 0
    --- stdout
    VMID  NAME        NODE  VERB  STATUS  CHANGED  EXIT STATUS
     150  web-server  pve3  stop  ok      yes      OK
    --- stderr
    stopping vm/150 (web-server)
      vm/150 (web-server): task UPID:pve3:…:qmstop:150:root@pam!pvectl:
    ✓ vm/150 (web-server) stopped (0.0s)
    ");
    assert_snapshot!(env.run("vm delete 150 --confirm"), @"
    exit 0
    --- stdout
    VMID  NAME        NODE  VERB    STATUS  CHANGED  EXIT STATUS
     150  web-server  pve3  delete  ok      yes      OK
    --- stderr
    deleting vm/150 (web-server)
      vm/150 (web-server): task UPID:pve3:…:qmdestroy:150:root@pam!pvectl:
    ✓ vm/150 (web-server) deleted (0.0s)
    ");
    assert_snapshot!(env.run("vm get 150"), @"
    exit 3
    --- stderr
    error: no such vm: `150`
    ");
}

#[test]
fn clones_a_template_by_name() {
    let env = Env::new();
    assert_snapshot!(env.run("vm create --vmid 151 --template debian-12 --name app-server"), @"
    exit 0
    --- stdout
    VMID  NAME        NODE  VERB    STATUS  CHANGED  EXIT STATUS
     151  app-server  pve1  create  ok      yes      OK
    --- stderr
    cloning vm/151 (app-server)
      vm/151 (app-server): task UPID:pve1:…:qmclone:9000:root@pam!pvectl:
    ✓ vm/151 (app-server) created (0.0s)
    ");
    assert_snapshot!(env.run("vm create --template debian-12 --name app-2 --memory 4G --full --start"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     104  app-2  pve1  create  ok      yes      OK
    --- stderr
    cloning vm/104 (app-2)
      vm/104 (app-2): task UPID:pve1:…:qmclone:9000:root@pam!pvectl:
    configuring vm/104 (app-2)
      vm/104 (app-2): task UPID:pve1:…:qmconfig:104:root@pam!pvectl:
    starting vm/104 (app-2)
      vm/104 (app-2): task UPID:pve1:…:qmstart:104:root@pam!pvectl:
    ✓ vm/104 (app-2) created (0.0s)
    ");
    let made = env.json("vm get app-2");
    assert_eq!((&made["config"]["memory"], &made["status"]), (&"4096".into(), &"running".into()));
}

#[test]
fn creates_from_files() {
    let env = Env::new();
    env.write(
        "vm-config.json",
        r#"{"vmid": 150, "name": "from-json", "cores": 2, "memory": 2048, "scsi0": "local-lvm:8", "onboot": true}"#,
    );
    env.write(
        "vms.yaml",
        "vmid: 151\nname: from-yaml\nmemory: 1G\nnet0: virtio,bridge=vmbr0\n---\nname: second\nmemory: 512\n",
    );
    assert_snapshot!(env.run("vm create -f vm-config.json"), @"
    exit 0
    --- stdout
    VMID  NAME       NODE  VERB    STATUS  CHANGED  EXIT STATUS
     150  from-json  pve3  create  ok      yes      OK
    --- stderr
    creating vm/150 (from-json)
      vm/150 (from-json): task UPID:pve3:…:qmcreate:150:root@pam!pvectl:
    ✓ vm/150 (from-json) created (0.0s)
    ");
    assert_snapshot!(env.run("vm create -f vms.yaml").sorted(), @"
    exit 0
    --- stdout
    VMID  NAME       NODE  VERB    STATUS  CHANGED  EXIT STATUS
     151  from-yaml  pve3  create  ok      yes      OK
     104  second     pve3  create  ok      yes      OK
    --- stderr
      vm/104 (second): task UPID:pve3:…:qmcreate:104:root@pam!pvectl:
      vm/151 (from-yaml): task UPID:pve3:…:qmcreate:151:root@pam!pvectl:
    creating vm/104 (second)
    creating vm/151 (from-yaml)
    ✓ vm/104 (second) created (0.0s)
    ✓ vm/151 (from-yaml) created (0.0s)
    ");
    assert_snapshot!(env.run_with("vm create -f -", "name: piped\nvmid: 160"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     160  piped  pve3  create  ok      yes      OK
    --- stderr
    creating vm/160 (piped)
      vm/160 (piped): task UPID:pve3:…:qmcreate:160:root@pam!pvectl:
    ✓ vm/160 (piped) created (0.0s)
    ");
    let config = env.json("vm get 150")["config"].clone();
    assert_eq!((&config["onboot"], &config["scsi0"]), (&1.into(), &"local-lvm:vm-150-disk-0,size=8G".into()));
    assert_snapshot!(env.run("delete -f vm-config.json --confirm"), @"
    exit 0
    --- stdout
    VMID  NAME       NODE  VERB    STATUS  CHANGED  EXIT STATUS
     150  from-json  pve3  delete  ok      yes      OK
    --- stderr
    deleting vm/150 (from-json)
      vm/150 (from-json): task UPID:pve3:…:qmdestroy:150:root@pam!pvectl:
    ✓ vm/150 (from-json) deleted (0.0s)
    ");
    assert_snapshot!(env.run("vm delete -f vms.yaml --confirm").sorted(), @"
    exit 0
    --- stdout
    VMID  NAME       NODE  VERB    STATUS  CHANGED  EXIT STATUS
     151  from-yaml  pve3  delete  ok      yes      OK
     104  second     pve3  delete  ok      yes      OK
    --- stderr
      vm/104 (second): task UPID:pve3:…:qmdestroy:104:root@pam!pvectl:
      vm/151 (from-yaml): task UPID:pve3:…:qmdestroy:151:root@pam!pvectl:
    deleting vm/104 (second)
    deleting vm/151 (from-yaml)
    ✓ vm/104 (second) deleted (0.0s)
    ✓ vm/151 (from-yaml) deleted (0.0s)
    ");
}

#[test]
fn power_verbs_one_after_another() {
    let env = Env::new();
    for (line, status) in [
        ("start 101,103", "running"),
        ("restart 101", "running"),
        ("reset 101", "running"),
        ("pause 101", "paused"),
        ("resume 101", "running"),
        ("suspend 101", "stopped"),
        ("resume 101", "running"),
        ("shutdown 101 --graceful", "stopped"),
        ("start 101", "running"),
        ("shutdown 101 --shutdown-timeout 60 --force", "stopped"),
        ("start web-2", "running"),
        ("stop 101", "stopped"),
    ] {
        let rows = env.json(&format!("vm {line}"));
        let row = if rows.is_array() { &rows[0] } else { &rows };
        assert_eq!((&row["status"], &row["changed"]), (&"ok".into(), &true.into()), "{line}: {row}");
        let guest = env.json("vm get 101");
        let now = if guest["qmpstatus"] == "paused" { &guest["qmpstatus"] } else { &guest["status"] };
        assert_eq!(now, status, "after {line}");
    }
}

#[test]
fn already_there_is_success_and_sends_nothing() {
    let server = Env::new().serve("");
    assert_snapshot!(server.run("vm start 100"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB   STATUS  CHANGED  EXIT STATUS
     100  web-1  pve1  start  ok      no       -
    --- stderr
    vm/100 (web-1): already running
    ");
    assert_snapshot!(server.run("vm stop 101"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB  STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  stop  ok      no       -
    --- stderr
    vm/101 (web-2): already stopped
    ");
    assert_snapshot!(server.run("vm start 100 --strict"), @"
    exit 6
    --- stdout
    VMID  NAME   NODE  VERB   STATUS  CHANGED  EXIT STATUS
     100  web-1  pve1  start  failed  no       -
    --- stderr
    error: cannot start vm/100 (web-1): it is already running
    ");
    assert_snapshot!(server.run("vm resume 101"), @"
    exit 6
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  resume  failed  no       -
    --- stderr
    error: cannot resume vm/101 (web-2): it is stopped
    hint: pvectl vm start 101
    ");
    assert_snapshot!(server.run("vm start debian-12"), @"
    exit 6
    --- stdout
    VMID  NAME       NODE  VERB   STATUS  CHANGED  EXIT STATUS
    9000  debian-12  pve1  start  failed  no       -
    --- stderr
    error: cannot start vm/9000 (debian-12): it is a template
    hint: make a guest of it: pvectl vm create --template debian-12
    ");
    assert_eq!(server.changes(), [""; 0]);
}

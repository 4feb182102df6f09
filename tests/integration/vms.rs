//! `pvectl vm …`: the issue's command lines, on the fresh sandbox.

use insta::assert_snapshot;

use crate::harness::Env;

#[test]
fn lists() {
    let env = Env::new();
    assert_snapshot!(env.run("vm list"), @"
    exit 0
    --- stdout
    VMID  NAME       STATUS    NODE  CPUS    MEMORY  UPTIME  TAGS
     100  web-1      running   pve1     2  2.00 GiB  1d 12h  app.web;tier.front
     101  web-2      stopped   pve2     2  2.00 GiB       -  app.web;tier.front
     102  db-1       running   pve2     4  8.00 GiB  1d 12h  app.db
     103  build-1    stopped   pve3     2  1.00 GiB       -  build
    9000  debian-12  template  pve1     1  2.00 GiB       -  -
    ");
    assert_snapshot!(env.run("vm list --status running --node pve1 --template false"), @"
    exit 0
    --- stdout
    VMID  NAME   STATUS   NODE  CPUS    MEMORY  UPTIME  TAGS
     100  web-1  running  pve1     2  2.00 GiB  1d 12h  app.web;tier.front
    ");
    assert_snapshot!(env.run("vm list --template true -o name"), @"
    exit 0
    --- stdout
    vm/9000
    ");
    assert_snapshot!(env.run("vm list --tag app.db --no-headers"), @"
    exit 0
    --- stdout
    102  db-1  running  pve2  4  8.00 GiB  1d 12h  app.db
    ");
    assert_snapshot!(env.run("vm list --pool prod -o wide"), @"
    exit 0
    --- stdout
    VMID  NAME   STATUS   NODE  CPUS    MEMORY  UPTIME  TAGS                CPU%    MEM USED       DISK  POOL  LOCK  TYPE
     100  web-1  running  pve1     2  2.00 GiB  1d 12h  app.web;tier.front   0.0  768.00 MiB  16.00 GiB  prod  -     qemu
     102  db-1   running  pve2     4  8.00 GiB  1d 12h  app.db               0.0    2.50 GiB  32.00 GiB  prod  -     qemu
    ");
    assert_snapshot!(env.run("vm list --sort-by -memory -o name"), @"
    exit 0
    --- stdout
    vm/102
    vm/100
    vm/101
    vm/9000
    vm/103
    ");
    assert_snapshot!(env.run("vm list --node pve1 --status running -o yaml"), @"
    exit 0
    --- stdout
    - vmid: 100
      name: web-1
      type: qemu
      node: pve1
      status: running
      cpu: 0.0
      maxcpu: 2
      mem: 805306368
      maxmem: 2147483648
      disk: 0
      maxdisk: 17179869184
      uptime: 129600
      template: 0
      tags: app.web;tier.front
      pool: prod
      id: qemu/100
      memhost: 0
      netin: 85536000
      netout: 42768000
      diskread: 199065600
      diskwrite: 99532800
      context: sandbox
    ");
    assert_snapshot!(env.run("vm list --status nonsense"), @"
    exit 0
    --- stdout
    VMID  NAME  STATUS  NODE  CPUS  MEMORY  UPTIME  TAGS
    ");
    assert_snapshot!(env.run("vm list --status nonsense -o json"), @"
    exit 0
    --- stdout
    []
    ");
    assert_eq!(env.json("vm list"), env.run("vm list --json").ok().json());
    assert_snapshot!(env.run("get vms -o name"), @"
    exit 0
    --- stdout
    vm/100
    vm/101
    vm/102
    vm/103
    vm/9000
    ");
    assert_snapshot!(env.run("get containers -o name"), @"
    exit 0
    --- stdout
    container/110
    container/111
    ");
}

#[test]
fn gets_and_describes() {
    let env = Env::new();
    assert_snapshot!(env.run("vm get web-1"), @"
    exit 0
    --- stdout
    VMID  NAME   STATUS   NODE  CPUS    MEMORY  UPTIME  TAGS
     100  web-1  running  pve1     2  2.00 GiB  1d 12h  app.web;tier.front
    ");
    assert_snapshot!(env.run("vm get 100,101 --no-headers"), @"
    exit 0
    --- stdout
    100  web-1  running  pve1  2  2.00 GiB  1d 12h  app.web;tier.front
    101  web-2  stopped  pve2  2  2.00 GiB       -  app.web;tier.front
    ");
    assert_snapshot!(env.run("vm get 100 101 -o name"), @"
    exit 0
    --- stdout
    vm/100
    vm/101
    ");
    assert_snapshot!(env.run("vm describe db-1"), @"
    exit 0
    --- stdout
    vm 102 db-1
      Status   running
      Node     pve2
      Uptime   1d 12h
      CPUs     4 (0.0% in use)
      Memory   2.50 GiB of 8.00 GiB
      Disk     32.00 GiB
      Tags     app.db
      Pool     prod
      Context  sandbox
    Disks
      scsi0  local-lvm:vm-102-disk-0,size=32G
    Network
      net0  virtio=MAC,bridge=vmbr0
    Configuration
      boot         order=scsi0;net0
      cores        4
      description  the database
      memory       8192
      meta         creation-qemu=10.2.2,ctime=N
      name         db-1
      ostype       l26
      protection   1
      scsihw       virtio-scsi-single
      smbios1      uuid=UUID
      tags         app.db
      vmgenid      UUID
    ");
    assert_snapshot!(env.run("describe vm 103"), @"
    exit 0
    --- stdout
    vm 103 build-1
      Status   stopped
      Node     pve3
      CPUs     2
      Memory   1.00 GiB
      Disk     8.00 GiB
      Tags     build
      Context  sandbox
    Disks
      scsi0  local-lvm:vm-103-disk-0,size=8G
    Network
      net0  virtio=MAC,bridge=vmbr0
    Configuration
      boot     order=scsi0;net0
      cores    2
      memory   1024
      meta     creation-qemu=10.2.2,ctime=N
      name     build-1
      ostype   l26
      scsihw   virtio-scsi-single
      smbios1  uuid=UUID
      tags     build
      vmgenid  UUID
    ");
}

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
    assert_snapshot!(env.run("vm get 150"), @"
    exit 0
    --- stdout
    VMID  NAME        STATUS   NODE  CPUS    MEMORY  UPTIME  TAGS
     150  web-server  running  pve3     4  8.00 GiB       -  -
    ");
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

#[test]
fn updates() {
    let env = Env::new();
    assert_snapshot!(env.run("vm update 101 --cores 8 --memory 16384"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  update  ok      yes      -
    --- stderr
    updating vm/101 (web-2)
    ✓ vm/101 (web-2) updated (0.0s)
    ");
    assert_snapshot!(env.run("vm update 101 --cores 8"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  update  ok      no       -
    --- stderr
    vm/101 (web-2): nothing to change
    ");
    assert_snapshot!(env.run("vm update web-1 --memory 4G --set onboot=0 --unset tags"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     100  web-1  pve1  update  ok      yes      -
    --- stderr
    updating vm/100 (web-1)
    ✓ vm/100 (web-1) updated (0.0s)
    vm/100: memory will apply at the next start (pvectl vm restart 100)
    ");
    assert_snapshot!(env.run("vm update 103 --scsi0 local-lvm:4 --set scsi1=local-lvm:2"), @"
    exit 0
    --- stdout
    VMID  NAME     NODE  VERB    STATUS  CHANGED  EXIT STATUS
     103  build-1  pve3  update  ok      yes      OK
    --- stderr
    updating vm/103 (build-1)
      vm/103 (build-1): task UPID:pve3:…:qmconfig:103:root@pam!pvectl:
    ✓ vm/103 (build-1) updated (0.0s)
    ");
    env.write("updated.json", r#"{"vmid": 101, "cores": 2, "description": "changed", "tags": null}"#);
    assert_snapshot!(env.run("vm update 101 -f updated.json --dry-run"), @"
    exit 0
    --- stdout
    update vm/101 (web-2) on pve2
      cores: 8 → 2
      description: not set → changed
      tags: app.web;tier.front → not set
      PUT /nodes/pve2/qemu/101/config cores=2 description=changed delete=tags digest=DIGEST
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_snapshot!(env.run("vm update -f updated.json"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  update  ok      yes      -
    --- stderr
    updating vm/101 (web-2)
    ✓ vm/101 (web-2) updated (0.0s)
    ");
}

#[test]
fn a_dry_run_shows_the_plan_and_sends_nothing() {
    let server = Env::new().serve("");
    assert_snapshot!(server.run("vm create --template debian-12 --vmid 150 --name a --cores 2 --start --dry-run"), @"
    exit 0
    --- stdout
    create vm/150 (a) on pve1
      POST /nodes/pve1/qemu/9000/clone newid=150 name=a
      POST /nodes/pve1/qemu/150/config cores=2
      POST /nodes/pve1/qemu/150/status/start
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_snapshot!(server.run("vm update 101 --cores 8 --dry-run -o json"), @r#"
    exit 0
    --- stdout
    {
      "verb": "update",
      "vmid": 101,
      "name": "web-2",
      "node": "pve2",
      "changes": [
        {
          "key": "cores",
          "before": "2",
          "after": "8"
        }
      ],
      "loss": null,
      "notes": [],
      "calls": [
        {
          "method": "PUT",
          "path": "/nodes/pve2/qemu/101/config",
          "params": {
            "cores": "8",
            "digest": "DIGEST"
          }
        }
      ]
    }
    --- stderr
    nothing was sent (--dry-run)
    "#);
    assert_snapshot!(server.run("vm delete 103 100 --force --purge --purge-disks --dry-run"), @"
    exit 0
    --- stdout
    delete vm/103 (build-1) on pve3
      status: stopped
      disk scsi0: local-lvm:vm-103-disk-0 (8.00 GiB)
      snapshots: none
      DELETE /nodes/pve3/qemu/103 purge=1 destroy-unreferenced-disks=1
    delete vm/100 (web-1) on pve1
      status: running
      disk scsi0: local-lvm:vm-100-disk-0 (16.00 GiB)
      snapshots: none
      POST /nodes/pve1/qemu/100/status/stop
      DELETE /nodes/pve1/qemu/100 purge=1 destroy-unreferenced-disks=1
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_snapshot!(server.run("vm start 101 103 --dry-run"), @"
    exit 0
    --- stdout
    start vm/101 (web-2) on pve2
      POST /nodes/pve2/qemu/101/status/start
    start vm/103 (build-1) on pve3
      POST /nodes/pve3/qemu/103/status/start
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_eq!(server.changes(), [""; 0]);
    assert!(!server.journal().exists(), "what is only shown is not recorded");
}

#[test]
fn deletes_with_all_its_flags() {
    let server = Env::new().serve("");
    assert_snapshot!(server.run("vm start 103"), @"
    exit 0
    --- stdout
    VMID  NAME     NODE  VERB   STATUS  CHANGED  EXIT STATUS
     103  build-1  pve3  start  ok      yes      OK
    --- stderr
    starting vm/103 (build-1)
      vm/103 (build-1): task UPID:pve3:…:qmstart:103:root@pam!pvectl:
    ✓ vm/103 (build-1) started (0.0s)
    ");
    assert_snapshot!(server.run("vm delete 103 --force --purge --purge-disks --confirm"), @"
    exit 0
    --- stdout
    VMID  NAME     NODE  VERB    STATUS  CHANGED  EXIT STATUS
     103  build-1  pve3  delete  ok      yes      OK
    --- stderr
    stopping vm/103 (build-1)
      vm/103 (build-1): task UPID:pve3:…:qmstop:103:root@pam!pvectl:
    deleting vm/103 (build-1)
      vm/103 (build-1): task UPID:pve3:…:qmdestroy:103:root@pam!pvectl:
    ✓ vm/103 (build-1) deleted (0.0s)
    ");
    assert_snapshot!(server.run("vm delete web-2 --yes -o json"), @r#"
    exit 0
    --- stdout
    {
      "vmid": 101,
      "name": "web-2",
      "node": "pve2",
      "verb": "delete",
      "status": "ok",
      "upid": "UPID:pve2:…:qmdestroy:101:root@pam!pvectl:",
      "exit_status": "OK",
      "changed": true,
      "context": "http://127.0.0.1:PORT"
    }
    --- stderr
    deleting vm/101 (web-2)
      vm/101 (web-2): task UPID:pve2:…:qmdestroy:101:root@pam!pvectl:
    ✓ vm/101 (web-2) deleted (0.0s)
    "#);
    let changes =
        server.changes().iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    assert_eq!(
        changes[1..],
        ["POST /nodes/pve3/qemu/103/status/stop", "DELETE /nodes/pve3/qemu/103", "DELETE /nodes/pve2/qemu/101"]
    );
}

#[test]
fn several_targets_are_all_tried() {
    let env = Env::new();
    assert_snapshot!(env.run("vm delete 101 102 103 --confirm").sorted(), @"
    exit 1
    --- stdout
    VMID  NAME     NODE  VERB    STATUS  CHANGED  EXIT STATUS
     101  web-2    pve2  delete  ok      yes      OK
     103  build-1  pve3  delete  ok      yes      OK
     102  db-1     pve2  delete  failed  no       -
    --- stderr
      vm/101 (web-2): task UPID:pve2:…:qmdestroy:101:root@pam!pvectl:
      vm/103 (build-1): task UPID:pve3:…:qmdestroy:103:root@pam!pvectl:
    deleting vm/101 (web-2)
    deleting vm/103 (build-1)
    error: cannot delete vm/102 (db-1): it is protected
    hint: take the protection away first: pvectl vm update 102 --set protection=0
    ✓ vm/101 (web-2) deleted (0.0s)
    ✓ vm/103 (build-1) deleted (0.0s)
    ");
    assert_snapshot!(env.run("vm start 100-199 -o json"), @r#"
    exit 0
    --- stdout
    [
      {
        "vmid": 100,
        "name": "web-1",
        "node": "pve1",
        "verb": "start",
        "status": "ok",
        "upid": null,
        "exit_status": null,
        "changed": false,
        "context": "sandbox"
      },
      {
        "vmid": 102,
        "name": "db-1",
        "node": "pve2",
        "verb": "start",
        "status": "ok",
        "upid": null,
        "exit_status": null,
        "changed": false,
        "context": "sandbox"
      }
    ]
    --- stderr
    vm/100 (web-1): already running
    vm/102 (db-1): already running
    "#);
}

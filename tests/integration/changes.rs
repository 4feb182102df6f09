//! What changes and removes VMs: `update`, `delete`, plans that are only shown, several targets.

use insta::assert_snapshot;

use crate::harness::Env;

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
      "warnings": [],
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
     102  db-1     pve2  delete  failed  no       -
     103  build-1  pve3  delete  ok      yes      OK
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

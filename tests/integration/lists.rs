//! `list`, `get`, `describe` and kubectl's word order, on the fresh sandbox.

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
    VMID  NAME   STATUS   NODE  CPUS    MEMORY  UPTIME  TAGS                CPU%    MEM USED       DISK  POOL  LOCK  TYPE  NODE STATUS
     100  web-1  running  pve1     2  2.00 GiB  1d 12h  app.web;tier.front   0.0  768.00 MiB  16.00 GiB  prod  -     qemu  -
     102  db-1   running  pve2     4  8.00 GiB  1d 12h  app.db               0.0    2.50 GiB  32.00 GiB  prod  -     qemu  -
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
    assert_snapshot!(env.run("vm list --node pve3 -o yaml"), @"
    exit 0
    --- stdout
    - vmid: 103
      name: build-1
      type: qemu
      node: pve3
      status: stopped
      cpu: 0
      maxcpu: 2
      mem: 0
      maxmem: 1073741824
      disk: 0
      maxdisk: 8589934592
      uptime: 0
      memhost: 0
      netin: 0
      netout: 0
      diskread: 0
      diskwrite: 0
      template: 0
      tags: build
      id: qemu/103
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
    assert_eq!(env.json("vm list --status stopped"), env.run("vm list --status stopped --json").ok().json());
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
fn what_o_name_prints_is_taken_back() {
    let env = Env::new();
    assert_eq!(env.run("get vm/100 -o json").ok().raw, env.run("vm get 100 -o json").ok().raw);
    assert_eq!(env.run("get vms/100 vm/101 102 -o name").ok().raw, "vm/100\nvm/101\nvm/102\n");
    assert_eq!(env.run("get node/pve1 node/pve2 -o name").ok().raw, "node/pve1\nnode/pve2\n");
    assert!(env.run("describe ct/110").ok().raw.starts_with("container 110 proxy"));
    let _ = env.run("delete vm/103 --confirm").ok();
    let _ = env.run("get vm/103").exits(3);
    let _ = env.run("describe vm").exits(2).says(&["<TARGET>"]);
    let _ = env.run("describe operation/1").exits(2).says(&["operations have no `describe`", "list, show"]);
}

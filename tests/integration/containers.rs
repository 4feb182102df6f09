//! `pvectl container …`: the same verbs over the same tables.

use insta::assert_snapshot;

use crate::harness::Env;

#[test]
fn lives_from_template_to_delete() {
    let env = Env::new();
    let create = "container create --vmid 250 --hostname web-ct --cores 2 --memory 4096 --template debian-12 \
                  --rootfs local-lvm:8";
    assert_snapshot!(env.run(create), @"
    exit 0
    --- stdout
    VMID  NAME    NODE  VERB    STATUS  CHANGED  EXIT STATUS
     250  web-ct  pve3  create  ok      yes      OK
    --- stderr
    creating container/250 (web-ct)
      container/250 (web-ct): task UPID:pve3:…:vzcreate:250:root@pam!pvectl:
    ✓ container/250 (web-ct) created (0.0s)
    ");
    assert_snapshot!(env.run("container list"), @"
    exit 0
    --- stdout
    VMID  NAME    STATUS   NODE  CPUS      MEMORY  UPTIME  TAGS
     110  proxy   running  pve1     1  512.00 MiB  1d 12h  app.web
     111  dns     stopped  pve3     1  512.00 MiB       -  app.dns
     250  web-ct  stopped  pve3     2    4.00 GiB       -  -
    ");
    assert_snapshot!(env.run("container get web-ct"), @"
    exit 0
    --- stdout
    VMID  NAME    STATUS   NODE  CPUS    MEMORY  UPTIME  TAGS
     250  web-ct  stopped  pve3     2  4.00 GiB       -  -
    ");
    assert_snapshot!(env.run("ct describe 250"), @"
    exit 0
    --- stdout
    container 250 web-ct
      Status   stopped
      Node     pve3
      CPUs     2
      Memory   4.00 GiB
      Disk     8.00 GiB
      Context  sandbox
    Disks
      rootfs  local-lvm:vm-250-disk-0,size=8G
    Configuration
      arch      amd64
      cores     2
      hostname  web-ct
      memory    4096
      ostype    debian
      swap      512
    Last tasks
      vzcreate  TIME  root@pam!pvectl  OK
    ");
    for (line, status) in [
        ("start 250", "running"),
        ("restart 250", "running"),
        ("shutdown 250", "stopped"),
        ("start web-ct", "running"),
        ("stop 250", "stopped"),
    ] {
        let row = env.json(&format!("container {line}"));
        assert_eq!((&row["status"], &row["vmid"]), (&"ok".into(), &250.into()), "{line}: {row}");
        assert_eq!(env.json("container get 250")["status"], status, "after {line}");
    }
    assert_snapshot!(env.run("container update 250 --memory 2G --swap 1G --set onboot=1"), @"
    exit 0
    --- stdout
    VMID  NAME    NODE  VERB    STATUS  CHANGED  EXIT STATUS
     250  web-ct  pve3  update  ok      yes      -
    --- stderr
    updating container/250 (web-ct)
    ✓ container/250 (web-ct) updated (0.0s)
    ");
    assert_snapshot!(env.run("container delete 250 --confirm"), @"
    exit 0
    --- stdout
    VMID  NAME    NODE  VERB    STATUS  CHANGED  EXIT STATUS
     250  web-ct  pve3  delete  ok      yes      OK
    --- stderr
    deleting container/250 (web-ct)
      container/250 (web-ct): task UPID:pve3:…:vzdestroy:250:root@pam!pvectl:
    ✓ container/250 (web-ct) deleted (0.0s)
    ");
}

#[test]
fn what_proxmox_cannot_do_with_containers_is_refused_with_the_way_out() {
    let server = Env::new().serve("");
    assert_snapshot!(server.run("container reset proxy"), @"
    exit 2
    --- stderr
    error: Proxmox has no reset button for containers
    hint: use `restart` (orderly), or `stop` and `start`
    ");
    assert_snapshot!(server.run("container suspend proxy"), @"
    exit 2
    --- stderr
    error: Proxmox cannot suspend a container to disk
    hint: use `pause` to freeze it, or `shutdown`
    ");
    assert_snapshot!(server.run("container start web-1"), @"
    exit 3
    --- stderr
    error: no such container: `web-1`
    hint: web-1 is a vm: use `pvectl vm …`
    ");
    assert_snapshot!(server.run("container create --hostname a"), @"
    exit 2
    --- stderr
    error: a container is made from a template
    hint: give --template NAME (debian-12) or --ostemplate VOLUME
    ");
    assert_snapshot!(server.run("container create --hostname a --template fedora"), @"
    exit 3
    --- stderr
    error: no container template matches `fedora`
    hint: templates here: debian-12-standard_12.7-1_amd64.tar.zst, ubuntu-22.04-standard_22.04-1_amd64.tar.zst
    ");
    assert_eq!(server.changes(), [""; 0]);
}

#[test]
fn creates_from_yaml() {
    let env = Env::new();
    env.write(
        "ct.yaml",
        "kind: container\nhostname: from-yaml\ntemplate: ubuntu-22.04\nrootfs: local-lvm:4\nmemory: 256\n\
         net0: name=eth0,bridge=vmbr0,ip=dhcp\nstart: true\n",
    );
    assert_snapshot!(env.run("container create -f ct.yaml"), @"
    exit 0
    --- stdout
    VMID  NAME       NODE  VERB    STATUS  CHANGED  EXIT STATUS
     104  from-yaml  pve3  create  ok      yes      OK
    --- stderr
    creating container/104 (from-yaml)
      container/104 (from-yaml): task UPID:pve3:…:vzcreate:104:root@pam!pvectl:
    starting container/104 (from-yaml)
      container/104 (from-yaml): task UPID:pve3:…:vzstart:104:root@pam!pvectl:
    ✓ container/104 (from-yaml) created (0.0s)
    ");
    assert_snapshot!(env.run("vm create -f ct.yaml"), @"
    exit 2
    --- stderr
    error: the file describes a container, and this command creates a vm
    ");
    assert_snapshot!(env.run("delete -f ct.yaml --force --confirm"), @"
    exit 0
    --- stdout
    VMID  NAME       NODE  VERB    STATUS  CHANGED  EXIT STATUS
     104  from-yaml  pve3  delete  ok      yes      OK
    --- stderr
    stopping container/104 (from-yaml)
      container/104 (from-yaml): task UPID:pve3:…:vzstop:104:root@pam!pvectl:
    deleting container/104 (from-yaml)
      container/104 (from-yaml): task UPID:pve3:…:vzdestroy:104:root@pam!pvectl:
    ✓ container/104 (from-yaml) deleted (0.0s)
    ");
}

#[test]
fn a_container_gets_volumes_cards_and_devices() {
    let server = Env::new().serve("");
    let config = |vmid: u32| server.json(&format!("container get {vmid}"))["config"].clone();
    let _ = server.run("container add disk 110 --size 4G --storage local-lvm --mp /srv/data --backup").ok();
    let added = config(110)["mp0"].as_str().unwrap().to_owned();
    for part in ["local-lvm:vm-110-disk-1", "mp=/srv/data", "backup=1", "size=4G"] {
        assert!(added.contains(part), "`{part}` is missing: {added}");
    }
    // The only storage for it, and the lowest free numbers and names.
    let dry = server.run("container add disk 110 --size 2G --mp /b --readonly --dry-run").ok().stdout;
    assert!(dry.contains("PUT /nodes/pve1/lxc/110/config mp1=local-lvm:2,mp=/b,ro=1 digest="), "{dry}");
    let dry = server.run("container add net 110 --bridge vmbr0 --ip 10.0.0.5/24 --gw 10.0.0.1 --tag 7 --dry-run").ok();
    assert!(dry.stdout.contains("net1=name=eth1,bridge=vmbr0,ip=10.0.0.5/24,gw=10.0.0.1,tag=7"), "{dry}");
    let dry = server.run("container add fs 110 --source /mnt/media --mp /media --dry-run").ok();
    assert!(dry.stdout.contains("mp1=/mnt/media,mp=/media"), "{dry}");
    let dry = server.run("container add device 110 --path /dev/ttyUSB0 --dry-run").ok();
    assert!(dry.stdout.contains("dev0=/dev/ttyUSB0"), "{dry}");
    let _ = server.run("container add net 110 --bridge vmbr0 --ip dhcp").ok();
    let _ = server.run("container remove 110 net1").ok();
    assert!(config(110).get("net1").is_none());
    // What it has in its file system goes when it is off.
    let _ = server.run("container remove 110 mp0").ok().says(&["mp0 will apply at the next start"]);
    let _ = server.run("container remove 110 mp9").exits(3).says(&["no device `mp9`; it has mp0, net0"]);
    for (line, says) in [
        ("add disk 110 --mp /srv", "--volume"),
        ("add disk 110 --size 4G", "--mp"),
        ("add disk 110 --size 4G --mp srv", "a whole path is expected"),
        ("add fs 110 --source media --mp /media", "no whole path of the node"),
        ("add net 110 --bridge vmbr0 --gw 10.0.0.1", "--ip"),
    ] {
        let _ = server.run(&format!("container {line}")).exits(2).says(&[says]);
    }
    let _ = server.run("vm add disk 103 --size 4G --bus scsi").ok();
    assert!(server.json("vm get 103")["config"]["scsi1"].as_str().unwrap().contains("size=4G"));
    let _ = server.run("vm add disk 103 --size 4G --volume local-lvm:4").exits(2);
}

//! Bad input: a clear error that names the thing and the way out, the right exit code, and nothing sent.

use insta::assert_snapshot;

use crate::harness::{Env, Server};

/// Runs what must not change anything: nothing but reads may reach the server, and nothing the journal.
pub(crate) fn on_a_server(test: impl FnOnce(&Server)) {
    let server = Env::new().serve("");
    test(&server);
    assert_eq!(server.changes(), [""; 0], "only reads");
    assert_eq!(server.json("operation list"), serde_json::json!([]), "nothing was even planned");
}

#[test]
fn unknown_targets_are_not_found_and_close_ones_suggested() {
    on_a_server(|server| {
        assert_snapshot!(server.run("vm start 999"), @"
        exit 3
        --- stderr
        error: no such vm: `999`
        ");
        assert_snapshot!(server.run("vm get 1000"), @"
        exit 3
        --- stderr
        error: no such vm: `1000`
        hint: did you mean `100` or `9000`?
        ");
        assert_snapshot!(server.run("vm stop 100 wbe-1 999"), @"
        exit 3
        --- stderr
        error: no such vm: `wbe-1`, `999`
        hint: did you mean `web-1` or `web-2`?
        ");
        assert_snapshot!(server.run("vm describe pve2/100"), @"
        exit 3
        --- stderr
        error: no such vm: `pve2/100`
        hint: 100 is on node pve1
        ");
        assert_snapshot!(server.run("vm start proxy"), @"
        exit 3
        --- stderr
        error: no such vm: `proxy`
        hint: proxy is a container: use `pvectl container …`
        ");
        assert_snapshot!(server.run("vm start 150-160"), @"
        exit 3
        --- stderr
        error: no such vm: `150-160`
        ");
        assert_snapshot!(server.run("node get pve9"), @"
        exit 3
        --- stderr
        error: no such node: `pve9`
        hint: did you mean `pve1` or `pve2` or `pve3`?
        ");
        assert_snapshot!(server.run("vm create --name a --node pve9"), @"
        exit 3
        --- stderr
        error: no such node: `pve9`
        hint: did you mean `pve1` or `pve2` or `pve3`?
        hint: nodes here: pve1, pve2, pve3
        ");
        assert_snapshot!(server.run("vm create --name a --scsi0 nostore:8"), @"
        exit 3
        --- stderr
        error: no such storage: `nostore`
        hint: storages here: local, local-lvm
        ");
        assert_snapshot!(server.run("vm create --name a --template debian-21"), @"
        exit 3
        --- stderr
        error: no such vm template: `debian-21`
        hint: did you mean `debian-12`?
        ");
    });
}

#[test]
fn an_ambiguous_name_lists_its_candidates() {
    let server = Env::new().serve("");
    let _ = server.run("vm create --vmid 150 --name web-1 --node pve2").ok().says(&["vm 100 is called `web-1` too"]);
    let before = server.changes();
    assert_snapshot!(server.run("vm start web-1"), @"
    exit 2
    --- stderr
    error: the name `web-1` is ambiguous: 2 vms have it (100 on pve1, 150 on pve2)
    hint: give the VMID instead
    ");
    assert_snapshot!(server.run("vm start pve2/web-1 --dry-run"), @"
    exit 0
    --- stdout
    start vm/150 (web-1) on pve2
      POST /nodes/pve2/qemu/150/status/start
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_eq!(server.changes(), before);
}

#[test]
fn vmids_out_of_range_or_taken() {
    on_a_server(|server| {
        assert_snapshot!(server.run("vm create --vmid 99 --name a"), @"
        exit 2
        --- stderr
        error: VMID 99 is out of range: it must be between 100 and 999999999
        ");
        assert_snapshot!(server.run("vm create --vmid 1000000000 --name a"), @"
        exit 2
        --- stderr
        error: VMID 1000000000 is out of range: it must be between 100 and 999999999
        ");
        assert_snapshot!(server.run("vm start 99"), @"
        exit 2
        --- stderr
        error: `99` is not a target: VMID 99 is out of range: it must be between 100 and 999999999
        ");
        assert_snapshot!(server.run("vm start 160-150"), @"
        exit 2
        --- stderr
        error: `160-150` is not a target: the range runs backwards, try 150-160
        ");
        assert_snapshot!(server.run("vm create --vmid 100 --name a"), @"
        exit 6
        --- stderr
        error: VMID 100 is taken by vm `web-1` on pve1
        hint: leave --vmid out to take the next free one
        ");
        assert_snapshot!(server.run("container create --vmid 100 --hostname a --template debian-12"), @"
        exit 6
        --- stderr
        error: VMID 100 is taken by vm `web-1` on pve1
        hint: leave --vmid out to take the next free one
        ");
        server.write("two.yaml", "- {vmid: 150, name: a}\n- {vmid: 150, name: b}\n");
        assert_snapshot!(server.run("vm create -f two.yaml"), @"
        exit 2
        --- stderr
        error: VMID 150 is asked for twice
        ");
    });
}

#[test]
fn bad_values_name_the_part_and_what_is_expected() {
    on_a_server(|server| {
        assert_snapshot!(server.run("vm create --name a --memory 4X"), @"
        exit 2
        --- stderr
        error: `memory`: `4X` is not a size: a number with an optional unit K, M, G or T is expected, such as 8192M or 32G; a plain number is MiB
        ");
        assert_snapshot!(server.run("vm create --name a --memory 1K"), @"
        exit 2
        --- stderr
        error: `memory`: `1K` is no whole number of MiB
        ");
        assert_snapshot!(server.run("vm create --name a --cores none"), @"
        exit 2
        --- stderr
        error: `cores` `none`: type check ('integer') failed - got 'none'
        hint: `cores` takes INTEGER (1 or more)
        ");
        assert_snapshot!(server.run("vm create --name a --cores 0"), @"
        exit 2
        --- stderr
        error: `cores` `0`: value must have a minimum value of 1
        hint: `cores` takes INTEGER (1 or more)
        ");
        assert_snapshot!(server.run("vm create --name a --net0 virtio,bridge"), @"
        exit 2
        --- stderr
        error: `net0` `virtio,bridge`: invalid format - duplicate key in comma-separated list property: model
        hint: `net0` takes [model=]e1000|e1000-82540em|e1000-82544gc|e1000-82545em|e1000e|i82551|i82557b|i82559er|ne2k_isa|ne2k_pci|pcnet|rtl8139|virtio|vmxnet3,bridge=TEXT,firewall=0|1,host-tunnel=0|1,link_down=0|1,macaddr=TEXT,mtu=INTEGER (1 to 65520),queues=INTEGER (0 to 64),rate=NUMBER (0 or more),tag=INTEGER (1 to 4094),trunks=TEXT
        ");
        assert_snapshot!(server.run("vm create --name a --net0 virtoi,bridge=vmbr0"), @"
        exit 2
        --- stderr
        error: `net0` `virtoi,bridge=vmbr0`: part `model`: value 'virtoi' does not have a value in the enumeration 'e1000, e1000-82540em, e1000-82544gc, e1000-82545em, e1000e, i82551, i82557b, i82559er, ne2k_isa, ne2k_pci, pcnet, rtl8139, virtio, vmxnet3'
        hint: did you mean `virtio`?
        hint: `net0` takes [model=]e1000|e1000-82540em|e1000-82544gc|e1000-82545em|e1000e|i82551|i82557b|i82559er|ne2k_isa|ne2k_pci|pcnet|rtl8139|virtio|vmxnet3,bridge=TEXT,firewall=0|1,host-tunnel=0|1,link_down=0|1,macaddr=TEXT,mtu=INTEGER (1 to 65520),queues=INTEGER (0 to 64),rate=NUMBER (0 or more),tag=INTEGER (1 to 4094),trunks=TEXT
        ");
        assert_snapshot!(server.run("vm create --name a --net0 virtio,brigde=vmbr0"), @"
        exit 2
        --- stderr
        error: `net0` `virtio,brigde=vmbr0`: unknown part `brigde`
        hint: did you mean `bridge`?
        hint: `net0` takes [model=]e1000|e1000-82540em|e1000-82544gc|e1000-82545em|e1000e|i82551|i82557b|i82559er|ne2k_isa|ne2k_pci|pcnet|rtl8139|virtio|vmxnet3,bridge=TEXT,firewall=0|1,host-tunnel=0|1,link_down=0|1,macaddr=TEXT,mtu=INTEGER (1 to 65520),queues=INTEGER (0 to 64),rate=NUMBER (0 or more),tag=INTEGER (1 to 4094),trunks=TEXT
        ");
        assert_snapshot!(server.run("vm create --name a --scsi0 local-lvm:8,cahce=none"), @"
        exit 2
        --- stderr
        error: `scsi0` `local-lvm:8,cahce=none`: unknown part `cahce`
        hint: did you mean `cache`?
        hint: `scsi0` takes file,aio,backup,bps,bps_max_length,bps_rd,bps_rd_max_length,bps_wr,bps_wr_max_length,cache,detect_zeroes,discard,format,import-from,iops,iops_max,iops_max_length,iops_rd,iops_rd_max,iops_rd_max_length,iops_wr,iops_wr_max,iops_wr_max_length,iothread,…
        ");
        assert_snapshot!(server.run("vm create --name a --scsi0 local-lvm:8,cache=fast"), @"
        exit 2
        --- stderr
        error: `scsi0` `local-lvm:8,cache=fast`: part `cache`: value 'fast' does not have a value in the enumeration 'none, writethrough, writeback, unsafe, directsync'
        hint: `scsi0` takes file,aio,backup,bps,bps_max_length,bps_rd,bps_rd_max_length,bps_wr,bps_wr_max_length,cache,detect_zeroes,discard,format,import-from,iops,iops_max,iops_max_length,iops_rd,iops_rd_max,iops_rd_max_length,iops_wr,iops_wr_max,iops_wr_max_length,iothread,…
        ");
        assert_snapshot!(server.run("vm create --name a --bios uefi"), @"
        exit 2
        --- stderr
        error: `bios` `uefi`: value 'uefi' does not have a value in the enumeration 'seabios, ovmf'
        hint: `bios` takes seabios|ovmf
        ");
        assert_snapshot!(server.run("vm create --name 'not a name'"), @"
        exit 2
        --- stderr
        error: `name` `not a name`: invalid format - value does not look like a valid DNS name
        hint: `name` takes TEXT of the form dns-name
        ");
        assert_snapshot!(server.run("vm create --name a --onboot maybe"), @"
        exit 2
        --- stderr
        error: `onboot` `maybe`: type check ('boolean') failed - got 'maybe'
        hint: `onboot` takes 0|1
        ");
        assert_snapshot!(server.run("container create --hostname a --template debian-12 --net0 bridge=vmbr0"), @"
        exit 2
        --- stderr
        error: `net0` `bridge=vmbr0`: part `name`: property is missing and it is not optional
        hint: `net0` takes bridge=TEXT,firewall=0|1,gw=TEXT,gw6=TEXT,host-managed=0|1,hwaddr=TEXT,ip=TEXT,ip6=TEXT,link_down=0|1,mtu=INTEGER (64 to 65535),name=TEXT,rate=NUMBER,tag=INTEGER (1 to 4094),trunks=TEXT,type=veth
        ");
        assert_snapshot!(server.run("vm update 101 --set coers=2"), @"
        exit 2
        --- stderr
        error: unknown key `coers`
        hint: did you mean `cores`?
        hint: a key that only a newer server has is sent with --force-param coers=VALUE
        ");
        assert_snapshot!(server.run("vm update 101 --set cores"), @"
        exit 2
        --- stderr
        error: `--set` takes KEY=VALUE
        ");
        assert_snapshot!(server.run("vm update 101 --set cipassword=hunter2"), @"
        exit 2
        --- stderr
        error: `cipassword` is a secret and is not taken from the command line
        hint: give --cipassword @FILE, or - to read it from stdin; with --set, cipassword=@FILE
        ");
        assert_snapshot!(server.run("vm update 101"), @"
        exit 2
        --- stderr
        error: say what to change: flags, --set, --unset, or -f FILE (see --help)
        ");
    });
}

#[test]
fn a_running_guest_is_not_deleted_without_force() {
    on_a_server(|server| {
        assert_snapshot!(server.run("vm delete 100 --confirm"), @"
        exit 6
        --- stdout
        VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
         100  web-1  pve1  delete  failed  no       -
        --- stderr
        error: cannot delete vm/100 (web-1): it is running
        hint: stop it first (pvectl vm stop 100), or give --force
        ");
        assert_snapshot!(server.run("vm delete 102 --force --confirm"), @"
        exit 6
        --- stdout
        VMID  NAME  NODE  VERB    STATUS  CHANGED  EXIT STATUS
         102  db-1  pve2  delete  failed  no       -
        --- stderr
        error: cannot delete vm/102 (db-1): it is protected
        hint: take the protection away first: pvectl vm update 102 --set protection=0
        ");
    });
}

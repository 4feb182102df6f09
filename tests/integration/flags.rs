//! Configuration flags as people type them: friendly forms, secrets, labels, and what is said of mistakes.

use std::{collections::BTreeMap, fs};

use insta::assert_snapshot;
use serde_json::Value;

use crate::harness::Env;

/// Runs a dry run and gives the parameters of its calls as one map.
#[track_caller]
pub(crate) fn planned(env: &Env, line: &str) -> BTreeMap<String, String> {
    let plan = env.json(&format!("{line} --dry-run"));
    let calls = plan["calls"].as_array().unwrap().iter();
    let params = calls.flat_map(|call| call["params"].as_object().unwrap().clone());
    params.map(|(key, value)| (key, value.as_str().unwrap().to_owned())).collect()
}

#[test]
fn devices_without_a_number_get_the_next() {
    let env = Env::new();
    assert_snapshot!(
        env.run("vm create --vmid 150 --name db --scsi1 local-lvm:1 --disk local-lvm:32 --disk local-lvm:512M,ssd=1 \
                 --net bridge=vmbr0,tag=20 --net e1000,bridge=vmbr0 --usb spice --ipconfig ip=dhcp --dry-run"), @"
    exit 0
    --- stdout
    create vm/150 (db) on pve3
      POST /nodes/pve3/qemu name=db scsi1=local-lvm:1 scsi0=local-lvm:32 scsi2=local-lvm:0.5,ssd=1 net0=virtio,bridge=vmbr0,tag=20 net1=e1000,bridge=vmbr0 ipconfig0=ip=dhcp usb0=spice vmid=150
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_snapshot!(
        env.run("container create --vmid 250 --hostname db --template debian-12 --rootfs local-lvm:8G \
                 --mp local-lvm:4,mp=/a --mp local-lvm:4G,mp=/b --net bridge=vmbr0 --net name=wan,bridge=vmbr0 \
                 --net bridge=vmbr0,ip=dhcp --dev /dev/null --dry-run"), @"
    exit 0
    --- stdout
    create container/250 (db) on pve3
      POST /nodes/pve3/lxc hostname=db rootfs=local-lvm:8 mp0=local-lvm:4,mp=/a mp1=local-lvm:4,mp=/b net0=name=eth0,bridge=vmbr0 net1=name=wan,bridge=vmbr0 net2=name=eth1,bridge=vmbr0,ip=dhcp dev0=/dev/null ostemplate=local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst vmid=250
    --- stderr
    nothing was sent (--dry-run)
    ");
    // A size alone is a disk in the one storage that holds some.
    assert_eq!(planned(&env, "vm create --name db --disk 20G,ssd=1")["scsi0"], "local-lvm:20,ssd=1");
    assert_eq!(planned(&env, "vm update 101 --disk 512M")["scsi1"], "local-lvm:0.5");
    // What the guest has is not touched, and what becomes free by the same change is not taken.
    assert_snapshot!(env.run("vm update 101 --disk local-lvm:1 --net bridge=vmbr0 --unset net0 --dry-run"), @"
    exit 0
    --- stdout
    update vm/101 (web-2) on pve2
      scsi1: not set → local-lvm:1
      net1: not set → virtio,bridge=vmbr0
      net0: virtio=MAC,bridge=vmbr0 → not set
      POST /nodes/pve2/qemu/101/config scsi1=local-lvm:1 net1=virtio,bridge=vmbr0 delete=net0 digest=DIGEST
    --- stderr
    nothing was sent (--dry-run)
    ");
    let _ = env.run("vm update 101 --disk local-lvm:1 --disk local-lvm:2 --net bridge=vmbr0").ok();
    let config = &env.json("vm get 101")["config"];
    assert!(config["scsi1"].as_str().unwrap().contains("size=1G"), "{config}");
    assert!(config["scsi2"].as_str().unwrap().contains("size=2G"), "{config}");
    assert!(config["net1"].as_str().unwrap().starts_with("virtio="), "{config}");
    let _ = env.run("container update 110 --net bridge=vmbr0 --mp local-lvm:1,mp=/srv").ok();
    let config = &env.json("container get 110")["config"];
    assert!(config["net1"].as_str().unwrap().starts_with("name=eth1,"), "{config}");
    assert!(config["mp0"].as_str().unwrap().contains("mp=/srv"), "{config}");
    // A clone keeps what it has from its template.
    let got = planned(&env, "vm create --template debian-12 --name x --disk local-lvm:4 --net bridge=vmbr0");
    assert_eq!((got["scsi1"].as_str(), got["net1"].as_str()), ("local-lvm:4", "virtio,bridge=vmbr0"));
    let full = " --ide none".repeat(5);
    assert_snapshot!(env.run(&format!("vm create --name a{full}")), @"
    exit 6
    --- stderr
    error: there is no free number for another `ide`: 0 to 3 are taken
    ");
    assert_snapshot!(env.run("container create --hostname a --template debian-12 --disk local-lvm:8"), @"
    exit 2
    --- stderr
    error: a container has no --disk
    hint: --rootfs STORAGE:SIZE for its root disk, --mp STORAGE:SIZE,mp=/path for further ones
    ");
}

#[test]
fn booleans_and_sizes() {
    let env = Env::new();
    for (typed, want) in [
        ("--onboot", "1"),
        ("--onboot=yes", "1"),
        ("--onboot 1", "1"),
        ("--onboot=no", "0"),
        ("--onboot off", "0"),
        ("--onboot false", "0"),
    ] {
        assert_eq!(planned(&env, &format!("vm create --name a {typed}"))["onboot"], want, "{typed}");
    }
    assert_eq!(planned(&env, "vm create --memory 8G --balloon 512M --name a")["memory"], "8192");
    assert_eq!(planned(&env, "vm create --memory 8G --balloon 512M --name a")["balloon"], "512");
    // The boolean has its name for itself.
    let got = planned(&env, "vm create --name a --numa --numa0 cpus=0,memory=512");
    assert_eq!((got["numa"].as_str(), got["numa0"].as_str()), ("1", "cpus=0,memory=512"));
    // Zero bytes cannot stand on a command line.
    let typed = "container update 110 --env A=1 --env 'B=x y'";
    assert_eq!(planned(&env, typed)["env"], "A=1\0B=x y");
    let _ = env.run(typed).ok();
    // What is so already is nothing to change, however it is written.
    let _ = env.run("vm create --vmid 150 --name a --memory 8G --onboot").ok();
    let _ = env.run("vm update 150 --memory 8G --onboot yes").ok().says(&["nothing to change"]);
    assert_snapshot!(env.run("vm update --onboot 150"), @"
    exit 2
    --- stderr
    error: say which guest to update
    hint: a VMID or a name
    hint: --onboot took `150` for its value: put targets first, or write --onboot=yes
    ");
}

#[test]
fn mistakes_are_told_together_and_cost_no_request() {
    crate::input::on_a_server(|server| {
        assert_snapshot!(server.run("vm create --name a --net0 virtio,brigde=vmbr0 --bios sebios --cores 0 --vga type=sdt"), @"
        exit 2
        --- stderr
        error: `bios` `sebios`: value 'sebios' does not have a value in the enumeration 'seabios, ovmf'; `cores` `0`: value must have a minimum value of 1; `net0` `virtio,brigde=vmbr0`: unknown part `brigde`; `vga` `type=sdt`: part `type`: value 'sdt' does not have a value in the enumeration 'cirrus, qxl, qxl2, qxl3, qxl4, none, serial0, serial1, serial2, serial3, std, virtio, virtio-gl, vmware'
        hint: did you mean `seabios`?
        hint: `bios` takes seabios|ovmf
        hint: `cores` takes INTEGER (1 or more)
        hint: did you mean `bridge`?
        hint: `net0` takes [model=]e1000|e1000-82540em|e1000-82544gc|e1000-82545em|e1000e|i82551|i82557b|i82559er|ne2k_isa|ne2k_pci|pcnet|rtl8139|virtio|vmxnet3,bridge=TEXT,firewall=0|1,host-tunnel=0|1,link_down=0|1,macaddr=TEXT,mtu=INTEGER (1 to 65520),queues=INTEGER (0 to 64),rate=NUMBER (0 or more),tag=INTEGER (1 to 4094),trunks=TEXT
        hint: `vga` takes [type=]cirrus|qxl|qxl2|qxl3|qxl4|none|serial0|serial1|serial2|serial3|std|virtio|virtio-gl|vmware,clipboard=vnc,memory=INTEGER (4 to 512)
        ");
        assert_snapshot!(server.run("vm update 100 --net brigde=vmbr0 --cpulimit 129 --onboot maybe"), @"
        exit 2
        --- stderr
        error: `cpulimit` `129`: value must have a maximum value of 128; `net0` `virtio,brigde=vmbr0`: unknown part `brigde`; `onboot` `maybe`: type check ('boolean') failed - got 'maybe'
        hint: `cpulimit` takes NUMBER (0 to 128)
        hint: did you mean `bridge`?
        hint: `net0` takes [model=]e1000|e1000-82540em|e1000-82544gc|e1000-82545em|e1000e|i82551|i82557b|i82559er|ne2k_isa|ne2k_pci|pcnet|rtl8139|virtio|vmxnet3,bridge=TEXT,firewall=0|1,host-tunnel=0|1,link_down=0|1,macaddr=TEXT,mtu=INTEGER (1 to 65520),queues=INTEGER (0 to 64),rate=NUMBER (0 or more),tag=INTEGER (1 to 4094),trunks=TEXT
        hint: `onboot` takes 0|1
        ");
        assert_snapshot!(server.run("vm update 100 --disk local-lvm:abc"), @"
        exit 2
        --- stderr
        error: `scsi0` `local-lvm:abc`: `abc` is neither a size nor a volume
        hint: `scsi0` takes a new disk's size in GiB (local-lvm:32), or a volume that exists (local-lvm:vm-100-disk-0)
        ");
        assert_snapshot!(server.run("vm update 100 --cores 2 --unset cores"), @"
        exit 2
        --- stderr
        error: `cores` is to be set and to be unset: give one of both
        ");
        assert_snapshot!(server.run("vm update 100 --sshkeys 'ssh-ed25519 AAAA me'"), @"
        exit 2
        --- stderr
        error: `sshkeys` `ssh-ed25519 AAAA me`: invalid format - invalid urlencoded string: ssh-ed25519 AAAA me
        hint: `sshkeys` takes TEXT of the form urlencoded
        ");
        assert_snapshot!(server.run("container update 110 --memory 8"), @"
        exit 2
        --- stderr
        error: `memory` `8`: value must have a minimum value of 16
        hint: `memory` takes INTEGER (16 or more)
        ");
        assert_snapshot!(server.run("vm create --name a --no-such-key 1"), @"
        exit 2
        --- stderr
        error: unexpected argument '--no-such-key' found

          tip: a similar argument exists: '--no-checks'

        Usage: pvectl vm create --name <NAME> --no-checks

        For more information, try '--help'.

        hint: a key that only a newer server has is sent with --force-param KEY=VALUE
        ");
        assert_snapshot!(server.run("vm create --vmid 100 --force"), @"
        exit 2
        --- stderr
        error: unexpected argument '--force' found

        For more information, try '--help'.

        hint: Proxmox VE's `force` is --overwrite here: --force stops running guests elsewhere
        ");
        assert_snapshot!(server.run("vm update 100 --template --error-format json"), @r#"
        exit 2
        --- stderr
        {"error":{"class":"usage","exit_code":2,"message":"unexpected argument '--template' found","http_status":null,"params":{},"causes":[],"hints":["Proxmox VE's `template` is --set template=VALUE here: --template is what it is made from"],"may_have_happened":false}}
        "#);
        assert_eq!(server.requests(), [""; 0]);
        assert_snapshot!(server.run("vm update 100 --unset cors"), @"
        exit 2
        --- stderr
        error: unknown key `cors`
        hint: did you mean `cores`?
        ");
    });
}

#[test]
fn names_with_another_meaning_are_reached_otherwise() {
    let env = Env::new();
    assert_eq!(planned(&env, "vm create --name a --set template=1 --set start=1")["template"], "1");
    assert_eq!(planned(&env, "vm update 101 --delete net0")["delete"], "net0");
    assert_eq!(planned(&env, "vm update 101 --unset net0 --set force=1")["force"], "1");
    let _ = env.run("container create --vmid 110 --hostname a --template debian-12").exits(6);
    let overwrite = "container create --vmid 110 --hostname a --template debian-12 --rootfs local-lvm:4 --overwrite";
    let _ = env.run(overwrite).exits(2).says(&["confirmation"]);
    assert_snapshot!(env.run(&format!("{overwrite} --dry-run")), @"
    exit 0
    --- stdout
    create container/110 (a) on pve1
      status: running
      disk rootfs: local-lvm:vm-110-disk-0 (4.00 GiB)
      snapshots: none
      POST /nodes/pve1/lxc hostname=a rootfs=local-lvm:4 force=1 ostemplate=local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst vmid=110
    --- stderr
    container/110 (a): replaces container `proxy`
    nothing was sent (--dry-run)
    ");
}

#[test]
fn secrets_come_from_files_and_stdin_only() {
    let env = Env::new();
    env.write("secret", "hunter2\n");
    env.write("empty", "\n");
    for typed in [
        "vm update 101 --cipassword hunter2",
        "vm update 101 --cipassword=hunter2",
        "vm update 101 --set cipassword=hunter2",
        "vm update 101 --force-param cipassword=hunter2",
        "vm update 101 --set cipassword:hunter2",
        "container create --hostname a --template debian-12 --password hunter2",
        "vm create --name a --password=hunter2",
        "vm create --name a --cipassword hunter2 --nonsense",
        "vm create --name a --cipassword hunter2 --cores 0",
    ] {
        let said = env.run(typed).exits(2);
        assert!(!said.to_string().contains("hunter2"), "{typed}\n{said}");
        let json = env.run(&format!("{typed} --error-format json")).exits(2);
        assert!(!json.to_string().contains("hunter2"), "{typed}\n{json}");
    }
    assert_snapshot!(env.run("vm update 101 --cipassword hunter2"), @"
    exit 2
    --- stderr
    error: `cipassword` is a secret and is not taken from the command line
    hint: give --cipassword @FILE, or - to read it from stdin; with --set, cipassword=@FILE
    ");
    assert_snapshot!(env.run("vm update 101 --cipassword"), @"
    exit 2
    --- stderr
    error: `cipassword` is to be asked for, and there is no terminal to ask on
    hint: give @FILE, or - to read it from stdin
    ");
    assert_snapshot!(env.run("vm update 101 --cipassword @nowhere"), @"
    exit 2
    --- stderr
    error: `cipassword`: cannot read nowhere
      caused by: No such file or directory (os error 2)
    ");
    assert_snapshot!(env.run("vm update 101 --cipassword @empty"), @"
    exit 2
    --- stderr
    error: `cipassword` is empty
    ");
    let _ = env.run("vm update 101 --cipassword @secret -vvv").ok();
    let _ = env.run_with("vm update 101 --cipassword - --ciuser admin", "hunter2\n").ok();
    let _ = env
        .run("container create --vmid 250 --hostname a --template debian-12 --rootfs local-lvm:4 --password @~/secret")
        .ok();
    let shown = env.run("vm update 101 --cipassword @secret --dry-run -o json").ok();
    assert!(shown.stdout.contains("***") && !shown.stdout.contains("hunter2"), "{shown}");
    env.write("vm.yaml", "name: a\ncipassword: hunter2\nciuser: admin\n");
    let shown = env.run("vm create -f vm.yaml --dry-run -o json").ok();
    assert!(shown.raw.contains("***") && !shown.raw.contains("hunter2"), "{shown}");
    env.write("wrong.yaml", "name: a\ncipassword: hunter2\ncoers: 1\n");
    let wrong = env.run("vm create -f wrong.yaml").exits(2);
    assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
    for id in 1..=3 {
        let kept = env.run(&format!("operation show {id} -o json")).ok();
        assert!(!kept.raw.contains("hunter2") && kept.raw.contains("password"), "{kept}");
    }
    for file in fs::read_dir(env.journal().parent().unwrap()).unwrap().map(Result::unwrap) {
        if file.file_name().to_string_lossy().starts_with("journal") {
            let bytes = fs::read(file.path()).unwrap();
            assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{:?}", file.path());
        }
    }
}

#[test]
fn public_keys_are_sent_as_the_server_wants_them() {
    let env = Env::new();
    env.write(".ssh/id.pub", "# mine\nssh-ed25519 AAAA+/= me@host\n\n");
    env.write("key", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n");
    let typed = "--ssh-key @~/.ssh/id.pub --ssh-key 'ssh-rsa BBBB you'";
    let encoded = "ssh-ed25519%20AAAA%2B%2F%3D%20me%40host%0Assh-rsa%20BBBB%20you";
    assert_eq!(planned(&env, &format!("vm create --name a {typed}"))["sshkeys"], encoded);
    assert_eq!(planned(&env, &format!("vm update 101 {typed}"))["sshkeys"], encoded);
    assert_eq!(
        planned(&env, "vm update 101 --set sshkeys=@.ssh/id.pub")["sshkeys"],
        encoded.split("%0A").next().unwrap()
    );
    let got =
        planned(&env, &format!("container create --hostname a --template debian-12 --rootfs local-lvm:4 {typed}"));
    assert_eq!(got["ssh-public-keys"], "ssh-ed25519 AAAA+/= me@host\nssh-rsa BBBB you");
    assert_snapshot!(env.run("container update 110 --ssh-key @~/.ssh/id.pub"), @"
    exit 2
    --- stderr
    error: Proxmox VE takes a container's SSH keys only when it is made
    hint: add it to /root/.ssh/authorized_keys inside the container
    ");
    assert_snapshot!(env.run("vm update 101 --ssh-key ~/.ssh/id.pub"), @"
    exit 2
    --- stderr
    error: --ssh-key: `~/.ssh/id.pub` is no public key
    hint: a file of keys is given as @FILE, such as @~/.ssh/id_ed25519.pub
    ");
    assert_snapshot!(env.run("vm update 101 --ssh-key @key"), @"
    exit 2
    --- stderr
    error: --ssh-key: key is a private key, which is to leave this machine never
    hint: the public one is in the file that ends with .pub
    ");
    assert_snapshot!(env.run("vm update 101 --ssh-key @~/.ssh/none.pub"), @"
    exit 2
    --- stderr
    error: --ssh-key: cannot read ~/.ssh/none.pub
      caused by: No such file or directory (os error 2)
    ");
}

#[test]
fn labels_change_one_tag_and_leave_the_others() {
    let env = Env::new();
    let tags = |env: &Env| env.json("vm get 150")["config"]["tags"].clone();
    let _ = env.run("vm create --vmid 150 --name a --label app=web --label tier=front").ok();
    assert_eq!(tags(&env), "app.web;tier.front");
    let _ = env.run("vm update 150 --label app=db --label old").ok();
    assert_eq!(tags(&env), "app.db;tier.front;old");
    let _ = env.run("vm update 150 --label app=db").ok().says(&["nothing to change"]);
    let _ = env.run("vm update 150 --label tier-").ok();
    assert_eq!(tags(&env), "app.db;old");
    let _ = env.run("vm update 150 --label app- --label old-").ok();
    assert_eq!(tags(&env), Value::Null);
    let _ = env.run("vm update 150 --tags x,y").ok();
    assert_eq!(tags(&env), "x,y");
    let _ = env.run("vm update 150 --tags x --label a=b").exits(2).says(&["--label", "--tags"]);
    assert_snapshot!(env.run("vm update 150 --label 'a b=c'"), @"
    exit 2
    --- stderr
    error: `a b=c` is no label: its name does not fit into a tag
    hint: a label is NAME=VALUE or NAME, and NAME- takes it away; letters, digits, - _ + stand in both
    ");
}

#[test]
fn what_the_contract_does_not_know_is_sent_only_when_forced() {
    let env = Env::new();
    assert_snapshot!(env.run("vm update 101 --newkey 1"), @"
    exit 2
    --- stderr
    error: unexpected argument '--newkey' found

      tip: to pass '--newkey' as a value, use '-- --newkey'

    Usage: pvectl vm update [TARGET]...

    For more information, try '--help'.

    hint: a key that only a newer server has is sent with --force-param KEY=VALUE
    ");
    assert_snapshot!(env.run("vm update 101 --set newkey=1"), @"
    exit 2
    --- stderr
    error: unknown key `newkey`
    hint: a key that only a newer server has is sent with --force-param newkey=VALUE
    ");
    assert_snapshot!(env.run("vm update 101 --force-param newkey=1 --force-param cores=none --dry-run"), @"
    exit 0
    --- stdout
    update vm/101 (web-2) on pve2
      newkey: not set → 1
      cores: 2 → none
      PUT /nodes/pve2/qemu/101/config newkey=1 cores=none digest=DIGEST
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_eq!(planned(&env, "vm create --name a --force-param newkey=1")["newkey"], "1");
    let clone = "vm create --template debian-12 --name a --force-param newkey=1";
    assert_eq!(planned(&env, clone)["newkey"], "1");
    // The sandbox checks by the same contract, as a real server does by its own.
    let _ = env.run("vm update 101 --force-param newkey=1").exits(7).says(&["newkey"]);
}

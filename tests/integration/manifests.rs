//! Manifests: `apply`, `diff`, `export`, and `delete -f` of them.

#[cfg(target_os = "linux")]
mod here;
mod killed;
mod random;

use insta::assert_snapshot;

use crate::{
    harness::{Env, eventually},
    login::with_password,
};

/// A pool, a template, a VM that is made from it, a container.
const INFRA: &str = "\
apiVersion: pvectl/v1
kind: VirtualMachine
metadata: { name: app-1, vmid: 201, labels: { app: shop, tier: front }, pool: shop }
spec:
  state: running
  from: { template: base }
  cores: 2
  memory: 512MiB
  disks: { scsi0: { storage: local-lvm, size: 4GiB, ssd: true }, scsi1: { storage: local-lvm, size: 1GiB } }
  nets: { net0: { bridge: vmbr0, tag: 20 } }
  cloudInit: { user: admin, password: { fromFile: secret }, sshKeys: [ssh-ed25519 AAAA me], ip: dhcp }
  options: { onboot: 1, agent: { enabled: true } }
---
apiVersion: pvectl/v1
kind: VirtualMachine
metadata: { name: base, vmid: 200 }
spec:
  state: template
  memory: 512MiB
  disks: { scsi0: { storage: local-lvm, size: 2GiB } }
---
apiVersion: pvectl/v1
kind: Container
metadata: { name: cache, vmid: 202, labels: { app: shop } }
spec:
  state: running
  from: { template: debian-12 }
  memory: 512MiB
  disks: { rootfs: { storage: local-lvm, size: 4GiB }, mp0: { storage: local-lvm, size: 1GiB, mp: /data } }
  nets: { net0: { bridge: vmbr0, ip: dhcp } }
---
apiVersion: pvectl/v1
kind: Pool
metadata: { name: shop, labels: { app: shop } }
spec: { comment: what is sold }
";

/// An account with a sandbox, these files and a secret.
fn with(files: &[(&str, &str)]) -> Env {
    let env = Env::new();
    env.write("infra/secret", "hunter-2-is-long\n");
    files.iter().for_each(|(name, text)| drop(env.write(name, text)));
    env
}

#[test]
fn what_is_said_is_made_and_made_once() {
    let env = with(&[("infra/all.yaml", INFRA)]);
    assert_snapshot!(env.run("apply -f infra --dry-run -o jsonpath={.items[*].calls[*].path}"), @"
    exit 0
    --- stdout
    /nodes/pve3/qemu /nodes/pve3/qemu/200/template /nodes/pve3/lxc /nodes/pve3/lxc/202/status/start /pools /nodes/pve3/qemu/200/clone /nodes/pve3/qemu/201/config /nodes/pve3/qemu/201/resize
    --- stderr
    nothing was sent (--dry-run)
    ");
    let _ = env.run("diff -f infra").exits(1);
    assert_snapshot!(env.run("apply -f infra --quiet"), @"
    exit 0
    --- stdout
    KIND       NAME   VMID  NODE  VERB    STATUS  CHANGED  EXIT STATUS
    vm         base    200  pve3  create  ok      yes      OK
    container  cache   202  pve3  create  ok      yes      OK
    pool       shop      -  -     create  ok      yes      -
    vm         app-1   201  pve3  create  ok      yes      OK
    ");
    assert_snapshot!(env.run("diff -f infra"), @"
    exit 0
    --- stderr
    everything is as it should be
    ");
    let again = env.json("apply -f infra --quiet");
    assert!(again.as_array().unwrap().iter().all(|row| row["changed"] == false && row["verb"] == "none"), "{again}");
    let config = &env.json("vm get app-1")["config"];
    assert_eq!((&config["cores"], &config["tags"]), (&2.into(), &"app.shop;tier.front".into()));
    assert!(config["scsi0"].as_str().unwrap().ends_with("size=4G,ssd=1"), "{config}");
    assert_eq!(env.json("pool get shop")["members"].as_array().unwrap().len(), 1);
    // One operation, of which each guest's is a part.
    let first = env.json("operation show 1");
    assert_eq!((&first["verb"], &first["status"]), (&"apply".into(), &"ok".into()), "{first}");
    // The secret is nowhere.
    let journal =
        env.shell("grep -c hunter-2 .local/state/pvectl/journal.db*; \"$0\" operation export | grep -c hunter-2");
    let told = String::from_utf8_lossy(&journal.stdout).into_owned();
    assert!(told.lines().all(|line| line.ends_with('0')), "{told}");
}

#[test]
fn an_export_changes_nothing() {
    let env = with(&[("infra/all.yaml", INFRA)]);
    let _ = env.run("apply -f infra --quiet").ok();
    let server = env.serve("");
    let fresh = server.with("XDG_STATE_HOME", env.path("other").to_str().unwrap());
    for what in ["--all", "vm --all", "container dns", "pool --all", "storage --all", "user --all"] {
        let text = env.run(&format!("export {what}")).ok().raw;
        env.write("exported.yaml", &text);
        // And for somebody who remembers nothing of it.
        for env in [&env, &fresh] {
            let diff = env.run("diff -f exported.yaml");
            assert_eq!((diff.code, diff.raw.as_str()), (0, ""), "{what}: {diff}\n{text}");
        }
    }
    let json = env.run("export vm app-1 -o json").ok().json();
    assert_eq!((&json["kind"], &json["spec"]["memory"]), (&"VirtualMachine".into(), &"512MiB".into()));
    assert!(json.to_string().find("hunter").is_none() && json["spec"]["cloudInit"].get("password").is_none(), "{json}");
    let _ = env.run("export node --all").exits(2).says(&["there are no manifests of nodes"]);
}

#[test]
fn what_others_changed_is_told_and_kept() {
    let env = with(&[("infra/all.yaml", INFRA)]);
    let _ = env.run("apply -f infra --quiet").ok();
    let _ = env.run("vm update app-1 --description mine --cores 8 --quiet").ok();
    assert_snapshot!(env.run("diff -f infra"), @"
    exit 1
    --- stdout
    ~ vm/201 (app-1) on pve3
        cores: 8 → 2 (at the next start) (somebody changed it: 2 was applied)
        waits for the next start: cores
    ");
    assert_snapshot!(env.run("apply -f infra"), @"
    exit 6
    --- stderr
    error: vm/201 (app-1) was changed by somebody else since: cores is 8 and was applied as 2
    hint: take it into the document (see pvectl export vm app-1), or overrule it: --force
    nothing was sent
    ");
    let _ = env.run("apply -f infra --force --allow-restart --quiet").ok();
    let config = &env.json("vm get app-1")["config"];
    assert_eq!((&config["cores"], &config["description"]), (&2.into(), &"mine".into()));
    let _ = env.run("diff -f infra").ok();
}

#[test]
fn what_left_the_file_goes_and_disks_stay() {
    let env = with(&[("infra/all.yaml", INFRA)]);
    let _ = env.run("apply -f infra --quiet").ok();
    let less = INFRA
        .replace(", scsi1: { storage: local-lvm, size: 1GiB }", "")
        .replace(", tag: 20", "")
        .replace(", tier: front", "")
        .replace("onboot: 1, ", "");
    env.write("infra/all.yaml", &less);
    assert_snapshot!(env.run("apply -f infra --dry-run"), @"
    exit 0
    --- stdout
    ~ vm/201 (app-1) on pve3
        labels.tier: front → not set
        net0.tag: 20 → not set
        onboot: 1 → not set
        scsi1.size: 1G → not set
        scsi1.storage: local-lvm → not set
        scsi1 is detached, and local-lvm:vm-201-disk-1 is kept as an unused disk; --prune-disks destroys it
      PUT /nodes/pve3/qemu/201/config net0=virtio=MAC,bridge=vmbr0 tags=app.shop delete=onboot,scsi1 digest=DIGEST
    --- stderr
    nothing was sent (--dry-run)
    ");
    let _ = env.run("apply -f infra --quiet").ok();
    let config = &env.json("vm get app-1")["config"];
    assert_eq!((&config["tags"], &config["onboot"]), (&"app.shop".into(), &serde_json::Value::Null));
    let volume = config["unused0"].as_str().unwrap().to_owned();
    // That it left is remembered.
    let _ = env.run("apply -f infra --prune-disks").exits(2).says(&["there is no terminal to ask on"]);
    let _ = env.run("apply -f infra --prune-disks --confirm --quiet").ok();
    assert!(env.json("vm get app-1")["config"].get("unused0").is_none(), "{volume}");
    let _ = env.run("diff -f infra").ok();
    // Smaller, elsewhere, another: said before anything is sent.
    for (from, to, needle) in [
        ("size: 4GiB, ssd", "size: 3GiB, ssd", "`scsi0` has 4.00 GiB, and is not made smaller"),
        (
            "scsi0: { storage: local-lvm, size: 4GiB",
            "scsi0: { storage: local, size: 4GiB",
            "is not moved to local by a document",
        ),
    ] {
        env.write("infra/all.yaml", &less.replace(from, to));
        let _ = env.run("apply -f infra").exits(2).says(&[needle, "nothing was sent", "infra/all.yaml:"]);
    }
}

#[test]
fn what_left_the_files_is_pruned_where_that_is_asked_for() {
    let env = with(&[("infra/all.yaml", INFRA)]);
    let _ = env.run("apply -f infra --quiet").ok();
    let rest: Vec<&str> = INFRA.split("---\n").collect();
    env.write("infra/all.yaml", &[rest[1], rest[2]].join("---\n"));
    let _ = env.run("apply -f infra --prune").exits(2);
    let _ = env.run("apply -f infra --prune --selector app=other --confirm --quiet").ok();
    assert_snapshot!(env.run("apply -f infra --prune --selector app=shop --dry-run"), @"
    exit 0
    --- stdout
    - vm/201 (app-1) on pve3
        local-lvm:vm-201-disk-0 is destroyed
        local-lvm:vm-201-disk-1 is destroyed
      POST /nodes/pve3/qemu/201/status/stop
      DELETE /nodes/pve3/qemu/201
    - pool shop
      DELETE /pools poolid=shop
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_snapshot!(env.run("apply -f infra --prune --selector app=shop --confirm --quiet"), @"
    exit 0
    --- stdout
    KIND       NAME   VMID  NODE  VERB    STATUS  CHANGED  EXIT STATUS
    vm         base    200  pve3  none    ok      no       -
    container  cache   202  pve3  none    ok      no       -
    vm         app-1   201  pve3  delete  ok      yes      OK
    pool       shop      -  -     delete  ok      yes      -
    ");
    assert!(env.run("vm list -o name").ok().raw.lines().all(|line| line != "vm/201"));
    let _ = env.run("pool get shop").exits(3);
    let _ = env.run("apply -f infra --prune --all --confirm --quiet").ok();
    // Those before their template, which is not needed any more.
    let _ = env.run("delete -f infra --confirm --quiet").exits(6).says(&["it is running"]);
    let _ = env.run("delete -f infra --confirm --quiet --force").ok();
    let _ = env.run("delete -f infra --confirm --quiet").exits(3);
}

#[test]
fn mistakes_are_told_before_anything_is_sent() {
    let env = with(&[]);
    for (text, code, needles) in [
        ("{bad", 2, &["neither JSON nor YAML"][..]),
        ("name: a\ncores: 2\n", 2, &["no `apiVersion: pvectl/v1`", "vm create -f"]),
        (
            &INFRA.replace("cores", "coers"),
            2,
            &["wrong.yaml:7:3: unknown key `coers` in `spec`", "did you mean `cores`"],
        ),
        (&INFRA.replace("onboot", "onbot"), 2, &["wrong.yaml:12:", "unknown key `onbot`", "onboot"]),
        (&INFRA.replace("bridge: vmbr0, tag", "brigde: vmbr0, tag"), 2, &["unknown part `brigde`", "wrong.yaml:10:"]),
        (
            &INFRA.replace("from: { template: base }", "from: { template: nowhere }"),
            3,
            &["no such vm template: `nowhere`"],
        ),
        (&format!("{INFRA}---\n{INFRA}"), 2, &["is described twice"]),
        (&INFRA.replace("vmid: 201", "vmid: 100"), 6, &["VMID 100 is vm `web-1`"]),
        (&INFRA.replace("what is sold", "'${COMMENT}'"), 2, &["nothing is said of `${COMMENT}`", "--env COMMENT"]),
    ] {
        env.write("wrong.yaml", text);
        env.write("secret", "hunter-2-is-long\n");
        let output = env.run("apply -f wrong.yaml").exits(code).says(needles);
        assert!(!output.to_string().contains("hunter"), "{output}");
    }
    let _ = env.run("apply -f nowhere.yaml").exits(2).says(&["cannot read nowhere.yaml"]);
    let _ = env.run("apply -f .").exits(2);
    let _ = env.run("vm create -f wrong.yaml").exits(2).says(&["this is a manifest", "apply -f"]);
    assert!(env.json("operation list").as_array().unwrap().is_empty());
    // From stdin, with a variable that was named.
    let text = INFRA.split("---\n").last().unwrap().replace("what is sold", "'${COMMENT}'");
    let _ = env.with("COMMENT", "all of it").run_with("apply -f - --env COMMENT --quiet", &text).ok();
    assert_eq!(env.json("pool get shop")["comment"], "all of it");
}

#[test]
fn what_needs_one_that_failed_is_not_begun_and_comes_the_next_time() {
    let watched = format!("{INFRA}---\napiVersion: pvectl/v1\nkind: HaResource\nmetadata: {{ name: 'ct:202' }}\n");
    let failing = watched.replace(
        "  memory: 512MiB\n  disks: { rootfs",
        "  memory: 512MiB\n  options: { description: 'sandbox: start fails' }\n  disks: { rootfs",
    );
    let env = with(&[("infra/all.yaml", &failing)]);
    let _ = env.run("apply -f infra --quiet").exits(1).says(&["was not begun: it needs container", "1 not begun"]);
    let _ = env.run("operation resume 1").exits(6).says(&["goes on where it stands"]);
    let _ = env.run("ha-resource get ct:202");
    env.write("infra/all.yaml", &watched);
    let rows = env.json("apply -f infra --quiet");
    let verbs: Vec<&str> = rows.as_array().unwrap().iter().filter_map(|row| row["verb"].as_str()).collect();
    assert_eq!(verbs.iter().filter(|verb| **verb == "none").count(), 3, "{rows}");
    let _ = env.run("diff -f infra").ok();
}

#[test]
fn a_locked_guest_is_waited_for() {
    let text =
        "apiVersion: pvectl/v1\nkind: VirtualMachine\nmetadata: { name: web-1, vmid: 100 }\nspec: { cores: 3 }\n";
    let server = with(&[("web.yaml", text)]).serve("");
    let root = with_password(&server, "root@pam", "sandbox");
    let lock = |change: &str| root.run(&format!("api put /nodes/pve1/qemu/100/config -p {change}")).ok();
    let _ = lock("lock=backup -p skiplock=1");
    let before = server.changes().len();
    let _ = server.run("apply -f web.yaml").exits(6).says(&["it is locked (backup)", "nothing was sent"]);
    let _ = server
        .run("apply -f web.yaml --wait-lock 300ms")
        .exits(6)
        .says(&["is locked (backup): waiting up to 0.3s for it (--wait-lock)", "nothing was sent"]);
    assert_eq!(server.changes().len(), before);
    let seen = || server.count("GET", "/qemu/100/status/current") + server.count("GET", "/qemu/100/pending");
    let looks = seen();
    let waiting = server.spawn("apply -f web.yaml --wait-lock 60s");
    eventually("it waits", || (seen() >= looks + 3).then_some(()));
    let _ = lock("delete=lock -p skiplock=1");
    let _ = waiting.wait().ok().says(&["waiting up to 60s"]);
    assert_eq!(server.json("vm get 100")["config"]["cores"], 3);
}

#[test]
fn a_guest_that_was_deleted_is_forgotten() {
    let env = with(&[]);
    let of = |more: &str| {
        format!(
            "apiVersion: pvectl/v1\nkind: VirtualMachine\nmetadata: {{ name: web-9, vmid: 900 }}\nspec: {{ memory: 512MiB{more} }}\n"
        )
    };
    env.write("web.yaml", &of(", cores: 2, options: { description: of the file }"));
    let _ = env.run("apply -f web.yaml --quiet").ok();
    let _ = env.run("vm delete 900 --confirm web-9 --quiet").ok();
    // Another one, by hand, with the same number and name: what it has is its own.
    let _ = env.run("vm create --vmid 900 --name web-9 --memory 512 --cores 4 --description mine --quiet").ok();
    env.write("web.yaml", &of(""));
    let _ = env.run("apply -f web.yaml --quiet").ok();
    let config = &env.json("vm get 900")["config"];
    assert_eq!((&config["cores"], &config["description"]), (&4.into(), &"mine".into()), "{config}");
}

#[test]
fn places_of_manifests_are_explained() {
    let env = Env::new();
    assert_snapshot!(env.run("explain manifest.vm.spec.disks.scsi0"), @"
    exit 0
    --- stdout
    spec.disks.*  mapping
      a disk; beside these, every part that PVE knows: ssd, discard, mp, …
      storage  text: the storage a new one is made in
      size  size: how large: 32GiB; it grows, and never shrinks
      volume  text: a volume that exists, instead of storage and size; or none
      cloudInit  true|false: whether it is the cloud-init drive
    Parts: pvectl explain vm.scsi0
    ");
    let _ = env.run("explain manifest.vm.spec.dsks").exits(2).says(&["did you mean `spec.disks`"]);
}

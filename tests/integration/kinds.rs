//! The kinds that are no guests: pools, storages, people and tokens, jobs, HA, mappings, on the sandbox.

mod firewall;
mod network;
mod node;
mod people;
mod settings;

use serde_json::{Value, json};

use crate::harness::Env;

/// What a list has, by name.
fn names(env: &Env, kind: &str) -> Vec<String> {
    env.run(&format!("{kind} -o name")).ok().stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_pool_is_made_filled_emptied_and_removed() {
    let env = Env::new();
    assert_eq!(names(&env, "pool list"), ["pool/prod"]);
    let dry = env.run("pool create dev --comment hello --dry-run").ok();
    assert!(dry.stdout.contains("POST /pools poolid=dev comment=hello"), "{dry}");
    assert_eq!(names(&env, "get pools"), ["pool/prod"]);
    let made = env.json("pool create dev --comment hello");
    let want = json!({
        "kind": "pool", "name": "dev", "node": null, "verb": "create", "status": "ok", "upid": null,
        "exit_status": null, "changed": true, "context": "sandbox",
    });
    assert_eq!(made, want);
    let _ = env.run("pool create dev").exits(6).says(&["cannot create pool dev", "already exists"]);

    let _ = env.run("pool add dev web-2 111 --storage local").ok();
    let pool = env.json("get pool dev");
    let members: Vec<&Value> = pool["members"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert!(members.contains(&&json!("qemu/101")) && members.contains(&&json!("lxc/111")), "{pool}");
    let page = env.run("pool describe dev").ok();
    for part in ["pool dev", "Comment  hello", "Used by", "vm/101 (web-2)", "storage/local"] {
        assert!(page.stdout.contains(part), "`{part}` is missing: {page}");
    }
    // What is in it keeps it, and is told before anything is sent.
    let kept = env.run("pool delete dev --confirm").exits(6);
    let kept = kept.says(&["it is in use by vm/101 (web-2)", "storage/local", "pvectl pool remove dev MEMBER…"]);
    assert!(!kept.stderr.contains("not empty"), "{kept}");
    let _ = env.run("pool remove dev 101 111 --storage local").ok();
    // The server refuses to take out who is not in, or to put in who is: to have it so is what was asked for.
    let out = env.run("pool remove dev 101 -o json").ok().says(&["vm/101 (web-2) is not in it"]);
    assert_eq!(out.json()["changed"], json!(false), "{out}");
    let _ = env.run("pool delete dev").exits(2).says(&["--confirm"]);
    let _ = env.run("pool delete dev --confirm").ok().says(&["✓ pool dev deleted"]);
    let _ = env.run("pool get dve").exits(3).says(&["no such pool: `dve`"]);
    let _ = env.run("pool get prd").exits(3).says(&["no such pool: `prd`", "prod"]);

    let rows = env.json("operation list --target dev");
    let verbs: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["delete", "remove", "add", "create", "create"], "{rows}");
    assert_eq!(rows[0]["target"], "pool/dev");
}

#[test]
fn who_is_in_a_pool_already_is_left_out_and_who_is_in_another_is_told() {
    let env = Env::new();
    let _ = env.run("pool create dev").ok();
    let dry = env.run("pool add dev 103 --storage local --dry-run").ok();
    for part in ["vm/103 (build-1): not set → dev", "PUT /pools poolid=dev vms=103 storage=local"] {
        assert!(dry.stdout.contains(part), "`{part}` is missing: {dry}");
    }
    let _ = env.run("pool add dev 103 --storage local").ok();
    let dry = env.run("pool add dev 103 111 --storage local --dry-run").ok();
    let dry = dry.says(&["vm/103 (build-1) is in it already", "storage/local is in it already"]);
    assert!(dry.stdout.contains("PUT /pools poolid=dev vms=111\n"), "{dry}");
    let _ = env.run("pool create other").ok();
    let _ = env.run("pool add other 103").exits(6).says(&["vm/103 (build-1) is in pool `dev`", "--allow-move"]);
    let _ = env.run("pool add other 103 --allow-move").ok();
    let _ = env.run("pool add other --storage lcoal").exits(3).says(&["no such storage: `lcoal`", "local"]);
    let _ = env.run("pool add nope 103").exits(3).says(&["no such pool: `nope`"]);
    // What the server says is read as what it is.
    let _ = env.run("api put /pools -p poolid=other -p vms=103").exits(6).says(&["already a pool member"]);
    let _ = env.run("pool create other/1").exits(1).says(&["must start with a letter"]);
    let _ = env.run("pool create gone/x").exits(3).says(&["parent 'gone'"]);
}

#[test]
fn only_what_differs_is_sent() {
    let env = Env::new();
    let same = env.run("pool update prod --comment 'what customers see'").ok().says(&["nothing to change"]);
    assert!(same.stdout.contains(" no "), "{same}");
    let dry = env.run("pool update prod --comment new --dry-run").ok();
    for part in ["comment: what customers see → new", "PUT /pools poolid=prod comment=new"] {
        assert!(dry.stdout.contains(part), "`{part}` is missing: {dry}");
    }
    let data = env.json("pool update prod --comment new --dry-run");
    assert_eq!(data["changes"][0], json!({"key": "comment", "before": "what customers see", "after": "new"}));
    let _ = env.run("pool update prod").exits(2).says(&["nothing to change was given"]);
    let _ = env.run("pool update prod --unset comment").ok();
    assert_eq!(env.json("pool get prod")["comment"], "");
    let _ = env.run("pool update prod --set colour=red").exits(2).says(&["unknown parameter `colour`"]);
}

#[test]
fn storages_are_listed_by_node_and_defined_for_all() {
    let env = Env::new();
    let rows = env.json("storage list --sort-by storage,node");
    let row = &rows[0];
    assert_eq!((&row["storage"], &row["node"], &row["type"]), (&json!("local"), &json!("pve1"), &json!("dir")));
    assert!(row["disk"].as_u64().unwrap() < row["maxdisk"].as_u64().unwrap(), "{row}");
    assert_eq!(env.json("storage list --node pve1").as_array().unwrap().len(), 2);
    let _ = env.run("storage list --node pve7").exits(3).says(&["no such node: `pve7`"]);

    let _ = env.run("storage create vms --type dir --path /srv/vms --content images,iso").ok();
    // Another order is no change.
    let _ = env.run("storage update vms --content iso,images").ok().says(&["nothing to change"]);
    let dry = env.run("storage update vms --nodes pve1 --dry-run").ok();
    assert!(dry.stdout.contains("PUT /storage/vms nodes=pve1 digest="), "{dry}");
    let _ = env.run("storage update vms --nodes pve1 --disable").ok();
    let all = env.json("storage list --field-selector storage=vms");
    assert_eq!((&all[0]["status"], &all[0]["node"]), (&json!("disabled"), &Value::Null), "{all}");
    let _ = env.run("storage update vms --unset disable").ok();
    let all = env.json("storage list --field-selector storage=vms");
    assert_eq!((all.as_array().unwrap().len(), &all[0]["node"]), (1, &json!("pve1")), "{all}");
    // Somebody else was faster: refused, with what is there now.
    let late = env.run("storage update vms --content images --set digest=0000").exits(6);
    let _ = late.says(&["detected modified configuration", "what changed meanwhile is not this thing"]);

    let gone = env.run("storage delete local-lvm --dry-run").ok();
    assert!(gone.stdout.contains("stays without it: guest 100 (1 disk)"), "{gone}");
    let _ = env.run("storage delete vms --confirm").ok();
    let _ = env.run("storage create x1 --type dir").exits(7).says(&["missing value for required option 'path'"]);
    let _ = env.run("storage create vgs --type lvm --vgname vg --base local-lvm:vm-100-disk-0").ok();
    let held = env.run("storage delete local-lvm --confirm").exits(6);
    let _ = held.says(&["in use by storage vgs, which is on a volume of it"]);
    let _ = env.run("storage content local --content movies").exits(2);
    let _ = env.run("storage content local --vmid web").exits(2);
    let _ = env.run("storage create x1 --path /srv").exits(2).says(&["`type` is required"]);
    let _ = env.run("storage create x1 --type nsf").exits(2).says(&["`type` `nsf`", "nfs"]);
}

#[test]
fn content_is_what_is_in_a_storage_on_the_nodes() {
    let env = Env::new();
    let rows = env.json("storage content local-lvm --vmid 100");
    let row = &rows[0];
    assert_eq!((&row["volid"], &row["node"]), (&json!("local-lvm:vm-100-disk-0"), &json!("pve1")), "{rows}");
    assert_eq!(rows.as_array().unwrap().len(), 1);
    let templates = names(&env, "storage content local --node pve1 --content vztmpl");
    assert!(templates.iter().all(|name| name.starts_with("local:vztmpl/")), "{templates:?}");
    let _ = env.run("storage content locl").exits(3).says(&["no such storage: `locl`", "local"]);
}

#[test]
fn secrets_of_storages_are_never_shown() {
    let env = Env::new();
    env.write("password", "hunter2secret\n");
    let dry =
        env.run("storage create nas --type cifs --server nas --share vms --username u --password @password --dry-run");
    let dry = dry.ok();
    assert!(dry.stdout.contains("password=***") && !dry.stdout.contains("hunter2"), "{dry}");
    let _ = env.run("storage create nas --type cifs --server nas --share vms --username u --password @password").ok();
    let open = env.run("storage create nas2 --type cifs --server n --share s --password hunter2secret").exits(2);
    assert!(open.stderr.contains("is not taken from the command line") && !open.stderr.contains("hunter2"), "{open}");
    let operations = env.run("operation list -o json").ok();
    assert!(!operations.raw.contains("hunter2"), "{operations}");
    assert!(!env.run("operation show 1 -o json").ok().raw.contains("hunter2"));
}

#[test]
fn backup_jobs_run_on_every_node_that_they_are_about() {
    let env = Env::new();
    let _ = env.run("backup-job create nightly --schedule 02:30 --storage local --vmid 100,101 --mode snapshot").ok();
    let job = env.json("backup-job get nightly");
    assert_eq!((&job["schedule"], &job["vmid"], &job["enabled"]), (&json!("02:30"), &json!("100,101"), &json!(1)));
    let _ = env.run("backup-job update nightly --schedule '*/6:00' --enabled no").ok();
    let _ = env.run("backup-job update nightly --unset mode").ok();
    assert_eq!(env.json("backup-job get nightly").get("mode"), None);
    // What takes no `delete` gets its default.
    let dry = env.run("backup-job update nightly --unset enabled --dry-run").ok();
    assert!(dry.stdout.contains("PUT /cluster/backup/nightly enabled=1\n"), "{dry}");
    let _ = env.run("backup-job update nightly --prune-backups keep-last=3,keep-daily=7").ok();
    let same = env.run("backup-job update nightly --prune-backups keep-daily=7,keep-last=3").ok();
    let _ = same.says(&["nothing to change"]);
    let dry = env.run("backup-job run nightly --dry-run").ok();
    assert!(
        dry.stdout
            .contains("POST /nodes/pve1/vzdump prune-backups=keep-last=3,keep-daily=7 storage=local vmid=100,101"),
        "{dry}"
    );
    let rows = env.json("backup-job run nightly");
    let rows = rows.as_array().unwrap();
    // The third node has none of the guests, and would say OK to nothing.
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in rows {
        let upid = row["upid"].as_str().unwrap();
        assert!(row["status"] == "ok" && upid.contains(":vzdump:") && upid.contains(row["node"].as_str().unwrap()));
    }
    // A job without a name gets one.
    let _ = env.run("backup-job create --all --storage local --schedule daily").ok();
    assert_eq!(env.json("backup-job list").as_array().unwrap().len(), 2);
    let _ = env.run("backup-job create odd --all --storage local").exits(7).says(&["'schedule' were set"]);
    let _ = env.run("backup-job create odd --all --vmid 100 --schedule daily").exits(7).says(&["conflicts with"]);
    let _ = env.run("backup-job update nightly --all").ok();
    assert_eq!(env.json("backup-job get nightly").get("vmid"), None);
    let _ = env.run("backup-job delete nightly --confirm").ok();
    let _ = env.run("backup-job get nightly").exits(3).says(&["no such backup-job: `nightly`"]);
}

#[test]
fn replication_jobs_run_where_their_guest_is() {
    let env = Env::new();
    let _ = env.run("replication create 100-0 --target pve2 --schedule '*/15'").ok();
    assert_eq!(env.json("replication list")[0]["guest"], 100);
    let dry = env.run("replication run 100-0 --dry-run").ok();
    assert!(dry.stdout.contains("POST /nodes/pve1/replication/100-0/schedule_now"), "{dry}");
    let _ = env.run("replication run 100-0").ok();
    let _ = env.run("replication update 100-0 --disable --comment later").ok();
    assert_eq!(env.json("replication get 100-0")["disable"], 1);
    // It is marked, and its node removes it.
    let marked = env.run("replication delete 100-0 --keep --confirm").ok();
    let _ = marked.says(&["its node removes the copies first"]);
    assert_eq!(env.json("replication get 100-0")["remove_job"], "local");
    let _ = env.run("replication create 100-0 --target pve2").exits(6).says(&["already exists"]);
    let forced = env.run("replication delete 100-0 --force --confirm").ok();
    assert!(!forced.stderr.contains("its node removes"), "{forced}");
    let _ = env.run("replication get 100-0").exits(3);
    let _ = env.run("replication create 100-0 --target pve1").exits(1).says(&["must not be identical"]);
    let _ = env.run("replication create 999-0 --target pve1").exits(3).says(&["Guest '999' does not exist"]);
    let _ = env.run("replication create 100 --target pve2").exits(2).says(&["`id` `100`"]);
}

#[test]
fn ha_has_resources_rules_and_a_page() {
    let env = Env::new();
    let _ = env.run("ha resource create vm:100 --state started --max_restart 2").ok();
    let row = env.json("ha resource get vm:100");
    assert_eq!((&row["state"], &row["max_restart"]), (&json!("started"), &json!(2)));
    let dry = env.run("ha resource update vm:100 --state stopped --dry-run").ok();
    assert!(dry.stdout.contains("state: started → stopped") && dry.stdout.contains("digest="), "{dry}");
    let rule = "ha rule create near --type node-affinity --resources vm:100 --nodes pve1:2,pve2";
    let _ = env.run(rule).ok();
    assert_eq!(names(&env, "ha rule list"), ["ha-rule/near"]);
    let page = env.run("ha resource describe vm:100").ok();
    assert!(page.stdout.contains("ha-rule near"), "{page}");
    // A rule's type is not changed, and has to be said all the same.
    let dry = env.run("ha rule update near --nodes pve1 --dry-run").ok();
    assert!(dry.stdout.contains("type=node-affinity"), "{dry}");
    // The server does not listen to `disable=0`: a rule is on again once that is unset.
    let _ = env.run("ha rule update near --disable").ok();
    let dry = env.run("ha rule update near --disable no --dry-run").ok();
    assert!(dry.stdout.contains("delete=disable") && !dry.stdout.contains("disable=0"), "{dry}");
    let _ = env.run("ha rule update near --disable no").ok();
    assert_eq!(env.json("ha rule get near").get("disable"), None);
    let unmanaged = "ha rule create odd --type node-affinity --resources vm:101 --nodes pve1";
    let _ = env.run(unmanaged).exits(1).says(&["cannot use unmanaged resource(s) vm:101."]);
    let status = env.run("ha status").ok();
    assert!(status.stdout.contains("quorum") && status.stdout.contains("vm:100"), "{status}");
    let _ = env.run("ha resource create 101").ok();
    let _ = env.run("ha rule create apart --type resource-affinity --resources vm:100,vm:101 --affinity negative").ok();
    // Whatever it is called, its rules are known: that about it alone goes with it.
    let gone = env.run("ha resource delete 100 --dry-run").ok();
    for part in ["goes with it: ha-rule near", "stays without it: ha-rule apart", "DELETE /cluster/ha/resources/vm:100"]
    {
        assert!(gone.stdout.contains(part), "`{part}` is missing: {gone}");
    }
    let kept = env.run("ha resource delete vm:100 --purge no --dry-run").ok();
    assert!(kept.stdout.contains("stays without it: ha-rule near"), "{kept}");
    let _ = env.run("ha resource delete 100 --confirm").ok();
    let rules = env.json("ha rule list");
    assert_eq!((rules.as_array().unwrap().len(), &rules[0]["resources"]), (1, &json!("vm:101")), "{rules}");
    let _ = env.run("ha resource create 101").exits(6).says(&["already defined"]);
    let _ = env.run("ha resource create vm:999").exits(3);
}

#[test]
fn mappings_have_a_place_for_each_node() {
    let env = Env::new();
    let places = "--map node=pve1,path=0000:01:00.0,id=10de:2204 --map node=pve2,path=0000:02:00.0,id=10de:2204";
    let _ = env.run(&format!("mapping pci create gpu {places}")).ok();
    let row = env.json("mapping pci get gpu");
    assert_eq!(row["map"].as_array().unwrap().len(), 2, "{row}");
    let _ = env.run("mapping pci update gpu --description 'the fast one'").ok();
    let row = env.json("mapping pci get gpu");
    assert_eq!((&row["description"], row["map"].as_array().unwrap().len()), (&json!("the fast one"), 2));
    // What a method requires goes along though it is not changed.
    let _ = env.run("mapping usb create dongle --map node=pve1,id=0529:0001").ok();
    let dry = env.run("mapping usb update dongle --description licence --dry-run").ok();
    assert!(dry.stdout.contains("map=node=pve1,id=0529:0001"), "{dry}");
    let _ = env.run("mapping dir create media --map node=pve1,path=/srv/media").ok();
    assert_eq!(names(&env, "mapping dir list"), ["mapping-dir/media"]);
    let _ = env.run("mapping pci delete gpu --confirm").ok();
    let _ = env.run("mapping pci get gpu").exits(3);
}

#[test]
fn the_cluster_as_a_whole() {
    let env = Env::new();
    let status = env.run("cluster status").ok();
    assert!(status.stdout.contains("pve1") && status.stdout.contains("QUORATE"), "{status}");
    let rows = env.json("cluster resources --type storage");
    assert!(rows.as_array().unwrap().iter().all(|row| row["type"] == "storage"));
    assert_eq!(env.run("cluster next-id").ok().stdout.trim(), "104");
    let _ = env.run("vm start 101").ok();
    let log = env.json("cluster log --limit 1");
    assert!(log[0]["msg"].as_str().unwrap().contains("qmstart"), "{log}");
    let options = env.run("cluster options").ok();
    assert!(options.stdout.contains("mac_prefix"), "{options}");
}

#[test]
fn this_host_has_none_of_them() {
    let env = Env::new();
    for line in ["pool list", "user get ann@pve", "acl list", "permission list", "cluster status", "ha status"] {
        let said = env.run(&format!("{line} --context local")).exits(2);
        assert!(said.stderr.contains("Proxmox VE clusters, and this host is none"), "{line}: {said}");
    }
}

//! `api-resources`: the kinds, and what each backend does for them.

use insta::assert_snapshot;

use crate::harness::Env;

#[test]
fn the_kinds_are_listed_with_what_backends_do() {
    let env = Env::bare();
    assert_snapshot!(env.run("api-resources --verb start"), @"
    exit 0
    --- stdout
    NAME        NOUN       ALIASES     VERBS
    vms         vm         qemu        list,get,describe,create,start,stop,shutdown,restart,reset,pause,resume,suspend,update,rename,add,remove,delete,snapshot,backup,config,clone,cp,migrate,template,resize-disk,move-disk,detach,reassign,import-disk,tag,lock,unlock,metrics,wait,ip,ssh,vnc,spice,exec,file,agent,cloudinit,sendkey,monitor,console,logs
    containers  container  ct,cts,lxc  list,get,describe,create,start,stop,shutdown,restart,pause,resume,update,rename,add,remove,delete,snapshot,backup,config,clone,cp,migrate,template,resize-disk,move-disk,detach,reassign,tag,lock,unlock,metrics,wait,ip,ssh,vnc,spice,console
    ");
    assert_snapshot!(env.run("api-resources -o name"), @"
    exit 0
    --- stdout
    vms
    containers
    tasks
    operations
    nodes
    storages
    backups
    pools
    users
    groups
    roles
    realms
    tokens
    acls
    permissions
    backup-jobs
    replications
    ha-resources
    mappings
    firewall-rules
    clusters
    metric-servers
    images
    networks
    ");
    let rows = env.json("api-resources --backend proxmox");
    let of = |name: &str| rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(
        of("containers")["backends"]["proxmox"]["missing"]["suspend"],
        "Proxmox cannot suspend a container to disk"
    );
    assert_eq!(of("nodes")["paths"], serde_json::json!(["/nodes", "/nodes/{node}"]));
    assert_eq!(of("operations")["backends"], serde_json::json!({}));
    assert_snapshot!(env.run("api-resources --backend cloud-hypervisor -o name"), @"
    exit 0
    --- stdout
    vms
    tasks
    operations
    nodes
    storages
    images
    networks
    ");
    let why = "Cloud Hypervisor runs virtual machines, not containers";
    let all = env.json("api-resources");
    assert_eq!(all[1]["backends"]["cloud-hypervisor"]["verbs"], serde_json::json!([]));
    assert_eq!(all[1]["backends"]["cloud-hypervisor"]["missing"]["list"], why);
    assert_snapshot!(env.run("api-resources --verb suspend -o yaml").stdout.lines().next().unwrap(), @"- name: vms");
    assert_snapshot!(env.run("api-resources --verb strat"), @"
    exit 2
    --- stderr
    error: no kind has a verb `strat`
    hint: did you mean `start` or `status` or `restart`?
    ");
    assert_snapshot!(env.run("api-resources --backend vmware"), @"
    exit 2
    --- stderr
    error: unknown backend `vmware`, known are proxmox, cloud-hypervisor
    ");
}

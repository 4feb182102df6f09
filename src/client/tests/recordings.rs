//! Every typed reader against what a real Proxmox VE 9.2 answered.

use serde::Deserialize;

use super::*;
use crate::model::{ClusterResource, ConfigView, GuestKind, GuestRef, NodeName, TaskSource, TaskStatus, Vmid};

#[derive(Clone, Deserialize)]
struct Recording {
    template: String,
    path: String,
    status: u16,
    body: Value,
}

fn recordings() -> Vec<Recording> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/pve/recordings/get.json");
    let all: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // A few have a text as body; no reader here asks for those.
    all.into_iter()
        .filter_map(|row| serde_json::from_value(row).ok())
        .filter(|row: &Recording| row.status == 200)
        .collect()
}

/// A server that answers every path with its recording, whatever the parameters.
fn recorded() -> Server {
    let all = recordings();
    Server::start(move |_, seen| {
        let target = seen.line.split(' ').nth(1).unwrap();
        let path = target.strip_prefix("/api2/json").unwrap().split('?').next().unwrap();
        match all.iter().find(|row| row.path == path) {
            Some(row) => reply("200 OK", &row.body.to_string()),
            None => reply("501 not recorded", ""),
        }
    })
}

fn paths(template: &str) -> Vec<String> {
    let paths: Vec<String> =
        recordings().into_iter().filter(|row| row.template == template).map(|row| row.path).collect();
    assert!(!paths.is_empty(), "no recording of {template}");
    paths
}

fn guests(what: &str) -> Vec<GuestRef> {
    GuestKind::ALL
        .into_iter()
        .flat_map(|kind| {
            paths(&format!("/nodes/{{node}}/{}/{{vmid}}/{what}", kind.api())).into_iter().map(move |path| {
                let vmid = path.split('/').nth(4).unwrap().parse().unwrap();
                GuestRef { kind, vmid, node: NodeName::new("pve1").unwrap() }
            })
        })
        .collect()
}

#[tokio::test]
async fn the_cluster() {
    let (server, node) = (recorded(), NodeName::new("pve1").unwrap());
    let client = server.client();
    assert_eq!(client.version().await.unwrap().release, "9.2");
    assert!(client.nodes().await.unwrap().iter().any(|row| row.node == node && row.is_online()));
    let status = client.node_status(&node).await.unwrap();
    assert_eq!((status.cpuinfo.unwrap().cpus, status.loadavg), (Some(2), vec![0.6, 0.37, 0.3]));
    let resources = client.resources(None).await.unwrap();
    assert!(resources.iter().all(|row| !matches!(row, ClusterResource::Other(_))) && resources.len() > 5);
    let members = client.cluster_status().await.unwrap();
    assert!(members.iter().any(|member| member.name == "pve1" && member.online == Some(true)));
    assert_eq!(client.pools().await.unwrap()[0].poolid, "prod");
    assert_eq!(client.storage_status(&node, "dir1").await.unwrap().enabled, Some(true));
    assert!(client.storage_configs().await.unwrap().iter().any(|row| row.path.as_deref() == Some("/var/lib/vz2")));
    for kind in GuestKind::ALL {
        assert!(client.node_guests(&node, kind).await.unwrap().iter().any(|row| row.status == "running"), "{kind}");
    }
    assert_eq!(client.next_vmid().await.unwrap(), Vmid::new(104).unwrap());
    assert!(client.permissions(None).await.unwrap().has("/access", "VM.PowerMgmt"));
    assert!(client.storages(&node).await.unwrap().iter().any(|row| row.storage == "dir1" && row.active));
    let volumes = client.volumes(&node, "dir1", None).await.unwrap();
    assert!(volumes.iter().any(|row| row.volid == "dir1:100/vm-100-disk-0.qcow2" && row.size.0 > 0));
}

#[tokio::test]
async fn the_guests() {
    let server = recorded();
    let client = server.client();
    // The recording is of all resources; only guests can be read as guests, and the server filters.
    let all = recordings().into_iter().find(|row| row.path == "/cluster/resources").unwrap();
    let rows = all.body["data"].as_array().unwrap().iter().filter(|row| row.get("vmid").is_some());
    let rows: Vec<crate::model::Guest> = rows.map(|row| serde_json::from_value(row.clone()).unwrap()).collect();
    assert!(rows.len() > 1);
    for guest in guests("status/current") {
        let status = client.guest_status(&guest).await.unwrap();
        assert_eq!(status["vmid"], guest.vmid.get(), "{guest}");
        assert_eq!(client.current_status(&guest).await.unwrap().vmid, guest.vmid, "{guest}");
    }
    for guest in guests("config") {
        for view in [ConfigView::Pending, ConfigView::Current] {
            let config = client.guest_config(&guest, view).await.unwrap();
            assert!(config.digest().is_some(), "{guest}");
            let (vm, ct) = (client.qemu_config(&guest, view).await, client.lxc_config(&guest, view).await);
            let (memory, cores, wrong) = match guest.kind {
                GuestKind::Qemu => (vm.as_ref().unwrap().memory(), vm.unwrap().cores(), ct.unwrap_err()),
                GuestKind::Lxc => (ct.as_ref().unwrap().memory(), ct.unwrap().cores(), vm.unwrap_err()),
            };
            assert!(memory.unwrap().is_some_and(|mib| mib >= 128) && cores.is_ok(), "{guest}");
            assert_eq!(wrong.class(), Class::Usage, "{guest}");
        }
    }
    for guest in guests("pending") {
        let pending = client.guest_pending(&guest).await.unwrap();
        assert!(pending.iter().any(|row| row.key == "memory"), "{guest}");
    }
    let snapshot = client.snapshot_config(&guests("snapshot")[0], "before").await.unwrap();
    assert_eq!(snapshot.text("snaptime").as_deref(), Some("1795177534"));
    for guest in guests("snapshot") {
        assert!(client.snapshots(&guest).await.unwrap().iter().any(crate::model::Snapshot::is_current), "{guest}");
    }
}

#[tokio::test]
async fn the_tasks() {
    let (server, node) = (recorded(), NodeName::new("pve1").unwrap());
    let client = server.client();
    let (rows, total) = client.node_tasks(&node, &TaskFilter::default()).await.unwrap();
    assert!(!rows.is_empty() && total >= rows.len() as u64);
    assert!(!client.cluster_tasks().await.unwrap().is_empty());
    for path in paths("/nodes/{node}/tasks/{upid}/status") {
        let upid: crate::model::Upid = path.split('/').nth(4).unwrap().parse().unwrap();
        let status: TaskStatus = client.task_status(&upid).await.unwrap();
        assert!(status.ended().is_some_and(|end| end.is_success()), "{upid}");
        let log = client.task_log(&upid, 0, 0).await.unwrap();
        assert!(!log.lines.is_empty() && log.total >= log.lines.len() as u64, "{upid}");
    }
}

#[tokio::test]
async fn what_is_asked_for_is_in_the_query() {
    let server = Server::start(|_, _| ok("[]"));
    let (client, node) = (server.client(), NodeName::new("pve1").unwrap());
    client.guests().await.unwrap();
    client.volumes(&node, "a b", Some("iso")).await.unwrap();
    let filter = TaskFilter {
        list: TaskList::All,
        vmid: Some(Vmid::new(100).unwrap()),
        kind: Some("qmstart".to_owned()),
        errors: true,
        since: Some(5),
        limit: Some(0),
        ..TaskFilter::default()
    };
    client.node_tasks(&node, &filter).await.unwrap();
    client.tasks_since(&node, 7, 9).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].is("GET", "/cluster/resources?type=vm"));
    assert!(seen[1].is("GET", "/nodes/pve1/storage/a%20b/content?content=iso"));
    assert!(seen[2].is("GET", "/nodes/pve1/tasks?source=all&vmid=100&typefilter=qmstart&errors=1&since=5&limit=0"));
    assert!(seen[3].line.contains("source=all&since=7&limit=9"), "{}", seen[3].line);
}

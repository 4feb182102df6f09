//! Every call that the client and the backend can build, held against the API description.

use std::collections::BTreeMap;

use pvectl::{
    backends::{ACTIONS, Action, Backend, Proxmox, Step, Support},
    client::{Auth, Client, Endpoint, TaskFilter, TaskList},
    contract::check_call,
    model::{Call, ConfigView, GuestKind, GuestRef, Method, NodeName, Params, ResourceKind, TaskSource, Upid, Vmid},
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

fn client(url: &str, auth: Auth) -> Client {
    Client::builder().endpoint(Endpoint::parse(url).unwrap()).auth(auth).build().unwrap()
}

fn guest(kind: GuestKind) -> GuestRef {
    GuestRef { kind, vmid: Vmid::new(150).unwrap(), node: NodeName::new("pve1").unwrap() }
}

/// Parameters as people give them, and those without which an action is nothing.
fn sample(action: Action, kind: GuestKind) -> Vec<Params> {
    let some = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Params>();
    let none = Params::new;
    match (action, kind) {
        (Action::Create, GuestKind::Qemu) => vec![
            none(),
            some(&[
                ("name", "a"),
                ("cores", "4"),
                ("memory", "8192"),
                ("net0", "virtio,bridge=vmbr0"),
                ("scsi0", "local-lvm:32"),
                ("ide2", "local:iso/d.iso,media=cdrom"),
                ("onboot", "1"),
                ("tags", "a,b"),
            ]),
        ],
        (Action::Create, GuestKind::Lxc) => vec![some(&[
            ("hostname", "a"),
            ("ostemplate", "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"),
            ("rootfs", "local-lvm:8"),
            ("net0", "name=eth0,bridge=vmbr0,ip=dhcp"),
            ("unprivileged", "1"),
        ])],
        (Action::Clone, _) => {
            vec![some(&[("newid", "151")]), some(&[("newid", "151"), ("full", "1"), ("target", "pve2")])]
        }
        (Action::Configure | Action::ConfigureInTask, _) => vec![some(&[
            ("cores", "2"),
            ("delete", "description,tags"),
            ("digest", "989489f970041e2d569569d81c000bb2b5dcb775"),
        ])],
        (Action::Destroy, _) => vec![none(), some(&[("purge", "1"), ("destroy-unreferenced-disks", "1")])],
        (Action::Stop, _) => vec![none(), some(&[("overrule-shutdown", "1")])],
        (Action::Shutdown, _) => vec![none(), some(&[("timeout", "60"), ("forceStop", "1")])],
        (Action::Reboot, _) => vec![none(), some(&[("timeout", "60")])],
        (Action::Suspend, _) => vec![none(), some(&[("statestorage", "local-lvm")])],
        (Action::Start | Action::Reset | Action::Pause | Action::Resume | Action::Template, _) => vec![none()],
        (Action::ResizeDisk, GuestKind::Qemu) => vec![some(&[("disk", "scsi0"), ("size", "+10G")])],
        (Action::ResizeDisk, GuestKind::Lxc) => vec![some(&[("disk", "rootfs"), ("size", "40G")])],
        (Action::Snapshot, GuestKind::Qemu) => {
            vec![some(&[("snapname", "before"), ("description", "a b"), ("vmstate", "1")])]
        }
        (Action::Snapshot, GuestKind::Lxc) => vec![some(&[("snapname", "before")])],
        (Action::SnapshotUpdate, _) => vec![some(&[("snapname", "before"), ("description", "a b")])],
        (Action::Rollback, _) => vec![some(&[("snapname", "before"), ("start", "1")])],
        (Action::Migrate, GuestKind::Qemu) => vec![some(&[
            ("target", "pve2"),
            ("online", "1"),
            ("with-local-disks", "1"),
            ("targetstorage", "local-lvm:fast"),
            ("bwlimit", "1024"),
        ])],
        (Action::Migrate, GuestKind::Lxc) => {
            vec![some(&[("target", "pve2"), ("restart", "1"), ("target-storage", "fast"), ("timeout", "60")])]
        }
        (Action::MoveDisk, _) => vec![
            some(&[("disk", "scsi0"), ("storage", "fast"), ("format", "qcow2"), ("delete", "1")]),
            some(&[("disk", "unused0"), ("target-vmid", "151"), ("target-disk", "scsi1")]),
        ],
        (Action::MoveVolume, _) => vec![
            some(&[("volume", "rootfs"), ("storage", "fast"), ("delete", "1")]),
            some(&[("volume", "mp0"), ("target-vmid", "151"), ("target-volume", "mp1")]),
        ],
        (Action::SnapshotDelete, _) => {
            vec![some(&[("snapname", "before")]), some(&[("snapname", "xy"), ("force", "1")])]
        }
        (Action::Backup, _) => vec![some(&[("storage", "local"), ("mode", "stop"), ("notes-template", "a b")])],
        (Action::Restore, GuestKind::Qemu) => {
            vec![some(&[("archive", "local:backup/vzdump-qemu-150-2026_01_01-00_00_00.vma"), ("force", "1")])]
        }
        (Action::Restore, GuestKind::Lxc) => vec![some(&[
            ("ostemplate", "local:backup/vzdump-lxc-150-2026_01_01-00_00_00.tar"),
            ("restore", "1"),
            ("unique", "1"),
        ])],
        (Action::AgentExec, _) => {
            vec![some(&[("command", "sh"), ("command", "-c"), ("command", "a,b;c"), ("input-data", "\u{c3}\u{bc}")])]
        }
        (Action::AgentWrite, _) => vec![some(&[("file", "/tmp/x"), ("content", "aGFsZg=="), ("encode", "0")])],
        (Action::AgentPassword, _) => {
            vec![some(&[("username", "root"), ("password", "hunter22"), ("crypted", "1")])]
        }
        (Action::AgentFreeze | Action::AgentThaw | Action::AgentTrim | Action::CloudInit, _) => vec![none()],
        (Action::SendKey, _) => vec![some(&[("key", "ctrl-alt-delete")])],
    }
}

#[test]
fn every_step_of_the_backend() {
    let backend = Proxmox::new(client("https://127.0.0.1:8006", Auth::None));
    let mut breaches = Vec::new();
    for (kind, spec) in GuestKind::ALL.into_iter().flat_map(|kind| ACTIONS.iter().map(move |spec| (kind, spec))) {
        for params in sample(spec.action, kind) {
            let built = backend.call(&Step::new(spec.action, guest(kind)).with_params(params));
            match (built, backend.capabilities().support(kind, spec.action)) {
                (Ok(call), Support::Yes) => {
                    if let Err(breach) = check_call(&call) {
                        breaches.push(format!("{call}: {breach}"));
                    }
                }
                (Err(_), Support::No { .. }) => {}
                (built, _) => breaches.push(format!("{kind} {:?}: {built:?} against its capabilities", spec.action)),
            }
        }
    }
    assert_eq!(breaches, [""; 0]);
}

/// The 14 endpoints of the life of guests, and no other spelling of them.
#[test]
fn the_lifecycle_is_complete() {
    let backend = Proxmox::new(client("https://127.0.0.1:8006", Auth::None));
    use Action::{Configure, Create, Destroy, Reboot, Shutdown, Start, Stop};
    let mut lines = Vec::new();
    for kind in GuestKind::ALL {
        for action in [Create, Start, Stop, Shutdown, Reboot, Configure, Destroy] {
            let call = backend.call(&Step::new(action, guest(kind))).unwrap();
            lines.push(format!("{} {}", call.method, call.path));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @"
    POST /nodes/pve1/qemu
    POST /nodes/pve1/qemu/150/status/start
    POST /nodes/pve1/qemu/150/status/stop
    POST /nodes/pve1/qemu/150/status/shutdown
    POST /nodes/pve1/qemu/150/status/reboot
    PUT /nodes/pve1/qemu/150/config
    DELETE /nodes/pve1/qemu/150
    POST /nodes/pve1/lxc
    POST /nodes/pve1/lxc/150/status/start
    POST /nodes/pve1/lxc/150/status/stop
    POST /nodes/pve1/lxc/150/status/shutdown
    POST /nodes/pve1/lxc/150/status/reboot
    PUT /nodes/pve1/lxc/150/config
    DELETE /nodes/pve1/lxc/150
    ");
}

/// A server that says nothing useful, and hears everything.
async fn listener() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_string(r#"{"data":null}"#))
        .mount(&server)
        .await;
    server
}

/// What was heard, as calls.
async fn heard(server: &MockServer) -> Vec<Call> {
    let decode = |pairs: &str| -> Vec<(String, String)> {
        let url = url(&format!("http://x/?{pairs}"));
        url.into_iter().collect()
    };
    let requests = server.received_requests().await.unwrap();
    let calls = requests.iter().map(|request| {
        let method = match request.method.as_str() {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            _ => Method::Delete,
        };
        let body = String::from_utf8_lossy(&request.body);
        let pairs = decode(request.url.query().unwrap_or_default()).into_iter().chain(decode(&body));
        let path = request.url.path().strip_prefix("/api2/json").expect("below the API").to_owned();
        Call::new(method, path).with_params(pairs.collect())
    });
    calls.collect()
}

fn url(text: &str) -> Vec<(String, String)> {
    let parsed = wiremock::http::Url::parse(text).unwrap();
    parsed.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

#[tokio::test]
async fn every_read_of_the_client() {
    let server = listener().await;
    let client = client(&server.uri(), Auth::Token { id: "root@pam!a".to_owned(), secret: "b".into() });
    let node = NodeName::new("pve1").unwrap();
    let upid: Upid = "UPID:pve1:000003EC:00041609:6B003243:qmshutdown:100:root@pam!ci:".parse().unwrap();
    // The answers are nonsense, so every read fails; only what was asked counts.
    let _ = client.version().await;
    let _ = client.guests().await;
    let _ = client.next_vmid().await;
    let _ = client.vmid_is_free(Vmid::new(150).unwrap()).await;
    let _ = client.nodes().await;
    let _ = client.node_status(&node).await;
    for kind in [ResourceKind::Vm, ResourceKind::Storage, ResourceKind::Node, ResourceKind::Sdn] {
        let _ = client.resources(Some(kind)).await;
    }
    let _ = client.resources(None).await;
    let _ = client.cluster_status().await;
    let _ = client.pools().await;
    let _ = client.pool("prod").await;
    let _ = client.storages(&node).await;
    let _ = client.storage_status(&node, "local").await;
    let _ = client.storage_configs().await;
    let _ = client.volumes(&node, "local", None).await;
    let _ = client.volumes(&node, "local", Some("vztmpl")).await;
    let _ = client.permissions(None).await;
    let _ = client.permissions(Some("/vms/100")).await;
    for kind in GuestKind::ALL {
        let guest = guest(kind);
        let _ = client.guest_status(&guest).await;
        let _ = client.current_status(&guest).await;
        let _ = client.node_guests(&node, kind).await;
        let _ = client.qemu_config(&guest, ConfigView::Current).await;
        let _ = client.lxc_config(&guest, ConfigView::Current).await;
        let _ = client.snapshot_config(&guest, "before").await;
        let _ = client.guest_config(&guest, ConfigView::Pending).await;
        let _ = client.guest_config(&guest, ConfigView::Current).await;
        let _ = client.guest_pending(&guest).await;
        let _ = client.snapshots(&guest).await;
    }
    let _ = client.cluster_tasks().await;
    for list in [TaskList::Archive, TaskList::Active, TaskList::All] {
        let filter = TaskFilter {
            list,
            vmid: Some(Vmid::new(100).unwrap()),
            kind: Some("qmstart".to_owned()),
            user: Some("root".to_owned()),
            status: Some("ok,error".to_owned()),
            errors: true,
            since: Some(1),
            until: Some(2),
            start: Some(0),
            limit: Some(50),
        };
        let _ = client.node_tasks(&node, &filter).await;
    }
    let _ = client.tasks_since(&node, 1, 100).await;
    let _ = client.task_status(&upid).await;
    let _ = client.task_log(&upid, 0, 0).await;
    let _ = client.stop_task(&upid).await;
    check(heard(&server).await, 44);
}

#[tokio::test]
async fn the_login() {
    let server = listener().await;
    let auth = Auth::Password { user: "root@pam".to_owned(), password: "secret".into(), second_factor: None };
    let _ = client(&server.uri(), auth).version().await;
    let calls = heard(&server).await;
    assert_eq!(calls[0].path, "/access/ticket");
    check(calls, 1);
}

#[track_caller]
fn check(calls: Vec<Call>, at_least: usize) {
    assert!(calls.len() >= at_least, "only {} calls were heard", calls.len());
    let breaches: BTreeMap<String, String> =
        calls.iter().filter_map(|call| Some((call.to_string(), check_call(call).err()?.to_string()))).collect();
    assert_eq!(breaches, BTreeMap::new());
}

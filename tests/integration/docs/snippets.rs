//! The Rust snippets of the documents, compiled; none is run, for they speak of servers that are not there.
//!
//! Every `rust` block of a document must stand here, line by line.
#![allow(dead_code, reason = "compiling it is the test")]
#![allow(clippy::print_stdout, reason = "a snippet talks to people")]

use std::{fs, sync::Arc};

use pvectl::{
    backends::Proxmox,
    client::{Auth, Client, Endpoint},
    contract::Arguments,
    model::{
        Call, ClusterResource, ConfigView, GuestKind, GuestRef, Method, NullRecorder, Params, Submitted, Upid,
        config::{QemuConfig, qemu},
    },
    ops::{Interrupt, Ops, Outcome, RunOptions, Silent, Target, power_verb},
    tasks::{Follower, Limits, NoWatch},
};

use serde_json::json;

use super::{blocks, documents};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

async fn readme(secret: &str) -> Result<()> {
    let auth = Auth::Token { id: "pvectl@pve!laptop".into(), secret: secret.into() };
    let client = Client::builder().endpoint(Endpoint::parse("https://pve1:8006")?).auth(auth).build()?;

    for guest in client.guests().await? {
        println!("{} {} is {} on {}", guest.vmid, guest.label(), guest.status, guest.node);
    }
    Ok(())
}

async fn client(secret: &str, fingerprint: &str) -> Result<usize> {
    let endpoint = Endpoint::parse("https://pve1:8006")?.with_fingerprint(fingerprint.parse()?);
    let auth = Auth::Token { id: "pvectl@pve!laptop".into(), secret: secret.into() };
    let client = Client::builder().endpoint(endpoint).auth(auth).build()?;

    let guests = client.guests().await?;
    let reply = client.call(Method::Get, "/cluster/status", Params::new()).await?;
    Ok(guests.len() + usize::from(reply.data.is_null()))
}

async fn calls(client: Client) -> Result<()> {
    let guest = Params::new().with("node", "pve1").with("vmid", 100);
    let config = client.call(Method::Get, "/nodes/{node}/qemu/{vmid}/config", guest).await?;
    println!("{}", config.data["cores"]);

    let change = Arguments::json(json!({
        "onboot": true,
        "tags": ["web", "prod"],
        "net0": {"model": "virtio", "bridge": "vmbr0", "tag": 20},
    }))?;
    client.call(Method::Put, "/nodes/pve1/qemu/100/config", change).await?;

    let unchecked = Call::new(Method::Put, "/nodes/pve1/qemu/100/config").with_params(Params::new().with("newer", 1));
    client.send(&unchecked).await?;
    Ok(())
}

async fn tasks(client: Client, upid: Upid) -> Result<()> {
    let follower = Follower::new(Arc::new(Proxmox::new(client)));
    let end = follower.wait(&upid, &Limits::default(), &mut NoWatch).await?;
    assert!(end.is_success());
    Ok(())
}

async fn ops(client: Client) -> Result<Vec<Outcome>> {
    let ops = Ops::new(Arc::new(Proxmox::new(client)), Arc::new(NullRecorder), "lab");
    let found = ops.find(&Target::parse_all(&["web-1", "150-159"])?, GuestKind::Qemu).await?;
    let stop = power_verb("stop", GuestKind::Qemu).ok_or("no such verb")?;
    let mut plans = Vec::new();
    for found in &found {
        plans.push(ops.plan_power(stop, found, &Params::new(), false).await?);
    }
    let outcomes = ops.run(plans, &RunOptions::default(), &Silent, &Interrupt::default()).await;
    Ok(outcomes)
}

async fn typed_configuration(client: Client, guest: GuestRef) -> Result<Params> {
    let before = client.qemu_config(&guest, ConfigView::Current).await?;
    for row in before.nets() {
        let (n, net) = row?;
        println!("net{n} is on {:?}, VLAN {:?}", net.bridge()?, net.tag()?);
    }

    let mut after = before.clone();
    let mut net = after.net(0)?.unwrap_or_default();
    net.set_tag(30)?.set_firewall(true)?;
    after.set_net(0, net).set_memory(8192).set_bios(qemu::Bios::Ovmf);
    after.remove("description");

    let params = after.changes_since(&before);
    Ok(params)
}

async fn typed_create(client: Client) -> Result<Submitted> {
    let mut disk = qemu::Disk::new();
    disk.set_file("local-lvm:32")?.set_ssd(true)?.set_discard(qemu::DiskDiscard::On)?;
    let mut net = qemu::Net::new();
    net.set_model(qemu::NetModel::Virtio)?.set_bridge("vmbr0")?;
    let mut config = QemuConfig::new();
    config.set_name("web-1").set_cores(4).set_memory(4096).set_scsi(0, disk).set_net(0, net);

    let params = config.to_params().with("vmid", client.next_vmid().await?);
    let task = client.submit(&Call::new(Method::Post, "/nodes/pve1/qemu").with_params(params)).await?;
    Ok(task)
}

#[rustfmt::skip]
async fn typed_rows(client: Client) -> Result<()> {
    for resource in client.resources(None).await? {
        match resource {
            ClusterResource::Guest(guest) => println!("{} is {}", guest.label(), guest.status),
            ClusterResource::Storage(storage) => println!("{} has {:?} of {:?} bytes", storage.storage, storage.disk, storage.maxdisk),
            other => println!("a {}", other.kind()),
        }
    }
    Ok(())
}

#[test]
fn snippets_of_the_documents_are_those_that_compile() {
    let lines = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let here = lines(include_str!("snippets.rs"));
    let mut found = 0;
    for path in documents() {
        let document = fs::read_to_string(&path).expect("a document");
        for block in blocks(&document).iter().filter(|block| block.info == "rust") {
            assert!(here.contains(&lines(&block.text)), "{}:{} is not compiled here", path.display(), block.line);
            found += 1;
        }
    }
    assert!(found >= 4, "only {found} snippets were found");
}

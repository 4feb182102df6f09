//! Golden pairs, the walk over the contract's keys, the words of refusals, cloud-init texts, properties.

mod changes;
mod golden;
mod properties;
mod refusals;
mod seed;
mod table;

use serde_json::Value;

use super::{
    super::vmm::config::{ImageType, LandlockConfig},
    *,
};
use crate::model::{Error, Hint, config::QemuConfig};

/// A configuration from its JSON.
fn qemu(config: Value) -> QemuConfig {
    serde_json::from_value(config).unwrap()
}

/// A host of 16 processors and 64 GiB with everything prepared for whatever `config` has.
fn facts(config: &QemuConfig) -> Facts {
    let mut facts = Facts {
        arch: "x86_64".to_owned(),
        host_cpus: 16,
        memory_limit: 64 << 30,
        uuid: "0c8f1c9e-7d6a-4c43-8c0f-3f6f2a7d9b11".to_owned(),
        firmware: Some("/usr/share/cloud-hypervisor/CLOUDHV.fd".into()),
        serial_socket: "/run/pvectl/a1/serial.sock".into(),
        vsock: Some(Vsock { cid: 100, socket: "/run/pvectl/a1/vsock.sock".into() }),
        no_cgroup: Some("nobody makes control groups here".to_owned()),
        ..Facts::default()
    };
    for key in config.as_ref().0.keys() {
        let number = |base| keys::number(key, base);
        let key = if key == "cdrom" { "ide2" } else { key };
        if ["ide", "sata", "scsi", "virtio"].into_iter().any(|base| number(base).is_some()) || key == "ide2" {
            let text = config.as_ref().text(key).unwrap_or_default();
            let format = if text.contains("qcow2") { ImageType::Qcow2 } else { ImageType::Raw };
            let volume = text.split([',', ':']).nth(1).unwrap_or_default();
            let path = format!("/var/lib/pvectl/storage/local/100/{key}-{volume}").into();
            facts.volumes.insert(key.to_owned(), Volume { path, format, size: 20 << 30, backing: false });
        }
        if let Some(n) = number("net") {
            facts.taps.insert(n, Tap { name: format!("tap100i{n}"), bridge_mtu: Some(9000) });
        }
        if let Some(n) = number("virtiofs") {
            facts.virtiofs.insert(n, format!("/run/pvectl/a1/fs{n}.sock").into());
        }
    }
    facts
}

fn mapped(config: Value) -> Mapped {
    let config = qemu(config);
    map(&config, &facts(&config)).unwrap()
}

/// Why a configuration is refused, and the way out.
fn refused(config: Value) -> String {
    let config = qemu(config);
    words(&map(&config, &facts(&config)).unwrap_err())
}

fn words(error: &Error) -> String {
    let mut said = format!("{}: {}", error.class().name(), error.message());
    for hint in error.hints() {
        match hint {
            Hint::Text(text) => said += &format!(" → {text}"),
            Hint::DidYouMean(names) => said += &format!(" → did you mean {}?", names.join(", ")),
            other => said += &format!(" → {other:?}"),
        }
    }
    said
}

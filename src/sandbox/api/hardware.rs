//! What a node is made of and what there is to update: read alone, the same on every node.

use serde_json::json;

use super::{Context, Reply, Route};
use crate::{model::Method::Get, sandbox::world::node::GIB, server::Fault};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/disks/list", disks),
    (Get, "/nodes/{node}/hardware/pci", pci),
    (Get, "/nodes/{node}/hardware/usb", usb),
    (Get, "/nodes/{node}/apt/update", updates),
    (Get, "/nodes/{node}/apt/versions", versions),
];

fn disks(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    let disk = |path: &str, size: u64, used: &str, serial: &str| {
        json!({
            "devpath": path, "size": size, "used": used, "serial": serial, "model": "SANDBOX", "vendor": "unknown",
            "type": "ssd", "health": "PASSED", "wearout": "N/A", "gpt": 1, "rpm": 0, "osdid": -1, "osdid-list": null,
            "wwn": "unknown",
        })
    };
    Ok(Reply::data(vec![
        disk("/dev/nvme0n1", 256 * GIB, "BIOS boot", "SB0001"),
        disk("/dev/nvme1n1", 1024 * GIB, "LVM", "SB0002"),
    ]))
}

fn pci(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    let device =
        |id: &str, class: &str, (vendor, vendor_name): (&str, &str), (device, name): (&str, &str), group: i64| {
            json!({
                "id": id, "class": class, "vendor": vendor, "vendor_name": vendor_name, "device": device,
                "device_name": name, "iommugroup": group, "subsystem_vendor": vendor, "subsystem_device": device,
                "subsystem_vendor_name": vendor_name,
            })
        };
    Ok(Reply::data(vec![
        device("0000:01:00.0", "0x030000", ("0x10de", "NVIDIA Corporation"), ("0x2204", "GA102"), 12),
        device("0000:02:00.0", "0x020000", ("0x8086", "Intel Corporation"), ("0x1521", "I350 Gigabit"), 14),
    ]))
}

fn usb(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    Ok(Reply::data(vec![json!({
        "busnum": 1, "devnum": 2, "port": 1, "level": 1, "class": 0, "vendid": "0529", "prodid": "0001",
        "manufacturer": "Aladdin", "product": "HASP HL", "speed": "12", "usbpath": "1",
    })]))
}

fn updates(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    Ok(Reply::data(vec![json!({
        "Package": "ca-certificates", "Title": "Common CA certificates", "Version": "20250419+deb13u1",
        "OldVersion": "20250419", "Arch": "all", "Origin": "Debian", "Section": "misc", "Priority": "standard",
        "Description": "Contains the certificate authorities shipped with Mozilla's browser.",
    })]))
}

fn versions(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    let package = |name: &str, version: &str| {
        json!({
            "Package": name, "Title": name, "Version": version, "OldVersion": version, "CurrentState": "Installed",
            "Arch": "amd64", "Origin": "Proxmox", "Section": "admin", "Priority": "optional", "Description": name,
        })
    };
    Ok(Reply::data(vec![package("proxmox-ve", "9.2.0"), package("pve-manager", "9.2.11")]))
}

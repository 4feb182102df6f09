//! What others have to have ready before a VMM may use it: a virtiofsd that listens, a PCI device that is free.
//!
//! A VMM that finds no virtiofsd waits for it and answers nobody meanwhile, and of a device that a driver has it says
//! little: so both are looked at before it is asked.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use crate::{
    backends::cloud_hypervisor::{mapping, state::Config},
    model::{Error, Hint, PropertyString, Result, config::QemuConfig},
};

/// Where the kernel lists PCI devices.
const PCI: &str = "/sys/bus/pci/devices";
/// The driver that hands devices to VMMs.
const VFIO: &str = "vfio-pci";

/// The sockets of shared directories, by their number.
///
/// # Errors
/// [`Class::NotFound`](crate::model::Class::NotFound) where nobody listens.
pub(super) fn shares(config: &Config) -> Result<BTreeMap<u16, PathBuf>> {
    let mut found = BTreeMap::new();
    for (key, value) in config {
        let Some(number) = key.strip_prefix("virtiofs").and_then(|number| number.parse::<u16>().ok()) else { continue };
        let Some(served) = config.get(&mapping::note(key)) else { continue };
        let Some(socket) = PropertyString::lenient(served).get("socket").map(PathBuf::from) else { continue };
        if !listens(&socket) {
            return Err(Error::not_found(format!("{key}: nobody listens on {}", socket.display())).with_hint(
                Hint::Text(format!(
                    "start the virtiofsd that serves {value}: `virtiofsd --socket-path={} --shared-dir=…`",
                    socket.display()
                )),
            ));
        }
        found.insert(number, socket);
    }
    Ok(found)
}

/// Whether a socket is listened on. It is not tried: a virtiofsd takes one connection and ends with it.
fn listens(path: &Path) -> bool {
    /// `__SO_ACCEPTCON` in the column of flags.
    const LISTENS: &str = "00010000";
    let is_socket = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let name = path.to_string_lossy();
    is_socket
        && table.lines().skip(1).any(|line| {
            let mut columns = line.split_whitespace();
            columns.nth(3) == Some(LISTENS) && columns.nth(3) == Some(&*name)
        })
}

/// Looks at the PCI devices of a configuration.
///
/// # Errors
/// [`Class::NotFound`](crate::model::Class::NotFound) for one that is not there,
/// [`Class::Conflict`](crate::model::Class::Conflict) for one that the host uses itself.
pub(super) fn check_host_devices(config: &QemuConfig) -> Result<()> {
    for row in config.hostpcis() {
        let (n, device) = row?;
        for address in device.text("host").unwrap_or_default().split(';').filter(|address| !address.is_empty()) {
            let whole = if address.matches(':').count() == 1 { format!("0000:{address}") } else { address.to_owned() };
            check_host_device(&format!("hostpci{n}"), &Path::new(PCI).join(whole))?;
        }
    }
    Ok(())
}

fn check_host_device(key: &str, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !path.exists() {
        return Err(Error::not_found(format!("{key}: this host has no PCI device {name}"))
            .with_hint(Hint::Text(format!("`ls {PCI}` lists them"))));
    }
    let driver = fs::read_link(path.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match driver.as_deref() {
        Some(VFIO) => Ok(()),
        used => {
            let by = used.map_or("no driver has it".to_owned(), |driver| format!("the driver {driver} has it"));
            Err(Error::conflict(format!("{key}: {name} is not ready to be passed through: {by}")).with_hint(
                Hint::Text(format!(
                    "give it to {VFIO}: `modprobe {VFIO}`, `echo {VFIO} > {0}/driver_override`, \
                     `echo {name} > {0}/driver/unbind`, `echo {name} > /sys/bus/pci/drivers_probe`",
                    path.display()
                )),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_counts_while_somebody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("share.sock");
        assert!(!listens(&path));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(listens(&path));
        drop(listener);
        assert!(path.exists() && !listens(&path), "what is left lying is nobody");
        let config: Config = [("virtiofs2", "dirid=a"), ("x-virtiofs2", &format!("socket={}", path.display()))]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        assert!(shares(&config).unwrap_err().message().contains("nobody listens"));
        let _listener = fs::remove_file(&path).and_then(|()| UnixListener::bind(&path)).unwrap();
        assert_eq!(shares(&config).unwrap(), [(2, path)].into());
    }

    #[test]
    fn a_device_has_to_be_there_and_free() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("0000:01:00.0");
        assert!(check_host_device("hostpci0", &device).unwrap_err().message().contains("no PCI device 0000:01:00.0"));
        fs::create_dir(&device).unwrap();
        assert!(check_host_device("hostpci0", &device).unwrap_err().message().contains("no driver has it"));
        let drive = |driver: &str| {
            let _ = fs::remove_file(device.join("driver"));
            std::os::unix::fs::symlink(format!("/sys/bus/pci/drivers/{driver}"), device.join("driver")).unwrap();
        };
        drive("nvme");
        assert!(check_host_device("hostpci0", &device).unwrap_err().message().contains("the driver nvme has it"));
        drive(VFIO);
        check_host_device("hostpci0", &device).unwrap();
    }
}

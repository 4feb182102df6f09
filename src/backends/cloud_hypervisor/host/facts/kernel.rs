//! What the kernel and the machine give: KVM, memory, devices, and what protects one process from another.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, thread};

use landlock::{ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
use rustix::{
    fs::{major, minor},
    process::{geteuid, getuid},
    system::uname,
};
use serde_json::json;

use super::{Fact, size};

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Opens a device for reading and writing, as a VMM does.
pub(super) fn open(path: &str) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).write(true).open(path)
}

/// What stands in `/proc/cpuinfo` about virtualization: the module that drives it.
fn module(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let has = |flag: &str| flags.split_ascii_whitespace().any(|word| word == flag);
    if has("vmx") { Some("kvm_intel") } else { has("svm").then_some("kvm_amd") }
}

pub(super) fn kvm() -> Fact {
    let device = open("/dev/kvm").and_then(|file| file.metadata()).map(|found| found.rdev());
    judge_kvm(device, module(&read("/proc/cpuinfo").unwrap_or_default()))
}

fn judge_kvm(device: io::Result<u64>, module: Option<&str>) -> Fact {
    const NAME: &str = "kvm";
    match device {
        Ok(device) if (major(device), minor(device)) == (10, 232) => Fact::ok(NAME, "/dev/kvm opens").value("/dev/kvm"),
        Ok(_) => Fact::missing(NAME, "/dev/kvm is not the device of KVM")
            .mend("Make it anew: `sudo rm /dev/kvm && sudo mknod /dev/kvm c 10 232 && sudo chmod 660 /dev/kvm`."),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Fact::missing(NAME, "/dev/kvm is there, and this user may not open it")
                .mend("Join its group with `sudo usermod -aG kvm \"$USER\"`, then log in anew.")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fact = Fact::missing(NAME, "there is no /dev/kvm");
            match module {
                Some(module) => fact.mend(format!("Load the module: `sudo modprobe {module}`.")),
                None => fact.mend(
                    "Turn virtualization on: in the settings of the machine's firmware, or as nested virtualization \
                     where this host is a VM itself; `grep -cw 'vmx\\|svm' /proc/cpuinfo` then says more than 0.",
                ),
            }
        }
        Err(error) => Fact::missing(NAME, format!("/dev/kvm does not open: {error}"))
            .mend("See what the kernel says about it: `sudo dmesg | grep -i kvm`."),
    }
}

pub(super) fn nested() -> Fact {
    const NAME: &str = "nested";
    let on = ["kvm_intel", "kvm_amd"].into_iter().find_map(|module| {
        let value = read(&format!("/sys/module/{module}/parameters/nested"))?;
        Some((module, matches!(value.as_str(), "Y" | "1")))
    });
    let guest = read("/proc/cpuinfo").is_some_and(|text| text.contains(" hypervisor"));
    let this = if guest { "; this host is a VM itself" } else { "" };
    let value = |on: Option<bool>| json!({"on": on, "is_guest": guest});
    match on {
        Some((_, true)) => Fact::ok(NAME, format!("guests can have KVM{this}")).value(value(Some(true))),
        Some((module, false)) => Fact::warn(NAME, format!("guests have no KVM of their own{this}"))
            .value(value(Some(false)))
            .mend(format!("With no VM running: `sudo modprobe -r {module} && sudo modprobe {module} nested=1`.")),
        None => Fact::warn(NAME, format!("the modules of KVM do not say whether guests can have KVM{this}"))
            .value(value(None))
            .mend("Nothing has to be done, unless a guest runs VMs itself; `lsmod | grep kvm` lists the modules."),
    }
}

/// Major and minor number of a kernel's release.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

pub(super) fn kernel() -> Fact {
    let text = uname().release().to_string_lossy().into_owned();
    let fact = match release(&text) {
        Some(version) if version >= (5, 13) => Fact::ok("kernel", format!("Linux {text}")),
        _ => Fact::warn("kernel", format!("Linux {text}, and 5.13 is the oldest that Cloud Hypervisor is tested with"))
            .mend("Install a newer kernel of your distribution, on Debian: `sudo apt install linux-image-amd64`."),
    };
    fact.value(text)
}

/// Whether a VMM on this host can lock itself into its files: the kernel is asked for what Cloud Hypervisor asks for,
/// and for nothing less.
pub fn can_confine() -> bool {
    let asked = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    asked.handle_access(AccessFs::from_all(ABI::V3)).and_then(Ruleset::create).is_ok()
}

pub(super) fn landlock() -> Fact {
    judge_landlock(can_confine(), read("/sys/kernel/security/lsm").as_deref())
}

fn judge_landlock(on: bool, modules: Option<&str>) -> Fact {
    const NAME: &str = "landlock";
    let fact = match modules.filter(|modules| !modules.split(',').any(|module| module == NAME)) {
        _ if on => Fact::ok(NAME, "on, ABI 3 or newer"),
        Some(modules) => Fact::warn(NAME, "off: a VMM cannot be confined to its files")
            .mend(format!("Add `lsm=landlock,{modules}` to the kernel's command line and boot anew.")),
        None => Fact::warn(NAME, "off, or the kernel is older than 6.2: a VMM cannot be confined to its files")
            .mend("Install a newer kernel of your distribution, on Debian: `sudo apt install linux-image-amd64`."),
    };
    fact.value(on)
}

/// Whether this process has a capability in force, by its number.
fn has_capability(number: u32) -> bool {
    let status = read("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> number & 1 == 1)
}

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_PTRACE: u32 = 19;

/// Whether this process may make and change network devices.
pub fn may_change_network() -> bool {
    has_capability(CAP_NET_ADMIN)
}

pub(super) fn userfaultfd() -> Fact {
    let by_device = open("/dev/userfaultfd").is_ok();
    let by_setting = read("/proc/sys/vm/unprivileged_userfaultfd").as_deref() == Some("1");
    let how = [
        (has_capability(CAP_SYS_PTRACE), "by privilege"),
        (by_device, "by /dev/userfaultfd"),
        (by_setting, "by setting"),
    ];
    match how.into_iter().find(|(has, _)| *has) {
        Some((_, how)) => Fact::ok("userfaultfd", format!("memory can be restored on demand, {how}")).value(true),
        None => Fact::warn("userfaultfd", "not allowed: memory is read as a whole when a VM is restored")
            .value(false)
            .mend("Allow it: `sudo sysctl -w vm.unprivileged_userfaultfd=1`."),
    }
}

/// A value of `/proc/meminfo`, in bytes.
fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The memory of this host, and how much of it is available, in bytes; `None` for what the kernel does not say.
pub fn memory_bytes() -> (Option<u64>, Option<u64>) {
    let text = read("/proc/meminfo").unwrap_or_default();
    (meminfo(&text, "MemTotal"), meminfo(&text, "MemAvailable"))
}

pub(super) fn memory() -> Fact {
    let (total, free) = memory_bytes();
    let seen = match (total, free) {
        (Some(total), Some(free)) => format!("{} available of {}", size(free), size(total)),
        _ => "/proc/meminfo does not say".to_owned(),
    };
    let fact = if free.is_some_and(|free| free >= 512 << 20) {
        Fact::ok("memory", seen)
    } else {
        Fact::warn("memory", format!("{seen}: too little for a common VM"))
            .mend("See what uses it: `ps aux --sort=-rss | head`.")
    };
    fact.value(json!({"total": total, "available": free}))
}

pub(super) fn cpus() -> Fact {
    match thread::available_parallelism() {
        Ok(count) => Fact::ok("cpus", format!("{count}")).value(count.get()),
        Err(error) => Fact::warn("cpus", format!("cannot be counted: {error}")).mend("Ask the system: `nproc`."),
    }
}

pub(super) fn taps() -> Fact {
    judge_taps(open("/dev/net/tun").map(drop), has_capability(CAP_NET_ADMIN), getuid().as_raw(), geteuid().is_root())
}

fn judge_taps(device: io::Result<()>, may: bool, uid: u32, root: bool) -> Fact {
    const NAME: &str = "taps";
    match device {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Fact::warn(NAME, "there is no /dev/net/tun: no networks")
            .value(false)
            .mend("Load the module: `sudo modprobe tun`."),
        Err(error) => Fact::warn(NAME, format!("/dev/net/tun does not open: {error}"))
            .value(false)
            .mend("Let everybody open it, as is common: `sudo chmod 666 /dev/net/tun`."),
        Ok(()) if may => Fact::ok(NAME, "may be made here").value(true),
        Ok(()) if root => Fact::warn(NAME, "even root may not make any here: CAP_NET_ADMIN is missing")
            .value(false)
            .mend("Give it to the container or unit that this runs in: `systemctl edit UNIT`, `AmbientCapabilities=CAP_NET_ADMIN`."),
        Ok(()) => Fact::warn(NAME, "this user may use those that are prepared, and make none")
            .value(false)
            .mend(format!("Prepare one per interface, or run as root: `sudo ip tuntap add dev tap100i0 mode tap user {uid}`.")),
    }
}

pub(super) fn bridges() -> Fact {
    let devices = fs::read_dir(Path::new("/sys/class/net")).into_iter().flatten().flatten();
    let is_bridge = |path: &Path| path.join("bridge").is_dir();
    let mut names: Vec<String> = devices
        .filter(|entry| is_bridge(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into())
        .collect();
    names.sort();
    let fact = match names.as_slice() {
        [] => Fact::warn("bridges", "none: a VM would have no network")
            .mend("Make one, as root: `pvectl --context local network create lan`."),
        names => Fact::ok("bridges", names.join(", ")),
    };
    fact.value(names)
}

#[cfg(test)]
mod tests {
    use rustix::fs::makedev;

    use super::{super::Status, *};

    fn error<T>(kind: io::ErrorKind) -> io::Result<T> {
        Err(kind.into())
    }

    #[test]
    fn absence_and_permission_of_kvm_are_different_things() {
        use io::ErrorKind::{NotFound, Other, PermissionDenied};
        let device = makedev(10, 232);
        let table = [
            (Ok(device), None, Status::Ok, ""),
            (Ok(makedev(1, 3)), None, Status::Missing, "mknod"),
            (error(PermissionDenied), Some("kvm_intel"), Status::Missing, "usermod -aG kvm"),
            (error(NotFound), Some("kvm_amd"), Status::Missing, "modprobe kvm_amd"),
            (error(NotFound), None, Status::Missing, "firmware"),
            (error(Other), None, Status::Missing, "dmesg"),
        ];
        for (opened, module, status, mend) in table {
            let fact = judge_kvm(opened, module);
            assert_eq!(fact.status, status, "{fact:?}");
            assert!(fact.mend.as_deref().unwrap_or_default().contains(mend), "{fact:?}");
        }
        assert_eq!(module("flags\t\t: fpu vmx ept\n"), Some("kvm_intel"));
        assert_eq!(module("flags\t\t: fpu svm\n"), Some("kvm_amd"));
        assert_eq!(module("flags\t\t: fpu vmx_like\n"), None);
    }

    #[test]
    fn landlock_is_what_the_kernel_says() {
        assert_eq!(judge_landlock(true, None).status, Status::Ok);
        let off = |modules| judge_landlock(false, modules).mend.unwrap();
        assert!(off(Some("lockdown,yama")).contains("lsm=landlock,lockdown,yama"));
        assert!(off(Some("lockdown,landlock")).contains("newer kernel"));
        assert!(off(None).contains("newer kernel"));
    }

    #[test]
    fn releases_and_memory_are_read() {
        assert_eq!(release("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(release("5.10"), Some((5, 10)));
        assert_eq!(release("odd"), None);
        assert_eq!(meminfo("MemTotal:  8 kB\nMemAvailable: 4 kB\n", "MemAvailable"), Some(4096));
        assert_eq!(meminfo("MemTotalX: 8 kB\n", "MemTotal"), None);
    }

    #[test]
    fn taps_need_a_device_and_the_right_to_make_them() {
        assert_eq!(judge_taps(Ok(()), true, 0, true).status, Status::Ok);
        assert!(judge_taps(Ok(()), false, 1000, false).mend.unwrap().contains("user 1000"));
        assert!(judge_taps(Ok(()), false, 0, true).mend.unwrap().contains("CAP_NET_ADMIN"));
        assert!(judge_taps(error(io::ErrorKind::NotFound), true, 0, true).mend.unwrap().contains("modprobe tun"));
    }
}

//! The programs and files that VMs need beside the kernel: the VMM and its version, firmware, helpers.

use std::{
    fmt,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;

use super::{Fact, Look};
use crate::{
    backends::cloud_hypervisor::host::{Groups, process::has_ended, units},
    model::{Error, Hint, Result},
};

/// A version of Cloud Hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `53` in `v53.0`.
    pub major: u32,
    /// `0` in `v53.0`.
    pub minor: u32,
}

impl Version {
    /// Reads what `cloud-hypervisor --version` says: `cloud-hypervisor v53.0.0`, a build between two versions has more
    /// behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split_ascii_whitespace().find_map(|word| word.strip_prefix('v'))?;
        let mut numbers = word.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let major = numbers.next()?.ok()?;
        Some(Self { major, minor: numbers.next().and_then(Result::ok).unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.major, self.minor)
    }
}

/// The oldest version that has everything.
pub const OLDEST: Version = Version { major: 53, minor: 0 };

/// What came with which version.
const CAME_WITH: &[(u32, &str)] = &[
    (52, "memory restored on demand"),
    (52, "a VMM that stays when its guest powers off"),
    (52, "restore of VMs with shared directories"),
    (53, "a start that a left-over socket does not block"),
    (53, "migration in the background"),
];

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the VMM and the firmware are called where they are published, by architecture.
const PUBLISHED: (&str, &str) = if cfg!(target_arch = "aarch64") {
    ("cloud-hypervisor-static-aarch64", "CLOUDHV_EFI.fd")
} else {
    ("cloud-hypervisor-static", "CLOUDHV.fd")
};

fn install() -> String {
    let from = "https://github.com/cloud-hypervisor/cloud-hypervisor/releases/download";
    let to = "/usr/local/bin/cloud-hypervisor";
    format!("Install it: `sudo curl -fLo {to} {from}/{OLDEST}/{} && sudo chmod 755 {to}`.", PUBLISHED.0)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The first of this name in the directories of programs.
fn find(at: &Look, name: &str) -> Option<PathBuf> {
    // An empty entry means the working directory, where nobody should find a program by accident.
    let absolute = at.programs.iter().filter(|directory| directory.is_absolute());
    absolute.map(|directory| directory.join(name)).find(|path| is_program(path))
}

const VMM: &str = "cloud-hypervisor";

/// The VMM: the one that was named, else the first among the programs.
///
/// # Errors
/// [`Class::NotFound`](crate::model::Class::NotFound), saying how to install it.
pub fn find_vmm(at: &Look) -> Result<PathBuf> {
    let missing = || Error::not_found("there is no `cloud-hypervisor` on PATH").with_hint(Hint::Text(install()));
    at.vmm.clone().or_else(|| find(at, VMM)).ok_or_else(missing)
}

/// The firmware: the one that was named, else the first in the usual places.
pub fn find_firmware(at: &Look) -> Option<PathBuf> {
    let own = at.state.join("CLOUDHV.fd");
    match &at.firmware {
        Some(named) => named.is_file().then(|| named.clone()),
        None => FIRMWARE.iter().map(PathBuf::from).chain([own]).find(|path| path.is_file()),
    }
}

pub(super) fn vmm(at: &Look) -> Fact {
    const NAME: &str = VMM;
    let Ok(path) = find_vmm(at) else {
        return Fact::missing(NAME, "not found on PATH").mend(install());
    };
    match asked(&path) {
        Ok(said) => judge_vmm(&path, &said),
        Err(error) => {
            let seen = format!("{} does not say its version: {error}", path.display());
            Fact::missing(NAME, seen).value(json!({"path": path, "version": null})).mend(install())
        }
    }
}

fn judge_vmm(path: &Path, said: &str) -> Fact {
    const NAME: &str = "cloud-hypervisor";
    let Some(version) = Version::parse(said).filter(|_| said.starts_with(NAME)) else {
        let first = said.lines().next().unwrap_or_default();
        let seen = format!("{} is something else, it says `{first}`", path.display());
        return Fact::missing(NAME, seen).value(json!({"path": path, "version": null})).mend(install());
    };
    let seen = format!("{version}, {}", path.display());
    let fact = if version >= OLDEST {
        Fact::ok(NAME, seen)
    } else {
        let missing: Vec<&str> =
            CAME_WITH.iter().filter(|(since, _)| *since > version.major).map(|(_, what)| *what).collect();
        Fact::warn(NAME, format!("{seen}: without {}", missing.join(", "))).mend(install())
    };
    fact.value(json!({"path": path, "version": version.to_string()}))
}

/// The build of this VMM, as it names itself: `v53.0.0`. What one build saved no other can read.
///
/// # Errors
/// If it does not say so.
pub fn build(vmm: &Path) -> io::Result<String> {
    let said = asked(vmm)?;
    let build = said.lines().next().and_then(|line| line.strip_prefix(VMM)).map(str::trim);
    build.map(str::to_owned).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is something else"))
}

/// What a program says with `--version`, in the environment that a VMM has.
fn asked(path: &Path) -> io::Result<String> {
    says(path, "--version")
}

/// What a program says when it is asked in this way.
fn says(path: &Path, question: &str) -> io::Result<String> {
    let mut child = Command::new(path)
        .arg(question)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // It is our child and not waited for yet, so the pid is its.
    let pidfd = i32::try_from(child.id()).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let ended = match pidfd {
        Some(Ok(pidfd)) => has_ended(&pidfd, PATIENCE),
        Some(Err(error)) => Err(error.into()),
        None => Ok(false),
    };
    if !matches!(ended, Ok(true)) {
        child.kill()?;
        child.wait()?;
        return Err(ended.err().unwrap_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "it did not end in time")));
    }
    let status = child.wait()?;
    let mut said = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        // Non-blocking in effect: the writer has ended, and a pipe holds 64 KiB.
        out.by_ref().take(1 << 16).read_to_end(&mut said)?;
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    if status.success() { Ok(said) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

/// Where distributions and people put the firmware.
const FIRMWARE: &[&str] = &[
    "/usr/share/cloud-hypervisor/CLOUDHV.fd",
    "/usr/local/share/cloud-hypervisor/CLOUDHV.fd",
    "/usr/share/edk2/cloudhv/CLOUDHV.fd",
    "/usr/share/edk2-ovmf/x64/CLOUDHV.fd",
    "/usr/share/OVMF/CLOUDHV.fd",
    "/usr/share/qemu/CLOUDHV.fd",
    "/run/current-system/sw/FV/CLOUDHV.fd",
];

pub(super) fn firmware(at: &Look) -> Fact {
    const NAME: &str = "firmware";
    let own = at.state.join("CLOUDHV.fd");
    let url = format!("https://github.com/cloud-hypervisor/edk2/releases/latest/download/{}", PUBLISHED.1);
    let mend = format!("Fetch it: `curl -fL --create-dirs -o {} {url}`.", own.display());
    match (find_firmware(at), &at.firmware) {
        (Some(path), _) => Fact::ok(NAME, path.display().to_string()).value(path.to_string_lossy()),
        (None, Some(named)) => Fact::warn(NAME, format!("there is no {}", named.display())).mend(mend),
        (None, None) => {
            Fact::warn(NAME, "CLOUDHV.fd is in none of the usual places: only VMs with a kernel of their own start")
                .mend(mend)
        }
    }
}

/// The program that shares directories, if there is one: on PATH, or where distributions put it.
pub fn find_virtiofsd(at: &Look) -> Option<PathBuf> {
    const ELSEWHERE: &[&str] = &["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];
    let elsewhere = || ELSEWHERE.iter().map(PathBuf::from).find(|path| is_program(path));
    find(at, "virtiofsd").or_else(elsewhere)
}

const INSTALL_VIRTIOFSD: &str = "Install it, on Debian from version 13 on: `sudo apt install virtiofsd`, or with \
                                 libcap-ng-dev and libseccomp-dev: `cargo install virtiofsd`.";

/// Refuses a virtiofsd that cannot be used: the one in C, which was once part of QEMU, has other options.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) with what it says of itself.
pub fn check_virtiofsd(path: &Path) -> Result<()> {
    let refused = match asked(path) {
        Ok(said) => judge_virtiofsd(&said).err(),
        Err(error) => Some(format!("does not say its version: {error}")),
    };
    match refused {
        None => Ok(()),
        Some(why) => {
            Err(Error::usage(format!("{} {why}", path.display())).with_hint(Hint::Text(INSTALL_VIRTIOFSD.into())))
        }
    }
}

/// Whether a virtiofsd can say what a guest has open, for memory that is saved to go on with. Older ones cannot.
pub fn keeps_open_files(virtiofsd: &Path) -> bool {
    says(virtiofsd, "--help").is_ok_and(|said| said.contains("--migration-mode"))
}

/// What `--version` says, if it is one that can be used; else why it is not. Early ones called themselves `backend`.
fn judge_virtiofsd(said: &str) -> std::result::Result<&str, String> {
    let first = said.lines().next().unwrap_or_default();
    let version = first.strip_prefix("virtiofsd ").map(|rest| rest.strip_prefix("backend ").unwrap_or(rest));
    match version {
        Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => Ok(version),
        Some(version) if version.starts_with("version ") => {
            Err("is the one of old QEMUs, written in C, which has other options".to_owned())
        }
        _ => Err(format!("is something else, it says `{first}`")),
    }
}

pub(super) fn virtiofsd(at: &Look) -> Fact {
    const NAME: &str = "virtiofsd";
    let Some(path) = find_virtiofsd(at) else {
        return Fact::warn(NAME, "not found: directories cannot be shared with guests").mend(INSTALL_VIRTIOFSD);
    };
    let shown = path.display();
    match asked(&path).map_err(|error| format!("does not say its version: {error}")) {
        Ok(said) => match judge_virtiofsd(&said) {
            Ok(version) => Fact::ok(NAME, format!("{version}, {shown}")),
            Err(why) => Fact::warn(NAME, format!("{shown} {why}")).mend(INSTALL_VIRTIOFSD),
        },
        Err(why) => Fact::warn(NAME, format!("{shown} {why}")).mend(INSTALL_VIRTIOFSD),
    }
    .value(path.to_string_lossy())
}

/// The program that sets up address translation, if there is one.
pub fn find_nft(at: &Look) -> Option<PathBuf> {
    find(at, "nft")
}

pub(super) fn nft(at: &Look) -> Fact {
    match find_nft(at) {
        Some(path) => Fact::ok("nft", path.display().to_string()).value(path.to_string_lossy()),
        None => Fact::warn("nft", "not found: no network with address translation can be made")
            .mend("Install it, on Debian: `sudo apt install nftables`."),
    }
}

pub(super) fn groups(at: &Look) -> Fact {
    const NAME: &str = "groups";
    match (at.groups.why_not(), &at.groups) {
        (Some(why), _) => Fact::warn(NAME, format!("cpulimit and cpuunits are not possible: {why}")).value(false).mend(
            "Boot with the second version of control groups (`systemd.unified_cgroup_hierarchy=1`), or name a directory of \
             them that this user may use: `PVECTL_CGROUP_DIR=/sys/fs/cgroup/…`.",
        ),
        (None, Groups::Own(base)) => Fact::ok(NAME, format!("each VMM has one below {}", base.display())).value(true),
        (None, _) => Fact::ok(NAME, "each VMM has one of its own, made by systemd").value(true),
    }
}

pub(super) fn systemd() -> Fact {
    if units::runs() {
        return Fact::ok("systemd", "runs this host").value(true);
    }
    Fact::warn("systemd", "does not run this host: VMs are not started with it")
        .value(false)
        .mend("Start them from what runs this host instead, with `pvectl vm start`.")
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::{super::Status, *};

    #[test]
    fn versions_are_read_as_the_vmm_writes_them() {
        let version = |major, minor| Some(Version { major, minor });
        assert_eq!(Version::parse("cloud-hypervisor v53.0.0\nMigration Protocol Versions: 0\n"), version(53, 0));
        assert_eq!(Version::parse("cloud-hypervisor v51.1"), version(51, 1));
        assert_eq!(Version::parse("cloud-hypervisor v53.0-12-gabcdef-dirty"), version(53, 0));
        assert_eq!(Version::parse("cloud-hypervisor"), None);
        assert_eq!(Version::parse("QEMU emulator version 9.1"), None);
        assert!(Version::parse("x v100.0") > Version::parse("x v53.9"));
    }

    #[test]
    fn an_old_one_is_told_what_it_lacks() {
        let path = Path::new("/usr/bin/cloud-hypervisor");
        assert_eq!(judge_vmm(path, "cloud-hypervisor v53.0.0\n").status, Status::Ok);
        assert_eq!(judge_vmm(path, "cloud-hypervisor v60.1\n").status, Status::Ok);
        let older = judge_vmm(path, "cloud-hypervisor v52.0\n");
        assert_eq!(older.status, Status::Warn);
        assert!(older.seen.contains("left-over socket") && !older.seen.contains("on demand"), "{older:?}");
        assert!(judge_vmm(path, "cloud-hypervisor v48.0\n").seen.contains("on demand"));
        for other in ["", "QEMU emulator version 9.1\n", "cloud-hypervisor of my own\n"] {
            assert_eq!(judge_vmm(path, other).status, Status::Missing, "{other:?}");
        }
    }

    #[test]
    fn the_virtiofsd_in_c_is_told_from_the_other() {
        for (said, version) in [("virtiofsd 1.14.0\n", "1.14.0"), ("virtiofsd backend 1.1.0\n", "1.1.0")] {
            assert_eq!(judge_virtiofsd(said), Ok(version));
        }
        let old = "virtiofsd version 7.2.22 (Debian 1:7.2)\nCopyright (c) 2003-2022 Fabrice Bellard\n";
        assert!(judge_virtiofsd(old).unwrap_err().contains("written in C"));
        for other in ["", "virtiofsd\n", "passt 1.0\n"] {
            assert!(judge_virtiofsd(other).unwrap_err().contains("something else"), "{other:?}");
        }
    }

    fn program(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Right after another test's fork, a program that was just written may be busy for a moment.
    fn patiently(at: &Look) -> Fact {
        loop {
            let fact = vmm(at);
            if !fact.seen.contains("busy") {
                return fact;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_vmm_is_found_asked_and_not_waited_for_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: Option<PathBuf>| Look { programs: vec![directory.path().into()], vmm: name, ..Look::default() };
        assert_eq!(vmm(&at(None)).status, Status::Missing);
        program(directory.path(), "cloud-hypervisor", "echo cloud-hypervisor v53.0");
        assert_eq!(patiently(&at(None)).status, Status::Ok);
        let failing = program(directory.path(), "failing", "exit 3");
        assert!(patiently(&at(Some(failing))).seen.contains("exit status: 3"));
        let begun = Instant::now();
        let hanging = program(directory.path(), "hanging", "exec sleep 600");
        assert!(patiently(&at(Some(hanging))).seen.contains("in time"));
        assert!(begun.elapsed() < Duration::from_secs(60));
        let nothing = patiently(&at(Some(directory.path().join("nothing"))));
        assert_eq!(nothing.status, Status::Missing);
        fs::write(directory.path().join("nft"), "no program").unwrap();
        assert_eq!(nft(&at(None)).status, Status::Warn);
    }

    #[test]
    fn firmware_that_is_named_is_not_searched_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("CLOUDHV.fd");
        let own = Look { state: directory.path().into(), ..Look::default() };
        let named = Look { firmware: Some(directory.path().join("other.fd")), ..own.clone() };
        fs::write(&file, "firmware").unwrap();
        assert_eq!(firmware(&own).status, Status::Ok);
        assert!(firmware(&named).seen.contains("other.fd"));
    }
}

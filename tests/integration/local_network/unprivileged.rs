//! A user with no rights at all: his own VMs from their making to their end, on a tap that was prepared for him.

use std::os::unix::fs::{MetadataExt as _, chown};

use super::*;
use crate::harness::Output;

/// Nobody, on every Linux.
const UID: u32 = 65534;

/// Only root can be somebody else.
pub(super) fn or_say_why_not(test: impl FnOnce()) {
    if !rustix::process::geteuid().is_root() {
        return eprintln!(
            "SKIPPED: who is not root cannot be another user; all the other tests ran without rights then"
        );
    }
    match Command::new("setpriv").args(["--reuid", "65534", "--clear-groups", PVECTL, "version"]).output() {
        Ok(output) if output.status.success() => test(),
        other => eprintln!("SKIPPED: nobody cannot run {PVECTL}: {other:?}"),
    }
}

fn give(path: &Path) {
    chown(path, Some(UID), Some(UID)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

/// A device that everybody may open, in this namespace alone.
fn open_to_all(host: &Host, device: &str, number: [&str; 2]) {
    let own = host.env.path(device.rsplit('/').next().unwrap()).display().to_string();
    for line in [
        format!("mknod {own} c {} {}", number[0], number[1]),
        format!("chmod 666 {own}"),
        format!("mount --bind {own} {device}"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A command line of his; what it says on stderr is behind what it says on stdout.
fn his(host: &Host, line: &str) -> Output {
    let path = format!("PATH={}:/usr/bin:/bin", host.env.path("programs").display());
    let whole = format!("exec {PVECTL} {line} 2>&1");
    let who = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all"];
    let words: Vec<&str> = who.into_iter().chain(["env", &path, "sh", "-c", &whole]).collect();
    host.env.other("setpriv", &words, "").unwrap()
}

fn says(output: Output, parts: &[&str]) -> String {
    let said = output.raw;
    parts.iter().for_each(|part| assert!(said.contains(part), "`{part}` is not in {said}"));
    said
}

/// What stands in backquotes behind `sudo ip`.
fn recipe(said: &str) -> Vec<&str> {
    said.split('`').filter_map(|part| part.strip_prefix("sudo ip ")).collect()
}

fn life(vmm: &Path, real: bool) {
    let host = Host::new(vmm);
    ip("link add vmbr0 type bridge");
    ip("link set vmbr0 up");
    fs::write(host.env.path("image.raw"), vec![0; 1 << 20]).unwrap();
    give(&host.env.path(""));
    if real {
        open_to_all(&host, "/dev/kvm", ["10", "232"]);
        open_to_all(&host, "/dev/net/tun", ["10", "200"]);
    }
    let create = "vm create --memory 256 --kernel kernel --name";
    let _ = his(&host, &format!("{create} web --scsi0 local:1 --net bridge=vmbr0")).ok();
    let said = says(his(&host, "vm start web").exits(5), &["may not make the tap `tap100i0`", "as root"]);
    let commands = recipe(&said);
    assert_eq!(commands.len(), 2, "{said}");
    commands.iter().for_each(|line| drop(ip(line)));

    // One that will not do is told of before anything happens, with all that makes it do.
    for spoil in ["link set tap100i0 nomaster", "link set tap100i0 down"] {
        ip(spoil);
        let said = says(his(&host, "vm start web").exits(5), &["tap100i0` will not do"]);
        recipe(&said).iter().for_each(|line| drop(ip(line)));
    }
    let tap = link("tap100i0").unwrap()["ifindex"].clone();
    let _ = his(&host, "vm start web").ok();
    let pid = host.processes()[0];
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), UID);
    let _ = says(his(&host, "vm list").ok(), &["web", "running"]);
    for line in ["vm pause web", "vm resume web", "vm reset web", "vm snapshot create web one", "vm metrics web"] {
        let _ = his(&host, line).ok();
    }
    // What nobody may make waits, and says what it waits for.
    let said = says(his(&host, "vm add net web --bridge vmbr0").ok(), &["net1: waits for the next start"]);
    assert!(recipe(&said)[0].contains("tap100i1"), "{said}");
    let _ = his(&host, "vm update web --revert net1").ok();
    let _ = his(&host, "vm stop web").ok();
    assert!(host.processes().is_empty());
    assert_eq!(link("tap100i0").unwrap()["ifindex"], tap, "it was not his to remove");
    let _ = says(his(&host, "host gc").ok(), &["nothing was left behind"]);
    let _ = his(&host, "vm snapshot rollback web one --confirm").ok();

    let _ = his(&host, "image pull image.raw --name tiny").ok();
    let _ = his(&host, &format!("{create} two --image tiny --start")).ok();
    let _ = his(&host, "vm cp two three").ok();
    assert_eq!(host.processes().len(), 2);
    let _ = his(&host, "vm delete two three --force --confirm").ok();
    let _ = says(his(&host, "network create lan --no-nat").exits(5), &["may not make network devices"]);
    let _ = his(&host, "vm delete web --confirm").ok();
    let _ = says(his(&host, "host gc --confirm"), &["tap100i0 stays", "sudo ip link delete tap100i0"]);
    assert!(fs::read_dir(host.state().join("vms")).unwrap().next().is_none());
    if real {
        // Without the door to KVM.
        let _ = his(&host, &format!("{create} web")).ok();
        fs::set_permissions("/dev/kvm", fs::Permissions::from_mode(0o600)).unwrap();
        let _ = says(his(&host, "vm start web").exits(9), &["/dev/kvm", "usermod -aG kvm"]);
    }
}

#[test]
#[ignore = "run in a namespace by the test outside"]
fn over_the_stand_in() {
    life(&stand_in(), false);
}

#[test]
#[ignore = "run in a namespace by the test outside"]
fn over_the_real_one() {
    life(&real().unwrap(), true);
}

//! Network cards and networks of this host: real taps and bridges, in a network namespace of their own, with the
//! stand-in and, where it is there, the real Cloud Hypervisor on the taps.
//!
//! The tests that need the namespace are run again inside of one; where there is none they say that they are skipped.

mod networks;
mod unprivileged;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    harness::{PVECTL, eventually},
    local::{Host, real, stand_in},
};

/// Runs an ignored test of this file in a namespace where nobody else is, and its devices are those of `/sys`.
///
/// Gives what it printed; nothing where there is no namespace.
pub(crate) fn apart(test: &str) -> Option<String> {
    let root = rustix::process::geteuid().is_root();
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([if root { "-nm" } else { "-rnm" }, "sh", "-c"]);
        command.arg(format!("mount -t sysfs none /sys && ip link set lo up && {script}"));
        command
    };
    let probe = inside("ip link add probe type bridge && ip tuntap add dev probe1 mode tap").output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {test}: no namespace with bridges and taps to be had here: {probe:?}");
        return None;
    }
    let mut command = inside("exec \"$0\" \"$@\"");
    command.arg(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let both = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{both}");
    assert!(output.status.success() && said.contains("result: ok. 1 passed"), "{both}");
    Some(both)
}

/// The same with a test of this file.
fn here_apart(test: &str) {
    let _ = apart(&format!("local_network::{test}"));
}

#[test]
fn cards_are_plugged_and_pulled_over_the_stand_in() {
    here_apart("inside::cards_over_the_stand_in");
}

#[test]
fn cards_are_plugged_and_pulled_over_the_real_one() {
    match real() {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            here_apart("inside::cards_over_the_real_one");
        }
        None => eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open"),
    }
}

#[test]
fn cards_that_cannot_be_are_refused() {
    here_apart("inside::refusals");
}

#[test]
fn tags_and_trunks_are_the_bridges_vlans() {
    here_apart("inside::vlans");
}

#[test]
fn another_user_lives_without_rights_over_the_stand_in() {
    unprivileged::or_say_why_not(|| here_apart("unprivileged::over_the_stand_in"));
}

#[test]
fn another_user_lives_without_rights_over_the_real_one() {
    match real() {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            unprivileged::or_say_why_not(|| here_apart("unprivileged::over_the_real_one"));
        }
        None => eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open"),
    }
}

#[test]
fn networks_come_go_and_come_again_after_a_boot() {
    here_apart("networks::networks");
}

#[test]
fn guests_get_addresses_that_nobody_else_has() {
    here_apart("networks::addresses");
}

pub(crate) fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A network device as `ip` says it is; `None` without it.
fn link(name: &str) -> Option<Value> {
    let output = Command::new("ip").args(["-d", "-json", "link", "show", "dev", name]).output().unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(links[0].clone()).filter(|link| link.is_object())
}

/// The names of all devices, beside those of a namespace where nobody is.
fn names() -> Vec<String> {
    let links: Vec<Value> = serde_json::from_str(&ip("-json link")).unwrap();
    let names = links.iter().filter_map(|link| link["ifname"].as_str());
    names.filter(|name| !["lo", "vmbr0"].contains(name)).map(str::to_owned).collect()
}

fn is_up(link: &Value) -> bool {
    link["flags"].as_array().unwrap().contains(&json!("UP"))
}

impl Host {
    /// A program beside the VMM, in the place of one that this machine may not have.
    fn program(&self, name: &str, script: &str) {
        let path = self.env.path("programs").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The real `nft`, or one that writes down what it is told, which is given.
    fn nft(&self) -> bool {
        let real = ["/usr/sbin/nft", "/sbin/nft"].into_iter().map(Path::new).find(|path| path.exists());
        match real {
            Some(real) => symlink(real, self.env.path("programs/nft")).unwrap(),
            None => {
                eprintln!("NOT TRIED: the rules, there is no nft");
                let told = self.env.path("told");
                self.program("nft", &format!("#!/bin/sh\n/bin/cat >>{}\n", told.display()));
            }
        }
        real.is_some()
    }

    fn config_of(&self, vm: &str) -> Value {
        self.status(vm)["config"].clone()
    }

    /// The text of a VM's seed that says this.
    fn seed(&self, vmid: u32, has: &str) -> String {
        let vms = fs::read_dir(self.state().join("vms")).unwrap().map(|entry| entry.unwrap().path());
        let mark = format!("tap{vmid}i0");
        let sent = |folder: &Path| fs::read_to_string(folder.join("config.json")).unwrap_or_default();
        let folder = vms.into_iter().find(|folder| sent(folder).contains(&mark)).unwrap();
        let image = String::from_utf8_lossy(&fs::read(folder.join("seed.img")).unwrap()).into_owned();
        let text = image.split('\0').find(|text| text.contains(has));
        text.unwrap_or_else(|| panic!("no `{has}` in the seed of {vmid}")).trim().to_owned()
    }
}

/// From the making of a VM with two cards to its end, with a death in between.
fn cards(vmm: &Path) {
    let host = Host::new(vmm);
    let env = &host.env;
    ip("link add vmbr0 mtu 1400 type bridge");
    ip("link set vmbr0 up");
    let bridge = link("vmbr0").unwrap();
    let nets = "--net bridge=vmbr0 --net1 virtio=BC:24:11:00:00:77,bridge=vmbr0,link_down=1,mtu=1,queues=1,rate=10";
    let _ = env.run(&format!("vm create --name web --memory 256 --kernel kernel {nets}")).ok();
    let config = host.config_of("web");
    let net0 = config["net0"].as_str().unwrap();
    assert!(net0.starts_with("virtio=BC:24:11:") && net0.ends_with(",bridge=vmbr0"), "{net0}");
    assert!(config["net1"].as_str().unwrap().starts_with("virtio=BC:24:11:00:00:77,bridge=vmbr0"), "{config}");
    assert_eq!(names(), [""; 0]);

    let _ = env.run("vm start web").ok();
    let (first, second) = (link("tap100i0").unwrap(), link("tap100i1").unwrap());
    assert!(is_up(&first) && first["master"] == "vmbr0" && first["mtu"] == 1400, "{first}");
    assert!(first["ifalias"].as_str().unwrap().starts_with("pvectl:"), "{first}");
    // The cable is out.
    assert!(!is_up(&second) && second["master"].is_null() && second["mtu"] == 1400, "{second}");
    let folder = fs::read_dir(host.state().join("vms")).unwrap().next().unwrap().unwrap().path();
    let sent: Value = serde_json::from_str(&fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(sent["net"][1]["mac"], "bc:24:11:00:00:77");
    assert_eq!((&sent["net"][1]["mtu"], &sent["net"][1]["tap"]), (&json!(1400), &json!("tap100i1")));
    let index = first["ifindex"].clone();
    let _ = env.run("vm reset web").ok();
    assert_eq!(link("tap100i0").unwrap()["ifindex"], index);
    assert!(!is_up(&link("tap100i1").unwrap()));
    let _ = env.run("vm stop web").ok();
    assert_eq!(names(), [""; 0]);

    // Its VMM dies; whoever comes next takes the taps away, or has new ones.
    let die = || {
        let pid = host.processes()[0];
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        eventually("its process ends", || host.processes().is_empty().then_some(()));
        assert_eq!(names(), ["tap100i0", "tap100i1"]);
    };
    let _ = env.run("vm start web").ok();
    let index = link("tap100i0").unwrap()["ifindex"].clone();
    die();
    let _ = env.run("vm start web").ok();
    let again = link("tap100i0").unwrap();
    assert!(again["master"] == "vmbr0" && again["ifindex"] != index, "{again}");
    // The cable goes in at the next start.
    let _ = env.run("vm update web --net1 virtio=BC:24:11:00:00:77,bridge=vmbr0").ok();
    let _ = env.run("vm stop web").ok();
    let _ = env.run("vm start web").ok();
    let second = link("tap100i1").unwrap();
    assert!(is_up(&second) && second["master"] == "vmbr0", "{second}");
    let _ = env.run("vm stop web").ok();

    // A start that fails leaves nothing.
    fs::rename(env.path("kernel"), env.path("elsewhere")).unwrap();
    let _ = env.run("vm start web").exits(9);
    assert_eq!(names(), [""; 0]);
    fs::rename(env.path("elsewhere"), env.path("kernel")).unwrap();
    let _ = env.run("vm start web").ok();
    die();
    let _ = env.run("vm delete web --confirm").ok();
    assert_eq!(link("vmbr0").unwrap()["ifindex"], bridge["ifindex"]);
    assert_eq!(names(), [""; 0]);
}

mod inside {
    use super::*;

    #[test]
    #[ignore = "run in a namespace by the test outside"]
    fn cards_over_the_stand_in() {
        cards(&stand_in());
    }

    #[test]
    #[ignore = "run in a namespace by the test outside"]
    fn cards_over_the_real_one() {
        cards(&real().unwrap());
    }

    #[test]
    #[ignore = "run in a namespace by the test outside"]
    fn refusals() {
        let host = Host::new(&stand_in());
        let env = &host.env;
        let create = |net: &str| env.run(&format!("vm create --name web --memory 256 --kernel kernel --net0 {net}"));
        let _ = create("virtio,bridge=vmbr0").exits(3).says(&["`vmbr0` does not exist", "this host has no bridge"]);
        ip("link add vmbr0 type bridge");
        ip("link add plain type veth peer name other");
        let _ = create("virtio,bridge=vmbr1").exits(3).says(&["bridges of this host: vmbr0", "network create vmbr1"]);
        let _ = create("virtio,bridge=plain").exits(2).says(&["`plain` is no bridge"]);
        let _ = create("e1000,bridge=vmbr0").exits(2).says(&["net0", "use model=virtio"]);
        let _ = create("virtio").exits(2).says(&["net0 without a bridge", "bridge=NAME"]);
        let _ = create("virtio,bridge=vmbr0,tag=5").exits(2).says(&["VLANs apart", "vlan_filtering 1"]);
        let _ = create("virtio,bridge=vmbr0,mtu=9000").exits(2).says(&["bigger than the bridge MTU '1500'"]);
        let _ = create("virtio,bridge=vmbr0,mtu=600").exits(2).says(&["1280"]);
        let _ = create("virtio=01:00:00:00:00:01,bridge=vmbr0").exits(2);
        assert_eq!(env.run("vm list -o json").ok().json(), json!([]));
        let tasks = env.run("task list -o json").ok().json();
        assert_eq!(tasks, json!([]), "refused before there is a task");

        let _ = create("virtio,bridge=vmbr0").ok();
        let _ = env.run("vm update web --net0 virtio,bridge=vmbr2").exits(3).says(&["vmbr2"]);
        // A device of somebody else's is in the tap's place, and stays there.
        ip("tuntap add dev tap100i0 mode tap");
        let before = link("tap100i0");
        let _ = env.run("vm start web").exits(6).says(&["`tap100i0` is there and is not this VM's", "ip link delete"]);
        assert_eq!(link("tap100i0"), before);
        ip("link del tap100i0");
        // Without the right to make it, and then with one that was prepared as the error says.
        let path = format!("PATH={}:/usr/bin:/bin", env.path("programs").display());
        let weakly = |line: &str| {
            // On stdout nothing is hidden that differs from run to run.
            let whole = format!("exec {PVECTL} {line} 2>&1");
            env.other("setpriv", &["--bounding-set=-net_admin", "env", &path, "sh", "-c", &whole], "")
        };
        let Some(output) = weakly("vm start web") else {
            eprintln!("NOT TRIED: without rights, there is no setpriv");
            return;
        };
        let said = output.exits(5).raw;
        assert!(said.contains("may not make the tap `tap100i0`") && said.contains("as root"), "{said}");
        assert_eq!(link("tap100i0"), None);
        let commands: Vec<&str> = said.split('`').filter_map(|part| part.strip_prefix("sudo ip ")).collect();
        assert_eq!(commands.len(), 2, "{said}");
        commands.iter().for_each(|line| drop(ip(line)));
        let prepared = link("tap100i0").unwrap();
        let _ = weakly("vm start web").unwrap().ok();
        let _ = weakly("vm stop web").unwrap().ok();
        assert_eq!(link("tap100i0").unwrap()["ifindex"], prepared["ifindex"], "it was not ours to remove");
        let _ = env.run("vm delete web --confirm").ok();
    }

    #[test]
    #[ignore = "run in a namespace by the test outside"]
    fn vlans() {
        let made = Command::new("ip")
            .args(["link", "add", "vmbr0", "type", "bridge", "vlan_filtering", "1"])
            .status()
            .unwrap();
        if !made.success() {
            eprintln!("SKIPPED: tags, the bridges of this kernel do not keep VLANs apart");
            return;
        }
        ip("link set vmbr0 up");
        let host = Host::new(&stand_in());
        let nets = "--net0 virtio,bridge=vmbr0,tag=20,trunks=30;40-42";
        let _ = host.env.run(&format!("vm create --name web --memory 256 --kernel kernel {nets}")).ok();
        let _ = host.env.run("vm start web").ok();
        let seen = Command::new("bridge").args(["-compressvlans", "vlan", "show", "dev", "tap100i0"]).output().unwrap();
        let seen = String::from_utf8_lossy(&seen.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(seen.ends_with("tap100i0 20 PVID Egress Untagged 30 40-42"), "{seen}");
        let _ = host.env.run("vm stop web").ok();
    }
}

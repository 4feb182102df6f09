//! Over made-up trees, and over the real one where it is there.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;

fn file(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn text(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap()
}

fn name(generation: u32) -> GroupName {
    GroupName { vm: "100-1a2b3c4d".to_owned(), generation }
}

/// A host with the second version of control groups, by root and without systemd.
fn host() -> (tempfile::TempDir, Surroundings) {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n");
    file(folder.path(), "sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory\n");
    file(folder.path(), "sys/fs/cgroup/cgroup.subtree_control", "memory\n");
    let root = folder.path().to_owned();
    (folder, Surroundings { root, named: None, programs: Vec::new(), runtime: None, uid: 0 })
}

#[test]
fn limits_are_on_the_scale_of_proxmox() {
    let limits = |processors, weight| Limits { processors, weight };
    let table = [
        (limits(None, None), None, None),
        (limits(Some(1.5), Some(50)), Some(150_000), Some(50)),
        (limits(Some(0.001), Some(0)), Some(1000), Some(1)),
        (limits(Some(128.0), Some(262_144)), Some(12_800_000), Some(10_000)),
    ];
    for (limits, quota, weight) in table {
        assert_eq!((limits.quota(PERIOD), limits.weight()), (quota, weight), "{limits:?}");
    }
}

#[test]
fn a_group_of_ones_own_comes_and_goes() {
    let (folder, at) = host();
    let groups = Groups::find(&at);
    let base = folder.path().join("sys/fs/cgroup/pvectl");
    assert_eq!((&groups, groups.why_not()), (&Groups::Own(base.clone()), None));
    assert!(groups.limit(&name(1), &Limits::default()).unwrap_err().message().contains("the next start gives it one"));
    assert!(groups.all().is_empty() && !base.exists(), "looking makes nothing");
    assert!(groups.enter(&name(1), &Limits { processors: Some(0.5), weight: None }, 4711).unwrap());
    assert_eq!(text(folder.path(), "sys/fs/cgroup/cgroup.subtree_control"), "+cpu");
    let group = "sys/fs/cgroup/pvectl/100-1a2b3c4d";
    for (file, wanted) in [("cpu.max", "50000 100000"), ("cpu.weight", "100"), ("cgroup.procs", "4711")] {
        assert_eq!(text(folder.path(), &format!("{group}/{file}")), wanted);
    }
    groups.limit(&name(1), &Limits { processors: None, weight: Some(20) }).unwrap();
    assert_eq!(text(folder.path(), &format!("{group}/cpu.max")), "max 100000");
    assert_eq!(text(folder.path(), &format!("{group}/cpu.weight")), "20");
    let group = folder.path().join(group);
    assert_eq!(groups.all(), [(group.clone(), true)]);
    // The kernel's files go with their directory.
    ["cpu.max", "cpu.weight", "cgroup.procs"].iter().for_each(|file| fs::remove_file(group.join(file)).unwrap());
    assert_eq!(groups.all(), [(group.clone(), false)]);
    groups.leave("100-1a2b3c4d");
    groups.leave("100-1a2b3c4d");
    assert!(!group.exists() && base.exists());
}

#[test]
fn where_there_can_be_none_the_reason_is_said() {
    let why = |change: &dyn Fn(&Path, &mut Surroundings)| {
        let (folder, mut at) = host();
        change(folder.path(), &mut at);
        Groups::find(&at).why_not().unwrap()
    };
    let v1 =
        |root: &Path| file(root, "proc/self/mountinfo", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
    assert!(why(&|root, _| v1(root)).contains("first version alone"));
    assert!(why(&|root, _| file(root, "sys/fs/cgroup/cgroup.controllers", "")).contains("with the first version"));
    assert!(why(&|root, _| file(root, "sys/fs/cgroup/cgroup.type", "domain")).contains("container"));
    assert!(why(&|_, at| at.uid = 1000).contains("only root and systemd"));
    assert!(why(&|_, at| at.named = Some("none".into())).contains("PVECTL_CGROUP_DIR"));
    assert!(why(&|_, at| at.named = Some("/nowhere".into())).contains("`/nowhere`"));
    let systemd = |root: &Path| fs::create_dir_all(root.join("run/systemd/system")).unwrap();
    assert!(why(&|root, _| systemd(root)).contains("busctl"));
    let user = |root: &Path, at: &mut Surroundings| {
        systemd(root);
        file(root, "bin/busctl", "");
        (at.uid, at.programs) = (1000, vec![root.join("bin")]);
    };
    assert!(why(&user).contains("no systemd of his own"));
    let with_bus = |root: &Path, at: &mut Surroundings| {
        user(root, at);
        file(root, "run/user/1000/bus", "");
        at.runtime = Some(root.join("run/user/1000"));
    };
    assert!(why(&with_bus).contains("was not given the control of processors"));
    let (folder, mut at) = host();
    with_bus(folder.path(), &mut at);
    file(folder.path(), "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers", "cpu\n");
    assert_eq!(Groups::find(&at).why_not(), None);
}

#[test]
fn systemd_is_asked_in_its_own_words() {
    let (folder, mut at) = host();
    file(folder.path(), "run/systemd/system/x", "");
    let told = folder.path().join("told");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>{0}\ngrep -q gone {0} && echo 'Unit x not found.' >&2 && exit 1\nexit 0\n",
        told.display()
    );
    // Written by another process: what is open for writing in a child of another test is not run.
    file(folder.path(), "text", &script);
    fs::create_dir(folder.path().join("bin")).unwrap();
    let busctl = folder.path().join("bin/busctl");
    let copied = std::process::Command::new("cp").arg(folder.path().join("text")).arg(&busctl).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&busctl, fs::Permissions::from_mode(0o755)).unwrap();
    at.programs = vec![folder.path().join("bin")];
    let groups = Groups::find(&at);
    assert_eq!(groups, Groups::Systemd(Systemd { busctl, user: false, limits: true }));
    assert!(groups.enter(&name(3), &Limits::default(), 4711).unwrap());
    assert!(groups.enter(&name(4), &Limits { processors: Some(1.5), weight: Some(50) }, 4712).unwrap());
    groups.limit(&name(4), &Limits { processors: None, weight: Some(20) }).unwrap();
    groups.leave("100-1a2b3c4d");
    let manager = "call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";
    let fixed = "Description s Virtual machine of pvectl Slice s pvectl.slice CollectMode s inactive-or-failed Before as 1 \
                 pvectl-guests.service";
    let wanted = [
        format!(
            "--system {manager} StartTransientUnit ssa(sv)a(sa(sv)) pvectl-100-1a2b3c4d-3.scope fail 5 PIDs au 1 4711 {fixed} 0"
        ),
        format!(
            "--system {manager} StartTransientUnit ssa(sv)a(sa(sv)) pvectl-100-1a2b3c4d-4.scope fail 7 PIDs au 1 4712 {fixed} \
             CPUQuotaPerSecUSec t 1500000 CPUWeight t 50 0"
        ),
        format!(
            "--system {manager} SetUnitProperties sba(sv) pvectl-100-1a2b3c4d-4.scope true 2 CPUQuotaPerSecUSec t \
             18446744073709551615 CPUWeight t 20"
        ),
    ];
    let said = fs::read_to_string(&told).unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
    fs::write(&told, "gone\n").unwrap();
    assert!(groups.limit(&name(4), &Limits::default()).unwrap_err().message().contains("no control group of its own"));
}

#[test]
fn the_real_tree_takes_a_process_and_its_limits() {
    let at = Surroundings {
        root: "/".into(),
        named: None,
        programs: Vec::new(),
        runtime: None,
        uid: rustix::process::geteuid().as_raw(),
    };
    let groups = Groups::find(&at);
    let Groups::Own(base) = &groups else {
        return eprintln!("SKIPPED: no control groups of one's own here: {groups:?}");
    };
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let name = GroupName { vm: format!("test-{}", std::process::id()), generation: 1 };
    let entered = groups.enter(&name, &Limits { processors: Some(0.5), weight: Some(50) }, child.id());
    let group = base.join(&name.vm);
    let seen =
        ["cpu.max", "cpu.weight", "cgroup.procs"].map(|file| fs::read_to_string(group.join(file)).unwrap_or_default());
    let changed = groups.limit(&name, &Limits::default());
    let after = fs::read_to_string(group.join("cpu.max")).unwrap_or_default();
    child.kill().unwrap();
    child.wait().unwrap();
    groups.leave(&name.vm);
    assert!(entered.unwrap());
    assert_eq!(seen.each_ref().map(|text| text.trim()), ["50000 100000", "50", &child.id().to_string()]);
    changed.unwrap();
    assert_eq!(after.trim(), "max 100000");
    assert!(!group.exists());
}

//! What is cut short at each step between the intent and its end, and how the next command finds it.
//!
//! Each step is the real one; the cut is that nothing more is done. Over whole processes the same is in
//! `tests/integration/local_snapshots.rs`.

use std::fs;

use super::*;
use crate::{
    backends::cloud_hypervisor::{
        disk::create_raw,
        state::{End, NewVm, Task},
    },
    tasks::TaskSource as _,
};

/// A VM that is off, with two disks of its own.
struct Stage {
    home: tempfile::TempDir,
    local: Local,
    job: Job,
    vm: Vm,
    /// It runs as long as this is there.
    _task: Task,
}

const DISKS: [&str; 2] = ["vm-100-disk-0.raw", "vm-100-disk-1.qcow2"];

impl Stage {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let local = Local::bare(home.path());
        let config = [
            ("scsi0", "local:100/vm-100-disk-0.raw,size=1M"),
            ("virtio1", "local:100/vm-100-disk-1.qcow2"),
            ("ide2", "local:cloudinit,media=cdrom"),
            ("cores", "1"),
        ];
        let config = config.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let (vm, intent) = local.state().create(NewVm::new(config), Draft::new(Verb::Create)).unwrap();
        let settle = Settle::stopped(End::Stopped);
        local.state().settle(vm.vmid, &settle.ending(intent.id, Outcome::Finished)).unwrap();
        let task = local.state().begin_task("qmsnapshot", "100", "root@pam").unwrap();
        let job = Job { log: task.log().clone(), upid: task.upid().clone() };
        let vm = local.state().vm(vm.vmid).unwrap();
        fs::create_dir_all(local.places(&vm).state).unwrap();
        let stage = Self { home, local, job, vm, _task: task };
        fs::create_dir_all(stage.folder()).unwrap();
        for disk in DISKS {
            create_raw(&stage.folder().join(disk), 1 << 20).unwrap();
        }
        stage.write("one");
        stage
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("state/storage/local/images/100")
    }

    fn write(&self, text: &str) {
        DISKS.iter().for_each(|disk| fs::write(self.folder().join(disk), text).unwrap());
    }

    fn read(&self) -> [String; 2] {
        DISKS.map(|disk| fs::read_to_string(self.folder().join(disk)).unwrap())
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !DISKS.contains(&name.as_str()))
            .collect();
        names.sort();
        names
    }

    /// Somebody changes the settings.
    fn set(&self, change: impl FnOnce(&mut Settings)) {
        let change = |vm: &mut Vm| {
            change(&mut vm.settings);
            Ok(())
        };
        self.local.state().configure(self.vm.vmid, None, change).unwrap();
    }

    fn vm(&self) -> Vm {
        self.local.state().vm(self.vm.vmid).unwrap()
    }

    fn params(name: &str) -> Params {
        Params::new().with("snapname", name)
    }

    async fn take(&self, name: &str) {
        self.local.take_snapshot(&self.vm(), Sight::Stopped, &Self::params(name), &self.job).await.unwrap();
    }

    /// What the next command does first. Twice: there is nothing left for the second time.
    async fn mend(&self) -> Vm {
        for _ in 0..2 {
            let (_, sight) = self.local.mend(self.vm.vmid, &self.job).await.unwrap();
            assert_eq!(sight, Sight::Stopped);
        }
        assert_eq!(self.local.state().intent(self.vm.vmid).unwrap(), None);
        self.vm()
    }

    fn begin(&self, verb: Verb, work: Work) -> Intent {
        self.local.state().begin(self.vm.vmid, Draft::new(verb).work(work)).unwrap()
    }
}

/// The files of a snapshot called `a-1`.
const KEPT: [&str; 2] = ["vm-100-disk-0.snap-a-1.raw", "vm-100-disk-1.snap-a-1.qcow2"];

#[tokio::test]
async fn a_snapshot_that_is_cut_short_is_whole_or_not_there() {
    for cut in 0..4 {
        let stage = Stage::new();
        let (local, vm) = (&stage.local, stage.vm());
        let mut copies = local.keeping(local.parts(&vm, &vm.settings.config).unwrap(), "a-1");
        assert_eq!(copies.len(), 2, "the seed is made anew by each start");
        let made = copies.iter().flat_map(Copying::made).collect();
        let mut intent = stage.begin(Verb::Snapshot, Work { made, ..Work::default() });
        if cut == 1 {
            // One is there, and the other one half.
            let second = copies.pop().unwrap();
            fs::write(&second.made()[1], "half").unwrap();
        }
        if cut > 0 {
            local.copy_kept(copies, &stage.job).await.unwrap();
        }
        if cut == 3 {
            local
                .commit(&mut intent, |settings| {
                    settings.snapshots.insert("a-1".into(), SnapshotRow::default());
                })
                .unwrap();
        }
        let vm = stage.mend().await;
        let there = cut == 3;
        assert_eq!(vm.settings.snapshots.contains_key("a-1"), there, "cut {cut}");
        assert_eq!(stage.files(), if there { KEPT.to_vec() } else { Vec::new() }, "cut {cut}");
        assert_eq!(stage.read(), ["one", "one"]);
    }
}

#[tokio::test]
async fn a_rollback_that_is_cut_short_is_done_or_not_begun() {
    for cut in 0..5 {
        let stage = Stage::new();
        let local = &stage.local;
        stage.take("a-1").await;
        stage.write("two");
        stage.set(|settings| drop(settings.config.insert("cores".into(), "2".into())));
        let vm = stage.vm();
        let row = vm.settings.snapshot("a-1").unwrap().clone();
        let parts = local.parts(&vm, &row.config).unwrap();
        let mut copies: Vec<Copying> = parts.iter().map(|part| part.bringing("a-1")).collect();
        let moves: Vec<_> =
            copies.iter().zip(&parts).map(|(copy, part)| (copy.to.clone(), part.path.clone())).collect();
        let made = copies.iter().flat_map(Copying::made).collect();
        let mut intent = stage.begin(Verb::Rollback, Work { made, moves: moves.clone(), ..Work::default() });
        if cut == 1 {
            copies.pop();
        }
        if cut > 0 {
            local.copy_kept(copies, &stage.job).await.unwrap();
        }
        if cut > 2 {
            local.commit(&mut intent, |settings| local.go_back(&vm, settings, "a-1", &row)).unwrap();
        }
        if cut > 3 {
            // One disk is in its place, the other one is not.
            local.carry_out(&vm, &Action::MoveFiles(moves[..1].to_vec())).await.unwrap();
        }
        let vm = stage.mend().await;
        let (text, cores) = if cut > 2 { ("one", "1") } else { ("two", "2") };
        assert_eq!(stage.read(), [text, text], "cut {cut}");
        assert_eq!((vm.settings.get("cores"), vm.settings.get("parent")), (Some(cores), Some("a-1")), "cut {cut}");
        assert_eq!(stage.files(), KEPT, "cut {cut}");
    }
}

#[tokio::test]
async fn a_delete_that_is_cut_short_is_done_or_not_begun() {
    for cut in 0..3 {
        let stage = Stage::new();
        let local = &stage.local;
        stage.take("a-1").await;
        stage.take("b-1").await;
        let vm = stage.vm();
        let drops = local.files_of(&vm, "a-1", vm.settings.snapshot("a-1").unwrap()).unwrap();
        let mut intent = stage.begin(Verb::DeleteSnapshot, Work { drops: drops.clone(), ..Work::default() });
        if cut > 0 {
            local.commit(&mut intent, |settings| forget(settings, "a-1")).unwrap();
        }
        if cut > 1 {
            local.carry_out(&vm, &Action::RemoveFiles(drops[..1].to_vec())).await.unwrap();
        }
        let vm = stage.mend().await;
        let gone = cut > 0;
        assert_eq!(vm.settings.snapshots.contains_key("a-1"), !gone);
        assert_eq!(vm.settings.snapshots["b-1"].parent.as_deref(), if gone { None } else { Some("a-1") });
        assert_eq!(stage.files().len(), if gone { 2 } else { 4 }, "cut {cut}: {:?}", stage.files());
    }
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_not_lost() {
    let stage = Stage::new();
    let local = &stage.local;
    let mut intent = stage.begin(Verb::Snapshot, Work::default());
    stage.set(|settings| drop(settings.config.insert("name".into(), "new".into())));
    local.commit(&mut intent, |settings| drop(settings.config.insert("parent".into(), "a-1".into()))).unwrap();
    let vm = stage.mend().await;
    assert_eq!((vm.settings.get("name"), vm.settings.get("parent")), (Some("new"), Some("a-1")));
}

#[tokio::test]
async fn a_description_outlasts_what_was_left_before_it() {
    let stage = Stage::new();
    let local = &stage.local;
    stage.take("a-1").await;
    let mut intent = stage.begin(Verb::DeleteSnapshot, Work::default());
    local.commit(&mut intent, |settings| drop(settings.config.insert("name".into(), "new".into()))).unwrap();
    let params = Stage::params("a-1").with("description", "before the upgrade");
    local.describe_snapshot(&stage.vm(), &params).await.unwrap();
    let vm = stage.mend().await;
    let told = vm.settings.snapshots["a-1"].description.as_deref();
    assert_eq!((vm.settings.get("name"), told), (Some("new"), Some("before the upgrade")));
}

#[tokio::test]
async fn disks_that_a_snapshot_does_not_know_become_unused() {
    let stage = Stage::new();
    let local = &stage.local;
    stage.take("a-1").await;
    stage.set(|settings| {
        settings.config.remove("virtio1");
        settings.config.insert("scsi3".into(), "local:100/vm-100-disk-2.raw".into());
        settings.config.insert("unused0".into(), "local:100/vm-100-disk-1.qcow2".into());
        settings.pending.insert("cores".into(), Some("8".into()));
    });
    create_raw(&stage.folder().join("vm-100-disk-2.raw"), 1 << 20).unwrap();
    local.roll_back(&stage.vm(), Sight::Stopped, &Stage::params("a-1"), &stage.job).await.unwrap();
    let settings = stage.vm().settings;
    assert_eq!(settings.get("virtio1"), Some("local:100/vm-100-disk-1.qcow2"));
    assert_eq!(settings.get("unused0"), Some("local:100/vm-100-disk-2.raw"));
    assert_eq!((settings.get("scsi3"), settings.get("unused1")), (None, None));
    assert!(settings.pending.is_empty());
    // All of it is the VM's own, and goes with it.
    let owned = local.owned_files(&stage.vm()).unwrap();
    let named = |name: &str| owned.contains(&stage.folder().join(name));
    assert!(DISKS.iter().chain(&KEPT).all(|name| named(name)) && named("vm-100-disk-2.raw"), "{owned:?}");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_before_anything_is_made() {
    let stage = Stage::new();
    let local = &stage.local;
    let refused = async |change: &dyn Fn(&mut Settings), name: &str| {
        stage.set(change);
        let taken = local.take_snapshot(&stage.vm(), Sight::Stopped, &Stage::params(name), &stage.job).await;
        let error = taken.unwrap_err();
        assert_eq!(stage.files(), [""; 0]);
        assert_eq!(local.state().intent(stage.vm.vmid).unwrap(), None);
        (error.class(), error.to_string())
    };
    let foreign = |settings: &mut Settings| drop(settings.config.insert("scsi5".into(), "/data/big.raw".into()));
    let (class, text) = refused(&foreign, "a-1").await;
    assert!(class == Class::Conflict && text.contains("scsi5 is on /data/big.raw"), "{text}");
    for name in ["../x", "", "current", "a/b"] {
        assert_eq!(refused(&|_| (), name).await.0, Class::Usage, "{name}");
    }
    let fixed = |settings: &mut Settings| {
        settings.config.insert("scsi5".into(), "/data/big.raw,ro=1".into());
        settings.config.insert("template".into(), "1".into());
    };
    let (class, text) = refused(&fixed, "a-1").await;
    assert!(class == Class::Conflict && text.contains("it is a template"), "{text}");
    let locked = |settings: &mut Settings| {
        settings.config.remove("template");
        settings.config.insert("lock".into(), "suspended".into());
    };
    assert_eq!(refused(&locked, "a-1").await.0, Class::Conflict);
    stage.set(|settings| drop(settings.config.remove("lock")));
    stage.take("a-1").await;
    assert_eq!(stage.files(), KEPT);
    // A snapshot of which a file is gone is not gone back to in parts.
    fs::remove_file(stage.folder().join(KEPT[1])).unwrap();
    let back = local.roll_back(&stage.vm(), Sight::Stopped, &Stage::params("a-1"), &stage.job).await;
    assert!(back.unwrap_err().to_string().contains("is not whole"));
    assert_eq!(stage.read(), ["one", "one"]);
}

#[tokio::test]
async fn a_copy_that_is_called_off_leaves_nothing() {
    let stage = Stage::new();
    stage.local.stop_task(&stage.job.upid).await.unwrap();
    let taken = stage.local.take_snapshot(&stage.vm(), Sight::Stopped, &Stage::params("a-1"), &stage.job).await;
    assert!(taken.unwrap_err().to_string().contains("interrupt"));
    assert_eq!(stage.files(), [""; 0]);
    assert_eq!(stage.mend().await.settings.snapshots.len(), 0);
}

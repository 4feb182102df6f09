//! Devices lent and given back over a made-up host, cut short between the steps, and whom they are refused to.

use super::*;
use crate::{
    backends::cloud_hypervisor::{
        backend::gc::OrphanKind,
        host::{
            ProcessId,
            made_up_pci::{self, CARD, Tree},
        },
        state::{Draft, End, NewVm, Outcome, Settle, Task, Verb},
    },
    model::{Class, GuestKind, GuestRef, Params},
};

/// A host with a disk that nobody uses, and VMs that are to have it.
struct Stage {
    _home: tempfile::TempDir,
    tree: Tree,
    local: Local,
    job: Job,
    _task: Task,
}

impl Stage {
    fn new() -> Self {
        let (home, tree) = (tempfile::tempdir().unwrap(), made_up_pci::host());
        let local = Local::bare_with(home.path(), tree.pci.clone());
        let task = local.state().begin_task("qmstart", "100", "root@pam").unwrap();
        let job = Job { log: task.log().clone(), upid: task.upid().clone() };
        Self { _home: home, tree, local, job, _task: task }
    }

    fn vm(&self, hostpci: &str) -> Vm {
        let config = [("hostpci0".to_owned(), hostpci.to_owned())].into();
        let (vm, intent) = self.local.state().create(NewVm::new(config), Draft::new(Verb::Create)).unwrap();
        self.settle(&vm, Settle::stopped(End::Stopped).ending(intent.id, Outcome::Finished));
        std::fs::create_dir_all(self.local.places(&vm).state).unwrap();
        self.local.state().vm(vm.vmid).unwrap()
    }

    fn settle(&self, vm: &Vm, settle: Settle) {
        self.local.state().settle(vm.vmid, &settle).unwrap();
    }

    async fn take(&self, vm: &Vm) -> Result<()> {
        self.local.take_devices(vm, &typed(&vm.settings.config)).await
    }

    fn driver(&self) -> Option<String> {
        self.tree.pci.former(CARD).driver
    }

    fn lent(&self) -> Vec<String> {
        self.local.state().lent().unwrap().into_iter().map(|lent| lent.id).collect()
    }

    fn refused(&self, action: Action, vm: &Vm, params: &[(&str, &str)]) -> Result<()> {
        let guest = GuestRef { node: self.local.options().node.clone(), kind: GuestKind::Qemu, vmid: vm.vmid };
        let params: Params = params.iter().copied().collect();
        self.local.refuse_devices(&Step::new(action, guest).with_params(params))
    }
}

#[tokio::test]
async fn a_device_is_lent_for_as_long_as_it_is_used() {
    let stage = Stage::new();
    let vm = stage.vm("01:00.0");
    stage.take(&vm).await.unwrap();
    assert_eq!((stage.driver().as_deref(), stage.lent()), (Some("vfio-pci"), vec!["hostpci0".to_owned()]));
    // Once more, as a start does after one that was cut short: the driver of before is not forgotten.
    stage.take(&vm).await.unwrap();
    stage.local.return_devices(vm.uuid, Some(&["hostpci1".to_owned()])).await.unwrap();
    assert_eq!(stage.lent(), ["hostpci0"]);
    stage.local.return_devices(vm.uuid, None).await.unwrap();
    assert_eq!((stage.driver().as_deref(), stage.lent()), (Some("nvme"), vec![]));
    // What somebody has prepared is used and stays.
    stage.tree.pci.take(CARD).unwrap();
    stage.take(&vm).await.unwrap();
    assert_eq!(stage.lent(), [""; 0]);
    stage.local.return_devices(vm.uuid, None).await.unwrap();
    assert_eq!(stage.driver().as_deref(), Some("vfio-pci"));
}

#[tokio::test]
async fn what_a_killed_command_has_lent_is_given_back_by_the_next() {
    for taken in [false, true] {
        let stage = Stage::new();
        let vm = stage.vm(CARD);
        let intent = stage.local.state().begin(vm.vmid, Draft::new(Verb::Start)).unwrap();
        let Former { driver, prescribed } = stage.tree.pci.former(CARD);
        let lent = Lent { address: CARD.into(), uuid: vm.uuid, id: "hostpci0".into(), driver, prescribed, error: None };
        stage.local.state().lend(&lent).unwrap();
        if taken {
            stage.tree.pci.take(CARD).unwrap();
        }
        stage.local.mend(vm.vmid, &stage.job).await.unwrap();
        assert_eq!((stage.driver().as_deref(), stage.lent()), (Some("nvme"), vec![]), "taken: {taken}");
        assert_eq!(stage.local.state().intent(vm.vmid).unwrap().map(|left| left.id == intent.id), None);
    }
}

#[tokio::test]
async fn what_cannot_be_given_back_is_told_and_found_again() {
    let stage = Stage::new();
    let vm = stage.vm(CARD);
    stage.take(&vm).await.unwrap();
    stage.tree.sulk("nvme", true);
    // It does not keep the VM from coming to rest, and is not tried again and again.
    stage.local.mend(vm.vmid, &stage.job).await.unwrap();
    stage.local.mend(vm.vmid, &stage.job).await.unwrap();
    assert_eq!((stage.driver(), stage.lent().len()), (None, 1));
    let found = stage.local.gc(false).await.unwrap();
    let device = found.iter().find(|orphan| orphan.kind == OrphanKind::Device).unwrap();
    assert_eq!((device.name.as_str(), device.vmid), (CARD, Some(vm.vmid)));
    assert!(device.reason.contains("could not have it back"), "{device:?}");
    stage.tree.sulk("nvme", false);
    let removed = stage.local.gc(true).await.unwrap();
    assert!(removed.iter().any(|orphan| orphan.kind == OrphanKind::Device && orphan.removed), "{removed:?}");
    assert_eq!((stage.driver().as_deref(), stage.lent()), (Some("nvme"), vec![]));
}

#[tokio::test]
async fn one_device_is_with_one_vm_that_runs() {
    let stage = Stage::new();
    let (first, second) = (stage.vm(CARD), stage.vm(CARD));
    stage.refused(Action::Start, &second, &[]).unwrap();
    stage.local.state().begin(first.vmid, Draft::new(Verb::Start)).unwrap();
    stage.take(&first).await.unwrap();
    let me = ProcessId::current().unwrap();
    let intent = stage.local.state().intent(first.vmid).unwrap().unwrap();
    stage.settle(&first, Settle::running(me.clone()).ending(intent.id, Outcome::Finished));
    let error = stage.refused(Action::Start, &second, &[]).unwrap_err();
    assert_eq!((error.class(), error.message()), (Class::Conflict, "hostpci0: vm/100 (VM 100) has 0000:01:00.0"));
    assert_eq!(stage.take(&second).await.unwrap_err().class(), Class::Conflict);
    // Nor one of the same group; but the configuration of one that is off may say so.
    stage.tree.device("0000:01:00.1", "0x040300", "", "7");
    let third = stage.vm("01:00.1");
    assert!(stage.refused(Action::Start, &third, &[]).unwrap_err().message().contains("IOMMU group of 0000:01:00.1"));
    stage.refused(Action::Configure, &second, &[("hostpci1", "01:00.1")]).unwrap();
    stage.refused(Action::Configure, &second, &[("description", "of no device")]).unwrap();
    let error = stage.refused(Action::Configure, &second, &[("hostpci1", "05:00.0")]).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
}

//! What a guest writes is not believed; names note formats and numbers.

use std::os::unix::fs::FileExt as _;

use rustix::fs::inotify;

use super::*;
use crate::{
    backends::cloud_hypervisor::state::{Draft, NewVm, Verb},
    model::Size,
};

fn vm(local: &Local, drives: &[(&str, &str)]) -> Vm {
    let config = drives.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    local.state().create(NewVm::new(config), Draft::new(Verb::Create)).unwrap().0
}

/// Makes the file of a VM's disk, and gives its place.
fn disk_of(local: &Local, vm: &Vm, key: &str, make: impl FnOnce(&Path) -> Result<u64>) -> PathBuf {
    let drive = PropertyString::lenient(vm.settings.get(key).unwrap());
    let path = local.file(volume_of(&drive)).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    make(&path).unwrap();
    path
}

#[test]
fn what_a_guest_writes_into_its_raw_disk_is_not_believed() {
    let home = tempfile::tempdir().unwrap();
    let local = Local::bare(home.path());
    let victim = vm(&local, &[("scsi0", "local:100/vm-100-disk-0.raw")]);
    let evil = vm(&local, &[("scsi0", "local:101/vm-101-disk-0.raw"), ("scsi1", "local:101/vm-101-disk-1.qcow2")]);
    let foreign = disk_of(&local, &victim, "scsi0", |path| disk::create_raw(path, 1 << 20));
    // Right in every respect: the folder is one of ours, the format is said.
    let header = home.path().join("header");
    disk::overlay(&header, &foreign, Format::Raw, None, &local.managed()).unwrap();
    let header = fs::read(&header).unwrap();
    let raw = disk_of(&local, &evil, "scsi0", |path| disk::create_raw(path, 8 << 20));
    disk_of(&local, &evil, "scsi1", |path| disk::create(path, Format::Qcow2, 2 << 20));
    File::options().write(true).open(&raw).unwrap().write_all_at(&header, 0).unwrap();

    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, &foreign, inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS).unwrap();
    let found = local.attached(&evil).unwrap();
    let rows = local.list_volumes(STORAGE, None).unwrap();
    let mut events = [std::mem::MaybeUninit::uninit(); 512];
    let mut events = inotify::Reader::new(&watch, &mut events);
    // The list measures the victim's own disk: that is the one time that it is opened.
    assert!(events.next().unwrap().events().contains(inotify::ReadFlags::OPEN));
    assert_eq!(events.next().err(), Some(rustix::io::Errno::AGAIN));

    let seen = |key: &str| (found[key].format.clone(), found[key].size, found[key].backing);
    assert_eq!(seen("scsi0"), (ImageType::Raw, 8 << 20, false));
    assert_eq!(seen("scsi1"), (ImageType::Qcow2, 2 << 20, false));
    let formats: Vec<_> = rows.iter().map(|row| (row.volid.as_str(), row.size)).collect();
    assert!(formats.contains(&("local:101/vm-101-disk-0.raw", Size(8 << 20))), "{formats:?}");
}

#[test]
fn what_is_noted_as_an_image_leads_nowhere_outside() {
    let home = tempfile::tempdir().unwrap();
    let local = Local::bare(home.path());
    let secret = home.path().join("secret");
    disk::create_raw(&secret, 1 << 20).unwrap();
    let vm = vm(&local, &[("scsi0", "local:100/vm-100-disk-0.qcow2")]);
    let path = disk_of(&local, &vm, "scsi0", |path| {
        disk::overlay(path, &secret, Format::Raw, None, &[home.path().to_owned()])
    });
    let error = local.attached(&vm).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(error.message().contains("outside of pvectl's folders"), "{error}");
    // An image of somebody else's may not name a VM's disk either.
    let (victim, foreign) = (path.with_file_name("vm-100-disk-1.raw"), home.path().join("foreign.qcow2"));
    disk::create_raw(&victim, 1 << 20).unwrap();
    disk::overlay(&foreign, &victim, Format::Raw, None, &local.managed()).unwrap();
    let drive = PropertyString::lenient(foreign.to_str().unwrap());
    assert!(local.look_at(&drive).unwrap_err().message().contains("outside of pvectl's folders"));
    // And raw data is not taken for an image either.
    fs::write(&path, [0; 512]).unwrap();
    assert!(local.attached(&vm).unwrap_err().message().contains("should be qcow2 and is raw"));
}

#[test]
fn the_format_is_in_the_name() {
    let format = |drive: &str| format_of(&PropertyString::lenient(drive));
    for (drive, want) in [
        ("local:100/vm-100-disk-0.raw,size=1G", Format::Raw),
        ("local:100/vm-100-disk-0.qcow2", Format::Qcow2),
        // What the drive says counts for paths of others alone.
        ("local:100/vm-100-disk-0.raw,format=qcow2", Format::Raw),
        ("/srv/disk", Format::Raw),
        ("/srv/disk.img", Format::Raw),
        ("/srv/disk.qcow2", Format::Qcow2),
        ("/srv/disk.vhd", Format::Vhd),
        ("/srv/disk.vhdx", Format::Vhdx),
        ("/srv/disk.img,format=qcow2", Format::Qcow2),
        ("/srv/disk.qcow2,format=raw", Format::Raw),
    ] {
        assert_eq!(format(drive).unwrap(), want, "{drive}");
    }
    assert_eq!(format("/srv/disk,format=vmdk").unwrap_err().class(), Class::Usage);
}

#[test]
fn a_number_is_given_once_whatever_the_format() {
    let home = tempfile::tempdir().unwrap();
    let local = Local::bare(home.path());
    let vmid = Vmid::new(100).unwrap();
    let (first, path) = local.new_volume(vmid, Format::Raw, &[]);
    assert_eq!(first, "local:100/vm-100-disk-0.raw");
    let (second, beside) = local.new_volume(vmid, Format::Qcow2, std::slice::from_ref(&path));
    assert_eq!(second, "local:100/vm-100-disk-1.qcow2");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path.with_file_name("base-100-disk-0.raw"), "").unwrap();
    assert_eq!(local.new_volume(vmid, Format::Raw, &[beside]).0, "local:100/vm-100-disk-2.raw");
}

//! What becomes of disks of this host that are detached, left over or lain over.

use std::{
    fs::{self, File},
    path::Path,
};

use serde_json::json;

use crate::{
    local::{Host, stand_in},
    local_disks::{GIB, files_below, sent},
};

#[test]
fn a_disk_that_is_detached_stays_until_it_is_unset_again() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let disks = "--scsi0 local:1 --scsi1 local:1 --scsi2 local:1";
    let _ = env.run(&format!("vm create --name a --memory 256 --kernel kernel {disks}")).ok();
    let images = host.state().join("storage/local/images/100");
    let file = |n: u32| images.join(format!("vm-100-disk-{n}.raw"));
    let config = |key: &str| host.status("a")["config"].get(key).cloned();
    let _ = env.run("vm update a --unset scsi1").ok();
    assert_eq!((config("scsi1"), config("unused0")), (None, Some(json!("local:100/vm-100-disk-1.raw"))));
    assert!(file(1).exists());
    // Attached again, it is the same disk.
    let _ = env.run("vm update a --scsi1 local:100/vm-100-disk-1.raw").ok();
    assert_eq!(config("unused0"), None);
    let _ = env.run("vm update a --unset scsi1").ok();
    let _ = env.run("vm update a --set protection=1").ok();
    let _ = env.run("vm update a --unset unused0").exits(6).says(&["it is protected, and unused0 is a disk of it"]);
    // Who does not want to be warned is refused by the backend.
    let refused = env.run("vm update a --unset unused0 --no-checks").exits(6);
    let _ = refused.says(&["can't remove unused disk 'unused0' - protection mode"]);
    assert!(file(1).exists());
    let _ = env.run("vm update a --set protection=0").ok();
    let _ = env.run("vm update a --unset unused0 --dry-run").ok();
    let _ = env.run("vm update a --unset unused0").ok();
    assert!(!file(1).exists() && config("unused0").is_none());
    assert!(file(0).exists() && file(2).exists());

    // Of a VM that runs it goes with the next start.
    let _ = env.run("vm start a").ok();
    let _ = env.run("vm update a --unset scsi2").ok();
    assert!(config("unused0").is_none() && sent(&host, "scsi2").len() == 1);
    let _ = env.run("vm stop a").ok();
    let _ = env.run("vm start a").ok();
    assert_eq!((config("scsi2"), config("unused0")), (None, Some(json!("local:100/vm-100-disk-2.raw"))));
    let stray = images.join("vm-100-disk-9.raw");
    fs::write(&stray, [0; 512]).unwrap();
    let _ = env.run("vm delete a --force --confirm").ok();
    assert!(!file(0).exists() && !file(2).exists());
    assert!(stray.exists(), "nothing names it, and nobody asked for it");
}

#[test]
fn files_that_nothing_names_go_when_that_is_asked_for() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run("vm create --name a --memory 256 --kernel kernel --scsi0 local:1").ok();
    let images = host.state().join("storage/local/images/100");
    fs::write(images.join("vm-100-disk-9.raw"), [0; 512]).unwrap();
    fs::write(images.join("vm-101-disk-0.raw"), [0; 512]).unwrap();
    let _ = env.run("vm delete a --purge-disks --confirm").ok();
    assert_eq!(files_below(&images), [images.join("vm-101-disk-0.raw")], "only what is its own");
}

/// An empty qcow2 image of 1 GiB that lies over a raw one.
fn overlay(path: &Path, backing: &Path) {
    let name = backing.to_str().unwrap().as_bytes();
    let mut header = b"QFI\xfb\0\0\0\x03".to_vec();
    header.extend(128_u64.to_be_bytes());
    header.extend((name.len() as u32).to_be_bytes());
    header.extend(16_u32.to_be_bytes());
    header.extend(GIB.to_be_bytes());
    for number in [0_u32, 2] {
        header.extend(number.to_be_bytes());
    }
    for number in [3_u64 << 16, 1 << 16] {
        header.extend(number.to_be_bytes());
    }
    header.extend(1_u32.to_be_bytes());
    header.extend([0; 4 + 8 + 3 * 8]);
    for number in [4_u32, 104, 0xE279_2ACA, 3] {
        header.extend(number.to_be_bytes());
    }
    header.extend(b"raw\0\0\0\0\0");
    header.extend([0; 8]);
    header.resize(128, 0);
    header.extend(name);
    header.resize(4 << 16, 0);
    header[(1 << 16) + 5] = 2;
    for cluster in 0..4 {
        header[(2 << 16) + cluster * 2 + 1] = 1;
    }
    fs::write(path, header).unwrap();
}

#[test]
fn an_image_stays_while_a_disk_lies_over_it() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    File::create(env.path("golden.raw")).unwrap().set_len(GIB >> 6).unwrap();
    let _ = env.run("image pull golden.raw").ok();
    let stored = env.run("image get golden -o json").ok().json()["file"].as_str().unwrap().to_owned();
    let (disk, over) = (env.path("over.qcow2"), host.state().join("images").join(stored));
    overlay(&disk, &over);
    let _ = env.run(&format!("vm create --name a --memory 256 --kernel kernel --scsi0 {}", disk.display())).ok();
    let _ = env.run("image delete golden --confirm").exits(6).says(&["in use by vm/100"]);
    let _ = env.run("image pull golden.raw --overwrite").exits(6).says(&["in use by vm/100"]);
    // A disk that was made from an image is a copy, and needs it no longer.
    let _ = env.run("vm create --name b --memory 256 --kernel kernel --image golden").ok();
    let _ = env.run("vm delete a --confirm").ok();
    assert!(disk.exists(), "a file of somebody else's stays");
    let _ = env.run("image delete golden --confirm").ok();
    let _ = env.run("vm start b").ok();
}

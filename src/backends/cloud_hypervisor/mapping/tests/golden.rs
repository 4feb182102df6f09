//! Configurations and what they become.

use insta::assert_json_snapshot;
use serde_json::json;

use super::*;

#[test]
fn a_plain_server() {
    let got = mapped(json!({
        "name": "web", "cores": 2, "memory": "1024", "ostype": "l26", "bios": "ovmf",
        "scsihw": "virtio-scsi-single", "scsi0": "local:100/vm-100-disk-0.raw,discard=on,size=20G,iothread=1",
        "ide2": "local:100/vm-100-cloudinit.raw,media=cdrom", "boot": "order=scsi0;ide2;net0",
        "net0": "virtio=BC:24:11:F8:34:48,bridge=vmbr0", "serial0": "socket", "vga": "serial0", "agent": "1",
        "ciuser": "admin", "digest": "abc", "meta": "creation-qemu=9.2,ctime=1",
    }));
    assert_eq!(got.seed_drive.as_deref(), Some("ide2"));
    assert_json_snapshot!(got.config, @r#"
    {
      "cpus": {
        "boot_vcpus": 2,
        "max_vcpus": 2,
        "topology": {
          "threads_per_core": 1,
          "cores_per_die": 2,
          "dies_per_package": 1,
          "packages": 1
        }
      },
      "memory": {
        "size": 1073741824,
        "mergeable": true
      },
      "payload": {
        "firmware": "/usr/share/cloud-hypervisor/CLOUDHV.fd"
      },
      "disks": [
        {
          "path": "/var/lib/pvectl/storage/local/100/scsi0-100/vm-100-disk-0.raw",
          "sparse": true,
          "image_type": "Raw",
          "id": "scsi0"
        },
        {
          "path": "/var/lib/pvectl/storage/local/100/ide2-100/vm-100-cloudinit.raw",
          "readonly": true,
          "image_type": "Raw",
          "id": "ide2"
        }
      ],
      "net": [
        {
          "tap": "tap100i0",
          "mac": "bc:24:11:f8:34:48",
          "id": "net0",
          "pci_device_id": 18
        }
      ],
      "balloon": {
        "size": 0,
        "deflate_on_oom": true,
        "free_page_reporting": true,
        "id": "balloon0"
      },
      "serial": {
        "mode": "Socket",
        "socket": "/run/pvectl/a1/serial.sock"
      },
      "console": {
        "mode": "Off"
      },
      "vsock": {
        "cid": 100,
        "socket": "/run/pvectl/a1/vsock.sock",
        "id": "vsock0"
      },
      "platform": {
        "system_uuid": "0c8f1c9e-7d6a-4c43-8c0f-3f6f2a7d9b11"
      }
    }
    "#);
    assert_eq!(got.warnings, [""; 0]);
    let note = "scsi0: the guest sees a virtio disk, /dev/vdX and not /dev/sdX: let it mount by UUID or label";
    assert_eq!(got.notes, [note]);
}

#[test]
fn everything_at_once() {
    let got = mapped(json!({
        "name": "db.example.org", "sockets": 2, "cores": 2, "vcpus": 3, "cpu": "x86-64-v2-AES,flags=+vmx,phys-bits=40",
        "affinity": "0-1", "memory": 4000, "balloon": 1024, "hotplug": "disk,network,cpu,memory", "allow-ksm": 0,
        "ostype": "win11", "machine": "q35,viommu=virtio,aw-bits=48", "numa": 0,
        "virtio1": "local:b.qcow2,format=qcow2,cache=none,iops=1500,iops_max=3000,mbps=10,serial=abc%20d,queues=8",
        "virtio0": "local:a.raw,ro=1", "ide0": "none,media=cdrom", "sata3": "local:iso/x.iso,media=cdrom",
        "boot": "order=virtio1",
        "net2": "virtio=02:00:00:00:00:02,bridge=vmbr0,mtu=1,queues=2,rate=12.5,tag=5,firewall=1",
        "net0": "model=virtio,macaddr=02:00:00:00:00:01,bridge=vmbr1,link_down=1",
        "rng0": "source=/dev/hwrng", "watchdog": "model=i6300esb,action=reset",
        "smbios1": "uuid=11111111-2222-3333-4444-555555555555,manufacturer=QWNtZQ==,serial=czE=,base64=1",
        "hostpci0": "01:00.0;01:00.1,pcie=1", "tablet": 1, "keyboard": "de", "startdate": "now", "freeze": 1,
        "x-kernel": "/boot/vmlinux", "x-initrd": "/boot/initrd", "x-cmdline": "console=ttyS0",
        "x-ch-config": "{\"pvpanic\":true,\"rng\":{\"iommu\":null},\"cpus\":{\"features\":{\"amx\":true}}}",
    }));
    assert_eq!(got.links_down, ["tap100i0"]);
    assert!(got.freeze);
    assert_json_snapshot!(got.config, @r#"
    {
      "cpus": {
        "boot_vcpus": 3,
        "max_vcpus": 4,
        "topology": {
          "threads_per_core": 1,
          "cores_per_die": 2,
          "dies_per_package": 1,
          "packages": 2
        },
        "kvm_hyperv": true,
        "max_phys_bits": 40,
        "affinity": [
          {
            "vcpu": 0,
            "host_cpus": [
              0,
              1
            ]
          },
          {
            "vcpu": 1,
            "host_cpus": [
              0,
              1
            ]
          },
          {
            "vcpu": 2,
            "host_cpus": [
              0,
              1
            ]
          },
          {
            "vcpu": 3,
            "host_cpus": [
              0,
              1
            ]
          }
        ],
        "features": {
          "amx": true
        },
        "nested": true
      },
      "memory": {
        "size": 4294967296,
        "hotplug_method": "VirtioMem",
        "hotplug_size": 64424509440
      },
      "payload": {
        "kernel": "/boot/vmlinux",
        "cmdline": "console=ttyS0",
        "initramfs": "/boot/initrd"
      },
      "disks": [
        {
          "path": "/var/lib/pvectl/storage/local/100/virtio1-b.qcow2",
          "direct": true,
          "num_queues": 3,
          "rate_limiter_config": {
            "bandwidth": {
              "size": 1048576,
              "refill_time": 100
            },
            "ops": {
              "size": 150,
              "one_time_burst": 3000,
              "refill_time": 100
            }
          },
          "serial": "abc d",
          "image_type": "Qcow2",
          "id": "virtio1",
          "iommu": true
        },
        {
          "path": "/var/lib/pvectl/storage/local/100/virtio0-a.raw",
          "readonly": true,
          "image_type": "Raw",
          "id": "virtio0",
          "iommu": true
        },
        {
          "path": "/var/lib/pvectl/storage/local/100/sata3-iso/x.iso",
          "readonly": true,
          "image_type": "Raw",
          "id": "sata3",
          "iommu": true
        }
      ],
      "net": [
        {
          "tap": "tap100i0",
          "mac": "02:00:00:00:00:01",
          "id": "net0",
          "iommu": true,
          "pci_device_id": 18
        },
        {
          "tap": "tap100i2",
          "mac": "02:00:00:00:00:02",
          "mtu": 9000,
          "num_queues": 4,
          "rate_limiter_config": {
            "bandwidth": {
              "size": 1250000,
              "refill_time": 100
            }
          },
          "id": "net2",
          "iommu": true,
          "pci_device_id": 20
        }
      ],
      "rng": {
        "src": "/dev/hwrng",
        "id": "rng0"
      },
      "balloon": {
        "size": 0,
        "deflate_on_oom": true,
        "free_page_reporting": true,
        "id": "balloon0"
      },
      "serial": {
        "mode": "Null"
      },
      "console": {
        "mode": "Off"
      },
      "devices": [
        {
          "path": "/sys/bus/pci/devices/0000:01:00.0",
          "id": "hostpci0",
          "iommu": true
        },
        {
          "path": "/sys/bus/pci/devices/0000:01:00.1",
          "id": "hostpci0.1",
          "iommu": true
        }
      ],
      "pvpanic": true,
      "iommu": true,
      "watchdog": true,
      "platform": {
        "iommu_address_width_bits": 48,
        "system_serial_number": "s1",
        "system_uuid": "11111111-2222-3333-4444-555555555555",
        "system_manufacturer": "Acme"
      }
    }
    "#);
    insta::assert_debug_snapshot!(got.warnings, @r#"
    [
        "net2: no effect of firewall, there is no firewall for local machines yet",
        "watchdog: no effect of model, the watchdog is Cloud Hypervisor's own, a virtio device",
        "tablet: no effect, there is no display to point at",
        "keyboard: no effect, there is no display to type at",
        "memory: 4000 MiB is rounded up to 4096 MiB, what huge pages or growing need",
        "virtio1: 3 queues instead of 8, one for each processor",
        "virtio1: a burst is granted once, not again and again",
        "cpu: the guest sees the host's processor, which is more than x86-64-v2-AES",
        "balloon: memory is taken back when it is set on a running machine, not by itself",
    ]
    "#);
}

#[test]
fn nodes_of_memory() {
    let got = mapped(json!({
        "bios": "ovmf", "cores": 4, "memory": 3072, "hugepages": "2", "numa": 1, "balloon": 0,
        "numa0": "cpus=0-1,memory=1024,hostnodes=0,policy=bind", "numa1": "cpus=2;3,memory=2048",
    }));
    assert_json_snapshot!(json!([got.config.memory, got.config.numa]), @r#"
    [
      {
        "size": 0,
        "zones": [
          {
            "id": "mem0",
            "size": 1073741824,
            "hugepages": true,
            "hugepage_size": 2097152,
            "host_numa_node": 0
          },
          {
            "id": "mem1",
            "size": 2147483648,
            "hugepages": true,
            "hugepage_size": 2097152
          }
        ]
      },
      [
        {
          "guest_numa_id": 0,
          "cpus": [
            0,
            1
          ],
          "memory_zones": [
            "mem0"
          ]
        },
        {
          "guest_numa_id": 1,
          "cpus": [
            2,
            3
          ],
          "memory_zones": [
            "mem1"
          ]
        }
      ]
    ]
    "#);
    // A node for each socket where nothing is said, and none where there would be one.
    let split = mapped(json!({"bios": "ovmf", "sockets": 2, "cores": 2, "memory": 1001, "numa": 1}));
    let sizes: Vec<u64> = split.config.memory.unwrap().zones.iter().map(|zone| zone.size >> 20).collect();
    assert_eq!(sizes, [501, 501]);
    assert_eq!(split.config.numa[1].cpus, [2, 3]);
    assert!(split.warnings[0].contains("1002 MiB"), "{:?}", split.warnings);
    assert!(mapped(json!({"bios": "ovmf", "numa": 1})).config.numa.is_empty());
}

#[test]
fn memory_is_shared_for_virtiofs_and_then_not_merged() {
    let got = mapped(json!({"bios": "ovmf", "virtiofs0": "share,cache=auto", "allow-ksm": 1}));
    let memory = got.config.memory.unwrap();
    assert_eq!((memory.shared, memory.mergeable), (Some(true), None));
    assert_eq!(got.config.fs[0].tag, "share");
    assert!(got.warnings.iter().any(|said| said.starts_with("allow-ksm: ")), "{:?}", got.warnings);
    assert_eq!(mapped(json!({"bios": "ovmf"})).config.memory.unwrap().mergeable, Some(true));
}

#[test]
fn disks_come_in_the_order_of_boot() {
    let ids =
        |config: Value| -> Vec<String> { mapped(config).config.disks.into_iter().filter_map(|disk| disk.id).collect() };
    let base = json!({
        "bios": "ovmf", "ide0": "local:cloudinit", "ide2": "local:iso/a.iso,media=cdrom", "scsi0": "local:0",
        "scsi10": "local:10", "scsi2": "local:2", "virtio0": "local:v",
    });
    let with = |key: &str, value: &str| {
        let mut config = base.clone();
        config[key] = value.into();
        config
    };
    assert_eq!(ids(base.clone()), ["scsi0", "scsi2", "scsi10", "virtio0", "ide2", "ide0"]);
    assert_eq!(ids(with("boot", "order=virtio0;ide2")), ["virtio0", "ide2", "scsi0", "scsi2", "scsi10", "ide0"]);
    assert_eq!(ids(with("bootdisk", "scsi2"))[0], "scsi2");
    assert_eq!(ids(with("boot", "dc"))[0], "ide2");
    // An alias, and drives without a disc.
    assert_eq!(ids(json!({"bios": "ovmf", "cdrom": "local:iso/a.iso", "ide0": "none,media=cdrom"})), ["ide2"]);
}

#[test]
fn a_disk_that_is_too_many_for_one_request_is_counted() {
    let long = "d".repeat(4000);
    let config = qemu(json!({
        "bios": "ovmf", "x-ch-config": {"landlock_rules": [{"path": "/a", "access": "rw"}]},
        "scsi0": "local:0", "scsi1": "local:1",
    }));
    let mut facts = facts(&config);
    facts.volumes.get_mut("scsi0").unwrap().path = long.repeat(13).into();
    let error = words(&map(&config, &facts).unwrap_err());
    assert!(error.contains("2 disks and 1 Landlock rules") && error.contains("51200"), "{error}");
    facts.volumes.get_mut("scsi0").unwrap().path = long.repeat(12).into();
    map(&config, &facts).unwrap();
}

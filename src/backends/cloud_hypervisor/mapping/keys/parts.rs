//! The parts of property strings: which have their effect, which have none, which are refused.
//!
//! A part without a row is refused as unknown. Values that depend on the host are looked at in `build`.

use super::Rule;

/// A part of a property string.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Part {
    /// Its name, or another name of it.
    pub(in super::super) name: &'static str,
    /// What is done with it.
    pub(in super::super) rule: Rule,
}

/// The parts of the keys of one shape.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Property {
    /// The keys, as in the table of keys.
    pub(in super::super) keys: &'static [&'static str],
    /// The part whose value may stand bare.
    pub(in super::super) bare: &'static str,
    /// The parts.
    pub(in super::super) parts: &'static [Part],
}

const fn taken(name: &'static str) -> Part {
    Part { name, rule: Rule::Taken }
}

const fn ignored(name: &'static str, unless: &'static [&'static str], why: &'static str) -> Part {
    Part { name, rule: Rule::Ignored { unless, why } }
}

const fn only(name: &'static str, unless: &'static [&'static str], why: &'static str, instead: &'static str) -> Part {
    Part { name, rule: Rule::Refused { unless, why, instead } }
}

const ONE_BUCKET: &str = "it has one budget for reads and writes together";
const TOGETHER: &str = "use iops and mbps";
const NOT_THE_MACHINE: &str = "it shows a host device as it is";

const fn apart(name: &'static str) -> Part {
    only(name, &["0"], ONE_BUCKET, TOGETHER)
}

const fn as_it_is(name: &'static str) -> Part {
    only(name, &[], NOT_THE_MACHINE, "leave it out")
}

const DISK: &[Part] = &[
    taken("file"),
    taken("volume"),
    taken("import-from"),
    ignored("aio", &[], "Cloud Hypervisor chooses how it reads by itself"),
    taken("backup"),
    apart("bps"),
    taken("bps_max_length"),
    apart("bps_rd"),
    apart("bps_rd_length"),
    apart("bps_rd_max_length"),
    apart("bps_wr"),
    apart("bps_wr_length"),
    apart("bps_wr_max_length"),
    ignored("cache", &["none", "directsync", "writeback"], "caches are either the host's, as with writeback, or none"),
    ignored("detect_zeroes", &["0"], "zeroes are written as they are"),
    taken("discard"),
    taken("format"),
    taken("iops"),
    taken("iops_max"),
    taken("iops_max_length"),
    apart("iops_rd"),
    apart("iops_rd_length"),
    apart("iops_rd_max"),
    apart("iops_rd_max_length"),
    apart("iops_wr"),
    apart("iops_wr_length"),
    apart("iops_wr_max"),
    apart("iops_wr_max_length"),
    // Every queue of a disk has a thread of its own anyway.
    taken("iothread"),
    taken("mbps"),
    taken("mbps_max"),
    apart("mbps_rd"),
    apart("mbps_rd_max"),
    apart("mbps_wr"),
    apart("mbps_wr_max"),
    taken("media"),
    ignored("model", &[], "a virtio disk has no model"),
    ignored("product", &[], "a virtio disk has no product name"),
    taken("queues"),
    taken("replicate"),
    ignored("rerror", &["report"], "errors are always reported to the guest"),
    taken("ro"),
    only("scsiblock", &["0"], "disks are virtio block devices", "leave scsiblock out"),
    taken("serial"),
    taken("shared"),
    taken("size"),
    taken("snapshot"),
    ignored("ssd", &["0"], "a virtio disk does not say what it lies on"),
    ignored("vendor", &[], "a virtio disk has no vendor"),
    ignored("werror", &["report"], "errors are always reported to the guest"),
    only("wwn", &[], "a virtio disk has no world wide name", "use serial"),
];

const NET: &[Part] = &[
    taken("model"),
    taken("macaddr"),
    // `virtio=MAC` is model and address at once; which models there may be is looked at in `build`.
    taken("e1000"),
    taken("e1000-82540em"),
    taken("e1000-82544gc"),
    taken("e1000-82545em"),
    taken("e1000e"),
    taken("i82551"),
    taken("i82557b"),
    taken("i82559er"),
    taken("ne2k_isa"),
    taken("ne2k_pci"),
    taken("pcnet"),
    taken("rtl8139"),
    taken("virtio"),
    taken("vmxnet3"),
    taken("bridge"),
    ignored("firewall", &["0"], "there is no firewall for local machines yet"),
    ignored("host-tunnel", &["0"], "the interface stands on its bridge alone"),
    taken("link_down"),
    taken("mtu"),
    taken("queues"),
    taken("rate"),
    taken("tag"),
    taken("trunks"),
];

/// Every property string.
pub(in super::super) const PROPERTIES: &[Property] = &[
    Property { keys: &["ide[n]", "sata[n]", "scsi[n]", "virtio[n]", "cdrom"], bare: "file", parts: DISK },
    Property { keys: &["net[n]"], bare: "model", parts: NET },
    Property {
        keys: &["agent"],
        bare: "enabled",
        parts: &[
            taken("enabled"),
            taken("freeze-fs"),
            taken("freeze-fs-on-backup"),
            taken("guest-fsfreeze"),
            taken("fstrim_cloned_disks"),
            only("type", &["virtio"], "the agent is spoken to over a vsock", "leave type out"),
        ],
    },
    Property { keys: &["boot"], bare: "legacy", parts: &[taken("legacy"), taken("order")] },
    Property {
        keys: &["cicustom"],
        bare: "",
        parts: &[taken("meta"), taken("network"), taken("user"), taken("vendor")],
    },
    Property {
        keys: &["cpu"],
        bare: "cputype",
        parts: &[
            taken("cputype"),
            taken("flags"),
            taken("phys-bits"),
            only("guest-phys-bits", &[], "it has one width of physical addresses", "use phys-bits=46"),
            only("hidden", &["0"], "it does not hide KVM", "leave hidden out"),
            only("hv-vendor-id", &[], "its Hyper-V features have no vendor id", "leave hv-vendor-id out"),
            only("level", &[], "the guest sees the host's CPUID level", "leave level out"),
            only("reported-model", &[], "the guest sees the host's processor", "leave reported-model out"),
        ],
    },
    Property {
        keys: &["efidisk0"],
        bare: "file",
        parts: &[
            taken("file"),
            taken("volume"),
            taken("efitype"),
            taken("format"),
            taken("import-from"),
            only("ms-cert", &[], "the firmware has no secure boot", "leave ms-cert out"),
            only("pre-enrolled-keys", &["0"], "the firmware has no secure boot", "leave pre-enrolled-keys out"),
            taken("size"),
        ],
    },
    Property {
        keys: &["hostpci[n]"],
        bare: "host",
        parts: &[
            taken("host"),
            taken("mapping"),
            taken("driver"),
            taken("pcie"),
            only("legacy-igd", &["0"], "it has no legacy graphics", "leave legacy-igd out"),
            only("mdev", &[], "pvectl makes no mediated devices", "make it on the host and give its address as host"),
            only("rombar", &["0"], "a device's ROM is not shown to the guest", "use rombar=0"),
            only("romfile", &[], "a device's ROM is not shown to the guest", "leave romfile out"),
            only("x-vga", &["0"], "there is no primary graphics card", "leave x-vga out"),
            as_it_is("device-id"),
            as_it_is("vendor-id"),
            as_it_is("sub-device-id"),
            as_it_is("sub-vendor-id"),
        ],
    },
    Property { keys: &["ipconfig[n]"], bare: "", parts: &[taken("gw"), taken("gw6"), taken("ip"), taken("ip6")] },
    Property {
        keys: &["machine"],
        bare: "type",
        parts: &[
            taken("type"),
            taken("viommu"),
            taken("aw-bits"),
            only("enable-s3", &["0"], "the machine cannot sleep", "use `pvectl vm pause`, or `suspend --to-disk`"),
            only("enable-s4", &["0"], "the machine cannot hibernate", "use `pvectl vm suspend --to-disk`"),
        ],
    },
    Property { keys: &["memory"], bare: "current", parts: &[taken("current")] },
    Property {
        keys: &["numa[n]"],
        bare: "",
        parts: &[
            taken("cpus"),
            taken("hostnodes"),
            taken("memory"),
            only(
                "policy",
                &["bind"],
                "memory is bound to one node of the host, or to none",
                "use policy=bind, or leave it out",
            ),
        ],
    },
    Property {
        keys: &["rng0"],
        bare: "source",
        parts: &[
            taken("source"),
            only("max_bytes", &["0"], "it does not limit the source", "use max_bytes=0"),
            only("period", &[], "it does not limit the source", "leave period out"),
        ],
    },
    Property {
        keys: &["smbios1"],
        bare: "",
        parts: &[
            taken("base64"),
            taken("family"),
            taken("manufacturer"),
            taken("product"),
            taken("serial"),
            taken("sku"),
            taken("uuid"),
            taken("version"),
        ],
    },
    Property { keys: &["startup"], bare: "order", parts: &[taken("order"), taken("up"), taken("down")] },
    Property {
        keys: &["tpmstate0"],
        bare: "file",
        parts: &[
            taken("file"),
            taken("volume"),
            taken("format"),
            taken("import-from"),
            taken("size"),
            only("version", &["v2.0"], "the TPM is a version 2.0", "use version=v2.0"),
        ],
    },
    Property { keys: &["unused[n]"], bare: "file", parts: &[taken("file"), taken("volume")] },
    Property {
        keys: &["vga"],
        bare: "type",
        parts: &[
            only(
                "type",
                &["serial0", "none"],
                "it has no display",
                "use vga=serial0, whose console is `pvectl vm console`",
            ),
            only("clipboard", &[], "there is no display", "leave clipboard out"),
            only("memory", &[], "there is no display", "leave memory out"),
        ],
    },
    Property {
        keys: &["virtiofs[n]"],
        bare: "dirid",
        parts: &[taken("cache"), taken("direct-io"), taken("dirid"), taken("expose-acl"), taken("expose-xattr")],
    },
    Property {
        keys: &["watchdog"],
        bare: "model",
        parts: &[
            ignored("model", &[], "the watchdog is Cloud Hypervisor's own, a virtio device"),
            only("action", &["reset"], "its watchdog can only reset", "use action=reset"),
        ],
    },
];

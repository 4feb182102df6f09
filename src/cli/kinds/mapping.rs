//! `mapping`: names for devices and directories that are elsewhere on each node, so that a guest with one can move.
//! Tables only.

use crate::{
    cli::{
        print::{
            Heading,
            fields::{Field, How},
        },
        resource::{Create, Delete, Describe, Get, List, Update, View, late},
        verb::{Group, Kind, Of},
    },
    ops::resource,
};

pub(super) const KIND: Kind = Kind {
    noun: "mapping",
    plural: "mappings",
    aliases: &[],
    about: "Mappings: names for PCI and USB devices and directories, wherever they are on each node",
    guest: None,
    paths: &["/cluster/mapping/pci", "/cluster/mapping/usb", "/cluster/mapping/dir"],
    of: Of::Cluster,
    columns: headings,
    verbs: || vec![Box::new(PCI_VERBS), Box::new(USB_VERBS), Box::new(DIR_VERBS)],
};

const COLUMNS: &[Field] = &[
    Field::text("MAPPING", "id"),
    Field::new("PLACES", "map", How::Count),
    Field::text("DESCRIPTION", "description"),
    Field::text("MAP", "map").wide(),
];

fn headings() -> Vec<Heading> {
    PCI.headings()
}

static PCI: View = View {
    resource: resource("mapping-pci"),
    columns: COLUMNS,
    example: "gpu",
    making: "--map node=pve1,path=0000:01:00.0,id=10de:2204",
    changing: "--description 'the fast one'",
    is_named_by_server: false,
    late: late!(PCI),
};

static USB: View = View {
    resource: resource("mapping-usb"),
    columns: COLUMNS,
    example: "dongle",
    making: "--map node=pve1,id=0529:0001",
    changing: "--description 'the licence'",
    is_named_by_server: false,
    late: late!(USB),
};

static DIR: View = View {
    resource: resource("mapping-dir"),
    columns: COLUMNS,
    example: "media",
    making: "--map node=pve1,path=/srv/media",
    changing: "--description films",
    is_named_by_server: false,
    late: late!(DIR),
};

const PCI_VERBS: Group = Group {
    name: "pci",
    about: "PCI devices",
    verbs: &[&List(&PCI), &Get(&PCI), &Describe(&PCI), &Create(&PCI), &Update(&PCI), &Delete(&PCI)],
};

const USB_VERBS: Group = Group {
    name: "usb",
    about: "USB devices",
    verbs: &[&List(&USB), &Get(&USB), &Describe(&USB), &Create(&USB), &Update(&USB), &Delete(&USB)],
};

const DIR_VERBS: Group = Group {
    name: "dir",
    about: "Directories that guests may share (virtiofs)",
    verbs: &[&List(&DIR), &Get(&DIR), &Describe(&DIR), &Create(&DIR), &Update(&DIR), &Delete(&DIR)],
};

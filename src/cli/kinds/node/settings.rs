//! What there is one of, of each node: its settings, its servers of names, its time. Tables only.

use crate::{
    cli::{
        print::fields::{Field, How},
        resource::{Get, Update, View, late},
        verb::Group,
    },
    ops::resource,
};

static CONFIG: View = View {
    resource: resource("node-config"),
    columns: &[
        Field::text("DESCRIPTION", "description"),
        Field::text("WAKE ON LAN", "wakeonlan"),
        Field::text("START DELAY", "startall-onboot-delay"),
        Field::text("BALLOONING TARGET", "ballooning-target"),
        Field::text("LOCATION", "location"),
    ],
    example: "pve1",
    making: "",
    changing: "--description 'the one below the window'",
    is_named_by_server: false,
    late: late!(CONFIG),
};

pub(super) const CONFIG_VERBS: Group = Group {
    name: "config",
    about: "Settings of a node: what it is woken by, how long guests wait when it starts, ACME",
    verbs: &[&Get(&CONFIG), &Update(&CONFIG)],
};

static DNS: View = View {
    resource: resource("node-dns"),
    columns: &[
        Field::text("SEARCH", "search"),
        Field::text("FIRST", "dns1"),
        Field::text("SECOND", "dns2"),
        Field::text("THIRD", "dns3"),
    ],
    example: "pve1",
    making: "",
    changing: "--dns1 192.0.2.53 --search example.org",
    is_named_by_server: false,
    late: late!(DNS),
};

pub(super) const DNS_VERBS: Group =
    Group { name: "dns", about: "The servers of names that a node asks", verbs: &[&Get(&DNS), &Update(&DNS)] };

static TIME: View = View {
    resource: resource("node-time"),
    columns: &[
        Field::text("TIME ZONE", "timezone"),
        Field::new("TIME", "time", How::When),
        Field::text("LOCAL TIME", "localtime"),
    ],
    example: "pve1",
    making: "",
    changing: "--timezone Europe/Vienna",
    is_named_by_server: false,
    late: late!(TIME),
};

pub(super) const TIME_VERBS: Group =
    Group { name: "time", about: "A node's time and time zone", verbs: &[&Get(&TIME), &Update(&TIME)] };

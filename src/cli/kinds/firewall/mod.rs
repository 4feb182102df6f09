//! `firewall`: rules, options, security groups, sets and aliases, of the cluster, of nodes and of guests.
//!
//! Whose they are is said by a flag (`--guest 101`); what reaches a guest is decided at all of these places, so all of
//! them are under one word.

mod look;
mod order;

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
    noun: "firewall",
    plural: "firewall-rules",
    aliases: &["fw"],
    about: "The firewall of the cluster, its nodes and its guests: rules, options, groups, sets, aliases",
    guest: None,
    paths: &["/cluster/firewall/rules", "/cluster/firewall/options", "/cluster/firewall/groups"],
    of: Of::Cluster,
    columns: headings,
    verbs: || {
        vec![
            Box::new(look::STATUS),
            Box::new(RULE_VERBS),
            Box::new(OPTION_VERBS),
            Box::new(GROUP_VERBS),
            Box::new(IPSET_VERBS),
            Box::new(ENTRY_VERBS),
            Box::new(ALIAS_VERBS),
            Box::new(look::REFS),
            Box::new(look::MACROS),
            Box::new(look::LOG),
        ]
    },
};

fn headings() -> Vec<Heading> {
    RULES.headings()
}

static RULES: View = View {
    resource: resource("firewall-rule"),
    columns: &[
        Field::new("POS", "pos", How::Number),
        Field::new("ON", "enable", How::Flag),
        Field::text("TYPE", "type"),
        Field::text("ACTION", "action"),
        Field::text("MACRO", "macro"),
        Field::text("PROTO", "proto"),
        Field::text("SOURCE", "source"),
        Field::text("DEST", "dest"),
        Field::text("DPORT", "dport"),
        Field::text("COMMENT", "comment"),
        Field::text("SPORT", "sport").wide(),
        Field::text("IFACE", "iface").wide(),
        Field::text("ICMP TYPE", "icmp-type").wide(),
        Field::text("LOG", "log").wide(),
    ],
    example: "0",
    making: "--guest 101 --type in --action ACCEPT --macro SSH --enable",
    changing: "--guest 101 --source +office",
    is_named_by_server: false,
    late: late!(RULES),
};

const RULE_VERBS: Group = Group {
    name: "rule",
    about: "Rules, in their order: the first that fits counts",
    verbs: &[
        &List(&RULES),
        &Get(&RULES),
        &Describe(&RULES),
        &Create(&RULES),
        &Update(&RULES),
        &order::MOVE,
        &order::ENABLE,
        &order::DISABLE,
        &Delete(&RULES),
    ],
};

static OPTIONS: View = View {
    resource: resource("firewall-options"),
    columns: &[
        Field::new("ON", "enable", How::Flag),
        Field::text("POLICY IN", "policy_in"),
        Field::text("POLICY OUT", "policy_out"),
        Field::text("POLICY FORWARD", "policy_forward"),
    ],
    example: "",
    making: "",
    changing: "--guest 101 --enable",
    is_named_by_server: false,
    late: late!(OPTIONS),
};

const OPTION_VERBS: Group = Group {
    name: "options",
    about: "Whether it is on, and what becomes of the rest",
    verbs: &[&Get(&OPTIONS), &Update(&OPTIONS)],
};

static GROUPS: View = View {
    resource: resource("firewall-group"),
    columns: &[Field::text("GROUP", "group"), Field::text("COMMENT", "comment")],
    example: "web",
    making: "--comment 'what web servers need'",
    changing: "--comment 'what all web servers need'",
    is_named_by_server: false,
    late: late!(GROUPS),
};

const GROUP_VERBS: Group = Group {
    name: "group",
    about: "Security groups: rules that others take in by name",
    verbs: &[
        &List(&GROUPS),
        &Get(&GROUPS),
        &Describe(&GROUPS),
        &Create(&GROUPS),
        &order::UPDATE_GROUP,
        &Delete(&GROUPS),
    ],
};

static IPSETS: View = View {
    resource: resource("firewall-ipset"),
    columns: &[Field::text("SET", "name"), Field::text("COMMENT", "comment")],
    example: "office",
    making: "--comment 'where we sit'",
    changing: "--comment 'where we all sit'",
    is_named_by_server: false,
    late: late!(IPSETS),
};

const IPSET_VERBS: Group = Group {
    name: "ipset",
    about: "Sets of addresses, which rules name as +NAME",
    verbs: &[
        &List(&IPSETS),
        &Get(&IPSETS),
        &Describe(&IPSETS),
        &Create(&IPSETS),
        &order::UPDATE_IPSET,
        &Delete(&IPSETS),
    ],
};

static ENTRIES: View = View {
    resource: resource("firewall-entry"),
    columns: &[
        Field::text("ADDRESS", "cidr"),
        Field::new("EXCEPT", "nomatch", How::Flag),
        Field::text("COMMENT", "comment"),
    ],
    example: "192.0.2.0/24",
    making: "--ipset office --comment 'first floor'",
    changing: "--ipset office --comment 'second floor'",
    is_named_by_server: false,
    late: late!(ENTRIES),
};

const ENTRY_VERBS: Group = Group {
    name: "entry",
    about: "The addresses of a set",
    verbs: &[
        &List(&ENTRIES),
        &Get(&ENTRIES),
        &Describe(&ENTRIES),
        &Create(&ENTRIES),
        &Update(&ENTRIES),
        &Delete(&ENTRIES),
    ],
};

static ALIASES: View = View {
    resource: resource("firewall-alias"),
    columns: &[Field::text("ALIAS", "name"), Field::text("ADDRESS", "cidr"), Field::text("COMMENT", "comment")],
    example: "gate",
    making: "--cidr 192.0.2.1",
    changing: "--cidr 192.0.2.2",
    is_named_by_server: false,
    late: late!(ALIASES),
};

const ALIAS_VERBS: Group = Group {
    name: "alias",
    about: "Names for addresses, which rules take in place of them",
    verbs: &[
        &List(&ALIASES),
        &Get(&ALIASES),
        &Describe(&ALIASES),
        &Create(&ALIASES),
        &Update(&ALIASES),
        &Delete(&ALIASES),
    ],
};

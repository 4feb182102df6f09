//! The flags: from the contract's keys, the table of what they are, and the table of what is in their way.
//!
//! Made when the command that has them is the one typed, or asked about; no other command pays for them.

use std::collections::BTreeMap;

use clap::{
    Arg, ArgAction, Command, ValueHint,
    builder::{PossibleValue, StringValueParser, TypedValueParser, ValueParser},
};

use super::{
    FORCE_PARAM, Verb,
    keys::{Key, groups},
    overrides::{Instead, OVERRIDES, Override, has_flag, of},
};
use crate::{
    backends::Action,
    contract::{Kind, Schema, embedded, last_index},
    model::{GuestKind, is_secret_key},
};

/// A list with zero bytes between its members, which cannot stand on a command line: each member is a flag.
pub(super) const ENV: &str = "env";

/// Lists of values longer than this do not stand in the place of a flag's value.
const SHORT_LIST: usize = 22;
/// Lists of more values than this do not stand in help at all; an error names them.
const MANY_VALUES: usize = 16;

/// A flag of ours among those of the keys.
pub(super) struct Friendly {
    pub(super) name: &'static str,
    /// The key, or the subject, after which it stands.
    after: &'static str,
    pub(super) kinds: &'static [GuestKind],
    verbs: &'static [Verb],
    value: &'static str,
    help: &'static str,
    /// The key that it is another way to give.
    conflicts: &'static str,
    /// Not offered: it is there to say why not.
    hidden: bool,
}

const ALL: &[GuestKind] = &GuestKind::ALL;
const VM: &[GuestKind] = &[GuestKind::Qemu];
const CT: &[GuestKind] = &[GuestKind::Lxc];
const BOTH: &[Verb] = &[Verb::Create, Verb::Update];

pub(super) const FRIENDLY: &[Friendly] = &[
    Friendly {
        name: "label",
        after: "tags",
        kinds: ALL,
        verbs: BOTH,
        value: "NAME=VALUE",
        help: "One label (tag NAME.VALUE); NAME- removes it. Repeatable",
        conflicts: "tags",
        hidden: false,
    },
    Friendly {
        name: "disk",
        after: "Disks",
        kinds: VM,
        verbs: BOTH,
        value: "VOLUME",
        help: "New SCSI disk: STORAGE:SIZE, local-lvm:32; the SIZE alone, 32G, where there is one storage. Repeatable",
        conflicts: "",
        hidden: false,
    },
    Friendly {
        name: "disk",
        after: "Disks",
        kinds: CT,
        verbs: BOTH,
        value: "VOLUME",
        help: "A container has --rootfs and --mp",
        conflicts: "",
        hidden: true,
    },
    Friendly {
        name: "ssh-key",
        after: "cipassword",
        kinds: VM,
        verbs: BOTH,
        value: "KEY|@FILE",
        help: "A public key for the user. Repeatable",
        conflicts: "sshkeys",
        hidden: false,
    },
    Friendly {
        name: "ssh-key",
        after: "password",
        kinds: CT,
        verbs: &[Verb::Create],
        value: "KEY|@FILE",
        help: "A public key for root. Repeatable",
        conflicts: "ssh-public-keys",
        hidden: false,
    },
    Friendly {
        name: "ssh-key",
        after: "Container",
        kinds: CT,
        verbs: &[Verb::Update],
        value: "KEY|@FILE",
        help: "Only when it is made",
        conflicts: "",
        hidden: true,
    },
    Friendly {
        name: "overwrite",
        after: "While it is made",
        kinds: ALL,
        verbs: &[Verb::Create],
        value: "",
        help: "Replace the guest that has this VMID; it asks",
        conflicts: "",
        hidden: false,
    },
];

/// Adds the flags: `--set` and `--force-param` at once, the others when the command is built.
pub(in crate::cli::base) fn config_args(command: Command, kind: GuestKind, verb: Verb) -> Command {
    let command = command
        .arg(
            Arg::new("set")
                .long("set")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("Any key; a secret as KEY=@FILE or KEY=- (stdin). Repeatable"),
        )
        .arg(
            Arg::new(FORCE_PARAM)
                .long(FORCE_PARAM)
                .value_name("K=V")
                .action(ArgAction::Append)
                .hide_short_help(true)
                .help("Send it unchecked: for keys of a newer server. Repeatable"),
        );
    // Subjects stand in help in the order of their first flags, before the global options: so one flag of each is
    // there from the beginning, without its details.
    let command = groups(kind, verb).fold(command, |command, (heading, keys)| {
        let name = keys.first().map_or("", |key| family_of(key.name));
        command.arg(Arg::new(name).long(name).help_heading(heading))
    });
    command.defer(match (kind, verb) {
        (GuestKind::Qemu, Verb::Create) => |command| complete(command, GuestKind::Qemu, Verb::Create),
        (GuestKind::Qemu, Verb::Update) => |command| complete(command, GuestKind::Qemu, Verb::Update),
        (GuestKind::Lxc, Verb::Create) => |command| complete(command, GuestKind::Lxc, Verb::Create),
        (GuestKind::Lxc, Verb::Update) => |command| complete(command, GuestKind::Lxc, Verb::Update),
    })
}

/// `net` for `net[n]`, and any other key itself.
fn family_of(declared: &str) -> &str {
    declared.strip_suffix("[n]").unwrap_or(declared)
}

/// The keys that a verb takes, by declared names.
pub(super) fn declared(kind: GuestKind, verb: Verb) -> BTreeMap<&'static str, &'static Schema> {
    let actions: &[Action] = match verb {
        Verb::Create => &[Action::Create],
        Verb::Update => &[Action::ConfigureInTask, Action::Configure],
    };
    let mut keys = BTreeMap::new();
    for action in actions {
        let spec = action.spec();
        let template = format!("/nodes/{{node}}/{}{}", kind.api(), spec.path);
        let Some(endpoint) = embedded().endpoint(spec.method, &template) else { continue };
        // An update's node and VMID are those of its target.
        let in_path: Vec<&str> = endpoint.path_params().filter(|_| verb == Verb::Update).collect();
        let own = endpoint.parameters.properties.iter().filter(|(name, _)| !in_path.contains(&name.as_str()));
        keys.extend(own.map(|(name, schema)| (name.as_str(), schema)));
    }
    keys
}

/// Whether devices of a family are numbered by us when they are given without a number.
pub(super) fn is_family(base: &str, kind: GuestKind, verb: Verb) -> bool {
    // An unused disk is one that was detached; the boolean `numa` has its name for itself.
    base != "unused" && of(base, kind, verb).is_none()
}

/// Puts all flags in their places.
fn complete(command: Command, kind: GuestKind, verb: Verb) -> Command {
    let declared = declared(kind, verb);
    let mut args: Vec<Arg> = Vec::new();
    for (heading, keys) in groups(kind, verb) {
        let first = args.len();
        friendly(&mut args, heading, kind, verb);
        for key in keys {
            if let Some(schema) = declared.get(key.name)
                && has_flag(key.name, kind, verb)
            {
                key_args(&mut args, key, schema, kind, verb);
            }
            friendly(&mut args, key.name, kind, verb);
        }
        for arg in &mut args[first..] {
            *arg = std::mem::take(arg).help_heading(heading);
        }
    }
    let mut args: Vec<Option<Arg>> =
        args.into_iter().enumerate().map(|(order, arg)| Some(arg.display_order(order))).collect();
    let mut take = |id: &str| args.iter_mut().find(|arg| arg.as_ref().is_some_and(|arg| arg.get_id() == id))?.take();
    let command = command.mut_args(|there| take(there.get_id().as_str()).unwrap_or(there));
    let command = command.args(args.into_iter().flatten());
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let noun = kind.noun();
    let takes = format!("What a key takes: pvectl explain {noun}.net0");
    let more = format!("Every flag there is: pvectl {noun} {} --help\n{takes}", command.get_name());
    command
        .after_help(format!("{examples}\n\n{more}").trim_start().to_owned())
        .after_long_help(format!("{}\n\n{examples}\n\n{takes}", elsewhere(kind, verb)))
}

/// The keys that have no flag of their own name, and how they are given.
fn elsewhere(kind: GuestKind, verb: Verb) -> String {
    let mut text = "Keys without a flag of their name:".to_owned();
    for entry in OVERRIDES.iter().filter(|entry| entry.kinds.contains(&kind) && entry.verbs.contains(&verb)) {
        let Override { key, why, .. } = entry;
        let instead = match entry.instead {
            Instead::Set => format!("--set {key}=…"),
            Instead::Flag(flag) => format!("--{flag}"),
            Instead::Same | Instead::Key | Instead::Numbered => continue,
        };
        text += &format!("\n  {key:8}  {instead}: {why}");
    }
    text
}

/// Adds the flags of ours that stand after a key or at the beginning of a subject.
fn friendly(args: &mut Vec<Arg>, after: &str, kind: GuestKind, verb: Verb) {
    let here = |flag: &&Friendly| flag.after == after && flag.kinds.contains(&kind) && flag.verbs.contains(&verb);
    for flag in FRIENDLY.iter().filter(here) {
        let arg = Arg::new(flag.name).long(flag.name).help(flag.help).hide(flag.hidden);
        let arg = match flag.value {
            "" => arg.action(ArgAction::SetTrue).hide_short_help(true),
            value => arg.value_name(value).action(ArgAction::Append),
        };
        args.push(if flag.conflicts.is_empty() { arg } else { arg.conflicts_with(flag.conflicts) });
    }
}

/// Adds a key's flag; for a numbered key the one without a number and all numbers, of which help shows the first.
fn key_args(args: &mut Vec<Arg>, key: &Key, schema: &'static Schema, kind: GuestKind, verb: Verb) {
    let Some(base) = key.name.strip_suffix("[n]") else {
        let arg = Arg::new(key.name).long(key.name).help(key.help);
        let arg = if key.alias.is_empty() { arg } else { arg.visible_alias(key.alias) };
        args.push(typed_key(arg, key, schema));
        return;
    };
    if is_family(base, kind, verb) {
        let help = format!("The same on the next free number (to {}). Repeatable", last_index(base));
        args.push(typed_key(Arg::new(base).long(base).help(help), key, schema).action(ArgAction::Append));
    }
    for index in 0..=last_index(base) {
        let name = format!("{base}{index}");
        let arg = typed_key(Arg::new(name.clone()).long(name).help(key.help), key, schema);
        args.push(arg.hide(index > 0 || base == "unused"));
    }
    // The one without a number is explained by the first with one.
    let first = args.len() - usize::from(last_index(base)) - 1;
    if is_family(base, kind, verb) {
        args.swap(first - 1, first);
    }
}

/// A key's flag by its type.
fn typed_key(arg: Arg, key: &Key, schema: &'static Schema) -> Arg {
    let arg = typed(arg, (key.value, is_secret_key(key.name)), schema).hide_short_help(!key.common);
    if key.name == ENV { arg.action(ArgAction::Append).allow_hyphen_values(false) } else { arg }
}

/// A flag's value by its type: with a word for it or none, and whether it is a secret.
pub(crate) fn typed(arg: Arg, (value, secret): (&'static str, bool), schema: &'static Schema) -> Arg {
    let list = schema.values.join("|");
    let value = match (value, schema.kind) {
        ("", Kind::Boolean) => "BOOL",
        ("", Kind::Integer | Kind::Number) => "N",
        ("", _) if list.is_empty() => "TEXT",
        ("", _) if list.len() <= SHORT_LIST => &list,
        ("", _) => "VALUE",
        (value, _) => value,
    };
    let unlisted = schema.kind == Kind::Boolean || value == list || schema.values.len() > MANY_VALUES;
    let arg = arg.hide_possible_values(unlisted).value_name(value.to_owned()).value_parser(words(schema));
    if schema.kind == Kind::Boolean {
        arg.num_args(0..=1).default_missing_value("1")
    } else if secret {
        arg.num_args(0..=1).default_missing_value("").value_hint(ValueHint::FilePath)
    } else {
        // QEMU's own arguments and plain texts may begin with a dash.
        arg.allow_hyphen_values(matches!(value, "ARGS" | "TEXT"))
    }
}

/// Any text is taken, so that all mistakes are told together; the allowed words are known to help and completion.
fn words(schema: &'static Schema) -> ValueParser {
    #[derive(Clone)]
    struct Words(&'static Schema);

    impl TypedValueParser for Words {
        type Value = String;

        fn parse_ref(
            &self,
            command: &Command,
            arg: Option<&Arg>,
            value: &std::ffi::OsStr,
        ) -> Result<String, clap::Error> {
            StringValueParser::new().parse_ref(command, arg, value)
        }

        fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
            match self.0.kind {
                Kind::Boolean => Some(Box::new(["yes", "no"].into_iter().map(PossibleValue::new))),
                _ => Some(Box::new(self.0.values.iter().map(|value| {
                    let default = self.0.default.as_ref().and_then(|default| default.as_str()) == Some(value);
                    if default { PossibleValue::new(value).help("default") } else { PossibleValue::new(value) }
                }))),
            }
        }
    }

    if schema.kind != Kind::Boolean && schema.values.is_empty() {
        return ValueParser::string();
    }
    ValueParser::new(Words(schema))
}

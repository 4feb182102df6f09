//! The tables held against the contract and against each other, and that nobody pays for flags that were not typed.

use std::collections::BTreeSet;

use clap::Command;

use super::{
    Verb,
    flags::{FRIENDLY, declared, is_family},
    keys::{GROUPS, groups},
    overrides::{Instead, OVERRIDES, has_flag, of},
};
use crate::{
    cli::{app, kinds::KINDS, verb::Kind},
    config::OPTIONS,
    contract::last_index,
    model::{GuestKind, is_secret_key},
};

const CASES: [(GuestKind, Verb); 4] = [
    (GuestKind::Qemu, Verb::Create),
    (GuestKind::Qemu, Verb::Update),
    (GuestKind::Lxc, Verb::Create),
    (GuestKind::Lxc, Verb::Update),
];

fn kind_of(kind: GuestKind) -> &'static Kind {
    KINDS.iter().find(|entry| entry.guest == Some(kind)).unwrap()
}

/// A verb's parser: as it is before anybody types it, or with everything.
fn parser(kind: GuestKind, verb: &str, built: bool) -> Command {
    let kind = kind_of(kind);
    let mut command = kind.verb(verb).unwrap().args(Command::new("verb"), kind);
    if built {
        command.build();
    }
    command
}

/// Every way to spell the long flags of a parser that stand under none of the subjects of keys.
fn own_flags(command: &Command) -> BTreeSet<String> {
    let of_keys = |heading: &str| GROUPS.iter().any(|group| group.heading == heading);
    let own = command.get_arguments().filter(|arg| !arg.get_help_heading().is_some_and(of_keys));
    let names = own.flat_map(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long().into_iter().chain(aliases).map(str::to_owned).collect::<Vec<_>>()
    });
    names.collect()
}

/// Our flags where configurations are typed: the global ones, those of both verbs, the friendly forms.
fn ours(kind: GuestKind) -> BTreeSet<String> {
    let global = OPTIONS.iter().map(|option| option.name.to_owned());
    let friendly = FRIENDLY.iter().filter(|flag| flag.kinds.contains(&kind)).map(|flag| flag.name.to_owned());
    let verbs = ["create", "update"].iter().flat_map(|verb| own_flags(&parser(kind, verb, false)));
    global.chain(["yes".to_owned(), "help".to_owned()]).chain(friendly).chain(verbs).collect()
}

/// The names that the contract's keys have as flags: numbered ones with every number.
fn names(declared: &str) -> Vec<String> {
    match declared.strip_suffix("[n]") {
        Some(base) => (0..=last_index(base)).map(|index| format!("{base}{index}")).collect(),
        None => vec![declared.to_owned()],
    }
}

#[test]
fn every_key_of_the_contract_has_an_entry_and_every_entry_is_a_key() {
    for (kind, verb) in CASES {
        let of_contract: BTreeSet<&str> =
            declared(kind, verb).into_keys().filter(|key| has_flag(key, kind, verb)).collect();
        let in_table: Vec<&str> = groups(kind, verb).flat_map(|(_, keys)| keys).map(|key| key.name).collect();
        let unique: BTreeSet<&str> = in_table.iter().copied().collect();
        assert_eq!(unique.len(), in_table.len(), "{kind} {verb:?}: a key stands twice");
        assert_eq!(unique, of_contract, "{kind} {verb:?}");
    }
}

#[test]
fn every_collision_is_named_and_every_name_is_a_collision() {
    for (kind, verb) in CASES {
        let ours = ours(kind);
        let declared = declared(kind, verb);
        for key in declared.keys() {
            let taken = names(key).iter().any(|name| ours.contains(name));
            let base = key.strip_suffix("[n]");
            let family = base.is_some_and(|base| declared.contains_key(base) || ours.contains(base));
            let named = of(base.unwrap_or(key), kind, verb);
            assert!(!taken || named.is_some(), "{kind} {verb:?}: `{key}` is a flag of ours too");
            assert!(!family || named.is_some(), "{kind} {verb:?}: the family `{key}` has a name that is taken");
        }
    }
    for entry in OVERRIDES {
        for (kind, verb) in CASES.iter().filter(|(kind, verb)| entry.kinds.contains(kind) && entry.verbs.contains(verb))
        {
            let what = format!("{kind} {verb:?}: `{}`", entry.key);
            let declared = declared(*kind, *verb);
            let is_key = declared.contains_key(entry.key);
            assert_ne!(is_key, entry.instead == Instead::Numbered, "{what}");
            let of_all_verbs = (kind_of(*kind).verbs)();
            let mut all = of_all_verbs.iter().flat_map(|verb| own_flags(&parser(*kind, verb.name(), false)));
            match entry.instead {
                Instead::Same => assert!(own_flags(&parser(*kind, verb.name(), false)).contains(entry.key), "{what}"),
                Instead::Set => assert!(all.any(|flag| flag == entry.key), "{what} is no flag of ours"),
                Instead::Key | Instead::Numbered => {
                    assert!(declared.contains_key(format!("{}[n]", entry.key).as_str()), "{what}");
                }
                Instead::Flag(flag) => {
                    let built = parser(*kind, verb.name(), true);
                    assert!(built.get_arguments().any(|arg| arg.get_long() == Some(flag)), "{what} has no --{flag}");
                }
            }
        }
    }
}

#[test]
fn every_key_is_a_flag_with_every_number() {
    for (kind, verb) in CASES {
        let (built, own) = (parser(kind, verb.name(), true), own_flags(&parser(kind, verb.name(), false)));
        let find = |name: &str| built.get_arguments().find(|arg| arg.get_long() == Some(name));
        for key in declared(kind, verb).into_keys().filter(|key| has_flag(key, kind, verb)) {
            for name in names(key) {
                let arg = find(&name).unwrap_or_else(|| panic!("{kind} {verb:?}: no --{name}"));
                assert!(arg.get_help().is_some(), "--{name} says nothing");
                let optional = arg.get_num_args().unwrap().min_values() == 0;
                assert!(optional || !is_secret_key(&name), "--{name} cannot be asked for");
            }
            if let Some(base) = key.strip_suffix("[n]") {
                assert!(find(&format!("{base}{}", last_index(base) + 1)).is_none(), "{base} goes too far");
                let is_ours = base == "numa" || own.contains(base);
                assert_eq!(find(base).is_some(), is_family(base, kind, verb) || is_ours, "--{base}");
            }
        }
        let nameless: Vec<_> = built.get_arguments().filter(|arg| arg.get_help().is_none()).collect();
        assert!(nameless.is_empty(), "{nameless:?}");
    }
}

#[test]
fn only_the_command_that_was_typed_has_its_flags_made() {
    let made = |line: &str, noun: &str| {
        let mut app = app::command();
        let _ = app.try_get_matches_from_mut(line.split(' '));
        let noun = app.find_subcommand(noun).unwrap();
        ["create", "update"]
            .map(|verb| noun.find_subcommand(verb).unwrap().get_arguments().any(|arg| arg.get_long() == Some("net1")))
    };
    for line in ["pvectl version", "pvectl --help", "pvectl vm --help", "pvectl vm list", "pvectl vm start 100"] {
        assert_eq!((made(line, "vm"), made(line, "container")), ([false; 2], [false; 2]), "{line}");
    }
    assert_eq!(made("pvectl vm create --name a", "vm"), [true, false]);
    assert_eq!(made("pvectl ct update --help", "container"), [false, true]);
}

#[test]
fn the_parser_is_sound() {
    app::command().debug_assert();
}

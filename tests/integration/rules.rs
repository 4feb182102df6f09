//! Rules of a context: which changes want the name of the guest typed, and which are forbidden.

use serde_json::json;

use crate::harness::Env;
#[cfg(target_os = "linux")]
use crate::local_watch::Terminal;

const RULES: &str = "\
- verbs: [delete, stop]
  guests: {selector: app=db}
  needs: typed-name
  why: the database of all customers
- verbs: [delete]
  guests:
    vmid: 9000-9999
  needs: forbidden
";

fn ruled(rules: &str) -> Env {
    let env = Env::new();
    env.write("rules.yaml", rules);
    env.with("PVECTL_RULES_FILE", "rules.yaml")
}

#[test]
fn a_name_has_to_be_given_where_a_rule_wants_it() {
    let server = ruled(RULES).serve("");
    let refused = server.run("vm stop 102").exits(2).says(&[
        "a rule wants the name typed for this (db-1), and there is no terminal to ask on",
        "--confirm-name db-1",
    ]);
    assert_eq!(server.changes(), [""; 0], "{refused}");
    let _ = server.run("vm stop 102 --confirm-name db-2").exits(2);
    let dry = server.run("vm stop 102 --dry-run").ok();
    assert!(
        dry.stderr.contains("its name has to be typed for this: the database of all customers (`rules.yaml`, line 3)"),
        "{dry}"
    );
    // Yes to everything is no name.
    let _ = server.run("vm stop --all --confirm").exits(2).says(&["--confirm-name db-1"]);
    assert_eq!(server.changes(), [""; 0], "not even the others");
    let _ = server.run("vm stop 102 --confirm-name web-1,db-1").ok();
    let _ = server.run("vm stop 102").ok().says(&["already stopped"]);
    let _ = server.run("vm start 102").ok();
}

#[test]
fn what_is_forbidden_is_not_done_whoever_confirms() {
    let server = ruled(RULES).serve("");
    let said = ["cannot delete vm/9000 (debian-12): a rule forbids it", "`rules.yaml`, line 8"];
    let _ = server.run("vm delete 9000 --confirm").exits(5).says(&said);
    let _ = server.run("vm delete 101,9000 --confirm --confirm-name debian-12").exits(5).says(&said);
    assert_eq!(server.changes(), [""; 0]);
    let _ = server.run("vm delete 9000 --dry-run").ok().says(&["this is forbidden: `rules.yaml`, line 8"]);
    // A guest that is to be is known by its plan.
    let env = server.with("PVECTL_RULES_FILE", "made.yaml");
    env.write("made.yaml", "- {guests: {tag: prod, name: 'shop-*'}, needs: forbidden}\n");
    let create = "vm create --cores 1 --memory 512 --tags prod --name";
    let _ = env.run(&format!("{create} shop-1")).exits(5);
    let _ = env.run(&format!("{create} workshop")).ok();
}

#[test]
fn rules_come_from_the_context_and_the_environment() {
    let server = Env::new().serve("");
    let env = server.without("PVECTL_ENDPOINT").without("PVECTL_TOKEN");
    env.write("token", &server.token);
    env.write("prod.rules.yaml", RULES);
    env.write("mine.yaml", "- {verbs: [start], guests: {node: pve2}, needs: typed-name}\n");
    let add = format!("config add-context prod --endpoint {} --token-file token", server.url);
    let _ = env.run(&format!("{add} --rules-file prod.rules.yaml")).ok();
    let _ = env.run("vm stop 102").exits(2).says(&["db-1"]);
    let both = env.with("PVECTL_RULES_FILE", "mine.yaml");
    let _ = both.run("vm stop 102").exits(2).says(&["db-1"]);
    let _ = both.run("vm start 101").exits(2).says(&["web-2"]);
    let view = both.run("config view --origin").ok();
    assert!(view.stdout.contains("mine.yaml  (env PVECTL_RULES_FILE)"), "{view}");
    assert!(view.stdout.contains("~/prod.rules.yaml  (context prod)"), "{view}");
    assert_eq!(env.run("vm list -o json").ok().json().as_array().map(Vec::len), Some(5), "reading is not ruled");
}

#[test]
fn what_is_wrong_in_a_rule_file_is_named_with_its_line() {
    for (rules, said) in [
        ("- {verbs: [delet], needs: typed-name}\n", ["line 1: `delet` is no verb that changes a guest", "`delete`"]),
        ("- needs: typed-name\n- needs: typed-nam\n", ["line 2: `typed-nam` is no need", "`typed-name`"]),
        ("- {guests: {kind: vms}, needs: forbidden}\n", ["line 1: `vms` is no kind of guest", "`vm`"]),
        ("\n- guests: {vmid: 9}\n  needs: forbidden\n", ["line 2", "`9` is not a target"]),
        ("- guests: {selector: 'app in'}\n  needs: forbidden\n", ["line 1", "app in"]),
        ("- {guest: {tag: a}, needs: forbidden}\n", ["line 1, column 4: unknown key `guest`", "`guests`"]),
        ("- {verbs: [stop]}\n", ["line 1", "needs"]),
    ] {
        let env = ruled(rules);
        let refused = env.run("vm stop 100").exits(2);
        for part in said {
            assert!(refused.stderr.contains(part), "{rules}{refused}");
        }
        let _ = env.run("vm list").ok();
    }
    let gone = Env::new().with("PVECTL_RULES_FILE", "gone.yaml");
    let _ = gone.run("vm stop 100").exits(2).says(&["the rule file `gone.yaml` does not exist"]);
    assert_eq!(gone.json("vm list")[0]["status"], json!("running"));
}

#[cfg(target_os = "linux")]
#[test]
fn at_a_terminal_the_name_is_typed() {
    let server = ruled(RULES).serve("");
    let home = |name: &str| server.path(name).display().to_string();
    let (rules, url, token) = (home("rules.yaml"), server.url.clone(), server.token.clone());
    let vars = [
        ("PVECTL_RULES_FILE", &*rules),
        ("PVECTL_ENDPOINT", &*url),
        ("PVECTL_TOKEN", &*token),
        ("TERM", "xterm"),
        ("NO_COLOR", "1"),
    ];
    for (typed, code) in [("db-2\r", 1), ("db-1\r", 0)] {
        let mut terminal = Terminal::run(&server, &vars, &["vm", "stop", "102"]);
        terminal.until("Type `db-1` to stop vm/102 on pve2");
        assert_eq!(server.changes(), [""; 0]);
        terminal.type_in(typed.as_bytes());
        assert_eq!(terminal.ends(), Some(code), "{typed:?}");
    }
    assert_eq!(server.json("vm get 102")["status"], json!("stopped"));
}

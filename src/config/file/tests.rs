//! The configuration file: what is read, changed and refused.

use std::fs;

use super::*;
use crate::config::{Env, Stored};

/// A home directory of its own, and where pvectl's files are in it.
fn home() -> (tempfile::TempDir, Paths) {
    let home = tempfile::tempdir().unwrap();
    let paths = Paths::new(&Env::from_pairs([("HOME", home.path())])).unwrap();
    (home, paths)
}

fn written(text: &str) -> (tempfile::TempDir, Paths) {
    let (home, paths) = home();
    fs::create_dir_all(paths.config.parent().unwrap()).unwrap();
    fs::write(&paths.config, text).unwrap();
    (home, paths)
}

fn context(name: &str) -> Context {
    let endpoints = vec![Endpoint::new("pve1").unwrap()];
    Context { name: name.to_owned(), endpoints, user: Some("root@pam".to_owned()), ..Context::default() }
}

fn error_of(text: &str) -> (Error, Paths) {
    let (_home, paths) = written(text);
    (File::load(&paths).unwrap_err(), paths)
}

#[test]
fn a_missing_file_is_none_unless_it_was_named() {
    let (home, paths) = home();
    assert!(File::load(&paths).unwrap().is_none());

    let name = home.path().join("site.yaml");
    let env = Env::from_pairs([("HOME", home.path()), ("PVECTL_CONFIG", &name)]);
    let paths = Paths::new(&env).unwrap();
    let error = File::load(&paths).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(error.message().contains(&name.display().to_string()), "{error}");

    let mut file = File::open(&paths).unwrap();
    assert!(file.add_context(context("prod"), false).unwrap());
    file.save().unwrap();
    assert_eq!(File::load(&paths).unwrap().unwrap().current(), Some("prod"));
}

#[test]
fn everything_comes_back() {
    let (_home, paths) = home();
    let full = Context {
        endpoints: vec![Endpoint::new("pve1").unwrap().pinned(&"ab".repeat(32)).unwrap()],
        ca_file: Some("~/ca.pem".to_owned()),
        user: None,
        token_id: Some("ci@pve!deploy".to_owned()),
        credential_command: Some("pass show pve".to_owned()),
        node: Some("pve1".to_owned()),
        timeout: Some("10m".to_owned()),
        output: Some("json".to_owned()),
        read_only: true,
        ..context("prod")
    };
    let mut file = File::open(&paths).unwrap();
    file.add_context(full.clone(), false).unwrap();
    file.save().unwrap();
    assert_eq!(File::load(&paths).unwrap().unwrap().contexts(), [full]);
}

#[test]
fn an_unknown_key_is_told_with_place_and_the_right_one() {
    let (error, paths) = error_of("current-context: prod\ncontexts:\n  - name: prod\n    endpoint: []\n");
    assert_eq!(error.class(), Class::Usage);
    let message = error.message();
    assert!(message.contains("`endpoint`") && message.contains("line 4, column 5"), "{message}");
    assert!(message.contains(&paths.config.display().to_string()), "{message}");
    assert_eq!(error.hints(), [Hint::DidYouMean(vec!["endpoints".to_owned()])]);
}

#[test]
fn a_secret_in_the_wrong_file_is_not_repeated_and_sent_to_the_right_one() {
    let (error, paths) = error_of("contexts:\n  - name: prod\n    password: hush\n");
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    let place = paths.credentials.display().to_string();
    assert!(error.hints().iter().any(|hint| matches!(hint, Hint::Text(text) if text.contains(&place))), "{error:?}");
}

#[test]
fn what_is_no_yaml_has_a_place() {
    for text in ["contexts: [\n", "a: b: c\n", "- 1\n", "just words\n", "contexts: 7\n"] {
        let (error, paths) = error_of(text);
        assert_eq!(error.class(), Class::Usage, "{text:?}");
        let message = error.message();
        assert!(message.contains("line ") && message.contains("column "), "{text:?}: {message}");
        assert!(message.contains(&paths.config.display().to_string()), "{text:?}: {message}");
    }
}

#[test]
fn senseless_contexts_are_refused_with_their_name() {
    for (context, word) in [
        ("{name: sandbox, endpoints: [{url: pve1}]}", "built-in"),
        ("{name: local, endpoints: [{url: pve1}]}", "built-in"),
        ("{name: a b, endpoints: [{url: pve1}]}", "no name"),
        ("{name: prod}", "no endpoint"),
        ("{name: prod, endpoints: [{url: 'ftp://pve1'}]}", "no server address"),
        ("{name: prod, endpoints: [{url: pve1, fingerprint: AB}]}", "SHA-256"),
        ("{name: prod, endpoints: [{url: pve1}], user: root}", "no user"),
        ("{name: prod, endpoints: [{url: pve1}], token-id: root@pam}", "token"),
        ("{name: prod, endpoints: [{url: pve1}], user: a@pam, token-id: a@pam!b}", "both"),
        ("{name: prod, kind: vmware, endpoints: [{url: pve1}]}", "vmware"),
        ("{name: prod, endpoints: [{url: pve1}], read-only: yes}", "bool"),
    ] {
        let (error, _) = error_of(&format!("contexts:\n  - {context}\n"));
        assert_eq!(error.class(), Class::Usage, "{context}");
        assert!(error.message().contains(word), "{context}: {error}");
    }
    let twice = "contexts:\n- {name: a, endpoints: [{url: b}]}\n- {name: a, endpoints: [{url: c}]}\n";
    assert!(error_of(twice).0.message().contains("twice"));
}

#[test]
fn the_first_context_becomes_current_and_a_second_does_not() {
    let (_home, paths) = home();
    let mut file = File::open(&paths).unwrap();
    assert!(file.add_context(context("prod"), false).unwrap());
    assert!(!file.add_context(context("lab"), false).unwrap());
    assert_eq!(file.current(), Some("prod"));

    assert_eq!(file.add_context(context("prod"), false).unwrap_err().class(), Class::Conflict);
    let other = Context { node: Some("pve2".to_owned()), ..context("prod") };
    assert!(file.add_context(other, true).unwrap());
    assert_eq!(file.contexts().len(), 2);
    assert_eq!(file.context("prod").unwrap().node.as_deref(), Some("pve2"));
    assert_eq!(file.add_context(context("sandbox"), true).unwrap_err().class(), Class::Usage);
}

#[test]
fn only_what_exists_can_be_used_or_removed() {
    let (_home, paths) = home();
    let mut file = File::open(&paths).unwrap();
    file.add_context(context("prod"), false).unwrap();
    let error = file.use_context("prodd").unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(error.hints().contains(&Hint::DidYouMean(vec!["prod".to_owned()])), "{error:?}");
    file.use_context("sandbox").unwrap();
    assert_eq!(file.current(), Some("sandbox"));

    let credentials = &mut Credentials::default();
    assert_eq!(file.remove_context("sandbox", credentials).unwrap_err().class(), Class::Usage);
    assert_eq!(file.remove_context("lab", credentials).unwrap_err().class(), Class::NotFound);
}

#[test]
fn a_removed_context_takes_its_secret_along_and_leaves_none_current() {
    let (_home, paths) = home();
    let mut file = File::open(&paths).unwrap();
    let mut credentials = Credentials::load(&paths.credentials).unwrap();
    for name in ["prod", "lab"] {
        file.add_context(context(name), false).unwrap();
        credentials.insert(name, Stored::Password("hush".into())).unwrap();
    }
    assert!(file.remove_context("prod", &mut credentials).unwrap());
    file.save().unwrap();
    credentials.save().unwrap();

    let file = File::load(&paths).unwrap().unwrap();
    assert_eq!(file.current(), None);
    assert_eq!(file.contexts().len(), 1);
    let credentials = Credentials::load(&paths.credentials).unwrap();
    assert!(credentials.get("prod").is_none());
    assert!(credentials.get("lab").is_some());
}

#[test]
fn a_change_by_somebody_else_is_not_written_over() {
    let (_home, paths) = written("# mine\n");
    let mut file = File::open(&paths).unwrap();
    file.add_context(context("prod"), false).unwrap();
    fs::write(&paths.config, "# theirs\n").unwrap();
    assert_eq!(file.save().unwrap_err().class(), Class::Conflict);
    assert_eq!(fs::read_to_string(&paths.config).unwrap(), "# theirs\n");
}

#[cfg(unix)]
#[test]
fn a_new_file_is_private_and_an_old_one_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let (_home, paths) = home();
    let mut file = File::open(&paths).unwrap();
    file.add_context(context("prod"), false).unwrap();
    file.save().unwrap();
    assert_eq!(store::mode(&paths.config), Some(0o600));

    fs::set_permissions(&paths.config, fs::Permissions::from_mode(0o644)).unwrap();
    file.add_context(context("lab"), false).unwrap();
    file.save().unwrap();
    assert_eq!(store::mode(&paths.config), Some(0o644));
    assert_eq!(fs::read_dir(paths.config.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn nothing_is_written_without_a_change() {
    let (_home, paths) = home();
    File::open(&paths).unwrap().save().unwrap();
    assert!(!paths.config.exists(), "an empty file would end the sandbox's being the default");
}
